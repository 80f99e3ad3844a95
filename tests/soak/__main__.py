"""`python -m tests.soak [--hours 24] [--seed N]`: exit code 0, or 1 with what did not hold."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from tests.soak import clocks as _clocks  # before anything of the package: it binds the clocks at import


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A town's day in minutes.")
    parser.add_argument("--hours", type=float, default=24.0, help="virtual hours (default: 24)")
    parser.add_argument("--begin", type=float, default=8.0, help="at this hour of the day (default: 8)")
    parser.add_argument("--seed", type=int, default=1, help="of traffic and troubles (default: 1)")
    parser.add_argument("--log", action="store_true", help="show what the service logs")
    parser.add_argument("--keep", type=Path, help="an empty directory to work in, and to leave there")
    asked = parser.parse_args(arguments)
    clocks = _clocks.Clocks(asked.hours + 2, begin=asked.begin)
    clocks.install()
    return _soak(asked, clocks)


def _soak(asked: argparse.Namespace, clocks: _clocks.Clocks) -> int:
    from tests.soak import run
    from tests.soak.disk import Disk
    from tests.soak.loop import SoakLoop

    warnings.simplefilter("error")
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO if asked.log else logging.WARNING)
    logging.getLogger().handlers[0].setLevel(logging.INFO if asked.log else logging.CRITICAL)
    disk, began = Disk(), _clocks.real_time()
    disk.install()
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        soak = run.Soak(asked.keep or Path(place), clocks, disk, asked.seed)
        print(f"{asked.hours:g} h, seed {asked.seed}\n\n{run.HEAD}")
        with asyncio.Runner(loop_factory=lambda: _loop(clocks, SoakLoop(clocks.passed))) as runner:
            runner.run(soak.run(asked.hours, plan(asked.hours)))
        gc.collect()  # a descriptor that was forgotten complains
    acts = ", ".join(f"{count} {what}" for what, count in sorted(soak.world.acts.items()))
    print(f"troubles: {acts}; {soak.complaints.warnings} warnings")
    print(f"{_clocks.real_time() - began:.0f} s on the wall")
    soak.tell()
    print("wrong: " + str(len(soak.wrong)) if soak.wrong else "nothing was lost, repeated or left")
    return 1 if soak.wrong else 0


def _loop(clocks: _clocks.Clocks, loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    clocks.virtual = loop.time
    return loop


def plan(hours: float) -> dict[float, str]:
    """What every soak has, however short: an outage, a full disk, kills and a stop."""
    share = hours * 3600
    return {share * 0.2: "kills", share * 0.35: "full disks", share * 0.5: "outages", share * 0.65: "stops",
            share * 0.8: "kills"}  # fmt: skip


def _memory() -> str | None:
    """Where files cost no disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread that the service has left behind was told of, and would never end
