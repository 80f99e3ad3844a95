"""Removing what has been kept for long enough: once a day by the service, or by hand.

A removal that fails is told, and the others go on; two that prune at once find some of it gone. What a crash
leaves, the next prune finds. The journal's files are for the one who holds the spool's lock: removed is the
oldest first, and compressed what is a week old.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

from spoolbridge import atomic, handed, journal_files, lock
from spoolbridge.errors import SpoolBusyError, SpoolError
from spoolbridge.identity import WHY, day_of
from spoolbridge.journal import Journal
from spoolbridge.journal_files import Dated
from spoolbridge.prunable import KINDS, Removal, held, journal_of, not_after, plan
from spoolbridge.rendering import one_line
from spoolbridge.retention import DAY, Retention
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread

BATCH = 500  # removals; 10 ms or so
FIRST = 60.0  # seconds from the start to the first look: a start has other things to do
EVERY = 24 * 3600.0  # seconds from the end of one to the next
COMPRESSED = 7 * DAY  # seconds after which a file of the journal is compressed
_JOURNAL = "state/journal-"
_FEW = 10  # troubles that are told one by one

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What was removed: by kind how many and how many bytes; and what could not be, with the reason."""

    count: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def add(self, removal: Removal) -> None:
        if not removal.empty:
            self.count[removal.kind] += 1
            self.size[removal.kind] += removal.size

    def told(self) -> dict[str, Any]:
        """For programs."""
        kinds = {kind: {"count": self.count[kind], "bytes": self.size[kind]} for kind in KINDS}
        return {"kinds": kinds, "troubles": [{"path": path, "why": why} for path, why in self.troubles]}

    def __str__(self) -> str:
        return ", ".join(
            f"{kind} {self.count[kind]} ({self.size[kind]} bytes)" for kind in KINDS if self.count[kind]
        )


async def daily(
    spool: Spool, retention: Retention, journal: Journal, *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:  # fmt: skip
    """Prune once a day until cancelled, some at a time and beside the event loop."""
    await sleep(FIRST)
    while True:
        tally = Tally()
        try:
            now = await in_thread(not_after, spool, clock())
            await _once(spool, retention, journal, now, tally)
        except (OSError, SpoolError) as error:
            log.warning("pruning was cut short: %s", error)
        if tally.count:
            log.info("pruned: %s", tally)
        for path, why in tally.troubles[:_FEW]:
            log.warning("%s cannot be removed: %s", one_line(path), why)
        if len(tally.troubles) > _FEW:
            log.warning("nor can %d others be", len(tally.troubles) - _FEW)
        await sleep(EVERY)


async def _once(spool: Spool, retention: Retention, journal: Journal, now: float, tally: Tally) -> None:
    removals = plan(spool, retention, now)
    while (few := await in_thread(_few, removals)) is not None:
        await in_thread(carry_out, spool, few, tally, forget=journal.forget)
    with spool.at("state") as state:
        for file in await in_thread(compressible, state, now):
            await in_thread(journal.compress, file)


def _few(removals: Iterator[Removal | None]) -> list[Removal] | None:
    """The next of them, as far as one look goes; None: there are no more."""
    found: list[Removal] = []
    for each in removals:
        if each is None:
            return found
        found.append(each)
        if len(found) == BATCH:
            return found
    return found or None


def carry_out(
    spool: Spool, removals: Iterable[Removal], tally: Tally, *, forget: Callable[[Dated], object]
) -> None:
    """Remove them, and add what became of it to `tally`. `forget` removes a file of the journal."""
    for place, group in groupby(removals, lambda each: each.path.rpartition("/")[0]):
        left = list(group)
        try:
            with suppress(FileNotFoundError), held(spool, place) as at:
                while left:
                    _try(spool, left.pop(0), at, tally, forget)
        except OSError as error:  # nobody can go there
            tally.troubles += [(each.path, error.strerror or str(error)) for each in left]


def _try(spool: Spool, removal: Removal, at: int, tally: Tally, forget: Callable[[Dated], object]) -> None:
    name = removal.path.rpartition("/")[2]
    file = journal_files.named(name) if removal.kind == "journal" else None
    if file is not None and any(path.startswith(_JOURNAL) for path, _ in tally.troubles):
        return  # without the one before it: what fell into a gap would look as if it had never been tried
    try:
        if file is not None:
            forget(file)
            tally.add(removal)
        elif _removed(spool, removal, name, at):
            tally.add(removal)
    except OSError as error:
        tally.troubles.append((removal.path, error.strerror or str(error)))


def by_hand(
    spool: Spool, retention: Retention, now: float, tally: Tally, *, dry_run: bool
) -> Iterator[Removal]:
    """Remove what may go, and tell it one by one; with `dry_run` only that. Safe while a service runs, whose
    the journal then is. Raises OSError."""
    for each in filter(None, plan(spool, retention, now, journal=dry_run)):
        if dry_run:
            tally.add(each)
        else:
            carry_out(spool, [each], tally, forget=_nothing)
        yield each
    if dry_run:
        return
    with suppress(SpoolBusyError), lock.holding(spool), spool.at("state") as state:
        files = list(journal_of(spool, retention.journal, now))
        carry_out(spool, files, tally, forget=partial(journal_files.remove, state))
        for file in compressible(state, now):
            journal_files.compress(state, file)
        yield from files


def _nothing(_: Dated) -> None:
    """There is no file of the journal in such a plan."""


def compressible(state: int, now: float) -> list[Dated]:
    """The journal's files that are a week old and still plain."""
    names = set(os.listdir(state))
    return [
        each for each in journal_files.dated(state)
        if each.name in names and each.day < day_of(now - COMPRESSED)
    ]  # fmt: skip


def _removed(spool: Spool, removal: Removal, name: str, at: int) -> bool:
    """False: it is gone already, or somebody has used it meanwhile."""
    try:
        status = os.stat(name, dir_fd=at, follow_symlinks=False)
        if removal.changed and removal.changed != status.st_ctime_ns:
            return False
        if removal.kind == "lists":
            handed.forget(at, name)
        elif removal.empty:
            os.rmdir(name, dir_fd=at)
        elif stat.S_ISDIR(status.st_mode):
            _remove_tree(spool, name, at)
        else:
            os.unlink(name, dir_fd=at)
        if removal.kind == "failed":
            with suppress(FileNotFoundError):
                os.unlink(name + WHY, dir_fd=at)
    except FileNotFoundError:
        return False
    except OSError as error:
        if removal.empty and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _remove_tree(spool: Spool, name: str, at: int) -> None:
    """By one rename, so that nobody meets half of it; what a crash leaves in tmp/ is swept."""
    with spool.at("tmp") as tmp:
        moved = f"pruned.{os.urandom(8).hex()}"
        os.rename(name, moved, src_dir_fd=at, dst_dir_fd=tmp)
        atomic.remove(moved, at=tmp)
