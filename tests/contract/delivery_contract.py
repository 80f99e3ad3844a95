"""What every delivery promises: twice is once, order kept, a failure leaves nothing half done.

A subclass names the delivery (`make`) and says what an outside reader sees (`read`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from spoolbridge.cursor import OVERLAP, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.errors import SpoolError
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.messages import SECOND, START, STATUS, VILLA, incoming

MORE_THAN_ENOUGH = 1000  # changes of the file system in one call


class DeliveryTests:
    """Inherit, and give `make` and `read`."""

    root: Path
    spool_fd: int
    cursors: Cursors
    delivery: Delivery

    def make(self) -> Delivery:
        """The delivery under test, for `root`, `spool_fd` and `cursors`."""
        raise NotImplementedError

    def read(self) -> list[int]:
        """The ids that a reader has found so far, in the order in which the reader meets them."""
        raise NotImplementedError

    def close(self, delivery: Delivery) -> None:
        """Give back what `make` opened."""

    @pytest.fixture(autouse=True)
    def _spool(self, tmp_path: Path) -> Iterator[None]:
        self.new_spool(tmp_path / "spool")
        yield
        self.stop()

    def new_spool(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.start()
        self.delivery.begin(VILLA, START - 1)

    def start(self) -> None:
        self.spool_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.cursors = Cursors(self.spool_fd)
        self.delivery = self.make()
        self.delivery.recover()

    def stop(self) -> None:
        self.close(self.delivery)
        self.cursors.close()
        os.close(self.spool_fd)

    def restart(self) -> None:
        self.stop()
        self.start()

    def test_a_channel_never_seen_has_no_position(self) -> None:
        """None tells the poller that this is the first start there."""
        assert None is self.delivery.position(STATUS)

    def test_the_first_position_is_where_it_began(self) -> None:
        """`begin` is durable at once, and a second one changes nothing."""
        self.delivery.begin(VILLA, START + 5 * SECOND)
        self.restart()
        assert START - 1 == self.delivery.position(VILLA)

    def test_what_is_given_before_the_beginning_is_an_error(self) -> None:
        """A message without a cursor would be delivered again and again."""
        with pytest.raises(SpoolError):
            self.delivery.deliver(STATUS, [incoming()])

    def test_messages_are_delivered_by_id_and_each_once(self) -> None:
        """The order in which a page is given does not matter; ids compare as numbers."""
        ids = [START, START + SECOND, START + 2 * SECOND]
        messages = [incoming(each) for each in (ids[2], ids[0], ids[1], ids[0])]
        assert 3 == self.delivery.deliver(VILLA, messages)
        assert ids == self.read()

    def test_twice_is_once(self) -> None:
        """The same page again, before and after a restart, changes nothing."""
        messages = [incoming(START), incoming(START + SECOND)]
        assert 2 == self.delivery.deliver(VILLA, messages)
        assert 0 == self.delivery.deliver(VILLA, messages)
        self.restart()
        assert 0 == self.delivery.deliver(VILLA, messages)
        assert [START, START + SECOND] == self.read()

    def test_a_message_that_becomes_visible_late_is_delivered(self) -> None:
        """Ids are only roughly in order: within ten seconds a smaller one may come later."""
        high, late = START + 20 * SECOND, START + 15 * SECOND
        self.delivery.deliver(VILLA, [incoming(high)])
        assert high - OVERLAP == self.delivery.position(VILLA)
        assert 1 == self.delivery.deliver(VILLA, [incoming(late), incoming(high)])
        assert {late, high} == set(self.read())

    def test_the_position_never_goes_back(self) -> None:
        """A late message, and a page that ends before the cursor, leave it where it is."""
        high = START + 20 * SECOND
        self.delivery.deliver(VILLA, [incoming(high)])
        self.delivery.deliver(VILLA, [incoming(high - SECOND)], upto=START)
        self.restart()
        assert high - OVERLAP == self.delivery.position(VILLA)

    def test_what_is_not_for_agents_moves_the_cursor(self) -> None:
        """A page of bots' messages is not fetched for ever."""
        self.delivery.deliver(VILLA, [], upto=START + 60 * SECOND)
        self.restart()
        assert START + 60 * SECOND - OVERLAP == self.delivery.position(VILLA)
        assert [] == self.read()

    def test_channels_do_not_touch_one_another(self) -> None:
        """A cursor is one channel's: the same ids elsewhere are other messages."""
        self.delivery.begin(STATUS, START - 1)
        self.delivery.deliver(VILLA, [incoming(START + SECOND)], upto=START + 60 * SECOND)
        elsewhere = replace(incoming(START), channel=STATUS)
        assert 1 == self.delivery.deliver(STATUS, [elsewhere])

    def test_a_thread_has_a_cursor_of_its_own(self) -> None:
        """Its messages go where its channel's go, but what was seen there says nothing about it."""
        thread = VILLA._replace(id=START + 1)
        self.delivery.begin(thread, START)
        self.delivery.deliver(VILLA, [], upto=START + 600 * SECOND)
        assert 1 == self.delivery.deliver(thread, [incoming(START + SECOND, channel_id=str(thread.id))])
        assert [START + SECOND] == self.read()

    def test_a_full_disk_at_any_step_leaves_nothing_half_done(self, tmp_path: Path) -> None:
        """Whichever call fails, the next attempt ends with each message there once, and whole."""
        messages = [incoming(START), incoming(START + SECOND)]
        for number in range(1, MORE_THAN_ENOUGH):
            self.stop()
            self.new_spool(tmp_path / f"full-{number}")
            with fail_at(number) as struck, suppress(OSError):
                self.delivery.deliver(VILLA, messages)
            if not struck:
                return
            self.read()
            self.delivery.deliver(VILLA, messages)
            assert [START, START + SECOND] == self.read(), f"call {number} failed"
        raise AssertionError("deliver never ended")

    def test_a_crash_at_any_step_is_recovered_from(self, tmp_path: Path) -> None:
        """Wherever the process dies, a restart ends with each message there once."""
        messages = [incoming(START), incoming(START + SECOND)]
        for number in range(1, MORE_THAN_ENOUGH):
            self.stop()
            self.new_spool(tmp_path / f"crash-{number}")
            with suppress(Killed), kill_at(number) as struck:
                self.delivery.deliver(VILLA, messages)
            if not struck:
                return
            self.read()
            self.restart()
            self.delivery.deliver(VILLA, messages)
            assert [START, START + SECOND] == self.read(), f"died at call {number}"
        raise AssertionError("deliver never ended")

    def test_a_crash_while_recovering_from_a_crash(self, tmp_path: Path) -> None:
        """Recovery may die too: a third of all pairs of steps, every step of each in some pair."""
        for first in range(1, MORE_THAN_ENOUGH):
            for second in range(1 + first % 3, MORE_THAN_ENOUGH, 3):
                ended = self._die_twice(tmp_path / f"twice-{first}-{second}", first, second)
                assert [START] == self.read(), f"died at call {first}, then at {second}"
                if ended == 0:
                    return
                if ended == 1:
                    break
        raise AssertionError("deliver never ended")

    def _die_twice(self, root: Path, first: int, second: int) -> int:
        """How many of the two deaths came about."""
        self.stop()
        self.new_spool(root)
        with suppress(Killed), kill_at(first) as once:
            self.delivery.deliver(VILLA, [incoming()])
        self.read()
        self.restart_quietly()
        with suppress(Killed), kill_at(second) as again:
            self.delivery.recover()
            self.delivery.deliver(VILLA, [incoming()])
        self.read()
        self.restart()
        self.delivery.deliver(VILLA, [incoming()])
        return 0 if not once else 1 + bool(again)

    def restart_quietly(self) -> None:
        """As `restart`, the recovery left to the caller."""
        self.stop()
        self.spool_fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        self.cursors = Cursors(self.spool_fd)
        self.delivery = self.make()
