"""When a request may go: every limit, with a clock that is a number."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from itertools import count

import pytest

from spoolbridge.discord import breaker, ratelimit, routes
from spoolbridge.discord.bucket import SLACK, Figures, number
from spoolbridge.discord.ratelimit import PER_SECOND, Permit, RateLimiter
from spoolbridge.discord.routes import Route

POST, GET = routes.create_message(1), routes.channel_messages(1)
OTHER_POST = routes.create_message(2)
START = 1000.0


def headers(
    *,
    limit: int = 5,
    remaining: int,
    reset_after: float,
    reset: float = 0.0,
    bucket: str = "abcd",
    **more: str,
) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset-After": str(reset_after),
        "X-RateLimit-Reset": str(reset),
        "X-RateLimit-Bucket": bucket,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def granted(limiter: RateLimiter, route: Route, now: float, *, held: bool = False) -> Permit:
    permit = limiter.acquire(route, now, held=held)
    assert isinstance(permit, Permit), f"has to wait {permit} s"
    return permit


def waiting(limiter: RateLimiter, route: Route, now: float) -> float:
    """Seconds that a request has to wait; a permit that was granted is given back."""
    found = limiter.acquire(route, now)
    if isinstance(found, Permit):
        found.cancel()
        return 0.0
    return found


def ask(
    limiter: RateLimiter,
    route: Route,
    now: float,
    answer: Mapping[str, str],
    *,
    status: int = 200,
    retry_after: float | None = None,
    edge: bool = False,
) -> None:
    """One request that goes at once, and its answer at the same moment."""
    granted(limiter, route, now).complete(answer, now, status=status, retry_after=retry_after, edge=edge)


class LeakyServer:
    """A leaky bucket as Discord's are: the other side of the limiter's reckoning."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit, self.period, self.full_at = limit, period, 0.0

    def answer(self, now: float) -> tuple[int, dict[str, str], float | None]:
        """Status, headers and, for a 429, seconds."""
        full_at = max(self.full_at, now) + self.period
        tokens = self.limit - (full_at - now) / self.period
        if tokens < -1e-9:
            wait = self.full_at - (self.limit - 1) * self.period - now
            return 429, self._headers(0, self.full_at, now), wait
        self.full_at = full_at
        return 200, self._headers(math.floor(tokens + 1e-9), full_at, now), None

    def _headers(self, remaining: int, full_at: float, now: float) -> dict[str, str]:
        after = round(full_at - now, 3)
        figures = headers(limit=self.limit, remaining=remaining, reset_after=after, reset=full_at)
        return {**figures, "X-RateLimit-Scope": "user"}


# -- lanes -----------------------------------------------------------------------------------------------


def test_one_request_of_a_lane_is_in_flight() -> None:
    """The second waits for the first one's answer, for however long that takes."""
    limiter = RateLimiter()
    first = granted(limiter, POST, START)
    assert math.inf == limiter.acquire(POST, START)
    first.complete({}, START, status=200)
    granted(limiter, POST, START)


def test_lanes_do_not_wait_for_one_another() -> None:
    """Another channel and another method go at once."""
    limiter = RateLimiter()
    permits = [granted(limiter, route, START) for route in (POST, OTHER_POST, GET)]
    assert 3 == len(permits)


def test_a_cancelled_permit_opens_its_lane() -> None:
    """A request that never got an answer does not hold up the next."""
    limiter = RateLimiter()
    granted(limiter, POST, START).cancel()
    granted(limiter, POST, START)


def test_a_permit_that_is_dropped_is_cancelled() -> None:
    """The end of its block gives it back, whatever happened in there."""
    limiter = RateLimiter()
    with pytest.raises(OSError, match="reset"), granted(limiter, POST, START):
        raise OSError("reset")
    granted(limiter, POST, START)


def test_a_permit_is_given_back_once() -> None:
    """A second answer to one request is a bug, and said so; the block's own end is not one."""
    limiter = RateLimiter()
    with granted(limiter, POST, START) as permit:
        permit.complete({}, START, status=200)
    second = granted(limiter, POST, START)
    with pytest.raises(RuntimeError):
        permit.complete({}, START, status=200)
    assert math.inf == limiter.acquire(POST, START), "the old permit opened the new one's lane"
    second.cancel()


# -- buckets ---------------------------------------------------------------------------------------------


def test_an_empty_bucket_gives_one_token_per_period() -> None:
    """Reset-After is the time until all five are back; the first comes after a fifth of it."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=0, reset_after=5.0))
    assert pytest.approx(1.0 + SLACK) == waiting(limiter, POST, START)
    assert 0.0 == waiting(limiter, POST, START + 1.0 + SLACK)


def test_a_bucket_with_tokens_does_not_wait() -> None:
    """A limit that is not used up costs nothing."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=1, reset_after=4.0))
    assert 0.0 == waiting(limiter, POST, START)


@pytest.mark.parametrize(("limit", "period"), [(5, 1.0), (1, 0.25), (10, 0.2), (3, 20.0), (50, 1.3)])
def test_a_leaky_bucket_is_never_overrun(limit: int, period: float) -> None:
    """Sixty requests, as fast as they may go, earn no 429 and waste less than a tenth of the time."""
    limiter, server, now, statuses = RateLimiter(), LeakyServer(limit, period), START, []
    for _ in range(60):
        while not isinstance(permit := limiter.acquire(POST, now), Permit):
            now += permit
        status, answer, _ = server.answer(now)
        permit.complete(answer, now, status=status)
        statuses.append(status)
    assert {200} == set(statuses)
    assert now - START <= (60 - limit) * period * 1.1 + 60 * SLACK


def test_a_bucket_used_now_and_then_is_reckoned_right() -> None:
    """Remaining is rounded down; the period learnt first still holds when it looks shorter."""
    limiter, server, now = RateLimiter(), LeakyServer(5, 1.0), START
    for pause in (0.9, 0.1, 0.7, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0):
        while not isinstance(permit := limiter.acquire(POST, now), Permit):
            now += permit
        status, answer, _ = server.answer(now)
        permit.complete(answer, now, status=status)
        assert 200 == status
        now += pause


def test_a_part_of_a_token_is_reckoned_with() -> None:
    """Nine tenths of one are there already, though Remaining says none: the rest takes a tenth."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=4, reset_after=1.0))
    ask(limiter, POST, START, headers(remaining=0, reset_after=4.1))
    assert pytest.approx(0.1 + SLACK) == waiting(limiter, POST, START)


def test_a_token_that_is_taken_is_missing_from_now_on() -> None:
    """A full bucket saves nothing up: after a long rest one request is one period, as ever."""
    limiter, one, two = RateLimiter(), routes.channel(1), routes.create_reaction(1, 2, "✅")
    for route, now in ((one, START), (two, START + 1)):
        ask(limiter, route, now, headers(limit=1, remaining=0, reset_after=1.0))
    under_way = granted(limiter, one, START + 30)
    assert pytest.approx(1.0 + SLACK) == waiting(limiter, two, START + 30)
    under_way.cancel()


def test_a_fixed_window_is_recognised() -> None:
    """Where the moment of the reset stands still, all tokens come back at once, and not before."""
    limiter = RateLimiter()
    for used in range(1, 6):
        now = START + used / 10
        figures = headers(remaining=5 - used, reset_after=10 - used / 10, reset=5010.0)
        ask(limiter, POST, now, figures)
    assert pytest.approx(9.5 + SLACK) == waiting(limiter, POST, START + 0.5)
    assert 0.0 == waiting(limiter, POST, START + 10 + SLACK)


def test_a_fixed_window_stays_one_when_it_begins_again() -> None:
    """The first answer in a new window says nothing of its kind, and changes nothing."""
    limiter = RateLimiter()
    for now, remaining, after, reset in (
        (START, 1, 10.0, 5010.0),
        (START + 1, 0, 9.0, 5010.0),
        (START + 11, 0, 10.0, 5021.0),
    ):
        ask(limiter, POST, now, headers(limit=2, remaining=remaining, reset_after=after, reset=reset))
    assert pytest.approx(10.0 + SLACK) == waiting(limiter, POST, START + 11)


def test_a_window_that_moves_is_a_leaky_bucket_again() -> None:
    """Discord may change a limit's kind; what was recognised is not for ever."""
    limiter = RateLimiter()
    for remaining, reset in ((4, 5010.0), (3, 5010.0), (2, 5012.0), (0, 5014.0)):
        ask(limiter, POST, START, headers(remaining=remaining, reset_after=10.0, reset=reset))
    assert pytest.approx(2.0 + SLACK) == waiting(limiter, POST, START)


def test_a_changed_limit_is_learnt_anew() -> None:
    """A period belongs to its limit."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(limit=5, remaining=4, reset_after=1.0))
    ask(limiter, POST, START, headers(limit=2, remaining=0, reset_after=1.0))
    assert pytest.approx(0.5 + SLACK) == waiting(limiter, POST, START)


def test_a_loosened_limit_is_noticed() -> None:
    """When the figures cannot be had with the old period, the new one is taken."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=4, reset_after=10.0))
    ask(limiter, POST, START + 60, headers(remaining=0, reset_after=5.0))
    assert pytest.approx(1.0 + SLACK) == waiting(limiter, POST, START + 60)


def test_buckets_are_per_channel() -> None:
    """One hash, two channels: two limits."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=0, reset_after=5.0))
    ask(limiter, OTHER_POST, START, headers(remaining=4, reset_after=1.0))
    assert 0.0 == waiting(limiter, OTHER_POST, START)


def test_routes_of_one_hash_share_a_bucket() -> None:
    """In one channel an equal hash is one limit, and what is in flight on one route counts for the other."""
    limiter, one, two = RateLimiter(), routes.channel(1), routes.create_reaction(1, 2, "✅")
    ask(limiter, one, START, headers(remaining=4, reset_after=1.0))
    ask(limiter, two, START, headers(remaining=2, reset_after=3.0))
    under_way = granted(limiter, one, START)
    ask(limiter, two, START, headers(remaining=1, reset_after=4.0))
    assert pytest.approx(1.0 + SLACK) == waiting(limiter, two, START), "one under way has the last token"
    under_way.cancel()


def test_a_new_hash_is_another_bucket() -> None:
    """When the hash of a route changes, the limit of the old one is no longer its own."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=1, reset_after=4.0, bucket="old"))
    ask(limiter, POST, START, headers(remaining=4, reset_after=1.0, bucket="new"))
    assert 0.0 == waiting(limiter, POST, START)


def test_a_hash_that_changes_elsewhere_does_not_empty_what_is_known_here() -> None:
    """Where a route changes its hash, or goes to and fro, a channel keeps its limit until its own answer."""
    limiter = RateLimiter()
    ask(limiter, POST, START, headers(remaining=0, reset_after=5.0, bucket="old"))
    ask(limiter, OTHER_POST, START, headers(remaining=0, reset_after=5.0, bucket="new"))
    assert pytest.approx([1.0 + SLACK] * 2) == [waiting(limiter, each, START) for each in (POST, OTHER_POST)]
    ask(limiter, POST, START + 6, headers(remaining=4, reset_after=1.0, bucket="new"))
    assert {("old", 1), ("new", 1), ("new", 2)} == set(limiter._buckets)
    assert 0.0 == waiting(limiter, POST, START + 6)


def test_a_channel_that_waits_long_keeps_its_own_limit() -> None:
    """What is idle is forgotten by then, but a bucket that is still empty is found again, under its hash."""
    limiter, later = RateLimiter(), START + 2 * ratelimit.SWEEP
    ask(limiter, POST, START, headers(limit=2, remaining=0, reset_after=600.0, bucket="old"))
    ask(limiter, OTHER_POST, START, headers(remaining=4, reset_after=1.0, bucket="new"))
    waiting(limiter, routes.current_user(), later)
    assert pytest.approx(300.0 + SLACK + START - later) == waiting(limiter, POST, later)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"X-RateLimit-Bucket": "abcd"},
        {**headers(remaining=0, reset_after=5.0), "X-RateLimit-Limit": "many"},
        {**headers(remaining=0, reset_after=5.0), "X-RateLimit-Limit": "0"},
        {**headers(remaining=0, reset_after=5.0), "X-RateLimit-Reset-After": "nan"},
        {**headers(remaining=0, reset_after=5.0), "X-RateLimit-Reset-After": "inf"},
        {**headers(remaining=0, reset_after=5.0), "X-RateLimit-Remaining": "-1"},
    ],
)
def test_headers_that_make_no_sense_are_not_believed(broken: dict[str, str]) -> None:
    """They are optional, and a wrong one must not stop a channel."""
    limiter = RateLimiter()
    ask(limiter, POST, START, broken)
    assert 0.0 == waiting(limiter, POST, START)


def test_more_remaining_than_the_limit_is_the_limit() -> None:
    """A figure that cannot be does not make a debt."""
    figures = Figures.read(headers(limit=5, remaining=9, reset_after=0.0))
    assert figures is not None
    assert 5 == figures.remaining


@pytest.mark.parametrize("value", [True, None, [], "x", "-1", "nan", -0.5, float("inf"), 10**400])
def test_what_is_no_number(value: object) -> None:
    """A body may say anything for retry_after."""
    assert number(value) is None


# -- 429 -------------------------------------------------------------------------------------------------


def test_retry_after_is_the_truth() -> None:
    """However long Reset-After is, one request goes when the 429 says."""
    limiter = RateLimiter()
    empty = headers(remaining=0, reset_after=64.0, X_RateLimit_Scope="user")
    ask(limiter, POST, START, empty, status=429, retry_after=0.3)
    assert pytest.approx(0.3 + SLACK) == waiting(limiter, POST, START)


def test_retry_after_outweighs_tokens_that_seem_to_be_there() -> None:
    """However short Reset-After is, nothing goes before the 429 says."""
    limiter = RateLimiter()
    full = headers(remaining=9, limit=10, reset_after=64.0, X_RateLimit_Scope="shared")
    ask(limiter, POST, START, full, status=429, retry_after=1336.57)
    assert pytest.approx(1336.57 + SLACK) == waiting(limiter, POST, START)


def test_a_shared_limit_delays_its_route_alone() -> None:
    """Others of the same bucket go on: what everybody shares says nothing about the bot's own tokens."""
    limiter, sibling = RateLimiter(), routes.channel(1)
    for route in (POST, sibling):
        ask(limiter, route, START, headers(remaining=4, reset_after=1.0))
    shared = headers(remaining=0, reset_after=60.0, X_RateLimit_Scope="shared")
    ask(limiter, POST, START, shared, status=429, retry_after=60.0)
    both = (waiting(limiter, POST, START), waiting(limiter, sibling, START))
    assert pytest.approx((60.0 + SLACK, 0.0)) == both


def test_a_429_with_tokens_left_is_another_limit() -> None:
    """A sub-limit delays its route and not the bucket."""
    limiter, sibling = RateLimiter(), routes.channel(1)
    for route in (POST, sibling):
        ask(limiter, route, START, headers(remaining=4, reset_after=1.0))
    hidden = headers(remaining=3, reset_after=2.0, X_RateLimit_Scope="user")
    ask(limiter, POST, START, hidden, status=429, retry_after=580.0)
    both = (waiting(limiter, POST, START), waiting(limiter, sibling, START))
    assert pytest.approx((580.0 + SLACK, 0.0)) == both


def test_an_empty_bucket_delays_all_its_routes() -> None:
    """A 429 of the bot's own bucket holds for whatever shares it."""
    limiter, sibling = RateLimiter(), routes.channel(1)
    for route in (POST, sibling):
        ask(limiter, route, START, headers(remaining=4, reset_after=1.0))
    empty = headers(remaining=0, reset_after=5.0, X_RateLimit_Scope="user")
    ask(limiter, POST, START, empty, status=429, retry_after=1.0)
    assert pytest.approx(1.0 + SLACK) == waiting(limiter, sibling, START)


@pytest.mark.parametrize("said", [{"X-RateLimit-Scope": "global"}, {"X-RateLimit-Global": "true"}])
def test_a_global_429_delays_everything(said: dict[str, str]) -> None:
    """It carries no bucket, and holds for every route."""
    limiter = RateLimiter()
    ask(limiter, POST, START, said, status=429, retry_after=2.0)
    assert pytest.approx(2.0 + SLACK) == waiting(limiter, routes.current_user(), START)
    assert 0.0 == waiting(limiter, routes.current_user(), START + 2.0 + SLACK)


def test_a_429_without_headers_delays_its_lane() -> None:
    """Route headers are optional, on a 429 too."""
    limiter = RateLimiter()
    ask(limiter, POST, START, {}, status=429, retry_after=3.0)
    both = (waiting(limiter, POST, START), waiting(limiter, OTHER_POST, START))
    assert pytest.approx((3.0 + SLACK, 0.0)) == both


def test_a_429_without_seconds_waits_a_little() -> None:
    """What names no time is not asked again at once."""
    limiter = RateLimiter()
    ask(limiter, POST, START, {}, status=429)
    assert pytest.approx(ratelimit.UNNAMED_WAIT + SLACK) == waiting(limiter, POST, START)


# -- pages of messages -----------------------------------------------------------------------------------


def test_pages_of_one_channel_are_a_second_apart() -> None:
    """The headers promise a thousand; about one a second is granted."""
    limiter = RateLimiter()
    ask(limiter, GET, START, headers(limit=1000, remaining=999, reset_after=0.1, bucket="lies"))
    assert pytest.approx(ratelimit.SELF_PACE) == waiting(limiter, GET, START)
    assert 0.0 == waiting(limiter, routes.channel_messages(2), START)


def test_a_429_for_a_page_is_believed_and_the_next_promise_is_not() -> None:
    """Its own figures, of another hash, stay in force when the promise comes again."""
    limiter = RateLimiter()
    real = headers(remaining=0, reset_after=50.0, bucket="real", X_RateLimit_Scope="user")
    ask(limiter, GET, START, real, status=429, retry_after=10.0)
    assert pytest.approx(10.0 + SLACK) == waiting(limiter, GET, START)
    later = START + 10.0 + SLACK
    ask(limiter, GET, later, headers(limit=1000, remaining=999, reset_after=0.1, bucket="lies"))
    assert 9.0 < waiting(limiter, GET, later)


def test_a_credible_limit_for_pages_is_learnt() -> None:
    """Should the headers ever tell the truth, they are heeded."""
    limiter = RateLimiter()
    ask(limiter, GET, START, headers(remaining=0, reset_after=25.0))
    assert pytest.approx(5.0 + SLACK) == waiting(limiter, GET, START)


# -- the whole bot ---------------------------------------------------------------------------------------


def burst(limiter: RateLimiter, made: list[Route], now: float) -> int:
    """How many of these requests go at one moment."""
    return sum(isinstance(limiter.acquire(route, now), Permit) for route in made)


def writes(first: int = 0) -> list[Route]:
    return [routes.create_message(first + number) for number in range(1, 101)]


def reads(first: int = 0) -> list[Route]:
    return [routes.channel_messages(first + number) for number in range(1, 101)]


def test_no_second_holds_more_than_the_plan() -> None:
    """Not even the one that begins in the middle of another: 50 is Discord's own figure."""
    limiter, gone, now = RateLimiter(), [], START
    for route in writes() + reads():
        while not isinstance(found := limiter.acquire(route, now), Permit):
            now += found
        gone.append(now)
    busiest = max(sum(1 for each in gone if since <= each < since + 1.0) for since in gone)
    assert PER_SECOND >= busiest


def test_reads_leave_room_for_posts() -> None:
    """However many channels are polled, a post finds room at once."""
    limiter = RateLimiter()
    assert (30, 15) == (burst(limiter, reads(), START), burst(limiter, writes(), START))


def test_posts_come_first_but_leave_some_reads() -> None:
    """A flood of posts may use all that there is, but cannot silence the humans: a few reads go in every
    second in which one waits."""
    limiter = RateLimiter()
    assert (45, 0) == (burst(limiter, writes()[:45], START), burst(limiter, reads(), START))
    now = START + 1.001
    assert (40, 5) == (burst(limiter, writes(200)[:45], now), burst(limiter, reads(), now))


def test_the_budget_comes_back_after_a_second() -> None:
    """And not before."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    assert 1.0 == pytest.approx(waiting(limiter, routes.create_message(999), START), abs=1e-3)
    assert 0 == burst(limiter, writes(), START + 0.99)
    assert PER_SECOND == burst(limiter, [routes.create_message(999), *writes()], START + 1.0)


def test_first_come_first_served() -> None:
    """Nobody starves: who was told to wait goes before who comes later, however many they are."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    times = [waiting(limiter, route, START) for route in writes(200)]
    assert pytest.approx([1.0] * 45 + [2.0] * 45 + [3.0] * 10, abs=1e-3) == times
    late = writes(400)
    assert (0, 45) == (burst(limiter, late, START + 1.001), burst(limiter, writes(200), START + 1.001))


def held(limiter: RateLimiter, made: list[Route], now: float) -> list[Permit]:
    """Their turns, while something has to be done before they leave."""
    return [granted(limiter, route, now, held=True) for route in made]


def test_what_is_held_counts_from_when_it_leaves() -> None:
    """A disk that hangs and then lets everything go does not send two seconds' requests in one."""
    limiter, other = RateLimiter(), routes.create_message(999)
    permits = held(limiter, writes()[:45], START)
    assert pytest.approx(1.0, abs=1e-3) == waiting(limiter, other, START + 1.5)
    for permit in permits:
        permit.leave(START + 1.6)
    asking = [other, *writes(200)]
    assert (0, 45) == (burst(limiter, asking, START + 2.59), burst(limiter, asking, START + 2.61))


def test_a_moment_late_is_as_good_as_at_once() -> None:
    """The plan has room for a tenth of a second, so the usual fsync costs no pace."""
    limiter = RateLimiter()
    for late, permit in enumerate(held(limiter, writes()[:45], START)):
        permit.leave(START + late / 450)
    assert PER_SECOND == burst(limiter, writes(200), START + 1.0)


def test_what_was_long_on_its_way_counts_from_when_it_arrived() -> None:
    """45 posts that open a connection each arrive 0.2 s late, and the next 45 on warm ones do not: Discord
    must not see both in one second. How long the way is usually, the requests of the start have told."""
    limiter, usual, slow = RateLimiter(), 0.15, 0.35
    for second in range(3):
        granted(limiter, OTHER_POST, START + 2 * second).complete({}, START + 2 * second + usual, status=200)
    begin = START + 10
    for permit in held(limiter, writes()[:45], begin):
        permit.leave(begin + 0.01)
        permit.complete({}, begin + 0.01 + slow, status=200)
    asking = writes(200)
    assert (0, 45) == (burst(limiter, asking, begin + 1.15), burst(limiter, asking, begin + 1.22))


def test_a_network_that_has_become_slower_costs_no_pace() -> None:
    """After some seconds the longer way is the usual one."""
    limiter, now = RateLimiter(), START
    for took in (0.05, *[0.15] * 300):
        granted(limiter, OTHER_POST, now).complete({}, now + took, status=200)
        now += 2
    for permit in held(limiter, writes()[:45], now):
        permit.leave(now)
        permit.complete({}, now + 0.15, status=200)
    assert PER_SECOND == burst(limiter, writes(200), now + 1.01)


def test_what_is_held_and_given_up_takes_nothing() -> None:
    """It has never left: its place is another's at once, and what is kept for reads is as ever."""
    limiter = RateLimiter()
    for permit in held(limiter, writes()[:45], START):
        permit.cancel()
    assert PER_SECOND == burst(limiter, writes(200)[:45], START)
    waiting(limiter, GET, START)
    assert (44, 1) == (burst(limiter, writes(400), START + 1.001), burst(limiter, [GET], START + 1.001))


def test_who_comes_between_two_turns_waits_for_its_own_and_no_longer() -> None:
    """The second of which little is used yet is not taken for one in which little goes."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    for route in writes(200):
        waiting(limiter, route, START)
    assert 1 == burst(limiter, writes(200)[:1], START + 1.001)
    late = [waiting(limiter, route, START + 1.001) for route in writes(400)]
    assert pytest.approx([2.0] * 35 + [3.0] * 45 + [4.0] * 20, abs=1e-2) == late


def test_reads_wait_behind_the_posts_that_wait() -> None:
    """But for the few that a second has for them, however early they ask."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    for route in [*writes(200), *reads()]:
        waiting(limiter, route, START)
    now = START + 1.001
    assert (5, 40) == (burst(limiter, reads(), now), burst(limiter, writes(200), now))


def test_no_more_is_kept_for_reads_than_wait() -> None:
    """One fetch takes one request of a second from the posts, not five."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    waiting(limiter, GET, START)
    assert (44, 1) == (burst(limiter, writes(200), START + 1.001), burst(limiter, [GET], START + 1.001))


@pytest.mark.parametrize("channels", [30, 60, 200])
def test_no_channel_starves(channels: int) -> None:
    """Where more want to post than may, each gets as much as the others, and all of it is used."""
    limiter, order, gone = RateLimiter(), count(), Counter[int]()
    asks = [(START, next(order), number) for number in range(1, channels + 1)]
    while asks[0][0] < START + 20:
        now, _, number = heapq.heappop(asks)
        found = limiter.acquire(routes.create_message(number), now)
        if isinstance(found, Permit):
            found.complete({}, now, status=200)
            gone[number] += 1
            found = 0.12  # the way there and back; then the channel has more to say
        heapq.heappush(asks, (now + found, next(order), number))
    assert (channels, True) == (len(gone), max(gone.values()) - min(gone.values()) <= 1)
    assert 0.99 * 20 * min(PER_SECOND, channels / 0.12) <= gone.total() <= 20 * PER_SECOND


def test_who_never_comes_back_loses_its_place() -> None:
    """A lane that was given up holds up the others for a second at most."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    burst(limiter, writes(200), START)
    later = START + 3.0 + ratelimit.ABANDONED + 0.01
    assert PER_SECOND == burst(limiter, writes(400), later)


# -- the breaker -----------------------------------------------------------------------------------------


def test_cloudflare_closes_every_route() -> None:
    """Its refusal is about the address, and every further request would prolong it."""
    limiter = RateLimiter()
    ask(limiter, POST, START, {}, status=429, edge=True)
    assert breaker.FIRST_PAUSE == waiting(limiter, routes.current_user(), START)
    assert breaker.TURNED_AWAY == limiter.breaker.why(START)


def test_cloudflares_own_time_is_honoured() -> None:
    """Where it names one, that is how long the door stays closed."""
    limiter = RateLimiter()
    ask(limiter, POST, START, {}, status=429, edge=True, retry_after=7200.0)
    assert 7200.0 == waiting(limiter, POST, START)


def test_the_pause_doubles_up_to_an_hour() -> None:
    """A ban that goes on is asked about ever more rarely."""
    limiter, now, pauses = RateLimiter(), START, []
    for _ in range(9):
        ask(limiter, POST, now, {}, status=429, edge=True)
        pauses.append(waiting(limiter, POST, now))
        now += pauses[-1]
    assert [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] == pauses


def test_requests_of_one_moment_are_one_strike() -> None:
    """What was in flight when the ban began does not lengthen it."""
    limiter = RateLimiter()
    permits = [granted(limiter, route, START) for route in writes()[:10]]
    for permit in permits:
        permit.complete({}, START, status=429, edge=True)
    assert breaker.FIRST_PAUSE == waiting(limiter, POST, START)


def test_one_request_tries_the_door() -> None:
    """After the pause the others wait for what comes of the first; its success lets them go."""
    limiter, later = RateLimiter(), START + breaker.FIRST_PAUSE
    ask(limiter, POST, START, {}, status=429, edge=True)
    probe = granted(limiter, POST, later)
    assert breaker.PROBE_PAUSE == waiting(limiter, OTHER_POST, later)
    probe.complete({}, later, status=200)
    assert (0.0, "") == (waiting(limiter, OTHER_POST, later), limiter.breaker.why(later))


def test_after_a_success_the_pauses_begin_anew() -> None:
    """An old ban does not count for the next."""
    limiter, later = RateLimiter(), START + breaker.FIRST_PAUSE
    ask(limiter, POST, START, {}, status=429, edge=True)
    ask(limiter, POST, later, {}, status=200)
    ask(limiter, POST, later, {}, status=429, edge=True)
    assert breaker.FIRST_PAUSE == waiting(limiter, POST, later)


def test_a_probe_without_an_answer_leaves_the_door_to_the_next() -> None:
    """A broken connection neither opens it nor wedges it."""
    limiter, later = RateLimiter(), START + breaker.FIRST_PAUSE
    ask(limiter, POST, START, {}, status=429, edge=True)
    granted(limiter, POST, later).cancel()
    second = granted(limiter, OTHER_POST, later)
    assert breaker.PROBE_PAUSE == waiting(limiter, POST, later)
    second.cancel()


def test_an_answer_from_before_the_ban_does_not_end_it() -> None:
    """A slow success that was asked for earlier says nothing about the address now."""
    limiter = RateLimiter()
    slow = granted(limiter, OTHER_POST, START)
    ask(limiter, POST, START, {}, status=429, edge=True)
    slow.complete({}, START + 1, status=200)
    assert breaker.FIRST_PAUSE - 1 == waiting(limiter, POST, START + 1)
    later = START + breaker.FIRST_PAUSE
    ask(limiter, POST, later, {}, status=429, edge=True)
    assert 2 * breaker.FIRST_PAUSE == waiting(limiter, POST, later)


def test_the_edges_headers_teach_nothing() -> None:
    """Whatever stands in its answer is not about a bucket."""
    limiter, later = RateLimiter(), START + breaker.FIRST_PAUSE
    ask(limiter, POST, START, headers(remaining=0, reset_after=900.0), status=429, edge=True)
    assert 0.0 == waiting(limiter, POST, later)


@pytest.mark.parametrize(
    ("status", "scope", "counted"),
    [
        (401, "", 1),
        (403, "", 1),
        (429, "user", 1),
        (429, "global", 1),
        (429, "", 1),
        (429, "shared", 0),
        (404, "", 0),
        (500, "", 0),
    ],
)
def test_what_counts_as_an_invalid_request(status: int, scope: str, counted: int) -> None:
    """401, 403 and every 429 but a shared one."""
    limiter = RateLimiter()
    said = {"X-RateLimit-Scope": scope} if scope else {}
    ask(limiter, POST, START, said, status=status, retry_after=0.0)
    assert counted == limiter.breaker.invalid_requests(START)


def test_too_many_invalid_requests_close_the_door() -> None:
    """Long before Discord's ten thousand; and it opens when they are ten minutes old."""
    limiter = RateLimiter()
    for second in range(breaker.INVALID_LIMIT):
        ask(limiter, POST, START + second, {}, status=403)
    now = START + breaker.INVALID_LIMIT
    assert START + breaker.INVALID_WINDOW - now == waiting(limiter, OTHER_POST, now)
    assert "500 requests were refused in 10 minutes" == limiter.breaker.why(now)
    assert 0.0 == waiting(limiter, OTHER_POST, START + breaker.INVALID_WINDOW)


# -- memory ----------------------------------------------------------------------------------------------


def test_what_is_idle_is_forgotten() -> None:
    """A thousand channels of last week take no memory today; what is still waiting does."""
    limiter = RateLimiter()
    some = headers(remaining=4, reset_after=1.0)
    for channel in range(1000):
        ask(limiter, routes.create_message(channel), START + channel, some)
    ask(limiter, POST, START + 1000, {}, status=429, retry_after=900.0)
    ask(limiter, OTHER_POST, START + 1000, some)
    granted(limiter, OTHER_POST, START + 1000)
    waiting(limiter, routes.current_user(), START + 1500)
    assert {POST.key, OTHER_POST.key, routes.current_user().key} == set(limiter._lanes)
    assert {("abcd", 2)} == set(limiter._buckets)
    assert pytest.approx(400.0 + SLACK) == waiting(limiter, POST, START + 1500)


def test_places_are_forgotten() -> None:
    """Who waited and was given up takes no memory either, once anybody has to wait again."""
    limiter = RateLimiter()
    burst(limiter, writes()[:45], START)
    burst(limiter, writes(200) + reads(200), START)
    burst(limiter, writes(400), START + 100)
    kept = {route.key for route in writes(400)[PER_SECOND:]}
    assert (kept, set()) == (set(limiter.budget._waiting[True]), set(limiter.budget._waiting[False]))


def test_hashes_are_kept_by_route_and_not_by_path() -> None:
    """Reactions to thousands of messages in a thousand channels leave as many as there are routes."""
    limiter = RateLimiter()
    for each in range(1000):
        for route in (
            routes.create_message(each),
            routes.channel(each),
            routes.create_reaction(each, 10_000 + each, "✅"),
            routes.create_reaction(each, 20_000 + each, "👀"),
            routes.guild_member(each, 30_000 + each),
        ):
            ask(limiter, route, START + each, headers(remaining=4, reset_after=1.0, bucket=str(each)))
    assert 4 == len(limiter._hashes)
    assert len(limiter._buckets) <= 4 * (ratelimit.SWEEP + 2)
