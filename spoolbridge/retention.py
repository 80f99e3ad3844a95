"""How long things are kept: ages and sizes, as the settings say them."""

from __future__ import annotations

import re
from typing import NamedTuple

DAY = 24 * 3600.0  # seconds
_SHORTEST = 1  # days
_LONGEST = 36_500  # days
_JOURNAL_SHORTEST = 7 * DAY  # seconds; an ID is looked for, and a Dedupe-Key counts, well within that
_UNITS = {"b": 1, "kb": 10**3, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20, "gb": 10**9, "gib": 1 << 30}
# Compiled when a setting needs them: `send` imports this, and mostly there is none.
_SIZE = r"(\d{1,15}(?:\.\d{1,9})?) ?((?:[kmg]i?)?b)?"
_AGE = r"(\d{1,5}) ?d"
_NEVER = ("never", "0")


class Keep(NamedTuple):
    """What may stay: for `age` seconds, and as much as has `size` bytes together. None: any."""

    age: float | None = None
    size: int | None = None


class Retention(NamedTuple):
    """What is kept of everything that would only grow."""

    sent: Keep = Keep(90 * DAY, 2 << 30)
    failed: Keep = Keep(90 * DAY)
    #: What humans wrote, once it has been read.
    read: Keep = Keep(365 * DAY)
    #: What they attached, once their message is gone.
    attachments: Keep = Keep(30 * DAY, 10 << 30)
    #: The journal, and the lists of what was handed over.
    journal: Keep = Keep(400 * DAY)

    @property
    def contradiction(self) -> str:
        """Why it cannot be so; empty: it can."""
        journal, failed = self.journal.age, self.failed.age
        if journal is not None and journal < _JOURNAL_SHORTEST:
            return "the journal has to be kept for 7d at least"
        if journal is not None and (failed is None or failed > journal):
            return "the journal has to be kept for as long as what failed, or a retry could post it twice"
        return ""


def kept(text: str) -> Keep:
    """From `90d`, `2GiB`, both by a comma, or `never` (nothing is removed). Raises ValueError."""
    if text.strip().lower() in _NEVER:
        return Keep()
    ages: list[float] = []
    sizes: list[int] = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        if match := _read(_AGE, each):
            ages.append(_days(int(match[1])))
        elif _read(_SIZE, each) and not each.isdigit():
            sizes.append(size(each))
        else:
            raise ValueError(text)
    if len(ages) > 1 or len(sizes) > 1 or not (ages or sizes):
        raise ValueError(text)
    return Keep(ages[0] if ages else None, sizes[0] if sizes else None)


def kept_for(text: str) -> Keep:
    """As `kept`, of what has no size: an age, or `never`."""
    found = kept(text)
    if found.size is not None:
        raise ValueError(text)
    return found


def size(text: str) -> int:
    """Bytes, from `10MiB`, `500 kB` or a plain number. Raises ValueError."""
    match = _read(_SIZE, text)
    if match is None:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[(match[2] or "b").lower()])


def _read(form: str, text: str) -> re.Match[str] | None:
    return re.fullmatch(form, text, re.ASCII | re.IGNORECASE)


def _days(days: int) -> float:
    if not _SHORTEST <= days <= _LONGEST:
        raise ValueError(days)
    return days * DAY
