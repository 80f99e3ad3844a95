"""An event loop whose time jumps: real sockets, files and threads, and nobody waits for a timer.

`WarpLoop.time()` begins at 0 and stands still while anything can happen. When no callback is ready, no
socket has data and no thread that the loop started (`asyncio.to_thread`, `run_in_executor`) is at work, it
jumps to the next timer. So an hour of polling takes as long as its requests take to be computed, and work
costs no time: what a test measures is waiting alone.

In a module of tests, whose `async def test_…` then all run on such a loop:

    @pytest.fixture(scope="module")
    def anyio_backend() -> tuple[str, dict[str, Any]]:
        return WARPED

and without pytest `warp.run(main())`. Whatever wants a clock is given one made inside the loop: `clock()`, or
`clock(time.time())` where files are judged by it, for they carry the real time. `asyncio.sleep` and whatever
else of asyncio's takes seconds needs nothing. Client and server must share the loop: what other processes, or
threads that the loop did not start, are about to send is not waited for. Nor may a thread wait for a timer of
the loop, which stands still meanwhile.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import select
import selectors
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

#: Real seconds for which data on loopback may be under way. As a rule it is there when `send` returns; on a
#: busy machine the kernel may put the last step off to a thread of its own.
LOOK = 0.0001
#: The same before a jump of more than `FAR` seconds: those are rare, and would run into somebody's time-out.
LONG_LOOK = 0.005
FAR = 1.0
#: Connections that a server may have before it accepts them; the kernel's own default for the most.
BACKLOG = 4096


class _Selector(selectors.DefaultSelector):
    """Keeps the time: it is asked how long nothing will happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.jumps = 0
        self.working = 0
        self.jumped: Callable[[], None] = lambda: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.working:
            return super().select()  # no timer, or a thread at work: what comes, comes in real time
        # epoll itself counts in milliseconds.
        if select.select([self.fileno()], [], [], LONG_LOOK if timeout > FAR else LOOK)[0]:
            return super().select(0)
        self.now += timeout
        self.jumps += 1
        self.jumped()
        return []


class WarpLoop(asyncio.SelectorEventLoop):
    """See the module. `jumps` counts how often nothing could happen before the next timer; `jumped` is called
    behind each."""

    def __init__(self, jumped: Callable[[], None] = lambda: None) -> None:
        self._clockwork = _Selector()
        self._clockwork.jumped = jumped
        super().__init__(self._clockwork)
        self._threads = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="warp")
        self.set_default_executor(self._threads)  # asyncio ends it with the loop

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._clockwork.now

    @property
    def jumps(self) -> int:
        return self._clockwork.jumps

    def run_in_executor(
        self,
        executor: concurrent.futures.Executor | None,
        func: Callable[[*_Ts], _T],
        *args: *_Ts,
    ) -> asyncio.Future[_T]:
        """As asyncio's; time stands still until the thread has ended and its result has come."""
        job = (executor or self._threads).submit(func, *args)
        future = asyncio.wrap_future(job, loop=self)
        # Counted by the thread's end, not the future's: a future that is cancelled ends before its thread.
        # Called after asyncio's own callback, so the result is on its way before the count goes down.
        self._clockwork.working += 1
        job.add_done_callback(self._report)
        return future

    def _report(self, job: concurrent.futures.Future[Any]) -> None:
        """In the job's thread."""
        with suppress(RuntimeError):  # the loop was closed before its thread ended
            self.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        self._clockwork.working -= 1

    async def create_server(self, *args: Any, **more: Any) -> asyncio.Server:
        """As asyncio's, with room for every guest: one for whom a server's queue has none has to knock again,
        a second later in real time, and the loop cannot see it wait."""
        return await super().create_server(*args, **{**more, "backlog": BACKLOG})

    async def shutdown_default_executor(self, *args: Any) -> None:
        """As asyncio's, whose time-out (from Python 3.12 on) would otherwise be over at once."""
        self._clockwork.working += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._clockwork.working -= 1


#: For the fixture `anyio_backend`.
WARPED: tuple[str, dict[str, Any]] = ("asyncio", {"loop_factory": WarpLoop})


def clock(start: float = 0.0) -> Callable[[], float]:
    """The loop's time as seconds since `start`, for code that is given a clock."""
    loop = asyncio.get_running_loop()
    return lambda: start + loop.time()


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """As asyncio.run, on a loop of this kind."""
    with asyncio.Runner(loop_factory=WarpLoop) as runner:
        return runner.run(main)
