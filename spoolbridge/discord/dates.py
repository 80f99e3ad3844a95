"""What an answer's `Date` says of this machine's clock. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache


def ahead(headers: Mapping[str, str], left: float, back: float) -> float | None:
    """Seconds that this clock is ahead of the server's, behind where negative; 0: no more than can be told.

    `left` and `back` (unix seconds, by this clock) are when the request went out and its answer had come. An
    answer out of a cache is as old as its `Age` says (RFC 9111, 5.1), or up to a second older. None: the
    answer has no date that can be read.
    """
    try:
        age = int(headers.get("Age", "0"))
        dated = _unix(headers["Date"]) + age
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    least, most = left - (dated + (2 if age else 1)), back - dated  # a date is cut to its whole second
    return min(max(0.0, least), most) if most >= 0 else most


@lru_cache(8)  # the answers of one second have one date
def _unix(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()
