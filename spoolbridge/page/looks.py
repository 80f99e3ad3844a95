"""What lies in the spool, as far as a picture needs it: the newest of each, never all of it.

Runs in a thread. Directories that only grow are listed when they have changed and not with each look, `sent/`
once at the start; what is read of a file is bounded. Opens no link, writes nothing.
"""

from __future__ import annotations

import heapq
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, TypeVar

from spoolbridge import failures, header, holds, identity, inbox, ready
from spoolbridge.failures import Failure
from spoolbridge.identity import WHY
from spoolbridge.inbox import Received
from spoolbridge.metrics import Settled
from spoolbridge.spool import Spool

SHOWN = 12  # entries of a channel in one state
MESSAGES = 8  # each way
FAILURES = 12  # of all channels; the newest, for what is below them is looked for as well
_COUNTED = 20_000  # names of a drop box that are counted
_LOOKED_AT = 2000  # and of those the ones that are looked at, for the oldest of them
_READ = 4096  # bytes of a sent message
_LARGEST_MAIL = 1 << 20  # bytes; Discord's longest message is a few kB
_TEXT = 600  # characters of it that are shown
_MARKS = 400  # characters that combine, or have no width, of those: a page is no place for towers
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_T = TypeVar("_T")


class Entry(NamedTuple):
    """An entry that waits or is being sent: `name` behind the ID (empty: none), `at` when it was written."""

    id: str
    name: str
    at: float


class Box(NamedTuple):
    """A channel's entries in one state, oldest first, and how many there are (of many: at least)."""

    entries: list[Entry]
    total: int


class Said(NamedTuple):
    """A message, cut for the page; `at` in unix seconds."""

    id: str
    channel: str
    who: str
    text: str
    at: float


class Seen(NamedTuple):
    """One look. By channel: what waits, what is being sent, how many failed."""

    outgoing: dict[str, Box]
    sending: dict[str, Box]
    failed: dict[str, int]
    failures: list[Failure]
    sent: list[Settled]
    outward: list[Said]
    inward: list[Said]
    #: Channels that are held; "": all of them.
    held: frozenset[str]

    @property
    def backlog(self) -> Counter[str]:
        """By channel, what waits and what is being sent."""
        found: Counter[str] = Counter()
        for name, box in (*self.outgoing.items(), *self.sending.items()):
            found[name] += box.total
        return found

    @property
    def oldest(self) -> float | None:
        """When the oldest entry that waits was written (unix seconds); None: none waits."""
        boxes = (*self.outgoing.values(), *self.sending.values())
        return min((entry.at for box in boxes for entry in box.entries), default=None)


class Looks:
    """Looks at one spool, again and again; one thread at a time."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._sent_before: list[Settled] | None = None
        self._read: dict[str, Said] = {}
        #: place → (what its directories were, what was found in it then).
        self._failed: dict[str, tuple[object, tuple[int, list[Failure]]]] = {}
        self._incoming: dict[str, tuple[object, list[Said]]] = {}

    def look(self, newest: Iterable[Settled]) -> Seen:
        """Everything as it is now; `newest` are the entries that were sent since the start."""
        if self._sent_before is None:
            self._sent_before = list(self._sent())
        sent = sorted({each.path: each for each in (*self._sent_before, *newest)}.values(), key=_when)
        shown = sent[-MESSAGES:]
        self._read = {each.path: self._read.get(each.path) or self._outward(each) for each in shown}
        failed = {channel: self._failures(channel) for channel in ["", *self._spool.channels("failed")]}
        inward = [said for channel in self._spool.channels("incoming") for said in self._inward(channel)]
        return Seen(
            outgoing={each: self._box("outgoing", each) for each in self._spool.channels("outgoing")},
            sending={each: self._box("sending", each) for each in self._spool.channels("sending")},
            failed={channel: count for channel, (count, _) in failed.items() if count},
            failures=sorted((one for _, some in failed.values() for one in some), key=_id)[-FAILURES:],
            sent=sent,
            outward=list(self._read.values()),
            inward=sorted(inward, key=lambda said: said.at)[-MESSAGES:],
            held=frozenset([*holds.held(self._spool), *([""] if holds.everything(self._spool) else [])]),
        )

    def _box(self, state: str, channel: str) -> Box:
        found: list[Entry] = []
        count = 0
        with suppress(OSError), self._spool.at(f"{state}/{channel}") as at, os.scandir(at) as children:
            for child in islice(children, _COUNTED):
                if ready.is_entry(child):
                    count += 1
                    if count <= _LOOKED_AT:
                        with suppress(OSError):
                            found.append(_entry(child))
        return Box(heapq.nsmallest(SHOWN, found, key=lambda entry: (entry.at, entry.name)), count)

    def _failures(self, channel: str) -> tuple[int, list[Failure]]:
        place = f"failed/{channel}".rstrip("/")

        def found() -> tuple[int, list[Failure]]:
            # A look at each name's first letter is all that thousands of them may cost.
            names: list[str] = []
            with suppress(PermissionError):
                names = [each for each in self._spool.names(place) if each[:8].isdigit()]
            names = [each for each in names if not each.endswith(WHY)]
            newest = ((name, identity.parse(name)) for name in heapq.nlargest(FAILURES, names))
            opened = [
                failures.at(self._spool, channel, name, parsed[0])
                for name, parsed in newest
                if parsed and not ready.ignored(name)
            ]
            return len(names), opened

        return self._unless_the_same(self._failed, (place,), found)

    def _inward(self, channel: str) -> list[Said]:
        places = (f"incoming/{channel}/new", f"incoming/{channel}/cur")

        def found() -> list[Said]:
            said: list[Said] = []
            with suppress(OSError):
                for each in inbox.newest(self._spool, channel, MESSAGES):
                    # What a reader has made of a file hides no other.
                    with suppress(OSError, ValueError, LookupError):
                        status = each.path.stat(follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST_MAIL:
                            said += map(_said, inbox.loaded([each]))
            return said

        return self._unless_the_same(self._incoming, places, found)

    def _unless_the_same(
        self, known: dict[str, tuple[object, _T]], places: tuple[str, ...], found: Callable[[], _T]
    ) -> _T:
        """What was found before, where nothing has come or gone since. A directory whose last change is of
        just now may change again within the same tick of its clock."""
        stamps = tuple(self._stamp(place) for place in places)
        before = known.get(places[0])
        if before and before[0] == stamps:
            return before[1]
        fresh = any(stamp > time.time_ns() - 50_000_000 for stamp in stamps)
        result = found()
        known[places[0]] = (None if fresh else stamps, result)
        return result

    def _stamp(self, place: str) -> int:
        with suppress(OSError), self._spool.at(place) as at:
            return os.fstat(at).st_mtime_ns
        return 0

    def _sent(self) -> Iterator[Settled]:
        """The newest entries of each channel's newest day."""
        for channel in self._spool.channels("sent"):
            for day in heapq.nlargest(1, self._spool.names(f"sent/{channel}")):
                place = f"sent/{channel}/{day}"
                with suppress(OSError), self._spool.at(place) as at, os.scandir(at) as children:
                    for name in heapq.nlargest(SHOWN, (child.name for child in children)):
                        if identity.parse(name) and not ready.ignored(name):
                            changed = os.stat(name, dir_fd=at, follow_symlinks=False).st_ctime
                            yield Settled(channel, f"{place}/{name}", changed)

    def _outward(self, sent: Settled) -> Said:
        name = sent.path.rpartition("/")[2]
        entry_id, rest = identity.parse(name) or (name, "")
        place = sent.path.rpartition("/")[0]
        text = ""
        with suppress(OSError):  # moved or removed since by an operator
            if name.endswith(ready.BUNDLE):
                place, name = sent.path, "body"
            with self._spool.at(place) as at:
                fd = os.open(name, _OPEN, dir_fd=at)
                try:
                    text = _words(os.read(fd, _READ))
                finally:
                    os.close(fd)
        return Said(entry_id, sent.channel, "", cut(text or identity.original(rest)), sent.at)


def cut(text: str) -> str:
    """As much of a text as the page shows; of what stands above and below letters, not much."""
    import unicodedata

    kept: list[str] = []
    marks = 0
    for each in text[: _TEXT + 1]:
        marks += (mark := unicodedata.category(each) in ("Mn", "Me", "Cf"))
        if not mark or marks <= _MARKS:
            kept.append(each)
    return "".join(kept[:_TEXT]) + ("…" if len(text) > _TEXT else "")


def _words(data: bytes) -> str:
    """The text of a message, without its options; empty where it is no text."""
    if b"\0" in data:
        return ""
    text = data.decode("utf-8", "ignore" if len(data) == _READ else "replace").replace("\r\n", "\n")
    if text.partition("\n")[0] == header.MAGIC:
        text = text.partition("\n\n")[2]
    return text.rstrip("\n")


def _entry(child: os.DirEntry[str]) -> Entry:
    parsed = identity.parse(child.name)
    if parsed:
        return Entry(parsed[0], identity.original(parsed[1]), identity.time_of(parsed[0]))
    return Entry("", child.name, child.stat(follow_symlinks=False).st_ctime)


def _said(message: Received) -> Said:
    from email.utils import parsedate_to_datetime

    at = 0.0
    with suppress(ValueError, TypeError):
        at = parsedate_to_datetime(message.date).timestamp()
    files = len(message.attachments)
    more = f" [{files} {'file' if files == 1 else 'files'}]" if files else ""
    return Said(str(message.id), message.channel, cut(message.author)[:80], cut(message.text) + more, at)


def _when(settled: Settled) -> tuple[float, str]:
    """Times of files tick in steps of 4 ms, so the ID decides where they are equal."""
    return settled.at, settled.path.rpartition("/")[2]


def _id(failure: Failure) -> str:
    return failure.id
