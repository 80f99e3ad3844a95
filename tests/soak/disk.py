"""The disk below everybody, and the end of a process: one layer over the calls of `os` that change files.

`full`: no new file, no new directory, not a byte more, for anybody; the first write that meets it is short.
`die`: whoever belongs to the service gets `Killed` from one of its next calls on, and from every later one,
so that no clean-up can tidy what a real `kill -9` would have left. Who belongs to it is a context variable,
which tasks and threads inherit. Nothing is synced here: what a power cut leaves is shown in `tests/crash`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from tests.support.crashes import Killed

#: Whether this is the service.
SERVICE: ContextVar[bool] = ContextVar("service", default=False)

_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """Both troubles, off at first."""

    def __init__(self) -> None:
        self.full = False
        self.dead = False
        #: Changes that the service may still make before it dies; -1: any number.
        self._left = -1
        self._half = False

    def install(self) -> None:
        """Lay it over `os`, in this process, for good."""
        for name in ("open", "write", "rename", "unlink", "mkdir", "rmdir", "ftruncate", "link"):
            setattr(os, name, self._laid_over(getattr(os, name), name))
        os.fsync = self._fsync  # type: ignore[assignment]

    def fill(self) -> None:
        self.full = self._half = True

    def make_room(self) -> None:
        self.full = False

    def die(self, after: int) -> None:
        """The service dies at the entry of its `after`-th change from now on."""
        self._left = after

    def die_now(self) -> None:
        self.dead = True

    def live(self) -> None:
        """Another process starts."""
        self.dead, self._left = False, -1

    def _laid_over(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            changes = name != "open" or bool(args[1] & os.O_CREAT)
            self._strike(changes)
            if self.full and changes:
                args = self._refuse(name, args, kwargs)
            return real(*args, **kwargs)

        return call

    def _fsync(self, fd: int) -> None:
        self._strike(True)

    def _strike(self, changes: bool) -> None:
        if not SERVICE.get():
            return
        if changes and self._left >= 0:
            self._left -= 1
            self.dead |= self._left < 0
        if self.dead:
            raise Killed

    def _refuse(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Raises ENOSPC; what still works on a full disk goes on with these arguments."""
        if name == "open" and _is_there(args[0], kwargs.get("dir_fd")):
            return args
        if name == "write" and self._half and len(args[1]) > 1:
            self._half = False
            return args[0], bytes(args[1][: len(args[1]) // 2])
        if name in ("open", "write", "mkdir"):
            raise OSError(*_FULL.args)
        return args


def _is_there(path: Any, dir_fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return False
    return True
