"""A spool, an emulator and a service that can be killed: what every crash test is made of.

The emulator lives in the test's process and survives every kill, as Discord would. The invariants are
asserted here, once: nothing lost, nothing repeated, nothing half.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoolbridge.emulator import Emulator
from spoolbridge.spool import Spool
from tests.support.fake_gt import FakeGt
from tests.support.tree import contents

CHANNEL = "mayor-villa"
PICTURE = "chart.png"
_PATIENCE = 20.0  # seconds for one life of the service, far more than it needs


class Zygote:
    """Forks services on request, one after another; and keeps the trees that fresh worlds are copies of."""

    def __init__(self, process: asyncio.subprocess.Process, place: Path) -> None:
        self._process, self.place = process, place
        #: When the guild of a tree was made that has been read once; by whether it stands in a town.
        self.read_once: dict[bool, float] = {}

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(_PATIENCE):
            return dict(json.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def zygote(place: Path) -> AsyncIterator[Zygote]:
    """One that keeps its trees in the directory `place`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.crash.zygote",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        yield Zygote(process, place)
    finally:
        assert process.stdin
        process.stdin.close()
        await process.wait()


@dataclass
class World:
    """One spool with its imaginary guild, and what was put into both."""

    base: Path
    zygote: Zygote
    emulator: Emulator
    dropped: list[str] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    #: What was attached to a message, by its id.
    attached: dict[int, bytes] = field(default_factory=dict)
    time_passed: float = 0.0
    gt: FakeGt | None = None

    def pass_time(self, seconds: float) -> None:
        """Let so much time go by, for the service's next life and for Discord."""
        self.time_passed += seconds

    @property
    def root(self) -> Path:
        return self.base / "spool"

    @property
    def inbox(self) -> Path:
        return self.root / "discord-inbox.jsonl"

    def drop(self, text: str, *, name: str = "note", files: dict[str, bytes] | None = None) -> str:
        """Drop a message, durably, as `send` does; its ID."""
        spool = Spool(self.root)
        try:
            self.dropped.append(text)
            return spool.drop(CHANNEL, text.encode(), name=name, files=files).id
        finally:
            spool.close()

    def say(self, text: str, picture: bytes = b"") -> None:
        said = self.emulator.say(CHANNEL, text, files=[(PICTURE, picture)] if picture else [])
        self.said.append((said, text))
        if picture:
            self.attached[said] = picture

    async def life(self, *, kill_at: int | str | None = None) -> dict[str, Any]:
        """Run the service until all is settled, or until it is killed at that call or request."""
        done = self.base / "done"
        done.unlink(missing_ok=True)
        command = {
            "spool": str(self.root), "channels": str(self.root / "discord-channels.json"),
            "inbox": str(self.inbox), "token": self.emulator.token, "api_url": self.emulator.api_url,
            "guild_id": self.emulator.guild.id, "trace": str(self.base / "trace"),
            "log": str(self.base / "log"), "done": str(done), "kill_at": kill_at,
            "time_passed": self.time_passed, "town": str(self.base / "town") if self.gt else "",
            "environment": self.gt.environment if self.gt else {},
        }  # fmt: skip
        running = asyncio.ensure_future(self.zygote.run(command))
        while not running.done() and not self.settled():
            await asyncio.sleep(0.005)
        done.touch()
        answer = await running
        if not answer["killed"]:
            assert answer["code"] == 0, (self.base / "log").read_text()
        return answer

    def trace(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.base / "trace").read_text().splitlines()]

    def settled(self) -> bool:
        """Whether every drop is sent or failed, every question answered, every human message delivered."""
        if self.files("outgoing") or self.files("sending"):
            return False
        if list((self.root / "state" / "asks").glob("*.json")):
            return False
        high = max((message_id for message_id, _ in self.said), default=0)
        if self.gt and not self._mail_settled(self.gt):
            return False
        deliveries = ("incoming", "inbox", "mail") if self.gt else ("incoming", "inbox")
        return all(self._cursor(delivery) >= high for delivery in deliveries)

    def _mail_settled(self, gt: FakeGt) -> bool:
        """Whether every mail to the channel is archived, and every mail sent, also about what failed."""
        mails = [path.name for path in (self.root / "state" / "mail").glob("*.json")]
        told = [name for name in mails if name.endswith(".told.json")]
        return not gt.unread(f"discord/{CHANNEL}") and (len(self.files("failed")), told) == (len(told), mails)

    def _cursor(self, delivery: str) -> int:
        channel_id = self.emulator.guild.channel(CHANNEL).id
        path = self.root / "state" / "cursors" / f"{channel_id}.{delivery}.json"
        try:
            return int(json.loads(path.read_text())["high"])
        except (FileNotFoundError, ValueError):
            return -1

    def files(self, state: str) -> list[Path]:
        """The entries of a state, a bundle counting as one."""
        depth = {"sent": 3}.get(state, 2)
        found = (self.root / state).glob("/".join("*" * depth))
        return sorted(path for path in found if not path.name.startswith(".") and path.suffix != ".why")

    def posted(self) -> list[str]:
        own = str(self.emulator.guild.bot.id)
        return [each["content"] for each in self.emulator.messages(CHANNEL) if each["author"]["id"] == own]

    def assert_kept(self, *, failed: int = 0) -> None:
        """The promise, for everything that was dropped and said."""
        log = (self.base / "log").read_text()
        assert Counter(self.dropped) == Counter(self.posted()), log
        assert self.files("outgoing") == self.files("sending") == [], log
        assert len(self.dropped) == len(self.files("sent")), log
        assert failed == len(self.files("failed")), log
        for text in (path.read_text() for path in self.files("sent") if path.is_file()):
            assert text in self.dropped
        self._assert_filed(log)

    def _assert_filed(self, log: str) -> None:
        new = sorted((self.root / "incoming" / CHANNEL / "new").glob("*.discord"))
        told = [int(path.name.partition("D")[2].partition(".")[0]) for path in new]
        assert sorted(message_id for message_id, _ in self.said) == sorted(told), log
        for path, (_, text) in zip(new, sorted(self.said), strict=True):
            assert text in path.read_text(), log
        lines = self.inbox.read_text().splitlines() if self.said else []
        assert sorted(message_id for message_id, _ in self.said) == sorted(
            int(json.loads(line)["id"]) for line in lines
        ), log
        assert not list((self.root / "incoming" / CHANNEL / "tmp").iterdir()), log
        self._assert_attached(lines, log)
        if self.gt:
            mailed = [re.findall(r"discord-message-id: (\d+)", mail["body"]) for mail in self.gt.mails]
            assert sorted([str(message_id)] for message_id, _ in self.said) == sorted(mailed), log


    def _assert_attached(self, lines: list[str], log: str) -> None:
        """Every picture is there, whole, and named; and nothing else is."""
        folder = f"attachments/{CHANNEL}"
        expected = {f"{folder}/{each}/{PICTURE}": data for each, data in self.attached.items()}
        assert expected == contents(self.root, "attachments"), log
        assert [] == list((self.root / "tmp").iterdir()), log
        listed = [each["file"] for line in lines for each in json.loads(line)["attachments"]]
        assert sorted(expected) == sorted(listed), log
        new = self.root / "incoming" / CHANNEL / "new"
        for path in expected:
            assert 1 == sum(f"\nX-Attachment: {path}\n" in each.read_text() for each in new.iterdir()), log


@asynccontextmanager
async def world(base: Path, zygote: Zygote, *, mailed: bool = False) -> AsyncIterator[World]:
    """A fresh world whose channel has been read once, so that what is said from now on is new.

    `mailed`: it stands in a Gas Town whose gt works.
    """
    first = zygote.place / ("mailed" if mailed else "plain")
    if mailed not in zygote.read_once:
        born = time.time()
        async with _standing(first, zygote, born, mailed) as made:
            await made.life()
        zygote.read_once[mailed] = born
    shutil.rmtree(base, ignore_errors=True)
    shutil.copytree(first, base)
    async with _standing(base, zygote, zygote.read_once[mailed], mailed) as made:
        yield made


@asynccontextmanager
async def _standing(base: Path, zygote: Zygote, born: float, mailed: bool) -> AsyncIterator[World]:
    """A world around the tree in `base`, if there is one.

    Two guilds that were made at one moment have the same ids: what was read of one was read of the other.
    """
    worlds: list[World] = []

    def clock() -> float:
        return time.time() + worlds[0].time_passed if worlds else born

    emulator = Emulator(limits=False, clock=clock)
    channel_id = emulator.add_channel(CHANNEL)
    async with emulator.serve():
        made = World(base, zygote, emulator)
        if mailed:
            (base / "town" / "mayor").mkdir(parents=True, exist_ok=True)
            made.gt = FakeGt(base / "gt")
        if not made.root.exists():
            Spool.create(made.root).close()
            (made.root / "discord-channels.json").write_text(json.dumps({CHANNEL: str(channel_id)}))
        worlds.append(made)
        yield made
