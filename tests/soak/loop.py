"""The virtual loop, which does most of what threads are asked for by itself: some 200,000 a day.

Waiting for a thread costs a busy machine milliseconds of real time. Every `REAL`-th call still gets one, so
that what may run side by side in the service sometimes does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from tests.support.warp import WarpLoop

REAL = 8

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class SoakLoop(WarpLoop):
    """See the module."""

    def __init__(self, jumped: Callable[[], None]) -> None:
        super().__init__(jumped)
        self._calls = 0

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """As asyncio's; what is done here and now has a future all the same."""
        self._calls += 1
        if self._calls % REAL == 0:
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # a kill too is the caller's to hear of
            future.set_exception(error)
        return future
