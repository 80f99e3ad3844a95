"""One limit of Discord's: how full it is, learnt from headers. No I/O and no clock: `now` is given.

Most limits have been leaky buckets since November 2022 (discord-api-docs #7680): tokens return one by one,
and `Reset-After` is the time until *all* are back. A few are still fixed windows; no header tells which, but
in a fixed window the moment of the reset stands still while tokens are taken.

The state of a leaky bucket is one number, the moment at which it will be full: taking a token moves it one
period away, and there is room for a request while it is at most `limit - 1` periods off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

LIMIT = "X-RateLimit-Limit"
REMAINING = "X-RateLimit-Remaining"
RESET = "X-RateLimit-Reset"
RESET_AFTER = "X-RateLimit-Reset-After"

#: Seconds added to a wait: two requests may travel for different times.
SLACK = 0.05
#: Seconds by which the reset of a fixed window may seem to move (rounding in the header).
STANDSTILL = 0.05
#: A derived period may exceed its newest upper bound by rounding alone up to this factor.
ROUNDING = 1.05


class Figures(NamedTuple):
    """The four numbers of one answer. `reset` is Discord's own clock, in seconds; the rest needs no clock."""

    limit: int
    remaining: int
    reset: float
    reset_after: float

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Figures | None:
        """The numbers in these headers; None where one is missing or makes no sense."""
        limit, remaining = number(headers.get(LIMIT)), number(headers.get(REMAINING))
        reset, reset_after = number(headers.get(RESET)), number(headers.get(RESET_AFTER))
        if limit is None or remaining is None or reset_after is None or limit < 1:
            return None
        left = min(int(remaining), int(limit))
        return cls(int(limit), left, 0.0 if reset is None else reset, reset_after)


def number(text: object) -> float | None:
    """A finite number of at least 0, or None: what a header or a body says is not to be trusted further."""
    if text is None or isinstance(text, bool) or not isinstance(text, str | int | float):
        return None
    try:
        value = float(text)
    except (ValueError, OverflowError):
        return None
    return value if 0 <= value < math.inf else None


class Bucket:
    """Tokens, as many as Discord says; before the first headers there is no limit.

    `in_flight` counts requests whose answer is still to come: the figures of an answer do not know of them.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.full_at = -math.inf
        self.blocked_until = -math.inf
        self._limit = 0
        self._remaining = 0
        self._left = 0
        self._period = 0.0
        self._reset = 0.0
        self._fixed = False

    def wait(self, now: float) -> float:
        """Seconds until one request fits; 0 where it fits now."""
        free_at = max(self.blocked_until, self._free_at(now))
        return free_at - now + SLACK if free_at > now else 0.0

    def _free_at(self, now: float) -> float:
        if self._limit == 0:
            return now
        if self._fixed:
            return self.full_at if self._left < 1 else now
        return self.full_at - (self._limit - 1) * self._period

    def take(self, now: float) -> None:
        """Count one request that leaves now."""
        self.in_flight += 1
        if self._fixed:
            self._left = (self._limit if self.full_at <= now else self._left) - 1
        elif self._limit:
            self.full_at = max(self.full_at, now) + self._period

    def release(self) -> None:
        """The answer came, or never will. The token stays taken: the server may have counted it."""
        self.in_flight -= 1

    def learn(self, figures: Figures, now: float) -> None:
        """Believe an answer: it is newer than anything reckoned here."""
        if figures.limit != self._limit:
            self._limit, self._period, self._fixed = figures.limit, 0.0, False
        else:
            self._fixed = self._stands_still(figures, now)
        self._period = self._period_from(figures)
        self._remaining = figures.remaining
        self._left = max(0, figures.remaining - self.in_flight)
        self._reset = figures.reset
        others = 0.0 if self._fixed else self.in_flight * self._period
        self.full_at = now + figures.reset_after + others

    def block(self, seconds: float, now: float) -> None:
        """Let nothing through for so long, and one request then: a 429 knows better than any figure."""
        self.blocked_until = max(self.blocked_until, now + seconds)
        rest = 0.0 if self._fixed else (self._limit - 1) * self._period
        self.full_at = min(self.full_at, self.blocked_until + rest)

    @property
    def empty(self) -> bool:
        """Whether the last answer said that no token is left."""
        return self._remaining == 0

    def idle(self, now: float) -> bool:
        """Whether forgetting it would change nothing: it is full, and nobody waits for an answer."""
        return not self.in_flight and max(self.full_at, self.blocked_until) <= now

    def _stands_still(self, figures: Figures, now: float) -> bool:
        if not figures.reset or now >= self.full_at or self._period <= 2 * STANDSTILL:
            return self._fixed  # nothing to be seen from here
        return abs(figures.reset - self._reset) < STANDSTILL and figures.remaining <= self._left

    def _period_from(self, figures: Figures) -> float:
        # Remaining is rounded down, so the true period lies between these two; the largest lower bound
        # is the best guess, until an upper bound shows that the limit itself has changed.
        used = figures.limit - figures.remaining
        lower = figures.reset_after / used if used else 0.0
        upper = figures.reset_after / (used - 1) if used > 1 else math.inf
        return max(self._period, lower) if self._period <= upper * ROUNDING else lower
