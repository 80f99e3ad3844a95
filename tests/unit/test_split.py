"""Splitting: nothing lost, nothing broken, nothing too long."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoolbridge.split import LIMIT, split, units

#: What a reader takes for one thing; a cut may lie between two of these and never inside one.
_ATOMS = [
    "<@80351110224678912>", "<@!80351110224678912>", "<#1467106918538678293>", "<@&1467106918538678293>",
    "<:villa:1467106918538678293>", "<a:dance:1467106918538678293>", "<t:1800000000:R>", "</ask now:146710>",
    "😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "👩🏿‍🚀", "🇻🇪", "🇺🇦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "1️⃣",
    "e\u0301", "n\u0303\u0302", "ক্ষি", "\u1112\u1161\u11ab", "\r\n", "a", "Z", "9", "-", "ß", "永",
    "word", "a longer run of words", " ", "  ", "\n", "\n\n", "\n \n",
]  # fmt: skip
_WHOLE = [atom for atom in _ATOMS if len(atom) > 1 and not atom.replace(" ", "").isalpha() and atom.strip()]
_FENCES = ["\n```\n", "\n```py\n", "```", "\n```c++\n", "`", "``", "````"]


def runs(atoms: list[str]) -> st.SearchStrategy[list[str]]:
    """Long lists cheaply: runs of one atom, so that the cuts fall among all kinds of neighbours."""
    run = st.tuples(st.sampled_from(atoms), st.integers(1, 200)).map(lambda pair: [pair[0]] * pair[1])
    pieces = st.lists(run, max_size=40).map(lambda lists: [atom for each in lists for atom in each])
    return pieces.map(lambda found: found[:6000])


def pieces(text: str, parts: list[str]) -> list[tuple[int, str]]:
    """(where it stands in `text`, the piece of it that each part carries), the added fence lines taken off.

    Fails where the parts are not the text, in order and without a gap but for white space alone.
    """
    found = next(_readings(text, 0, parts, ""), None)
    assert found is not None, "the parts are not the text"
    return found


def _readings(text: str, at: int, parts: list[str], opening: str) -> Iterator[list[tuple[int, str]]]:
    """Every way to read the parts as pieces of the text: a fence's end may be the text's or added."""
    if not parts:
        if not text[at:].strip():
            yield []
        return
    if not parts[0].startswith(opening):
        return
    carried = parts[0].removeprefix(opening)
    added = [end for end in ("", "\n```", "```") if carried.endswith(end)]
    for piece in [carried.removesuffix(end) for end in added]:
        start = text.find(piece, at)
        inside = _opening(piece, opening)
        closed = piece != carried
        if start >= 0 and not text[at:start].strip() and (closed == bool(inside) or len(parts) == 1):
            for others in _readings(text, start + len(piece), parts[1:], inside):
                yield [(start, piece), *others]


def _opening(piece: str, opening: str) -> str:
    """The line that must open the next part: counted from the text, as a reader would."""
    inside = opening
    rest = piece
    while "```" in rest:
        _, _, rest = rest.partition("```")
        if inside:
            inside = ""
            continue
        language, newline, _ = rest.partition("\n")
        named = (
            bool(newline) and 0 < len(language) <= 20 and all(c.isalnum() or c in "_+#.-" for c in language)
        )
        inside = f"```{language}\n" if named else "```\n"
    return inside


def cuts(text: str, parts: list[str]) -> list[int]:
    """The indexes at which the text was cut."""
    found = pieces(text, parts)
    return [start + len(piece) for start, piece in found[:-1]]


def borders(atoms: list[str]) -> set[int]:
    """The indexes between two atoms; a word may be cut where it must be."""
    at, found = 0, {0}
    for atom in atoms:
        word = atom.isascii() and atom.replace(" ", "").isalpha()
        if word or (atom != "\r\n" and not atom.strip()):
            found |= set(range(at, at + len(atom)))
        at += len(atom)
        found.add(at)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0), ("a", 1), ("ä永", 2), ("😀", 2), ("a😀b", 4), ("👩‍👧", 5), ("🇻🇪", 4), ("a\ud83d", 2)],
)
def test_units(text: str, expected: int) -> None:
    """UTF-16, as JavaScript counts; never fewer than code points."""
    assert expected == units(text) == len(text) + sum(character > "\uffff" for character in text)


@pytest.mark.parametrize("text", ["x", "x" * LIMIT, "😀" * (LIMIT // 2), " x \n", "```\ncode\n```"])
def test_what_fits_is_left_alone(text: str) -> None:
    """One part, exactly the text."""
    assert [text] == split(text)


@pytest.mark.parametrize("text", ["", " ", "\n" * 5000, " \t\n" * 3000])
def test_nothing_to_say(text: str) -> None:
    """Discord refuses white space alone (50006): no part."""
    assert [] == split(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 1500 + "\n\n" + "b" * 100 + "\n" + "c" * 300 + " " + "d" * 800, ["a" * 1500 + "\n\n"]),
        ("a" * 1500 + "\n" + "b" * 300 + " " + "d" * 800, ["a" * 1500 + "\n"]),
        ("a" * 1500 + " " + "b" * 300 + " " + "d" * 800, ["a" * 1500 + " " + "b" * 300 + " "]),
        ("a" * 100 + "\n\n" + "b" * 1500 + "\n" + "c" * 800, ["a" * 100 + "\n\n" + "b" * 1500 + "\n"]),
    ],
)
def test_where_it_is_cut(text: str, expected: list[str]) -> None:
    """After a paragraph, else a line, else a word, where that leaves the part reasonably full."""
    assert expected == split(text)[:1]


def test_one_long_word() -> None:
    """Between two characters, each part as full as it may be with room for a fence's end."""
    parts = split("x" * 5000)
    assert "x" * 5000 == "".join(parts)
    assert 3 == len(parts)


def test_a_fence_that_fits_is_kept_whole() -> None:
    """The text before it goes out first."""
    before, code = "word " * 300, "```py\n" + "print(1)\n" * 150 + "```"
    assert [before.rstrip(" ") + "\n", code + "\nafter"] == [
        part.rstrip(" ") for part in split(before.rstrip(" ") + "\n" + code + "\nafter")
    ]


def test_a_longer_fence_is_closed_and_opened_again() -> None:
    """With its language; every part shows as code."""
    code = "".join(f"print({number})\n" for number in range(1000))
    parts = split(f"look:\n```py\n{code}```\nthat was it")
    assert all(2 == part.count("```") for part in parts)
    assert all(part.startswith("```py\n") for part in parts[1:])
    assert all(part.endswith("\n```") for part in parts[:-1])


@pytest.mark.parametrize("length", range(1975, 1991))
def test_no_part_begins_with_an_empty_fence(length: int) -> None:
    """Where the fence ends just at the limit, its own end is taken along."""
    parts = split("```py\n" + "x" * length + "\n```\n" + "y" * 3000)
    assert all("```py\n```" not in part for part in parts)
    assert [True, False, False] == ["```" in part for part in parts]


def test_text_behind_a_fence_is_not_code() -> None:
    """The state is carried on: only what stood inside a fence stands inside one."""
    text = "```\n" + "code\n" * 100 + "```\n" + "words and words " * 300
    parts = split(text)
    assert all("```" not in part for part in parts[1:])


@given(runs(_ATOMS + _FENCES))
@example(["```"] * 3000)
@example(["`"] * 5000)
@example(["\n```py\n"] + ["x"] * 1985 + ["\n```\n"] + ["y"] * 3000)
@example([" "] * 2500 + ["x"] + [" "] * 2500)
@settings(max_examples=200)
def test_every_text_comes_back(atoms: list[str]) -> None:
    """The parts joined are the text but for added fence lines and left-out blank parts; each fits, none is
    blank, and every part's fences are balanced but for those that its writer left open."""
    text = "".join(atoms)
    parts = split(text)
    pieces(text, parts)
    assert all(units(part) <= LIMIT for part in parts)
    assert all(part.strip() for part in parts)
    assert all(part.count("```") % 2 == 0 for part in parts[:-1])


@given(runs(_ATOMS))
@settings(max_examples=200)
def test_no_atom_is_cut(atoms: list[str]) -> None:
    """No mention, emoji, flag or combined character is ever in two parts."""
    text = "".join(atoms)
    assert set(cuts(text, split(text))) <= borders(atoms)


@pytest.mark.parametrize("atom", _WHOLE)
@pytest.mark.parametrize("lead", ["", " ", "x", "\n"])
def test_no_atom_is_cut_wherever_the_limit_falls(atom: str, lead: str) -> None:
    """Every offset of the limit inside it, with and without a place to cut nearby."""
    for offset in range(len(atom) + 1):
        atoms = ["y"] * (LIMIT - len("\n```") - offset - len(lead)) + [lead, atom, *["z"] * 300]
        text = "".join(atoms)
        assert set(cuts(text, split(text))) <= borders(atoms), offset


@pytest.mark.parametrize("mark", ["\u0301", "\ufe0f", "\u200d", "\u20e3", "\U000e0067"])
def test_a_space_is_not_parted_from_its_mark(mark: str) -> None:
    """A space with an accent is one character as well."""
    text = "x" * 1990 + " " + mark + "y" * 100
    assert all(not part.startswith(mark) for part in split(text))


@pytest.mark.parametrize("atom", ["a\u0301" * 1, "z" + "\u0301" * 5000, "👩" + "\u200d👩" * 2000])
def test_a_grapheme_longer_than_a_part_is_cut_all_the_same(atom: str) -> None:
    """Zalgo: no grapheme may keep the rest of the channel waiting."""
    text = atom + " the end"
    parts = split(text)
    assert text == "".join(parts)
    assert all(units(part) <= LIMIT for part in parts)


@pytest.mark.parametrize("text", ["<" * 5000, "<@" * 3000, "<@1>" * 2000, "<" + "x" * 5000 + ">"])
def test_what_only_begins_like_a_mention(text: str) -> None:
    """Is cut like any other word."""
    assert text == "".join(split(text))


def test_a_mebibyte_takes_no_noticeable_time() -> None:
    """It grows with the text, not with its square: a log file dropped by mistake must not stop the bridge."""
    started = time.process_time()
    parts = split("line of a log 😀\n" * 65536)
    assert 500 < len(parts)
    assert time.process_time() - started < 5
