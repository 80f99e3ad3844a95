"""The doorbell: rings for whatever arrives, costs nobody a message, and can be told to be quiet."""

from __future__ import annotations

import builtins
import errno
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import atomic
from spoolbridge.spool import Spool
from spoolbridge.watcher import Watcher
from tests.support.droppers import SlowWriter, shell_rename

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")

SOON = 5.0  # seconds; a ring takes a millisecond, and a busy machine more
QUIET = 0.1  # seconds in which a ring that must not come would have come


class Bell:
    """Counts, and tells when it has rung."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self.threads: set[str] = set()

    def __call__(self) -> None:
        self.threads.add(threading.current_thread().name)
        self._rung.set()

    def heard(self, seconds: float = SOON) -> bool:
        """Whether it rings within so long; then it is as if it had not rung."""
        rung = self._rung.wait(seconds)
        self._rung.clear()
        return rung

    def settle(self) -> None:
        """Wait until it has been quiet for a moment."""
        while self.heard(0.03):
            pass


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def box(spool: Spool) -> Path:
    """The drop box of one channel."""
    spool.add_channel("villa")
    return spool.root / "outgoing" / "villa"


@pytest.fixture
def watcher(spool: Spool, box: Path, bell: Bell) -> Iterator[Watcher]:
    made = Watcher(spool.root, bell)
    made.start()
    assert "" == made.problem
    bell.settle()
    yield made
    made.stop()


@pytest.mark.usefixtures("watcher")
class TestRings:
    """Whatever arrives."""

    def test_a_file_is_written(self, box: Path, bell: Bell) -> None:
        """As `echo hello > x` does."""
        (box / "x").write_bytes(b"hello")
        assert bell.heard()

    def test_a_slow_writer_closes(self, box: Path, bell: Bell) -> None:
        """When it is whole, not only when it begins."""
        with SlowWriter(box / "x") as writer:
            writer.write(b"half\n")
            bell.settle()
            writer.close()
            assert bell.heard()

    def test_mv_within_the_box(self, box: Path, bell: Bell) -> None:
        """From a hidden name."""
        shell_rename(box, "x", "hello")
        assert bell.heard()

    def test_mv_from_outside(self, box: Path, bell: Bell, tmp_path: Path) -> None:
        """Nothing is opened or closed by it."""
        (tmp_path / "x").write_bytes(b"hello")
        bell.settle()
        (tmp_path / "x").rename(box / "x")
        assert bell.heard()

    def test_a_drop(self, spool: Spool, bell: Bell) -> None:
        """As `send` and the MCP tool do it."""
        spool.drop("villa", b"hello")
        assert bell.heard()

    def test_a_link(self, box: Path, bell: Bell, tmp_path: Path) -> None:
        """Hard or symbolic: closed by nobody, ever."""
        (tmp_path / "x").write_bytes(b"hello")
        os.link(tmp_path / "x", box / "x")
        assert bell.heard()
        bell.settle()
        (box / "y").symlink_to("x")
        assert bell.heard()

    def test_a_bundle(self, spool: Spool, bell: Bell) -> None:
        """A directory that is renamed in."""
        spool.drop("villa", b"look", files={"a": b"1"})
        assert bell.heard()

    def test_a_stray(self, spool: Spool, bell: Bell) -> None:
        """Directly in `outgoing/`."""
        (spool.root / "outgoing" / "x").write_bytes(b"hello")
        assert bell.heard()

    def test_a_new_channel(self, spool: Spool, bell: Bell) -> None:
        """And what is dropped there later."""
        spool.add_channel("vgt")
        assert bell.heard()
        bell.settle()
        (spool.root / "outgoing" / "vgt" / "x").write_bytes(b"hello")
        assert bell.heard()

    def test_new_channels_in_a_hurry(self, spool: Spool, bell: Bell) -> None:
        """mkdir and write at once, fifty times: after the last ring, a look finds every one of them."""
        for number in range(50):
            channel = spool.root / "outgoing" / f"c{number}"
            channel.mkdir()
            (channel / "x").write_bytes(b"hello")
            found = 0
            while found <= number and bell.heard():
                found = len(list((spool.root / "outgoing").glob("c*/x")))
            assert number + 1 == found

    def test_a_channel_is_moved_in(self, spool: Spool, bell: Bell, tmp_path: Path) -> None:
        """With messages in it, and more to come."""
        (tmp_path / "vgt").mkdir()
        (tmp_path / "vgt" / "x").write_bytes(b"hello")
        (tmp_path / "vgt").rename(spool.root / "outgoing" / "vgt")
        assert bell.heard()
        bell.settle()
        (spool.root / "outgoing" / "vgt" / "y").write_bytes(b"hello")
        assert bell.heard()

    def test_a_channel_is_renamed_and_made_anew(self, spool: Spool, box: Path, bell: Bell) -> None:
        """Both are watched."""
        box.rename(spool.root / "outgoing" / "old")
        box.mkdir()
        bell.settle()
        for name in ("old", "villa"):
            (spool.root / "outgoing" / name / "x").write_bytes(b"hello")
            assert bell.heard(), name
            bell.settle()

    def test_a_channel_is_removed(self, spool: Spool, box: Path, bell: Bell) -> None:
        """The others go on."""
        box.rmdir()
        spool.add_channel("vgt")
        bell.settle()
        (spool.root / "outgoing" / "vgt" / "x").write_bytes(b"hello")
        assert bell.heard()

    def test_not_from_the_thread_that_drops(self, box: Path, bell: Bell) -> None:
        """From one of its own: whoever is rung must expect that."""
        (box / "x").write_bytes(b"hello")
        assert bell.heard()
        assert threading.current_thread().name not in bell.threads

    def test_without_delay_behind_a_claim(self, spool: Spool, box: Path, bell: Bell) -> None:
        """A rename out of what is watched must not hold up what comes next: half a second each, once."""
        (spool.root / "sending" / "villa").mkdir()
        waits = []
        for number in range(5):
            name = spool.drop("villa", b"hello").name
            assert bell.heard()
            with spool.at("outgoing/villa") as src, spool.at("sending/villa") as dst:
                atomic.move(name, f"{number}", src=src, dst=dst)
            started = time.monotonic()
            spool.drop("villa", b"next").path.unlink()
            assert bell.heard()
            waits.append(time.monotonic() - started)
        assert sorted(waits)[2] < 0.2


@pytest.mark.usefixtures("watcher")
class TestSilence:
    """What is no news."""

    def test_our_own_states(self, spool: Spool, bell: Bell) -> None:
        """Nothing is to be claimed there."""
        for state in ("sending", "sent", "failed", "state", "tmp", "incoming"):
            (spool.root / state / "x").write_bytes(b"hello")
        assert not bell.heard(QUIET)

    def test_a_claim(self, spool: Spool, box: Path, bell: Bell) -> None:
        """It leaves; a bell would wake us for our own work, for ever."""
        (box / "x").write_bytes(b"hello")
        bell.settle()
        (box / "x").rename(spool.root / "sending" / "x")
        assert not bell.heard(QUIET)

    def test_a_look(self, spool: Spool, box: Path, bell: Bell) -> None:
        """Reading is no change."""
        (box / "x").write_bytes(b"hello")
        bell.settle()
        (box / "x").read_bytes()
        os.listdir(box)
        assert not bell.heard(QUIET)


class TestStop:
    """The end of it."""

    def test_no_ring_and_no_thread(self, spool: Spool, box: Path, bell: Bell) -> None:
        """When `stop` has returned."""
        before = set(threading.enumerate())
        descriptors = len(os.listdir("/proc/self/fd"))
        watcher = Watcher(spool.root, bell)
        watcher.start()
        watcher.stop()
        bell.settle()
        (box / "x").write_bytes(b"hello")
        assert not bell.heard(QUIET)
        assert before >= set(threading.enumerate())
        assert descriptors == len(os.listdir("/proc/self/fd"))

    def test_before_it_began(self, spool: Spool, bell: Bell) -> None:
        """And twice: nothing happens."""
        watcher = Watcher(spool.root, bell)
        watcher.stop()
        watcher.start()
        watcher.stop()
        watcher.stop()


class TestWithout:
    """A machine that grants no events: `problem` says so, and scans find everything."""

    def test_no_instance(self, spool: Spool, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
        """fs.inotify.max_user_instances is used up."""
        from watchdog.observers import inotify_c

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        monkeypatch.setattr(inotify_c, "InotifyFD", refuse)
        watcher = Watcher(spool.root, bell)
        watcher.start()
        assert "no file system events (Too many open files); scanning instead" == watcher.problem
        watcher.stop()

    def test_no_inotify(self, spool: Spool, bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another system."""
        real = builtins.__import__

        def without(name: str, *arguments: Any, **keywords: Any) -> Any:
            if name == "watchdog.observers.inotify_c":
                raise ImportError(name)
            return real(name, *arguments, **keywords)

        monkeypatch.setattr(builtins, "__import__", without)
        watcher = Watcher(spool.root, bell)
        watcher.start()
        assert "no file system events on this system; scanning instead" == watcher.problem
        watcher.stop()

    def test_no_watch_for_a_channel(self, spool: Spool, box: Path) -> None:
        """fs.inotify.max_user_watches is used up: said, and the channels before it still ring."""
        script = (
            "import sys; from pathlib import Path\n"
            "from spoolbridge.watcher import Watcher\n"
            "from watchdog.observers.inotify_c import InotifyFD\n"
            "real, left = InotifyFD.add_callback, [1]\n"
            "def add(*arguments):\n"
            "    if not left: raise OSError(28, 'No space left on device')\n"
            "    left.pop(); return real(*arguments)\n"
            "InotifyFD.add_callback = add\n"
            "watcher = Watcher(Path(sys.argv[1]), lambda: print('rung', flush=True))\n"
            "watcher.start(); print(watcher.problem, flush=True)\n"
            "sys.stdin.readline(); watcher.stop()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, spool.root],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        problem = process.stdout.readline().strip()
        (spool.root / "outgoing" / "stray").write_bytes(b"x")
        assert "rung" == process.stdout.readline().strip()
        _, errors = process.communicate("\n", timeout=10)
        expected = "no file system events in some channels (No space left on device); scanning instead"
        assert (expected, "") == (problem, errors)


def test_a_channel_that_is_gone_again(watcher: Watcher, spool: Spool, box: Path, bell: Bell) -> None:
    """Between the event and the watch: no problem, and the others go on."""
    watcher._watch(os.fsencode(spool.root / "outgoing" / "gone"))
    assert "" == watcher.problem
    (box / "x").write_bytes(b"hello")
    assert bell.heard()


def test_an_overflow_rings(watcher: Watcher, spool: Spool, bell: Bell) -> None:
    """The kernel's queue ran over: what was lost is found by the look that the bell leads to, and channels
    that are new since are watched."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watcher, "on_event", lambda event: None)
        spool.add_channel("vgt")
        bell.settle()
    watcher.on_queue_overflow()
    assert bell.heard()
    (spool.root / "outgoing" / "vgt" / "x").write_bytes(b"hello")
    assert bell.heard()


def test_it_says_at_which_channel(spool: Spool, box: Path, bell: Bell) -> None:
    """By the name that the channel has now; what concerns all of them rings for all."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    watcher = Watcher(spool.root, bell, knock=told.put)
    watcher.start()
    try:
        (box / "x").touch()
        assert "villa" == told.get(timeout=SOON)
        assert not bell.heard(0)
        box.rename(spool.root / "outgoing" / "renamed")
        assert bell.heard()
        (spool.root / "outgoing" / "renamed" / "y").touch()
        while "villa" == (channel := told.get(timeout=SOON)):
            pass
        assert "renamed" == channel
        spool.add_channel("new")
        assert bell.heard()
        os.close(os.open(spool.root / "outgoing" / ".hold", os.O_CREAT))
        assert bell.heard()
    finally:
        watcher.stop()
