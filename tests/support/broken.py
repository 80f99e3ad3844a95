"""A copy of the tree in which one piece of the product stands otherwise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = (".venv", ".git", "__pycache__", ".*_cache", ".hypothesis")


def environment(copy: Path) -> dict[str, str]:
    """In which a program of that copy imports the copy."""
    return {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"}


@contextmanager
def broken(module: str, text: str, instead: str, *, name: str) -> Iterator[Path]:
    """The copy's root; `text` stands once in `spoolbridge/<module>`. Raises AssertionError, with the `name`
    of what has to be mended, where it does not."""
    with tempfile.TemporaryDirectory(prefix="spoolbridge-broken-") as scratch:
        copy = Path(scratch) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        path = copy / "spoolbridge" / module
        before = path.read_text("utf-8")
        assert before.count(text) == 1, f"{module} has changed: mend {name!r}"
        path.write_text(before.replace(text, instead), "utf-8")
        yield copy
