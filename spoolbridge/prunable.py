"""What is done with and has been kept for long enough.

`plan` only looks, and looks no further than it is asked: whoever takes from it in batches holds nothing up.
Never in it: what waits or is being sent, an unread message, an attached file that an unread message or an
inbox line of the last week names, anything younger than a day. Ages count from when a thing came where it
lies, which names tell, or else its last rename; sizes are those of the contents. Nothing here leads through
a link, and what bears a name that is not ours stays.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from spoolbridge import atomic, handed, identity, journal_files
from spoolbridge.identity import WHY, day_of
from spoolbridge.incoming import snowflake_time
from spoolbridge.retention import DAY, Keep, Retention
from spoolbridge.spool import Spool

KINDS = ("sent", "failed", "read", "attachments", "leavings", "lists", "journal")
_YOUNGEST = DAY  # seconds; no cap on sizes removes what is younger
_LEVELS = 3  # of directories in a day's directory; a bundle has two, and others' may have any number
_NAMED = 7 * DAY  # seconds for which an attached file is there for who reads the inbox file

_A_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
#: Servers put what they know of a mail between its name and its flags (`,U=5`).
_MAIL = re.compile(r"\d+\.D(\d{1,20})\.discord(?:,[^:]*)?(?::2,(\w*))?", re.ASCII)
_MESSAGE = re.compile(r"\d{1,20}", re.ASCII)
_GIVEN_UP = re.compile(r".+\.given-up\.json")
_TORN = re.compile(r".+\.torn")


class Removal(NamedTuple):
    """One thing to remove. `path` is relative to the spool, `at` (unix seconds) what its age counts from."""

    kind: str
    path: str
    size: int
    at: float
    #: Its last rename, in nanoseconds: if it is another by then, somebody has used it. 0: never mind.
    changed: int = 0
    #: A directory that goes if it is empty.
    empty: bool = False


def plan(spool: Spool, retention: Retention, now: float, *, journal: bool = True) -> Iterator[Removal | None]:
    """What may go at that time (unix seconds), kind by kind and the oldest first. Changes nothing.

    None comes behind each directory that was looked through: whoever wants to stop can do so there.
    """
    yield from _sent(spool, retention.sent, now)
    yield from _failed(spool, retention.failed, now)
    yield from _read(spool, retention.read, now)
    yield from _attachments(spool, retention.attachments, now)
    yield from _leavings(spool, retention.failed, now)
    yield from _lists(spool, retention.journal, now)
    if journal:
        yield from journal_of(spool, retention.journal, now)


def not_after(spool: Spool, now: float) -> float:
    """That time, or a day behind the newest message that Discord has numbered: a clock that was set years
    ahead makes nothing old. Where no such message is known, that time. Raises OSError, SpoolError."""
    days = filter(None, (handed.day_in(name) for name in spool.names(f"state/{handed.DIRECTORY}")))
    known = [datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() + DAY for day in days]
    with spool.at("state") as state:
        for name in (*(each.name for each in journal_files.dated(state)[-1:]), journal_files.FILE):
            known += [
                snowflake_time(each["message"])
                for each in journal_files.read(state, name, having='"sent"')
                if each["kind"] == "sent" and each["message"]
            ]
    return min(now, max(known) + DAY) if known else now


# -- what there is ---------------------------------------------------------------------------------------


def _sent(spool: Spool, keep: Keep, now: float) -> Iterator[Removal | None]:
    places = sorted(
        (day, channel)
        for channel in _directories(spool, "sent")
        for day in _directories(spool, f"sent/{channel}")
        if _is_day(day)
    )
    excess = -(keep.size or 0)  # bytes
    for day, channel in places if keep.size is not None else ():
        excess += _size(spool, f"sent/{channel}/{day}")
        yield None
    for day, channel in places:
        old = keep.age is not None and day < day_of(now - keep.age)
        if day >= day_of(now - _YOUNGEST) or not (old or excess > 0):
            return
        yield None
        place, at = f"sent/{channel}/{day}", datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()
        for name, status in _listed(spool, place, in_order=not old):
            parsed = identity.parse(name)
            if parsed and (old or excess > 0):
                size = _size_of(spool, f"{place}/{name}", status)
                excess -= size
                yield Removal("sent", f"{place}/{name}", size, at)
        yield Removal("sent", place, 0, at, empty=True)


def _failed(spool: Spool, keep: Keep, now: float) -> Iterator[Removal | None]:
    if keep.age is None:
        return
    found = []
    for place in ("failed", *(f"failed/{channel}" for channel in _directories(spool, "failed"))):
        yield None
        names = {name for name, _ in _listed(spool, place)}
        for name, status in _listed(spool, place):
            parsed = identity.parse(name)
            explains = name.endswith(WHY) and name.removesuffix(WHY) in names  # it goes with its entry
            if parsed and not explains:
                at = max(identity.time_of(parsed[0]), status.st_ctime)
                if at < now - keep.age:
                    size = _size_of(spool, f"{place}/{name}", status)
                    found.append(Removal("failed", f"{place}/{name}", size, at, status.st_ctime_ns))
    yield from sorted(found, key=_by_age)


def _read(spool: Spool, keep: Keep, now: float) -> Iterator[Removal | None]:
    if keep.age is None:
        return
    found = []
    for channel in _directories(spool, "incoming"):
        yield None
        place = f"incoming/{channel}/cur"
        for name, status in _listed(spool, place):
            match = _MAIL.fullmatch(name)
            if match and _is_read(match[2]) and "F" not in (match[2] or ""):  # flagged: somebody wants it
                at = max(snowflake_time(int(match[1])), status.st_ctime)
                if at < now - keep.age:
                    changed = status.st_ctime_ns
                    found.append(Removal("read", f"{place}/{name}", status.st_size, at, changed))
    yield from sorted(found, key=_by_age)


def _attachments(spool: Spool, keep: Keep, now: float) -> Iterator[Removal | None]:
    unread, there = _messages(spool)
    found = []
    for channel in _directories(spool, "attachments"):
        yield None
        for name, status in _listed(spool, f"attachments/{channel}"):
            if _MESSAGE.fullmatch(name) and stat.S_ISDIR(status.st_mode):
                path = f"attachments/{channel}/{name}"
                at = max(snowflake_time(int(name)), status.st_ctime)
                found.append((at, path, int(name), _size(spool, path), status.st_ctime_ns))
    excess = 0 if keep.size is None else sum(size for _, _, _, size, _ in found) - keep.size
    for at, path, message_id, size, changed in sorted(found):
        old = keep.age is not None and at < now - keep.age and message_id not in there
        large = excess > 0 and at < now - _NAMED and message_id not in unread
        if old or large:
            excess -= size
            yield Removal("attachments", path, size, at, changed)


def _leavings(spool: Spool, keep: Keep, now: float) -> Iterator[Removal]:
    """Cut ends of lines, and mails that gt refused: kept for whoever looks, like what failed."""
    if keep.age is None:
        return
    for place, form in (("", _TORN), ("state", _TORN), ("state/handed", _TORN), ("state/mail", _GIVEN_UP)):
        for name, status in _listed(spool, place):
            if form.fullmatch(name) and status.st_ctime < now - keep.age and stat.S_ISREG(status.st_mode):
                path = f"{place}/{name}".lstrip("/")
                yield Removal("leavings", path, status.st_size, status.st_ctime, status.st_ctime_ns)


def _lists(spool: Spool, keep: Keep, now: float) -> Iterator[Removal]:
    if keep.age is None:
        return
    for name, status in _listed(spool, "state/handed", in_order=True):
        day = handed.day_in(name)
        if day and day < day_of(now - keep.age):
            yield Removal("lists", f"state/handed/{name}", status.st_size, status.st_mtime)


def journal_of(spool: Spool, keep: Keep, now: float) -> Iterator[Removal]:
    """The files of the journal that may go."""
    if keep.age is None:
        return
    with spool.at("state") as state:
        sizes = {name: status.st_size for name, status in _listed(spool, "state")}
        for each in journal_files.dated(state):
            if each.day < day_of(now - keep.age):
                size = sizes.get(each.name) or sizes.get(each.name + journal_files.COMPRESSED, 0)
                yield Removal("journal", f"state/{each.name}", size, 0.0)


def _messages(spool: Spool) -> tuple[set[int], set[int]]:
    """The ids of the messages that nobody has read, and of all that lie in the Maildirs."""
    unread: set[int] = set()
    there: set[int] = set()
    for channel in _directories(spool, "incoming"):
        for box in ("new", "cur"):  # in the order in which a reader moves them
            for match in map(_MAIL.fullmatch, spool.names(f"incoming/{channel}/{box}")):
                if match:
                    there.add(int(match[1]))
                    if box == "new" or not _is_read(match[2]):
                        unread.add(int(match[1]))
    return unread, there


def _is_day(name: str) -> bool:
    with suppress(ValueError):
        return bool(_A_DAY.fullmatch(name) and datetime.fromisoformat(name))
    return False


def _is_read(flags: str | None) -> bool:
    """Of a message in `cur/`: moved there by a plain `mv`, or marked as seen."""
    return flags is None or "S" in flags


def _by_age(removal: Removal) -> float:
    return removal.at


# -- looking, by held directories -----------------------------------------------------------


@contextmanager
def held(spool: Spool, path: str) -> Iterator[int]:
    """A descriptor of a directory, no step to which is a link."""
    with ExitStack() as stack:
        at = spool.fd
        for part in filter(None, path.split("/")):
            at = stack.enter_context(atomic.directory(part, at=at))
        yield at


def _listed(spool: Spool, path: str, *, in_order: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Names and what they are; nothing where there is no such directory. `in_order`: by name."""
    with suppress(FileNotFoundError, NotADirectoryError), held(spool, path) as at, os.scandir(at) as entries:
        for each in sorted(entries, key=lambda entry: entry.name) if in_order else entries:
            with suppress(FileNotFoundError):
                yield each.name, each.stat(follow_symlinks=False)


def _directories(spool: Spool, path: str) -> list[str]:
    return sorted(name for name, status in _listed(spool, path) if stat.S_ISDIR(status.st_mode))


def _size(spool: Spool, path: str, levels: int = _LEVELS) -> int:
    """Of all that lies in a directory, in bytes, as far down as anything of ours lies."""
    return sum(_size_of(spool, f"{path}/{name}", status, levels) for name, status in _listed(spool, path))


def _size_of(spool: Spool, path: str, status: os.stat_result, levels: int = _LEVELS) -> int:
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    return _size(spool, path, levels - 1) if levels else 0
