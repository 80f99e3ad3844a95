"""`.env`: settings that are nobody else's to read, as lines `NAME=value`.

Promises that a file which is changed here keeps every other byte, and that nobody but its owner can read what
is written here, not even for a moment.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from spoolbridge import atomic
from spoolbridge.errors import SettingsError

MODE = 0o600
_BOM = "\ufeff"


def load(path: Path) -> dict[str, str]:
    """Every name in the file; `export` and one pair of quotes are allowed. Raises SettingsError."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        hint = f"give it to the service's user, and: chmod 600 {path}"
        raise SettingsError(f"{path} cannot be read as text", hint) from None
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        if equals:
            found[name.strip()] = value
    return found


def put(path: Path, values: Mapping[str, str]) -> bool:
    """Set these names in the file, which is made where it is missing; False: they were set so already.

    Raises SettingsError where it cannot be written.
    """
    if path.exists() and values.items() <= load(path).items():
        return False
    real = Path(os.path.realpath(path))  # a link stays one
    try:
        there = real.stat() if real.exists() else None
        text = real.read_bytes().decode() if there else ""
        for name, value in values.items():
            text = _with(text, name, value)
        real.parent.mkdir(parents=True, exist_ok=True)
        with atomic.directory(real.parent) as at:
            atomic.replace(real.name, text.encode(), at=at, mode=MODE)
        if there and there.st_uid != os.geteuid():
            with suppress(PermissionError):  # whose it was must go on reading it
                os.chown(real, there.st_uid, there.st_gid)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be written ({error})", "make its directory yours") from None
    return True


def is_open(path: Path) -> bool:
    """Whether others than its owner can read the file."""
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
    except OSError:
        return False


def _with(text: str, name: str, value: str) -> str:
    """The first line that sets the name sets it to this; others that do are gone; without any, one more."""
    lines, kept, done = text.splitlines(keepends=True), [], False
    sets = re.compile(rf"({_BOM}?\s*(?:export )?\s*){re.escape(name)}\s*=")
    for line in lines:
        if match := sets.match(line):
            if not done:
                kept.append(f"{match[1]}{name}={value}{line[len(line.rstrip()) :]}")
            done = True
        else:
            kept.append(line)
    if not done:
        end = "\n" if kept and not kept[-1].endswith(("\n", "\r")) else ""
        kept.append(f"{end}{name}={value}\n")
    return "".join(kept)
