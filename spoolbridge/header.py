"""The options of a dropped text: the lines behind a first line that is exactly `Spoolbridge: 1`.

    Spoolbridge: 1
    Reply-To: 1467106918538678293
    Rig: villacalculatecost3

    The text begins behind the empty line.

A key that is not known is refused: a typo that was skipped would send a wrong message. Only `X-` keys
are skipped. Pure, and light enough for `send` to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from spoolbridge.errors import MessageError

MAGIC = "Spoolbridge: 1"
LONGEST = 4096  # bytes
_MOST_MENTIONS = 100  # ids in allowed_mentions (Create Message)
_LONGEST_NAME = 100  # characters of a thread's name (Start Thread)
#: Not printable, says Python, but they hold emoji and words of several scripts together.
_JOINERS = {0x200C: None, 0x200D: None}
_LONGEST_KEY = 200  # characters of a Dedupe-Key


class Options(NamedTuple):
    """What a header may ask for; ids as integers, `not_after` in unix seconds."""

    reply_to: int | None = None
    thread: int | str | None = None  # the id of one, or the name of one that may have to be made
    rig: str | None = None
    mentions: tuple[int, ...] | None = ()  # None: every user that the text names
    not_after: float | None = None
    silent: bool = False
    suppress_embeds: bool = False
    dedupe_key: str | None = None
    react: str | None = None  # an emoji for the message `reply_to`


_NONE = Options()


def parse(text: str) -> tuple[Options, str]:
    """The options and the text behind them; a text without the magic line is all text.

    Raises MessageError with the line that is wrong.
    """
    first, _, rest = text.partition("\n")
    if first != MAGIC:
        return _NONE, text
    lines, _, body = ("", "", rest[1:]) if rest.startswith("\n") else rest.partition("\n\n")
    if len(lines.encode()) > LONGEST:
        raise MessageError(f"the header is longer than {LONGEST} bytes", "end it with an empty line")
    lines = lines.removesuffix("\n")  # where no text follows, the empty line may be the last
    found: dict[str, Any] = {}
    for number, line in enumerate(lines.split("\n") if lines else [], 2):
        key, colon, value = (each.strip() for each in line.partition(":"))
        if colon and key.startswith("X-"):
            continue
        field, read = _READERS[_known(number, key if colon else line)]
        if field in found:
            raise MessageError(f"line {number}: {key} stands there twice")
        found[field] = _read(number, value, read)
    return Options(**found), body


def render(text: str, headers: Mapping[str, str]) -> bytes:
    """The bytes to drop for this text and these headers, so that `parse` gives them back."""
    if not headers and not text.startswith(MAGIC):
        return text.encode("utf-8", "replace")
    for key, value in headers.items():
        _read(0, value, _READERS[key][1])
    lines = [f"{key}: {value}" for key, value in headers.items()]
    return "\n".join([MAGIC, *lines, "", text]).encode("utf-8", "replace")


def _known(number: int, key: str) -> str:
    for each in _READERS:
        if each.lower() == key.lower():
            return each
    import difflib

    from spoolbridge import leaks  # only a wrong header pays for it

    near = difflib.get_close_matches(key, _READERS, 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    hint += f"there are {', '.join(_READERS)}; an empty line ends the header"
    raise MessageError(f"line {number}: unknown header {leaks.mask(key)[:40]!r}", hint)


def _read(number: int, value: str, read: Callable[[str], object]) -> object:
    try:
        if not value.translate(_JOINERS).isprintable():  # a line break would begin a header of its own
            raise ValueError("one line of letters, digits and signs")
        return read(value)
    except ValueError as form:
        from spoolbridge import leaks

        line = f"line {number}: " if number else ""
        raise MessageError(f"{line}{leaks.mask(value)[:40]!r} cannot stand here", f"it is {form}") from None


def _id(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise ValueError("an id, the number that Discord copies")
    return int(value)


def _thread(value: str) -> int | str:
    if value.isascii() and value.isdigit():
        return _id(value)
    if not 1 <= len(value) <= _LONGEST_NAME:
        raise ValueError(f"a thread's id, or its name of at most {_LONGEST_NAME} characters")
    return value


def _key(value: str) -> str:
    if not 1 <= len(value) <= _LONGEST_KEY:
        raise ValueError(f"a text of at most {_LONGEST_KEY} characters that is the same for the same message")
    return value


def _emoji(value: str) -> str:
    from spoolbridge import emoji  # lazily: `send` hardly ever reacts

    try:
        return emoji.name(value)
    except ValueError:
        raise ValueError(emoji.FORM) from None


def _rig(value: str) -> str:
    if not re.fullmatch(r"[\w./ -]{1,80}", value):
        raise ValueError("a rig's name: letters, digits, _ - . /")
    return value


def _mentions(value: str) -> tuple[int, ...] | None:
    if value == "users":
        return None
    ids = value.split(",") if value not in ("none", "") else []
    if len(ids) > _MOST_MENTIONS or not all(each.strip().isdigit() for each in ids):
        raise ValueError(f"none, users, or at most {_MOST_MENTIONS} ids by commas")
    return tuple(_id(each.strip()) for each in ids)


def _time(value: str) -> float:
    from datetime import datetime

    form = "a time such as 2026-11-22T12:00:00Z"
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(form) from None
    if moment.tzinfo is None:
        raise ValueError(form)
    return moment.timestamp()


def _only(word: str) -> Callable[[str], bool]:
    def read(value: str) -> bool:
        if value.lower() != word:
            raise ValueError(f"{word!r}; leave the line out for no")
        return True

    return read


#: Key → the option's name, and how its value is read (ValueError says the form).
_READERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "Reply-To": ("reply_to", _id),
    "Thread": ("thread", _thread),
    "Rig": ("rig", _rig),
    "Mentions": ("mentions", _mentions),
    "Not-After": ("not_after", _time),
    "Silent": ("silent", _only("yes")),
    "Embeds": ("suppress_embeds", _only("suppress")),
    "Dedupe-Key": ("dedupe_key", _key),
    "React": ("react", _emoji),
}
KEYS = tuple(_READERS)
