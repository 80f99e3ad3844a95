"""The log: every line masked and whole, formatted once, in files that are put aside when they are full."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolbridge import logbook
from spoolbridge.errors import SettingsError

SECRET = "ghp_" + "q7Zk3Vb9" * 4 + "x2Y8"
OWN = "the-bots-own-token"


class Formatted:
    """What counts how often it is put into a line."""

    def __init__(self) -> None:
        self.times = 0

    def __str__(self) -> str:
        self.times += 1
        return "villa/20261122T055501.123456Z-k3f9q2x7"


@contextmanager
def logging_to(path: Path) -> Iterator[Callable[..., None]]:
    """What logs there, as the service does."""
    handler = logbook.handler(str(path), OWN)
    logger = logging.Logger("of the test")
    logger.addHandler(handler)
    try:
        yield logger.info
    finally:
        handler.close()


def lines(path: Path) -> list[str]:
    """Those of a log without their times."""
    return [line[20:] for line in path.read_text().splitlines()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few lines."""
    monkeypatch.setattr(logbook, "LARGEST", 200)


def test_a_line_has_its_time(tmp_path: Path) -> None:
    """Without it nobody can tell when."""
    with logging_to(tmp_path / "log") as log:
        log("hello %s", "you")
    assert ["hello you"] == lines(tmp_path / "log")
    assert r"dddd-dd-dd dd:dd:dd " == "".join(
        "d" if each.isdigit() else each for each in (tmp_path / "log").read_text()[:20]
    )


def test_no_secret_stands_in_it(tmp_path: Path) -> None:
    """In what is said, in what is put into it, and in an error's own words and lines."""
    with logging_to(tmp_path / "log") as log:
        log(f"said {SECRET}")
        log("put %s", SECRET)
        log("ours %s", OWN)
        try:
            raise ValueError(SECRET)
        except ValueError:
            log("raised", exc_info=True)
    text = (tmp_path / "log").read_text()
    assert ["said ghp_…", "put ghp_…", "ours …", "raised"] == lines(tmp_path / "log")[:4]
    assert text.endswith("ValueError: ghp_…\n")
    assert SECRET not in text


def test_a_line_is_formatted_once(tmp_path: Path, small: None) -> None:
    """Also where it fills a file: to format it means to mask it, which is most of what it costs."""
    put = Formatted()
    with logging_to(tmp_path / "log") as log:
        for _ in range(10):
            log("%s sent", put)
    assert 10 == put.times


def test_a_full_file_is_put_aside(tmp_path: Path, small: None) -> None:
    """In time, whole lines, nothing lost, the newest first."""
    with logging_to(tmp_path / "log") as log:
        for number in range(12):
            log("%s", f"{number:02} ".ljust(30, "x"))
    found = [tmp_path / name for name in ("log.2", "log.1", "log")]
    assert [f"{number:02}" for number in range(12)] == [line[:2] for path in found for line in lines(path)]
    assert [4, 4, 4] == [len(lines(path)) for path in found]
    assert all(logbook.LARGEST <= path.stat().st_size < logbook.LARGEST + 60 for path in found)


def test_the_oldest_go(tmp_path: Path, small: None) -> None:
    """Five files are kept beside the one that is written."""
    with logging_to(tmp_path / "log") as log:
        for number in range(40):
            log("%s", f"{number:02} ".ljust(30, "x"))
    assert ["log", "log.1", "log.2", "log.3", "log.4", "log.5"] == sorted(os.listdir(tmp_path))
    assert "16" == lines(tmp_path / "log.5")[0][:2]


def test_a_log_is_continued(tmp_path: Path, small: None) -> None:
    """A start begins no new file, and what a former one wrote counts."""
    for number in range(6):
        with logging_to(tmp_path / "log") as log:
            log("%s", f"{number:02} ".ljust(30, "x"))
    assert [4, 2] == [len(lines(tmp_path / name)) for name in ("log.1", "log")]


def test_what_has_no_size_is_never_full(tmp_path: Path, small: None) -> None:
    """A device keeps its name: `--log /dev/stderr` must not be renamed."""
    (tmp_path / "log").symlink_to("/dev/null")
    with logging_to(tmp_path / "log") as log:
        for _ in range(20):
            log("%s", "x" * 30)
    assert ["log"] == os.listdir(tmp_path)


def test_a_log_that_cannot_be_opened_anew(
    tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its directory is gone when the file is full: what cannot be written is told on stderr, and once the
    directory is back the log goes on."""
    place = tmp_path / "logs"
    place.mkdir()
    with logging_to(place / "log") as log:
        for _ in range(4):
            log("%s", "x" * 30)
        (place / "log").unlink()
        place.rmdir()
        log("lost")
        place.mkdir()
        log("back")
    assert ["back"] == lines(place / "log")
    assert "FileNotFoundError" in capsys.readouterr().err


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    """In one sentence that says what to do."""
    with pytest.raises(SettingsError, match=r"cannot be written to \(No such file") as raised:
        logbook.handler(str(tmp_path / "none" / "log"))
    assert "make its directory" in raised.value.hint
