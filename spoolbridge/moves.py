"""Entries on their way from `outgoing/` through `sending/` to `sent/`: renames that become durable together.

A directory is opened once and synced once for all that moves into or out of it in one turn. Where a channel's
entries go to is synced before where they come from: the other way round, a power cut between the two could
leave a name in neither. What could not be made durable is undone: nothing looks as if it had happened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import NamedTuple, Self

from spoolbridge import atomic

_ORDER = ("failed", "sent", "sending", "outgoing")
SHARES = 4  # threads that wait for the disk at the same time


class _Move(NamedTuple):
    name: str
    new: str
    src: str
    dst: str


class Directories:
    """Directories below the root behind the descriptor `root`, each held from its first use to the end."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._held: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._held.values():
            os.close(fd)

    def at(self, path: str) -> int:
        """The descriptor of a directory. Raises OSError: there is none, or a link in its place."""
        fd = self._held.get(path)
        if fd is None:
            fd = self._held[path] = atomic.open_directory(path, at=self._root)
        return fd

    def sync(self, many: Sequence[Moves], pool: Executor | None = None) -> list[OSError | None]:
        """Make all of them durable; of those that the disk refused, which are undone, why. In a `pool`
        channels do not wait for each other's directories."""
        channels: dict[str, set[str]] = {}
        for moves in many:
            for move in moves.made:
                channels.setdefault(move.dst.split("/")[1], set()).update((move.src, move.dst))
        groups = [sorted(paths, key=_rank) for paths in channels.values()]
        own, *others = _shares(groups, SHARES if pool else 1)
        waiting = []
        for share in others:
            try:
                assert pool is not None
                waiting.append(pool.submit(self._sync_all, share))
            except RuntimeError:  # no thread is to be had
                own += share
        refused = self._sync_all(own)
        for each in waiting:
            refused |= each.result()
        return [moves.ended(refused) if refused else None for moves in many]

    def _sync_all(self, paths: Sequence[str]) -> dict[str, OSError]:
        """Those that the disk refused."""
        refused: dict[str, OSError] = {}
        for path in paths:
            try:
                atomic.sync_directory(self._held[path])
            except OSError as error:
                refused[path] = error
        return refused


def _shares(groups: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    """All of the groups dealt out to so many, or fewer, the first of them first; each whole."""
    dealt = [[path for group in groups[number::count] for path in group] for number in range(count)]
    return [share for number, share in enumerate(dealt) if share or number == 0]


def _rank(path: str) -> int:
    return _ORDER.index(path.partition("/")[0])


class Moves:
    """Renames that stand or fall together."""

    def __init__(self, directories: Directories) -> None:
        self.directories = directories
        self.made: list[_Move] = []

    def move(self, name: str, new: str, *, src: str, dst: str) -> None:
        """As `atomic.rename`; durable once `Directories.sync` has said so. Raises the same."""
        atomic.rename(name, new, src=self.directories.at(src), dst=self.directories.at(dst))
        self.made.append(_Move(name, new, src, dst))

    def settle(self) -> None:
        """Make these durable by themselves. Raises OSError: they are undone."""
        (error,) = self.directories.sync([self])
        if error:
            raise error

    def ended(self, refused: dict[str, OSError]) -> OSError | None:
        """Why some directory of these refused; they are undone then."""
        for move in self.made:
            for path in (move.dst, move.src):
                if path in refused:
                    self.undo()
                    return refused[path]
        return None

    def undo(self) -> None:
        """Put back what was moved, the last first, as far as its old place is free."""
        for name, new, src, dst in reversed(self.made):
            atomic.put_back(name, new, src=self.directories.at(src), dst=self.directories.at(dst))
        self.made.clear()
