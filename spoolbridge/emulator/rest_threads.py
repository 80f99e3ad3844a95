"""Threads: started from a message (same id), on their own, or as a post in a forum; listed while active."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spoolbridge.emulator import coerce, objects, refusals, render
from spoolbridge.emulator import form as forms
from spoolbridge.emulator.objects import Channel, Reference
from spoolbridge.emulator.permissions import (
    CREATE_PRIVATE_THREADS,
    CREATE_PUBLIC_THREADS,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)
from spoolbridge.emulator.refusals import invalid
from spoolbridge.emulator.rest_messages import post
from spoolbridge.emulator.routes import Call, Reply, Route

MAX_NAME = 100  # code points
ARCHIVE_AFTER = (60, 1440, 4320, 10080)  # minutes
FORUMS = (objects.FORUM, objects.MEDIA)


def _named(call: Call) -> dict[str, Any]:
    """The name and the archive time that a request gives. Raises RefusalError 50035."""
    name = coerce.text("name", call.body.get("name")).strip()
    if not 1 <= len(name) <= MAX_NAME:
        raise invalid("name", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {MAX_NAME} in length.")
    minutes = coerce.integer("auto_archive_duration", call.body.get("auto_archive_duration") or 1440)
    if minutes not in ARCHIVE_AFTER:
        message = f"Value must be one of {set(ARCHIVE_AFTER)}."
        raise invalid("auto_archive_duration", "BASE_TYPE_CHOICES", message)
    return {"name": name, "auto_archive": minutes}


def start_from_message(call: Call) -> Reply:
    """201: the thread has its message's id, and a message has at most one."""
    channel = call.channel(CREATE_PUBLIC_THREADS)
    if channel.type not in (objects.TEXT, objects.ANNOUNCEMENT):
        raise refusals.wrong_type()
    message = call.message(channel)
    if message.id in call.guild.by_id:
        raise refusals.thread_exists()
    kind = objects.ANNOUNCEMENT_THREAD if channel.type == objects.ANNOUNCEMENT else objects.PUBLIC_THREAD
    thread = call.guild.add_thread(channel, type=kind, id=message.id, **_named(call))
    call.guild.change(message, flags=message.flags | objects.HAS_THREAD)
    call.guild.write(
        thread.id,
        call.guild.bot,
        "",
        type=objects.THREAD_STARTER,
        reference=Reference(channel.id, message.id),
    )
    return Reply(render.channel(call.guild, call.guild.by_id[thread.id]), status=201)


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
    thread = call.guild.add_thread(channel, type=kind, **_named(call))
    if kind != objects.PRIVATE_THREAD:
        call.guild.write(
            channel.id,
            call.guild.bot,
            thread.name,
            type=objects.THREAD_CREATED,
            reference=Reference(thread.id),
        )
    return Reply(render.channel(call.guild, thread), status=201)


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
    if form.is_empty:
        raise refusals.empty_message()
    named = _named(call)
    thread = call.guild.add_thread(forum, type=objects.PUBLIC_THREAD, applied_tags=tags, **named)
    first = post(call, thread, form, message_id=thread.id)
    call.guild.change_channel(forum.id, last_message_id=thread.id)
    shown = render.channel(call.guild, call.guild.by_id[thread.id])
    return Reply(shown | {"message": call.viewer.message(first)}, status=201)


def _listed(call: Call, threads: Iterable[Channel]) -> dict[str, Any]:
    """Threads with the bot's own memberships, as both lists show them."""
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


def archived(call: Call) -> Reply:
    """The archived public threads of a channel, the last archived first."""
    channel = call.channel(READ_MESSAGE_HISTORY)
    limit = call.number("limit", default=50, least=2, most=100)
    found = [
        t for t in call.guild.by_id.values()
        if t.parent_id == channel.id and t.archived and t.is_thread and t.type != objects.PRIVATE_THREAD
    ]  # fmt: skip
    found.sort(key=lambda thread: -thread.changed_at)
    return Reply(_listed(call, found[:limit]) | {"has_more": len(found) > limit})


ROUTES = (
    Route("POST", "/channels/{channel}/messages/{message}/threads", start_from_message),
    Route("POST", "/channels/{channel}/threads", start),
    Route("GET", "/guilds/{guild}/threads/active", active),
    Route("GET", "/channels/{channel}/threads/archived/public", archived),
)
