"""A clock that moves only when a test says so, and the sleep that goes with it. Also: the kernel's ticks."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path


class FakeClock:
    """Call it for the time (seconds); hand `sleep` to whatever sleeps; `advance` wakes who is due.

    Nothing here waits for real time: `await clock.sleepers(1)` ends when somebody has gone to sleep,
    so a test advances the clock only once the code under test has come to rest.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        #: Seconds that it is wrong by: ahead of `true`.
        self.ahead = 0.0
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    def true(self) -> float:
        """The time that others have, and how time passes, however this clock is set."""
        return self.now - self.ahead

    def set(self, seconds: float) -> None:
        """By so much, while no time passes."""
        self.now += seconds
        self.ahead += seconds

    @property
    def asleep(self) -> int:
        """How many sleep now."""
        return len(self._sleeping)

    async def sleep(self, seconds: float) -> None:
        """As asyncio.sleep, on this clock."""
        entry = (self.now + max(seconds, 0.0), asyncio.get_running_loop().create_future())
        self._sleeping.append(entry)
        self._changed.set()
        try:
            await entry[1]
        finally:
            if entry in self._sleeping:
                self._sleeping.remove(entry)

    async def sleepers(self, count: int = 1) -> None:
        """Return once at least `count` sleep."""
        while len(self._sleeping) < count:
            self._changed.clear()
            await self._changed.wait()

    def advance(self, seconds: float) -> None:
        """Move on; those whose time has come wake, the earliest first."""
        self.now += seconds
        due = sorted((entry for entry in self._sleeping if entry[0] <= self.now), key=lambda entry: entry[0])
        for entry in due:
            self._sleeping.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

    async def leap(self, seconds: float) -> None:
        """A sleep that is over at once, the clock moved on by it: for waits that a test does not watch."""
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)


def next_tick(directory: Path) -> None:
    """Return once the clock has ticked by which the kernel stamps files there."""
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        path = Path(file.name)
        first = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == first:
            path.touch()
