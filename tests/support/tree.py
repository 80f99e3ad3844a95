"""The whole spool at once, so that an assertion also sees what should not be there."""

from __future__ import annotations

import os
from pathlib import Path


def tree(root: Path, *below: str) -> dict[str, list[str]]:
    """Directory (relative) → the names of what it holds besides directories, sorted.

    Directories that hold nothing but directories, or nothing, are left out: they are no state. `below`
    restricts it to these top-level directories. `{"outgoing/general": ["a"], …}`
    """
    found: dict[str, list[str]] = {}
    for top in below or ("",):
        for directory, subdirectories, names in os.walk(root / top):
            links = [each for each in subdirectories if os.path.islink(os.path.join(directory, each))]
            if names or links:
                found[os.path.relpath(directory, root)] = sorted([*names, *links])
    return found


def contents(root: Path, *below: str) -> dict[str, bytes]:
    """Path (relative) → content, of every regular file."""
    return {
        os.path.normpath(os.path.join(place, name)): (root / place / name).read_bytes()
        for place, names in tree(root, *below).items()
        for name in names
        if (root / place / name).is_file() and not (root / place / name).is_symlink()
    }


def dig(path: Path, levels: int) -> None:
    """A directory in a directory, and so on: deeper than a path may be long."""
    at = os.open(path.parent, os.O_RDONLY)
    for name in [path.name, *["d"] * levels]:
        os.mkdir(name, dir_fd=at)
        inner = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(at)
