"""Reading a channel back: is the message that we may have posted there?

Asked only where a try's outcome is unknown and Discord's nonce no longer protects from posting twice.
History knows no nonce (discord.py #2451), so a message is ours by author, text and files, and by
an id that the journal gives to nothing else: an equal text dropped twice stays two messages, and so do
two equal parts of one text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spoolbridge.discord import permissions
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import RefusedError
from spoolbridge.journal import Journal, PartHistory
from spoolbridge.outgoing import Part
from spoolbridge.waiting import in_thread

#: Seconds before the first try from which the channel is read: so far may our clock have been ahead of theirs
#: without anybody's knowing.
MARGIN = 60.0
_EPOCH = 1420070400.0  # seconds; Discord's snowflakes count from 2015


@dataclass(frozen=True)
class Found:
    message_id: int


@dataclass(frozen=True)
class Absent:
    """It is not there, and the bridge would have seen it."""


@dataclass(frozen=True)
class Undecided:
    """Nothing was found, but what was looked at need not be all there is."""

    reason: str


@dataclass(frozen=True)
class Bot:
    """Who we are on Discord, and where."""

    id: int
    guild_id: int


async def read_back(
    client: DiscordClient, journal: Journal, bot: Bot, channel_id: int, part: PartHistory
) -> Found | Absent | Undecided:
    """Look for a part since a minute before its first unresolved try. Raises DiscordError."""
    assert part.unresolved is not None
    since = part.unresolved - MARGIN
    anything = False
    # Where our clock was behind, Discord's ids are later ones, which are read as well.
    async for page in client.messages_since(channel_id, snowflake(since - max(0.0, part.ahead))):
        anything = True
        for message in page:
            if _is_ours(message, bot.id, part):
                owner = await in_thread(journal.owner, int(message["id"]), since=since)
                if owner is None:
                    return Found(int(message["id"]))
    if anything or await _may_read_history(client, bot, channel_id):
        return Absent()
    return Undecided("the bot may not read this channel's history, so it cannot be seen whether it arrived")


def snowflake(at: float) -> int:
    """The smallest id of that unix time."""
    return max(0, int((at - _EPOCH) * 1000)) << 22


def _is_ours(message: Mapping[str, Any], own_id: int, part: PartHistory) -> bool:
    # Not by the files' names: Discord cleanses them (discord-api-docs #7754) and replaces some (#6945).
    sizes = [each.get("size") for each in message.get("attachments", [])]
    return (
        message["author"]["id"] == str(own_id)
        and Part(message.get("content", "")).digest == part.digest
        and sizes == [size for _, size in part.files]
    )


async def _may_read_history(client: DiscordClient, bot: Bot, channel_id: int) -> bool:
    """An empty page counts only with the right to read history: without it Discord answers 200 `[]`."""
    channel = await client.channel(channel_id)
    if "guild_id" not in channel:
        return True
    guild_id = int(channel["guild_id"])
    if "thread_metadata" in channel:
        channel = await client.channel(int(channel["parent_id"]))
    try:
        member = await client.member(guild_id, bot.id)
        roles = await client.roles(guild_id)
    except RefusedError:
        return False
    granted = permissions.channel_permissions(
        guild_id,
        [int(role) for role in member["roles"]],
        roles,
        channel.get("permission_overwrites", []),
        bot.id,
    )
    return not permissions.missing(granted, permissions.TO_POLL)
