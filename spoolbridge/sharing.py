"""A spool that several users share: their group, on the directories that writers and readers have in common.

Promises that `state/` stays the service's to write, that nobody else gets in, and that a second call changes
nothing. Follows no link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from spoolbridge import atomic
from spoolbridge.errors import SpoolError
from spoolbridge.spool import Spool

_ROOT_MODE = 0o2750  # what lies in it, the channels file first of all, is not the group's to replace


def group_id(name: str) -> int:
    """The group's number. Raises SpoolError where there is none, or this user may not give it away."""
    import grp

    try:
        found = grp.getgrnam(name).gr_gid
    except KeyError:
        hint = f"make it: sudo groupadd {name}"
        raise SpoolError(f"there is no group {name!r}", hint) from None
    if os.geteuid() and found not in (os.getegid(), *os.getgroups()):
        hint = f"join it: sudo usermod -aG {name} $USER, then log in anew"
        raise SpoolError(f"you are not in the group {name!r}", hint)
    return found


def share(spool: Spool, group: int) -> int:
    """Give the spool's directories, and what is in them, to the group. Returns how many were not yet so.

    Raises SpoolError where a directory belongs to somebody else.
    """

    def not_ours(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # which a reader has removed meanwhile
            place = f"{spool.root / os.fsdecode(error.filename)}"
            raise SpoolError(f"{place} is not yours to share", "say it as its owner, or as root") from None

    changed = 0
    for path, _, files, at in os.fwalk(".", dir_fd=spool.fd, follow_symlinks=False, onerror=not_ours):
        try:
            changed += _give(at, group, _wanted(path))
        except PermissionError as error:
            error.filename = path
            not_ours(error)
        for name in files:
            with suppress(OSError):  # another user's, who shares it already; or taken by a reader meanwhile
                if os.stat(name, dir_fd=at, follow_symlinks=False).st_gid != group:
                    os.chown(name, -1, group, dir_fd=at, follow_symlinks=False)
    return changed


def _wanted(path: str) -> Callable[[int], int]:
    """A directory's mode from the one that it has."""
    if path == ".":
        return lambda mode: _ROOT_MODE | mode & 0o020
    if path == "./state" or path.startswith("./state/"):
        return lambda mode: mode
    return lambda mode: mode & ~0o007 | atomic.DIRECTORY_MODE


def _give(at: int, group: int, wanted: Callable[[int], int]) -> bool:
    there = os.fstat(at)
    mode = stat.S_IMODE(there.st_mode)
    if (there.st_gid, wanted(mode)) == (group, mode):
        return False
    if there.st_gid != group:
        os.fchown(at, -1, group)
    os.fchmod(at, wanted(mode))
    return True


def closed_above(root: Path, group: int) -> Path | None:
    """The directory above the spool that the group cannot pass through, if there is one."""
    for parent in root.resolve().parents:
        there = parent.stat()
        if not there.st_mode & 0o001 and not (there.st_gid == group and there.st_mode & 0o010):
            return parent
    return None
