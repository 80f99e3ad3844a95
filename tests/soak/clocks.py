"""One time for everything in this process: the loop's, `time.time()`, and what files say of themselves.

`install` has to come before anything of the package is imported, for its default clocks are bound at import.
Imports nothing of ours. The soak patches here, and injects nothing: what reads a clock behind somebody's back
is then found out like everything else.

A file's times are the kernel's, so they are translated: to what the clock showed when the kernel's clock
showed that. The kernel's ticks are up to `TICK` apart, in which a virtual minute may pass; for what agents
write, `wrote` notes the exact time. `st_mtime_ns` and `st_ctime_ns` stay the kernel's: those are only ever
compared with each other.
"""

from __future__ import annotations

import os
import shutil  # noqa: F401  (looks at import whether os.stat is the real one)
import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

#: 2026-12-01 00:00 UTC: every run has the same days.
DAY = 1_796_083_200.0
TICK = 0.01  # seconds between two ticks of the clock by which the kernel stamps files; 4 ms as a rule
_GRAIN = 1.0  # virtual seconds between two notes of which time it was
_EXACT = 2000  # files of which `wrote` is remembered

_real_time, _real_monotonic = time.time, time.monotonic
_real_lstat = os.lstat


class Clocks:
    """`steps`: how far the wall clock of this machine is off. Discord's clock (`true`) does not step."""

    def __init__(self, hours: float, *, begin: float = 8.0) -> None:
        """For so many hours, from the hour `begin` of the day on."""
        self.start = DAY + begin * 3600
        self.virtual: Callable[[], float] = lambda: 0.0
        self.steps = 0.0
        # Filled at once: the soak's own memory must not grow.
        size = int(hours * 3600 / _GRAIN) + 100_000
        self._real, self._wall, self._notes = array("d", [0.0]) * size, array("d", [0.0]) * size, 0
        self._noted = -_GRAIN
        self._exact: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def install(self) -> None:
        """From now on, in this process."""
        time.time, time.monotonic = self.wall, self.monotonic
        os.stat, os.fstat = self._translated(os.stat), self._translated(os.fstat)
        os.lstat = self._lstat
        self.passed()

    def monotonic(self) -> float:
        return self.virtual()

    def true(self) -> float:
        """Seconds since 1970, as Discord has them."""
        return self.start + self.virtual()

    def wall(self) -> float:
        """Seconds since 1970, as this machine has them."""
        return self.start + self.virtual() + self.steps

    def passed(self) -> None:
        """Virtual time has moved on."""
        if self.virtual() - self._noted >= _GRAIN:
            self._note()

    def step(self, seconds: float) -> None:
        """Somebody sets the clock of this machine."""
        self.steps += seconds
        self._note()

    def _note(self) -> None:
        self._noted = self.virtual()
        self._real[self._notes], self._wall[self._notes] = _real_time(), self.wall()
        self._notes += 1

    def wrote(self, path: str) -> None:
        """What was just written there was written now."""
        status = _real_lstat(path)
        self._exact[status.st_ino] = (status.st_ctime_ns, self.wall())
        if len(self._exact) > _EXACT:
            self._exact.popitem(last=False)

    def _shown(self, real: float) -> float:
        """What the wall clock showed when the kernel's clock showed that, or a tick later."""
        at = bisect_right(self._real, real + TICK, 0, self._notes) - 1
        return min(self._wall[max(at, 0)], self.wall())

    def _translated(self, real: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def call(*args: Any, **kwargs: Any) -> os.stat_result:
            return self._in_our_time(real(*args, **kwargs))

        return call

    def _lstat(self, path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        return self._in_our_time(_real_lstat(path, dir_fd=dir_fd))

    def _in_our_time(self, status: os.stat_result) -> os.stat_result:
        exact = self._exact.get(status.st_ino)
        if exact and exact[0] == status.st_ctime_ns:
            changed = written = exact[1]
        else:
            changed, written = self._shown(status.st_ctime), self._shown(status.st_mtime)
        told = {
            "st_atime": status.st_atime, "st_mtime": written, "st_ctime": changed,
            "st_atime_ns": status.st_atime_ns, "st_mtime_ns": status.st_mtime_ns,
            "st_ctime_ns": status.st_ctime_ns, "st_blksize": status.st_blksize, "st_blocks": status.st_blocks,
        }  # fmt: skip
        return os.stat_result(tuple(status)[:10], told)


def real_time() -> float:
    """Seconds that somebody waits for the soak."""
    return _real_monotonic()
