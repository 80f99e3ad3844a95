"""What does not work inbound, since when, and until when it is left alone.

Each is kept under whose trouble it is: a channel's address and, within it, "thread 157…" or "mail".
Says a trouble in the log where it is new, and waits longer the longer it lasts. Pure but for the log:
the time is asked of the clock that is given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from spoolbridge import backoff
from spoolbridge.errors import SpoolbridgeError, UnreachableError
from spoolbridge.rendering import one_line

Key = tuple[str, str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Trouble:
    """A sentence; clock's times."""

    sentence: str
    since: float
    until: float


class Troubles:
    """`clock` is in seconds; `jitter` as in `backoff`."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        self._clock, self._jitter = clock, jitter
        self._known: dict[Key, _Trouble] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    @property
    def problems(self) -> dict[str, str]:
        """The sentences by channel address."""
        found: dict[str, list[str]] = {}
        for (address, part), trouble in self._known.items():
            found.setdefault(address, []).append(f"{part}: {trouble.sentence}" if part else trouble.sentence)
        return {address: "; ".join(sentences) for address, sentences in found.items()}

    def note(self, key: Key, error: Exception) -> None:
        """Leave it alone for a while that grows with the trouble's age, or as long as Discord says."""
        now, known = self._clock(), self._known.get(key)
        expected = isinstance(error, (OSError, SpoolbridgeError))
        sentence = one_line(str(error) if expected else f"a bug: {type(error).__name__}", 300)
        since = known.since if known else now
        asked = error.retry_after if isinstance(error, UnreachableError) else None
        wait = backoff.delay(now - since, jitter=self._jitter) if asked is None else asked
        self._known[key] = _Trouble(sentence, since, now + wait)
        if known is None or known.sentence != sentence:
            _log.warning("%s waits: %s", shown(key), sentence)

    def pop(self, key: Key, default: None = None) -> None:
        """It is over, where it was."""
        self._known.pop(key, default)

    def keep(self, keys: Collection[Key]) -> None:
        """Forget every other one."""
        self._known = {key: trouble for key, trouble in self._known.items() if key in keys}

    def wait(self, key: Key) -> float:
        """Seconds for which it is left alone yet; 0: no longer, or there is none."""
        return max(0.0, self._known[key].until - self._clock()) if key in self._known else 0.0


def shown(key: Key) -> str:
    return f"{key[0]} ({key[1]})" if key[1] else key[0]
