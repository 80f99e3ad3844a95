"""The `.hold` files: what is paused, by whom is nobody's business, and how it goes on.

A hold on `outgoing/` is on all channels, one on `outgoing/<channel>/` on that one, and each is taken back
by itself. Twice is once, and what was done is durable. The service looks for them before each claim.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from spoolbridge import atomic
from spoolbridge.errors import SpoolError
from spoolbridge.spool import HOLD, Spool


def pause(spool: Spool, channel: str = "") -> bool:
    """Hold the channel, or all of them. False: it was held. Raises SpoolError where that is not allowed."""
    if channel:
        spool.add_channel(channel)
    with _box(spool, channel) as box:
        try:
            atomic.write_new(HOLD, b"", at=box, mode=0o660)
        except FileExistsError:
            return False
        atomic.sync_directory(box)
        return True


def resume(spool: Spool, channel: str = "") -> bool:
    """Take the hold back. False: there was none. Raises SpoolError where that is not allowed."""
    with _box(spool, channel) as box:
        try:
            os.unlink(HOLD, dir_fd=box)
        except FileNotFoundError:
            return False
        atomic.sync_directory(box)
        return True


def everything(spool: Spool) -> bool:
    """Whether all channels are held at once."""
    return spool.has("outgoing", HOLD)


def held(spool: Spool) -> list[str]:
    """The channels that are held by a hold of their own."""
    return [each for each in spool.channels("outgoing") if spool.has(f"outgoing/{each}", HOLD)]


def waiting(spool: Spool, channel: str = "") -> int:
    """How many entries wait in the channel, or in all."""
    boxes = [channel] if channel else spool.channels("outgoing")
    return sum(len(spool.waiting(box)) for box in boxes)


@contextmanager
def _box(spool: Spool, channel: str) -> Iterator[int]:
    place = f"outgoing/{channel}".rstrip("/")
    try:
        with spool.at(place) as box:
            yield box
    except IsADirectoryError:
        raise SpoolError(f"{place}/{HOLD} is a directory", "remove it by hand") from None
    except FileNotFoundError:
        raise SpoolError(f"there is no {place}/", "list the channels with: spoolbridge status") from None
    except PermissionError as error:
        what = f"{place}/ may not be written to ({error.strerror})"
        raise SpoolError(what, "join the group that owns it") from None
