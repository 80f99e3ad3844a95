"""A burst of what humans write: how fast it is filed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.bench.figures import spread
from tests.bench.programs import PATIENCE, bridge, spool
from tests.bench.stub import Stub, ids
from tests.bench.table import Table
from tests.support.waiting import wait_until

MESSAGES, CHANNELS, ROUNDS = 5_000, 50, 3

HEAD = ["messages", "channels", "filed/s", "CPU µs a message", "MiB"]
NOTE = """\
All are there when the bridge looks. From the first file in `new/` to the last, each message with its line in
the inbox file; {rounds} rounds. Receipts are off, for Discord allows one in 0.25 s a channel."""


def measure(scale: float = 1.0) -> Table:
    """All rounds."""
    messages, rounds = max(CHANNELS, round(MESSAGES * scale)), max(1, round(ROUNDS * min(1.0, scale)))
    runs = [_round(messages) for _ in range(rounds)]
    rates, costs, sizes = zip(*runs, strict=True)
    row = [str(messages), str(CHANNELS), spread(rates), spread([cost * 1e6 for cost in costs]), spread(sizes)]
    return Table("Inbound", HEAD, [row], NOTE.format(rounds=rounds))


def _round(messages: int) -> tuple[float, float, float]:
    """Messages a second; seconds of processor time a message; MiB."""
    with Stub(CHANNELS) as stub, spool(ids(CHANNELS)) as root:
        settings = {
            "SPOOLBRIDGE_POLL": "mayor-*", "SPOOLBRIDGE_POLL_INTERVAL": "1", "SPOOLBRIDGE_RECEIPTS": "off",
        }  # fmt: skip
        with bridge(root, stub.api, **settings) as running:
            wait_until(lambda: len(list((root / "state").rglob(f"*{CHANNELS + 9_999}*"))) > 0, PATIENCE)
            time.sleep(1.0)  # the first look, which begins every channel at its last message
            before = running.cpu
            stub.say(messages, CHANNELS)
            inbox = root / "discord-inbox.jsonl"
            wait_until(lambda: inbox.exists() and inbox.read_bytes().count(b"\n") >= messages, PATIENCE)
            filed = sorted(_filed(root))
            assert messages == len(filed)
            rate = (messages - 1) / (filed[-1] - filed[0])
            return rate, (running.cpu - before) / messages, running.most_memory


def _filed(root: Path) -> list[float]:
    """When each message got its name."""
    return [os.stat(path).st_ctime for path in (root / "incoming").glob("*/new/*")]
