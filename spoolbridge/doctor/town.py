"""A Gas Town: its `gt`, the channels' mailboxes, and the mail between agents and Discord."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from shlex import quote

from spoolbridge import status
from spoolbridge.channels import Registry
from spoolbridge.findings import Finding
from spoolbridge.mail import MAILBOXES, mailbox_of, without_mailbox
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool


def mail(spool: Spool) -> Iterator[Finding]:
    """What came of the mail between the town's agents and Discord, as the service tells it."""
    service = status.told(spool, status.read(spool))
    told = service.get("mail") or {}
    place = spool.root / "state" / "mail"
    if given_up := told.get("given_up"):
        what = f"{given_up} {'mail' if given_up == 1 else 'mails'} given up"
        do = f"read {place}/*.given-up.json, then remove them"
        yield Finding("warning", what, "no agent got them, though they are filed", do)
    if not service["running"]:
        return
    if (error := told.get("last_error")) and told.get("pending"):
        what = f"{told['pending']} pending for agents: {error}"
        do = "mend it; it is tried again for 24 h"
        yield Finding("warning", what, "they are filed, but not mailed", do)
    if error := told.get("mailbox_error"):
        why = "what agents mail to channels waits"
        yield Finding("warning", error, why, "mend it; it is tried again")


def examine(settings: Settings, known: Registry | None) -> Iterator[Finding]:
    if settings.gt != "auto" or not settings.town:
        return
    if not shutil.which("gt"):
        why = "messages are filed, but not mailed to agents"
        yield Finding("warning", "no gt on PATH", why, "install it, or set SPOOLBRIDGE_GT=off")
    channels = known.channels if known else ()
    for channel in channels:
        if mailbox_of(channel) is None:
            why = "what is mailed to the channel reaches the agent"
            do = "rename the channel on Discord and in the channels file"
            yield Finding("warning", without_mailbox(channel), why, do)
    with suppress(OSError):
        boxes = {each.name for each in (settings.town / MAILBOXES).iterdir() if each.is_dir()}
        for name in sorted(boxes - {mailbox_of(channel) for channel in channels}):
            why = "mail is accepted there, and read by nobody"
            place = quote(str(settings.town / MAILBOXES / name))
            do = f"rmdir {place}, or add the channel to the channels file"
            yield Finding("warning", f"discord/{name} is the mailbox of no channel", why, do)
