"""What it costs to listen, and how long a human waits: by the number of channels that are polled."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tests.bench.programs import bridge, spool
from tests.bench.stub import Stub, ids
from tests.bench.table import Table
from tests.support.waiting import wait_until

COUNTS = (50, 500)
SECONDS = 45.0
WORDS = 5

HEAD = ["channels", "requests/s", "most asked", "lag s, median", "lag s, worst"]
NOTE = """\
Nothing is said for {seconds:.0f} s, in which requests are counted; then a human writes {words} times, and the
lag is the time until each is filed. Polled every 15 s when quiet, every 2 s in a conversation."""


def measure(scale: float = 1.0) -> Table:
    """Both numbers of channels."""
    seconds, words = max(3.0, SECONDS * scale), max(1, round(WORDS * scale))
    rows = [row(count, seconds, words) for count in COUNTS]
    return Table("Polling", HEAD, rows, NOTE.format(seconds=seconds, words=words))


def row(channels: int, seconds: float, words: int, **settings: str) -> list[str]:
    """One number of channels; `settings` are the service's, beside the usual."""
    with (
        Stub(channels) as stub,
        spool(ids(channels)) as root,
        bridge(root, stub.api, SPOOLBRIDGE_POLL="mayor-*", SPOOLBRIDGE_RECEIPTS="off", **settings),
    ):
        time.sleep(2.0)  # what a start has to do
        stub.forget()
        time.sleep(seconds)
        asked = stub.requests()
        lags = [_lag(stub, root, number + 1) for number in range(words)]
    often = max(asked, key=lambda each: asked[each])
    rate = f"{asked.total() / seconds:.2f}"
    return [str(channels), rate, often, f"{statistics.median(lags):.1f}", f"{max(lags):.1f}"]


def _lag(stub: Stub, root: Path, number: int) -> float:
    """Of the message of that number."""
    began = time.monotonic()
    stub.say(1, 1)
    wait_until(lambda: len(list((root / "incoming").glob("*/new/*"))) >= number, 60.0)
    return time.monotonic() - began
