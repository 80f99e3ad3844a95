"""The entries in `failed/`: which there are, what they say, the way back, and the way out.

The way back is the move that an operator makes with `mv`; the way out removes an entry for good, and
`failed/.dropped.jsonl` keeps who did. Operators take turns, by a lock on `failed/` that ends with its
process: of two that want the same entry one has it and the other is told, and no rename replaces a file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import re
import stat
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from spoolbridge import atomic, identity, leaks, ready
from spoolbridge.claim import one_line
from spoolbridge.errors import SpoolError
from spoolbridge.identity import WHY
from spoolbridge.spool import Spool

DROPPED = ".dropped.jsonl"  # in failed/: a line for each entry that was removed for good

_LONGEST_WHY = 1 << 16  # bytes
_LONGEST_LINE = 1 << 14  # bytes, of DROPPED
_SHOWN_BYTES = 4096
_SHOWN_LINES = 20
_SHOWN_LINE = 200  # characters
_HEAD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)  (.*)")
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Failure:
    """One failed entry. `channel` is empty for what was dropped directly in `outgoing/`."""

    id: str
    channel: str
    name: str
    path: Path
    why: str

    @property
    def reason(self) -> str:
        """The first line of its `.why`, without the time."""
        return self.why.partition("\n")[0].partition("  ")[2]

    @property
    def at(self) -> float | None:
        """When it failed, in unix seconds, as its `.why` says; None: that says nothing."""
        match = _HEAD.match(self.why)
        with suppress(ValueError):
            return datetime.fromisoformat(match[1]).timestamp() if match else None
        return None

    def as_json(self) -> dict[str, str | float | None]:
        """`at` in unix seconds, `todo` and `retry` as the `.why` says; what is not known is null."""
        said = dict(line.partition(": ")[::2] for line in self.why.splitlines()[1:])
        return {
            "id": self.id, "channel": self.channel, "file": str(self.path), "at": self.at,
            "reason": self.reason, "todo": said.get("What to do"), "retry": said.get("Retry"),
        }  # fmt: skip


class Wanted(NamedTuple):
    """Which failed entries: of this channel, with these words in the reason (in any case), failed since (unix
    seconds). What is not said does not matter; an entry without a time is old."""

    channel: str | None = None
    reason: str = ""
    since: float = 0.0

    def takes(self, failure: Failure) -> bool:
        return self.reason.lower() in failure.reason.lower() and (failure.at or 0.0) >= self.since


_ANY = Wanted()


def failures(
    spool: Spool, channel: str | None = None, *, but: Container[tuple[str, str]] = (), wanted: Wanted = _ANY
) -> Iterator[Failure]:
    """The failed entries, oldest first in each channel; not opened are those of `but`: (channel, name)."""
    channel = wanted.channel if channel is None else channel
    for each in [channel] if channel is not None else ["", *spool.channels("failed")]:
        place = f"failed/{each}".rstrip("/")
        for name in sorted(spool.names(place)):
            parsed = identity.parse(name)
            if parsed and not ready.ignored(name) and (each, name) not in but:
                found = at(spool, each, name, parsed[0])
                if wanted.takes(found):
                    yield found


def at(spool: Spool, channel: str, name: str, entry_id: str) -> Failure:
    """The failed entry of that channel and name, with what its `.why` says."""
    place = f"failed/{channel}".rstrip("/")
    return Failure(entry_id, channel, name, spool.root / place / name, _why(spool, place, name))


def find(spool: Spool, reference: str) -> Failure:
    """The failed entry whose ID, name or path this is, or the beginning of exactly one. A name may be the one
    that its writer gave it, where only one is called so.

    Raises SpoolError.
    """
    place, _, wanted = reference.rstrip("/").removesuffix(WHY).rpartition("/")
    there = list(failures(spool)) if wanted else []
    called = f".{identity.harmless(wanted)}"
    found = [each for each in there if each.name.startswith(wanted)]
    found = found or [each for each in there if each.name.removeprefix(each.id) == called]
    # An ID keeps its name through channels, so it can have failed in two.
    found = [each for each in found if place and each.channel == place.rpartition("/")[2]] or found
    if len(found) == 1:
        return found[0]
    if found:
        if found[0].name.startswith(wanted):
            raise SpoolError(f"{len(found)} failed entries begin with {wanted!r}", "give more of the name")
        newest = max(found, key=lambda each: each.id)
        raise SpoolError(f"{len(found)} failed entries are called {wanted!r}", f"the newest is {newest.name}")
    raise SpoolError(f"no failed entry {reference!r}", "list them with: spoolbridge failed list")


def retry(spool: Spool, failure: Failure, *, to: str | None = None) -> Path:
    """Move it back to `outgoing/`, under its ID, into the channel `to` (its own).

    Raises SpoolError where no channel is known, the name is taken there, or the operator may not.
    """
    channel = to or failure.channel
    if not channel:
        raise SpoolError(f"{failure.name} was dropped without a channel", "say --to CHANNEL")
    with _taking(spool, failure) as src:
        spool.add_channel(channel)
        with spool.at(f"outgoing/{channel}") as dst:
            try:
                atomic.move(failure.name, failure.name, src=src, dst=dst)
            except FileExistsError:
                raise SpoolError(f"outgoing/{channel} holds {failure.name} already") from None
    return spool.root / "outgoing" / channel / failure.name


def drop(spool: Spool, failure: Failure, *, now: float | None = None) -> None:
    """Remove it for good, and its `.why`. Durable: it is gone by one rename, whatever the rest comes to.

    Raises SpoolError where it is gone already or the operator may not.
    """
    at = time.time() if now is None else now
    doomed = f"{identity.fresh(at)}.dropped"
    with _taking(spool, failure) as src, spool.at("tmp") as tmp:
        atomic.move(failure.name, doomed, src=src, dst=tmp)
        with suppress(FileNotFoundError):
            os.unlink(failure.name + WHY, dir_fd=src)
        atomic.sync_directory(src)
        with suppress(OSError):  # it is gone; a full disk only costs the line
            _note(spool, failure, at)
        with suppress(OSError):  # what is left of a bundle of others' files is swept from tmp/ in time
            atomic.remove(doomed, at=tmp)


def dropped(spool: Spool) -> Iterator[dict[str, Any]]:
    """What was removed for good, as it is written down: who may write to `failed/` can have written anything.

    Raises OSError where it may not be read.
    """
    with suppress(FileNotFoundError), spool.at("failed") as failed:
        try:
            fd = os.open(DROPPED, _OPEN, dir_fd=failed)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return
            raise
        with open(fd, "rb") as lines:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return
            while line := lines.readline(_LONGEST_LINE):
                with suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record


def excerpt(failure: Failure) -> list[str]:
    """The first lines of what it says, harmless to a terminal, secrets masked; of a bundle also its files."""
    try:
        with atomic.directory(failure.path.parent) as at:
            return _excerpt(failure.path.name, at)
    except OSError as error:
        return [f"(it cannot be read: {error.strerror})"]


def _excerpt(name: str, at: int) -> list[str]:
    fd = os.open(name, _OPEN, dir_fd=at)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            return [*_body(fd), *_files(fd)]
        if not stat.S_ISREG(mode):
            return ["(not a regular file)"]
        data = atomic.read_bounded(fd, _SHOWN_BYTES)
        whole = os.fstat(fd).st_size
    finally:
        os.close(fd)
    if b"\0" in data:
        return [f"({whole} bytes that are not text)"]
    text = leaks.mask(data.decode("utf-8", "replace"))
    lines = [one_line(each)[:_SHOWN_LINE] for each in text.splitlines()[:_SHOWN_LINES]]
    more = whole > len(data) or len(text.splitlines()) > _SHOWN_LINES
    return [*lines, f"(… {whole} bytes in all)"] if more else lines


def _body(bundle: int) -> list[str]:
    with suppress(FileNotFoundError):
        return _excerpt("body", bundle)
    return []


def _files(bundle: int) -> Iterator[str]:
    with suppress(FileNotFoundError), atomic.directory("files", at=bundle) as files:
        for name in sorted(os.listdir(files)):
            size = os.stat(name, dir_fd=files, follow_symlinks=False).st_size
            yield f"+ {one_line(leaks.mask(name))} ({size} bytes)"


@contextmanager
def _taking(spool: Spool, failure: Failure) -> Iterator[int]:
    """The entry's directory, while no other operator takes anything out of `failed/`.

    Raises SpoolError instead of what the system says where the entry is gone or may not be moved.
    """
    try:
        with spool.at("failed") as failed:
            fcntl.flock(failed, fcntl.LOCK_EX)
            with spool.at(f"failed/{failure.channel}".rstrip("/")) as src:
                yield src
    except FileNotFoundError:
        raise SpoolError(f"{failure.name} is gone; somebody moved it meanwhile") from None
    except PermissionError as error:
        what = f"{failure.name} may not be moved ({error.strerror}); it belongs to {_owner(spool, failure)}"
        raise SpoolError(what, "do it as that user, or join the spool's group") from None


def _owner(spool: Spool, failure: Failure) -> str:
    path = os.path.join("failed", failure.channel, failure.name)
    with suppress(OSError):
        return _user(os.stat(path, dir_fd=spool.fd, follow_symlinks=False).st_uid)
    return "somebody else"


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def _note(spool: Spool, failure: Failure, at: float) -> None:
    line = {
        "at": round(at, 3), "kind": "dropped", "id": failure.id, "channel": failure.channel,
        "name": failure.name, "reason": failure.reason, "by": _user(os.getuid()),
    }  # fmt: skip
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with spool.at("failed") as failed:
        fd = os.open(DROPPED, flags, 0o660, dir_fd=failed)
        try:
            atomic.append(fd, json.dumps(line).encode() + b"\n")
        finally:
            os.close(fd)


def _why(spool: Spool, place: str, name: str) -> str:
    try:
        with spool.at(place) as at:
            return atomic.head(name + WHY, _LONGEST_WHY, at=at).decode("utf-8", "replace")
    except OSError:
        return ""
