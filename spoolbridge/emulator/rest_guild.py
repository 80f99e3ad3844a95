"""Who the bot is, and the guild around it: users, application, guild, roles, members, channels."""

from __future__ import annotations

from typing import Any

from spoolbridge.emulator import coerce, objects, refusals, render
from spoolbridge.emulator.objects import Channel, User
from spoolbridge.emulator.permissions import MANAGE_CHANNELS, MANAGE_THREADS, VIEW_CHANNEL
from spoolbridge.emulator.refusals import invalid, too_long
from spoolbridge.emulator.rest_threads import change as change_thread
from spoolbridge.emulator.routes import Call, Reply, Route

MAX_CHANNELS = 500  # channels a guild
MAX_NAME = 100  # code points of a channel's name
MAX_TOPIC = {objects.FORUM: 4096, objects.MEDIA: 4096}  # code points; 1024 for every other type
# Flags of an application below the size that needs review.
MEMBERS_LIMITED = 1 << 15
MESSAGE_CONTENT_LIMITED = 1 << 19
# Fields of a guild that a client wants to find, and that say nothing about this one.
ZEROES = (
    "verification_level", "default_message_notifications", "explicit_content_filter", "mfa_level",
    "nsfw_level", "premium_tier", "premium_subscription_count", "system_channel_flags",
)  # fmt: skip
NOTHINGS = (
    "icon", "splash", "discovery_splash", "banner", "description", "afk_channel_id", "application_id",
    "system_channel_id", "rules_channel_id", "public_updates_channel_id", "safety_alerts_channel_id",
    "vanity_url_code", "widget_channel_id", "max_presences", "incidents_data",
)  # fmt: skip
CREATABLE = frozenset({0, 2, 4, 5, 13, 14, 15, 16})


def me(call: Call) -> Reply:
    bot = call.guild.bot
    return Reply(render.user(bot) | {"verified": True, "mfa_enabled": True, "locale": "en-US", "email": None})


def one_user(call: Call) -> Reply:
    found = call.guild.users.get(call.id("user"))
    if found is None:
        raise refusals.unknown_user()
    return Reply(render.user(found))


def my_guilds(call: Call) -> Reply:
    guild = call.guild
    shown = {"id": str(guild.id), "name": guild.name, "icon": None, "banner": None, "owner": False}
    return Reply([shown | {"permissions": str(guild.permissions()), "features": []}])


def application(call: Call) -> Reply:
    """The bot's application; its flags tell which intents the portal gives: bit 19 message content."""
    guild = call.guild
    flags = MESSAGE_CONTENT_LIMITED if guild.message_content else 0
    flags |= MEMBERS_LIMITED if guild.members_intent else 0
    return Reply(
        {
            "id": str(guild.bot.id),
            "name": guild.bot.username,
            "icon": None,
            "description": "",
            "bot_public": False,
            "bot_require_code_grant": False,
            "bot": render.user(guild.bot),
            "owner": render.user(guild.owner),
            "team": None,
            "summary": "",
            "verify_key": "0" * 64,
            "flags": flags,
            "rpc_origins": [],
            "redirect_uris": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "event_webhooks_url": None,
            "event_webhooks_status": 1,
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
        }
    )


def _guild(call: Call) -> None:
    if call.id("guild") != call.guild.id:
        raise refusals.unknown_guild()


def guild(call: Call) -> Reply:
    _guild(call)
    here = call.guild
    shown: dict[str, Any] = {
        "id": str(here.id),
        "name": here.name,
        "owner_id": str(here.owner.id),
        "roles": [render.role(role) for role in here.roles.values()],
        "preferred_locale": "en-US",
    }
    shown |= {"features": [], "stickers": [], "emojis": [render.emoji(one) for one in here.emojis.values()]}
    shown |= dict.fromkeys(ZEROES, 0) | dict.fromkeys(NOTHINGS)
    shown |= dict.fromkeys(("nsfw", "premium_progress_bar_enabled", "widget_enabled"), False)
    shown |= {
        "afk_timeout": 300,
        "max_members": 500_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
    }
    if call.query.get("with_counts", "").lower() in ("true", "1"):
        shown |= {"approximate_member_count": len(here.users), "approximate_presence_count": len(here.users)}
    return Reply(shown)


def roles(call: Call) -> Reply:
    _guild(call)
    return Reply([render.role(role) for role in call.guild.roles.values()])


def member(call: Call) -> Reply:
    _guild(call)
    found = call.guild.users.get(call.id("user"))
    if found is None or found.id not in call.guild.member_roles:
        raise refusals.unknown_member()
    return Reply(render.member(call.guild, found))


def my_member(call: Call) -> Reply:
    _guild(call)
    return Reply(render.member(call.guild, call.guild.bot))


def members(call: Call) -> Reply:
    """List Guild Members, by ascending id after `after`; 50001 without the intent for members."""
    _guild(call)
    if not call.guild.members_intent:
        raise refusals.missing_access()
    limit = call.number("limit", default=1, least=1, most=1000)
    after = call.number("after", default=0, least=0, most=2**63)
    chosen: list[User] = [call.guild.users[who] for who in sorted(call.guild.member_roles) if who > after]
    return Reply([render.member(call.guild, who) for who in chosen[:limit]])


def emojis(call: Call) -> Reply:
    _guild(call)
    return Reply([render.emoji(one) for one in call.guild.emojis.values()])


def channels(call: Call) -> Reply:
    """Every channel that the bot can see, threads excepted; the others are left out since October 2026."""
    _guild(call)
    here = call.guild
    seen = [c for c in here.by_id.values() if not c.is_thread and here.may(VIEW_CHANNEL, c)]
    return Reply([render.channel(here, channel) for channel in seen])


def create_channel(call: Call) -> Reply:
    """201. Text names are normalised; nothing keeps two channels from having one name."""
    _guild(call)
    here = call.guild
    if not here.permissions() & MANAGE_CHANNELS:
        raise refusals.missing_permissions()
    if sum(1 for channel in here.by_id.values() if not channel.is_thread) >= MAX_CHANNELS:
        raise refusals.too_many_channels()
    kind = coerce.integer("type", call.body.get("type") or 0)
    if kind not in CREATABLE:
        raise invalid("type", "BASE_TYPE_CHOICES", f"Value must be one of {sorted(CREATABLE)}.")
    name = channel_name(call.body.get("name"), kind)
    topic = _topic(call.body.get("topic"), kind)
    made = here.add_channel(name, kind, parent_id=_parent(call), topic=topic)
    return Reply(render.channel(here, made), status=201)


def channel_name(value: Any, kind: int) -> str:
    """A channel's name as Discord keeps it. Raises RefusalError 50035."""
    if value is None:
        raise invalid("name", "BASE_TYPE_REQUIRED", "This field is required")
    name = coerce.text("name", value).strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_NAME} in length.")
    return "-".join(name.lower().split()) if kind in (0, 5, 15, 16) else name


def _topic(value: Any, kind: int) -> str | None:
    most = MAX_TOPIC.get(kind, 1024)
    topic = coerce.text("topic", value)
    if len(topic) > most:
        raise too_long("topic", most)
    return topic or None


def _parent(call: Call) -> int | None:
    value = call.body.get("parent_id")
    if value is None:
        return None
    parent = call.guild.by_id.get(coerce.snowflake("parent_id", value))
    if parent is None:
        raise invalid("parent_id", "CHANNEL_PARENT_INVALID", "Category does not exist")
    if parent.type != objects.CATEGORY:
        raise invalid("parent_id", "CHANNEL_PARENT_INVALID_TYPE", "Not a category")
    return parent.id


def channel(call: Call) -> Reply:
    return Reply(render.channel(call.guild, call.channel()))


def change_channel(call: Call) -> Reply:
    """Name and topic; what a thread has besides is `rest_threads`'s."""
    found: Channel = call.channel()
    if found.is_thread:
        return change_thread(call, found)
    if not call.guild.may(MANAGE_CHANNELS, found):
        raise refusals.missing_permissions()
    changes: dict[str, Any] = {}
    if "name" in call.body:
        changes["name"] = channel_name(call.body["name"], found.type)
    if "topic" in call.body:
        changes["topic"] = _topic(call.body["topic"], found.type)
    return Reply(render.channel(call.guild, call.guild.change_channel(found.id, **changes)))


def delete_channel(call: Call) -> Reply:
    found = call.channel()
    if not call.guild.may(MANAGE_THREADS if found.is_thread else MANAGE_CHANNELS, found):
        raise refusals.missing_permissions()
    shown = render.channel(call.guild, found)
    call.guild.remove_channel(found.id)
    return Reply(shown)


ROUTES = (
    Route("GET", "/users/@me", me),
    Route("GET", "/users/@me/guilds", my_guilds),
    Route("GET", "/users/@me/guilds/{guild}/member", my_member),
    Route("GET", "/users/{user}", one_user),
    Route("GET", "/applications/@me", application),
    Route("GET", "/oauth2/applications/@me", application),
    Route("GET", "/guilds/{guild}", guild),
    Route("GET", "/guilds/{guild}/roles", roles),
    Route("GET", "/guilds/{guild}/emojis", emojis),
    Route("GET", "/guilds/{guild}/members", members),
    Route("GET", "/guilds/{guild}/members/@me", my_member),
    Route("GET", "/guilds/{guild}/members/{user}", member),
    Route("GET", "/guilds/{guild}/channels", channels),
    Route("POST", "/guilds/{guild}/channels", create_channel),
    Route("GET", "/channels/{channel}", channel),
    Route("PATCH", "/channels/{channel}", change_channel),
    Route("DELETE", "/channels/{channel}", delete_channel),
)
