"""The service as it is installed and started: one real process, its signals, its lock, its exit codes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import doctor, prune, service, status
from spoolbridge.doctor.service import runs
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SettingsError, TokenRefusedError
from spoolbridge.parts import Parts
from spoolbridge.poller import Poller
from spoolbridge.retention import Keep, Retention
from spoolbridge.settings import Settings
from spoolbridge.spool import Entry, Spool
from tests.support.fake_gt import FakeGt
from tests.support.programs import ENDS_WITHIN, PATIENCE, Running
from tests.support.standing import looked
from tests.support.tree import tree
from tests.support.waiting import until

MESSAGES = "/channels/{channel}/messages"
POLL = 0.1  # seconds; an emulator may be asked that often
DROP_TO_WIRE, ECHO_TO_WIRE = 0.050, 0.400  # seconds, what is promised of the median on a quiet machine
NOISE = 3.0  # how much slower a shared one may be
VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16
SEND_MESSAGES = 1 << 11
TOKEN = "MTU3Mzg1MDUwMDMwMDgwMDAwMA.Gabcde.not-a-real-token"


class Town:
    """An imaginary guild in this process, a spool, and services started on it."""

    def __init__(self, emulator: Emulator, root: Path) -> None:
        self.emulator, self.root = emulator, root
        self.names = ["general", "mayor-villa"]
        self.spool = Spool.create(root / "spool")
        self.write_channels()

    def write_channels(self) -> None:
        """Put every channel of the guild that has one of our names into the file."""
        ids = {name: str(self.emulator.guild.channel(name).id) for name in self.names}
        (self.spool.root / "discord-channels.json").write_text(json.dumps(ids))

    @property
    def env(self) -> dict[str, str]:
        return {
            "SPOOLBRIDGE_API_URL": self.emulator.api_url,
            "DISCORD_BOT_TOKEN": self.emulator.token,
            "SPOOLBRIDGE_SPOOL": str(self.spool.root),
            "SPOOLBRIDGE_POLL_INTERVAL": str(POLL),
        }

    @asynccontextmanager
    async def serving(self, *options: str, ready: bool = True, **env: str) -> AsyncIterator[Service]:
        """`spoolbridge run`, once it has polled for the first time; killed where it outlives the block."""
        with Service("run", *options, cwd=self.root, env=self.env | env) as running:
            if ready:
                before = len(self.emulator.requests())
                await running.says("logged in as")
                await until(lambda: self.polled(before), PATIENCE)
            yield running

    def polled(self, before: int = 0) -> bool:
        """Whether the first cycle is over, which looks at every channel: a second one asks again."""
        asked = [seen.route for seen in self.emulator.requests()[before:] if seen.status == 200]
        return asked.count("/guilds/{guild}/threads/active") >= 2

    def echo(self, text: str, channel: str = "general", name: str = "note") -> None:
        box = self.spool.root / "outgoing" / channel
        subprocess.run(["sh", "-c", 'echo "$1" > "$0"', box / name, text], check=True, timeout=10)

    def texts(self, channel: str = "general") -> list[str]:
        own = str(self.emulator.guild.bot.id)
        found = self.emulator.messages(channel)
        return [message["content"] for message in found if message["author"]["id"] == own]

    def posts(self) -> int:
        return len(self.post_times())

    def post_times(self) -> list[float]:
        """When each Create Message request arrived, in unix seconds."""
        found = [each for each in self.emulator.requests() if each.method == "POST"]
        return [each.time for each in found if each.path.endswith("/messages")]

    def inbox(self) -> list[int]:
        """The ids of the inbox file's lines."""
        path = self.spool.root / "discord-inbox.jsonl"
        text = path.read_text("utf-8") if path.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines()]

    def received(self) -> list[int]:
        """The ids of the files in the Maildir."""
        new = self.spool.root / "incoming" / "mayor-villa" / "new"
        return sorted(int(path.name.split(".")[1][1:]) for path in new.glob("*.discord"))

    def state_of(self, entry: Entry) -> str:
        found = self.spool.find(entry.id)
        return found.state if found else ""


class Service(Running):
    """The process, watched without keeping the emulator's loop from its work."""

    async def says(self, text: str) -> None:
        """Wait until its log says this. Raises AssertionError where it ends without."""
        await until(lambda: text in self.err or self.process.poll() is not None, PATIENCE)
        assert text in self.err, self.err

    async def ended(self, number: int = 0) -> int:
        """Its exit code, after this signal where one is given. Raises TimeoutError where it goes on."""
        if number:
            self.process.send_signal(number)
        await until(lambda: self.process.poll() is not None, ENDS_WITHIN if number else PATIENCE)
        return self.process.wait()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with Emulator(limits=False, token=TOKEN).serve() as emulator:
        for name in ("general", "mayor-villa"):
            emulator.add_channel(name)
        made = Town(emulator, tmp_path)
        yield made
        made.spool.close()


def complaint(running: Service) -> str:
    """The one line that is not the log's. Raises AssertionError where there are more, or a traceback."""
    assert "Traceback" not in running.err
    (line,) = [line for line in running.err.splitlines() if line.startswith("spoolbridge: ")]
    assert running.err.splitlines()[-1] == line
    return line


# -- both ways -------------------------------------------------------------------------------------------


async def test_both_ways(town: Town) -> None:
    """A file becomes a message, a message becomes a file and a line; and all that is said of it is true."""
    async with town.serving() as running:
        town.echo("a secret that is no log's business")
        await town.emulator.posted("general")
        said = town.emulator.say("mayor-villa", "how is the build?")
        await until(lambda: (town.received(), town.inbox()) == ([said], [said]))
        assert ["a secret that is no log's business"] == town.texts()
        root = town.spool.root
        assert str(running.process.pid) == (root / "state" / "lock").read_text().strip()
        await until(lambda: _line(root, "general").split()[:5] == ["general", "0", "-", "0", "1"])
        facts = json.loads((root / "state" / status.FILE).read_text())
        assert (running.process.pid, str(town.emulator.guild.bot.id)) == (facts["pid"], facts["bot"]["id"])
        assert _line(root, "service").startswith(f"service   running, process {running.process.pid}, since ")
        assert 0 == await running.ended(signal.SIGTERM)
        assert _line(root, "service").startswith("service   not running")
        for path in (root / "state").rglob("*"):
            assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
        assert "secret" not in running.err + (root / "state" / "journal.jsonl").read_text()
        assert TOKEN not in running.err
        assert "Traceback" not in running.err


def _line(root: Path, word: str) -> str:
    """The line of STATUS that begins with this word."""
    path = root / "state" / status.TEXT
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return next((line for line in lines if line.startswith(word)), "")


async def test_silent_failures_are_told(town: Town) -> None:
    """What Discord answers with an empty 200 stands in STATUS at once, with the toggle to flip."""
    town.emulator.guild.message_content = False
    town.emulator.deny("mayor-villa", READ_MESSAGE_HISTORY)
    town.emulator.deny("general", VIEW_CHANNEL)
    town.emulator.add_channel("mayor-quarry")
    expected = [
        "! the Message Content intent is off: messages of humans arrive empty; switch on Message Content"
        " Intent: Developer Portal, your application, Bot",
        "! general is gone or hidden from the bot: nothing can be posted there; let the bot View Channel, or"
        " correct the id in the channels file",
        "! mayor-villa: the bot lacks Read Message History: messages fail or are not seen; channel settings,"
        " Permissions",
        "! mayor-quarry is not in the file: its humans are not heard; spoolbridge channels sync",
    ]
    async with town.serving():
        await until(lambda: expected == _findings(town.spool.root))


def _findings(root: Path) -> list[str]:
    """Those of STATUS, each of which may take several lines."""
    path = root / "state" / status.TEXT
    blocks = path.read_text("utf-8").split("\n\n") if path.exists() else []
    return [" ".join(block.split()) for block in blocks if block.startswith("! ")]


async def test_killed_in_the_middle_of_everything(town: Town) -> None:
    """kill -9 with a post under way and messages coming in: each of them once, in order."""
    town.emulator.fail(method="POST", route=MESSAGES, kind="delay", seconds=60.0)
    async with town.serving() as running:
        dropped = [town.spool.drop("general", f"number {number}".encode()) for number in range(3)]
        await town.emulator.posted("general")
        said = [town.emulator.say("mayor-villa", f"message {number}") for number in range(5)]
        await until(town.received)
        assert runs(town.spool.root)
        running.process.kill()
        await running.ended()
    # Its last word is of a moment ago; a fork that was to become gt may have the locks for an instant.
    await until(lambda: not runs(town.spool.root), seconds=2.0)
    said += [town.emulator.say("mayor-villa", f"while it was away {number}") for number in range(5)]
    async with town.serving() as running:
        await until(lambda: all(town.state_of(entry) == "sent" for entry in dropped))
        await until(lambda: len(town.inbox()) >= 10)
        await asyncio.sleep(3 * POLL)  # what would come twice would come now
        assert 0 == await running.ended(signal.SIGTERM)
    assert ["number 0", "number 1", "number 2"] == town.texts()
    assert said == town.received() == town.inbox()


async def test_how_long_it_takes(town: Town) -> None:
    """From a drop, and from an `echo`, to Discord's door: medians, with room for a shared machine."""
    async with town.serving():
        drops, echoes = [], []
        for number in range(15):
            began = time.time()
            town.spool.drop("general", f"drop {number}".encode())
            await until(lambda count=number: town.posts() > count)  # type: ignore[misc]
            drops.append(town.post_times()[-1] - began)
        for number in range(7):
            town.echo(f"echo {number}", name=f"echo {number}")
            began = time.time()
            await until(lambda count=15 + number: town.posts() > count)  # type: ignore[misc]
            echoes.append(town.post_times()[-1] - began)
    drop, echo = statistics.median(drops), statistics.median(echoes)
    print(f"\ndrop to wire {drop * 1000:.1f} ms (max {max(drops) * 1000:.1f}), "
          f"echo to wire {echo * 1000:.1f} ms (max {max(echoes) * 1000:.1f})")  # fmt: skip
    assert drop < NOISE * DROP_TO_WIRE
    assert echo < NOISE * ECHO_TO_WIRE


async def test_a_channel_that_is_added_while_it_runs(town: Town) -> None:
    """The file is read again: soon there is a drop box, and it works; a broken file changes nothing."""
    async with town.serving() as running:
        (town.spool.root / "discord-channels.json").write_text("{ not JSON")
        town.echo("still here")
        await town.emulator.posted("general")
        await until(lambda: "is not JSON" in (town.spool.root / "state" / status.TEXT).read_text())
        town.emulator.add_channel("mayor-new")
        town.names.append("mayor-new")
        town.write_channels()
        await until(lambda: (town.spool.root / "outgoing" / "mayor-new").is_dir())
        town.echo("hello", "mayor-new")
        await town.emulator.posted("mayor-new")
        assert ["hello"] == town.texts("mayor-new")
        assert 0 == await running.ended(signal.SIGINT)


async def test_the_log_in_a_file(town: Town) -> None:
    """With --log nothing is left to say on stderr."""
    async with town.serving("--log", "bridge.log", ready=False) as running:
        await until((town.spool.root / "outgoing" / "general").is_dir)
        town.echo("hello")
        await town.emulator.posted("general")
        assert 0 == await running.ended(signal.SIGTERM)
    log = (town.root / "bridge.log").read_text()
    assert "logged in as" in log
    assert " sent as " in log
    assert ("", "") == (running.out, running.err)


# -- the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_a_request_finish(town: Town, number: int) -> None:
    """What is under way is settled, what is not waits, and the exit code is 0."""
    town.emulator.fail(method="POST", route=MESSAGES, kind="delay", seconds=1.0)
    async with town.serving() as running:
        first = town.spool.drop("general", b"under way")
        await town.emulator.posted("general")
        second = town.spool.drop("general", b"behind it")
        assert 0 == await running.ended(number)
    assert ("sent", "outgoing") == (town.state_of(first), town.state_of(second))
    assert ["under way"] == town.texts()


async def test_a_signal_does_not_wait_for_ever(town: Town) -> None:
    """A request that takes too long is left, and taken up at the next start: one message."""
    town.emulator.fail(method="POST", route=MESSAGES, kind="delay", seconds=60.0)
    async with town.serving() as running:
        entry = town.spool.drop("general", b"once")
        await town.emulator.posted("general")
        assert 0 == await running.ended(signal.SIGTERM)
        assert "Traceback" not in running.err
    assert "sending" == town.state_of(entry)
    async with town.serving():
        await until(lambda: town.state_of(entry) == "sent")
    assert (["once"], 2) == (town.texts(), town.posts())


async def test_a_signal_while_discord_is_away(town: Town) -> None:
    """From the first moment on: it waits for Discord, and ends when it is told to."""
    await town.emulator.down()
    async with town.serving(ready=False) as running:
        await running.says("Discord does not answer")
        assert 0 == await running.ended(signal.SIGTERM)
        assert "Traceback" not in running.err


async def test_a_start_while_discord_is_away(town: Town) -> None:
    """It comes up when Discord does, and nothing that was dropped meanwhile is lost."""
    await town.emulator.down()
    async with town.serving(ready=False) as running:
        await running.says("Discord does not answer")
        town.echo("patient")
        await town.emulator.up()
        await town.emulator.posted("general")
    assert ["patient"] == town.texts()


# -- one service, and what it refuses --------------------------------------------------------------------


async def test_a_second_service(town: Town) -> None:
    """It says who has the spool, also where the lock's file was removed, and the first goes on."""
    async with town.serving() as first:
        async with town.serving(ready=False) as second:
            assert 1 == await second.ended()
            who = f"process {first.process.pid} is the service of {town.spool.root} already"
            assert f"spoolbridge: {who}; see: spoolbridge status" == complaint(second)
        (town.spool.root / "state" / "lock").unlink()
        async with town.serving(ready=False) as third:
            assert 1 == await third.ended()
            assert complaint(third).startswith("spoolbridge: another process is the service of ")
        town.echo("still here")
        await town.emulator.posted("general")
        first.process.kill()
        await first.ended()
    async with town.serving() as fourth:
        assert str(fourth.process.pid) == (town.spool.root / "state" / "lock").read_text().strip()
        assert 0 == await fourth.ended(signal.SIGTERM)


async def test_a_refused_token(town: Town) -> None:
    """Exit 1 in one line, asked once; also where it is refused only later."""
    async with town.serving(ready=False, DISCORD_BOT_TOKEN="wrong") as running:
        assert 1 == await running.ended()
        assert complaint(running).startswith("spoolbridge: Discord refuses the token (401); set DISCORD_BOT")
    assert [401] == [each.status for each in town.emulator.requests()]
    async with town.serving() as running:
        town.emulator.fail(method="POST", route=MESSAGES, kind="unauthorized")
        entry = town.spool.drop("general", b"once")
        assert 1 == await running.ended()
        assert complaint(running).startswith("spoolbridge: Discord refuses the token (401)")
    refused = [each for each in town.emulator.requests() if each.status == 401]
    assert (2, "sending") == (len(refused), town.state_of(entry))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        ({"env": {"DISCORD_BOT_TOKEN": ""}}, "no bot token; spoolbridge init asks for it; without one: "),
        ({"channels": None}, "no channels file at "),
        ({"format": 2}, "a newer spoolbridge (format 2) has served this spool; upgrade this one"),
    ],
    ids=["no token", "no channels file", "newer format"],
)
async def test_what_it_refuses(town: Town, make: dict[str, Any], expected: str) -> None:
    """One sentence, exit 1, and nothing else."""
    if "channels" in make:
        (town.spool.root / "discord-channels.json").unlink()
    if "format" in make:
        made = json.dumps({"format": make["format"], "first_start": 0.0})
        (town.spool.root / "state" / "format.json").write_text(made)
    async with town.serving(ready=False, **make.get("env", {})) as running:
        assert 1 == await running.ended()
        assert complaint(running).startswith(f"spoolbridge: {expected}")


async def test_a_spool_that_is_removed(town: Town) -> None:
    """Under a service that runs: it ends, and says why."""
    async with town.serving() as running:
        shutil.rmtree(town.spool.root / "outgoing")
        assert 1 == await running.ended()
        said = "outgoing/ was removed while the service ran; start it again"
        assert f"spoolbridge: {said}" == complaint(running)


async def test_receipts(town: Town) -> None:
    """People see that it was filed, and after a restart that it was read; nothing with receipts off."""

    def shown(message_id: int) -> list[str]:
        (found,) = [each for each in town.emulator.messages("mayor-villa") if each["id"] == str(message_id)]
        return [each["emoji"]["name"] for each in found.get("reactions", [])]

    async with town.serving() as running:
        said = town.emulator.say("mayor-villa", "hello")
        await until(lambda: ["👀"] == shown(said), PATIENCE)
        assert 0 == await running.ended(signal.SIGTERM)
    new = town.spool.root / "incoming" / "mayor-villa" / "new"
    subprocess.run(["sh", "-c", "mv new/* cur/"], cwd=new.parent, check=True, timeout=10)
    async with town.serving():
        await until(lambda: ["👀", "✅"] == shown(said), PATIENCE)
    async with town.serving(SPOOLBRIDGE_RECEIPTS="off"):
        said = town.emulator.say("mayor-villa", "hello")
        await until(lambda: said in town.inbox(), PATIENCE)
    assert [] == shown(said)


async def test_who_is_refused_is_told(town: Town) -> None:
    """STATUS counts them and says that receipts are not allowed; the log has the author's id once."""
    nic, ada = (town.emulator.guild.person(name).id for name in ("nic", "ada"))
    rules = f"[access.mayor-villa]\nusers = ['{nic}']\n[access.mayor-vila]\nusers = []\n"
    (town.root / "spoolbridge.toml").write_text(rules)
    town.emulator.deny("mayor-villa", 1 << 6)

    def told() -> dict[str, Any]:
        channel: dict[str, Any] = (status.read(town.spool) or {})["channels"]["mayor-villa"]
        return channel

    async with town.serving() as running:
        for author in ("ada", "ada", "nic"):
            said = town.emulator.say("mayor-villa", "xyzzy", author=author)
        await until(lambda: told().get("receipts"), PATIENCE)
        assert ([said], 2, True) == (town.inbox(), told()["refused"], "50013" in told()["receipts"])
        text = town.spool.root / "state" / "STATUS"
        await until(lambda: "2 refused; no receipts: Discord answered 403, code 50013" in text.read_text())
        assert 1 == running.err.count(f"what user {ada} writes is refused by [access]")
        assert 1 == running.err.count("[access.mayor-vila] names no channel that is read")
        assert "xyzzy" not in running.err


async def test_a_closed_channel_is_told(town: Town, settings: Settings) -> None:
    """Why, when it is tried again, how long its drops wait: by STATUS, for programs, and by doctor."""
    town.emulator.deny("general", SEND_MESSAGES)
    async with town.serving():
        town.echo("waits")
        await until(lambda: "parked" in looked(town.spool)["channels"]["general"], PATIENCE)
        told = looked(town.spool)["channels"]["general"]
        assert (1, True) == (told["waiting"] + told["sending"], "50013" in told["parked"])
        assert told["oldest"] < time.time() < told["next_try"]
        text = (town.spool.root / "state" / status.TEXT).read_text()
        assert "    parked: Discord answered 403, code 50013" in text
        assert "; next try in " in " ".join(text.split())
        said = [each.what for each in doctor.offline(settings) if each.level == "error"]
        assert f"general: {told['parked']}" in said


async def test_once(town: Town) -> None:
    """Both ways as far as it goes, and exit 0; what cannot go now is there for the next time."""
    async with town.serving("--once", ready=False) as running:
        assert 0 == await running.ended()
    for number in range(3):
        town.echo(f"number {number}", name=str(number))
    (town.spool.root / "outgoing" / "general" / "not a message").mkdir()
    town.emulator.fail(
        method="POST", route=f"/channels/{town.emulator.guild.channel('mayor-villa').id}/messages",
        kind="status", status=503,
    )  # fmt: skip
    stuck = town.spool.drop("mayor-villa", b"not now")
    said = town.emulator.say("mayor-villa", "hello")
    async with town.serving("--once", ready=False) as running:
        assert 0 == await running.ended()
        assert "Traceback" not in running.err
    assert (["number 0", "number 1", "number 2"], "sending") == (town.texts(), town.state_of(stuck))
    assert [said] == town.received() == town.inbox()
    async with town.serving("--once", ready=False) as running:
        assert 0 == await running.ended()
    assert ("sent", ["not now"]) == (town.state_of(stuck), town.texts("mayor-villa"))
    assert {"outgoing": []} == {"outgoing": list(tree(town.spool.root, "outgoing"))}


# -- in this process: what dies, ends the service --------------------------------------------------------


@pytest.fixture
def settings(town: Town) -> Settings:
    root = town.spool.root
    return Settings(
        spool=root, channels=root / "discord-channels.json", inbox=root / "discord-inbox.jsonl",
        token=town.emulator.token, api_url=town.emulator.api_url, poll_interval=POLL, gt="off",
    )  # fmt: skip


async def test_a_bug_in_one_half_ends_both(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a service looks alive: whoever restarts services must see that it has ended."""

    async def broken(self: Poller, stop: asyncio.Event) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Poller, "run", broken)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(service.run(settings), 10)
    assert (settings.spool / "state" / status.FILE).exists()
    assert json.loads((settings.spool / "state" / status.FILE).read_text())["stopped"]


async def test_an_expected_error_counts_more_than_a_bug(
    settings: Settings, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two things end it at once, the one that somebody can do something about is told."""

    async def broken(parts: Parts) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ZeroDivisionError

    monkeypatch.setattr(service, "_keep_house", broken)
    town.emulator.fail(method="POST", route=MESSAGES, kind="unauthorized")
    town.spool.drop("general", b"once")
    with pytest.raises(TokenRefusedError):
        await asyncio.wait_for(service.run(settings), 10)


async def test_a_full_disk_is_no_error_of_a_stop(
    settings: Settings, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a service waits for anyway does not make a failure of the signal that ends it."""
    running = asyncio.Event()

    async def waits(parts: Parts) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(service, "_keep_house", waits)
    serving = asyncio.ensure_future(service.run(settings))
    await asyncio.wait_for(running.wait(), 10)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 10)


async def test_once_in_a_town(settings: Settings, town: Town, tmp_path: Path) -> None:
    """What was read goes out as gt mail too: nobody else would send it until the next time."""
    gt = FakeGt(tmp_path / "bin")
    in_town = settings._replace(gt="auto", town=tmp_path, environment=gt.environment)
    await service.run(in_town, once=True)
    said = town.emulator.say("mayor-villa", "hello")
    await service.run(in_town, once=True)
    assert [said] == town.received()
    assert [f"discord-message-id: {said}"] == [mail["body"].splitlines()[-1] for mail in gt.mails]


async def test_the_lock_is_given_back(settings: Settings) -> None:
    """An end of any kind leaves the spool to the next one, in the same process too."""
    for _ in range(2):
        with pytest.raises(SettingsError):
            await service.run(settings._replace(token=""))
    for _ in range(2):
        await service.run(settings, once=True)
    assert os.getpid() == int((settings.spool / "state" / "lock").read_text())


async def test_who_shows_it_is_told_when_it_is_ready(settings: Settings, town: Town) -> None:
    """`ready` gets the parts, `report` each message, and cancelling it ends it like a signal."""
    parts: asyncio.Future[Parts] = asyncio.get_running_loop().create_future()
    reported: list[int] = []
    running = asyncio.ensure_future(
        service.run(settings, ready=parts.set_result, report=lambda each: reported.append(each.id))
    )
    made = await asyncio.wait_for(parts, 10)
    assert (town.spool.root, town.emulator.guild.bot.id) == (made.spool.root, made.bot.id)
    await until(town.polled)
    said = town.emulator.say("mayor-villa", "hello")
    await until(lambda: reported == [said])
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 10)


async def test_cancelled_it_has_ended(settings: Settings) -> None:
    """Who cancels a service while Discord is silent gets the spool back at once; nothing goes on."""
    silent = settings._replace(api_url="http://127.0.0.1:9")
    for _ in range(2):
        running = asyncio.ensure_future(service.run(silent))
        await until((settings.spool / "state" / "format.json").exists)
        await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        (settings.spool / "state" / "format.json").unlink()
    await service.run(settings, once=True)


async def test_what_is_old_goes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running service prunes without being asked, by its settings; and ends while nothing is to be done."""
    monkeypatch.setattr(prune, "FIRST", 0.0)
    old, kept = (settings.spool / "sent" / "vgt" / day for day in ("2020-01-01", "2020-01-02"))
    for day in (old, kept):
        day.mkdir(parents=True)
    (old / "20200101T000000.000000Z-00000000.note").write_bytes(b"x")
    age = time.time() - datetime(2020, 1, 2, 12, tzinfo=UTC).timestamp()
    running = asyncio.ensure_future(
        service.run(settings._replace(retention=Retention(sent=Keep(age))))
    )
    await until(lambda: not old.exists())
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert kept.exists()
