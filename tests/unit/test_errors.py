"""The exception tree: as its docstring draws it, and fit to be shown to people."""

from __future__ import annotations

import re

import pytest

from spoolbridge import errors
from spoolbridge.errors import (
    ChannelClosedError,
    DiscordError,
    MessageError,
    RefusedError,
    SpoolbridgeError,
    SpoolBusyError,
    TokenRefusedError,
    UnknownChannelError,
    UnreachableError,
)

_CLASSES = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SpoolbridgeError)
]


def _drawn() -> dict[str, str | None]:
    """Class → its parent, read from the picture in the module's docstring."""
    found: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<lead>[\s│├└─]*)(?P<name>\w+Error)\b", line)
        if match is None:
            continue
        indent = len(match["lead"])
        above = [(depth, name) for depth, name in above if depth < indent]
        found[match["name"]] = above[-1][1] if above else None
        above.append((indent, match["name"]))
    return found


def test_the_picture_is_the_tree() -> None:
    """Every class is drawn, under its parent."""
    real = {
        each.__name__: None if each is SpoolbridgeError else each.__bases__[0].__name__ for each in _CLASSES
    }
    assert real == _drawn()


def test_transient_is_decided_by_the_class() -> None:
    """What may succeed without anybody changing anything, and nothing else."""
    assert {SpoolBusyError, UnreachableError} == {each for each in _CLASSES if each.transient}


def test_the_sentence_and_what_to_do() -> None:
    """Shown together, kept apart."""
    error = MessageError("line 3: unknown header 'Repy-To'", "did you mean Reply-To?")
    assert "line 3: unknown header 'Repy-To'; did you mean Reply-To?" == str(error)
    assert ("line 3: unknown header 'Repy-To'", "did you mean Reply-To?") == (error.what, error.hint)


def test_without_a_hint_there_is_no_semicolon() -> None:
    """The sentence alone."""
    assert "gone" == str(SpoolbridgeError("gone"))


def test_discords_figures_travel_along() -> None:
    """Status and code, 0 where there was none; what to wait where Discord named it."""
    error = UnreachableError("busy", status=429, code=31001, retry_after=1.5)
    assert (429, 31001, 1.5) == (error.status, error.code, error.retry_after)
    assert (0, 0) == (DiscordError("no answer").status, DiscordError("no answer").code)
    assert UnreachableError("no answer").retry_after is None


@pytest.mark.parametrize("kind", [TokenRefusedError, ChannelClosedError, RefusedError, UnreachableError])
def test_discords_errors_are_caught_as_one(kind: type[DiscordError]) -> None:
    """And by the root: exit code 1, one line."""
    with pytest.raises(SpoolbridgeError):
        raise kind("no", status=400)


def test_choices_are_kept() -> None:
    """The names that would do, for who can offer them."""
    assert ("a.x", "b.x") == UnknownChannelError("x is several", choices=["a.x", "b.x"]).choices
    assert () == UnknownChannelError("no x").choices
