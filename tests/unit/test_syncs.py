"""Steps that wait for the disk: side by side, each with its own end."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolbridge.syncs import ALONE, SHARES, Step, Syncs, alone


class Files:
    """Files that are open, and what became durable of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fds: dict[str, int] = {}
        self.synced: list[str] = []
        self.refused: set[str] = set()

    def open(self, name: str) -> int:
        self.fds[name] = os.open(self.root / name, os.O_RDWR | os.O_CREAT)
        return self.fds[name]

    def name(self, fd: int) -> str:
        return next(name for name, each in self.fds.items() if each == fd)

    def fsync(self, fd: int) -> None:
        if self.name(fd) in self.refused:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.synced.append(self.name(fd))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    made = Files(tmp_path)
    monkeypatch.setattr(os, "fsync", made.fsync)
    yield made
    for fd in made.fds.values():
        os.close(fd)


@pytest.fixture
def threads() -> Iterator[Syncs]:
    made = Syncs(SHARES - 1)
    yield made
    made.close()


def step(files: Files, *names: str) -> Step[str]:
    """Waits for each of them; tells what was durable then."""
    for name in names:
        yield files.open(name)
        assert name in files.synced
    return ",".join(names) or "nothing"


def test_each_goes_on_when_what_it_waits_for_is_durable(files: Files) -> None:
    """However many it waits for, one behind the other."""
    assert ["a,b", "nothing", "c"] == ALONE.walk([step(files, "a", "b"), step(files), step(files, "c")])
    assert ["a", "c", "b"] == files.synced


def test_nothing_to_do(files: Files) -> None:
    """No step, no result, no sync."""
    assert ([], []) == (ALONE.walk([]), files.synced)


def test_what_is_refused_is_thrown_into_the_step_that_waits_for_it(files: Files) -> None:
    """The others go on; it may clean up, and answer something else."""
    files.refused = {"a"}

    def careful() -> Step[str]:
        try:
            yield files.open("a")
        except OSError as error:
            yield files.open("instead")
            return f"refused: {error.errno}"
        return "durable"

    ended = ALONE.walk([careful(), step(files, "b"), step(files, "c", "a")])
    assert [f"refused: {errno.ENOSPC}", "b"] == ended[:2]
    assert isinstance(ended[2], OSError)


def test_what_a_step_raises_is_its_own(files: Files) -> None:
    """Before it waits, and behind it."""

    def fails(*names: str) -> Step[str]:
        yield from step(files, *names)
        raise KeyError

    before, behind, good = ALONE.walk([fails(), fails("a"), step(files, "b")])
    assert (KeyError, KeyError, "b") == (type(before), type(behind), good)


def test_alone_raises_what_the_step_raised(files: Files) -> None:
    """For who has a single one."""
    assert "a" == alone(step(files, "a"))
    files.refused = {"b"}
    with pytest.raises(OSError, match="No space"):
        alone(step(files, "b"))


def test_several_wait_at_the_same_time(files: Files, threads: Syncs, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many threads as there are shares: one after the other, they would wait for ever."""
    together = threading.Barrier(SHARES, timeout=10)

    def fsync(fd: int) -> None:
        together.wait()
        files.fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    names = [f"{number}" for number in range(2 * SHARES)]
    assert names == threads.walk([step(files, name) for name in names])
    assert set(names) == set(files.synced)


def test_a_group_is_synced_in_its_order(files: Files, threads: Syncs) -> None:
    """Also in threads, and also where one of it is refused."""
    groups = [[files.open(f"{number}{letter}") for letter in "abc"] for number in range(9)]
    files.refused = {"4a"}
    assert {groups[4][0]} == threads.all(groups, os.fsync).keys()
    for number in range(9):
        mine = [name for name in files.synced if name.startswith(str(number))]
        assert sorted(mine) == mine
        assert len(mine) == (2 if number == 4 else 3)


def test_no_thread_is_to_be_had(files: Files) -> None:
    """Then one does it all, for what was moved has to be made durable or undone."""
    closed = Syncs(SHARES - 1)
    closed.close()
    assert ["a", "b", "c"] == closed.walk([step(files, name) for name in "abc"])
    assert ["a", "b", "c"] == sorted(files.synced)
