"""A short soak with every run, a day with the sweeps; each in a process of its own, whose time it makes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.soak.breaks import BREAKS, Break
from tests.support.broken import ROOT


def soaked(hours: float, seed: int) -> list[str]:
    """What a soak prints; it must find nothing wrong."""
    command = [sys.executable, "-m", "tests.soak", "--hours", str(hours), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("WRONG: ")]
    assert (0, [], "") == (done.returncode, wrong, done.stderr), done.stdout
    return done.stdout.splitlines()


@pytest.mark.timeout(180)  # a quarter of a minute, more where cores are shared
def test_an_hour() -> None:
    """A working hour with kills, a stop, an outage and a full disk: nothing is lost, repeated or left."""
    said = soaked(0.5, 7)
    assert "nothing was lost, repeated or left" == said[-1]
    (troubles,) = (line for line in said if line.startswith("troubles: "))
    assert [] == [each for each in ("kills", "stops", "outages", "full disks") if each not in troubles]


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_day(seed: int) -> None:
    """A day and a night: neither, and memory, descriptors and threads as flat as the journal allows."""
    assert "nothing was lost, repeated or left" == soaked(24, seed)[-1]


@pytest.mark.parametrize("what", BREAKS, ids=lambda what: what.name)
def test_a_break_is_one_of_the_product_as_it_is(what: Break) -> None:
    """`python -m tests.soak.breaks` changes this very text and wants the soak to notice."""
    assert 1 == what.path.read_text("utf-8").count(what.text)


@pytest.mark.parametrize("what", BREAKS, ids=lambda what: what.name)
def test_a_break_is_listed(what: Break) -> None:
    """tests/README.md names each, its module, and what the soak says."""
    listed = (ROOT / "tests" / "README.md").read_text("utf-8")
    assert f"| {what.name} | `{what.module}` | {what.says.strip(' ,:')} |" in listed
