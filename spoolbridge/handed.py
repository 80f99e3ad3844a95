"""Which ids were handed over: the proof that a cursor is not.

A cursor's floor says that nothing below it will be looked at again, not that everything below it was
delivered: an id that became visible later than the overlap allows lies there and never was. So every
id is also listed, durably before its cursor moves:

    state/handed/2026-11-22.incoming.log    `<channel id> <message id>` a line, of that day (UTC)
    state/handed/incoming.began             `<channel id> <id>` a line: what comes after it is for us
    state/handed/pruned                     the first day of which the lists are all there, once some are not

The day is the one in the message's id, so a clock that was wrong hides nothing. Only added to, until a
list is old enough to go: a crash between list and cursor repeats a line, which means nothing. Never says
what was written, or by whom. `Handed` is the one running service's; whoever looks uses the functions.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from spoolbridge import atomic

DIRECTORY = "handed"

_STATE_MODE = 0o2750
_EPOCH = 1_420_070_400_000  # milliseconds; a snowflake's upper bits count from 2015
_LINE = re.compile(rb"(\d{1,20}) (\d{1,20})\n")
_PRUNED = "pruned"
_LOG = re.compile(r"(\d{4}-\d\d-\d\d)\.([a-z][a-z-]*)\.log")


class Handed:
    """Writes the lists. Every method may be called from any thread; holds a directory open until `close`."""

    def __init__(self, state: int) -> None:
        """`state` is a descriptor of the spool's `state/`, which stays the caller's to close."""
        atomic.ensure_directory(DIRECTORY, at=state, mode=_STATE_MODE)
        self._directory = atomic.open_directory(DIRECTORY, at=state)
        self._lock = threading.Lock()
        self._began: dict[str, dict[int, int]] = {}
        #: Files whose last line is whole and whose name is durable.
        self._sound: set[str] = set()

    def close(self) -> None:
        os.close(self._directory)

    def begin(self, delivery: str, channel_id: int, after: int) -> None:
        """Note, durably, that what comes after that id is for this delivery; the first note counts.

        Raises OSError with nothing noted.
        """
        with self._lock:
            known = self._known(delivery)
            if channel_id not in known:
                self._append(_began_name(delivery), b"%d %d\n" % (channel_id, after))
                known[channel_id] = after

    def began(self, delivery: str, channel_id: int) -> int | None:
        """The id that `begin` noted; None: none. Raises OSError."""
        with self._lock:
            return self._known(delivery).get(channel_id)

    def _known(self, delivery: str) -> dict[int, int]:
        if delivery not in self._began:
            self._began[delivery] = _firsts(_pairs(_began_name(delivery), self._directory))
        return self._began[delivery]

    def record(self, delivery: str, channel_id: int, ids: Iterable[int]) -> None:
        """List these ids, durably: one write and one fsync for those of a day. Raises OSError."""
        days: dict[date, list[bytes]] = {}
        for message_id in sorted(ids):
            days.setdefault(day_of(message_id), []).append(b"%d %d\n" % (channel_id, message_id))
        with self._lock:
            for day, lines in days.items():
                self._append(f"{day}.{delivery}.log", b"".join(lines))

    def _append(self, name: str, lines: bytes) -> None:
        new = name not in self._sound
        if new:
            atomic.cut_torn_tail(name, at=self._directory)  # else the next line would be one with it
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, atomic.FILE_MODE, dir_fd=self._directory)
        try:
            self._sound.discard(name)  # until this line is whole as well
            atomic.append(fd, lines)
        finally:
            os.close(fd)
        if new:
            atomic.sync_directory(self._directory)
        self._sound.add(name)


def handed_over(state: int, delivery: str, since_day: date) -> set[tuple[int, int]]:
    """Channel id and message id of all that was handed over and was written on that day (UTC) or later."""
    found: set[tuple[int, int]] = set()
    with suppress(FileNotFoundError), atomic.directory(DIRECTORY, at=state) as directory:
        for name in os.listdir(directory):
            match = _LOG.fullmatch(name)
            if match and match[2] == delivery and match[1] >= since_day.isoformat():
                found.update(_pairs(name, directory))
    return found


def day_in(name: str) -> str:
    """The day of the list of that name; empty: it is none."""
    match = _LOG.fullmatch(name)
    return match[1] if match else ""


def forget(directory: int, name: str) -> None:
    """Remove a list for good; before it goes, that its day is told of no more is durable. Raises OSError."""
    after = date.fromisoformat(day_in(name)) + timedelta(days=1)
    if after > (_complete_since(directory) or date.min):
        atomic.replace(_PRUNED, f"{after}\n".encode(), at=directory)
    os.unlink(name, dir_fd=directory)


def complete_since(state: int) -> date | None:
    """The first day of which all lists are there; None: none was ever removed."""
    with suppress(FileNotFoundError), atomic.directory(DIRECTORY, at=state) as directory:
        return _complete_since(directory)
    return None


def _complete_since(directory: int) -> date | None:
    try:
        fd = os.open(_PRUNED, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        return date.fromisoformat(os.read(fd, 10).decode("ascii", "replace"))
    except ValueError:
        return None
    finally:
        os.close(fd)


def beginnings(state: int, delivery: str) -> dict[int, int]:
    """Channel id → the id after which this delivery has to have everything."""
    with suppress(FileNotFoundError), atomic.directory(DIRECTORY, at=state) as directory:
        return _firsts(_pairs(_began_name(delivery), directory))
    return {}


def day_of(message_id: int) -> date:
    """The day (UTC) on which Discord made an id."""
    return datetime.fromtimestamp(((message_id >> 22) + _EPOCH) / 1000, UTC).date()


def _began_name(delivery: str) -> str:
    return f"{delivery}.began"


def _firsts(pairs: Iterable[tuple[int, int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for channel_id, after in pairs:
        found.setdefault(channel_id, after)
    return found


def _pairs(name: str, directory: int) -> Iterator[tuple[int, int]]:
    """The lines of a file that are whole; half a line could be another message's id."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return
    with open(fd, "rb") as lines:
        for line in lines:
            if match := _LINE.fullmatch(line):
                yield int(match[1]), int(match[2])
