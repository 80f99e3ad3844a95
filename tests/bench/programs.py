"""What is measured, as processes: the service on a spool of its own, and what it is compared with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spoolbridge.spool import HOLD, Spool
from tests.support.programs import PROGRAM, environment
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 120.0  # seconds, for what takes a few on a machine with nothing else to do


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of the benchmark."""
    return [sys.executable, "-m", module, *arguments]


UNLIMITED = python("tests.bench.unlimited")
LIMITED = [str(PROGRAM)]


class Program:
    """A process that tells in its first line that it is ready, and is ended by SIGTERM."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, stderr: int | None = None
    ) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(env), stdin=pipe, stdout=pipe, stderr=stderr, text=True
        )
        self.pid = self.process.pid

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def say(self, line: str) -> None:
        """Write it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """What it printed that was not read."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=PATIENCE)[0]

    @property
    def cpu(self) -> float:
        """Seconds of processor time that all its threads have used."""
        return time.clock_gettime(~self.pid << 3 | 2)  # the process's clock (clock_getcpuclockid(3))

    @property
    def memory(self) -> float:
        """MiB of its memory that are resident."""
        return self._memory("VmRSS")

    @property
    def most_memory(self) -> float:
        """The most that it ever was, in MiB."""
        return self._memory("VmHWM")

    def _memory(self, field: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self.pid)


class Mcp(Program):
    """`spoolbridge mcp` on `root`, spoken to in plain lines: what a client costs on top is its own affair."""

    def __init__(self, root: Path) -> None:
        self._last = 0
        env = {"SPOOLBRIDGE_SPOOL": str(root)}
        super().__init__([*LIMITED, "mcp"], env=env, stderr=subprocess.DEVNULL)  # it tells of each call

    def request(self, method: str, **params: object) -> str:
        """The line that asks for it."""
        self._last += 1
        return json.dumps({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})

    def answer(self) -> dict[str, Any]:
        """The result in the next line; there must be one."""
        result: dict[str, Any] = json.loads(self.line())["result"]
        return result

    def begin(self) -> None:
        """Have it answer `initialize`."""
        client = {"name": "bench", "version": "1"}
        self.say(self.request("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client))
        assert "serverInfo" in self.answer()
        self.say(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))


class Bridge(Program):
    """`spoolbridge run` on `root`. `program`: what is run in its place; `more`: settings beside the usual."""

    def __init__(
        self, root: Path, api: str, *, prefix: Sequence[str] = (), program: Sequence[str] = UNLIMITED,
        **more: str,
    ) -> None:  # fmt: skip
        self.root = root
        self.log = root.parent / f"{root.name}.log"
        settings = {
            "DISCORD_BOT_TOKEN": "stub-token", "SPOOLBRIDGE_API_URL": api, "SPOOLBRIDGE_SPOOL": str(root),
            "SPOOLBRIDGE_POLL": "nothing", **more,
        }  # fmt: skip
        self.began = time.monotonic()
        command = [*prefix, *program, "run", "--log", str(self.log)]
        super().__init__(command, env=settings)

    def starts(self) -> None:
        """Wait until it has written its first STATUS."""
        status = self.root / "state" / "STATUS"
        wait_until(lambda: status.exists() or self.process.poll() is not None, PATIENCE)
        assert self.process.poll() is None, self.log.read_text("utf-8")

    def hold(self) -> None:
        """Pause all channels."""
        (self.root / "outgoing" / HOLD).touch()

    def release(self) -> None:
        """Go on."""
        (self.root / "outgoing" / HOLD).unlink()


@contextmanager
def spool(channels: Mapping[str, str]) -> Iterator[Path]:
    """A new spool that knows these channels."""
    with tempfile.TemporaryDirectory(prefix="spoolbridge-bench-") as place:
        root = Path(place) / "spool"
        made = Spool.create(root)
        (root / "discord-channels.json").write_text(json.dumps(channels))
        for channel in channels:
            made.add_channel(channel)
        made.close()
        yield root


@contextmanager
def bridge(
    root: Path, api: str, *, prefix: Sequence[str] = (), program: Sequence[str] = UNLIMITED, **more: str
) -> Iterator[Bridge]:
    """A service at work on that spool, ended at the end."""
    running = Bridge(root, api, prefix=prefix, program=program, **more)
    try:
        running.starts()
        yield running
    finally:
        running.end()


def entries(root: Path, state: str) -> int:
    """How many files lie in a state, whatever the channel."""
    return sum(len(names) for _, _, names in os.walk(root / state))
