"""One service a spool: a lock on `state/lock` and one on the spool's directory itself.

Either alone has a hole: the file can be removed while it is held, and only the file can say who holds
it. Both are flock(2) locks, which the kernel drops with the process, however it dies. The pid in
the file is for people; nothing is decided by it. A third lock on the directory keeps nobody out: of
that kind alone the kernel can be asked whether there is one without taking it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from spoolbridge import atomic
from spoolbridge.errors import SpoolBusyError
from spoolbridge.spool import Spool

#: A service that is killed while it starts a gt leaves a fork that has its locks until it becomes gt.
_PATIENCE = 0.5  # seconds
_LOOK = 0.01  # seconds between two looks
#: fcntl(2), "Open file description locks", since Linux 3.15; other systems have none.
_MARK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_ASK: int | None = getattr(fcntl, "F_OFD_GETLK", None)
_FLOCK = "hhqqi"  # type, whence, start, length, pid


@contextmanager
def holding(spool: Spool) -> Iterator[None]:
    """Hold the spool while the context lasts. Raises SpoolBusyError, with who holds it."""
    from filelock import FileLock, Timeout, lock_descriptor  # who only asks must not wait for this import

    path = spool.root / "state" / "lock"
    # Not a soft lock: on a file system without flock two services would both believe they hold it.
    lock = FileLock(
        path, timeout=_PATIENCE, preserve_lock_file=True, fallback_to_soft=False, on_acquired=_sign
    )
    with atomic.directory(spool.root) as root:
        end = time.monotonic() + _PATIENCE
        while not lock_descriptor(root, blocking=False):
            if time.monotonic() > end:
                raise _busy(spool)
            time.sleep(_LOOK)
        try:
            lock.acquire()
        except Timeout:
            raise _busy(spool) from None
        try:
            _mark(root)
            yield
        finally:
            lock.release()


def is_held(spool: Spool) -> bool | None:
    """Whether a process holds the spool at this moment, in whichever pid namespace; None: nobody can tell
    here. Nothing is taken, which could keep a service from starting."""
    if _ASK is None:
        return None
    try:
        found = fcntl.fcntl(spool.fd, _ASK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    except OSError:
        return None
    return bool(struct.unpack_from(_FLOCK, found)[0] != fcntl.F_UNLCK)


def holder(spool: Spool) -> int | None:
    """The pid that the lock file names, if that process lives."""
    try:
        pid = int((spool.root / "state" / "lock").read_text("ascii").strip())
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None
    return pid


def _mark(root: int) -> None:
    """For `is_held`. A file system that has no such locks has none to ask for either."""
    if _MARK is not None:
        with suppress(OSError):
            fcntl.fcntl(root, _MARK, struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))


def _sign(fd: int) -> None:
    signed = f"{os.getpid()}\n".encode()
    os.pwrite(fd, signed, 0)  # in this order: on a full disk the block that is given back may be gone
    os.ftruncate(fd, len(signed))


def _busy(spool: Spool) -> SpoolBusyError:
    pid = holder(spool)
    who = f"process {pid}" if pid else "another process"
    return SpoolBusyError(f"{who} is the service of {spool.root} already", "see: spoolbridge status")
