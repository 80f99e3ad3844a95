"""Access from end to end: people, roles, bots and webhooks of an emulated guild, and what becomes a file."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from spoolbridge.access import DOUBTED_FOR, Access
from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import Poller
from spoolbridge.settings import AccessTable
from tests.support.clock import FakeClock
from tests.support.tree import contents

VILLA = "mayor-villa"
MEMBER = "/guilds/{guild}/members/{user}"


class Inbound:
    """A poller with these rules over one spool; `start` again is a restart."""

    def __init__(self, emulator: Emulator, clock: FakeClock, root: Path, client: DiscordClient) -> None:
        self.emulator, self.clock, self.root, self.client = emulator, clock, root, client
        self.spool_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.cursors: Cursors | None = None

    def start(self, tables: Mapping[str, AccessTable]) -> None:
        self.stop()
        self.cursors = Cursors(self.spool_fd)
        guild = self.emulator.guild

        async def member(user_id: int) -> dict[str, object]:
            return await self.client.member(guild.id, user_id)

        self.access = Access(guild.bot.id, tables, member=member, guild_id=guild.id, clock=self.clock)
        self.poller = Poller(
            self.client, self.registry,
            [IncomingFile(self.spool_fd, self.cursors), InboxFile(self.root / "inbox.jsonl", self.cursors)],
            globs=["mayor-*"], guild_id=guild.id, own_id=guild.bot.id, first_start=self.clock(),
            access=self.access, clock=self.clock, sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip

    def stop(self) -> None:
        if self.cursors is not None:
            self.cursors.close()

    def registry(self) -> Registry:
        whole = self.emulator.guild.channels.items()
        return Registry([Channel(name, each.id, None, name) for name, each in whole if not each.is_thread])

    async def say(self, text: str, channel: str | int = VILLA, **more: str) -> int:
        """Somebody writes, and the poller comes round, later than the overlap."""
        self.clock.advance(30)
        said = self.emulator.say(channel, text, **more)  # type: ignore[arg-type]
        await self.poller.cycle()
        return said

    def lines(self) -> list[int]:
        path = self.root / "inbox.jsonl"
        text = path.read_text("utf-8") if path.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines()]

    def look_ups(self) -> int:
        return sum(seen.route == MEMBER for seen in self.emulator.requests())

    def roles(self, name: str, *people: str) -> frozenset[int]:
        """A new role that these people have."""
        guild = self.emulator.guild
        return frozenset({guild.add_role(name, members=[guild.person(each) for each in people]).id})

    def user(self, name: str) -> frozenset[int]:
        return frozenset({self.emulator.guild.person(name).id})


@pytest.fixture
async def inbound(tmp_path: Path) -> AsyncIterator[Inbound]:
    clock = FakeClock()
    async with Emulator(clock=clock, limits=False).serve() as emulator:
        emulator.add_channel(VILLA)
        emulator.add_channel("mayor-db")
        clock.advance(3600)
        async with DiscordClient(
            emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.leap
        ) as client:
            made = Inbound(emulator, clock, tmp_path, client)
            made.start({})
            await made.poller.cycle()
            yield made
            made.stop()
            os.close(made.spool_fd)


async def test_users_of_one_channel(inbound: Inbound) -> None:
    """Who is not listed leaves no word anywhere; the next channel is open as before; cursors move past."""
    inbound.start({VILLA: AccessTable(users=inbound.user("nic"))})
    said = [await inbound.say("hello")]
    await inbound.say("let me in: xyzzy", author="ada")
    said += [await inbound.say("hello", "mayor-db", author="ada"), await inbound.say("again")]
    assert said == inbound.lines()
    assert {VILLA: 1} == inbound.access.refused
    assert not any(b"xyzzy" in data for data in contents(inbound.root).values())
    inbound.start({})  # it was passed for good
    said.append(await inbound.say("later"))
    assert said == inbound.lines()


async def test_an_empty_list(inbound: Inbound) -> None:
    """Nobody, and Discord is asked about nobody."""
    inbound.start({"": AccessTable(users=frozenset(), roles=frozenset())})
    await inbound.say("hello")
    assert ([], 0, {VILLA: 1}) == (inbound.lines(), inbound.look_ups(), inbound.access.refused)


async def test_a_role(inbound: Inbound) -> None:
    """Who has it is looked up once; a thread has its channel's rule; a role given later counts soon."""
    crew = inbound.roles("crew", "nic")
    inbound.start({VILLA: AccessTable(roles=crew)})
    thread = inbound.emulator.guild.add_thread(inbound.emulator.guild.channel(VILLA), "deploys", 11)
    said = [await inbound.say("one"), await inbound.say("two", thread.id)]
    await inbound.say("no", thread.id, author="ada")
    assert (said, 2, {VILLA: 1}) == (inbound.lines(), inbound.look_ups(), inbound.access.refused)
    inbound.emulator.guild.member_roles[inbound.emulator.guild.person("ada").id] |= crew
    inbound.clock.advance(DOUBTED_FOR)
    said.append(await inbound.say("now", author="ada"))
    assert said == inbound.lines()


async def test_a_look_up_that_fails_holds_the_cursor(inbound: Inbound) -> None:
    """The page comes again, whole and once, in this process or the next; other channels go on."""
    crew = inbound.roles("crew", "nic")
    tables = {VILLA: AccessTable(inbound.user("ada"), crew)}
    inbound.start(tables)
    inbound.emulator.fail(method="GET", route=MEMBER, kind="status", status=503, times=0)
    first, second = await inbound.say("one", author="ada"), await inbound.say("two")
    elsewhere = await inbound.say("hello", "mayor-db")
    assert [first, elsewhere] == inbound.lines()
    assert "503" in inbound.poller.problems[VILLA]
    inbound.start(tables)
    inbound.emulator.faults.clear()
    third = await inbound.say("three", author="ada")
    assert ([first, elsewhere, second, third], {}) == (inbound.lines(), inbound.poller.problems)


async def test_who_has_left_the_guild(inbound: Inbound) -> None:
    """A 404 is an answer: they have no role, and nothing waits."""
    crew = inbound.roles("crew", "nic")
    inbound.start({VILLA: AccessTable(roles=crew)})
    inbound.emulator.fail(method="GET", route=MEMBER, kind="status", status=404, code=10007)
    await inbound.say("bye")
    assert ([], {}, {VILLA: 1}) == (inbound.lines(), inbound.poller.problems, inbound.access.refused)


@pytest.mark.parametrize("bots", [None, False, True])
async def test_bots_and_webhooks(inbound: Inbound, bots: bool | None) -> None:
    """Not unless they are wanted, and then whoever is listed among people; ours and the system's never."""
    inbound.start({VILLA: AccessTable(users=inbound.user("nic"), bots=bots)})
    guild = inbound.emulator.guild
    ours = guild.write(guild.channel(VILLA).id, guild.bot, "ours")
    said = [
        await inbound.say("build 7 failed", author="ci", kind="bot"),
        await inbound.say("nic says hi", author="nic", kind="webhook"),
    ]
    await inbound.say("nic joined", author="nic", kind="system")
    human = await inbound.say("hi")
    assert ([*said, human] if bots else [human]) == inbound.lines()
    assert {} == inbound.access.refused
    assert ours.id not in inbound.lines()
