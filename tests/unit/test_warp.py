"""The loop whose time jumps: nobody waits, and nothing is overtaken by a timer."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from tests.support import warp


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return warp.WARPED


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_an_hour_takes_no_time() -> None:
    """Who sleeps is woken at the moment it asked for, and the wall clock has hardly moved."""
    began, real = now(), time.monotonic()
    await asyncio.sleep(3600)
    assert pytest.approx(3600) == now() - began
    assert time.monotonic() - real < 5


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    """Whoever went to sleep first, and each at its own moment."""
    began, woken = now(), []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, round(now() - began, 6)))

    await asyncio.gather(*(sleeper(seconds) for seconds in (3.0, 1.0, 2.0, 0.001)))
    assert [(each, each) for each in (0.001, 1.0, 2.0, 3.0)] == woken


async def test_work_costs_no_time() -> None:
    """However long a computation takes, no timer passes it."""
    began = now()
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        await asyncio.sleep(0)
    assert began == now()


async def test_a_thread_is_waited_for() -> None:
    """What takes a while in a thread is done before a timer of a microsecond."""
    order: list[str] = []

    async def thread() -> None:
        await asyncio.to_thread(time.sleep, 0.05)
        order.append("thread")

    async def timer() -> None:
        await asyncio.sleep(1e-6)
        order.append("timer")

    await asyncio.gather(timer(), thread())
    assert ["thread", "timer"] == order


async def test_a_result_from_a_thread_comes_before_the_next_timer() -> None:
    """Not even the step between the thread's end and its news in the loop lets time go by."""
    began = now()
    for _ in range(300):
        waiting = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.to_thread(os.getpid)
        waiting.cancel()
    assert began == now()


async def test_a_cancelled_thread_is_waited_for_too() -> None:
    """The future ends at once, its thread does not; time goes on when it has ended, and not never."""
    began, ended = now(), threading.Event()

    def work() -> None:
        time.sleep(0.05)
        ended.set()

    future = asyncio.get_running_loop().run_in_executor(None, work)
    await asyncio.sleep(0)
    future.cancel()
    with suppress(asyncio.CancelledError):
        await future
    await asyncio.sleep(5)
    assert ended.is_set()
    assert pytest.approx(5) == now() - began


async def test_data_on_loopback_comes_before_any_timer() -> None:
    """A thousand exchanges over a socket, a timer pending all the while, take no time."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, limit=1 << 24) as server:
        began = now()
        async with asyncio.timeout(0.01):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for number in range(1000):
                writer.write(b"%d\n" % number)
                assert b"%d\n" % number == await reader.readline()
            writer.write(b"x" * (8 << 20) + b"\n")  # more than the kernel takes at once
            whole = 0
            while whole <= 8 << 20:
                whole += len(await reader.read(1 << 16))
            writer.close()
            await writer.wait_closed()
        assert began == now()


async def test_nobody_is_turned_away_at_the_door() -> None:
    """Hundreds of connections at one moment, to a server that would queue a few: no timer passes them."""
    began = now()

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def guest(address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        assert b"" == await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hello, "127.0.0.1", 0, backlog=4) as server, asyncio.timeout(0.01):
        await asyncio.gather(*(guest(server.sockets[0].getsockname()) for _ in range(300)))
    assert began == now()


async def test_news_from_another_thread_is_heard() -> None:
    """With no timer pending the loop waits in real time, as any does."""
    rung = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Timer(0.02, lambda: loop.call_soon_threadsafe(rung.set)).start()
    await rung.wait()


async def test_a_clock_goes_with_it() -> None:
    """From wherever it is told to begin."""
    real = time.time()
    since_start, since_1970 = warp.clock(), warp.clock(real)
    assert (now(), real + now()) == (since_start(), since_1970())
    before = since_1970()
    await asyncio.sleep(1000)
    assert pytest.approx(1000, abs=1e-3) == since_1970() - before


async def test_jumps_are_counted() -> None:
    """So that a test can tell whether it waited for anything at all."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, warp.WarpLoop)
    before = loop.jumps
    for _ in range(3):
        await asyncio.sleep(1)
    assert 3 == loop.jumps - before


def test_without_pytest() -> None:
    """A program runs on it, and its threads are ended with it."""

    async def main() -> tuple[float, str]:
        await asyncio.sleep(60)
        return now(), await asyncio.to_thread(lambda: threading.current_thread().name)

    passed, thread = warp.run(main())
    assert pytest.approx(60) == passed
    assert thread not in [each.name for each in threading.enumerate()]
