"""The machine: the versions of what the bridge is built on, and programs that read the same channels."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from spoolbridge.findings import Finding

PROC = Path("/proc")
#: The poller that came before: it appends to the same inbox file and uses the same token.
POLLER = "discord-callback.py"

_INTERPRETER = re.compile(r"(python|pypy)[\d.]*|uv")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?(;.*)?")
_BOUND = re.compile(r"\s*(>=|<=|==|!=|~=|<|>)\s*([\d.]+)")


def examine() -> Iterator[Finding]:
    with suppress(metadata.PackageNotFoundError):  # run out of its directory, it was never installed
        told = metadata.metadata("spoolbridge")
        yield from python(platform.python_version(), told["Requires-Python"])
        yield from packages(metadata.requires("spoolbridge") or [], metadata.version)
    yield from pollers(PROC)


def python(version: str, bounds: str) -> Iterator[Finding]:
    if not _within(version, bounds):
        what = f"this is Python {version}, and spoolbridge is for {bounds}"
        yield Finding("error", what, "it may fail anywhere", "install spoolbridge with another Python")


def packages(requirements: list[str], installed: Callable[[str], str]) -> Iterator[Finding]:
    """The packages that are missing or of a version that `requirements` (as in metadata) exclude.

    `installed` tells a package's version, or raises PackageNotFoundError.
    """
    for each in requirements:
        match = _REQUIREMENT.fullmatch(each.strip())
        if match is None or "extra" in (match[3] or ""):
            continue
        name, bounds = match[1], match[2].replace(" ", "")
        try:
            version = installed(name)
        except metadata.PackageNotFoundError:
            version = ""
        if not version or not _within(version, bounds):
            what = f"{name} {version or 'is missing'}".rstrip()
            why = f"spoolbridge is made for {name}{bounds}, and may fail without"
            yield Finding("error", what, why, f"pip install '{name}{bounds}', then start the service again")


def _within(version: str, bounds: str) -> bool:
    """Whether a version keeps the bounds, by its numbers alone."""
    found = _numbers(version)
    for sign, text in _BOUND.findall(bounds):
        bound = _numbers(text)
        if (sign in (">=", "~=") and found < bound) or (sign == "<" and found >= bound):
            return False
        if (sign == "<=" and found > bound) or (sign == ">" and found <= bound):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[\d.]+", version)
    numbers = [int(each) for each in match[0].split(".") if each] if match else []
    while numbers and not numbers[-1]:
        numbers.pop()  # 3.14 and 3.14.0 are one
    return tuple(numbers)


def pollers(proc: Path) -> Iterator[Finding]:
    """The processes that run the poller, whoever's they are, as far as the kernel shows them."""
    for pid in sorted(int(each) for each in os.listdir(proc) if each.isdigit()):
        try:
            words = (proc / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is hidden from us
            continue
        if _runs_the_poller([Path(os.fsdecode(each)).name for each in words]):
            what = f"process {pid} runs {POLLER}"
            why = "a second reader of the same channels: agents get every message twice"
            do = f"kill {pid}, and take it out of what starts it (cron, a unit, the town's daemon)"
            yield Finding("error", what, why, do)


def _runs_the_poller(names: list[str]) -> bool:
    """Not who edits or looks at it."""
    return names[:1] == [POLLER] or (bool(_INTERPRETER.fullmatch(names[0])) and POLLER in names[1:])
