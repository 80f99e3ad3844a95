"""What people can answer to a question, and what counts as an answer. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spoolbridge import identity, outgoing, split
from spoolbridge.errors import MessageError
from spoolbridge.incoming import snowflake_time

REPLY, REACTION = "reply", "reaction"

MOST_OPTIONS = 10
LONGEST_OPTION = 80  # characters
_LONGEST_TEXT = 1800  # UTF-16 units of what is posted: with a rig and a late stamp it is still one message

_YES_NO = {"yes": "👍", "no": "👎"}
_NUMBERS = (*(f"{number}\ufe0f\u20e3" for number in range(1, MOST_OPTIONS)), "🔟")
#: What may differ in an emoji that means the same: the variation selector, and the tones of skin.
_SHADES = dict.fromkeys((0xFE0F, *range(0x1F3FB, 0x1F400)))


class Question(NamedTuple):
    """What was asked; `deadline` in unix seconds. Without options any reply is an answer."""

    id: str
    options: tuple[str, ...]
    deadline: float

    @property
    def asked(self) -> float:
        """When, in unix seconds."""
        return identity.time_of(self.id)


class Said(NamedTuple):
    """What somebody who may answer said. `text`: their words, or the emoji. `message_id` is the reply's, or
    the question's where it is a reaction."""

    how: str
    text: str
    author: str
    author_id: int
    message_id: int


def emojis(options: Sequence[str]) -> tuple[str, ...]:
    """The emoji that stands for each option."""
    plain = [_plain(each) for each in options]
    if sorted(plain) == sorted(_YES_NO):
        return tuple(_YES_NO[each] for each in plain)
    return _NUMBERS[: len(options)]


def checked(options: Iterable[str]) -> tuple[str, ...]:
    """The options, spaces around them removed. Raises MessageError."""
    found = tuple(" ".join(each.split()) for each in options)
    if len(found) > MOST_OPTIONS:
        raise MessageError(f"{len(found)} options are more than {MOST_OPTIONS}", "ask for fewer")
    for each in found:
        if not each or len(each) > LONGEST_OPTION or not each.isprintable():
            hint = f"it is one line of at most {LONGEST_OPTION} characters"
            raise MessageError(f"{each[:40]!r} cannot be an option", hint)
    if len({_plain(each) for each in found}) < len(found):
        raise MessageError("two options are the same", "case and spaces do not tell them apart")
    return found


def posted_text(text: str, options: Sequence[str], deadline: float) -> str:
    """The question as it is posted: with an emoji for each option, and how to answer. Raises MessageError."""
    until = f"until <t:{math.ceil(deadline)}:f>"
    if not text.strip():
        raise MessageError("the question is empty", "say what people shall answer")
    if options:
        choices = "\n".join(f"{sign} {each}" for sign, each in zip(emojis(options), options, strict=True))
        how = "React with one of these, or reply to this message with one of the words"
        whole = f"{text.rstrip()}\n{choices}\n-# {how}, {until}."
    else:
        whole = f"{text.rstrip()}\n-# Answer by a reply to this message, {until}."
    if split.units(whole) > _LONGEST_TEXT or len(outgoing.compose(outgoing.parse("", whole.encode()))) > 1:
        raise MessageError("the question does not fit into one message", "send the long part before it")
    return whole


def option_of(options: Sequence[str], text: str) -> int | None:
    """Which option a text or an emoji means; case, spaces and the tone of skin aside."""
    plain = _plain(text)
    for number, (option, sign) in enumerate(zip(options, emojis(options), strict=True)):
        if plain == _plain(option) or plain.translate(_SHADES) == sign.translate(_SHADES):
            return number
    return None


def decide(
    question: Question, replies: Iterable[Said], reactions: Iterable[Said]
) -> tuple[Said, int | None] | None:
    """The answer and which option it is; None: there is none yet. What was said is by people who may answer.

    The first reply in time that is an option (without options: the first reply) decides. Reactions have no
    time on Discord: they decide where no reply does, and only if they do not contradict each other.
    """
    for said in sorted(replies, key=lambda each: each.message_id):
        if snowflake_time(said.message_id) > question.deadline:
            continue
        number = option_of(question.options, said.text)
        if number is not None or not question.options:
            return said, number
    votes: dict[int, Said] = {}
    for said in reactions:
        if (number := option_of(question.options, said.text)) is not None:
            votes.setdefault(number, said)
    if len(votes) != 1:
        return None
    [(number, said)] = votes.items()
    return said, number


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
