"""A whole file or none, a whole line or none.

Owns the order of system calls that makes a change survive a power cut: the file first, then its
name, then the directory that holds the name. An fsync of the directory alone leaves empty files
(measured on ext4, xfs and btrfs), a missing one loses the last rename.

Everything works relative to a held directory descriptor, so that a directory swapped for a link
between two calls leads nowhere. No rename here replaces a file that it was not asked to replace.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FILE_MODE = 0o640  # the owner writes, the group reads; never the world
DIRECTORY_MODE = 0o2770  # setgid: what a group drops stays the group's

#: Bytes that are read at once. Most files are small, and all that is asked for is allocated first: a MiB
#: stayed in the heap of every thread that reads.
_PIECE = 1 << 16

#: Some file systems cannot sync a directory and say so; they have nothing to lose by it.
_NOT_FOR_DIRECTORIES = {errno.EINVAL, errno.ENOTSUP}
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache


def sync(fd: int) -> None:
    """Make the content behind `fd` durable. Raises OSError; after EIO it must not be tried again."""
    if _FULL_SYNC is not None:
        with suppress(OSError):
            fcntl.fcntl(fd, _FULL_SYNC)
            return
    os.fsync(fd)


def sync_directory(fd: int) -> None:
    """Make the names in the directory behind `fd` durable."""
    try:
        sync(fd)
    except OSError as error:
        if error.errno not in _NOT_FOR_DIRECTORIES:
            raise


@contextmanager
def directory(path: str | os.PathLike[str], *, at: int | None = None) -> Iterator[int]:
    """A descriptor of a real directory, closed at the end. A link in its place: NotADirectoryError."""
    fd = open_directory(path, at=at)
    try:
        yield fd
    finally:
        os.close(fd)


def open_directory(path: str | os.PathLike[str], *, at: int | None = None) -> int:
    """As `directory`, for who holds the descriptor for longer and closes it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)


def ensure_directory(name: str, *, at: int, mode: int = DIRECTORY_MODE) -> None:
    """Make the directory `name` where it is missing, durably, whatever the umask says."""
    try:
        os.mkdir(name, mode, dir_fd=at)
    except FileExistsError:
        return
    # Not for a directory that was there: its mode is its owner's business.
    with directory(name, at=at) as fd, suppress(PermissionError):
        os.fchmod(fd, mode)
    sync_directory(at)


def exists(name: str, *, at: int) -> bool:
    """Whether the name is taken, by anything, a broken link included."""
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def write_new(name: str, data: bytes, *, at: int, mode: int = FILE_MODE, durable: bool = True) -> None:
    """A new file with durable content; its name is durable once the directory is synced.

    Raises FileExistsError. A failure of any kind leaves no file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, mode, dir_fd=at)
    try:
        try:
            _write_all(fd, data)
            if durable:
                sync(fd)
        finally:
            os.close(fd)
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=at)
        raise


def replace(name: str, data: bytes, *, at: int, mode: int = FILE_MODE, durable: bool = True) -> None:
    """The file `name` with this content: readers see the old whole or the new whole.

    `durable=False` is for what the next writing replaces anyway: after a power cut it may be empty.
    """
    temporary = f".{name}.{os.getpid()}.tmp"
    with suppress(FileNotFoundError):  # left by a process of the same number that died here
        os.unlink(temporary, dir_fd=at)
    write_new(temporary, data, at=at, mode=mode, durable=durable)
    try:
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary, dir_fd=at)
        raise
    if durable:
        sync_directory(at)


def move(name: str, new: str, *, src: int, dst: int) -> None:
    """As `rename`, durably: where it goes to is synced before where it comes from. After any OSError the name
    is where it was."""
    rename(name, new, src=src, dst=dst)
    try:
        sync_directory(dst)
        if not os.path.sameopenfile(src, dst):
            sync_directory(src)
    except OSError:
        put_back(name, new, src=src, dst=dst)
        raise


def rename(name: str, new: str, *, src: int, dst: int) -> None:
    """Rename, never onto another file; durable once both directories are synced.

    Raises FileExistsError where `new` is taken and FileNotFoundError where `name` is gone. The look before
    the rename is safe against ourselves only: whoever calls holds the spool's lock.
    """
    if exists(new, at=dst):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
    os.rename(name, new, src_dir_fd=src, dst_dir_fd=dst)


def put_back(name: str, new: str, *, src: int, dst: int) -> None:
    """Undo a rename that a power cut may undo, for it must not look as if it had happened; silent where the
    old name is taken by now."""
    with suppress(OSError):
        if not exists(name, at=src):
            os.rename(new, name, src_dir_fd=dst, dst_dir_fd=src)


def remove(name: str, *, at: int) -> None:
    """Remove what bears that name and, of a directory, all that is in it, however deep: others make them.

    A descriptor and a frame for each level would soon be too many, so inner directories are first renamed
    into `at`, under names of chance. Follows no link. Raises OSError; what is left lies in `at` then.
    """
    left = [name]
    while left:
        each = left.pop()
        try:
            left += _emptied(each, at)
        except NotADirectoryError:
            os.unlink(each, dir_fd=at)
        else:
            os.rmdir(each, dir_fd=at)


def _emptied(name: str, at: int) -> list[str]:
    """Under which names in `at` the directories lie that were in this one."""
    inner: list[str] = []
    with directory(name, at=at) as fd:
        for child in os.listdir(fd):
            if stat.S_ISDIR(os.stat(child, dir_fd=fd, follow_symlinks=False).st_mode):
                inner.append(f"removed.{os.urandom(8).hex()}")
                os.rename(child, inner[-1], src_dir_fd=fd, dst_dir_fd=at)
            else:
                os.unlink(child, dir_fd=fd)
    return inner


def append(fd: int, data: bytes, *, durable: bool = True) -> None:
    """Add whole lines to a file opened with O_APPEND: all of `data` or nothing of it.

    Raises OSError (ENOSPC for a short write) with the file as it was.
    """
    before = os.fstat(fd).st_size
    try:
        written = os.write(fd, data)
        if written != len(data):
            what = f"{os.strerror(errno.ENOSPC)}: only a part of the line could be written"
            raise OSError(errno.ENOSPC, what)
        if durable:
            sync(fd)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(fd, before)
        raise


def cut_torn_tail(name: str, *, at: int) -> bytes:
    """Cut what follows the last newline of a file of lines, and keep it in `<name>.torn`.

    Returns what was cut (empty: the file was whole, or there is none).
    """
    try:
        fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except FileNotFoundError:
        return b""
    try:
        end = os.fstat(fd).st_size
        tail = _after_last_newline(fd, end)
        if tail:
            replace(f"{name}.torn", tail, at=at)
            os.ftruncate(fd, end - len(tail))
            sync(fd)
        return tail
    finally:
        os.close(fd)


def head(name: str, most: int, *, at: int) -> bytes:
    """What a file begins with, at most `most` bytes. Opens no link and waits at no pipe. Raises OSError."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    try:
        return read_bounded(fd, most)
    finally:
        os.close(fd)


def read_bounded(fd: int, most: int) -> bytes:
    """The content behind `fd`, at most `most` bytes of it."""
    chunks: list[bytes] = []
    while most > 0 and (chunk := os.read(fd, min(most, _PIECE))):
        chunks.append(chunk)
        most -= len(chunk)
    return b"".join(chunks)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _after_last_newline(fd: int, end: int) -> bytes:
    tail = b""
    while end > 0:
        start = max(0, end - (1 << 16))
        block = os.pread(fd, end - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            return block[newline + 1 :] + tail
        tail, end = block + tail, start
    return tail
