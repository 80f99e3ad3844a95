"""What a service takes that has nothing to do, however many channels it has."""

from __future__ import annotations

import time

from tests.bench.programs import bridge, spool
from tests.bench.stub import Stub, ids
from tests.bench.table import Table

COUNTS = (20, 200)
SECONDS = 30.0

HEAD = ["channels", "polled", "% of a core", "MiB"]
NOTE = """\
A service with so many channel directories and nothing in them, watched for {seconds:.0f} s once its start
is over."""


def measure(scale: float = 1.0) -> Table:
    """With and without polling."""
    seconds = max(3.0, SECONDS * scale)
    cases = [(count, poll) for count in COUNTS for poll in ("nothing", "mayor-*")]
    return Table("Idle", HEAD, [row(*case, seconds) for case in cases], NOTE.format(seconds=seconds))


def row(channels: int, poll: str, seconds: float) -> list[str]:
    """One service; `poll`: the channels that it reads, as the setting has it."""
    with (
        Stub(channels) as stub,
        spool(ids(channels)) as root,
        bridge(root, stub.api, SPOOLBRIDGE_POLL=poll) as running,
    ):
        time.sleep(2.0)  # what a start has to do
        before, began = running.cpu, time.monotonic()
        time.sleep(seconds)
        share = (running.cpu - before) / (time.monotonic() - began)
        polled = "all" if poll != "nothing" else "none"
        return [str(channels), polled, f"{share * 100:.2f}", f"{running.memory:.0f}"]
