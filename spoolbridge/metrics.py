"""What passed through the service: counts since it began, and the last hour in slots of half a minute.

Counts only: no text, no name of a file's, no token. A label is a channel's address, or OTHER for a directory
that the channels file does not name, so that whoever may drop cannot make the counts grow. Memory is bounded.
Belongs to the event loop; the page and `/metrics` read it there.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

SLOT = 30.0  # seconds
SLOTS = 120  # an hour
RECENT = 300.0  # seconds that a rate is taken over
OTHER = "other"  # stands for what is no channel of the file
#: Upper bounds (seconds) of the latency's buckets: a message leaves within a second, an outage takes an hour.
BOUNDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, math.inf)
NO_ANSWER = 0  # as a status: the request came back with nothing
NEWEST = 200  # sent entries that are remembered by name
_TOO_MANY = 429
_SAMPLE = 256  # latencies kept of a slot, the newest; Discord takes 1,500 messages in one

#: Why an entry failed: Discord refused it; the bridge gave it up (too large, Not-After, unknown delivery); it
#: is no message; it can never be one (a link, empty); no such channel; its ID was used before; it holds a
#: secret; a bug.
Kind = Literal["refused", "given_up", "unreadable", "unfit", "no_channel", "reused", "withheld", "bug"]


class Settled(NamedTuple):
    """An entry that was sent: its channel's directory, where it lies below the spool, when (unix seconds)."""

    channel: str
    path: str
    at: float


@dataclass
class Slot:
    """Half a minute, from `began` (unix seconds)."""

    began: float
    sent: int = 0
    failed: int = 0
    filed: int = 0
    #: Entries that waited or were being sent, the most that were seen; None: nobody looked.
    backlog: int | None = None
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLE), repr=False)

    def latency(self, share: float) -> float | None:
        """The seconds within which that share (0 to 1) of its messages was answered; None: of none."""
        if not self.latencies:
            return None
        ranked = sorted(self.latencies)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


class Histogram:
    """Seconds by BOUNDS, each bucket by itself, and their sum."""

    def __init__(self) -> None:
        self.buckets = [0] * len(BOUNDS)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """The counts of one service. `channels` gives the addresses that may be labels; times in unix seconds,
    `ticks` in seconds that do not jump. A clock that goes back begins the hour anew.
    """

    def __init__(
        self, channels: Callable[[], Container[str]] = tuple[str, ...], *,
        clock: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._channels = channels
        self._clock, self._ticks = clock, ticks
        self._slots: deque[Slot] = deque(maxlen=SLOTS)
        self.began = clock()
        #: channel → entries since the service began.
        self.sent_by: Counter[str] = Counter()
        self.failed_by: Counter[tuple[str, Kind]] = Counter()
        self.filed_by: Counter[str] = Counter()
        #: "2xx" and so on, "none" where no answer came → requests to Discord.
        self.requests: Counter[str] = Counter()
        self.rate_limited = 0
        #: From when an entry was written to Discord's answer to its last part.
        self.latency = Histogram()
        #: channel → entries in `outgoing/` and `sending/`; empty where no page counts them.
        self.backlog: dict[str, int] = {}
        #: When the dispatcher last looked, by `ticks`.
        self.looked_at: float | None = None
        #: The newest sent entries, oldest first.
        self.newest: deque[Settled] = deque(maxlen=NEWEST)
        self.last_sent: float | None = None
        self.last_filed: float | None = None

    # -- what the flows tell ---------------------------------------------------------------------------

    def answered(self, written: float) -> None:
        """Discord has the whole of an entry that was written then."""
        seconds = max(0.0, self._clock() - written)
        self.latency.observe(seconds)
        self._slot().latencies.append(seconds)

    def sent(self, channel: str, path: str) -> None:
        """An entry was settled as sent, and lies there."""
        now = self._clock()
        self.sent_by[self._label(channel)] += 1
        self._slot().sent += 1
        self.last_sent = now
        self.newest.append(Settled(channel, path, now))

    def failed(self, channel: str, kind: Kind) -> None:
        """An entry was settled as failed, or refused before it was claimed."""
        self.failed_by[self._label(channel), kind] += 1
        self._slot().failed += 1

    def filed(self, channel: str) -> None:
        """What a human wrote was filed for the first time."""
        self.filed_by[self._label(channel)] += 1
        self._slot().filed += 1
        self.last_filed = self._clock()

    def asked(self, status: int) -> None:
        """A request to Discord came back with this HTTP status, or NO_ANSWER."""
        self.requests[f"{status // 100}xx" if status else "none"] += 1
        self.rate_limited += status == _TOO_MANY

    def looked(self) -> None:
        """The dispatcher has looked at the drop boxes."""
        self.looked_at = self._ticks()

    def counted(self, backlog: Mapping[str, int]) -> None:
        """Somebody has counted what waits and what is being sent, by channel directory."""
        self.backlog = {}
        for channel, count in backlog.items():
            label = self._label(channel)
            self.backlog[label] = self.backlog.get(label, 0) + count
        slot = self._slot()
        slot.backlog = max(slot.backlog or 0, sum(self.backlog.values()))

    # -- what the faces read ---------------------------------------------------------------------------

    @property
    def hour(self) -> list[Slot]:
        """The slots of the last hour or since the start, oldest first, the one under way included."""
        self._slot()
        return list(self._slots)

    @property
    def sent_a_minute(self) -> float:
        """Entries sent, over the last five minutes."""
        return self._rate(lambda slot: slot.sent)

    @property
    def failed_a_minute(self) -> float:
        """Entries failed, over the last five minutes."""
        return self._rate(lambda slot: slot.failed)

    @property
    def filed_a_minute(self) -> float:
        """Human messages filed, over the last five minutes."""
        return self._rate(lambda slot: slot.filed)

    def _rate(self, count: Callable[[Slot], int]) -> float:
        """By slots: what is counted lies up to half a minute more than RECENT back."""
        since = self._slot().began - RECENT
        return sum(count(slot) for slot in self._slots if slot.began > since) * 60 / RECENT

    def _label(self, channel: str) -> str:
        return channel if channel in self._channels() else OTHER

    def _slot(self) -> Slot:
        """The slot of now; those that passed meanwhile are empty ones."""
        began = self._clock() // SLOT * SLOT
        if self._slots and self._slots[-1].began > began:
            self._slots.clear()
        if not self._slots or began - self._slots[-1].began > SLOT * SLOTS:
            self._slots.clear()
            self._slots.append(Slot(began))
        while self._slots[-1].began < began:
            self._slots.append(Slot(self._slots[-1].began + SLOT))
        return self._slots[-1]
