"""The files that an agent may attach: those of its own project, and no hidden ones.

A text from Discord may talk an agent into attaching anything that it can read. So a path must lie below
the project, and no part of it may be a link or begin with a dot: keys, tokens and `.env` stay where they
are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from spoolbridge import atomic, ready
from spoolbridge.errors import MessageError

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read(project: Path, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents by file name. Raises MessageError, with the path that cannot be attached."""
    found: dict[str, bytes] = {}
    for path in paths:
        parts = _parts(project, path)
        if parts[-1] in found:
            raise MessageError(f"two files are called {parts[-1]!r}", "attach one under another name")
        try:
            found[parts[-1]] = _content(project, parts)
        except (OSError, UnicodeError) as error:  # JSON can hold characters that no file name can
            why = error.strerror or error if isinstance(error, OSError) else "no file can be called so"
            what = f"{path!r} cannot be attached ({why})"
            raise MessageError(what, "name a regular file of the project, not a link") from None
    return found


def _parts(project: Path, path: str) -> tuple[str, ...]:
    """The path's names below the project."""
    plain = os.path.normpath(os.path.join(project, path))
    parts = Path(os.path.relpath(plain, project)).parts
    if "\0" in path or not parts or parts[0] in ("..", os.sep):
        raise MessageError(f"{path!r} does not lie in the project at {project}", "copy it there first")
    if any(part.startswith(".") for part in parts):
        raise MessageError(f"{path!r} is hidden, and hidden files are not sent", "copy it to a plain name")
    return parts


def _content(project: Path, parts: Sequence[str]) -> bytes:
    at = atomic.open_directory(project)
    try:
        for part in parts[:-1]:
            inner = atomic.open_directory(part, at=at)
            os.close(at)
            at = inner
        fd = os.open(parts[-1], _OPEN, dir_fd=at)
    finally:
        os.close(at)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        if status.st_size > ready.LARGEST:
            raise OSError(0, f"{status.st_size} bytes are more than Discord takes")
        return atomic.read_bounded(fd, ready.LARGEST + 1)
    finally:
        os.close(fd)
