"""When a request may go: `acquire` gives a permit or the seconds to wait, `Permit.complete` takes the answer.

Owns every limit that Discord sets: buckets learnt from headers, one request in flight per lane (route and
channel or guild), the whole bot's requests per second, and the breaker. Promises: no lane waits for
another's limit, only for one that is really shared; what a 429 says outweighs every figure; what was idle is
forgotten. Must never open a connection, read a clock or sleep: `now` is given, in seconds of a clock that
does not jump.

A bucket is known by the hash in its headers and the channel or guild; since January 2026 an equal hash means
one limit (discord-api-docs #8073). Which hash a route has is only learnt from its first answer, hence one in
flight per lane; that is also what keeps a channel's messages in order.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from types import TracebackType

from spoolbridge.discord.breaker import Breaker
from spoolbridge.discord.bucket import SLACK, Bucket, Figures
from spoolbridge.discord.routes import Route

BUCKET = "X-RateLimit-Bucket"
GLOBAL = "X-RateLimit-Global"
SCOPE = "X-RateLimit-Scope"

#: Discord allows 50 requests a second; 45 leave room for 0.1 s of jitter on the way (discord-api-docs #5144).
PER_SECOND = 45
#: Of those, so many are left to reads while one waits: a post before a poll, but never no poll at all.
READS_AT_LEAST = 5
#: Reads stop here, whoever used the budget, so that a post finds room at once.
READS_STOP_AT = 30
WINDOW = 1.0
#: Seconds after which somebody who was told to ask again and did not has lost its place.
ABANDONED = 1.0
#: Seconds that a request may leave after its turn came and still count from then.
JITTER = 0.1
#: By how much a request makes the shortest way longer that is remembered: a network that has become slower
#: is known within some hundred requests.
_FORGETS = 1.005
#: Seconds over: `now + wait`, rounded, must find the oldest gone.
_HAIR = 1e-6

#: Seconds between two requests of a self-paced route to one channel: about 5 in 5 s are granted, whatever
#: the headers of a success say; a limit above the second figure is not believed (discord-api-docs #8161).
SELF_PACE = 1.0
CREDIBLE_LIMIT = 100

#: Seconds between two looks for what has been idle.
SWEEP = 60.0
#: Seconds to wait where a 429 names none.
UNNAMED_WAIT = 5.0

TOO_MANY = 429
INVALID = frozenset({401, 403, TOO_MANY})


#: A lane: method, template, channel or guild.
Key = tuple[str, str, int]


class Budget:
    """The whole bot's requests per second, as those of the last second: no burst can reach 50.

    Who finds no room is told when its turn comes, and keeps its place until then: first come, first served
    among the writes, and among the reads. The first few reads of a second go before all writes that wait, the
    others behind them.
    """

    def __init__(self) -> None:
        #: (from when it counts, whether it writes), in order.
        self._recent: list[tuple[float, bool]] = []
        self._written = 0
        #: How many have had their turn and have not left; they are in `_written` too.
        self._held = 0
        self._paused_until = -math.inf
        #: Who waits, in order, and until when its place is kept; by whether it writes.
        self._waiting: dict[bool, dict[Key, float]] = {True: {}, False: {}}

    def wait(self, now: float, key: Key, *, writes: bool) -> float:
        """Seconds until that lane may ask; 0: it may go now."""
        if now < self._paused_until:
            return self._paused_until - now
        self._forget(now)
        used = len(self._recent) + self._held
        room, ahead = self._room(key, used, writes=writes)
        if used + ahead < room:
            return 0.0
        # Of those ahead, who need not wait any more goes now, and counts for a window from now on.
        rounds, place = divmod(used + ahead - room, max(used, room))
        left = self._recent[place][0] if place < len(self._recent) else now
        seconds = left + WINDOW * (1 + rounds) - now + _HAIR
        self._waiting[writes][key] = now + seconds + ABANDONED
        return seconds

    def _room(self, key: Key, used: int, *, writes: bool) -> tuple[int, int]:
        """How many requests a second this one may be the last of, and how many go before it."""
        waiting = self._waiting[writes]
        ahead = list(waiting).index(key) if key in waiting else len(waiting)
        starved = READS_AT_LEAST - (used - self._written)
        if writes:
            return PER_SECOND - max(0, min(starved, len(self._waiting[False]))), ahead
        return (PER_SECOND, ahead) if ahead < starved else (READS_STOP_AT, ahead + len(self._waiting[True]))

    def _forget(self, now: float) -> None:
        passed = 0
        while passed < len(self._recent) and self._recent[passed][0] <= now - WINDOW:
            self._written -= self._recent[passed][1]
            passed += 1
        del self._recent[:passed]
        for waiting in self._waiting.values():
            if waiting:
                for key in [key for key, until in waiting.items() if until < now]:
                    del waiting[key]

    def take(self, now: float, key: Key, *, writes: bool, held: bool) -> None:
        """`held`: it does not leave yet, and counts for as long as it does not."""
        self._waiting[writes].pop(key, None)
        self._written += writes
        if held:
            self._held += 1
        else:
            insort(self._recent, (now, writes))

    def leave(self, taken: float, now: float, *, writes: bool) -> float:
        """What was held leaves now. From when it counts."""
        self._held -= 1
        counted = taken if now - taken <= JITTER else now
        insort(self._recent, (counted, writes))
        return counted

    def arrived(self, counted: float, by: float, *, writes: bool) -> None:
        """What counted from then cannot have arrived before `by`, and counts from there."""
        at = bisect_left(self._recent, (counted, writes))
        if by > counted and self._recent[at : at + 1] == [(counted, writes)]:
            del self._recent[at]
            insort(self._recent, (by, writes))

    def give_back(self, *, writes: bool) -> None:
        """It was held and does not leave at all."""
        self._held -= 1
        self._written -= writes

    def pause(self, seconds: float, now: float) -> None:
        self._paused_until = max(self._paused_until, now + seconds)


class Lane:
    """One route to one channel or guild: at most one request under way."""

    def __init__(self) -> None:
        self.busy = False
        self.not_before = -math.inf
        #: Of its own last answer; None: what another channel's said is all that is known.
        self.hash: str | None = None


class RateLimiter:
    """Every limit of one bot. `breaker` may be read by whoever reports."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.budget = Budget()
        self._lanes: dict[tuple[str, str, int], Lane] = {}
        self._hashes: dict[tuple[str, str], str] = {}
        self._buckets: dict[tuple[str, int], Bucket] = {}
        self._swept_at = -math.inf
        self._shortest = math.inf

    def shortest(self, took: float) -> float:
        """Seconds of the shortest way there and back of late, given the newest. What takes longer waited on
        its way, as all do that open a connection: 45 posts at once, which arrive just before 45 others."""
        self._shortest = min(took, self._shortest * _FORGETS)
        return self._shortest

    def acquire(self, route: Route, now: float, *, held: bool = False) -> Permit | float:
        """A permit for one request that leaves now, or the seconds after which to ask again.

        `math.inf` where the lane's request is still under way: ask again when its permit is given back.
        `held`: it does not leave yet, for something has to be done first; `Permit.leave` follows.
        """
        self._sweep(now)
        lane = self._lanes.get(route.key)
        if lane is None:
            lane = self._lanes[route.key] = Lane()
        if lane.busy:
            return math.inf
        bucket = self._bucket(route, lane)
        wait = max(
            self.breaker.wait(now),
            lane.not_before - now,
            bucket.wait(now) if bucket else 0.0,
        )
        # The budget last: who waits for something else has no place in its queue.
        wait = wait if wait > 0 else self.budget.wait(now, route.key, writes=route.writes)
        return wait if wait > 0 else self._permit(route, lane, bucket, now, held=held)

    def _permit(
        self, route: Route, lane: Lane, bucket: Bucket | None, now: float, *, held: bool
    ) -> Permit:
        lane.busy = True
        if route.self_paced:
            lane.not_before = now + SELF_PACE
        if bucket:
            bucket.take(now)
        self.budget.take(now, route.key, writes=route.writes, held=held)
        return Permit(self, route, now, held=held, lane=lane, bucket=bucket, probe=self.breaker.enter())

    def _bucket(self, route: Route, lane: Lane) -> Bucket | None:
        # Its own first: a hash that has changed elsewhere says nothing of how full the bucket here is.
        hashed = lane.hash or self._hashes.get((route.method, route.template))
        return None if hashed is None else self._buckets.get((hashed, route.major))

    def learn(
        self, route: Route, lane: Lane, headers: Mapping[str, str], now: float, *, status: int
    ) -> Bucket | None:
        """The bucket that these headers are about, brought up to date; None where they name none."""
        hashed = headers.get(BUCKET)
        if hashed is None or headers.get(SCOPE) == "shared" or (figures := Figures.read(headers)) is None:
            return None
        if status < 400 and route.self_paced and figures.limit > CREDIBLE_LIMIT:
            return None
        self._hashes[route.method, route.template] = lane.hash = hashed
        bucket = self._buckets.setdefault((hashed, route.major), Bucket())
        bucket.learn(figures, now)
        return bucket

    def pause(self, seconds: float, now: float) -> None:
        """Let nothing through for so long: a 429 of scope `global`."""
        self.budget.pause(seconds, now)

    def _sweep(self, now: float) -> None:
        if now - self._swept_at < SWEEP:
            return
        self._swept_at = now
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if not bucket.idle(now)}
        self._lanes = {key: lane for key, lane in self._lanes.items() if self._matters(key, lane, now)}

    def _matters(self, key: Key, lane: Lane, now: float) -> bool:
        return lane.busy or lane.not_before > now or (lane.hash, key[2]) in self._buckets


class Permit:
    """Leave for one request. Give it back exactly once: `complete` with the answer, or `cancel`.

    As a context manager it cancels itself where the block ends without an answer.
    """

    def __init__(
        self, limiter: RateLimiter, route: Route, taken: float, *,
        held: bool, lane: Lane, bucket: Bucket | None, probe: bool,
    ) -> None:  # fmt: skip
        self._limiter = limiter
        self._route = route
        self._taken = taken
        self._held = held
        #: When it left, and from when it counts.
        self._left = self._counted = taken
        self._lane = lane
        self._bucket = bucket
        self._probe = probe
        self._open = True

    def __enter__(self) -> Permit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def leave(self, now: float) -> None:
        """What was held leaves now. Had it been counted when its turn came, a disk that hung for a second and
        then let everything go at once would send two seconds' requests in one."""
        self._held = False
        self._left = now
        self._counted = self._limiter.budget.leave(self._taken, now, writes=self._route.writes)

    def cancel(self) -> None:
        """No answer came. What was counted stays counted, for the server may have seen the request; but what
        was held has never left."""
        if self._open:
            self._close()
            self._limiter.breaker.cancel(probe=self._probe)

    def complete(
        self,
        headers: Mapping[str, str],
        now: float,
        *,
        status: int,
        retry_after: float | None = None,
        edge: bool = False,
    ) -> None:
        """Learn from the answer. `retry_after` is in seconds, from the body where it names them.

        `edge`: Cloudflare answered in Discord's place; its answer says nothing about any bucket.
        Raises RuntimeError where the permit was given back before.
        """
        if not self._open:
            raise RuntimeError("a permit is given back once")
        self._close()
        shortest = self._limiter.shortest(now - self._left)
        self._limiter.budget.arrived(self._counted, now - shortest, writes=self._route.writes)
        breaker = self._limiter.breaker
        if status in INVALID and headers.get(SCOPE) != "shared":
            breaker.count_invalid(now)
        if edge:
            breaker.turned_away(now, retry_after, probe=self._probe)
            return
        breaker.leave(now, probe=self._probe)
        bucket = self._limiter.learn(self._route, self._lane, headers, now, status=status)
        if status == TOO_MANY:
            self._delay(headers, now, UNNAMED_WAIT if retry_after is None else retry_after, bucket)

    def _close(self) -> None:
        self._open = False
        self._lane.busy = False
        if self._held:
            self._limiter.budget.give_back(writes=self._route.writes)
        if self._bucket:
            self._bucket.release()

    def _delay(self, headers: Mapping[str, str], now: float, seconds: float, bucket: Bucket | None) -> None:
        if headers.get(SCOPE) == "global" or headers.get(GLOBAL, "").lower() == "true":
            self._limiter.pause(seconds + SLACK, now)
        elif bucket and headers.get(SCOPE) == "user" and bucket.empty:
            bucket.block(seconds, now)
        else:
            # With tokens left, or for everybody in that channel, it is another limit than the bucket's.
            self._lane.not_before = max(self._lane.not_before, now + seconds + SLACK)
