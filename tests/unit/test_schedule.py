"""When the poller looks at what, with the time given: what moved, the sweep's turns, the rests."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge.schedule import BUSY_FOR, BUSY_INTERVAL, INTERVAL, SWEEP, Schedule, Sweep


def test_what_has_moved() -> None:
    """A place is due where its hint is another than before its last fetch, or unknown, and at first."""
    schedule = Schedule()
    assert schedule.moved(1, 10)
    schedule.fetched(1, 10, 0.0)
    assert (False, True, True) == (schedule.moved(1, 10), schedule.moved(1, 11), schedule.moved(1, None))
    assert schedule.moved(1, 9), "a late message may have a smaller id than the last"


def test_what_was_passed_over_is_not_due_but_swept_first() -> None:
    """Its hint lay behind the cursor, so it waits for its turn; never fetched is longest unseen."""
    schedule = Schedule(burst=1)
    schedule.fetched(1, 10, 0.0)
    schedule.passed_over(2, 20)
    assert not schedule.moved(2, 20)
    assert schedule.moved(2, 21)
    assert [2] == schedule.swept([1, 2], SWEEP)


def test_what_is_polled_no_longer_is_forgotten() -> None:
    """Also that a channel once stood in the file: it may come back, and is then new."""
    schedule = Schedule()
    for place in (1, 2):
        schedule.fetched(place, 10, 0.0)
    schedule.keep({1})
    assert (False, True) == (schedule.moved(1, 10), schedule.moved(2, 10))
    assert (True, False) == (schedule.knows(1), schedule.knows(2))


def test_after_a_doubt_everything_is_looked_at_again() -> None:
    """A channel that was opened shows by a hint above its cursor, not by a hint that moves."""
    schedule = Schedule()
    schedule.fetched(1, 10, 0.0)
    schedule.doubt()
    assert (True, False) == (schedule.moved(1, 10), schedule.knows(1))


def test_rests() -> None:
    """Long while it is quiet, short for a minute after a message, and never longer than was asked for."""
    schedule = Schedule()
    assert INTERVAL == schedule.rest(0.0)
    schedule.heard(100.0)
    assert BUSY_INTERVAL == schedule.rest(100.0) == schedule.rest(99.9 + BUSY_FOR)
    assert INTERVAL == schedule.rest(100.0 + BUSY_FOR)
    quick = Schedule(interval=0.1)
    quick.heard(0.0)
    assert 0.1 == quick.rest(1.0) == quick.rest(1000.0)


@pytest.mark.parametrize(("places", "between"), [(2, 15.0), (20, 2.0), (500, 2.5), (500, 15.0), (1500, 2.0)])
def test_every_place_has_its_turn_and_never_many_at_once(places: int, between: float) -> None:
    """Each about once a period, all of them in the first, with as even a load as the looks allow."""
    sweep, took, most = Sweep(), Counter[int](), 0
    looks = int(3 * SWEEP / between)
    for look in range(looks):
        chosen = sweep.take(range(places), look * between)
        took.update(chosen)
        if look:
            most = max(most, len(chosen))
        if (look + 1) * between == SWEEP:
            assert places == len(took)
    assert {3} >= set(took.values()) or {2, 3} >= set(took.values())
    assert most <= 20 + 1.25 * places * between / SWEEP


def test_a_machine_that_slept_does_not_catch_up_at_once() -> None:
    """Five hundred places an hour late are five hundred requests; the people who talk come first."""
    sweep = Sweep(burst=20)
    for number in itertools.count():
        if not sweep.take(range(500), number * 2.0) and number > 400:
            break
    assert len(sweep.take(range(500), number * 2.0 + 3600.0)) <= 20 + 1.25 * 500 * 60 / SWEEP


def test_what_was_fetched_out_of_turn_waits_for_a_whole_period() -> None:
    """A place where people talk is fetched all the time, and needs no turn of its own."""
    sweep = Sweep()
    assert [1, 2] == sweep.take([1, 2], 0.0)
    sweep.taken(1, 300.0)
    assert [2] == sweep.take([1, 2], SWEEP)
    assert [1] == sweep.take([1, 2], SWEEP + 300.0)


def test_a_turn_that_is_given_back_comes_again() -> None:
    """Discord did not answer: that was no look."""
    sweep = Sweep()
    assert [1] == sweep.take([1], 0.0)
    assert [] == sweep.take([1], 10.0)
    sweep.give_back(1)
    assert [1] == sweep.take([1], 20.0)


@given(st.lists(st.floats(0.0, 120.0), min_size=1, max_size=60), st.integers(1, 200), st.integers(1, 30))
def test_no_turn_comes_early_and_none_twice(gaps: list[float], places: int, burst: int) -> None:
    """Whatever the rhythm of the looks."""
    sweep, now, last = Sweep(burst=burst), 0.0, dict[int, float]()
    for gap in gaps:
        now += gap
        chosen = sweep.take(range(places), now)
        assert len(set(chosen)) == len(chosen) <= burst + 1.25 * places * min(gap, 60.0) / SWEEP
        assert all(now - last.get(place, -SWEEP) >= SWEEP for place in chosen)
        last |= dict.fromkeys(chosen, now)
