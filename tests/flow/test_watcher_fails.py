"""What the bridge does when nobody tells it: no events, too few watches, a queue that ran over.

A notification is a hint. Without any the scan finds what was dropped within its two seconds; and as long
as there are notifications, a scan once a minute is enough: most of these tests allow no other.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge.dispatcher import RESCAN
from spoolbridge.moves import Moves
from spoolbridge.ready import SETTLE
from spoolbridge.watcher import Watcher
from tests.support.live import Live, living, process
from tests.support.waiting import until, wait_until

NEVER = 60.0  # seconds between two scans: longer than any test waits
SLACK = 1.0  # seconds that a busy machine may add
MOST_QUEUED = Path("/proc/sys/fs/inotify/max_queued_events")


def events_are_lost(self: Watcher, event: object) -> None:
    """An observer that drops everything."""


def nothing_is_watched(self: Watcher) -> None:
    """An observer that was never started."""


@pytest.mark.parametrize(
    ("method", "broken"), [("on_event", events_are_lost), ("start", nothing_is_watched)],
    ids=["everything is dropped", "nothing is watched"],
)  # fmt: skip
async def test_no_events(method: str, broken: Any, tmp_path: Path) -> None:
    """What no event told of is found by the next scan, however it was written."""
    with patch.object(Watcher, method, broken):
        async with living(tmp_path / "spool", "echo", "drop") as live:
            await scanned(live)  # from now on the next scan is as far away as it ever is
            began = time.time()
            (live.outgoing / "echo" / "note").write_text("by hand\n")
            await asyncio.to_thread(live.spool.drop, "drop", b"by form")
            await live.posted("echo", "by hand")
            await live.posted("drop", "by form")
            delays = [each - began for each in live.arrivals()]
    assert 2 == len(delays)
    assert all(RESCAN / 2 < delay < RESCAN + SETTLE + SLACK for delay in delays), delays


async def scanned(live: Live) -> None:
    """Return right behind a scan that found nothing."""
    looks = 0
    look = live.intake.look

    def counting() -> Any:
        nonlocal looks
        found = look()
        looks += 1
        return found

    with patch.object(live.intake, "look", counting):
        await until(lambda: looks)


async def test_a_bell_during_the_last_look(tmp_path: Path) -> None:
    """A drop that comes when its channel has just been looked through is not left for the next scan."""
    loop = asyncio.get_running_loop()
    async with living(tmp_path / "spool", "general", rescan=NEVER) as live:
        take, told = live.intake.take, live.dispatcher._clerk.times_told
        late: list[str] = []

        def take_and_dawdle(channel: str, moves: Moves, **more: Any) -> Any:
            found = take(channel, moves, **more)
            if found is None and not late:
                before = told(channel)
                late.append(live.spool.drop(channel, b"late").id)
                wait_until(lambda: told(channel) > before)  # what the bell leads to
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()  # has come to its end
            return found

        with patch.object(live.intake, "take", take_and_dawdle):
            await asyncio.to_thread(live.spool.drop, "general", b"early")
            await live.posted("general", "early", "late")


# -- limits of the machine -----------------------------------------------------------------------------------


def unshared(limit: str, most: int) -> list[str]:
    """What starts a program where `limit` of inotify is `most`: in a namespace of its own."""
    script = f'echo {most} > /proc/sys/user/{limit} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


def can_unshare() -> bool:
    try:
        tried = subprocess.run([*unshared("max_inotify_watches", 3), "true"], capture_output=True, timeout=10)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no user namespaces for this user: run the tests as root")
@pytest.mark.parametrize(
    ("limit", "most", "finding"),
    [
        ("max_inotify_watches", 3, "no file system events in some channels (inotify watch limit reached)"),
        ("max_inotify_watches", 0, "no file system events (inotify watch limit reached)"),
        ("max_inotify_instances", 0, "no file system events (inotify instance limit reached)"),
    ],
)
async def test_a_limit_of_the_machine(limit: str, most: int, finding: str, tmp_path: Path) -> None:
    """The real service delivers in every channel, watched or not, and its status says what is missing."""
    channels = [f"channel-{number}" for number in range(5)]
    async with process(tmp_path, *channels, prefix=unshared(limit, most)) as service:
        for channel in channels:
            (service.spool / "outgoing" / channel / "note").write_text(f"in {channel}\n")
        await until(lambda: all(service.texts(channel) for channel in channels), RESCAN + SETTLE + 2 * SLACK)
        assert [[f"in {channel}"] for channel in channels] == [service.texts(each) for each in channels]
        assert [f"{finding}; scanning instead"] == service.status()["findings"]


async def test_a_watch_that_is_refused(tmp_path: Path) -> None:
    """Also where namespaces cannot be had: a channel whose watch is refused is served by the scan."""
    watcher = Watcher(tmp_path / "spool", lambda: None)
    (tmp_path / "spool" / "outgoing" / "general").mkdir(parents=True)
    refusal = OSError(28, "inotify watch limit reached")
    with patch("watchdog.observers.inotify_c.InotifyFD.add_callback", side_effect=refusal):
        watcher.start()
    watcher.stop()
    assert "no file system events (inotify watch limit reached); scanning instead" == watcher.problem


# -- a queue that runs over ----------------------------------------------------------------------------------


@pytest.mark.skipif(not MOST_QUEUED.exists(), reason="no inotify on this system")
async def test_an_overflow(tmp_path: Path) -> None:
    """The kernel's queue runs over, for real. What was dropped behind it is found, and a channel that was
    made behind it rings from then on."""
    async with living(tmp_path / "spool", "general", rescan=NEVER) as live:
        live.add("new", box=False)
        async with stalled(live) as lost:
            fill_the_queue(live.outgoing / "general", int(MOST_QUEUED.read_text()))
            await asyncio.to_thread(live.spool.drop, "general", b"behind it")
            await asyncio.to_thread(live.spool.drop, "new", b"first")
        await live.posted("general", "behind it")
        await live.posted("new", "first")
        assert 1 == len(lost)
        await asyncio.to_thread(live.spool.drop, "new", b"second")
        await live.posted("new", "first", "second")


@asynccontextmanager
async def stalled(live: Live) -> AsyncIterator[list[None]]:
    """The watcher's thread stands still meanwhile. Yields what counts the overflows that it hears of then."""
    arrived, gate = threading.Event(), threading.Event()
    lost: list[None] = []
    overflow, ring = live.watcher.on_queue_overflow, live.ring

    def ring_later() -> None:
        arrived.set()
        gate.wait()
        ring()

    def act_and_count() -> None:
        overflow()
        lost.append(None)

    live.ring = ring_later
    with patch.object(live.watcher, "on_queue_overflow", act_and_count):
        (live.outgoing / ".stray").touch()
        await until(arrived.is_set)
        try:
            yield lost
        finally:
            gate.set()
        await until(lambda: lost)


def fill_the_queue(box: Path, most: int) -> None:
    """More events than the kernel keeps, on names that are nobody's message; equal neighbours would merge."""
    for number in range(most + 100):
        os.close(os.open(box / f".{number % 2}", os.O_WRONLY | os.O_CREAT, 0o600))


# -- directories that come and go ----------------------------------------------------------------------------


async def test_a_channel_that_is_removed_and_made_anew(tmp_path: Path) -> None:
    """Its first message is told of each time: a new directory is watched before it is looked into."""
    texts = [f"round {number}" for number in range(20)]
    async with living(tmp_path / "spool", "general", rescan=NEVER) as live:
        for number, text in enumerate(texts, 1):
            shutil.rmtree(live.outgoing / "general")
            await asyncio.to_thread(live.spool.drop, "general", text.encode())
            await live.posted("general", *texts[:number])
        assert "" == live.watcher.problem


async def test_a_channel_that_is_renamed(tmp_path: Path) -> None:
    """It brings its messages along, and rings under its new name."""
    async with living(tmp_path / "spool", "before", rescan=NEVER) as live:
        live.add("after", box=False)
        (live.outgoing / "before" / ".hold").touch()
        await asyncio.to_thread(live.spool.drop, "before", b"brought along")
        os.rename(live.outgoing / "before", live.outgoing / "after")
        (live.outgoing / "after" / ".hold").unlink()
        await asyncio.to_thread(live.spool.drop, "after", b"dropped there")
        await live.posted("after", "brought along", "dropped there")
        assert [] == live.texts("before")


STORM = """
import os, random, shutil, sys, time
os.chdir(sys.argv[1])
chance, end = random.Random(sys.argv[2]), time.monotonic() + 1.5
while time.monotonic() < end:
    one, other = chance.choice("abc"), chance.choice("abc")
    act = chance.randrange(6)
    try:
        if act == 0: os.makedirs(f"{one}/x.msg/files")
        elif act == 1: os.rename(one, other)
        elif act == 2: shutil.rmtree(one)
        elif act == 3: os.rename(f"{one}/x.msg", f"{other}/x.msg")
        elif act == 4: open(f"{one}/x.msg/body", "w").close()
        else: open(f"{one}/x.msg/{chance.choice(['stray', 'files/log.txt'])}", "w").close()
    except OSError:
        pass
"""


async def test_a_storm_of_directories(tmp_path: Path) -> None:
    """Directories are made, moved and removed under its eyes; afterwards it still hears and still posts."""
    async with living(tmp_path / "spool", "general", rescan=NEVER) as live:
        storms = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", STORM, live.outgoing, str(seed))
            for seed in range(2)
        ]
        await live.alive("general")
        assert [0, 0] == [await storm.wait() for storm in storms]
        for channel in "abc":
            shutil.rmtree(live.outgoing / channel, ignore_errors=True)
        await live.alive("general")
        live.add("made-after")
        await live.alive("made-after")
        assert "" == live.watcher.problem


# -- how long it takes ---------------------------------------------------------------------------------------


async def test_latency(tmp_path: Path) -> None:
    """A drop in our form every 50 ms, while those before it are claimed and settled: renames of our own
    hold nothing up."""
    count, pace = 40, 0.05
    async with living(tmp_path / "spool", "general", rescan=NEVER) as live:
        began: list[float] = []
        start = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number * pace - time.monotonic()))
            began.append(time.time())
            await asyncio.to_thread(live.spool.drop, "general", b"%d" % number)
        await live.posted("general", *map(str, range(count)))
        delays = sorted(arrived - dropped for arrived, dropped in zip(live.arrivals(), began, strict=True))
    p50, p90, p99 = (delays[math.ceil(share * count) - 1] for share in (0.5, 0.9, 0.99))
    print(f"drop to wire: p50 {p50 * 1e3:.0f} ms, p90 {p90 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms")
    assert p90 < 0.2
