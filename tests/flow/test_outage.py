"""An hour without a network, in both directions, while everybody goes on writing.

The clock is moved from one due moment to the next, so the hour takes seconds; everything else is real:
files, journal, cursors, client, and an emulator whose door is shut.
"""

from __future__ import annotations

import asyncio
import json
import mailbox
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest

from spoolbridge import backoff, outgoing
from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.discord.ratelimit import SELF_PACE
from spoolbridge.dispatcher import Dispatcher
from spoolbridge.emulator import Emulator
from spoolbridge.identity import WHY
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import snowflake_time
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.poller import GUILD, Poller
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.spool import Spool
from spoolbridge.tries import LATE
from tests.support.clock import FakeClock
from tests.support.waiting import until

HOUR = 3600.0  # seconds
CHANNELS = tuple(f"mayor-{number:02}" for number in range(20))
#: So long before what is due next nobody looks: the poller's rest while Discord answers.
STEP = 15.0  # seconds
POST = "/channels/{channel}/messages"


@dataclass(frozen=True)
class Dropped:
    """One message of an agent; times in unix seconds."""

    channel: str
    text: str
    written: float
    not_after: float | None = None


class Service:
    """Both halves of a service, its clock in the test's hands."""

    def __init__(self, emulator: Emulator, clock: FakeClock, root: Path, dice: random.Random) -> None:
        self.emulator, self.clock, self.dice = emulator, clock, dice
        self.spool = Spool.create(root, clock=clock)
        self.inbox = root / "discord-inbox.jsonl"
        self.dropped: list[Dropped] = []
        self.said: list[tuple[str, int]] = []  # (channel, message id)
        self.asked: list[tuple[float, str, str]] = []  # (when, method, path) of every request that was tried

    async def start(self, stack: AsyncExitStack) -> None:
        for channel in self.emulator.guild.channels:
            self.spool.add_channel(channel)
        stack.callback(self.spool.close)
        journal = Journal(stack.enter_context(self.spool.at("state")), clock=self.clock)
        stack.callback(journal.close)
        stack.enter_context(patch.object(aiohttp.ClientSession, "request", self._counted()))
        client = DiscordClient(
            self.emulator.token, api_url=self.emulator.api_url, clock=self.clock, sleep=self.clock.leap
        )
        await stack.enter_async_context(client)
        guild, jitter = self.emulator.guild, self.dice.random
        self.posting = Posting(
            journal,
            client,
            Bot(guild.bot.id, guild.id),
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=jitter,
        )
        self.dispatcher = Dispatcher(
            Intake(self.spool, clock=self.clock), self.posting, self.registry, clock=self.clock
        )
        cursors = Cursors(self.spool.fd)
        stack.callback(cursors.close)
        deliveries: list[Delivery] = [IncomingFile(self.spool.fd, cursors), InboxFile(self.inbox, cursors)]
        self.poller = Poller(
            client, self.registry, deliveries, globs=["mayor-*"], guild_id=guild.id, own_id=guild.bot.id,
            first_start=self.clock(), clock=self.clock, sleep=self.clock.sleep, jitter=jitter,
        )  # fmt: skip
        await self.poller.cycle()
        for flow in (self.dispatcher.run(), self.poller.run(asyncio.Event())):
            stack.push_async_callback(_ended, asyncio.ensure_future(flow))

    def registry(self) -> Registry:
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    def _counted(self) -> Any:
        real = aiohttp.ClientSession.request

        def request(session: aiohttp.ClientSession, method: str, url: Any, **more: Any) -> Any:
            self.asked.append((self.clock(), method, url.path))
            return real(session, method, url, **more)

        return request

    # -- who writes ------------------------------------------------------------------------------------

    def drop(self, channel: str, *, not_after: float | None = None) -> None:
        text = f"number {len(self.dropped)}"
        until = datetime.fromtimestamp(not_after or 0, UTC).isoformat()
        header = f"Spoolbridge: 1\nNot-After: {until}\n\n" if not_after else ""
        self.spool.drop(channel, (header + text).encode())
        self.dropped.append(Dropped(channel, text, self.clock(), not_after))
        self.dispatcher.ring()

    def say(self, channel: str) -> None:
        self.said.append((channel, self.emulator.say(channel, f"said {len(self.said)}")))

    # -- time ------------------------------------------------------------------------------------------

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, from one due moment to the next, everybody at rest before it goes on."""
        end = self.clock() + seconds
        while self.clock() < end:
            await self.rest()
            due = [at for at, _ in self.posting.waiting.values()]
            self.clock.advance(min([*due, self.clock() + STEP, end]) - self.clock())
        await self.rest()

    async def rest(self) -> None:
        """Return once every channel waits for a time, or has nothing left, and the poller rests."""

        def resting() -> bool:
            waiting = self.posting.waiting.keys()
            busy = [each for each in CHANNELS if each not in waiting and self._unsettled(each)]
            return not busy and self.clock.asleep == len(waiting) + 1

        await until(resting, 30.0)

    def _unsettled(self, channel: str) -> bool:
        return bool(self.spool.names(f"outgoing/{channel}") or self.spool.names(f"sending/{channel}"))

    # -- who looks -------------------------------------------------------------------------------------

    def quiet(self) -> bool:
        return not any(map(self._unsettled, CHANNELS)) and len(self.lines()) == len(self.said)

    def posted(self, channel: str) -> list[tuple[str, float]]:
        """Text and time of every message of ours in a channel."""
        own = str(self.emulator.guild.bot.id)
        found = [each for each in self.emulator.messages(channel) if each["author"]["id"] == own]
        return [(each["content"], snowflake_time(int(each["id"]))) for each in found]

    def filed(self, channel: str) -> list[int]:
        """The ids in a channel's Maildir, in the order of the names."""
        box = mailbox.Maildir(self.spool.root / "incoming" / channel, create=False)
        return [int(box[key]["X-Discord-Message-Id"]) for key in sorted(box.keys())]

    def lines(self) -> list[tuple[str, int]]:
        text = self.inbox.read_text("utf-8") if self.inbox.exists() else ""
        return [(line["channel"], int(line["id"])) for line in map(json.loads, text.splitlines())]


async def _ended(flow: asyncio.Future[Any]) -> None:
    assert not flow.done(), flow
    flow.cancel()
    await asyncio.gather(flow, return_exceptions=True)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = FakeClock(time.time())
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(clock=clock, limits=False).serve())
        for channel in CHANNELS:
            emulator.add_channel(channel)
        made = Service(emulator, clock, tmp_path / "spool", random.Random(14))
        await made.start(stack)
        yield made


async def _write_for_an_hour(service: Service, *, drops: int, messages: int) -> None:
    """Every minute some of each, anywhere; every 20th drop expires within the hour, another 20th does not."""
    began = service.clock()
    for minute in range(60):
        for number in range(len(service.dropped), drops * (minute + 1) // 60):
            expires = {0: service.clock() + 90, 7: began + 9 * HOUR}.get(number % 20)
            service.drop(service.dice.choice(CHANNELS), not_after=expires)
        for number in range(len(service.said), messages * (minute + 1) // 60):
            # Half of them in one channel: more than Discord gives on a page.
            service.say(CHANNELS[0] if number % 2 else service.dice.choice(CHANNELS))
        await service.pass_time(60.0)


def _assert_posted(service: Service, *, expired: int) -> None:
    """Every channel has its messages once, in order; what is late says so, to the minute."""
    failed = {path.read_text("utf-8").rpartition("\n")[2] for path in _entries(service, "failed")}
    assert expired == len(failed)
    for channel in CHANNELS:
        kept = [each for each in service.dropped if each.channel == channel and each.text not in failed]
        posted = service.posted(channel)
        assert [each.text for each in kept] == [text.rpartition("\n")[2] for text, _ in posted]
        for each, (text, at) in zip(kept, posted, strict=True):
            # Discord's time of it is a thousandth of a second short of ours, and the limiter may keep what is
            # stamped waiting for its second.
            assert text.rpartition("\n")[0] in {_stamp(each, at + by) for by in (-SELF_PACE, 0.0, 0.002)}


def _stamp(dropped: Dropped, at: float) -> str:
    return outgoing.late_stamp(dropped.written, at) if at - dropped.written > LATE else ""


def _entries(service: Service, state: str) -> list[Path]:
    found = (path for path in (service.spool.root / state).rglob("*") if path.is_file())
    return sorted(path for path in found if path.suffix != WHY)


def _assert_delivered(service: Service) -> None:
    """Every human's message once in the Maildir and once in the inbox file, in order."""
    for channel in CHANNELS:
        said = [message_id for place, message_id in service.said if place == channel]
        assert said == service.filed(channel)
        assert said == [message_id for place, message_id in service.lines() if place == channel]


@pytest.mark.timeout(180)  # computing takes ten seconds, and many more where cores are shared
async def test_an_hour_without_a_network(service: Service) -> None:
    """500 drops in 20 channels, 300 answers: all of it afterwards, once, in order, and no storm meanwhile."""
    for channel in CHANNELS:
        service.drop(channel)
    await service.pass_time(STEP)
    await service.emulator.down()
    began = service.clock()
    await _write_for_an_hour(service, drops=500, messages=300)
    assert len(CHANNELS) == sum(len(service.posted(channel)) for channel in CHANNELS)
    assert 0 == len(service.lines())
    assert set(CHANNELS) == service.posting.waiting.keys()
    assert [GUILD] == list(service.poller.problems)
    _assert_no_storm(service, began)
    await service.emulator.up()
    await service.pass_time(backoff.LONGEST)
    assert (True, {}, {}) == (service.quiet(), service.posting.waiting, service.poller.problems)
    _assert_delivered(service)
    stale = [each for each in service.dropped if each.not_after and each.not_after < began + HOUR]
    _assert_posted(service, expired=len(stale))
    reasons = {path.read_text("utf-8").partition("  ")[2].partition("\n")[0] for path in _reasons(service)}
    assert ({"its Not-After has passed"}, len(stale)) == (reasons, len(_reasons(service)))
    _assert_nothing_was_asked_twice(service)


def _assert_no_storm(service: Service, began: float) -> None:
    """Each channel asks ever less often, and they do not ask together."""
    tries = [(at, path) for at, method, path in service.asked if at > began and method == "POST"]
    for count in Counter(path for _, path in tries).values():
        assert 12 < count < 40
    others = sum(at > began and method == "GET" for at, method, _ in service.asked)
    assert others < 3 * len(tries)
    in_the_end = [at for at, _ in tries if at > began + HOUR / 2]
    per_second = Counter(int(at) for at in in_the_end)
    print(f"{len(tries)} tries and {others} other requests; at most {max(per_second.values())} in a second")
    assert max(per_second.values()) <= 4


def _assert_nothing_was_asked_twice(service: Service) -> None:
    """Discord has seen one request for each message; the long channel was read in pages."""
    seen = service.emulator.requests()
    posts = Counter(each.path for each in seen if each.method == "POST")
    ids = {each.id: name for name, each in service.emulator.guild.channels.items()}
    assert sum(len(service.posted(channel)) for channel in CHANNELS) == posts.total()
    assert all(len(service.posted(ids[int(path.split("/")[4])])) == count for path, count in posts.items())
    long = f"/api/v10/channels/{service.emulator.guild.channel(CHANNELS[0]).id}/messages"
    assert len(service.filed(CHANNELS[0])) > 100
    assert 2 <= sum((each.method, each.path) == ("GET", long) for each in seen) <= 6


def _reasons(service: Service) -> list[Path]:
    return sorted((service.spool.root / "failed").rglob(f"*{WHY}"))


@pytest.mark.parametrize("committed", [False, True])
async def test_an_hour_of_server_errors(service: Service, committed: bool) -> None:
    """Discord answers 503 to everything, and may have carried it out: found when it can be read again."""
    routes = (POST, "/users/@me", "/guilds/{guild}/channels", "/guilds/{guild}/threads/active")
    for route in routes:
        commit = committed and route == POST
        service.emulator.fail(
            method="*", route=route, kind="status", status=503, html=True, times=0, commit=commit
        )
    for number in range(60):
        service.drop(CHANNELS[number % 6])
    for number in range(10):
        service.say(CHANNELS[number % 2])
    await service.pass_time(HOUR)
    assert committed * 6 == sum(len(service.posted(channel)) for channel in CHANNELS)
    assert 0 == len(service.lines())
    service.emulator.faults.clear()
    await service.pass_time(backoff.LONGEST)
    assert (True, {}, {}) == (service.quiet(), service.posting.waiting, service.poller.problems)
    _assert_posted(service, expired=0)
    _assert_delivered(service)
