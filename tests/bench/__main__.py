"""All measurements, or those that are named: `python -m tests.bench [--scale SHARE] [NAME…]`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from tests.bench import backlog, burst, growth, idle, inbound, pacing, polling, starting, ways
from tests.bench.table import Table

MEASUREMENTS: Mapping[str, Callable[[float], Table]] = {
    "burst": burst.measure,
    "latency": ways.measure,
    "backlog": backlog.measure,
    "inbound": inbound.measure,
    "idle": idle.measure,
    "growth": growth.measure,
    "start": starting.measure,
    "polling": polling.measure,
    "pacing": pacing.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    names = ", ".join(MEASUREMENTS)
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="spoolbridge in figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the work to do (default: 1)")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in MEASUREMENTS]:
        parser.error(f"no measurement {unknown[0]!r}; there are {names}")
    for name in asked.names or MEASUREMENTS:
        print(MEASUREMENTS[name](asked.scale), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
