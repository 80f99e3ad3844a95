"""The emulator looked at raw, and every answer of its in a contract test held against what is documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from spoolbridge.emulator import Emulator
from spoolbridge.emulator.answers import Answered
from spoolbridge.emulator.refusals import RefusalError
from spoolbridge.emulator.transport import Exchange, Transport
from tests.support.raw import Api, Checked, Clock


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checked]:
    """Fails a test in which an answer breaks its schema, or comes from a route that has none.

    Looks at what a request is answered before a scripted fault spoils it.
    """
    found = Checked()
    carry_out = Transport._carry_out

    async def looked_at(self: Transport, exchange: Exchange) -> Answered:
        method = exchange.request.method
        try:
            answered = await carry_out(self, exchange)
        except RefusalError as refusal:
            body = json.dumps(refusal.body).encode()
            found.look(method, self.seen[exchange.index].route, refusal.status, body)
            raise
        if not answered.edge:
            found.look(method, self.seen[exchange.index].route, answered.status, answered.body)
        return answered

    monkeypatch.setattr(Transport, "_carry_out", looked_at)
    yield found
    assert not found.broken


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def api(clock: Clock) -> AsyncIterator[Api]:
    async with (
        Emulator(clock=clock, limits=False).serve() as emulator,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        yield Api(emulator, session, emulator.add_channel("mayor-villa"))
