"""How wide and high a picture is, read from its first bytes: PNG, GIF and JPEG. Pure."""

from __future__ import annotations

import struct

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
BARE = frozenset({0x01, *range(0xD0, 0xDA)})  # JPEG's markers without a length
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # those that tell the size


def dots(data: bytes) -> tuple[int, int] | None:
    """(width, height); None where it is no such picture."""
    if data.startswith(PNG) and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        width, height = struct.unpack("<HH", data[6:10])
        return width, height
    return _jpeg(data) if data.startswith(JPEG) else None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 if marker in BARE else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return None
