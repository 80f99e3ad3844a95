"""On which file system a path lies, by lines that kernels really wrote, and what that is good for."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolbridge.doctor import mounts

LINES = r"""
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
30 22 0:26 / /srv rw,relatime shared:15 master:2 - btrfs /dev/vdb rw,subvolid=256,subvol=/srv
41 30 0:44 / /srv/team\040share rw,relatime - nfs4 nas:/team rw,vers=4.2
44 22 0:50 / /home/me/cloud rw,nosuid,nodev - fuse.sshfs me@host: rw,user_id=1000
45 22 0:51 / /mnt/c rw,noatime - 9p C:\134 rw,dirsync,aname=drvfs
46 22 0:52 / /tmp rw - ext4 /dev/vdc rw
47 46 0:53 / /tmp rw - tmpfs tmpfs rw,size=65536k
a line that no kernel wrote
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/spool", "ext4"),
        ("/srv/spool", "btrfs"),
        ("/srv/team share/spool", "nfs4"),
        ("/srv/team", "btrfs"),
        ("/home/me/cloud", "fuse.sshfs"),
        ("/mnt/c/spool", "9p"),
        ("/tmp/spool", "tmpfs"),
    ],
)
def test_the_mount_that_counts(mountinfo: Path, path: str, kind: str) -> None:
    """The longest that leads there, with its escapes read, and the last of two on one point."""
    assert kind == mounts.kind(Path(path), mountinfo)


def test_this_machine() -> None:
    """The kernel's real list is read, where there is one."""
    assert "proc" == mounts.kind(Path("/proc"))


def test_without_a_list(tmp_path: Path) -> None:
    """Another system: nothing is known, and nothing said."""
    assert "" == mounts.kind(tmp_path, tmp_path / "missing")
    assert mounts.weakness("") is None


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("nfs4", "over a network two services can take it"),
        ("cifs", "over a network"),
        ("fuse.sshfs", "over a network"),
        ("9p", "shared with another system"),
        ("virtiofs", "shared with another system"),
        ("fuse.bindfs", "there may be no leases"),
        ("fuseblk", "there may be no leases"),
        ("tmpfs", "gone after a reboot"),
        ("overlay", "it goes when the container goes"),
        ("exfat", "no owners and no modes"),
    ],
)
def test_what_a_spool_lacks_there(kind: str, why: str) -> None:
    """Each with its reason, and what to do."""
    weak = mounts.weakness(kind)
    assert weak is not None
    assert why in weak.why
    assert weak.do


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "f2fs", "ext3"])
def test_a_disk_that_will_do(kind: str) -> None:
    """Is no finding."""
    assert mounts.weakness(kind) is None
