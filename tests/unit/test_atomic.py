"""A whole file or none, a whole line or none: with every system call failing, and every power cut."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import atomic
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.powercut import recorded
from tests.support.tree import contents, dig, tree

OLD, NEW = b"the old text\n", b"the new text, which is longer\n"


@pytest.fixture
def at(tmp_path: Path) -> Iterator[int]:
    """A descriptor of an empty directory, `box`."""
    (tmp_path / "box").mkdir()
    with atomic.directory(tmp_path / "box") as fd:
        yield fd


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return tmp_path / "box"


def failing(number: int, times: int = 10**9) -> Callable[..., Any]:
    """Something to stand for a system call: fails `times` times with this errno."""
    left = [times]

    def call(*_: object, **__: object) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(number, os.strerror(number))

    return call


def short_writes(monkeypatch: pytest.MonkeyPatch, most: int = 1) -> None:
    """The kernel may take fewer bytes than it is given, at any time."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:most]))


class TestDirectory:
    """Descriptors of real directories."""

    def test_a_link_leads_nowhere(self, at: int, box: Path) -> None:
        """Also one that was put there between two calls."""
        (box / "real").mkdir()
        (box / "link").symlink_to("real")
        with pytest.raises(NotADirectoryError), atomic.directory("link", at=at):
            pass

    def test_it_is_closed_at_the_end(self, at: int) -> None:
        """And also where the block fails."""
        with pytest.raises(ZeroDivisionError), atomic.directory(".", at=at) as fd:
            raise ZeroDivisionError
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    def test_the_swapped_directory_is_not_followed(self, at: int, box: Path) -> None:
        """What is held is the directory, not its name."""
        (box / "ch").mkdir()
        (box / "victim").mkdir()
        with atomic.directory("ch", at=at) as fd:
            (box / "ch").rename(box / "moved")
            (box / "ch").symlink_to("victim")
            atomic.write_new("x", NEW, at=fd)
        assert {"box": ["ch"], "box/moved": ["x"]} == tree(box.parent)

    def test_ensure_makes_it_whatever_the_umask_says(self, at: int, box: Path) -> None:
        """What a group drops stays the group's."""
        before = os.umask(0o077)
        try:
            atomic.ensure_directory("ch", at=at)
        finally:
            os.umask(before)
        assert 0o2770 == stat.S_IMODE((box / "ch").stat().st_mode)

    def test_ensure_leaves_what_is_there(self, at: int, box: Path) -> None:
        """Its mode is its owner's business."""
        (box / "ch").mkdir(mode=0o700)
        atomic.ensure_directory("ch", at=at)
        assert 0o700 == stat.S_IMODE((box / "ch").stat().st_mode)

    def test_ensure_is_durable(self, at: int, tmp_path: Path) -> None:
        """No power cut afterwards takes it away."""
        with recorded(tmp_path) as calls:
            atomic.ensure_directory("ch", at=at)
        assert all("box/ch" in state for state in calls.at_the_end())


class TestExists:
    """Whether a name is taken."""

    @pytest.mark.parametrize("make", ["file", "directory", "fifo", "broken link"])
    def test_anything_counts(self, make: str, at: int, box: Path) -> None:
        """A link that leads nowhere would be replaced by a rename as well."""
        path = box / "x"
        makers: dict[str, Callable[[], object]] = {
            "file": path.touch,
            "directory": path.mkdir,
            "fifo": lambda: os.mkfifo(path),
            "broken link": lambda: path.symlink_to("nowhere"),
        }
        makers[make]()
        assert atomic.exists("x", at=at)

    def test_nothing(self, at: int) -> None:
        """A free name."""
        assert not atomic.exists("x", at=at)


class TestWriteNew:
    """A new file, whole."""

    def test_content_and_mode(self, at: int, box: Path) -> None:
        """The owner writes, the group reads."""
        before = os.umask(0)
        try:
            atomic.write_new("x", NEW, at=at)
        finally:
            os.umask(before)
        assert NEW == (box / "x").read_bytes()
        assert 0o640 == stat.S_IMODE((box / "x").stat().st_mode)

    @pytest.mark.parametrize("make", [lambda path: path.write_bytes(OLD), lambda path: path.symlink_to("y")])
    def test_it_replaces_nothing(self, make: Callable[[Path], object], at: int, box: Path) -> None:
        """Neither a file nor a link, through which it would write elsewhere."""
        make(box / "x")
        with pytest.raises(FileExistsError):
            atomic.write_new("x", NEW, at=at)
        assert {} == contents(box) or {"x": OLD} == contents(box)

    @pytest.mark.parametrize("most", [1, 7])
    def test_short_writes_are_continued(
        self, most: int, at: int, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until everything is there."""
        short_writes(monkeypatch, most)
        atomic.write_new("x", NEW, at=at)
        assert NEW == (box / "x").read_bytes()

    @pytest.mark.parametrize("call", ["open", "write", "fsync", "close"])
    def test_a_failure_leaves_no_file(
        self, call: str, at: int, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whichever system call it is: close too reports what was not written (NFS, quotas)."""
        real_close = os.close
        opened: list[int] = []

        def close(fd: int) -> None:
            opened.append(fd)
            real_close(fd)
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

        monkeypatch.setattr(os, call, close if call == "close" else failing(errno.EIO))
        with pytest.raises(OSError, match=r"quota|Input/output"):
            atomic.write_new("x", NEW, at=at)
        monkeypatch.undo()
        assert {} == tree(box)

    def test_a_half_written_file_is_removed(
        self, at: int, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The disk fills up in the middle of it, or Ctrl-C comes."""
        real = os.write
        for error in (OSError(errno.ENOSPC, "full"), KeyboardInterrupt()):
            answers = iter([5])

            def write(fd: int, data: Any, answers: Any = answers, error: Any = error) -> int:
                try:
                    return real(fd, data[: next(answers)])
                except StopIteration:
                    raise error from None

            monkeypatch.setattr(os, "write", write)
            with pytest.raises(type(error)):
                atomic.write_new("x", NEW, at=at)
            assert {} == tree(box)

    def test_the_content_is_durable_before_the_name(self, at: int, tmp_path: Path) -> None:
        """Once the directory is synced there is no power cut that leaves the name and not the content."""
        with recorded(tmp_path) as calls:
            atomic.write_new("x", NEW, at=at)
            atomic.sync_directory(at)
        assert ["create box/x", "write box/x", "sync box/x", "sync box"] == list(calls)
        assert [{"": None, "box": None, "box/x": NEW}] == list(calls.at_the_end())


class TestReplace:
    """The old whole or the new whole."""

    @pytest.mark.parametrize("before", [None, OLD])
    def test_it_replaces(self, before: bytes | None, at: int, box: Path) -> None:
        """Or makes it; nothing else lies there afterwards."""
        if before:
            (box / "x").write_bytes(before)
        atomic.replace("x", NEW, at=at)
        assert {"x": NEW} == contents(box)

    def test_it_replaces_a_link_and_not_its_target(self, at: int, box: Path, tmp_path: Path) -> None:
        """Whoever puts a link there does not make us write elsewhere."""
        (tmp_path / "victim").write_bytes(OLD)
        (box / "x").symlink_to("../victim")
        atomic.replace("x", NEW, at=at)
        assert {"victim": OLD, "box/x": NEW} == contents(tmp_path)

    def test_what_a_dead_process_left_is_in_nobodys_way(self, at: int, box: Path) -> None:
        """Process numbers come again."""
        (box / f".x.{os.getpid()}.tmp").write_bytes(b"half")
        atomic.replace("x", NEW, at=at)
        assert {"x": NEW} == contents(box)

    @pytest.mark.parametrize("before", [None, OLD])
    def test_every_system_call_failing(self, before: bytes | None, tmp_path: Path) -> None:
        """Old or new, whole, and no stray temporary."""
        old = {} if before is None else {"x": before}
        for number in count(1):
            box = tmp_path / f"{number}"
            box.mkdir()
            for name, data in old.items():
                (box / name).write_bytes(data)
            with atomic.directory(box) as at, fail_at(number) as struck:
                try:
                    atomic.replace("x", NEW, at=at)
                except OSError as error:
                    assert errno.ENOSPC == error.errno
                    assert contents(box) in (old, {"x": NEW})
                else:
                    assert {"x": NEW} == contents(box)
            if not struck:
                break
        assert number > 5

    def test_every_crash(self, tmp_path: Path) -> None:
        """The name never leads to anything but the old or the new, and the next replace tidies up."""
        for number in count(1):
            box = tmp_path / f"{number}"
            box.mkdir()
            (box / "x").write_bytes(OLD)
            with atomic.directory(box) as at:
                with kill_at(number) as struck:
                    try:
                        atomic.replace("x", NEW, at=at)
                    except Killed:
                        assert (box / "x").read_bytes() in (OLD, NEW)
                if not struck:
                    break
                atomic.replace("x", NEW, at=at)
                assert {"x": NEW} == contents(box)

    def test_every_power_cut(self, at: int, box: Path, tmp_path: Path) -> None:
        """Old or new and never empty; once it has returned, new."""
        (box / "x").write_bytes(OLD)
        with recorded(tmp_path) as calls:
            atomic.replace("x", NEW, at=at)
        assert {OLD, NEW} == {state["box/x"] for _, state in calls.after_a_cut()}
        assert {NEW} == {state["box/x"] for state in calls.at_the_end()}


class TestMove:
    """One rename, durable, onto nothing."""

    @pytest.fixture
    def there(self, tmp_path: Path) -> Iterator[int]:
        (tmp_path / "there").mkdir()
        with atomic.directory(tmp_path / "there") as fd:
            yield fd

    def test_it_moves(self, at: int, there: int, box: Path, tmp_path: Path) -> None:
        """Content, mode and times stay."""
        (box / "x").write_bytes(OLD)
        before = (box / "x").stat()
        atomic.move("x", "y", src=at, dst=there)
        after = (tmp_path / "there" / "y").stat()
        assert {"there/y": OLD} == contents(tmp_path)
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)

    @pytest.mark.parametrize("taken", ["file", "directory", "broken link"])
    def test_never_onto_anything(self, taken: str, at: int, there: int, box: Path, tmp_path: Path) -> None:
        """rename(2) alone would replace a file, a link and an empty directory without a word."""
        path = tmp_path / "there" / "y"
        (box / "x").write_bytes(NEW)
        makers: dict[str, Callable[[], object]] = {
            "file": lambda: path.write_bytes(OLD),
            "directory": path.mkdir,
            "broken link": lambda: path.symlink_to("nowhere"),
        }
        makers[taken]()
        before = path.lstat().st_ino
        with pytest.raises(FileExistsError):
            atomic.move("x", "y", src=at, dst=there)
        assert before == path.lstat().st_ino
        assert NEW == (box / "x").read_bytes()

    def test_what_is_gone(self, at: int, there: int) -> None:
        """FileNotFoundError: somebody was quicker."""
        with pytest.raises(FileNotFoundError):
            atomic.move("x", "y", src=at, dst=there)

    @pytest.mark.parametrize("number", [1, 2, 3])
    def test_a_failure_leaves_it_where_it_was(
        self, number: int, at: int, there: int, box: Path, tmp_path: Path
    ) -> None:
        """The rename, or the sync of either directory: who is told that it failed finds it there."""
        (box / "x").write_bytes(OLD)
        with fail_at(number) as struck, pytest.raises(OSError, match="No space left"):
            atomic.move("x", "y", src=at, dst=there)
        assert struck
        assert {"box/x": OLD} == contents(tmp_path)

    def test_taking_it_back_replaces_nothing(
        self, at: int, there: int, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody drops a file of the same name while the failing sync runs: both are kept."""
        (box / "x").write_bytes(OLD)

        def fsync(_: int) -> None:
            (box / "x").write_bytes(NEW)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"):
            atomic.move("x", "y", src=at, dst=there)
        assert {"box/x": NEW, "there/y": OLD} == contents(tmp_path)

    def test_both_directories_are_synced(self, at: int, there: int, box: Path, tmp_path: Path) -> None:
        """The new place first; one directory needs it once."""
        (box / "x").write_bytes(OLD)
        with recorded(tmp_path) as calls:
            atomic.move("x", "y", src=at, dst=there)
            atomic.move("y", "z", src=there, dst=there)
        assert [
            "rename box/x → there/y", "sync there", "sync box", "rename there/y → there/z", "sync there",
        ] == list(calls)  # fmt: skip

    def test_every_power_cut(self, at: int, there: int, box: Path, tmp_path: Path) -> None:
        """It is in one place, whole; once it has returned, in the new one."""
        (box / "x").write_bytes(OLD)
        with recorded(tmp_path) as calls:
            atomic.move("x", "y", src=at, dst=there)
        assert all(1 == list(state.values()).count(OLD) for _, state in calls.after_a_cut())
        assert all(OLD == state["there/y"] for state in calls.at_the_end())


class TestSync:
    """What a file system may answer to fsync."""

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
    def test_a_directory_that_cannot_be_synced(
        self, number: int, at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Has nothing to lose by it, on the file systems that say so."""
        monkeypatch.setattr(os, "fsync", failing(number))
        atomic.sync_directory(at)

    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
    def test_any_other_answer_is_an_error(
        self, number: int, at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Above all EIO, after which nothing can be believed."""
        monkeypatch.setattr(os, "fsync", failing(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            atomic.sync_directory(at)

    def test_a_file_that_cannot_be_synced_is_an_error(self, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """EINVAL is excused for directories alone."""
        monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
        with pytest.raises(OSError, match="Invalid argument"):
            atomic.sync(at)

    def test_the_drives_cache_is_flushed_where_that_is_a_call_of_its_own(
        self, at: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """macOS: F_FULLFSYNC instead of fsync, and fsync where the file system does not know it."""
        asked: list[int] = []
        monkeypatch.setattr(atomic, "_FULL_SYNC", 51)
        monkeypatch.setattr(fcntl, "fcntl", lambda _fd, command: asked.append(command))
        monkeypatch.setattr(os, "fsync", lambda _: asked.append(-1))
        atomic.sync(at)
        monkeypatch.setattr(fcntl, "fcntl", failing(errno.ENOTSUP))
        atomic.sync(at)
        assert [51, -1] == asked


class TestAppend:
    """All of a line or nothing of it."""

    @pytest.fixture
    def log(self, box: Path, at: int) -> Iterator[int]:
        (box / "log").write_bytes(OLD)
        fd = os.open("log", os.O_WRONLY | os.O_APPEND, dir_fd=at)
        yield fd
        os.close(fd)

    def test_it_appends(self, log: int, box: Path) -> None:
        """Behind what is there."""
        atomic.append(log, NEW)
        assert OLD + NEW == (box / "log").read_bytes()

    @pytest.mark.parametrize("most", [0, 1, len(NEW) - 1])
    def test_a_short_write_is_cut_off_again(
        self, most: int, log: int, box: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk takes 2,796 of 9,000 bytes and calls that a success (measured)."""
        short_writes(monkeypatch, most)
        with pytest.raises(OSError, match="only a part") as raised:
            atomic.append(log, NEW)
        assert errno.ENOSPC == raised.value.errno
        monkeypatch.undo()
        atomic.append(log, NEW)
        assert OLD + NEW == (box / "log").read_bytes()

    @pytest.mark.parametrize("number", [1, 2])
    def test_a_failure_is_cut_off_again(self, number: int, log: int, box: Path) -> None:
        """The write, or the sync behind it."""
        with fail_at(number), pytest.raises(OSError, match="No space left"):
            atomic.append(log, NEW)
        assert OLD == (box / "log").read_bytes()

    def test_durable_when_it_returns(self, log: int, tmp_path: Path) -> None:
        """Unless nobody needs that."""
        with recorded(tmp_path) as durable:
            atomic.append(log, NEW)
        with recorded(tmp_path) as fleeting:
            atomic.append(log, NEW, durable=False)
        assert {OLD + NEW} == {state["box/log"] for state in durable.at_the_end()}
        assert {OLD + NEW, OLD + NEW + NEW} == {state["box/log"] for state in fleeting.at_the_end()}


class TestTornTail:
    """What a crash in the middle of a line leaves."""

    @pytest.mark.parametrize(
        ("data", "kept", "torn"),
        [
            (b"", b"", b""),
            (b"a\n", b"a\n", b""),
            (b"a\nhal", b"a\n", b"hal"),
            (b"hal", b"", b"hal"),
            (b"\n", b"\n", b""),
            (b"a\n\0\0\0", b"a\n", b"\0\0\0"),
            (b"a\n" + b"x" * 200_000, b"a\n", b"x" * 200_000),
            (b"x" * 65536, b"", b"x" * 65536),
            (b"\n" + b"x" * 65536, b"\n", b"x" * 65536),
        ],
    )
    def test_it_is_cut_and_kept_aside(
        self, data: bytes, kept: bytes, torn: bytes, at: int, box: Path
    ) -> None:
        """Longer than any block that is read at once, too."""
        (box / "log").write_bytes(data)
        assert torn == atomic.cut_torn_tail("log", at=at)
        assert contents(box) == {"log": kept} | ({"log.torn": torn} if torn else {})

    def test_no_file_has_no_tail(self, at: int, box: Path) -> None:
        """And none is made."""
        assert b"" == atomic.cut_torn_tail("log", at=at)
        assert {} == tree(box)

    @given(st.binary(max_size=300).map(lambda raw: raw.replace(b"\1", b"\n")))
    def test_nothing_is_lost(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        """What stays and what is kept aside are the file; a second look finds nothing to do."""
        box = tmp_path_factory.mktemp("box")
        (box / "log").write_bytes(data)
        with atomic.directory(box) as at:
            torn = atomic.cut_torn_tail("log", at=at)
            assert data == (box / "log").read_bytes() + torn
            assert b"" == atomic.cut_torn_tail("log", at=at)

    def test_every_crash(self, tmp_path: Path) -> None:
        """The tail is kept aside before it is cut, and what a crash left undone the next start does."""
        for number in count(1):
            box = tmp_path / f"{number}"
            box.mkdir()
            (box / "log").write_bytes(b"a\nhal")
            with atomic.directory(box) as at:
                with kill_at(number) as struck:
                    try:
                        atomic.cut_torn_tail("log", at=at)
                    except Killed:
                        tail = (box / "log").read_bytes().removeprefix(b"a\n")
                        assert b"hal" == (tail or (box / "log.torn").read_bytes())
                if not struck:
                    break
                atomic.cut_torn_tail("log", at=at)
            assert {"log": b"a\n", "log.torn": b"hal"} == contents(box)

    def test_every_power_cut(self, at: int, box: Path, tmp_path: Path) -> None:
        """Once it has returned, no cut brings the tail back: what is appended next would be glued to it."""
        (box / "log").write_bytes(b"a\nhal")
        with recorded(tmp_path) as calls:
            atomic.cut_torn_tail("log", at=at)
        for _, state in calls.after_a_cut():
            assert state["box/log"] == b"a\nhal" or b"hal" == state["box/log.torn"]
        assert {(b"a\n", b"hal")} == {(each["box/log"], each["box/log.torn"]) for each in calls.at_the_end()}

    def test_its_descriptor_is_given_back(self, at: int, box: Path) -> None:
        """Whether there was a tail or not."""
        before = sorted(os.listdir("/proc/self/fd"))
        for data in (b"a\nhal", b"a\n"):
            (box / "log").write_bytes(data)
            atomic.cut_torn_tail("log", at=at)
        assert before == sorted(os.listdir("/proc/self/fd"))

    def test_a_link_is_not_followed(self, at: int, box: Path, tmp_path: Path) -> None:
        """It would cut somebody else's file."""
        (tmp_path / "victim").write_bytes(b"no newline")
        (box / "log").symlink_to("../victim")
        with pytest.raises(OSError, match="symbolic links"):
            atomic.cut_torn_tail("log", at=at)
        assert b"no newline" == (tmp_path / "victim").read_bytes()


class TestRemove:
    """Whatever bears a name."""

    def test_a_file_and_a_link(self, at: int, box: Path) -> None:
        """The link goes, and not what it leads to."""
        (box / "victim").mkdir()
        (box / "victim" / "x").write_bytes(b"x")
        (box / "link").symlink_to("victim")
        (box / "file").write_bytes(b"x")
        for name in ("link", "file"):
            atomic.remove(name, at=at)
        assert {"victim": ["x"]} == tree(box)

    def test_a_directory_with_links_in_it(self, at: int, box: Path) -> None:
        """All that is in it and below, nothing beside it."""
        (box / "victim").mkdir()
        (box / "victim" / "x").write_bytes(b"x")
        (box / "doomed" / "a" / "b").mkdir(parents=True)
        (box / "doomed" / "a" / "y").write_bytes(b"y")
        (box / "doomed" / "a" / "link").symlink_to(box / "victim")
        atomic.remove("doomed", at=at)
        assert ["victim"] == os.listdir(box)
        assert {"victim": ["x"]} == tree(box)

    def test_deeper_than_frames_and_descriptors_go(self, at: int, box: Path) -> None:
        """Others make them, and a service must not end by it."""
        dig(box / "deep", 2000)
        atomic.remove("deep", at=at)
        assert [] == os.listdir(box)

    def test_what_is_not_there(self, at: int) -> None:
        """Is told as the system tells it."""
        with pytest.raises(FileNotFoundError):
            atomic.remove("nothing", at=at)


class TestReadBounded:
    """Never more than asked for, whatever the file's size says."""

    @pytest.mark.parametrize("most", [0, 1, 5, 29, 30, 31, 1 << 21])
    def test_at_most(self, most: int, box: Path) -> None:
        """Its beginning, or all of it."""
        (box.parent / "x").write_bytes(NEW)
        with open(box.parent / "x", "rb", buffering=0) as file:
            assert NEW[:most] == atomic.read_bounded(file.fileno(), most)

    def test_a_sparse_tebibyte(self, tmp_path: Path) -> None:
        """Is as many bytes as asked for, not memory."""
        with open(tmp_path / "x", "w+b") as file:
            file.truncate(1 << 40)
            assert bytes(3 << 20) == atomic.read_bounded(file.fileno(), 3 << 20)
            assert 3 << 20 == os.lseek(file.fileno(), 0, os.SEEK_CUR)


def test_the_model_bites(tmp_path: Path) -> None:
    """A writer that renames without a sync is found out: an empty file, or none, after a power cut."""
    (tmp_path / "box").mkdir()
    with recorded(tmp_path) as calls:
        fd = os.open(tmp_path / "box" / ".x", os.O_WRONLY | os.O_CREAT)
        os.write(fd, NEW)
        os.close(fd)
        os.rename(tmp_path / "box" / ".x", tmp_path / "box" / "x")
    found = {state.get("box/x", b"none") for state in calls.at_the_end()}
    assert {b"none", b"", NEW} == found
