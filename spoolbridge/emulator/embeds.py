"""The embeds of a message: Discord's limits on them. Pure.

Lengths are in Unicode code points, limits inclusive, counted after the server has trimmed white space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spoolbridge.emulator import coerce
from spoolbridge.emulator.refusals import invalid, too_long

MAX_EMBEDS = 10
MAX_FIELDS = 25  # fields an embed
MAX_TEXT = 6000  # code points of all embeds together
MAX_URL = 2048
TEXTS = {"title": 256, "description": 4096}
INNER = {("footer", "text"): 2048, ("author", "name"): 256}
#: What a caller may set; Discord drops the rest without a word.
KEPT = (
    "title", "description", "url", "timestamp", "color", "footer", "image", "thumbnail", "author", "fields",
)  # fmt: skip
FIELD = {"name": 256, "value": 1024}

Embed = Mapping[str, Any]


def check(value: Any) -> tuple[Embed, ...]:
    """The embeds of a request, each of type rich. Raises RefusalError 50035."""
    embeds = coerce.listed("embeds", value)
    if len(embeds) > MAX_EMBEDS:
        raise too_long("embeds", MAX_EMBEDS)
    total = 0
    for index, embed in enumerate(embeds):
        coerce.mapping(f"embeds.{index}", embed)
        for path, text, most in _texts(f"embeds.{index}", embed):
            if len(text) > most:
                raise too_long(path, most)
            total += 0 if path.endswith(".url") else len(text)
    if total > MAX_TEXT:
        message = f"Embed size exceeds maximum size of {MAX_TEXT}"
        raise invalid("embeds", "MAX_EMBED_SIZE_EXCEEDED", message)
    return tuple({"type": "rich", **{key: embed[key] for key in KEPT if key in embed}} for embed in embeds)


def _texts(path: str, embed: Embed) -> Iterator[tuple[str, str, int]]:
    """(path, text, most code points) of every text in one embed."""
    for key, most in {**TEXTS, "url": MAX_URL}.items():
        yield f"{path}.{key}", _text(f"{path}.{key}", embed.get(key)), most
    for (key, inner), most in INNER.items():
        if embed.get(key) is not None:
            held = coerce.mapping(f"{path}.{key}", embed[key])
            yield f"{path}.{key}.{inner}", _text(f"{path}.{key}.{inner}", held.get(inner)), most
    fields = coerce.listed(f"{path}.fields", embed.get("fields"))
    if len(fields) > MAX_FIELDS:
        raise too_long(f"{path}.fields", MAX_FIELDS)
    for index, field in enumerate(fields):
        coerce.mapping(f"{path}.fields.{index}", field)
        for key, most in FIELD.items():
            text = _text(f"{path}.fields.{index}.{key}", field.get(key))
            if not text:
                raise invalid(f"{path}.fields.{index}.{key}", "BASE_TYPE_REQUIRED", "This field is required")
            yield f"{path}.fields.{index}.{key}", text, most


def _text(path: str, value: Any) -> str:
    return coerce.text(path, value).strip()
