"""One drop box as it was listed last: its names, and the order in which they are claimed.

First written first. Times of files tick in steps of 4 ms (measured), so an ID's own time counts where there
is one, and the name where times are equal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from spoolbridge import identity, ready

_HOLDS = 2.0  # seconds for which a list holds while nothing is told to have changed


class DropBox:
    """Knows the box without what was claimed or refused since it was listed. Times in unix seconds."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        #: Of those that are not ignored: when it was written (it keeps its place) and when we first saw it.
        self._known: dict[str, tuple[float, float]] = {}
        #: (when it was written, name), first written first.
        self._order: list[tuple[float, str]] = []
        #: When, and how often somebody had told until then that something may have changed.
        self._listed = 0.0
        self._told: int | None = None

    def still_holds(self, told: int | None, now: float) -> bool:
        """Whether it need not be listed again yet: of a long backlog that would be most of the work."""
        return told is not None and told == self._told and 0 <= now - self._listed < _HOLDS

    def list(self, box: int, now: float, told: int | None = None) -> None:
        """Look at what lies in the directory `box`; `told`: how often something was told to have changed."""
        names = set(os.listdir(box))
        self._listed, self._told = now, told
        if names == self.names:
            return
        for gone in self._known.keys() - names:
            del self._known[gone]
        for name in names - self.names:
            if not ready.ignored(name) and not self._place(name, box, now):
                names.discard(name)
        self.names = names
        self._order = sorted((written, name) for name, (written, _) in self._known.items())

    def waiting(self) -> Iterator[tuple[str, float, float]]:
        """(name, when it was written, when we first saw it), in order, while what was given last may be
        forgotten: a long list is not copied for its first."""
        position = 0
        while position < len(self._order):
            written, name = each = self._order[position]
            yield name, written, self._known[name][1]
            position += self._order[position : position + 1] == [each]

    def forget(self, name: str) -> None:
        """It was claimed or refused."""
        self.names.discard(name)
        if known := self._known.pop(name, None):
            self._order.remove((known[0], name))

    def _place(self, name: str, box: int, now: float) -> bool:
        """Give a name its place, which it keeps; False: it is gone."""
        if parsed := identity.parse(name):
            self._known[name] = (identity.time_of(parsed[0]), now)
            return True
        try:
            changed = os.stat(name, dir_fd=box, follow_symlinks=False).st_ctime
        except FileNotFoundError:
            return False
        self._known[name] = (min(changed, now), now)
        return True
