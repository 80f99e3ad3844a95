"""The incoming Maildirs as a reader sees them: what is unread, what a file says, and marking it read.

Read means what it means to every mail program: in `cur/` with the flag S, moved to `cur/` by a plain
`mv`, or gone. Nothing here talks to the service; the files are all there is.
"""

from __future__ import annotations

import errno
import heapq
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spoolbridge.errors import NoMessageError
from spoolbridge.rendering import one_line, printable
from spoolbridge.spool import Spool

_QUOTED = 100  # characters of a message that is gone
_NAME = re.compile(r"\d+\.D(\d+)\.discord(?::2,([A-Z]*))?")


@dataclass(frozen=True)
class Received:
    """One human message in the spool. Ids are integers, `channel` is the directory's name."""

    id: int
    channel: str
    path: Path
    read: bool
    author: str = ""
    date: str = ""
    thread_id: int | None = None
    text: str = field(default="", repr=False)
    attachments: tuple[str, ...] = ()
    author_id: int | None = None

    def told(self) -> dict[str, Any]:
        """What programs and models are told of it; ids as strings, for JSON's numbers round them."""
        told: dict[str, Any] = {
            "id": str(self.id), "channel": self.channel, "author": self.author, "date": self.date,
            "text": self.text, "file": str(self.path), "read": self.read,
        }  # fmt: skip
        if self.thread_id is not None:
            told["thread_id"] = str(self.thread_id)
        if self.attachments:
            told["attachments"] = list(self.attachments)
        return told


class Listed(NamedTuple):
    """A message that was seen and not opened."""

    id: int
    channel: str
    path: Path
    read: bool


def received(spool: Spool, channel: str | None = None, *, unread: bool = False) -> Iterator[Received]:
    """The messages, oldest first in each channel. A reader may move one meanwhile; it is then left out."""
    for each in [channel] if channel else spool.channels("incoming"):
        yield from loaded(listed(spool, each, unread=unread))


def listed(spool: Spool, channel: str | None = None, *, unread: bool = False) -> list[Listed]:
    """What there is, oldest first, of one channel or of all together, without opening anything."""
    found = []
    for each in [channel] if channel else spool.channels("incoming"):
        for box in ("new", "cur"):
            for name in spool.names(f"incoming/{each}/{box}"):
                match, read = _NAME.fullmatch(name), box == "cur"
                if match and not (unread and read):
                    path = spool.root / "incoming" / each / box / name
                    found.append(Listed(int(match[1]), each, path, read))
    return sorted(found)


def newest(spool: Spool, channel: str, most: int) -> list[Listed]:
    """As `listed` of a channel, the last `most`; of a Maildir that nobody clears only names are read."""
    found = [
        (name, box)
        for box in ("new", "cur")
        for name in spool.names(f"incoming/{channel}/{box}")
        if name[:1].isdigit()
    ]
    # A name begins with the seconds of its message, so it sorts like its id.
    last = heapq.nlargest(most, found)
    place = spool.root / "incoming" / channel
    matched = ((_NAME.fullmatch(name), name, box) for name, box in reversed(last))
    return [
        Listed(int(match[1]), channel, place / box / name, box == "cur")
        for match, name, box in matched
        if match
    ]


def loaded(messages: Iterable[Listed]) -> Iterator[Received]:
    """The messages, opened; one that a reader has moved meanwhile is left out, and one that cannot be opened
    says so: it must not hide the others."""
    for each in messages:
        try:
            yield _load(each.id, each.channel, each.path, each.read)
        except FileNotFoundError:
            continue
        except OSError as error:
            text = f"[this message cannot be read: {error.strerror}]"
            yield Received(each.id, each.channel, each.path, each.read, text=text)


def find(spool: Spool, reference: str) -> Received:
    """The message that a path, a file's name or a message id means, wherever it was moved to since.

    Raises NoMessageError where there is none.
    """
    match = re.search(r"D(\d+)\.discord", reference) or re.fullmatch(r"(\d+)", reference)
    if match:
        for each in received(spool):
            if each.id == int(match[1]):
                return each
    if match and os.path.isfile(reference):  # moved out of the spool by its reader
        return _load(int(match[1]), "", Path(reference), True)
    raise NoMessageError(f"no incoming message {reference!r}", "list them with: spoolbridge inbox")


def message(spool: Spool, channel: str, message_id: int) -> Received | None:
    """That message of the channel, if its file is still here and whole; the others are not opened."""
    for each in listed(spool, channel):
        if each.id == message_id:
            with suppress(OSError, ValueError):  # what a reader has made of the file holds up no answer
                return _load(each.id, each.channel, each.path, each.read)
    return None


def quoted(spool: Spool, channel: str, message_id: int) -> str:
    """The line that stands for a message which is gone from Discord: what it said, if that is still here."""
    said = message(spool, channel, message_id)
    if said is not None:
        text = " ".join(said.text.split())
        cut = text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
        return f"> {said.author}: {cut} (deleted since)"
    return "> (a message that was deleted)"


def mark_read(message: Received) -> Path:
    """Move the file to `cur/` with the flag S. Returns where it lies; twice is once."""
    target = read_place(message)
    if not message.read:
        with suppress(FileNotFoundError):  # another reader was quicker
            os.rename(message.path, target)
    return target


def read_place(message: Received) -> Path:
    """Where the file lies once it has been read."""
    if message.read:
        return message.path
    return message.path.parent.parent / "cur" / f"{message.path.name}:2,S"


def _load(message_id: int, channel: str, path: Path, read: bool) -> Received:
    import email
    import email.policy

    # From text, for the parser of bytes shows a name beyond ASCII as surrogates.
    text = _content(path).decode("utf-8", "replace").replace("\r\n", "\n")
    mail = email.message_from_string(text, policy=email.policy.default.clone(utf8=True))
    thread, author = (str(mail.get(f"X-Discord-{each}-Id", "")) for each in ("Thread", "Author"))
    sender = mail["From"]
    body = mail.get_body(("plain",))
    return Received(
        message_id,
        channel or str(mail.get("List-Id", "")).partition(" <")[0],
        path,
        read,
        author=one_line(sender.addresses[0].display_name if sender and sender.addresses else ""),
        date=one_line(str(mail.get("Date", ""))),
        thread_id=int(thread) if thread.isdigit() else None,
        text=printable(body.get_content()).rstrip("\n") if body else "",
        attachments=tuple(str(each) for each in mail.get_all("X-Attachment", [])),
        author_id=int(author) if author.isdigit() else None,
    )


def _content(path: Path) -> bytes:
    """Of a regular file, and of nothing else: who may write to a Maildir must not have others read for him
    through a link, or wait at a pipe. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return file.read()
