"""What a date in an answer says of the clock here."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from spoolbridge.discord.dates import ahead

NOW = 1795348800.0


@pytest.mark.parametrize(
    ("dated", "left", "back", "expected"),
    [
        (NOW, NOW, NOW, 0.0),
        (NOW, NOW + 0.9, NOW + 0.9, 0.0),  # the date's second is not over
        (NOW, NOW - 3, NOW + 4, 0.0),  # a slow answer: dated at some time in between
        (NOW, NOW + 31, NOW + 32, 30.0),
        (NOW, NOW - 32, NOW - 31, -31.0),
    ],
)
def test_as_much_as_can_be_told(dated: float, left: float, back: float, expected: float) -> None:
    """Never more than is sure: a finding about a clock that is right would be believed."""
    assert expected == ahead({"Date": formatdate(dated, usegmt=True)}, left, back)


def test_an_answer_out_of_a_cache() -> None:
    """Its date is as old as its age says, give or take the seconds that both are cut to."""
    headers = {"Date": formatdate(NOW - 100, usegmt=True), "Age": "100"}
    assert 0.0 == ahead(headers, NOW + 1.5, NOW + 1.6)
    assert 8.0 == ahead(headers, NOW + 10, NOW + 10)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Date": "yesterday"}, {"Date": ""}, {"Date": formatdate(NOW, usegmt=True), "Age": "old"}],
)
def test_no_date_that_can_be_read(headers: dict[str, str]) -> None:
    """Says nothing, and breaks nothing."""
    assert ahead(headers, NOW, NOW) is None
