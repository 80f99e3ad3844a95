"""What shows people's words as they come: `inbox --follow`, `inbox --hook`, `wait`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import arrivals, framing
from spoolbridge.arrivals import Arrivals
from spoolbridge.errors import SpoolBusyError
from spoolbridge.incoming import maildir_bytes, maildir_name
from spoolbridge.spool import Spool
from tests.support import warm
from tests.support.messages import START, VILLA, incoming
from tests.support.programs import PROGRAM, Ended, ran
from tests.support.waiting import wait_until


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.create(tmp_path / "spool")
    (spool.root / "discord-channels.json").write_text(json.dumps({VILLA.address: str(VILLA.id)}))
    for part in ("tmp", "new", "cur"):
        (spool.root / "incoming" / VILLA.address / part).mkdir(parents=True)
    yield spool
    spool.close()


def said(spool: Spool, number: int, text: str, **more: Any) -> Path:
    """A message, published as the service does it: by a rename."""
    message = incoming(START + number, text, **more)
    box = spool.root / "incoming" / VILLA.address
    (box / "tmp" / maildir_name(message)).write_bytes(maildir_bytes(message))
    return (box / "tmp" / maildir_name(message)).rename(box / "new" / maildir_name(message))


def environment(spool: Spool) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "SPOOLBRIDGE_SPOOL": str(spool.root)}


@contextmanager
def running(spool: Spool, *words: str) -> Iterator[warm.Popen]:
    """The program, at work in the background; ended by Ctrl-C where it has not ended by itself."""
    process = warm.Popen(
        [PROGRAM, *words], env=environment(spool), cwd=spool.root.parent,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)


def run(spool: Spool, *words: str) -> Ended:
    return ran(*words, cwd=spool.root.parent, env=environment(spool))


# --- arrivals ----------------------------------------------------------------------------------------


def test_each_message_is_told_once(spool: Spool) -> None:
    """Also after it was read, and also what is there at the beginning."""
    first = said(spool, 1, "one")
    with Arrivals(spool) as coming:
        assert [START + 1] == [each.id for each in coming.new()]
        assert [] == coming.new()
        said(spool, 2, "two")
        assert [START + 2] == [each.id for each in coming.wait(10.0)]
        first.rename(first.parent.parent / "cur" / f"{first.name}:2,S")
        assert [] == coming.new()


def test_a_wait_ends(spool: Spool) -> None:
    """By the clock, where nobody writes."""
    now = iter(range(100))
    with Arrivals(spool, clock=lambda: float(next(now))) as coming:
        assert [] == coming.wait(1.0)


def test_a_new_channel_is_heard(spool: Spool) -> None:
    """Its Maildir may be made while somebody waits; where no event tells, a look does."""
    heard: list[int] = []
    with Arrivals(spool) as coming:
        coming.new()
        listener = threading.Thread(target=lambda: heard.extend(each.id for each in coming.wait(20.0)))
        listener.start()
        box = spool.root / "incoming" / "mayor-new"
        for part in ("tmp", "new", "cur"):
            (box / part).mkdir(parents=True)
        message = incoming(START, "hi")
        (box / "new" / maildir_name(message)).write_bytes(maildir_bytes(message))
        listener.join(20.0)
    assert [START] == heard


def test_one_waits_at_a_time(spool: Spool) -> None:
    """In a channel; in another somebody else may, and who ends frees it."""
    with arrivals.waiting(spool, VILLA.address):
        with pytest.raises(SpoolBusyError, match="somebody waits in mayor-villa already"):
            arrivals.waiting(spool, VILLA.address).__enter__()
        with pytest.raises(SpoolBusyError, match="somebody waits in a channel already"):
            arrivals.waiting(spool, None).__enter__()
        with arrivals.waiting(spool, "another"):
            pass
    with arrivals.waiting(spool, None), pytest.raises(SpoolBusyError):
        arrivals.waiting(spool, VILLA.address).__enter__()
    with arrivals.waiting(spool, VILLA.address):
        pass


# --- inbox --hook ------------------------------------------------------------------------------------


def test_a_hook_gets_what_is_unread(spool: Spool) -> None:
    """Framed, as plain text, and it stays unread; nothing at all where there is nothing."""
    assert Ended(0, "", "") == run(spool, "inbox", "--hook")
    said(spool, 1, "is it green?")
    for _ in range(2):
        ended = run(spool, "inbox", VILLA.address, "--hook")
        assert (0, "") == (ended.code, ended.err)
        assert ended.out.startswith(framing.NOTICE)
        assert "\nis it green?\n" in ended.out
    assert "is it green?" in run(spool, "inbox", "--hook", "--mark-read").out
    assert "" == run(spool, "inbox", "--hook").out


@pytest.mark.parametrize("words", [("inbox", "--hook"), ("wait", "--hook")])
def test_a_hook_where_there_is_no_spool(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Hooks run in every project: silence, and no error with each prompt."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    assert Ended(0, "", "") == ran(*words, cwd=tmp_path, env=env)
    assert 1 == ran(words[0], cwd=tmp_path, env=env).code


def test_a_hook_gets_no_more_than_it_may_hold() -> None:
    """Ten thousand characters at most: the newest are kept, and how many there are besides is told."""
    about = {"channel": "c", "author": "a", "date": "d", "file": "f"}
    told = [about | {"id": str(number), "text": f"{number} " + "word " * 100} for number in range(100)]
    text, shown = framing.for_a_hook(told)
    assert len(text) <= framing.MOST_CHARACTERS
    assert "\n99 word" in text
    assert "\n0 word" not in text
    assert shown == text.count("</discord-")
    assert f"\n{100 - shown} older unread messages: spoolbridge inbox --unread" in text
    assert "cut; the rest is in f" in framing.for_a_hook([told[0] | {"text": "x" * 50_000}])[0]


def test_what_a_hook_does_not_show_stays_unread(spool: Spool) -> None:
    """Only what stands in the prompt is marked as read: nobody has seen the rest."""
    for number in range(1, 21):
        said(spool, number, f"{number} " + "word " * 300)
    ended = run(spool, "inbox", "--hook", "--mark-read")
    shown = ended.out.count("</discord-")
    assert 0 < shown < 20
    left = [json.loads(line)["id"] for line in run(spool, "inbox", "--unread", "--json").out.splitlines()]
    assert [str(START + number) for number in range(1, 21 - shown)] == left


@pytest.mark.parametrize("words", [(), ("--follow",)])
def test_what_could_not_be_shown_stays_unread(spool: Spool, words: tuple[str, ...]) -> None:
    """Its reader went away: a message is marked behind its line, not before."""
    said(spool, 1, "one")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        program = [str(PROGRAM), "inbox", "--mark-read", *words]
        ended = subprocess.run(
            program, env=environment(spool), cwd=spool.root.parent, stdout=broken, timeout=20, check=False
        )
    assert 1 == ended.returncode
    assert "one" in run(spool, "inbox", "--unread").out


# --- inbox --follow ----------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True])
def test_follow_prints_a_line_a_message(spool: Spool, as_json: bool) -> None:
    """What is there, then what comes, each whole in one line however it was written."""
    said(spool, 1, "one\ntwo")
    with running(spool, "inbox", "--follow", *(["--json"] if as_json else [])) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        path = said(spool, 2, "x" * 100_000)
        second = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(10)
    if as_json:
        assert ["one\ntwo", "x" * 100_000] == [json.loads(line)["text"] for line in (first, second)]
    else:
        assert (True, True) == ("nic: one two  " in first, second.endswith(f"  {path}\n"))


def test_no_text_reaches_beyond_its_place_in_a_line(spool: Spool) -> None:
    """No escape, no direction mark and no line end of a stranger's acts on the terminal."""
    path = said(spool, 1, "a\x1b[2J\u202eb\u2028c\x85\x9b31md\u2066", author="N\u202e\x1b]0;x\x07\nic")
    with running(spool, "inbox", "--follow") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    assert line.endswith(f"  {path}\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("words", ["inbox", "inbox --json", "inbox --hook", "wait --unread"])
def test_a_file_that_the_bridge_did_not_write(spool: Spool, words: str) -> None:
    """Who shares the Maildir can put anything there: no escape of it acts on the terminal."""
    path = said(spool, 1, "one")
    escape = "\x1b]0;x\x07\x1b[2J"
    path.write_text(f"From: N{escape} <1@discord>\nDate: now{escape}\n\na{escape}\r\nb{escape}\n")
    ended = run(spool, *words.split())
    assert (0, True) == (ended.code, ended.out.replace("\n", "").isprintable())


@pytest.mark.parametrize("words", [("inbox",), ("inbox", "--hook"), ("wait", "--unread")])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parents[3] / "x")])
def test_a_message_that_is_no_file(
    spool: Spool, words: tuple[str, ...], make: Callable[[Path], None]
) -> None:
    """Nobody waits at a pipe, nor reads for another through his link."""
    (spool.root / "x").write_text("From: x <1@discord>\n\nnobody else's\n")
    path = said(spool, 1, "one")
    path.unlink()
    make(path)
    said(spool, 2, "two")
    ended = run(spool, *words)
    assert (0, True) == (ended.code, "[this message cannot be read: " in ended.out)
    assert (True, False) == ("two\n" in ended.out, "nobody else's" in ended.out)


@pytest.mark.parametrize("words", [("inbox",), ("inbox", "--hook"), ("wait", "--unread")])
def test_a_message_that_cannot_be_read_hides_no_other(spool: Spool, words: tuple[str, ...]) -> None:
    """It is told as that, and what came behind it is shown."""
    broken = said(spool, 1, "one")
    broken.unlink()
    broken.mkdir()
    said(spool, 2, "two")
    ended = run(spool, *words)
    assert (0, True) == (ended.code, "[this message cannot be read: " in ended.out)
    assert "two\n" in ended.out


# --- wait --------------------------------------------------------------------------------------------


def is_waiting(spool: Spool) -> bool:
    try:
        with arrivals.waiting(spool, VILLA.address):
            return False
    except SpoolBusyError:
        return True


def test_wait_ends_with_the_next_message(spool: Spool) -> None:
    """Not with one that lies there already; exit code 0, the message framed on standard output."""
    said(spool, 1, "old")
    with running(spool, "wait", VILLA.address) as process:
        wait_until(lambda: is_waiting(spool), 10.0)
        # The first look is behind the lock: what was said before it is not new. So say it until it is heard.
        number = 1
        while process.poll() is None:
            number += 1
            said(spool, number, f"new {number}")
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        out, err = process.stdout, process.stderr
        assert out is not None
        assert err is not None
        told = out.read()
        assert (0, "") == (process.returncode, err.read())
    assert "new " in told
    assert "\nold\n" not in told


def test_wait_as_a_hook_wakes_the_agent(spool: Spool) -> None:
    """Exit code 2 and standard error, which is what asyncRewake hands on; read once it was shown."""
    path = said(spool, 1, "wake up")
    ended = run(spool, "wait", VILLA.address, "--hook", "--unread", "--mark-read")
    assert (2, "") == (ended.code, ended.out)
    assert "\nwake up\n" in ended.err
    assert not path.exists()


def test_wait_ends_after_its_time(spool: Spool) -> None:
    """With timeout's own exit code, and nothing said."""
    assert Ended(124, "", "") == run(spool, "wait", "--timeout", "0.05")


def test_a_second_wait_is_refused(spool: Spool) -> None:
    """In a sentence; as a hook in silence, for hooks pile up."""
    with arrivals.waiting(spool, VILLA.address):
        ended = run(spool, "wait", VILLA.address)
        assert (1, "") == (ended.code, ended.out)
        assert "somebody waits in mayor-villa already; one at a time" in ended.err
        assert Ended(0, "", "") == run(spool, "wait", VILLA.address, "--hook")
