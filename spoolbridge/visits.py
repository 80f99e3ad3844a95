"""The poller's visits that are under way: at most one a place, each going on for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Visits:
    """Tasks by place. What one of them raises is raised by the next `ended`."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __contains__(self, place: int) -> bool:
        return place in self._tasks

    def begin(self, place: int, visit: Coroutine[Any, Any, None]) -> None:
        assert place not in self._tasks, "one visit a place"
        self._tasks[place] = asyncio.create_task(visit)

    async def ended(self, seconds: float | None = None) -> None:
        """Return once all have ended, or so many seconds later; raises what one of them raised."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)
        over = [visit for visit in self._tasks.values() if visit.done()]
        self._tasks = {place: visit for place, visit in self._tasks.items() if visit not in over}
        for visit in over:
            visit.result()

    async def abandon(self) -> None:
        """Cancel them all, and return once none is under way."""
        for visit in self._tasks.values():
            visit.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
