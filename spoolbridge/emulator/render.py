"""The guild's nouns as the JSON of Discord's API v10. Ids are strings; nothing here changes state."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from spoolbridge.emulator import objects
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.objects import Attachment, Channel, Emoji, Message, Reference, Role, User
from spoolbridge.emulator.snowflake import iso, seconds_of

URL_LIFE = 86400  # seconds for which the link to a file is good, about what Discord gives
SIGNING_KEY = b"the emulator signs links so that expiry can be tested, not to keep a secret"

WAVEFORM = "AAAA"  # three samples of silence, in base64

JSON = dict[str, Any]


def user(who: User) -> JSON:
    shown: JSON = {
        "id": str(who.id),
        "username": who.username,
        "avatar": None,
        "discriminator": "4242" if who.bot else "0",
        "public_flags": 0,
        "flags": 0,
        "global_name": who.global_name,
        "primary_guild": None,
    }
    if who.bot:
        shown["bot"] = True
    if who.system:
        shown["system"] = True
    return shown


def role(shown: Role) -> JSON:
    body: JSON = {
        "id": str(shown.id),
        "name": shown.name,
        "description": None,
        "permissions": str(shown.permissions),
        "position": shown.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": shown.bot_id is not None,
        "mentionable": shown.mentionable,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }
    if shown.bot_id is not None:
        body["tags"] = {"bot_id": str(shown.bot_id)}
    return body


def emoji(shown: Emoji) -> JSON:
    return {
        "id": str(shown.id),
        "name": shown.name,
        "roles": [],
        "require_colons": True,
        "managed": False,
        "animated": False,
        "available": True,
    }


def member(guild: Guild, who: User) -> JSON:
    return {
        "user": user(who),
        "nick": guild.nicks.get(who.id),
        "avatar": None,
        "banner": None,
        "roles": [str(held) for held in sorted(guild.member_roles.get(who.id, ()))],
        "joined_at": iso(seconds_of(who.id)),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }


def channel(guild: Guild, shown: Channel) -> JSON:
    if shown.is_thread:
        return thread(guild, shown)
    body: JSON = {
        "id": str(shown.id),
        "type": shown.type,
        "guild_id": str(guild.id),
        "name": shown.name,
        "position": shown.position,
        "parent_id": _text(shown.parent_id),
        "flags": (1 << 4) if shown.require_tag else 0,
        "permission_overwrites": [
            {"id": str(o.id), "type": o.type, "allow": str(o.allow), "deny": str(o.deny)}
            for o in shown.overwrites
        ],
    }
    if shown.type != objects.CATEGORY:
        body |= {
            "last_message_id": _text(shown.last_message_id),
            "topic": shown.topic,
            "nsfw": False,
            "rate_limit_per_user": 0,
        }
    if shown.type in (objects.VOICE, objects.STAGE):
        body |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
    if shown.type in (objects.FORUM, objects.MEDIA):
        body |= {"available_tags": [], "default_reaction_emoji": None, "default_sort_order": None}
    return body


def thread(guild: Guild, shown: Channel) -> JSON:
    # Neither the line about where it began nor a post's first message counts.
    inside = [m for m in guild.history(shown.id) if m.type != objects.THREAD_STARTER and m.id != shown.id]
    count = len(inside)
    return {
        "id": str(shown.id),
        "type": shown.type,
        "guild_id": str(guild.id),
        "name": shown.name,
        "parent_id": _text(shown.parent_id),
        "owner_id": _text(shown.owner_id),
        "last_message_id": _text(shown.last_message_id),
        "message_count": count,
        "total_message_sent": count,
        "member_count": len(shown.members),
        "rate_limit_per_user": 0,
        "flags": 0,
        "applied_tags": [str(tag) for tag in shown.applied_tags],
        "thread_metadata": {
            "archived": shown.archived,
            "archive_timestamp": iso(shown.changed_at, digits=6),
            "auto_archive_duration": shown.auto_archive,
            "locked": shown.locked,
            "create_timestamp": iso(seconds_of(shown.id)),
        },
    }


@dataclass(frozen=True)
class Viewer:
    """For whom messages are shown: whose `me` a reaction is, and where the links to files begin."""

    guild: Guild
    url: str = ""
    blanking: bool = True

    def message(self, shown: Message, *, nonce: object = None, referenced: bool = True) -> JSON:
        """A message object. `nonce` is shown only where it is given: it is not stored."""
        guild = self.guild
        hidden = self.blanking and self._is_hidden(shown)
        body: JSON = {
            "id": str(shown.id),
            "channel_id": str(shown.channel_id),
            "type": shown.type,
            "author": user(shown.author),
            "content": "" if hidden else shown.content,
            "timestamp": iso(shown.created_at),
            "edited_timestamp": None if shown.edited_at is None else iso(shown.edited_at),
            "tts": shown.tts,
            "mention_everyone": shown.mention_everyone,
            "mentions": [user(guild.users[who]) for who in shown.mentions],
            "mention_roles": [str(held) for held in shown.mention_roles],
            "attachments": [] if hidden else [self.attachment(shown, one) for one in shown.attachments],
            "embeds": [] if hidden else [dict(embed) for embed in shown.embeds],
            "components": [],
            "pinned": False,
            "flags": shown.flags,
        }
        body |= {key: value for key, value in shown.extra.items() if not (hidden and key == "poll")}
        return body | self._optional(shown, nonce, referenced)

    def _optional(self, shown: Message, nonce: object, referenced: bool) -> JSON:
        """The keys that are there only where they say something."""
        body: JSON = {}
        if shown.reactions:
            body["reactions"] = [self._reaction(emoji, who) for emoji, who in shown.reactions.items()]
        if shown.webhook_id is not None:
            body["webhook_id"] = str(shown.webhook_id)
        if nonce is not None:
            body["nonce"] = nonce
        started = self.guild.by_id.get(shown.id)
        if started is not None and started.parent_id == shown.channel_id:
            body["thread"] = thread(self.guild, started)
        if shown.reference is not None:
            body |= self._reference(shown, shown.reference, referenced)
        return body

    def attachment(self, of: Message, shown: Attachment) -> JSON:
        link = signed(self.url, of.channel_id, shown, self.guild.clock())
        body: JSON = {
            "id": str(shown.id),
            "filename": shown.filename,
            "size": len(shown.data),
            "url": link,
            "proxy_url": link,
        }
        if shown.content_type is not None:
            body["content_type"] = shown.content_type
        if shown.description is not None:
            body["description"] = shown.description
        if shown.dots is not None:
            body |= {"width": shown.dots[0], "height": shown.dots[1]}
        if shown.duration is not None:
            body |= {"duration_secs": shown.duration, "waveform": WAVEFORM}
        return body

    def _is_hidden(self, shown: Message) -> bool:
        """Whether the Message Content intent's absence blanks it: not the bot's own, nor what mentions it."""
        bot = self.guild.bot.id
        return not self.guild.message_content and shown.author.id != bot and bot not in shown.mentions

    def _reaction(self, key: str, who: tuple[int, ...]) -> JSON:
        name, _, own = key.partition(":")
        return {
            "emoji": {"id": own or None, "name": name},
            "count": len(who),
            "count_details": {"normal": len(who), "burst": 0},
            "burst_colors": [],
            "me": self.guild.bot.id in who,
            "me_burst": False,
            "burst_me": False,
            "burst_count": 0,
        }

    def _reference(self, shown: Message, to: Reference, referenced: bool) -> JSON:
        body: JSON = {
            "message_reference": {
                "type": to.type,
                "channel_id": str(to.channel_id),
                "guild_id": str(self.guild.id),
                **({} if to.message_id is None else {"message_id": str(to.message_id)}),
            }
        }
        # Replies carry the original, one level deep: null where it was deleted since.
        if referenced and to.message_id is not None and shown.type in (objects.REPLY, objects.THREAD_STARTER):
            original = self.guild.message(to.channel_id, to.message_id)
            found = None if original is None else self.message(original, referenced=False)
            body["referenced_message"] = found
        return body


def signature(path: str, expires: int) -> str:
    return hmac.new(SIGNING_KEY, f"{path}?{expires:x}".encode(), hashlib.sha256).hexdigest()


def signed(url: str, channel_id: int, shown: Attachment, now: float) -> str:
    """A link to a file, good for `URL_LIFE` seconds, with Discord's query keys ex, is and hm."""
    path = f"/attachments/{channel_id}/{shown.id}/{quote(shown.filename)}"
    expires = int(now) + URL_LIFE
    return f"{url}{path}?ex={expires:x}&is={int(now):x}&hm={signature(path, expires)}"


def is_good(path: str, query: Mapping[str, str], now: float) -> bool:
    """Whether a link to a file was signed here and has not expired."""
    try:
        expires = int(query.get("ex", ""), 16)
    except ValueError:
        return False
    return hmac.compare_digest(signature(path, expires), query.get("hm", "")) and now < expires


def moment(snowflake: int) -> str:
    """When an id was made, as Discord writes it."""
    return iso(seconds_of(snowflake))


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
