"""The unit of one installation: its places, whatever they are called, and what fits them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spoolbridge import settings, units
from spoolbridge.errors import SettingsError
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

ODD = "a place of 100% 'mine' \"and\" $yours"


def installed(place: Path, **environ: str) -> Settings:
    """The settings of a directory with a spool."""
    place.mkdir(exist_ok=True)
    found = settings.load({"PATH": "/usr/bin:/bin", **environ}, place)
    Spool.create(found.spool).close()
    return found


def lines(unit: units.Unit, key: str) -> list[str]:
    found = [line.partition("=") for line in unit.text.splitlines()]
    return [value for name, _, value in found if name == key]


def test_a_users_unit(tmp_path: Path) -> None:
    """It starts this program where its settings are, and is written where systemd looks for it."""
    found = installed(tmp_path / "bridge", HOME="/nowhere", XDG_CONFIG_HOME=str(tmp_path / "config"))
    unit = units.made_for(found, "user", tmp_path / "bridge" / ".env", cwd=tmp_path / "bridge")
    program = Path(sys.executable).with_name("spoolbridge")
    assert tmp_path / "config" / "systemd" / "user" / "spoolbridge.service" == unit.path
    assert ([str(tmp_path / "bridge")], [f"{program} run"]) == (
        lines(unit, "WorkingDirectory"), lines(unit, "ExecStart"),
    )  # fmt: skip
    assert [] == lines(unit, "Environment")
    assert "In a Gas Town" not in unit.text
    assert units.written(unit) is None
    units.write(unit)
    assert unit.text == units.written(unit) == unit.path.read_text()


def test_what_the_environment_said_is_in_the_unit(tmp_path: Path) -> None:
    """The service hears nothing of a shell's exports; of the token there is nothing, a path is whole."""
    place = tmp_path / "bridge"
    found = installed(
        place, SPOOLBRIDGE_SPOOL="elsewhere", SPOOLBRIDGE_POLL="mayor-*,ops", DISCORD_BOT_TOKEN="secret"
    )
    unit = units.made_for(found, "user", place / ".env", cwd=place)
    said = [f"SPOOLBRIDGE_SPOOL={place / 'elsewhere'}", "SPOOLBRIDGE_POLL=mayor-*,ops"]
    assert said == lines(unit, "Environment")
    assert "secret" not in unit.text


def test_a_towns_unit(tmp_path: Path) -> None:
    """It knows the town, where gt is, and what of the town the service writes to."""
    town = tmp_path / "gt"
    (town / "mayor").mkdir(parents=True)
    found = installed(tmp_path / "somewhere", GT_TOWN_ROOT=str(town))
    unit = units.made_for(found, "system", town / "settings" / ".env", cwd=tmp_path / "somewhere")
    assert [f"GT_TOWN_ROOT={town}", "PATH=/usr/bin:/bin"] == lines(unit, "Environment")
    assert ([str(town)], [str(town)]) == (lines(unit, "WorkingDirectory"), lines(unit, "ReadWritePaths"))


def test_a_system_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed are the homes and /tmp, but where the installation lies in them; written is the spool alone."""
    found = installed(tmp_path / "bridge", SPOOLBRIDGE_INBOX=str(tmp_path / "inbox" / "a.jsonl"))
    dotenv = tmp_path / "bridge" / ".env"
    unit = units.made_for(found, "system", dotenv, cwd=tmp_path / "bridge")
    assert [f"{found.spool} {tmp_path / 'inbox'}"] == lines(unit, "ReadWritePaths")
    assert dotenv.with_name("spoolbridge.service") == unit.path
    assert f"sudo install -m 644 {unit.path} /etc/systemd/system/spoolbridge.service" in unit.next
    assert ["no"] == lines(unit, "PrivateTmp")  # for that is where the tests are
    monkeypatch.setattr(units, "_HOMES", (str(tmp_path),))
    unit = units.made_for(found, "system", dotenv, cwd=tmp_path / "bridge")
    assert ["read-only"] == lines(unit, "ProtectHome")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_whom_a_system_unit_runs_as(tmp_path: Path) -> None:
    """The spool's owner; root's becomes a user's of its own, by commands that somebody runs."""
    found = installed(tmp_path / "bridge")
    dotenv = tmp_path / "bridge" / ".env"
    unit = units.made_for(found, "system", dotenv, cwd=tmp_path / "bridge")
    assert ["spoolbridge"] == lines(unit, "User")
    assert "sudo useradd --system --user-group spoolbridge" == unit.next[0]
    assert f"sudo chown -R spoolbridge {found.spool} {dotenv}" == unit.next[1]
    os.chown(found.spool, 1, 2)  # daemon, bin
    unit = units.made_for(found, "system", dotenv, cwd=tmp_path / "bridge")
    assert (["daemon"], ["bin"]) == (lines(unit, "User"), lines(unit, "SupplementaryGroups"))
    assert 2 == len(unit.next)
    os.chown(found.spool, 54321, 2)  # nobody's
    unit = units.made_for(found, "system", dotenv, cwd=tmp_path / "bridge")
    assert (["54321"], 2) == (lines(unit, "User"), len(unit.next))


@pytest.mark.parametrize("kind", units.KINDS)
def test_systemd_reads_odd_places_as_they_are(kind: units.Kind, tmp_path: Path) -> None:
    """Blanks, quotes, per cent and dollar signs in a path mean nothing to it, and it complains of nothing."""
    program = shutil.which("systemd-analyze")
    if program is None:
        assert "CI" not in os.environ, "systemd-analyze is missing"
        pytest.skip("needs systemd-analyze: apt-get install -y systemd")
    place = tmp_path / ODD
    found = installed(place, SPOOLBRIDGE_SPOOL=str(place / "spool"))
    unit = units.made_for(found, kind, place / ".env", cwd=place)
    path = tmp_path / "spoolbridge.service"
    path.write_text(unit.text, "utf-8")
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [program, "verify", f"--{kind}", "--man=no", str(path)], env=environment, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)


def test_a_place_that_no_unit_can_name(tmp_path: Path) -> None:
    """A line end would begin a setting of its own."""
    place = tmp_path / "a\nExecStart=b"
    found = installed(place)
    with pytest.raises(SettingsError, match="cannot stand in a unit"):
        units.made_for(found, "user", place / ".env", cwd=place)


def test_a_unit_that_cannot_be_written(tmp_path: Path) -> None:
    """A sentence with the place."""
    (tmp_path / "file").touch()
    found = installed(tmp_path / "bridge", XDG_CONFIG_HOME=str(tmp_path / "file"))
    unit = units.made_for(found, "user", tmp_path / ".env", cwd=tmp_path)
    with pytest.raises(SettingsError, match=r"spoolbridge\.service cannot be written"):
        units.write(unit)
    with pytest.raises(SettingsError, match=r"spoolbridge\.service cannot be read"):
        units.written(unit)
