"""Which request meets which fault: scripts, words, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge.emulator import faults
from spoolbridge.emulator.faults import KINDS, WORDS, Fault, Faults

ROUTE = "/channels/{channel}/messages"


@pytest.mark.parametrize(
    ("method", "path", "meets"),
    [
        ("POST", "/channels/1/messages", True),
        ("GET", "/channels/1/messages", False),
        ("POST", "/channels/1/messages/2", False),
        ("POST", "/channels/1", False),
    ],
)
def test_routes(method: str, path: str, meets: bool) -> None:
    """A template fits one path segment for each placeholder, no more and no less."""
    waiting = Faults()
    waiting.add(method="post", route=ROUTE, kind="truncated")
    assert meets == (waiting.scripted(method, path) is not None)


def test_exact_path() -> None:
    """A route without a placeholder is one channel's; method "*" is any."""
    waiting = Faults()
    waiting.add(method="*", route="/channels/1/messages", kind="truncated", times=0)
    assert waiting.scripted("GET", "/channels/2/messages") is None
    assert [Fault("truncated")] * 3 == [waiting.scripted("GET", "/channels/1/messages") for _ in range(3)]


def test_after_and_times() -> None:
    """After the first two, twice; then the script is spent."""
    waiting = Faults()
    waiting.add(method="POST", route=ROUTE, kind="truncated", after=2, times=2)
    met = [waiting.scripted("POST", "/channels/1/messages") is not None for _ in range(6)]
    assert [False, False, True, True, False, False] == met
    assert 0 == waiting.waiting


def test_in_line() -> None:
    """Of two that are due the older strikes, and the younger loses nothing by it."""
    waiting = Faults()
    waiting.add(method="POST", route=ROUTE, kind="truncated")
    waiting.add(method="POST", route=ROUTE, kind="drop_after")
    met = [waiting.scripted("POST", "/channels/1/messages") for _ in range(3)]
    assert [Fault("truncated"), Fault("drop_after"), None] == met


def test_clear() -> None:
    """Forgotten, scripted and armed alike."""
    waiting = Faults()
    waiting.add(method="POST", route=ROUTE, kind="truncated")
    assert waiting.arm(1, "!!503")
    assert 2 == waiting.waiting
    waiting.clear()
    assert (None, None) == (waiting.scripted("POST", "/channels/1/messages"), waiting.typed(1, "hello"))


@pytest.mark.parametrize(
    ("kind", "details", "sentence"),
    [
        ("gremlins", {}, "no fault 'gremlins'; there are: drop_before"),
        ("delay", {"minutes": 1}, "knows no 'minutes'; it knows: seconds, commit"),
        ("truncated", {"by": 1}, "it knows: nothing"),
        ("status", {"status": "503"}, "'status' of the fault 'status' must be int"),
    ],
)
def test_refused(kind: str, details: dict[str, Any], sentence: str) -> None:
    """A wrong word is refused when the fault is scripted, in a sentence that names the right ones."""
    with pytest.raises(ValueError, match=sentence):
        Faults().add(method="POST", route=ROUTE, kind=kind, **details)


def test_armed_once_and_there() -> None:
    """An armed fault strikes the next post of its channel, once, whatever that says."""
    waiting = Faults()
    assert waiting.arm(1, "!!drop-after")
    assert waiting.typed(2, "hello") is None
    assert Fault("drop_after") == waiting.typed(1, "hello")
    assert waiting.typed(1, "hello") is None
    assert not waiting.arm(1, "!!nonsense")


def test_numbers() -> None:
    """A word's number is its seconds; without one it has its own."""
    assert Fault("ratelimit", {"retry_after": 2.5}) == Faults().typed(1, "x !!429 2.5 y")
    assert Fault("ratelimit", {"retry_after": 2.0}) == Faults().typed(1, "!!429")
    assert Fault("delay", {"seconds": 7.0}) == Faults().typed(1, "!!slow 7")


def test_every_word_is_a_fault() -> None:
    """What the page lists is what the emulator knows."""
    for word, _ in WORDS:
        assert Faults().typed(1, word) is not None, word


def test_docstring_names_every_kind_and_word() -> None:
    """The module's own words are complete."""
    text = faults.__doc__ or ""
    assert [] == [kind for kind in KINDS if kind not in text]
    assert [] == [word for word, _ in WORDS if word.split()[0] not in text]


@given(st.text())
def test_any_text(text: str) -> None:
    """No text makes the search for words fail."""
    Faults().typed(1, text)
