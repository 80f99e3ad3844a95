"""Reactions: put one, take it back, and who put one."""

from __future__ import annotations

import re

from spoolbridge.emulator import coerce, refusals
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.objects import Channel, Message
from spoolbridge.emulator.permissions import ADD_REACTIONS, MANAGE_MESSAGES, READ_MESSAGE_HISTORY
from spoolbridge.emulator.render import user
from spoolbridge.emulator.routes import Call, Reply, Route

MAX_KINDS = 20  # different emoji a message
MAX_LENGTH = 16  # code points of one emoji: families and flags of parts of a country are the longest
OWN = re.compile(r"(?:a?:)?(\w{2,32}):(\d{15,20})", re.ASCII)


def emoji(guild: Guild, text: str) -> str:
    """The key of an emoji: itself, or `name:id` of the guild's own. A word is none: 10014."""
    own = OWN.fullmatch(text)
    if own is not None:
        found = guild.emojis.get(int(own[2]))
        if found is None:
            raise refusals.unknown_emoji()
        return found.key
    if text.isascii() or ":" in text or len(text) > MAX_LENGTH:
        raise refusals.unknown_emoji()
    return text


def check_kinds(message: Message, key: str) -> None:
    """Raises RefusalError 30010 where this emoji would be one kind too many."""
    if key not in message.reactions and len(message.reactions) >= MAX_KINDS:
        raise refusals.too_many_reactions()


def _target(call: Call) -> tuple[Channel, Message, str]:
    """What a reaction is about. Raises RefusalError 10008, 10014, 50013, 50083."""
    channel = call.channel(READ_MESSAGE_HISTORY)
    message = call.message(channel)
    key = emoji(call.guild, call.ids["emoji"])
    if channel.archived:
        raise refusals.thread_archived()
    return channel, message, key


def react(call: Call) -> Reply:
    """Create Reaction: 204, twice is once; needs history, and ADD_REACTIONS for a first emoji."""
    channel, message, key = _target(call)
    if key not in message.reactions and not call.guild.may(ADD_REACTIONS, channel):
        raise refusals.missing_permissions()
    check_kinds(message, key)
    call.guild.react(message, key, call.guild.bot)
    return Reply(status=204)


def unreact(call: Call) -> Reply:
    _, message, key = _target(call)
    call.guild.react(message, key, call.guild.bot, remove=True)
    return Reply(status=204)


def unreact_other(call: Call) -> Reply:
    """Delete User Reaction: needs MANAGE_MESSAGES."""
    channel, message, key = _target(call)
    if not call.guild.may(MANAGE_MESSAGES, channel):
        raise refusals.missing_permissions()
    who = call.guild.users.get(call.id("user"))
    if who is None:
        raise refusals.unknown_user()
    call.guild.react(message, key, who, remove=True)
    return Reply(status=204)


def reactors(call: Call) -> Reply:
    """Get Reactions: users by ascending id after `after`; nobody for `type` 1, the bursts."""
    channel = call.channel(READ_MESSAGE_HISTORY)
    limit = call.number("limit", default=25, least=1, most=100)
    after = coerce.snowflake("after", call.query.get("after", "0"))
    bursts = call.number("type", default=0, least=0, most=1)
    who = call.message(channel).reactions.get(emoji(call.guild, call.ids["emoji"]), ())
    chosen = [] if bursts else sorted(one for one in who if one > after)[:limit]
    return Reply([user(call.guild.users[one]) for one in chosen])


REACTION = "/channels/{channel}/messages/{message}/reactions/{emoji}"

ROUTES = (
    Route("PUT", REACTION + "/@me", react),
    Route("DELETE", REACTION + "/@me", unreact),
    Route("DELETE", REACTION + "/{user}", unreact_other),
    Route("GET", REACTION, reactors),
)
