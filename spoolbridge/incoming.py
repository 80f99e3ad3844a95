"""What a human wrote on Discord, and the two forms in which the bridge files it.

`from_discord` makes an `IncomingMessage` of Discord's JSON and never raises: what cannot be rendered
arrives as its raw JSON with a reason, because a message that raised would hold up all that follow.
`maildir_bytes` is that message as mail (RFC 5322, always 8bit UTF-8, so that `cat` reads it),
`inbox_line` as a line of discord-inbox.jsonl.

Pure. What a human chose (names, text, file names) is data here: it becomes no path and no header of
its own, whatever it contains.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from spoolbridge import rendering
from spoolbridge.channels import Channel
from spoolbridge.rendering import NOTHING_KEPT, Kept, Names

HUMAN_TYPES = (0, 19)  # DEFAULT and REPLY; every other type is the system's or a bot's
_DISCORD_EPOCH = 1_420_070_400_000  # milliseconds; a snowflake's upper bits count from 2015
_LARGEST_ID = 2**64 - 1
_YEAR = 31_557_600  # seconds
_NO_NAMES: Names = MappingProxyType({})
_SPECIALS = frozenset('()<>@,:;."[]\\')  # of RFC 5322: a phrase that holds one must be quoted
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Attachment:
    """A file that came with a message; `size` in bytes, `url` is signed and expires after about a day.

    `name`, `url` and `type` (a MIME type, or empty) are as Discord tells them: nobody has looked inside.
    """

    id: int
    name: str
    url: str
    size: int
    type: str = ""
    #: Where it lies, relative to the spool; else why it does not. Both are empty where nobody tried.
    file: str = ""
    reason: str = ""


@dataclass(frozen=True)
class IncomingMessage:
    """A message as it is delivered; `timestamp` in unix seconds, `text` ready to be read."""

    id: int
    channel: Channel
    guild_id: int
    thread_id: int | None
    author: str
    author_id: int
    text: str
    reply_to: int | None
    attachments: tuple[Attachment, ...]
    timestamp: float
    #: Why `text` is Discord's JSON instead of the human's words; empty: it is the human's words.
    reason: str = ""
    #: The JSON that it was made of.
    source: Any = field(default=None, repr=False, compare=False)


def snowflake_time(snowflake: int) -> float:
    """The unix time (seconds) at which Discord made an id."""
    return ((snowflake >> 22) + _DISCORD_EPOCH) / 1000


def snowflake_at(timestamp: float) -> int:
    """The smallest id that Discord can have made at that unix time (seconds)."""
    return max(0, int(timestamp * 1000) - _DISCORD_EPOCH) << 22


def is_human(json: Any, own_id: int) -> bool:
    """Whether a person wrote it: not ours, no bot, no webhook, nothing that the system says."""
    if not isinstance(json, Mapping) or not isinstance(json.get("author"), Mapping):
        return False
    author = json["author"]
    # A webhook's author is a name that anybody chose: look at webhook_id before trusting it.
    if json.get("webhook_id") or author.get("bot") or author.get("system"):
        return False
    return json.get("type") in HUMAN_TYPES and _id(author.get("id")) not in (None, own_id)


def from_discord(
    json: Any,
    channel: Channel,
    guild_id: int,
    *,
    names: Names = _NO_NAMES,
    kept: Mapping[int, Kept] = NOTHING_KEPT,
) -> IncomingMessage:
    """The message in Discord's JSON; never raises.

    `names` are those of channels and roles, `kept` tells what became of attachments, both by id.
    """
    fields = json if isinstance(json, Mapping) else {}
    message_id, place = _id(fields.get("id")) or 0, _id(fields.get("channel_id"))
    author, author_id = _author(fields)
    try:
        text, reason = rendering.plain(json, names, kept), ""
        attachments, reply_to = tuple(_attachments(json, kept)), _reply_to(json)
    except Exception as error:  # whatever Discord thinks of next: it must not hold up what follows
        text, reason = _raw(json), f"not rendered ({type(error).__name__}); the body is Discord's JSON"
        attachments, reply_to = _readable(json, kept), None
    return IncomingMessage(
        id=message_id,
        channel=channel,
        guild_id=guild_id,
        thread_id=place if place not in (None, channel.id) else None,
        author=author,
        author_id=author_id,
        text=text,
        reply_to=reply_to,
        attachments=attachments,
        timestamp=_timestamp(fields.get("timestamp"), message_id),
        reason=reason,
        source=json,
    )


def with_files(message: IncomingMessage, kept: Mapping[int, Kept], names: Names) -> IncomingMessage:
    """The same message, in which text and attachments tell what became of each file."""
    return from_discord(message.source, message.channel, message.guild_id, names=names, kept=kept)


def maildir_name(message: IncomingMessage) -> str:
    """The name under which the message lies in its channel's Maildir: the same whenever it is asked."""
    return name_of(message.id)


def name_of(message_id: int) -> str:
    """As `maildir_name`, where only the id is left."""
    return f"{int(snowflake_time(message_id))}.D{message_id}.discord"


def maildir_file(message: IncomingMessage) -> str:
    """Where the message is put, relative to the spool; a reader may have moved it to `cur/` since."""
    return f"incoming/{message.channel.address}/new/{maildir_name(message)}"


def subject(message: IncomingMessage) -> str:
    return f"Discord #{message.channel.address} from {rendering.one_line(message.author)}"


def maildir_bytes(message: IncomingMessage) -> bytes:
    """The message as mail with LF line ends."""
    head = "".join(f"{name}: {value}\n" for name, value in _headers(message))
    return f"{head}\n{rendering.printable(message.text)}\n".encode()


def inbox_line(message: IncomingMessage, file: str) -> bytes:
    """The message as one line of JSON; `file` is where it lies, relative to the spool.

    `timestamp`, `subject` and `body` come first and mean what they always meant in this file. Ids are
    strings, because readers that hold numbers as floats would round them.
    """
    line = {
        "timestamp": datetime.fromtimestamp(message.timestamp).strftime("%Y-%m-%dT%H:%M:%S"),
        "subject": subject(message),
        "body": message.text,
        "id": str(message.id),
        "channel": message.channel.address,
        "channel_id": str(message.channel.id),
        "rig": message.channel.rig,
        "author": message.author,
        "author_id": str(message.author_id),
        "file": file,
        "reply_to": None if message.reply_to is None else str(message.reply_to),
        "attachments": [_told(each) for each in message.attachments],
    }
    return jsonlib.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _told(attachment: Attachment) -> dict[str, object]:
    fields = ("name", "url", "size", "type", "file", "reason")
    return {name: getattr(attachment, name) or None for name in fields} | {"size": attachment.size}


def _headers(message: IncomingMessage) -> Iterator[tuple[str, str]]:
    """Written here and not by Python's email package, which takes fifty times as long: no value needs it.

    Each is one line (`_header`), unfolded, and UTF-8 as it is (RFC 6532).
    """
    yield "From", f"{_phrase(_header(message.author))} <{message.author_id}@discord>"
    yield "Date", _date(int(message.timestamp))
    yield "Subject", _header(subject(message))
    yield "Message-ID", f"<{message.id}@discord>"
    if message.reply_to is not None:
        yield "In-Reply-To", f"<{message.reply_to}@discord>"
        yield "References", f"<{message.reply_to}@discord>"
    yield "List-Id", f"{message.channel.address} <{message.channel.id}.{message.guild_id}.discord>"
    yield "X-Discord-Message-Id", str(message.id)
    yield "X-Discord-Channel-Id", str(message.channel.id)
    if message.thread_id is not None:
        yield "X-Discord-Thread-Id", str(message.thread_id)
    yield "X-Discord-Guild-Id", str(message.guild_id)
    yield "X-Discord-Author-Id", str(message.author_id)
    for each in message.attachments:
        if each.file:
            yield "X-Attachment", _header(each.file)
        elif each.reason:
            yield "X-Attachment-Missing", _header(f"{each.name}: {each.reason}")
    if message.reason:
        yield "X-Spoolbridge-Reason", _header(message.reason)
    yield "Content-Type", 'text/plain; charset="utf-8"'
    yield "Content-Transfer-Encoding", "8bit"
    yield "MIME-Version", "1.0"


def _phrase(name: str) -> str:
    """A name in front of an address (RFC 5322, display-name): quoted where it holds more than words."""
    if _SPECIALS.isdisjoint(name):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _date(seconds: int) -> str:
    """A time as mail has it (RFC 5322, in English whatever the locale)."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{_DAYS[moment.weekday()]}, {moment:%d} {_MONTHS[moment.month - 1]} {moment:%Y %H:%M:%S} +0000"


def _header(text: str) -> str:
    """One line that no mail reader decodes: an encoded word could hide a line end in a name."""
    return rendering.one_line(text, 500).replace("=?", "= ?")


def _id(value: object) -> int | None:
    """A snowflake, from the string that Discord writes or from a number; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_ID:
        return value
    return None


def _author(fields: Mapping[str, Any]) -> tuple[str, int]:
    author = fields.get("author")
    if not isinstance(author, Mapping):
        return "unknown", 0
    try:
        name = rendering.display_name(author)
    except (TypeError, AttributeError):
        name = "unknown"
    return name, _id(author.get("id")) or 0


def _reply_to(json: Mapping[str, Any]) -> int | None:
    reference = json.get("message_reference") or {}
    return None if rendering.is_forward(json) else _id(reference.get("message_id"))


def _attachments(json: Mapping[str, Any], kept: Mapping[int, Kept]) -> Iterator[Attachment]:
    """Its own, and those of what it forwards."""
    for each in json.get("attachments") or ():
        file, reason = kept.get(_id(each.get("id")) or 0, Kept())
        yield Attachment(
            id=_id(each.get("id")) or 0,
            name=rendering.one_line(each["filename"]) or "unnamed",
            url=rendering.one_line(each["url"], 2048),
            size=int(each["size"]),
            type=rendering.one_line(each.get("content_type") or ""),
            file=file,
            reason=reason,
        )
    if rendering.is_forward(json):
        for snapshot in json["message_snapshots"]:
            yield from _attachments(snapshot["message"], kept)


def _readable(json: Any, kept: Mapping[int, Kept]) -> tuple[Attachment, ...]:
    """The attachments of a message that cannot be rendered, if at least they can be read."""
    try:
        return tuple(_attachments(json, kept))
    except Exception:
        return ()


def _timestamp(value: object, message_id: int) -> float:
    """What the message says, where that is a time near the one in its id; else the id's."""
    made = snowflake_time(message_id)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return made
    told = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return told if abs(told - made) < _YEAR else made


def _raw(json: object) -> str:
    return rendering.printable(jsonlib.dumps(json, ensure_ascii=False, indent=1, default=repr))
