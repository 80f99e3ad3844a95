"""How the bridge stands: `state/status.json` for programs, `state/STATUS` for `cat`.

The service adds what only it knows; what lies in the directories is counted afresh by whoever looks,
so that the counts are right even where no service runs. Holds no message's text and no token. How it is laid
out for people, `standing` decides.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spoolbridge import atomic, lock, standing
from spoolbridge.census import NOTHING, Census
from spoolbridge.spool import HOLD, Spool

FILE = "status.json"
TEXT = "STATUS"
EVERY = 10.0  # seconds between two writings while the service has nothing new to tell
_STALE = 2.5 * EVERY  # seconds after which what was written says nothing about now
_SPARE = b" " * 4096  # room for what a full disk gives to tell, where there is none for a longer file

_TOTALS = ("waiting", "sending", "failed", "sent_today")
_RESTLESS = ("at", "disk", "recent")

Facts = dict[str, Any]


def write(spool: Spool, facts: Facts, *, census: Census | None = None) -> None:
    """Replace both files, each whole; on a full disk write over the old ones, for that is to be told above
    all. Raises OSError where that cannot be done either. `census` as for `snapshot`."""
    with spool.at("state") as state:
        _put(FILE, json.dumps(facts).encode() + _SPARE, at=state)
        text = render(snapshot(spool, facts, census=census), now=facts["at"])
        _put(TEXT, text.encode("utf-8", "replace"), at=state)


def _put(name: str, data: bytes, *, at: int) -> None:
    try:
        atomic.replace(name, data, at=at, durable=False)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # No inode or no block for a second file; the old one has blocks of its own.
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        try:
            if os.fstat(fd).st_blocks * 512 < len(data):
                raise
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)


def read(spool: Spool) -> Facts | None:
    """What the service wrote last; None: no service ever ran here, or its file cannot be read."""
    with suppress(OSError):
        for _ in range(3):  # on a full disk it is written in place, and may be read half new
            with suppress(ValueError), (spool.root / "state" / FILE).open("rb") as file:
                facts = json.load(file)
                return facts if isinstance(facts, dict) else None
    return None


def snapshot(
    spool: Spool, facts: Mapping[str, Any] | None, *, now: float | None = None, census: Census | None = None
) -> Facts:
    """Facts and counts as one object: what `status --json` prints, described by `status.schema.json`.

    `running` is whether the facts are of now, or at least of a process that still holds the spool. Who looks
    again and again gives the same `census`.
    """
    now = time.time() if now is None else now
    known = told(spool, facts, now=now)
    said: Mapping[str, Facts] = known.get("channels") or {}
    census = census or Census(spool)
    counted = census.channels(datetime.fromtimestamp(now, UTC).date().isoformat())
    channels = {
        name: {**counted.get(name, NOTHING)._asdict(), **said.get(name, {})}
        for name in sorted({*said, *counted})
    }
    return {
        **known,
        "spool": str(spool.root),
        "disk": _disk(spool),
        "held": spool.has("outgoing", HOLD),
        "asks": _asks(spool),
        "totals": _totals(channels, census.strays()),
        "channels": channels,
    }


def told(spool: Spool, facts: Mapping[str, Any] | None, *, now: float | None = None) -> Facts:
    """What the service told last, whether it runs, and who holds the spool. Counts nothing, which can take
    seconds."""
    now = time.time() if now is None else now
    known = dict(facts or {})
    age, stopped = now - known.get("at", 0), known.get("stopped", False)
    holder = _holder(spool)
    silent = age >= _STALE and not stopped and holder is not None and holder == known.get("pid")
    gone = holder is None and lock.is_held(spool) is False
    if silent:
        what = f"the last the service wrote was {standing.ago(now - age, now)}: the disk refuses, or it hangs"
        known["findings"] = [*(known.get("findings") or []), f"{what}; see its log"]
    return {
        **known,
        "running": silent or (age < _STALE and not stopped and not gone),
        "held_by": None if stopped and holder == known.get("pid") else holder,  # it is just about to end
    }


def _totals(channels: Mapping[str, Facts], strays: int) -> Facts:
    totals = {each: sum(channel[each] for channel in channels.values()) for each in _TOTALS}
    return {**totals, "failed": totals["failed"] + strays}


def _disk(spool: Spool) -> dict[str, int | None]:
    found = os.fstatvfs(spool.fd)
    inodes = found.f_favail if found.f_files else None  # btrfs counts none
    return {"free_bytes": found.f_bavail * found.f_frsize, "free_inodes": inodes}


def _asks(spool: Spool) -> int | None:
    """How many questions are open; None: they may not be looked at."""
    try:
        return sum(name.endswith(".json") and name[0] != "." for name in spool.names("state/asks"))
    except OSError:
        return None


def essence(snapshot: Mapping[str, Any]) -> Facts:
    """The snapshot without what changes by itself: two that are equal tell people the same."""
    found = {key: value for key, value in snapshot.items() if key not in _RESTLESS}
    discord = found.get("discord")
    return {**found, "discord": discord and {**discord, "answered_at": None, "clock_ahead": None}}


def render(snapshot: Mapping[str, Any], *, now: float | None = None, width: int = standing.WIDTH) -> str:
    """The snapshot for people, in so many columns."""
    return standing.render(snapshot, now=time.time() if now is None else now, width=width)


def _holder(spool: Spool) -> int | None:
    """The process that holds the spool's lock. The kernel's list is read, where there is one, for whoever
    tries the lock instead may keep a service from starting."""
    inode = os.fstat(spool.fd).st_ino
    with suppress(OSError):
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            each = line.split()  # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
            if len(each) > 5 and (each[1], each[5].rpartition(":")[2]) == ("FLOCK", str(inode)):
                return int(each[4])
    return None
