"""How many entries lie in each state of each channel, and when something last moved there.

Found by looking, so it is right where no service runs too. Who looks again and again keeps one `Census`: only
directories in which something changed are then listed. Opens no entry.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple, TypeVar

from spoolbridge import atomic, identity, ready
from spoolbridge.glances import Glances
from spoolbridge.spool import HOLD, STATES, Spool

_LOOKED_AT = 200  # entries without an ID whose age is looked up in one channel
_RARELY = 600.0  # seconds; what is counted is for people to know, and a Maildir may hold years
#: Times as long as counting takes, for which a count is kept: long drop boxes cost a hundredth of a core at
#: most, all else as much. With 100,000 that wait it is half a minute late, with a million sent in a day two.
_REST = 100.0

_T = TypeVar("_T")


class Counted(NamedTuple):
    """Of one channel, as `status.schema.json` has it: entries, and times in unix seconds."""

    waiting: int
    sending: int
    failed: int
    sent_today: int
    held: bool
    oldest: float | None
    last_sent: float | None
    last_received: float | None


#: Of a channel that has no directory.
NOTHING = Counted(0, 0, 0, 0, False, None, None, None)


class Census:
    """One spool's; one thread at a time."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._boxes = Glances(_box, anyway=_RARELY, rest=_REST)
        self._entries = Glances(_entries, anyway=_RARELY, rest=_REST)
        self._days = Glances(_newest, anyway=_RARELY)
        self._mails = Glances(_last_mail, anyway=_RARELY, rest=_REST)
        self._strays = Glances(_strays, anyway=_RARELY)
        #: What lies in each state, and every directory that was looked at, in this look.
        self._there: dict[str, frozenset[str]] = {}
        self._looked = set[str]()

    def channels(self, today: str) -> dict[str, Counted]:
        """Of every channel that has a directory in any state; `today` is a day of UTC, as 2026-11-22."""
        self._there = {state: frozenset(self._spool.channels(state)) for state in (*STATES, "incoming")}
        self._looked = set()
        names = frozenset[str]().union(*(self._there[state] for state in STATES))
        found = {name: self._counted(name, today) for name in names}
        for each in (self._boxes, self._entries, self._days, self._mails):
            each.keep(self._looked)
        return found

    def strays(self) -> int:
        """What was dropped without a channel, failed, and lies in `failed/` itself."""
        return self._strays.at("failed", at=self._spool.fd)

    def _counted(self, name: str, today: str) -> Counted:
        box = self._glance(self._boxes, "outgoing", name) or _NO_BOX
        sending, failed = (self._glance(self._entries, state, name) for state in ("sending", "failed"))
        newest = self._glance(self._days, "sent", name) or ""
        sent = self._glance(self._entries, "sent", f"{name}/{newest}") if newest else None
        return Counted(
            waiting=box.total,
            sending=sending.total if sending else 0,
            failed=failed.total if failed else 0,
            sent_today=sent.total if sent and newest == today else 0,
            held=box.held,
            oldest=self._oldest(name, box, sending),
            last_sent=sent.changed if sent else None,
            last_received=self._last_received(name),
        )

    def _last_received(self, name: str) -> float | None:
        """When the newest message was written that is still in the Maildir."""
        found = 0
        for box in ("new", "cur"):
            with suppress(OSError):
                found = max(found, self._glance(self._mails, "incoming", f"{name}/{box}") or 0)
        return float(found) if found else None

    def _glance(self, glances: Glances[_T], state: str, rest: str) -> _T | None:
        """None: there is no such directory."""
        if rest.partition("/")[0] not in self._there[state]:
            return None
        path = f"{state}/{rest}"
        self._looked.add(path)
        try:
            return glances.at(path, at=self._spool.fd)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _oldest(self, channel: str, box: _Box, sending: _Entries | None) -> float | None:
        """When the first of what waits there was written. Of names without an ID the file is asked anew each
        time: one that is still written to grows younger."""
        ids = [each for each in (box.first_id,) if each]
        if sending and sending.total:
            parsed = map(identity.parse, self._spool.names(f"sending/{channel}"))
            ids += [each[0] for each in parsed if each]
        times = [identity.time_of(min(ids))] if ids else []  # they sort as their times
        for name in box.plain:
            with suppress(OSError):
                path = f"outgoing/{channel}/{name}"
                times.append(os.stat(path, dir_fd=self._spool.fd, follow_symlinks=False).st_ctime)
        return min(times, default=None)


class _Box(NamedTuple):
    """A drop box: what waits, whether it is held, the first of the IDs, and some names that have none."""

    total: int
    held: bool
    first_id: str
    plain: tuple[str, ...]


_NO_BOX = _Box(0, False, "", ())


class _Entries(NamedTuple):
    total: int
    changed: float  # when one came or went last, in unix seconds


def _box(at: int) -> _Box:
    with os.scandir(at) as children:
        names = [child.name for child in children if ready.is_entry(child)]
    first_id, plain = "", list[str]()
    # IDs sort as their times, and begin with a digit: of a long backlog only the first is taken apart.
    for name in sorted(names):
        if first_id and name[:8].isdigit():
            continue
        if parsed := identity.parse(name):
            first_id = parsed[0]
        elif len(plain) < _LOOKED_AT:
            plain.append(name)
    return _Box(len(names), atomic.exists(HOLD, at=at), first_id, tuple(plain))


def _entries(at: int) -> _Entries:
    changed = os.fstat(at).st_mtime
    with os.scandir(at) as children:  # one by one: a list of a million names takes 100 MB
        return _Entries(sum(not ready.ignored(child.name) for child in children), changed)


def _newest(at: int) -> str:
    """The last day in `sent/<channel>/`."""
    return max(os.listdir(at), default="")


def _last_mail(at: int) -> int:
    """The highest second (unix) that a name in a Maildir begins with; 0: none."""
    seconds = (name.partition(".D")[0] for name in os.listdir(at))
    return max((int(each) for each in seconds if each.isascii() and each.isdigit()), default=0)


def _strays(at: int) -> int:
    return sum(identity.parse(name) is not None and not ready.ignored(name) for name in os.listdir(at))
