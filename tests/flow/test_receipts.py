"""Receipts: what people see of their messages' fate, on an emulated Discord, with readers of every kind."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spoolbridge import receipts
from spoolbridge.channels import Channel, Registry
from spoolbridge.cli.program import cli
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolError, TokenRefusedError
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import IncomingMessage
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import Poller
from spoolbridge.receipts import AT_ONCE, LOOK, LOOK_AGAIN, MOST, OLDEST, PACE, PROBE, Receipts
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock

VILLA = "mayor-villa"
ADD_REACTIONS = 1 << 6
REACTION = "/channels/{channel}/messages/{message}/reactions/{emoji}/@me"


class Failing(InboxFile):
    """An inbox file on a disk that fails while it is told to."""

    failing = False

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        if self.failing:
            raise SpoolError("the disk fails")
        super()._hand_over(cursor, channel, messages)


class Inbound:
    """Poller and receipts over one spool, which work when a test says so; `start` again is a restart."""

    def __init__(self, emulator: Emulator, clock: FakeClock, spool: Spool, client: DiscordClient) -> None:
        self.emulator, self.clock, self.spool, self.client = emulator, clock, spool, client
        self.cursors: Cursors | None = None
        self.first_start = clock()
        self.start()

    def start(self, *, watched: bool = False) -> None:
        """`watched`: waits end when the test moves the clock, and not at once."""
        self.stop()
        self.cursors = Cursors(self.spool.fd)
        self.inbox = Failing(self.spool.root / "discord-inbox.jsonl", self.cursors)
        deliveries: list[Delivery] = [IncomingFile(self.spool.fd, self.cursors), self.inbox]
        for delivery in deliveries:
            delivery.recover()
        self.receipts = Receipts(
            self.spool, self.client, deliveries,
            clock=self.clock, sleep=self.clock.sleep if watched else self.clock.leap,
        )  # fmt: skip
        guild = self.emulator.guild
        self.poller = Poller(
            self.client, self.registry, deliveries, globs=["mayor-*"], guild_id=guild.id,
            own_id=guild.bot.id, first_start=self.first_start, receipts=self.receipts,
            clock=self.clock, sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip

    def stop(self) -> None:
        if self.cursors is not None:
            self.cursors.close()

    def registry(self) -> Registry:
        whole = self.emulator.guild.channels.items()
        return Registry([Channel(name, each.id, None, name) for name, each in whole if not each.is_thread])

    async def say(self, text: str, channel: str | int = VILLA, **more: str) -> int:
        """Somebody writes, the poller comes round, and receipts are given."""
        self.clock.advance(30)
        said = self.emulator.say(channel, text, **more)  # type: ignore[arg-type]
        await self.poller.cycle()
        await self.receipts.once()
        return said

    async def look(self, seconds: float = LOOK) -> None:
        """Time goes on, and `new/` is looked at."""
        self.clock.advance(seconds)
        await self.receipts.once()

    def shown(self, message_id: int, channel: str | int = VILLA) -> list[str]:
        """The reactions that people see on a message."""
        (found,) = [each for each in self.emulator.messages(channel) if each["id"] == str(message_id)]
        return [each["emoji"]["name"] for each in found.get("reactions", [])]

    def file(self, message_id: int, box: str = "new", channel: str = VILLA) -> Path:
        (found,) = (self.spool.root / "incoming" / channel / box).glob(f"*.D{message_id}.*")
        return found

    def kept(self) -> dict[str, Any]:
        """What `state/receipts/` says."""
        files = (self.spool.root / "state" / "receipts").glob("*")
        return {path.name: json.loads(path.read_text("utf-8")) for path in files}

    def asked(self) -> int:
        return sum(seen.route == REACTION for seen in self.emulator.requests())

    def thread(self, name: str = "deploys") -> int:
        self.clock.advance(1)  # younger than the first start
        guild = self.emulator.guild
        return guild.add_thread(guild.channel(VILLA), name, 11).id


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[Inbound]:
    clock = FakeClock()
    spool = Spool.create(root / "spool", clock=clock)
    async with Emulator(clock=clock, limits=False).serve() as emulator:
        emulator.add_channel(VILLA)
        emulator.add_channel("mayor-db")
        clock.advance(3600)
        async with DiscordClient(
            emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.leap
        ) as client:
            made = Inbound(emulator, clock, spool, client)
            await made.poller.cycle()
            yield made
            made.stop()
    spool.close()


@pytest.fixture
async def inbound(tmp_path: Path) -> AsyncIterator[Inbound]:
    async with serving(tmp_path) as made:
        yield made


def _mark_read(inbound: Inbound, message_id: int) -> None:
    environment = {"SPOOLBRIDGE_SPOOL": str(inbound.spool.root)}
    done = CliRunner().invoke(cli, ["inbox", VILLA, "--mark-read"], env=environment)
    assert (0, True) == (done.exit_code, "hello" in done.output)


def _mv(inbound: Inbound, message_id: int) -> None:
    path = inbound.file(message_id)
    path.rename(path.parent.parent / "cur" / path.name)


def _rm(inbound: Inbound, message_id: int) -> None:
    inbound.file(message_id).unlink()


def _mutt(inbound: Inbound, message_id: int) -> None:
    path = inbound.file(message_id)
    path.rename(path.parent.parent / "cur" / f"{path.name}:2,RS")


@pytest.mark.parametrize("read", [_mark_read, _mv, _rm, _mutt])
async def test_filed_then_read(inbound: Inbound, read: Callable[[Inbound, int], None]) -> None:
    """👀 once it is filed and ✅ once it is read, however that was done; then nothing is kept of it."""
    said = await inbound.say("hello")
    assert ["👀"] == inbound.shown(said)
    await inbound.look()
    assert ["👀"] == inbound.shown(said)
    read(inbound, said)
    await inbound.look()
    assert ["👀", "✅"] == inbound.shown(said)
    assert ({}, 0, 2) == (inbound.kept(), inbound.receipts.pending, inbound.asked())


async def test_not_before_both_are_durable(inbound: Inbound) -> None:
    """While the inbox file fails the Maildir's file alone is no receipt's worth."""
    inbound.inbox.failing = True
    said = await inbound.say("hello")
    assert inbound.file(said).exists()
    assert [] == inbound.shown(said)
    inbound.inbox.failing = False
    other = await inbound.say("is anybody there?")
    assert (["👀"], ["👀"]) == (inbound.shown(said), inbound.shown(other))


async def test_what_was_delivered_before_is_not_noted_again(inbound: Inbound) -> None:
    """A page comes again in the overlap; what has all its receipts stays as it is."""
    said = await inbound.say("hello")
    inbound.file(said).unlink()
    await inbound.look(1)
    inbound.emulator.say(VILLA, "next")
    await inbound.poller.cycle()
    await inbound.receipts.once()
    assert (1, 3) == (inbound.receipts.pending, inbound.asked())


async def test_who_gets_none(inbound: Inbound) -> None:
    """Bots, webhooks and ourselves, for nothing of theirs is filed."""
    said = [await inbound.say("beep", author="ci", kind=kind) for kind in ("bot", "webhook", "system")]
    assert [[], [], []] == [inbound.shown(each) for each in said]
    assert 0 == inbound.asked()


async def test_seen_by_a_mail_program_and_shown_to_nobody(inbound: Inbound) -> None:
    """mutt moves what it has listed to cur/ without S; the S that comes later counts."""
    said = await inbound.say("hello")
    path = inbound.file(said)
    old = path.parent.parent / "cur" / f"{path.name}:2,"
    path.rename(old)
    await inbound.look()
    await inbound.look(LOOK_AGAIN)
    assert ["👀"] == inbound.shown(said)
    old.rename(old.with_name(f"{path.name}:2,FS"))
    await inbound.look(LOOK_AGAIN)
    assert ["👀", "✅"] == inbound.shown(said)


async def test_a_box_that_is_gone_says_nothing(inbound: Inbound) -> None:
    """Somebody moved the whole Maildir away: nobody has read it by that."""
    said = await inbound.say("hello")
    maildir = inbound.spool.root / "incoming" / VILLA
    maildir.rename(inbound.spool.root / "elsewhere")
    await inbound.look()
    assert ["👀"] == inbound.shown(said)


async def test_threads_have_their_channels_box(inbound: Inbound) -> None:
    """A message in a thread gets its receipts there."""
    thread = inbound.thread()
    said, beside = await inbound.say("hello", thread), await inbound.say("hi")
    assert ["👀"] == inbound.shown(said, thread)
    inbound.file(said).unlink()
    await inbound.look()
    assert (["👀", "✅"], ["👀"]) == (inbound.shown(said, thread), inbound.shown(beside))


# -- restarts ----------------------------------------------------------------------------------------------


async def test_read_while_the_bridge_was_down(inbound: Inbound) -> None:
    """The first look at a start finds it."""
    said = await inbound.say("hello")
    assert {f"{inbound.emulator.guild.channel(VILLA).id}.json"} == inbound.kept().keys()
    inbound.file(said).unlink()
    inbound.start()
    await inbound.receipts.once()
    assert (["👀", "✅"], {}) == (inbound.shown(said), inbound.kept())


async def test_filed_and_not_told_before_the_end(inbound: Inbound) -> None:
    """Discord was down; the next service gives what this one could not."""
    inbound.emulator.fail(method="PUT", route=REACTION, kind="status", status=503, times=0)
    said = await inbound.say("hello")
    assert [] == inbound.shown(said)
    inbound.emulator.faults.clear()
    inbound.start()
    await inbound.receipts.once()
    assert ["👀"] == inbound.shown(said)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"channel": "../x", "filed": {"1": true}}', '{"channel": "a", "filed": []}',
     '{"channel": 5, "filed": {"1": true}}', '{"channel": "a", "filed": {"x": true}}', "[" * 5000],
)  # fmt: skip
async def test_a_file_that_cannot_be_read(inbound: Inbound, text: str) -> None:
    """Costs its receipts and nothing else: the next message has its own."""
    await inbound.say("hello")
    (path,) = (inbound.spool.root / "state" / "receipts").glob("*.json")
    path.write_text(text)
    inbound.start()
    assert 0 == inbound.receipts.pending
    assert ["👀"] == inbound.shown(await inbound.say("again"))


async def test_a_state_that_cannot_be_written(inbound: Inbound) -> None:
    """Receipts are then given from memory, and nothing else minds."""
    (inbound.spool.root / "state" / "receipts").write_text("in the way")
    said = await inbound.say("hello")
    assert ["👀"] == inbound.shown(said)
    inbound.file(said).unlink()
    await inbound.look()
    assert ["👀", "✅"] == inbound.shown(said)
    inbound.start()
    assert 0 == inbound.receipts.pending


async def test_old_ones_and_too_many_are_forgotten(inbound: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A week, and so many; the newest are kept."""
    old, young = await inbound.say("old"), await inbound.say("young")
    inbound.clock.advance(OLDEST - 45)
    new = await inbound.say("new")
    assert [{str(young), str(new)}] == [each["filed"].keys() for each in inbound.kept().values()]
    inbound.file(old).unlink()
    await inbound.look()
    assert ["👀"] == inbound.shown(old)
    assert 1000 < MOST
    monkeypatch.setattr(receipts, "MOST", 1)
    last = await inbound.say("last", "mayor-db")
    assert [{str(last)}] == [each["filed"].keys() for each in inbound.kept().values()]


# -- what Discord says -------------------------------------------------------------------------------------


async def test_the_permission_is_lacking(inbound: Inbound, caplog: pytest.LogCaptureFixture) -> None:
    """The channel has none until somebody grants it; told once, asked once an hour, threads included."""
    inbound.emulator.deny(VILLA, ADD_REACTIONS)
    thread = inbound.thread()
    said = [await inbound.say("one"), await inbound.say("two")]
    elsewhere = await inbound.say("three", "mayor-db")
    assert (["👀"], 1) == (inbound.shown(elsewhere, "mayor-db"), inbound.asked() - 1)
    assert "50013" in inbound.receipts.stopped[VILLA]
    assert [VILLA] == list(inbound.receipts.stopped)
    await inbound.look(PROBE)
    assert 1 == len([each for each in caplog.records if "no receipts there" in each.message])
    inbound.emulator.allow(VILLA, ADD_REACTIONS)
    await inbound.look(PROBE)
    in_thread = await inbound.say("four", thread)
    assert ({}, [["👀"], ["👀"]]) == (inbound.receipts.stopped, [inbound.shown(each) for each in said])
    assert ["👀"] == inbound.shown(in_thread, thread)


@pytest.mark.parametrize("code", [30010, 90001, 10008, 50083])
async def test_one_message_refuses(inbound: Inbound, code: int, caplog: pytest.LogCaptureFixture) -> None:
    """Too many reactions, a user who has blocked the bot, a message that is gone: the next has its own."""
    inbound.emulator.fail(method="PUT", route=REACTION, kind="status", status=400, code=code)
    first, second = await inbound.say("one"), await inbound.say("two")
    inbound.file(first).unlink()
    await inbound.look()
    assert ([], ["👀"], {}) == (inbound.shown(first), inbound.shown(second), inbound.receipts.stopped)
    assert (1, 2) == (inbound.receipts.pending, inbound.asked())


async def test_a_message_that_was_deleted(inbound: Inbound) -> None:
    """Between its two receipts: it is forgotten, and no more is asked."""
    said = await inbound.say("oops")
    guild = inbound.emulator.guild
    message = guild.message(guild.channel(VILLA).id, said)
    assert message is not None
    guild.remove(message)
    inbound.file(said).unlink()
    await inbound.look()
    await inbound.look()
    assert ({}, 0, 2) == (inbound.kept(), inbound.receipts.pending, inbound.asked())


async def test_a_thread_that_was_deleted(inbound: Inbound) -> None:
    """Takes all of its own with it."""
    thread = inbound.thread()
    for text in ("one", "two"):
        await inbound.say(text, thread)
    inbound.emulator.guild.remove_channel(thread)
    for path in (inbound.spool.root / "incoming" / VILLA / "new").iterdir():
        path.unlink()
    await inbound.look()
    assert (0, 3) == (inbound.receipts.pending, inbound.asked())


async def test_a_429_is_waited_for(inbound: Inbound) -> None:
    """Asked again when Discord says so, and it is no refusal."""
    inbound.emulator.fail(method="PUT", route=REACTION, kind="ratelimit", retry_after=7.0)
    before = inbound.clock()
    said = await inbound.say("hello")
    assert (["👀"], 2, True) == (inbound.shown(said), inbound.asked(), inbound.clock() - before >= 37.0)


async def test_a_refused_token_is_raised(inbound: Inbound) -> None:
    """It counts towards a ban: whoever runs this ends."""
    inbound.emulator.fail(method="PUT", route=REACTION, kind="status", status=401, times=0)
    with pytest.raises(TokenRefusedError):
        await inbound.say("hello")


# -- the task ----------------------------------------------------------------------------------------------


async def test_the_task(inbound: Inbound) -> None:
    """It sleeps while nothing is pending, wakes for what is noted, looks every few seconds, and is silent
    about what it did when it is cancelled."""
    inbound.start(watched=True)
    task = asyncio.ensure_future(inbound.receipts.run())
    try:
        await inbound.clock.sleepers(1)
        said = inbound.emulator.say(VILLA, "hello")
        await inbound.poller.cycle()
        await _until(lambda: ["👀"] == inbound.shown(said))
        inbound.file(said).unlink()
        await _until(lambda: bool(inbound.kept()))
        await _until(lambda: ["👀", "✅"] == inbound.shown(said), lambda: inbound.clock.advance(LOOK))
        await _until(lambda: not inbound.kept())
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_noted_survives_the_end(inbound: Inbound) -> None:
    """Cancelled before it came to anything, it still writes down what is owed."""
    inbound.emulator.say(VILLA, "hello")
    await inbound.poller.cycle()
    task = asyncio.ensure_future(inbound.receipts.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [1] == [len(each["filed"]) for each in inbound.kept().values()]


async def test_receipts_keep_their_pace(inbound: Inbound) -> None:
    """A backlog of several channels goes out at ten a second, whatever the limits allow."""
    for channel in (VILLA, "mayor-db"):
        for number in range(20):
            inbound.emulator.say(channel, str(number))
    await inbound.poller.cycle()
    before = inbound.clock()
    await inbound.receipts.once()
    assert 40 == inbound.asked()
    assert pytest.approx(39 * PACE, abs=0.01) == inbound.clock() - before


async def test_few_wait_at_once(inbound: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that comes while every channel is owed receipts finds no queue of them in front of it."""
    guild = inbound.emulator.guild
    inbound.clock.advance(1)
    threads = [guild.add_thread(guild.channel(VILLA), f"thread {number}", 11).id for number in range(12)]
    for thread in threads:
        inbound.emulator.say(thread, "hello")
    await inbound.poller.cycle()
    waiting, most = 0, 0
    react = DiscordClient.react

    async def reacting(client: DiscordClient, *arguments: Any) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await react(client, *arguments)
        waiting -= 1

    monkeypatch.setattr(DiscordClient, "react", reacting)
    await inbound.receipts.once()
    assert (AT_ONCE, 12) == (most, inbound.asked())


async def test_once_ends_soon(inbound: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Discord hangs, what is owed is written down for the next time."""
    monkeypatch.setattr(receipts, "ONCE", 0.2)
    inbound.emulator.fail(method="PUT", route=REACTION, kind="delay", seconds=20, times=0)
    said = await inbound.say("hello")
    assert [{str(said): False}] == [each["filed"] for each in inbound.kept().values()]
    inbound.emulator.faults.clear()
    inbound.start()
    await inbound.receipts.once()
    assert ["👀"] == inbound.shown(said)


async def test_one_look_a_channel(inbound: Inbound, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many messages are pending: one scan of new/, and none of cur/ while nothing has left."""
    thread = inbound.thread()
    for place in (VILLA, VILLA, thread, thread):
        await inbound.say("hello", place)
    looked: list[str] = []
    scandir = os.scandir

    def counting(path: int) -> Any:
        looked.append(os.readlink(f"/proc/self/fd/{path}"))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    await inbound.look(LOOK_AGAIN)
    assert [str(inbound.spool.root / "incoming" / VILLA / "new")] == looked


async def _until(condition: Callable[[], bool], act: Callable[[], object] = lambda: None) -> None:
    async with asyncio.timeout(10):
        while not condition():
            act()
            await asyncio.sleep(0.005)
