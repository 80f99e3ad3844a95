"""What failed for good is mailed to who sent it: the reason, and where the entry and its `.why` lie.

Looks at `failed/`, whoever put the entry there, and owes one mail for each entry (`GtMail.owe`), which
remembers that until the entry is gone. The address is one that is known: the mail's sender where the entry
came by mail, else who gets the channel's mail, else the witness of the rig, where the town has one. Where
none is known nobody is told: gt would bring a mail to a made-up address and say that all is well.

What failed before this spool first served the town is nobody's news.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from spoolbridge import atomic, failures, header
from spoolbridge.channels import Channel, Registry
from spoolbridge.errors import ChannelsError
from spoolbridge.failures import Failure
from spoolbridge.identity import WHY
from spoolbridge.mail import Mail, address_of, in_a_prompt, is_address, mailbox_of, sender_of
from spoolbridge.rendering import one_line
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread

EVERY = 5.0  # seconds between two looks
_SWEEP = 24 * 3600.0  # seconds between two looks for what need not be remembered any more
_NOBODY = "discord/spoolbridge"  # the sender where the entry names no channel
_RIG = re.compile(r"[A-Za-z0-9]\w{0,99}", re.ASCII)  # a rig's name is a directory's in the town
_LONGEST_LINE = 1000  # characters
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

log = logging.getLogger(__name__)


class Owing(Protocol):
    """Who sends the mails, and remembers which entries they told of."""

    def owe(self, mail: Mail) -> bool: ...
    def told(self) -> list[str]: ...
    def forget(self, entry_id: str) -> None: ...


class Notices:
    """The looks at `failed/` of a spool that serves the town at `root`."""

    def __init__(
        self, spool: Spool, registry: Callable[[], Registry], mail: Owing, root: Path, *, since: float,
        routes: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._spool, self._registry, self._mail, self._root = spool, registry, mail, root
        self._since, self._routes = since, routes or {}
        self._clock, self._sleep = clock, sleep
        self._known: set[tuple[str, str]] = set()
        self._swept: float | None = None

    async def work(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                await in_thread(self.look)
            except OSError as error:
                log.warning("failed/ cannot be looked at: %s", error.strerror or error)
            await self._sleep(EVERY)

    def look(self) -> int:
        """Owe a mail for what has failed since the last look. Returns for how many entries."""
        if self._swept is None or self._clock() - self._swept > _SWEEP:
            self._swept = self._clock()
            self._forget()
        seen, owed = set(), 0
        for channel in ("", *self._spool.channels("failed")):
            # Before they are opened: what comes in between is new to the next look as well.
            seen |= {(channel, name) for name in self._spool.names(f"failed/{channel}".rstrip("/"))}
            for failure in failures.failures(self._spool, channel, but=self._known):
                owed += self._tell(failure)
        self._known = seen
        return owed

    def _forget(self) -> None:
        """What was sent at last, or is nowhere any more, cannot fail again under its ID."""
        for entry_id in self._mail.told():
            entry = self._spool.find(entry_id)
            if entry is None or entry.state == "sent":
                self._mail.forget(entry_id)

    def _tell(self, failure: Failure) -> bool:
        said = _headers(failure.path)
        channel = self._channel(failure)
        to = self._address(said, channel)
        if to is None or self._failed_at(failure) < self._since:
            return False
        mail = compose(failure, said, to, channel, now=self._clock())
        owed = self._mail.owe(mail)
        if owed:
            log.info("%s failed, and %s is told", failure.name, to)
        return owed

    def _failed_at(self, failure: Failure) -> float:
        for path in (Path(f"{failure.path}{WHY}"), failure.path):
            with suppress(OSError):
                return path.lstat().st_mtime
        return 0.0  # it has been moved meanwhile

    def _channel(self, failure: Failure) -> Channel | None:
        with suppress(ChannelsError):
            return self._registry().resolve(failure.channel)
        return None

    def _address(self, said: Mapping[str, str], channel: Channel | None) -> str | None:
        sender = said.get("x-mail-from", "")
        if is_address(sender) and not sender.startswith("discord/"):  # no mail of ours begets another
            return sender
        if channel is not None and (to := address_of(channel, self._routes)):
            return to
        rig = said.get("rig") or (channel.rig if channel else None) or ""
        with suppress(OSError):
            if _RIG.fullmatch(rig) and (self._root / rig / "witness").is_dir():
                return f"{rig}/witness"
        return None


def compose(
    failure: Failure, said: Mapping[str, str], to: str, channel: Channel | None, *, now: float
) -> Mail:
    """The mail about a failed entry; `now` in unix seconds."""
    place = f"#{failure.channel}" if failure.channel else "(no channel)"
    reason = failure.reason or "no reason is given"
    lines = [f"A message for Discord {place} failed: {reason}.", ""]
    if said.get("x-mail-id") and said.get("x-mail-from") == to:
        lines.append(f"It was your mail {said['x-mail-id']}.")
    lines.append(f"It is kept as {failure.path}")
    lines.append(f"Why, and the command that retries it: {failure.path}{WHY}")
    if channel is not None and mailbox_of(channel):
        lines.append(f"What you answer to this mail (gt mail reply) is posted in {place}.")
    mail = Mail(
        message_id=0, polled_id=0, channel=failure.channel, to=to,
        sender=sender_of(channel) if channel else _NOBODY,
        subject=in_a_prompt(f"Discord {place}: not posted ({reason})"),
        body="", since=now, entry=failure.id,
    )  # fmt: skip
    told = [one_line(each, _LONGEST_LINE) for each in lines]
    return replace(mail, body="\n".join([*told, "", "-- ", mail.marker, ""]))


def _headers(path: Path) -> dict[str, str]:
    """Key in lower case → value, of the options of a lone file or of a bundle's body.

    Read leniently: what is wrong with them may be why the entry failed.
    """
    found: dict[str, str] = {}
    lines = _beginning(path).split("\n")
    if lines[0] == header.MAGIC:
        for line in _until_empty(lines[1:]):
            key, _, value = line.partition(":")
            found.setdefault(key.strip().lower(), value.strip())
    return found


def _until_empty(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line:
            return
        yield line


def _beginning(path: Path) -> str:
    """The first bytes of what was dropped, as text; nothing of what is neither a file nor a bundle."""
    try:
        with atomic.directory(path.parent) as at:
            fd = os.open(path.name, _OPEN, dir_fd=at)
    except OSError:
        return ""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            return _beginning(path / "body") if path.name != "body" else ""
        data = atomic.read_bounded(fd, header.LONGEST) if stat.S_ISREG(mode) else b""
        return data.decode("utf-8", "replace")
    finally:
        os.close(fd)
