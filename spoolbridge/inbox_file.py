"""The inbox file delivery: one line of JSON a message, appended to discord-inbox.jsonl.

A line is one write, so that a follower sees whole lines; it is durable before its cursor moves. A
crash in between leaves lines that no cursor knows of: at start, and after a failure, the ids at the
file's end are read back and count as delivered. The file is opened anew for every page, so whoever
rotates it by renaming (logrotate with `create`, an operator's mv) loses nothing.
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from spoolbridge import atomic
from spoolbridge.channels import Channel
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.incoming import IncomingMessage, inbox_line, maildir_file

LOOK_BACK = 1 << 20  # bytes at the file's end that are read back
#: Bytes appended before their cursor moves: with the longest line still inside what is read back.
GROUP = LOOK_BACK // 2


class InboxFile(Delivery):
    """Appends to the file at `path`; its directory is made where it is missing."""

    name = "inbox"

    def __init__(self, path: Path, cursors: Cursors) -> None:
        super().__init__(cursors)
        self._path = path
        self._lock = threading.Lock()
        #: Ids that are in the file although perhaps no cursor says so.
        self._recorded: set[int] = set()

    def recover(self) -> None:
        """Cut a torn last line (kept in `<file>.torn`) and learn which ids the file ends with."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock, atomic.directory(self._path.parent) as parent:
            atomic.cut_torn_tail(self._path.name, at=parent)
            for name in self._rotated(parent), self._path.name:
                self._recorded |= _ids_at_end(name, parent)

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        # The cursor moves under the lock: another channel's lines must not push these out of LOOK_BACK.
        with self._lock, self._opened() as fd:
            for group in _groups(messages):
                self._append(fd, group)
                cursor.advance(group)
                self._recorded.difference_update(group)

    def _append(self, fd: int, lines: dict[int, bytes]) -> None:
        before = os.fstat(fd).st_size
        added: set[int] = set()
        try:
            for message_id, line in lines.items():
                if message_id not in self._recorded:
                    atomic.append(fd, line, durable=False)
                    added.add(message_id)
        finally:
            self._settle(fd, before, added)

    def _settle(self, fd: int, before: int, added: set[int]) -> None:
        """Make durable what was added, also when the next line failed."""
        try:
            atomic.sync(fd)
        except OSError:
            # After a failed fsync the pages count as clean, so only writing them again can save them.
            with suppress(OSError):
                os.ftruncate(fd, before)
            raise
        self._recorded |= added

    @contextmanager
    def _opened(self) -> Iterator[int]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.directory(self._path.parent) as parent:
            new = not atomic.exists(self._path.name, at=parent)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._path.name, flags, atomic.FILE_MODE, dir_fd=parent)
            try:
                if new:
                    atomic.sync_directory(parent)
                yield fd
            finally:
                os.close(fd)

    def _rotated(self, parent: int) -> str | None:
        """The name of the file that was this one until the last rotation, where there is any."""
        name, stem = re.escape(self._path.name), re.escape(self._path.stem)
        form = re.compile(rf"{name}[.-][\w-]+|{stem}[.-][\w-]+\.jsonl")
        times: dict[str, int] = {}
        for each in filter(form.fullmatch, os.listdir(parent)):
            status = os.stat(each, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and not each.endswith((".torn", ".gz")):
                times[each] = status.st_mtime_ns
        return max(times, key=times.__getitem__, default=None)


def _groups(messages: Sequence[IncomingMessage]) -> Iterator[dict[int, bytes]]:
    group: dict[int, bytes] = {}
    for message in messages:
        line = inbox_line(message, maildir_file(message))
        if group and sum(map(len, group.values())) + len(line) > GROUP:
            yield group
            group = {}
        group[message.id] = line
    if group:
        yield group


def _ids_at_end(name: str | None, parent: int) -> set[int]:
    """The ids of the lines in the last LOOK_BACK bytes, which are durable once this returns."""
    if name is None or not atomic.exists(name, at=parent):
        return set()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    try:
        atomic.sync(fd)  # a line that only the page cache holds must not count as delivered
        start = max(0, os.fstat(fd).st_size - LOOK_BACK)
        lines = os.pread(fd, LOOK_BACK, start).split(b"\n")
    finally:
        os.close(fd)
    whole = lines[1:] if start else lines
    return {found for line in whole if (found := _id_in(line)) is not None}


def _id_in(line: bytes) -> int | None:
    """The id in a line of ours; lines that others wrote have none."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        text = json.loads(line)["id"]
        if isinstance(text, str) and text.isascii() and text.isdigit():
            return int(text)
    return None
