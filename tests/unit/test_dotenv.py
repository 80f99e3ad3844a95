"""`.env`: what is read, what is kept, and that nobody else ever reads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import atomic, dotenv
from spoolbridge.errors import SettingsError

TOKEN = "DISCORD_BOT_TOKEN"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "DISCORD_BOT_TOKEN=new\n"),
        ("# mine\nOTHER = 1\n", "# mine\nOTHER = 1\nDISCORD_BOT_TOKEN=new\n"),
        ("OTHER=1", "OTHER=1\nDISCORD_BOT_TOKEN=new\n"),
        ("A=1\nDISCORD_BOT_TOKEN=old\nB=2\n", "A=1\nDISCORD_BOT_TOKEN=new\nB=2\n"),
        ("export DISCORD_BOT_TOKEN='old'\r\nB=2\r\n", "export DISCORD_BOT_TOKEN=new\r\nB=2\r\n"),
        ("DISCORD_BOT_TOKEN=1\nB=2\nDISCORD_BOT_TOKEN=2\n", "DISCORD_BOT_TOKEN=new\nB=2\n"),
        ("\ufeffDISCORD_BOT_TOKEN=old\n", "\ufeffDISCORD_BOT_TOKEN=new\n"),
        ("#DISCORD_BOT_TOKEN=old\n", "#DISCORD_BOT_TOKEN=old\nDISCORD_BOT_TOKEN=new\n"),
        ("DISCORD_BOT_TOKEN_OLD=old\n", "DISCORD_BOT_TOKEN_OLD=old\nDISCORD_BOT_TOKEN=new\n"),
        ("DISCORD_BOT_TOKEN=old", "DISCORD_BOT_TOKEN=new"),
    ],
)
def test_other_lines_stay_byte_for_byte(path: Path, before: str, after: str) -> None:
    """One line is another, in its place and with its end; of several that set the name one is left."""
    if before:
        path.write_bytes(before.encode())
    assert dotenv.put(path, {TOKEN: "new"})
    assert (after.encode(), "new") == (path.read_bytes(), dotenv.load(path)[TOKEN])


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=12), max_size=6))
def test_whatever_there_was_the_new_value_counts(lines: list[str]) -> None:
    """And every line that does not set the name is still there, in its order."""
    text = "\n".join(["A=1", *lines, ""])
    changed = dotenv._with(text, "A", "2")
    kept = [line for line in changed.split("\n") if line != "A=2"]
    plain = {line: line.replace("export ", "").replace(" ", "") for line in text.split("\n")}
    others = [line for line in plain if not plain[line].startswith("A=")]
    assert set(others) <= {*kept, ""}
    assert 1 == changed.split("\n").count("A=2")


def test_what_is_set_already_is_not_written(path: Path) -> None:
    """A second time it is the same file."""
    assert dotenv.put(path, {TOKEN: "a", "B": "2"})
    before = path.stat()
    assert not dotenv.put(path, {TOKEN: "a"})
    assert (before.st_ino, before.st_mtime_ns) == (path.stat().st_ino, path.stat().st_mtime_ns)


def test_nobody_else_can_read_it_for_a_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask, and whatever mode a former file had: the new one is born closed."""
    path.write_text("OTHER=1\n")
    path.chmod(0o644)
    born: list[int] = []
    write = atomic._write_all

    def writing(fd: int, data: bytes) -> None:
        born.append(stat.S_IMODE(os.fstat(fd).st_mode))
        write(fd, data)

    monkeypatch.setattr(atomic, "_write_all", writing)
    umask = os.umask(0)
    try:
        dotenv.put(path, {TOKEN: "new"})
    finally:
        os.umask(umask)
    assert ([0o600], 0o600) == (born, stat.S_IMODE(path.stat().st_mode))
    assert [".env"] == os.listdir(path.parent)


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    """Who keeps it elsewhere goes on doing so."""
    (tmp_path / "secrets").mkdir()
    real = tmp_path / "secrets" / "bot.env"
    real.write_text("OTHER=1\n")
    path.symlink_to(real)
    dotenv.put(path, {TOKEN: "new"})
    assert path.is_symlink()
    assert "OTHER=1\nDISCORD_BOT_TOKEN=new\n" == real.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes another user's file")
def test_its_owner_goes_on_reading_it(path: Path) -> None:
    """Root changes a token: the service's user must not lose its file."""
    path.write_text("OTHER=1\n")
    os.chown(path, 65534, 65534)
    dotenv.put(path, {TOKEN: "new"})
    assert (65534, 65534, 0o600) == (*path.stat()[4:6], stat.S_IMODE(path.stat().st_mode))


def test_the_directory_is_made(tmp_path: Path) -> None:
    """A town's settings/ may not be there yet."""
    dotenv.put(tmp_path / "settings" / ".env", {TOKEN: "new"})
    assert {TOKEN: "new"} == dotenv.load(tmp_path / "settings" / ".env")


def test_what_cannot_be_read_or_written(path: Path, tmp_path: Path) -> None:
    """A sentence with the place, and nothing of what is in it."""
    path.write_bytes(b"DISCORD_BOT_TOKEN=secret\xff\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read as text; ") as raised:
        dotenv.put(path, {TOKEN: "new"})
    assert "secret" not in str(raised.value)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be written \("):
        dotenv.put(tmp_path / "file" / ".env", {TOKEN: "new"})


@pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_who_else_can_read_it(path: Path, mode: int, expected: bool) -> None:
    """Whoever can reads the token."""
    assert not dotenv.is_open(path)
    path.touch()
    path.chmod(mode)
    assert expected == dotenv.is_open(path)
