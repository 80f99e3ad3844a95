"""What is known of an entry: the journal's records, folded.

Pure. A record is added to what the ones before it say, in the order in which they were written; so whoever
has an entry's records, or a checkpoint and what follows it, knows what may be on Discord.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spoolbridge.outgoing import PLAIN, Form

POISON = 3  # crashes while posting one part, or while making a thread


@dataclass(slots=True)
class PartHistory:
    """What is known of one part. Times in unix seconds."""

    digest: str = ""
    files: list[list[Any]] = field(default_factory=list)  # [name, size]
    message_id: int | None = None
    #: The first try since the last sure answer, if it may have been carried out.
    first_unknown: float | None = None
    #: Seconds that our clock was ahead of Discord's in the tries since then, at most.
    ahead: float = 0.0
    #: A try that nothing was written about: the process is in it, or died in it.
    pending: float | None = None
    crashes: int = 0

    @property
    def unresolved(self) -> float | None:
        """Since when this part may be on Discord without our knowing."""
        return self.first_unknown if self.first_unknown is not None else self.pending

    @property
    def poisoned(self) -> bool:
        return self.crashes + (self.pending is not None) >= POISON


@dataclass(slots=True)
class History:
    """What is known of one entry in one channel."""

    parts: int = 0
    form: Form = PLAIN
    failed: str = ""
    part: dict[int, PartHistory] = field(default_factory=dict)
    #: The thread that its `Thread` name was found to be; known of the channel it was dropped for.
    thread: int | None = None
    #: How it was called there; empty in records of versions that did not note it.
    thread_name: str = ""
    #: Tries to make that thread of which nothing is known.
    thread_tries: int = 0
    #: The digest of what was held back for a secret in it: when that is retried, it passes.
    held: str = ""

    @property
    def sent(self) -> bool:
        return 0 < self.parts == sum(part.message_id is not None for part in self.part.values())

    @property
    def resolved(self) -> bool:
        found = self.thread is not None and not self.part  # what became of it is told under the thread
        return self.sent or bool(self.failed) or found


def fold(history: History, record: dict[str, Any]) -> None:
    """Add one record to what is known of its entry."""
    if record["kind"] == "failed":
        history.failed = record["reason"]
        history.held = record.get("held") or history.held
        for each in history.part.values():
            each.first_unknown, each.pending, each.crashes = each.unresolved, None, 0
        return
    if record["kind"] in ("thread-try", "thread"):
        history.thread, history.thread_name = record.get("thread"), record.get("name", "")
        history.thread_tries = history.thread_tries + 1 if record["kind"] == "thread-try" else 0
        return
    part = history.part.get(record["part"])
    if part is None:
        part = history.part[record["part"]] = PartHistory()
    if record["kind"] == "try":
        history.parts, history.form, history.failed = record["parts"], form_of(record), ""
        ahead = record.get("ahead", 0.0)
        part.ahead = ahead if part.unresolved is None else max(part.ahead, ahead)
        if part.pending is not None:
            part.crashes += 1
            part.first_unknown = part.unresolved
        part.pending, part.digest, part.files = record["at"], record["digest"], record["files"]
    elif record["kind"] in ("sent", "same"):
        if record["kind"] == "same":
            history.parts = 1
        part.message_id, part.pending, part.first_unknown, part.crashes = record["message"], None, None, 0
    elif record["kind"] == "unknown":
        part.first_unknown, part.pending, part.crashes = part.unresolved, None, 0
    elif record["kind"] == "not-sent":
        part.pending = None
        if record.get("read_back"):
            part.first_unknown = None


def checkpoint(unresolved: Mapping[tuple[str, int], History], now: float) -> dict[str, Any]:
    """The record of it; keys are IDs and channel or thread ids."""
    known = [
        {"id": entry_id, "channel": channel_id, **asdict(each), **each.form._asdict()}
        for (entry_id, channel_id), each in unresolved.items()
    ]
    return {"at": round(now, 3), "kind": "checkpoint", "unresolved": known}


def restored(each: dict[str, Any]) -> History:
    """From a checkpoint."""
    parts = {int(number): PartHistory(**part) for number, part in each["part"].items()}
    thread, name, tries = each.get("thread"), each.get("thread_name", ""), each.get("thread_tries", 0)
    held = each.get("held", "")
    return History(each["parts"], form_of(each), each["failed"], parts, thread, name, tries, held)


def form_of(record: dict[str, Any]) -> Form:
    return Form(record.get("stamp", ""), record.get("quote", ""), record.get("note", ""))
