"""What a power cut can leave: every state that a file system may come back in, from a recorded run.

The system calls that change the file system are recorded while they run for real. The model then says
what may be on disk after a cut behind each of them: names change atomically and, within one directory,
in order, but different directories are not ordered among each other; a name is sure to be there only
once its directory has been synced, a content only once its file has. Until then a new file may be empty
and a written one may be as it was. That is what ext4, xfs and btrfs were seen to do, and a little worse.

This is for one call of one module, in milliseconds; `tests/crash` does it to the whole service.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

#: Path (relative) → content of a file; None: a directory.
State = dict[str, bytes | None]


@dataclass(frozen=True)
class Call:
    """One recorded call. `kind`: create, mkdir, rename, unlink; write, sync."""

    kind: str
    path: str
    new: str = ""
    content: bytes = b""

    @property
    def names(self) -> bool:
        return self.kind in ("create", "mkdir", "rename", "unlink")

    @property
    def directories(self) -> set[str]:
        return (
            {os.path.dirname(self.path), os.path.dirname(self.new)}
            if self.new
            else {os.path.dirname(self.path)}
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.path or '.'}{f' → {self.new}' if self.new else ''}"


@dataclass
class Recording:
    """What was there, and what was done to it."""

    before: State
    calls: list[Call] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return iter([str(call) for call in self.calls])

    def after_a_cut(self) -> Iterator[tuple[int, State]]:
        """(calls that had returned, what is on disk), for every possible state behind every call."""
        for returned in range(len(self.calls) + 1):
            for kept in _kept(self.calls[:returned]):
                yield from ((returned, state) for state in self._states(self.calls[:returned], kept))

    def at_the_end(self) -> Iterator[State]:
        """What may be on disk once everything has returned."""
        return (state for returned, state in self.after_a_cut() if returned == len(self.calls))

    def _states(self, calls: list[Call], kept: frozenset[int]) -> Iterator[State]:
        sure, latest = self._contents(calls)
        place = {path: path for path in self.before}  # path → which file it is
        for index, call in enumerate(calls):
            if index in kept:
                _apply(place, call, f"{index}")
        place = {path: each for path, each in place.items() if _reachable(path, place)}
        choices = [
            [None] if latest[each] is None else list(dict.fromkeys([sure[each], latest[each]]))
            for each in place.values()
        ]
        for contents in product(*choices):
            yield dict(zip(place, contents, strict=True))

    def _contents(self, calls: list[Call]) -> tuple[State, State]:
        """Which file → its content that is sure, and its latest."""
        sure, latest, place = dict(self.before), dict(self.before), {path: path for path in self.before}
        for index, call in enumerate(calls):
            which = place.get(call.path, "")
            if call.kind == "write":
                latest[which] = call.content
            elif call.kind == "sync" and latest.get(which) is not None:
                sure[which] = latest[which]
            elif call.names:
                _apply(place, call, f"{index}")
                if call.kind in ("create", "mkdir"):
                    sure[f"{index}"] = latest[f"{index}"] = b"" if call.kind == "create" else None
        return sure, latest


@contextmanager
def recorded(root: Path) -> Iterator[Recording]:
    """Record what happens below `root`; what happens elsewhere is let through."""
    before: State = {"": None}
    before.update(_walk(root))
    recording = Recording(before)
    record = _Recorder(root, recording)
    names = ("open", "mkdir", "write", "ftruncate", "rename", "unlink", "fsync")
    patches = [patch.object(os, name, record.wrapped(name, getattr(os, name))) for name in names]
    for each in patches:
        each.start()
    try:
        yield recording
    finally:
        for each in patches:
            each.stop()


class _Recorder:
    def __init__(self, root: Path, recording: Recording) -> None:
        self._root = os.path.realpath(root)
        self._calls = recording.calls

    def wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            return note(real, *args, **kwargs)

        return call

    def _note(self, kind: str, path: str, new: str = "", content: bytes = b"") -> None:
        if self._below(path):
            relative = os.path.relpath(path, self._root)
            moved = os.path.relpath(new, self._root) if new else ""
            self._calls.append(Call(kind, "" if relative == "." else relative, moved, content))

    def _below(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + os.sep)

    def _open(self, real: Callable[..., Any], path: Any, flags: int, *args: Any, **kwargs: Any) -> Any:
        full = _full(path, kwargs.get("dir_fd"))
        new = flags & os.O_CREAT and not os.path.lexists(full)
        fd = real(path, flags, *args, **kwargs)
        if new:
            self._note("create", full)
        return fd

    def _mkdir(self, real: Callable[..., Any], path: Any, *args: Any, **kwargs: Any) -> Any:
        real(path, *args, **kwargs)
        self._note("mkdir", _full(path, kwargs.get("dir_fd")))

    def _unlink(self, real: Callable[..., Any], path: Any, **kwargs: Any) -> Any:
        real(path, **kwargs)
        self._note("unlink", _full(path, kwargs.get("dir_fd")))

    def _rename(self, real: Callable[..., Any], path: Any, new: Any, **kwargs: Any) -> Any:
        source, target = _full(path, kwargs.get("src_dir_fd")), _full(new, kwargs.get("dst_dir_fd"))
        real(path, new, **kwargs)
        self._note("rename", source, target)

    def _write(self, real: Callable[..., Any], fd: int, data: Any) -> Any:
        written = real(fd, data)
        self._changed(fd)
        return written

    def _ftruncate(self, real: Callable[..., Any], fd: int, length: int) -> Any:
        real(fd, length)
        self._changed(fd)

    def _changed(self, fd: int) -> None:
        path = _path(fd)
        if stat.S_ISREG(os.fstat(fd).st_mode) and self._below(path):
            self._note("write", path, content=Path(path).read_bytes())

    def _fsync(self, real: Callable[..., Any], fd: int) -> Any:
        real(fd)
        self._note("sync", _path(fd))


def _kept(calls: list[Call]) -> Iterator[frozenset[int]]:
    """Every set of name changes that may be on disk: the synced ones, and any that their order allows."""
    changes = [index for index, call in enumerate(calls) if call.names]
    needs = {
        index: {
            other
            for other in changes
            if other < index and calls[other].directories & calls[index].directories
        }
        for index in changes
    }
    synced: set[int] = set()
    for at, call in enumerate(calls):
        if call.kind == "sync":
            synced |= {each for each in changes if each < at and call.path in calls[each].directories}
    for chosen in product((False, True), repeat=len(changes)):
        kept = {index for index, yes in zip(changes, chosen, strict=True) if yes}
        if synced <= kept and all(needs[index] <= kept for index in kept):
            yield frozenset(kept)


def _apply(place: dict[str, str], call: Call, which: str) -> None:
    if call.kind in ("create", "mkdir"):
        place[call.path] = which
    elif call.kind == "unlink":
        place.pop(call.path, None)
    elif call.kind == "rename":
        for path in [each for each in place if each == call.path or each.startswith(call.path + os.sep)]:
            place[call.new + path.removeprefix(call.path)] = place.pop(path)


def _reachable(path: str, place: dict[str, str]) -> bool:
    return path == "" or (os.path.dirname(path) in place and _reachable(os.path.dirname(path), place))


def _walk(root: Path) -> Iterator[tuple[str, bytes | None]]:
    for path in sorted(root.rglob("*")):
        yield str(path.relative_to(root)), path.read_bytes() if path.is_file() else None


def _full(path: Any, dir_fd: int | None) -> str:
    return os.path.join(_path(dir_fd) if dir_fd is not None else os.path.realpath("."), os.fsdecode(path))


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")
