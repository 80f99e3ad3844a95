"""What Discord documents about the objects that it answers with, as JSON Schemas (draft 2020-12).

Written from Discord's reference and its OpenAPI description,
not from the emulator: ids are strings of digits,
times have an offset, documented keys only, and those that are always there are required. `check` finds the
schema of an answer by its method, route and status; an answer that has none is an error of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}
BOOL: Schema = {"type": "boolean"}
TRUE: Schema = {"const": True}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number", "minimum": 0}
ID: Schema = {"type": "string", "pattern": r"^[1-9][0-9]{16,19}$"}
BITS: Schema = {"type": "string", "pattern": r"^[0-9]+$"}
TIME: Schema = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?\+00:00$",
}
URL: Schema = {"type": "string", "pattern": "^https?://"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def listed(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, NULL]}


def an_object(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any
) -> Schema:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
        **more,
    }


_USER = {
    "id": ID, "username": TEXT, "avatar": maybe(TEXT), "public_flags": COUNT, "flags": COUNT,
    "discriminator": {"type": "string", "pattern": r"^(0|[0-9]{4})$"},
    "global_name": maybe(TEXT), "primary_guild": NULL,
}  # fmt: skip
_USER_MORE = {"bot": TRUE, "system": TRUE, "banner": maybe(TEXT), "accent_color": maybe(COUNT)}
_ME = {"verified": BOOL, "mfa_enabled": BOOL, "locale": TEXT, "email": maybe(TEXT)}

_MESSAGE = {
    "id": ID, "channel_id": ID, "type": COUNT, "author": ref("user"), "content": TEXT, "timestamp": TIME,
    "edited_timestamp": maybe(TIME), "tts": BOOL, "mention_everyone": BOOL, "mentions": listed(ref("user")),
    "mention_roles": listed(ID), "attachments": listed(ref("attachment"), maxItems=10),
    "embeds": listed(ref("embed"), maxItems=10), "components": listed({"type": "object"}), "pinned": BOOL,
    "flags": COUNT,
}  # fmt: skip
_NONCE: Schema = {"anyOf": [{"type": "string", "maxLength": 25}, {"type": "integer"}]}
_MESSAGE_MORE = {
    "reactions": listed(ref("reaction"), minItems=1), "webhook_id": ID, "thread": ref("thread"),
    "message_reference": ref("reference"), "poll": ref("poll"),
    "message_snapshots": listed(ref("snapshot"), minItems=1, maxItems=1),
    "sticker_items": listed(ref("sticker"), minItems=1, maxItems=3),
}  # fmt: skip
#: Of a message itself, and not of the one that it answers, which is shown inside of it.
_OUTERMOST = {"nonce": _NONCE, "referenced_message": maybe(ref("original"))}
#: A forward shows these of its original, and never who wrote it.
_SNAPSHOT = ("type", "content", "embeds", "attachments", "timestamp", "flags", "mentions")
_SNAPSHOT_MORE = ("edited_timestamp", "mention_roles", "components", "sticker_items")
_IS_ANSWER: Schema = {"properties": {"type": {"enum": [19, 21]}}}  # types that are about another message
_DEPEND = {key: ["message_reference"] for key in ("message_snapshots", "referenced_message")}

_THREAD = {
    "id": ID, "type": {"enum": [10, 11, 12]}, "guild_id": ID, "name": TEXT, "parent_id": ID, "owner_id": ID,
    "last_message_id": maybe(ID), "message_count": COUNT, "total_message_sent": COUNT, "member_count": COUNT,
    "rate_limit_per_user": COUNT, "flags": COUNT, "applied_tags": listed(ID),
    "thread_metadata": ref("thread_metadata"),
}  # fmt: skip
_CHANNEL = {
    "id": ID, "guild_id": ID, "name": TEXT, "position": COUNT, "parent_id": maybe(ID), "flags": COUNT,
    "permission_overwrites": listed(ref("overwrite")),
}  # fmt: skip
_WRITTEN = {"last_message_id": maybe(ID), "topic": maybe(TEXT), "nsfw": BOOL, "rate_limit_per_user": COUNT}
_VOICE = {"bitrate": COUNT, "user_limit": COUNT, "rtc_region": maybe(TEXT)}
_FORUM = {
    "available_tags": listed({"type": "object"}), "default_reaction_emoji": NULL, "default_sort_order": NULL,
}  # fmt: skip
_MEDIA = an_object({"text": TEXT})


def _channel_of(types: list[int], *more: Mapping[str, Schema]) -> Schema:
    fields: dict[str, Schema] = {**_CHANNEL, "type": {"enum": types}}
    for some in more:
        fields |= some
    return an_object(fields)


#: A code and a sentence at each end; the way there mirrors the request, array indexes as strings.
_LEAF = an_object({"code": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]+$"}, "message": TEXT})
_NESTED: Schema = {
    "type": "object", "minProperties": 1, "properties": {"_errors": listed(_LEAF, minItems=1)},
    "additionalProperties": ref("nested"),
}  # fmt: skip

DEFS: Mapping[str, Schema] = {
    "user": an_object(_USER, _USER_MORE),
    "message": an_object(
        _MESSAGE, {**_MESSAGE_MORE, **_OUTERMOST}, dependentRequired=_DEPEND,
        **{"if": _IS_ANSWER, "then": {"required": ["message_reference", "referenced_message"]}},
    ),
    "original": an_object(
        _MESSAGE, _MESSAGE_MORE, dependentRequired={"message_snapshots": ["message_reference"]},
        **{"if": _IS_ANSWER, "then": {"required": ["message_reference"]}},
    ),
    "snapshot": an_object({"message": an_object(
        {key: _MESSAGE[key] for key in _SNAPSHOT},
        {key: {**_MESSAGE, **_MESSAGE_MORE}[key] for key in _SNAPSHOT_MORE},
    )}),
    "reference": an_object({"channel_id": ID}, {"type": {"enum": [0, 1]}, "message_id": ID, "guild_id": ID}),
    "attachment": an_object(
        {"id": ID, "filename": TEXT, "size": COUNT, "url": URL, "proxy_url": URL},
        {
            "content_type": TEXT, "description": {"type": "string", "maxLength": 1024}, "width": COUNT,
            "height": COUNT, "duration_secs": NUMBER, "waveform": TEXT, "flags": COUNT, "title": TEXT,
        },
        dependentRequired={
            "width": ["height"], "height": ["width"],
            "duration_secs": ["waveform"], "waveform": ["duration_secs"],
        },
    ),
    "embed": an_object({}, {
        "title": TEXT, "type": TEXT, "description": TEXT, "url": URL, "timestamp": TIME, "color": COUNT,
        "footer": an_object({"text": TEXT}, {"icon_url": URL}), "image": {"type": "object"},
        "thumbnail": {"type": "object"}, "video": {"type": "object"}, "provider": {"type": "object"},
        "author": an_object({"name": TEXT}, {"url": URL, "icon_url": URL}),
        "fields": listed(an_object({"name": TEXT, "value": TEXT}, {"inline": BOOL}), maxItems=25),
    }),
    "reaction": an_object({
        "emoji": an_object({"id": maybe(ID), "name": TEXT}, {"animated": BOOL}), "count": COUNT,
        "count_details": an_object({"normal": COUNT, "burst": COUNT}), "burst_colors": listed(TEXT),
        "me": BOOL,
        "me_burst": BOOL, "burst_me": BOOL, "burst_count": COUNT,
    }),
    "sticker": an_object({"id": ID, "name": TEXT, "format_type": {"enum": [1, 2, 3, 4]}}),
    "poll": an_object({
        "question": _MEDIA, "expiry": maybe(TIME), "allow_multiselect": BOOL, "layout_type": {"const": 1},
        "answers": listed(an_object({"answer_id": COUNT, "poll_media": _MEDIA}), minItems=1, maxItems=10),
    }, {"results": an_object({
        "is_finalized": BOOL,
        "answer_counts": listed(an_object({"id": COUNT, "count": COUNT, "me_voted": BOOL})),
    })}),
    "thread": an_object(_THREAD, {"message": ref("message")}),
    "thread_metadata": an_object({
        "archived": BOOL, "archive_timestamp": TIME, "locked": BOOL,
        "auto_archive_duration": {"enum": [60, 1440, 4320, 10080]},
    }, {"create_timestamp": maybe(TIME), "invitable": BOOL}),
    "thread_member": an_object({"id": ID, "user_id": ID, "join_timestamp": TIME, "flags": COUNT}),
    "channel": {"oneOf": [
        _channel_of([0, 5], _WRITTEN), _channel_of([2, 13], _WRITTEN, _VOICE), _channel_of([4]),
        _channel_of([15, 16], _WRITTEN, _FORUM), ref("thread"),
    ]},
    "overwrite": an_object({"id": ID, "type": {"enum": [0, 1]}, "allow": BITS, "deny": BITS}),
    "role": an_object({
        "id": ID, "name": TEXT, "permissions": BITS, "position": COUNT, "color": COUNT, "hoist": BOOL,
        "managed": BOOL, "mentionable": BOOL, "flags": COUNT, "icon": maybe(TEXT),
        "unicode_emoji": maybe(TEXT),
        "description": maybe(TEXT), "colors": an_object({
            "primary_color": COUNT, "secondary_color": maybe(COUNT), "tertiary_color": maybe(COUNT),
        }),
    }, {"tags": an_object({}, {"bot_id": ID})}),
    "member": an_object({
        "user": ref("user"), "nick": maybe(TEXT), "avatar": maybe(TEXT), "banner": maybe(TEXT),
        "roles": listed(ID),
        "joined_at": TIME, "premium_since": maybe(TIME), "deaf": BOOL, "mute": BOOL, "flags": COUNT,
        "pending": BOOL,
        "communication_disabled_until": maybe(TIME),
    }),
    "emoji": an_object({
        "id": ID, "name": TEXT, "roles": listed(ID), "require_colons": BOOL, "managed": BOOL,
        "animated": BOOL,
        "available": BOOL,
    }),
    "nested": _NESTED,
}  # fmt: skip

_COUNTS = (
    "verification_level", "default_message_notifications", "explicit_content_filter", "mfa_level",
    "nsfw_level",
    "premium_tier", "premium_subscription_count", "system_channel_flags", "afk_timeout", "max_members",
    "max_video_channel_users", "max_stage_video_channel_users",
)  # fmt: skip
_MAYBE_IDS = (
    "afk_channel_id", "application_id", "system_channel_id", "rules_channel_id", "public_updates_channel_id",
    "safety_alerts_channel_id", "widget_channel_id",
)  # fmt: skip
_MAYBE_TEXTS = ("icon", "splash", "discovery_splash", "banner", "description", "vanity_url_code")
GUILD = an_object(
    {
        "id": ID, "name": TEXT, "owner_id": ID, "roles": listed(ref("role"), minItems=1),
        "preferred_locale": TEXT,
        "features": listed(TEXT), "emojis": listed(ref("emoji")), "stickers": listed({"type": "object"}),
        "max_presences": maybe(COUNT), "incidents_data": NULL, "nsfw": BOOL,
        "premium_progress_bar_enabled": BOOL,
        "widget_enabled": BOOL, **dict.fromkeys(_COUNTS, COUNT), **dict.fromkeys(_MAYBE_IDS, maybe(ID)),
        **dict.fromkeys(_MAYBE_TEXTS, maybe(TEXT)),
    },
    {"approximate_member_count": COUNT, "approximate_presence_count": COUNT},
)  # fmt: skip
APPLICATION = an_object({
    "id": ID, "name": TEXT, "icon": maybe(TEXT), "description": TEXT, "bot_public": BOOL,
    "bot_require_code_grant": BOOL, "bot": ref("user"), "owner": ref("user"), "team": NULL, "summary": TEXT,
    "verify_key": {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "flags": COUNT,
    "rpc_origins": listed(TEXT),
    "redirect_uris": listed(TEXT), "interactions_endpoint_url": maybe(URL),
    "role_connections_verification_url": maybe(URL), "event_webhooks_url": maybe(URL),
    "event_webhooks_status": {"enum": [1, 2, 3]}, "approximate_guild_count": COUNT,
    "approximate_user_install_count": COUNT, "approximate_user_authorization_count": COUNT,
})  # fmt: skip
MY_GUILD = an_object({
    "id": ID, "name": TEXT, "icon": maybe(TEXT), "banner": maybe(TEXT), "owner": BOOL, "permissions": BITS,
    "features": listed(TEXT),
})  # fmt: skip
ERROR = an_object({"message": TEXT, "code": COUNT}, {"errors": ref("nested")})
TOO_MANY = an_object({"message": TEXT, "retry_after": NUMBER, "global": BOOL}, {"code": COUNT})
_LISTS = {"threads": listed(ref("thread")), "members": listed(ref("thread_member"))}
ARCHIVED = an_object({**_LISTS, "has_more": BOOL})

_MESSAGES = "/channels/{channel}/messages"
_ONE = _MESSAGES + "/{message}"
_EMOJI = _ONE + "/reactions/{emoji}"
#: (method, route) → the status of success and the schema of its body; None: 204's emptiness.
ANSWERS: Mapping[tuple[str, str], tuple[int, Schema | None]] = {
    ("GET", "/users/@me"): (200, an_object({**_USER, **_ME}, _USER_MORE)),
    ("GET", "/users/@me/guilds"): (200, listed(MY_GUILD)),
    ("GET", "/users/@me/guilds/{guild}/member"): (200, ref("member")),
    ("GET", "/users/{user}"): (200, ref("user")),
    ("GET", "/applications/@me"): (200, APPLICATION),
    ("GET", "/oauth2/applications/@me"): (200, APPLICATION),
    ("GET", "/guilds/{guild}"): (200, GUILD),
    ("GET", "/guilds/{guild}/roles"): (200, listed(ref("role"), minItems=1)),
    ("GET", "/guilds/{guild}/emojis"): (200, listed(ref("emoji"))),
    ("GET", "/guilds/{guild}/members"): (200, listed(ref("member"))),
    ("GET", "/guilds/{guild}/members/@me"): (200, ref("member")),
    ("GET", "/guilds/{guild}/members/{user}"): (200, ref("member")),
    ("GET", "/guilds/{guild}/channels"): (200, listed(ref("channel"))),
    ("POST", "/guilds/{guild}/channels"): (201, ref("channel")),
    ("GET", "/guilds/{guild}/threads/active"): (200, an_object(_LISTS)),
    ("GET", "/channels/{channel}"): (200, ref("channel")),
    ("PATCH", "/channels/{channel}"): (200, ref("channel")),
    ("DELETE", "/channels/{channel}"): (200, ref("channel")),
    ("POST", "/channels/{channel}/threads"): (201, ref("thread")),
    ("GET", "/channels/{channel}/threads/archived/public"): (200, ARCHIVED),
    ("GET", "/channels/{channel}/threads/archived/private"): (200, ARCHIVED),
    ("GET", "/channels/{channel}/users/@me/threads/archived/private"): (200, ARCHIVED),
    ("POST", "/channels/{channel}/typing"): (204, None),
    ("POST", _MESSAGES): (200, ref("message")),
    ("GET", _MESSAGES): (200, listed(ref("message"), maxItems=100)),
    ("GET", _ONE): (200, ref("message")),
    ("PATCH", _ONE): (200, ref("message")),
    ("DELETE", _ONE): (204, None),
    ("POST", _ONE + "/threads"): (201, ref("thread")),
    ("GET", _EMOJI): (200, listed(ref("user"), maxItems=100)),
    ("PUT", _EMOJI + "/@me"): (204, None),
    ("DELETE", _EMOJI + "/@me"): (204, None),
    ("DELETE", _EMOJI + "/{user}"): (204, None),
}


def of(method: str, route: str, status: int) -> Schema | None:
    """The schema of an answer's body; None where there is no body. KeyError where nobody wrote one."""
    if status == 429:
        return TOO_MANY
    if status >= 400:
        return ERROR
    success, schema = ANSWERS[method, route]
    if status != success:
        raise KeyError(f"{method} {route} succeeds with {success}, not {status}")
    return schema


def problems(schema: Schema, body: Any) -> list[str]:
    """What is wrong with a body, each with the way to it; empty where nothing is."""
    found = Draft202012Validator({"$defs": DEFS, **schema}).iter_errors(body)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]
