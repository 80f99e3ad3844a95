"""The list of guards speaks of the code as it is."""

from __future__ import annotations

import pytest

from tests.crash.guards import GUARDS, Guard
from tests.support.broken import ROOT


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_in_its_module_once(guard: Guard) -> None:
    """`python -m tests.crash.guards` takes this very text away and wants a red test."""
    assert 1 == guard.path.read_text("utf-8").count(guard.text)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_listed(guard: Guard) -> None:
    """tests/README.md names each guard, its module, and the tests that hold it."""
    listed = (ROOT / "tests" / "README.md").read_text("utf-8")
    assert f"| {guard.name} | `{guard.module}` | `{guard.tests.replace('tests/', '')}` |" in listed
