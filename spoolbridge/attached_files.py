"""What humans attached, on disk: `attachments/<channel>/<message id>/<name>`.

A file is written in `tmp/` and gets its own name when it is whole and durable; so what bears a name
here is whole, whatever crashed. A reader may move or remove it at any time. No name that a human chose
leads anywhere: names are percent-encoded, directories are held, links are never followed, nothing is
replaced, and nothing may be executed.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from spoolbridge import atomic, identity
from spoolbridge.incoming import Attachment, IncomingMessage
from spoolbridge.rendering import well_formed

DIRECTORY = "attachments"
_STAGED = "tmp"  # what is left there by a crash is swept with what writers leave


def file_names(attachments: Sequence[Attachment]) -> list[tuple[str, str]]:
    """For each attachment the name that its file gets, and the one for when that is taken.

    The first of several with one name keeps it, whatever its case; the others carry their ids.
    """
    names: list[tuple[str, str]] = []
    taken: set[str] = set()
    for each in attachments:
        plain = _harmless(each.name)
        stem, dot, suffix = plain.rpartition(".")
        numbered = f"{stem}-{each.id}.{suffix}" if stem and dot else f"{plain}-{each.id}"
        names.append((numbered if plain.casefold() in taken else plain, numbered))
        taken.add(plain.casefold())
    return names


def _harmless(name: str) -> str:
    """Percent-encoded; a dot or a dash in front would hide the file, or look like an option."""
    plain = identity.harmless(well_formed(name))
    return re.sub(r"^[.-]+", lambda found: "".join(f"%{ord(each):02X}" for each in found[0]), plain) or "file"


class AttachedFiles:
    """The attachments of the spool behind `spool_fd`, which stays the caller's to close."""

    def __init__(self, spool_fd: int) -> None:
        self._spool = spool_fd

    def find(self, message: IncomingMessage, attachment: Attachment, names: Sequence[str]) -> str:
        """Where the whole file lies, relative to the spool, durably; empty: nowhere."""
        with suppress(FileNotFoundError), self._folder(message) as folder:
            for name in filter(lambda each: atomic.exists(each, at=folder), names):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_size == attachment.size:
                    atomic.sync_directory(folder)  # a crash may have come before that
                    return _path(message, name)
        return ""

    def begin(self, message: IncomingMessage, attachment: Attachment) -> int:
        """A descriptor to write the file with, empty and without a name of its own yet."""
        atomic.ensure_directory(_STAGED, at=self._spool)
        self.discard(message, attachment)  # what a crash left
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with atomic.directory(_STAGED, at=self._spool) as staged:
            return os.open(_half(message, attachment), flags, atomic.FILE_MODE, dir_fd=staged)

    def finish(self, fd: int, message: IncomingMessage, attachment: Attachment, names: Sequence[str]) -> str:
        """Give what was written to `fd` the first of the names that is free; where it lies now.

        Raises FileExistsError where none is. The descriptor stays the caller's to close.
        """
        atomic.sync(fd)
        with self._folder(message, make=True) as folder, atomic.directory(_STAGED, at=self._spool) as staged:
            name = next((each for each in names if not atomic.exists(each, at=folder)), names[-1])
            atomic.move(_half(message, attachment), name, src=staged, dst=folder)
        return _path(message, name)

    def discard(self, message: IncomingMessage, attachment: Attachment) -> None:
        """Remove what is only half there, if anything is."""
        with suppress(FileNotFoundError), atomic.directory(_STAGED, at=self._spool) as staged:
            os.unlink(_half(message, attachment), dir_fd=staged)

    @contextmanager
    def _folder(self, message: IncomingMessage, *, make: bool = False) -> Iterator[int]:
        """The message's directory, whose own name is durable. Raises FileNotFoundError unless `make`."""
        at = self._spool
        opened: list[int] = []
        try:
            for part in (DIRECTORY, message.channel.address, str(message.id)):
                if make:
                    atomic.ensure_directory(part, at=at)
                atomic.sync_directory(at)  # it may be there since before a crash, and not for good
                at = atomic.open_directory(part, at=at)
                opened.append(at)
            yield at
        finally:
            for fd in opened:
                os.close(fd)


def _half(message: IncomingMessage, attachment: Attachment) -> str:
    """The same whenever it is asked: a second try finds what the first one left."""
    return f"attachment.{message.id}.{attachment.id}"


def _path(message: IncomingMessage, name: str) -> str:
    return f"{DIRECTORY}/{message.channel.address}/{message.id}/{name}"
