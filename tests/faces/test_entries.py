"""What an operator does with entries: `failed`, `pause` and `resume`, and the service that notices."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from spoolbridge import atomic, failures, holds, identity
from spoolbridge.claim import Claim
from spoolbridge.errors import SpoolError
from spoolbridge.failures import DROPPED, Failure
from spoolbridge.spool import Spool
from tests.support.live import living
from tests.support.programs import Ended, ran, refused, said
from tests.support.tree import contents, tree
from tests.support.waiting import until

CHANNELS = """{
    "vgt": "1467106918538678300",
    "villacalculatecost3": {"mayor-villa": "1467106918538678293", "ops": "1467106918538678301"},
    "farm": {"ops": "1467106918538678302"}
}"""
ENTRY = "20261122T055501.123456Z-k3f9q2x7"
NOBODY = 65534


@pytest.fixture
def file(spool: Spool) -> Path:
    """The channels file of ./spool, which is the spool where no setting names another."""
    path = spool.root / "discord-channels.json"
    path.write_text(CHANNELS)
    return path


@contextmanager
def as_nobody() -> Iterator[None]:
    """What follows is done by a user who owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def dropped(spool: Spool, channel: str = "mayor-villa") -> list[bytes]:
    """What waits in a channel's drop box."""
    return list(contents(spool.root / "outgoing" / channel).values())


# --- failed: list, show, retry ------------------------------------------------------------------------


def fail(spool: Spool, name: str = "note", channel: str = "mayor-villa", *, entry: str = "") -> Path:
    """An entry that Discord has refused."""
    made = identity.file_name(entry, name) if entry else spool.drop(channel, b"text", name=name).name
    box, sending = spool.root / "outgoing" / channel, spool.root / "sending" / channel
    box.mkdir(exist_ok=True)
    sending.mkdir(exist_ok=True)
    if entry:
        (box / made).write_text("text")
    (box / made).rename(sending / made)
    claim = Claim(spool.root, spool.fd, channel, made)
    return spool.root / claim.failed("50006: the message is empty", hint="write something")


def test_failed_list(file: Path, spool: Spool) -> None:
    """Every entry with its reason, oldest first in each channel; of one channel, or of all."""
    first, second, other = fail(spool, "one"), fail(spool, "two"), fail(spool, "three", "vgt")
    paths = (first, second, other)
    lines = [f"{path.parent.name}/{path.name}  50006: the message is empty" for path in paths]
    assert Ended(0, "\n".join(lines) + "\n", "") == said("failed", "list")
    assert Ended(0, lines[2] + "\n", "") == said("failed", "list", "#vgt")
    assert Ended(0, "", "nothing has failed that fits\n") == said("failed", "list", "farm.ops")
    refused(said("failed", "list", "nowhere"), "no channel 'nowhere'")


@pytest.mark.parametrize("way", ["id", "name", "path", "why", "listed", "beginning"])
def test_failed_show(file: Path, spool: Spool, way: str) -> None:
    """By whatever a person has at hand: its file, the reason, and the command that retries."""
    path = fail(spool)
    entry_id = path.name[: -len(".note")]
    reference = {
        "id": entry_id, "name": path.name, "path": str(path), "why": f"{path}.why",
        "listed": f"mayor-villa/{path.name}", "beginning": entry_id[:12],
    }[way]  # fmt: skip
    ended = said("failed", "show", reference)
    assert (0, "") == (ended.code, ended.err)
    shown, reason, hint, retry, *said_in_it = ended.out.splitlines()
    assert ["", "  text"] == said_in_it
    assert (str(path), "What to do: write something") == (shown, hint)
    assert reason.endswith("Z  50006: the message is empty")
    subprocess.run(["sh", "-c", retry.removeprefix("Retry: ")], check=True, timeout=10)
    assert [b"text"] == dropped(spool)


def test_failed_show_of_none_and_of_several(file: Path, spool: Spool) -> None:
    path = fail(spool)
    fail(spool)
    refused(said("failed", "show", path.name[:6]), "2 failed entries begin with", "give more of the name")
    refused(said("failed", "show", "nothing"), "no failed entry 'nothing'", "spoolbridge failed list")
    refused(said("failed", "show", ""), "no failed entry ''")


def test_what_failed_is_found_by_the_name_that_it_was_given(file: Path, spool: Spool) -> None:
    """Who dropped `deploy note` does not know what it is called in failed/; two of a name are not guessed."""
    path = fail(spool, "deploy note")
    assert f"{path}\n" == said("failed", "show", "deploy note").out.splitlines(keepends=True)[0]
    newer = fail(spool, "deploy note")
    refused(said("failed", "drop", "deploy note", "--yes"), "2 failed entries are called", newer.name)
    assert path.exists() and newer.exists()


def test_what_the_list_shows_can_be_said(file: Path, spool: Spool) -> None:
    """What was dropped without a channel is listed so that `show` takes it, and not for an option."""
    stray = fail(spool).rename(spool.root / "failed" / f"{ENTRY}.stray")
    listed = said("failed", "list").out.partition("  ")[0]
    assert f"{stray}\n" == said("failed", "show", listed).out.splitlines(keepends=True)[0]


def test_where_nothing_failed_it_is_said(file: Path, spool: Spool) -> None:
    """A list or a selection of nothing does not end in silence, and gives programs not a byte."""
    for arguments in (["list"], ["retry", "--all"], ["drop", "--all"]):
        assert Ended(0, "", "nothing has failed that fits\n") == said("failed", *arguments)
    assert Ended(0, "", "") == said("failed", "list", "--json")


def test_failed_retry(file: Path, spool: Spool) -> None:
    """Back to their own boxes under their IDs; what is not named stays."""
    first, second, third = fail(spool, "one"), fail(spool, "two", "vgt"), fail(spool, "three")
    ended = said("failed", "retry", first.name, f"vgt/{second.name}")
    back = {"outgoing/mayor-villa": [first.name], "outgoing/vgt": [second.name]}
    assert (0, "") == (ended.code, ended.err)
    told = [f"{spool.root / box / name} waits to be sent" for box, [name] in back.items()]
    assert told == ended.out.splitlines()
    assert back == tree(spool.root, "outgoing")
    assert third.exists()
    refused(said("failed", "retry", first.name), "no failed entry")


def test_failed_retry_of_all(file: Path, spool: Spool) -> None:
    """But for what was dropped without a channel: that has nowhere to go until somebody says where."""
    fail(spool)
    fail(spool, channel="vgt")
    stray = fail(spool).rename(spool.root / "failed" / "20261122T055501.123456Z-k3f9q2x7.stray")
    assert 2 == len(said("failed", "retry", "--all").out.splitlines())
    alone = said("failed", "retry", stray.name)
    refused(alone, "was dropped without a channel; say --to CHANNEL")
    ended = said("failed", "retry", "--all", "--to", "#vgt")
    assert f"{spool.root}/outgoing/vgt/{stray.name} waits to be sent\n" == ended.out
    assert Ended(0, "", "nothing has failed that fits\n") == said("failed", "retry", "--all")


def test_failed_retry_elsewhere(file: Path, spool: Spool) -> None:
    """Into a channel that the file knows, never into a directory of somebody's typing."""
    path = fail(spool)
    wrongs = {"../../elsewhere": "no channel", "ops": "farm.ops", "mayor-vila": "mayor-villa"}
    for wrong, says in wrongs.items():
        refused(said("failed", "retry", path.name, "--to", wrong), says)
    assert path.exists()
    assert 0 == said("failed", "retry", path.name, "--to", "farm.ops").code
    assert {"outgoing/farm.ops": [path.name]} == tree(spool.root, "outgoing")


def test_failed_retry_replaces_nothing(file: Path, spool: Spool) -> None:
    """Where an entry of that name waits already, the failed one stays failed."""
    path = fail(spool)
    (spool.root / "outgoing" / "mayor-villa" / path.name).write_text("another")
    refused(said("failed", "retry", path.name), f"outgoing/mayor-villa holds {path.name} already")
    assert ([b"another"], b"text") == (dropped(spool), path.read_bytes())


def test_an_id_that_failed_in_two_channels(file: Path, spool: Spool) -> None:
    """The channel tells them apart, as `failed list` writes it."""
    entry = "20261122T055501.123456Z-k3f9q2x7"
    fail(spool, entry=entry)
    fail(spool, channel="vgt", entry=entry)
    refused(said("failed", "show", entry), "2 failed entries")
    assert f"{spool.root}/failed/vgt/" in said("failed", "show", f"vgt/{entry}").out
    path = f"{spool.root}/failed/vgt/{entry}.note"
    assert f"{spool.root}/outgoing/vgt/" in said("failed", "retry", path).out


# --- which of them -----------------------------------------------------------------------------------


def fail_for(spool: Spool, reason: str, channel: str = "mayor-villa", *, hours: float = 0.0) -> Path:
    """An entry that failed for this reason, so many hours ago."""
    made = spool.drop(channel, b"text")
    (spool.root / "sending" / channel).mkdir(exist_ok=True)
    made.path.rename(spool.root / "sending" / channel / made.name)
    then = time.time() - hours * 3600
    return spool.root / Claim(spool.root, spool.fd, channel, made.name, clock=lambda: then).failed(reason)


@pytest.mark.parametrize(
    ("arguments", "takes"),
    [
        (["--all"], "abcd"),
        (["--channel", "vgt"], "cd"),
        (["--reason", "NO channel"], "ac"),
        (["--since", "90m"], "ab"),
        (["--since", "90m", "--reason", "full"], "b"),
        (["--channel", "vgt", "--reason", "no channel"], "c"),
        (["--channel", "#farm.ops"], ""),
    ],
)
@pytest.mark.parametrize("verb", ["retry", "drop", "list"])
def test_all_that_fit(file: Path, spool: Spool, verb: str, arguments: list[str], takes: str) -> None:
    """A channel, words of the reason in any case, a time: what fits all of them, in each command alike."""
    made = {
        "a": fail_for(spool, "no channel of that name"), "b": fail_for(spool, "the disk is full"),
        "c": fail_for(spool, "no channel of that name", "vgt", hours=2),
        "d": fail_for(spool, "the disk is full", "vgt", hours=2),
    }  # fmt: skip
    if verb == "list":
        words = [each for each in arguments if each != "--all"]
        ended = said("failed", "list", *[each for each in words if each != "--channel"])
        assert takes == "".join(key for key, path in made.items() if path.name in ended.out)
        return
    ended = said("failed", verb, *arguments, *(["--yes"] if verb == "drop" else []))
    none = "" if takes else "nothing has failed that fits\n"
    assert (0, none, len(takes)) == (ended.code, ended.err, len(ended.out.splitlines()))
    assert takes == "".join(key for key, path in made.items() if not path.exists())
    assert (len(takes) if verb == "retry" else 0) == sum(map(len, tree(spool.root, "outgoing").values()))


def test_failed_list_for_programs(file: Path, spool: Spool) -> None:
    """An object a line, with what the reason says, in parts; null where it says nothing."""
    path = fail(spool)
    bare = fail(spool)
    bare.with_name(f"{bare.name}.why").unlink()
    first, second = map(json.loads, said("failed", "list", "--json").out.splitlines())
    assert abs(first.pop("at") - time.time()) < 5
    assert {
        "id": path.name[:32], "channel": "mayor-villa", "file": str(path),
        "reason": "50006: the message is empty", "todo": "write something",
        "retry": f"mv {path} {spool.root}/outgoing/mayor-villa/",
    } == first  # fmt: skip
    assert (None, "", None, None) == tuple(second[each] for each in ("at", "reason", "todo", "retry"))


# --- show --------------------------------------------------------------------------------------------


def shown(path: Path) -> list[str]:
    """What `failed show` says behind the reason."""
    ended = said("failed", "show", path.name)
    assert (0, "") == (ended.code, ended.err)
    return [line.removeprefix("  ") for line in ended.out.partition("\n\n")[2].splitlines()]


def test_show_is_harmless_to_a_terminal(file: Path, spool: Spool) -> None:
    """Text is data: no escape of it reaches the terminal, no secret of it the screen."""
    path = fail(spool)
    secret = f"ghp_{'aB3cD4' * 6}"
    path.write_bytes(f"\x1b[2Jgone\x07\u202eabc\n{secret}\nlast".encode())
    assert ["[2Jgone abc", "ghp_…", "last"] == [line.strip() for line in shown(path)]


def test_names_and_reasons_are_harmless_to_a_terminal(file: Path, spool: Spool) -> None:
    """Channels are directories that anybody may make, and a reason is a file that the group may write."""
    escape = "\x1b]0;x\x07\x1b[2J\u202e"
    path = spool.root / "failed" / f"c{escape}" / f"{ENTRY}.na{escape}me"
    path.parent.mkdir()
    path.write_text("text")
    reason = f"2026-11-22T05:55:02Z  why{escape}\nRetry: {escape}"
    (path.parent / f"{path.name}{identity.WHY}").write_text(reason)
    (spool.root / "failed" / DROPPED).write_text(
        json.dumps({"at": 1.0, "id": f"{ENTRY[:-1]}8", "channel": escape, "by": escape})
    )
    for words in (
        ["failed", "list"], ["failed", "show", ENTRY], ["log", ENTRY], ["log", f"{ENTRY[:-1]}8"],
        ["failed", "retry", ENTRY], ["failed", "retry", ENTRY], ["failed", "drop", f"{ENTRY}\x1b", "--yes"],
    ):  # fmt: skip
        ended = said(*words)
        text = f"{ended.out}{ended.err}".replace("\n", "")
        assert (True, True) == (text.isprintable(), bool(text)), words


@pytest.mark.parametrize("line", ["[" * 100_000, '{"at": NaN}', '{"at": 1e300}', "[]", "{}", '"x'])
def test_a_list_of_what_was_dropped_that_others_wrote(spool: Spool, line: str) -> None:
    """Whatever stands in it, the lines that can be told are, and it is no bug."""
    good = {"at": time.time(), "id": ENTRY, "channel": "vgt", "by": "nic"}
    wrong = line.replace("}", ', "id": "x", "channel": "vgt", "by": "x"}') if "at" in line else line
    (spool.root / "failed" / DROPPED).write_text(f"{wrong}\n{json.dumps(good)}\n")
    ended = said("log", "--since", "1h")
    assert (0, "", 1) == (ended.code, ended.err, ended.out.count("removed for good by nic"))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "link"])
def test_a_list_of_what_was_dropped_that_is_no_file(
    file: Path, spool: Spool, make: Callable[[Path], None]
) -> None:
    """Nobody waits at a pipe that somebody put in its place, with every operator's lock in his hand."""
    make(spool.root / "failed" / DROPPED)
    path = fail(spool)
    assert 0 == said("log").code
    assert 0 == said("failed", "drop", path.name, "--yes").code
    assert not path.exists()


def test_show_of_much(file: Path, spool: Spool) -> None:
    """The beginning, and how much there is."""
    path = fail(spool)
    path.write_text("a line\n" * 1000)
    lines = shown(path)
    assert [*["a line"] * 20, "(… 7000 bytes in all)"] == lines
    path.write_bytes(b"\x89PNG\0")
    assert ["(5 bytes that are not text)"] == shown(path)


def test_show_of_a_bundle(file: Path, spool: Spool) -> None:
    """Its text and its files by name and size; a link in it is named and not followed."""
    (spool.root / "secret").write_text("canary")
    made = spool.drop("mayor-villa", b"see", files={"a.png": b"12345"})
    bundle = spool.root / "failed" / "mayor-villa" / made.name
    bundle.parent.mkdir()
    made.path.rename(bundle)
    (bundle / "files" / "link").symlink_to(spool.root / "secret")
    size = len(str(spool.root / "secret"))
    assert ["see", "+ a.png (5 bytes)", f"+ link ({size} bytes)"] == shown(bundle)


def test_show_of_what_is_no_file(file: Path, spool: Spool) -> None:
    """A link is not followed, a FIFO not waited for, and a reason that is a link is none."""
    (spool.root / "secret").write_text("2026-11-22T00:00:00Z  canary")
    link, pipe = fail(spool, "link"), fail(spool, "pipe")
    for path in (link, pipe):
        path.unlink()
        path.with_name(f"{path.name}.why").unlink()
    link.symlink_to(spool.root / "secret")
    link.with_name(f"{link.name}.why").symlink_to(spool.root / "secret")
    os.mkfifo(pipe)
    assert ["(it cannot be read: Too many levels of symbolic links)"] == shown(link)
    assert "canary" not in said("failed", "list").out
    assert ["(not a regular file)"] == shown(pipe)


# --- drop --------------------------------------------------------------------------------------------


def lines_of(spool: Spool) -> list[dict[str, object]]:
    path = spool.root / "failed" / DROPPED
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_drop_removes_the_entry_and_its_reason(file: Path, spool: Spool) -> None:
    """What is not named stays; a line keeps what was dropped, why it had failed, and who did it."""
    path, other = fail(spool, "one"), fail(spool, "two")
    assert Ended(0, f"mayor-villa/{path.name} is dropped\n", "") == said("failed", "drop", path.name, "--yes")
    kept = [other.name, f"{other.name}.why"]
    assert {"failed": [DROPPED], "failed/mayor-villa": kept} == tree(spool.root, "failed", "tmp")
    [line] = lines_of(spool)
    assert abs(float(str(line.pop("at"))) - time.time()) < 5
    assert str(line.pop("by")).endswith(f"uid {os.getuid()})")
    assert {
        "kind": "dropped", "id": path.name[:32], "channel": "mayor-villa", "name": path.name,
        "reason": "50006: the message is empty",
    } == line  # fmt: skip
    refused(said("failed", "drop", path.name, "--yes"), "no failed entry")


def test_drop_asks(file: Path, spool: Spool, tmp_path: Path) -> None:
    """Without somebody to ask, nothing is removed."""
    path = fail(spool)
    ended = said("failed", "drop", path.name)
    assert (2, "") == (ended.code, ended.out)
    assert "nobody is there to ask; say --yes" in ended.err
    for answer, gone in (("n", False), ("y", True)):
        with patch("spoolbridge.cli.plain.is_piped", return_value=False):
            ended = said("failed", "drop", "--all", stdin=f"{answer}\n")
        assert f"mayor-villa/{path.name}  50006: the message is empty" in ended.out
        assert "Remove 1 for good? [y/N]" in ended.out
        assert gone is not path.exists()
    assert Ended(0, "", "nothing has failed that fits\n") == said("failed", "drop", "--all", "--yes")


def test_drop_of_a_bundle_follows_no_link(file: Path, spool: Spool, tmp_path: Path) -> None:
    """What a link in it leads to stays, and so does what a link that is the entry itself leads to."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("kept")
    box = spool.root / "failed" / "vgt"
    (box / f"{ENTRY}.x.msg" / "files").mkdir(parents=True)
    (box / f"{ENTRY}.x.msg" / "files" / "link").symlink_to(tmp_path / "mine")
    (box / f"{ENTRY}.x.msg" / "body").symlink_to(tmp_path / "mine" / "kept")
    (box / f"{ENTRY}.y.msg").symlink_to(tmp_path / "mine")
    assert 0 == said("failed", "drop", "--all", "--yes").code
    assert ["kept"] == os.listdir(tmp_path / "mine")
    assert {"failed": [DROPPED]} == tree(spool.root, "failed", "tmp")


def test_a_drop_that_dies_half_way_has_dropped(file: Path, spool: Spool) -> None:
    """From its one rename on the entry is in no state: nothing half is left that could be sent."""
    path = fail(spool)
    with patch("os.unlink", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        failures.drop(spool, failures.find(spool, path.name))
    assert [] == list(failures.failures(spool))
    assert not path.exists()
    assert spool.find(path.name[:32]) is None
    assert 1 == len(os.listdir(spool.root / "tmp"))  # the daily sweep's


def test_what_belongs_to_others_stays(file: Path, spool: Spool) -> None:
    """One sentence with whose it is and what to do, and nothing has moved."""
    path = fail(spool)
    found = failures.find(spool, path.name)
    for place in (spool.root, spool.root / "failed", spool.root / "failed" / "mayor-villa"):
        place.chmod(0o755)
    acts = (lambda: failures.retry(spool, found), lambda: failures.drop(spool, found))
    for act in acts:
        with as_nobody(), pytest.raises(SpoolError) as told:
            act()
        assert f"{path.name} may not be moved (Permission denied); it belongs to root (uid 0)" == (
            told.value.what
        )
        assert "do it as that user, or join the spool's group" == told.value.hint
    assert path.exists()


# --- two at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbs", [("retry", "retry"), ("drop", "drop"), ("retry", "drop")])
def test_two_want_the_same(file: Path, spool: Spool, tmp_path: Path, verbs: tuple[str, str]) -> None:
    """Of two processes one has it, and the other is told in a sentence; nothing is lost or there twice."""
    for _ in range(3):
        path = fail(spool)
        options = {"retry": [], "drop": ["--yes"]}
        with ThreadPoolExecutor() as pool:
            runs = [
                pool.submit(ran, "failed", verb, path.name, *options[verb], cwd=tmp_path) for verb in verbs
            ]
        ended = [run.result() for run in runs]
        assert [0, 1] == sorted(each.code for each in ended)
        [winner] = [verb for verb, each in zip(verbs, ended, strict=True) if each.code == 0]
        refused(next(each for each in ended if each.code == 1), path.name)
        waits = [name for names in tree(spool.root, "outgoing").values() for name in names]
        assert ([path.name] if winner == "retry" else []) == waits
        for name in waits:
            (spool.root / "outgoing" / "mayor-villa" / name).unlink()
        assert not path.exists()


def test_two_of_one_name_into_one_channel(file: Path, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ID that failed in two channels is retried into a third by two operators: each would look whether the
    name is taken before the other has moved, and the second must not replace the first."""
    paths = [fail(spool, channel=channel, entry=ENTRY) for channel in ("vgt", "mayor-villa")]
    found = [failures.find(spool, str(path)) for path in paths]
    both_have_looked = threading.Barrier(2, timeout=0.5)
    exists = atomic.exists

    def looking(name: str, *, at: int) -> bool:
        answer = exists(name, at=at)
        with suppress(threading.BrokenBarrierError):  # the other one waits for its turn
            both_have_looked.wait()
        return answer

    def act(failure: Failure) -> str:
        try:
            return str(failures.retry(spool, failure, to="farm.ops"))
        except SpoolError as error:
            return error.what

    monkeypatch.setattr(atomic, "exists", looking)
    with ThreadPoolExecutor(2) as pool:
        told = sorted(pool.map(act, found))
    box, name = spool.root / "outgoing" / "farm.ops", f"{ENTRY}.note"
    assert [str(box / name), f"outgoing/farm.ops holds {name} already"] == told
    assert ([name], 1) == (os.listdir(box), sum(path.exists() for path in paths))


def test_one_that_cannot_stops_no_other(file: Path, spool: Spool) -> None:
    """Each that went is told on stdout, each that did not on stderr, and the end is 1."""
    first, second = fail(spool, "one"), fail(spool, "two")
    (spool.root / "outgoing" / "mayor-villa" / first.name).write_text("another")
    ended = said("failed", "retry", "--all")
    told = f"{spool.root}/outgoing/mayor-villa/{second.name} waits to be sent\n"
    assert (1, told) == (ended.code, ended.out)
    assert f"spoolbridge: outgoing/mayor-villa holds {first.name} already\n" == ended.err


# --- pause, resume -----------------------------------------------------------------------------------


def test_pause_and_resume_of_a_channel(file: Path, spool: Spool) -> None:
    """Each says what it did and what waits; twice is once."""
    for _ in range(3):
        spool.drop("mayor-villa", b"text")
    spool.drop("vgt", b"text")
    go_on = "to go on: spoolbridge resume mayor-villa"
    assert Ended(0, f"mayor-villa is on hold; 3 wait; {go_on}\n", "") == said("pause", "#mayor-villa")
    again = said("pause", "mayor-villa")
    assert f"mayor-villa is on hold already; 3 wait; {go_on}\n" == again.out
    box = spool.root / "outgoing" / "mayor-villa"
    assert (0, [".hold"]) == (again.code, [name for name in os.listdir(box) if name.startswith(".")])
    assert Ended(0, "mayor-villa goes on; 3 wait\n", "") == said("resume", "mayor-villa")
    assert Ended(0, "mayor-villa was not on hold; 3 wait\n", "") == said("resume", "mayor-villa")
    assert [] == holds.held(spool)


def test_pause_and_resume_of_everything(file: Path, spool: Spool) -> None:
    """A channel's own hold is another one, and whoever lets one go on hears of the other."""
    spool.drop("mayor-villa", b"text")
    on_hold = "everything is on hold; 1 waits; to go on: spoolbridge resume\n"
    assert Ended(0, on_hold, "") == said("pause")
    both = said("pause", "vgt", "farm.ops")
    assert ["vgt is on hold; nothing waits", "farm.ops is on hold; nothing waits"] == [
        line.rpartition(";")[0] for line in both.out.splitlines()
    ]
    still = "vgt goes on; nothing waits; but everything is on hold; to go on: spoolbridge resume\n"
    assert Ended(0, still, "") == said("resume", "vgt")
    assert Ended(0, "everything goes on; 1 waits; on hold by themselves: farm.ops\n", "") == said("resume")
    assert Ended(0, "everything was not on hold; 1 waits; on hold by themselves: farm.ops\n", "") == said(
        "resume"
    )


def test_pause_of_what_is_not_there(file: Path, spool: Spool) -> None:
    """A typing error holds nothing, not even the channels before it, and makes no directory."""
    refused(said("pause", "vgt", "mayor-vila"), "mayor-villa")
    refused(said("pause", "../../elsewhere"), "no channel")
    assert [] == holds.held(spool)
    refused(said("resume", "farm.ops"), "there is no outgoing/farm.ops/")
    (spool.root / "outgoing" / ".hold").mkdir()
    refused(said("resume"), "outgoing/.hold is a directory; remove it by hand")


def test_a_hold_that_is_not_ours_to_make(file: Path, spool: Spool) -> None:
    """One sentence with what to do."""
    holds.pause(spool, "vgt")
    for place in (spool.root, spool.root / "outgoing", spool.root / "outgoing" / "vgt"):
        place.chmod(0o755)
    acts: list[Callable[[], bool]] = [lambda: holds.pause(spool), lambda: holds.resume(spool, "vgt")]
    for act in acts:
        with as_nobody(), pytest.raises(SpoolError) as told:
            act()
        assert "may not be written to (Permission denied)" in told.value.what
        assert "join the group that owns it" == told.value.hint
    assert ["vgt"] == holds.held(spool)


@pytest.mark.parametrize("channel", ["mayor-villa", ""])
async def test_the_service_notices_at_once(tmp_path: Path, channel: str) -> None:
    """Held, nothing goes out; let go, all that waited goes in order, without waiting for the next scan."""
    async with living(tmp_path / "spool", "mayor-villa", rescan=600.0) as live:
        assert holds.pause(live.spool, channel)
        for text in ("one", "two"):
            live.spool.drop("mayor-villa", text.encode())
        # Two rings for the hold (made, closed) and one for each drop: none is left that could come later.
        told = live.dispatcher._clerk.times_told
        await until(lambda: told("mayor-villa") == 4 and not live.dispatcher._wake.is_set())
        assert ({"mayor-villa"}, []) == (set(live.intake.look().held), live.texts("mayor-villa"))
        assert holds.resume(live.spool, channel)
        await live.posted("mayor-villa", "one", "two")


# --- log ---------------------------------------------------------------------------------------------


def test_log_of_an_entry(file: Path, spool: Spool) -> None:
    """A line a thing that happened, with its local time, and where it lies now; for programs an object."""
    path = fail_for(spool, "the disk is full")
    head, written, failed, now = said("log", path.name).out.splitlines()
    assert f"{path.name} in mayor-villa" == head
    form = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    assert re.fullmatch(f"{form}written", written)
    assert re.fullmatch(f"{form}failed: the disk is full", failed)
    assert f"now                  in failed/mayor-villa/{path.name}" == now
    objects = [json.loads(line) for line in said("log", path.name, "--json").out.splitlines()]
    assert ["written", "failed", "now"] == [each["kind"] for each in objects]
    assert {"id", "at", "channel", "kind", "what", "reason", "file"} == objects[1].keys()


def test_log_lately(file: Path, spool: Spool) -> None:
    """Each line names its channel and its ID; as far back as is asked for, in the channel that is."""
    new, old = fail_for(spool, "new"), fail_for(spool, "old", "vgt", hours=3)
    lately = said("log").out.splitlines()
    assert [f"mayor-villa/{new.name}  failed: new"] == [line[21:] for line in lately]
    assert 2 == len(said("log", "--since", "4h").out.splitlines())
    of_one = said("log", "--since", "4h", "--channel", "vgt").out.splitlines()
    assert [f"vgt/{old.name}  failed: old"] == [line[21:] for line in of_one]
    refused(said("log", "--channel", "nowhere"), "no channel 'nowhere'")
    refused(said("log", "nothing"), "nothing is known of 'nothing'; give an ID")


def test_log_without_a_channels_file(spool: Spool) -> None:
    """What happened is told all the same."""
    path = fail_for(spool, "new")
    assert "failed: new" in said("log", path.name).out
