"""Long text into parts that Discord takes, joined again without loss.

A part ends at a paragraph, else at a line, else at a word, else between two graphemes. A code fence
that fits into one part stays in one; a longer one is closed at a part's end and opened again in
the next. Nothing is cut inside a mention, an emoji or a character. But for those fence lines the
parts joined are the text.
"""

from __future__ import annotations

import re
import unicodedata

#: Discord counts code points (discord-api-docs #1315); UTF-16 units are never fewer, so this fits
#: under either reading.
LIMIT = 2000  # UTF-16 units
_CLOSING = "\n```"
_FENCE = re.compile(r"```(?:([\w+#.-]{1,20})(?=\n))?")
_OWN_CLOSING = re.compile(r"\n?```(?!`)")
_TOKEN = re.compile(r"<(?:/[^<>\n]{1,110}|[^<>\s]{1,110})>")
_LONGEST_TOKEN = 113
_VIRAMA = 9  # the combining class of what makes two Indic consonants one
_JOINERS = {"\u200d", "\ufe0e", "\ufe0f", "\u20e3"}


def units(text: str) -> int:
    """The length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def split(text: str, limit: int = LIMIT) -> list[str]:
    """The parts, each at most `limit` units long. A part of white space alone is left out: Discord
    refuses it (50006)."""
    parts: list[str] = []
    opening = ""
    while text:
        if len(text) <= limit and units(opening) + units(text) <= limit:
            parts.append(opening + text)
            break
        room = limit - units(opening) - len(_CLOSING)
        piece = text[: _cut(text, room, inside=bool(opening))]
        language = _open_fence(piece, opening)
        if language is not None and (own := _OWN_CLOSING.match(text, len(piece))):
            piece, language = piece + own[0], None  # in the room of ours; else an empty block would follow
        text = text[len(piece) :]
        closing = "" if language is None else _CLOSING[piece.endswith("\n") :]
        parts.append(opening + piece + closing)
        opening = "" if language is None else f"```{language}\n"
    return [part for part in parts if part.strip()]


def _cut(text: str, room: int, *, inside: bool) -> int:
    """Where to cut `text` so that at most `room` units lie before: an index above 0."""
    most = _fitting(text, room)
    at = _natural_end(text, most) or _hard_end(text, most)
    if not inside and (start := _fence_to_keep_whole(text, at, room)):
        return start
    return at


def _fitting(text: str, room: int) -> int:
    most = min(len(text), room)
    while units(text[:most]) > room:
        most -= max(1, (units(text[:most]) - room) // 2)
    return most


def _natural_end(text: str, most: int) -> int:
    """After the last paragraph, line or word that leaves the part reasonably full; 0: there is none."""
    for separator, least in (("\n\n", most // 3), ("\n", most // 4), (" ", 1)):
        end = text.rfind(separator, 0, most) + len(separator)
        while end >= max(least, len(separator)) and text[:end].strip():
            # A space may carry an accent, and stands in mentions such as </ask now:1>.
            if not _joined(text, end) and _token_around(text, end) is None:
                return end
            end = text.rfind(separator, 0, end - 1) + len(separator)
    return 0


def _hard_end(text: str, most: int) -> int:
    at = most
    while at > 0:
        token = _token_around(text, at)
        if token is not None:
            at = token
        elif _joined(text, at) or text[at - 1 : at + 1] == "``":
            at -= 1
        else:
            return at
    return most  # one grapheme longer than a part is cut all the same


def _token_around(text: str, at: int) -> int | None:
    """Where the mention begins that a cut at `at` would part."""
    for token in _TOKEN.finditer(text, max(0, at - _LONGEST_TOKEN), at + _LONGEST_TOKEN):
        if token.start() < at < token.end():
            return token.start()
    return None


def _joined(text: str, at: int) -> bool:
    """Whether the characters around `at` are one to the reader."""
    before, after = text[at - 1], text[at]
    return (
        after in _JOINERS
        or before == "\u200d"
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= after <= "\U000e007f"  # the letters of the flags of England, Scotland, Wales
        or "\u1160" <= after <= "\u11ff"  # a Korean syllable in pieces, as macOS writes file names
        or unicodedata.category(after).startswith("M")
        or unicodedata.combining(before) == _VIRAMA
        or (before, after) == ("\r", "\n")
        or _flag_half(text, at)
    )


def _flag_half(text: str, at: int) -> bool:
    """Whether `at` lies inside a flag: two regional indicators, counted from the start of their run."""
    start = at
    while start > 0 and _regional(text[start - 1]):
        start -= 1
    return _regional(text[at]) and (at - start) % 2 == 1


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _open_fence(piece: str, opening: str) -> str | None:
    """The language of the fence that is open at the end of `piece`; None: no fence is."""
    language = opening[3:-1] if opening else None
    for fence in _FENCE.finditer(piece):
        language = (fence[1] or "") if language is None else None
    return language


def _fence_to_keep_whole(text: str, at: int, room: int) -> int:
    """Where the fence that `at` lies in begins, if it would fit into a part of its own; else 0."""
    fences = [fence.start() for fence in _FENCE.finditer(text[:at])]
    if len(fences) % 2 == 0:
        return 0
    start = text.rfind("\n", 0, fences[-1]) + 1
    end = text.find("```", fences[-1] + 3)
    fits = end >= 0 and units(text[start : end + 3]) <= room
    return start if fits and text[:start].strip() else 0
