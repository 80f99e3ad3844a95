"""What is counted, by a clock that is given: labels, the hour, rates, latencies."""

from __future__ import annotations

import pytest

from spoolbridge.metrics import BOUNDS, NEWEST, OTHER, SLOT, SLOTS, Metrics, Slot
from tests.support.clock import FakeClock

NOON = 1_800_000_000.0  # the beginning of a slot


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture
def metrics(clock: FakeClock) -> Metrics:
    return Metrics(lambda: ("villa", "bridge"), clock=clock)


def test_counts_by_channel(metrics: Metrics, clock: FakeClock) -> None:
    """Each direction for itself, with the time of the last of it."""
    assert (None, None) == (metrics.last_sent, metrics.last_filed)
    metrics.sent("villa", "sent/villa/2027-01-15/x")
    clock.advance(1.0)
    metrics.failed("villa", "refused")
    metrics.filed("bridge")
    assert ({"villa": 1}, {("villa", "refused"): 1}) == (dict(metrics.sent_by), dict(metrics.failed_by))
    assert {"bridge": 1} == dict(metrics.filed_by)
    assert (NOON, NOON + 1) == (metrics.last_sent, metrics.last_filed)
    assert [("villa", "sent/villa/2027-01-15/x", NOON)] == list(metrics.newest)


def test_who_drops_cannot_make_labels(metrics: Metrics) -> None:
    """A thousand directories that name no channel are one label, whatever they are called."""
    for number in range(1000):
        metrics.failed(f"<script>{number}", "no_channel")
        metrics.sent(f"made up {number}", "")
    metrics.counted({f"made up {number}": 1 for number in range(1000)} | {"villa": 3})
    assert {(OTHER, "no_channel"): 1000} == dict(metrics.failed_by)
    assert {OTHER: 1000} == dict(metrics.sent_by)
    assert {OTHER: 1000, "villa": 3} == metrics.backlog
    assert NEWEST == len(metrics.newest)


def test_requests_by_what_came_back(metrics: Metrics) -> None:
    """429s are counted twice over: among the refusals, and alone."""
    for status in (200, 204, 404, 429, 503, 0):
        metrics.asked(status)
    assert {"2xx": 2, "4xx": 2, "5xx": 1, "none": 1} == dict(metrics.requests)
    assert 1 == metrics.rate_limited


def test_the_hour_moves_on(metrics: Metrics, clock: FakeClock) -> None:
    """Half a minute a slot, empty ones included, and never more than an hour of them."""
    metrics.sent("villa", "")
    clock.advance(3 * SLOT)
    metrics.filed("villa")
    assert [(1, 0), (0, 0), (0, 0), (0, 1)] == [(slot.sent, slot.filed) for slot in metrics.hour]
    assert [NOON, NOON + SLOT] == [slot.began for slot in metrics.hour[:2]]
    clock.advance((SLOTS - 1) * SLOT)
    assert SLOTS == len(metrics.hour)
    assert [0, 1] == [sum(getattr(slot, name) for slot in metrics.hour) for name in ("sent", "filed")]


@pytest.mark.parametrize("jump", [1e9, -1e9, -1.0 * SLOT])
def test_a_clock_that_jumps(metrics: Metrics, clock: FakeClock, jump: float) -> None:
    """A year forward or back costs the hour, neither time nor memory; counts stay."""
    clock.advance(SLOT)
    metrics.sent("villa", "")
    clock.now += jump
    metrics.sent("villa", "")
    assert [1] == [slot.sent for slot in metrics.hour]
    assert 2 == metrics.sent_by["villa"]


def test_latencies(metrics: Metrics, clock: FakeClock) -> None:
    """From the time it was written; percentiles of a slot are of its messages, not of bucket bounds."""
    for tenths in range(1, 101):
        metrics.answered(clock.now - tenths / 10)
    [slot] = metrics.hour
    assert [5.0, 9.5] == [round(slot.latency(share) or 0, 3) for share in (0.5, 0.95)]
    assert 100 == sum(metrics.latency.buckets)
    assert pytest.approx(505.0) == metrics.latency.sum
    assert None is Slot(NOON).latency(0.5)


def test_a_bound_belongs_to_its_bucket(metrics: Metrics, clock: FakeClock) -> None:
    """As Prometheus has it: less or equal. What was written in the future took no time."""
    for seconds in (BOUNDS[0], BOUNDS[1] + 0.001, 1e9, -5.0):
        metrics.answered(clock.now - seconds)
    assert [2, 0, 1, *[0] * (len(BOUNDS) - 4), 1] == metrics.latency.buckets
    assert 1e9 < metrics.latency.sum < 1e9 + 1


def test_memory_is_bounded(metrics: Metrics, clock: FakeClock) -> None:
    """Half a minute of a thousand messages a second keeps the latencies of the newest."""
    for number in range(30_000):
        metrics.answered(clock.now - number)
    [slot] = metrics.hour
    assert 256 == len(slot.latencies)
    assert 29_999.0 == slot.latencies[-1]


def test_backlog_of_a_slot(metrics: Metrics, clock: FakeClock) -> None:
    """The most that was seen in it; a slot in which nobody looked says so."""
    for count in (2, 7, 1):
        metrics.counted({"villa": count})
    clock.advance(SLOT)
    assert [7, None] == [slot.backlog for slot in metrics.hour]
    assert {"villa": 1} == metrics.backlog


def test_rates(metrics: Metrics, clock: FakeClock) -> None:
    """A minute's share of the last five minutes; what is older is over."""
    assert 0.0 == metrics.sent_a_minute
    for _ in range(10):
        metrics.sent("villa", "")
    metrics.filed("villa")
    metrics.failed("villa", "bug")
    assert (2.0, 0.2, 0.2) == (metrics.sent_a_minute, metrics.filed_a_minute, metrics.failed_a_minute)
    clock.advance(9 * SLOT)
    assert 2.0 == metrics.sent_a_minute
    clock.advance(SLOT)
    assert 0.0 == metrics.sent_a_minute
