"""What the spool's files tell of what went in and out: lists, Maildirs, inbox files, sent entries, journal.

Reads in the order in which the service writes, backwards, so that it may run meanwhile: a cursor
before the list that is written before it. Changes nothing, and proves nothing by itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from spoolbridge import atomic, cursor, first_start, handed, identity, journal, journal_files, ready
from spoolbridge.cursor import Position
from spoolbridge.identity import day_of
from spoolbridge.incoming import snowflake_at
from spoolbridge.journal import History
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

Histories = dict[str, dict[int, History]]

_DAY = 24 * 3600.0  # seconds
_FILED = re.compile(r"\d+\.D(\d{1,20})\.discord(?::2,\w*)?")
_GIVEN_UP = re.compile(r"(\d{1,20})\.given-up\.json")


@dataclass(frozen=True)
class Delivered:
    """What one delivery has had. Ids are Discord's; a thread has a channel id of its own."""

    name: str
    began: Mapping[int, int]
    positions: Mapping[int, Position]
    handed: frozenset[tuple[int, int]]

    def has(self, channel_id: int, message_id: int) -> bool:
        """Whether it was handed over, to the end: a repair that died may have listed what it left open."""
        position = self.positions.get(channel_id)
        if position is not None and message_id in position.missed:
            return False
        known = position is not None and message_id in position.handed
        return known or (channel_id, message_id) in self.handed


@dataclass(frozen=True)
class SentEntry:
    """An entry in `sent/`; `at` in unix seconds is when it came there."""

    id: str
    channel: str
    at: float


@dataclass(frozen=True)
class Evidence:
    """Everything that was found, as of one look."""

    deliveries: tuple[Delivered, ...]
    #: Message id → the Maildir channels in which it lies, as often as it lies there.
    filed: Mapping[int, list[str]]
    #: Message id → the channels of its lines in the inbox file and those that it was rotated to.
    lines: Mapping[int, list[str]]
    given_up: frozenset[int]
    sent: tuple[SentEntry, ...]
    #: Entry's ID → channel id → what was tried and what came of it.
    histories: Histories
    #: Message id → the entry that it belongs to.
    owners: Mapping[int, str]
    #: When the spool was first served, in unix seconds; None: never.
    first_start: float | None = field(default=None)
    #: Since when (unix seconds) the journal, and the lists, tell of everything: what is older was pruned.
    journal_since: float = float("-inf")
    lists_since: float = float("-inf")


def look(spool: Spool, settings: Settings, since: float) -> Evidence:
    """What there is since that time (unix seconds). Raises SpoolError where a cursor is damaged."""
    names = ["incoming", "inbox", *(["mail"] if settings.gt == "auto" and settings.town else [])]
    sent = tuple(_sent(spool, since))
    with spool.at("state") as state:
        deliveries = tuple(_delivered(state, name, since) for name in names)
        histories, owners = _journal(state, since, sent)
        served = first_start.known(state)
        journal_since, lists_since = journal_files.horizon(state), _lists_since(state)
    return Evidence(
        deliveries, _filed(spool), _lines(settings.inbox), _given_up(spool), sent, histories, owners, served,
        journal_since, lists_since,
    )  # fmt: skip


def _delivered(state: int, name: str, since: float) -> Delivered:
    positions = cursor.positions(state, name)
    began = handed.beginnings(state, name)
    # Also what is older, but ahead of a cursor that somebody put back: it must not look as if it waited.
    days = [_day(since), *(handed.day_of(each.floor) for each in positions.values())]
    floors = {channel_id: each.floor for channel_id, each in positions.items()}
    first = snowflake_at(since)
    listed = handed.handed_over(state, name, min(days))
    kept = frozenset(each for each in listed if each[1] >= min(first, floors.get(each[0], first)))
    return Delivered(name, began, positions, kept)


def _lists_since(state: int) -> float:
    day = handed.complete_since(state)
    return float("-inf") if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _sent(spool: Spool, since: float) -> Iterator[SentEntry]:
    for channel in spool.channels("sent"):
        for day in spool.names(f"sent/{channel}"):
            if day < _day(since).isoformat():
                continue
            place = f"sent/{channel}/{day}"
            with suppress(FileNotFoundError, NotADirectoryError), spool.at(place) as at:
                for name in os.listdir(at):
                    parsed = identity.parse(name)
                    if parsed and not ready.ignored(name):
                        changed = os.stat(name, dir_fd=at, follow_symlinks=False).st_ctime
                        if changed >= since:
                            yield SentEntry(parsed[0], channel, changed)


def _journal(state: int, since: float, sent: tuple[SentEntry, ...]) -> tuple[Histories, dict[int, str]]:
    histories: Histories = {}
    owners: dict[int, str] = {}
    for record in journal_files.records(state, day_of(since - _DAY)):
        _fold(record, histories, owners)
    for entry in sent:
        if not any(history.sent for history in histories.get(entry.id, {}).values()):
            histories.pop(entry.id, None)  # it was begun in a file that is older than those
            day = day_of(identity.time_of(entry.id))
            for record in journal_files.records(state, day, having=entry.id):
                _fold(record, histories, owners)
    return histories, owners


def _fold(record: dict[str, Any], histories: Histories, owners: dict[int, str]) -> None:
    if record["kind"] == "checkpoint":
        return
    if record["kind"] == "sent":
        owners[record["message"]] = record["id"]
    of_entry = histories.setdefault(record["id"], {})
    journal.fold(of_entry.setdefault(record["channel"], History()), record)


def _filed(spool: Spool) -> dict[int, list[str]]:
    found: dict[int, dict[str, str]] = {}
    for channel in spool.channels("incoming"):
        for box in ("new", "cur"):  # in the order in which a reader moves them, or one would be met nowhere
            place = f"incoming/{channel}/{box}"
            for name in spool.names(place):
                if match := _FILED.fullmatch(name):
                    found.setdefault(int(match[1]), {})[f"{place}/{name}"] = channel
    for message_id, places in found.items():
        if len(places) > 1:  # moved between the two looks, or really twice
            still = {place: channel for place, channel in places.items() if (spool.root / place).exists()}
            found[message_id] = still
    return {message_id: list(places.values()) for message_id, places in found.items() if places}


def _lines(inbox: Path) -> dict[int, list[str]]:
    """Rotated: `<file>.1`, `<stem>-20261122.jsonl`. A copy that somebody made has another name."""
    name, stem = re.escape(inbox.name), re.escape(inbox.stem)
    form = re.compile(rf"{name}([.-]\d[\d-]*)?|{stem}[.-]\d[\d-]*\.jsonl")
    found: dict[int, list[str]] = {}
    with suppress(FileNotFoundError, NotADirectoryError), atomic.directory(inbox.parent) as parent:
        for each in filter(form.fullmatch, os.listdir(parent)):
            for message_id, channel in _lines_of(each, parent):
                found.setdefault(message_id, []).append(channel)
    return found


def _lines_of(name: str, parent: int) -> Iterator[tuple[int, str]]:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    with open(fd, "rb") as lines:
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                told = json.loads(line)
                yield int(told["id"]), str(told["channel"])


def _given_up(spool: Spool) -> frozenset[int]:
    found = (_GIVEN_UP.fullmatch(name) for name in spool.names("state/mail"))
    return frozenset(int(match[1]) for match in found if match)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
