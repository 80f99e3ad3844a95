"""Polls: what a request asks for, and what a message then shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoolbridge.emulator import coerce
from spoolbridge.emulator.refusals import invalid, too_long
from spoolbridge.emulator.snowflake import iso

MAX_QUESTION = 300  # code points
MAX_ANSWER = 55  # code points
MAX_ANSWERS = 10
HOURS = (1, 24, 768)  # the shortest, the usual and the longest life of a poll


def read(value: Any) -> Mapping[str, Any] | None:
    """The poll of a request, checked; None where there is none. Raises RefusalError 50035."""
    if not value:
        return None
    said = coerce.mapping("poll", value)
    answers = coerce.listed("poll.answers", said.get("answers"))
    if not 1 <= len(answers) <= MAX_ANSWERS:
        message = f"Must be between 1 and {MAX_ANSWERS} in length."
        raise invalid("poll.answers", "BASE_TYPE_BAD_LENGTH", message)
    hours = coerce.integer("poll.duration", said.get("duration") or HOURS[1])
    if not HOURS[0] <= hours <= HOURS[2]:
        message = f"Value should be between {HOURS[0]} and {HOURS[2]}."
        raise invalid("poll.duration", "NUMBER_TYPE_MAX", message)
    return {
        "question": {"text": _media("poll.question", said.get("question"), MAX_QUESTION)},
        "answers": [_answer(index, answer) for index, answer in enumerate(answers)],
        "hours": hours,
        "allow_multiselect": coerce.boolean("poll.allow_multiselect", said.get("allow_multiselect")),
    }


def _answer(index: int, value: Any) -> dict[str, Any]:
    path = f"poll.answers.{index}"
    media = coerce.mapping(path, value).get("poll_media")
    text = _media(f"{path}.poll_media", media, MAX_ANSWER)
    return {"answer_id": index + 1, "poll_media": {"text": text}}


def _media(path: str, value: Any, most: int) -> str:
    text = coerce.text(f"{path}.text", coerce.mapping(path, value).get("text")).strip()
    if not text:
        raise invalid(f"{path}.text", "BASE_TYPE_REQUIRED", "This field is required")
    if len(text) > most:
        raise too_long(f"{path}.text", most)
    return text


def shown(poll: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A checked poll as its message shows it from `now` (seconds) on: nobody has voted yet."""
    return {
        "question": poll["question"],
        "answers": poll["answers"],
        "expiry": iso(now + poll["hours"] * 3600),
        "allow_multiselect": poll["allow_multiselect"],
        "layout_type": 1,
        "results": {"is_finalized": False, "answer_counts": []},
    }
