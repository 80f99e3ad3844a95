"""Several rounds of one measurement in one cell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and between which values it lies: `12 (10–15)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def ratios(values: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Each round's against that of the same round: what else the machine does is then the same for both."""
    return [value / other for value, other in zip(values, reference, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
