"""A doorbell: something in `outgoing/`, or in the `new/` of the incoming Maildirs, may have changed, look
again. It says no more than in which channel.

Owns the inotify descriptor and the thread that reads it. A notification is a hint: overflow, a missing
watch or a system without inotify cost latency, never a message, for the dispatcher also scans on a timer.

Watched are that directory and the channels in it, for what arrives, for what is closed, and for a `.hold`
that is removed. It is done with the part of watchdog that reads inotify, not with its Observer: an Observer
waits half a second for the other half of a rename that leaves what it watches, and its recursive
book-keeping fails where directories are moved and removed, whereupon its reading thread dies without a word
(both measured with 7.1.0).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.utils import UnsupportedLibcError

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import CallbackId, InotifyEvent, InotifyFD, Mask, WatchDescriptor

_HOLD = b".hold"  # what is removed to let a channel go on
_NO_LONGER = {errno.ENOENT, errno.ENOTDIR}


class Watcher:
    """Calls `ring` from a thread of its own, at least once for whatever arrives, until `stop`."""

    def __init__(
        self, root: Path, ring: Callable[[], None], *, knock: Callable[[str], None] | None = None,
        where: str = "outgoing", inner: str = "",
    ) -> None:  # fmt: skip
        """`knock` is called instead, with the name of the channel's directory, where that is known. `where`:
        the directory with a directory a channel; `inner`: what is watched in each of those."""
        self._place = os.fsencode(root / where)
        self._inner = os.fsencode(inner)
        self._ring = ring
        self._knock = knock
        self._reader: InotifyFD | None = None
        self._mask: Mask
        self._numbers = count()
        self._top: WatchDescriptor | None = None
        #: What each watch calls us by: one that is asked for twice (a channel was renamed) is known.
        self._watched: dict[WatchDescriptor, CallbackId] = {}
        #: The channel of each.
        self._channels: dict[WatchDescriptor, str] = {}
        #: Why there are no events, or not everywhere; empty while there are.
        self.problem = ""

    def start(self) -> None:
        """Begin to watch. A machine that grants no watches leaves `problem` and the scans."""
        try:
            from watchdog.observers.inotify_c import InotifyConstants, InotifyFD, Mask
        except (ImportError, UnsupportedLibcError):
            self.problem = "no file system events on this system; scanning instead"
            return
        self._mask = Mask(
            InotifyConstants.IN_CREATE | InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CLOSE_WRITE
            | InotifyConstants.IN_DELETE | InotifyConstants.IN_ONLYDIR | InotifyConstants.IN_DONT_FOLLOW
        )  # fmt: skip
        try:
            self._reader = InotifyFD()
        except OSError as error:
            self._fall_back(error)
            return
        self._reader.start()
        self._top = self._watch(self._place)
        self._watch_channels()

    def stop(self) -> None:
        """Ring no more; returns when the thread has ended."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            reader.join()

    # -- what the reading thread calls -----------------------------------------------------------------

    def on_event(self, event: InotifyEvent) -> None:
        if event.is_delete and event.name != _HOLD:
            return  # nothing to look for
        # The watch first: what arrives before it is there is found by the look that the bell leads to.
        if event.wd == self._top and event.is_directory:
            self._watch_channel(event.name)
        if self._knock and event.wd in self._channels:
            self._knock(self._channels[event.wd])
        else:
            self._ring()

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self._watched.pop(wd, None)
        self._channels.pop(wd, None)

    def on_queue_overflow(self) -> None:
        self._watch_channels()  # new ones may be among what was not told
        self._ring()

    def _watch_channels(self) -> None:
        with os.scandir(self._place) as children:
            for child in children:
                if child.is_dir(follow_symlinks=False):
                    self._watch_channel(child.name)

    def _watch_channel(self, name: bytes) -> None:
        watch = self._watch(os.path.join(self._place, name, self._inner))
        if watch is not None:
            self._channels[watch] = os.fsdecode(name)

    def _watch(self, path: bytes) -> WatchDescriptor | None:
        reader = self._reader
        if reader is None:
            return None
        from watchdog.observers.inotify_c import CallbackId

        number = CallbackId(next(self._numbers))
        try:
            watch = reader.add_callback(path, self._mask, self, number)
        except OSError as error:
            if error.errno not in _NO_LONGER:
                self._fall_back(error)
            return None
        known, self._watched[watch] = self._watched.get(watch), number
        if known is not None:
            reader.remove_callbacks([(watch, known)])
        return watch

    def _fall_back(self, error: OSError) -> None:
        where = "in some channels " if self._watched else ""
        self.problem = f"no file system events {where}({error.strerror}); scanning instead"
