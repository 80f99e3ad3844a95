"""What a Discord message says, as plain text that `cat` shows and an agent reads.

Mentions become names, and whatever is not text (a reply's origin, a forward, stickers, a poll,
attachments, embeds) becomes a line in brackets behind the human's own words. Pure; the shapes are
those of Discord's Message object, and a shape that they do not have raises KeyError, TypeError,
ValueError or AttributeError: the caller then falls back to the JSON itself. Empty content is usual for
all of these; only where there is none of them, Discord has kept the text back.

No text from here may act on a terminal or end a header: control characters become visible ones in a
body and a space in a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

Json = Mapping[str, Any]
#: Names of channels, roles and users, by id.
Names = Mapping[int, str]

VOICE_MESSAGE = 1 << 13  # message flag
FORWARD = 1  # message_reference.type

_QUOTED = 200  # characters of the message that is replied to
_EMBEDDED = 1000  # characters of an embed; Discord's own limit is six thousand
_NAME = 200  # characters; Discord's own names end at 100
_JOINERS = "\u200c\u200d"  # Cf, but they hold emoji and words of several scripts together

#: Everything below space but tab and newline, as its picture (U+2400…); DEL has its own.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})"
    r"|/(?P<command>[^:<>\n]{1,100}):\d{1,20}|a?:(?P<emoji>\w{1,100}):\d{1,20}"
    r"|id:(?P<page>customize|browse|guide|linked-roles)(?::\d{1,20})?"
    r"|t:(?P<time>-?\d{1,17})(?::[tTdDfFsSR])?)>"
)
_PAGES = {
    "customize": "Channels & Roles", "browse": "Browse Channels", "guide": "Server Guide",
    "linked-roles": "Linked Roles",
}  # fmt: skip
_NO_TEXT = "[no text: is the bot's Message Content intent on?]"


class Kept(NamedTuple):
    """What became of an attachment: its `file` (relative to the spool), or the `reason` why there is none."""

    file: str = ""
    reason: str = ""


NOTHING_KEPT: Mapping[int, Kept] = MappingProxyType({})


def plain(json: Json, names: Names, kept: Mapping[int, Kept] = NOTHING_KEPT) -> str:
    """The whole message; `names` tells channels, roles and users that the message only numbers.

    `kept` tells by its id what became of an attachment; of one that it does not hold the address is told.
    """
    text, notes = _text(json, names), list(_notes(json, names, kept))
    if not text and not notes:
        notes = [_NO_TEXT]
    return "\n\n".join(filter(None, [text, "\n".join([*notes, *_origin(json, names)])]))


def display_name(author: Json) -> str:
    """How Discord shows an author who has no nickname, in one line; never empty."""
    return one_line(author.get("global_name") or author.get("username") or "") or "unknown"


def one_line(text: str, most: int = _NAME) -> str:
    """A name or a title without line ends, controls and direction marks, cut after `most` characters."""
    spaced = "".join(" " if _unfit(character) else character for character in well_formed(text))
    line = " ".join(spaced.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def printable(text: str) -> str:
    """A body: line ends are LF, and control characters are shown instead of obeyed."""
    return well_formed(text).replace("\r\n", "\n").replace("\r", "\n").translate(_PICTURES)


def well_formed(text: str) -> str:
    """Without lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _unfit(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in _JOINERS


def size(count: int) -> str:
    """A number of bytes as people say it."""
    if count < 10_000:
        return f"{count} byte{'' if count == 1 else 's'}"
    return f"{count / 1e3:.0f} kB" if count < 10_000_000 else f"{count / 1e6:.0f} MB"


def _text(json: Json, names: Names) -> str:
    known = dict(names)
    known |= {int(user["id"]): display_name(user) for user in json.get("mentions") or ()}
    known |= {int(channel["id"]): channel["name"] for channel in json.get("mention_channels") or ()}
    return _MARKUP.sub(lambda match: _spoken(match, known), printable(json["content"]).strip("\n"))


def _spoken(match: re.Match[str], names: Names) -> str:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "emoji":
        return f":{value}:"
    if kind == "command":
        return f"/{value}"
    if kind == "page":
        return f"#{_PAGES[value]}"
    if kind == "time":
        return _moment(value) or match[0]
    name = one_line(names.get(int(value), ""))
    return f"{'#' if kind == 'channel' else '@'}{name}" if name else match[0]


def _moment(seconds: str) -> str:
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _notes(json: Json, names: Names, kept: Mapping[int, Kept]) -> Iterator[str]:
    """Everything that a message says without words, but for what it answers."""
    voice = bool((json.get("flags") or 0) & VOICE_MESSAGE)
    for attachment in json.get("attachments") or ():
        yield _attachment(attachment, voice, kept)
    for sticker in json.get("sticker_items") or ():
        yield f"[sticker: {one_line(sticker['name'])}]"
    if json.get("poll"):
        yield from _poll(json["poll"])
    if json.get("activity"):
        yield f"[invitation: {one_line((json.get('application') or {}).get('name') or 'an activity')}]"
    for embed in json.get("embeds") or ():
        yield from _embed(embed)
    for component in json.get("components") or ():
        yield from _component(component)
    if is_forward(json):
        for snapshot in json["message_snapshots"]:
            yield from _forward(snapshot["message"], json["message_reference"], names, kept)


def is_forward(json: Json) -> bool:
    """Whether its words are another message's, in `message_snapshots`, without their author."""
    return bool((json.get("message_reference") or {}).get("type") == FORWARD)


def _attachment(attachment: Json, voice: bool, kept: Mapping[int, Kept]) -> str:
    about = [one_line(attachment["filename"]), size(attachment["size"])]
    if attachment.get("duration_secs"):
        about.append(f"{attachment['duration_secs']:.0f} s")
    if attachment.get("content_type"):
        about.append(one_line(attachment["content_type"]))
    if attachment.get("description"):
        about.append(one_line(attachment["description"], 1024))
    file, reason = kept.get(int(attachment.get("id") or 0), Kept())
    if file:
        about.append(f"saved as {one_line(file, 1024)}")
    else:
        about += [f"not downloaded: {one_line(reason)}"] if reason else []
        about.append(one_line(attachment["url"], 2048))
    return f"[{'voice message' if voice else 'attachment'}: {', '.join(about)}]"


def _poll(poll: Json) -> Iterator[str]:
    about = [one_line(poll["question"].get("text") or "", 300)]
    if poll.get("allow_multiselect"):
        about.append("several answers allowed")
    if poll.get("expiry"):
        until = datetime.fromisoformat(poll["expiry"]).astimezone(UTC)
        about.append(f"open until {until:%Y-%m-%d %H:%M} UTC")
    yield f"[poll: {', '.join(about)}]"
    for answer in poll.get("answers") or ():
        media = answer["poll_media"]
        said = [(media.get("emoji") or {}).get("name"), media.get("text")]
        yield f"  - {one_line(' '.join(filter(None, said)))}"


def _embed(embed: Json) -> Iterator[str]:
    head = [embed.get("title"), (embed.get("author") or {}).get("name"), embed.get("url")]
    pictures = [(embed.get(kind) or {}).get("url") for kind in ("image", "thumbnail", "video")]
    told = (one_line(part, 2048) for part in dict.fromkeys([*head, *pictures]) if part)
    yield f"[embed: {', '.join(told) or 'untitled'}]"
    text = "\n".join(filter(None, _embedded(embed)))
    yield from _indented(text if len(text) <= _EMBEDDED else text[: _EMBEDDED - 1] + "…")


def _embedded(embed: Json) -> Iterator[str]:
    yield embed.get("description") or ""
    for field in embed.get("fields") or ():
        yield f"{field['name']}: {field['value']}"
    yield (embed.get("footer") or {}).get("text") or ""


def _component(component: Json) -> Iterator[str]:
    for key in ("content", "label", "url"):
        if component.get(key):
            yield from _indented(component[key])
    for inner in component.get("components") or ():
        yield from _component(inner)


def _forward(message: Json, reference: Json, names: Names, kept: Mapping[int, Kept]) -> Iterator[str]:
    place = one_line(names.get(int(reference.get("channel_id") or 0), ""))
    yield f"[forwarded from #{place}]" if place else "[forwarded]"
    yield from _indented(_text(message, names))
    for note in _notes(message, names, kept):
        yield from _indented(note)


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}" for line in printable(text).split("\n") if line.strip())


def _origin(json: Json, names: Names) -> Iterator[str]:
    """What the message answers, if it answers one."""
    reference = json.get("message_reference") or {}
    if not reference or is_forward(json):
        return
    if "referenced_message" in json and json["referenced_message"] is None:
        yield "[in reply to a message that was deleted]"
    elif "referenced_message" not in json:  # Discord did not look it up
        yield f"[in reply to message {int(reference['message_id'])}]"
    else:
        origin = json["referenced_message"]
        yield f"[in reply to {display_name(origin['author'])}: {_gist(origin, names)}]"


def _gist(message: Json, names: Names) -> str:
    """One line that tells which message is meant: its text, else what it has instead."""
    files = ", ".join(one_line(each["filename"]) for each in message.get("attachments") or ())
    said = _text(message, names) or files or next(_notes(message, names, NOTHING_KEPT), "").strip("[]")
    return one_line(said or "a message without text", _QUOTED)
