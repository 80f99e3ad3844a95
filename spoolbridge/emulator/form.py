"""What a request to create or edit a message may say, checked as Discord checks it.

Pure. `read` turns a JSON body and its files into a `Form` or raises the `RefusalError` that Discord would
answer. Lengths are in Unicode code points (discord-api-docs #1315).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spoolbridge.emulator import coerce, embeds, mentions, poll, refusals
from spoolbridge.emulator.objects import SUPPRESS_EMBEDS, SUPPRESS_NOTIFICATIONS, Upload
from spoolbridge.emulator.refusals import invalid, too_long

MAX_CONTENT = 2000  # code points that a bot may post
MAX_SCHEMA = 4000  # code points above which the schema, not the route, refuses: another sentence
MAX_NONCE = 25  # characters
MAX_FILES = 10  # files a message
MAX_DESCRIPTION = 1024  # code points of a file's alt text
#: Flags that a caller may set; Discord drops the others without a word.
SETTABLE = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | 1 << 13 | 1 << 15


@dataclass(frozen=True)
class Form:
    """A checked request. `nonce` is as it came; `nonce_key` is its text, empty where there is none."""

    content: str = ""
    nonce: str | int | None = None
    enforce_nonce: bool = False
    tts: bool = False
    flags: int = 0
    embeds: tuple[Mapping[str, Any], ...] = ()
    allowed_mentions: Mapping[str, Any] | None = None
    reply_to: Mapping[str, Any] | None = None
    uploads: tuple[Upload, ...] = ()
    poll: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nonce_key(self) -> str:
        return "" if self.nonce is None else str(self.nonce)

    @property
    def is_empty(self) -> bool:
        return not (self.content or self.embeds or self.uploads or self.poll or self.extra)


def read(body: Mapping[str, Any], uploads: Sequence[Upload] = ()) -> Form:
    """The form in a request's body. Raises RefusalError (50035, 30015) as Discord does."""
    reference = body.get("message_reference")
    return Form(
        content=_content(body.get("content")),
        nonce=_nonce(body.get("nonce")),
        enforce_nonce=coerce.boolean("enforce_nonce", body.get("enforce_nonce")),
        tts=coerce.boolean("tts", body.get("tts")),
        flags=_flags(body.get("flags")),
        embeds=embeds.check(body.get("embeds")),
        allowed_mentions=mentions.check(body.get("allowed_mentions")),
        reply_to=None if reference is None else coerce.mapping("message_reference", reference),
        uploads=_uploads(body.get("attachments"), uploads),
        poll=poll.read(body.get("poll")),
        extra={"components": body["components"]} if body.get("components") else {},
    )


def _content(value: Any) -> str:
    text = coerce.text("content", value)
    for limit in (MAX_SCHEMA, MAX_CONTENT):
        if len(text) > limit:
            raise too_long("content", limit)
    return text.strip()


def _nonce(value: Any) -> str | int | None:
    if value is None:
        return None
    if isinstance(value, str):
        if len(value) > MAX_NONCE:
            raise too_long("nonce", MAX_NONCE)
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise invalid("nonce", "NONCE_TYPE_INVALID", "Must be a string or a 64-bit integer.")
    return value


def _flags(value: Any) -> int:
    return 0 if value is None else coerce.integer("flags", value) & SETTABLE


def _uploads(described: Any, uploads: Sequence[Upload]) -> tuple[Upload, ...]:
    """The files of a request, named and described by its `attachments` where those say anything."""
    if len(uploads) > MAX_FILES:
        raise refusals.too_many_files()
    found = list(uploads)
    for index, entry in enumerate(coerce.listed("attachments", described)):
        path = f"attachments.{index}"
        said = coerce.mapping(path, entry)
        description = coerce.text(f"{path}.description", said.get("description"))
        if len(description) > MAX_DESCRIPTION:
            raise too_long(f"{path}.description", MAX_DESCRIPTION)
        which = coerce.snowflake(f"{path}.id", said.get("id"))
        name = coerce.text(f"{path}.filename", said.get("filename"))
        if which < len(found):
            old = found[which]
            found[which] = replace(old, filename=name or old.filename, description=description or None)
    return tuple(found)
