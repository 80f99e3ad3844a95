"""The command line: every command through the program's own ending, and the long-lived ones as processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import click
import pytest

from spoolbridge import __version__, channels, identity, outgoing, sending, status
from spoolbridge.cli import plain, program
from spoolbridge.emulator import Emulator, objects
from spoolbridge.errors import SpoolError
from spoolbridge.incoming import from_discord, maildir_bytes, maildir_name
from spoolbridge.rendering import Kept
from spoolbridge.spool import Spool
from tests.support.messages import GUILD, START, VILLA, incoming, json_message
from tests.support.programs import PROGRAM, Demo, Ended, Running, environment, ran, refused, said
from tests.support.tree import contents, tree
from tests.support.waiting import wait_until

CHANNELS = """{
    "_": "ids by hand",
    "vgt":   1467106918538678300,
    "villacalculatecost3": {"mayor-villa": "1467106918538678293", "ops": "1467106918538678301"},

    "farm": {"ops": "1467106918538678302"}
}"""
THREAD = 1467106918538679000
COMMANDS = [
    "demo", "run", "init", "mcp", "emulate", "send", "reply", "react", "ask", "inbox", "wait", "status",
    "doctor", "audit", "notify", "prune",
    "channels", "channels list", "channels create", "channels sync",
    "failed", "failed list", "failed show", "failed retry", "failed drop", "pause", "resume",
    "log",
]  # fmt: skip


@pytest.fixture
def file(spool: Spool) -> Path:
    """The channels file of ./spool, which is the spool where no setting names another."""
    path = spool.root / "discord-channels.json"
    path.write_text(CHANNELS)
    return path


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limits=False).serve() as running:
        running.add_channel("mayor-villa")
        running.add_channel("general")
        running.add_channel("lounge", type=objects.VOICE)
        yield running


async def asked(emulator: Emulator, *arguments: str) -> Ended:
    """As `said`, led to the emulator, beside the loop that serves it."""
    env = {"SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": emulator.token}
    return await asyncio.to_thread(said, *arguments, env=env)


# --- help and endings --------------------------------------------------------------------------------


def command(words: str) -> click.Command:
    found: click.Command = program.cli
    for word in words.split():
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_help(words: str) -> None:
    """Every command tells what it is for and exits 0."""
    ended = said(*words.split(), "--help")
    assert (0, "") == (ended.code, ended.err)
    assert ended.out.startswith(f"Usage: spoolbridge {words}".rstrip() + " ")
    assert "..." not in re.sub(r"\]\.\.\.", "", ended.out)  # a sentence that click cut


def test_the_list_of_commands_is_whole_in_80_columns() -> None:
    """What a command is for is not cut off with dots where somebody looks for it."""
    for group in ("", "channels", "failed"):
        lines = said(*group.split(), "--help").out.splitlines()
        cut = [line for line in lines if line.startswith(" ") and line.endswith("...")]
        assert [] == [*cut, *(line for line in lines if len(line) > 80)]


def test_every_command_is_tested_for_its_help() -> None:
    """The list above is the truth."""
    found = []
    for name, each in program.cli.commands.items():
        found += [name, *(f"{name} {inner}" for inner in getattr(each, "commands", ()))]
    assert sorted(COMMANDS) == sorted(found)


def examples(words: str) -> list[list[str]]:
    """The calls of spoolbridge in the examples of a command's help, as words, without pipes around them."""
    shown = said(*words.split(), "--help").out
    found = re.findall(r"(?m)^  Example: (.*)$", shown)
    for block in re.findall(r"(?m)^  Examples:\n((?:    .*\n)+)", shown):
        found += [line.strip() for line in block.splitlines()]
    calls = []
    for line in found:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        parts = itertools.groupby(lexer, lambda word: set(word) <= set("|&;<>"))
        calls += [list(part) for apart, part in parts if not apart]
    return [call[1:] for call in calls if call[0] == "spoolbridge"]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_an_example_that_can_be_typed(words: str, tmp_path: Path) -> None:
    """In its help stands at least one call of this very command, or of one below it, that click takes."""
    typed = examples(words)
    assert typed, f"no example in: spoolbridge {words} --help"
    for call in typed:
        assert words.split() == call[: len(words.split())]
        for name in re.findall(r"\b[\w-]+\.(?:txt|png|log)\b", " ".join(call)):
            (tmp_path / name).touch()  # what it names is there
        found: click.Command = program.cli
        while isinstance(found, click.Group):
            found, call = found.commands[call[0]], call[1:]
        found.make_context(words, call)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_tells_what_it_does(words: str) -> None:
    """In its help: a name alone is no help."""
    options = [each for each in command(words).params if isinstance(each, click.Option)]
    assert [] == [each.opts for each in options if not each.help]


def test_version() -> None:
    assert Ended(0, f"spoolbridge, version {__version__}\n", "") == said("--version")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["send"], "Missing argument 'CHANNEL'"),
        (["send", "vgt", "hi", "--nonsense"], "No such option '--nonsense'"),
        (["send", "vgt", "hi", "--file", "nowhere"], "File 'nowhere' does not exist"),
        (["failed", "retry"], "name an entry, or say --all"),
        (["failed", "drop"], "name an entry, or say --all"),
        (["failed", "drop", "x", "--all"], "name entries, or say which: not both"),
        (["run", "--http-anywhere"], "say --http HOST:PORT as well"),
        (["demo", "--port", "70000"], "70000 is not in the range"),
    ],
)
def test_wrong_usage_exits_2(file: Path, arguments: list[str], says: str) -> None:
    """With how it is used."""
    ended = said(*arguments)
    assert (2, "") == (ended.code, ended.out)
    assert ended.err.startswith("Usage: spoolbridge ")
    assert says in ended.err


@pytest.mark.parametrize("arguments", [["channels", "list"], ["send", "vgt", "hi"]])
def test_a_reader_that_goes_away(file: Path, tmp_path: Path, arguments: list[str]) -> None:
    """`spoolbridge channels list | head -0`: exit 1, no traceback, nothing said at Python's end."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PROGRAM, *arguments], cwd=tmp_path, env=environment(), stdout=writing,
        stderr=subprocess.PIPE, timeout=30, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (1, b"") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "vgt", "hi"], ["reply", "1", "hi"], ["react", "1", "👍"], ["inbox"], ["status"],
        ["failed", "list"], ["failed", "show", "x"], ["failed", "retry", "--all"],
        ["failed", "drop", "x"], ["pause"], ["resume", "vgt"], ["log"],
    ],
)  # fmt: skip
def test_without_a_spool_there_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    """Nothing but init, run and demo makes a spool."""
    sentence = f"no spool at {tmp_path / 'spool'}; set SPOOLBRIDGE_SPOOL, or: spoolbridge init"
    refused(said(*arguments), sentence)
    assert {} == tree(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["reply", "1", "hi"], ["react", "1", "👍"], ["inbox"], ["status"], ["ask", "mayor-villa", "deploy?"],
        ["failed", "list"], ["failed", "retry", "--all"],
    ],
)  # fmt: skip
def test_a_newer_format_is_left_alone(file: Path, spool: Spool, arguments: list[str]) -> None:
    """Who would read `state/`, or write to it, says that a newer version has; `send` still only drops."""
    (spool.root / "state" / "format.json").write_text('{"format": 2, "first_start": 0}')
    before = tree(spool.root)
    refused(said(*arguments), "a newer spoolbridge (format 2) has served this spool; upgrade this one")
    assert before == tree(spool.root)
    assert 0 == said("send", "mayor-villa", "hi").code


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (SpoolError("it is gone", "look"), Ended(1, "", "spoolbridge: it is gone; look\n")),
        (KeyboardInterrupt(), Ended(130, "", "\n")),  # behind the ^C that the terminal shows
        (click.Abort(), Ended(130, "", "")),
    ],
)
def test_what_errors_become(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, error: BaseException, ended: Ended
) -> None:
    """An exit code, at most one sentence, never a traceback."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(status, "snapshot", broken)
    assert ended == said("status")


def test_a_bug_leaves_a_log(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, one line, and the traceback in a file to attach."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(status, "snapshot", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = said("status")
    assert (3, "") == (ended.code, ended.out)
    match = re.fullmatch(r"spoolbridge: a bug \(ZeroDivisionError\); report it with (\S+)\n", ended.err)
    assert match
    log = Path(match[1])
    assert log.parent == tmp_path
    assert log.read_text().startswith(f"spoolbridge {__version__}, Python ")
    assert "ZeroDivisionError: nobody thought of this" in log.read_text()


def test_an_interrupt(file: Path, spool: Spool, tmp_path: Path) -> None:
    """Ctrl-C, whenever it comes: 130, no word, and nothing half done."""
    with Running("send", "vgt", "hi", "--wait", cwd=tmp_path) as process:
        wait_until(lambda: dropped(spool, "vgt"))
        assert 130 == process.end(signal.SIGINT)
        assert ("", "\n") == (process.out, process.err)
    assert {} == tree(spool.root, "tmp")


def test_an_interrupt_while_waiting(file: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was dropped stays dropped: it is the wait that was broken off."""
    monkeypatch.setattr(sending, "wait_for", Mock(side_effect=KeyboardInterrupt))
    assert Ended(130, "", "\n") == said("send", "vgt", "hi", "--wait")
    assert [b"hi"] == dropped(spool, "vgt")


def test_a_wrong_setting_is_named(file: Path) -> None:
    """In the words of the setting, not of the code that reads it."""
    ended = said("status", env={"SPOOLBRIDGE_POLL_INTERVAL": "often"})
    refused(ended, "SPOOLBRIDGE_POLL_INTERVAL cannot be 'often'; it is seconds, at least 0.05")


# --- send --------------------------------------------------------------------------------------------


def dropped(spool: Spool, channel: str = "mayor-villa") -> list[bytes]:
    """The bytes that wait for a channel, in order."""
    return [data for _, data in sorted(contents(spool.root, f"outgoing/{channel}").items())]


def bundled(spool: Spool, channel: str) -> dict[str, bytes]:
    """What lies in the bundle that waits for a channel."""
    waiting = contents(spool.root, f"outgoing/{channel}")
    return {path.partition(".msg/")[2]: data for path, data in waiting.items()}


@pytest.mark.parametrize(
    ("arguments", "stdin", "data"),
    [
        (["villacalculatecost3.mayor-villa", "deployed"], "", b"deployed"),
        (["#mayor-villa"], "a line\n", b"a line"),
        (["mayor-villa", "-"], "two\nlines\n", b"two\nlines"),
        (["mayor-villa", "deployed", "--rig", "villa"], "", b"Spoolbridge: 1\nRig: villa\n\ndeployed"),
        (["mayor-villa", "yes", "--reply-to", "42"], "", b"Spoolbridge: 1\nReply-To: 42\n\nyes"),
        (["mayor-villa", "Spoolbridge: 1"], "", b"Spoolbridge: 1\n\nSpoolbridge: 1"),
        (["mayor-villa", "--", "--wait"], "", b"--wait"),
    ],
)
def test_send_drops_a_text(file: Path, spool: Spool, arguments: list[str], stdin: str, data: bytes) -> None:
    """From an argument or standard input, with what its options mean; the sentence says that it waits."""
    ended = said("send", *arguments, stdin=stdin)
    assert (0, "") == (ended.code, ended.err)
    assert [data] == dropped(spool)
    [name] = os.listdir(spool.root / "outgoing" / "mayor-villa")
    assert identity.parse(name) is not None
    told = f"queued for #mayor-villa as {name}; it will be sent by itself, do not send it again\n"
    assert told == ended.out


@pytest.mark.parametrize(
    ("arguments", "is_plain"),
    [
        (["vgt", "hi"], True),
        (["vgt", "-"], True),
        (["vgt"], True),
        (["--rig", "villa", "vgt", "hi", "--reply-to", "42"], True),
        (["vgt", ""], True),
        (["nowhere", "hi"], True),
        (["vgt", "hi", "--reply-to", "latest"], True),
        (["vgt", "hi", "--rig=villa"], False),
        (["vgt", "hi", "--rig", "a", "--rig", "villa"], True),
        (["vgt", "--", "-x"], False),
        (["vgt", "hi", "--rig", "-x"], False),
        (["vgt", "hi", "--rig"], False),
        (["vgt", "hi", "ho"], False),
        (["vgt", "hi", "--wait", "--timeout", "0.01"], False),
        (["vgt", "hi", "--wai"], False),
        (["vgt", "hi", "--file", "note"], False),
        (["--help"], False),
        ([], False),
    ],
)
def test_send_is_the_same_with_and_without_click(
    file: Path, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], is_plain: bool,
) -> None:  # fmt: skip
    """The short way is taken where it can be, and nobody can tell which way it went."""
    (tmp_path / "note").write_text("a file")

    def sent() -> tuple[Ended, list[bytes]]:
        ended = said("send", *arguments, stdin="piped\n")
        found = dropped(spool, "vgt")
        for path in contents(spool.root, "outgoing"):
            (spool.root / path).unlink()
        return replace(ended, out=re.sub(r"as \S+;", "as ID;", ended.out)), found

    clicked = Mock(wraps=program.run)
    monkeypatch.setattr(program, "run", clicked)
    first = sent()
    assert is_plain is not clicked.called
    monkeypatch.setattr(plain, "send", lambda words: None)
    assert first == sent()


def test_send_takes_bytes_that_are_not_text(file: Path, spool: Spool) -> None:
    """What a pipe brings is not refused for one wrong byte; the wrong byte is shown as such."""
    assert 0 == said("send", "vgt", stdin=b"caf\xe9\n").code
    assert ["caf\ufffd".encode()] == dropped(spool, "vgt")


def test_send_with_files_drops_a_bundle(file: Path, spool: Spool, tmp_path: Path) -> None:
    """Text and files in one message; a text is then not needed, not even from a terminal's stdin."""
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    assert 0 == said("send", "vgt", "see", "--file", "a.txt", "--file", "b.png").code
    bundle = bundled(spool, "vgt")
    assert {"body": b"see", "files/a.txt": b"A", "files/b.png": b"\x89PNG"} == bundle
    terminal, other = os.openpty()
    done = subprocess.run(
        [PROGRAM, "send", "mayor-villa", "--file", "a.txt"], cwd=tmp_path, env=environment(),
        stdin=other, timeout=30, check=False, capture_output=True,
    )  # fmt: skip
    os.close(terminal)
    os.close(other)
    assert (0, b"") == (done.returncode, done.stderr)
    assert ["files/a.txt"] == list(bundled(spool, "mayor-villa"))


def test_send_without_a_text_at_a_terminal(file: Path, tmp_path: Path) -> None:
    """It does not wait silently for somebody to type."""
    terminal, other = os.openpty()
    done = subprocess.run(
        [PROGRAM, "send", "vgt"], cwd=tmp_path, env=environment(), stdin=other, timeout=30, check=False,
        capture_output=True,
    )  # fmt: skip
    os.close(terminal)
    os.close(other)
    assert 2 == done.returncode
    assert b"give a TEXT, or pipe one in" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mayor-vila", "hi"], "no channel 'mayor-vila' in discord-channels.json; did you mean mayor-villa?"),
        (["ops", "hi"], "'ops' is a channel of several rigs; say villacalculatecost3.ops or farm.ops"),
        (["vgt", ""], "the message is empty"),
        (["vgt", "hi", "--reply-to", "latest"], "'latest' cannot stand here; it is an id"),
        (["vgt", "hi", "--rig", "a\nMentions: users"], "cannot stand here"),
        (["vgt", "hi", "--file", "x/a.txt", "--file", "a.txt"], "two files are called 'a.txt'; rename one"),
        (["vgt", "hi", "--file", "big"], "'big' is larger than the 26214400 bytes that Discord takes"),
        (["vgt", "hi", "--file", "a.part"], "the spool skips files called like 'a.part'"),
    ],
)
def test_send_refuses_before_anything_is_dropped(
    file: Path, spool: Spool, tmp_path: Path, arguments: list[str], says: str
) -> None:
    """In a sentence that says what would do."""
    (tmp_path / "x").mkdir()
    for name in ("a.txt", "x/a.txt", "a.part", "big"):
        (tmp_path / name).write_text("A")
    os.truncate(tmp_path / "big", 25 * 1024 * 1024 + 1)
    refused(said("send", *arguments), says)
    assert {} == tree(spool.root, "outgoing", "tmp")


def test_send_without_a_channels_file(spool: Spool) -> None:
    refused(said("send", "vgt", "hi"), "no channels file at", "spoolbridge channels sync")


def test_send_waits_no_longer_than_it_is_told(file: Path, spool: Spool) -> None:
    """Still queued when the wait ends: 75, it will be sent all the same, and by whom if nobody is there."""
    ended = said("send", "vgt", "hi", "--wait", "--timeout", "0.05")
    assert 75 == ended.code
    assert ended.out.startswith("queued for #vgt as ")
    assert "no service runs here that would send it; start it with: spoolbridge run\n" == ended.err
    assert [b"hi"] == dropped(spool, "vgt")


# --- send and reply with a service that answers ------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A real service and an imaginary Discord."""
    with Demo("--spool", "spool", cwd=tmp_path_factory.mktemp("served")) as running:
        yield running


def arrived(demo: Demo, message_id: int, channel: str = "mayor-villa") -> Path:
    """The file of a human's message, once it lies there."""
    new = demo.spool / "incoming" / channel / "new"
    wait_until(lambda: new.is_dir() and list(new.glob(f"*D{message_id}.*")))
    return next(new.glob(f"*D{message_id}.*"))


def test_send_waits_until_it_is_sent(demo: Demo, tmp_path: Path) -> None:
    """Exit 0, with the message's address; the rig stands before the text."""
    arguments = ["mayor-villa", "-", "--rig", "villa", "--wait"]
    ended = ran("send", *arguments, cwd=tmp_path, env=demo.env, stdin=b"up\n")
    assert (0, "") == (ended.code, ended.err)
    match = re.fullmatch(r"sent to #mayor-villa: https://discord\.com/channels/\d+/\d+/(\d+)\n", ended.out)
    assert match
    assert ("[villa] up", match[1]) == (demo.texts()[-1], demo.messages()[-1]["id"])


def test_send_waits_until_it_has_failed(demo: Demo, tmp_path: Path) -> None:
    """Exit 1, with the reason and where it is kept; `failed` tells the same."""
    ended = ran("send", "mayor-bridge", "!!automod", "--wait", cwd=tmp_path, env=demo.env)
    assert (1, "") == (ended.code, ended.err)
    assert ended.out.startswith("failed for #mayor-bridge: Discord answered 400, code 200000: ")
    listed = ran("failed", "list", "mayor-bridge", cwd=tmp_path, env=demo.env).out
    assert re.fullmatch(r"mayor-bridge/\S+  Discord answered 400, code 200000: .+\n", listed)


def test_send_uploads_files_and_answers(demo: Demo, tmp_path: Path) -> None:
    """A bundle is one message, with its files, as an answer to another."""
    (tmp_path / "log.txt").write_text("red")
    question = demo.say("what went wrong?")
    ended = ran(
        "send", "mayor-villa", "this", "--file", "log.txt", "--reply-to", str(question), "--wait",
        cwd=tmp_path, env=demo.env,
    )  # fmt: skip
    assert 0 == ended.code
    message = demo.messages()[-1]
    assert ("this", str(question)) == (message["content"], message["message_reference"]["message_id"])
    assert ["log.txt"] == [each["filename"] for each in message["attachments"]]


def test_reply_answers_into_its_thread(demo: Demo, tmp_path: Path) -> None:
    """By path, wherever the message was written; the answer stands there and nowhere else."""
    opener = demo.say("let us talk apart")
    villa = demo.channels()["mayor-villa"]
    thread = demo.call(f"channels/{villa}/messages/{opener}/threads", {"name": "apart"})
    question = demo.say("now?", channel=thread["id"])
    path = arrived(demo, question)
    assert f"X-Discord-Thread-Id: {thread['id']}\n" in path.read_text()
    ended = ran("reply", str(path), "now.", "--wait", cwd=tmp_path, env=demo.env)
    assert (0, "") == (ended.code, ended.err)
    answer = demo.messages("apart")[-1]
    assert ("now.", str(question)) == (answer["content"], answer["message_reference"]["message_id"])
    assert "now." not in demo.texts()


def test_status_of_a_service_that_runs(demo: Demo, tmp_path: Path) -> None:
    """For people and for programs."""
    told = ran("status", cwd=tmp_path, env=demo.env).out
    assert told.startswith(f"service   running, process {demo.process.pid}, since ")
    found = json.loads(ran("status", "--json", cwd=tmp_path, env=demo.env).out)
    assert (True, str(demo.spool), demo.process.pid) == (found["running"], found["spool"], found["pid"])
    assert {"mayor-villa", "mayor-bridge", "town-square"} == found["channels"].keys()
    assert {"waiting", "sending", "failed", "sent_today"} <= found["channels"]["mayor-villa"].keys()


# --- inbox and reply, from files alone ---------------------------------------------------------------


def file_incoming(spool: Spool, message_id: int, text: str, **more: Any) -> Path:
    """A human's message as the service files it."""
    message = incoming(message_id, text, **more)
    box = spool.root / "incoming" / VILLA.address
    for part in ("tmp", "new", "cur"):
        (box / part).mkdir(parents=True, exist_ok=True)
    path = box / "new" / maildir_name(message)
    path.write_bytes(maildir_bytes(message))
    return path


def test_inbox_shows_what_humans_wrote(file: Path, spool: Spool) -> None:
    """Oldest first, with a dot before what nobody has read, and the file to answer."""
    second, first = file_incoming(spool, START + 1, "two\nlines"), file_incoming(spool, START, "one")
    ended = said("inbox")
    date = "Sun, 22 Nov 2026 00:00:00 +0000"
    assert 0 == ended.code
    assert (
        f"• mayor-villa  nic  {date}  {first}\n    one\n\n"
        f"• mayor-villa  nic  {date}  {second}\n    two\n    lines\n\n"
    ) == ended.out


def test_inbox_marks_what_it_shows_as_read(file: Path, spool: Spool) -> None:
    """As mail programs do: moved to cur/ with the flag S. Then it is unread no more."""
    path = file_incoming(spool, START, "one")
    ended = said("inbox", "mayor-villa", "--unread", "--mark-read", "--json")
    told = json.loads(ended.out)
    moved = path.parent.parent / "cur" / f"{path.name}:2,S"
    assert (str(moved), "one", False) == (told["file"], told["text"], told["read"])
    assert {"incoming/mayor-villa/cur": [moved.name]} == tree(spool.root, "incoming")
    assert "" == said("inbox", "--unread").out
    assert said("inbox").out.startswith("  mayor-villa  nic  ")
    assert json.loads(said("inbox", "--json", "--mark-read").out)["read"] is True


def test_inbox_for_programs(file: Path, spool: Spool) -> None:
    """One object a line, the id as text, for JSON's numbers round it."""
    for number in range(3):
        file_incoming(spool, START + number, f"text {number}")
    told = [json.loads(line) for line in said("inbox", "--json").out.splitlines()]
    assert [(str(START + n), f"text {n}", "nic") for n in range(3)] == [
        (each["id"], each["text"], each["author"]) for each in told
    ]
    fields = {"id", "channel", "author", "date", "text", "attachments", "read", "file"}
    assert fields == told[0].keys()


def test_inbox_tells_where_attached_files_lie(file: Path, spool: Spool) -> None:
    """People read it in the text, programs as a list of paths relative to the spool."""
    picture = {"id": "9", "filename": "a.png", "size": 1, "url": "https://cdn.example/a.png"}
    where = f"attachments/mayor-villa/{START}/a.png"
    message = from_discord(json_message(attachments=[picture]), VILLA, GUILD, kept={9: Kept(where)})
    path = file_incoming(spool, START, "")
    path.write_bytes(maildir_bytes(message))
    assert [where] == json.loads(said("inbox", "--json").out)["attachments"]
    assert f"    [attachment: a.png, 1 byte, saved as {where}]\n" in said("inbox").out


def test_inbox_of_a_channel(file: Path, spool: Spool) -> None:
    """An empty one is silent; one that nobody knows is not the same as an empty one."""
    file_incoming(spool, START, "one")
    assert Ended(0, "", "") == said("inbox", "vgt")
    assert "one" in said("inbox", "#mayor-villa").out
    refused(said("inbox", "mayor-vila"), "no channel 'mayor-vila'", "mayor-villa")
    file.unlink()  # the directory is enough
    assert "one" in said("inbox", "mayor-villa").out


@pytest.mark.parametrize("way", ["path", "name", "id", "read", "moved"])
def test_reply_finds_the_message(file: Path, spool: Spool, tmp_path: Path, way: str) -> None:
    """By path, file name or id, also after it was read, also where its reader has put it elsewhere."""
    path = file_incoming(spool, START, "how is the build?")
    reference = {"path": str(path), "name": path.name, "id": str(START)}.get(way, str(path))
    if way == "read":
        path.rename(path.parent.parent / "cur" / f"{path.name}:2,S")
    if way == "moved":
        reference = str(path.rename(tmp_path / path.name))
    ended = said("reply", reference, "green")
    assert (0, "") == (ended.code, ended.err)
    assert [f"Spoolbridge: 1\nReply-To: {START}\n\ngreen".encode()] == dropped(spool)


def test_reply_with_everything(file: Path, spool: Spool, tmp_path: Path) -> None:
    """A thread, a rig, a file, and the text from a pipe."""
    (tmp_path / "a.txt").write_text("A")
    path = file_incoming(spool, START, "and here?", channel_id=str(THREAD))
    assert 0 == said("reply", str(path), "-", "--rig", "villa", "--file", "a.txt", stdin="yes\n").code
    bundle = bundled(spool, "mayor-villa")
    message = outgoing.parse("x.msg", bundle["body"], {"a.txt": bundle["files/a.txt"]})
    assert ("yes", START, THREAD, "villa") == (
        message.text, message.options.reply_to, message.options.thread, message.options.rig,
    )  # fmt: skip


def test_react_names_the_message_and_its_thread(file: Path, spool: Spool) -> None:
    """A reaction is a file like everything else; what is no emoji is refused before it is dropped."""
    path = file_incoming(spool, START, "and here?", channel_id=str(THREAD))
    assert 0 == said("react", str(path), "👍").code
    lines = ["Spoolbridge: 1", f"Reply-To: {START}", f"Thread: {THREAD}", "React: 👍", "", "\n"]
    assert ["\n".join(lines).encode()] == dropped(spool)
    refused(said("react", str(path), "thumbs up"), "'thumbs up' cannot stand here; it is one emoji such as")
    assert 1 == len(dropped(spool))


def test_send_with_a_thread_and_a_key(file: Path, spool: Spool) -> None:
    """Both ways of reading the command line drop the same."""
    words = ["--thread", "Deploys", "--dedupe-key", "build 17"]
    assert 0 == said("send", "vgt", "hi", *words).code
    assert 0 == said("send", *words, "vgt", "hi", "--rig", "r", "--file", str(file)).code
    first, second = dropped(spool, "vgt")[0], bundled(spool, "vgt")["body"]
    assert b"Spoolbridge: 1\nThread: Deploys\nDedupe-Key: build 17\n\nhi" == first
    assert second.startswith(b"Spoolbridge: 1\nRig: r\nThread: Deploys\nDedupe-Key: build 17\n")


@pytest.mark.parametrize("reference", ["123", "nowhere", "spool/README.md", ""])
def test_reply_to_nothing(file: Path, spool: Spool, reference: str) -> None:
    """What is no message of a human's is not answered."""
    ended = said("reply", reference, "hi")
    refused(ended, f"no incoming message {reference!r}; list them with: spoolbridge inbox")
    assert {} == tree(spool.root, "outgoing")


# --- status ------------------------------------------------------------------------------------------


def test_status_without_a_service(file: Path, spool: Spool) -> None:
    """The counts are right all the same."""
    assert 0 == said("send", "vgt", "hi").code
    told = said("status").out
    assert told.startswith("service   not running; start it with: spoolbridge run\n")
    assert re.search(r"^vgt +1 +\d s +0 +0 +- +-$", told, re.MULTILINE)
    found = json.loads(said("status", "--json").out)
    assert (False, 1) == (found["running"], found["channels"]["vgt"]["waiting"])


# --- channels ----------------------------------------------------------------------------------------


def test_channels_list(file: Path) -> None:
    """Address, id, rig, and whether what humans write there is read."""
    told = [line.split() for line in said("channels", "list").out.splitlines()]
    assert [
        ["vgt", "1467106918538678300"],
        ["mayor-villa", "1467106918538678293", "villacalculatecost3", "read"],
        ["villacalculatecost3.ops", "1467106918538678301", "villacalculatecost3"],
        ["farm.ops", "1467106918538678302", "farm"],
    ] == told
    file.write_text(f'{{"vgt": "1", "{"x" * 60}": "22"}}')
    short, long = said("channels", "list").out.splitlines()
    assert short.index("1") == long.index("22")  # a long name moves no column
    file.write_text(CHANNELS)
    assert "read" in said("channels", "list", env={"SPOOLBRIDGE_POLL": "v*"}).out.splitlines()[0]


def test_channels_list_of_nothing(file: Path) -> None:
    """Says what makes it longer, where no program reads it as a channel."""
    file.write_text("{}")
    assert Ended(0, "", f"none in {file} yet: spoolbridge channels sync\n") == said("channels", "list")
    file.unlink()
    refused(said("channels", "list"), "no channels file at", "spoolbridge channels sync")


def test_channels_need_a_token(file: Path) -> None:
    for arguments in (["sync"], ["create", "mayor-new"]):
        refused(said("channels", *arguments), "no bot token; spoolbridge init asks for it, or put")


async def test_a_refused_token_is_one_sentence(emulator: Emulator, file: Path) -> None:
    emulator.token = "another"
    emulator.transport.token = "the right one"
    refused(await asked(emulator, "channels", "sync"), "Discord refuses the token (401)")


async def test_create_makes_a_channel_once(emulator: Emulator, file: Path) -> None:
    """On Discord and in the file, whose other bytes stay; a second time changes neither."""
    ended = await asked(emulator, "channels", "create", "Mayor-Quarry")
    made = emulator.guild.channels["mayor-quarry"]
    assert Ended(0, f"mayor-quarry {made.id} created\n", "") == ended
    registry = channels.load(file)
    assert (made.id, None) == (registry.resolve("mayor-quarry").id, registry.resolve("mayor-quarry").rig)
    untouched(file, f'"mayor-quarry": {made.id}')
    before = file.read_text()
    for name in ("mayor-quarry", "Mayor-Quarry"):
        again = await asked(emulator, "channels", "create", name)
        refused(again, f"'mayor-quarry' is in {file} already, with the id {made.id}")
    assert (before, 1) == (file.read_text(), names(emulator).count("mayor-quarry"))


async def test_create_under_a_rig(emulator: Emulator, file: Path) -> None:
    """Beside the rig's other channels; the same again is refused before Discord is asked for a second."""
    arguments = ["channels", "create", "mayor-quarry", "--rig", "farm"]
    assert 0 == (await asked(emulator, *arguments)).code
    added = channels.load(file).resolve("mayor-quarry")
    assert "farm" == added.rig
    untouched(file, f'"mayor-quarry": {added.id}')
    refused(await asked(emulator, *arguments), f"'mayor-quarry' is in {file} already, with the id {added.id}")
    assert 1 == names(emulator).count("mayor-quarry")
    assert 0 == (await asked(emulator, "channels", "create", "status", "--rig", "new_rig")).code
    assert "new_rig" == channels.load(file).resolve("status").rig


async def test_create_takes_up_what_the_guild_has(emulator: Emulator, file: Path) -> None:
    """A channel that a call made before it died is not made a second time."""
    general = emulator.guild.channels["general"].id
    ended = await asked(emulator, "channels", "create", "general", "--rig", "farm")
    assert Ended(0, f"general {general} was there; added to the file\n", "") == ended
    assert (general, 1) == (channels.load(file).resolve("general").id, names(emulator).count("general"))
    ended = await asked(emulator, "channels", "create", "lounge")
    assert ended.out.endswith(" created\n")  # the voice channel of that name is another


async def test_create_under_a_category(emulator: Emulator, file: Path) -> None:
    category = emulator.add_channel("Mayors", type=objects.CATEGORY)
    assert 0 == (await asked(emulator, "channels", "create", "mayor-new", "--category", str(category))).code
    assert category == emulator.guild.channels["mayor-new"].parent_id
    refused(await asked(emulator, "channels", "create", "mayor-other", "--category", "7"), "50035")
    assert "mayor-other" not in names(emulator)


@pytest.mark.parametrize(("name", "rig"), [("a.b", None), ("../x", None), ("_x", None), ("ok", "a.b")])
async def test_create_refuses_what_cannot_be_a_directory(
    emulator: Emulator, file: Path, name: str, rig: str | None
) -> None:
    """Before anything is made on Discord."""
    before = names(emulator)
    more = ["--rig", rig] if rig else []
    refused(await asked(emulator, "channels", "create", name, *more), f"{rig or name!r} cannot be a")
    assert (before, CHANNELS) == (names(emulator), file.read_text())


async def test_sync_adds_what_the_file_lacks(emulator: Emulator, file: Path) -> None:
    """Text channels by their names, nothing twice, nothing removed; a name that cannot be is told."""
    odd = emulator.add_channel("a.b")
    ended = await asked(emulator, "channels", "sync")
    villa, general = (emulator.guild.channels[name].id for name in ("mayor-villa", "general"))
    told = [f"mayor-villa {villa} added", f"general {general} added", f"2 added to {file}"]
    assert (0, told) == (ended.code, ended.out.splitlines())
    assert ended.err.startswith("spoolbridge: ")
    assert "'a.b' cannot be a channel's name" in ended.err
    known = {each.id for each in channels.load(file).channels}
    assert {1467106918538678293, villa, general} <= known
    assert odd not in known
    before = file.read_text()
    assert (await asked(emulator, "channels", "sync")).out == f"0 added to {file}\n"
    assert before == file.read_text()


async def test_sync_makes_the_file(emulator: Emulator, spool: Spool) -> None:
    """A newcomer has none yet."""
    assert 0 == (await asked(emulator, "channels", "sync")).code
    found = json.loads((spool.root / "discord-channels.json").read_text())
    assert ["mayor-villa", "general"] == list(found)


def names(emulator: Emulator) -> list[str]:
    return [each.name for each in emulator.guild.by_id.values()]


def untouched(file: Path, added: str) -> None:
    """The file is as it was but for one insertion, which holds `added`."""
    now = file.read_text()
    kept = next(at for at, (old, new) in enumerate(zip(CHANNELS, now, strict=False)) if old != new)
    assert now.endswith(CHANNELS[kept:])
    inserted = now[kept : len(now) - len(CHANNELS) + kept]
    assert added in inserted


# --- what runs until it is told to end ---------------------------------------------------------------


def led_to(emulator: Emulator, **more: str) -> dict[str, str]:
    return {
        "SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": emulator.token,
        "SPOOLBRIDGE_POLL_INTERVAL": "0.1", "SPOOLBRIDGE_POLL": "*", **more,
    }  # fmt: skip


async def test_run_once_drains_both_ways(emulator: Emulator, spool: Spool, tmp_path: Path) -> None:
    """What waits is posted, what is new is read, and it ends by itself."""
    villa = emulator.guild.channels["mayor-villa"].id
    (spool.root / "discord-channels.json").write_text(json.dumps({"mayor-villa": str(villa)}))
    env = led_to(emulator)
    for text in ("first", "second"):
        assert 0 == said("send", "mayor-villa", text).code
    ended = await asyncio.to_thread(ran, "run", "--once", cwd=tmp_path, env=env)
    assert (0, "") == (ended.code, ended.out)
    question = emulator.say("mayor-villa", "and?")
    assert 0 == (await asyncio.to_thread(ran, "run", "--once", cwd=tmp_path, env=env)).code
    assert ["first", "second", "and?"] == [each["content"] for each in emulator.messages("mayor-villa")]
    assert str(question) in said("inbox", "--json").out


async def test_run_until_a_signal(emulator: Emulator, spool: Spool, tmp_path: Path) -> None:
    """One a spool, in the foreground, its log in a file; SIGTERM ends it with 0, and STATUS says so."""
    villa = emulator.guild.channels["mayor-villa"].id
    (spool.root / "discord-channels.json").write_text(json.dumps({"mayor-villa": str(villa)}))
    with Running("run", "--log", "bridge.log", cwd=tmp_path, env=led_to(emulator)) as service:
        assert 0 == said("send", "mayor-villa", "hi").code
        assert "hi" == (await emulator.posted("mayor-villa"))[0]["content"]
        second = await asyncio.to_thread(ran, "run", cwd=tmp_path, env=led_to(emulator))
        refused(second, f"process {service.process.pid} is the service of {spool.root} already")
        assert 0 == await asyncio.to_thread(service.end, signal.SIGTERM)
        assert ("", "") == (service.out, service.err)
        assert service.leaves_nobody()
    log = (tmp_path / "bridge.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d mayor-villa/\S+ sent as \d+$", log, re.MULTILINE)
    assert log.endswith(" stopping\n")
    assert said("status").out.startswith("service   not running")


async def test_run_with_a_token_that_is_refused(emulator: Emulator, spool: Spool, tmp_path: Path) -> None:
    """Exit 1 at the first 401, for each counts towards a ban."""
    (spool.root / "discord-channels.json").write_text("{}")
    env = led_to(emulator, DISCORD_BOT_TOKEN="not.the.one")
    ended = await asyncio.to_thread(ran, "run", cwd=tmp_path, env=env)
    assert 1 == ended.code
    assert ended.err.splitlines()[-1].startswith("spoolbridge: Discord refuses the token (401)")
    assert "not.the.one" not in ended.err
    assert 1 == len(emulator.requests())


@pytest.mark.parametrize("place", ["nowhere/bridge.log", "file/bridge.log"])
def test_run_with_a_log_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    """A wrong path is what a person mends, not a bug to report."""
    (tmp_path / "file").touch()
    ended = ran("run", "--log", place, cwd=tmp_path, env={"DISCORD_BOT_TOKEN": "x"})
    refused(ended, f"the log {place} cannot be written to", "make its directory")


def test_run_without_a_token(tmp_path: Path) -> None:
    sentence = "no bot token; spoolbridge init asks for it; without one: spoolbridge demo"
    refused(ran("run", cwd=tmp_path), sentence)
    assert {} == tree(tmp_path)


def test_emulate_leads_a_bridge_to_itself(tmp_path: Path) -> None:
    """The lines that it prints, copied into a shell, make a bridge that serves its guild."""
    arguments = ["--port", "0", "--channel", "mayor-a", "--channel", "mayor-b"]
    with Running("emulate", *arguments, cwd=tmp_path) as emulate:
        emulate.prints("Ctrl-C ends it.\n")
        lines = [line.strip() for line in emulate.out.splitlines() if line.startswith("  ")]
        script = "\n".join(lines).replace("spoolbridge run", "spoolbridge run --once")
        env = environment({"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"})
        subprocess.run(
            ["sh", "-ec", script], cwd=tmp_path, env=env, check=True, timeout=60, capture_output=True
        )
        file = tmp_path / "spool" / "discord-channels.json"
        assert ["mayor-a", "mayor-b"] == list(json.loads(file.read_text()))
        assert ["mayor-a", "mayor-b"] == sorted(os.listdir(tmp_path / "spool/incoming"))
        assert 0 == emulate.end()
        assert "" == emulate.err


def test_mcp_ends_with_its_client(file: Path, tmp_path: Path) -> None:
    """It speaks JSON-RPC on stdout and nothing else there, without a token; its end is the pipe's."""
    about = {"clientInfo": {"name": "test", "version": "0"}, "capabilities": {}}
    asks = {"protocolVersion": "2025-11-25", **about}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": asks})
    process = subprocess.Popen(
        [PROGRAM, "mcp"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert "spoolbridge" == answer["result"]["serverInfo"]["name"]
    rest, errors = process.communicate(timeout=30)
    assert (0, b"") == (process.returncode, rest)
    assert b"Traceback" not in errors


def here(spool: Spool) -> dict[str, str]:
    return {"SPOOLBRIDGE_SPOOL": str(spool.root)}


class TestPrune:
    """`spoolbridge prune`, by hand."""

    def put(self, spool: Spool) -> tuple[str, str]:
        """Two entries that were sent, and how old the older one's day is."""
        paths = []
        for day in ("2020-01-01", "2020-01-02"):
            place = spool.root / "sent" / "ops" / day
            place.mkdir(parents=True)
            path = place / f"{day.replace('-', '')}T000000.000000Z-00000000.note"
            path.write_bytes(bytes(1 << 20))
            paths.append(str(path.relative_to(spool.root)))
        return paths[0], paths[1]

    def test_a_dry_run(self, spool: Spool) -> None:
        """What would go, by kind, or each path; nothing goes."""
        paths = self.put(spool)
        ended = said("prune", "--dry-run", "--verbose", env=here(spool))
        lines = ended.out.splitlines()
        assert (0, list(paths)) == (ended.code, lines[:2])
        assert "this would go now; nothing was removed" == lines[-1]
        assert ["sent", "2", "2.0", "MiB"] == lines[2].split()
        assert all((spool.root / each).exists() for each in paths)

    def test_for_programs(self, spool: Spool) -> None:
        """The same as JSON; and then it is done."""
        paths = self.put(spool)
        for dry_run in (True, False):
            more = ["--dry-run"] if dry_run else []
            told = json.loads(said("prune", "--json", "-v", *more, env=here(spool)).out)
            kinds = {kind: each["count"] for kind, each in told["kinds"].items() if each["count"]}
            assert (dry_run, {"sent": 2}, list(paths), []) == (
                told["dry_run"], kinds, told["paths"], told["troubles"]
            )  # fmt: skip
        assert {} == tree(spool.root, "sent")

    def test_what_cannot_be_removed(self, spool: Spool) -> None:
        """Is told on stderr, with exit code 1; the rest goes."""
        first, second = self.put(spool)
        real = os.unlink

        def unlink(name: str, *, dir_fd: int | None = None) -> None:
            if name == Path(first).name:
                raise PermissionError(1, "Operation not permitted")
            real(name, dir_fd=dir_fd)

        with patch.object(os, "unlink", unlink):
            ended = said("prune", env=here(spool))
        assert (1, f"spoolbridge: {first} cannot be removed: Operation not permitted\n") == (
            ended.code, ended.err
        )  # fmt: skip
        assert (True, False) == ((spool.root / first).exists(), (spool.root / second).exists())

    def test_settings_that_contradict_each_other(self, spool: Spool) -> None:
        """Nothing is removed by half of them."""
        paths = self.put(spool)
        more = {"SPOOLBRIDGE_KEEP_FAILED": "500d"}
        refused(said("prune", env={**here(spool), **more}), "for as long as what failed")
        assert all((spool.root / each).exists() for each in paths)
