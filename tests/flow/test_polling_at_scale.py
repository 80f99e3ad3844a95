"""Five hundred channels are polled for little more than the five that are talked in: in virtual time."""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import IncomingMessage
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import Poller
from spoolbridge.spool import Spool
from tests.support import warp
from tests.support.pace import LATENCY

NAMES = [f"mayor-{number:03}" for number in range(500)]
ACTIVE = NAMES[::100]  # five of them
EVERY = 10.0  # seconds between two messages of one of those, on average
MINUTES = 12  # so that a sweep of all channels, which takes ten, falls into it

MOST_REQUESTS = 4.0  # a second on average, the start and the sweep counted
MOST_LAG = 3.0  # seconds from a message to its files, at the median


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return warp.WARPED


@dataclass
class Town:
    """A guild, and what became of the messages that people wrote in it."""

    emulator: Emulator
    root: Path
    clock: Callable[[], float]
    said: dict[int, float] = field(default_factory=dict)
    filed: dict[int, float] = field(default_factory=dict)

    def registry(self) -> Registry:
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    async def talk(self, name: str, seconds: float) -> None:
        """Somebody writes now and then for so long."""
        moods, end = random.Random(name), self.clock() + seconds
        while True:
            await asyncio.sleep(moods.uniform(0.5 * EVERY, 1.5 * EVERY))
            if self.clock() >= end:
                return
            self.said[self.emulator.say(name, "news")] = self.clock()

    def note(self, message: IncomingMessage) -> None:
        """The first delivery has put it into its file."""
        self.filed.setdefault(message.id, self.clock())

    def lags(self) -> list[float]:
        """Seconds from each message to its file."""
        return [self.filed[each] - at for each, at in self.said.items()]

    def in_maildirs(self) -> list[int]:
        files = [each for name in NAMES for each in (self.root / "spool/incoming" / name / "new").glob("*")]
        return sorted(int(each.name.split(".D")[1].partition(".")[0]) for each in files)

    def in_inbox(self) -> list[int]:
        lines = (self.root / "inbox.jsonl").read_text("utf-8").splitlines()
        return sorted(int(json.loads(line)["id"]) for line in lines)


@asynccontextmanager
async def polled(root: Path) -> AsyncIterator[Town]:
    """The poller at work on all channels, with the deliveries that every bridge has."""
    async with AsyncExitStack() as stack:
        clock, seconds = warp.clock(time.time()), asyncio.get_running_loop().time
        emulator = await stack.enter_async_context(Emulator(clock=clock, latency=LATENCY).serve())
        for name in NAMES:
            emulator.say(emulator.add_channel(name), "from before the bridge")
        await asyncio.sleep(60)
        town = Town(emulator, root, clock)
        spool = Spool.create(root / "spool", clock=clock)
        stack.callback(spool.close)
        cursors = Cursors(spool.fd)
        stack.callback(cursors.close)
        deliveries = [IncomingFile(spool.fd, cursors), InboxFile(root / "inbox.jsonl", cursors)]
        for delivery in deliveries:
            delivery.recover()
        client = DiscordClient(emulator.token, api_url=emulator.api_url, clock=seconds)
        poller = Poller(
            await stack.enter_async_context(client), town.registry, deliveries,
            globs=["mayor-*"], guild_id=emulator.guild.id, own_id=emulator.guild.bot.id,
            first_start=clock(), clock=seconds,
            report=town.note,
        )  # fmt: skip
        stop = asyncio.Event()
        running = asyncio.ensure_future(poller.run(stop))
        try:
            yield town
        finally:
            stop.set()
            await running


@pytest.mark.timeout(180)  # computing takes a quarter of a minute, more where cores are shared
async def test_five_hundred_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve minutes from the first start on: few requests, no 429, every message soon in both files."""
    # Thousands of cursors are written here; what survives a power cut is shown elsewhere.
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    async with polled(tmp_path) as town:
        began = town.clock()
        await asyncio.gather(*(town.talk(name, MINUTES * 60) for name in ACTIVE))
        await asyncio.sleep(began + MINUTES * 60 + 30 - town.clock())  # what was written last comes too
        requests = [each for each in town.emulator.requests() if each.time < began + MINUTES * 60]
    rate, lags = len(requests) / (MINUTES * 60), town.lags()
    routes = Counter(each.route for each in requests)
    tenth = statistics.quantiles(lags, n=10)[-1]
    print(f"{rate:.2f} requests a second: {dict(routes)}")
    print(f"{len(lags)} lags: {statistics.median(lags):.2f} s at the median, {tenth:.2f} s for nine in ten,"
          f" {max(lags):.2f} s at most")  # fmt: skip
    assert {200} == {each.status for each in requests}
    assert sorted(town.said) == town.in_maildirs() == town.in_inbox()
    assert len(town.said) >= 0.8 * len(ACTIVE) * MINUTES * 60 / EVERY
    assert rate <= MOST_REQUESTS
    assert statistics.median(lags) <= MOST_LAG
