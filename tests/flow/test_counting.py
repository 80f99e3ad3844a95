"""What the flows tell the metrics: every entry counted once, with the reason and the time it took."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bridge import Bridge, bridging
from tests.support.waiting import until


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


async def test_what_is_sent(bridge: Bridge) -> None:
    """One entry of three parts is one, answered once, and known by where it lies."""
    entry = await bridge.settled(bridge.drop("x" * 5000))
    await until(lambda: bridge.metrics.last_sent)
    assert {"general": 1} == dict(bridge.metrics.sent_by)
    assert 1 == sum(bridge.metrics.latency.buckets)
    assert [str(entry.path.relative_to(bridge.spool.root))] == [one.path for one in bridge.metrics.newest]
    assert bridge.metrics.looked_at


async def test_how_long_it_took(bridge: Bridge) -> None:
    """From the time it was written to Discord's answer, what an outage took included."""
    bridge.drop("!!503 late")
    await until(lambda: bridge.metrics.last_sent)
    assert 2.0 < bridge.metrics.latency.sum < 60.0
    assert 1 == bridge.metrics.requests["5xx"]


async def test_a_reaction_is_answered_too(bridge: Bridge) -> None:
    """It takes another way through the posting."""
    message = await bridge.settled(bridge.drop("look at this"))
    [message_id] = [int(each["id"]) for each in bridge.emulator.messages("general")]
    assert message.state == "sent"
    await bridge.settled(bridge.drop(f"Spoolbridge: 1\nReact: 👍\nReply-To: {message_id}\n\n"))
    await until(lambda: bridge.metrics.sent_by["general"] == 2)
    assert 2 == sum(bridge.metrics.latency.buckets)


async def test_why_it_failed(bridge: Bridge) -> None:
    """Each kind of failure under its own word, and none as sent."""
    (bridge.spool.root / "outgoing" / "nowhere").mkdir()
    bridge.drop("!!automod buy now")
    bridge.drop("Spoolbridge: 1\nRepy-To: 12\n\nhi")
    bridge.drop("Spoolbridge: 1\nNot-After: 2001-01-01T00:00:00Z\n\ntoo late")
    bridge.drop("whom?", "nowhere")
    os.symlink("/etc/hostname", bridge.box() / "link")
    bridge.settle()
    await until(lambda: sum(bridge.metrics.failed_by.values()) == 5)
    expected = {("general", kind): 1 for kind in ("refused", "unreadable", "given_up", "unfit")}
    assert expected | {("other", "no_channel"): 1} == dict(bridge.metrics.failed_by)
    assert {} == dict(bridge.metrics.sent_by)


async def test_requests_that_come_back_with_nothing(bridge: Bridge) -> None:
    """A dead line and a limit are counted apart."""
    bridge.drop("!!429 1 limited")
    await until(lambda: bridge.metrics.last_sent)
    assert 1 == bridge.metrics.rate_limited
    bridge.drop("!!drop cut")
    await until(lambda: bridge.metrics.sent_by["general"] == 2)
    assert 1 == bridge.metrics.requests["none"]
