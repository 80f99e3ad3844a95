"""What a Discord message says, as plain text that `cat` shows and an agent reads.

Mentions become names, and whatever is not text (a reply's origin, a forward, stickers, a poll,
attachments, embeds) becomes a line in brackets behind the human's own words. Pure; the shapes are
those of Discord's Message object, and a shape that they do not have raises KeyError, TypeError,
ValueError or AttributeError: the caller then falls back to the JSON itself.

No text from here may act on a terminal or end a header: control characters become visible ones in a
body and a space in a name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Json = Mapping[str, Any]

VOICE_MESSAGE = 1 << 13  # message flag
FORWARD = 1  # message_reference.type

_QUOTED = 200  # characters of the message that is replied to
_NAME = 200  # characters; Discord's own names end at 100
_JOINERS = "\u200c\u200d"  # Cf, but they hold emoji and words of several scripts together

#: Everything below space but tab and newline, as its picture (U+2400…); DEL has its own.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)

_MARKUP = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})"
    r"|/(?P<command>[^:<>\n]{1,100}):\d{1,20}|a?:(?P<emoji>\w{1,100}):\d{1,20}"
    r"|t:(?P<time>-?\d{1,17})(?::[tTdDfFsSR])?)>"
)


def plain(json: Json, names: Mapping[int, str]) -> str:
    """The whole message; `names` tells channels, roles and users that the message only numbers."""
    paragraphs = [_text(json, names), "\n".join(_notes(json, names))]
    return "\n\n".join(filter(None, paragraphs)) or "[no text: is the bot's Message Content intent on?]"


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


def _text(json: Json, names: Mapping[int, str]) -> str:
    known = dict(names)
    known |= {int(user["id"]): display_name(user) for user in json.get("mentions") or ()}
    known |= {int(channel["id"]): channel["name"] for channel in json.get("mention_channels") or ()}
    return _MARKUP.sub(lambda match: _spoken(match, known), printable(json["content"]).strip("\n"))


def _spoken(match: re.Match[str], names: Mapping[int, str]) -> str:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "emoji":
        return f":{value}:"
    if kind == "command":
        return f"/{value}"
    if kind == "time":
        return _moment(value) or match[0]
    name = one_line(names.get(int(value), ""))
    return f"{'#' if kind == 'channel' else '@'}{name}" if name else match[0]


def _moment(seconds: str) -> str:
    try:
        return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def _notes(json: Json, names: Mapping[int, str]) -> Iterator[str]:
    voice = bool((json.get("flags") or 0) & VOICE_MESSAGE)
    for attachment in json.get("attachments") or ():
        yield _attachment(attachment, voice)
    for sticker in json.get("sticker_items") or ():
        yield f"[sticker: {one_line(sticker['name'])}]"
    if json.get("poll"):
        yield from _poll(json["poll"])
    for embed in json.get("embeds") or ():
        yield from _embed(embed)
    for component in json.get("components") or ():
        yield from _component(component)
    reference = json.get("message_reference") or {}
    if reference.get("type") == FORWARD:
        for snapshot in json["message_snapshots"]:
            yield from _forward(snapshot["message"], names)
    elif reference:
        yield _origin(json, reference, names)


def _attachment(attachment: Json, voice: bool) -> str:
    kind = "voice message" if voice else "attachment"
    about = [one_line(attachment["filename"]), _size(attachment["size"])]
    if attachment.get("duration_secs"):
        about.append(f"{attachment['duration_secs']:.0f} s")
    if attachment.get("description"):
        about.append(one_line(attachment["description"], 1024))
    return f"[{kind}: {', '.join(about)}, {one_line(attachment['url'], 2048)}]"


def _size(count: int) -> str:
    return f"{count} bytes" if count < 10_000 else f"{count / 1000:.0f} kB"


def _poll(poll: Json) -> Iterator[str]:
    yield f"[poll: {one_line(poll['question'].get('text') or '', 300)}]"
    for answer in poll.get("answers") or ():
        media = answer["poll_media"]
        said = media.get("text") or (media.get("emoji") or {}).get("name") or ""
        yield f"  - {one_line(said)}"


def _embed(embed: Json) -> Iterator[str]:
    head = [embed.get("title"), (embed.get("author") or {}).get("name"), embed.get("url")]
    pictures = [(embed.get(kind) or {}).get("url") for kind in ("image", "thumbnail", "video")]
    told = (one_line(part, 2048) for part in dict.fromkeys([*head, *pictures]) if part)
    yield f"[embed: {', '.join(told) or 'untitled'}]"
    for text in _embedded(embed):
        yield from _indented(text)


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


def _forward(message: Json, names: Mapping[int, str]) -> Iterator[str]:
    yield "[forwarded]"
    yield from _indented(_text(message, names))
    for note in _notes(message, names):
        yield from _indented(note)


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}" for line in printable(text).split("\n") if line.strip())


def _origin(json: Json, reference: Json, names: Mapping[int, str]) -> str:
    if "referenced_message" in json and json["referenced_message"] is None:
        return "[in reply to a message that was deleted]"
    origin = json.get("referenced_message")
    if origin is None:  # the key is absent: Discord did not look it up
        return f"[in reply to message {int(reference['message_id'])}]"
    return f"[in reply to {display_name(origin['author'])}: {one_line(_text(origin, names), _QUOTED)}]"
