"""Outbound, as it goes wrong: an answer is lost, the service dies, Discord is away, the disk is full.

Whatever happens: one message for one entry, never two, never none, never a half.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import dispatcher
from spoolbridge.errors import SpoolError, TokenRefusedError
from spoolbridge.outgoing import compose, parse
from spoolbridge.tries import ALONE, LATE, NONCE_WINDOW
from tests.support.bridge import MESSAGES, READ_MESSAGE_HISTORY, SEND_MESSAGES, Bridge, bridging
from tests.support.droppers import half_written
from tests.support.waiting import until

HOUR = 3600.0
PAST = NONCE_WINDOW + 10  # seconds; Discord may have forgotten the nonce

#: What leaves open whether the message was posted: it was …
COMMITTED: dict[str, dict[str, Any]] = {
    "closed": {"kind": "drop_after"},
    "reset": {"kind": "drop_after", "reset": True},
    "truncated": {"kind": "truncated"},
    "502": {"kind": "status", "status": 502, "commit": True},
    "time-out": {"kind": "delay", "seconds": 30.0},
}
#: … or it was not.
NOT_COMMITTED: dict[str, dict[str, Any]] = {
    "closed before": {"kind": "drop_before"},
    "reset before": {"kind": "drop_before", "reset": True},
    "503": {"kind": "status", "status": 503},
    "time-out before": {"kind": "delay", "seconds": 30.0, "commit": False},
}


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    """Not started. Its Discord forgets a nonce just where the bridge stops to trust in it."""
    async with bridging(tmp_path / "spool", start=False, nonce_window=NONCE_WINDOW) as made:
        yield made


async def started(bridge: Bridge, *, watched: bool = False, timeout: float = 30.0) -> None:
    bridge.watched, bridge.timeout = watched, timeout
    await bridge.start()


def fail(bridge: Bridge, fault: dict[str, Any], **more: Any) -> None:
    """The next post meets this fault."""
    bridge.emulator.fail(method="POST", route=MESSAGES, **fault, **more)


def fetches(bridge: Bridge) -> int:
    """How many pages of messages were asked for."""
    return sum((each.method, each.route) == ("GET", MESSAGES) for each in bridge.emulator.requests())


def faults(*groups: dict[str, dict[str, Any]]) -> pytest.MarkDecorator:
    pairs = [each for group in groups for each in group.items()]
    return pytest.mark.parametrize("fault", [fault for _, fault in pairs], ids=[name for name, _ in pairs])


# -- an answer is lost -----------------------------------------------------------------------------------


@faults(COMMITTED, NOT_COMMITTED)
async def test_an_answer_that_is_lost(bridge: Bridge, fault: dict[str, Any]) -> None:
    """The same nonce again: one message, whether the first request was carried out or not."""
    await started(bridge, timeout=0.3)
    fail(bridge, fault)
    sent = await bridge.settled(bridge.drop("once"))
    await bridge.settled(bridge.drop("and the next"))
    assert ("sent", ["once", "and the next"]) == (sent.state, bridge.texts())
    assert (3, 2, 0) == (bridge.posts(), len(set(bridge.nonces)), fetches(bridge))
    assert [int(bridge.emulator.messages("general")[0]["id"])] == list(sent.message_ids)


@faults(COMMITTED)
async def test_an_answer_that_was_lost_long_ago(bridge: Bridge, fault: dict[str, Any]) -> None:
    """The nonce may be forgotten: the channel is read back, and the message is there."""
    await started(bridge, watched=True, timeout=0.3)
    fail(bridge, fault)
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    sent = await bridge.settled(entry)
    assert (["once"], 1, 1) == (bridge.texts(), bridge.posts(), fetches(bridge))
    assert [int(bridge.emulator.messages("general")[0]["id"])] == list(sent.message_ids)


@faults(NOT_COMMITTED)
async def test_a_request_that_was_lost_long_ago(bridge: Bridge, fault: dict[str, Any]) -> None:
    """The channel is read back, the message is not there, and is posted."""
    await started(bridge, watched=True, timeout=0.3)
    fail(bridge, fault)
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    await bridge.settled(entry)
    assert (["once"], 2, 1) == (bridge.texts(), bridge.posts(), fetches(bridge))


async def test_a_clock_that_was_set_back(bridge: Bridge) -> None:
    """Nobody knows how old the nonce is: read back."""
    await started(bridge, watched=True)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(10)
    bridge.clock.now -= HOUR
    await bridge.settled(entry)
    assert (["once"], 1, 1) == (bridge.texts(), bridge.posts(), fetches(bridge))


@pytest.mark.parametrize("back", [False, True], ids=["wrong", "mended"])
async def test_a_clock_that_was_ahead(bridge: Bridge, back: bool) -> None:
    """The message has an id of Discord's time, long before the try by ours: it is looked for by theirs."""
    await started(bridge, watched=True)
    await bridge.client.me()  # as every start: since then Discord's time is known
    bridge.clock.set(HOUR)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.set(-HOUR if back else 0.0)
    bridge.clock.advance(HOUR + LATE if back else LATE)
    sent = await bridge.settled(entry)
    assert ("sent", ["once"], 1, 1) == (sent.state, bridge.texts(), bridge.posts(), fetches(bridge))


async def test_a_clock_that_hides_how_old_a_nonce_is(bridge: Bridge) -> None:
    """Set back by nearly as much as has passed: by ours it would still be young."""
    await started(bridge, watched=True)
    await bridge.client.me()
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.now += PAST
    bridge.clock.set(10 - PAST)
    bridge.clock.advance(10)
    sent = await bridge.settled(entry)
    assert ("sent", ["once"], 1, 1) == (sent.state, bridge.texts(), bridge.posts(), fetches(bridge))


async def test_a_nonce_that_expires_while_its_request_waits_its_turn(bridge: Bridge) -> None:
    """A limit holds the second try back until the nonce may be forgotten: it must not go out any more."""
    await started(bridge, watched=True)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.now += NONCE_WINDOW - 20
    fail(bridge, {"kind": "ratelimit", "scope": "global", "retry_after": 50.0})
    bridge.drop("limited", "mayor-villa")
    await bridge.clock.sleepers(2)
    bridge.clock.advance(0.1)
    await bridge.settled(entry)
    assert (["once"], 1, 1) == (bridge.texts(), bridge.posts(), fetches(bridge))


@pytest.mark.parametrize("committed", [True, False])
async def test_an_equal_text_is_not_taken_for_it(bridge: Bridge, committed: bool) -> None:
    """Our own of a moment ago, a human's: "ping" dropped twice is on Discord twice."""
    await started(bridge, watched=True)
    await bridge.settled(bridge.drop("ping"))
    bridge.emulator.say("general", "ping")
    fail(bridge, {"kind": "drop_after" if committed else "drop_before"})
    entry = bridge.drop("ping")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    await bridge.settled(entry)
    assert (["ping", "ping"], 2 if committed else 3) == (bridge.texts(), bridge.posts())


@pytest.mark.parametrize("committed", [True, False])
async def test_an_equal_part_is_not_taken_for_it(bridge: Bridge, committed: bool) -> None:
    """One text with equal parts; what became of the second is not known."""
    await started(bridge, watched=True)
    fail(bridge, {"kind": "drop_after" if committed else "drop_before"}, after=1)
    parts = [part.content for part in compose(parse("", b"a" * 4000))]
    assert parts[0] == parts[1]
    entry = bridge.drop("a" * 4000)
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    await bridge.settled(entry)
    assert parts == bridge.texts()


async def test_files_without_a_text_are_recognised(bridge: Bridge) -> None:
    """By their sizes, for Discord changes names; files of other sizes are others."""
    await started(bridge, watched=True)
    await bridge.settled(bridge.drop(b"\x89PNG another", name="b.png"))
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop(None, files={"my chart (1).png": b"\x89PNG\xff", "画像.png": b"\x89PNG\xff\xfe"})
    await bridge.clock.sleepers(1)
    guild = bridge.emulator.guild
    posted = guild.history(guild.channel("general").id)[-1]
    names = ("my_chart_1.png", "a8c1d2.png")  # as discord-api-docs #7754 and #6945 tell
    cleansed = [replace(each, filename=name) for each, name in zip(posted.attachments, names, strict=True)]
    guild.change(posted, attachments=tuple(cleansed))
    bridge.clock.advance(PAST)
    sent = await bridge.settled(entry)
    assert ((posted.id,), 2) == (sent.message_ids, bridge.posts())


async def test_a_message_that_cannot_be_looked_for(bridge: Bridge) -> None:
    """Without the history an empty page says nothing: failed, and with it a retry finds the message."""
    await started(bridge, watched=True)
    bridge.emulator.deny("general", READ_MESSAGE_HISTORY)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    failed = await bridge.settled(entry)
    assert ("failed", 1) == (failed.state, bridge.posts())
    assert failed.reason.startswith("delivery unknown: the bot may not read this channel's history")
    bridge.emulator.allow("general", READ_MESSAGE_HISTORY)
    bridge.retry(failed)
    sent = await bridge.settled(entry)
    assert ("sent", ["once"], 1) == (sent.state, bridge.texts(), bridge.posts())


async def test_an_unknown_entry_that_comes_back_with_another_text(bridge: Bridge) -> None:
    """What is found on Discord is the old text: the new one is not taken for it, and not lost."""
    await started(bridge, watched=True)
    bridge.emulator.deny("general", READ_MESSAGE_HISTORY)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("old")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(PAST)
    failed = await bridge.settled(entry)
    bridge.emulator.allow("general", READ_MESSAGE_HISTORY)
    failed.path.write_text("new\n")
    bridge.retry(failed)
    await until(lambda: not bridge.spool.find(entry.id))
    again = await bridge.only("failed")
    bridge.retry(again)
    assert "sent" == (await bridge.settled(again)).state
    assert (["old", "new"], "new\n") == (bridge.texts(), bridge.spool.find(again.id).path.read_text())  # type: ignore[union-attr]


async def test_posted_and_deleted_is_posted(bridge: Bridge) -> None:
    """Somebody deletes the message before the second try: "unknown message" (10008) says so."""
    await started(bridge, watched=True)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    guild = bridge.emulator.guild
    guild.remove(guild.history(guild.channel("general").id)[-1])
    bridge.clock.advance(10)
    sent = await bridge.settled(entry)
    assert ("sent", [], (0,), 2) == (sent.state, bridge.texts(), sent.message_ids, bridge.posts())


async def test_unknown_message_at_the_first_try_is_a_refusal(bridge: Bridge) -> None:
    """The nonce was never used: nothing was posted."""
    await started(bridge)
    fail(bridge, {"kind": "status", "status": 404, "code": 10008})
    failed = await bridge.settled(bridge.drop("once"))
    assert ("failed", 1, []) == (failed.state, bridge.posts(), bridge.texts())


@pytest.mark.parametrize("committed", [True, False])
async def test_refused_after_an_answer_was_lost(bridge: Bridge, committed: bool) -> None:
    """The refusal is of the second try: the first may be on Discord, so that is looked at first."""
    await started(bridge)
    fail(bridge, {"kind": "drop_after" if committed else "drop_before"})
    fail(bridge, {"kind": "status", "status": 400, "code": 200000}, after=1)
    found = await bridge.settled(bridge.drop("once"))
    expected = ("sent", ["once"]) if committed else ("failed", [])
    assert (*expected, 2, 1) == (found.state, bridge.texts(), bridge.posts(), fetches(bridge))


# -- Discord waits, or is away ---------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_a_rate_limit_is_waited_for(bridge: Bridge, scope: str) -> None:
    """Exactly so long as Discord says, however old the entry is; it is no try and no crash."""
    await started(bridge, watched=True)
    await bridge.emulator.down()
    entry = bridge.drop("patient")
    await bridge.clock.sleepers(1)
    await bridge.emulator.up()
    for seconds in (2.5, 7.0, 2.5, 2.5):
        fail(bridge, {"kind": "ratelimit", "scope": scope, "retry_after": seconds})
    bridge.clock.advance(LATE - 100)
    for seconds in (2.5, 7.0, 2.5, 2.5):
        await bridge.clock.sleepers(1)
        assert seconds == pytest.approx(bridge.posting.waiting["general"][0] - bridge.clock(), abs=0.01)
        assert "429" in bridge.posting.waiting["general"][1]
        bridge.clock.advance(seconds + 0.01)
    sent = await bridge.settled(entry)
    assert ("sent", ["patient"], 5, 0) == (sent.state, bridge.texts(), bridge.posts(), fetches(bridge))


async def test_cloudflare_is_waited_for_by_everything(bridge: Bridge) -> None:
    """Its 429 is about the address: the other channel asks nothing in the meantime."""
    await started(bridge, watched=True)
    fail(bridge, {"kind": "cloudflare", "shape": "html", "retry_after": 200})
    blocked = bridge.drop("one")
    await bridge.clock.sleepers(1)
    other = bridge.drop("two", "mayor-villa")
    await bridge.clock.sleepers(2)
    assert (1, 0) == (bridge.posts(), bridge.posts("mayor-villa"))
    assert 200 == pytest.approx(bridge.client.paused_for, abs=0.1)
    bridge.clock.advance(201)
    await bridge.settled(blocked)
    bridge.clock.advance(201)
    await bridge.settled(other)
    assert (["one"], ["two"]) == (bridge.texts(), bridge.texts("mayor-villa"))


async def test_a_burst_into_real_limits(tmp_path: Path) -> None:
    """Discord's own limits, five in five seconds: kept so well that none is ever met."""
    async with bridging(tmp_path / "spool", limits=True) as bridge:
        began = bridge.clock()
        dropped = [bridge.drop(f"number {number}") for number in range(20)]
        await bridge.settled(dropped[-1])
        assert [f"number {number}" for number in range(20)] == bridge.texts()
        assert {200} == {each.status for each in bridge.emulator.requests()}
        assert 14 <= bridge.clock() - began < 25


async def test_an_outage(bridge: Bridge) -> None:
    """Nobody listens for half an hour: everything waits, keeps its order, and says that it is late."""
    await started(bridge)
    await bridge.settled(bridge.drop("before"))
    await bridge.emulator.down()
    began = bridge.clock()
    waiting = [bridge.drop(f"number {number}") for number in range(3)]
    other = bridge.drop("elsewhere", "mayor-villa")
    await until(lambda: bridge.clock() - began > 1860)
    assert (1, {"failed": []}) == (bridge.posts(), {"failed": list(bridge.tree("failed"))})
    await bridge.emulator.up()
    for entry in (*waiting, other):
        assert "sent" == (await bridge.settled(entry)).state
    stamped = [text.partition("\n") for text in bridge.texts()[1:] + bridge.texts("mayor-villa")]
    assert ["number 0", "number 1", "number 2", "elsewhere"] == [text for _, _, text in stamped]
    assert all(stamp.startswith("(written ") and ", delayed " in stamp for stamp, _, _ in stamped)
    assert len(bridge.nonces) == len(set(bridge.nonces))


async def test_an_outage_has_no_limit_but_not_after(bridge: Bridge) -> None:
    """Hours in which nothing answers: who named a time gets the entry back, who did not waits."""
    await started(bridge)
    await bridge.emulator.down()
    began = bridge.clock()
    entry = bridge.drop("patient")
    stale = bridge.drop("Spoolbridge: 1\nNot-After: 1999-01-01T00:00:00Z\n\nstale", "mayor-villa")
    await until(lambda: bridge.clock() - began > 6 * HOUR)
    assert "its Not-After has passed" == (await bridge.settled(stale)).reason
    await bridge.emulator.up()
    assert "sent" == (await bridge.settled(entry)).state
    assert 1 == bridge.posts()


async def test_not_after_passes_while_an_answer_is_missing(bridge: Bridge) -> None:
    """It may be on Discord: that is looked at before anybody is told that it was not sent."""
    from datetime import UTC, datetime

    await started(bridge, watched=True)
    fail(bridge, COMMITTED["closed"])
    until_then = datetime.fromtimestamp(bridge.clock() + 4, UTC).isoformat()
    entry = bridge.drop(f"Spoolbridge: 1\nNot-After: {until_then}\n\nonce")
    await bridge.clock.sleepers(1)
    bridge.clock.advance(10)
    assert "sent" == (await bridge.settled(entry)).state
    assert (["once"], 1) == (bridge.texts(), bridge.posts())


@pytest.mark.parametrize(("word", "state"), [("!!503 always", "failed"), ("!!503-after always", "sent")])
async def test_a_message_that_fails_alone(bridge: Bridge, word: str, state: str) -> None:
    """Ten minutes in which Discord answers everything else; read back; then the next one's turn."""
    await started(bridge)
    began = bridge.clock()
    entry = bridge.drop(word)
    behind = bridge.drop("next")
    found = await bridge.settled(entry)
    await bridge.settled(behind)
    assert state == found.state
    if state == "sent":
        assert [word, "next"] == bridge.texts()
    else:
        assert ["next"] == [text.partition("delayed 10 min)\n")[2] for text in bridge.texts()]
        assert "for 10 minutes in which Discord answered everything else" in found.reason
        assert ALONE < bridge.clock() - began < 3 * ALONE
        assert fetches(bridge) >= 1


async def test_a_message_fails_with_everything_else(bridge: Bridge) -> None:
    """5xx from all of Discord: nobody's message is given up for it."""
    await started(bridge)
    for method, route in (("POST", MESSAGES), ("GET", MESSAGES), ("GET", "/users/@me")):
        bridge.emulator.fail(method=method, route=route, kind="status", status=503, times=0)
    began = bridge.clock()
    entry = bridge.drop("patient")
    await until(lambda: bridge.clock() - began > 3 * HOUR)
    bridge.emulator.faults.clear()
    assert "sent" == (await bridge.settled(entry)).state
    assert 1 == len(bridge.texts())


async def test_a_channel_that_cannot_be_read_back_is_not_wedged(bridge: Bridge) -> None:
    """Ten minutes alone count there too: "delivery unknown", and the next one's turn."""
    await started(bridge)
    fail(bridge, COMMITTED["closed"])
    fail(bridge, {"kind": "status", "status": 500}, times=30)
    bridge.emulator.fail(method="GET", route=MESSAGES, kind="status", status=500, times=0)
    entry = bridge.drop("once")
    failed = await bridge.settled(entry)
    assert failed.reason.startswith("delivery unknown: reading back: Discord answered 500")
    assert ["once"] == bridge.texts()
    bridge.emulator.faults.clear()
    bridge.retry(failed)
    sent = await bridge.settled(entry)
    await bridge.settled(bridge.drop("next"))
    assert ("sent", ["once", "next"]) == (sent.state, bridge.texts())


async def test_an_odd_refusal_of_the_question_whether_discord_is_up(bridge: Bridge) -> None:
    """A refusal is an answer too."""
    await started(bridge)
    fail(bridge, NOT_COMMITTED["503"])
    bridge.emulator.fail(method="GET", route="/users/@me", kind="status", status=403, code=40333)
    assert "sent" == (await bridge.settled(bridge.drop("once"))).state


# -- the channel, or the token, is closed ----------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(403, 50001), (403, 50013), (404, 10003)])
async def test_a_closed_channel_is_parked(bridge: Bridge, status: int, code: int) -> None:
    """Its files go back under their names, it is tried again later, and no other channel notices."""
    await started(bridge)
    route = f"/channels/{bridge.emulator.guild.channel('general').id}/messages"
    bridge.emulator.fail(method="POST", route=route, kind="status", status=status, code=code, times=2)
    first = bridge.drop("one")
    await until(lambda: "general" in bridge.dispatcher.parked)
    second = bridge.drop("two")
    await bridge.settled(bridge.drop("elsewhere", "mayor-villa"))
    await bridge.scanned()
    assert ({"outgoing/general": [first.name, second.name]}, 1) == (
        bridge.tree("outgoing", "sending", "failed"), bridge.posts()
    )  # fmt: skip
    parked = bridge.dispatcher.parked["general"]
    assert f"code {code}: " in parked.reason
    bridge.clock.now = parked.until
    bridge.ring()
    await until(lambda: bridge.dispatcher.parked["general"].until > parked.until)
    again = bridge.dispatcher.parked["general"]
    assert (parked.since, 2) == (again.since, bridge.posts())
    bridge.clock.now = again.until
    bridge.ring()
    for entry in (first, second):
        assert "sent" == (await bridge.settled(entry)).state
    assert (["one", "two"], {}) == (bridge.texts(), bridge.dispatcher.parked)


async def test_a_channel_that_closes_between_the_parts(bridge: Bridge) -> None:
    """What was sent stays, and when the channel opens the rest follows."""
    parts = [part.content for part in compose(parse("", b"a" * 5000))]
    await started(bridge)
    fail(bridge, {"kind": "status", "status": 403, "code": 50013}, after=1)
    entry = bridge.drop("a" * 5000)
    await until(lambda: "general" in bridge.dispatcher.parked)
    assert ({"outgoing/general": [entry.name]}, parts[:1]) == (bridge.tree(), bridge.texts())
    bridge.clock.now = bridge.dispatcher.parked["general"].until
    bridge.ring()
    await bridge.settled(entry)
    assert (parts, len(parts) + 1) == (bridge.texts(), bridge.posts())


async def test_a_channel_parked_for_hours_says_so(bridge: Bridge) -> None:
    """Nothing of it was sent, so its text is not fixed yet: it can say that it is late."""
    await started(bridge)
    bridge.emulator.deny("general", SEND_MESSAGES)
    entry = bridge.drop("hello")
    await until(lambda: "general" in bridge.dispatcher.parked)
    bridge.emulator.allow("general", SEND_MESSAGES)
    bridge.clock.advance(3 * HOUR + 1)
    bridge.ring()
    await bridge.settled(entry)
    (text,) = bridge.texts()
    assert ", delayed 3 h)\nhello" in text


async def test_a_refused_token_ends_the_dispatcher(bridge: Bridge) -> None:
    """Every further request would count towards a ban; the entry waits, and surely was not posted."""
    await started(bridge)
    fail(bridge, {"kind": "unauthorized"})
    entry = bridge.drop("once")
    error = await bridge.ended()
    assert TokenRefusedError is type(error)
    await bridge.stop()
    found = bridge.spool.find(entry.id)
    assert found is not None
    assert found.state in ("outgoing", "sending")
    bridge.emulator.transport.refused_token = False
    bridge.clock.advance(PAST)
    await started(bridge)
    await bridge.settled(entry)
    assert (["once"], 2, 0) == (bridge.texts(), bridge.posts(), fetches(bridge))


# -- the service ends, or dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("later", [5.0, PAST], ids=["soon", "later"])
@pytest.mark.parametrize("committed", [True, False])
async def test_an_end_in_the_middle_of_a_request(
    bridge: Bridge, end: str, later: float, committed: bool
) -> None:
    """Stopped or killed, started again soon or late, carried out or not: one message."""
    await started(bridge)
    fail(bridge, {"kind": "delay", "seconds": 60.0, "commit": committed})
    entry = bridge.drop("once")
    await until(lambda: bridge.posts() == 1 and bridge.texts() == (["once"] if committed else []))
    await (bridge.stop() if end == "stop" else bridge.kill())
    assert {"sending/general": [entry.name]} == bridge.tree()
    bridge.clock.advance(later)
    await started(bridge)
    sent = await bridge.settled(entry)
    assert ("sent", ["once"]) == (sent.state, bridge.texts())
    read_back = later > NONCE_WINDOW
    assert (read_back, 1 if committed and read_back else 2) == (fetches(bridge) > 0, bridge.posts())


@pytest.mark.parametrize("later", [5.0, PAST], ids=["soon", "later"])
@pytest.mark.parametrize("committed", [True, False])
async def test_killed_between_the_parts(bridge: Bridge, later: float, committed: bool) -> None:
    """The second of several is under way: every part once, in order, and the first is not repeated."""
    text = "\n".join(f"line {number:04} of a long text" for number in range(200))
    parts = [part.content.strip() for part in compose(parse("", text.encode()))]
    assert 3 <= len(parts) <= 5
    await started(bridge)
    fail(bridge, {"kind": "delay", "seconds": 60.0, "commit": committed}, after=1)
    entry = bridge.drop(text)
    await until(lambda: bridge.posts() == 2 and len(bridge.texts()) == 1 + committed)
    await bridge.kill()
    bridge.clock.advance(later)
    await started(bridge)
    sent = await bridge.settled(entry)
    assert ("sent", parts, len(parts)) == (sent.state, bridge.texts(), len(sent.message_ids))
    assert int(later == PAST) == fetches(bridge)


async def test_over_midnight(bridge: Bridge) -> None:
    """The journal begins a new file each day; what was open stays so, what was sent stays known."""
    await started(bridge, watched=True)
    bridge.clock.now += 86400 - bridge.clock.now % 86400 - 60
    earlier = await bridge.settled(bridge.drop("once"))
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    await bridge.kill()
    bridge.clock.advance(PAST)
    await started(bridge)
    await bridge.settled(entry)
    assert (["once", "once"], 2, 1) == (bridge.texts(), bridge.posts(), fetches(bridge))
    for _ in range(3):
        bridge.clock.advance(86400)
        await bridge.settled(bridge.drop("every day", "mayor-villa"))
    await bridge.restart()
    shutil.move(earlier.path, bridge.box())
    bridge.ring()
    await bridge.quiet()
    assert (["once", "once"], 2) == (bridge.texts(), bridge.posts())
    assert 4 == len(list((bridge.spool.root / "state").glob("journal-*.jsonl")))


async def test_killed_and_forgotten_for_hours(bridge: Bridge) -> None:
    """It was not on Discord, and when it comes it says that it is late."""
    await started(bridge)
    fail(bridge, {"kind": "delay", "seconds": 600.0, "commit": False})
    entry = bridge.drop("hello")
    await until(lambda: bridge.posts() == 1)
    await bridge.kill()
    bridge.clock.advance(3 * HOUR + 1)
    await started(bridge)
    await bridge.settled(entry)
    (text,) = bridge.texts()
    assert ", delayed 3 h)\nhello" in text


@pytest.mark.parametrize("committed", [True, False])
async def test_three_crashes_are_poison(bridge: Bridge, committed: bool) -> None:
    """Whatever kills the service each time is not tried a fourth time, unless it is on Discord."""
    fail(bridge, {"kind": "delay", "seconds": 600.0, "commit": committed}, times=0)
    entry = bridge.drop("poison")
    for number in (1, 2, 3):
        await started(bridge)
        await until(lambda wanted=number: bridge.posts() == wanted)  # type: ignore[misc]
        await bridge.kill()
        bridge.clock.advance(1)
    bridge.emulator.faults.clear()
    await started(bridge)
    found = await bridge.settled(entry)
    await bridge.settled(bridge.drop("next"))
    expected = ["poison"] if committed else []
    assert ([*expected, "next"], 4) == (bridge.texts(), bridge.posts())
    if committed:
        assert "sent" == found.state
    else:
        assert "the service died 3 times while posting this; it is not on Discord" == found.reason


async def test_three_stops_are_no_poison(bridge: Bridge) -> None:
    """Who ends the service in an orderly way has not killed it."""
    fail(bridge, {"kind": "delay", "seconds": 600.0, "commit": False}, times=0)
    entry = bridge.drop("fine")
    for number in (1, 2, 3, 4):
        await started(bridge)
        await until(lambda wanted=number: bridge.posts() == wanted)  # type: ignore[misc]
        await bridge.stop()
        bridge.clock.advance(1)
    bridge.emulator.faults.clear()
    await started(bridge)
    assert "sent" == (await bridge.settled(entry)).state
    assert (["fine"], 1) == (bridge.texts(), len(set(bridge.nonces)))


async def test_died_between_the_journal_and_the_rename(bridge: Bridge) -> None:
    """On Discord, in the journal, still in sending/: only the rename is missing."""
    await started(bridge)
    entry = await bridge.settled(bridge.drop("once"))
    await bridge.stop()
    shutil.move(entry.path, bridge.spool.root / "sending" / "general" / entry.name)
    await started(bridge)
    assert "sent" == (await bridge.settled(entry)).state
    assert (1, 0) == (bridge.posts(), fetches(bridge))


async def test_what_was_left_in_sending_goes_first(bridge: Bridge) -> None:
    """In its order, and before what was dropped since."""
    entries = [bridge.drop(f"number {number}") for number in range(3)]
    for entry in entries:
        (bridge.spool.root / "sending" / "general").mkdir(exist_ok=True)
        shutil.move(entry.path, bridge.spool.root / "sending" / "general" / entry.name)
    last = bridge.drop("last")
    await started(bridge)
    await bridge.settled(last)
    assert ["number 0", "number 1", "number 2", "last"] == bridge.texts()


async def test_an_end_waits_for_a_second_try_too(bridge: Bridge) -> None:
    """`finish` lets every request under way be settled, not only the first of an entry."""
    await started(bridge, watched=True)
    fail(bridge, NOT_COMMITTED["closed before"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    bridge.emulator.transport.latency = 0.2
    bridge.clock.advance(10)
    await until(lambda: bridge.posts() == 2)
    await bridge.dispatcher.finish()
    found = bridge.spool.find(entry.id)
    assert found is not None
    assert "sent" == found.state


async def test_after_finish_nothing_is_claimed(bridge: Bridge) -> None:
    """What is dropped then waits for the next start."""
    await started(bridge)
    await bridge.dispatcher.finish()
    entry = bridge.drop("later")
    await bridge.scanned()
    assert {"outgoing/general": [entry.name]} == bridge.tree()
    await bridge.restart()
    assert "sent" == (await bridge.settled(entry)).state


# -- the disk, and people --------------------------------------------------------------------------------


async def test_no_room_for_the_try(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is posted that the next start would not know of; it goes on when there is room."""
    await started(bridge)

    def full(*arguments: Any, **fields: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bridge.journal, "tried", full)
    entry = bridge.drop("once")
    await until(lambda: bridge.dispatcher.disk)
    await bridge.scanned()
    assert ({"general": "No space left on device"}, 0) == (bridge.dispatcher.disk, bridge.posts())
    assert {"sending/general": [entry.name]} == bridge.tree()
    monkeypatch.undo()
    assert "sent" == (await bridge.settled(entry)).state
    await until(lambda: not bridge.dispatcher.disk)
    assert (["once"], 1) == (bridge.texts(), bridge.posts())


@pytest.mark.parametrize("minutes", [0, 5])
async def test_no_room_for_the_outcome(bridge: Bridge, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    """It is on Discord and the journal cannot say so: not posted again, however long that lasts."""
    await started(bridge)

    def full(*arguments: Any, **fields: Any) -> None:
        bridge.clock.now += 60 * minutes
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bridge.journal, "sent", full)
    entry = bridge.drop("once")
    await until(lambda: bridge.dispatcher.disk)
    await until(lambda: bridge.posts() + fetches(bridge) >= 3)
    monkeypatch.undo()
    sent = await bridge.settled(entry)
    assert ("sent", ["once"], 1) == (sent.state, bridge.texts(), len(sent.message_ids))


async def test_a_disk_that_fails_stops_everything(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """After EIO nothing that was written can be believed."""
    await started(bridge)

    def broken(*arguments: Any, **fields: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(bridge.journal, "tried", broken)
    bridge.drop("once")
    error = await bridge.ended()
    assert SpoolError is type(error)
    assert "the disk fails (Input/output error); check it before you start again" == str(error)
    assert 0 == bridge.posts()


async def test_who_writes_on_after_the_claim(bridge: Bridge) -> None:
    """The file is posted once it is closed, whole."""
    entry = bridge.drop("the first line\n")
    (bridge.spool.root / "sending" / "general").mkdir()
    path = bridge.spool.root / "sending" / "general" / entry.name
    shutil.move(entry.path, path)
    with half_written(path, b"the second\n") as fd:
        await started(bridge)
        await bridge.scanned()
        assert 0 == bridge.posts()
        os.write(fd, b"the third\n")
    await bridge.settled(entry)
    assert ["the first line\nthe second\nthe third"] == bridge.texts()


async def test_who_writes_on_for_too_long(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Released under its ID, so that the channel is not wedged; posted when it is closed."""
    monkeypatch.setattr(dispatcher, "LEASE_WAIT", 0.2)
    entry = bridge.drop("the first line\n")
    (bridge.spool.root / "sending" / "general").mkdir()
    path = bridge.spool.root / "sending" / "general" / entry.name
    shutil.move(entry.path, path)
    with half_written(path, b"the second\n"):
        await started(bridge)
        await until(lambda: {"outgoing/general": [entry.name]} == bridge.tree())
        behind = bridge.drop("next")
        await bridge.settled(behind)
        assert ["next"] == bridge.texts()
    await bridge.settled(entry)
    assert ["next", "the first line\nthe second"] == bridge.texts()


async def test_removed_between_two_tries_is_cancelled(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """`rm` in sending/: not tried again, told in the log, and the next goes out."""
    caplog.set_level("INFO")
    await started(bridge, watched=True)
    fail(bridge, NOT_COMMITTED["503"])
    entry = bridge.drop("no, wait")
    behind = bridge.drop("next")
    await bridge.clock.sleepers(1)
    (bridge.spool.root / "sending" / "general" / entry.name).unlink()
    bridge.clock.advance(10)
    await bridge.settled(behind)
    assert (["next"], 2) == (bridge.texts(), bridge.posts())
    assert f"general/{entry.name} cancelled: it was taken out of sending/" in caplog.messages


async def test_removed_during_a_request(bridge: Bridge) -> None:
    """Too late: it is on Discord, and the service goes on."""
    await started(bridge)
    fail(bridge, {"kind": "delay", "seconds": 0.3})
    entry = bridge.drop("too late")
    await bridge.emulator.posted("general")
    (bridge.spool.root / "sending" / "general" / entry.name).unlink()
    await bridge.settled(bridge.drop("next"))
    assert (["too late", "next"], None) == (bridge.texts(), bridge.spool.find(entry.id))


async def test_moved_back_between_two_tries(bridge: Bridge) -> None:
    """An operator's `mv sending/X outgoing/`: the same ID, so the same nonce, and one message."""
    await started(bridge, watched=True)
    fail(bridge, COMMITTED["closed"])
    entry = bridge.drop("once")
    await bridge.clock.sleepers(1)
    shutil.move(bridge.spool.root / "sending" / "general" / entry.name, entry.path)
    bridge.clock.advance(10)
    await bridge.settled(entry)
    assert (["once"], 1) == (bridge.texts(), len(set(bridge.nonces)))


async def test_the_journal_tells_it_all(bridge: Bridge) -> None:
    """What happened to an entry can be read there, and no text of it."""
    await started(bridge)
    fail(bridge, COMMITTED["closed"])
    fail(bridge, {"kind": "ratelimit", "retry_after": 3.0}, after=1)
    entry = await bridge.settled(bridge.drop("a secret"))
    text = (bridge.spool.root / "state" / "journal.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    assert ["try", "unknown", "try", "not-sent", "try", "sent"] == [each["kind"] for each in records]
    assert ({entry.id}, list(entry.message_ids)) == (
        {each["id"] for each in records}, [records[-1]["message"]]
    )  # fmt: skip
    assert "secret" not in text
