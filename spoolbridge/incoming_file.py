"""The Maildir delivery: `incoming/<channel>/{tmp,new,cur}`, one file a message.

A reader may move or remove a file the moment it is in `new/`, so its absence says nothing. Hence the
four steps: the whole page durable in `tmp/`; its ids noted as intended; the renames; the cursor. An
intended id that is still in `tmp/` was not delivered, and one that is not there was, wherever its file
is by now. Nothing is written to a file once it is in `new/`, and no file there is ever replaced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from spoolbridge import atomic
from spoolbridge.channels import Channel
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.incoming import IncomingMessage, maildir_bytes, maildir_name, name_of

_log = logging.getLogger(__name__)


class IncomingFile(Delivery):
    """Delivers into the spool behind `spool_fd`, which stays the caller's to close."""

    name = "incoming"

    def __init__(self, spool_fd: int, cursors: Cursors) -> None:
        super().__init__(cursors)
        self._spool = spool_fd

    def begin(self, channel: Channel, after: int) -> None:
        with self._maildir(channel.address):  # so that a reader finds it before the first message
            super().begin(channel, after)

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        with self._maildir(channel.address) as (tmp, new):
            _stage(messages, tmp)
            # The names too must be durable before they are intended: what is not in tmp/ counts as delivered.
            atomic.sync_directory(tmp)
            cursor.intend([message.id for message in messages], channel.address)
            _publish([maildir_name(message) for message in messages], tmp, new)
        for message in messages:
            _log.info("%s/%d delivered to incoming/%s", channel.address, message.id, channel.address)

    def _resume(self, cursor: Cursor) -> None:
        if not cursor.intended:
            return
        with self._maildir(cursor.place) as (tmp, new):
            names = [name_of(message_id) for message_id in sorted(cursor.intended)]
            _publish([name for name in names if atomic.exists(name, at=tmp)], tmp, new)
        cursor.advance(cursor.intended)

    @contextmanager
    def _maildir(self, address: str) -> Iterator[tuple[int, int]]:
        """Descriptors of the channel's tmp/ and new/, made where they are missing."""
        atomic.ensure_directory("incoming", at=self._spool)
        with atomic.directory("incoming", at=self._spool) as incoming:
            atomic.ensure_directory(address, at=incoming)
            with atomic.directory(address, at=incoming) as maildir:
                for part in ("tmp", "new", "cur"):
                    atomic.ensure_directory(part, at=maildir)
                with atomic.directory("tmp", at=maildir) as tmp, atomic.directory("new", at=maildir) as new:
                    yield tmp, new


def _stage(messages: Sequence[IncomingMessage], tmp: int) -> None:
    staged: list[str] = []
    try:
        for message in messages:
            name = maildir_name(message)
            with suppress(FileNotFoundError):  # staged by a call that ended before it was intended
                os.unlink(name, dir_fd=tmp)
            atomic.write_new(name, maildir_bytes(message), at=tmp)
            staged.append(name)
    except OSError:
        for name in staged:  # a full disk needs the room
            with suppress(OSError):
                os.unlink(name, dir_fd=tmp)
        raise


def _publish(names: Sequence[str], tmp: int, new: int) -> None:
    for name in names:
        if atomic.exists(name, at=new):  # its cursor was put back from an older copy
            os.unlink(name, dir_fd=tmp)
        else:
            os.rename(name, name, src_dir_fd=tmp, dst_dir_fd=new)
    atomic.sync_directory(new)
    atomic.sync_directory(tmp)
