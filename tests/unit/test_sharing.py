"""A spool that several users share: who gets in, and who does not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from spoolbridge import sharing
from spoolbridge.errors import SpoolError
from spoolbridge.spool import Spool

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
GROUP, OTHER = 2, 3  # bin and sys on Debian, whoever they are elsewhere


def modes(root: Path) -> set[int]:
    """Of every directory that is shared."""
    found = [path for path in root.rglob("*") if path.is_dir() and "state" not in path.parts]
    return {stat.S_IMODE(path.stat().st_mode) for path in found}


@AS_ROOT
def test_everything_is_given_once(spool: Spool) -> None:
    """Also what was made by hand with a narrow mode, and what others may do there is taken away."""
    spool.add_channel("general")
    (spool.root / "outgoing" / "by-hand").mkdir()
    (spool.root / "outgoing" / "by-hand").chmod(0o755)
    (spool.root / "state" / "mail").mkdir(mode=0o700)
    (spool.root / "outgoing" / "general" / "note").write_text("hello")
    assert 0 < sharing.share(spool, GROUP)
    assert {0o2770} == modes(spool.root)
    places = (spool.root, spool.root / "state", spool.root / "state" / "mail")
    assert [0o2750, 0o2750, 0o2700] == [stat.S_IMODE(place.stat().st_mode) for place in places]
    assert {GROUP} == {path.stat().st_gid for path in [spool.root, *spool.root.rglob("*")]}
    assert 0 == sharing.share(spool, GROUP)
    assert 0 < sharing.share(spool, OTHER)


@AS_ROOT
def test_a_link_leads_nowhere(spool: Spool, tmp_path: Path) -> None:
    """What somebody linked into the spool is not given away with it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "secret").touch(mode=0o600)
    before = [(path.stat().st_gid, path.stat().st_mode) for path in (outside, outside / "secret")]
    (spool.root / "outgoing" / "directory").symlink_to(outside)
    (spool.root / "outgoing" / "file").symlink_to(outside / "secret")
    sharing.share(spool, GROUP)
    assert before == [(path.stat().st_gid, path.stat().st_mode) for path in (outside, outside / "secret")]


def test_no_such_group() -> None:
    """It is said how to make one."""
    with pytest.raises(SpoolError, match="no group 'no-such-group'; make it: sudo groupadd no-such-group"):
        sharing.group_id("no-such-group")


def test_a_group_that_one_is_not_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how to join, before anything is made."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [1000])
    with pytest.raises(SpoolError, match="you are not in the group 'root'; join it: sudo usermod -aG root"):
        sharing.group_id("root")
    monkeypatch.setattr(os, "getgroups", lambda: [1000, 0])
    assert 0 == sharing.group_id("root")


@AS_ROOT
def test_a_way_that_is_closed(tmp_path: Path) -> None:
    """A home that nobody else may enter hides the spool in it, whatever the spool's own modes."""
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    (home / "bridge").mkdir(parents=True)
    home.chmod(0o700)
    assert home == sharing.closed_above(home / "bridge", GROUP)
    os.chown(home, 0, GROUP)
    home.chmod(0o710)
    assert home != sharing.closed_above(home / "bridge", GROUP)
    assert home == sharing.closed_above(home / "bridge", OTHER)
