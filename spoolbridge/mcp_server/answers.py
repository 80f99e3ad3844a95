"""What a model is told: one short line and structured content; an error says what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mcp import types

from spoolbridge import asks, framing
from spoolbridge.asks import Answer
from spoolbridge.errors import (
    ChannelsError,
    MessageError,
    NoMessageError,
    SpoolbridgeError,
    SpoolError,
    UnknownChannelError,
)

_MOST_OF_A_LINE = 600  # characters; a reason of Discord's may be longer

#: The first class that fits names the refusal.
_CODES: tuple[tuple[type[SpoolbridgeError], str], ...] = (
    (UnknownChannelError, "unknown_channel"),
    (ChannelsError, "no_channels"),
    (MessageError, "bad_message"),
    (NoMessageError, "unknown_message"),
    (SpoolError, "no_spool"),
    (SpoolbridgeError, "error"),
)

log = logging.getLogger(__name__)


def result(
    line: str, told: Mapping[str, Any], *, is_error: bool = False, more: str = ""
) -> types.CallToolResult:
    """One line, and behind it, where there is `more`, that as a block of its own."""
    text = " ".join(line.split())
    if len(text) > _MOST_OF_A_LINE:
        text = text[: _MOST_OF_A_LINE - 1] + "…"
    blocks: list[types.ContentBlock] = [types.TextContent(type="text", text=text)]
    if more:
        blocks.append(types.TextContent(type="text", text=more))
    return types.CallToolResult(content=blocks, structured_content=dict(told), is_error=is_error)


def people_said(answer: Answer) -> types.CallToolResult:
    """What came of a question; words that people chose stand in a frame."""
    told = answer.told()
    if answer.status == asks.FAILED:
        return result(f"the question failed: {answer.reason}", told, is_error=True)
    if answer.status == asks.TIMED_OUT:
        return result(f"nobody answered in time{answer.reason and f'; {answer.reason}'}", told)
    text = framing.fitting(answer.text, framing.MOST_OF_ONE)
    cut = {"cut": True} if text != answer.text else {}
    told |= {"text": text, "notice": framing.NOTICE, **cut}
    line = f"answered by a {answer.how}: {answer.option or 'see the text'}"
    about = {"id": answer.message_id, "channel": answer.channel, "author": answer.author, "text": text}
    return result(line, told, more=framing.framed([{**about, **cut, "file": "its message on Discord"}]))


def refused(
    code: str, what: str, hint: str, *, retriable: bool = False, choices: Sequence[str] = ()
) -> types.CallToolResult:
    """A call that was not carried out, for a reason that the model can do something about."""
    log.warning("refused a call: %s", code)
    told: dict[str, Any] = {"status": "refused", "code": code, "retriable": retriable, "hint": hint}
    if choices:
        told["choices"] = list(choices)
    line = f"refused, nothing was stored: {what}{f'; {hint}' if hint else ''}"
    return result(line, told, is_error=True)


def refusal(error: SpoolbridgeError, *, problem: str = "") -> types.CallToolResult:
    """`problem`: why the channels file cannot be read since it was changed."""
    code = next(code for kind, code in _CODES if isinstance(error, kind))
    choices: tuple[str, ...] = ()
    hint = error.hint or "correct it and call again"
    if isinstance(error, UnknownChannelError):
        choices = error.choices
        if problem:
            hint = f"{hint}; the file cannot be read since it was changed: {problem}"
    return refused(code, error.what, hint, retriable=error.transient, choices=choices)
