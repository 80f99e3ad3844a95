"""The delay: a function of age, within its bounds, apart by the jitter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import backoff

_AGES = st.floats(min_value=-1e9, max_value=1e9)
_JITTER = st.floats(min_value=0, max_value=1, exclude_max=True)


@pytest.mark.parametrize(
    ("age", "jitter", "expected"),
    [(0, 0.0, 2.5), (0, 1.0, 5.0), (60, 0.0, 30.0), (60, 0.5, 45.0), (301, 1.0, 300.0), (86400, 0.0, 150.0)],
)
def test_the_formula(age: float, jitter: float, expected: float) -> None:
    """clamp(age, 5 s, 300 s) times a half to one."""
    assert expected == backoff.delay(age, jitter=lambda: jitter)


@given(_AGES, _JITTER)
def test_never_outside_the_bounds(age: float, jitter: float) -> None:
    """A clock that was set back, an outage of years: still between half the shortest and the longest."""
    assert backoff.SHORTEST / 2 <= backoff.delay(age, jitter=lambda: jitter) <= backoff.LONGEST


@given(_AGES, _AGES, _JITTER)
def test_older_waits_no_shorter(one: float, other: float, jitter: float) -> None:
    """With the same jitter."""
    younger, older = sorted((one, other))
    assert backoff.delay(younger, jitter=lambda: jitter) <= backoff.delay(older, jitter=lambda: jitter)


def test_other_bounds() -> None:
    """Both can be given."""
    assert 0.5 == backoff.delay(0, shortest=1, longest=2, jitter=lambda: 0.0)
    assert 2.0 == backoff.delay(9, shortest=1, longest=2, jitter=lambda: 1.0)


def test_two_that_failed_together_drift_apart() -> None:
    """The jitter is random where nobody gives one: a hundred equal delays do not happen."""
    assert 1 < len({backoff.delay(100) for _ in range(100)})
