"""What was removed long ago comes back, or is asked for: nothing is posted twice, and nothing is missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge import journal_files, prunable, prune
from spoolbridge.prune import Tally
from spoolbridge.retention import DAY, Keep, Retention
from tests.support.bridge import Bridge, bridging
from tests.support.waiting import until

YEAR = 400 * DAY
TOO_OLD = "too old to tell whether it was sent; drop it under a plain name to send it"


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool", channels=("general", "mayor-villa")) as made:
        yield made


async def days_go_by(bridge: Bridge, *days: float) -> None:
    """Each with a message, so that the journal begins a new file."""
    for each in days:
        bridge.clock.advance(each * DAY)
        await bridge.settled(bridge.drop("another day", "mayor-villa"))


def prune_as_the_service_does(bridge: Bridge, retention: Retention) -> Tally:
    tally = Tally()
    for each in prunable.plan(bridge.spool, retention, bridge.clock()):
        if each is not None:
            prune.carry_out(bridge.spool, [each], tally, forget=bridge.journal.forget)
    return tally


@pytest.mark.parametrize("restart", [False, True])
async def test_an_id_that_the_journal_does_not_reach_back_to(restart: bool, bridge: Bridge) -> None:
    """Somebody kept a sent file, and drops it more than a year later: it is not posted, for it might be the
    second time; under a plain name it is."""
    entry = await bridge.settled(bridge.drop("once"))
    os.rename(entry.path, bridge.spool.root / "tmp" / entry.name)
    await days_go_by(bridge, 1, 1, YEAR / DAY)
    prune_as_the_service_does(bridge, Retention(sent=Keep(2 * DAY)))
    if restart:
        await bridge.restart()
    os.rename(bridge.spool.root / "tmp" / entry.name, bridge.box() / entry.name)
    bridge.ring()
    failed = await bridge.only("failed")
    assert (entry.id, TOO_OLD, 1) == (failed.id, failed.reason, bridge.posts())
    bridge.retry(failed)
    await until(lambda: bool(bridge.tree("failed")) and not bridge.tree("outgoing", "sending"))
    assert TOO_OLD == (await bridge.only("failed")).reason
    assert ("sent", 2) == ((await bridge.settled(bridge.drop("once"))).state, bridge.posts())


async def test_an_id_within_the_journal(bridge: Bridge) -> None:
    """Old, but told of: it goes to sent/ unposted, also from a file that is compressed by now."""
    await days_go_by(bridge, 0, 1)
    entry = await bridge.settled(bridge.drop("once"))
    await days_go_by(bridge, 1, 390)
    for file in journal_files.dated(bridge._state):
        bridge.journal.compress(file)
    prune_as_the_service_does(bridge, Retention())
    await bridge.restart()
    assert bridge.spool.find(entry.id) is None
    (bridge.box() / entry.name).write_text("once")
    bridge.settle()
    assert "sent" == (await bridge.settled(entry)).state
    assert 1 == bridge.posts()


async def test_what_was_sent_costs_no_look(bridge: Bridge) -> None:
    """Of a million files in sent/ no list is made between a drop and its settlement."""
    first = await bridge.settled(bridge.drop("the directories are there"))
    day = first.path.parent
    sent = {each.stat().st_ino for each in (day, day.parent, day.parent.parent)}
    looked: set[int] = set()

    def noting(real: Any) -> Any:
        def call(at: Any = ".") -> Any:
            looked.add(os.stat(at).st_ino)
            return real(at)

        return call

    with patch.object(os, "listdir", noting(os.listdir)), patch.object(os, "scandir", noting(os.scandir)):
        entry = bridge.drop("hello")
        await until((day / entry.name).exists)
    assert looked
    assert set() == sent & looked


async def test_pruned_while_it_works(bridge: Bridge) -> None:
    """Messages go through while everything old is removed; none of them is touched."""
    old = bridge.spool.root / "sent" / "general" / "2020-01-01"
    old.mkdir(parents=True)
    for number in range(1500):
        (old / f"20200101T000000.{number:06}Z-00000000.old").write_bytes(b"x")

    async def once(seconds: float) -> None:
        if seconds == prune.EVERY:
            await asyncio.Event().wait()

    work = asyncio.ensure_future(
        prune.daily(bridge.spool, Retention(), bridge.journal, clock=bridge.clock, sleep=once)
    )
    entries = [bridge.drop(f"message {number}") for number in range(20)]
    for each in entries:
        assert "sent" == (await bridge.settled(each)).state
    await until(lambda: not old.exists())
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert [f"message {number}" for number in range(20)] == bridge.texts()
