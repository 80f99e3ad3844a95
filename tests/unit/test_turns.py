"""Turns of threads: what is done together, in which order, and what cancelling means."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from spoolbridge.turns import Turns


class Work:
    """Answers a number by its double, and waits at the gate while that is shut."""

    def __init__(self, *, shut: bool = False) -> None:
        self.turns: list[list[int]] = []
        self.gate = threading.Event()
        self.begun = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not shut:
            self.gate.set()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.turns.append(list(numbers))
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.gate.wait(30)
        if 13 in numbers:
            raise OSError("the disk fails")
        return [ValueError("odd") if number % 2 else 2 * number for number in numbers]


async def test_what_is_asked_at_the_same_time_is_one_turn() -> None:
    """Each gets its own answer."""
    work = Work()
    turns = Turns(work)
    assert [0, 4, 8] == await asyncio.gather(*(turns.ask(number) for number in (0, 2, 4)))
    assert [[0, 2, 4]] == work.turns


async def test_what_is_asked_during_a_turn_is_the_next() -> None:
    """Nobody waits for a turn to fill, and nobody is forgotten."""
    work = Work(shut=True)
    turns = Turns(work)
    first = asyncio.create_task(turns.ask(0))
    await work.begun.wait()
    others = [asyncio.create_task(turns.ask(number)) for number in (2, 4)]
    await asyncio.sleep(0)
    assert [[0]] == work.turns
    work.gate.set()
    assert [0, 4, 8] == await asyncio.gather(first, *others)
    assert [[0], [2, 4]] == work.turns
    assert 12 == await turns.ask(6)


async def test_one_beside_a_turn_that_takes_long() -> None:
    """A channel's large file, or a hung disk, does not hold up the others; and there are never three."""
    work = Work(shut=True)
    turns = Turns(work, patience=0.01)
    held = asyncio.create_task(turns.ask(0))
    await work.begun.wait()
    work.begun.clear()
    other = asyncio.create_task(turns.ask(2))
    await work.begun.wait()
    assert [[0], [2]] == work.turns
    third = asyncio.create_task(turns.ask(4))
    done, _ = await asyncio.wait([third], timeout=0.05)
    assert not done
    assert [[0], [2]] == work.turns
    work.gate.set()
    assert (0, 4, 8) == (await held, await other, await third)
    assert 12 == await turns.ask(6)


async def test_a_turn_has_its_most() -> None:
    """Who asked first does not wait for all the others."""
    work = Work()
    turns = Turns(work, most=2)
    assert [0, 4, 8] == await asyncio.gather(*(turns.ask(number) for number in (0, 2, 4)))
    assert [[0, 2], [4]] == work.turns


async def test_an_error_is_told_to_whose_it_is() -> None:
    """And to nobody else."""
    turns = Turns(Work())
    first, second = await asyncio.gather(turns.ask(1), turns.ask(2), return_exceptions=True)
    assert isinstance(first, ValueError)
    assert 4 == second


async def test_a_turn_that_fails_fails_for_all_of_it() -> None:
    """What comes afterwards has a turn again."""
    turns = Turns(Work())
    answers = await asyncio.gather(turns.ask(13), turns.ask(2), return_exceptions=True)
    assert ["the disk fails"] * 2 == [str(answer) for answer in answers]
    assert 4 == await turns.ask(2)


async def test_cancelled_before_its_turn() -> None:
    """It is not done at all."""
    work = Work(shut=True)
    turns = Turns(work)
    first = asyncio.create_task(turns.ask(0))
    await work.begun.wait()
    second, third = (asyncio.create_task(turns.ask(number)) for number in (2, 4))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    work.gate.set()
    assert (0, 8) == (await first, await third)
    assert [[0], [4]] == work.turns


async def test_cancelled_during_its_turn() -> None:
    """It ends when the thread has: what the thread works with is about to be closed."""
    work = Work(shut=True)
    turns = Turns(work)
    asking = asyncio.create_task(turns.ask(0))
    beside = asyncio.create_task(turns.ask(2))
    await work.begun.wait()
    asking.cancel()
    done, _ = await asyncio.wait([asking], timeout=0.05)
    assert not done
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 4 == await beside


async def test_all_cancelled_before_their_turn() -> None:
    """The next who asks has one."""
    work = Work()
    turns = Turns(work)
    asking = asyncio.create_task(turns.ask(0))
    asyncio.get_running_loop().call_soon(asking.cancel)  # once it has asked, and before its turn begins
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert 4 == await turns.ask(2)
    assert [[2]] == work.turns
