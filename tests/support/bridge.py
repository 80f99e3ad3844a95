"""The outbound half of a service in this process, to be started, stopped, killed and started again.

Everything is real but Discord and time: files, journal, client and the emulator's socket. The clock
stands still unless a test (or a wait) moves it; it begins at the real time, for files carry that.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import web

from spoolbridge import atomic, identity, inbox, ready
from spoolbridge.channels import Channel, Registry
from spoolbridge.discord.client import DiscordClient
from spoolbridge.dispatcher import Dispatcher
from spoolbridge.emulator import Emulator, bodies
from spoolbridge.identity import WHY
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.metrics import Metrics
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.spool import Entry, Spool
from tests.support.clock import FakeClock
from tests.support.tree import tree
from tests.support.waiting import until

MESSAGES = "/channels/{channel}/messages"
READ_MESSAGE_HISTORY = 1 << 16
SEND_MESSAGES = 1 << 11
VIEW_CHANNEL = 1 << 10
CHANNELS = ("general", "mayor-villa")
RESCAN = 0.1  # seconds, of real time; the tests ring, this finds what nothing rings for


class Bridge:
    """One spool and what a service does with it. `watched`: a wait ends when the test moves the clock;
    otherwise every wait is over at once, the clock moved on by it."""

    def __init__(self, emulator: Emulator, clock: FakeClock, root: Path) -> None:
        self.emulator, self.clock = emulator, clock
        self.spool = Spool.create(root, clock=clock)
        self.watched = False
        self.metrics = Metrics(lambda: self.registry().addresses, clock=clock)
        self.timeout = 30.0  # seconds that the client waits for an answer, of real time
        #: Every body of a Create Message that arrived: payload, files as (name, bytes).
        self.arrived: list[tuple[dict[str, Any], list[tuple[str, bytes]]]] = []
        self._running: asyncio.Task[None] | None = None
        self._died_as_expected = False
        self._state = -1

    # -- the service's life ----------------------------------------------------------------------------

    def registry(self) -> Registry:
        """Whatever the guild has."""
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    async def start(self) -> None:
        """Begin to dispatch."""
        await self.open()
        self._running = asyncio.ensure_future(self.dispatcher.run())

    async def open(self) -> None:
        """Build everything as the service does, and start nothing."""
        for address in self.registry().addresses:
            self.spool.add_channel(address)
        self._state = atomic.open_directory("state", at=self.spool.fd)
        self.journal = Journal(self._state, clock=self.clock)
        self.client = DiscordClient(
            self.emulator.token, api_url=self.emulator.api_url,
            clock=self.clock.true, sleep=self.clock.leap, timeout=self.timeout, heard=self.metrics.asked,
        )  # fmt: skip
        await self.client.__aenter__()
        self.bot = Bot(self.emulator.guild.bot.id, self.emulator.guild.id)
        self.posting = Posting(
            self.journal, self.client, self.bot,
            quote=partial(inbox.quoted, self.spool), clock=self.clock,
            sleep=self.clock.sleep if self.watched else self.clock.leap, jitter=lambda: 1.0,
            answered=self.metrics.answered,
        )  # fmt: skip
        self.intake = Intake(
            self.spool, clock=self.clock, refused=lambda channel: self.metrics.failed(channel, "unfit")
        )
        self.dispatcher = Dispatcher(
            self.intake, self.posting, self.registry,
            clock=self.clock, rescan=RESCAN, metrics=self.metrics,
        )  # fmt: skip

    async def stop(self) -> None:
        """End it as SIGTERM does where what is under way does not end in time."""
        if self._state < 0:
            return
        running, self._running = self._running, None
        ended = await _cancelled(running) if running else None
        await self.client.__aexit__(None, None, None)
        self.journal.close()
        os.close(self._state)
        self._state = -1
        if ended is not None and not self._died_as_expected:
            raise AssertionError("the dispatcher had ended by itself") from ended
        self._died_as_expected = False

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing is written any more about what was under way."""
        with patch.object(self.journal, "unknown"):
            await self.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def ended(self) -> BaseException:
        """What the dispatcher ended with by itself; all errors of its group are of one kind."""
        assert self._running is not None
        await asyncio.wait([self._running], timeout=10)
        self._died_as_expected = True
        error, *others = _leaves(self._running.exception())
        assert all(type(error) is type(each) for each in others)
        return error

    # -- who writes ------------------------------------------------------------------------------------

    def drop(self, text: str | bytes | None, channel: str = "general", **more: Any) -> Entry:
        """As `send` and the MCP tool do it; the time goes on a little."""
        self.clock.now += 0.001
        data = text.encode() if isinstance(text, str) else text
        entry = self.spool.drop(channel, data, **more)
        self.ring()
        return entry

    def echo(self, text: str, channel: str = "general", name: str = "note") -> Path:
        """As a shell does it: `echo text > outgoing/channel/name`, and time goes on until it has settled."""
        path = self.box(channel) / name
        subprocess.run(["sh", "-c", 'echo "$1" > "$0"', path, text], check=True, timeout=10)
        self.settle()
        return path

    def settle(self) -> None:
        """Let what was written until now be old enough."""
        self.clock.now = max(self.clock.now, time.time()) + ready.SETTLE
        self.ring()

    def ring(self) -> None:
        if self._running is not None:
            self.dispatcher.ring()

    def box(self, channel: str = "general") -> Path:
        """A channel's drop box."""
        return self.spool.root / "outgoing" / channel

    # -- who looks -------------------------------------------------------------------------------------

    def texts(self, channel: str = "general") -> list[str]:
        """What the bot has in a channel on Discord, oldest first."""
        own = str(self.emulator.guild.bot.id)
        found = self.emulator.messages(channel)
        return [message["content"] for message in found if message["author"]["id"] == own]

    def posts(self, channel: str = "general") -> int:
        """How many Create Message requests a channel has seen, answered or not."""
        path = f"/api/v10/channels/{self.emulator.guild.channel(channel).id}/messages"
        return sum((each.method, each.path) == ("POST", path) for each in self.emulator.requests())

    @property
    def nonces(self) -> list[str]:
        """The nonces of all requests that arrived."""
        return [payload["nonce"] for payload, _ in self.arrived]

    def tree(self, *below: str) -> dict[str, list[str]]:
        """The states of outgoing messages, or only these."""
        return tree(self.spool.root, *(below or ("outgoing", "sending", "sent", "failed")))

    async def settled(self, entry: Entry) -> Entry:
        """The entry once it lies in sent/ or failed/."""

        def at_rest() -> bool:
            found = self.spool.find(entry.id)
            return found is not None and found.state in ("sent", "failed")

        await until(at_rest)
        found = self.spool.find(entry.id)
        assert found is not None
        return found

    async def all(self, state: str, count: int = 1) -> list[Entry]:
        """Every entry of a state, once there are so many, in the order of their IDs."""
        await until(lambda: len(self._entries(state)) >= count)
        return self._entries(state)

    async def only(self, state: str) -> Entry:
        """The one entry of a state, once it is there."""
        (entry,) = await self.all(state)
        return entry

    def _entries(self, state: str) -> list[Entry]:
        names = [path.name for path in (self.spool.root / state).rglob("*")]
        parsed = {each for name in names if not ready.ignored(name) and (each := identity.parse(name))}
        found = [self.spool.find(entry_id) for entry_id, _ in sorted(parsed)]
        return [entry for entry in found if entry is not None and entry.state == state]

    def why(self, entry: Entry) -> list[str]:
        """The lines of its reason."""
        return entry.path.with_name(entry.path.name + WHY).read_text("utf-8").splitlines()

    def retry(self, entry: Entry, **words: str) -> None:
        """Do what its reason says, in a shell; `words` replace what is to be filled in."""
        command = "\n".join(self.why(entry)).partition("\nRetry: ")[2]
        for word, value in words.items():
            command = command.replace(word, value)
        subprocess.run(["sh", "-c", command], check=True, timeout=10)
        self.ring()

    def retry_sent(self, entry: Entry) -> None:
        """Move a sent entry back, as an operator may."""
        subprocess.run(["mv", str(entry.path), str(self.box(entry.channel)) + "/"], check=True, timeout=10)
        self.ring()

    async def parked(self, channel: str) -> None:
        """Return once the channel is closed to the bot."""
        await until(lambda: channel in self.dispatcher.parked)

    async def quiet(self) -> None:
        """Return once nothing is dropped, claimed or under way."""
        await until(lambda: not self.tree("outgoing", "sending"))

    async def scanned(self, times: int = 3) -> None:
        """Return once the dispatcher has looked so often, and so would have found what there is."""
        looked = 0
        look = self.intake.look

        def counting() -> Any:
            nonlocal looked
            looked += 1
            return look()

        with patch.object(self.intake, "look", counting):
            while looked < times:
                self.ring()
                await asyncio.sleep(0.005)


@asynccontextmanager
async def bridging(
    root: Path, *, channels: Sequence[str] = CHANNELS, start: bool = True, **emulator: Any
) -> AsyncIterator[Bridge]:
    """A bridge to an emulated guild; what is named beyond goes to the emulator."""
    clock = FakeClock(time.time())
    async with Emulator(clock=clock.true, **{"limits": False, **emulator}).serve() as served:
        for name in channels:
            served.add_channel(name)
        made = Bridge(served, clock, root)
        with patch.object(bodies, "read", _recording(made)):
            try:
                if start:
                    await made.start()
                yield made
            finally:
                await made.stop()
                made.spool.close()


async def _cancelled(task: asyncio.Task[None]) -> BaseException | None:
    """What it had ended with before it was cancelled."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    return None if isinstance(ended, asyncio.CancelledError) else ended


def _leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [] if error is None else [error]


def _recording(bridge: Bridge) -> Any:
    read = bodies.read

    async def reading(request: web.Request, *, most: int) -> Any:
        body, uploads = await read(request, most=most)
        if request.method == "POST" and request.path.endswith("/messages"):
            bridge.arrived.append((body, [(each.filename, each.data) for each in uploads]))
        return body, uploads

    return reading
