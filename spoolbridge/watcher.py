"""A doorbell: something in `outgoing/` may have changed, look again. It carries no path.

Owns the observer's threads. A notification is a hint: overflow, a missing watch or a file system
without events cost latency, never a message, for the dispatcher also scans on a timer.

The whole spool is watched, not `outgoing/` alone: a rename out of the watched tree has no second
half, and watchdog 7.1 holds everything behind it for half a second to wait for one (measured).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

_KINDS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip


class Watcher(FileSystemEventHandler):
    """Calls `ring` from a thread of its own, once an event, until `stop`."""

    def __init__(self, root: Path, ring: Callable[[], None]) -> None:
        self._root = root
        self._ring = ring
        self._outgoing = os.fsencode(root / "outgoing")
        self._observer = Observer()
        self._overflow = _Overflow(ring)
        #: Why there are no events; empty while there are.
        self.problem = ""

    def start(self) -> None:
        """Begin to watch. A machine that grants no watches leaves `problem` and the scans."""
        watchdog = logging.getLogger("watchdog")
        watchdog.addHandler(self._overflow)
        watchdog.propagate = False  # it reports its own shutdown as an error, and what we need we hear
        try:
            self._observer.schedule(self, os.fspath(self._root), recursive=True, event_filter=_KINDS)
            self._observer.start()
        except OSError as error:
            self.problem = f"no file system events ({error.strerror}); scanning instead"

    def stop(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        watchdog = logging.getLogger("watchdog")
        watchdog.removeHandler(self._overflow)
        watchdog.propagate = True

    def on_any_event(self, event: FileSystemEvent) -> None:
        # What leaves outgoing/ is our own claim; only what arrives there rings.
        path = os.fsencode(event.dest_path or event.src_path)
        if path.startswith(self._outgoing):
            self._ring()


class _Overflow(logging.Handler):
    """The kernel's queue ran over: watchdog says so in its log and nowhere else."""

    def __init__(self, ring: Callable[[], None]) -> None:
        super().__init__(logging.WARNING)
        self._ring = ring

    def emit(self, record: logging.LogRecord) -> None:
        self._ring()
