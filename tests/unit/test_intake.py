"""The service's side of `outgoing/`: what is ready, in which order, and the claim of the next."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import claim, glances, identity, intake, ready
from spoolbridge.claim import Claim, Content
from spoolbridge.intake import Intake, Look
from spoolbridge.moves import Directories, Moves
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock, next_tick
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.droppers import SlowWriter, shell_rename
from tests.support.powercut import recorded
from tests.support.tree import contents, tree

ID = "20261122T055501.123456Z-k3f9q2x7"
LATER_ID = "20261122T055501.123457Z-00000000"
STATES = ("outgoing", "sending", "sent", "failed")

leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases on this system")


class Boxes:
    """A spool, an intake, and a clock that stands well behind every file's last change."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.root = spool.root
        self.clock = FakeClock(os.stat(spool.root).st_ctime + 3600)
        self.intake = Intake(spool, clock=self.clock)

    def drop(self, name: str, data: bytes = b"hello", channel: str = "villa") -> Path:
        path = self.root / "outgoing" / channel / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def claim(self, channel: str = "villa") -> Claim:
        found = self.intake.claim(channel)
        assert isinstance(found, Claim), found
        return found

    def claims(self, channel: str = "villa") -> Iterator[Claim]:
        """One after another, as a dispatcher does that settles each at once."""
        while isinstance(found := self.intake.claim(channel), Claim):
            yield found
            found.sent()

    def why(self) -> list[str]:
        """The first lines of all reasons, without the time."""
        found = (self.root / "failed").rglob("*.why")
        return sorted(path.read_text().partition("\n")[0].partition("  ")[2] for path in found)

    def entries(self) -> dict[str, bytes]:
        """Where every message is, without the reasons."""
        return {
            name: data for name, data in contents(self.root, *STATES).items() if not name.endswith(".why")
        }


@pytest.fixture
def boxes(spool: Spool) -> Boxes:
    return Boxes(spool)


class TestLook:
    """One scan: names only."""

    def test_nothing(self, boxes: Boxes) -> None:
        """An empty spool."""
        assert Look({}, frozenset(), ()) == boxes.intake.look()

    def test_what_waits(self, boxes: Boxes) -> None:
        """An entry that is not ignored, whatever lies before it; a channel without any is known too."""
        for name in ("a", "b.msg", ".hidden", "c~", "d.tmp", "e.why"):
            boxes.drop(name)
        (boxes.root / "outgoing" / "empty").mkdir()
        (boxes.root / "outgoing" / ".staging").mkdir()
        assert {"villa": True, "empty": False} == boxes.intake.look().waiting

    def test_strays(self, boxes: Boxes, tmp_path: Path) -> None:
        """Files directly in `outgoing/`, and links, whatever they lead to."""
        outgoing = boxes.root / "outgoing"
        (outgoing / "a").write_bytes(b"x")
        (outgoing / ".hidden").write_bytes(b"x")
        (outgoing / "b.tmp").write_bytes(b"x")
        (outgoing / "link").symlink_to(tmp_path)
        look = boxes.intake.look()
        assert ({}, ["a", "link"]) == (look.waiting, sorted(look.strays))

    def test_held(self, boxes: Boxes) -> None:
        """By a `.hold` in the channel, or in `outgoing/` for all of them."""
        boxes.drop("a", channel="villa")
        boxes.drop("a", channel="vgt")
        boxes.drop(".hold", b"", channel="vgt")
        assert frozenset({"vgt"}) == boxes.intake.look().held
        assert boxes.intake.claim("vgt") is None
        (boxes.root / "outgoing" / ".hold").touch()
        assert frozenset({"vgt", "villa"}) == boxes.intake.look().held
        assert boxes.intake.claim("villa") is None
        (boxes.root / "outgoing" / ".hold").unlink()
        assert isinstance(boxes.intake.claim("villa"), Claim)

    def test_held_renamed_and_let_go(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Just behind the look for the `.hold`: nothing goes out under the name that was held."""
        boxes.drop("a")
        box = boxes.drop(".hold", b"").parent
        real = Directories.at

        def at(directories: Directories, path: str) -> int:
            fd = real(directories, path)
            if path == "outgoing/villa":
                box.rename(box.parent / "other")
                (box.parent / "other" / ".hold").unlink()
            return fd

        monkeypatch.setattr(Directories, "at", at)
        assert boxes.intake.claim("villa") is None

    def test_boxes_in_which_nothing_happens(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Are not even opened: two hundred of them cost half of what an idle service took. What lies in one
        is told with every scan, for it may only have waited for its time."""
        boxes.drop("a", channel="villa")
        boxes.drop(".hold", b"", channel="vgt")
        monkeypatch.setattr(glances, "SURE", 0.0)
        first = boxes.intake.look()
        opened: list[str] = []
        real = os.open

        def noting(path: str, *args: Any, **kwargs: Any) -> int:
            opened.append(path)
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", noting)
        assert Look({"villa": True, "vgt": False}, frozenset({"vgt"}), ()) == first == boxes.intake.look()
        assert ["outgoing"] == opened

    def test_boxes_in_which_something_happens(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every scan tells it, however long nothing happened before."""
        monkeypatch.setattr(glances, "SURE", 0.0)
        box, tmp = boxes.drop(".hidden").parent, boxes.root / "tmp"
        acts: list[tuple[bool, bool, Callable[[], object]]] = [
            (False, False, lambda: None),
            (False, True, (box / ".hold").touch),
            (True, True, lambda: (box / ".hidden").rename(box / "a")),
            (True, False, (box / ".hold").unlink),
            (True, False, lambda: (box / "b").write_text("b")),
            (True, False, (box / "a").unlink),
            (False, False, lambda: (box / "b").rename(tmp / "b")),
            (True, False, lambda: boxes.drop("c", channel="other").parent.rename(box)),
            (False, False, (box / "c").unlink),
            (True, False, lambda: boxes.spool.drop("villa", b"hello")),
        ]
        for waiting, held, act in acts:
            next_tick(tmp)
            act()
            look = boxes.intake.look()
            assert (waiting, held) == (look.waiting["villa"], "villa" in look.held)
            assert look == boxes.intake.look()

    def test_a_directory_that_may_not_be_read(
        self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another user's, mode 0700: said once, and the other channels go on."""
        boxes.drop("a")
        boxes.drop("a", channel="theirs\n")
        deny(monkeypatch, "open", "theirs\n")
        for _ in range(3):
            assert {"villa": True, "theirs\n": False} == boxes.intake.look().waiting
        assert ["outgoing/'theirs\\n' cannot be read: Permission denied"] == caplog.messages

    def test_while_a_channel_is_taken_away(self, boxes: Boxes) -> None:
        """Scans and claims run in threads of their own: a channel that is moved off and made anew in the
        middle of a claim costs that claim, not the service."""
        boxes.drop("a")
        real = ready.examine
        away = boxes.root / "away"

        def meanwhile(*args: Any, **kwargs: Any) -> ready.Verdict:
            if not away.exists():
                (boxes.root / "outgoing" / "villa").rename(away)
                thread = threading.Thread(target=boxes.intake.look)
                thread.start()
                thread.join()
            return real(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ready, "examine", meanwhile)
            found = boxes.intake.claim("villa")
        assert isinstance(found, Claim)
        assert {f"sending/{found}": b"hello"} == boxes.entries()


class TestClaim:
    """The first ready one, renamed under an ID."""

    def test_nothing(self, boxes: Boxes) -> None:
        """None: nobody needs to look again."""
        (boxes.root / "outgoing" / "villa").mkdir()
        assert boxes.intake.claim("villa") is None

    def test_a_plain_name_gets_an_id(self, boxes: Boxes) -> None:
        """Of the time at which it was written, not of now."""
        written = boxes.drop("hello").stat().st_ctime
        found = boxes.claim()
        assert ("villa", "hello") == (found.channel, found.rest)
        assert written == pytest.approx(identity.time_of(found.id), abs=1e-5)
        assert {f"sending/villa/{found.name}": b"hello"} == boxes.entries()
        assert Content(b"hello") == found.read()

    @pytest.mark.parametrize("rest", ["", ".hello", ".hello%20world.md", "..x"])
    def test_an_id_is_kept(self, rest: str, boxes: Boxes) -> None:
        """For life, with the name behind it."""
        boxes.drop(ID + rest)
        found = boxes.claim()
        assert (ID, ID + rest) == (found.id, found.name)

    def test_the_same_name_again_and_again(self, boxes: Boxes) -> None:
        """A shell that always writes to `x`: a hundred messages, a hundred entries."""
        for number in range(100):
            boxes.drop("x", f"{number}".encode())
            boxes.claim().sent()
        assert [f"{number}".encode() for number in range(100)] == [
            data for _, data in sorted(boxes.entries().items())
        ]

    @leases
    def test_one_that_is_not_ready_is_left(self, boxes: Boxes) -> None:
        """With the seconds after which to look again: the least of all."""
        path = boxes.drop("a")
        boxes.clock.now = path.stat().st_ctime + 0.05
        boxes.drop("b", b"")
        found = boxes.intake.claim("villa")
        assert ready.SETTLE - 0.05 == pytest.approx(found, abs=1e-4)
        assert 2 == len(boxes.entries())

    @leases
    def test_a_writer_in_front_keeps_nobody_waiting(self, boxes: Boxes) -> None:
        """What is ready behind it goes first."""
        (boxes.root / "outgoing" / "villa").mkdir()
        with SlowWriter(boxes.root / "outgoing" / "villa" / "slow") as writer:
            writer.write(b"half\n")
            boxes.drop("quick")
            assert "quick" == boxes.claim().rest
            assert ready.SETTLE == boxes.intake.claim("villa")
            writer.write(b"whole\n")
            writer.close()
        boxes.clock.now += 10
        assert Content(b"half\nwhole\n") == boxes.claim().read()

    def test_a_held_channel(self, boxes: Boxes) -> None:
        """Is left alone: not even what can never be sent is moved."""
        boxes.drop("a")
        (boxes.root / "outgoing" / "villa" / "link").symlink_to("a")
        boxes.drop(".hold", b"")
        assert boxes.intake.claim("villa") is None
        assert {"outgoing/villa": [".hold", "a", "link"]} == tree(boxes.root, *STATES)

    @pytest.mark.parametrize(
        "raw",
        [b"a\nb", b"\x1b[2J", b"\xe2\x80\xaetxt.exe", b"\xff\xfe", b"-rf", b"x" * 255, b" ", b"a'b\"c", b"%",
         b"a" * 95 + b".why-not", "ß".encode() * 127, b"x.msg"],
    )  # fmt: skip
    def test_a_name_of_any_kind(self, raw: bytes, boxes: Boxes) -> None:
        """Is harmless from the claim on, and never in the way of the next state."""
        boxes.drop(os.fsdecode(raw))
        found = boxes.claim()
        assert found.name.isascii()
        assert found.name.isprintable()
        assert not ready.ignored(found.name)
        place = found.failed("no")
        shutil.move(boxes.root / place, boxes.root / "outgoing" / "villa")
        assert found.name == boxes.claim().name

    def test_a_bundle(self, boxes: Boxes) -> None:
        """Moves as one."""
        bundle = boxes.root / "outgoing" / "villa" / "chart.msg"
        (bundle / "files").mkdir(parents=True)
        (bundle / "body").write_bytes(b"look")
        (bundle / "files" / "a.png").write_bytes(b"1")
        found = boxes.claim()
        assert Content(b"look", {"a.png": b"1"}) == found.read()
        assert "chart.msg" == found.rest
        assert [] == os.listdir(boxes.root / "outgoing" / "villa")

    def test_by_mv_from_a_shell(self, boxes: Boxes) -> None:
        """The README's way."""
        (boxes.root / "outgoing" / "villa").mkdir()
        shell_rename(boxes.root / "outgoing" / "villa", "note", "hello")
        assert Content(b"hello") == boxes.claim().read()

    def test_a_channel_that_is_a_link(self, boxes: Boxes, tmp_path: Path) -> None:
        """Leads nowhere, and is not a channel for the scan either."""
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim" / "a").write_bytes(b"secret")
        (boxes.root / "outgoing" / "villa").symlink_to(tmp_path / "victim")
        with pytest.raises(NotADirectoryError):
            boxes.intake.claim("villa")

    def test_an_operator_is_quicker(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """`rm` between the look and the rename: nothing is claimed, and nothing is wrong."""
        boxes.drop("a")
        boxes.drop("b")
        real = claim.sync_entry

        def slow(name: str, at: int) -> tuple[int, ...]:
            if name == "a":
                os.unlink(name, dir_fd=at)
            return real(name, at)

        monkeypatch.setattr(intake, "sync_entry", slow)
        assert "b" == boxes.claim().rest

    def test_a_bundle_that_is_spoilt_at_the_last_moment(
        self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stray member behind the ready test: not claimed now, refused at the next look."""
        bundle = boxes.root / "outgoing" / "villa" / "x.msg"
        bundle.mkdir(parents=True)
        (bundle / "body").write_bytes(b"look")
        real = claim.sync_entry

        def slow(name: str, at: int) -> tuple[int, ...]:
            (bundle / "stray").write_bytes(b"x")
            return real(name, at)

        monkeypatch.setattr(intake, "sync_entry", slow)
        assert boxes.intake.claim("villa") is None
        assert boxes.intake.claim("villa") is None
        assert ["the bundle holds 'stray'"] == boxes.why()

    def test_taken_back_right_after_the_claim(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """`rm` in `sending/` before we look at it again: no error, and nothing is left to be posted."""
        boxes.drop("a")
        real = Moves.move

        def move(moves: Moves, name: str, new: str, *, src: str, dst: str) -> None:
            real(moves, name, new, src=src, dst=dst)
            os.unlink(new, dir_fd=moves.directories.at(dst))

        monkeypatch.setattr(Moves, "move", move)
        assert not boxes.claim().exists()

    @pytest.mark.parametrize("where", ["failed", "outgoing"])
    def test_its_reason_goes(self, where: str, boxes: Boxes) -> None:
        """Claiming an ID removes its `.why`, also the one that `mv failed/villa/X* outgoing/villa/` took
        along; others stay."""
        boxes.drop(f"{ID}.hello")
        (boxes.root / where / "villa").mkdir(exist_ok=True)
        (boxes.root / where / "villa" / f"{ID}.hello.why").write_text("why")
        (boxes.root / where / "villa" / f"{LATER_ID}.hello.why").write_text("why")
        boxes.claim()
        assert [f"{LATER_ID}.hello.why"] == os.listdir(boxes.root / where / "villa")

    def test_the_reason_may_refuse_to_go(self, boxes: Boxes) -> None:
        """A directory of that name, say: the claim stands."""
        boxes.drop(f"{ID}.hello")
        (boxes.root / "failed" / "villa" / f"{ID}.hello.why" / "x").mkdir(parents=True)
        assert ID == boxes.claim().id

    @leases
    def test_by_two_at_once(self, spool: Spool) -> None:
        """Processes that do not know of each other (the lock was removed): each entry is claimed once."""
        box = spool.root / "outgoing" / "villa"
        box.mkdir()
        for number in range(60):
            (box / identity.file_name(identity.Minter().mint(), f"{number}")).write_bytes(b"x")
        script = (
            "import signal, sys; from pathlib import Path\n"
            "from spoolbridge.spool import Spool; from spoolbridge.intake import Intake\n"
            "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
            "intake = Intake(Spool(Path(sys.argv[1]))); sys.stdin.readline()\n"
            "while claim := intake.claim('villa'):\n"
            "    if not isinstance(claim, float): print(claim.name, flush=True)\n"
        )
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", script, spool.root],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.communicate(timeout=30) for racer in racers]
        assert ["", ""] == [errors for _, errors in answers]
        names = [name for out, _ in answers for name in out.split()]
        assert sorted(os.listdir(spool.root / "sending" / "villa")) == sorted(names)
        assert 60 == len(set(names)) == len(names)


class TestOrder:
    """First written, first claimed."""

    def test_ids_by_their_time(self, boxes: Boxes) -> None:
        """Whatever the order in which they were moved in."""
        for entry_id in (LATER_ID, ID):
            boxes.drop(f"{entry_id}.x")
        assert [ID, LATER_ID] == [each.id for each in boxes.claims()]

    def test_plain_names_by_when_they_were_changed(
        self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not by name, and not by an mtime that `cp -p` kept."""
        for at, name in enumerate(("c", "a", "b")):
            os.utime(boxes.drop(name), (1e9 - at, 1e9 - at))
        changed(monkeypatch, {"c": 1.0, "a": 2.0, "b": 3.0})
        assert ["c", "a", "b"] == [each.rest for each in boxes.claims()]

    def test_equal_times_by_name(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files' times tick in steps of 4 ms (measured)."""
        for name in ("b", "a", "c"):
            boxes.drop(name)
        changed(monkeypatch, dict.fromkeys("abc", 1.0))
        assert ["a", "b", "c"] == [each.rest for each in boxes.claims()]

    def test_a_place_once_seen_is_kept(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who writes again does not go to the end of the queue, and gets the ID of the first time."""
        for name in ("a", "b"):
            boxes.drop(name)
        times = {"a": 1.0, "b": 2.0}
        changed(monkeypatch, times)
        boxes.drop(".hold", b"")
        (boxes.root / "outgoing" / "villa" / ".hold").unlink()
        monkeypatch.setattr(ready, "examine", lambda *_, **__: ready.NotYet(1.0))
        boxes.intake.claim("villa")
        monkeypatch.undo()
        changed(monkeypatch, {"a": 3.0, "b": 2.0})
        assert ["a", "b"] == [each.rest for each in boxes.claims()]

    def test_a_name_that_was_claimed_has_no_place(
        self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The next `x` stands behind what was written before it."""
        boxes.drop("x")
        changed(monkeypatch, {"x": 1.0})
        boxes.claim().sent()
        for name in ("x", "y"):
            boxes.drop(name)
        changed(monkeypatch, {"x": 3.0, "y": 2.0})
        assert ["y", "x"] == [each.rest for each in boxes.claims()]

    def test_a_name_that_was_gone_has_no_place(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """`rm x`, and another `x` an hour later: a new entry with a time of its own."""
        boxes.drop("a").unlink()
        boxes.drop("a")
        monkeypatch.setattr(ready, "examine", lambda *_, **__: ready.NotYet(1.0))
        boxes.intake.claim("villa")
        (boxes.root / "outgoing" / "villa" / "a").unlink()
        boxes.intake.claim("villa")
        monkeypatch.undo()
        for name in ("b", "a"):
            boxes.drop(name)
        changed(monkeypatch, {"b": 1.0, "a": 2.0})
        assert ["b", "a"] == [each.rest for each in boxes.claims()]

    def test_ids_keep_the_order(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a crash `sending/` and `sent/` are read by name: the same order."""
        names = [f"{number:02}" for number in range(30)]
        for name in names:
            boxes.drop(name)
        changed(monkeypatch, dict.fromkeys(names, 1.0))
        ids = [each.id for each in boxes.claims()]
        assert sorted(ids) == ids

    def test_a_time_in_the_future_is_now(self, boxes: Boxes) -> None:
        """The clock was set back: the ID does not claim to be of tomorrow."""
        path = boxes.drop("a")
        boxes.clock.now = path.stat().st_ctime - 1000
        assert isinstance(boxes.intake.claim("villa"), float)
        first_seen = boxes.clock.now
        boxes.clock.advance(10)
        assert first_seen == pytest.approx(identity.time_of(boxes.claim().id), abs=1e-5)


class TestKnownId:
    """An ID that comes back, or comes twice."""

    @pytest.mark.parametrize("rest", [".hello", ".another", ""])
    def test_one_that_is_being_sent(self, rest: str, boxes: Boxes) -> None:
        """Under whatever name: Discord would take the second for the first, by its nonce."""
        boxes.drop(f"{ID}.hello")
        first = boxes.claim()
        boxes.drop(f"{ID}{rest}", b"copy")
        assert boxes.intake.claim("villa") is None
        entries = boxes.entries()
        assert b"hello" == entries.pop(f"sending/villa/{first.name}")
        [(place, data)] = entries.items()
        assert b"copy" == data
        assert place.startswith("failed/villa/")
        assert ID not in place
        assert ["an entry of this ID is being sent already; this one was not posted"] == boxes.why()

    def test_one_that_somebody_put_into_sending(self, boxes: Boxes) -> None:
        """It is in the way, and what waits behind it is told so and not left for ever."""
        boxes.drop(f"{ID}.first")
        boxes.claim()
        other = identity.file_name(boxes.spool.mint(), "hello")
        (boxes.root / "sending" / "villa" / other).write_bytes(b"by hand")
        boxes.drop(other, b"copy")
        assert boxes.intake.claim("villa") is None
        assert b"by hand" == boxes.entries()[f"sending/villa/{other}"]
        assert ["an entry of this ID is being sent already; this one was not posted"] == boxes.why()

    def test_in_another_channel(self, boxes: Boxes) -> None:
        """Is another message."""
        boxes.drop(f"{ID}.hello")
        boxes.claim()
        boxes.drop(f"{ID}.hello", channel="vgt")
        assert ID == boxes.claim("vgt").id

    def test_a_retry(self, boxes: Boxes) -> None:
        """`mv failed/villa/X outgoing/villa/`: the same ID and name, and no reason any more."""
        boxes.drop("hello there")
        first = boxes.claim()
        place = first.failed("no")
        (boxes.root / place).rename(boxes.root / "outgoing" / "villa" / first.name)
        assert first.name == boxes.claim().name
        assert {f"sending/villa/{first.name}": b"hello"} == contents(boxes.root, *STATES)

    def test_a_copy_of_a_failed_one(self, boxes: Boxes) -> None:
        """`cp` instead of `mv`: it fails again under an ID of its own."""
        boxes.drop("hello")
        first = boxes.claim()
        place = first.failed("no")
        shutil.copy(boxes.root / place, boxes.root / "outgoing" / "villa" / first.name)
        again = boxes.claim()
        assert first.id == again.id
        assert again.failed("no again") != place
        assert 2 == len(boxes.entries())

    def test_a_refused_one_whose_name_is_taken(self, boxes: Boxes) -> None:
        """What can never be sent is kept beside the one that lies there already."""
        for _ in range(3):
            (boxes.root / "outgoing" / "villa").mkdir(exist_ok=True)
            (boxes.root / "outgoing" / "villa" / f"{ID}.x").symlink_to("nowhere")
            boxes.intake.claim("villa")
        names = os.listdir(boxes.root / "failed" / "villa")
        assert 6 == len(names)
        assert f"{ID}.x" in names


class TestRefuse:
    """What can never become a message goes to `failed/` on the way."""

    def test_every_kind(self, boxes: Boxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Itself, with a reason; what is behind it is claimed."""
        (tmp_path / "secret").write_bytes(b"token")
        box = boxes.root / "outgoing" / "villa"
        box.mkdir()
        (box / "link").symlink_to(tmp_path / "secret")
        os.mkfifo(box / "fifo")
        monkeypatch.chdir(box)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
        boxes.drop("empty", b"")
        with open(box / "sparse", "wb") as file:
            file.truncate(1 << 40)
        (box / "bundle.msg" / "stray").mkdir(parents=True)
        boxes.drop("good")
        [found] = list(boxes.claims())
        assert "good" == found.rest
        assert [
            "a symbolic link, which is never followed",
            "not a regular file",
            "not a regular file",
            "the bundle holds 'stray'",
            "the file has 1099511627776 bytes, more than the 26214400 that Discord takes in all",
            "the file is empty",
        ] == boxes.why()
        assert [] == os.listdir(box)
        [link] = [each for each in (boxes.root / "failed" / "villa").iterdir() if each.name.endswith(".link")]
        assert str(tmp_path / "secret") == os.readlink(link)

    def test_a_hard_link_after_a_minute(self, boxes: Boxes, tmp_path: Path) -> None:
        """By our clock, from the first look."""
        (tmp_path / "secret").write_bytes(b"token")
        (boxes.root / "outgoing" / "villa").mkdir()
        os.link(tmp_path / "secret", boxes.root / "outgoing" / "villa" / "x")
        assert ready.GRACE == boxes.intake.claim("villa")
        boxes.clock.advance(ready.GRACE - 1)
        assert 1 == pytest.approx(boxes.intake.claim("villa"))
        boxes.clock.advance(1)
        assert boxes.intake.claim("villa") is None
        assert ["the file has a second link"] == boxes.why()

    def test_the_reason_tells_how_to_retry(self, boxes: Boxes) -> None:
        """With the name that it has now."""
        boxes.drop("a b", b"")
        boxes.intake.claim("villa")
        [entry] = boxes.entries()
        text = (boxes.root / f"{entry}.why").read_text()
        assert "What to do: write the message into it\n" in text
        assert f"Retry: mv {boxes.root}/{entry} {boxes.root}/outgoing/villa/\n" in text

    def test_a_full_disk_does_not_keep_it(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """The reason cannot be written; the entry still makes room for the next."""
        boxes.drop("empty", b"")

        def write(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", write)
        boxes.intake.claim("villa")
        assert [] == boxes.why()
        assert ["failed"] == [place.partition("/")[0] for place in boxes.entries()]

    def test_gone_meanwhile(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """An operator removes it while its reason is written: no reason without an entry."""
        path = boxes.drop("empty", b"")
        real = claim.explain

        def explain(failed: int, name: str, text: str) -> None:
            real(failed, name, text)
            path.unlink()

        monkeypatch.setattr(intake, "explain", explain)
        assert boxes.intake.claim("villa") is None
        assert {} == tree(boxes.root, *STATES)

    def test_the_log_says_it_in_one_line(self, boxes: Boxes, caplog: pytest.LogCaptureFixture) -> None:
        """Whatever the name was; nothing of the message."""
        boxes.drop("a\nb\x1b[31m", b"")
        boxes.intake.claim("villa")
        [record] = caplog.records
        assert logging.WARNING == record.levelno
        assert record.message.endswith(".a%0Ab%1B%5B31m refused: the file is empty")
        assert record.message.isprintable()


class TestStrays:
    """Dropped directly in `outgoing/`: which channel?"""

    def test_to_failed_itself(self, boxes: Boxes) -> None:
        """With the known channels in the reason."""
        (boxes.root / "outgoing" / "note").write_bytes(b"hello")
        boxes.intake.refuse_strays(["note"], "name a channel; there is villa")
        [(place, data)] = boxes.entries().items()
        assert ("failed", b"hello") == (os.path.dirname(place), data)
        assert ["dropped directly in outgoing/"] == boxes.why()
        text = (boxes.root / f"{place}.why").read_text()
        assert "name a channel; there is villa" in text
        assert f"Retry: mv {boxes.root}/{place} {boxes.root}/outgoing/CHANNEL/\n" in text

    @leases
    def test_not_while_it_is_written(self, boxes: Boxes) -> None:
        """A slow writer here gets the same time as anywhere."""
        with SlowWriter(boxes.root / "outgoing" / "note") as writer:
            writer.write(b"half\n")
            boxes.intake.refuse_strays(["note"], "name a channel")
            assert ["outgoing/note"] == list(boxes.entries())
        boxes.intake.refuse_strays(["note"], "name a channel")
        assert 1 == len(boxes.entries())
        assert "outgoing/note" not in boxes.entries()

    def test_one_that_is_gone(self, boxes: Boxes) -> None:
        """Moved into its channel meanwhile."""
        boxes.intake.refuse_strays(["note"], "name a channel")
        assert {} == tree(boxes.root, *STATES)

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOSPC])
    def test_one_that_may_not_be_moved(
        self, number: int, boxes: Boxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Is said once; the others are moved, and the service goes on."""
        for name in ("a", "b"):
            (boxes.root / "outgoing" / name).write_bytes(b"x")
        deny(monkeypatch, "rename", "a", number)
        for _ in range(3):
            boxes.intake.refuse_strays(["a", "b"], "name a channel")
        assert {"outgoing": ["a"]} == tree(boxes.root, "outgoing")
        assert 1 == sum("outgoing/'a' cannot be moved" in message for message in caplog.messages)
        assert ["dropped directly in outgoing/"] == boxes.why()

    def test_a_failing_disk_is_not_talked_away(self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
        """After EIO nothing can be believed."""
        (boxes.root / "outgoing" / "a").write_bytes(b"x")
        deny(monkeypatch, "rename", "a", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            boxes.intake.refuse_strays(["a"], "name a channel")


class TestDisk:
    """What the disk may do to a claim."""

    def test_every_system_call_failing(self, tmp_path: Path) -> None:
        """Nothing is claimed by a claim that failed, nothing is lost, and the next one works."""
        for number in count(1):
            spool = Spool.create(tmp_path / f"{number}")
            boxes = Boxes(spool)
            boxes.drop("hello")
            with fail_at(number) as struck:
                try:
                    found = boxes.intake.claim("villa")
                except OSError as error:
                    assert errno.ENOSPC == error.errno
                    found = None
                    assert {"outgoing/villa/hello": b"hello"} == boxes.entries()
            if found is None:
                found = boxes.claim()
            assert {f"sending/{found}": b"hello"} == boxes.entries()
            spool.close()
            if not struck:
                break
        assert number > 8

    def test_every_crash(self, tmp_path: Path) -> None:
        """It is in one of the two, whole; whoever starts next finds it there, once."""
        for number in count(1):
            spool = Spool.create(tmp_path / f"{number}")
            boxes = Boxes(spool)
            boxes.drop("hello")
            with kill_at(number) as struck:
                try:
                    boxes.intake.claim("villa")
                except Killed:
                    assert 1 == len(boxes.entries())
            again = Boxes(spool)
            found = [*again.intake.recover(), *again.claims()]
            assert 1 == len(found)
            assert [b"hello"] == list(again.entries().values())
            spool.close()
            if not struck:
                break
        assert number > 8

    def test_every_power_cut(self, boxes: Boxes, tmp_path: Path) -> None:
        """The content is durable before the name moves, and the claim when it returns."""
        boxes.drop("hello")
        with recorded(tmp_path) as calls:
            found = boxes.claim()
        for _, state in calls.after_a_cut():
            assert 1 == list(state.values()).count(b"hello")
        for state in calls.at_the_end():
            assert b"hello" == state[f"spool/sending/{found}"]
        moved = next(at for at, call in enumerate(calls) if call.startswith("rename"))
        assert "sync spool/outgoing/villa/hello" in list(calls)[:moved]

    @pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
    def test_an_entry_that_may_not_be_moved(
        self, number: int, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another user's bundle, say: it keeps back only itself, and is named when nothing else is left."""
        boxes.drop("theirs")
        boxes.drop("yours")
        deny(monkeypatch, "rename", "theirs", number)
        found = boxes.claim()
        assert "yours" == found.rest
        found.sent()
        with pytest.raises(PermissionError, match="'theirs'"):
            boxes.intake.claim("villa")

    def test_a_refused_entry_that_may_not_be_moved(
        self, boxes: Boxes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Does not stand in front of the others for ever either, and leaves no reason behind."""
        boxes.drop("empty", b"")
        boxes.drop("yours")
        deny(monkeypatch, "rename", "empty", errno.EACCES)
        assert "yours" == boxes.claim().rest
        assert [] == boxes.why()


class TestRecover:
    """What a former service left in `sending/`."""

    def test_oldest_first(self, boxes: Boxes) -> None:
        """In each channel; nothing is moved."""
        for channel, names in {"villa": (LATER_ID, f"{ID}.x"), "vgt": (ID,)}.items():
            (boxes.root / "sending" / channel).mkdir()
            for name in names:
                (boxes.root / "sending" / channel / name).write_bytes(b"hello")
        before = tree(boxes.root, *STATES)
        found = [str(each) for each in boxes.intake.recover()]
        assert [f"vgt/{ID}", f"villa/{ID}.x", f"villa/{LATER_ID}"] == found
        assert before == tree(boxes.root, *STATES)

    def test_what_is_not_ours_is_left(self, boxes: Boxes) -> None:
        """A name without an ID, a file beside the channels."""
        (boxes.root / "sending" / "villa").mkdir()
        (boxes.root / "sending" / "villa" / "note").write_bytes(b"x")
        (boxes.root / "sending" / "note").write_bytes(b"x")
        assert [] == list(boxes.intake.recover())

    def test_a_claim_that_was_not_durable(self, boxes: Boxes, tmp_path: Path) -> None:
        """The former service died between its rename and its fsync: it is made durable before anybody posts,
        else a power cut would put the entry back under its plain name, to be posted again."""
        path = boxes.drop("hello")
        (boxes.root / "sending" / "villa").mkdir()
        boxes.spool.add_channel("villa")
        with recorded(tmp_path) as calls:
            os.rename(path, boxes.root / "sending" / "villa" / f"{ID}.hello")
            assert [ID] == [each.id for each in boxes.intake.recover()]
        assert {"rename", "sync"} == {call.kind for call in calls.calls}
        for state in calls.at_the_end():
            assert f"spool/sending/villa/{ID}.hello" in state
            assert "spool/outgoing/villa/hello" not in state

    def test_gone_between_the_list_and_the_look(self, boxes: Boxes) -> None:
        """Cancelled by an operator."""
        (boxes.root / "sending" / "villa").mkdir()
        for name in (ID, LATER_ID):
            (boxes.root / "sending" / "villa" / name).write_bytes(b"x")
        found = boxes.intake.recover()
        assert ID == next(found).id
        (boxes.root / "sending" / "villa" / LATER_ID).unlink()
        assert [] == list(found)


def changed(monkeypatch: pytest.MonkeyPatch, times: dict[str, float]) -> None:
    """These names were last changed then: ctime cannot be set."""
    real: Callable[..., os.stat_result] = os.stat

    def stat(path: Any, **keywords: Any) -> Any:
        status = real(path, **keywords)
        if path in times and "dir_fd" in keywords:
            return os.stat_result((*status[:9], times[path]))
        return status

    monkeypatch.setattr(os, "stat", stat)


def deny(monkeypatch: pytest.MonkeyPatch, call: str, name: str, number: int = errno.EACCES) -> None:
    """This system call fails for this name."""
    real: Callable[..., Any] = getattr(os, call)

    def refuse(path: Any, *arguments: Any, **keywords: Any) -> Any:
        if path == name:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, call, refuse)
