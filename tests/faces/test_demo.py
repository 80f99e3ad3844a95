"""The demo as a newcomer runs it: one real process, what it prints, and that it leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import Demo, ran
from tests.support.tree import contents, tree
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo with a spool of its own."""
    place = tmp_path_factory.mktemp("demo")
    with Demo("--spool", "spool", cwd=place) as running:
        yield running


def test_it_says_where_everything_is_and_what_to_try(demo: Demo) -> None:
    """The addresses of page and chat, the spool's path, and two commands."""
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#key=[\w-]{24}", demo.page)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", demo.url)
    assert (demo.spool / "outgoing" / "mayor-villa").is_dir()
    assert 2 == len(_commands(demo))
    assert "Ctrl-C ends it" in demo.out


def test_the_first_message_arrives_by_itself(demo: Demo) -> None:
    """Nobody has to do anything to see that it works."""
    first = demo.texts()[0]
    assert first.startswith("Hello! This message was a file a moment ago.")
    assert f"`{demo.spool}/incoming/mayor-villa/new/`" in first
    assert (demo.spool / "incoming" / "mayor-villa" / "new").is_dir()
    assert ["mayor-villa", "mayor-bridge", "town-square"] == list(demo.channels())


def test_the_commands_work_as_they_are_printed(demo: Demo) -> None:
    """Copied into a shell, the first becomes a message and the second tells how the bridge stands."""
    drop, status = _commands(demo)
    subprocess.run(["sh", "-c", drop], check=True, timeout=10)
    wait_until(lambda: "deployed" in demo.texts())
    told = subprocess.run(["sh", "-c", status], check=True, timeout=10, capture_output=True, text=True).stdout
    assert told.startswith("service   running, process ")
    assert "mayor-villa" in told


def test_an_answer_becomes_a_file_and_a_line(demo: Demo) -> None:
    """What a human writes lies in the Maildir and in the inbox file, and the log names the file."""
    message_id = demo.say("how is the build?\nit was red")
    new = demo.spool / "incoming" / "mayor-villa" / "new"
    wait_until(lambda: [path for path in new.iterdir() if f"D{message_id}." in path.name])
    [path] = [path for path in new.iterdir() if f"D{message_id}." in path.name]
    head, _, body = path.read_text("utf-8").partition("\n\n")
    assert "how is the build?\nit was red\n" == body
    assert "From: Nic <" in head
    inbox = demo.spool / "discord-inbox.jsonl"
    wait_until(lambda: inbox.exists() and str(message_id) in inbox.read_text("utf-8"))
    line = json.loads(inbox.read_text("utf-8").splitlines()[-1])
    assert ("mayor-villa", "Nic", str(message_id)) == (line["channel"], line["author"], line["id"])
    assert demo.spool / line["file"] == path
    demo.logs(f"Nic wrote; read it: incoming/mayor-villa/new/{path.name}")


def test_a_message_is_never_in_the_log(demo: Demo) -> None:
    """Neither what an agent writes nor what a human answers, nor the token."""
    before = len(demo.texts())
    (demo.spool / "outgoing" / "mayor-villa" / "secret").write_text("the agent's words")
    asked = demo.say("the human's words")
    demo.logs(f".D{asked}.discord")
    wait_until(lambda: len(demo.texts()) == before + 2)
    for words in ("the agent's words", "the human's words", "emulator-token"):
        assert words not in demo.err + demo.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_a_scratch_spool_goes_with_it(tmp_path: Path, number: int) -> None:
    """Exit 0 within ten seconds though somebody watches the chat; no process, no spool, no traceback left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Demo(cwd=tmp_path, env={"TMPDIR": str(scratch)}) as demo:
        assert demo.spool.is_relative_to(scratch)
        with urllib.request.urlopen(f"{demo.url}_emulator/events", timeout=10) as watching:
            assert watching.readline().startswith(b"retry:")
            assert 0 == demo.end(number)
        assert demo.leaves_nobody()
        assert "Traceback" not in demo.err
        assert demo.err.endswith(" stopping\n")
    assert [] == list(scratch.iterdir())


def test_a_named_spool_is_kept_and_serves_again(tmp_path: Path) -> None:
    """What lies in it stays; the next demo has a new guild and the same spool."""
    with Demo("--spool", "my spool", cwd=tmp_path) as first:
        assert 0 == first.end()
    root = tmp_path / "my spool"
    assert f"echo 'deployed' > '{root}'/outgoing/mayor-villa/note" in first.out
    sent = contents(root, "sent")
    assert 1 == len(sent)
    with Demo("--spool", "my spool", cwd=tmp_path) as second:
        assert 0 == second.end()
    assert sent.items() < contents(root, "sent").items()
    assert {} == tree(root, "sending", "failed", "outgoing", "tmp")


def test_a_real_spool_is_left_alone(tmp_path: Path) -> None:
    """Its channels file would be lost, and its messages would go to an imaginary guild."""
    root = tmp_path / "spool"
    root.mkdir()
    (root / "discord-channels.json").write_text('{"mayor-villa": "1467106918538678293"}')
    ended = ran("demo", "--port", "0", "--spool", "spool", cwd=tmp_path)
    told = "spoolbridge: spool is no demo's spool: its channels file would be replaced; "
    assert (1, "", told + "name another directory with --spool\n") == (ended.code, ended.out, ended.err)
    assert '{"mayor-villa": "1467106918538678293"}' == (root / "discord-channels.json").read_text()


def test_a_port_that_is_taken_is_told_in_a_sentence(demo: Demo, tmp_path: Path) -> None:
    """And what to do about it; the scratch spool is gone."""
    port = demo.url.rpartition(":")[2].rstrip("/")
    for command, which in (("demo", f"{port} of 127.0.0.1"), ("emulate", port)):
        ended = ran(command, "--port", port, cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
        told = f"spoolbridge: port {which} cannot be used (address already in use); "
        told += "say --port 0, which takes "
        assert 1 == ended.code
        assert ended.err in (f"{told}a free one\n", f"{told}free ones\n")
    assert [] == list(tmp_path.iterdir())


def test_a_spool_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    """It is not the port's fault."""
    (tmp_path / "file").write_text("")
    ended = ran("demo", "--port", "0", "--spool", "file/spool", cwd=tmp_path)
    assert 1 == ended.code
    assert ended.err.startswith("spoolbridge: file/spool is not a directory; ")


def _commands(demo: Demo) -> list[str]:
    """The lines to be copied into a shell."""
    return [line.strip() for line in demo.out.splitlines() if line.startswith("    ")]
