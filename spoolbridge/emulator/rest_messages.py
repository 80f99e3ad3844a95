"""Messages: create, page through, read one, edit, delete.

Two rules here are the ones that clients get wrong. Every page is newest first, whatever the cursor
(discord-api-docs #7740), and holds the messages nearest to it. A nonce repeated within its window answers
with the message that it made, and with 404/10008 once that message is gone (#6647).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from spoolbridge.emulator import coerce, mentions, objects, poll, refusals
from spoolbridge.emulator.form import Form, read
from spoolbridge.emulator.mentions import Mentions
from spoolbridge.emulator.objects import Channel, Message, Reference
from spoolbridge.emulator.permissions import (
    ATTACH_FILES,
    MANAGE_MESSAGES,
    MANAGE_THREADS,
    MENTION_EVERYONE,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS,
)
from spoolbridge.emulator.routes import Call, Reply, Route

PAGE = 50  # messages a page where the caller names no limit
MAX_PAGE = 100  # messages
FORWARD = 1  # the type of a message reference that forwards
HAS_SNAPSHOT = 1 << 14
SNAPSHOT = (
    "type", "content", "embeds", "attachments", "timestamp", "edited_timestamp", "flags", "mentions",
    "mention_roles", "components",
)  # fmt: skip


def create(call: Call) -> Reply:
    """Create Message: 200 with the message, new or already made with the same nonce."""
    channel = call.channel()
    _check_writable(call, channel)
    form = read(call.body, call.uploads)
    check_uploads(call, channel, form)
    reference = None if form.reply_to is None else _reference(call, channel, form.reply_to)
    if reference is not None and reference.type == FORWARD:
        form = _forwarded(call, form, reference)
    if form.is_empty:
        raise refusals.empty_message()
    guild = call.guild
    if form.enforce_nonce and form.nonce_key:
        known = guild.recall(guild.bot, form.nonce_key)
        if known is not None:
            earlier = guild.message(*known)
            if earlier is None:
                raise refusals.unknown_message()
            return Reply(call.viewer.message(earlier, nonce=form.nonce))
    made = post(call, channel, form, reference=reference)
    return Reply(call.viewer.message(made, nonce=form.nonce))


def post(
    call: Call,
    channel: Channel,
    form: Form,
    *,
    reference: Reference | None = None,
    message_id: int | None = None,
) -> Message:
    """Commit a checked form as the bot's message and remember its nonce."""
    guild = call.guild
    asked = {} if form.poll is None else {"poll": poll.shown(form.poll, guild.clock())}
    extra = {**form.extra, **asked}
    made = guild.write(
        channel.id, guild.bot, form.content, mentions=_mentions(call, channel, form, reference),
        uploads=form.uploads, type=objects.REPLY if reference and reference.type == 0 else objects.DEFAULT,
        flags=form.flags, tts=form.tts, embeds=form.embeds, reference=reference, extra=extra,
        message_id=message_id,
    )  # fmt: skip
    if form.nonce_key:
        guild.remember(guild.bot, form.nonce_key, made)
    return made


def _check_writable(call: Call, channel: Channel) -> None:
    if channel.type in (objects.FORUM, objects.MEDIA):
        raise refusals.forum_parent()
    if channel.type not in objects.WRITABLE:
        raise refusals.not_text()
    if not call.guild.may(SEND_MESSAGES_IN_THREADS if channel.is_thread else SEND_MESSAGES, channel):
        raise refusals.missing_permissions()
    if channel.locked and not call.guild.may(MANAGE_THREADS, channel):
        raise refusals.thread_locked()


def check_uploads(call: Call, channel: Channel, form: Form) -> None:
    """Raises RefusalError 50013 where files are not allowed, 40005 for one that is too large."""
    if form.uploads and not call.guild.may(ATTACH_FILES, channel):
        raise refusals.missing_permissions()
    if any(len(upload.data) > call.guild.max_file for upload in form.uploads):
        raise refusals.too_large()


def _reference(call: Call, channel: Channel, said: Any) -> Reference | None:
    """What a message answers or forwards; None where it is gone and the caller said not to mind."""
    target = coerce.snowflake("message_reference.message_id", said.get("message_id"))
    kind = coerce.integer("message_reference.type", said.get("type") or 0)
    place = coerce.snowflake("message_reference.channel_id", said.get("channel_id") or channel.id)
    if kind == 0 and not call.guild.may(READ_MESSAGE_HISTORY, channel):
        raise refusals.reply_needs_history()
    found = call.guild.message(place, target)
    if kind == 0 and place != channel.id:
        found = None
    if found is None:
        if said.get("fail_if_not_exists", True) is False:
            return None
        raise refusals.invalid("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
    if found.type not in objects.REPLIABLE:
        message = "Cannot reply to a system message"
        raise refusals.invalid("message_reference", "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE", message)
    return Reference(found.channel_id, found.id, kind)


def _forwarded(call: Call, form: Form, reference: Reference) -> Form:
    """The form of a forward: a snapshot of the original, without its author, and a flag that says so."""
    original = call.guild.message(reference.channel_id, reference.message_id or 0)
    shown = {} if original is None else call.viewer.message(original)
    snapshot = {key: shown[key] for key in SNAPSHOT if key in shown}
    extra = {**form.extra, "message_snapshots": [{"message": snapshot}]}
    return replace(form, extra=extra, flags=form.flags | HAS_SNAPSHOT)


def _mentions(call: Call, channel: Channel, form: Form, reference: Reference | None) -> Mentions:
    guild = call.guild
    named = mentions.everything(form.content, users=guild.users, roles=guild.roles)
    found = mentions.allowed(named, form.allowed_mentions)
    everyone = found.everyone and guild.may(MENTION_EVERYONE, channel)
    roles = tuple(
        held for held in found.roles if guild.roles[held].mentionable or guild.may(MENTION_EVERYONE, channel)
    )
    users = found.users
    rule = form.allowed_mentions
    if reference is not None and reference.type == 0 and (rule is None or rule.get("replied_user")):
        original = guild.message(reference.channel_id, reference.message_id or 0)
        if original is not None and original.author.id in guild.users:
            users = tuple(dict.fromkeys((original.author.id, *users)))
    return Mentions(users, roles, everyone)


def page(call: Call) -> Reply:
    """Get Channel Messages: newest first; `[]` without the permission to read history."""
    channel = call.channel()
    limit = call.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    cursors = {
        name: coerce.snowflake(name, call.query[name])
        for name in ("before", "after", "around")
        if name in call.query
    }
    if len(cursors) > 1:
        message = "Only one of before, after and around may be given."
        raise refusals.invalid("", "BASE_TYPE_MUTUALLY_EXCLUSIVE", message)
    if channel.type not in objects.WRITABLE:
        raise refusals.wrong_type()
    if not call.guild.may(READ_MESSAGE_HISTORY, channel):
        return Reply([])
    history = call.guild.history(channel.id)
    if call.guild.ties_reversed:
        history.sort(key=lambda message: (message.id >> 22, -message.id))
    chosen = nearest(history, limit, **cursors)
    return Reply([call.viewer.message(message) for message in reversed(chosen)])


def nearest(
    history: list[Message],
    limit: int,
    *,
    before: int | None = None,
    after: int | None = None,
    around: int | None = None,
) -> list[Message]:
    """The page nearest to the cursor, oldest first, the cursor itself excluded (but for `around`)."""
    if after is not None:
        return [message for message in history if message.id > after][:limit]
    if around is not None:
        half = limit // 2
        older = [message for message in history if message.id < around][-half:] if half else []
        rest = [message for message in history if message.id >= around][: limit - len(older)]
        return older + rest
    older = history if before is None else [message for message in history if message.id < before]
    return older[-limit:]


def read_one(call: Call) -> Reply:
    channel = call.channel()
    if not call.guild.may(READ_MESSAGE_HISTORY, channel):
        raise refusals.missing_permissions()
    return Reply(call.viewer.message(call.message(channel)))


def edit(call: Call) -> Reply:
    """Edit Message: own text only; an edit keeps the id and sets `edited_timestamp`."""
    channel = call.channel()
    message = call.message(channel)
    if message.author.id != call.guild.bot.id:
        raise refusals.not_yours()
    if channel.archived:
        raise refusals.thread_archived()
    old = {"content": message.content, "embeds": list(message.embeds), "flags": message.flags}
    form = read({**old, **call.body})
    if form.is_empty and not message.attachments:
        raise refusals.empty_message()
    changed = call.guild.change(
        message, content=form.content, embeds=form.embeds, flags=form.flags, edited_at=call.guild.clock()
    )
    return Reply(call.viewer.message(changed))


def delete(call: Call) -> Reply:
    channel = call.channel()
    message = call.message(channel)
    if message.author.id != call.guild.bot.id and not call.guild.may(MANAGE_MESSAGES, channel):
        raise refusals.missing_permissions()
    if channel.archived:
        raise refusals.thread_archived()
    call.guild.remove(message)
    return Reply(status=204)


def typing(call: Call) -> Reply:
    call.channel(SEND_MESSAGES)
    return Reply(status=204)


MESSAGES = "/channels/{channel}/messages"
MESSAGE = MESSAGES + "/{message}"

ROUTES = (
    Route("POST", MESSAGES, create),
    Route("GET", MESSAGES, page),
    Route("GET", MESSAGE, read_one),
    Route("PATCH", MESSAGE, edit),
    Route("DELETE", MESSAGE, delete),
    Route("POST", "/channels/{channel}/typing", typing),
)
