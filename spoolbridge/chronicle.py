"""What happened to an entry or to a human's message, and when: told from the files, with no service needed.

The journal tells of tries and outcomes, `failed/` of what never came so far, the lists of ids and the
Maildirs of what came in. Reads as a stream, however long the journal is; changes nothing, and holds no
message's text. What it says is masked and harmless to a terminal.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from spoolbridge import failures, handed, identity, ready
from spoolbridge.channels import Registry
from spoolbridge.claim import one_line
from spoolbridge.errors import SpoolError
from spoolbridge.failures import Failure
from spoolbridge.happenings import Event, Teller, records
from spoolbridge.identity import WHY, day_of
from spoolbridge.incoming import snowflake_time
from spoolbridge.journal_files import Record
from spoolbridge.spool import STATES, Spool

_DAY = 24 * 3600.0  # seconds
_MOST = 20  # entries that one reference may begin before it is called too short
_SNOWFLAKE = re.compile(r"\d{15,20}", re.ASCII)
_FILED = re.compile(r"\d+\.D(\d{15,20})\.discord(?::2,\w*)?", re.ASCII)
_BEGINNING = re.compile(r"\d{8}T[0-9.]{0,13}(?:Z(?:-\w{0,8})?)?", re.ASCII)
#: Delivery → what it has done with a message that it lists.
_DELIVERIES = {"incoming": "filed", "inbox": "a line in the inbox file", "mail": "mailed"}
_MAILS = {
    "{}.json": "a mail of it waits", "{}.tried.json": "a mail of it was given to gt, which has not answered",
    "{}.given-up.json": "the mail of it was given up",
}  # fmt: skip

class Chronicle:
    """The events of one spool. Raises SpoolError where `state/` may not be read."""

    def __init__(self, spool: Spool, registry: Registry | None = None) -> None:
        self._spool = spool
        self._teller = Teller({each.id: each.address for each in registry.channels} if registry else {})
        try:
            next(records(spool, day_of(0.0)), None)
        except PermissionError as error:
            what = f"{spool.root / 'state'} may not be read ({error.strerror})"
            raise SpoolError(what, "join the group that owns it") from None

    def of(self, reference: str) -> list[Event]:
        """What happened to one entry (ID, its beginning, name or path) or one message (its id or address),
        first things first. Raises SpoolError where nothing is known of it, or it may mean several."""
        name = reference.rstrip("/").removesuffix(WHY).rpartition("/")[2]
        if filed := _FILED.fullmatch(name):
            name = filed[1]
        if _SNOWFLAKE.fullmatch(name):
            found = self._of_message(int(name))
        else:
            parsed = identity.parse(name)
            beginning = parsed[0] if parsed else name if _BEGINNING.fullmatch(name) else self._called(name)
            found = self._of_entry(beginning) if beginning else []
        if not found:
            hint = "give an ID, a file's name, or a message's id; lately: spoolbridge log --since 1h"
            raise SpoolError(f"nothing is known of {one_line(reference)!r}", hint)
        return found

    def lately(self, since: float, channel: str | None = None) -> Iterator[Event]:
        """What happened since that time (unix seconds), in one channel or in all; what came in is told in
        the order in which it was delivered."""
        wanted = failures.Wanted(channel, since=since)
        explained = {each.id: each for each in failures.failures(self._spool, wanted=wanted)}
        streams = (
            self._outbound(since),
            # A reason has whole seconds, and comes behind what the journal says of the same.
            (self._failed(each, 1.0) for each in sorted(explained.values(), key=lambda each: each.at or 0)),
            self._removed(lambda record: record["at"] >= since),
            self._inbound(since),
        )
        told: set[str] = set()
        for event in heapq.merge(*streams, key=lambda each: each.at or 0.0):
            if event.kind == "failed" and event.id in explained:
                if event.id in told and "file" in event.facts:
                    continue
                told.add(event.id)
            if channel in (None, event.channel):
                yield event

    # -- entries -----------------------------------------------------------------------------------------

    def _of_entry(self, beginning: str) -> list[Event]:
        found: dict[str, list[Event]] = {}
        day = f"{beginning[:4]}-{beginning[4:6]}-{beginning[6:8]}"
        for record in records(self._spool, day, having=beginning):
            if str(record.get("id", "")).startswith(beginning) and (event := self._teller.event(record)):
                _added(found, event, beginning)
        for event in self._removed(lambda record: str(record["id"]).startswith(beginning)):
            _added(found, event, beginning)
        for entry_id, place, name in self._lying(lambda name: name.startswith(beginning)):
            for event in self._now(entry_id, place, name, found.get(entry_id, [])):
                _added(found, event, beginning)
        if len(found) > 1:
            raise SpoolError(f"{len(found)} entries begin with {beginning!r}", "give more of the ID")
        for entry_id, events in found.items():
            at = round(identity.time_of(entry_id), 3)  # as the journal's times, or it could come behind them
            written = Event(at, entry_id, events[0].channel, "written", "written")
            return [written, *sorted(events, key=lambda each: each.at or float("inf"))]
        return []

    def _lying(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
        """ID, place and name of the entries in the spool whose name is wanted."""
        for place in self._places():
            for name in self._spool.names(place):
                parsed = None if ready.ignored(name) or not wanted(name) else identity.parse(name)
                if parsed:
                    yield parsed[0], place, name

    def _places(self) -> Iterator[str]:
        for state in STATES:
            for channel in self._spool.channels(state):
                if state != "sent":
                    yield f"{state}/{channel}"
                else:
                    yield from (f"sent/{channel}/{day}" for day in self._spool.names(f"sent/{channel}"))
        yield "failed"

    def _called(self, name: str) -> str:
        """The ID of the one entry of that name; empty: there is none. Raises SpoolError for several."""
        rest = identity.harmless(name)
        lying = self._lying(lambda full: full.endswith(f".{rest}"))
        found = {each for each, _, full in lying if full == f"{each}.{rest}"}
        if len(found) > 1:
            raise SpoolError(f"{len(found)} entries are called {rest!r}", f"the newest is {max(found)}")
        return next(iter(found), "")

    def _now(self, entry_id: str, place: str, name: str, known: list[Event]) -> Iterator[Event]:
        """Where it lies, and why, if the journal does not say that."""
        state, _, rest = place.partition("/")
        channel = rest.partition("/")[0]
        if state == "failed":
            failure = failures.at(self._spool, channel, name, entry_id)
            if not any(each.kind == "failed" and each.what.endswith(failure.reason) for each in known):
                yield self._failed(failure)
        words = {"outgoing": "waits in ", "sending": "being sent, in "}.get(state, "in ")
        yield Event(None, entry_id, channel, "now", f"{words}{place}/{name}", {"state": state})

    def _failed(self, failure: Failure, later: float = 0.0) -> Event:
        reason = failure.reason or "no reason is given"
        at = failure.at + later if failure.at is not None else None
        facts = {"reason": failure.reason, "file": str(failure.path)}
        return Event(at, failure.id, failure.channel, "failed", f"failed: {one_line(reason)}", facts)

    def _removed(self, wanted: Callable[[Record], bool]) -> Iterator[Event]:
        """What operators dropped for good."""
        for record in failures.dropped(self._spool):
            with suppress(ValueError, TypeError, KeyError, OverflowError, OSError):
                at = float(record["at"])
                datetime.fromtimestamp(at)  # others can write there: what is no time cannot be told as one
                if wanted(record):
                    what = f"removed for good by {one_line(str(record['by']))}"
                    channel = str(record["channel"])
                    yield Event(at, str(record["id"]), channel, "dropped", what)

    def _outbound(self, since: float) -> Iterator[Event]:
        for record in records(self._spool, day_of(since - _DAY)):
            event = self._teller.event(record)
            if event and record["at"] >= since:
                yield event

    # -- messages ----------------------------------------------------------------------------------------

    def _of_message(self, message_id: int) -> list[Event]:
        """What came of a human's message; of one of ours, what came of its entry."""
        day = day_of(snowflake_time(message_id) - _DAY)
        for record in records(self._spool, day, having=str(message_id)):
            if record["kind"] == "sent" and record.get("message") == message_id:
                return self._of_entry(record["id"])
        events = [*self._delivered(message_id), *self._kept(message_id)]
        if not events:
            return []
        channel = next((each.channel for each in events if each.channel), "")
        written = Event(snowflake_time(message_id), str(message_id), channel, "written", "written on Discord")
        return [written, *sorted(events, key=lambda each: each.at or float("inf"))]

    def _delivered(self, message_id: int) -> Iterator[Event]:
        lies = list(self._filed(message_id))
        yield from lies
        for delivery, words in _DELIVERIES.items():
            channel_id = self._listed(delivery, message_id)
            if channel_id is None or (delivery == "incoming" and lies):
                continue
            mailing = list(self._mail(message_id)) if delivery == "mail" else []
            gone = ", and removed by a reader since" if delivery == "incoming" else ""
            channel = self._teller.name(channel_id)
            what = mailing[0] if mailing else f"{words}{gone}"
            yield Event(None, str(message_id), channel, delivery, what, {"channel_id": str(channel_id)})

    def _filed(self, message_id: int) -> Iterator[Event]:
        for channel in self._spool.channels("incoming"):
            for box in ("new", "cur"):
                place = f"incoming/{channel}/{box}"
                for name in self._spool.names(place):
                    match = _FILED.fullmatch(name)
                    if match and int(match[1]) == message_id:
                        path = self._spool.root / place / name
                        read = box == "cur" and (":2," not in name or "S" in name.partition(":2,")[2])
                        what = f"filed as {place}/{name}, and {'read' if read else 'not read yet'}"
                        facts = {"file": str(path), "read": read}
                        with suppress(FileNotFoundError):  # its reader was quicker
                            at = path.lstat().st_mtime
                            yield Event(at, str(message_id), channel, "incoming", what, facts)

    def _listed(self, delivery: str, message_id: int) -> int | None:
        """The channel or thread that it was handed over from; None: it was not, or that is forgotten."""
        name = f"{handed.day_of(message_id)}.{delivery}.log"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        end = f" {message_id}\n".encode()
        place = f"state/{handed.DIRECTORY}"
        with (
            suppress(FileNotFoundError, ValueError),
            self._spool.at(place) as at,
            open(os.open(name, flags, dir_fd=at), "rb") as lines,
        ):
            return next((int(line.split()[0]) for line in lines if line.endswith(end)), None)
        return None

    def _mail(self, message_id: int) -> Iterator[str]:
        names = self._spool.names("state/mail")
        yield from (words for form, words in _MAILS.items() if form.format(message_id) in names)

    def _kept(self, message_id: int) -> Iterator[Event]:
        for channel in self._spool.channels("attachments"):
            place = f"attachments/{channel}/{message_id}"
            if count := len(self._spool.names(place)):
                what = f"{count} attached file{'s' if count > 1 else ''} in {place}/"
                yield Event(None, str(message_id), channel, "attachments", what)

    def _inbound(self, since: float) -> Iterator[Event]:
        days = sorted(
            name for name in self._spool.names(f"state/{handed.DIRECTORY}") if name.endswith(".incoming.log")
        )
        with suppress(FileNotFoundError), self._spool.at(f"state/{handed.DIRECTORY}") as at:
            for day in [each for each in days if each[:10] >= day_of(since)]:
                with open(os.open(day, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), "rb") as lines:
                    for line in lines:
                        with suppress(ValueError):
                            channel_id, message_id = map(int, line.split())
                            if (at_time := snowflake_time(message_id)) >= since:
                                channel = self._teller.name(channel_id)
                                yield Event(at_time, str(message_id), channel, "incoming", "came in, filed")


def _added(found: dict[str, list[Event]], event: Event, beginning: str) -> None:
    found.setdefault(event.id, []).append(event)
    if len(found) > _MOST:
        raise SpoolError(f"more than {_MOST} entries begin with {beginning!r}", "give more of the ID")
