"""Renames that become durable together: which directories are synced, when, and what a refusal leaves."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spoolbridge import atomic
from spoolbridge.moves import SHARES, Directories, Moves
from tests.support.powercut import recorded
from tests.support.tree import contents

PLACES = ("outgoing/a", "outgoing/b", "sending/a", "sending/b", "sent/a")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for place in PLACES:
        (tmp_path / "spool" / place).mkdir(parents=True)
    return tmp_path / "spool"


@pytest.fixture
def directories(root: Path) -> Iterator[Directories]:
    with atomic.directory(root) as fd, Directories(fd) as held:
        yield held


def drop(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).write_text(path)


def refuse(monkeypatch: pytest.MonkeyPatch, directories: Directories, place: str) -> None:
    """The disk syncs every directory but this one."""
    real = os.fsync

    def fsync(fd: int) -> None:
        if os.path.sameopenfile(fd, directories.at(place)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


def steps(root: Path, directories: Directories) -> tuple[Moves, Moves, Moves]:
    """In channel a one entry is settled and the next one claimed; in b one is claimed."""
    drop(root, "sending/a/1", "outgoing/a/2", "outgoing/b/3")
    settled, next_one, other = Moves(directories), Moves(directories), Moves(directories)
    settled.move("1", "1", src="sending/a", dst="sent/a")
    next_one.move("2", "2", src="outgoing/a", dst="sending/a")
    other.move("3", "3", src="outgoing/b", dst="sending/b")
    return settled, next_one, other


def test_each_directory_is_synced_once(root: Path, directories: Directories) -> None:
    """And where entries go to before where they come from: the other way round a cut could leave a name in
    neither."""
    with recorded(root) as calls:
        assert [None, None, None] == directories.sync(steps(root, directories))
    synced = [call.removeprefix("sync ") for call in calls if call.startswith("sync ")]
    assert ["sent/a", "sending/a", "outgoing/a", "sending/b", "outgoing/b"] == synced


def test_channels_do_not_wait_for_each_other(
    root: Path, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pool the disk is asked for several at once, and what one is refused costs the others nothing."""
    many = steps(root, directories)
    both = threading.Barrier(2, timeout=10)
    real = os.fsync

    def fsync(fd: int) -> None:
        if any(os.path.sameopenfile(fd, directories.at(place)) for place in ("sent/a", "sending/b")):
            both.wait()  # the first of each channel
        if os.path.sameopenfile(fd, directories.at("outgoing/b")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with ThreadPoolExecutor(SHARES - 1) as pool:
        errors = directories.sync(many, pool)
    assert [None, None, errno.ENOSPC] == [error and error.errno for error in errors]
    assert {"sent/a/1", "sending/a/2", "outgoing/b/3"} == set(contents(root))


def test_every_power_cut(root: Path, directories: Directories) -> None:
    """Each entry is in one place, whole; once all of it has returned, in the new one."""
    drop(root, "sending/a/1", "outgoing/a/2")
    with recorded(root) as calls:
        settled, next_one = Moves(directories), Moves(directories)
        settled.move("1", "1", src="sending/a", dst="sent/a")
        next_one.move("2", "2", src="outgoing/a", dst="sending/a")
        directories.sync([settled, next_one])
    for _, state in calls.after_a_cut():
        files = {path: data for path, data in state.items() if data is not None}
        assert [b"outgoing/a/2", b"sending/a/1"] == sorted(files.values())
    for state in calls.at_the_end():
        assert (b"sending/a/1", b"outgoing/a/2") == (state["sent/a/1"], state["sending/a/2"])


def test_no_thread_is_to_be_had(root: Path, directories: Directories) -> None:
    """Then one does it all, for what was moved has to be made durable or undone."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with recorded(root) as calls:
        assert [None, None, None] == directories.sync(steps(root, directories), pool)
    assert 5 == sum(call.startswith("sync ") for call in calls)


def test_what_was_refused_is_undone(
    root: Path, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that touched that directory, and of nothing else."""
    many = steps(root, directories)
    refuse(monkeypatch, directories, "sending/a")
    errors = directories.sync(many)
    assert [errno.ENOSPC, errno.ENOSPC, None] == [error and error.errno for error in errors]
    assert {"sending/a/1", "outgoing/a/2", "sending/b/3"} == set(contents(root))


def test_undoing_replaces_nothing(
    root: Path, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody dropped another file of that name meanwhile: both are kept."""
    _, _, other = steps(root, directories)
    drop(root, "outgoing/b/3")
    refuse(monkeypatch, directories, "sending/b")
    with pytest.raises(OSError, match="No space left"):
        other.settle()
    assert {"outgoing/b/3", "sending/b/3"} < set(contents(root))


def test_never_onto_anything(root: Path, directories: Directories) -> None:
    """What is in the way stays, and nothing has to be undone."""
    drop(root, "outgoing/a/1", "sending/a/1")
    moves = Moves(directories)
    with pytest.raises(FileExistsError):
        moves.move("1", "1", src="outgoing/a", dst="sending/a")
    assert [] == moves.made
    assert {"outgoing/a/1", "sending/a/1"} == set(contents(root))


def test_a_directory_is_held(root: Path, directories: Directories) -> None:
    """Swapped for a link between two renames, it leads nowhere."""
    drop(root, "outgoing/a/1", "outgoing/a/2")
    victim = root.parent / "victim"
    victim.mkdir()
    moves = Moves(directories)
    moves.move("1", "1", src="outgoing/a", dst="sending/a")
    os.rename(root / "sending" / "a", root / "elsewhere")
    (root / "sending" / "a").symlink_to(victim)
    moves.move("2", "2", src="outgoing/a", dst="sending/a")
    assert [] == os.listdir(victim)
    assert {"elsewhere/1", "elsewhere/2"} == set(contents(root))


def test_a_link_is_no_directory(root: Path, directories: Directories) -> None:
    """Not followed when it is opened either."""
    (root / "sent" / "b").symlink_to(root.parent)
    with pytest.raises(NotADirectoryError):
        directories.at("sent/b")


def test_all_are_closed(root: Path) -> None:
    """Also behind an error: a service lives for months."""
    before = len(os.listdir("/proc/self/fd"))
    with atomic.directory(root) as fd, pytest.raises(RuntimeError), Directories(fd) as held:
        for place in PLACES:
            assert held.at(place) == held.at(place)
        raise RuntimeError
    assert before == len(os.listdir("/proc/self/fd"))
