"""Where the bridge posts and reads, as Discord has it now: channels, threads, and what is written there.

Promises that a history is either read whole or called closed with its reason: without the right to
read it Discord answers with an empty page and does not say so. Asks, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property

from spoolbridge import guild
from spoolbridge.channels import Channel, Registry
from spoolbridge.discord import permissions
from spoolbridge.discord.client import DiscordClient, JsonObject
from spoolbridge.discord.codes import UNKNOWN_CHANNEL
from spoolbridge.errors import ChannelClosedError, RefusedError
from spoolbridge.hints import WITH_THREADS, archived
from spoolbridge.settings import Settings

THREADS = (10, 11, 12)  # the channel types of an announcement, a public and a private thread
_AT_ONCE = 4  # histories read at the same time


@dataclass(frozen=True)
class Place:
    """A channel or a thread. `channel` is the one whose directories it uses, a thread's parent."""

    id: int
    channel: Channel
    polled: bool
    #: Why its history cannot be read; empty: it can.
    closed: str = ""
    #: It was deleted, with all that was in it.
    gone: bool = False
    #: What is written there, ascending by id, from where it was read.
    messages: tuple[JsonObject, ...] = field(default=(), repr=False, compare=False)

    @cached_property
    def ids(self) -> frozenset[int]:
        """The messages' ids."""
        return frozenset(int(each["id"]) for each in self.messages)

    @property
    def own(self) -> Channel:
        """The channel as the deliveries know it: a thread has an id of its own and its parent's names."""
        return self.channel._replace(id=self.id)

    def __str__(self) -> str:
        address = self.channel.address
        return address if self.id == self.channel.id else f"{address} (thread {self.id})"


class Guild:
    """One guild and the channels file, as of one moment. Use `survey` to make it."""

    def __init__(
        self, client: DiscordClient, registry: Registry, globs: Sequence[str], *, guild_id: int, own_id: int,
        member: JsonObject, roles: list[JsonObject], channels: list[JsonObject], threads: list[JsonObject],
    ) -> None:  # fmt: skip
        self.id, self.own_id = guild_id, own_id
        self._client = client
        #: By id; of several names for one channel the first counts.
        self._registered = {channel.id: channel for channel in reversed(registry.channels)}
        self._globs = globs
        self._member, self._roles = member, roles
        self._channels = {int(each["id"]): each for each in channels}
        self._threads = {int(each["id"]): each for each in threads}

    @property
    def names(self) -> dict[int, str]:
        """Names of channels, threads and roles by id."""
        roles = {int(each["id"]): each for each in self._roles}
        named = {**roles, **self._channels, **self._threads}
        return {key: str(each.get("name") or "") for key, each in named.items()}

    async def list_archived(self, since: float) -> None:
        """Add the threads of polled channels that were archived since then (unix seconds): no list has them.

        What cannot be listed is left out: `places` calls such a channel closed. Raises DiscordError.
        """
        for channel in self._registered.values():
            json = self._channels.get(channel.id, {})
            if self._polls(channel) and json.get("type") in WITH_THREADS:
                with suppress(ChannelClosedError, RefusedError):
                    threads, _ = await archived(self._client, channel.id, since)
                    self._threads = {int(each["id"]): each for each in threads} | self._threads

    async def places(self, more: Collection[int]) -> dict[int, Place]:
        """Every channel of the file, their listed threads, and the channels or threads of the ids `more`."""
        active = [key for key, each in self._threads.items() if _parent(each) in self._registered]
        found: dict[int, Place] = {}
        for place_id in [*reversed(self._registered), *active, *more]:
            if place_id not in found:
                found[place_id] = await self._place(place_id)
        return found

    async def _place(self, place_id: int) -> Place:
        try:
            json = self._threads.get(place_id) or await self._channel(place_id)
            is_thread = json.get("type") in THREADS
            parent = await self._channel(_parent(json)) if is_thread else json
        except (ChannelClosedError, RefusedError) as error:
            channel = self._registered.get(place_id) or Channel(str(place_id), place_id, None, str(place_id))
            gone = error.code == UNKNOWN_CHANNEL
            return Place(place_id, channel, self._polls(channel), closed=error.what, gone=gone)
        channel_id = int(parent["id"])
        name = str(parent.get("name") or channel_id)
        known = self._registered.get(place_id) or self._registered.get(channel_id)
        channel = known or Channel(name, channel_id, None, name)
        lacking = permissions.missing(self._granted(parent), permissions.TO_POLL)
        closed = f"the bot lacks {', '.join(lacking)}" if lacking else ""
        return Place(place_id, channel, self._polls(channel), closed=closed)

    async def _channel(self, channel_id: int) -> JsonObject:
        """Raises ChannelClosedError where it is hidden or gone."""
        if channel_id not in self._channels:
            self._channels[channel_id] = await self._client.channel(channel_id)
        return self._channels[channel_id]

    def _granted(self, channel: JsonObject) -> int:
        roles = [int(role) for role in self._member["roles"]]
        overwrites = channel.get("permission_overwrites", [])
        return permissions.channel_permissions(self.id, roles, self._roles, overwrites, self.own_id)

    def _polls(self, channel: Channel) -> bool:
        names = {channel.name, channel.address}
        known = channel.id in self._registered
        return known and any(fnmatchcase(name, glob) for glob in self._globs for name in names)

    async def read(self, places: Iterable[Place], starts: Mapping[int, int]) -> dict[int, Place]:
        """The places, each with its messages behind an id. A refusal closes it; other errors are raised."""
        doors = asyncio.Semaphore(_AT_ONCE)

        async def reading(place: Place) -> Place:
            async with doors:
                return place if place.closed else await self._read(place, starts[place.id])

        found = await asyncio.gather(*map(reading, places), return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return {place.id: place for place in found if isinstance(place, Place)}

    async def _read(self, place: Place, after: int) -> Place:
        messages: list[JsonObject] = []
        try:
            async for page in self._client.messages_since(place.id, after):
                messages += page
        except (ChannelClosedError, RefusedError) as error:
            return replace(place, closed=error.what, gone=error.code == UNKNOWN_CHANNEL)
        return replace(place, messages=tuple(messages))


async def survey(client: DiscordClient, settings: Settings, registry: Registry) -> Guild:
    """The guild as it is now. Raises DiscordError, SettingsError."""
    guild_id = await guild.guild_id(client, settings)
    own_id = int((await client.me())["id"])
    return Guild(
        client, registry, settings.poll,
        guild_id=guild_id, own_id=own_id,
        member=await client.member(guild_id, own_id),
        roles=await client.roles(guild_id),
        channels=await client.guild_channels(guild_id),
        threads=await client.active_threads(guild_id),
    )  # fmt: skip


def _parent(thread: JsonObject) -> int:
    return int(thread.get("parent_id") or 0)
