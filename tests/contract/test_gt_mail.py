"""The mail delivery: the contract of its files, and what it makes of a gt that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spoolbridge.channels import Channel
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.gt import TIME_OUT
from spoolbridge.gt_mail import LONGEST_AGE, UNCONFIGURED_WAIT, UNKNOWN_WAIT, GtMail
from tests.contract.delivery_contract import DeliveryTests
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, kill_at
from tests.support.fake_gt import FakeGt
from tests.support.messages import SECOND, START, STATUS, VILLA, incoming

CREW = "villacalculatecost3/crew/max"


class TestGtMail(DeliveryTests):
    """The mails wait; whoever reads finds them in state/mail/, the oldest first."""

    def make(self) -> Delivery:
        return GtMail(self.spool_fd, self.cursors, town=self.root, environment={})

    def close(self, delivery: Delivery) -> None:
        assert isinstance(delivery, GtMail)
        delivery.close()

    def read(self) -> list[int]:
        names = (path.name for path in (self.root / "state" / "mail").iterdir())
        return sorted(int(name.removesuffix(".json")) for name in names if not name.startswith("."))

    def test_a_channel_without_an_address_is_not_mailed(self) -> None:
        """Only mayor-* has an address of its own; the rest needs a route."""
        self.delivery.begin(STATUS, START - 1)
        self.delivery.deliver(STATUS, [replace(incoming(), channel=STATUS)])
        assert [] == self.read()

    async def test_a_mail_that_no_cursor_covers_is_not_sent(self, tmp_path: Path) -> None:
        """Died between the file and the cursor, it would be delivered again and come twice."""
        gt = FakeGt(tmp_path / "bin")
        for number in range(1, 1000):
            with kill_at(number) as struck, contextlib.suppress(Killed):
                self.delivery.deliver(VILLA, [incoming()])
            assert struck
            if self.read():
                break
        self.stop()
        self.spool_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.start()
        self.close(self.delivery)
        self.delivery = mail = GtMail(self.spool_fd, self.cursors, town=self.root, environment=gt.environment)
        await mail.send_due()
        assert [] == gt.mails
        mail.deliver(VILLA, [incoming()])
        await mail.send_due()
        assert 1 == len(gt.mails)


class Town:
    """A spool with a mail delivery, a town, and a gt that does as it is told."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, FakeClock()
        self.gt = FakeGt(root / "bin")
        (root / "spool").mkdir()
        (root / "town").mkdir()
        self.spool_fd = os.open(root / "spool", os.O_RDONLY | os.O_DIRECTORY)
        self.open()
        self.mail.begin(VILLA, START - 1)
        self.mail.begin(STATUS, START - 1)

    def open(self) -> None:
        self.cursors = Cursors(self.spool_fd)
        self.mail = GtMail(
            self.spool_fd,
            self.cursors,
            town=self.root / "town",
            environment=self.gt.environment,
            routes={"vi-status": CREW},
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
        )
        self.mail.recover()

    def close(self) -> None:
        self.mail.close()
        self.cursors.close()

    def restart(self) -> None:
        self.close()
        self.open()

    def deliver(self, *ids: int, text: str = "how is the build?") -> None:
        self.mail.deliver(VILLA, [incoming(each, text) for each in ids])

    def deliver_status(self) -> None:
        self.mail.deliver(STATUS, [replace(incoming(), channel=STATUS)])

    async def after(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.mail.send_due()

    async def time_out(self, condition: Callable[[], bool]) -> None:
        """Send; once the condition holds, gt has taken too long."""
        sending = asyncio.create_task(self.mail.send_due())
        await _until(condition)
        await self.clock.sleepers()  # gt may be quicker than whoever waits for it
        self.clock.advance(TIME_OUT)
        await sending

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.root / "spool" / "state" / "mail").iterdir())


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()
    os.close(made.spool_fd)


async def test_the_command_line_and_its_surroundings(town: Town) -> None:
    """An argument list, the town as working directory, and an environment without anybody's role."""
    town.deliver(START)
    await town.mail.send_due()
    call = town.gt.calls[-1]
    subject = "Discord #mayor-villa from nic"
    assert call["argv"] == [
        "mail", "send", "mayor/", "-s", subject, "--stdin", "--from", "discord/mayor-villa",
    ]  # fmt: skip
    assert call["cwd"] == str(town.root / "town")
    kept = {"PATH", "HOME", "LANG", "NO_COLOR", "GT_TOWN_ROOT", "GT_ROOT"}
    assert set(call["env"]) - {"LC_CTYPE"} == kept
    assert call["env"]["GT_TOWN_ROOT"] == str(town.root / "town")


async def test_what_the_agent_reads(town: Town) -> None:
    """Where it comes from, the text, how to answer, and the line that finds the mail again."""
    town.deliver(START)
    await town.mail.send_due()
    assert [
        "Discord #mayor-villa, rig villacalculatecost3, from nic at 2026-11-22 00:00 UTC:",
        "",
        "how is the build?",
        "",
        "-- ",
        "To answer: a file in spool/outgoing/mayor-villa/, or the spoolbridge MCP tools.",
        f"discord-message-id: {START}",
    ] == town.gt.mails[0]["body"].splitlines()


@pytest.mark.parametrize("version", ["0.5.0", "0.12.0", "1.0.0"])
async def test_every_version_gets_the_flags_it_knows(town: Town, version: str) -> None:
    """Sender and body arrive alike, whether there is --from, --stdin or neither; help is asked once."""
    town.gt.be(version)
    town.deliver(START, START + SECOND, text="- a list\n-")
    await town.mail.send_due()
    assert ["discord/mayor-villa"] * 2 == [mail["from"] for mail in town.gt.mails]
    assert "\n\n- a list\n-\n\n" in town.gt.mails[0]["body"]
    assert 1 == len([call for call in town.gt.calls if "--help" in call["argv"]])


async def test_a_gt_exchanged_for_an_older_one(town: Town) -> None:
    """`unknown flag` makes the flags be looked up again, and the mail goes at once."""
    town.deliver(START)
    await town.mail.send_due()
    town.gt.be("0.5.0")
    town.deliver(START + SECOND)
    await town.mail.send_due()
    assert 2 == len(town.gt.mails)
    assert [] == town.files()


async def test_oldest_first_and_nothing_left(town: Town) -> None:
    """Ids of different lengths too; a mail that arrived has no file."""
    town.mail.begin(Channel("mayor-old", 1, None, "mayor-old"), 0)
    town.deliver(START + SECOND, START)
    old = incoming(999_999_999_999_999_999)
    town.mail.deliver(Channel("mayor-old", 1, None, "mayor-old"), [old])
    assert 3 == town.mail.pending
    await town.mail.send_due()
    marks = [mail["body"].split()[-1] for mail in town.gt.mails]
    assert ["999999999999999999", str(START), str(START + SECOND)] == marks
    assert (town.mail.pending, town.mail.last_error, town.mail.last_success) == (0, "", town.clock())


async def test_a_transient_failure_is_tried_again(town: Town) -> None:
    """After five seconds, then as long as it has failed for already; the rest does not wait for it."""
    town.gt.plan("store is down", "ok", "store is down")
    town.deliver(START, START + SECOND)
    await town.mail.send_due()
    assert 1 == len(town.gt.mails)
    assert (1, 0) == (town.mail.pending, town.mail.possibly_twice)
    await town.after(4.9)
    assert 2 == len(town.gt.sends())
    await town.after(0.1)
    assert 3 == len(town.gt.sends())
    await town.after(5.1)
    assert 2 == len(town.gt.mails)
    assert 0 == town.mail.possibly_twice


async def test_a_day_of_failures_gives_up(town: Town) -> None:
    """The file is kept, under a name that says so, and counted across a restart."""
    town.gt.plan(*["store is down"] * 3)
    town.deliver(START)
    await town.mail.send_due()
    await town.after(LONGEST_AGE + 1)
    assert (0, 1) == (town.mail.pending, town.mail.given_up)
    assert [f"{START}.given-up.json"] == town.files()
    town.restart()
    assert 1 == town.mail.given_up
    assert 2 == len(town.gt.sends())


@pytest.mark.parametrize("reason", ["unknown recipient: max", "title must be short", "invalid recipient"])
async def test_a_refused_address_goes_to_the_default_once(town: Town, reason: str) -> None:
    """The mayor gets what nobody else takes."""
    town.gt.plan(reason)
    town.deliver_status()
    await town.mail.send_due()
    assert ["mayor/"] == [mail["to"] for mail in town.gt.mails]
    assert 0 == town.mail.given_up


async def test_refused_by_the_default_too_is_given_up(town: Town) -> None:
    """Twice refused is not tried a third time."""
    town.gt.plan("unknown recipient: max", "unknown recipient: mayor/")
    town.deliver_status()
    await town.mail.send_due()
    assert (2, 1, 0) == (len(town.gt.sends()), town.mail.given_up, town.mail.pending)


async def test_no_town_stops_everything_for_five_minutes(town: Town) -> None:
    """What only an operator can put right is asked for once, not for every mail."""
    town.gt.plan("not in a Gas Town workspace")
    town.deliver(START, START + SECOND)
    await town.mail.send_due()
    await town.after(UNCONFIGURED_WAIT - 1)
    assert 1 == len(town.gt.sends())
    assert "not in a Gas Town workspace" == town.mail.last_error
    await town.after(1)
    assert 2 == len(town.gt.mails)


async def test_no_gt_is_said_in_a_sentence(town: Town) -> None:
    """And mail goes as soon as there is one."""
    program = town.gt.directory / "gt"
    program.rename(town.gt.directory / "elsewhere")
    town.deliver(START)
    await town.mail.send_due()
    assert ("no gt on PATH", 1) == (town.mail.last_error, town.mail.pending)
    (town.gt.directory / "elsewhere").rename(program)
    await town.after(UNCONFIGURED_WAIT)
    assert 1 == len(town.gt.mails)


async def test_killed_at_the_time_out_but_arrived(town: Town) -> None:
    """gt's children deliver all the same: the mail is found in the inbox and not sent again."""
    town.gt.plan("arrive and hang")
    town.deliver(START)
    await town.time_out(lambda: len(town.gt.mails) == 1)
    assert [f"{START}.tried.json"] == town.files()
    await town.after(UNKNOWN_WAIT - 1)
    town.restart()
    await town.after(UNKNOWN_WAIT - 1)
    assert 2 == len(town.gt.calls)
    await town.after(1)
    assert (1, 1, []) == (len(town.gt.mails), len(town.gt.sends()), town.files())
    assert 0 == town.mail.possibly_twice


async def test_killed_at_the_time_out_and_not_there(town: Town) -> None:
    """It is sent again, and counted: had an agent archived it, it would now come twice."""
    town.gt.plan("hang")
    town.deliver(START)
    await town.time_out(lambda: town.gt.begun == 1)
    town.restart()
    await town.after(UNKNOWN_WAIT)
    assert (1, 2, []) == (len(town.gt.mails), len(town.gt.sends()), town.files())
    assert 1 == town.mail.possibly_twice


async def test_an_inbox_that_cannot_be_read_decides_nothing(town: Town) -> None:
    """Without a look nothing is sent again, and the look is made again later."""
    town.gt.plan("arrive and hang")
    town.deliver(START)
    await town.time_out(lambda: len(town.gt.mails) == 1)
    town.restart()
    town.gt.plan(inbox="store is down")
    await town.after(UNKNOWN_WAIT)
    assert 1 == len(town.gt.sends())
    town.gt.plan()
    await town.after(5.1)
    assert (1, []) == (len(town.gt.sends()), town.files())


async def test_cancelled_in_a_try(town: Town) -> None:
    """The service stops while gt runs: gt is ended with it, and the next start looks before it sends."""
    town.gt.plan("arrive and hang")
    town.deliver(START)
    work = asyncio.create_task(town.mail.work())
    await _until(lambda: len(town.gt.mails) == 1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    town.restart()
    await town.after(UNKNOWN_WAIT)
    assert (1, []) == (len(town.gt.sends()), town.files())


async def test_a_delivery_wakes_the_worker(town: Town) -> None:
    """It sleeps for minutes when nothing is due, but not through a message."""
    stop = asyncio.Event()
    work = asyncio.create_task(town.mail.work(stop))
    await town.clock.sleepers()
    await asyncio.to_thread(town.deliver, START)
    await _until(lambda: len(town.gt.mails) == 1)
    stop.set()
    await work
    assert 0 == town.clock.asleep


async def test_a_partial_failure_is_done_and_told(town: Town) -> None:
    """gt ends with 0 although some of a list did not get it: again would be twice for the others."""
    town.gt.plan("partial")
    town.deliver(START)
    await town.mail.send_due()
    assert [] == town.files()
    assert "⚠ Some deliveries failed: list:all" == town.mail.last_error


async def test_a_file_that_is_no_mail_is_put_aside(town: Town) -> None:
    """One damaged file does not hold up the rest."""
    town.deliver(START, START + SECOND)
    (town.root / "spool" / "state" / "mail" / f"{START}.json").write_text('{"message_id": 1}')
    await town.mail.send_due()
    assert (1, 1) == (len(town.gt.mails), town.mail.given_up)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)  # another process's file rings no bell
