"""A payload and files become one request body.

Promises: one request carries text and files together; a name from a file system reaches Discord as a plain
name, with no path, no quote and no control character in it. Must never read a file: the bytes are given.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import FormData

#: Characters of a file's name; Discord shows far fewer, file systems take no more.
LONGEST_NAME = 120
_UNNAMED = "file"
_BINARY = "application/octet-stream"
_JSON = json.JSONEncoder(separators=(",", ":"))
_UNSAFE = frozenset('"\\/:<>|?*')


@dataclass(frozen=True)
class Upload:
    """One file to attach. `content_type` is a MIME type, or None: bytes of no known kind."""

    name: str
    data: bytes
    content_type: str | None = None


def json_body(payload: Mapping[str, object]) -> bytes:
    """The payload as ASCII JSON; a lone surrogate passes as an escape instead of failing."""
    return _JSON.encode(payload).encode("ascii")


def form(payload: Mapping[str, object], files: Sequence[Upload]) -> FormData:
    """A multipart body for one request; it cannot be sent twice."""
    names = [safe_name(upload.name) for upload in files]
    listed = [{"id": number, "filename": name} for number, name in enumerate(names)]
    # Quoting would percent-encode the name, and Discord would show it so (measured).
    fields = FormData(quote_fields=False)
    described = json_body({"attachments": listed, **payload}).decode("ascii")
    fields.add_field("payload_json", described, content_type="application/json")
    for number, (name, upload) in enumerate(zip(names, files, strict=True)):
        kind = upload.content_type or _BINARY
        # A stream, because aiohttp warns of large bytes; it reads this one without blocking the loop.
        fields.add_field(f"files[{number}]", io.BytesIO(upload.data), filename=name, content_type=kind)
    return fields


def safe_name(name: str) -> str:
    """The last part of a path, without what a header or a file system could read as something else."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    kept = "".join("_" if _unsafe(character) else character for character in last).strip(" .")
    if len(kept) > LONGEST_NAME:
        stem, dot, suffix = kept.rpartition(".")
        tail = dot + suffix if stem and len(suffix) <= 16 else ""
        kept = kept[: LONGEST_NAME - len(tail)] + tail
    return kept or _UNNAMED


def _unsafe(character: str) -> bool:
    return character in _UNSAFE or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
