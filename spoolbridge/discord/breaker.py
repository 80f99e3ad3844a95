"""One door for every request: it closes when Cloudflare turns this address away, and before it would.

Owns two reasons to ask nothing at all: an answer of the edge's (discord-api-docs #5810, #7137), and the count
of invalid requests (401, 403 and 429 that is not `shared`), of which 10,000 in 10 minutes earn a ban of the
address. Promises: after a ban exactly one request tries the door, the others wait for what comes of it.
No I/O and no clock. Must never be reset by a restart of the caller's loop: it belongs to the process.
"""

from __future__ import annotations

import math
from collections import deque

#: Seconds that the door stays closed after the edge's first refusal, doubled up to the second figure.
FIRST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0
#: Discord bans at 10,000 in 600 s; a bridge that has come to 500 is doing something wrong already.
INVALID_LIMIT = 500
INVALID_WINDOW = 600.0
#: Seconds between two looks at whether the one request that tries the door has come back.
PROBE_PAUSE = 1.0

TURNED_AWAY = "Cloudflare, in front of Discord, turned this address away"


class Breaker:
    """Closed means that `wait` is above 0."""

    def __init__(self) -> None:
        self._closed_until = -math.inf
        self._strikes = 0
        self._probing = False
        self._invalid: deque[float] = deque()

    def wait(self, now: float) -> float:
        """Seconds until a request may be made."""
        if now < self._closed_until:
            return self._closed_until - now
        if self._probing:
            return PROBE_PAUSE
        if self.invalid_requests(now) >= INVALID_LIMIT:
            return self._invalid[0] + INVALID_WINDOW - now
        return 0.0

    def why(self, now: float) -> str:
        """Why the door is closed, as the middle of a sentence; empty where it is open."""
        if now < self._closed_until or self._probing:
            return TURNED_AWAY
        if self.invalid_requests(now) >= INVALID_LIMIT:
            return f"{INVALID_LIMIT} requests were refused in {INVALID_WINDOW / 60:.0f} minutes"
        return ""

    def invalid_requests(self, now: float) -> int:
        """How many of the last 10 minutes count towards a ban."""
        while self._invalid and self._invalid[0] <= now - INVALID_WINDOW:
            self._invalid.popleft()
        return len(self._invalid)

    def enter(self) -> bool:
        """A request leaves; True where it is the one that tries the door."""
        self._probing = self._strikes > 0
        return self._probing

    def leave(self, now: float, *, probe: bool) -> None:
        """It came back with an answer of Discord's own: the door is open."""
        if probe:
            self._probing = False
        # An answer to something asked before the ban says nothing about the ban.
        if now >= self._closed_until:
            self._strikes = 0

    def cancel(self, *, probe: bool) -> None:
        """It came back with nothing: the next one tries the door."""
        if probe:
            self._probing = False

    def turned_away(self, now: float, retry_after: float | None, *, probe: bool) -> None:
        """The edge answered. What was in flight at the same time is the same strike, not another."""
        if probe:
            self._probing = False
        if now >= self._closed_until:
            self._strikes += 1
        pause = min(FIRST_PAUSE * 2 ** (min(self._strikes, 10) - 1), LONGEST_PAUSE)
        self._closed_until = max(self._closed_until, now + (pause if retry_after is None else retry_after))

    def count_invalid(self, now: float) -> None:
        self._invalid.append(now)
