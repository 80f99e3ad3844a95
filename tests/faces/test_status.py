"""`spoolbridge status`: what its JSON promises, in every state of a real bridge, and how it is watched."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from spoolbridge import census, lock, status
from spoolbridge.cli import screen
from spoolbridge.doctor import service, town
from spoolbridge.errors import SpoolBusyError
from spoolbridge.spool import Spool
from tests.support import warm
from tests.support.programs import PROGRAM, Demo, Running, environment, ran
from tests.support.standing import SCHEMA, checked, looked
from tests.support.tree import contents, tree
from tests.support.waiting import wait_until

OLD = "20261122T055501.123456Z-k3f9q2x7"


# --- the schema --------------------------------------------------------------------------------------


def parts(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a property in it, with its name."""
    for name, each in (schema.get("properties") or {}).items():
        yield name, each
        yield from parts(each)
    for inner in ("additionalProperties", "items"):
        if isinstance(schema.get(inner), dict):
            yield inner, schema[inner]
            yield from parts(schema[inner])


def test_every_field_is_explained() -> None:
    """With its unit where it is a time, and no object takes what is not explained."""
    Draft202012Validator.check_schema(SCHEMA)
    found = dict(parts(SCHEMA))
    assert 50 < len(found)
    for name, each in [("", SCHEMA), *parts(SCHEMA)]:
        assert each["description"].endswith("."), name
        if "object" in each.get("type", ""):
            assert "additionalProperties" in each, name
        if "number" in each.get("type", ""):
            assert re.search("[Ss]econds", each["description"]), name


def test_the_program_prints_its_schema(tmp_path: Path) -> None:
    """Where there is no spool too: it is about any."""
    ended = ran("status", "--schema", cwd=tmp_path)
    assert (0, SCHEMA, "") == (ended.code, json.loads(ended.out), ended.err)


def test_a_spool_that_never_ran(spool: Spool) -> None:
    """What only a service knows is not there."""
    found = looked(spool)
    assert (False, None, {}, 0) == (
        found["running"], found["held_by"], found["channels"], found["totals"]["waiting"],
    )  # fmt: skip
    assert "pid" not in found


def test_a_real_service(tmp_path: Path) -> None:
    """Running, with messages both ways and a hold."""
    with Demo(cwd=tmp_path) as demo:
        spool = Spool(demo.spool)
        demo.say("how is it?")
        wait_until(lambda: looked(spool)["channels"]["mayor-villa"]["last_received"])
        assert 0 == ran("send", "mayor-villa", "fine", "--wait", cwd=tmp_path, env=demo.env).code
        (demo.spool / "outgoing" / "town-square" / ".hold").touch()
        (demo.spool / "outgoing" / "town-square" / OLD).write_text("waits")
        wait_until(lambda: {"seconds": 300, "sent": 2, "failed": 0, "filed": 1} == looked(spool)["recent"])
        found = checked(json.loads(ran("status", "--json", cwd=tmp_path, env=demo.env).out))
        now = time.time()
        villa, square = (found["channels"][each] for each in ("mayor-villa", "town-square"))
        assert (True, True) == (found["running"], square["held"])
        assert found["held_by"] == found["pid"] == demo.process.pid
        assert 0 <= now - villa["last_sent"] < 60
        assert -1 <= now - villa["last_received"] < 60
        assert (1, 1795326901.123456) == (square["waiting"], square["oldest"])
        assert abs(found["discord"]["clock_ahead"]) < 5
        spool.close()
        assert 0 == demo.end()


def test_a_service_that_has_ended(spool: Spool) -> None:
    """Its last word is kept, and known as such."""
    status.write(spool, {"at": time.time(), "since": 0.0, "pid": 1, "stopped": True, "mail": None})
    found = looked(spool)
    assert (False, True, None) == (found["running"], found["stopped"], found["mail"])


@pytest.mark.parametrize(
    "said",
    [
        {"parked": "50013: Missing Permissions", "next_try": 1795348800.0},
        {"next_try": 1795348800.0, "reason": "Discord answered 500"},
        {"disk": "No space left on device", "last_sent": 1795348800.5},
        {"inbound": "50001: Missing Access", "refused": 3, "receipts": "50013"},
    ],
)
def test_what_is_said_of_a_channel(spool: Spool, said: dict[str, Any]) -> None:
    """Every state that the service tells; what the schema does not know is no state."""
    facts = {"at": time.time(), "since": 0.0, "pid": 1, "channels": {"vgt": said}}
    status.write(spool, facts)
    assert said.items() <= looked(spool)["channels"]["vgt"].items()
    status.write(spool, {**facts, "channels": {"vgt": {"colour": "red"}}})
    with pytest.raises(Exception, match="colour"):
        looked(spool)


def test_the_last_word_of_a_service_that_was_killed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel knows at once. Where it cannot be asked, the word counts for as long as two writings may be
    late, and no longer."""
    now = time.time()
    status.write(spool, {"at": now, "since": 0.0, "pid": 1, "mail": None})
    assert not looked(spool, now=now)["running"]
    monkeypatch.setattr(lock, "is_held", lambda spool: None)
    ages = (0.0, 2 * status.EVERY, 3 * status.EVERY)
    assert [True, True, False] == [looked(spool, now=now + age)["running"] for age in ages]


def test_a_service_of_another_pid_namespace(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's: its locks are not in /proc/locks here, and it runs for as long as it holds the spool."""
    monkeypatch.setattr(status, "_holder", lambda spool: None)
    status.write(spool, {"at": time.time(), "since": 0.0, "pid": 1})
    with lock.holding(spool):
        assert (True, None) == (looked(spool)["running"], looked(spool)["held_by"])
    assert not looked(spool)["running"]


def test_whether_a_spool_is_held_can_be_asked_of_the_kernel(spool: Spool) -> None:
    """By who only reads, without taking it; where the lock file was removed as well."""
    assert lock.is_held(spool) is False
    with lock.holding(spool):
        (spool.root / "state" / "lock").unlink()
        other = Spool(spool.root)
        assert lock.is_held(other) is True
        with pytest.raises(SpoolBusyError), lock.holding(other):
            pass
        other.close()
        assert lock.is_held(spool) is True
    assert lock.is_held(spool) is False


def test_a_spool_that_somebody_holds(spool: Spool) -> None:
    """Without a word of its own: it is said whose process it is, to people too."""
    with lock.holding(spool):
        assert (False, os.getpid()) == (looked(spool)["running"], looked(spool)["held_by"])
        assert f"process {os.getpid()} holds the spool" in status.render(status.snapshot(spool, None))
        status.write(spool, {"at": time.time(), "since": 0.0, "pid": os.getpid(), "stopped": True})
        assert looked(spool)["held_by"] is None  # its last word is said, and it is about to end


def test_whether_it_runs_is_told_without_counting(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`send --wait` and `doctor` want to know nothing else, and a million may have been sent today."""
    monkeypatch.setattr(census.Census, "channels", None)  # who counts calls it
    assert not service.runs(spool.root)
    with lock.holding(spool):
        assert f"process {os.getpid()} holds the spool" in next(service.examine(spool)).what
    monkeypatch.setattr(lock, "is_held", lambda spool: None)
    facts = {"at": time.time(), "pid": 1, "findings": ["late"], "channels": {"vgt": {"parked": "50013"}}}
    (spool.root / "state" / status.FILE).write_text(json.dumps(facts))
    assert service.runs(spool.root)
    assert ["late", "vgt: 50013"] == [each.what for each in service.examine(spool)]
    assert [] == [*town.mail(spool)]
    with pytest.raises(TypeError):
        status.snapshot(spool, facts)


def test_what_failed_without_a_channel_is_counted(spool: Spool) -> None:
    """The total is what `failed list` shows; a channel that is called nothing is not made up for it."""
    (spool.root / "failed" / f"{OLD}.stray").write_text("hi")
    (spool.root / "failed" / f"{OLD}.stray.why").write_text("dropped directly")
    found = looked(spool)
    assert (1, {}) == (found["totals"]["failed"], found["channels"])


def test_a_folder_in_a_drop_box_does_not_wait(spool: Spool) -> None:
    """It is left alone for good, so it neither counts nor grows old; a bundle does."""
    box = spool.root / "outgoing" / "vgt"
    (box / "folder").mkdir(parents=True)
    told = looked(spool)["channels"]["vgt"]
    assert (0, None) == (told["waiting"], told["oldest"])
    (box / "note.msg").mkdir()
    told = looked(spool)["channels"]["vgt"]
    assert (1, (box / "note.msg").stat().st_ctime) == (told["waiting"], told["oldest"])


def test_every_channel_on_hold(spool: Spool) -> None:
    """Told once, and not of each channel."""
    for channel in ("a", "b"):
        spool.add_channel(channel)
    (spool.root / "outgoing" / ".hold").touch()
    found = looked(spool)
    assert (True, [False, False]) == (found["held"], [each["held"] for each in found["channels"].values()])


# --- what is looked up -------------------------------------------------------------------------------


def test_the_oldest_of_what_waits(spool: Spool) -> None:
    """By its ID, also when it is being sent; a plain name by when it was written; a hidden one never."""
    box = spool.root / "outgoing" / "vgt"
    box.mkdir()
    (box / ".draft").write_text("not yet")
    assert looked(spool)["channels"]["vgt"]["oldest"] is None
    (box / "note").write_text("hi")
    assert (box / "note").stat().st_ctime == looked(spool)["channels"]["vgt"]["oldest"]
    sending = spool.root / "sending" / "vgt"
    sending.mkdir()
    (sending / f"{OLD}.note").write_text("hi")
    assert 1795326901.123456 == looked(spool)["channels"]["vgt"]["oldest"]


def test_thousands_that_wait(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are not all looked at: STATUS is written every few seconds."""
    box = spool.root / "outgoing" / "vgt"
    box.mkdir()
    for number in range(2000):
        (box / f"note-{number}").touch()
    real, asked = os.stat, list[object]()

    def counting(path: Any, **more: Any) -> os.stat_result:
        asked.append(path)
        return real(path, **more)

    monkeypatch.setattr(os, "stat", counting)
    found = looked(spool)["channels"]["vgt"]
    assert 2000 == found["waiting"]
    assert found["oldest"] is not None
    assert 300 > len(asked)


def test_yesterday_is_not_today(spool: Spool) -> None:
    """What the newest day holds counts as sent today only where that day is today (UTC)."""
    day = spool.root / "sent" / "vgt" / "2026-11-22"
    day.mkdir(parents=True)
    (day / f"{OLD}.note").write_text("hi")
    on_that_day = 1795326901.0
    assert 1 == looked(spool, now=on_that_day)["channels"]["vgt"]["sent_today"]
    found = looked(spool, now=on_that_day + 86400)["channels"]["vgt"]
    assert (0, day.stat().st_mtime) == (found["sent_today"], found["last_sent"])


def test_looking_changes_nothing(spool: Spool, tmp_path: Path) -> None:
    """Of the spool, byte by byte."""
    spool.drop("vgt", b"hi")
    before = (tree(spool.root), contents(spool.root))
    for words in (["status"], ["status", "--json"]):
        assert 0 == ran(*words, cwd=tmp_path).code
    assert before == (tree(spool.root), contents(spool.root))


# --- watching ----------------------------------------------------------------------------------------


@pytest.fixture
def watching(spool: Spool, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*words: str) -> Running:
        started.append(Running("status", "--watch", *words, cwd=tmp_path))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_watched_by_a_program(watching: Callable[..., Running], spool: Spool) -> None:
    """A line of JSON at once and one for each change, none without; Ctrl-C is the way out and no error."""
    watch = watching("--json")
    watch.prints('"running": false')
    spool.drop("vgt", b"hi")
    watch.prints('"waiting": 1')
    told = [checked(json.loads(line)) for line in watch.out.splitlines()]
    assert [0, 1] == [each["totals"]["waiting"] for each in told]
    assert (0, "") == (watch.end(signal.SIGINT), watch.err)


def test_what_has_not_changed_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often it is looked at, and though it would now read otherwise (an age)."""
    looks = iter([(1, "one second\n"), (1, "two seconds\n"), (2, "changed\n"), (2, "changed, long ago\n")])
    slept = list[float]()
    monkeypatch.setattr(time, "sleep", slept.append)

    def look() -> tuple[int, str]:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        return found

    screen.repeat(look)
    assert ("one second\nchanged\n", [screen.EVERY] * 4) == (capsys.readouterr().out, slept)


def test_what_changes_by_itself_is_no_change(spool: Spool) -> None:
    """The time of writing, the room on the disk, the clock; a finding is one."""
    discord = {"answered_at": 1.0, "clock_ahead": 0.0}
    facts = {"at": time.time(), "since": 0.0, "pid": 1, "discord": discord}
    first = status.snapshot(spool, facts)
    later = {**facts, "at": facts["at"], "discord": {"answered_at": 2.0, "clock_ahead": 0.5}}
    assert status.essence(first) == status.essence(status.snapshot(spool, later))
    paused = {**facts, "discord": {**discord, "paused_because": "the token was refused"}}
    for worse in ({**facts, "findings": ["the file is broken"]}, paused):
        assert status.essence(first) != status.essence(status.snapshot(spool, worse))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watched_through_a_pipe(watching: Callable[..., Running], spool: Spool, number: int) -> None:
    """A block for each change, an empty line between, nothing that moves a cursor."""
    watch = watching()
    watch.prints("service   not running")
    spool.drop("vgt", b"hi")
    watch.prints("\nvgt  ")
    assert "\x1b" not in watch.out
    assert 2 == watch.out.count("service   not running")
    assert (0, "") == (watch.end(number), watch.err)


class Terminal:
    """The program on a terminal of 24 lines and 80 columns."""

    def __init__(self, *words: str, cwd: Path) -> None:
        self._main, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = warm.Popen(
            [PROGRAM, *words], cwd=cwd, env=environment({"TERM": "xterm"}), stdin=inner,
            stdout=inner, stderr=inner, start_new_session=True,
        )  # fmt: skip
        os.close(inner)
        self.shown = ""

    def shows(self, text: str) -> None:
        """Wait until it has shown this."""
        wait_until(lambda: text in self.read(), 30)

    def read(self) -> str:
        while select.select([self._main], [], [], 0.02)[0]:
            try:
                self.shown += os.read(self._main, 65536).decode("utf-8", "replace")
            except OSError:  # EIO: nobody has it open any more
                break
        return self.shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._main)


def test_watched_on_a_terminal(spool: Spool, tmp_path: Path) -> None:
    """On a screen of its own, redrawn in place, never longer than it; afterwards all is as it was."""
    for number in range(10):
        spool.add_channel(f"channel-{number}")
        (spool.root / "failed" / f"channel-{number}").mkdir()
    terminal = Terminal("status", "--watch", cwd=tmp_path)
    try:
        terminal.shows("service   not running")
        for number in range(10):
            spool.drop(f"channel-{number}", b"hi")
            hold = spool.root / "outgoing" / f"channel-{number}" / ".hold"
            hold.touch()
        terminal.shows("more lines: make the window taller")
        frames = terminal.read().split("\x1b[H")
        assert frames[0] == "\x1b[?1049h\x1b[?25l"
        assert 1 < len(frames)
        for frame in frames[1:]:
            assert 24 > frame.count("\n")
        terminal.process.send_signal(signal.SIGINT)
        assert 0 == terminal.process.wait(10)
        assert terminal.read().endswith("\x1b[?25h\x1b[?1049l")
    finally:
        terminal.close()


def test_a_reader_that_goes_away(spool: Spool, tmp_path: Path) -> None:
    """`status --watch | head -1` ends at the next change, without a traceback."""
    with warm.Popen(
        [PROGRAM, "status", "--watch", "--json"], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as watch:  # fmt: skip
        assert watch.stdout is not None
        assert watch.stderr is not None
        assert json.loads(watch.stdout.readline())
        watch.stdout.close()
        spool.drop("vgt", b"hi")
        assert (1, b"") == (watch.wait(30), watch.stderr.read())


def test_it_starts_without_what_a_service_needs() -> None:
    """`status` is typed often, and waits for no HTTP client."""
    script = "import sys, spoolbridge.status, spoolbridge.cli.screen; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert not {"aiohttp", "mcp", "watchdog"} & set(done.stdout.split())
