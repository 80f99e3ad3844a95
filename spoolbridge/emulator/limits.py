"""Discord's rate limits: a leaky bucket a route and channel, one for everything, and the ban behind them.

Pure: `now` (seconds) comes with every call. A bucket of L tokens refills at L a window; `Reset-After` is
the time until it is full, `retry_after` the time until one token is there (discord-api-docs #7680).
The numbers are what people have measured, not what Discord promises; change them with `set`.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

GLOBAL = 50  # requests a second and bot, documented
MAX_INVALID = 10_000  # 401, 403 and 429 answers (shared ones excepted) in INVALID_WINDOW, documented
INVALID_WINDOW = 600.0  # seconds
BAN = 3600.0  # seconds for which an address stays blocked; an hour to a day has been seen
# A token that lacks less than this is whole: seconds since 1970 are exact to a quarter of a microsecond
# only, and who waited exactly as long as told must not be refused again.
HAIR = 1e-4  # tokens


@dataclass(frozen=True)
class Rule:
    """`limit` requests in `window` seconds. Rules with one `name` share their buckets.

    `shown` is the limit that success headers claim instead of the real one: GET messages did so in
    February 2026 (discord-api-docs #8161). `fixed`: the whole bucket refills at once. `scope` is shared
    where others than this bot use up the limit too. Another `salt` makes another hash.
    """

    name: str
    limit: int
    window: float
    shown: int | None = None
    fixed: bool = False
    scope: str = "user"
    salt: int = 0

    @property
    def hash(self) -> str:
        return _hash(f"{self.name} {self.salt}")


DEFAULT = Rule("default", 30, 30.0)
MESSAGES = "/channels/{channel}/messages"
MESSAGE = MESSAGES + "/{message}"
REACTION = MESSAGE + "/reactions/{emoji}"
THREADS = Rule("create-thread", 50, 300.0, scope="shared")  # waits of minutes were seen (#7816)
REACTIONS = Rule("reactions", 1, 0.25)
RULES: Mapping[tuple[str, str], Rule] = {
    ("POST", MESSAGES): Rule("post-message", 5, 5.0),
    ("GET", MESSAGES): Rule("get-messages", 5, 5.0, shown=1000),
    ("PATCH", MESSAGE): Rule("edit-message", 5, 5.0),
    ("DELETE", MESSAGE): Rule("delete-message", 5, 5.0),
    ("PUT", REACTION + "/@me"): REACTIONS,
    ("DELETE", REACTION + "/@me"): REACTIONS,
    ("DELETE", REACTION + "/{user}"): REACTIONS,
    ("GET", REACTION): REACTIONS,
    ("POST", "/channels/{channel}/threads"): THREADS,
    ("POST", MESSAGE + "/threads"): THREADS,
    ("POST", "/channels/{channel}/typing"): Rule("typing", 5, 5.0),
    ("PATCH", "/channels/{channel}"): Rule("edit-channel", 2, 600.0),
    ("POST", "/guilds/{guild}/channels"): Rule("create-channel", 10, 10.0),
}


@dataclass
class Bucket:
    """The tokens of one rule for one channel, guild or nothing."""

    rule: Rule
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        if not self.rule.fixed:
            self.tokens = min(self.rule.limit, self.tokens + passed * self.rule.limit / self.rule.window)
            self.at = now
        elif passed >= self.rule.window:
            self.tokens, self.at = float(self.rule.limit), now

    def take(self, now: float) -> bool:
        self.refill(now)
        if self.tokens < 1 - HAIR:
            return False
        self.tokens -= 1
        return True

    def reset_after(self, now: float) -> float:
        """Seconds until the bucket is full again."""
        if self.rule.fixed:
            return max(0.0, self.at + self.rule.window - now)
        return (self.rule.limit - self.tokens) * self.rule.window / self.rule.limit

    def retry_after(self, now: float) -> float:
        """Seconds until one token is there."""
        if self.rule.fixed:
            return self.reset_after(now)
        return max(0.0, 1 - self.tokens) * self.rule.window / self.rule.limit

    def headers(self, now: float, *, refused: bool = False) -> dict[str, str]:
        """What the answer says about the bucket; a rule with `shown` tells the truth only when it refuses."""
        lying = self.rule.shown is not None and not refused
        limit = self.rule.shown if lying and self.rule.shown is not None else self.rule.limit
        spent = self.rule.limit - self.tokens
        after = self.reset_after(now)
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, math.floor(limit - spent + HAIR))),
            "X-RateLimit-Reset": f"{now + after:.3f}",
            "X-RateLimit-Reset-After": f"{after:.3f}",
            "X-RateLimit-Bucket": _hash(f"{self.rule.hash} as claimed") if lying else self.rule.hash,
        }


@dataclass(frozen=True)
class TooMany:
    """A 429: its body and its headers."""

    body: dict[str, Any]
    headers: Mapping[str, str]


def too_many(
    retry_after: float,
    *,
    scope: str = "user",
    code: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> TooMany:
    """The 429 that Discord answers; `scope` is user, shared or global."""
    body: dict[str, Any] = {
        "message": "You are being rate limited.",
        "retry_after": math.ceil(round(retry_after * 1000, 3)) / 1000,
        "global": scope == "global",
    }
    if code is not None:
        body["code"] = code
    said = {"Retry-After": str(math.ceil(retry_after)), "X-RateLimit-Scope": scope, **(headers or {})}
    return TooMany(body, said | ({"X-RateLimit-Global": "true"} if scope == "global" else {}))


class Limits:
    """All buckets of the one bot. `enabled` False lets everything pass and sends no header."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.max_invalid = MAX_INVALID
        self._rules: dict[tuple[str, str], Rule] = dict(RULES)
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._all: Bucket | None = None
        self._global = Rule("global", GLOBAL, 1.0)
        self._writes: Rule | None = None
        self._invalid: deque[float] = deque()
        self._banned_until = 0.0

    def set(self, method: str, template: str, **fields: Any) -> None:
        """Change numbers of a route's rule: limit, window, shown, fixed, name (which makes the hash)."""
        old = self.rule(method, template)
        named = {"name": _name(old, method, template), **fields}
        self._rules[method, template] = replace(old, **named)
        self._buckets.clear()

    def set_writes(self, limit: int, window: float) -> None:
        """Limit what all senders together write in one channel: code 20028, shared (#8290)."""
        self._writes = Rule("channel writes", limit, window)

    def new_hash(self, method: str, template: str) -> None:
        """A route's buckets get another hash; what they hold stays."""
        old = self.rule(method, template)
        new = replace(old, name=_name(old, method, template), salt=old.salt + 1)
        self._rules[method, template] = new
        for (name, _), bucket in self._buckets.items():
            if name == new.name:
                bucket.rule = new

    def set_global(self, limit: int) -> None:
        self._global = replace(self._global, limit=limit)
        self._all = None

    def rule(self, method: str, template: str) -> Rule:
        return self._rules.get((method, template), DEFAULT)

    def take(self, method: str, template: str, major: str, now: float) -> Bucket | TooMany | None:
        """A token for one request: its bucket, or the 429 to answer; None where limits are off."""
        if not self.enabled:
            return None
        if self._all is None:
            self._all = Bucket(self._global, self._global.limit, now)
        if not self._all.take(now):
            return too_many(self._all.retry_after(now), scope="global")
        rule = self.rule(method, template)
        name = _name(rule, method, template)
        bucket = self._buckets.setdefault((name, major), Bucket(replace(rule, name=name), rule.limit, now))
        if not bucket.take(now):
            headers = bucket.headers(now, refused=True)
            return too_many(bucket.retry_after(now), scope=rule.scope, headers=headers)
        return self._write(bucket, major, now) if (method, template) == ("POST", MESSAGES) else bucket

    def _write(self, bucket: Bucket, major: str, now: float) -> Bucket | TooMany:
        """The second limit of a post, which only its refusal shows: the bucket's own has tokens left."""
        rule = self._writes
        if rule is None:
            return bucket
        writes = self._buckets.setdefault((rule.name, major), Bucket(rule, rule.limit, now))
        if writes.take(now):
            return bucket
        return too_many(writes.retry_after(now), scope="shared", code=20028, headers=bucket.headers(now))

    def count(self, status: int, scope: str, now: float) -> None:
        """Count an answer towards the ban of this address, as Discord counts."""
        if status not in (401, 403, 429) or scope == "shared":
            return
        self._invalid.append(now)
        while self._invalid[0] <= now - INVALID_WINDOW:
            self._invalid.popleft()
        if self.enabled and len(self._invalid) >= self.max_invalid:
            self._banned_until = now + BAN

    def banned(self, now: float) -> float:
        """Seconds for which this address is still blocked; 0 where it is not."""
        return max(0.0, self._banned_until - now)

    @property
    def invalid(self) -> int:
        """How many answers counted towards the ban in the last window."""
        return len(self._invalid)


def _name(rule: Rule, method: str, template: str) -> str:
    """The name of a route's rule: the default is one rule, but each route has its own buckets."""
    return rule.name if rule is not DEFAULT else f"{method} {template}"


def _hash(name: str) -> str:
    return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
