"""An entry in `sending/`: ours alone until it is settled, and settled exactly once.

Every transition is one rename, followed by an fsync of both directories. Nothing here ever replaces
or deletes a message; what is in the way gets the entry a fresh ID and a reason.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from spoolbridge import atomic, identity, leaks, ready
from spoolbridge.errors import MessageError, SpoolError
from spoolbridge.identity import WHY
from spoolbridge.moves import Directories, Moves

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What opening something says that is not ours to read; anything else (EIO, EMFILE) is not its fault.
_UNREADABLE = {errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.EACCES}


@dataclass(frozen=True)
class Content:
    """The bytes of an entry: a lone file's, or a bundle's body and files by name."""

    body: bytes | None = field(repr=False)
    files: dict[str, bytes] | None = field(default=None, repr=False)


class Claim:
    """One claimed entry. `channel` is its directory's name, `name` is `<ID>.<rest>`."""

    def __init__(
        self, root: Path, fd: int, channel: str, name: str, *, stamp: tuple[int, ...] = (),
        claimed: float | None = None, clock: Callable[[], float] = time.time,
        explained: set[str] | None = None,
    ) -> None:  # fmt: skip
        """`explained` is told the places in `failed/` that get a reason."""
        parsed = identity.parse(name)
        if parsed is None:
            raise SpoolError(f"sending/{channel}/{name!r} has no ID")
        self.id, self.rest = parsed
        self.channel = channel
        self.name = name
        self.written = identity.time_of(self.id)
        self.settled = ""
        self._root = root
        self._fd = fd
        self._stamp = stamp
        self._clock = clock
        self._explained = set() if explained is None else explained
        #: When (unix seconds); of one that is recovered: the rename was its last change.
        self.claimed = self._status().st_ctime if claimed is None else claimed

    def __str__(self) -> str:
        return f"{one_line(self.channel)}/{self.name}"

    def exists(self) -> bool:
        """False once an operator has removed or moved it: the message is cancelled."""
        return atomic.exists(f"sending/{self.channel}/{self.name}", at=self._fd)

    def read(self, at: int | None = None) -> Content | None:
        """The content, once nobody writes to it any more; None: somebody still does.

        After the rename nobody can open it by the name it was dropped under, so a lease that is
        granted now means that what is read is final. `at`: the descriptor of its directory, if it is open.
        Raises MessageError where it is no message and FileNotFoundError where it is gone.
        """
        if at is None:
            with self._sending() as at:
                return self.read(at)
        try:
            fd = os.open(self.name, _OPEN, dir_fd=at)
        except BlockingIOError:
            return None  # somebody has a lease of his own
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            raise MessageError(f"it cannot be read ({error.strerror})", "copy it instead") from None
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                return self._read_bundle(fd)
            body = self._read_file(fd)
            return None if body is None else Content(body)
        finally:
            os.close(fd)

    def sent(self) -> str:
        """Settle as sent, durably. Returns where it lies, from the root."""
        with Directories(self._fd) as directories:
            moves = Moves(directories)
            place = self.leave(moves)
            moves.settle()
        self.settled = place
        return place

    def leave(self, moves: Moves) -> str:
        """Move it into today's directory of `sent/`. Returns where it lies then, from the root; that it is
        `settled` is the caller's to say, once `moves` are durable."""
        self._check_unsettled()
        # Whoever looks for it begins with the day on which it was written; our clock may have been set back.
        day = identity.day_of(max(self._clock(), self.written))
        place = f"sent/{self.channel}/{day}"
        try:
            moves.directories.at(place)
        except FileNotFoundError:
            self._make_day(day)
        try:
            moves.move(self.name, self.name, src=f"sending/{self.channel}", dst=place)
        except FileExistsError:
            reason = "an entry of this ID lies in sent/ already; this copy was not posted"
            hint = "to send it again on purpose, drop it under a plain name"
            return self.failed(reason, hint=hint, fresh=True)
        return f"{place}/{self.name}"

    def _make_day(self, day: str) -> None:
        with atomic.directory("sent", at=self._fd) as sent:
            atomic.ensure_directory(self.channel, at=sent)
            with atomic.directory(self.channel, at=sent) as channel:
                atomic.ensure_directory(day, at=channel)

    def failed(self, reason: str, *, hint: str = "", to: str | None = None, fresh: bool = False) -> str:
        """Settle as failed, with `<name>.why` beside it. Returns where it lies, from the root.

        `to`: the channel that the retry should name (its own). `fresh`: under a new ID, for this
        one belongs to another message.
        """
        self._check_unsettled()
        with atomic.directory("failed", at=self._fd) as failed:
            atomic.ensure_directory(self.channel, at=failed)
        with self._at(f"failed/{self.channel}") as at:
            taken = fresh or atomic.exists(self.name, at=at)
            name = self._under_fresh_id() if taken else self.name
            text = why(self._root, self.channel, name, reason, hint, to or self.channel, self._clock())
            explain(at, name, text)
            self._explained.add(f"failed/{self.channel}")
            try:
                return self._settle(f"failed/{self.channel}", name)
            except OSError:
                with suppress(OSError):  # a reason without its entry would puzzle people
                    os.unlink(name + WHY, dir_fd=at)
                raise

    def release(self) -> str:
        """Put it back to `outgoing/` under its name, to be claimed again later. Returns where it lies."""
        self._check_unsettled()
        with atomic.directory("outgoing", at=self._fd) as outgoing:
            atomic.ensure_directory(self.channel, at=outgoing)  # it may have been removed meanwhile
        try:
            return self._settle(f"outgoing/{self.channel}", self.name)
        except FileExistsError:
            reason = "another entry of this name was dropped while this one was being sent"
            return self.failed(reason, hint="retry this one when the other is gone", fresh=True)

    def _check_unsettled(self) -> None:
        if self.settled:
            raise SpoolError(f"{self} was settled before, as {self.settled}")

    def _settle(self, to: str, name: str) -> str:
        with self._sending() as src, self._at(to) as dst:
            atomic.move(self.name, name, src=src, dst=dst)
        self.settled = f"{to}/{name}"
        return self.settled

    def _under_fresh_id(self) -> str:
        return identity.file_name(identity.fresh(self._clock()), self.rest)

    def _read_file(self, fd: int) -> bytes | None:
        written_to = ready.lease(fd) is False
        status = os.fstat(fd)  # behind the lease: its size is final then
        if wrong := ready.unlike_a_message(status):
            raise MessageError(wrong, "copy it instead")
        if written_to:
            return None
        body = atomic.read_bounded(fd, ready.LARGEST + 1)
        if stamp_of(status) != self._stamp:
            atomic.sync(fd)  # written to between the claim's fsync and its rename
        return body

    def _read_bundle(self, fd: int) -> Content | None:
        try:
            opened = ready.members(fd)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno not in _UNREADABLE:
                raise
            raise MessageError(f"the bundle cannot be read: {error}", "it holds body and files/") from None
        try:
            found = {path: self._read_file(each) for path, each in opened}
        finally:
            ready.close(opened)
        whole = {path: data for path, data in found.items() if data is not None}
        if len(whole) < len(found):
            return None
        body = whole.pop("body", None)
        return Content(body, {path.removeprefix("files/"): data for path, data in whole.items()})

    def _status(self) -> os.stat_result:
        with self._sending() as at:
            return os.stat(self.name, dir_fd=at, follow_symlinks=False)

    def _sending(self) -> AbstractContextManager[int]:
        return self._at(f"sending/{self.channel}")

    def _at(self, path: str) -> AbstractContextManager[int]:
        return atomic.directory(path, at=self._fd)


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is written to, and not when it is renamed."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def sync_entry(name: str, at: int) -> tuple[int, ...]:
    """Make an entry's content durable before its name moves; what changes when it is written to."""
    fd = os.open(name, _OPEN, dir_fd=at)
    try:
        status = os.fstat(fd)
        if not stat.S_ISDIR(status.st_mode):
            atomic.sync(fd)
            return stamp_of(status)
        opened = ready.members(fd)
        try:
            for _, each in opened:
                atomic.sync(each)
        finally:
            ready.close(opened)
        with suppress(FileNotFoundError), atomic.directory("files", at=fd) as files:
            atomic.sync_directory(files)
        atomic.sync_directory(fd)
        return ()
    finally:
        os.close(fd)


def explain(failed: int, name: str, text: str) -> None:
    """Write `<name>.why`. A full disk must not keep the entry from its place, so failure is silent."""
    with suppress(OSError):
        atomic.replace(name + WHY, text.encode("utf-8", "replace"), at=failed)


def why(root: Path, channel: str, name: str, reason: str, hint: str, to: str, now: float) -> str:
    """The text of a `.why`: what is wrong, what to do, and the command that retries into channel `to`."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [f"{moment}  {one_line(reason)}"]
    if hint:
        lines.append(f"What to do: {one_line(hint)}")
    source = root / "failed" / channel / name
    target = root / "outgoing" / (to if to.isprintable() and not leaks.find(to) else "CHANNEL")
    lines.append(f"Retry: mv {_for_a_shell(source)} {_for_a_shell(target)}/")
    return "\n".join(lines) + "\n"


def _for_a_shell(path: Path) -> str:
    """What cannot be shown in a line, and a secret (a channel may be called anything), is left to the shell's
    `*`, which finds nothing else: no other entry has this ID."""
    import shlex

    text = str(path)
    for leak in reversed(leaks.find(text)):
        text = f"{text[: leak.start]}\0{text[leak.end :]}"
    runs = groupby(text, str.isprintable)
    return "".join(shlex.quote("".join(run)) if shown else "*" for shown, run in runs)


def one_line(text: str) -> str:
    """The text for a log or a `.why`: in one line, without what moves a cursor, secrets masked."""
    return leaks.mask(" ".join(_printable(text).split()))


def shown(line: str) -> str:
    """As `one_line`, with its spaces as they are."""
    return leaks.mask(_printable(line))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)
