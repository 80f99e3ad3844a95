"""What Discord has against what the files tell: the findings of an audit.

Pure: two looks at the files with a reading of Discord between them go in, findings come out. What was
there at the first look must be on Discord, and what was on Discord must be there at the second; so
a service that works meanwhile is not accused of what it was just doing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from spoolbridge import identity
from spoolbridge.discord.client import JsonObject
from spoolbridge.evidence import Delivered, Evidence, SentEntry
from spoolbridge.incoming import HUMAN_TYPES, snowflake_at, snowflake_time
from spoolbridge.journal import History
from spoolbridge.outgoing import Part
from spoolbridge.places import Guild, Place
from spoolbridge.rendering import one_line

#: What makes an audit fail, and what it only tells.
FAILURES = ("missing", "repeated", "waiting", "unproved", "given up")
NOTES = ("arriving", "consumed", "pruned", "deleted", "unaccounted", "refused")

#: What a post is recognised by: its channel, the digest of its text, its files' names and sizes.
_Likeness = tuple[int, str, tuple[tuple[object, ...], ...]]


@dataclass(frozen=True)
class Finding:
    """One line of a report. `id` is a message's on Discord, or an entry's; `-` where it is about neither."""

    place: str
    what: str
    id: str
    why: str

    def __str__(self) -> str:
        return f"{self.place:<20}  {self.what:<11}  {self.id:<19}  {self.why}"


@dataclass(frozen=True)
class Report:
    """What was found since `since` (unix seconds). `counts` has a number for `in`, `out` and every kind."""

    since: float
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    #: What was handed over by a repair; `findings` are what was left after it.
    repaired: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all holds that could be looked at, and all could be looked at."""
        return not any(self.counts[what] for what in FAILURES)

    @property
    def summary(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        bad, told = (", ".join(f"{self.counts[what]} {what}" for what in kind) for kind in (FAILURES, NOTES))
        return f"{self.counts['in']} in and {self.counts['out']} out since {since}: {bad}; {told}"

    @property
    def advice(self) -> str:
        """What mends it; empty where nothing is to be filled in."""
        if any(each.what in ("missing", "waiting") and each.id.isdigit() for each in self.findings):
            return "to hand over what is missing, stop the service, then: spoolbridge audit --repair"
        return ""

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self), "counts": dict(self.counts)}


@dataclass(frozen=True)
class Undelivered:
    """A human's message that one delivery does not have. `passed`: nor will it ever come to it by itself."""

    place: Place
    message: JsonObject
    delivery: str
    passed: bool

    @property
    def id(self) -> int:
        return int(self.message["id"])


@dataclass(frozen=True)
class Comparison:
    """Discord as it was between two looks. Times in unix seconds; `settled`: what is older has arrived."""

    guild: Guild
    places: Mapping[int, Place]
    #: Place's id → what is for agents there, and what the rules of now refuse.
    admitted: Mapping[int, Sequence[JsonObject]]
    refused: Mapping[int, Sequence[JsonObject]]
    before: Evidence
    after: Evidence
    since: float
    settled: float

    @property
    def since_id(self) -> int:
        return id_before(self.since)

    def report(self) -> Report:
        raw = (*self._inbound(), *self._repeated(), *self._outbound(), *self._unaccounted())
        # A directory, or a line in the inbox file, may be called anything by whoever can write there.
        found = tuple(replace(each, place=one_line(each.place)) for each in raw)
        counts = Counter(dict.fromkeys((*FAILURES, *NOTES), 0))
        counts.update(each.what for each in found)
        counts["in"] = sum(len(self._owed(place)) for place in self.places.values())
        counts["out"] = len(self.before.sent)
        counts["consumed"] = self._vanished("incoming", self.after.filed)
        counts["pruned"] = self._vanished("inbox", self.after.lines) + self._beyond()
        refused = (int(each["id"]) for messages in self.refused.values() for each in messages)
        counts["refused"] = sum(each > self.since_id for each in refused)
        return Report(self.since, found, counts)

    def undelivered(self, place: Place) -> Iterator[Undelivered]:
        """What a place owes, by delivery and ascending id."""
        for delivery in self.after.deliveries:
            start = _beginning(place, delivery, self.after.first_start)
            if start is None:
                continue
            position, begun = delivery.positions.get(place.id), place.id in delivery.began
            for message in self.admitted.get(place.id, ()):
                message_id = int(message["id"])
                if message_id <= start or delivery.has(place.id, message_id):
                    continue
                if self._list_is_gone(message_id):
                    continue
                passed = begun if position is None else message_id <= position.floor
                if message_id > self.since_id or not passed:  # what waits counts, however old it is
                    yield Undelivered(place, message, delivery.name, passed)

    # -- in --------------------------------------------------------------------------------------------

    def _inbound(self) -> Iterator[Finding]:
        for place in self.places.values():
            if place.polled and place.closed:
                yield Finding(str(place), "unproved", "-", f"what humans wrote there: {place.closed}")
            yield from self._unlisted(place)
            missing, waiting, arriving = self._sorted(self.undelivered(place))
            yield from told("missing", "never handed over to", missing)
            yield from told("waiting", "no service has handed it over yet to", waiting)
            yield from told("arriving", "just written, and on its way to", arriving)
            yield from self._given_up(place)
        yield from self._deleted()

    def _sorted(self, undelivered: Iterable[Undelivered]) -> tuple[list[Undelivered], ...]:
        """What is missing, what has waited too long, and what may be on its way."""
        missing: list[Undelivered] = []
        waiting: list[Undelivered] = []
        arriving: list[Undelivered] = []
        for each in undelivered:
            new = snowflake_time(each.id) >= self.settled
            (missing if each.passed else arriving if new else waiting).append(each)
        return missing, waiting, arriving

    def _owed(self, place: Place) -> list[JsonObject]:
        """The messages for agents of the time asked for that some delivery has to have."""
        starts = [_beginning(place, each, self.after.first_start) for each in self.after.deliveries]
        start = min((each for each in starts if each is not None), default=None)
        if start is None:
            return []
        first = max(start, self.since_id)
        return [each for each in self.admitted.get(place.id, ()) if int(each["id"]) > first]

    def _unlisted(self, place: Place) -> Iterator[Finding]:
        """Where a list was lost, nobody can say what was handed over before."""
        for delivery in self.after.deliveries:
            lost = place.id in delivery.positions and place.id not in delivery.began
            if lost and place.polled and not place.closed:
                why = f"{delivery.name}: state/handed/ knows nothing of it before the next message"
                yield Finding(str(place), "unproved", "-", why)

    def _given_up(self, place: Place) -> Iterator[Finding]:
        for message in self._owed(place):
            if int(message["id"]) in self.after.given_up:
                why = "gt refuses its mail, which lies in state/mail/"
                yield Finding(str(place), "given up", str(message["id"]), why)

    def _deleted(self) -> Iterator[Finding]:
        handed = {each for delivery in self.before.deliveries for each in delivery.handed}
        for channel_id, message_id in sorted(handed):
            place = self.places.get(channel_id)
            readable = place is not None and (place.gone or not place.closed)
            if place and readable and message_id > self.since_id and message_id not in place.ids:
                why = "somebody deleted it on Discord after it was handed over"
                yield Finding(str(place), "deleted", str(message_id), why)

    def _repeated(self) -> Iterator[Finding]:
        places = {"files in incoming/": self.after.filed, "lines in the inbox file": self.after.lines}
        for where, found in places.items():
            for message_id, channels in sorted(found.items()):
                if len(channels) > 1 and message_id > self.since_id:
                    yield Finding(channels[0], "repeated", str(message_id), f"{len(channels)} {where}")

    def _vanished(self, name: str, still: Mapping[int, object]) -> int:
        """How many were handed over to a delivery and lie there no more."""
        (had,) = (each.handed for each in self.after.deliveries if each.name == name)
        return sum(1 for _, each in had if each > self.since_id and each not in still)

    def _list_is_gone(self, message_id: int) -> bool:
        """Whether the list that it would stand in was pruned."""
        return snowflake_time(message_id) < self.after.lists_since

    def _beyond(self) -> int:
        """How many went in or out before the time that lists and journal tell of."""
        owed = (int(each["id"]) for place in self.places.values() for each in self._owed(place))
        sent = (entry for entry in self.before.sent if self._forgotten(entry) and not self._posted(entry))
        return sum(map(self._list_is_gone, owed)) + sum(1 for _ in sent)

    # -- out -------------------------------------------------------------------------------------------

    def _forgotten(self, entry: SentEntry) -> bool:
        """Whether what became of it may have stood in a file of the journal that was pruned."""
        return identity.time_of(entry.id) < self.after.journal_since

    def _outbound(self) -> Iterator[Finding]:
        unread: set[Place] = set()
        for entry in self.before.sent:
            if not self._posted(entry) and not self._forgotten(entry):
                why = "in sent/, but the journal does not say that all of it was posted: look there"
                yield Finding(entry.channel, "missing", entry.id, why)
            for place, message_id in self._parts(entry):
                if place.closed and not place.gone:
                    unread.add(place)
                elif message_id not in place.ids:
                    why = f"its message {message_id or ''} was posted, and deleted on Discord since"
                    yield Finding(str(place), "deleted", entry.id, " ".join(why.split()))
        for place in sorted(unread, key=str):
            yield Finding(str(place), "unproved", "-", f"what was posted there: {place.closed}")

    def _posted(self, entry: SentEntry) -> dict[int, History]:
        """Where the journal says that all of the entry was posted: in its own channel, if there."""
        of_entry = self.after.histories.get(entry.id, {})
        sent = {key: each for key, each in of_entry.items() if each.sent and key in self.places}
        own = {key: each for key, each in sent.items() if self.places[key].channel.address == entry.channel}
        return own or sent

    def _parts(self, entry: SentEntry) -> list[tuple[Place, int]]:
        """The entry's messages of the time asked for; 0: one deleted before its id was known."""
        return [
            (self.places[channel_id], part.message_id)
            for channel_id, history in self._posted(entry).items()
            for _, part in sorted(history.part.items())
            if part.message_id is not None and (part.message_id == 0 or part.message_id > self.since_id)
        ]

    def _unaccounted(self) -> Iterator[Finding]:
        """What this token posted, and no entry has posted."""
        if self.after.first_start is None:
            return
        start = max(self.since_id, snowflake_at(self.after.first_start))
        settled, open_ = self._likenesses()
        for place in self.places.values():
            for message in place.messages:
                message_id, likeness = int(message["id"]), _likeness(place.id, message)
                if message_id <= start or message_id in self.after.owners or not self._is_ours(message):
                    continue
                if snowflake_time(message_id) < self.after.journal_since:
                    continue
                if likeness in open_:
                    why = f"perhaps {open_[likeness]}, whose outcome is not known yet"
                elif likeness in settled:
                    yield Finding(str(place), "repeated", str(message_id), f"posted like {settled[likeness]}")
                    continue
                else:
                    why = "no entry was posted so; another program with this token?"
                yield Finding(str(place), "unaccounted", str(message_id), why)

    def _is_ours(self, message: JsonObject) -> bool:
        return message["author"]["id"] == str(self.guild.own_id) and message.get("type") in HUMAN_TYPES

    def _likenesses(self) -> tuple[dict[_Likeness, str], dict[_Likeness, str]]:
        """Likeness → entry, of the parts that were posted and of those that may have been."""
        settled: dict[_Likeness, str] = {}
        open_: dict[_Likeness, str] = {}
        for entry_id, of_entry in self.after.histories.items():
            for channel_id, history in of_entry.items():
                for part in history.part.values():
                    likeness = (channel_id, part.digest, tuple(tuple(each) for each in part.files))
                    if part.message_id is not None:
                        settled[likeness] = entry_id
                    elif part.unresolved is not None:
                        open_[likeness] = entry_id
        return settled, open_


def id_before(since: float) -> int:
    """The id behind which everything was written at that unix time (seconds) or later."""
    return max(0, snowflake_at(since) - 1)


def told(what: str, why: str, undelivered: Iterable[Undelivered]) -> Iterator[Finding]:
    """One finding a message, with the deliveries that it concerns."""
    found: dict[tuple[Place, int], list[str]] = {}
    for each in undelivered:
        found.setdefault((each.place, each.id), []).append(each.delivery)
    for (place, message_id), deliveries in found.items():
        yield Finding(str(place), what, str(message_id), f"{why} {', '.join(deliveries)}")


def _beginning(place: Place, delivery: Delivered, first_start: float | None) -> int | None:
    """The id after which everything is for this delivery; None: nothing is, or nothing says so."""
    if not place.polled or place.closed:
        return None
    if place.id in delivery.began or place.id in delivery.positions:
        return delivery.began.get(place.id)
    if first_start is None:
        return None
    if snowflake_time(place.id) > first_start:
        return place.id - 1  # a forum post's first message has the thread's own id
    parent = delivery.began.get(place.channel.id)  # of a thread: it woke after its channel was begun
    return None if parent is None else max(parent, snowflake_at(first_start) - 1)


def _likeness(channel_id: int, message: JsonObject) -> _Likeness:
    files = tuple((each.get("filename"), each.get("size")) for each in message.get("attachments", []))
    return channel_id, Part(message.get("content", "")).digest, files
