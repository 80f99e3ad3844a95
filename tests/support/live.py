"""The outbound half in real time: the real watcher, the real rescan, real leases, an emulator beside it.

`Live` runs in this process; `process` is the installed program, to be stopped, starved or jailed. Only
the minute for which an empty file or a second link may last is not waited for: `later` moves the clock
by which entries are judged, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolbridge import ready
from spoolbridge.channels import Channel, Registry
from spoolbridge.discord.client import DiscordClient
from spoolbridge.dispatcher import RESCAN, Dispatcher
from spoolbridge.emulator import Emulator
from spoolbridge.identity import WHY
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.spool import Spool
from spoolbridge.watcher import Watcher
from tests.support.tree import tree
from tests.support.waiting import until

_POST = "/channels/{channel}/messages"


class Live:
    """One spool and the service's outbound half on it. Discord knows the channels that `add` made."""

    def __init__(self, emulator: Emulator, spool: Spool) -> None:
        self.emulator, self.spool = emulator, spool
        self.skew = 0.0  # seconds by which entries are judged older than they are
        self.intake = Intake(spool, clock=lambda: time.time() + self.skew)
        self.ring: Callable[[], None] = lambda: self.dispatcher.ring()  # what the watcher calls
        self.knock: Callable[[str], None] = lambda channel: self.dispatcher.knock(channel)
        self.posting: Posting
        self.dispatcher: Dispatcher
        self.watcher: Watcher

    @property
    def outgoing(self) -> Path:
        return self.spool.root / "outgoing"

    def add(self, *channels: str, box: bool = True) -> None:
        """New channels on Discord; with `box` as the service makes them, with their drop boxes."""
        for channel in channels:
            self.emulator.add_channel(channel)
            if box:
                self.spool.add_channel(channel)

    def registry(self) -> Registry:
        """Whatever the guild has."""
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    def later(self, seconds: float) -> None:
        """Judge what is dropped as if so much more time had passed."""
        self.skew += seconds
        self.dispatcher.ring()

    def texts(self, channel: str) -> list[str]:
        """What was posted there, oldest first."""
        return [message["content"] for message in self.emulator.messages(channel)]

    def files(self, channel: str) -> list[list[str]]:
        """The names of what was attached to each message there."""
        found = self.emulator.messages(channel)
        return [[each["filename"] for each in message["attachments"]] for message in found]

    def arrivals(self) -> list[float]:
        """When each Create Message request came, in unix seconds."""
        seen = self.emulator.requests()
        return [each.time for each in seen if each.method == "POST" and each.route == _POST]

    def waiting(self) -> dict[str, list[str]]:
        """What lies in `outgoing/` and `sending/` and is meant for the bridge."""
        found = tree(self.spool.root, "outgoing", "sending")
        named = {place: [name for name in names if not ready.ignored(name)] for place, names in found.items()}
        return {place: names for place, names in named.items() if names}

    def reasons(self, channel: str) -> list[list[str]]:
        """The `.why` of every failed entry of a channel, in lines, without the time."""
        failed = self.spool.root / "failed" / channel
        names = sorted(name for name in self.spool.names(f"failed/{channel}") if name.endswith(WHY))
        texts = [(failed / name).read_text("utf-8").partition("  ")[2] for name in names]
        return [text.split("\n")[:-1] for text in texts]

    def failed(self, channel: str) -> list[str]:
        """The names of a channel's failed entries."""
        return sorted(name for name in self.spool.names(f"failed/{channel}") if not ready.ignored(name))

    async def posted(self, channel: str, *texts: str, seconds: float = 10.0) -> None:
        """Wait until so many messages were posted there; they must be these."""
        await until(lambda: len(self.texts(channel)) >= len(texts), seconds)
        assert list(texts) == self.texts(channel)

    async def refused(self, channel: str, count: int = 1) -> list[list[str]]:
        """Wait until so many entries of a channel have failed; their reasons."""
        await until(lambda: len(self.failed(channel)) >= count)
        return self.reasons(channel)

    async def empty(self, but: dict[str, list[str]] | None = None, *, seconds: float = 10.0) -> None:
        """Wait until nothing (`but` this) is left that is meant for the bridge."""
        await until(lambda: self.waiting() == (but or {}), seconds)

    async def alive(self, channel: str) -> None:
        """A good message in this channel is posted; whoever waits elsewhere does not keep it back."""
        before = self.texts(channel)
        await asyncio.to_thread(self.spool.drop, channel, b"alive")
        await self.posted(channel, *before, "alive")


@asynccontextmanager
async def living(root: Path, *channels: str, rescan: float = RESCAN) -> AsyncIterator[Live]:
    """A running outbound half. A long `rescan` leaves it only its doorbell."""
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(limits=False).serve())
        spool = Spool.create(root)
        stack.callback(spool.close)
        live = Live(emulator, spool)
        live.add(*channels)
        journal = Journal(stack.enter_context(spool.at("state")))
        stack.callback(journal.close)
        client = await stack.enter_async_context(DiscordClient(emulator.token, api_url=emulator.api_url))
        live.posting = Posting(journal, client, Bot(emulator.guild.bot.id, emulator.guild.id))
        live.dispatcher = Dispatcher(live.intake, live.posting, live.registry, rescan=rescan)
        live.watcher = Watcher(root, lambda: live.ring(), knock=lambda channel: live.knock(channel))
        live.watcher.start()
        stack.callback(live.watcher.stop)
        running = asyncio.ensure_future(live.dispatcher.run())
        try:
            yield live
        finally:
            ended = running.done()
            running.cancel()
            (error,) = await asyncio.gather(running, return_exceptions=True)
            if ended:
                raise AssertionError("the dispatcher had ended by itself") from error


@dataclass(frozen=True)
class Service:
    """The installed program at work on `spool`, its log in `log`."""

    emulator: Emulator
    spool: Path
    log: Path

    def status(self) -> dict[str, Any]:
        """What it said of itself last."""
        said: dict[str, Any] = json.loads((self.spool / "state" / "status.json").read_text("utf-8"))
        return said

    def texts(self, channel: str) -> list[str]:
        return [message["content"] for message in self.emulator.messages(channel)]


@asynccontextmanager
async def process(place: Path, *channels: str, prefix: Sequence[str] = ()) -> AsyncIterator[Service]:
    """`spoolbridge run`, started through `prefix`, until its first STATUS is there; ended by SIGTERM."""
    spool, log = place / "spool", place / "service.log"
    async with Emulator(limits=False).serve() as emulator:
        Spool.create(spool).close()
        ids = {channel: str(emulator.add_channel(channel)) for channel in channels}
        (spool / "discord-channels.json").write_text(json.dumps(ids))
        program = os.path.join(os.path.dirname(sys.executable), "spoolbridge")
        environment = {
            "PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "DISCORD_BOT_TOKEN": emulator.token,
            "SPOOLBRIDGE_API_URL": emulator.api_url, "SPOOLBRIDGE_SPOOL": str(spool),
        }  # fmt: skip
        with log.open("ab") as errors:
            started = await asyncio.create_subprocess_exec(
                *prefix, program, "run", env=environment, cwd=place, stderr=errors
            )
        try:
            status = spool / "state" / "status.json"
            await until(lambda: status.exists() or started.returncode is not None, 20.0)
            assert started.returncode is None, log.read_text("utf-8")
            yield Service(emulator, spool, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                started.terminate()
            assert 0 == await asyncio.wait_for(started.wait(), 15.0), log.read_text("utf-8")
