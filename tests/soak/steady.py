"""The real process in real time: what `spoolbridge run` costs under a steady load, or after so many messages.

    python -m tests.soak.steady [--minutes 5] [--rate 10]     memory, descriptors, threads
    python -m tests.soak.steady --curve 4                     its memory after 10², 10³ and 10⁴ messages

The emulator is in this process, without limits; agents drop by ID in twenty channels, and for every tenth
drop a human writes. The exit code is 1 where something grew or something is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from spoolbridge.emulator import Emulator
from spoolbridge.spool import Spool
from tests.soak.gauges import Recent
from tests.support.waiting import until

NAMES = [f"mayor-{number}" for number in range(20)]
FLAT = 0.05
_LOOKS = 40
_HEAD = "   s  messages   RSS MB  files  threads"


@dataclass(frozen=True)
class Cost:
    """Of the service's process: bytes, open descriptors, threads."""

    rss: int
    files: int
    threads: int


def cost(pid: int) -> Cost:
    told = Path(f"/proc/{pid}/status").read_text("ascii")
    (rss,) = re.findall(r"VmRSS:\s+(\d+) kB", told)
    (threads,) = re.findall(r"Threads:\s+(\d+)", told)
    return Cost(int(rss) * 1024, len(os.listdir(f"/proc/{pid}/fd")), int(threads))


class Load:
    """A service's process with its guild and its spool; `dropped` and `said` count what it was given."""

    def __init__(self, emulator: Emulator, spool: Spool, pid: int) -> None:
        self._emulator, self._spool, self.pid = emulator, spool, pid
        self.dropped = self.said = self.posted = 0

    def drop(self) -> None:
        """One message; now and then a human's too."""
        channel = NAMES[self.dropped % len(NAMES)]
        self._spool.drop(channel, f"message {self.dropped} for everybody who waits here".encode())
        self.dropped += 1
        if self.dropped % 10 == 0:
            self._emulator.say(channel, "thanks")
            self.said += 1

    @property
    def filed(self) -> int:
        return sum(1 for _ in self._spool.root.glob("incoming/*/new/*"))

    async def through(self) -> None:
        """Return once all of it has come, both ways."""
        await until(lambda: self.posted >= self.dropped and self.filed >= self.said, 900.0)

    def row(self, seconds: float, at: Cost) -> str:
        return f"{seconds:4.0f}  {self.posted:8,}  {at.rss / 1e6:7.1f}  {at.files:5}  {at.threads:7}"


@asynccontextmanager
async def loaded(place: Path) -> AsyncIterator[Load]:
    """The installed program at work, until its end by SIGTERM."""
    async with Emulator(limits=False).serve() as emulator:
        emulator.transport.seen = Recent()
        spool = Spool.create(place / "spool")
        ids = {name: str(emulator.add_channel(name)) for name in NAMES}
        (place / "spool" / "discord-channels.json").write_text(json.dumps(ids))
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(place), "DISCORD_BOT_TOKEN": emulator.token,
            "SPOOLBRIDGE_API_URL": emulator.api_url, "SPOOLBRIDGE_SPOOL": str(place / "spool"),
            "SPOOLBRIDGE_RECEIPTS": "off",
        }  # fmt: skip
        program = Path(sys.executable).with_name("spoolbridge")
        with (place / "service.log").open("ab") as log:
            started = await asyncio.create_subprocess_exec(program, "run", env=environment, stderr=log)
        load = Load(emulator, spool, started.pid)

        def hear(what: str, about: object) -> None:
            load.posted += what == "created" and getattr(about, "author", None) is emulator.guild.bot

        emulator.guild.listeners.append(hear)
        try:
            await until((place / "spool" / "state" / "status.json").exists, 30.0)
            yield load
        finally:
            started.terminate()
            await started.wait()
            spool.close()


async def steadily(place: Path, minutes: float, rate: float) -> list[str]:
    """So many messages a second for so long; what grew."""
    costs: list[Cost] = []
    async with loaded(place) as load:
        print(_HEAD)
        began = time.monotonic()
        for look in range(1, _LOOKS + 1):
            due = began + look * minutes * 60 / _LOOKS
            while time.monotonic() < due:
                if load.dropped < (time.monotonic() - began) * rate:
                    load.drop()
                await asyncio.sleep(0.2 / rate)
            costs.append(cost(load.pid))
            print(load.row(time.monotonic() - began, costs[-1]), flush=True)
        await load.through()
    quarter = _LOOKS // 4
    early, late = costs[quarter : 2 * quarter], costs[-quarter:]
    told = []
    for name, spare in (("rss", FLAT), ("files", 0.2), ("threads", 0.0)):
        before, after = (sorted(getattr(each, name) for each in some)[quarter // 2] for some in (early, late))
        if after > before * (1 + spare):
            told.append(f"{name} grew from {before:,} to {after:,}, by {after / before - 1:.1%}")
    return told


async def curve(place: Path, powers: int) -> list[str]:
    """Memory after 10², 10³ … messages, as fast as they go."""
    async with loaded(place) as load:
        print(_HEAD)
        began = time.monotonic()
        print(load.row(0.0, cost(load.pid)), flush=True)
        for power in range(2, powers + 1):
            while load.dropped < 10**power:
                load.drop()
                if load.dropped - load.posted > 200:
                    await until(lambda: load.dropped - load.posted < 100, 60.0)
                await asyncio.sleep(0)
            await load.through()
            print(load.row(time.monotonic() - began, cost(load.pid)), flush=True)
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.steady", description="The real process.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (default: 5)")
    parser.add_argument("--rate", type=float, default=10.0, help="messages a second (default: 10)")
    parser.add_argument("--curve", type=int, metavar="N", help="instead: after 10² to 10^N messages")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        work = curve(root, asked.curve) if asked.curve else steadily(root, asked.minutes, asked.rate)
        told = asyncio.run(work)
    for each in told:
        print(f"WRONG: {each}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
