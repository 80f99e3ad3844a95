"""Completion in the shells themselves, by the lines that README shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from spoolbridge.identity import WHY
from spoolbridge.spool import Spool
from tests.support.programs import PATIENCE, PROGRAM, environment, ran
from tests.support.terminal import Terminal

CHANNELS = """{
    "vgt": 1467106918538678300,
    "villacalculatecost3": {"mayor-villa": "1467106918538678293", "ops": "1467106918538678301"},
    "farm": {"ops": "1467106918538678302"}
}"""
ENTRY = "20261122T055501.123456Z-k3f9q2x7"
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def file(spool: Spool) -> Path:
    """The channels file of ./spool, where also something has failed and something is asked."""
    (spool.root / "failed" / "vgt").mkdir()
    for name in (f"{ENTRY}.note", f"{ENTRY}.note{WHY}", "note"):
        (spool.root / "failed" / "vgt" / name).touch()
    (spool.root / "state" / "asks").mkdir()
    (spool.root / "state" / "asks" / f"{ENTRY}.json").touch()
    path = spool.root / "discord-channels.json"
    path.write_text(CHANNELS)
    return path


def completed(cwd: Path, typed: str, env: Mapping[str, str] | None = None) -> list[str]:
    """What the program offers for the last word, as bash asks for it."""
    words = f"spoolbridge {typed}"
    asked = {
        "_SPOOLBRIDGE_COMPLETE": "bash_complete", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1), **(env or {}),
    }  # fmt: skip
    ended = ran(cwd=cwd, env=asked)
    assert "" == ended.err
    return [line.removeprefix("plain,") for line in ended.out.split()]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("send m", ["mayor-villa"]),
        ("send ", ["vgt", "mayor-villa", "villacalculatecost3.ops", "farm.ops"]),
        ("inbox v", ["vgt", "villacalculatecost3.ops"]),
        ("send vgt --rig ", ["villacalculatecost3", "farm"]),
        ("failed retry --to farm", ["farm.ops"]),
        ("failed list x", []),
        ("failed show 2", [ENTRY]),
        ("failed retry ", [ENTRY]),
        ("ask --again 2026", [ENTRY]),
        ("aud", ["audit"]),
        ("init --unit s", ["system"]),
    ],
)
def test_what_is_completed(file: Path, tmp_path: Path, typed: str, names: list[str]) -> None:
    """Commands, channels, rigs and questions, from files alone."""
    assert names == completed(tmp_path, typed)


def test_completion_without_a_spool_is_silent(tmp_path: Path) -> None:
    """A shell that is typed into is no place for an error, and nothing is made there."""
    for typed in ("send m", "send x --rig v", "ask --again 2"):
        assert [] == completed(tmp_path, typed)
    assert [] == list(tmp_path.iterdir())


def test_completion_needs_no_token_and_asks_nobody(file: Path, tmp_path: Path) -> None:
    """It is typed by anybody: a .env that cannot be read and a Discord out of reach do not matter."""
    (tmp_path / ".env").write_bytes(b"\xff")
    assert ["mayor-villa"] == completed(tmp_path, "send m", {"SPOOLBRIDGE_API_URL": "http://127.0.0.1:9"})


def line(shell: str) -> str:
    """What README says to write for this shell."""
    setting = f"_SPOOLBRIDGE_COMPLETE={shell}_source"
    (found,) = [each for each in README.read_text("utf-8").splitlines() if setting in each]
    return found.partition(" #")[0].rstrip()


def shell(name: str) -> str:
    """The shell's path. Skips the test where there is none."""
    found = shutil.which(name)
    if found is None:
        assert "CI" not in os.environ, f"{name} is missing"
        pytest.skip(f"needs {name}: apt-get install -y {name}")
    return found


@pytest.mark.parametrize(
    ("name", "options"), [("bash", ["--norc", "--noprofile", "-i"]), ("zsh", ["-f", "-i"])]
)
def test_a_shell_completes_what_is_typed(name: str, options: list[str], file: Path, tmp_path: Path) -> None:
    """README's line, a word's beginning, and Tab: the shell itself writes the rest."""
    env = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}
    with Terminal([shell(name), *options], cwd=tmp_path, env=env) as terminal:
        if name == "zsh":  # as its first steps put it into ~/.zshrc
            terminal.types("autoload -Uz compinit && compinit -u")
        terminal.types(line(name))
        terminal.types("echo re''ady")
        terminal.asks("\nready\n")
        terminal.types("spoolbridge send mayor-v\t", end="")
        terminal.types("hello\x01echo typed: ")  # Control-A leads to the beginning of the line
        terminal.asks("\ntyped: spoolbridge send mayor-villa hello\n")


def test_fish_completes_what_is_typed(file: Path, tmp_path: Path) -> None:
    """README's line, and what fish then says to a word's beginning."""
    script = f"{line('fish')}; complete --do-complete 'spoolbridge send m'"
    env = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    ended = subprocess.run(
        [shell("fish"), "--no-config", "-c", script], cwd=tmp_path, env=environment(env),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (0, "mayor-villa") == (ended.returncode, ended.stdout.strip())
