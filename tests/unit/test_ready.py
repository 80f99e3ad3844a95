"""Whether an entry is whole: real files, real open descriptors, and a clock that is a number."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import atomic, ready
from spoolbridge.ready import GRACE, LARGEST, SETTLE, SETTLE_WITHOUT_LEASE, Never, NotYet, Verdict
from tests.support.droppers import SlowWriter, half_written, mapped, shell_rename

ID = "20261122T055501.123456Z-k3f9q2x7"

leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases on this system")


class Box:
    """A drop box, and the verdict on what lies in it at a time that the test names."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd

    def file(self, name: str = "x", data: bytes = b"hello") -> Path:
        (self.path / name).write_bytes(data)
        return self.path / name

    def bundle(self, name: str = "x.msg", body: bytes | None = b"hello", **files: bytes) -> Path:
        bundle = self.path / name
        (bundle / "files").mkdir(parents=True)
        if body is not None:
            (bundle / "body").write_bytes(body)
        for each, data in files.items():
            (bundle / "files" / each).write_bytes(data)
        return bundle

    def changed(self, name: str = "x") -> float:
        status = (self.path / name).lstat()
        return max(status.st_ctime, status.st_mtime)

    def after(self, seconds: float, name: str = "x", *, seen: float | None = None) -> Verdict:
        """The verdict so long after the last change, first seen `seen` seconds ago (then as well)."""
        now = self.changed(name) + seconds
        first_seen = now - (seconds if seen is None else seen)
        return ready.examine(name, at=self.fd, now=now, first_seen=first_seen)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    path = tmp_path / "box"
    path.mkdir()
    with atomic.directory(path) as fd:
        yield Box(path, fd)


@pytest.fixture
def no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's file, or a file system without leases."""
    real = fcntl.fcntl

    def call(fd: int, command: int, *arguments: Any) -> Any:
        if command == getattr(fcntl, "F_SETLEASE", 1024):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return real(fd, command, *arguments)

    monkeypatch.setattr(fcntl, "fcntl", call)


def open_descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


def never(verdict: Verdict) -> str:
    """The sentence of a Never."""
    assert isinstance(verdict, Never), verdict
    assert verdict.hint
    return verdict.reason


def seconds(verdict: Verdict) -> float:
    """How long a NotYet asks to wait."""
    assert isinstance(verdict, NotYet), verdict
    return verdict.seconds


class TestIgnored:
    """What editors and transfers leave beside the file they mean."""

    @pytest.mark.parametrize(
        "name",
        [".x", ".", "..", ".x.swp", "x~", "#x#", "x.tmp", "x.swp", "x.swx", "x.part", "x.partial", ".hold",
         "x.crdownload", "x.filepart", f"{ID}.x.why", "4913", "a\nb.tmp", os.fsdecode(b"\xff.tmp")],
    )  # fmt: skip
    def test_these_are(self, name: str) -> None:
        """Hidden, a temporary, a backup, vim's probe, a reason."""
        assert ready.ignored(name)

    @pytest.mark.parametrize(
        "name",
        ["x", "x.txt", "tmp", "part", "x.TMP2", "x.tmp.txt", "~x", "#x", "x#", "49130", "why", "x.msg", "-rf",
         "sedAbC123", "a b", os.fsdecode(b"\xff"), "x.tmp\n"],
    )  # fmt: skip
    def test_these_are_not(self, name: str) -> None:
        """sed's and perl's temporaries have no mark: the settle time is what handles them."""
        assert not ready.ignored(name)


class TestFile:
    """A lone file."""

    @leases
    def test_it_settles(self, box: Box) -> None:
        """A quarter of a second after its last change, and not before."""
        box.file()
        assert SETTLE - 0.1 == pytest.approx(seconds(box.after(0.1)), abs=1e-5)
        assert box.after(SETTLE + 0.001) is True

    @leases
    def test_one_of_ours_is_ready_at_once(self, box: Box) -> None:
        """Who writes under an ID renames it in."""
        name = box.file(f"{ID}.x").name
        assert box.after(0, name) is True

    def test_by_rename_from_a_shell(self, box: Box) -> None:
        """The README's two lines; what is beside it is hidden."""
        shell_rename(box.path, "x", "hello")
        assert ["x"] == os.listdir(box.path)
        assert box.after(SETTLE_WITHOUT_LEASE + 0.001) is True

    @leases
    def test_a_change_starts_the_time_anew(self, box: Box) -> None:
        """Of the content, or of the name: `cp -p` and `mv` keep an old mtime, but not an old ctime."""
        path = box.file()
        os.utime(path, (1, 1))
        assert isinstance(box.after(0), NotYet)
        path.rename(box.path / "y")
        assert isinstance(box.after(0.1, "y"), NotYet)

    def test_gone_meanwhile(self, box: Box) -> None:
        """An operator's `rm` cancels; nothing to say about it."""
        assert ready.examine("x", at=box.fd, now=0, first_seen=0) is None

    def test_a_directory_is_not_for_us(self, box: Box) -> None:
        """Only `NAME.msg` is a bundle; others are left."""
        (box.path / "x").mkdir()
        assert box.after(1000) is None

    @leases
    def test_a_name_of_any_kind(self, box: Box) -> None:
        """Newline, escape, bidi, no UTF-8, a leading dash, 255 bytes."""
        for raw in (b"a\nb", b"\x1b[2J", b"\xe2\x80\xaetxt.exe", b"\xff\xfe", b"-rf", b"x" * 255, b" "):
            name = box.file(os.fsdecode(raw)).name
            assert box.after(1, name) is True, raw

    @pytest.mark.parametrize("ahead", [0.5, 10, 1e6])
    @leases
    def test_a_time_in_the_future(self, box: Box, ahead: float) -> None:
        """The clock was set back, or somebody touched it: counts from when we first saw it."""
        box.file()
        now = box.changed() - ahead
        fresh = ready.examine("x", at=box.fd, now=now, first_seen=now)
        assert SETTLE == seconds(fresh)
        old = ready.examine("x", at=box.fd, now=now, first_seen=now - SETTLE)
        assert (old is True) == (ahead > 1)  # within a second it is waited for

    def test_descriptors_are_given_back(self, box: Box) -> None:
        """Whatever the verdict was."""
        box.file("file")
        box.file("empty", b"")
        (box.path / "directory").mkdir()
        os.mkfifo(box.path / "fifo")
        (box.path / "link").symlink_to("file")
        box.bundle("bundle.msg", a=b"x")
        before = open_descriptors()
        for name in os.listdir(box.path):
            box.after(1000, name)
        assert before == open_descriptors()


class TestWriters:
    """Who still has it open."""

    @leases
    def test_a_slow_writer(self, box: Box) -> None:
        """`(echo a; sleep 60; echo b) > x`: never ready before it is closed, however long the pause."""
        with SlowWriter(box.path / "x") as writer:
            writer.write(b"first\n")
            assert SETTLE == seconds(box.after(60))
            writer.write(b"second\n")
            assert SETTLE == seconds(box.after(1000))
            writer.close()
            assert box.after(SETTLE + 0.001) is True

    @leases
    def test_not_even_under_an_id(self, box: Box) -> None:
        """A name in our form is a promise, not a proof."""
        with half_written(box.path / ID, b"half"):
            assert SETTLE == seconds(box.after(1000, ID))
        assert box.after(0, ID) is True

    @leases
    def test_a_mapped_file(self, box: Box) -> None:
        """Closed, but still written to through memory: no event would ever tell."""
        box.file()
        with mapped(box.path / "x"):
            assert SETTLE == seconds(box.after(1000))
        assert box.after(1000) is True

    @leases
    def test_a_reader_is_in_nobodys_way(self, box: Box) -> None:
        """Somebody looks at it with `less`."""
        with open(box.file(), "rb"):
            assert box.after(1) is True

    def test_without_a_lease(self, box: Box, no_lease: None) -> None:
        """Two seconds of rest, whatever the name."""
        for name in ("x", ID):
            box.file(name)
            assert 0.5 == pytest.approx(seconds(box.after(1.5, name)), abs=1e-5)
            assert box.after(SETTLE_WITHOUT_LEASE + 0.001, name) is True


class TestLease:
    """The kernel's word on whether anybody writes."""

    @leases
    def test_granted_and_given_back(self, box: Box) -> None:
        """Nothing of it stays: the next writer is not held up."""
        with open(box.file(), "rb") as file:
            assert ready.lease(file.fileno()) is True
            assert fcntl.F_UNLCK == fcntl.fcntl(file.fileno(), fcntl.F_GETLEASE)

    @leases
    def test_refused(self, box: Box) -> None:
        """While a descriptor is open for writing, and not a moment longer."""
        with open(box.file(), "rb") as file:
            with open(box.path / "x", "ab"):
                assert ready.lease(file.fileno()) is False
            assert ready.lease(file.fileno()) is True

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EPERM])
    @leases
    def test_not_to_be_had(self, number: int, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """Says nothing about writers."""

        def refuse(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        with open(box.file(), "rb") as file:
            monkeypatch.setattr(fcntl, "fcntl", refuse)
            assert ready.lease(file.fileno()) is None

    @leases
    def test_not_asked_for_where_the_answer_would_kill(
        self, box: Box, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SIGIO ends a process that does not ignore it (exit -29, measured)."""
        asked: list[int] = []
        before = signal.signal(signal.SIGIO, signal.SIG_DFL)
        try:
            with open(box.file(), "rb") as file:
                monkeypatch.setattr(fcntl, "fcntl", lambda *_: asked.append(1))
                assert ready.lease(file.fileno()) is None
        finally:
            signal.signal(signal.SIGIO, before)
        assert [] == asked

    def test_a_system_without_leases(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """macOS."""
        monkeypatch.delattr(fcntl, "F_SETLEASE", raising=False)
        with open(box.file(), "rb") as file:
            assert ready.lease(file.fileno()) is None


class TestNoMessage:
    """What can never become one, and what gets time to."""

    def test_a_link(self, box: Box, tmp_path: Path) -> None:
        """Never followed, whether it leads to a secret, nowhere or to a directory."""
        (tmp_path / "secret").write_bytes(b"token")
        for target in ("../secret", "nowhere", ".", "x"):
            (box.path / "x").symlink_to(target)
            assert "a symbolic link, which is never followed" == never(box.after(0))
            (box.path / "x").unlink()

    def test_a_fifo_does_not_block(self, box: Box) -> None:
        """A plain open would wait for a writer for ever."""
        os.mkfifo(box.path / "x")
        verdict = box.after(0)
        assert "not a regular file" == never(verdict)
        assert Never("not a regular file", "drop a file") == verdict

    def test_a_socket(self, box: Box) -> None:
        """Cannot even be opened."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("box/x")
            assert "not a regular file" == never(box.after(0))

    def test_a_hard_link_gets_a_minute(self, box: Box, tmp_path: Path) -> None:
        """Maildir writers have two for an instant; a secret of the service's user has two for ever."""
        (tmp_path / "secret").write_bytes(b"token")
        os.link(tmp_path / "secret", box.path / "x")
        assert 10 == pytest.approx(seconds(box.after(1000, seen=GRACE - 10)), abs=1e-3)
        assert "the file has a second link" == never(box.after(1000, seen=GRACE))
        (tmp_path / "secret").unlink()
        assert box.after(1000) is True

    def test_touching_a_linked_file_wins_no_time(self, box: Box, tmp_path: Path) -> None:
        """Its minute runs from when it was first seen."""
        (tmp_path / "secret").write_bytes(b"token")
        os.link(tmp_path / "secret", box.path / "x")
        assert isinstance(box.after(0, seen=GRACE), Never)

    def test_an_empty_file_gets_a_minute(self, box: Box) -> None:
        """`touch`, or what ext4 leaves of a write without fsync; a touch later starts it anew."""
        box.file(data=b"")
        assert 1 == pytest.approx(seconds(box.after(GRACE - 1)), abs=1e-3)
        assert "the file is empty" == never(box.after(GRACE))

    def test_a_sparse_tebibyte(self, box: Box) -> None:
        """Is refused by its size, not read."""
        with open(box.path / "x", "wb") as file:
            file.truncate(1 << 40)
        verdict = box.after(0)
        assert f"the file has {1 << 40} bytes, more than the {LARGEST}" in never(verdict)
        assert isinstance(verdict, Never)
        assert "drop a file of at most 25 MiB" == verdict.hint

    @leases
    def test_the_largest_that_goes(self, box: Box) -> None:
        """25 MiB, and not a byte more."""
        with open(box.path / "x", "wb") as file:
            file.truncate(LARGEST)
        assert box.after(1) is True
        os.truncate(box.path / "x", LARGEST + 1)
        assert isinstance(box.after(1), Never)

    def test_another_users_file(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two seconds for who is about to change its mode, then a refusal that says how."""
        box.file()
        deny(monkeypatch, "x", errno.EACCES)
        assert 0.5 == pytest.approx(seconds(box.after(1.5)), abs=1e-5)
        verdict = box.after(SETTLE_WITHOUT_LEASE)
        assert f"not readable by the service (uid {os.geteuid()})" == never(verdict)
        assert isinstance(verdict, Never)
        assert "chmod g+r it, or use: umask 027" == verdict.hint

    def test_somebody_elses_lease(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file server has it: not now."""
        box.file()
        deny(monkeypatch, "x", errno.EWOULDBLOCK)
        assert SETTLE == seconds(box.after(1000))

    @pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK])
    def test_a_device_is_not_even_opened(self, kind: int, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening alone rewinds a tape. (Making one takes root; here the kernel's answer is put in.)"""
        box.file()
        opened: list[object] = []
        real: Callable[..., os.stat_result] = os.stat
        monkeypatch.setattr(os, "open", lambda *arguments, **_: opened.append(arguments))
        monkeypatch.setattr(
            os, "stat", lambda *arguments, **more: os.stat_result((kind, *real(*arguments, **more)[1:]))
        )
        verdict = ready.examine("x", at=box.fd, now=0, first_seen=0)
        monkeypatch.undo()
        assert "not a regular file" == never(verdict)
        assert [] == opened

    def test_a_disk_that_fails_is_not_a_verdict(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """The entry is not to blame."""
        box.file()
        deny(monkeypatch, "x", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            box.after(1)


class TestBundle:
    """`NAME.msg/` with `body` and `files/`."""

    @leases
    def test_whole(self, box: Box) -> None:
        """Ready when every member is."""
        box.bundle(a=b"1", b=b"2")
        assert box.after(1, "x.msg") is True
        assert isinstance(ready.examine("x.msg", at=box.fd, now=0, first_seen=0), NotYet)

    @pytest.mark.parametrize("keep", ["body", "files"])
    @leases
    def test_either_alone_will_do(self, keep: str, box: Box) -> None:
        """Words without files, files without words."""
        bundle = box.bundle(a=b"1")
        if keep == "body":
            (bundle / "files" / "a").unlink()
            (bundle / "files").rmdir()
        else:
            (bundle / "body").unlink()
        assert box.after(1, "x.msg") is True

    @leases
    def test_a_member_that_is_written_to(self, box: Box) -> None:
        """Any of them."""
        bundle = box.bundle(a=b"1", b=b"2")
        for name in ("body", "files/a", "files/b"):
            with open(bundle / name, "ab"):
                assert SETTLE == seconds(box.after(1000, "x.msg")), name

    @pytest.mark.parametrize("where", ["body", "files", "files/a"])
    def test_a_link_inside(self, where: str, box: Box, tmp_path: Path) -> None:
        """In any place: it would read for whoever can write one."""
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "token").write_bytes(b"secret")
        bundle = box.path / "x.msg"
        (bundle / ("files" if where == "files/a" else "")).mkdir(parents=True)
        target = tmp_path / "secrets" / ("" if where == "files" else "token")
        (bundle / where).symlink_to(target)
        assert "the bundle holds a link or something else that is not a file" == never(box.after(0, "x.msg"))

    def test_a_link_in_its_place(self, box: Box, tmp_path: Path) -> None:
        """To a bundle elsewhere."""
        box.bundle("real.msg")
        (box.path / "x.msg").symlink_to("real.msg")
        assert "a symbolic link, which is never followed" == never(box.after(0, "x.msg"))

    @pytest.mark.parametrize("where", ["body", "files/a"])
    @pytest.mark.parametrize("what", ["fifo", "socket", "directory"])
    def test_something_else_inside(self, where: str, what: str, box: Box) -> None:
        """Nested directories too: a message has no tree."""
        bundle = box.path / "x.msg"
        (bundle / "files").mkdir(parents=True)
        if what == "fifo":
            os.mkfifo(bundle / where)
        elif what == "directory":
            (bundle / where).mkdir()
        else:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"box/x.msg/{where}")
        assert "not a" in never(box.after(1000, "x.msg"))

    def test_files_that_is_a_file(self, box: Box) -> None:
        """Is refused as well."""
        (box.path / "x.msg").mkdir()
        (box.path / "x.msg" / "files").write_bytes(b"x")
        assert "not a file" in never(box.after(0, "x.msg"))

    @pytest.mark.parametrize("name", ["text", "Body", "body.txt", "4912", "a\nb"])
    def test_a_stray_member(self, name: str, box: Box) -> None:
        """What would not be sent is not left out in silence."""
        (box.bundle() / name).write_bytes(b"x")
        verdict = box.after(0, "x.msg")
        assert f"the bundle holds {name!r}" == never(verdict)

    @leases
    def test_a_member_that_is_still_to_come(self, box: Box) -> None:
        """A transfer writes under a hidden name and renames: rsync, a browser, scp with a temporary."""
        bundle = box.bundle(a=b"1")
        for name in (".body.x7f3", "files/.b.png.x7f3", "files/b.png.part"):
            with open(bundle / name, "wb") as file:
                file.write(b"half")
                assert SETTLE == seconds(box.after(1000, "x.msg")), name
            (bundle / name).unlink()
        assert box.after(1000, "x.msg") is True

    @pytest.mark.parametrize("place", ["", "files"])
    @leases
    def test_a_directory_that_has_just_changed(self, place: str, box: Box) -> None:
        """Somebody copies one file after the other; all that are there are whole."""
        bundle = box.bundle(a=b"1")
        now = (bundle / "body").stat().st_ctime + 1000
        box_now(bundle / place, now - 0.1)
        verdict = ready.examine("x.msg", at=box.fd, now=now, first_seen=now - 1000)
        assert SETTLE - 0.1 == pytest.approx(seconds(verdict), abs=1e-3)

    @leases
    def test_one_of_ours_is_ready_at_once(self, box: Box) -> None:
        """Who knows the form renames it in whole."""
        name = box.bundle(f"{ID}.x.msg", a=b"1").name
        assert box.after(0, name, seen=0) is True

    @leases
    def test_an_editors_lock_is_nobodys_writer(self, box: Box) -> None:
        """A link that leads nowhere (emacs), a directory (.git), a FIFO."""
        bundle = box.bundle()
        (bundle / ".#body").symlink_to("nic@host.1234")
        (bundle / "files" / ".git").mkdir()
        os.mkfifo(bundle / ".fifo")
        before = open_descriptors()
        assert box.after(1, "x.msg") is True
        assert before == open_descriptors()

    @leases
    def test_an_editors_leavings_are_passed_over(self, box: Box) -> None:
        """A backup of `body` is nobody's message."""
        bundle = box.bundle(a=b"1")
        (bundle / "body~").write_bytes(b"old")
        (bundle / "files" / ".DS_Store").write_bytes(b"x")
        assert box.after(1, "x.msg") is True
        with atomic.directory(bundle) as fd:
            opened = ready.members(fd)
            ready.close(opened)
        assert ["body", "files/a"] == [name for name, _ in opened]

    @pytest.mark.parametrize("inside", [[], ["files"]])
    def test_an_empty_one_gets_a_minute(self, inside: list[str], box: Box) -> None:
        """Somebody is about to fill it."""
        for name in ["", *inside]:
            (box.path / "x.msg" / name).mkdir()
        assert 1 == pytest.approx(seconds(box.after(GRACE - 1, "x.msg")), abs=1e-3)
        assert "the bundle is empty" == never(box.after(GRACE, "x.msg"))

    def test_a_hard_link_inside_gets_a_minute(self, box: Box, tmp_path: Path) -> None:
        """As a lone file does; the bundle is refused with it."""
        (tmp_path / "secret").write_bytes(b"token")
        bundle = box.bundle()
        os.link(tmp_path / "secret", bundle / "files" / "a")
        assert 10 == pytest.approx(seconds(box.after(1000, "x.msg", seen=GRACE - 10)), abs=1e-3)
        assert "in the bundle: the file has a second link" == never(box.after(1000, "x.msg", seen=GRACE))

    def test_too_large_in_all(self, box: Box) -> None:
        """A request carries 25 MiB with everything in it; nobody reads a gibibyte into memory first."""
        bundle = box.bundle()
        for number in range(3):
            with open(bundle / "files" / f"{number}", "wb") as file:
                file.truncate(LARGEST // 3 + 1)
        reason = never(box.after(1, "x.msg"))
        assert f"the bundle has {3 * (LARGEST // 3 + 1) + 5} bytes, more than the {LARGEST}" in reason

    @leases
    def test_the_most_that_goes(self, box: Box) -> None:
        """25 MiB in all, and as many files as may be."""
        bundle = box.bundle(body=b"x" * 10)
        for number in range(ready.MOST_MEMBERS):
            (bundle / "files" / f"{number}").write_bytes(b"")
        os.truncate(bundle / "files" / "0", LARGEST - 10)
        assert box.after(1, "x.msg") is True

    def test_too_many(self, box: Box) -> None:
        """Before any of them is opened."""
        files = box.bundle() / "files"
        for number in range(ready.MOST_MEMBERS + 1):
            (files / f"{number}").write_bytes(b"x")
        assert f"the bundle holds {ready.MOST_MEMBERS + 1} files" == never(box.after(0, "x.msg"))

    @pytest.mark.parametrize("spoil", ["link", "stray"])
    def test_descriptors_are_given_back(self, spoil: str, box: Box) -> None:
        """A bundle that cannot be opened whole must not use them up: hundreds would stop the service."""
        bundle = box.bundle(a=b"1", b=b"2", c=b"3")
        (bundle / ("files/z" if spoil == "link" else "stray")).symlink_to("nowhere")
        before = open_descriptors()
        assert isinstance(box.after(1, "x.msg"), Never)
        assert before == open_descriptors()

    def test_another_users_member(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two seconds, then refused with what to do."""
        box.bundle(secret=b"x")
        deny(monkeypatch, "secret", errno.EACCES)
        assert isinstance(box.after(1.5, "x.msg"), NotYet)
        assert "not readable by the service" in never(box.after(2, "x.msg"))

    def test_a_file_called_like_one(self, box: Box) -> None:
        """Is a file."""
        box.file("x.msg", b"")
        assert "the file is empty" == never(box.after(GRACE, "x.msg"))


def box_now(path: Path, at: float) -> None:
    """This was last changed then, in the time that the test names (mtime counts as much as ctime)."""
    os.utime(path, (at, at))


def deny(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """open(2) fails for this name; nobody but root can make a file that root cannot open."""
    real: Callable[..., int] = os.open

    def call(path: Any, *arguments: Any, **keywords: Any) -> int:
        if path == name:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", call)
