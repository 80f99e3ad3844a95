"""Directories are listed again where something may have come or gone, and else left alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spoolbridge import atomic, glances
from spoolbridge.glances import ANYWAY, LONG, SURE, Glances
from tests.support.clock import FakeClock, next_tick


class Watched:
    """Boxes in a directory, and how often each was listed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = FakeClock(0.0)
        self.glances = Glances(self._list, clock=self.clock)
        self.listed = 0
        self.fails = 0
        self._at = os.open(root, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._at)

    def _list(self, box: int) -> list[str]:
        self.listed += 1
        if self.fails:
            raise OSError(self.fails, os.strerror(self.fails))
        return sorted(os.listdir(box))

    def look(self, box: str = "box") -> list[str]:
        return self.glances.at(box, at=self._at)

    def trust(self, box: str = "box") -> None:
        """Until what is known of it is kept."""
        self.look(box)
        self.clock.advance(SURE)
        self.look(box)
        before = self.listed
        self.look(box)
        assert before == self.listed


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    (tmp_path / "box").mkdir()
    made = Watched(tmp_path)
    yield made
    made.close()


def test_what_has_not_changed_is_not_listed(watched: Watched) -> None:
    """Hundreds of drop boxes with nothing in them would cost a listing each every two seconds."""
    watched.trust()
    before = watched.listed
    for _ in range(10):
        watched.clock.advance(2.0)
        assert [] == watched.look()
    assert before == watched.listed


def _arrives(box: Path) -> list[str]:
    (box / "b").write_text("b")
    return ["a", "b"]


def _leaves(box: Path) -> list[str]:
    (box / "a").unlink()
    return []


def _is_renamed(box: Path) -> list[str]:
    (box / "a").rename(box / "b")
    return ["b"]


def _is_moved_away(box: Path) -> list[str]:
    (box / "a").rename(box.parent / "a")
    return []


def _is_moved_in(box: Path) -> list[str]:
    (box.parent / "b").touch()
    (box.parent / "b").rename(box / "b")
    return ["a", "b"]


def _is_linked(box: Path) -> list[str]:
    os.link(box / "a", box / "b")
    return ["a", "b"]


def _arrives_with_the_old_time(box: Path) -> list[str]:
    before = box.stat()
    (box / "b").write_text("b")
    os.utime(box, ns=(before.st_atime_ns, before.st_mtime_ns))
    return ["a", "b"]


def _is_replaced(box: Path) -> list[str]:
    box.rename(box.with_name("old"))
    box.mkdir()
    (box / "c").touch()
    return ["c"]


def _is_made_anew(box: Path) -> list[str]:
    (box / "a").unlink()
    box.rmdir()
    box.mkdir()
    return []


CHANGES = (
    _arrives, _leaves, _is_renamed, _is_moved_away, _is_moved_in, _is_linked, _arrives_with_the_old_time,
    _is_replaced, _is_made_anew,
)  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__.strip("_"))
def test_what_changes_is_seen_at_once(watched: Watched, change: Callable[[Path], list[str]]) -> None:
    """Else a drop would wait for `ANYWAY`, or a `.hold` would not hold."""
    box = watched.root / "box"
    (box / "a").touch()
    watched.trust()
    next_tick(watched.root)
    expected = change(box)
    assert expected == watched.look()
    watched.clock.advance(SURE)
    assert expected == watched.look()


def test_two_changes_within_a_tick(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second bears the first one's stamp, and would be hidden behind the listing in between."""
    monkeypatch.setattr(glances, "_stamp", lambda path, at: (1,))  # on FAT a tick takes two seconds
    (watched.root / "box" / "a").touch()
    assert ["a"] == watched.look()
    watched.clock.advance(1.9)
    (watched.root / "box" / "b").touch()
    assert ["a", "b"] == watched.look()
    watched.clock.advance(0.2)
    (watched.root / "box" / "c").touch()  # by a process that was stopped behind its look at the clock
    watched.clock.advance(SURE - 2.1)
    assert ["a", "b", "c"] == watched.look()


def test_a_slow_look_at_the_stamp_makes_nothing_sure(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two system calls, a process must not count that time as if it had looked before it."""
    real = glances._stamp

    def slow(path: str, at: int) -> tuple[int, ...]:
        watched.clock.advance(SURE)
        return real(path, at)

    watched.look()
    monkeypatch.setattr(glances, "_stamp", lambda path, at: (*slow(path, at), 1))  # changed just now
    watched.look()
    monkeypatch.setattr(glances, "_stamp", lambda path, at: (*real(path, at), 1))
    before = watched.listed
    watched.look()
    watched.look()
    assert before + 2 == watched.listed


def test_a_file_system_that_stamps_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives there is found late, and not never."""
    monkeypatch.setattr(glances, "_stamp", lambda path, at: (1,))
    watched.trust()
    (watched.root / "box" / "a").touch()
    watched.clock.advance(ANYWAY - 0.1)
    assert [] == watched.look()
    watched.clock.advance(0.1)
    assert ["a"] == watched.look()


def test_a_clock_that_is_set(watched: Watched) -> None:
    """Stamps from the future are stamps: no wall clock is asked."""
    watched.trust()
    next_tick(watched.root)
    (watched.root / "box" / "a").touch()
    os.utime(watched.root / "box", (2**33, 2**33))
    assert ["a"] == watched.look()
    watched.clock.advance(SURE)
    watched.look()
    before = watched.listed
    watched.look()
    assert before == watched.listed


def test_a_listing_that_failed_is_made_again(watched: Watched) -> None:
    """Too many open files now says nothing of what lies there."""
    (watched.root / "box" / "a").touch()
    watched.fails = errno.EMFILE
    for _ in range(2):
        with pytest.raises(OSError, match="Too many open files"):
            watched.look()
        watched.clock.advance(SURE)
    watched.fails = 0
    assert ["a"] == watched.look()


def test_what_is_no_directory(watched: Watched) -> None:
    """A link in a box's place leads nowhere, also where it leads to what was listed before."""
    watched.trust()
    (watched.root / "box").rename(watched.root / "away")
    (watched.root / "box").symlink_to("away")
    with pytest.raises(NotADirectoryError):
        watched.look()
    (watched.root / "box").unlink()
    with pytest.raises(FileNotFoundError):
        watched.look()


def test_what_is_not_kept_is_forgotten(watched: Watched) -> None:
    """Channels come and go for years."""
    (watched.root / "other").mkdir()
    watched.trust("box")
    watched.trust("other")
    watched.glances.keep({"box"})
    before = watched.listed
    watched.look("box")
    assert before == watched.listed
    watched.look("other")
    assert before + 1 == watched.listed


@pytest.mark.parametrize("boxes", [1, 20])
def test_what_takes_long_has_a_rest(tmp_path: Path, boxes: int) -> None:
    """A million entries that were sent today, in one channel or in twenty, change with each that follows, and
    would be listed all the time."""
    clock, effort, listed = FakeClock(0.0), FakeClock(0.0), list[int]()

    def count(box: int) -> int:
        effort.advance(0.5 / boxes)
        listed.append(len(os.listdir(box)))
        return listed[-1]

    slow = Glances(count, rest=20.0, clock=clock, effort=effort)
    names = [f"box-{number}" for number in range(boxes)]
    with atomic.directory(tmp_path) as at:

        def look() -> list[int]:
            return [slow.at(name, at=at) for name in names]

        for name in names:
            (tmp_path / name).mkdir()
        assert [0] * boxes == look()
        for name in names:
            (tmp_path / name / "a").touch()
        clock.advance(9.9)
        assert ([0] * boxes, boxes) == (look(), len(listed))
        clock.advance(0.2)
        assert ([1] * boxes, 2 * boxes) == (look(), len(listed))
        slow.keep(())
        assert ([1] * boxes, 3 * boxes) == (look(), len(listed))
        clock.advance(10.1)  # what is forgotten costs nothing: it is not as if there were twice as many
        assert ([1] * boxes, 4 * boxes) == (look(), len(listed))


def test_what_is_quick_has_no_rest(tmp_path: Path) -> None:
    """A hold on a short drop box is told at once, whatever lies in the others."""
    clock, effort = FakeClock(0.0), FakeClock(0.0)

    def count(box: int) -> int:
        found = len(os.listdir(box))
        effort.advance(found * LONG / 3)
        return found

    glances = Glances(count, rest=1e6, clock=clock, effort=effort)
    with atomic.directory(tmp_path) as at:
        for box, files in (("short", 1), ("long", 3)):
            (tmp_path / box).mkdir()
            for number in range(files):
                (tmp_path / box / str(number)).touch()
            assert files == glances.at(box, at=at)
            (tmp_path / box / "another").touch()
        assert (2, 3) == (glances.at("short", at=at), glances.at("long", at=at))
