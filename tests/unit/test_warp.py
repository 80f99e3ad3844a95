"""The loop whose time jumps: what happens at once takes no time, and nothing is jumped over."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.support.warp import WARPED, clock


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return WARPED


async def test_an_hour_takes_a_moment() -> None:
    """And timers fire in order, each at its own time."""
    began, now, seen = time.monotonic(), clock(1000.0), []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(now() - 1000.0)

    start = now() - 1000.0
    await asyncio.gather(*(sleeper(seconds) for seconds in (3600.0, 1.0, 60.0)))
    assert [1.0, 60.0, 3600.0] == [pytest.approx(each - start) for each in seen]
    assert time.monotonic() - began < 5.0


async def test_time_stands_still_while_a_thread_works() -> None:
    """What a thread does takes no virtual time, however long it really takes."""
    now = clock()
    before = now()
    await asyncio.to_thread(time.sleep, 0.02)
    assert before == now()


async def test_what_is_on_its_way_is_not_overtaken() -> None:
    """A thousand exchanges over loopback, a timer always ready to jump: no virtual time goes by."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    far, now = asyncio.ensure_future(asyncio.sleep(3600.0)), clock()
    before = now()
    for number in range(1000):
        writer.write(b"%d\n" % number)
        assert b"%d\n" % number == await reader.readline()
    assert before == now()
    far.cancel()
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
