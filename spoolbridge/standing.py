"""How the bridge stands, for people: what STATUS holds and `spoolbridge status` prints.

Promises to fit the columns that it is given, and that what needs nobody takes one line however many channels
there are. Names are measured as a terminal shows them, for channels may be called in any script. Pure.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from spoolbridge.claim import one_line

TOLERABLE = 5.0  # seconds by which this clock and Discord's may differ
WIDTH = 80  # columns, of STATUS and of whatever is no terminal
_ALL_SHOWN = 10  # so many channels are shown whatever happens in them
_LATELY = 3600.0  # seconds for which a channel is shown after its last message
_NAMES_SHOWN = 400  # characters of quiet channels' names
_COLUMNS = (
    ("waiting", 9), ("oldest", 8), ("failed", 8), ("sent today", 12), ("last out", 10), ("last in", 9),
)  # fmt: skip
_NARROWEST = 12  # columns for a channel's name

Facts = Mapping[str, Any]


def render(snapshot: Facts, *, now: float, width: int = WIDTH) -> str:
    """The snapshot that `status.snapshot` makes; `now` in unix seconds, `width` in columns."""
    lines = [*_head(snapshot, now), "", *_table(snapshot["channels"], now, width)]
    for finding in snapshot.get("findings") or []:
        lines += ["", *_wrapped(f"! {one_line(finding)}", width, "  ")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _head(snapshot: Facts, now: float) -> Iterator[str]:
    yield _service(snapshot, now)
    disk = snapshot["disk"]
    inodes = f", {disk['free_inodes']} inodes" if (disk["free_inodes"] or 10**6) < 10_000 else ""
    yield f"spool     {one_line(snapshot['spool'])}, {size(disk['free_bytes'])}{inodes} free"
    if snapshot["running"]:
        yield f"discord   {one_line(_discord(snapshot.get('discord') or {}, now))}"
        yield f"gt mail   {one_line(_mail(snapshot.get('mail')))}"
    yield f"messages  {_messages(snapshot)}"
    if asks := snapshot["asks"]:
        yield f"asked     {asks} open {'question' if asks == 1 else 'questions'}"
    if snapshot["held"]:
        yield "on hold   everything; to go on: spoolbridge resume"


def _service(snapshot: Facts, now: float) -> str:
    if not snapshot["running"]:
        if pid := snapshot["held_by"]:
            return f"service   process {pid} holds the spool, and says nothing; see its log"
        return "service   not running; start it with: spoolbridge run"
    since = datetime.fromtimestamp(snapshot["since"]).astimezone().strftime("%Y-%m-%d %H:%M")
    return f"service   running, process {snapshot['pid']}, since {since} (looked {ago(snapshot['at'], now)})"


def _discord(discord: Facts, now: float) -> str:
    if discord.get("paused_because"):
        return f"paused: {discord['paused_because']}"
    answered, ahead = discord.get("answered_at"), discord.get("clock_ahead") or 0.0
    said = f"answered {ago(answered, now)}" if answered else "has not answered yet"
    if abs(ahead) > TOLERABLE:
        said += f"; this clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} its"
    return said


def _mail(mail: Facts | None) -> str:
    if mail is None:
        return "off"
    said = [f"{mail['pending']} pending", f"{mail['given_up']} given up"]
    if mail.get("possibly_twice"):
        said.append(f"{mail['possibly_twice']} possibly twice")
    if "mailboxes" in mail:  # else written by a service that had none
        said.append(f"{mail['dropped']} dropped from {mail['mailboxes']} mailboxes")
        said += [f"{mail['left_alone']} older left alone"] if mail.get("left_alone") else []
    problems = [mail[each] for each in ("last_error", "mailbox_error") if mail.get(each)]
    return "; ".join([", ".join(said), *problems])


def _messages(snapshot: Facts) -> str:
    totals, recent = snapshot["totals"], snapshot.get("recent")
    waiting = totals["waiting"] + totals["sending"]
    said = f"{waiting} waiting, {totals['failed']} failed, {totals['sent_today']} sent today"
    if snapshot["running"] and recent:
        minutes = f"{recent['seconds'] / 60:.0f} min"
        said += f"; in the last {minutes} {recent['sent']} out, {recent['filed']} in"
    return said


def _table(channels: Mapping[str, Facts], now: float, width: int) -> Iterator[str]:
    names = max(_NARROWEST, width - sum(columns for _, columns in _COLUMNS))
    shown = {name: each for name, each in channels.items() if not _is_quiet(each, now)}
    if len(channels) <= _ALL_SHOWN:
        shown = dict(channels)
    if shown:
        yield fit("channel", names) + "".join(f"{title:>{columns}}" for title, columns in _COLUMNS)
    for name, channel in shown.items():
        cells = zip(_cells(channel, now), _COLUMNS, strict=True)
        yield fit(one_line(name), names) + "".join(f"{cell:>{columns}}" for cell, (_, columns) in cells)
        if remark := one_line(remarks(channel, now)):
            yield from _wrapped(f"    {remark}", width, "    ")
    if quiet := [name for name in channels if name not in shown]:
        yield from _wrapped(_folded(quiet, others=bool(shown)), width, "  ")
    if not channels:
        yield "none yet: spoolbridge channels sync"


def _folded(quiet: Sequence[str], *, others: bool) -> str:
    told = [one_line(quiet[0])]
    for name in map(one_line, quiet[1:]):
        if sum(map(len, told)) + len(name) >= _NAMES_SHOWN:
            break
        told.append(name)
    rest = f" and {len(quiet) - len(told)} more" if len(quiet) > len(told) else ""
    count = f"{len(quiet)} quiet {'channel' if len(quiet) == 1 else 'channels'}"
    return f"{'and ' if others else ''}{count}: {', '.join(told)}{rest}"


def _is_quiet(channel: Facts, now: float) -> bool:
    """Nothing waits, failed or is wrong there, and nobody has said anything lately."""
    busy = channel["waiting"] or channel["sending"] or channel["failed"] or remarks(channel, now)
    last = max(channel.get("last_sent") or 0.0, channel.get("last_received") or 0.0)
    return not busy and now - last > _LATELY


def _cells(channel: Facts, now: float) -> tuple[str, ...]:
    waiting = channel["waiting"] + channel["sending"]
    times = [channel.get(each) for each in ("oldest", "last_sent", "last_received")]
    oldest, last_out, last_in = ("-" if at is None else age(now - at) for at in times)
    return str(waiting), oldest, str(channel["failed"]), str(channel["sent_today"]), last_out, last_in


def remarks(channel: Facts, now: float) -> str:
    """What there is to say of a channel besides figures."""
    said = []
    if channel.get("held"):
        said.append("on hold")
    if channel.get("parked"):
        said.append(f"parked: {channel['parked']}")
    if channel.get("next_try"):
        why = f": {channel['reason']}" if channel.get("reason") else ""
        said.append(f"next try in {age(channel['next_try'] - now)}{why}")
    if channel.get("disk"):
        said.append(f"waits for the disk: {channel['disk']}")
    if channel.get("inbound"):
        said.append(f"not read: {channel['inbound']}")
    if channel.get("refused"):
        said.append(f"{channel['refused']} refused")
    if channel.get("receipts"):
        said.append(f"no receipts: {channel['receipts']}")
    return "; ".join(said)


def age(seconds: float) -> str:
    """A length of time in the largest unit that says enough: 90 s, 45 min, 30 h, 12 d."""
    seconds = max(0, int(seconds))
    for unit, length, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds // length} {unit}"
    return f"{seconds // 86400} d"


def ago(at: float, now: float) -> str:
    return f"{age(now - at)} ago"


def size(count: int) -> str:
    """Bytes for people: 512 MiB, 77.1 GiB."""
    if count < 10 << 30:
        return f"{count >> 20} MiB"
    return f"{count / (1 << 30):.1f} GiB" if count < 1 << 40 else f"{count / (1 << 40):.1f} TiB"


def fit(text: str, columns: int) -> str:
    """The text in exactly so many columns of a terminal, cut with `…` and a blank behind it."""
    shown, used = "", 0
    room = columns - 1
    if sum(map(_breadth, text)) <= room:
        shown, used = text, sum(map(_breadth, text))
    else:
        for each in text:
            if used + _breadth(each) > room - 1:
                break
            shown, used = shown + each, used + _breadth(each)
        shown, used = f"{shown}…", used + 1
    return shown + " " * (columns - used)


def _breadth(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _wrapped(line: str, width: int, indent: str) -> list[str]:
    """At blanks alone, for paths are copied."""
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
