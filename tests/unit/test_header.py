"""The options: exactly behind the magic line, every typo refused, and what is written is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoolbridge import header
from spoolbridge.errors import MessageError
from spoolbridge.header import MAGIC, Options

_IDS = st.integers(1, 2**64 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_RIGS = st.from_regex(r"[\w./-]([\w./ -]{0,78}[\w./-])?", fullmatch=True)
#: Key → (what is written, the option that it means).
_VALUES: dict[str, st.SearchStrategy[tuple[str, dict[str, object]]]] = {
    "Reply-To": _IDS.map(lambda each: (str(each), {"reply_to": each})),
    "Thread": _IDS.map(lambda each: (str(each), {"thread": each})),
    "Rig": _RIGS.map(lambda each: (each, {"rig": each})),
    "Mentions": st.one_of(
        st.just(("none", {"mentions": ()})),
        st.just(("users", {"mentions": None})),
        st.lists(_IDS, min_size=1, max_size=100).map(
            lambda ids: (", ".join(map(str, ids)), {"mentions": tuple(ids)})
        ),
    ),
    "Not-After": st.datetimes(timezones=st.just(UTC)).map(
        lambda each: (each.isoformat(), {"not_after": each.timestamp()})
    ),
    "Silent": st.just(("yes", {"silent": True})),
    "Embeds": st.just(("suppress", {"suppress_embeds": True})),
}


def refused(text: str) -> str:
    """What is said of a header that is wrong."""
    with pytest.raises(MessageError) as raised:
        header.parse(text)
    return str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "Note: not a header\n\nhello",
        "Subject: hi\n\nhello",
        "---\ntitle: x\n---\n",
        "spoolbridge: 1\n\nx",
        "Spoolbridge: 1 \n\nx",
        " Spoolbridge: 1\n\nx",
        "Spoolbridge: 2\n\nx",
        "Spoolbridge: 1x\n",
        "\nSpoolbridge: 1\n\nx",
    ],
)
def test_nothing_is_guessed_to_be_a_header(text: str) -> None:
    """Only the exact first line opens one; everything else is text, to the last character."""
    assert (Options(), text) == header.parse(text)


def test_every_option() -> None:
    """Each key, as it is documented."""
    text = (
        "Spoolbridge: 1\nReply-To: 1467106918538678293\nThread: 1467106918538678294\n"
        "Rig: villacalculatecost3\nMentions: 1, 2,3\nNot-After: 2026-11-22T12:00:00Z\nSilent: yes\n"
        "Embeds: suppress\nX-Whatever: anything at all\n\nHello\n\nvilla"
    )
    expected = Options(
        reply_to=1467106918538678293,
        thread=1467106918538678294,
        rig="villacalculatecost3",
        mentions=(1, 2, 3),
        not_after=datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp(),
        silent=True,
        suppress_embeds=True,
    )
    assert (expected, "Hello\n\nvilla") == header.parse(text)


def test_without_a_line_nothing_is_asked_for() -> None:
    """Nobody is pinged by default."""
    assert ((), None, False) == (Options().mentions, Options().reply_to, Options().silent)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("none", ()), ("", ()), ("users", None), ("5", (5,)), ("5,6", (5, 6)), ("5 , 6", (5, 6))],
)
def test_mentions(value: str, expected: tuple[int, ...] | None) -> None:
    """None: every user that the text names."""
    assert expected == header.parse(f"{MAGIC}\nMentions: {value}\n\nx")[0].mentions


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (MAGIC, ""),
        (f"{MAGIC}\n", ""),
        (f"{MAGIC}\n\n", ""),
        (f"{MAGIC}\n\nx", "x"),
        (f"{MAGIC}\n\n\nx", "\nx"),
        (f"{MAGIC}\nSilent: yes", ""),
        (f"{MAGIC}\nSilent: yes\n\n", ""),
        (f"{MAGIC}\nSilent: yes\n\n\n\nx", "\n\nx"),
        (f"{MAGIC}\nsilent:yes\n\nx", "x"),
        (f"{MAGIC}\n  Silent  :  YES  \n\nx", "x"),
        (f"{MAGIC}\n\n{MAGIC}\n\nx", f"{MAGIC}\n\nx"),
    ],
)
def test_the_empty_line_ends_it(text: str, body: str) -> None:
    """The first one; keys forgive case and blanks."""
    assert body == header.parse(text)[1]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("Repy-To: 5", "line 2: unknown header 'Repy-To'; did you mean Reply-To?"),
        ("Silent: yes\nMention: none", "line 3: unknown header 'Mention'; did you mean Mentions?"),
        ("hello there", "line 2: unknown header 'hello there'"),
        ("x-lower: skipped only as X-", "line 2: unknown header 'x-lower'"),
        (": 5", "line 2: unknown header ''"),
        ("Silent: yes\nSILENT: yes", "line 3: SILENT stands there twice"),
        ("Reply-To: abc", "line 2: 'abc' cannot stand here; it is an id"),
        ("Reply-To: -5", "line 2: '-5' cannot stand here"),
        ("Reply-To: 5.0", "line 2: '5.0' cannot stand here"),
        ("Reply-To: ５", "line 2: '５' cannot stand here"),
        ("Reply-To:", "line 2: '' cannot stand here"),
        ("Reply-To: " + "9" * 5000, "longer than 4096 bytes"),
        ("Reply-To: " + "9" * 400, "cannot stand here"),
        (f"Thread: {'x' * 101}", "cannot stand here; it is a thread's id, or its name"),
        (f"Thread: {'1' * 21}", "cannot stand here; it is an id"),
        ("React: ok", "cannot stand here; it is one emoji such as"),
        (f"Dedupe-Key: {'x' * 201}", "cannot stand here; it is a text of at most 200"),
        ("Rig: a\x1b[31m", "cannot stand here; it is one line of letters, digits and signs"),
        ("Rig: @everyone", "cannot stand here; it is a rig's name"),
        ("Rig: " + "x" * 81, "cannot stand here"),
        ("Mentions: everyone", "cannot stand here; it is none, users"),
        ("Mentions: " + ",".join(["1"] * 101), "cannot stand here"),
        ("Mentions: 1,,2", "cannot stand here"),
        ("Mentions: ²", "cannot stand here"),
        ("Not-After: tomorrow", "cannot stand here; it is a time such as"),
        ("Not-After: 2026-11-22T12:00:00", "cannot stand here; it is a time such as"),
        ("Not-After: 2026-11-22", "cannot stand here"),
        ("Silent: no", "cannot stand here; it is 'yes'"),
        ("Embeds: off", "cannot stand here; it is 'suppress'"),
        ("X-Long: " + "x" * 4096, "the header is longer than 4096 bytes; end it with an empty line"),
    ],
)
def test_what_is_refused(lines: str, said: str) -> None:
    """A typo that was skipped would send a wrong message: the line is named, and what it should be."""
    assert said in refused(f"{MAGIC}\n{lines}\n\ntext")


@pytest.mark.parametrize(
    "lines",
    ["Mentions: " + ",".join(["1"] * 100), "X-Long: " + "x" * (4096 - len("X-Long: ")), "Rig: " + "x" * 80],
)
def test_the_most_that_goes(lines: str) -> None:
    """A limit is the last that is allowed."""
    assert "text" == header.parse(f"{MAGIC}\n{lines}\n\ntext")[1]


def test_an_unknown_key_is_told_all_there_are() -> None:
    """And how a header ends, for who did not mean one."""
    said = refused(f"{MAGIC}\nhello there\n\ntext")
    assert f"there are {', '.join(header.KEYS)}; an empty line ends the header" in said


@pytest.mark.parametrize("secret", ["x" * 3000, "\u202e" * 200])
def test_a_refusal_quotes_little(secret: str) -> None:
    """A sentence stays a sentence, whatever somebody wrote into the file."""
    assert len(refused(f"{MAGIC}\n{secret}: 1\n\ntext")) < 400
    assert len(refused(f"{MAGIC}\nRig: {secret}!\n\ntext")) < 400


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-11-22T12:00:00Z", 1795348800.0),
        ("2026-11-22T12:00:00+01:00", 1795345200.0),
        ("2026-11-22 12:00:00.5-04:00", 1795363200.5),
        ("20261122T120000Z", 1795348800.0),
    ],
)
def test_not_after(when: str, expected: float) -> None:
    """Any RFC 3339 time, in unix seconds."""
    assert expected == header.parse(f"{MAGIC}\nNot-After: {when}\n\nx")[0].not_after


@given(_TEXTS, st.fixed_dictionaries({}, optional=_VALUES))
@example(MAGIC, {})
@example(f"{MAGIC}\nReply-To: 5\n\nx", {})
@example(f"{MAGIC}x", {})
@example("\n\n", {"Silent": ("yes", {"silent": True})})
@example("", {"Silent": ("yes", {"silent": True})})
def test_what_is_rendered_is_read(text: str, asked: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """The text to the last character, and every option."""
    rendered = header.render(text, {key: written for key, (written, _) in asked.items()})
    meant = {name: value for _, option in asked.values() for name, value in option.items()}
    assert (Options(**meant), text) == header.parse(rendered.decode())


def test_a_text_that_looks_like_a_header_is_not_taken_for_one() -> None:
    """An agent quoting this very format says what it meant to say."""
    text = "Spoolbridge: 1\nReply-To: 5\n\nquoted"
    assert (Options(), text) == header.parse(header.render(text, {}).decode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Rig", "a\nReply-To: 5"),
        ("Rig", "a\r"),
        ("Mentions", "1,\n2"),
        ("Not-After", "2026-11-22\n12:00:00+00:00"),
        ("Reply-To", "5\n\nnot what was meant"),
        ("Reply-To", "５"),
    ],
)
def test_no_value_breaks_out_of_its_line(key: str, value: str) -> None:
    """Whoever renders what a model said must not be made to ask for something else."""
    with pytest.raises(MessageError):
        header.render("text", {key: value})


def test_what_is_no_unicode_is_replaced() -> None:
    """Lone surrogates cannot be written; the message still goes out."""
    assert b"a?b" == header.render("a\udc80b", {})


@given(st.text(max_size=300))
def test_any_header_is_read_or_refused(text: str) -> None:
    """Never anything but MessageError."""
    try:
        header.parse(f"{MAGIC}\n{text}")
    except MessageError as error:
        assert str(error)


@given(
    st.lists(st.tuples(st.sampled_from([*header.KEYS, "X-A", "Rgi", ""]), st.text(max_size=30)), max_size=9)
)
def test_any_value_is_read_or_refused(lines: list[tuple[str, str]]) -> None:
    """With real keys in front of nonsense, which gets further than nonsense alone."""
    try:
        header.parse("\n".join([MAGIC, *(f"{key}: {value}" for key, value in lines), "", "x"]))
    except MessageError as error:
        assert str(error)
