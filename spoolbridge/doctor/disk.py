"""The spool's directories: whether all are there, on what they lie, who may write, and how much room is left.

Modes are those that `Spool.create` gives. Looks at directories only, never into a message.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from shlex import quote

from spoolbridge import atomic
from spoolbridge.doctor import mounts
from spoolbridge.findings import Finding
from spoolbridge.spool import DIRECTORIES, Spool

_FEW_FREE = 64 * 1024 * 1024  # bytes
_FEW_INODES = 64
_STATE_MODE = 0o2750
_EVERYBODY_WRITES = "anybody on this machine can post and delete"


def missing(root: Path) -> Iterator[Finding]:
    """The directories that a spool has lost. Where most are missing, this is no spool."""
    if not root.is_dir():
        return
    lost = [name for name in DIRECTORIES if not os.path.lexists(root / name)]
    if not lost or len(lost) > len(DIRECTORIES) / 2:
        return
    what = f"{root} lacks {', '.join(f'{name}/' for name in lost)}"
    do = f"spoolbridge doctor --fix, or: mkdir {' '.join(quote(str(root / name)) for name in lost)}"
    yield Finding("error", what, "nothing can be dropped or delivered", do, mend=partial(_make, root, lost))


def _make(root: Path, names: Sequence[str]) -> None:
    """As `init` does, and for the spool's owner, whoever runs this."""
    Spool.create(root).close()
    if os.geteuid() != 0:
        return
    with atomic.directory(root) as spool:
        owner = os.fstat(spool)
        for name in names:
            with atomic.directory(name, at=spool) as made:
                os.fchown(made, owner.st_uid, owner.st_gid)
                # After it, for a change of owner takes the setgid bit away (chown(2)).
                os.fchmod(made, _STATE_MODE if name == "state" else atomic.DIRECTORY_MODE)


def _close(state: Path) -> None:
    with atomic.directory(state) as fd:
        os.fchmod(fd, _STATE_MODE)


def closed(spool: Spool) -> Finding:
    """What is found by a user whom the spool's directories do not let in."""
    user, group = _user(os.geteuid()), _group(os.stat("outgoing", dir_fd=spool.fd).st_gid)
    what = f"{user} may not look into {spool.root}"
    why = "this user can neither drop nor read messages, nor see how the bridge stands"
    return Finding("error", what, why, f"sudo usermod -aG {group} {user}, then log in again")


def examine(spool: Spool) -> Iterator[Finding]:
    yield from _room(spool)
    yield from _file_system(spool.root)
    yield from _rights(spool)


def _room(spool: Spool) -> Iterator[Finding]:
    free = os.fstatvfs(spool.fd)
    few_inodes = free.f_files and free.f_favail < _FEW_INODES
    if free.f_flag & os.ST_RDONLY:
        why = "nothing can be dropped, posted or filed"
        yield Finding("error", f"the disk of {spool.root} is read-only", why, "mount it read-write")
    elif few_inodes or free.f_bavail * free.f_frsize < _FEW_FREE:
        inodes = f"{free.f_favail or 'no'} inodes"
        left = inodes if few_inodes else f"{free.f_bavail * free.f_frsize >> 20} MiB"
        why = f"{left} left, and without room for the journal nothing is posted"
        yield Finding("error", f"the disk of {spool.root} is nearly full", why, "make room")


def _file_system(root: Path) -> Iterator[Finding]:
    kind = mounts.kind(root)
    if weak := mounts.weakness(kind):
        yield Finding("warning", f"{root} lies on {kind}", weak.why, weak.do)
    with os.scandir(root / "outgoing") as channels:
        for channel in channels:
            if channel.is_symlink() and channel.is_dir():
                why = "what is dropped there is never looked at"
                do = f"rm {quote(channel.path)}, and drop into outgoing/ itself"
                yield Finding("warning", f"{channel.path} is a link", why, do)
            elif channel.is_dir() and channel.stat().st_dev != root.stat().st_dev:
                why = "entries cannot be renamed from there, and are not posted"
                do = f"umount {quote(channel.path)}"
                yield Finding("error", f"{channel.path} is on another file system", why, do)


def _rights(spool: Spool) -> Iterator[Finding]:
    root, own = spool.root, os.fstat(spool.fd)
    if own.st_mode & 0o002:
        do = f"chmod o-w {quote(str(root))}"
        yield Finding("warning", f"{root} can be written by everybody", _EVERYBODY_WRITES, do)
    boxes = [f"outgoing/{name}" for name in spool.channels("outgoing")]
    found = {name: os.stat(name, dir_fd=spool.fd) for name in (*DIRECTORIES, *boxes)}
    if own.st_mode & 0o001:  # else nobody else comes so far
        wide = [root / name for name, each in found.items() if each.st_mode & 0o002]
        if wide:
            what = f"{_some(wide)} can be written by everybody"
            yield Finding("warning", what, _EVERYBODY_WRITES, f"chmod o-w {_quoted(wide)}")
    yield from _others(root, own, found)
    if (mode := stat.S_IMODE(found["state"].st_mode)) & 0o027:
        state = root / "state"
        why = "who may read it knows what was sent, and who may write it can have it sent again"
        do = f"chmod 2750 {quote(str(state))}"
        mend = partial(_close, state)
        yield Finding("warning", f"{state} is open to others (mode {mode:04o})", why, do, mend=mend)


def _others(root: Path, own: os.stat_result, found: dict[str, os.stat_result]) -> Iterator[Finding]:
    """Directories of another owner than the spool's that its owner cannot work in; without their group."""
    owner = _user(own.st_uid)
    foreign = {name: each for name, each in found.items() if each.st_uid != own.st_uid}
    for name, each in foreign.items():
        shared = each.st_mode & 0o020 and each.st_gid == own.st_gid and not each.st_mode & stat.S_ISVTX
        if not shared:
            what = f"{root / name} belongs to {_user(each.st_uid)}, the spool to {owner}"
            why = "the service may not move what lies there"
            yield Finding("error", what, why, f"chown {owner} {quote(str(root / name))}")
    alone = [root / n for n, e in found.items() if e.st_mode & 0o020 and not e.st_mode & stat.S_ISGID]
    if alone:
        why = "what one user drops there, the service of another may not be able to read"
        do = f"chmod g+s {_quoted(alone)}"
        yield Finding("note", f"{_some(alone)} not passing on the group (setgid)", why, do)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _some(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _quoted(paths: Sequence[Path]) -> str:
    return " ".join(quote(str(each)) for each in paths)
