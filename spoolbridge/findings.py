"""What is wrong on Discord's side, found out by asking, for Discord does not say it by itself.

Without the Message Content intent messages of humans arrive empty; without Read Message History every
channel looks empty; a channel that is hidden from the bot is left out of every list. Each is answered
with 200. So the application's flags are read and the permissions in each channel computed from roles and
overwrites, by four requests whatever the number of channels; each finding names the toggle to flip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol

from spoolbridge.channels import Channel, Registry
from spoolbridge.discord import permissions
from spoolbridge.discord.client import DiscordClient, JsonObject
from spoolbridge.errors import DiscordError, TokenRefusedError
from spoolbridge.incoming import is_human
from spoolbridge.settings import AccessTable
from spoolbridge.waiting import pause

EVERY = 600.0  # seconds between two inspections while all is well
AGAIN = 60.0  # and while something is wrong, so that what was mended is seen
LEAST = 20.0  # seconds between two inspections, however often there is an alarm

_NAMED = 4  # channels in one finding
_CONTENT_INTENT = 1 << 18 | 1 << 19  # GATEWAY_MESSAGE_CONTENT and its limited form (application flags)
_PORTAL = "Developer Portal, your application, Bot"
_WITHOUT_THE_INTENT = ("content", "embeds", "attachments", "components", "poll")
_WHATEVER_THE_INTENT = ("sticker_items", "message_snapshots")


@dataclass(frozen=True)
class Finding:
    """`level` is error (something does not work), warning (it soon may not) or note."""

    level: str
    what: str
    why: str
    do: str
    #: What `doctor --fix` does, where that can harm nothing; raises OSError.
    mend: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    @property
    def sentence(self) -> str:
        """All of it for one line of STATUS."""
        return f"{self.what}: {self.why}; {self.do}"

    def as_json(self) -> dict[str, str | bool]:
        """As `finding.schema.json` describes it."""
        told = {"level": self.level, "what": self.what, "why": self.why, "do": self.do}
        return {**told, "fixable": self.mend is not None}


async def ask(
    client: DiscordClient,
    registry: Callable[[], Registry],
    globs: Sequence[str],
    *,
    guild_id: int,
    own_id: int,
    access: Mapping[str, AccessTable],
) -> list[Finding]:
    """The findings as of now, by four requests. Raises DiscordError."""
    application = await client.application()
    member = await client.member(guild_id, own_id)
    roles = await client.roles(guild_id)
    seen = {int(each["id"]): each for each in await client.guild_channels(guild_id)}
    found = []
    if not int(application.get("flags") or 0) & _CONTENT_INTENT:
        do = f"switch on Message Content Intent: {_PORTAL}"
        found.append(
            Finding("error", "the Message Content intent is off", "messages of humans arrive empty", do)
        )
    found += _roles(access, {int(each["id"]) for each in roles})
    known = registry().channels
    for channel in known:
        needed = permissions.TO_SEND | (permissions.TO_POLL if polled(channel, globs) else 0)
        found += _channel(channel, seen.get(channel.id), needed, _Bot(guild_id, own_id, member, roles))
    return [*found, *_unknown(seen, {channel.id for channel in known}, globs)]


def _roles(access: Mapping[str, AccessTable], there: set[int]) -> Iterator[Finding]:
    for name, table in access.items():
        for role in sorted((table.roles or frozenset()) - there):
            title = f"[access.{name}]" if name else "[access]"
            what, why = f"{title} lists the role {role}, which the guild has not", "nobody is let in by it"
            yield Finding("warning", what, why, "copy its id in Discord: Server Settings, Roles")


def polled(channel: Channel, globs: Iterable[str]) -> bool:
    """Whether the bridge reads what humans write there."""
    return any(fnmatchcase(name, glob) for glob in globs for name in (channel.name, channel.address))


@dataclass(frozen=True)
class _Bot:
    guild_id: int
    id: int
    member: JsonObject
    roles: Sequence[JsonObject]

    def granted(self, channel: JsonObject) -> int:
        return permissions.channel_permissions(
            self.guild_id,
            [int(role) for role in self.member["roles"]],
            self.roles,
            channel.get("permission_overwrites", []),
            self.id,
            timed_out=_lies_ahead(self.member.get("communication_disabled_until")),
        )


def _channel(channel: Channel, seen: JsonObject | None, needed: int, bot: _Bot) -> Iterator[Finding]:
    if seen is None:  # since October 2026 Discord leaves out what the bot cannot view (docs #8454)
        what, why = f"{channel.address} is gone or hidden from the bot", "nothing can be posted there"
        do = "let the bot View Channel, or correct the id in the channels file"
        yield Finding("error", what, why, do)
    elif lacking := permissions.missing(bot.granted(seen), needed):
        what = f"{channel.address}: the bot lacks {', '.join(lacking)}"
        yield Finding("error", what, "messages fail or are not seen", "channel settings, Permissions")


def _unknown(seen: Mapping[int, JsonObject], known: set[int], globs: Iterable[str]) -> Iterator[Finding]:
    """One for all of them: a guild may have forty, and one command adds them."""
    there = [str(each.get("name")) for channel_id, each in seen.items() if channel_id not in known]
    names = [name for name in there if any(fnmatchcase(name, glob) for glob in globs)]
    if len(names) == 1:
        what, why = f"{names[0]} is not in the file", "its humans are not heard"
    else:
        named, more = ", ".join(names[:_NAMED]), len(names) - _NAMED
        shown = f"{named} and {more} more" if more > 0 else " and ".join(named.rsplit(", ", 1))
        what, why = f"{shown} are not in the file", "their humans are not heard"
    if names:
        yield Finding("warning", what, why, "spoolbridge channels sync")


def _lies_ahead(time: object) -> bool:
    try:
        return datetime.fromisoformat(str(time)) > datetime.now(UTC)
    except (ValueError, TypeError):
        return False


class Poll(Protocol):
    """What an inspection needs of the poller."""

    @property
    def emptied(self) -> frozenset[str]: ...
    def look_again(self) -> None: ...


class Inspection:
    """The findings of a running service: at once, now and then, and soon after an alarm."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[list[Finding]]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask, self._sleep = ask, sleep
        self._alarmed = asyncio.Event()
        self._poller: Poll | None = None
        self._asked: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """What Discord said when it was asked last, and what the poller has seen with its own eyes."""
        emptied = sorted(self._poller.emptied) if self._poller else []
        if not emptied or any("Message Content intent" in each.what for each in self._asked):
            return self._asked
        what = f"messages of humans arrive empty in {', '.join(emptied)}"
        do = f"switch Message Content Intent off and on again: {_PORTAL}"  # discord-api-docs #4552
        return [*self._asked, Finding("error", what, "although the intent is on", do)]

    def alarm(self) -> None:
        """Something happened that an inspection may explain."""
        self._alarmed.set()

    async def run(self, poller: Poll) -> None:
        """Inspection after inspection, for good. Raises TokenRefusedError."""
        self._poller = poller
        while True:
            self._alarmed.clear()
            await self.look()
            await self._sleep(LEAST)
            await pause((AGAIN if self.findings else EVERY) - LEAST, self._alarmed, sleep=self._sleep)

    async def look(self) -> None:
        """One inspection; what it finds mended is fetched at once. Raises TokenRefusedError."""
        try:
            found = await self._ask()
        except TokenRefusedError:
            raise
        except DiscordError:
            return  # whoever needs the answer says so: the poller and the dispatcher ask more often
        mended = set(self._asked) - set(found)
        self._asked = found
        if mended and self._poller:
            self._poller.look_again()


class Emptied:
    """The channels whose last human message came without its words. `alarm` is called for a new one."""

    def __init__(self, own_id: int, alarm: Callable[[], None]) -> None:
        self._own_id, self._alarm = own_id, alarm
        self._channels: set[str] = set()

    @property
    def channels(self) -> frozenset[str]:
        return frozenset(self._channels)

    def weigh(self, address: str, page: Iterable[Mapping[str, Any]]) -> None:
        """Look through a page, ascending: the last message that can tell decides."""
        humans = [each for each in page if is_human(each, self._own_id)]
        told = [each for each in (arrived_empty(json, self._own_id) for json in humans) if each is not None]
        if not told:
            return
        if not told[-1]:
            self._channels.discard(address)
        elif address not in self._channels:
            self._channels.add(address)
            self._alarm()


def arrived_empty(message: Mapping[str, Any], own_id: int) -> bool | None:
    """Whether a human's message came without what it must have held; None: this one cannot tell.

    Without the Message Content intent Discord leaves out text, embeds, files, components and polls, but
    not of messages that mention the bot, and not stickers and forwards.
    """
    mentions = message.get("mentions") or ()
    if any(str(each.get("id")) == str(own_id) for each in mentions if isinstance(each, Mapping)):
        return None
    if any(message.get(key) for key in _WHATEVER_THE_INTENT):
        return None
    return not any(message.get(key) for key in _WITHOUT_THE_INTENT)
