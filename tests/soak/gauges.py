"""What a running service costs: memory, descriptors, threads, bytes below `state/`, looked at every hour.

Everything in this process is measured, so whatever belongs to the soak is bounded: the emulator forgets what
is old (`thin`), the ledger what is done. Memory is the process's own (RSS, behind a collection and a
malloc_trim) and the number of blocks that Python has given out, which is exact where RSS is coarse.
"""

from __future__ import annotations

import ctypes
import gc
import os
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from spoolbridge.emulator import Emulator
from spoolbridge.journal import FILE as JOURNAL
from spoolbridge.journal import LARGEST

FLAT = 0.05  # of what was there, that may come to it
KEEPS = 40  # messages of each channel that the emulator keeps, and
YOUNG = 75 * 60.0  # seconds for which it keeps any
_LOG = 2000  # requests that it keeps a log of
EVERY = 900.0  # seconds between two looks, less in a short soak:
LEAST = 8  # looks are needed, of which two are a quarter
_WARM = 8 * 3600.0  # seconds, below which memory is not judged
_SPARE_FILES = 3  # descriptors: what a look may meet open

_BASE = 200_000  # bytes
_A_POST, _A_MESSAGE = 1000, 300  # bytes in `state/`; some 450 and 100 as a rule

_T = TypeVar("_T")


@dataclass(frozen=True)
class Reading:
    """One look. `files`: open descriptors that are no sockets. In bytes: `journal` with all its files,
    `newest` the one that is written to, `state` with everything."""

    rss: int
    blocks: int
    files: int
    sockets: int
    threads: int
    journal: int
    newest: int
    state: int


def look(state: Path) -> Reading:
    """As of now, in this process."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    files, sockets = _descriptors()
    sizes = {path: _size(path) for path in state.rglob("*")}
    journal = sum(size for path, size in sizes.items() if path.name.startswith("journal"))
    rss = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Reading(
        rss, sys.getallocatedblocks(), files, sockets, _lasting(threads()), journal,
        sizes.get(state / JOURNAL, 0), sum(sizes.values()),
    )  # fmt: skip


def _size(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:  # the service replaces files
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _lasting(names: list[str]) -> int:
    """Without those that come when several channels have something to do at once for the first time."""
    return sum(not each.startswith("sync") for each in names)


def threads() -> list[str]:
    """Those that are alive, but for the loop's own pool."""
    return [each.name for each in threading.enumerate() if not each.name.startswith("warp")]


def files() -> list[str]:
    """What this process has open, but for sockets and pipes."""
    found = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
    paths = [os.readlink(each) for each in found if os.path.lexists(each)]
    return sorted(path for path in paths if path.startswith("/"))


def _descriptors() -> tuple[int, int]:
    kinds = []
    for each in os.listdir("/proc/self/fd"):
        try:
            kinds.append(stat.S_ISSOCK(os.fstat(int(each)).st_mode))
        except OSError:
            continue  # it was the listing's own
    return kinds.count(False), kinds.count(True)


def grown(readings: Sequence[Reading], seconds: float) -> list[str]:
    """What is not flat in readings over so long: the last quarter of them against the second, by medians."""
    if len(readings) < LEAST:
        return []
    told = []
    for name in ("rss", "blocks") if seconds >= _WARM else ():
        before, after = quarters(readings, name)
        if after > before * (1 + FLAT):
            told.append(f"{name} grew from {before:,.0f} to {after:,.0f}, by {after / before - 1:.1%}")
    for name, spare in (("files", _SPARE_FILES), ("threads", 0)):
        before, after = quarters(readings, name)
        if after > before + spare:
            told.append(f"{name} grew from {before:.0f} to {after:.0f}")
    return told


def swollen(reading: Reading, posts: int, filed: int) -> list[str]:
    """What has more bytes than so many posts and filed messages can need."""
    rest = reading.state - reading.journal
    most = {
        "the journal's newest file": (reading.newest, LARGEST + LARGEST // 20),
        "the journal": (reading.journal, _BASE + _A_POST * posts),
        "the rest of state/": (rest, _BASE + _A_MESSAGE * filed),
    }
    return [f"{what} has {has:,} bytes, more than {may:,}" for what, (has, may) in most.items() if has > may]


def quarters(readings: Sequence[Reading], name: str) -> tuple[float, float]:
    """The medians of the second quarter, for the first is warm-up, and of the last."""
    quarter = len(readings) // 4
    early, late = readings[quarter : 2 * quarter], readings[-quarter:]
    before, after = (median(getattr(each, name) for each in some) for some in (early, late))
    return float(before), float(after)


class Recent(list[_T]):
    """A list that forgets its beginning; what was appended keeps its place. Iteration shows what is left."""

    def __init__(self, keep: int = _LOG) -> None:
        super().__init__()
        self._gone, self._keep = 0, keep

    def __len__(self) -> int:
        return self._gone + super().__len__()

    def append(self, each: _T) -> None:
        super().append(each)
        if super().__len__() > 2 * self._keep:
            del self[: self._keep]
            self._gone += self._keep

    def __getitem__(self, at: Any) -> Any:
        return super().__getitem__(at - self._gone)

    def __setitem__(self, at: Any, each: Any) -> None:
        if at >= self._gone:
            super().__setitem__(at - self._gone, each)


def thin(emulator: Emulator, now: float) -> None:
    """Let the emulator forget messages that are old and not among the last."""
    for messages in emulator.guild._messages.values():
        for message_id in sorted(messages)[:-KEEPS]:
            if now - messages[message_id].created_at > YOUNG:
                del messages[message_id]
