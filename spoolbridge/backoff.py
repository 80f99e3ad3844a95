"""How long to wait before the next try: a function of age, so that a restart changes nothing.

Nothing counts attempts. A young failure is tried again soon, an old one rarely, and two entries that
failed together drift apart by the jitter.
"""

from __future__ import annotations

import random
from collections.abc import Callable

SHORTEST = 5.0  # seconds
LONGEST = 300.0  # seconds; an outage's end is noticed within five minutes


def delay(
    age: float,
    *,
    shortest: float = SHORTEST,
    longest: float = LONGEST,
    jitter: Callable[[], float] = random.random,
) -> float:
    """Seconds to wait where the first failure is `age` seconds ago; `jitter` answers in [0, 1)."""
    return min(max(age, shortest), longest) * (0.5 + 0.5 * jitter())
