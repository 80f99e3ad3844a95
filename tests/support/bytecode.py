"""What Python and pytest make of the files before they run them, made once and not by every worker.

pytest writes each `assert` anew, which takes ten seconds of processor time, and four workers that begin with
nothing make all of it four times; in every run where no bytecode may be written. The product's modules are
compiled too, for the processes that tests start.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).parents[2]


def prepare(rewriting: Any, paths: Iterable[Path]) -> None:
    """Compile the product, the tests' support and the tests in `paths`, on as many processors as there are.

    `rewriting`: pytest's finder of modules whose asserts it writes anew; those of its plugins it has loaded.
    """
    loaded = [each.__spec__ for each in list(sys.modules.values()) if _loader(each) is rewriting]
    places = {_ROOT / "spoolbridge", _ROOT / "tests" / "support", *paths}
    files = list({file for path in places for file in ([path] if path.is_file() else path.rglob("*.py"))})
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        fork, count = multiprocessing.get_context("fork"), os.cpu_count() or 1
        specs = [*loaded, *(found(rewriting, file) for file in files)]
        shares = [fork.Process(target=compiled, args=(specs[n::count],)) for n in range(count)]
        for share in shares:
            share.start()
        for share in shares:
            share.join()
    finally:
        sys.dont_write_bytecode = kept


def _loader(module: ModuleType) -> object:
    return getattr(getattr(module, "__spec__", None), "loader", None)


def found(rewriting: Any, file: Path) -> ModuleSpec:
    """How pytest would load this file, or Python where pytest leaves it as it is."""
    theirs: ModuleSpec | None = rewriting.find_spec(file.stem, [str(file.parent)])
    return theirs or ModuleSpec(file.stem, SourceFileLoader(file.stem, str(file)))


def compiled(specs: list[ModuleSpec]) -> None:
    """See to it that the bytecode of these lies beside them. None of them is run."""
    for spec in specs:
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader.get_code(spec.name)
            continue
        assert spec.loader
        module = ModuleType(spec.name)
        module.__spec__ = spec
        module.__dict__["__builtins__"] = {}  # without them its first import fails: compiled, not run
        with suppress(ImportError):
            spec.loader.exec_module(module)
