"""The mailboxes of a town: a mail to `discord/<channel>`, by a gt that misbehaves, becomes one drop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from spoolbridge import header, identity
from spoolbridge.channels import Registry
from spoolbridge.cursor import Cursors
from spoolbridge.gt import TIME_OUT, Gt
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.mail import compose
from spoolbridge.spool import Spool
from spoolbridge.town import EVERY, REFUSED_WAIT, Town, served_since
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, kill_at
from tests.support.fake_gt import FakeGt
from tests.support.messages import START, STATUS, VILLA, incoming
from tests.support.tree import tree

MAX = "villacalculatecost3/crew/max"
TO_STATUS, TO_VILLA = "discord/vi-status", "discord/mayor-villa"


class World:
    """A spool, a town, a gt, and what reads the mailboxes of two channels."""

    def __init__(self, root: Path) -> None:
        self.clock, self.gt = FakeClock(), FakeGt(root / "bin")
        self.since = self.clock() - 3600
        self.root = root / "town"
        (self.root / "mayor").mkdir(parents=True)
        self.spool = Spool.create(root / "spool", clock=self.clock)
        self.registry = Registry([VILLA, STATUS])
        self.start()

    def start(self, *, patient: bool = False) -> None:
        """A service's start. `patient`: the test's clock is not that of gt's time-out."""
        sleep = asyncio.sleep if patient else self.clock.sleep
        gt = Gt(self.root, environment=self.gt.environment, sleep=sleep)
        self.town = Town(
            self.spool, lambda: self.registry, gt, self.root, since=self.since, clock=self.clock,
            sleep=self.clock.sleep,
        )  # fmt: skip

    def mail(
        self, to: str = TO_STATUS, subject: str = "Convoy landed", body: str = "3 beads", **more: str
    ) -> str:
        return self.gt.mail(to, subject, body, at=self.clock(), **more)

    async def round(self) -> None:
        """Every mailbox that is due after a while."""
        self.clock.advance(EVERY)
        await self.town.visit_all()

    def entries(self, channel: str = "vi-status", state: str = "outgoing") -> list[bytes]:
        return [path.read_bytes() for path in sorted((self.spool.root / state / channel).glob("2*"))]

    def asked(self) -> list[list[str]]:
        return [call["argv"][1:] for call in self.gt.calls]

    def file(self, message_id: int, **changes: object) -> None:
        """A human's message is in `incoming/`."""
        cursors = Cursors(self.spool.fd)
        delivery = IncomingFile(self.spool.fd, cursors)
        delivery.begin(VILLA, message_id - 1)
        delivery.deliver(VILLA, [incoming(message_id, **changes)])  # type: ignore[arg-type]
        cursors.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.spool.close()


async def test_a_mail_becomes_one_drop(world: World) -> None:
    """Sender, subject and text arrive; the mail is archived as the channel's own, once."""
    mail_id = world.mail(body="3 beads\nsee the log")
    await world.round()
    [entry] = world.entries()
    options, text = header.parse(entry.decode())
    assert (MAX, "**Convoy landed**\n3 beads\nsee the log") == (options.rig, text)
    assert f"X-Mail-Id: {mail_id}\nX-Mail-From: {MAX}\n" in entry.decode()
    assert ([], []) == (world.gt.unread(TO_STATUS), world.gt.mails)
    archived = world.gt.calls[-1]
    assert (["mail", "archive", mail_id], TO_STATUS) == (archived["argv"], archived["env"]["GT_ROLE"])
    await world.round()
    assert (1, 1, "") == (len(world.entries()), world.town.dropped, world.town.last_error)


async def test_a_directory_makes_the_address(world: World) -> None:
    """`gt mail send` to a channel fails before the bridge has served the town, and works from then on."""
    send = "mail", "send", TO_STATUS, "-s", "stuck", "-m", "the deacon"
    assert 1 == world.gt.run(*send, town=world.root).returncode
    await world.round()
    assert ["mayor-villa", "vi-status"] == sorted(path.name for path in (world.root / "discord").iterdir())
    assert 0 == world.gt.run(*send, town=world.root).returncode


async def test_the_directories_follow_the_channels_file(world: World) -> None:
    """A channel that is added gets a mailbox at once; one that gt would take for an agent gets none."""
    await world.round()
    farm = STATUS._replace(name="farm", id=9, address="farm")
    double = STATUS._replace(name="ops", id=10, address="farm.ops")
    agents = [STATUS._replace(name=name, id=11, address=name) for name in ("mayor", "deacon")]
    world.registry = Registry([VILLA, farm, double, *agents])
    await world.town.visit_all()
    made = {each.name for each in (world.root / "discord").iterdir()}
    assert {"mayor-villa", "vi-status", "farm", "10"} == made
    assert (3, 2) == (world.town.mailboxes, len(world.town.findings))
    assert "#mayor has no mailbox: to gt, discord/mayor is the mayor" == world.town.findings[0]


async def test_each_mailbox_in_its_turn(world: World) -> None:
    """Round robin, and none before its time."""
    await world.round()
    await world.town.visit_all()
    await world.round()
    round_ = [["inbox", each, "--unread", "--json"] for each in (TO_VILLA, TO_STATUS)]
    assert round_ * 2 == world.asked()


async def test_once_is_once(world: World) -> None:
    """A gt so slow that a mailbox is due again before the round is over does not make it endless."""
    visit = world.town.visit_next

    async def slowly() -> bool:
        world.clock.advance(2 * EVERY)
        return await visit()

    world.town.visit_next = slowly  # type: ignore[method-assign]
    await world.town.visit_all()
    assert [TO_VILLA, TO_STATUS] == [asked[1] for asked in world.asked()]


async def test_oldest_first(world: World) -> None:
    """gt tells the newest first; what was written first is posted first."""
    for number in range(3):
        world.mail(subject="", body=f"{number}")
        world.clock.advance(1)
    await world.round()
    assert ["0", "1", "2"] == [header.parse(each.decode())[1] for each in world.entries()]
    written = datetime.fromtimestamp(world.clock() - EVERY - 3, UTC).strftime("%Y%m%dT%H%M%S.000000Z-")
    assert tree(world.spool.root, "outgoing")["outgoing/vi-status"][0].startswith(written)


@pytest.mark.parametrize("version", ["0.5.0", "0.12.0", "1.0.0"])
async def test_every_version(world: World, version: str) -> None:
    """An empty inbox is [] or null."""
    world.gt.be(version)
    await world.round()
    assert "" == world.town.last_error
    world.mail()
    await world.round()
    assert (1, "") == (len(world.entries()), world.town.last_error)


async def test_what_was_written_before_is_left_alone(world: World) -> None:
    """Nobody meant it for Discord; it stays unread, and is counted."""
    old = world.gt.mail(TO_STATUS, "old", "news", at=world.since - 1)
    new = world.gt.mail(TO_STATUS, "new", "news", at=world.since + 1)
    await world.round()
    assert (1, 1) == (world.town.left_alone, len(world.entries()))
    assert ([old], True) == (world.gt.unread(TO_STATUS), new not in str(world.gt.mails))


async def test_an_archive_that_fails_repeats_nothing(world: World) -> None:
    """Found unread again, in this life or the next, the mail is known by its entry, wherever that is."""
    world.gt.plan(archive="store is down", mark_read="store is down")
    mail_id = world.mail()
    await world.round()
    assert f"{mail_id} of {TO_STATUS} was dropped, but not archived: store is down" == world.town.last_error
    await world.round()
    world.start()
    await world.round()
    [entry] = (world.spool.root / "outgoing" / "vi-status").iterdir()
    (world.spool.root / "sending" / "vi-status").mkdir()
    entry.rename(world.spool.root / "sending" / "vi-status" / entry.name)
    world.start()
    await world.round()
    assert [] == world.entries()
    world.gt.plan()
    await world.round()
    assert ([], [], "") == (world.entries(), world.gt.mails, world.town.last_error)


async def test_without_archive_it_is_marked_read(world: World) -> None:
    """A gt that cannot archive still takes the mail out of the unread ones."""
    world.gt.plan(archive="unknown command")
    world.mail()
    await world.round()
    assert ([], 1, "") == (world.gt.unread(TO_STATUS), len(world.gt.mails), world.town.last_error)


async def test_an_archive_that_hangs(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Killed at the time-out it may have been done all the same: the next look tells."""
    world.gt.plan(archive="archived, but it hangs")
    world.mail()
    world.clock.advance(EVERY)
    visit = asyncio.create_task(world.town.visit_all())
    async with asyncio.timeout(20):
        while world.gt.mails:
            await asyncio.sleep(0.005)
    await world.clock.sleepers()
    world.clock.advance(TIME_OUT)
    await visit
    assert "gt mail archive did not end in time" in caplog.text
    world.gt.plan()
    await world.round()
    assert (1, "") == (len(world.entries()), world.town.last_error)


async def test_killed_anywhere_in_a_drop(world: World) -> None:
    """At each change of the disk; the next start drops what was not dropped, and nothing twice."""
    await world.round()
    struck, number = True, 0
    while struck:
        number += 1
        mail_id = world.mail(subject=f"{number}", body="text")
        world.clock.advance(EVERY)
        with kill_at(number) as strike, contextlib.suppress(Killed):
            await world.town.visit_all()
        struck = strike.happened
        world.start()
        await world.round()
        assert [] == world.gt.unread(TO_STATUS), mail_id
        assert [f"**{each}**\ntext" for each in range(1, number + 1)] == [
            header.parse(each.decode())[1] for each in world.entries()
        ]
        assert {} == tree(world.spool.root, "tmp")
    assert number > 5


async def test_the_id_is_the_mails(world: World) -> None:
    """Of its time and its id, and not of another mail of the same second."""
    first, second = (identity.derived(world.clock(), f"{TO_STATUS}\n{each}") for each in ("hq-1", "hq-2"))
    assert first != second
    assert world.clock() == identity.time_of(first)
    world.mail(id="hq-1")
    await world.round()
    assert [f"{identity.derived(world.clock() - EVERY, f'{TO_STATUS}{chr(10)}hq-1')}.mail"] == [
        path.name for path in (world.spool.root / "outgoing" / "vi-status").iterdir()
    ]


async def _forwarded(world: World, **changes: object) -> str:
    """A human's message was filed and mailed to the mayor; the mail's id."""
    message = incoming(START, **changes)  # type: ignore[arg-type]
    mail = compose(message, "mayor/", polled_id=VILLA.id, now=0.0, spool="spool", replies=True)
    return world.gt.mail("mayor/", mail.subject, mail.body, at=world.clock(), **{"from": mail.sender})


async def test_a_reply_answers_the_message(world: World) -> None:
    """`gt mail reply` carries no marker: the mail that it answers is found where the answer comes from."""
    world.since = 0.0  # the program's clock is the machine's
    world.start()
    await world.round()
    world.file(START)
    asked = await _forwarded(world)
    replied = world.gt.run("mail", "reply", asked, "-m", "it is green", town=world.root)
    assert (0, "") == (replied.returncode, replied.stderr)
    await world.round()
    options, text = header.parse(world.entries("mayor-villa")[0].decode())
    assert (START, None, "mayor", "it is green") == (options.reply_to, options.thread, options.rig, text)


async def test_an_answer_into_a_thread(world: World) -> None:
    """The message lies in a thread, so its answer goes there."""
    world.file(START, channel_id="77")
    world.mail(TO_VILLA, "Re: x", f"yes\n\n> discord-message-id: {START}")
    await world.round()
    options, text = header.parse(world.entries("mayor-villa")[0].decode())
    assert (START, 77, "yes") == (options.reply_to, options.thread, text)


async def test_what_is_quoted_from_elsewhere_is_no_answer(world: World) -> None:
    """A message of another channel cannot be answered here."""
    world.file(START)
    world.mail(TO_STATUS, "fyi", f"look\ndiscord-message-id: {START}")
    await world.round()
    options, text = header.parse(world.entries()[0].decode())
    assert (None, "**fyi**\nlook") == (options.reply_to, text)


async def test_an_answer_to_an_archived_mail_is_a_message(world: World) -> None:
    """Nothing tells any more which message it was about; the text goes out all the same."""
    world.mail(TO_VILLA, "Re: Discord #mayor-villa from nic", "yes", reply_to="hq-gone")
    await world.round()
    options, text = header.parse(world.entries("mayor-villa")[0].decode())
    assert (None, "**Re: Discord #mayor-villa from nic**\nyes") == (options.reply_to, text)


async def test_a_store_that_is_down_is_asked_less(world: World) -> None:
    """One failure speaks for all mailboxes, and the next success for the end of it."""
    world.gt.plan(inbox="dolt: connection refused")
    await world.round()
    assert 1 == len(world.asked())
    assert "dolt: connection refused" in world.town.last_error
    world.clock.advance(600)
    await world.town.visit_all()
    assert 2 == len(world.asked())
    world.gt.plan()
    world.mail()
    world.clock.advance(600)
    await world.town.visit_all()
    assert (1, "") == (len(world.entries()), world.town.last_error)


async def test_a_refused_mailbox_is_refused_alone(world: World) -> None:
    """Its directory was removed: it is made again, and the others are looked into as before."""
    await world.round()
    world.gt.plan(inbox="unknown address: discord/mayor-villa")
    (world.root / "discord" / "vi-status").rmdir()
    await world.round()
    assert 4 == len(world.asked())
    world.gt.plan()
    world.clock.advance(REFUSED_WAIT)
    await world.town.visit_all()
    assert (world.root / "discord" / "vi-status").is_dir()
    assert "" == world.town.last_error


async def test_a_town_that_cannot_be_written_to(world: World) -> None:
    """Said in a sentence, and tried again."""
    (world.root / "discord").write_text("not a directory")
    await world.round()
    said = f"{world.root / 'discord'} cannot be made (Not a directory): no channel gets mail"
    assert said == world.town.last_error
    (world.root / "discord").unlink()
    world.clock.advance(REFUSED_WAIT)
    await world.town.visit_all()
    assert (2, "") == (len(world.asked()), world.town.last_error)


async def test_a_damaged_mail_hides_no_other(world: World) -> None:
    """An id that looks like a flag is never told to gt; a mail without a time is dropped all the same."""
    world.mail(id="--help")
    world.mail(subject="", body="fine", timestamp="yesterday", id="hq-2")
    await world.round()
    assert ["fine"] == [header.parse(each.decode())[1] for each in world.entries()]
    assert ["--help"] == [mail["id"] for mail in world.gt.mails]


async def test_one_gt_at_a_time(world: World) -> None:
    """Mails out and mailboxes in share it: what comes second waits."""
    gt = Gt(world.root, environment=world.gt.environment, sleep=world.clock.sleep)
    world.gt.plan("hang")
    message = incoming(START, channel_id=str(VILLA.id))
    mail = compose(message, "mayor/", polled_id=VILLA.id, now=0.0, spool="spool")
    sending = asyncio.create_task(gt.send(mail))
    async with asyncio.timeout(20):
        while not world.gt.begun:
            await asyncio.sleep(0.005)
    reading = asyncio.create_task(gt.inbox(TO_VILLA))
    await asyncio.sleep(0)
    before = len(world.gt.calls)
    await world.clock.sleepers()
    world.clock.advance(TIME_OUT)
    await sending
    assert ([], before + 1) == (await reading, len(world.gt.calls))


async def test_it_works_until_it_is_cancelled(world: World) -> None:
    """A mail that comes while it sleeps is dropped after its wake."""
    world.start(patient=True)
    work = asyncio.create_task(world.town.work())
    for _ in range(3):
        await world.clock.sleepers()
        world.clock.advance(EVERY)
    world.mail()
    async with asyncio.timeout(20):
        while not world.entries():
            await world.clock.sleepers()
            world.clock.advance(EVERY)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


def test_the_first_start_is_noted_once(world: World) -> None:
    """Whatever is started later."""
    assert world.clock() == served_since(world.spool, world.clock)
    before = world.clock()
    world.clock.advance(100)
    assert before == served_since(world.spool, world.clock)
