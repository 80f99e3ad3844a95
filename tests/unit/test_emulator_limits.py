"""Leaky buckets, fixed windows, the global limit and the ban, on a clock that the test moves."""

from __future__ import annotations

import pytest

from spoolbridge.emulator.limits import Bucket, Limits, TooMany

NOW = 1_795_000_000.0  # seconds since 1970
MESSAGES = "/channels/{channel}/messages"
REACTION = MESSAGES + "/{message}/reactions/{emoji}/@me"


def take(
    limits: Limits, now: float, *, method: str = "POST", template: str = MESSAGES, major: str = "1"
) -> Bucket:
    ticket = limits.take(method, template, major, now)
    assert isinstance(ticket, Bucket), ticket
    return ticket


def refused(
    limits: Limits, now: float, *, method: str = "POST", template: str = MESSAGES, major: str = "1"
) -> TooMany:
    ticket = limits.take(method, template, major, now)
    assert isinstance(ticket, TooMany), ticket
    return ticket


def test_headers_after_one() -> None:
    """One of five tokens spent: four left, and full again after the time of one token."""
    headers = take(Limits(), NOW).headers(NOW)
    del headers["X-RateLimit-Bucket"]
    assert {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": "4",
        "X-RateLimit-Reset": "1795000001.000",
        "X-RateLimit-Reset-After": "1.000",
    } == headers


def test_burst_then_refill() -> None:
    """Five at once, then one a second; the refusal names the time to one token, not to a full bucket."""
    limits = Limits()
    for _ in range(5):
        take(limits, NOW)
    answer = refused(limits, NOW + 0.25)
    assert {"message": "You are being rate limited.", "retry_after": 0.75, "global": False} == answer.body
    assert ("1", "user", "0", "4.750") == tuple(
        answer.headers[name]
        for name in ("Retry-After", "X-RateLimit-Scope", "X-RateLimit-Remaining", "X-RateLimit-Reset-After")
    )
    take(limits, NOW + 1)
    refused(limits, NOW + 1)


def test_retry_after_is_enough() -> None:
    """Who waits exactly `retry_after`, as rounded in the body, gets a token."""
    limits = Limits()
    for _ in range(5):
        take(limits, NOW)
    now = NOW
    for _ in range(20):
        now += float(refused(limits, now).body["retry_after"])
        take(limits, now)


def test_channels_do_not_share() -> None:
    """Each channel has its own bucket; the hash is the same, for it is the route's."""
    limits = Limits()
    first, second = take(limits, NOW, major="1"), take(limits, NOW, major="2")
    assert first.headers(NOW) == second.headers(NOW)


def test_routes_do_not_share() -> None:
    """Posting and reading have hashes of their own, reactions share one."""
    limits = Limits()
    post = take(limits, NOW).headers(NOW)["X-RateLimit-Bucket"]
    read = take(limits, NOW, method="GET").headers(NOW)["X-RateLimit-Bucket"]
    assert post != read
    take(limits, NOW, method="PUT", template=REACTION)
    refused(limits, NOW, method="DELETE", template=REACTION)


def test_routes_without_a_rule() -> None:
    """Routes that nobody measured do not share the bucket of the default either."""
    limits = Limits()
    first = take(limits, NOW, method="GET", template="/users/@me").headers(NOW)
    second = take(limits, NOW, method="GET", template="/guilds/{guild}").headers(NOW)
    assert first["X-RateLimit-Bucket"] != second["X-RateLimit-Bucket"]
    assert first["X-RateLimit-Remaining"] == second["X-RateLimit-Remaining"]


def test_lying_headers() -> None:
    """Reading messages claims a thousand until it refuses at five, under another hash."""
    limits = Limits()
    claimed = take(limits, NOW, method="GET").headers(NOW)
    for _ in range(4):
        take(limits, NOW, method="GET")
    told = refused(limits, NOW, method="GET").headers
    assert ("1000", "999") == (claimed["X-RateLimit-Limit"], claimed["X-RateLimit-Remaining"])
    assert ("5", "0") == (told["X-RateLimit-Limit"], told["X-RateLimit-Remaining"])
    assert claimed["X-RateLimit-Bucket"] != told["X-RateLimit-Bucket"]


def test_fixed_window() -> None:
    """A fixed window gives nothing back before its end, then everything."""
    limits = Limits()
    limits.set("POST", MESSAGES, fixed=True)
    for _ in range(5):
        take(limits, NOW)
    assert 0.5 == refused(limits, NOW + 4.5).body["retry_after"]
    for _ in range(5):
        take(limits, NOW + 5)
    refused(limits, NOW + 5)


def test_numbers_and_hash_change() -> None:
    """Limits and hashes can change while a client runs, as they do at Discord."""
    limits = Limits()
    old = take(limits, NOW).headers(NOW)
    limits.set("POST", MESSAGES, limit=2, window=10.0, name="moved")
    new = take(limits, NOW).headers(NOW)
    assert (
        "2",
        "1",
        "5.000",
    ) == tuple(new[f"X-RateLimit-{n}"] for n in ("Limit", "Remaining", "Reset-After"))
    assert old["X-RateLimit-Bucket"] != new["X-RateLimit-Bucket"]


def test_global() -> None:
    """Fifty a second over all channels; the refusal is marked and has no bucket."""
    limits = Limits()
    for number in range(50):
        take(limits, NOW, major=str(number))
    answer = refused(limits, NOW, major="fresh")
    assert (True, "global", "true") == (
        answer.body["global"],
        answer.headers["X-RateLimit-Scope"],
        answer.headers["X-RateLimit-Global"],
    )
    assert "X-RateLimit-Bucket" not in answer.headers
    take(limits, NOW + 0.02, major="fresh")


def test_off() -> None:
    """Switched off, everything passes and nothing is said."""
    limits = Limits(enabled=False)
    assert [None] * 100 == [limits.take("POST", MESSAGES, "1", NOW) for _ in range(100)]


@pytest.mark.parametrize(
    ("status", "scope", "counted"),
    [
        (401, "", 1),
        (403, "", 1),
        (429, "user", 1),
        (429, "global", 1),
        (429, "shared", 0),
        (404, "", 0),
        (200, "", 0),
    ],
)
def test_what_counts(status: int, scope: str, counted: int) -> None:
    """401, 403 and 429 count towards the ban, a shared 429 does not."""
    limits = Limits()
    limits.count(status, scope, NOW)
    assert counted == limits.invalid


def test_ban() -> None:
    """At the limit the address is blocked for an hour; old answers are forgotten after ten minutes."""
    limits = Limits()
    limits.max_invalid = 3
    for second in (0, 1, 601.5):
        limits.count(401, "", NOW + second)
    assert (1, 0.0) == (limits.invalid, limits.banned(NOW + 602))
    limits.count(403, "", NOW + 602)
    limits.count(401, "", NOW + 602)
    assert 3600.0 == limits.banned(NOW + 602)
    assert 0.0 == limits.banned(NOW + 602 + 3600)


def test_threads_share() -> None:
    """Both ways of starting a thread take from one bucket, whose refusal is shared and no step to a ban."""
    limits = Limits()
    limits.set_global(100)
    for template in ("/channels/{channel}/threads", f"{MESSAGES}/{{message}}/threads"):
        for _ in range(25):
            take(limits, NOW, template=template)
    told = refused(limits, NOW, template="/channels/{channel}/threads").headers
    assert "shared" == told["X-RateLimit-Scope"]


def test_hash_changes_alone() -> None:
    """Another hash is no other bucket: what was taken stays taken, in every channel."""
    limits = Limits()
    old = [take(limits, NOW, major=major).headers(NOW) for major in ("1", "2")]
    limits.new_hash("POST", MESSAGES)
    new = [take(limits, NOW, major=major).headers(NOW) for major in ("1", "2")]
    assert ["3", "3"] == [headers["X-RateLimit-Remaining"] for headers in new]
    assert new[0] == new[1]
    assert old[0]["X-RateLimit-Bucket"] != new[0]["X-RateLimit-Bucket"]
