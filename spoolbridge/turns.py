"""What many ask of a thread at the same time, done in one turn of it.

A turn of a thread costs more than most of what is done in one, and what is done together can be made durable
together. Nobody waits for a turn to fill: what is asked for while turns are under way is the next one's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

_AT_ONCE = 2  # turns; more would take threads from everybody else

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class _Asked(Generic[_Q, _A]):
    """One request, until it is answered."""

    def __init__(self, request: _Q, answer: asyncio.Future[_A]) -> None:
        self.request = request
        self.answer = answer
        self.turn: asyncio.Future[Sequence[_A | Exception]] | None = None


class Turns(Generic[_Q, _A]):
    """One turn after the other, with at most `most` requests in each: two threads that compute hinder each
    other more than they get done. Where a turn keeps others waiting for `patience` seconds, as on a disk that
    hangs or with a large file, a second one is begun beside it.

    `work` is called in a thread and answers each request, in their order; an exception among the answers is
    raised to who asked. What it raises itself is raised to all of that turn.
    """

    def __init__(
        self, work: Callable[[Sequence[_Q]], Sequence[_A | Exception]], *,
        most: int = 64, patience: float = math.inf,
    ) -> None:  # fmt: skip
        self._work = work
        self._most = most
        self._patience = patience
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asked: list[_Asked[_Q, _A]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, request: _Q) -> _A:
        """The answer. Cancelled, it still waits for a turn that has begun, as `in_thread` does."""
        loop = self._loop = self._loop or asyncio.get_running_loop()  # which asks the kernel each time
        asked: _Asked[_Q, _A] = _Asked(request, loop.create_future())
        self._asked.append(asked)
        if not self._running:
            self._running += 1
            loop.call_soon(self._begin, loop)  # with what others ask for in the meantime
        elif self._timer is None and self._patience < math.inf:
            self._timer = loop.call_later(self._patience, self._beside, loop)
        try:
            return await asked.answer
        except asyncio.CancelledError:
            if asked.turn is not None and not asked.turn.done():
                await asyncio.wait([asked.turn])
            raise

    def _beside(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._asked and self._running < _AT_ONCE:
            self._running += 1
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted = [each for each in self._asked if not each.answer.cancelled()]
        taken, self._asked = wanted[: self._most], wanted[self._most :]
        if not taken:
            self._running -= 1
            return
        turn = loop.run_in_executor(None, self._work, [each.request for each in taken])
        for each in taken:
            each.turn = turn
        turn.add_done_callback(partial(self._end, loop, taken))

    def _end(
        self, loop: asyncio.AbstractEventLoop, taken: Sequence[_Asked[_Q, _A]],
        turn: asyncio.Future[Sequence[_A | Exception]],
    ) -> None:  # fmt: skip
        error = turn.exception()
        answers: Sequence[_A | BaseException] = [error] * len(taken) if error else turn.result()
        for each, answer in zip(taken, answers, strict=True):
            if each.answer.done():
                continue  # cancelled
            if isinstance(answer, BaseException):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
        loop.call_soon(self._begin, loop)  # behind those who are answered, and may ask again
