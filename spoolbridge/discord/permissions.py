"""What a member may do in a channel: Discord's permission arithmetic, and nothing else.

Takes roles and overwrites as Discord's REST answers hold them (`id` and the bit sets are strings of digits).
Promises: the order of the documentation (discord.com/developers/docs/topics/permissions): everyone, roles,
administrator, then the channel's overwrites for everyone, for roles, for the member. Must never ask Discord.

A thread has no overwrites of its own: pass its parent's, and `thread=True`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

ADMINISTRATOR = 1 << 3
MANAGE_CHANNELS = 1 << 4
ADD_REACTIONS = 1 << 6
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
SEND_TTS_MESSAGES = 1 << 12
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_MESSAGE_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
MANAGE_THREADS = 1 << 34
CREATE_PUBLIC_THREADS = 1 << 35
SEND_MESSAGES_IN_THREADS = 1 << 38

#: What a bridge that only writes needs, and what one that also reads needs.
TO_SEND = VIEW_CHANNEL | SEND_MESSAGES
TO_POLL = VIEW_CHANNEL | READ_MESSAGE_HISTORY
#: What an invitation should ask for: 309237763136.
BRIDGE = TO_SEND | TO_POLL | EMBED_LINKS | ATTACH_FILES | ADD_REACTIONS
BRIDGE |= SEND_MESSAGES_IN_THREADS | CREATE_PUBLIC_THREADS

#: Every bit; Discord adds permissions, and an owner has those of tomorrow too.
ALL = (1 << 64) - 1

#: All that is left to a member in a time-out.
_IN_TIMEOUT = VIEW_CHANNEL | READ_MESSAGE_HISTORY
#: Without the right to write these mean nothing.
_NEEDS_WRITING = MENTION_EVERYONE | EMBED_LINKS | ATTACH_FILES | SEND_TTS_MESSAGES

_OF_ROLE, _OF_MEMBER = 0, 1

#: As Discord's own settings call them.
NAMES: dict[int, str] = {
    ADMINISTRATOR: "Administrator",
    MANAGE_CHANNELS: "Manage Channels",
    ADD_REACTIONS: "Add Reactions",
    VIEW_CHANNEL: "View Channel",
    SEND_MESSAGES: "Send Messages",
    SEND_TTS_MESSAGES: "Send Text-to-Speech Messages",
    MANAGE_MESSAGES: "Manage Messages",
    EMBED_LINKS: "Embed Links",
    ATTACH_FILES: "Attach Files",
    READ_MESSAGE_HISTORY: "Read Message History",
    MENTION_EVERYONE: "Mention Everyone",
    MANAGE_THREADS: "Manage Threads",
    CREATE_PUBLIC_THREADS: "Create Public Threads",
    SEND_MESSAGES_IN_THREADS: "Send Messages in Threads",
}

Json = Mapping[str, Any]


def channel_permissions(
    guild_id: int,
    member_roles: Collection[int],
    guild_roles: Iterable[Json],
    overwrites: Iterable[Json],
    user_id: int,
    *,
    owner_id: int = 0,
    timed_out: bool = False,
    thread: bool = False,
) -> int:
    """The bits that this member has in this channel.

    `member_roles` are the ids in the member's `roles`, `guild_roles` the answer of GET roles, `overwrites`
    the channel's `permission_overwrites`. `timed_out`: `communication_disabled_until` lies ahead.
    """
    granted = guild_permissions(guild_id, member_roles, guild_roles)
    if user_id == owner_id or granted & ADMINISTRATOR:
        return ALL
    granted = _overwritten(granted, list(overwrites), guild_id, member_roles, user_id)
    if timed_out:
        granted &= _IN_TIMEOUT
    return _implied(granted, SEND_MESSAGES_IN_THREADS if thread else SEND_MESSAGES)


def guild_permissions(guild_id: int, member_roles: Collection[int], guild_roles: Iterable[Json]) -> int:
    """The bits of @everyone, whose role has the guild's id, and of every role that the member has."""
    granted = 0
    for role in guild_roles:
        if int(role["id"]) == guild_id or int(role["id"]) in member_roles:
            granted |= int(role["permissions"])
    return granted


def missing(permissions: int, needed: int) -> tuple[str, ...]:
    """The names of the needed bits that are not there, in the order of the bits."""
    absent = needed & ~permissions
    return tuple(_name(1 << bit) for bit in range(absent.bit_length()) if absent >> bit & 1)


def _name(bit: int) -> str:
    return NAMES.get(bit, f"permission {bit}")


def _overwritten(
    granted: int, overwrites: list[Json], guild_id: int, member_roles: Collection[int], user_id: int
) -> int:
    everyone = [each for each in overwrites if _is(each, _OF_ROLE, {guild_id})]
    roles = [each for each in overwrites if _is(each, _OF_ROLE, set(member_roles) - {guild_id})]
    member = [each for each in overwrites if _is(each, _OF_MEMBER, {user_id})]
    for step in (everyone, roles, member):
        # Within one step every denial comes first: one role that allows outweighs all that deny.
        granted &= ~_union(step, "deny")
        granted |= _union(step, "allow")
    return granted


def _is(overwrite: Json, kind: int, ids: Collection[int]) -> bool:
    return int(overwrite["type"]) == kind and int(overwrite["id"]) in ids


def _union(overwrites: Iterable[Json], field: str) -> int:
    bits = 0
    for overwrite in overwrites:
        bits |= int(overwrite[field])
    return bits


def _implied(granted: int, writing: int) -> int:
    if not granted & VIEW_CHANNEL:
        return 0
    return granted if granted & writing else granted & ~_NEEDS_WRITING
