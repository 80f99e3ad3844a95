"""What lies in the spool and goes nowhere: failed, on hold, under an ignored name, or where nobody looks."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from spoolbridge import channels, failures, identity, ready
from spoolbridge.findings import Finding
from spoolbridge.settings import TOML, Settings
from spoolbridge.spool import DIRECTORIES, HOLD, README, Spool

_OLD_NAME = 60.0  # seconds after which an ignored name was probably meant as a message

_OF_THE_DISK = "lost+found"  # where a spool has a disk of its own


def examine(spool: Spool, settings: Settings, known: channels.Registry | None) -> Iterator[Finding]:
    """`known`: the channels of the file; None where it cannot be used."""
    failed = sum(1 for _ in failures.failures(spool))
    if failed:
        what = f"{failed} {'entry' if failed == 1 else 'entries'} in failed/"
        yield Finding("warning", what, "nobody got these messages", "spoolbridge failed list")
    if spool.has("outgoing", HOLD):
        yield Finding("note", "every channel is on hold", "all drops wait", "spoolbridge resume")
    for channel in spool.channels("outgoing"):
        yield from _box(spool, channel)
        if known is not None and channel not in known.addresses:
            yield from _nobodys(spool, channel)
    yield from _strays(spool, settings)


def _box(spool: Spool, channel: str) -> Iterator[Finding]:
    place = spool.root / "outgoing" / channel
    if (place / HOLD).exists():
        do = f"spoolbridge resume {quote(channel)}"
        yield Finding("note", f"{channel} is on hold", "its drops wait", do)
    for name in spool.names(f"outgoing/{channel}"):
        path = place / name
        if name == HOLD or not _forgotten(path):
            continue
        if ready.ignored(name):
            why = "names like this are left to the program that writes them"
            yield Finding("note", f"{path} is ignored", why, "rename it if it is a message")
        elif path.is_dir() and not path.is_symlink() and not name.endswith(ready.BUNDLE):
            why = "a drop box is one level deep; only a bundle, NAME.msg, is a message"
            do = f"mv {quote(str(path))}/* {quote(str(place))}/ if messages are in it"
            yield Finding("note", f"{path} is a directory, and ignored", why, do)


def _forgotten(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_ctime > _OLD_NAME
    except OSError:
        return False


def _nobodys(spool: Spool, channel: str) -> Iterator[Finding]:
    """A drop box of a channel that the file does not have, or has no more."""
    place = spool.root / "outgoing" / channel
    what = f"{place} is the drop box of no channel"
    if any(not ready.ignored(name) for name in spool.names(f"outgoing/{channel}")):
        do = "spoolbridge channels sync, or move it to a channel that `spoolbridge channels list` shows"
        yield Finding("warning", what, "what lies there fails", do)
    else:
        why = "what is dropped there fails"
        do = f"rmdir {quote(str(place))}, or add the channel to the channels file"
        yield Finding("note", what, why, do)


def _strays(spool: Spool, settings: Settings) -> Iterator[Finding]:
    """What lies where nothing is looked for: beside the directories, in `outgoing/` itself, in `sending/`."""
    root = spool.root
    for name in sorted(spool.names("."), key=os.fsencode):
        if not _belongs(name, settings) and _forgotten(root / name):
            do = f"mv {quote(str(root / name))} {quote(str(root / 'outgoing'))}/CHANNEL/ if it is a message"
            yield Finding("note", f"{root / name} is nothing of the spool's", "nobody looks at it", do)
    for name in spool.names("outgoing"):
        path = root / "outgoing" / name
        if not path.is_dir() and not ready.ignored(name) and _forgotten(path):
            do = f"mv {quote(str(path))} {quote(str(path.parent))}/CHANNEL/"
            yield Finding("note", f"{path} lies in no channel", "it will fail", do)
    for channel in spool.channels("sending"):
        for name in spool.names(f"sending/{channel}"):
            path = root / "sending" / channel / name
            if not identity.parse(name) and not ready.ignored(name) and _forgotten(path):
                do = f"mv {quote(str(path))} {quote(str(root / 'outgoing' / channel))}/"
                yield Finding("note", f"{path} has no ID", "it is not posted from there", do)


def _belongs(name: str, settings: Settings) -> bool:
    """Whether something of that name may lie in the spool's own directory."""
    inbox = settings.inbox
    rotated = rf"{re.escape(inbox.name)}\..+|{re.escape(inbox.stem)}[.-].+"
    ours = (*DIRECTORIES, README, TOML, settings.channels.name, inbox.name, _OF_THE_DISK)
    kept = name.endswith((".log", ".torn", ".bak"))
    return name in ours or name.startswith(".") or kept or bool(re.fullmatch(rotated, name))
