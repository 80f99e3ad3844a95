"""The service as systemd hears it: what it is told and when, and a restart that nobody notices."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spoolbridge.emulator import Emulator
from spoolbridge.spool import Spool
from spoolbridge.systemd import Notifier
from tests.flow.test_service import POLL, TOKEN, Town
from tests.support.live import process
from tests.support.programs import PATIENCE, environment
from tests.support.waiting import until

BEAT = 0.5  # seconds between two beats, half of what is asked for
#: The service in a process whose event loop stops turning a while after it serves; its threads go on.
HANGING = """
import asyncio, time
from spoolbridge import service, settings

def hang_soon(parts):
    asyncio.get_running_loop().call_later(2.0, lambda: (print("hangs", flush=True), time.sleep(600)))

asyncio.run(service.run(settings.load(), ready=hang_soon))
"""


class Ear:
    """Systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._heard: list[dict[str, str]] = []

    @property
    def heard(self) -> list[dict[str, str]]:
        """Every message until now, as assignments."""
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except BlockingIOError:
                return self._heard
            self._heard.append(dict(line.split("=", 1) for line in text.split("\n")))

    def names(self) -> list[str]:
        """What was said besides the status, in order."""
        return [name for each in self.heard for name in each if name != "STATUS"]

    def beats(self) -> int:
        return self.names().count("WATCHDOG")

    def status(self) -> str:
        """The last one."""
        return next((each["STATUS"] for each in reversed(self.heard) if "STATUS" in each), "")

    def env(self, watchdog: float = 2 * BEAT) -> dict[str, str]:
        """What systemd puts into the environment of a unit."""
        return {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(int(watchdog * 1e6))}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    made = Ear(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with Emulator(limits=False, token=TOKEN).serve() as emulator:
        for name in ("general", "mayor-villa"):
            emulator.add_channel(name)
        made = Town(emulator, tmp_path)
        yield made
        made.spool.close()


# -- what it is told ------------------------------------------------------------------------------------


async def test_a_life(town: Town, ear: Ear) -> None:
    """Ready once it serves, a beat as often as is asked for, and stopping, in this order."""
    async with town.serving(ready=False, **ear.env()) as running:
        await until(lambda: "READY" in ear.names(), PATIENCE)
        assert str(running.process.pid) == (town.spool.root / "state" / "lock").read_text().strip()
        assert "logged in as" in running.err
        began, before = time.monotonic(), ear.beats()
        await until(lambda: ear.beats() >= before + 4, PATIENCE)
        assert 3 * BEAT < time.monotonic() - began + BEAT
        assert "serving 2 channels, 1 of them read" == ear.status()
        assert 0 == await running.ended(signal.SIGTERM)
    said = [name for name in ear.names() if name not in ("WATCHDOG", "EXTEND_TIMEOUT_USEC")]
    assert ["READY", "STOPPING"] == said
    assert ear.names().index("READY") < ear.names().index("WATCHDOG")


async def test_not_ready_without_the_lock(town: Town, ear: Ear) -> None:
    """A second service asks for time, is never ready, and is not taken for the first."""
    async with town.serving(), town.serving(ready=False, **ear.env()) as second:
        assert 1 == await second.ended()
    assert {"EXTEND_TIMEOUT_USEC"} == set(ear.names())


async def test_not_ready_while_discord_is_away(town: Town, ear: Ear) -> None:
    """It asks for more time instead of being killed, and is ready when Discord answers."""
    await town.emulator.down()
    async with town.serving(ready=False, **ear.env()) as running:
        await running.says("Discord does not answer")
        assert {"EXTEND_TIMEOUT_USEC"} == set(ear.names())
        assert ear.status().startswith("starting; ")
        await town.emulator.up()
        await until(lambda: "READY" in ear.names(), PATIENCE)


async def test_what_is_wrong_is_told(town: Town, ear: Ear) -> None:
    """`systemctl status` says that there is something to mend, and where it is told."""
    town.emulator.guild.message_content = False
    async with town.serving(ready=False, **ear.env()):
        expected = "serving 2 channels, 1 of them read; 1 to mend, see: spoolbridge status"
        await until(lambda: expected == ear.status(), PATIENCE)


async def test_a_loop_that_hangs_is_silent(town: Town, ear: Ear) -> None:
    """The beats end with the event loop, although the process and its threads live on."""
    async with hanging(town, ear, HANGING) as process:
        assert process.stdout is not None
        assert b"hangs\n" == await process.stdout.readline()
        before = ear.beats()
        assert before > 2
        await asyncio.sleep(4 * BEAT)  # in which it would have beaten four times
        assert (before, None) == (ear.beats(), process.returncode)


@asynccontextmanager
async def hanging(town: Town, ear: Ear, script: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A service that hangs by itself, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=town.root, env=environment(town.env | ear.env()),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()


async def test_a_dispatcher_that_hangs_is_silent(town: Town, ear: Ear) -> None:
    """The loop turns and tells how it stands, but nothing is posted: no beat says that all is well."""
    stuck = HANGING.replace("time.sleep(600)", "setattr(parts.dispatcher, '_scan', asyncio.sleep)")
    stuck = stuck.replace("asyncio.sleep", "lambda _: asyncio.sleep(600)")
    async with hanging(town, ear, f"from spoolbridge import pulse\npulse._LOOKS = 2\n{stuck}") as process:
        assert process.stdout is not None
        assert b"hangs\n" == await process.stdout.readline()
        assert ear.beats() > 2
        await until(lambda: "WATCHDOG" not in ear.heard[-1], PATIENCE)
        heard, before = len(ear.heard), ear.beats()
        await until(lambda: len(ear.heard) >= heard + 4, PATIENCE)
        assert before == ear.beats()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_where_systemd_listens(kind: str, tmp_path: Path) -> None:
    """A path, or a name in the abstract namespace; a value never becomes a line of its own."""
    ear = Ear(str(tmp_path / "notify") if kind == "path" else f"@spoolbridge-test-{os.getpid()}")
    try:
        Notifier.of({"NOTIFY_SOCKET": ear.address}).tell(READY=1, STATUS="a\nSTOPPING=1")
        assert [{"READY": "1", "STATUS": "a STOPPING=1"}] == ear.heard
    finally:
        ear.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/x"}, Notifier("/run/x")),
        ({"NOTIFY_SOCKET": "vsock:2:9"}, Notifier()),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000"}, Notifier("/run/x", 3.0)),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, Notifier("/run/x")),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, Notifier("/run/x")),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}, Notifier("/run/x")),
        ({"WATCHDOG_USEC": "3000000"}, Notifier()),
    ],
)
def test_what_systemd_asks_for(given: dict[str, str], expected: Notifier) -> None:
    """A watchdog is ours where its process is; what cannot be read asks for nothing."""
    assert expected == Notifier.of(given)


def test_nobody_listens(tmp_path: Path) -> None:
    """A socket that is gone ends no service."""
    Notifier(str(tmp_path / "gone")).tell(READY=1)
    Notifier().tell(READY=1)


# -- a restart that nobody notices ----------------------------------------------------------------------

CHANNELS = ("general", "mayor-villa", "ops")


class Drops:
    """A drop in each channel every few milliseconds, from its making until `end`."""

    def __init__(self, spool: Spool) -> None:
        self.texts: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
        self._spool, self._enough = spool, threading.Event()
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def _write(self) -> None:
        for number in itertools.count():
            if self._enough.wait(0.03):
                return
            for channel, texts in self.texts.items():
                self._spool.drop(channel, f"number {number}".encode())
                texts.append(f"number {number}")

    def count(self) -> int:
        """How many there are in each channel by now."""
        return min(map(len, self.texts.values()))

    def end(self) -> None:
        self._enough.set()
        self._writer.join()


async def test_a_restart_that_nobody_notices(town: Town, ear: Ear) -> None:
    """Drops go on in three channels while the service is stopped and started: each once, in its order."""
    town.emulator.add_channel("ops")
    town.names.append("ops")
    town.write_channels()
    drops = Drops(town.spool)
    try:
        async with town.serving(ready=False, **ear.env()) as running:
            await until(lambda: all(map(town.texts, CHANNELS)), PATIENCE)
            at_signal = drops.count()
            assert 0 == await running.ended(signal.SIGTERM)
        at_end = drops.count()
        async with town.serving(ready=False, **ear.env()) as running:
            await until(lambda: 2 == ear.names().count("READY"), PATIENCE)
            at_ready = drops.count()
            await until(lambda: drops.count() > at_ready + 5)
            drops.end()
            assert at_signal <= at_end < at_ready < drops.count()
            await until(lambda: drops.texts == {each: town.texts(each) for each in CHANNELS}, PATIENCE)
            assert 0 == await running.ended(signal.SIGTERM)
    finally:
        drops.end()
    assert drops.texts == {each: town.texts(each) for each in CHANNELS}


# -- what the units forbid ------------------------------------------------------------------------------

CONTRIB = Path(__file__).parents[2] / "contrib"


def named(group: str) -> set[str]:
    """The system calls of one of systemd's groups, groups in it included."""
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, timeout=30, check=True
    )
    words = [line.strip() for line in shown.stdout.splitlines() if line.startswith("    ")]
    calls = {word for word in words if word[:1] not in "@#"}
    return calls.union(*(named(word) for word in words if word.startswith("@")))


def forbidden(unit: Path) -> set[str]:
    """What the unit's SystemCallFilter= lines leave out of all calls that there are."""
    allowed: set[str] = set()
    for line in re.findall(r"(?m)^SystemCallFilter=(.*)$", unit.read_text("utf-8")):
        groups = set[str]().union(*map(named, line.lstrip("~").split()))
        allowed = allowed - groups if line.startswith("~") else allowed | groups
    return named("@known") - allowed


@pytest.mark.parametrize("unit", ["spoolbridge.service", "spoolbridge-system.service"])
async def test_the_service_works_without_the_calls_that_a_unit_forbids(unit: str, tmp_path: Path) -> None:
    """Each of them is refused as the unit has it refused, by strace: it starts, posts, files, ends well."""
    for program in ("strace", "systemd-analyze"):
        if not shutil.which(program):
            assert "CI" not in os.environ, f"{program} is missing"
            pytest.skip("needs strace and systemd-analyze: apt-get install -y strace systemd")
    refused = await asyncio.to_thread(forbidden, CONTRIB / unit)
    assert {"ptrace", "mount", "reboot"} <= refused
    names = ",".join(f"?{name}" for name in sorted(refused))
    prefix = ["strace", "-D", "-f", "-qq", "-o", str(tmp_path / "trace"),
              "-e", f"trace={names}", "-e", f"inject={names}:error=EPERM"]  # fmt: skip
    (tmp_path / "spoolbridge.toml").write_text(f"poll_interval = {POLL}\n")
    async with process(tmp_path, "general", "mayor-villa", prefix=prefix) as service:
        (service.spool / "outgoing" / "general" / "note").write_text("hello")
        cursors = service.spool / "state" / "cursors"
        await until(lambda: list(cursors.glob("*.incoming.json")), PATIENCE)  # earlier words are not read
        service.emulator.say("mayor-villa", "how is the build?")
        new = service.spool / "incoming" / "mayor-villa" / "new"
        await until(lambda: ["hello"] == service.texts("general") and list(new.glob("*")), PATIENCE)
    said = (service.spool / "state" / "STATUS").read_text("utf-8")
    assert "not running" in said
