"""Findings of a running service: asked for at once, again after an alarm, and gone when mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from spoolbridge.errors import TokenRefusedError, UnreachableError
from spoolbridge.findings import AGAIN, EVERY, LEAST, Finding, Inspection
from tests.support.clock import FakeClock

CLOSED = Finding("error", "mayor-villa: the bot lacks Read Message History", "why", "do")
OFF = Finding("error", "the Message Content intent is off", "messages of humans arrive empty", "switch it on")


class Poller:
    """What an inspection sees of the real one."""

    def __init__(self) -> None:
        self.emptied = frozenset[str]()
        self.looked_again = 0

    def look_again(self) -> None:
        self.looked_again += 1


class Discord:
    """Answers with what is wrong now, and notes when it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.start = clock, clock()
        self.wrong: list[Finding] | Exception = []
        self.asked: list[float] = []

    async def ask(self) -> list[Finding]:
        self.asked.append(self.clock() - self.start)
        if isinstance(self.wrong, Exception):
            raise self.wrong
        return list(self.wrong)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def discord(clock: FakeClock) -> Discord:
    return Discord(clock)


@pytest.fixture
def poller() -> Poller:
    return Poller()


@pytest.fixture
async def inspection(discord: Discord, clock: FakeClock, poller: Poller) -> AsyncIterator[Inspection]:
    made = Inspection(discord.ask, sleep=clock.sleep)
    running = asyncio.ensure_future(made.run(poller))
    await clock.sleepers()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def passes(clock: FakeClock, seconds: float) -> None:
    """Let time pass, a second at a time, everybody at rest before it goes on."""
    for _ in range(int(seconds)):
        await clock.sleepers()
        clock.advance(1.0)
        for _ in range(10):
            await asyncio.sleep(0)
    await clock.sleepers()


async def test_at_once_and_every_ten_minutes(
    inspection: Inspection, discord: Discord, clock: FakeClock
) -> None:
    """While all is well that is enough."""
    await passes(clock, 2 * EVERY)
    assert [0.0, EVERY, 2 * EVERY] == discord.asked
    assert [] == inspection.findings


async def test_what_is_wrong_is_looked_at_more_often_and_goes_when_mended(
    inspection: Inspection, discord: Discord, clock: FakeClock, poller: Poller
) -> None:
    """Then the poller looks again, for what it could not read lies behind no hint that moves."""
    discord.wrong = [CLOSED]
    await passes(clock, EVERY)
    assert ([CLOSED], 0) == (inspection.findings, poller.looked_again)
    discord.wrong = []
    await passes(clock, AGAIN)
    assert ([], 1) == (inspection.findings, poller.looked_again)
    assert [0.0, EVERY, EVERY + AGAIN] == discord.asked


async def test_alarms_are_answered_soon_and_never_often(
    inspection: Inspection, discord: Discord, clock: FakeClock
) -> None:
    """A poller in trouble raises one in each cycle; four requests for each would be a flood."""
    for _ in range(100):
        inspection.alarm()
        await passes(clock, 1)
    assert [number * LEAST for number in range(6)] == discord.asked
    await passes(clock, LEAST)
    asked = len(discord.asked)
    await passes(clock, LEAST)
    inspection.alarm()
    await passes(clock, 1)
    assert asked + 1 == len(discord.asked)


async def test_no_answer_changes_nothing(
    inspection: Inspection, discord: Discord, clock: FakeClock, poller: Poller
) -> None:
    """What was wrong is wrong yet, as far as anybody knows."""
    discord.wrong = [CLOSED]
    await passes(clock, EVERY)
    discord.wrong = UnreachableError("no connection to Discord")
    await passes(clock, AGAIN)
    assert ([CLOSED], 0) == (inspection.findings, poller.looked_again)


async def test_a_refused_token_ends_it(discord: Discord, clock: FakeClock, poller: Poller) -> None:
    """Every further request would count towards a ban."""
    discord.wrong = TokenRefusedError("Discord refuses the token (401)")
    with pytest.raises(TokenRefusedError):
        await Inspection(discord.ask, sleep=clock.sleep).run(poller)


async def test_what_the_poller_has_seen(
    inspection: Inspection, discord: Discord, clock: FakeClock, poller: Poller
) -> None:
    """Empty messages are told where the flags say that all is well, and not told twice where they do not."""
    poller.emptied = frozenset({"mayor-villa", "mayor-db"})
    [told] = inspection.findings
    assert "messages of humans arrive empty in mayor-db, mayor-villa" == told.what
    assert "off and on again" in told.do
    discord.wrong = [OFF]
    inspection.alarm()
    await passes(clock, LEAST + 1)
    assert [OFF] == inspection.findings
    poller.emptied = frozenset()
    discord.wrong = []
    await passes(clock, AGAIN)
    assert [] == inspection.findings
