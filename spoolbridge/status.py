"""How the bridge stands: `state/status.json` for programs, `state/STATUS` for `cat`.

The service adds what only it knows; what lies in the directories is counted afresh by whoever looks,
so that the counts are right even where no service runs. Holds no message's text and no token.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from spoolbridge import atomic
from spoolbridge.spool import HOLD, Spool

FILE = "status.json"
TEXT = "STATUS"
EVERY = 5.0  # seconds between two writings while nothing changes
_STALE = 4 * EVERY  # seconds after which what was written says nothing about now

Facts = dict[str, Any]


def write(spool: Spool, facts: Facts) -> None:
    """Replace both files, each whole. A full disk is told in the log by whoever calls (OSError)."""
    with spool.at("state") as state:
        atomic.replace(FILE, json.dumps(facts, indent=1).encode(), at=state, durable=False)
        text = render(snapshot(spool, facts), now=facts["at"])
        atomic.replace(TEXT, text.encode("utf-8", "replace"), at=state, durable=False)


def read(spool: Spool) -> Facts | None:
    """What the service wrote last; None: no service ever ran here, or its file cannot be read."""
    with suppress(OSError, ValueError), (spool.root / "state" / FILE).open("rb") as file:
        facts = json.load(file)
        if isinstance(facts, dict):
            return facts
    return None


def snapshot(spool: Spool, facts: Mapping[str, Any] | None, *, now: float | None = None) -> Facts:
    """Facts and counts as one object: what `status --json` prints.

    `running` is whether the facts are of now. `channels` maps each channel to its counts (`waiting`,
    `sending`, `failed`, `sent_today`), whether it is `held`, and what the service said of it.
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
    running = now - known.get("at", 0) < _STALE and not known.get("stopped", False)
    return {**known, "running": running, "spool": str(spool.root), "channels": channels}


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
        lines.append(f"{name:<28}{counts}  {_remark(channel, now)}".rstrip())
    if not snapshot["channels"]:
        lines.append("none yet: spoolbridge channels sync")
    for finding in snapshot.get("findings") or []:
        lines.append(f"\n! {finding}")
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
    return ", ".join(said) + (f"; {mail['last_error']}" if mail.get("last_error") else "")


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
    return "; ".join(said)


def _ago(at: float, now: float) -> str:
    seconds = max(0, int(now - at))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"
