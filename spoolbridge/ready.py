"""Whether a dropped entry is whole: the one test, the same at start-up and afterwards.

An entry is ready when nobody writes to it any more. Events cannot tell (a hard link or a rename
closes nothing, an editor closes twice), so the file itself is asked: a read lease is refused by the
kernel while anybody has it open for writing or mapped (fcntl(2), F_SETLEASE), and the time since
its last change covers the writers that open it again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from fnmatch import translate
from typing import NamedTuple

from spoolbridge import identity

SETTLE = 0.25  # seconds since the last change; sed, perl and patch rename well within it (measured)
SETTLE_WITHOUT_LEASE = 2.0  # seconds, where no lease is to be had: another user's file, another file system
GRACE = 60.0  # seconds that an empty file or a second link may last; Maildir writers have two for an instant
LARGEST = 25 * 1024 * 1024  # bytes; a whole request to Discord may not be larger
BUNDLE = ".msg"
MOST_MEMBERS = 32
#: What editors and transfers leave beside the file they mean; `.why` is ours.
_IGNORED = (
    ".*", "*~", "#*#", "*.tmp", "*.swp", "*.swx", "*.part", "*.partial", "*.crdownload", "*.filepart",
    "*.why", "4913",
)  # fmt: skip
#: The same, as it is quickest to ask of every name in a long list.
_ENDINGS = tuple(pattern[1:] for pattern in _IGNORED if pattern.startswith("*"))
_OTHERS = re.compile("|".join(translate(each) for each in _IGNORED if not each.startswith("*")))
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotYet(NamedTuple):
    """Look again in `seconds`."""

    seconds: float


class Never(NamedTuple):
    """This cannot become a message; `hint` says what to do instead."""

    reason: str
    hint: str


#: True: ready. None: gone meanwhile, or nothing that is meant for us.
Verdict = bool | NotYet | Never | None


def ignored(name: str) -> bool:
    """Whether a name is nobody's message: hidden, a temporary, a backup, a reason."""
    return name.endswith(_ENDINGS) or _OTHERS.match(name) is not None


def is_entry(child: os.DirEntry[str]) -> bool:
    """Whether something in a drop box is, or may become, a message: no directory but a bundle does."""
    if ignored(child.name):
        return False
    return child.name.endswith(BUNDLE) or not child.is_dir(follow_symlinks=False)


def examine(name: str, *, at: int, now: float, first_seen: float) -> Verdict:
    """The verdict on the entry `name` of the directory `at`; times in unix seconds."""
    try:
        fd = _open(name, at)
    except OSError as error:
        return _unopened(error, now - first_seen)
    ours = identity.parse(name) is not None  # renamed in whole, by who knows the form
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            return _bundle(fd, now, first_seen, ours) if name.endswith(BUNDLE) else None
        return _file(fd, status, now, first_seen, ours)
    finally:
        os.close(fd)


def members(bundle: int) -> list[tuple[str, int]]:
    """The files of a bundle as (path in it, descriptor to close): `body`, then `files/<name>`.

    Raises OSError for a link and ValueError for anything that is not a bundle's.
    """
    found: list[tuple[str, int]] = []
    try:
        for name in sorted(os.listdir(bundle)):
            if name == "body":
                found.insert(0, (name, _open(name, bundle)))
            elif name == "files":
                inner = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=bundle)
                try:
                    names = sorted(each for each in os.listdir(inner) if not ignored(each))
                    if len(names) > MOST_MEMBERS:
                        raise ValueError(f"the bundle holds {len(names)} files")
                    for each in names:
                        found.append((f"files/{each}", _open(each, inner)))
                finally:
                    os.close(inner)
            elif not ignored(name):
                raise ValueError(f"the bundle holds {name[:40]!r}")
    except BaseException:
        close(found)
        raise
    return found


def close(opened: list[tuple[str, int]]) -> None:
    for _, fd in opened:
        os.close(fd)


def lease(fd: int) -> bool | None:
    """Whether nobody writes: a read lease is taken and given back at once. None: not to be had here."""
    import signal  # which takes long to import; `send` takes no lease

    # A writer that opens the file in between makes the kernel send SIGIO, which ends a process that
    # does not ignore it.
    if not hasattr(fcntl, "F_SETLEASE") or signal.getsignal(signal.SIGIO) is not signal.SIG_IGN:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    return True


def unlike_a_message(status: os.stat_result) -> str:
    """Why this is not a plain file of its own; empty: it is one."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_nlink > 1:
        return "the file has a second link"
    if status.st_size > LARGEST:
        return f"the file has {status.st_size} bytes, more than the {LARGEST} that Discord takes in all"
    return ""


def _open(name: str, at: int) -> int:
    if stat.S_IFMT(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
        raise OSError(errno.ENXIO, "a device")  # not even opened, for that alone may set something going
    return os.open(name, _OPEN, dir_fd=at)


def _unopened(error: OSError, age: float) -> Verdict:
    if error.errno == errno.ENOENT:
        return None
    if error.errno == errno.EWOULDBLOCK:  # somebody has a lease of his own
        return NotYet(SETTLE)
    if error.errno == errno.ELOOP:
        return Never("a symbolic link, which is never followed", "copy the file instead")
    if error.errno == errno.ENXIO:
        return Never("not a regular file", "drop a file")
    if error.errno == errno.EACCES:
        if age < SETTLE_WITHOUT_LEASE:  # who writes may be about to change the mode
            return NotYet(SETTLE_WITHOUT_LEASE - age)
        return Never(f"not readable by the service (uid {os.geteuid()})", "chmod g+r it, or use: umask 027")
    raise error


def _file(fd: int, status: os.stat_result, now: float, first_seen: float, ours: bool) -> Verdict:
    age = _age(status, now, first_seen)
    if refusal := _unlike(status, now - first_seen):
        return refusal
    if status.st_size == 0:
        return _in_grace(age) or Never("the file is empty", "write the message into it")
    return _settled(age, lease(fd), ours)


def _unlike(status: os.stat_result, seen: float) -> NotYet | Never | None:
    wrong = unlike_a_message(status)
    if not wrong:
        return None
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        return _in_grace(seen) or Never(wrong, "copy it instead")
    return Never(wrong, "drop a file of at most 25 MiB" if status.st_size > LARGEST else "drop a file")


def _settled(age: float, granted: bool | None, ours: bool) -> Verdict:
    if granted is False:
        return NotYet(SETTLE)
    needed = SETTLE_WITHOUT_LEASE if granted is None else 0.0 if ours else SETTLE
    return True if age >= needed else NotYet(needed - age)


def _bundle(fd: int, now: float, first_seen: float, ours: bool) -> Verdict:
    try:
        opened = members(fd)
    except ValueError as error:
        return Never(str(error), "a bundle holds body and files/ with at most 10 files, and nothing else")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            return Never("the bundle holds a link or something else that is not a file", "copy it instead")
        return _unopened(error, now - first_seen)
    try:
        if not opened:
            age = _age(os.fstat(fd), now, first_seen)
            return _in_grace(age) or Never("the bundle is empty", "put body or files/ into it")
        size = sum(os.fstat(each).st_size for _, each in opened)
        if size > LARGEST:
            what = f"the bundle has {size} bytes, more than the {LARGEST} that Discord takes in all"
            return Never(what, "drop fewer or smaller files")
        return _worst([
            *(_member(each, now, first_seen, ours) for _, each in opened),
            *_unfinished(fd, now, first_seen, ours),
        ])
    finally:
        close(opened)


def _unfinished(bundle: int, now: float, first_seen: float, ours: bool) -> list[Verdict]:
    """On the bundle's directories, and on what is no member yet: a transfer writes under a hidden name."""
    verdicts = _beside(bundle, now, first_seen, ours)
    with suppress(FileNotFoundError):
        files = os.open("files", _OPEN | os.O_DIRECTORY, dir_fd=bundle)
        try:
            verdicts += _beside(files, now, first_seen, ours)
        finally:
            os.close(files)
    return verdicts


def _beside(directory: int, now: float, first_seen: float, ours: bool) -> list[Verdict]:
    verdicts = [_settled(_age(os.fstat(directory), now, first_seen), True, ours)]
    for name in filter(ignored, os.listdir(directory)):
        with suppress(OSError):  # an editor's lock is a link that leads nowhere
            fd = _open(name, directory)
            try:
                status = os.fstat(fd)
                if stat.S_ISREG(status.st_mode):
                    verdicts.append(_settled(_age(status, now, first_seen), lease(fd), ours))
            finally:
                os.close(fd)
    return verdicts


def _member(fd: int, now: float, first_seen: float, ours: bool) -> Verdict:
    status = os.fstat(fd)
    refusal = _unlike(status, now - first_seen)
    if isinstance(refusal, Never):
        return Never(f"in the bundle: {refusal.reason}", refusal.hint)
    return refusal or _settled(_age(status, now, first_seen), lease(fd), ours)


def _worst(verdicts: list[Verdict]) -> Verdict:
    for kind in (Never, NotYet):
        for verdict in verdicts:
            if isinstance(verdict, kind):
                return verdict
    return True


def _in_grace(age: float) -> NotYet | None:
    return NotYet(GRACE - age) if age < GRACE else None


def _age(status: os.stat_result, now: float, first_seen: float) -> float:
    """Seconds since the last change. `cp -p` keeps an old mtime but not an old ctime; a time that lies
    in the future (the clock was set back) counts from when we first saw the file."""
    age = now - max(status.st_mtime, status.st_ctime)
    return age if age >= 0 else max(0.0, now - first_seen) if age < -1 else 0.0
