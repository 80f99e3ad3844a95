"""A start with a backlog: when the first message goes out, and whether the rest keeps Discord's pace.

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

COUNTS = (100, 100_000)
CHANNELS = 100
SECONDS = 10.0

HEAD = ["waiting", "first post after s", "posts/s", "of what is allowed", "CPU µs a message", "MiB"]
NOTE = f"""\
So many files in {CHANNELS} channels when the service starts, Python's own start counted; then watched for
{{seconds:.0f}} s. Allowed are {PER_SECOND} posts a second."""


def measure(scale: float = 1.0) -> Table:
    """A short backlog and a long one."""
    seconds = max(1.0, SECONDS * scale)
    counts = [COUNTS[0], max(CHANNELS, round(COUNTS[1] * scale))]
    return Table("Backlog", HEAD, [_row(count, seconds) for count in counts], NOTE.format(seconds=seconds))


def _row(count: int, seconds: float) -> list[str]:
    with Stub(CHANNELS) as stub, spool(ids(CHANNELS)) as root:
        minter = identity.Minter()
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
        str(count), f"{first - running.began:.2f}", f"{len(posts) / seconds:.1f}",
        f"{len(posts) / allowed:.2f}", f"{cost / len(posts) * 1e6:.0f}", f"{memory:.0f}",
    ]  # fmt: skip
