"""Two services, two operators, two droppers of one name, two of an ID, two programs at once.

Where two want the same file the kernel gives it to one of them, and the other is told or goes away;
nothing is replaced, nothing is lost, and what is meant once is posted once.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from spoolbridge import failures, ready
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolError
from spoolbridge.identity import WHY
from spoolbridge.mcp_server import SEND
from spoolbridge.spool import Entry, Spool
from tests.support.bridge import MESSAGES, Bridge, bridging
from tests.support.programs import PATIENCE, PROGRAM, Running, environment, ran
from tests.support.tree import contents
from tests.support.waiting import until

CHANNEL = "mayor-villa"


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


# -- two services ------------------------------------------------------------------------------------------


class Guild:
    """An imaginary guild with one channel, and a spool that services may be started on."""

    def __init__(self, emulator: Emulator, root: Path) -> None:
        self.emulator, self.root = emulator, root
        self.spool = Spool.create(root / "spool")
        channel_id = emulator.add_channel(CHANNEL)
        (self.spool.root / "discord-channels.json").write_text(json.dumps({CHANNEL: str(channel_id)}))

    @property
    def env(self) -> dict[str, str]:
        return {
            "SPOOLBRIDGE_API_URL": self.emulator.api_url, "DISCORD_BOT_TOKEN": self.emulator.token,
            "SPOOLBRIDGE_SPOOL": str(self.spool.root),
        }  # fmt: skip

    def service(self, number: int) -> Running:
        """`spoolbridge run`, its output in a directory of its own."""
        place = self.root / f"service {number}"
        place.mkdir()
        return Running("run", cwd=place, env=self.env)

    def texts(self) -> list[str]:
        return [message["content"] for message in self.emulator.messages(CHANNEL)]


@pytest.fixture
async def guild(tmp_path: Path) -> AsyncIterator[Guild]:
    async with Emulator(limits=False).serve() as emulator:
        made = Guild(emulator, tmp_path)
        yield made
        made.spool.close()


async def test_services_started_at_the_same_moment(guild: Guild) -> None:
    """One of them works and posts everything once; the others end, and say who it is."""
    texts = [f"number {number}" for number in range(30)]
    for text in texts:
        guild.spool.drop(CHANNEL, text.encode())
    async with AsyncExitStack() as stack:
        services = [stack.enter_context(guild.service(number)) for number in range(3)]
        await guild.emulator.posted(CHANNEL, len(texts), timeout=PATIENCE)
        await until(lambda: sum(each.process.poll() is None for each in services) == 1, PATIENCE)
        (winner,) = [each for each in services if each.process.poll() is None]
        for loser in services:
            if loser is not winner:
                assert 1 == loser.process.returncode
                assert f"process {winner.process.pid} is the service of" in loser.err.splitlines()[-1]
        assert texts == guild.texts()
        await _assert_no_other_without_the_lock_file(guild, winner)
        assert 0 == await asyncio.to_thread(winner.end, signal.SIGTERM)


async def _assert_no_other_without_the_lock_file(guild: Guild, winner: Running) -> None:
    """`rm state/lock` lets nobody in, and `spoolbridge status` still knows who it is."""
    (guild.spool.root / "state" / "lock").unlink()
    other = await asyncio.to_thread(ran, "run", cwd=guild.root, env=guild.env)
    assert (1, "") == (other.code, other.out)
    assert other.err.endswith(f"is the service of {guild.spool.root} already; see: spoolbridge status\n")
    written = (guild.spool.root / "state" / "status.json").stat().st_mtime_ns
    await until(lambda: (guild.spool.root / "state" / "status.json").stat().st_mtime_ns > written)
    said = await asyncio.to_thread(ran, "status", cwd=guild.root, env=guild.env)
    assert f"running, process {winner.process.pid}," in said.out
    guild.spool.drop(CHANNEL, b"still here")
    await guild.emulator.posted(CHANNEL, 31)


# -- two operators -----------------------------------------------------------------------------------------


async def test_two_operators_retry_the_same_failures(bridge: Bridge) -> None:
    """One gets each entry, the other is told; all of them are sent once."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", status=400, code=50035, times=40)
    entries = [bridge.drop(f"number {number}") for number in range(40)]
    for entry in entries:
        assert "failed" == (await bridge.settled(entry)).state
    told: list[str] = []
    moved: list[str] = []

    def retry() -> None:
        spool = Spool(bridge.spool.root)
        for failure in found:
            try:
                moved.append(failures.retry(spool, failure).name)
            except SpoolError as error:
                told.append(str(error))
        spool.close()

    found = list(failures.failures(bridge.spool))
    await asyncio.gather(asyncio.to_thread(retry), asyncio.to_thread(retry))
    for entry in entries:
        assert "sent" == (await bridge.settled(entry)).state
    assert Counter(f"number {number}" for number in range(40)) == Counter(bridge.texts())
    assert ([entry.name for entry in entries], 40) == (sorted(moved), len(told))
    assert all("somebody moved it meanwhile" in each or "holds" in each for each in told)


async def test_two_operators_and_the_service_want_the_same_files(bridge: Bridge) -> None:
    """`mv` into two desks while the service claims: each entry is on one of them, or sent."""
    desks = [bridge.spool.root.parent / name for name in ("one", "two")]
    (bridge.box() / ".hold").touch()
    for number in range(120):
        bridge.drop(f"number {number}")
    loop = 'for each in "$0"/*; do mv -n "$each" "$1" 2> /dev/null; done; true'
    for desk in desks:
        desk.mkdir()
    movers = [await asyncio.create_subprocess_exec("sh", "-c", loop, bridge.box(), desk) for desk in desks]
    (bridge.box() / ".hold").unlink()
    bridge.ring()
    assert [0, 0] == [await mover.wait() for mover in movers]
    await bridge.quiet()
    taken = [path.read_text() for desk in desks for path in desk.iterdir()]
    print(f"{len(taken)} taken, {len(bridge.texts())} sent")
    assert Counter(f"number {number}" for number in range(120)) == Counter([*taken, *bridge.texts()])
    assert sorted(bridge.texts()) == sorted(
        data.decode() for data in contents(bridge.spool.root, "sent").values()
    )
    assert {} == bridge.tree("outgoing", "sending", "failed")


@dataclass(frozen=True)
class Row:
    """Moved by hand from one state to a directory: how often it is in general, in mayor-villa, and where."""

    source: str
    target: str
    general: int
    villa: int
    lies_in: str


ROWS = [
    Row("outgoing", "outgoing/mayor-villa", 0, 1, "sent/mayor-villa"),
    Row("outgoing", "failed/general", 0, 0, "failed/general"),
    Row("outgoing", "sent/general", 0, 0, "sent/general"),
    Row("outgoing", "../desk", 0, 0, ""),
    Row("sending", "outgoing/general", 1, 0, "sent/general"),
    Row("sending", "outgoing/mayor-villa", 0, 1, "sent/mayor-villa"),
    Row("sending", "failed/general", 0, 0, "failed/general"),
    Row("sending", "sent/general", 0, 0, "sent/general"),
    Row("sending", "../desk", 0, 0, ""),
    Row("sent", "outgoing/general", 1, 0, "sent/general"),
    Row("sent", "outgoing/mayor-villa", 1, 1, "sent/mayor-villa"),
    Row("sent", "failed/general", 1, 0, "failed/general"),
    Row("sent", "../desk", 1, 0, ""),
    Row("failed", "outgoing/general", 1, 0, "sent/general"),
    Row("failed", "outgoing/mayor-villa", 0, 1, "sent/mayor-villa"),
    Row("failed", "sent/general", 0, 0, "sent/general"),
    Row("failed", "../desk", 0, 0, ""),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.source} to {row.target}")
async def test_moved_by_hand(tmp_path: Path, row: Row) -> None:
    """`mv` from every state to every other does what spool/README.md says, also when it is moved back."""
    async with bridging(tmp_path / "spool", start=False) as bridge:
        bridge.watched = True
        await bridge.start()
        entry = await _lying_in(bridge, row.source)
        _move(bridge, entry.path, row.target)
        await _go_on(bridge)
        posted = (len(bridge.texts()), len(bridge.texts("mayor-villa")))
        assert (row.general, row.villa) == posted
        assert [row.lies_in] * bool(row.lies_in) == _places(bridge)
        assert {entry.name} >= set(_names(bridge))
        if row.lies_in == "failed/general":
            _move(bridge, bridge.spool.root / "failed" / "general" / entry.name, "outgoing/general")
            await _go_on(bridge)
            assert (["once"], ["sent/general"]) == (bridge.texts(), _places(bridge))


async def _lying_in(bridge: Bridge, state: str) -> Entry:
    """An entry at rest in that state: on hold, between two tries, sent, or refused once."""
    if state == "outgoing":
        (bridge.box() / ".hold").touch()
        return bridge.drop("once")
    if state == "sending":
        await bridge.emulator.down()
        entry = bridge.drop("once")
        await bridge.clock.sleepers(1)
        found = bridge.spool.find(entry.id)
        assert found is not None
        return found
    if state == "failed":
        bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", status=400, code=50035)
    return await bridge.settled(bridge.drop("once"))


def _move(bridge: Bridge, path: Path, target: str) -> None:
    place = bridge.spool.root / target
    if target.startswith("sent/"):
        place /= time.strftime("%Y-%m-%d", time.gmtime())
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mv", path, f"{place}/"], check=True, timeout=10)


async def _go_on(bridge: Bridge) -> None:
    """Nothing is on hold or out of reach any more; return once all is settled."""
    (bridge.box() / ".hold").unlink(missing_ok=True)
    await bridge.emulator.up()
    bridge.clock.advance(10)
    await bridge.scanned()
    await bridge.quiet()


def _places(bridge: Bridge) -> list[str]:
    """The state and channel of every entry."""
    found = {
        place: [name for name in names if not name.endswith(WHY)] for place, names in bridge.tree().items()
    }
    return sorted("/".join(place.split("/")[:2]) for place, names in found.items() for _ in names)


def _names(bridge: Bridge) -> list[str]:
    return [name for names in bridge.tree().values() for name in names if not name.endswith(WHY)]


# -- two droppers ------------------------------------------------------------------------------------------


async def test_the_same_name_thousand_times(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast as the name is free again: so many messages, each once and in order, none replaced."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # no power cut here, and a busy disk would take minutes
    dropped = asyncio.Event()

    def drop() -> None:
        for number in range(1000):
            _write_when_free(bridge.box() / "note", f"number {number}")
        loop.call_soon_threadsafe(dropped.set)

    loop = asyncio.get_running_loop()
    writer = loop.run_in_executor(None, drop)
    while not dropped.is_set():
        bridge.clock.now = max(bridge.clock.now, time.time() + 2 * ready.SETTLE)
        bridge.ring()
        await asyncio.sleep(0.002)
    await writer
    await bridge.quiet()
    assert [f"number {number}" for number in range(1000)] == bridge.texts()
    found = contents(bridge.spool.root, "sent")
    assert Counter(bridge.texts()) == Counter(data.decode() for data in found.values())
    assert all(path.endswith(".note") for path in found)


def _write_when_free(path: Path, text: str) -> None:
    """As a shell with `set -C` does it: never over another file."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with open(path, "x") as file:
                file.write(text)
            return
        except FileExistsError:
            time.sleep(0.0005)
    raise TimeoutError(f"{text} was never dropped")


async def test_two_droppers_of_one_name_and_text(bridge: Bridge) -> None:
    """Meant twice is sent twice, from wherever it comes."""
    await asyncio.gather(
        *(asyncio.to_thread(_write_when_free, bridge.box() / "note", "ping") for _ in range(1))
    )
    bridge.settle()
    await bridge.emulator.posted("general", 1)
    for _ in range(2):
        bridge.drop("ping", name="note")
    await bridge.quiet()
    assert (["ping"] * 3, 3) == (bridge.texts(), len(set(bridge.nonces)))


async def test_an_entry_copied_under_its_id(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """Both wait, both are the same message: it is posted once, and the log says why the other is not."""
    caplog.set_level("INFO")
    (bridge.box() / ".hold").touch()
    entry = bridge.drop("once")
    shutil.copy(entry.path, bridge.box() / f"{entry.id}.copy")
    (bridge.box() / ".hold").unlink()
    bridge.settle()
    await bridge.quiet()
    assert (["once"], 1) == (bridge.texts(), bridge.posts())
    assert sorted([entry.name, f"{entry.id}.copy"]) == _names(bridge)
    assert "not posted: already sent as" in caplog.text


async def test_an_entry_copied_while_it_is_on_its_way(tmp_path: Path) -> None:
    """The copy comes second: it is kept in failed/ under an ID of its own, with the reason."""
    async with bridging(tmp_path / "spool", start=False) as bridge:
        bridge.watched = True
        await bridge.start()
        entry = await _lying_in(bridge, "sending")
        shutil.copy(entry.path, bridge.box())
        await _go_on(bridge)
        failed = await bridge.only("failed")
        assert (["once"], "once") == (bridge.texts(), failed.path.read_text())
        assert "this copy was not posted" in failed.reason
        assert entry.id != failed.id


async def test_two_messages_under_one_id(bridge: Bridge) -> None:
    """Somebody made the ID up twice: the second is kept, told, and posted when it is retried."""
    (bridge.box() / ".hold").touch()
    entry = bridge.drop("first")
    (bridge.box() / f"{entry.id}.z").write_text("second")
    (bridge.box() / ".hold").unlink()
    bridge.settle()
    failed = await bridge.only("failed")
    assert (["first"], "second") == (bridge.texts(), failed.path.read_text())
    assert "this ID belongs to another message" in failed.reason
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["first", "second"] == bridge.texts()


async def test_one_id_in_two_channels(bridge: Bridge) -> None:
    """That is two messages, each with a nonce of its own."""
    for channel in ("general", "mayor-villa"):
        (bridge.box(channel) / ".hold").touch()
    entry = bridge.drop("both")
    shutil.copy(entry.path, bridge.box("mayor-villa"))
    for channel in ("general", "mayor-villa"):
        (bridge.box(channel) / ".hold").unlink()
    bridge.settle()
    await bridge.quiet()
    assert (["both"], ["both"]) == (bridge.texts(), bridge.texts("mayor-villa"))
    assert 2 == len(set(bridge.nonces))


# -- two programs ------------------------------------------------------------------------------------------


async def test_every_way_of_sending_at_once(bridge: Bridge, tmp_path: Path) -> None:
    """Six `spoolbridge send` and two MCP servers in the same second: all is sent once, each in its order."""
    channel_id = bridge.emulator.guild.channel("general").id
    (bridge.spool.root / "discord-channels.json").write_text(json.dumps({"general": str(channel_id)}))
    env = {"SPOOLBRIDGE_SPOOL": str(bridge.spool.root)}

    async def send(number: int) -> list[str]:
        # Not in threads: the bridge's own would have to wait for them.
        words = (PROGRAM, "send", "general", f"cli {number}", "--wait")
        sending = await asyncio.create_subprocess_exec(
            *words, cwd=tmp_path, env=environment(env), stdout=PIPE, stderr=PIPE
        )
        out, err = await sending.communicate()
        assert (0, b"") == (sending.returncode, err)
        assert out.startswith(b"sent to #general")
        return [f"cli {number}"]

    async def call(number: int) -> list[str]:
        texts = [f"mcp {number} {each}" for each in range(5)]
        server = StdioServerParameters(command=str(PROGRAM), args=["mcp"], env=environment(env), cwd=tmp_path)
        async with Client(server) as client:
            for text in texts:
                result = await client.call_tool(SEND, {"channel_name": "general", "message": text})
                told = result.structured_content
                assert told is not None
                assert "sent" == told["status"]
        return texts

    sent = await asyncio.gather(*map(send, range(6)), *map(call, range(2)))
    await bridge.quiet()
    assert Counter(text for texts in sent for text in texts) == Counter(bridge.texts())
    for texts in sent:
        assert texts == [text for text in bridge.texts() if text in texts]
    assert len(set(bridge.nonces)) == len(bridge.texts())
    assert 16 == len(_names(bridge))
