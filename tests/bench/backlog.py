"""A start with a backlog: when the first message goes out, and whether the rest keeps Discord's pace. And one
where much was sent before, which none of it should feel.

With Discord's limits: the client's own 45 requests a second, one at a time a channel.
"""

from __future__ import annotations

import time

from spoolbridge import identity
from spoolbridge.discord.ratelimit import PER_SECOND
from tests.bench import peers
from tests.bench.programs import LIMITED, PATIENCE, Bridge, spool
from tests.bench.stub import Stub, ids, name
from tests.bench.table import Table
from tests.support.waiting import wait_until

MANY = 100_000
#: How many wait, and how many were sent on that day.
CASES = ((100, 0), (MANY, 0), (100, MANY))
CHANNELS = 100
SECONDS = 10.0

HEAD = [
    "waiting", "sent before", "first post after s", "posts/s", "of what is allowed", "CPU µs a message",
    "MiB",
]  # fmt: skip
NOTE = f"""\
So many files in {CHANNELS} channels when the service starts, beside what was sent earlier on that day;
Python's own start counted; then watched for {{seconds:.0f}} s. Allowed are {PER_SECOND} posts a second."""


def measure(scale: float = 1.0) -> Table:
    """A short backlog and a long one, and a short one behind much that was sent."""
    seconds, many = max(1.0, SECONDS * scale), max(CHANNELS, round(MANY * scale))
    shown = [_row(min(waiting, many), min(sent, many), seconds) for waiting, sent in CASES]
    return Table("Backlog", HEAD, shown, NOTE.format(seconds=seconds))


def _row(count: int, sent: int, seconds: float) -> list[str]:
    with Stub(CHANNELS) as stub, spool(ids(CHANNELS)) as root:
        minter = identity.Minter()
        for number in range(sent):
            box = root / "sent" / name(number % CHANNELS) / identity.day_of(time.time())
            box.mkdir(parents=True, exist_ok=True)
            (box / f"{minter.mint()}.note").touch()
        for number in range(count):
            box = root / "outgoing" / name(number % CHANNELS)
            (box / f"{minter.mint()}.note").write_text(peers.text(number))
        running = Bridge(root, stub.api, program=LIMITED)
        try:
            wait_until(stub.count, PATIENCE)
            before = running.cpu
            time.sleep(seconds)
            cost, memory = running.cpu - before, running.most_memory
        finally:
            running.end()
        seen = stub.seen()
    first = seen[0].at
    posts = [post for post in seen if post.at - first < seconds]
    allowed = min(count, PER_SECOND * seconds)
    return [
        str(count), str(sent), f"{first - running.began:.2f}", f"{len(posts) / seconds:.1f}",
        f"{len(posts) / allowed:.2f}", f"{cost / len(posts) * 1e6:.0f}", f"{memory:.0f}",
    ]  # fmt: skip
