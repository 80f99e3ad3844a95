"""The lists of what was handed over: what is written, what is read back, and that no cursor is ever ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from unittest.mock import patch

import pytest

from spoolbridge import atomic
from spoolbridge.cursor import OVERLAP, Cursors, Position, positions
from spoolbridge.deliveries import Delivery
from spoolbridge.gt_mail import GtMail
from spoolbridge.handed import Handed, beginnings, day_of, handed_over
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.messages import SECOND, START, VILLA, incoming

DAY = 86_400 * SECOND
TODAY = date(2026, 11, 22)
DELIVERIES = ("incoming", "inbox", "mail")
MORE_THAN_ENOUGH = 1000  # changes of the file system in one call


@pytest.fixture
def state(tmp_path: Path) -> Iterator[int]:
    with atomic.directory(tmp_path) as fd:
        yield fd


@pytest.fixture
def handed(state: int) -> Iterator[Handed]:
    made = Handed(state)
    yield made
    made.close()


def test_a_line_names_channel_and_message(handed: Handed, tmp_path: Path) -> None:
    """In the list of the message's own day and of its delivery, by ascending id."""
    handed.record("inbox", 7, [START + SECOND, START])
    assert f"7 {START}\n7 {START + SECOND}\n" == (tmp_path / "handed/2026-11-22.inbox.log").read_text()


def test_the_day_is_the_one_in_the_id(handed: Handed, state: int, tmp_path: Path) -> None:
    """A page that spans midnight is found from whichever day is asked for; our own clock has no say."""
    ids = [START - SECOND, START, START + DAY]
    handed.record("incoming", 7, ids)
    assert [date(2026, 11, 21), TODAY, date(2026, 11, 23)] == [day_of(each) for each in ids]
    for number, day in enumerate((date(2026, 11, 21), TODAY, date(2026, 11, 23), date(2026, 11, 24))):
        assert {(7, each) for each in ids[number:]} == handed_over(state, "incoming", day)


def test_deliveries_have_lists_of_their_own(handed: Handed, state: int) -> None:
    """What is in the Maildir need not be in the inbox file."""
    handed.record("incoming", 7, [START])
    handed.begin("incoming", 7, START - 1)
    assert (set(), {}) == (handed_over(state, "inbox", TODAY), beginnings(state, "inbox"))


def test_who_only_looks_makes_nothing(state: int, tmp_path: Path) -> None:
    """Where nothing was ever handed over there is nothing, and it stays so."""
    assert (set(), {}) == (handed_over(state, "incoming", TODAY), beginnings(state, "incoming"))
    assert [] == list(tmp_path.iterdir())


def test_the_first_beginning_counts(handed: Handed, state: int) -> None:
    """A cursor that was lost begins anew; what was missed in between is then still owed."""
    handed.begin("inbox", 7, START)
    again = Handed(state)
    again.begin("inbox", 7, START + DAY)
    again.begin("inbox", 8, START + DAY)
    again.close()
    assert {7: START, 8: START + DAY} == beginnings(state, "inbox")


def test_a_beginning_that_was_noted_twice(handed: Handed, state: int) -> None:
    """The line was written and its directory could not be synced: noted again, later, the first counts."""
    failed = OSError(28, "No space left on device")
    with patch.object(atomic, "sync_directory", side_effect=failed), suppress(OSError):
        handed.begin("inbox", 7, START)
    handed.begin("inbox", 7, START + DAY)
    assert {7: START} == beginnings(state, "inbox")


def test_a_page_costs_one_write_and_one_fsync(handed: Handed) -> None:
    """However many messages it has."""
    handed.record("inbox", 7, [START])
    for count in (1, 100):
        with (
            patch.object(os, "fsync", wraps=os.fsync) as synced,
            patch.object(os, "write", wraps=os.write) as wrote,
        ):
            handed.record("inbox", 7, [START + number for number in range(count)])
        assert (1, 1) == (synced.call_count, wrote.call_count)


def test_a_torn_last_line_is_cut_and_kept_aside(handed: Handed, state: int, tmp_path: Path) -> None:
    """Written on, it would become one line with the next and hide both ids."""
    (tmp_path / "handed/2026-11-22.inbox.log").write_text(f"7 {START}\n7 1573")
    handed.record("inbox", 7, [START + SECOND])
    assert {(7, START), (7, START + SECOND)} == handed_over(state, "inbox", TODAY)
    assert "7 1573" == (tmp_path / "handed/2026-11-22.inbox.log.torn").read_text()


def test_a_line_that_could_not_be_cut_is_cut_before_the_next(handed: Handed, state: int) -> None:
    """The disk was full in the middle of a line, and then refused to take it back."""
    handed.record("inbox", 7, [START])
    write, refused = os.write, OSError(5, "Input/output error")
    with (
        patch.object(os, "write", lambda fd, data: write(fd, data[:9])),
        patch.object(os, "ftruncate", side_effect=refused),
        pytest.raises(OSError, match="only a part"),
    ):
        handed.record("inbox", 7, [START + SECOND])
    handed.record("inbox", 7, [START + 2 * SECOND])
    assert {(7, START), (7, START + 2 * SECOND)} == handed_over(state, "inbox", TODAY)


def test_half_a_line_is_no_id(handed: Handed, state: int, tmp_path: Path) -> None:
    """Whoever looks while it is written must not take the beginning of an id for an id."""
    (tmp_path / "handed/2026-11-22.inbox.log").write_bytes(b"7 15738505003\x00\n\0\0\0\nx y\n7 1\n7 157385")
    assert {(7, 1)} == handed_over(state, "inbox", TODAY)


def test_a_failed_line_is_written_whole_the_next_time(state: int, tmp_path: Path) -> None:
    """Whichever call fails, nothing half stays, and the second try is listed and durable."""
    for number in range(1, MORE_THAN_ENOUGH):
        delivery = f"inbox-{chr(96 + number)}"
        handed = Handed(state)
        with fail_at(number) as struck, suppress(OSError):
            handed.record(delivery, 7, [START])
        handed.record(delivery, 7, [START + SECOND])
        handed.close()
        if not struck:
            return
        listed = handed_over(state, delivery, TODAY)
        assert listed in ({(7, START + SECOND)}, {(7, START), (7, START + SECOND)}), f"call {number} failed"
    raise AssertionError("record never ended")


@dataclass
class World:
    """One spool with one delivery, killed and started again; a reader takes what it is given at once."""

    root: Path
    name: str

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.got: list[int] = []
        self.start()
        self.delivery.begin(VILLA, START - 1)

    def start(self) -> None:
        self.fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.cursors = Cursors(self.fd)
        self.delivery: Delivery
        if self.name == "incoming":
            self.delivery = IncomingFile(self.fd, self.cursors)
        elif self.name == "inbox":
            self.delivery = InboxFile(self.root / "discord-inbox.jsonl", self.cursors)
        else:
            self.delivery = GtMail(self.fd, self.cursors, town=self.root, environment={})
        self.delivery.recover()

    def stop(self) -> None:
        if isinstance(self.delivery, GtMail):
            self.delivery.close()
        self.cursors.close()
        os.close(self.fd)

    def read(self) -> list[int]:
        """The ids that were delivered so far, as often as they were."""
        if self.name == "inbox":
            path = self.root / "discord-inbox.jsonl"
            lines = path.read_text().splitlines(True) if path.exists() else []
            return [int(line.partition('"id": "')[2][:19]) for line in lines if line.endswith("\n")]
        if self.name == "mail":
            names = [each.name for each in (self.root / "state" / "mail").iterdir()]
            return sorted(int(name.partition(".")[0]) for name in names if not name.startswith("."))
        for path in sorted((self.root / "incoming/mayor-villa/new").iterdir()):
            self.got.append(int(path.name.partition("D")[2].partition(".")[0]))
            path.unlink()
        return self.got

    def passed(self, ids: list[int]) -> set[int]:
        """Those of the ids that the cursor on disk is done with."""
        return {each for each in ids if self.position().seen(each)}

    def position(self) -> Position:
        with atomic.directory(self.root / "state") as state:
            return positions(state, self.name)[VILLA.id]

    def listed(self) -> set[int]:
        with atomic.directory(self.root / "state") as state:
            return {each for _, each in handed_over(state, self.name, TODAY)}


@pytest.mark.parametrize("name", DELIVERIES)
def test_no_cursor_has_passed_an_id_that_is_not_listed(name: str, tmp_path: Path) -> None:
    """Wherever the process dies: listed, then passed; and what is listed was delivered."""
    ids = [START, START + SECOND, START + 60 * SECOND]  # the first two lie below the floor afterwards
    for number in range(1, MORE_THAN_ENOUGH):
        world = World(tmp_path / f"{number}", name)
        with suppress(Killed), kill_at(number) as struck:
            world.delivery.deliver(VILLA, [incoming(each) for each in ids])
        assert world.passed(ids) <= world.listed() <= set(world.read()), f"died at call {number}"
        world.stop()
        world.start()
        assert world.passed(ids) <= world.listed() <= set(world.read()), f"restarted after call {number}"
        world.delivery.deliver(VILLA, [incoming(each) for each in ids])
        world.stop()
        assert set(ids) == world.passed(ids) == world.listed(), f"died at call {number}"
        assert ids == world.read(), f"died at call {number}"
        if not struck:
            return
    raise AssertionError("deliver never ended")


@pytest.mark.parametrize("name", DELIVERIES)
def test_a_redelivery_that_dies_may_be_made_again(name: str, tmp_path: Path) -> None:
    """What the cursor had passed over comes once, wherever the process died, and what it had not, too."""
    high, ids = START + 60 * SECOND, [START, START + SECOND, START + 61 * SECOND]
    for number in range(1, MORE_THAN_ENOUGH):
        world = World(tmp_path / f"{number}", name)
        world.delivery.deliver(VILLA, [incoming(high)])
        with suppress(Killed), kill_at(number) as struck:
            world.delivery.redeliver(VILLA, [incoming(each) for each in ids], after=high)
        world.read()
        world.stop()
        world.start()
        owed = [each for each in ids if each not in world.listed() or each in world.position().missed]
        world.delivery.redeliver(VILLA, [incoming(each) for each in owed], after=high)
        world.delivery.deliver(VILLA, [incoming(each) for each in (*ids, high)])  # as the service's next page
        world.stop()
        assert sorted([*ids, high]) == sorted(world.read()), f"died at call {number}"
        assert {*ids, high} == world.passed([*ids, high]) == world.listed(), f"died at call {number}"
        if not struck:
            return
    raise AssertionError("redeliver never ended")


def test_a_mail_that_is_made_again_is_not_sent_before_it_is_listed(tmp_path: Path) -> None:
    """Its cursor has passed it long ago, which must not count: sent now, it would be sent again."""
    for number in range(1, MORE_THAN_ENOUGH):
        world = World(tmp_path / f"{number}", "mail")
        world.delivery.deliver(VILLA, [], upto=START + 60 * SECOND)
        with suppress(Killed), kill_at(number) as struck:
            world.delivery.redeliver(VILLA, [incoming()], after=START)
        world.stop()
        world.start()
        assert isinstance(world.delivery, GtMail)
        assert (world.delivery._next() is not None) <= (START in world.listed()), f"died at call {number}"
        world.stop()
        if not struck:
            return
    raise AssertionError("redeliver never ended")


def test_a_cursor_older_than_its_list_begins_one(tmp_path: Path) -> None:
    """Where the lists were lost, they begin where the cursor is: nothing before it can be proved."""
    world = World(tmp_path / "spool", "inbox")
    world.delivery.deliver(VILLA, [incoming(START)])
    world.stop()
    for path in (world.root / "state/handed").iterdir():
        path.unlink()
    world.start()
    late = START - 5 * SECOND + 60 * SECOND
    world.delivery.deliver(VILLA, [incoming(START + 60 * SECOND), incoming(late)])
    world.stop()
    with atomic.directory(world.root / "state") as state:
        assert {VILLA.id: START} == beginnings(state, "inbox")
    assert {late, START + 60 * SECOND} == world.listed()


def test_a_cursor_keeps_what_was_reopened(tmp_path: Path) -> None:
    """Below the floor and within the overlap it is not seen until it is handed over; all else stays."""
    world = World(tmp_path / "spool", "inbox")
    old, new = START, START + 60 * SECOND
    world.delivery.deliver(VILLA, [incoming(old), incoming(new)])
    for _ in range(2):
        cursor = world.cursors(VILLA.id, "inbox")
        cursor.reopen([old, new, new + 1])
        assert [False, False, False] == [cursor.seen(each) for each in (old, new, new + 1)]
        assert (new - OVERLAP, True) == (cursor.position, cursor.seen(old + SECOND))
        world.stop()
        world.start()
    cursor = world.cursors(VILLA.id, "inbox")
    cursor.advance([old, new])
    assert [True, True, False] == [cursor.seen(each) for each in (old, new, new + 1)]
    world.stop()
