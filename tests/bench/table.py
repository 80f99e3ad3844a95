"""Rows of text under a head, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """`note` says in a few lines what the figures are and what they were measured with."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str

    def __str__(self) -> str:
        columns = [_aligned(column) for column in zip(self.head, *self.rows, strict=True)]
        head, *rows = ("  ".join(line).rstrip() for line in zip(*columns, strict=True))
        rule = "  ".join("-" * len(column[0]) for column in columns)
        return "\n".join([self.title, "", head, rule, *rows, "", self.note])


def _aligned(column: Sequence[str]) -> list[str]:
    """Its cells in one width: a column of figures to the right, words to the left."""
    width = max(map(len, column))
    figures = all(cell[:1].isdigit() for cell in column[1:])
    return [cell.rjust(width) if figures else cell.ljust(width) for cell in column]
