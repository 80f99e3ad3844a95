"""What failed for good is told to its sender by mail: once an entry, and only where somebody reads it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.gt_mail import UNKNOWN_WAIT, GtMail
from spoolbridge.intake import Intake
from spoolbridge.notices import Notices
from spoolbridge.spool import Spool
from spoolbridge.town import entry_of
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, kill_at
from tests.support.fake_gt import FakeGt
from tests.support.messages import STATUS, VILLA
from tests.support.waiting import until

MAX = "villacalculatecost3/crew/max"
WITNESS = "villacalculatecost3/witness"
VGT = Channel("vgt", 1, None, "vgt")
FARM = Channel("mayor-farm", 2, None, "mayor-farm")


class World:
    """A spool in which drops fail, and the mail of a town."""

    def __init__(self, root: Path) -> None:
        self.clock, self.gt = FakeClock(), FakeGt(root / "bin")
        self.root = root / "town"
        (self.root / WITNESS).mkdir(parents=True)
        self.spool = Spool.create(root / "spool", clock=self.clock)
        self.since = 0.0
        self.start()

    def start(self) -> None:
        """A service's start."""
        self.cursors = Cursors(self.spool.fd)
        self.mail = GtMail(
            self.spool.fd, self.cursors, town=self.root, environment=self.gt.environment, clock=self.clock,
            sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip
        self.mail.recover()
        registry = Registry([VILLA, STATUS, VGT, FARM])
        self.notices = Notices(
            self.spool, lambda: registry, self.mail, self.root, since=self.since, clock=self.clock,
            routes={"vgt": "overseer"} if self.since < 0 else {},
        )  # fmt: skip

    def close(self) -> None:
        self.mail.close()
        self.cursors.close()

    def restart(self) -> None:
        self.close()
        self.start()

    def fail(self, text: str = "hello", channel: str = "vi-status", reason: str = "Discord says no") -> Path:
        """A drop has failed; where its entry lies."""
        self.spool.drop(channel, text.encode(), name="note")
        claim = Intake(self.spool, clock=self.clock).claim(channel)
        assert claim is not None and not isinstance(claim, float)
        return self.spool.root / claim.failed(reason)

    async def told(self) -> list[str]:
        """The addresses that got a mail, once all is sent."""
        self.notices.look()
        await self.mail.send_due()
        return [mail["to"] for mail in self.gt.mails]

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.spool.root / "state" / "mail").iterdir())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
    made.spool.close()


def from_max(text: str = "hello") -> str:
    """What is dropped for a mail of his."""
    from spoolbridge.mail import AgentMail

    return entry_of(AgentMail("hq-1", MAX, "", text, 1.0, "")).decode()


async def test_the_sender_of_a_mail_is_told(world: World) -> None:
    """Why, where the entry and its reason lie, which mail it was; and an answer is posted."""
    entry = world.fail(from_max(), reason="AutoMod\nrefuses `it`")
    assert [MAX] == await world.told()
    [mail] = world.gt.mails
    assert ("discord/vi-status", "Discord #vi-status: not posted (AutoMod refuses it)") == (
        mail["from"],
        mail["subject"],
    )
    assert [
        "A message for Discord #vi-status failed: AutoMod refuses `it`.",
        "",
        "It was your mail hq-1.",
        f"It is kept as {entry}",
        f"Why, and the command that retries it: {entry}.why",
        "What you answer to this mail (gt mail reply) is posted in #vi-status.",
        "",
        "-- ",
        f"spoolbridge-entry: {entry.name.removesuffix('.note')}",
    ] == mail["body"].splitlines()


@pytest.mark.parametrize(
    ("channel", "text", "told"),
    [
        ("mayor-farm", "hello", ["mayor/"]),  # whose channel it is
        ("vi-status", "hello", [WITNESS]),  # of the channel's rig
        ("vgt", "Spoolbridge: 1\nRig: villacalculatecost3\nNo-Such: key\n\nhello", [WITNESS]),
        ("vgt", "hello", []),
        ("vgt", "Spoolbridge: 1\nX-Mail-From: deacon/\n\nhello", ["deacon/"]),  # a dropper who wants to know
        ("vgt", "Spoolbridge: 1\nRig: farm\n\nhello", []),  # the town has no such rig
        ("vgt", "Spoolbridge: 1\nRig: ../town/villacalculatecost3\n\nhello", []),
        ("vgt", "Spoolbridge: 1\nX-Mail-From: --help\n\nhello", []),
        ("vgt", "Spoolbridge: 1\nX-Mail-From: discord/vi-status\n\nhello", []),  # no mail of ours begets one
        ("nowhere", "hello", []),
    ],
)
async def test_only_an_address_that_is_known(world: World, channel: str, text: str, told: list[str]) -> None:
    """gt brings a mail to any witness and says that all is well; nobody would read it."""
    world.fail(text, channel)
    assert told == await world.told()


async def test_a_route_is_an_address(world: World) -> None:
    """Who gets the channel's mail hears of what failed there."""
    world.since = -1.0
    world.restart()
    world.fail(channel="vgt")
    assert ["overseer"] == await world.told()


async def test_told_once(world: World) -> None:
    """Not after a restart, nor when a retry fails again; what is gone at last is forgotten."""
    entry = world.fail()
    assert [WITNESS] == await world.told() == await world.told()
    world.restart()
    assert [WITNESS] == await world.told()
    back = world.spool.root / "outgoing" / "vi-status" / entry.name
    entry.rename(back)
    world.notices.look()
    claim = Intake(world.spool, clock=world.clock).claim("vi-status")
    assert claim is not None and not isinstance(claim, float)
    claim.failed("again")
    assert [WITNESS] == await world.told()
    assert [f"{entry.name.removesuffix('.note')}.told.json"] == world.files()
    entry.unlink()
    world.restart()
    assert [WITNESS] == await world.told()
    assert [] == world.files()


async def test_what_failed_before_is_nobodys_news(world: World) -> None:
    """The first start in a town does not mail all that ever failed."""
    entry = world.fail()
    for path in (entry, Path(f"{entry}.why")):
        os.utime(path, (100.0, 100.0))
    world.since = 101.0
    world.restart()
    assert [] == await world.told()


async def test_a_bundle_and_what_cannot_be_read(world: World) -> None:
    """Its body says who sent it; a link is not followed, and told to the channel's own."""
    world.spool.drop("vgt", from_max().encode(), files={"a.png": b"\x89"})
    claim = Intake(world.spool, clock=world.clock).claim("vgt")
    assert claim is not None and not isinstance(claim, float)
    claim.failed("no")
    secret = world.root / "secret"
    secret.write_text(from_max())
    (world.spool.root / "outgoing" / "vi-status").mkdir()
    (world.spool.root / "outgoing" / "vi-status" / "link").symlink_to(secret)
    Intake(world.spool, clock=world.clock).claim("vi-status")
    assert sorted([MAX, WITNESS]) == sorted(await world.told())


async def test_an_unsure_mail_is_looked_up(world: World) -> None:
    """Killed at its time-out it has arrived: found by its last line, it is not sent again."""
    world.gt.plan("arrive and hang")
    world.fail()
    world.notices.look()
    import asyncio

    sending = asyncio.create_task(world.mail.send_due())
    await until(lambda: len(world.gt.mails) == 1)
    world.clock.advance(120)
    await sending
    world.restart()
    world.clock.advance(UNKNOWN_WAIT)
    assert [WITNESS] == await world.told()
    assert 1 == len(world.gt.sends())


async def test_killed_anywhere(world: World) -> None:
    """At each change of the disk between the failure and the end of the mail: one mail an entry."""
    struck, number = True, 0
    while struck:
        number += 1
        world.fail(f"{number}")
        with kill_at(number) as strike, contextlib.suppress(Killed):
            await world.told()
        struck = strike.happened
        world.restart()
        world.clock.advance(UNKNOWN_WAIT)
        assert number == len(await world.told())
        assert number == len({mail["body"] for mail in world.gt.mails})
    assert number > 5
