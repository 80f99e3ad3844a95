"""When the poller looks at what: which places are due, and how long it rests between two looks.

A place is a channel or a thread, known by its id. Its hint is the id of its last message as the guild
lists it: 0 for none, None where it is not known. Promises that a place whose hint has changed since its
last complete fetch is due at once, and that every place's turn comes in a sweep besides, because how
fresh hints are is not documented; a few at a time, for 500 fetches at one moment would hold up those
where people talk. Pure: asks nothing, reads no clock; `now` is in seconds, its zero does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

INTERVAL = 15.0  # seconds between two looks when it is quiet
BUSY_INTERVAL = 2.0  # seconds between two looks while people talk
BUSY_FOR = 60.0  # seconds after a message for which that counts as talking
SWEEP = 600.0  # seconds in which every place is fetched, whatever its hint says

_HEAD_START = 1.25  # how much faster than one period a sweep may go, so that it does not lag behind
_LONGEST_GAP = 60.0  # seconds; a machine that slept does not catch up all at once


class Sweep:
    """Takes each of many places once a period, the longest untaken first, never many at a time."""

    def __init__(self, period: float = SWEEP, *, burst: int = 20) -> None:
        """`burst`: so many may be taken at once, at the start or after a long rest."""
        self._period, self._burst = period, burst
        self._credit = float(burst)
        self._asked: float | None = None
        self._taken: dict[int, float] = {}

    def taken(self, place: int, at: float) -> None:
        """It was looked at, in its turn or out of it."""
        self._taken[place] = at

    def give_back(self, place: int) -> None:
        """It could not be looked at: its turn comes again soon."""
        self._taken.pop(place, None)

    def keep(self, places: Collection[int]) -> None:
        """Forget every other place."""
        self._taken = {place: at for place, at in self._taken.items() if place in places}

    def take(self, places: Iterable[int], now: float) -> list[int]:
        """Those whose turn it is. They count as taken from now on, whatever comes of them."""
        known = list(places)
        gap = 0.0 if self._asked is None else min(now - self._asked, _LONGEST_GAP)
        self._asked = now
        pace = len(known) * _HEAD_START / self._period
        self._credit = min(self._credit, float(self._burst)) + gap * pace
        waiting = [place for place in known if now - self._age(place) >= self._period]
        chosen = sorted(waiting, key=self._age)[: int(self._credit)]
        self._credit -= len(chosen)
        for place in chosen:
            self._taken[place] = now
        return chosen

    def _age(self, place: int) -> float:
        return self._taken.get(place, -math.inf)


class Schedule:
    """What was fetched when, and what follows from it."""

    def __init__(self, *, interval: float = INTERVAL, burst: int = 20) -> None:
        self._interval = interval
        self._sweep = Sweep(burst=burst)
        self._hints: dict[int, int | None] = {}
        self._heard: float | None = None

    def keep(self, places: Collection[int]) -> None:
        """Forget every other place: it is polled no longer."""
        self._hints = {place: hint for place, hint in self._hints.items() if place in places}
        self._sweep.keep(places)

    def knows(self, place: int) -> bool:
        """Whether it was fetched, or passed over, before."""
        return place in self._hints

    def fetched(self, place: int, hint: int | None, at: float) -> None:
        """A place was fetched to its end, from that time on; `hint` is what was known of it before."""
        self._hints[place] = hint
        self._sweep.taken(place, at)

    def passed_over(self, place: int, hint: int) -> None:
        """Not fetched, for by its hint there is nothing new; its turn in the sweep comes all the same."""
        self._hints[place] = hint

    def moved(self, place: int, hint: int | None) -> bool:
        """Whether there may be something new: another hint than before, none at all, or never looked at."""
        return hint is None or not self.knows(place) or hint != self._hints[place]

    def doubt(self) -> None:
        """What was fetched may not have been all: every place is to be looked at as at the start."""
        self._hints.clear()

    def swept(self, places: Iterable[int], now: float) -> list[int]:
        """Those that are to be fetched now whatever their hints say."""
        return self._sweep.take(places, now)

    def heard(self, now: float) -> None:
        """Somebody has written."""
        self._heard = now

    def rest(self, now: float) -> float:
        """Seconds until the next look."""
        talking = self._heard is not None and now - self._heard < BUSY_FOR
        return min(self._interval, BUSY_INTERVAL) if talking else self._interval
