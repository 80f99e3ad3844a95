"""What can stand for an emoji: in a header, and in a path of Discord's."""

from __future__ import annotations

import re

#: `name:id` of a guild's own emoji, also as people copy it: `<:name:id>`, `<a:name:id>`.
_CUSTOM = re.compile(r"<?(?:a?:)?(\w{2,32}:\d{15,20})>?", re.ASCII)
_LONGEST = 32  # code points; families and flags are sequences of several

FORM = "one emoji such as ✅, or name:id of the guild's own"


def name(text: str) -> str:
    """The name that Discord's path wants: the emoji itself, or `name:id` of a guild's own.

    Raises ValueError for anything else. Every standard emoji holds a character beyond ASCII, so plain
    words, empty text and dots are told apart without a table.
    """
    stripped = text.strip()
    if custom := _CUSTOM.fullmatch(stripped):
        return custom[1]
    if stripped.isascii() or any(character.isspace() for character in stripped) or len(stripped) > _LONGEST:
        raise ValueError(f"it is {FORM}")
    return stripped.encode("utf-8", "replace").decode("utf-8")
