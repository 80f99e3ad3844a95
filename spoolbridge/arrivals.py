"""What humans write, as it arrives: for who follows an inbox, and for who waits for the next message.

A look at the Maildirs decides; the watcher only rings. Where events are not to be had, a look every two
seconds finds them. Only one waits in a channel: two agents woken by one message would both answer it.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from spoolbridge import atomic, inbox
from spoolbridge.errors import SpoolBusyError
from spoolbridge.inbox import Listed
from spoolbridge.spool import Spool
from spoolbridge.watcher import Watcher

RESCAN = 2.0  # seconds; what no event told of is found within them


class Arrivals:
    """The unread messages of one channel (None: of all) that were not told before, as a context."""

    def __init__(
        self, spool: Spool, channel: str | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool = spool
        self._channel = channel
        self._clock = clock
        self._told: set[int] = set()
        self._bell = threading.Event()
        self._watcher = Watcher(spool.root, self._bell.set, where="incoming", inner="new")

    def __enter__(self) -> Arrivals:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()

    def new(self) -> list[Listed]:
        """What came since the last look, oldest first; at the first look, whatever is unread."""
        self._bell.clear()  # before the look, or what comes during it would be missed
        found = inbox.listed(self._spool, self._channel, unread=True)
        fresh = [each for each in found if each.id not in self._told]
        self._told = {each.id for each in found}
        return fresh

    def wait(self, seconds: float | None = None) -> list[Listed]:
        """As `new`, but not empty; empty only when so many seconds are over."""
        end = None if seconds is None else self._clock() + seconds
        while not (fresh := self.new()):
            left = RESCAN if end is None else min(RESCAN, end - self._clock())
            if left <= 0:
                return []
            self._bell.wait(left)
        return fresh

    def follow(self) -> Iterator[list[Listed]]:
        """What is there, then what comes, for ever."""
        while True:
            yield self.wait()


@contextmanager
def waiting(spool: Spool, channel: str | None) -> Iterator[None]:
    """Be the only one that waits there, by locks on the Maildirs themselves, which leave nothing behind.

    Who waits in one channel shares `incoming/` with those in others; who waits in all has it alone. Raises
    SpoolBusyError where somebody waits there already.
    """
    with ExitStack() as stack:
        everything = stack.enter_context(spool.at("incoming"))
        _lock(everything, fcntl.LOCK_SH if channel else fcntl.LOCK_EX, channel)
        if channel:
            with suppress(OSError):  # not for who may only read
                atomic.ensure_directory(channel, at=everything)
            _lock(stack.enter_context(spool.at(f"incoming/{channel}")), fcntl.LOCK_EX, channel)
        yield


def _lock(place: int, kind: int, channel: str | None) -> None:
    try:
        fcntl.flock(place, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        where = f"in {channel}" if channel else "in a channel"
        hint = "one at a time, or two would answer one message"
        raise SpoolBusyError(f"somebody waits {where} already", hint) from None
