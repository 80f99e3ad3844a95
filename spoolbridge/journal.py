"""What was tried and what came of it: `state/journal.jsonl`, the memory that survives a crash.

A `try` is durable before the request is sent; whatever dies afterwards, the next start knows that
the message may be on Discord. Keyed by (ID, channel id) and part. A new file is begun each day and
whenever one is full; each opens with a checkpoint of all that is unresolved, so that a start reads
one file, and only an older ID that comes back makes it look further. An ID that is older than the
oldest file (files are removed in the end) cannot be told from one that was sent: it is not posted.

Records: `try`, `sent`, `not-sent`, `unknown` (the request may have been carried out: what tells a
5xx from a crash), `failed`, `same` (not posted: an entry with its Dedupe-Key was), `thread-try` and
`thread` (one was made or found for the entry), `checkpoint`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spoolbridge import atomic, identity, journal_files
from spoolbridge.errors import ForgottenError
from spoolbridge.history import POISON, History, PartHistory, checkpoint, fold, restored
from spoolbridge.identity import day_of
from spoolbridge.journal_files import FILE, Dated, Older, lookup, read
from spoolbridge.outgoing import Form

__all__ = ["FILE", "KEY_HOLDS", "POISON", "History", "Journal", "PartHistory", "fold", "lookup", "read"]

LARGEST = 512 << 10  # bytes of one file: what a start reads, and what is kept in memory of a busy day
KEY_HOLDS = 24 * 3600.0  # seconds for which a Dedupe-Key stands for its message
_AHEAD = 24 * 3600.0  # seconds by which the clock that made an ID may have been ahead
_SET_BACK = 3600.0  # seconds by which ours may have been set back since
_NEXT = "journal.next"
_JSON = json.JSONEncoder(separators=(",", ":"))  # to make one takes as long as to encode a record


@dataclass(slots=True)
class _Line:
    """A record on its way to the file."""

    record: dict[str, Any]
    durable: bool
    done: bool = False
    error: Exception | None = None


class _Own(threading.local):
    """What the calls that a thread makes `together` have appended so far."""

    lines: list[_Line] | None = None


class Journal:
    """The journal of the one running service. Every method may be called from any thread.

    What several threads append at once is written and synced together, by whichever has its turn first.
    Who has both locks takes `_turn` before `_lock`.
    """

    def __init__(self, state: int, *, clock: Callable[[], float] = time.time, largest: int = LARGEST) -> None:
        """Opens `journal.jsonl` in the directory `state`; a torn tail is kept aside and cut. `largest`: the
        bytes from which on a file is full."""
        self._state = state
        self._clock = clock
        #: Held by who writes, or looks into older files: for as long as the disk takes.
        self._turn = threading.Lock()
        #: Held where what is in memory changes, and by who reads it without having the turn: for an instant.
        self._lock = threading.Lock()
        #: What waits to be written, in order; who has the turn writes all of it.
        self._queue: deque[_Line] = deque()
        self._own = _Own()
        self._histories: dict[tuple[str, int], History] = {}
        #: What is known of these does not begin in this file, and is all there.
        self._whole: set[tuple[str, int]] = set()
        #: What is known of these may begin in a file that has been removed.
        self._cut: set[tuple[str, int]] = set()
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
        #: When a file is full: with much that is unresolved, each try would begin a new one.
        self._largest = self._full = largest
        #: A rotation was begun: until it is ended nothing may be written, for the checkpoint has been.
        self._rotating = False
        for number, record in enumerate(read(state, FILE)):
            self._apply(record)
            if number == 0:
                self._since, self._full = record["at"], max(largest, 2 * len(_line(record)))
        self._older = Older(state)
        #: This is the first file that ever was: all that was ever written is in memory.
        self._first = self._older.never
        self._fd = self._open()

    def close(self) -> None:
        os.close(self._fd)

    def history(self, entry_id: str, channel_id: int) -> History:
        """What is known of the entry; an ID older than this file is looked for in the older ones.

        Raises ForgottenError where what became of it may have stood in a file that was removed.
        """
        with self._turn:
            known = self._known((entry_id, channel_id)) or History()
            if (entry_id, channel_id) in self._cut and not known.sent:
                raise ForgottenError
            return known

    def at_hand(self, entry_id: str, channel_id: int) -> History | None:
        """As `history`, at once; None: it has to look into older files, or may raise."""
        with self._lock:
            key = entry_id, channel_id
            if key in self._cut or not (self._remembered(key) or self._is_new(key)):
                return None
            return self._histories.get(key) or History()

    def owner(self, message_id: int, *, since: float) -> str | None:
        """The entry that this message on Discord is known to be, looking back to `since`."""
        with self._turn:
            if message_id not in self._owners and since < self._since + _SET_BACK:
                for record in self._older.records(since, having=str(message_id)):
                    if record["kind"] == "sent" and record["message"] == message_id:
                        self._owners.setdefault(message_id, record["id"])
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
        with self._turn:
            entries = self._keys.setdefault(key, {})
            if since < min(self._since + _SET_BACK, self._whole_keys.get(key, float("inf"))):
                older = self._older.records(since, having=key)
                for record in (each for each in older if each.get("key") == key):
                    entry = record["id"], record["channel"]
                    entries[entry] = max(entries.get(entry, 0.0), record["at"])
                self._whole_keys[key] = since
            others = [entry for entry, at in entries.items() if entry[0] != but and at >= since]
            return [(*entry, self._known(entry) or History()) for entry in others]

    def tried(
        self, entry_id: str, channel_id: int, part: int, *, parts: int, form: Form, digest: str,
        files: list[list[Any]], key: str = "", ahead: float = 0.0,
    ) -> None:  # fmt: skip
        """Durable when it returns. Raises OSError: then nothing may be posted. `ahead`: the seconds that our
        clock is ahead of Discord's, by which the message is looked for there."""
        told: dict[str, Any] = {**form._asdict(), "key": key, "ahead": ahead}
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

    def failed(self, entry_id: str, channel_id: int, reason: str, *, held: str = "") -> None:
        """Settled as failed. What is unresolved stays so: a retry reads back before it posts. `held`, of what
        was held back for a secret, is noted once it lies in `failed/`."""
        more: dict[str, Any] = {"held": held} if held else {}
        self._append("failed", entry_id, channel_id, reason=reason, **more)

    def together(self, calls: Sequence[Callable[[], None]]) -> list[Exception | None]:
        """Make calls that append, and write at once what all of them did. What each raised."""
        ended: list[tuple[Exception | None, list[_Line]]] = []
        for call in calls:
            lines: list[_Line] = []
            self._own.lines = lines
            try:
                call()
                ended.append((None, lines))
            except Exception as error:
                ended.append((error, []))
            finally:
                self._own.lines = None
        self._put([line for _, lines in ended for line in lines])
        return [error or next((line.error for line in lines if line.error), None) for error, lines in ended]

    def compress(self, file: Dated) -> int:
        """Keep a file that is not written to any more compressed; the bytes that this spares."""
        return journal_files.compress(self._state, file)  # who reads meanwhile finds it under either name

    def forget(self, file: Dated) -> None:
        """Remove the oldest file, durably: what is older than the next one is not posted any more."""
        with self._turn:
            journal_files.remove(self._state, file)
            self._older.renew()

    def _append(
        self, kind: str, entry_id: str, channel_id: int, *, durable: bool = True, **fields: Any
    ) -> None:
        about = {"at": round(self._clock(), 3), "kind": kind, "id": entry_id, "channel": channel_id}
        line = _Line({**about, **fields}, durable)
        if self._own.lines is not None:
            self._own.lines.append(line)
        else:
            self._put([line])
        if line.error is not None:
            raise line.error

    def _put(self, lines: Sequence[_Line]) -> None:
        self._queue.extend(lines)
        with self._turn:
            if lines and not lines[-1].done:
                self._write([self._queue.popleft() for _ in range(len(self._queue))])

    def _write(self, lines: Sequence[_Line]) -> None:
        """All of them or, told to each, none."""
        try:
            records = [line.record for line in lines]
            now = max(record["at"] for record in records)
            trying = any(record["kind"] == "try" for record in records)
            full = trying and os.fstat(self._fd).st_size >= self._full
            if full or self._rotating or day_of(now) > day_of(self._since):
                self._rotate(now)
            durable = any(line.durable for line in lines)
            atomic.append(self._fd, b"".join(map(_line, records)), durable=durable)
            with self._lock:
                for record in records:
                    self._apply(record)
        except Exception as error:
            for line in lines:
                line.error = error
        finally:
            for line in lines:
                line.done = True

    def _apply(self, record: dict[str, Any]) -> None:
        if record["kind"] == "checkpoint":
            for each in record["unresolved"]:
                self._histories[each["id"], each["channel"]] = restored(each)
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
        known = ((key, self._known(key)) for key in list(self._histories))
        unresolved = {key: each for key, each in known if each and not each.resolved}
        line = _line(checkpoint(unresolved, now))
        atomic.replace(_NEXT, line, at=self._state)
        self._rotating = True
        halfway = not atomic.exists(FILE, at=self._state)  # the disk refused between the two renames
        if not halfway:
            dated = self._older.next_after(self._since).name
            os.rename(FILE, dated, src_dir_fd=self._state, dst_dir_fd=self._state)
            self._older.renew()
            atomic.sync_directory(self._state)  # else the second name could survive a power cut alone
        os.rename(_NEXT, FILE, src_dir_fd=self._state, dst_dir_fd=self._state)
        atomic.sync_directory(self._state)
        with self._lock:
            self._histories, self._whole, self._owners = unresolved, set(unresolved), {}
            self._keys, self._whole_keys, self._cut = {}, {}, set()
            self._since, self._first = now, False
        before, self._fd = self._fd, self._open()  # in this order: a closed descriptor is soon another file's
        os.close(before)
        self._full, self._rotating = max(self._largest, 2 * len(line)), False

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(FILE, flags, atomic.FILE_MODE, dir_fd=self._state)
        atomic.sync_directory(self._state)
        return fd

    def _known(self, key: tuple[str, int]) -> History | None:
        """What is known of an entry; of an ID from before this file (or from a clock that was ahead) the
        other files may say more than memory."""
        if self._remembered(key):
            return self._histories.get(key)
        written = identity.time_of(key[0])
        found: History | None = None
        whole = written - _AHEAD >= self._older.horizon
        older = list(self._older.records(written if written <= self._clock() else 0.0, having=key[0]))
        for record in (*older, *read(self._state, having=key[0])) if older else ():
            if record["kind"] == "checkpoint":
                for each in record["unresolved"]:
                    if (each["id"], each["channel"]) == key:
                        found, whole = restored(each), True
            elif (record["id"], record["channel"]) == key:
                found = found or History()
                fold(found, record)
        with self._lock:
            if found is not None:
                self._histories[key] = found
            self._whole.add(key)
            if not whole:
                self._cut.add(key)
            return self._histories.get(key)

    def _is_new(self, key: tuple[str, int]) -> bool:
        """Whether no file can know it, which is so of most that wait in a long backlog."""
        written = identity.time_of(key[0])
        known = key in self._histories or written > self._clock()
        new = not known and self._older.silent(written, key[0])
        self._whole |= {key} if new else set()
        return new

    def _remembered(self, key: tuple[str, int]) -> bool:
        """Whether memory holds all that is known of an entry."""
        recent = self._since + _SET_BACK < identity.time_of(key[0]) <= self._clock()
        return self._first or recent or key in self._whole


def _line(record: dict[str, Any]) -> bytes:
    return _JSON.encode(record).encode() + b"\n"
