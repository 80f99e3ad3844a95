"""`spoolbridge notify`: what a daemon calls and cannot wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolbridge.spool import Spool
from tests.support.programs import Ended, ran
from tests.support.tree import contents

TOML = '[notify]\nadmin = "vgt"\nstatus = "gone"\n'


@pytest.fixture
def place(spool: Spool, tmp_path: Path) -> Path:
    """A working directory with a spool, a channel, and what admin and status are."""
    (spool.root / "discord-channels.json").write_text('{"vgt": "1467106918538678293"}')
    (tmp_path / "spoolbridge.toml").write_text(TOML)
    return tmp_path


def dropped(place: Path) -> list[str]:
    return [data.decode() for data in contents(place / "spool", "outgoing").values()]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--channel", "admin", "--priority", "critical", "down"], "🔴 down"),
        (["--priority", "high", "--channel", "admin", "down"], "🟠 down"),
        (["down", "--channel", "admin", "--priority", "success"], "✅ down"),
        (["--channel", "admin", "--priority", "info", "up"], "up"),
        (["--channel", "vgt", "up"], "up"),
        (["--channel=admin", "--priority=HIGH", "up"], "🟠 up"),
        (["--channel", "admin", "--priority", "urgent", "up"], "[urgent] up"),
        (["--channel", "admin", "- a list"], "- a list"),
        (["--channel", "admin", "@everyone look"], "@everyone look"),
    ],
)
def test_a_notification_is_a_drop(place: Path, arguments: list[str], text: str) -> None:
    """With the sign of its priority, whether click read the words or not; no service is needed."""
    ended = ran("notify", *arguments, cwd=place)
    assert (0, "") == (ended.code, ended.err)
    assert "queued for #vgt as " in ended.out
    assert [text] == dropped(place)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--channel", "deploys", "x"],
            "no channel 'deploys' in discord-channels.json; name it in spoolbridge.toml: "
            '[notify], then deploys = "CHANNEL"',
        ),
        (
            ["--channel", "status", "x"],
            "no channel 'gone' in discord-channels.json; name it in spoolbridge.toml: "
            '[notify], then status = "CHANNEL"',
        ),
    ],
)
def test_an_unknown_channel_is_one_sentence(place: Path, arguments: list[str], sentence: str) -> None:
    """Exit 1, and nothing is dropped."""
    assert Ended(1, "", f"spoolbridge: {sentence}\n") == ran("notify", *arguments, cwd=place)
    assert [] == dropped(place)


def test_no_channel_is_usage(place: Path) -> None:
    """Exit 2, by click."""
    ended = ran("notify", "x", cwd=place)
    assert (2, True) == (ended.code, "Missing option '--channel'" in ended.err)


@pytest.mark.parametrize("table", ["notify = 3", '[notify]\nadmin = 3', '[notify.admin]\nx = "y"'])
def test_a_table_that_is_none(place: Path, table: str) -> None:
    """Named, with a line as it should be."""
    (place / "spoolbridge.toml").write_text(table)
    ended = ran("notify", "--channel", "admin", "x", cwd=place)
    said = f"{place / 'spoolbridge.toml'}: [notify] maps what notify is told to channel names"
    assert Ended(1, "", f'spoolbridge: {said}; write admin = "vgt"\n') == ended
