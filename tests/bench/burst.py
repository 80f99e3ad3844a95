"""A burst of drops, all there at once: how fast it goes out, and what each message costs.

The bridge's are files in 20 channels that a service holds back until all are there; the others post from
memory. Timed at the stub, from the first message that arrives to the last one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spoolbridge.spool import Spool
from tests.bench import peers
from tests.bench.figures import ratios, spread
from tests.bench.programs import PATIENCE, Bridge, bridge, entries, python, spool
from tests.bench.stub import Stub, ids, name
from tests.bench.table import Table
from tests.support.programs import environment
from tests.support.waiting import wait_until

CHANNELS, EACH = 20, 100
ROUNDS = 5
_LOOK = 0.2  # seconds between two looks at how far it is
SCRIPTS = 0.01  # share of the messages that are sent by a process each: more would take minutes

HEAD = ["who", "messages/s", "of the reference", "CPU µs", "MiB", "syscalls", "fsyncs", "on the loop"]
NOTE = """\
{messages} messages over {channels} channels, {rounds} rounds, each with everybody in it: the median, and the
least and the most. The reference posts from memory and keeps nothing; the bridge's messages are files, and
everything is durable. CPU: processor time a message. System calls and fsyncs a message, those on the event
loop's thread apart: {traced}."""


@dataclass(frozen=True)
class Run:
    """One round of one of them. Seconds and MiB."""

    rate: float
    cpu: float
    memory: float = 0.0


def measure(scale: float = 1.0) -> Table:
    """Everybody, in turns."""
    each, rounds = max(5, round(EACH * scale)), max(1, round(ROUNDS * min(1, scale)))
    runs: dict[str, list[Run]] = {"raw": [], "bridge": [], "discord.py": [], "script": []}
    with Stub(CHANNELS) as stub:
        for _ in range(rounds):
            for who, found in runs.items():
                stub.forget()
                found.append(by_bridge(stub, each) if who == "bridge" else by_peer(stub, who, each))
        calls, said = traced(stub, max(2, each // 10))
    note = NOTE.format(messages=CHANNELS * each, channels=CHANNELS, rounds=rounds, traced=said)
    return Table("Burst", HEAD, [_row(who, found, runs["raw"], calls) for who, found in runs.items()], note)


def _row(who: str, runs: Sequence[Run], reference: Sequence[Run], calls: Sequence[str]) -> list[str]:
    shown = {"raw": "raw aiohttp, the reference", "bridge": "spoolbridge", "script": "a process a message"}
    rates = [run.rate for run in runs]
    ratio = spread(ratios(rates, [run.rate for run in reference]), 3)
    cpu = spread([run.cpu * 1e6 for run in runs])
    memory = spread([run.memory for run in runs]) if runs[0].memory else "-"
    digits = 0 if min(rates) > 100 else 1  # a process a message makes one or two of them a second
    name, said = shown.get(who, who), spread(rates, digits)
    return [name, said, ratio, cpu, memory, *(calls if who == "bridge" else "---")]


def by_peer(stub: Stub, who: str, each: int) -> Run:
    """One of the others."""
    each = max(5, round(CHANNELS * each * SCRIPTS)) if who == "script" else each
    command = python("tests.bench.peers", who, stub.api, str(CHANNELS), str(each))
    printed = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True).stdout
    rate, count = _rate(stub)
    return Run(rate, float(printed) / count)


def by_bridge(stub: Stub, each: int, prefix: Sequence[str] = ()) -> Run:
    """The service on a spool of its own."""
    with spool(ids(CHANNELS)) as root, bridge(root, stub.api, prefix=prefix) as running:
        running.hold()
        drop(root, each)
        before = running.cpu
        running.release()
        settled(stub, running, CHANNELS * each)
        rate, count = _rate(stub)
        return Run(rate, (running.cpu - before) / count, running.most_memory)


def drop(root: Path, each: int, channels: int = CHANNELS) -> None:
    """So many messages into each channel, in our ID form: they need not settle."""
    there = Spool(root)
    try:
        for number in range(each):
            for channel in range(channels):
                there.drop(name(channel), peers.text(number).encode())
    finally:
        there.close()


def settled(stub: Stub, running: Bridge, count: int) -> None:
    """Wait until so many were posted and lie in `sent/`, for as long as more are.

    Looked at seldom, and files not before the end: to count 100,000 of them again and again takes a core
    from who is measured. Raises TimeoutError.
    """
    posted, end = -1, 0.0
    while (now := stub.count()) < count:
        if now > posted:
            posted, end = now, time.monotonic() + PATIENCE
        elif time.monotonic() > end:
            raise TimeoutError(f"{posted} of {count} messages were posted, and no more in {PATIENCE:.0f} s")
        time.sleep(_LOOK)
    wait_until(lambda: entries(running.root, "sent") >= count, PATIENCE)


def _rate(stub: Stub) -> tuple[float, int]:
    """Messages a second, and how many there were. Raises AssertionError where one came twice."""
    seen = stub.seen()
    assert len(seen) == len({(post.channel, post.content) for post in seen})
    return (len(seen) - 1) / (seen[-1].at - seen[0].at), len(seen)


# -- system calls ----------------------------------------------------------------------------------------

_CALL = re.compile(r"(\d+) +\d+\.\d+ (\w+)\(")


def traced(stub: Stub, each: int) -> tuple[list[str], str]:
    """System calls, fsyncs, and fsyncs on the loop's thread, a message; and how they were counted."""
    if not shutil.which("strace"):
        return ["-", "-", "-"], "not counted, for there is no strace here"
    stub.forget()
    with tempfile.TemporaryDirectory(prefix="spoolbridge-bench-") as place, spool(ids(CHANNELS)) as root:
        counts = _counted(stub, root, Path(place) / "calls", each)
    messages = CHANNELS * each
    syncs = [sum(counts[loop, call] for call in ("fsync", "fdatasync")) for loop in (False, True)]
    calls, synced, on_the_loop = (each / messages for each in (counts.total(), sum(syncs), syncs[True]))
    return [f"{calls:.0f}", f"{synced:.1f}", f"{on_the_loop:.1f}"], f"by strace, of {messages} messages"


def _counted(stub: Stub, root: Path, trace: Path, each: int) -> Counter[tuple[bool, str]]:
    """How often which call was made, by whether the loop's thread made it, while the drops went out."""
    prefix = ["strace", "-D", "-f", "-ttt", "-o", str(trace)]  # -D: the service stays our child
    with bridge(root, stub.api, prefix=prefix) as running:
        running.hold()
        drop(root, each)
        offset = os.stat(trace).st_size
        running.release()
        settled(stub, running, CHANNELS * each)
        end = os.stat(trace).st_size
    with open(trace, "rb") as lines:
        lines.seek(offset)
        text = lines.read(end - offset).decode("utf-8", "replace")
    found = ((int(tid), call) for tid, call in _CALL.findall(text))
    return Counter((tid == running.pid, call) for tid, call in found)
