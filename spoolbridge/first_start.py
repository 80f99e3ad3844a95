"""Since when a spool is served, and in which format its `state/` is: `state/format.json`, written once."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from spoolbridge import atomic
from spoolbridge.errors import SpoolError

FORMAT = 1  # of state/; a newer one is refused
FILE = "format.json"


def mark(state: int, path: Path) -> float:
    """When this spool was first served, in unix seconds: now, where nothing says so. `path` is for people.

    Raises SpoolError where the file cannot be read, or a newer version wrote the state; OSError.
    """
    if not atomic.exists(FILE, at=state):
        made = {"format": FORMAT, "first_start": round(time.time(), 3)}
        atomic.replace(FILE, json.dumps(made).encode(), at=state)
    return _checked(state, path)


def check(root: int, path: Path) -> None:
    """For who reads `state/` or writes to it beside the service, before anything else; `root` is the spool's
    descriptor, `path` its name for people. Nothing is wrong with a spool that was never served, nor with
    a `state/` that whoever asks may not enter: then nothing is read either.

    Raises SpoolError as `mark` does.
    """
    with suppress(FileNotFoundError, PermissionError), atomic.directory("state", at=root) as state:
        if atomic.exists(FILE, at=state):
            _checked(state, path / "state")


def _checked(state: int, path: Path) -> float:
    try:
        version, since = _read(state)
    except (OSError, ValueError, KeyError, TypeError):
        hint = "it holds the format of state/; restore it"
        raise SpoolError(f"{path / FILE} cannot be read", hint) from None
    if version > FORMAT:
        raise SpoolError(f"a newer spoolbridge (format {version}) has served this spool", "upgrade this one")
    return since


def known(state: int) -> float | None:
    """As `mark`, for who only looks; None: never served, or nobody can tell."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return _read(state)[1]
    return None


def _read(state: int) -> tuple[int, float]:
    fd = os.open(FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state)
    with open(fd, "rb") as file:
        found = json.load(file)
        return int(found["format"]), float(found["first_start"])
