"""Whether a message costs the same in a short backlog and in a long one: the curve."""

from __future__ import annotations

from tests.bench import burst
from tests.bench.stub import Stub
from tests.bench.table import Table

COUNTS = (100, 1_000, 10_000, 100_000)

HEAD = ["messages", "messages/s", "CPU µs a message", "MiB"]
NOTE = f"""\
The burst of spoolbridge alone, over {burst.CHANNELS} channels, by the number of messages; MiB: the most
that the service ever took."""


def measure(scale: float = 1.0) -> Table:
    """Once each; `scale` leaves the longer ones out."""
    counts = [count for count in COUNTS if count <= COUNTS[-1] * scale] or [COUNTS[0]]
    rows = []
    with Stub(burst.CHANNELS) as stub:
        for count in counts:
            stub.forget()
            run = burst.by_bridge(stub, count // burst.CHANNELS)
            rows.append([str(count), f"{run.rate:.0f}", f"{run.cpu * 1e6:.0f}", f"{run.memory:.0f}"])
    return Table("Growth", HEAD, rows, NOTE)
