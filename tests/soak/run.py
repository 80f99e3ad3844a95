"""One soak: the service on a town's day, in its weather, and the checks of every hour and of the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoolbridge import audit, channels, service
from spoolbridge.comparison import FAILURES
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.parts import Parts
from spoolbridge.spool import Spool
from tests.soak import gauges
from tests.soak.clocks import Clocks
from tests.soak.disk import SERVICE, Disk
from tests.soak.town import Town
from tests.soak.weather import Weather
from tests.soak.world import World
from tests.support.crashes import Killed

HOUR = 3600.0  # seconds
LATENCY = 0.05  # seconds from a request to its answer
END = 1500.0  # seconds that the service gets to be done with everything, once the weather is fine
_LIVES = 120.0  # seconds within which a service that is to die at its next changes has to make them

log = logging.getLogger(__name__)


class Complaints(logging.Handler):
    """What must not be said: an error with a traceback, a bug in words, an exception that nobody saw."""

    def __init__(self, wrong: list[str], disk: Disk) -> None:
        super().__init__(logging.WARNING)
        self._wrong, self._disk = wrong, disk
        self.warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("aiohttp") or self._disk.dead:
            return  # the emulator's end of a connection that broke; the last words of the dead
        self.warnings += 1
        told = record.getMessage()
        if record.exc_info or "bug" in told or "bridge itself" in told:
            error = record.exc_info and record.exc_info[1]
            self._wrong.append(f"the log says: {record.name}: {told} {error!r}")

    def unraisable(self, hooked: Any) -> None:
        if not (isinstance(hooked.exc_value, Killed) or self._disk.dead):
            self._wrong.append(f"nobody was told of {hooked.exc_value!r} in {hooked.object!r}")

    def unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, Killed) or self._disk.dead):
            self._wrong.append(f"the loop was left with: {context['message']} {error!r}")


@dataclass
class Service:
    """The service, which lives and dies: one at a time, in this process."""

    world: World
    starts: int = 0
    running: asyncio.Task[None] | None = None
    #: Whether everything is built: the lock, the watcher, the flows.
    up: bool = False
    _door: asyncio.Lock = field(default_factory=asyncio.Lock)

    def start(self) -> None:
        self.world.disk.live()
        self.starts += 1
        token = SERVICE.set(True)
        try:
            self.running = asyncio.create_task(service.run(self.world.settings, ready=self._ready))
        finally:
            SERVICE.reset(token)
        self.running.add_done_callback(self._ended)

    def _ready(self, parts: Parts) -> None:
        self.up = True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.up = False
        if not self._door.locked() and not task.cancelled():
            self.world.ledger.wrong.append(f"the service ended by itself: {task.exception()!r}")

    async def restart(self, how: str) -> None:
        """By SIGTERM, or killed at one of its next calls that change a file."""
        async with self._door:
            await (self._stop() if how == "stop" else self._kill())
            await asyncio.sleep(self.world.dice.choice((1.0, 5.0, 200.0)))
            self.start()
            await asyncio.sleep(1.0)  # until it listens to signals

    async def stop(self) -> None:
        async with self._door:
            await self._stop()

    async def _stop(self) -> None:
        assert self.running is not None
        if self.running.done():
            return  # by itself, which is told
        os.kill(os.getpid(), signal.SIGTERM)
        (error,) = await asyncio.gather(self.running, return_exceptions=True)
        if error is not None:
            self.world.ledger.wrong.append(f"SIGTERM ended the service with {error!r}")

    async def _kill(self) -> None:
        assert self.running is not None
        self.world.disk.die(self.world.dice.randrange(60))
        await asyncio.wait({self.running}, timeout=_LIVES)
        self.world.disk.die_now()
        self.running.cancel()
        (error,) = await asyncio.gather(self.running, return_exceptions=True)
        if not _died(error):
            self.world.ledger.wrong.append(f"killed, the service ended with {error!r}")


def _died(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_died(each) for each in error.exceptions)
    return isinstance(error, Killed | asyncio.CancelledError)


@dataclass
class Hour:
    """A line of the table."""

    number: float
    dropped: int
    posted: int
    said: int
    filed: int
    open: tuple[int, int]
    starts: int
    reading: gauges.Reading

    def __str__(self) -> str:
        at, waits = self.reading, f"{self.open[0]}/{self.open[1]}"
        return (
            f"{self.number:4.4g}  {self.dropped:7,}  {self.posted:7,}  {self.said:7,}  {self.filed:7,}"
            f"  {waits:>7}  {self.starts:6}  {at.rss / 1e6:7.1f}  {at.blocks:9,}  {at.files:5}"
            f"  {at.threads:7}  {at.journal / 1e3:8.0f}  {at.state / 1e3:6.0f}"
        )


HEAD = (
    "hour  dropped   posted     said    filed  waiting  starts   RSS MB     blocks  files  threads"
    "  jrnl kB  st. kB"
)


class Soak:
    """Hours of one town. `wrong`: what did not hold."""

    def __init__(self, root: Path, clocks: Clocks, disk: Disk, seed: int) -> None:
        emulator = Emulator(clock=clocks.true, latency=LATENCY)
        self.world = World(root, emulator, clocks, disk, random.Random(seed))
        self.readings: list[gauges.Reading] = []
        self._told = 0
        self.complaints = Complaints(self.wrong, disk)
        self.service = Service(self.world)

    @property
    def wrong(self) -> list[str]:
        return self.world.ledger.wrong

    async def run(self, hours: float, plan: dict[float, str]) -> None:
        """So many hours; `plan`: second → a trouble that is made then, whatever the dice say."""
        async with self._town() as (town, weather):
            people, sky = asyncio.create_task(town.run()), asyncio.create_task(weather.run())
            began = self.world.now
            people.add_done_callback(self._gone)
            sky.add_done_callback(self._gone)
            planned = [asyncio.create_task(_at(second, weather.make(what))) for second, what in plan.items()]
            looks = max(gauges.LEAST, round(hours * HOUR / gauges.EVERY))
            for number in range(1, looks + 1):
                await asyncio.sleep(began + number * hours * HOUR / looks - self.world.now)
                await self._look()
                if number % 4 == 0:
                    self._hour(number * hours / looks, town)
            town.rest()
            for task in (*planned, sky):
                task.cancel()
            await asyncio.gather(*planned, sky, return_exceptions=True)
            self.world.emulator.faults.clear()
            await asyncio.sleep(END)
            await self._last(town, hours)
            people.cancel()
            await asyncio.gather(people, return_exceptions=True)

    def _gone(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self.wrong.append(f"the soak itself is wrong: {task.exception()!r}")

    @asynccontextmanager
    async def _town(self) -> AsyncIterator[tuple[Town, Weather]]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.complaints.unhandled)
        sys.unraisablehook = self.complaints.unraisable
        logging.getLogger().addHandler(self.complaints)
        async with self.world.emulator.serve():
            self.world.found()
            before = gauges.files(), gauges.threads()
            self.service.start()
            await asyncio.sleep(30)
            town, weather = Town(self.world), Weather(self.world, self.service.restart)
            try:
                yield town, weather
            finally:
                await self.service.stop()
                town.close()
                weather.close()
                gc.collect()
                self.wrong.extend(_left(*before))

    async def _look(self) -> None:
        """At what it costs, once it is up: who has just been killed costs nothing."""
        while not self.service.up:
            await asyncio.sleep(10)
        gauges.thin(self.world.emulator, self.world.now)
        self.readings.append(gauges.look(self.world.settings.spool / "state"))

    def _hour(self, number: float, town: Town) -> None:
        world = self.world
        town.read()
        town.tidy()
        town.questions()
        world.ledger.settle(world.settings.spool, world.now, everything=False)
        world.ledger.arrive(world.now, everything=False)
        book = world.ledger
        self.wrong.extend(gauges.swollen(self.readings[-1], book.posts, book.filed))
        counts = (book.dropped, book.posts, book.said, book.filed, book.open)
        print(Hour(number, *counts, self.service.starts, self.readings[-1]), flush=True)
        self.tell()

    def tell(self) -> None:
        """What has turned out to be wrong since the last time."""
        for each in self.wrong[self._told :]:
            print(f"WRONG: {each}", flush=True)
        self._told = len(self.wrong)

    async def _last(self, town: Town, hours: float) -> None:
        """The weather is fine, everybody has had time: nothing may wait any more, says an audit too."""
        world = self.world
        town.read()
        await self._audit()
        world.ledger.settle(world.settings.spool, world.now, everything=True)
        world.ledger.arrive(world.now, everything=True)
        self.wrong.extend(gauges.grown(self.readings, hours * HOUR))

    async def _audit(self) -> None:
        settings, spool = self.world.settings, Spool(self.world.settings.spool)
        try:
            async with DiscordClient(settings.token, api_url=settings.api_url) as client:
                registry = channels.load(settings.channels)
                report = await audit.audit(client, settings, spool, registry, self.world.clocks.wall() - HOUR)
        finally:
            spool.close()
        self.wrong.extend(f"audit: {each}" for each in report.findings if each.what in FAILURES)
        print(f"audit: {report.summary}")


def _left(files: list[str], threads: list[str]) -> Iterator[str]:
    """What a service that has ended has not given back."""
    for what, before, after in (("file", files, gauges.files()), ("thread", threads, gauges.threads())):
        for each, more in (Counter(after) - Counter(before)).items():
            yield f"{more} of the {what} {each} was left behind"


async def _at(second: float, act: Any) -> None:
    await asyncio.sleep(second)
    await act
