"""The system calls of ours that change something: recorded, numbered, and killed at.

Python's own functions are wrapped, in one process, for all threads. What is written about each call is
enough to replay it on a model of a disk: inode numbers, offsets, bytes. `test_calls.py` holds the
record against what strace(1) sees of the same run.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

#: Rewritten on a timer and never relied on; they would give the points other numbers in every run.
_UNCOUNTED = ("STATUS", "status.json", "lock")

_real = {
    name: getattr(os, name)
    for name in ("open", "write", "pwrite", "fsync", "rename", "unlink", "mkdir", "ftruncate", "link")
}
_send = socket.socket.send
_lock = threading.RLock()
_state: dict[str, Any] = {"count": 0, "trace": None, "root": "", "kill_at": None, "quiet": 0}


def record(trace: int, *, root: str, kill_at: int | str | None) -> None:
    """From now on record to the descriptor `trace`; die at the entry of the `kill_at`-th call (from 1), or of
    the one that would send a request which begins so."""
    _state.update(trace=trace, root=os.path.realpath(root), kill_at=kill_at, count=0)
    for name, real in _real.items():
        setattr(os, name, _wrapped(name, real))
    socket.socket.send = _sending  # type: ignore[method-assign, assignment]


def quietly(call: Callable[[], _T]) -> _T:
    """Call without recording."""
    return call()


def _sending(self: socket.socket, data: Any, *flags: Any) -> int:
    if self.family not in (socket.AF_INET, socket.AF_INET6):
        return _send(self, data, *flags)
    with _lock:
        kill_at = _state["kill_at"]
        _strike(
            {"call": "send", "bytes": len(data)},
            dies=isinstance(kill_at, str) and bytes(data[: len(kill_at)]) == kill_at.encode(),
        )
        return _send(self, data, *flags)


def _wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    describe = globals()[f"_{name}"]

    def call(*args: Any, **kwargs: Any) -> Any:
        with _lock:  # one at a time, so that the record is the order in which they happened
            told = describe(*args, **kwargs)
            if told is None:
                return real(*args, **kwargs)
            _strike(told)
            result = real(*args, **kwargs)
            if name in ("open", "mkdir"):
                told = {"call": f"{name}ed", "inode": _inode_after(name, result, args, kwargs)}
                _note(told)
            return result

    return call


def _strike(told: dict[str, Any], *, dies: bool = False) -> None:
    _state["count"] += 1
    if dies or _state["count"] == _state["kill_at"]:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # the signal is on its way; nothing more may happen
    _note({"n": _state["count"], **told})


def _note(told: dict[str, Any]) -> None:
    _real["write"](_state["trace"], json.dumps(told).encode() + b"\n")


def _inode_after(name: str, result: Any, args: Any, kwargs: Any) -> int:
    if name == "open":
        return os.fstat(result).st_ino
    return os.stat(args[0], dir_fd=kwargs.get("dir_fd"), follow_symlinks=False).st_ino


def _path(name: Any, dir_fd: int | None) -> str | None:
    """Where a name leads, from the spool's root; None: outside, or not counted."""
    base = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
    path = os.path.normpath(os.path.join(base, os.fsdecode(name)))
    return _inside(path)


def _inside(path: str) -> str | None:
    if not path.startswith(_state["root"]):
        return None
    last = os.path.basename(path).lstrip(".")
    return None if last.startswith(_UNCOUNTED) else os.path.relpath(path, _state["root"])


def _of(fd: int) -> str | None:
    return _inside(os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)"))


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> dict[str, Any] | None:
    where = _path(path, dir_fd) if flags & os.O_CREAT else None
    if where is None or os.path.lexists(os.path.join(_state["root"], where)):
        return None
    return {"call": "open", "path": where}


def _write(fd: int, data: Any) -> dict[str, Any] | None:
    where = _of(fd)
    if where is None:
        return None
    status = os.fstat(fd)
    offset = status.st_size  # appended to, or new: nothing of ours writes anywhere else
    return {
        "call": "write", "path": where, "inode": status.st_ino, "offset": offset,
        "data": base64.b64encode(bytes(data)).decode(),
    }  # fmt: skip


def _pwrite(fd: int, data: Any, offset: int) -> dict[str, Any] | None:
    return None if _of(fd) is None else {"call": "pwrite", "path": _of(fd)}


def _fsync(fd: int) -> dict[str, Any] | None:
    where = _of(fd)
    return where and {"call": "fsync", "path": where, "inode": os.fstat(fd).st_ino}  # type: ignore[return-value]


def _rename(
    src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
) -> dict[str, Any] | None:
    before, after = _path(src, src_dir_fd), _path(dst, dst_dir_fd)
    if before is None or after is None:
        return None
    inode = os.stat(src, dir_fd=src_dir_fd, follow_symlinks=False).st_ino
    return {"call": "rename", "path": before, "to": after, "inode": inode}


def _unlink(path: Any, *, dir_fd: int | None = None) -> dict[str, Any] | None:
    where = _path(path, dir_fd)
    if where is None or not os.path.lexists(os.path.join(_state["root"], where)):
        return None
    return {"call": "unlink", "path": where}


def _mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> dict[str, Any] | None:
    where = _path(path, dir_fd)
    if where is None or os.path.lexists(os.path.join(_state["root"], where)):
        return None
    return {"call": "mkdir", "path": where}


def _ftruncate(fd: int, length: int) -> dict[str, Any] | None:
    where = _of(fd)
    return where and {  # type: ignore[return-value]
        "call": "ftruncate", "path": where, "inode": os.fstat(fd).st_ino, "length": length,
    }  # fmt: skip


def _link(
    src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None, **_: Any
) -> dict[str, Any] | None:
    before, after = _path(src, src_dir_fd), _path(dst, dst_dir_fd)
    return None if before is None else {"call": "link", "path": before, "to": after}
