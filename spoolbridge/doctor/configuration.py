"""The token's place, the channels file, the tables of spoolbridge.toml. The token is shown to nobody."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shlex import quote

from spoolbridge import access, channels, findings
from spoolbridge.errors import ChannelsError
from spoolbridge.findings import Finding
from spoolbridge.settings import Settings

_AS_LISTED = "name it as `spoolbridge channels list` does, or see SPOOLBRIDGE_POLL"


def examine(settings: Settings, *, served: bool) -> Iterator[Finding]:
    """`served`: a service runs, so that it has a token, whether or not this user may see it."""
    if not settings.token and served:
        why, do = "Discord was not asked; the service that runs has one", "say it as the service's user"
        yield Finding("note", "no bot token for this user", why, do)
    elif not settings.token:
        do = "spoolbridge init asks for it; or put DISCORD_BOT_TOKEN=… into .env and: chmod 600 .env"
        yield Finding("error", "no bot token", "the service cannot log in", do)
    for directory in (Path.cwd(), *([settings.town / "settings"] if settings.town else [])):
        path = directory / ".env"
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            why, do = "whoever reads it can speak as the bot", f"chmod 600 {quote(str(path))}"
            mend = partial(_close, path) if _is_its_own(path) else None
            yield Finding("warning", f"{path} can be read by others", why, do, mend=mend)
    yield from _channels(settings)


def _is_its_own(path: Path) -> bool:
    """Whether nothing but a token's file can be meant: no link to another, by which anything could be."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _close(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


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


def known(settings: Settings) -> channels.Registry | None:
    """The channels of the file; None where it cannot be used, which is a finding of its own."""
    try:
        return channels.load(settings.channels)
    except ChannelsError:
        return None
