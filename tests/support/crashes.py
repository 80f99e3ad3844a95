"""Every point at which a disk can fail or the machine can stop.

The n-th system call that changes the file system raises: an OSError (the disk is full, once), or
`Killed`, after which no such call works any more, so that no clean-up code can tidy what a real crash
would have left. What is yielded says whether there was an n-th call at all: a loop over all n ends there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_CHANGES = ("open", "write", "fsync", "rename", "unlink", "mkdir", "ftruncate")


class Killed(BaseException):
    """The process is gone."""


class Struck:
    """True once it has happened."""

    def __init__(self) -> None:
        self.count = 0
        self.happened = False

    def __bool__(self) -> bool:
        return self.happened


@contextmanager
def kill_at(number: int) -> Iterator[Struck]:
    """The process dies at the entry of its `number`-th change; nothing happens where there are fewer."""

    def dies(count: int) -> None:
        if count >= number:
            raise Killed

    with _counting(dies) as struck:
        yield struck


@contextmanager
def fail_at(number: int) -> Iterator[Struck]:
    """The `number`-th change fails with ENOSPC, the others work."""

    def fails(count: int) -> None:
        if count == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with _counting(fails) as struck:
        yield struck


@contextmanager
def _counting(strike: Callable[[int], None]) -> Iterator[Struck]:
    struck = Struck()

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            struck.count += 1
            try:
                strike(struck.count)
            except BaseException:
                struck.happened = True
                raise
            return real(*args, **kwargs)

        return call

    patches = [patch.object(os, name, counted(getattr(os, name))) for name in _CHANGES]
    for each in patches:
        each.start()
    try:
        yield struck
    finally:
        for each in patches:
            each.stop()
