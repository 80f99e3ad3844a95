"""What counts as an answer: options and their emoji, the text that is posted, and the decision."""

from __future__ import annotations

from itertools import permutations

import pytest

from spoolbridge import choices, identity, split
from spoolbridge.choices import REACTION, REPLY, Question, Said
from spoolbridge.errors import MessageError
from spoolbridge.incoming import snowflake_at

ASKED = 1_800_000_000.0
DEADLINE = ASKED + 3600
YES_NO = Question(identity.Minter(lambda: ASKED).mint(), ("yes", "no"), DEADLINE)
OPEN = YES_NO._replace(options=())
QUESTION = snowflake_at(ASKED)


def reply(text: str, at: float = ASKED + 60, author: int = 7) -> Said:
    return Said(REPLY, text, "nic", author, snowflake_at(at))


def reaction(emoji: str, author: int = 7) -> Said:
    return Said(REACTION, emoji, "nic", author, QUESTION)


@pytest.mark.parametrize(
    ("options", "signs"),
    [
        (["yes", "no"], ["👍", "👎"]),
        (["No", "Yes"], ["👎", "👍"]),
        (["yes", "no", "later"], ["1️⃣", "2️⃣", "3️⃣"]),
        (["ship it"], ["1️⃣"]),
        ([str(number) * 2 for number in range(10)], [*(f"{n}️⃣" for n in range(1, 10)), "🔟"]),
        ([], []),
    ],
)
def test_each_option_has_an_emoji(options: list[str], signs: list[str]) -> None:
    """Thumbs for yes and no, numbers for everything else."""
    assert signs == list(choices.emojis(options))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("yes", 0), ("  YES ", 0), ("y e s", 0), ("no", 1), ("No\n", 1), ("👍", 0), ("👎🏽", 1), ("👍🏿", 0),
        ("yes!", None), ("yes no", None), ("", None), ("1️⃣", None), ("maybe", None), ("👌", None),
    ],
)  # fmt: skip
def test_which_option_is_meant(text: str, number: int | None) -> None:
    """Case, spaces and the tone of skin aside; anything else is talk, and no answer."""
    assert number == choices.option_of(YES_NO.options, text)


def test_an_emoji_may_come_without_its_selector() -> None:
    """Discord shows `1️⃣` with and without the variation selector, according to who sent it."""
    assert [1, 1] == [choices.option_of(("a", "b", "c"), each) for each in ("2️⃣", "2\u20e3")]


@pytest.mark.parametrize(
    ("question", "replies", "reactions", "decided"),
    [
        pytest.param(YES_NO, [], [], None, id="nothing"),
        pytest.param(YES_NO, [reply("yes")], [], (reply("yes"), 0), id="a reply"),
        pytest.param(YES_NO, [reply("why?")], [], None, id="talk"),
        pytest.param(YES_NO, [], [reaction("👎")], (reaction("👎"), 1), id="a reaction"),
        pytest.param(YES_NO, [], [reaction("🎉")], None, id="another emoji"),
        pytest.param(
            YES_NO, [reply("no", ASKED + 20), reply("yes", ASKED + 10)], [], (reply("yes", ASKED + 10), 0),
            id="the first of two replies",
        ),
        pytest.param(
            YES_NO, [reply("why?", ASKED + 1), reply("no", ASKED + 2)], [], (reply("no", ASKED + 2), 1),
            id="talk before a reply",
        ),
        pytest.param(
            YES_NO, [reply("no")], [reaction("👍")], (reply("no"), 1), id="a reply before reactions"
        ),
        pytest.param(YES_NO, [], [reaction("👍", 7), reaction("👎", 8)], None, id="a contradiction"),
        pytest.param(
            YES_NO, [], [reaction("👍", 7), reaction("👍🏽", 8)], (reaction("👍", 7), 0), id="two of one mind"
        ),
        pytest.param(
            YES_NO, [reply("no")], [reaction("👍", 7), reaction("👎", 8)], (reply("no"), 1),
            id="a reply ends a contradiction",
        ),
        pytest.param(YES_NO, [reply("yes", DEADLINE + 1)], [], None, id="a reply too late"),
        pytest.param(
            YES_NO, [reply("yes", DEADLINE)], [], (reply("yes", DEADLINE), 0), id="a reply just in time"
        ),
        pytest.param(OPEN, [reply("on Tuesday")], [], (reply("on Tuesday"), None), id="any reply"),
        pytest.param(OPEN, [], [reaction("👍")], None, id="no reaction without options"),
        pytest.param(OPEN, [reply("late", DEADLINE + 1)], [], None, id="any reply, too late"),
    ],
)  # fmt: skip
def test_the_decision(
    question: Question, replies: list[Said], reactions: list[Said], decided: tuple[Said, int | None] | None
) -> None:
    """One answer or none, in whatever order the replies are told."""
    for each in permutations(replies):
        assert decided == choices.decide(question, each, reactions)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([""], "cannot be an option"),
        (["a", " "], "cannot be an option"),
        (["a\x1bb"], "cannot be an option"),
        (["x" * 81], "cannot be an option"),
        (["yes", "Y ES"], "two options are the same"),
        ([str(number) for number in range(11)], "11 options are more than 10"),
    ],
)
def test_options_that_cannot_be_told_apart_or_shown(options: list[str], says: str) -> None:
    """Refused before anything is posted."""
    with pytest.raises(MessageError, match=says):
        choices.checked(options)


def test_spaces_around_options() -> None:
    """As they are written behind commas."""
    assert ("yes", "not yet") == choices.checked([" yes", "not  yet "])


def test_the_text_names_options_emoji_and_deadline() -> None:
    """Who reads it on a phone must see what can be answered, how, and until when."""
    text = choices.posted_text("Deploy?\n", ("yes", "no"), 1_800_000_000.5)
    assert text.startswith("Deploy?\n👍 yes\n👎 no\n-# React with one of these, or reply")
    assert "<t:1800000001:f>" in text
    assert "Answer by a reply" in choices.posted_text("When?", (), DEADLINE)


@pytest.mark.parametrize("text", ["x" * 1800, "a\n" * 900, "   ", ""])
def test_a_question_is_one_message(text: str) -> None:
    """Whoever answers a second part would answer nothing; an empty one asks nothing."""
    with pytest.raises(MessageError):
        choices.posted_text(text, ("yes", "no"), DEADLINE)


def test_the_longest_question_fits() -> None:
    """With a rig's prefix and a late stamp, which come later."""
    whole = choices.posted_text("x" * 1600, ("yes", "no"), DEADLINE)
    assert split.units(whole) + 83 + 60 <= 2000
