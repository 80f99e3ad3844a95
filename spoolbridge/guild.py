"""The guild and the channels file: which guild is ours, and adding what it has to the file.

Names on Discord are not unique and creation has no nonce, so whoever creates looks first: a channel
that was made by a call that died half-way is taken up and not made twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spoolbridge import backoff, channels
from spoolbridge.discord import permissions
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import ChannelsError, SettingsError, UnreachableError
from spoolbridge.settings import Settings

_TEXT, _ANNOUNCEMENT = 0, 5  # the channel types that a message can be posted to by name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Added:
    """A channel that the file has now; `made` is whether Discord had to make it."""

    name: str
    id: int
    made: bool


async def identify(client: DiscordClient, settings: Settings) -> tuple[int, int]:
    """The bot's id and its guild's, however long Discord takes to answer.

    Raises SettingsError, and a DiscordError that waiting does not mend.
    """
    began = time.monotonic()
    while True:
        try:
            bot, guild = int((await client.me())["id"]), await guild_id(client, settings)
            log.info("logged in as %d in guild %d", bot, guild)
            return bot, guild
        except UnreachableError as error:
            seconds = error.retry_after or backoff.delay(time.monotonic() - began)
            log.warning("Discord does not answer (%s); trying again in %.0f s", error.what, seconds)
            await asyncio.sleep(seconds)


async def guild_id(client: DiscordClient, settings: Settings) -> int:
    """The guild that is served: the setting, or the only one that the bot is in.

    Raises SettingsError with the ids to choose from, DiscordError.
    """
    if settings.guild_id is not None:
        return settings.guild_id
    guilds = await client.guilds()
    if len(guilds) == 1:
        return int(guilds[0]["id"])
    if not guilds:
        bot_id = int((await client.me())["id"])
        raise SettingsError("the bot is in no guild", f"invite it: {invitation(bot_id)}")
    ids = " or ".join(str(guild["id"]) for guild in guilds[:5])
    raise SettingsError(f"the bot is in {len(guilds)} guilds", f"set DISCORD_GUILD_ID to {ids}")


def invitation(application_id: int) -> str:
    """The address at which somebody with Manage Server invites the bot."""
    query = f"client_id={application_id}&scope=bot&permissions={permissions.BRIDGE}"
    return f"https://discord.com/oauth2/authorize?{query}"


async def create(
    client: DiscordClient, settings: Settings, name: str, *, rig: str | None, category: int | None
) -> Added:
    """Make the channel on Discord unless it is there, then put it into the file under its name there.

    Raises ChannelsError where the file has it already, DiscordError.
    """
    channels.check(name, rig)
    guild = await guild_id(client, settings)
    known = _known_ids(settings.channels)
    wanted = _normalised(name)
    _refuse_a_second(settings.channels, wanted, rig)
    for each in await client.guild_channels(guild):
        here = _normalised(str(each["name"])) == wanted and each["type"] in (_TEXT, _ANNOUNCEMENT)
        if here and int(each["id"]) not in known:
            channels.add(settings.channels, wanted, int(each["id"]), rig=rig)
            return Added(wanted, int(each["id"]), made=False)
        if here and rig is None:
            raise ChannelsError(f"{wanted!r} is in {settings.channels} already, with the id {each['id']}")
    made = await client.create_channel(guild, name, parent_id=category)
    channels.add(settings.channels, str(made["name"]), int(made["id"]), rig=rig)
    return Added(str(made["name"]), int(made["id"]), made=True)


async def text_channels(client: DiscordClient, settings: Settings) -> list[tuple[str, int]]:
    """Name and id of the guild's text channels that the bot sees."""
    found = await client.guild_channels(await guild_id(client, settings))
    return [(str(each["name"]), int(each["id"])) for each in found if _is_text(each)]


async def sync(
    client: DiscordClient, settings: Settings, *, only: Container[int] | None = None
) -> tuple[list[Added], list[str]]:
    """Add the guild's text channels that the file lacks, or `only` those with these ids; remove nothing.

    Returns what was added, and a sentence for each that could not be.
    """
    known = _known_ids(settings.channels)
    added, refused = [], []
    for name, channel_id in await text_channels(client, settings):
        if channel_id not in known and (only is None or channel_id in only):
            try:
                channels.add(settings.channels, name, channel_id)
                added.append(Added(name, channel_id, made=False))
            except ChannelsError as error:
                refused.append(str(error))
    if not added and not settings.channels.exists():
        channels.make(settings.channels)
    return added, refused


def _is_text(channel: Mapping[str, Any]) -> bool:
    return channel.get("type") in (_TEXT, _ANNOUNCEMENT)


def _known_ids(path: Path) -> set[int]:
    return {channel.id for channel in channels.load(path).channels} if path.exists() else set()


def _refuse_a_second(path: Path, name: str, rig: str | None) -> None:
    """Before Discord is asked to make a channel that the file could then not take."""
    for each in channels.load(path).channels if path.exists() else ():
        if (each.rig, _normalised(each.name)) == (rig, name):
            raise ChannelsError(f"{name!r} is in {path} already, with the id {each.id}")


def _normalised(name: str) -> str:
    """As Discord writes a text channel's name (discord-api-docs #1646)."""
    return "-".join(name.lower().split())
