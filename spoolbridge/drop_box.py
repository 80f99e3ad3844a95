"""One drop box as it was listed last: its names, and the order in which they are claimed.

First written first. Times of files tick in steps of 4 ms (measured), so an ID's own time counts where there
is one, and the name where times are equal. Of an entry with an ID nothing but its name is kept, for it is
its own place in the order: a box may hold a hundred thousand.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from spoolbridge import identity, ready

_HOLDS = 2.0  # seconds for which a list holds while nothing is told to have changed
#: Seconds a name for which it holds whatever is told: to list one takes a hundredth of that, and what comes
#: now has its place behind what waits, unless it was written before.
_REST = 1e-4


class _Plain(NamedTuple):
    """A name without an ID. It keeps the place that it was given when it was first seen."""

    written: float  # unix seconds
    place: str  # sorts among IDs


class DropBox:
    """Knows the box without what was claimed or refused since it was listed. Times in unix seconds."""

    def __init__(self) -> None:
        #: Names that are not ignored, first written first.
        self._order: list[str] = []
        self._plain: dict[str, _Plain] = {}
        #: When somebody first looked at one that is still there.
        self._seen: dict[str, float] = {}
        #: When, and how often somebody had told until then that something may have changed.
        self._listed = 0.0
        self._told: int | None = None

    def still_holds(self, told: int | None, now: float) -> bool:
        """Whether it need not be listed again yet: of a long backlog that would be most of the work."""
        rest = _REST * len(self._order)
        unchanged = told is not None and told == self._told
        return 0 <= now - self._listed < (max(rest, _HOLDS) if unchanged else rest)

    def list(self, box: int, now: float, told: int | None = None) -> None:
        """Look at what lies in the directory `box`; `told`: how often something was told to have changed."""
        names, known = set(os.listdir(box)), set(self._order)
        self._listed, self._told = now, told
        gone = known - names
        come = [name for name in names - known if not ready.ignored(name) and self._place(name, box, now)]
        for name in gone:
            self._plain.pop(name, None)
            self._seen.pop(name, None)
        if gone or come:
            left = [name for name in self._order if name not in gone]
            self._order = sorted([*left, *come], key=self._place_of)

    def waiting(self, now: float) -> Iterator[tuple[str, float, float]]:
        """(name, when it was written, when it was first looked at), in order; what was given last may be
        forgotten meanwhile: a long list is not copied for its first."""
        position = 0
        while position < len(self._order):
            name = self._order[position]
            yield name, self._written(name), self._seen.setdefault(name, now)
            position += self._order[position : position + 1] == [name]

    def forget(self, name: str) -> None:
        """It was claimed or refused."""
        self._plain.pop(name, None)
        self._seen.pop(name, None)
        with suppress(ValueError):  # it has gone already
            self._order.remove(name)

    def _place(self, name: str, box: int, now: float) -> bool:
        """Give a name its place, which it keeps; False: it is gone."""
        if identity.parse(name):
            return True
        try:
            changed = os.stat(name, dir_fd=box, follow_symlinks=False).st_ctime
        except FileNotFoundError:
            return False
        written = min(changed, now)
        self._plain[name] = _Plain(written, f"{identity.stamp(written)}.{name}")
        return True

    def _place_of(self, name: str) -> str:
        plain = self._plain.get(name)
        return plain.place if plain else name

    def _written(self, name: str) -> float:
        if plain := self._plain.get(name):
            return plain.written
        parsed = identity.parse(name)
        assert parsed is not None  # else it is plain
        return identity.time_of(parsed[0])
