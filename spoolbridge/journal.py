"""What was tried and what came of it: `state/journal.jsonl`, the memory that survives a crash.

A `try` is durable before the request is sent; whatever dies afterwards, the next start knows that
the message may be on Discord. Keyed by (ID, channel id) and part. Rotated daily; each file opens
with a checkpoint of all that is unresolved, so that a start reads one file, and only an older ID
that comes back makes it look further.

Records: `try`, `sent`, `not-sent`, `unknown` (the request may have been carried out: what tells a
5xx from a crash), `failed`, `same` (not posted: an entry with its Dedupe-Key was), `thread-try` and
`thread` (one was made or found for the entry), `checkpoint`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from spoolbridge import atomic, identity
from spoolbridge.outgoing import PLAIN, Form

FILE = "journal.jsonl"
_NEXT = "journal.next"
POISON = 3  # crashes while posting one part, or while making a thread
KEY_HOLDS = 24 * 3600.0  # seconds for which a Dedupe-Key stands for its message


@dataclass
class PartHistory:
    """What is known of one part. Times in unix seconds."""

    digest: str = ""
    files: list[list[Any]] = field(default_factory=list)  # [name, size]
    message_id: int | None = None
    #: The first try since the last sure answer, if it may have been carried out.
    first_unknown: float | None = None
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


@dataclass
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

    @property
    def sent(self) -> bool:
        return 0 < self.parts == sum(part.message_id is not None for part in self.part.values())

    @property
    def resolved(self) -> bool:
        found = self.thread is not None and not self.part  # what became of it is told under the thread
        return self.sent or bool(self.failed) or found


class Journal:
    """The journal of the one running service. Every method may be called from any thread."""

    def __init__(self, state: int, *, clock: Callable[[], float] = time.time) -> None:
        """Opens `journal.jsonl` in the directory `state`; a torn tail is kept aside and cut."""
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._histories: dict[tuple[str, int], History] = {}
        #: What is known of these does not begin in this file, and is all there.
        self._whole: set[tuple[str, int]] = set()
        self._owners: dict[int, str] = {}
        #: Digest of channel and Dedupe-Key → (ID, channel or thread id) of each entry with it → its last try.
        self._keys: dict[str, dict[tuple[str, int], float]] = {}
        #: Since when they were looked for in the files before this one.
        self._whole_keys: dict[str, float] = {}
        if not atomic.exists(FILE, at=state) and atomic.exists(_NEXT, at=state):
            os.rename(_NEXT, FILE, src_dir_fd=state, dst_dir_fd=state)  # died between two renames
        self.torn = atomic.cut_torn_tail(FILE, at=state)
        #: Since when there is this file; what is known of older entries may begin in others.
        self._since = clock()
        for number, record in enumerate(read(state, FILE)):
            self._apply(record)
            if number == 0:
                self._since = record["at"]
        self._fd = self._open()

    def close(self) -> None:
        os.close(self._fd)

    def history(self, entry_id: str, channel_id: int) -> History:
        """What is known of the entry; an ID older than this file is looked for in the older ones."""
        with self._lock:
            return self._known((entry_id, channel_id)) or History()

    def owner(self, message_id: int, *, since: float) -> str | None:
        """The entry that this message on Discord is known to be, looking back to `since`."""
        with self._lock:
            if message_id not in self._owners and since < self._since:
                for record in self._records_since(since):
                    if record["kind"] == "sent":
                        self._owners.setdefault(record["message"], record["id"])
            return self._owners.get(message_id)

    def twin(self, key: str, *, but: str) -> tuple[int, str] | None:
        """The message and the ID of another entry with this key that was sent in the last 24 hours."""
        for entry_id, _, history in self.with_key(key, but=but):
            if history.sent:
                return history.part[1].message_id or 0, entry_id
        return None

    def with_key(self, key: str, *, but: str) -> list[tuple[str, int, History]]:
        """ID, channel (or thread) and history of the other entries with this key, of the last 24 hours."""
        # Two that were dropped together are twins, however late the second's turn comes.
        since = min(self._clock(), identity.time_of(but)) - KEY_HOLDS
        with self._lock:
            entries = self._keys.setdefault(key, {})
            if since < min(self._since, self._whole_keys.get(key, self._since)):
                for record in self._records_since(since, having=key):
                    entries.setdefault((record["id"], record["channel"]), record["at"])
                self._whole_keys[key] = since
            others = [entry for entry, at in entries.items() if entry[0] != but and at >= since]
            return [(*entry, self._known(entry) or History()) for entry in others]

    def tried(
        self, entry_id: str, channel_id: int, part: int, *, parts: int, form: Form, digest: str,
        files: list[list[Any]], key: str = "",
    ) -> None:  # fmt: skip
        """Durable when it returns. Raises OSError: then nothing may be posted."""
        told: dict[str, Any] = {**form._asdict(), "key": key}
        more = {name: value for name, value in told.items() if value}
        self._append(
            "try", entry_id, channel_id, part=part, parts=parts, digest=digest, files=files, **more
        )

    def same(self, entry_id: str, channel_id: int, message_id: int, twin: str) -> None:
        """Not posted, for the entry `twin` with the same key was, as that message."""
        self._append("same", entry_id, channel_id, part=1, message=message_id, guild=None, twin=twin)

    def making_thread(self, entry_id: str, channel_id: int) -> None:
        """Durable before a thread is made: that request has no nonce."""
        self._append("thread-try", entry_id, channel_id)

    def thread(self, entry_id: str, channel_id: int, thread_id: int | None, name: str = "") -> None:
        """The entry's parts go there, whatever bears that name later. None: to none yet."""
        self._append("thread", entry_id, channel_id, thread=thread_id, name=name)

    def sent(self, entry_id: str, channel_id: int, part: int, message_id: int, guild_id: int | None) -> None:
        self._append("sent", entry_id, channel_id, part=part, message=message_id, guild=guild_id)

    def not_sent(self, entry_id: str, channel_id: int, part: int, *, read_back: bool = False) -> None:
        """The last try surely was not carried out; `read_back`: none of them was.

        Not synced: losing it costs a look at the channel, never a message.
        """
        self._append("not-sent", entry_id, channel_id, durable=False, part=part, read_back=read_back)

    def unknown(self, entry_id: str, channel_id: int, part: int) -> None:
        """The last try may have been carried out. Not synced, for without it that is assumed."""
        self._append("unknown", entry_id, channel_id, durable=False, part=part)

    def failed(self, entry_id: str, channel_id: int, reason: str) -> None:
        """Settled as failed. What is unresolved stays so: a retry reads back before it posts."""
        self._append("failed", entry_id, channel_id, reason=reason)

    def _append(
        self, kind: str, entry_id: str, channel_id: int, *, durable: bool = True, **fields: Any
    ) -> None:
        now = self._clock()
        record = {"at": round(now, 3), "kind": kind, "id": entry_id, "channel": channel_id, **fields}
        with self._lock:
            if _day(now) > _day(self._since):
                self._rotate(now)
            atomic.append(self._fd, _line(record), durable=durable)
            self._apply(record)

    def _apply(self, record: dict[str, Any]) -> None:
        if record["kind"] == "checkpoint":
            for each in record["unresolved"]:
                self._histories[each["id"], each["channel"]] = _restored(each)
                self._whole.add((each["id"], each["channel"]))
            return
        if record["kind"] == "sent":
            self._owners[record["message"]] = record["id"]
        if record.get("key"):
            self._keys.setdefault(record["key"], {})[record["id"], record["channel"]] = record["at"]
        key = (record["id"], record["channel"])
        fold(self._histories.setdefault(key, History()), record)

    def _rotate(self, now: float) -> None:
        """A new file that opens with all that is unresolved; a crash in between loses neither."""
        known = {key: self._known(key) for key in list(self._histories)}
        unresolved = {key: each for key, each in known.items() if each and not each.resolved}
        checkpoint = {
            "at": round(now, 3),
            "kind": "checkpoint",
            "unresolved": [
                {"id": entry_id, "channel": channel_id, **asdict(each), **each.form._asdict()}
                for (entry_id, channel_id), each in unresolved.items()
            ],
        }
        atomic.replace(_NEXT, _line(checkpoint), at=self._state)
        dated = f"journal-{_day(self._since)}.jsonl"
        halfway = not atomic.exists(FILE, at=self._state)  # the disk refused between the two renames
        if not halfway and not atomic.exists(dated, at=self._state):  # a clock set back keeps to its file
            os.rename(FILE, dated, src_dir_fd=self._state, dst_dir_fd=self._state)
            atomic.sync_directory(self._state)  # else the second name could survive a power cut alone
            halfway = True
        if halfway:
            os.rename(_NEXT, FILE, src_dir_fd=self._state, dst_dir_fd=self._state)
            atomic.sync_directory(self._state)
            self._histories, self._whole, self._owners = unresolved, set(unresolved), {}
            self._keys, self._whole_keys = {}, {}
        before, self._fd = self._fd, self._open()  # in this order: a closed descriptor is soon another file's
        os.close(before)
        self._since = now

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(FILE, flags, atomic.FILE_MODE, dir_fd=self._state)
        atomic.sync_directory(self._state)
        return fd

    def _known(self, key: tuple[str, int]) -> History | None:
        """What is known of an entry; of an ID from before this file (or from a clock that was ahead) the
        other files may say more than memory."""
        written = identity.time_of(key[0])
        if key not in self._whole and not self._since <= written <= self._clock():
            found: History | None = None
            older = self._records_since(written if written < self._since else 0.0, having=key[0])
            for record in (*older, *read(self._state, having=key[0])):
                if (record.get("id"), record.get("channel")) == key:
                    found = found or History()
                    fold(found, record)
            if found is not None:
                self._histories[key] = found
            self._whole.add(key)
        return self._histories.get(key)

    def _records_since(self, since: float, *, having: str = "") -> Iterator[dict[str, Any]]:
        oldest = f"journal-{_day(since - 24 * 3600)}.jsonl"
        names = sorted(name for name in os.listdir(self._state) if name.startswith("journal-"))
        for name in [each for each in names if each >= oldest]:
            yield from read(self._state, name, having=having)


def read(state: int, name: str = FILE, *, having: str = "") -> Iterator[dict[str, Any]]:
    """The records of one file of the journal; a line that is not one is passed over.

    `having`: only lines with these characters are decoded, which is most of the time it takes.
    """
    wanted = having.encode()
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state)
    except FileNotFoundError:
        return
    with open(fd, "rb") as lines:
        for line in lines:
            if wanted not in line:
                continue
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "kind" in record:
                yield record


def lookup(state: int, entry_id: str) -> dict[str, Any]:
    """Where an entry was posted, for who dropped it: `message_ids` by part, `channel_id`, `guild_id`."""
    found: dict[str, Any] = {}
    messages: dict[int, int] = {}
    oldest = f"journal-{entry_id[:4]}-{entry_id[4:6]}-{entry_id[6:8]}.jsonl"
    older = sorted(name for name in os.listdir(state) if name.startswith("journal-") and name >= oldest)
    for record in (each for name in (*older, FILE) for each in read(state, name, having=entry_id)):
        if record.get("id") == entry_id and record["kind"] in ("sent", "same"):
            messages[record["part"]] = record["message"]
            found = {"channel_id": record["channel"], "guild_id": record["guild"]}
    return {**found, "message_ids": tuple(messages[part] for part in sorted(messages))} if found else {}


def fold(history: History, record: dict[str, Any]) -> None:
    """Add one record to what is known of its entry."""
    if record["kind"] == "failed":
        history.failed = record["reason"]
        for each in history.part.values():
            each.first_unknown, each.pending, each.crashes = each.unresolved, None, 0
        return
    if record["kind"] in ("thread-try", "thread"):
        history.thread, history.thread_name = record.get("thread"), record.get("name", "")
        history.thread_tries = history.thread_tries + 1 if record["kind"] == "thread-try" else 0
        return
    part = history.part.setdefault(record["part"], PartHistory())
    if record["kind"] == "try":
        history.parts, history.form, history.failed = record["parts"], _form(record), ""
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


def _restored(each: dict[str, Any]) -> History:
    parts = {int(number): PartHistory(**part) for number, part in each["part"].items()}
    thread, name, tries = each.get("thread"), each.get("thread_name", ""), each.get("thread_tries", 0)
    return History(each["parts"], _form(each), each["failed"], parts, thread, name, tries)


def _form(record: dict[str, Any]) -> Form:
    return Form(*(record.get(name, "") for name in Form._fields))


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
