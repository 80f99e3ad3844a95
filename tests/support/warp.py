"""An event loop whose time jumps to the next timer as soon as nothing can happen before it.

For hours of waiting in seconds of real time, with real sockets (both ends in this loop), real files and
real threads. A test module asks for it by a fixture of its own:

    @pytest.fixture(scope="module")
    def anyio_backend() -> tuple[str, dict[str, Any]]:
        return WARPED

and gives `clock()` to whatever wants a clock. Nothing may wait for a time of its own in a thread, nor
for another process.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

_MOMENT = 0.0005  # real seconds; what was sent on loopback needs hardly any to arrive
_LOOKS = 2  # at the sockets, before the time jumps
_THREAD = 0.05  # real seconds between two looks while a thread works; its end wakes the loop at once


class _Selector(selectors.DefaultSelector):
    """Asks the loop what to do with a wait instead of waiting."""

    loop: WarpLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)  # no timer at all: only a thread or a signal can end it
        if self.loop.working:
            return super().select(_THREAD)
        for _ in range(_LOOKS):
            ready = super().select(_MOMENT)
            if ready or self.loop.working:
                return ready
        self.loop.jump(timeout)
        return []


class WarpLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and is virtual. `working`: calls that threads are busy with."""

    def __init__(self) -> None:
        self._now = 0.0
        self.working = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As ever, but time stands still while it runs."""
        self.working += 1
        try:
            future = super().run_in_executor(executor, func, *args)
        except BaseException:
            self.working -= 1
            raise
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        self.working -= 1


WARPED = ("asyncio", {"loop_factory": WarpLoop})


def clock(start: float = 0.0) -> Callable[[], float]:
    """The loop's time as seconds since `start`, for code that is given a clock."""
    loop = asyncio.get_running_loop()
    return lambda: start + loop.time()
