"""What the guild says of its channels and threads without a look into any of them.

Two requests for a whole guild (`GET /guilds/{id}/channels`, `/threads/active`) carry every place's
`last_message_id`. How fresh that is, is not documented, and it may name a message that was deleted: a
hint. Archived threads are in neither; they are listed a channel at a time. Asks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spoolbridge.discord.client import DiscordClient, JsonObject

#: The channel types that have public threads: text, announcement, forum, media.
WITH_THREADS = frozenset({0, 5, 15, 16})


@dataclass(frozen=True)
class Thread:
    """A thread, the channel that it belongs to, and its last message's id, 0: none, None: not known."""

    id: int
    parent: int
    hint: int | None


@dataclass(frozen=True)
class Hints:
    """A guild at one moment: the last message's id by channel, the threads that are active, all names."""

    channels: Mapping[int, int]
    threads: Mapping[int, Thread]
    names: Mapping[int, str]
    #: The channels that can have threads.
    with_threads: frozenset[int]


async def ask(client: DiscordClient, guild_id: int) -> Hints:
    """Two requests. Raises DiscordError."""
    channels = await client.guild_channels(guild_id)
    threads = await client.active_threads(guild_id)
    return Hints(
        {number(each, "id"): number(each, "last_message_id") for each in channels},
        {number(each, "id"): thread(each) for each in threads},
        {number(each, "id"): str(each.get("name") or "") for each in [*channels, *threads]},
        frozenset(number(each, "id") for each in channels if each.get("type") in WITH_THREADS),
    )


async def archived(client: DiscordClient, channel_id: int, since: float) -> tuple[list[JsonObject], float]:
    """The channel's public threads that were archived at that time (unix seconds) or later.

    Also the latest time at which one was; `since` where there is none. Raises DiscordError: 50001 or
    50013 without Read Message History.
    """
    found: list[JsonObject] = []
    latest = since
    pages = client.archived_threads(channel_id)
    async with aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            for each in page:  # the last archived first
                at = _archived_at(each)
                if at is not None and at < since:
                    return found, latest
                found.append(each)
                latest = max(latest, at or latest)
    return found, latest


def _archived_at(thread: Mapping[str, Any]) -> float | None:
    """Unix seconds; None where it is not to be read: then the thread is looked into."""
    metadata = thread.get("thread_metadata")
    text = metadata.get("archive_timestamp") if isinstance(metadata, Mapping) else None
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def number(json: Mapping[str, Any], key: str) -> int:
    """A snowflake of Discord's, 0 where there is none."""
    value = json.get(key)
    return int(value) if isinstance(value, (str, int)) and str(value).isdigit() else 0


def thread(json: Mapping[str, Any]) -> Thread:
    """The thread in Discord's JSON."""
    return Thread(number(json, "id"), number(json, "parent_id"), number(json, "last_message_id"))
