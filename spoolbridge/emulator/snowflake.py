"""Discord's ids: a time, a worker, a process and a sequence number in one integer.

Owns the making of ids: each one greater than every one made before it, as one worker of Discord's makes
them. `at()` makes an id for another moment, so that a message can become visible after a younger one
(Discord promises rough order only). Never reads a clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

EPOCH_MS = 1_420_070_400_000  # milliseconds, 2015-01-01T00:00:00Z: Discord's own beginning of time
WORKER = 1 << 17  # worker 1, process 0: any one pair would do, real ids carry some pair
SEQUENCES = 1 << 12  # ids that one worker makes in one millisecond


class Snowflakes:
    """Makes ids from an injected clock (seconds since 1970, after 2015)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0
        self._late = 0

    def next(self) -> int:
        """A new id of this moment; where the clock stands still or goes back, the next one in line."""
        made = first_of(self._clock())
        if made <= self._last:
            made = self._last + 1
            if (made & (SEQUENCES - 1)) == 0:  # the millisecond is full: go on in the next one
                made = first_of(seconds_of(self._last) + 0.001)
        self._last = made
        return made

    def at(self, seconds: float) -> int:
        """An id of another moment, as a slower worker would have made it; the line of `next` goes on."""
        self._late += 1
        return first_of(seconds) + SEQUENCES + self._late  # from process 1 on: never equal to an id of `next`


def first_of(seconds: float) -> int:
    """The first id of a moment. Raises ValueError before 2015, where Discord has no ids."""
    milliseconds = round(seconds * 1000) - EPOCH_MS
    if milliseconds <= 0:
        raise ValueError("the emulator's clock must give seconds since 1970, later than the year 2015")
    return (milliseconds << 22) + WORKER


def seconds_of(snowflake: int) -> float:
    """When an id was made, in seconds since 1970."""
    return ((snowflake >> 22) + EPOCH_MS) / 1000


def moment(seconds: float, *, digits: int = 6) -> datetime:
    """A time as a client is told it: what it says as a cursor must compare equal."""
    return datetime.fromtimestamp(round(seconds, digits), UTC)


def iso(seconds: float, *, digits: int = 3) -> str:
    """A moment as Discord writes it: 2026-01-01T00:00:00.123000+00:00, exact to `digits`."""
    return moment(seconds, digits=digits).isoformat(timespec="microseconds")
