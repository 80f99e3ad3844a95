"""What is wrong, why it matters, and what mends it: findings, from files alone and from Discord.

Changes nothing. Each finding names a command or a toggle, for a finding that nobody can act on is
noise. The token is never in one.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from spoolbridge import access, channels, failures, findings, guild, ready, status
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import ChannelsError, SpoolbridgeError
from spoolbridge.findings import Finding
from spoolbridge.mail import MAILBOXES, mailbox_of, without_mailbox
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

_OLD_NAME = 60.0  # seconds after which an ignored name was probably meant as a message
_FEW_FREE = 64 * 1024 * 1024  # bytes
_AS_LISTED = "name it as `spoolbridge channels list` does, or see SPOOLBRIDGE_POLL"
#: What the service says of a channel, how bad that is, and why.
_SAID = (
    ("parked", "error", "its messages wait in outgoing/"),
    ("inbound", "error", "answers are not read"),
    ("receipts", "warning", "nobody sees there that a message was filed or read"),
)


def offline(settings: Settings) -> list[Finding]:
    """What the files tell, without a word to Discord."""
    found = [*_settings(settings), *_channels(settings)]
    try:
        spool = Spool(settings.spool)
    except SpoolbridgeError as error:
        return [*found, Finding("error", error.what, "nothing can be dropped or delivered", error.hint)]
    try:
        found += [*_service(spool), *_mail(spool), *_entries(spool), *_disk(spool), *_town(settings)]
        return list({each.what: each for each in found}.values())  # the service may have said so as well
    finally:
        spool.close()


async def online(settings: Settings) -> list[Finding]:
    """What Discord says: the token, the intents, every channel's permissions."""
    if not settings.token:
        return []
    try:
        async with DiscordClient(settings.token, api_url=settings.api_url) as client:
            return await _online(client, settings)
    except SpoolbridgeError as error:
        do = error.hint or "try again later"
        return [Finding("error", error.what, "nothing can be posted or read", do)]


def once(told: Sequence[Finding], asked: Sequence[Finding]) -> list[Finding]:
    """Both, `told` by the files and `asked` of Discord, without what the service only repeats."""
    said = {each.sentence for each in asked}
    return [*(each for each in told if each.what not in said), *asked]


def _settings(settings: Settings) -> Iterator[Finding]:
    if not settings.token:
        do = "put DISCORD_BOT_TOKEN=… into .env and: chmod 600 .env"
        yield Finding("error", "no bot token", "the service cannot log in", do)
    for directory in (Path.cwd(), *([settings.town / "settings"] if settings.town else [])):
        path = directory / ".env"
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            why = "whoever reads it can speak as the bot"
            yield Finding("warning", f"{path} can be read by others", why, f"chmod 600 {path}")


def _channels(settings: Settings) -> Iterator[Finding]:
    try:
        registry = channels.load(settings.channels)
    except ChannelsError as error:
        yield Finding("error", error.what, "no channel is known", error.hint or f"mend {settings.channels}")
        return
    if not registry.channels:
        what = f"no channel in {settings.channels}"
        yield Finding("error", what, "there is nowhere to post to", "spoolbridge channels sync")
    elif not any(findings.polled(each, settings.poll) for each in registry.channels):
        what = f"no channel matches {', '.join(settings.poll)}"
        do = "name one so, or set SPOOLBRIDGE_POLL"
        yield Finding("warning", what, "no answer of a human will be read", do)
    for title in access.strangers(settings.access, registry.channels, settings.poll):
        why = "whom it should keep out may reach the agents"
        yield Finding("warning", f"{title} names no channel that is read", why, _AS_LISTED)


def _service(spool: Spool) -> Iterator[Finding]:
    snapshot = status.snapshot(spool, status.read(spool))
    if not snapshot["running"]:
        why = "what is dropped waits, and nothing is read"
        yield Finding("warning", "the service does not run", why, "spoolbridge run")
        return
    for sentence in snapshot.get("findings") or []:
        yield Finding("warning", sentence, "the service says so", "mend it; the service looks again")
    if reason := (snapshot.get("discord") or {}).get("paused_because"):
        yield Finding("error", f"Discord is not asked: {reason}", "drops wait", "wait; it ends by itself")
    for name, channel in snapshot["channels"].items():
        for key, level, why in _SAID:
            if reason := channel.get(key):
                yield Finding(level, f"{name}: {reason}", why, "give the bot the permission it lacks")


def _mail(spool: Spool) -> Iterator[Finding]:
    """What came of the mail between the town's agents and Discord, as the service tells it."""
    snapshot = status.snapshot(spool, status.read(spool))
    mail = snapshot.get("mail") or {}
    place = spool.root / "state" / "mail"
    if given_up := mail.get("given_up"):
        what = f"{given_up} {'mail' if given_up == 1 else 'mails'} given up"
        do = f"read {place}/*.given-up.json, then remove them"
        yield Finding("warning", what, "no agent got them, though they are filed", do)
    if not snapshot["running"]:
        return
    if (error := mail.get("last_error")) and mail.get("pending"):
        what = f"{mail['pending']} pending for agents: {error}"
        do = "mend it; it is tried again for 24 h"
        yield Finding("warning", what, "they are filed, but not mailed", do)
    if error := mail.get("mailbox_error"):
        why = "what agents mail to channels waits"
        yield Finding("warning", error, why, "mend it; it is tried again")


def _entries(spool: Spool) -> Iterator[Finding]:
    failed = sum(1 for _ in failures.failures(spool))
    if failed:
        what = f"{failed} {'entry' if failed == 1 else 'entries'} in failed/"
        yield Finding("warning", what, "nobody got these messages", "spoolbridge failed list")
    for channel in spool.channels("outgoing"):
        place = spool.root / "outgoing" / channel
        if (place / ".hold").exists():
            yield Finding("note", f"{channel} is on hold", "its drops wait", f"rm {place / '.hold'}")
        for name in spool.names(f"outgoing/{channel}"):
            if name != ".hold" and _forgotten(place / name, name):
                why = "names like this are left to the program that writes them"
                yield Finding("note", f"{place / name} is ignored", why, "rename it if it is a message")


def _forgotten(path: Path, name: str) -> bool:
    try:
        is_bundle = path.is_dir() and name.endswith(ready.BUNDLE)
        strange = ready.ignored(name) or (path.is_dir() and not is_bundle)
        return strange and time.time() - path.lstat().st_ctime > _OLD_NAME
    except OSError:
        return False


def _disk(spool: Spool) -> Iterator[Finding]:
    free = os.fstatvfs(spool.fd)
    no_inodes = free.f_files and not free.f_favail
    if free.f_flag & os.ST_RDONLY:
        why = "nothing can be dropped, posted or filed"
        yield Finding("error", f"the disk of {spool.root} is read-only", why, "mount it read-write")
    elif no_inodes or free.f_bavail * free.f_frsize < _FEW_FREE:
        left = "no inodes" if no_inodes else f"{free.f_bavail * free.f_frsize >> 20} MiB"
        why = f"{left} left, and without room for the journal nothing is posted"
        yield Finding("error", f"the disk of {spool.root} is nearly full", why, "make room")
    if stat.S_IMODE(os.fstat(spool.fd).st_mode) & 0o002:
        why = "anybody on this machine can post and delete"
        yield Finding("warning", f"{spool.root} can be written by everybody", why, f"chmod o-w {spool.root}")


def _town(settings: Settings) -> Iterator[Finding]:
    if settings.gt != "auto" or not settings.town:
        return
    if not shutil.which("gt"):
        why = "messages are filed, but not mailed to agents"
        yield Finding("warning", "no gt on PATH", why, "install it, or set SPOOLBRIDGE_GT=off")
    known = _known(settings).channels
    for channel in known:
        if mailbox_of(channel) is None:
            why = "what is mailed to the channel reaches the agent"
            do = "rename the channel on Discord and in the channels file"
            yield Finding("warning", without_mailbox(channel), why, do)
    with suppress(OSError):
        boxes = {each.name for each in (settings.town / MAILBOXES).iterdir() if each.is_dir()}
        for name in sorted(boxes - {mailbox_of(channel) for channel in known}):
            why = "mail is accepted there, and read by nobody"
            do = f"rmdir {settings.town / MAILBOXES / name}, or add the channel to the channels file"
            yield Finding("warning", f"discord/{name} is the mailbox of no channel", why, do)


async def _online(client: DiscordClient, settings: Settings) -> list[Finding]:
    own_id = int((await client.me())["id"])
    guild_id = await guild.guild_id(client, settings)
    registry = _known(settings)
    return await findings.ask(
        client, lambda: registry, settings.poll,
        guild_id=guild_id, own_id=own_id, access=settings.access,
    )  # fmt: skip


def _known(settings: Settings) -> channels.Registry:
    """The channels of the file; none where it cannot be used, which is an offline finding."""
    try:
        return channels.load(settings.channels)
    except ChannelsError:
        return channels.Registry([])
