"""Entries on their way from `outgoing/` through `sending/` to `sent/`: renames that become durable together.

A directory is opened once and synced once for all that moves into or out of it in one turn. Where a channel's
entries go to is synced before where they come from: the other way round, a power cut between the two could
leave a name in neither. What could not be made durable is undone: nothing looks as if it had happened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from spoolbridge import atomic, syncs
from spoolbridge.syncs import Syncs

_ORDER = ("failed", "sent", "sending", "outgoing")


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

    def sync(self, many: Sequence[Moves], by: Syncs = syncs.ALONE) -> list[OSError | None]:
        """Make all of them durable; of those that the disk refused, which are undone, why."""
        channels: dict[str, set[str]] = {}
        for moves in many:
            for move in moves.made:
                channels.setdefault(move.dst.split("/")[1], set()).update((move.src, move.dst))
        groups = [[self._held[path] for path in sorted(paths, key=_rank)] for paths in channels.values()]
        refused = by.all(groups, atomic.sync_directory)
        return [moves.ended(refused) if refused else None for moves in many]


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

    def ended(self, refused: dict[int, OSError]) -> OSError | None:
        """Why some directory of these refused; they are undone then."""
        for move in self.made:
            for path in (move.dst, move.src):
                if error := refused.get(self.directories.at(path)):
                    self.undo()
                    return error
        return None

    def undo(self) -> None:
        """Put back what was moved, the last first, as far as its old place is free."""
        for name, new, src, dst in reversed(self.made):
            atomic.put_back(name, new, src=self.directories.at(src), dst=self.directories.at(dst))
        self.made.clear()
