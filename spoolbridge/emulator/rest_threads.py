"""Threads: started from a message (same id), on their own, or as a post in a forum; listed and changed.

An archived thread wakes when written to; every other change of it but waking it is 50083. A locked one
takes nothing from who may not manage threads: 160005.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from spoolbridge.emulator import coerce, objects, refusals, render
from spoolbridge.emulator import form as forms
from spoolbridge.emulator.objects import Channel
from spoolbridge.emulator.permissions import (
    CREATE_PRIVATE_THREADS,
    CREATE_PUBLIC_THREADS,
    MANAGE_THREADS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS,
    VIEW_CHANNEL,
)
from spoolbridge.emulator.refusals import invalid
from spoolbridge.emulator.rest_messages import check_uploads, post
from spoolbridge.emulator.routes import Call, Reply, Route
from spoolbridge.emulator.snowflake import moment

MAX_NAME = 100  # code points
ARCHIVE_AFTER = (60, 1440, 4320, 10080)  # minutes
FORUMS = (objects.FORUM, objects.MEDIA)
FLAGS = ("archived", "locked")


def thread_name(value: Any) -> str:
    """A thread's name as it came, trimmed. Raises RefusalError 50035."""
    name = coerce.text("name", value).strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_NAME} in length.")
    return name


def _archive_after(value: Any) -> int:
    minutes = coerce.integer("auto_archive_duration", value or 1440)
    if minutes not in ARCHIVE_AFTER:
        message = f"Value must be one of {set(ARCHIVE_AFTER)}."
        raise invalid("auto_archive_duration", "BASE_TYPE_CHOICES", message)
    return minutes


def _named(call: Call) -> dict[str, Any]:
    """The name and the archive time that a request gives. Raises RefusalError 50035."""
    minutes = _archive_after(call.body.get("auto_archive_duration"))
    return {"name": thread_name(call.body.get("name")), "auto_archive": minutes}


def start_from_message(call: Call) -> Reply:
    """201: the thread has its message's id, and a message has at most one."""
    channel = call.channel(CREATE_PUBLIC_THREADS)
    if channel.type not in (objects.TEXT, objects.ANNOUNCEMENT):
        raise refusals.wrong_type()
    message = call.message(channel)
    if message.id in call.guild.by_id:
        raise refusals.thread_exists()
    kind = objects.ANNOUNCEMENT_THREAD if channel.type == objects.ANNOUNCEMENT else objects.PUBLIC_THREAD
    made = call.guild.start_thread(
        channel, owner=call.guild.bot, type=kind, message=message, **_named(call)
    )  # fmt: skip
    return Reply(render.channel(call.guild, made), status=201)


def start(call: Call) -> Reply:
    """201: a thread of its own, private unless `type` says otherwise; in a forum a post with its message."""
    channel = call.channel()
    if channel.type in FORUMS:
        return _post(call, channel)
    if channel.type not in (objects.TEXT, objects.ANNOUNCEMENT):
        raise refusals.wrong_type()
    kind = coerce.integer("type", call.body.get("type") or objects.PRIVATE_THREAD)
    if kind not in objects.THREADS:
        raise invalid("type", "BASE_TYPE_CHOICES", f"Value must be one of {sorted(objects.THREADS)}.")
    needed = CREATE_PRIVATE_THREADS if kind == objects.PRIVATE_THREAD else CREATE_PUBLIC_THREADS
    if not call.guild.may(needed, channel):
        raise refusals.missing_permissions()
    made = call.guild.start_thread(channel, owner=call.guild.bot, type=kind, **_named(call))
    return Reply(render.channel(call.guild, made), status=201)


def _post(call: Call, forum: Channel) -> Reply:
    """A post in a forum: needs SEND_MESSAGES only; its first message has the thread's id."""
    if not call.guild.may(SEND_MESSAGES, forum):
        raise refusals.missing_permissions()
    said = call.body.get("message")
    if not isinstance(said, dict):
        raise invalid("message", "BASE_TYPE_REQUIRED", "This field is required")
    listed = coerce.listed("applied_tags", call.body.get("applied_tags"))
    tags = tuple(coerce.snowflake("applied_tags", tag) for tag in listed)
    if forum.require_tag and not tags:
        raise refusals.tag_required()
    # No nonce here: Discord's form for a post's first message has no such field.
    form = forms.read({key: value for key, value in said.items() if "nonce" not in key}, call.uploads)
    check_uploads(call, forum, form)
    if form.is_empty:
        raise refusals.empty_message()
    thread = call.guild.add_thread(forum, type=objects.PUBLIC_THREAD, applied_tags=tags, **_named(call))
    first = post(call, thread, form, message_id=thread.id)
    call.guild.change_channel(forum.id, last_message_id=thread.id)
    shown = render.channel(call.guild, call.guild.by_id[thread.id])
    return Reply(shown | {"message": call.viewer.message(first)}, status=201)


def change(call: Call, thread: Channel) -> Reply:
    """Modify Channel of a thread: its owner may name, archive and wake it, who manages threads also lock it;
    whoever may write in it may wake it."""
    body = call.body
    manages = call.guild.may(MANAGE_THREADS, thread)
    wakes = body.get("archived") is False
    only_wakes = wakes and set(body) == {"archived"}
    allowed = thread.owner_id == call.guild.bot.id and "locked" not in body
    if not manages and not allowed and not (only_wakes and call.guild.may(SEND_MESSAGES_IN_THREADS, thread)):
        raise refusals.missing_permissions()
    if thread.locked and not manages:
        raise refusals.thread_locked()
    if thread.archived and not wakes:
        raise refusals.thread_archived()
    changes: dict[str, Any] = {key: coerce.boolean(key, body[key]) for key in FLAGS if key in body}
    if "name" in body:
        changes["name"] = thread_name(body["name"])
    if "auto_archive_duration" in body:
        changes["auto_archive"] = _archive_after(body["auto_archive_duration"])
    return Reply(render.channel(call.guild, call.guild.change_channel(thread.id, **changes)))


# Lists


def _listed(call: Call, threads: Iterable[Channel]) -> dict[str, Any]:
    """Threads with the bot's own memberships, as every list shows them."""
    chosen = list(threads)
    bot = call.guild.bot.id
    joined = [
        {"id": str(t.id), "user_id": str(bot), "join_timestamp": render.moment(t.id), "flags": 0}
        for t in chosen
        if bot in t.members
    ]
    return {"threads": [render.channel(call.guild, thread) for thread in chosen], "members": joined}


def active(call: Call) -> Reply:
    """Every thread that is not archived and that the bot can see."""
    if call.id("guild") != call.guild.id:
        raise refusals.unknown_guild()
    alive = [thread for thread in call.guild.by_id.values() if thread.is_thread and not thread.archived]
    seen = [thread for thread in alive if call.guild.may(VIEW_CHANNEL, thread)]
    return Reply(_listed(call, sorted(seen, key=lambda thread: -thread.id)))


def archived_public(call: Call) -> Reply:
    """The archived public threads of a channel, the last archived first; `before` is a moment."""
    return _archived(call, call.channel(READ_MESSAGE_HISTORY), private=False)


def archived_private(call: Call) -> Reply:
    return _archived(call, call.channel(READ_MESSAGE_HISTORY | MANAGE_THREADS), private=True)


def _archived(call: Call, channel: Channel, *, private: bool) -> Reply:
    limit = _limit(call)
    before = _before(call.query.get("before"))
    found = [
        thread
        for thread in _of(call, channel, private=private)
        if before is None or moment(thread.changed_at) < before
    ]
    found.sort(key=lambda thread: (-thread.changed_at, -thread.id))
    return Reply(_listed(call, found[:limit]) | {"has_more": len(found) > limit})


def archived_joined(call: Call) -> Reply:
    """The archived private threads that the bot is in, the youngest first; `before` is an id."""
    channel = call.channel(READ_MESSAGE_HISTORY)
    limit = _limit(call)
    before = coerce.snowflake("before", call.query.get("before", str(2**63)))
    bot = call.guild.bot.id
    found = [t for t in _of(call, channel, private=True) if bot in t.members and t.id < before]
    found.sort(key=lambda thread: -thread.id)
    return Reply(_listed(call, found[:limit]) | {"has_more": len(found) > limit})


def _of(call: Call, channel: Channel, *, private: bool) -> list[Channel]:
    """The archived threads of a channel."""
    inside = [t for t in call.guild.by_id.values() if t.is_thread and t.parent_id == channel.id]
    return [t for t in inside if t.archived and (t.type == objects.PRIVATE_THREAD) == private]


def _limit(call: Call) -> int:
    return call.number("limit", default=50, least=2, most=100)


def _before(value: str | None) -> datetime | None:
    """An ISO 8601 time, UTC where it names no offset. Raises RefusalError 50035."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        message = f'Value "{value}" is not an ISO8601 datetime.'
        raise invalid("before", "DATE_TIME_TYPE_PARSE", message) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


ARCHIVED = "/channels/{channel}/threads/archived"

ROUTES = (
    Route("POST", "/channels/{channel}/messages/{message}/threads", start_from_message),
    Route("POST", "/channels/{channel}/threads", start),
    Route("GET", "/guilds/{guild}/threads/active", active),
    Route("GET", ARCHIVED + "/public", archived_public),
    Route("GET", ARCHIVED + "/private", archived_private),
    Route("GET", "/channels/{channel}/users/@me/threads/archived/private", archived_joined),
)
