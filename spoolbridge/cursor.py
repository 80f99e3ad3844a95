"""What was handed over: one small file per channel and delivery, which never goes back.

Owns `state/cursors/<channel id>.<delivery>.json`. Each holds the highest id that its delivery is done
with, and every id handed over in the last seconds before it: ids are only roughly in the order in
which messages become visible (Discord's snowflakes come from many workers), so a fetch begins a
little before the highest, and what it finds twice is known by its id.

A cursor moves only after its delivery's own success, by one atomic replacement of the file, and after
the ids are listed in `state/handed/`. A file that cannot be read is an error with a name, never a
silent fresh start: that would lose messages.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import filterfalse
from typing import Any

from spoolbridge import atomic
from spoolbridge.errors import SpoolError
from spoolbridge.handed import Handed

#: No bound on the disorder of snowflakes is documented; neighbours were seen swapped within a second.
OVERLAP = 10_000 << 22  # ten seconds, in snowflakes
MOST = 3000  # cursors that are kept in memory: those used last

_STATE_MODE = 0o2750
_LARGEST_FILE = 1 << 20  # bytes; a busy minute's ids need a hundredth of it
_FILE = re.compile(r"(\d{1,20})\.([a-z][a-z-]*)\.json")


@dataclass(frozen=True)
class Position:
    """What one cursor file says; `floor` is the id up to which nothing needs to be looked at again."""

    high: int
    floor: int
    handed: frozenset[int] = frozenset()
    intended: frozenset[int] = frozenset()
    #: The directory in which the intended ones were staged: a channel may be renamed while we are down.
    place: str = ""
    #: Passed over although nobody was given them: not seen, however far the cursor is.
    missed: frozenset[int] = frozenset()

    def seen(self, message_id: int) -> bool:
        return message_id not in self.missed and (message_id <= self.floor or message_id in self.handed)

    def intend(self, ids: Iterable[int], place: str) -> Position:
        return replace(self, intended=self.intended | frozenset(ids), place=place)

    def reopen(self, ids: Iterable[int]) -> Position:
        return replace(self, missed=self.missed | {each for each in ids if self.seen(each)})

    def advance(self, ids: Iterable[int], upto: int) -> Position:
        done = frozenset(ids)
        high = max(self.high, upto, *done) if done else max(self.high, upto)
        floor = max(self.floor, high - OVERLAP)
        handed = frozenset(each for each in self.handed | done if each > floor)
        left, missed = self.intended - done, self.missed - done
        return replace(self, high=high, floor=floor, handed=handed, intended=left, missed=missed)


class Cursor:
    """The cursor of one channel and one delivery. Used by one thread at a time, read by any."""

    def __init__(self, channel_id: int, delivery: str, *, directory: int, handed: Handed) -> None:
        self._channel_id, self._delivery = channel_id, delivery
        self._name = _file_name(channel_id, delivery)
        self._directory, self._handed = directory, handed
        self._position = _load(self._name, directory)

    @property
    def started(self) -> bool:
        return self._position is not None

    @property
    def position(self) -> int | None:
        """The id after which to fetch, the overlap already taken off; None: never begun."""
        position = self._position
        return None if position is None else position.floor

    @property
    def reached(self) -> int | None:
        """The highest id that the delivery is done with; None: never begun."""
        return None if self._position is None else self._position.high

    @property
    def intended(self) -> frozenset[int]:
        """The ids that were about to be handed over."""
        return frozenset() if self._position is None else self._position.intended

    @property
    def place(self) -> str:
        """Where the intended ones were staged."""
        return "" if self._position is None else self._position.place

    def seen(self, message_id: int) -> bool:
        """Whether the delivery is done with this message."""
        return self._position is not None and self._position.seen(message_id)

    def begin(self, after: int) -> None:
        """Start behind the id `after`, durably; nothing happens where the cursor has begun already."""
        if self._position is None:
            self._handed.begin(self._delivery, self._channel_id, after)
            self._write(Position(high=after, floor=after))

    def intend(self, ids: Iterable[int], place: str) -> None:
        """Note, durably, that these are about to be handed over from `place`."""
        self._write(self._begun().intend(ids, place))

    def reopen(self, ids: Iterable[int]) -> None:
        """These were never handed over, wherever the cursor is: durably, they count as not seen again."""
        begun = self._begun()
        opened = begun.reopen(ids)
        if opened != begun:
            self._write(opened)

    def advance(self, ids: Iterable[int], upto: int = 0) -> None:
        """These are handed over, and up to `upto` nothing else is to come. Durable; never goes back."""
        begun, done = self._begun(), frozenset(ids)
        moved = begun.advance(done, upto)
        if moved != begun:
            # Listed first: an id that the cursor has passed and that no list holds counts as never given.
            self._handed.begin(self._delivery, self._channel_id, begun.high)
            self._handed.record(self._delivery, self._channel_id, filterfalse(begun.seen, done))
            self._write(moved)

    def _begun(self) -> Position:
        if self._position is None:
            raise SpoolError(f"the cursor {self._name} was used before it began")
        return self._position

    def _write(self, position: Position) -> None:
        atomic.replace(self._name, _encode(position), at=self._directory)
        self._position = position  # only now: a failed write must leave memory behind the file, not ahead


class Cursors:
    """All cursors of a spool. Holds the directory open until `close`.

    The ones that were used last are kept; of every thread that there ever was, memory must not know. Whoever
    uses one is done with it before MOST others have been asked for.
    """

    def __init__(self, spool_fd: int) -> None:
        atomic.ensure_directory("state", at=spool_fd, mode=_STATE_MODE)
        with atomic.directory("state", at=spool_fd) as state:
            atomic.ensure_directory("cursors", at=state, mode=_STATE_MODE)
            self._directory = atomic.open_directory("cursors", at=state)
            self._handed = Handed(state)
        self._cursors: OrderedDict[tuple[int, str], Cursor] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        os.close(self._directory)
        self._handed.close()

    def __call__(self, channel_id: int, delivery: str) -> Cursor:
        """The cursor of that channel and delivery. Raises SpoolError where its file is damaged."""
        with self._lock:
            key = channel_id, delivery
            if key not in self._cursors:
                self._cursors[key] = Cursor(*key, directory=self._directory, handed=self._handed)
                if len(self._cursors) > MOST:
                    self._cursors.popitem(last=False)
            self._cursors.move_to_end(key)
            return self._cursors[key]

    def began(self, channel_id: int, delivery: str) -> int | None:
        """The id behind which that channel was begun; None: never."""
        return self._handed.began(delivery, channel_id)

    def of(self, delivery: str) -> Iterator[Cursor]:
        """Every cursor of that delivery that has a file."""
        for name in sorted(os.listdir(self._directory)):
            match = _FILE.fullmatch(name)
            if match and match[2] == delivery:
                yield self(int(match[1]), delivery)


def positions(state: int, delivery: str) -> dict[int, Position]:
    """Channel id → what its cursor file says now, for who only looks. Raises SpoolError for a damaged one."""
    found: dict[int, Position] = {}
    with suppress(FileNotFoundError), atomic.directory("cursors", at=state) as directory:
        for name in os.listdir(directory):
            match = _FILE.fullmatch(name)
            if match and match[2] == delivery and (position := _load(name, directory)) is not None:
                found[int(match[1])] = position
    return found


def _file_name(channel_id: int, delivery: str) -> str:
    return f"{channel_id}.{delivery}.json"


def _encode(position: Position) -> bytes:
    value: dict[str, Any] = {"high": str(position.high), "floor": str(position.floor)}
    value["handed"] = [str(each) for each in sorted(position.handed)]
    value["intended"] = [str(each) for each in sorted(position.intended)]
    value["place"] = position.place
    value["missed"] = [str(each) for each in sorted(position.missed)]
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _load(name: str, directory: int) -> Position | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        data = atomic.read_bounded(fd, _LARGEST_FILE)
    finally:
        os.close(fd)
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        return _decode(json.loads(data))
    raise SpoolError(
        f"the cursor file state/cursors/{name} is damaged",
        "put its copy back, or move it away: the channel then goes on from now, and what was written"
        " in between is fetched by: spoolbridge audit --repair",
    )


def _decode(value: dict[str, Any]) -> Position:
    position = Position(
        high=_whole(value["high"]),
        floor=_whole(value["floor"]),
        handed=frozenset(map(_whole, value["handed"])),
        intended=frozenset(map(_whole, value["intended"])),
        place=value["place"],
        missed=frozenset(map(_whole, value.get("missed", []))),
    )
    if position.floor > position.high or not isinstance(position.place, str) or not _is_name(position.place):
        raise ValueError
    return position


def _whole(text: object) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def _is_name(place: str) -> bool:
    return "/" not in place and "\0" not in place and not place.startswith(".")
