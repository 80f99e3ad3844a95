"""What Python and pytest make of the files before they run them, made once and not by every worker.

pytest writes each `assert` anew, which takes half a minute of processor time where four workers begin with nothing
and so make all of it four times, in every run where no bytecode may be written. The product's modules are compiled
too, for the processes that tests start.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]


def prepare(rewriting: Any, paths: Iterable[Path]) -> None:
    """Compile the product, the tests' support and the tests in `paths`, on as many processors as there are.

    `rewriting`: pytest's finder of modules whose asserts it writes anew. It keeps them under names of its own.
    """
    found = {_ROOT / "spoolbridge", _ROOT / "tests" / "support", *paths}
    files = sorted({file for path in found for file in ([path] if path.is_file() else path.rglob("*.py"))})
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        fork, count = multiprocessing.get_context("fork"), os.cpu_count() or 1
        shares = [fork.Process(target=_compile, args=(rewriting, files[n::count])) for n in range(count)]
        for share in shares:
            share.start()
        for share in shares:
            share.join()
    finally:
        sys.dont_write_bytecode = kept


def _compile(rewriting: Any, files: list[Path]) -> None:
    for file in files:
        spec = rewriting.find_spec(file.stem, [str(file.parent)])
        if spec is None:
            SourceFileLoader(file.stem, str(file)).get_code(file.stem)
            continue
        module = module_from_spec(spec)
        module.__dict__["__builtins__"] = {}  # without them its first import fails: it is compiled, and not run
        with suppress(ImportError):
            spec.loader.exec_module(module)
