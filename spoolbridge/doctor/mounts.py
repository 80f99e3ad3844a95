"""The file system that a path lies on, and what it does not keep of what a spool relies on.

Pure but for reading the kernel's list of mounts (proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "afs", "lustre", "gpfs", "glusterfs", "beegfs", "sshfs",
     "rclone", "s3fs"]
)  # fmt: skip
_SHARED = frozenset(["9p", "virtiofs", "vboxsf", "drvfs", "vmhgfs", "prl_fs"])
_IN_MEMORY = frozenset(["tmpfs", "ramfs"])
_PLAIN = frozenset(["vfat", "exfat", "msdos", "ntfs", "ntfs3"])

_ONE_HOST = "two services can take it at once, and drops from other machines are found late"


class Weakness(NamedTuple):
    """Why a spool should not lie there, and what to do."""

    why: str
    do: str


def kind(path: Path, mountinfo: Path | None = None) -> str:
    """The type of the file system that `path` lies on, as mount(8) calls it; empty: not to be found out."""
    try:
        lines = (mountinfo or MOUNTINFO).read_text("utf-8", "surrogateescape").splitlines()
        return _kind(path.resolve(), lines)
    except OSError:
        return ""


def _kind(path: Path, lines: list[str]) -> str:
    """The longest mount point that leads to it; of several mounts on one point the last, which hides the
    others. By path, for a subvolume of btrfs has another device number than its line."""
    best, found = -1, ""
    for line in lines:
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if not dash or len(fields) < 5:
            continue
        point = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        depth = len(point.parts)
        if depth >= best and path.is_relative_to(point):
            best, found = depth, right.split(" ")[0]
    return found


def weakness(kind: str) -> Weakness | None:
    """What a spool lacks on a file system of that type; None: nothing that is known."""
    base, _, through = kind.partition(".")
    if base in _NETWORK or through in _NETWORK:
        return Weakness(f"over a network {_ONE_HOST}", "put the spool on a disk of this machine")
    if base in _SHARED:
        why = f"shared with another system, {_ONE_HOST}"
        return Weakness(why, "put the spool on a disk of this machine")
    if base in _IN_MEMORY:
        return Weakness("what is there is gone after a reboot", "put the spool on a disk")
    if base in ("fuse", "fuseblk"):
        why = "there may be no leases and no durable renames: a power cut can lose or repeat messages"
        return Weakness(why, "put the spool on ext4, xfs or btrfs")
    if base in ("overlay", "overlayfs", "aufs"):
        return Weakness("it goes when the container goes", "mount a volume, and put the spool there")
    if base in _PLAIN:
        return Weakness("it keeps no owners and no modes", "put the spool on ext4, xfs or btrfs")
    return None
