"""What happened, as values: one event each, and the journal's records in words.

A record is told as it stands there, so that who reads knows what was known at that time; what it says is
harmless to a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from spoolbridge import journal
from spoolbridge.claim import one_line
from spoolbridge.journal_files import Dated, Record, dated
from spoolbridge.spool import Spool

_REMEMBERED = 10_000  # entries whose number of parts is kept in mind

@dataclass(frozen=True)
class Event:
    """One thing that happened, or (`at` None) how it is now. `at` in unix seconds; `id` an entry's ID or a
    message's; `facts` are for programs, ids as strings."""

    at: float | None
    id: str
    channel: str
    kind: str
    what: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at, "id": self.id, "channel": self.channel, "kind": self.kind, "what": self.what,
            **self.facts,
        }  # fmt: skip


class Teller:
    """Puts records in words, in the order in which they were written. `names`: channel id → its address."""

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names = dict(names)
        #: Entry → how many parts it has, as far as it was met.
        self._parts: dict[str, int] = {}

    def name(self, channel_id: int) -> str:
        """The address of a channel, of a thread's channel once that was met, or else the id."""
        return self._names.get(channel_id, str(channel_id))

    def event(self, record: Record) -> Event | None:
        """A record of the journal in words."""
        kind, channel_id = record["kind"], record.get("channel", 0)
        if kind == "checkpoint":
            return None
        if record.get("thread") and channel_id in self._names:
            self._names.setdefault(record["thread"], self._names[channel_id])
        if kind == "try":
            if len(self._parts) > _REMEMBERED:
                self._parts.clear()
            self._parts[record["id"]] = record["parts"]
        part, parts = record.get("part", 0), self._parts.get(record["id"], 0)
        which = f" part {part} of {parts}" if parts > 1 else f" part {part}" if part > 1 else ""
        facts = {key: record[key] for key in ("part", "reason", "twin", "held") if record.get(key)}
        facts |= {key: str(record[key]) for key in ("message", "thread") if record.get(key)}
        if url := _url(record):
            facts["url"] = url
        what = _WORDS[kind](record, which, url) if kind in _WORDS else kind
        return Event(record["at"], record["id"], self.name(channel_id), kind, one_line(what), facts)


def records(spool: Spool, day: str, *, having: str = "") -> Iterator[Record]:
    """The journal's records of that day (UTC) and later, in order, as a stream; a file that was begun while
    this reads is neither left out nor told twice."""
    done: set[Dated] = set()
    with spool.at("state") as state:
        while True:
            for each in _older(state, day, done):
                yield from journal.read(state, each.name, having=having)
                done.add(each)
            newest = journal.read(state, having=having)
            first = next(newest, None)  # that opens it
            if not _older(state, day, done):
                break
        if first is not None:
            yield first
            yield from newest


def _older(state: int, day: str, done: set[Dated]) -> list[Dated]:
    return [each for each in dated(state) if each.day >= day and each not in done]


def _url(record: Record) -> str:
    if not record.get("message"):
        return ""
    guild = f"{record['guild']}/{record['channel']}/" if record.get("guild") else ""
    return f"https://discord.com/channels/{guild}{record['message']}" if guild else ""


def _sent(record: Record, which: str, url: str) -> str:
    if not record.get("message"):
        return f"sent{which}, and deleted before its id was known"
    return f"sent{which} as {url or record['message']}"


def _not_sent(record: Record, which: str, url: str) -> str:
    if record.get("read_back"):
        return f"not on Discord:{which or ' it'} was looked for and not found"
    return f"not sent{which}: the try surely came to nothing"


def _threaded(record: Record, which: str, url: str) -> str:
    if not record.get("thread"):
        return "no thread for it yet"
    return f"goes to the thread {record['thread']}" + (f" ({record['name']})" if record.get("name") else "")


def _tried(record: Record, which: str, url: str) -> str:
    files = len(record.get("files") or ())
    return f"tried{which}" + (f", with {files} file{'s' if files > 1 else ''}" if files else "")


#: Kind of record → the words for it.
_WORDS: Mapping[str, Callable[[Record, str, str], str]] = {
    "try": _tried,
    "sent": _sent,
    "not-sent": _not_sent,
    "unknown": lambda record, which, url: f"no sure answer:{which or ' it'} may be on Discord",
    "failed": lambda record, which, url: f"failed: {record['reason']}",
    "same": lambda record, which, url: f"not posted: {record['twin']} with its Dedupe-Key is {url or 'sent'}",
    "thread-try": lambda record, which, url: "makes a thread for it",
    "thread": _threaded,
}
