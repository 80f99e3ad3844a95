"""The spool: directories that are states, and the one way in and out of each.

    outgoing/<channel>/  → sending/<channel>/  → sent/<channel>/<day>/  or  failed/<channel>/ + .why

Owns the root and holds its descriptor, so that no name leads elsewhere. This is the side of those
who write and of those who look: drop, find. Promises that what was dropped is durable and
whole. Light enough for `send` to import; claiming is the service's, in `intake`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from spoolbridge import atomic, identity, ready
from spoolbridge.errors import SpoolError
from spoolbridge.identity import WHY

STATES = ("outgoing", "sending", "sent", "failed")
DIRECTORIES = (*STATES, "incoming", "attachments", "tmp", "state")
README = "README.md"
HOLD = ".hold"  # in outgoing/, or in a channel of it: nothing more is claimed there
_STATE_MODE = 0o2750
_LONGEST_REASON = 1 << 14  # bytes
_STALE = 36 * 3600  # seconds; a writer gives up after 24 h, its leavings in tmp/ go 12 h later (maildir(5))


class Entry(NamedTuple):
    """A file (or bundle) in the spool, as it was found."""

    id: str
    channel: str
    name: str
    state: str
    path: Path
    #: Of a sent entry, where the journal may be read.
    message_ids: tuple[int, ...] = ()
    channel_id: int | None = None
    guild_id: int | None = None
    #: Of a failed entry: the first line of its `.why`.
    reason: str = ""

    @property
    def jump_url(self) -> str | None:
        """The first message's address on Discord."""
        if not (self.message_ids and self.guild_id):
            return None
        return f"https://discord.com/channels/{self.guild_id}/{self.channel_id}/{self.message_ids[0]}"


class Spool:
    """An existing spool. Raises SpoolError where there is none."""

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.root = root
        self._clock = clock
        self._minter = identity.Minter(clock)
        try:
            self.fd = atomic.open_directory(root)
            try:
                self._check()
            except BaseException:
                self.close()
                raise
        except (FileNotFoundError, NotADirectoryError):
            raise SpoolError(f"no spool at {root}", "set SPOOLBRIDGE_SPOOL, or: spoolbridge init") from None
        except PermissionError:
            hint = "join the group that owns it"
            raise SpoolError(f"the spool at {root} may not be entered", hint) from None

    @classmethod
    def create(cls, root: Path, *, clock: Callable[[], float] = time.time) -> Spool:
        """The spool at `root`, made where it is missing; nothing that is there is changed."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            fd = atomic.open_directory(root)
        except (FileExistsError, NotADirectoryError):
            raise SpoolError(f"{root} is not a directory", "set SPOOLBRIDGE_SPOOL to a real one") from None
        except OSError as error:
            what = f"no spool can be made at {root} ({error.strerror})"
            raise SpoolError(what, "set SPOOLBRIDGE_SPOOL to a place that can be written to") from None
        try:
            for name in DIRECTORIES:
                mode = _STATE_MODE if name == "state" else atomic.DIRECTORY_MODE
                atomic.ensure_directory(name, at=fd, mode=mode)
            if not atomic.exists(README, at=fd):
                from importlib import resources  # a tenth of what `send` takes, and it makes no spool

                text = resources.files("spoolbridge").joinpath("SPOOL.md").read_bytes()
                atomic.replace(README, text, at=fd)
        finally:
            os.close(fd)
        return cls(root, clock=clock)

    def close(self) -> None:
        os.close(self.fd)

    def _check(self) -> None:
        device = os.fstat(self.fd).st_dev
        for name in DIRECTORIES:
            status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(name)
            if status.st_dev != device:
                raise SpoolError(f"{self.root / name} is on another file system", "renames cannot cross")

    def add_channel(self, channel: str) -> None:
        """Make the drop box of a channel, durably."""
        with self.at("outgoing") as outgoing:
            atomic.ensure_directory(channel, at=outgoing)

    @contextmanager
    def _box(self, channel: str) -> Iterator[int]:
        """The drop box of a channel, made where it is missing."""
        try:
            box = atomic.open_directory(f"outgoing/{channel}", at=self.fd)
        except FileNotFoundError:
            self.add_channel(channel)
            box = atomic.open_directory(f"outgoing/{channel}", at=self.fd)
        try:
            yield box
        finally:
            os.close(box)

    def mint(self) -> str:
        """An ID for an entry that is dropped soon."""
        return self._minter.mint()

    def drop(
        self, channel: str, data: bytes | None, *, name: str = "", files: Mapping[str, bytes] | None = None,
        entry_id: str = "",
    ) -> Entry:  # fmt: skip
        """Hand a message over: durable when this returns. `name` is for people, `files` make a bundle.

        With an `entry_id` it has that ID: whoever gives one is alone to use it, and has looked whether it is
        anywhere already (`find`). Raises OSError (disk full, no permission) or SpoolError (a name that leads
        elsewhere) with nothing dropped.
        """
        returning, entry_id = bool(entry_id), entry_id or self.mint()
        full = identity.file_name(entry_id, f"{name}{ready.BUNDLE}" if files else name)
        if ready.ignored(full):
            full = identity.file_name(entry_id, f"{name}.txt")
        _check_names(channel, files or {})
        with self.at("tmp") as tmp, self._box(channel) as outgoing:
            if returning:
                self._discard(tmp, full)  # of the same drop, which died here
            try:
                if files:
                    self._write_bundle(tmp, full, data, files)
                else:
                    atomic.write_new(full, data or b"", at=tmp, mode=0o660)
                os.rename(full, full, src_dir_fd=tmp, dst_dir_fd=outgoing)
                atomic.sync_directory(outgoing)
            except BaseException:
                with suppress(OSError):  # who is told that it failed must not see it sent
                    os.rename(full, full, src_dir_fd=outgoing, dst_dir_fd=tmp)
                self._discard(tmp, full)
                raise
        return self._entry(f"outgoing/{channel}", full, entry_id)

    def _write_bundle(self, tmp: int, name: str, body: bytes | None, files: Mapping[str, bytes]) -> None:
        os.mkdir(name, 0o770, dir_fd=tmp)
        with atomic.directory(name, at=tmp) as bundle:
            if body is not None:
                atomic.write_new("body", body, at=bundle, mode=0o660)
            atomic.ensure_directory("files", at=bundle)
            with atomic.directory("files", at=bundle) as inner:
                for each, data in files.items():
                    atomic.write_new(each, data, at=inner, mode=0o660)
                atomic.sync_directory(inner)
            atomic.sync_directory(bundle)

    def _discard(self, tmp: int, name: str) -> None:
        with suppress(OSError):
            atomic.remove(name, at=tmp)

    def find(self, entry_id: str, channel: str | None = None, name: str | None = None) -> Entry | None:
        """Where an entry is, and what came of it; None: nowhere. Cheap where channel and name are known."""
        for _ in range(2):  # it may be put back to outgoing/ just behind the first look
            for state in STATES:
                for place in self._places(state, channel, entry_id):
                    for each in [name] if name else self._beginning(entry_id, place):
                        if each.startswith(entry_id) and not each.endswith(WHY) and self.has(place, each):
                            return self._entry(place, each, entry_id)
        return None

    def _beginning(self, start: str, path: str) -> list[str]:
        """The names in a directory that begin so, without a list of the million others."""
        try:
            with self.at(path) as at, os.scandir(at) as children:
                return [child.name for child in children if child.name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sweep(self) -> int:
        """Remove what writers left in `tmp/` long ago. Returns how many."""
        swept = 0
        with self.at("tmp") as tmp:
            for name in os.listdir(tmp):
                with suppress(FileNotFoundError):
                    if self._clock() - os.stat(name, dir_fd=tmp, follow_symlinks=False).st_mtime > _STALE:
                        self._discard(tmp, name)
                        swept += 1
        return swept

    def waiting(self, channel: str) -> list[str]:
        """The names of what waits in a drop box: not what the service leaves alone there for good."""
        try:
            with self.at(f"outgoing/{channel}") as at, os.scandir(at) as children:
                return [child.name for child in children if ready.is_entry(child)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def at(self, path: str) -> AbstractContextManager[int]:
        """A descriptor of a directory below the root, as a context."""
        return atomic.directory(path, at=self.fd)

    def names(self, path: str) -> list[str]:
        """What lies in a directory below the root; nothing where there is no such directory."""
        try:
            with self.at(path) as at:
                return os.listdir(at)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def channels(self, state: str) -> list[str]:
        """The channel directories of a state, sorted."""
        with self.at(state) as at, os.scandir(at) as children:
            return sorted(child.name for child in children if child.is_dir(follow_symlinks=False))

    def has(self, path: str, name: str) -> bool:
        """Whether anything of that name lies in a directory below the root."""
        try:
            with self.at(path) as at:
                return atomic.exists(name, at=at)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _places(self, state: str, channel: str | None, entry_id: str) -> Iterator[str]:
        for each in [channel] if channel else self.channels(state):
            if state != "sent":
                yield f"{state}/{each}"
                continue
            written = f"{entry_id[:4]}-{entry_id[4:6]}-{entry_id[6:8]}"
            yield from (f"sent/{each}/{day}" for day in sorted(self.names(f"sent/{each}")) if day >= written)
        if state == "failed" and channel is None:
            yield state

    def _entry(self, place: str, name: str, entry_id: str) -> Entry:
        state, _, rest = place.partition("/")
        known: dict[str, Any] = {}
        with suppress(OSError):  # a writer need not be allowed to read either
            if state == "sent":
                from spoolbridge import journal  # nothing that has only been dropped is in it

                with self.at("state") as at:
                    known = journal.lookup(at, entry_id)
            elif state == "failed":
                with self.at(place) as at:
                    first = atomic.head(name + WHY, _LONGEST_REASON, at=at).partition(b"\n")[0]
                known = {"reason": first.decode("utf-8", "replace").partition("  ")[2]}
        return Entry(entry_id, rest.partition("/")[0], name, state, self.root / place / name, **known)


def _check_names(channel: str, files: Mapping[str, bytes]) -> None:
    """No name leads elsewhere, and none is one that the service would pass over in silence."""
    for name in (channel, *files):
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise SpoolError(f"{name!r} cannot be a name in the spool", "choose a plain one")
    for name in filter(ready.ignored, files):
        raise SpoolError(f"{name!r} looks like a temporary file", "attach it under another name")
