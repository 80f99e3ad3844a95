"""Steps that wait for the disk, taken side by side.

A step yields each descriptor that has to be durable before it goes on. What several steps wait for at the
same time is waited for in several threads: a disk takes about as long for four as for one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from spoolbridge import atomic

SHARES = 4  # threads that wait for the disk at the same time, the caller's own among them

_T = TypeVar("_T")

#: What is done between two syncs; it yields descriptors, and is thrown the OSError of one that was refused.
Step = Generator[int, None, _T]


class Syncs:
    """Without `threads` everything is waited for in the caller's."""

    def __init__(self, threads: int = 0) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sync") if threads else None

    def close(self) -> None:
        """Nobody waits any more."""
        if self._pool:
            self._pool.shutdown(wait=False)

    def walk(self, steps: Sequence[Step[_T]]) -> list[_T | Exception]:
        """Every step to its end: what it returned, or raised."""
        ended: dict[int, _T | Exception] = {}
        #: Those that go on now, and what the disk said to what each of them waited for.
        going: dict[int, OSError | None] = dict.fromkeys(range(len(steps)))
        while going:
            waiting: dict[int, int] = {}
            for number, error in going.items():
                try:
                    step = steps[number]
                    waiting[number] = next(step) if error is None else step.throw(error)
                except StopIteration as end:
                    ended[number] = end.value
                except Exception as failure:
                    ended[number] = failure
            refused = self.all([[fd] for fd in waiting.values()], atomic.sync)
            going = {number: refused.get(fd) for number, fd in waiting.items()}
        return [ended[number] for number in range(len(steps))]

    def all(self, groups: Sequence[Sequence[int]], sync: Callable[[int], None]) -> dict[int, OSError]:
        """Sync all descriptors, those of a group in their order; of those that the disk refused, why."""
        own, *others = _shares(groups, SHARES if self._pool else 1)
        waiting = []
        for share in others:
            try:
                assert self._pool is not None
                waiting.append(self._pool.submit(_one_by_one, share, sync))
            except RuntimeError:  # no thread is to be had
                own += share
        refused = _one_by_one(own, sync)
        for each in waiting:
            refused |= each.result()
        return refused


ALONE = Syncs()


def alone(step: Step[_T]) -> _T:
    """One step to its end, in this thread: what it returned. Raises what it raised."""
    (ended,) = ALONE.walk([step])
    if isinstance(ended, Exception):
        raise ended
    return ended


def _one_by_one(fds: Sequence[int], sync: Callable[[int], None]) -> dict[int, OSError]:
    refused: dict[int, OSError] = {}
    for fd in fds:
        try:
            sync(fd)
        except OSError as error:
            refused[fd] = error
    return refused


def _shares(groups: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """All of the groups dealt out to so many, or fewer, the first of them first; each whole."""
    dealt = [[fd for group in groups[number::count] for fd in group] for number in range(count)]
    return [share for number, share in enumerate(dealt) if share or number == 0]
