"""What `spoolbridge send` costs whoever waits for it: the modules that it imports, and the processor's time.

Agents and cron call it for every message; what it imports it pays for each time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from spoolbridge.spool import Spool
from tests.support.programs import PROGRAM, environment

FOREIGN = ("aiohttp", "mcp", "watchdog", "pydantic", "asyncio")
NOT_FOR_PLAIN = (
    "click", "filelock", "tempfile", "shutil", "threading", "email", "logging", "tomllib", "datetime",
    "signal",
)  # fmt: skip
ROUNDS = 7
MOST_INTERPRETERS = 4.0
NOISE = 1.5  # times as much is allowed: other programs run on this machine too
_SEND = """
import json, sys
from spoolbridge.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted(name for name in sys.modules)]), file=sys.stderr)
"""


@pytest.fixture
def served(spool: Spool) -> None:
    """./spool with one channel."""
    (spool.root / "discord-channels.json").write_text('{"mayor-villa": "1467106918538678293"}')


def imported(tmp_path: Path, *arguments: str) -> set[str]:
    """Every module that is loaded when the command has ended well."""
    done = subprocess.run(
        [sys.executable, "-c", _SEND, *arguments], cwd=tmp_path, env=environment(), input=b"text",
        capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    code, modules = json.loads(done.stderr)
    assert 0 == code
    return set(modules)


def loaded(modules: set[str], packages: tuple[str, ...]) -> list[str]:
    return sorted(each for each in modules if each.partition(".")[0] in packages)


@pytest.mark.parametrize(
    "arguments",
    [
        ["mayor-villa", "hi"],
        ["mayor-villa", "-", "--rig", "villa"],
        ["mayor-villa", "hi", "--file", "a.txt"],
        ["mayor-villa", "hi", "--rig=villa"],
    ],
)
@pytest.mark.usefixtures("served")
def test_send_imports_nothing_that_starts_slowly(tmp_path: Path, arguments: list[str]) -> None:
    """No Discord client, no MCP, no watcher, whatever is sent."""
    (tmp_path / "a.txt").write_text("A")
    modules = imported(tmp_path, "send", *arguments)
    assert [] == loaded(modules, FOREIGN)
    assert "spoolbridge.sending" in modules


@pytest.mark.usefixtures("served")
def test_a_plain_send_imports_less(tmp_path: Path) -> None:
    """Not even click, nor what only a service or a wrong name needs."""
    modules = imported(tmp_path, "send", "mayor-villa", "hi")
    assert [] == loaded(modules, NOT_FOR_PLAIN)
    ours = {each for each in modules if each.startswith("spoolbridge.")}
    needless = {"spoolbridge.journal", "spoolbridge.discord", "spoolbridge.cli.program", "spoolbridge.leaks"}
    assert needless.isdisjoint(ours)


@pytest.mark.usefixtures("served")
def test_a_notification_imports_as_little(tmp_path: Path) -> None:
    """A daemon without a time-out waits for it. Only to read the file with its table takes more."""
    arguments = "notify", "--channel", "admin", "--priority", "high", "the deacon is stuck"
    (tmp_path / "spoolbridge.toml").write_text('[notify]\nadmin = "mayor-villa"\n')
    modules = imported(tmp_path, *arguments)
    needed = {each.partition(".")[0] for each in loaded(modules, NOT_FOR_PLAIN)}
    assert {"datetime", "tomllib"} == needed
    assert [] == loaded(modules, FOREIGN)
    assert {"spoolbridge.journal", "spoolbridge.discord", "spoolbridge.cli.program"}.isdisjoint(modules)


def _told(place: Path, code: str) -> str:
    """What Python says on stderr when it runs this there."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment(), capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return done.stderr


def test_the_mcp_server_collects_what_it_leaves(tmp_path: Path) -> None:
    """It lives for days: only what its start made is passed over, and that is passed over from then on."""
    code = """
import gc, sys
from spoolbridge import mcp_server
from spoolbridge.cli import run
mcp_server.run = lambda *_: print(gc.isenabled(), gc.get_freeze_count() > 50_000, file=sys.stderr)
sys.exit(run(["mcp"]))
"""
    assert "True True\n" == _told(tmp_path, code)


def test_the_service_passes_over_what_its_start_made(tmp_path: Path) -> None:
    """To look through it again and again takes longer than a message; what comes later is collected."""
    code = """
import gc, sys
from spoolbridge import service
from spoolbridge.cli import run
async def served(settings, *, ready, **more):
    ready(None)
    print(gc.isenabled(), gc.get_freeze_count() > 20_000, file=sys.stderr)
service.run = served
sys.exit(run(["run"]))
"""
    assert "True True\n" == _told(tmp_path, code)


@pytest.mark.usefixtures("served")
def test_send_starts_fast(tmp_path: Path) -> None:
    """A whole process, in processor time against a bare interpreter's: waiting counts for neither."""
    bare = _timer(tmp_path, sys.executable, "-c", "pass")
    sending = _timer(tmp_path, str(PROGRAM), "send", "mayor-villa", "hi")
    bare()
    sending()  # the first one compiles
    pairs = [(bare(), sending()) for _ in range(ROUNDS)]
    interpreter, whole = (median(each) for each in zip(*pairs, strict=True))
    assert whole / interpreter < MOST_INTERPRETERS * NOISE


def _timer(cwd: Path, *command: str) -> Callable[[], float]:
    """Runs the command; the processor's seconds that it took."""

    def run() -> float:
        begun = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=cwd, env=environment(), check=True, stdout=subprocess.DEVNULL, timeout=30)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime

    return run
