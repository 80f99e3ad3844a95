"""How the bridge stands: `state/status.json` for programs, `state/STATUS` for `cat`.

The service adds what only it knows; what lies in the directories is counted afresh by whoever looks,
so that the counts are right even where no service runs. Holds no message's text and no token.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from spoolbridge import atomic
from spoolbridge.claim import one_line
from spoolbridge.spool import HOLD, Spool

FILE = "status.json"
TEXT = "STATUS"
EVERY = 5.0  # seconds between two writings while nothing changes
_STALE = 4 * EVERY  # seconds after which what was written says nothing about now
_SPARE = b" " * 4096  # room for what a full disk gives to tell, where there is none for a longer file

Facts = dict[str, Any]


def write(spool: Spool, facts: Facts) -> None:
    """Replace both files, each whole; on a full disk write over the old ones, for that is to be told above
    all. Raises OSError where that cannot be done either."""
    with spool.at("state") as state:
        _put(FILE, json.dumps(facts, indent=1).encode() + _SPARE, at=state)
        text = render(snapshot(spool, facts), now=facts["at"])
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


def snapshot(spool: Spool, facts: Mapping[str, Any] | None, *, now: float | None = None) -> Facts:
    """Facts and counts as one object: what `status --json` prints.

    `running` is whether the facts are of now, or at least of a process that still holds the spool.
    `channels` maps each channel to its counts (`waiting`, `sending`, `failed`, `sent_today`), whether it
    is `held`, and what the service said of it.
    """
    now = time.time() if now is None else now
    known = dict(facts or {})
    counts = spool.counts()
    names = sorted({*(known.get("channels") or {}), *(name for each in counts.values() for name in each)})
    channels = {
        name: {
            "waiting": counts.get("outgoing", {}).get(name, 0),
            "sending": counts.get("sending", {}).get(name, 0),
            "failed": counts.get("failed", {}).get(name, 0),
            "sent_today": counts.get("sent", {}).get(name, 0),
            "held": spool.has("outgoing", HOLD) or spool.has(f"outgoing/{name}", HOLD),
            **(known.get("channels") or {}).get(name, {}),
        }
        for name in names
    }
    age, stopped = now - known.get("at", 0), known.get("stopped", False)
    holder = _holder(spool)
    silent = age >= _STALE and not stopped and holder is not None and holder == known.get("pid")
    if silent:
        what = f"the last the service wrote was {_ago(now - age, now)}: the disk refuses, or it hangs"
        known["findings"] = [*(known.get("findings") or []), f"{what}; see its log"]
    running = silent or (age < _STALE and not stopped)
    return {**known, "running": running, "held_by": holder, "spool": str(spool.root), "channels": channels}


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


def render(snapshot: Mapping[str, Any], *, now: float | None = None) -> str:
    """The snapshot for people."""
    now = time.time() if now is None else now
    lines = [_service_line(snapshot, now), f"spool     {snapshot['spool']}"]
    discord = snapshot.get("discord") or {}
    if snapshot["running"]:
        lines.append(f"discord   {_discord_line(discord, now)}")
        lines.append(f"gt mail   {_mail_line(snapshot.get('mail'))}")
    lines += ["", f"{'channel':<28}{'waiting':>8}{'sending':>8}{'failed':>8}{'sent today':>12}"]
    for name, channel in snapshot["channels"].items():
        counts = "".join(f"{channel[each]:>8}" for each in ("waiting", "sending", "failed"))
        counts += f"{channel['sent_today']:>12}"
        lines.append(f"{one_line(name):<28}{counts}  {one_line(_remark(channel, now))}".rstrip())
    if not snapshot["channels"]:
        lines.append("none yet: spoolbridge channels sync")
    for finding in snapshot.get("findings") or []:
        lines.append(f"\n! {one_line(finding)}")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _service_line(snapshot: Mapping[str, Any], now: float) -> str:
    if not snapshot["running"]:
        return "service   not running; start it with: spoolbridge run"
    since = datetime.fromtimestamp(snapshot["since"]).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"service   running, process {snapshot['pid']}, since {since} (looked {_ago(snapshot['at'], now)})"


def _discord_line(discord: Mapping[str, Any], now: float) -> str:
    if discord.get("paused_because"):
        return f"paused: {discord['paused_because']}"
    answered = discord.get("answered_at")
    return f"answered {_ago(answered, now)}" if answered else "has not answered yet"


def _mail_line(mail: Mapping[str, Any] | None) -> str:
    if mail is None:
        return "off"
    said = [f"{mail['pending']} pending", f"{mail['given_up']} given up"]
    if mail.get("possibly_twice"):
        said.append(f"{mail['possibly_twice']} possibly twice")
    said += _mailbox_words(mail)
    problems = [mail[each] for each in ("last_error", "mailbox_error") if mail.get(each)]
    return "; ".join([", ".join(said), *problems])


def _mailbox_words(mail: Mapping[str, Any]) -> list[str]:
    if "mailboxes" not in mail:  # written by a service that had none
        return []
    said = [f"{mail['dropped']} dropped from {mail['mailboxes']} mailboxes"]
    if mail.get("left_alone"):
        said.append(f"{mail['left_alone']} older left alone")
    return said


def _remark(channel: Mapping[str, Any], now: float) -> str:
    said = []
    if channel.get("held"):
        said.append("on hold")
    if channel.get("parked"):
        said.append(f"parked: {channel['parked']}")
    if channel.get("next_try"):
        said.append(f"next try in {max(0, channel['next_try'] - now):.0f} s: {channel.get('reason', '')}")
    if channel.get("disk"):
        said.append(f"waits for the disk: {channel['disk']}")
    if channel.get("inbound"):
        said.append(f"not read: {channel['inbound']}")
    if channel.get("refused"):
        said.append(f"{channel['refused']} refused")
    if channel.get("receipts"):
        said.append(f"no receipts: {channel['receipts']}")
    return "; ".join(said)


def _ago(at: float, now: float) -> str:
    seconds = max(0, int(now - at))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"
