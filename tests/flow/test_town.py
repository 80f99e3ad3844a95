"""A Gas Town from end to end: a human asks, an agent answers by gt's mail, and hears of what failed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import service, status
from spoolbridge.emulator import Emulator
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from tests.support.fake_gt import FakeGt
from tests.support.standing import looked
from tests.support.waiting import until

WITNESS = "villacalculatecost3/witness"


class World:
    """An imaginary guild, a town with a gt, and services that run in this process."""

    def __init__(self, emulator: Emulator, root: Path) -> None:
        self.emulator, self.gt, self.town = emulator, FakeGt(root / "bin"), root / "town"
        for name in ("mayor", "settings", WITNESS):
            (self.town / name).mkdir(parents=True)
        ids = {name: str(emulator.add_channel(name)) for name in ("mayor-villa", "vi-status")}
        file = self.town / "settings" / "discord-channels.json"
        file.write_text(json.dumps({"villacalculatecost3": ids}))
        self.settings = Settings(
            spool=self.town / "spool", channels=file, inbox=self.town / "daemon" / "discord-inbox.jsonl",
            token=emulator.token, api_url=emulator.api_url, guild_id=emulator.guild.id, poll_interval=0.1,
            town=self.town, environment=self.gt.environment,
        )  # fmt: skip
        self.settings.inbox.parent.mkdir()

    async def once(self) -> None:
        await service.run(self.settings, once=True)

    def posted(self, channel: str) -> list[dict[str, Any]]:
        own = str(self.emulator.guild.bot.id)
        return [each for each in self.emulator.messages(channel) if each["author"]["id"] == own]

    def run(self, *arguments: str, role: str = "mayor/") -> None:
        ended = self.gt.run("mail", *arguments, town=self.town, role=role)
        assert (0, "") == (ended.returncode, ended.stderr)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    emulator = Emulator(limits=False)
    async with emulator.serve():
        yield World(emulator, tmp_path)


async def test_the_mayor_answers_by_mail(world: World) -> None:
    """The mail says how first; the answer is a reply, from the mayor, and the mailbox is empty."""
    await world.once()
    said = world.emulator.say("mayor-villa", "how is the build?")
    await world.once()
    [asked] = world.gt.mails
    assert "\nTo answer: gt mail reply <this mail>, or a file in " in asked["body"]
    world.run("reply", asked["id"], "-m", "it is green")
    await world.once()
    [answer] = world.posted("mayor-villa")
    assert ("[mayor] it is green", str(said)) == (
        answer["content"],
        answer["message_reference"]["message_id"],
    )
    assert [asked["id"]] == [each["id"] for each in world.gt.mails]
    await world.once()
    assert 1 == len(world.posted("mayor-villa"))


async def test_a_sender_hears_of_what_failed(world: World) -> None:
    """An escalation that Discord refuses: the witness who sent it is told by mail, once."""
    await world.once()
    world.run("send", "discord/vi-status", "-s", "stuck", "-m", "!!automod please", role=WITNESS)
    for _ in range(3):
        await world.once()
    assert [] == world.posted("vi-status")
    [mail] = world.gt.mails
    assert (WITNESS, "discord/vi-status") == (mail["to"], mail["from"])
    [entry] = (world.settings.spool / "failed" / "vi-status").glob("*.mail")
    assert f"It is kept as {entry}\n" in mail["body"]


async def test_a_running_service(world: World) -> None:
    """It reads the mailboxes, tells of them in STATUS, and of a channel that cannot have one."""
    file = world.settings.channels
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "mayor": "7"}))
    await world.once()
    world.run("send", "discord/vi-status", "-s", "Convoy landed", "-m", "3 beads", role=WITNESS)
    running = asyncio.create_task(service.run(world.settings))
    spool = Spool(world.settings.spool)
    try:
        await until(lambda: world.posted("vi-status"))
        await until(lambda: ((status.read(spool) or {}).get("mail") or {}).get("dropped") == 1)
        told = looked(spool)
        assert 2 == told["mail"]["mailboxes"]
        assert "#mayor has no mailbox: to gt, discord/mayor is the mayor" == told["findings"][0]
        assert f"[{WITNESS}] **Convoy landed**\n3 beads" == world.posted("vi-status")[0]["content"]
    finally:
        spool.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_off(world: World) -> None:
    """Without gt the town's directory is left as it was, and nobody is asked."""
    world.settings = world.settings._replace(gt="off")
    await world.once()
    assert ([], False) == (world.gt.calls, (world.town / "discord").exists())
