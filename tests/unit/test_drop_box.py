"""What is remembered of a drop box: the order, for how long it holds, and that a name costs little."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolbridge import drop_box, identity
from spoolbridge.drop_box import DropBox

NOW = 1795326901.0
#: As many names as a tenth of a second's rest is for.
MANY = 1000


class Listed:
    """A directory, and what a box knows of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.box = DropBox()
        self._at = os.open(root, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._at)

    def make(self, *names: str) -> None:
        for name in names:
            (self.root / name).touch()

    def look(self, now: float = NOW, told: int | None = None) -> None:
        self.box.list(self._at, now, told)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.box.waiting(NOW)]


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path)
    yield made
    made.close()


def test_plain_names_stand_among_ids(listed: Listed) -> None:
    """By when they were written, whichever form they have; one that is known already keeps its place."""
    listed.make("plain")
    written = (listed.root / "plain").stat().st_ctime
    before, behind = (identity.fresh(written + seconds) for seconds in (-1.0, 1.0))
    listed.make(f"{behind}.b", f"{before}.a", ".hold", "draft.tmp")
    listed.look(written + 2)
    expected = [(f"{before}.a", -1.0), ("plain", 0.0), (f"{behind}.b", 1.0)]
    assert expected == [(name, round(at - written, 3)) for name, at, _ in listed.box.waiting(NOW)]
    (listed.root / "plain").chmod(0o600)
    listed.make("another")
    listed.look(written + 2)
    assert [*(name for name, _ in expected[:2]), "another", expected[2][0]] == listed.names()


def test_what_is_gone_is_forgotten(listed: Listed) -> None:
    """Claimed, refused or taken away by an operator; the rest keeps its order."""
    names = [identity.fresh(NOW + number) for number in range(4)]
    listed.make(*names)
    listed.look()
    for name in (names[0], names[0], "never there"):
        listed.box.forget(name)
    assert names[1:] == listed.names()
    for name in names[:2]:
        (listed.root / name).unlink()
    listed.look()
    assert names[2:] == listed.names()


def test_when_it_was_first_looked_at(listed: Listed) -> None:
    """A minute's grace for a second link counts from there, and anew for another of that name."""
    listed.make("a")
    listed.look()
    assert [NOW, NOW] == [next(listed.box.waiting(now))[2] for now in (NOW, NOW + 5)]
    listed.box.forget("a")
    listed.look()
    assert NOW + 9 == next(listed.box.waiting(NOW + 9))[2]


@pytest.mark.parametrize(
    ("told", "seconds", "holds"),
    [(1, 1.9, True), (1, 2.0, False), (1, -1.0, False), (2, 0.0, False), (None, 0.0, False)],
)
def test_how_long_a_list_holds(told: int | None, seconds: float, holds: bool, listed: Listed) -> None:
    """Two seconds, unless something was told or the clock was set back; never where nobody tells."""
    listed.look(told=1)
    assert holds == listed.box.still_holds(told, NOW + seconds)


def test_a_long_list_holds_whatever_is_told(listed: Listed, monkeypatch: pytest.MonkeyPatch) -> None:
    """To list a hundred thousand names for each that is dropped behind them would be most of the work."""
    monkeypatch.setattr(drop_box, "_REST", 100 / MANY)
    listed.make(*(identity.fresh(NOW) for _ in range(MANY)))
    listed.look(told=1)
    assert [True, False] == [listed.box.still_holds(2, NOW + seconds) for seconds in (99.0, 101.0)]
    assert [True, False] == [listed.box.still_holds(1, NOW + seconds) for seconds in (99.0, 101.0)]


def test_what_a_waiting_name_costs(listed: Listed) -> None:
    """A hundred thousand may wait: the name itself, which has 96 bytes, and little beside it."""
    listed.make(*(identity.fresh(NOW + number) for number in range(MANY)))
    tracemalloc.start()
    try:
        listed.look()
        identity.parse.cache_clear()
        cost, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert MANY == len(listed.names())
    assert cost < 150 * MANY
