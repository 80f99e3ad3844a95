"""How long whoever calls has to wait for Python: `spoolbridge send`, and the MCP server."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figures import ratios, spread
from tests.bench.programs import Mcp, spool
from tests.bench.stub import ids, name
from tests.bench.table import Table
from tests.support.programs import PROGRAM, environment

ROUNDS = 20

HEAD = ["what", "ms", "in bare interpreters"]
NOTE = """\
{rounds} rounds, in turns: the median, and the least and the most. `send` drops one message; the MCP server
is ready when it has answered `initialize`. A bare interpreter is `python -c pass`."""


def measure(scale: float = 1.0) -> Table:
    """All of them."""
    rounds = max(2, round(ROUNDS * scale))
    found: dict[str, list[float]] = {"a bare interpreter": [], "spoolbridge send": [], "the MCP server": []}
    with spool(ids(1)) as root:
        for number in range(rounds):
            found["a bare interpreter"].append(_ran([sys.executable, "-c", "pass"], root))
            found["spoolbridge send"].append(_ran([str(PROGRAM), "send", name(0), f"number {number}"], root))
            found["the MCP server"].append(_answers(root))
    bare = found["a bare interpreter"]
    rows = [
        [what, spread([each * 1000 for each in times]), spread(ratios(times, bare), 1)]
        for what, times in found.items()
    ]
    return Table("Start", HEAD, rows, NOTE.format(rounds=rounds))


def _ran(command: list[str], root: Path) -> float:
    began = time.monotonic()
    env = environment({"SPOOLBRIDGE_SPOOL": str(root)})
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _answers(root: Path) -> float:
    began = time.monotonic()
    server = Mcp(root)
    server.begin()
    seconds = time.monotonic() - began
    server.end()
    return seconds
