"""What was found in directories, found again only where something may have come or gone.

Hundreds of drop boxes in which nothing happens cost a `stat` each and no listing. What comes, goes or is
renamed stamps its directory; what is written into a file does not, so only names may be found here. Case by
case:

- Two changes within one tick of the clock that stamps bear one stamp. So only a listing is kept that was
  made `SURE` behind the first sight of its stamp, by this machine's monotonic clock: the other may be a
  server's, or be set.
- Who copies a tree (rsync, tar) puts its mtime back, and cannot put back its ctime. Both are looked at, for
  a file system may keep only one.
- A directory in another's place has another inode, or the same, used again, and then another stamp. A link
  or a file there is opened like a directory, and refused.
- A listing that failed (rights, too many descriptors) is made again the next time.
- Directories with a million names between them that change all the time would be listed all the time: where
  what is found may be late, there is `rest`. What all of them cost counts, for twenty that are long are as
  much work as one that is twenty times as long.
- Where nothing is stamped, or old stamps are shown for a while (over a network), a listing is kept for
  `ANYWAY` and no longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Generic, TypeVar

from spoolbridge import atomic

SURE = 2.5  # seconds; the slowest clock that stamps directories, FAT's, ticks every two
ANYWAY = 30.0  # seconds after which a directory is listed whatever its stamp says
LONG = 0.001  # seconds of processor time; a directory that takes less has no rest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Glance(Generic[T]):
    """Times by the monotonic clock."""

    stamp: tuple[int, ...]
    seen: float  # when the directory was first seen with that stamp
    made: float  # when this was found
    cost: float  # seconds of processor time
    found: T


class Glances(Generic[T]):
    """`find` gets the descriptor of a directory, and what it makes of the names there is kept."""

    def __init__(
        self, find: Callable[[int], T], *, anyway: float = ANYWAY, rest: float = 0.0,
        clock: Callable[[], float] = time.perf_counter, effort: Callable[[], float] = time.thread_time,
    ) -> None:  # fmt: skip
        """`anyway`: longer where thousands of names lie and nothing waits for what is found. `rest`: times as
        long as all directories take together, for which what was found in a long one is kept.
        `clock`: seconds that pass on this machine, whoever sets its time; `effort`: seconds of processor
        time, without what other threads take meanwhile."""
        self._find = find
        self._anyway = anyway
        self._rest = rest
        self._clock = clock
        self._effort = effort
        self._known: dict[str, _Glance[T]] = {}
        #: What it costs to list all of them once.
        self._cost = 0.0

    def at(self, path: str, *, at: int) -> T:
        """What `find` makes of the directory `path` below the descriptor `at`. Raises OSError as opening it
        does."""
        stamp = _stamp(path, at)
        now = self._clock()  # behind the stamp and before the listing, so that neither wait counts for `SURE`
        seen, known = now, self._known.get(path)
        if known and known.stamp == stamp:
            if known.made - known.seen >= SURE and now - known.made < self._anyway:
                return known.found
            seen = known.seen
        if known and known.cost >= LONG and 0 <= now - known.made < self._rest * self._cost:
            return known.found
        began = self._effort()
        with atomic.directory(path, at=at) as fd:
            found = self._find(fd)
        cost = self._effort() - began
        self._cost += cost - (known.cost if known else 0.0)
        self._known[path] = _Glance(stamp, seen, now, cost, found)
        return found

    def keep(self, paths: Container[str]) -> None:
        """Forget every other directory."""
        for gone in [path for path in self._known if path not in paths]:
            self._cost -= self._known.pop(gone).cost


def _stamp(path: str, at: int) -> tuple[int, ...]:
    status = os.stat(path, dir_fd=at, follow_symlinks=False)
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_dev
