"""A power cut at every system call, on a disk that loses whatever was not synced.

SIGKILL cannot show a missing fsync. So the product's own calls are recorded up to the cut, every tree
that the disk could hold then is put in place of the spool, and the service is started on it: at once,
and again later than Discord remembers nonces.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disk import Snapshot, after_power_cut
from tests.crash.test_kill_points import Life, check
from tests.crash.world import CHANNEL, World, Zygote, world

LATER = 200.0  # seconds: past the nonce window (ours and the emulator's), not yet late
SHARE = 10  # cuts of each life that an ordinary run tries; the sweep tries all


def _plain(world: World) -> None:
    """A name without an ID: whoever claims it twice would give it two."""
    world.dropped.append("hello")
    path = world.root / "outgoing" / CHANNEL / "note"
    path.parent.mkdir(exist_ok=True)
    path.write_text("hello")


LIVES = [
    Life("one drop", _plain),
    Life("an answer", lambda world: world.say("what is up?")),
    Life("an answer with a picture", lambda world: world.say("look", b"\x89PNG" + bytes(300_000))),
]


async def cut(base: Path, forks: Zygote, life: Life, number: int, model: str, later: float) -> int:
    """Try every tree that a cut at that call may leave. Returns how many there were; 0: no such call."""
    tried, trees = 0, 1
    while tried < trees:
        async with world(base, forks) as struck:
            life.prepare(struck)
            before = Snapshot.of(struck.root)
            before.unsynced = frozenset(path.stat().st_ino for path in struck.root.glob("outgoing/*/note"))
            if not (await struck.life(kill_at=number))["killed"]:
                return 0
            left = list(after_power_cut(before, struck.trace(), model))
            trees = len(left)
            if tried >= trees:
                break  # the poller's requests fell otherwise between the calls this time
            left[tried].restore(struck.root)
            struck.pass_time(later)
            await struck.life()
            check(struck, life)
            tried += 1
    return tried


def _cases() -> Iterator[tuple[Life, str, float]]:
    for life in LIVES:
        for model in ("journalled", "unordered"):
            for later in (0.0, LATER):
                yield life, model, later


@pytest.mark.timeout(120)
async def test_a_share_of_all_cuts(tmp_path: Path, forks: Zygote, dice: random.Random) -> None:
    """Some calls of each life, each with every tree that the cut may leave."""
    for life, model, later in _cases():
        for _ in range(SHARE // 4):
            number = dice.randint(1, 30)
            await cut(tmp_path / "w", forks, life, number, model, later)


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("life", "model", "later"),
    [pytest.param(*case, id=f"{case[0].name}-{case[1]}-{case[2]:.0f}") for case in _cases()],
)
async def test_every_cut(tmp_path: Path, forks: Zygote, life: Life, model: str, later: float) -> None:
    """Every call, every tree."""
    number, trees = 1, 0
    while found := await cut(tmp_path / "w", forks, life, number, model, later):
        number, trees = number + 1, trees + found
    assert number > 10
    print(f"{life.name}, {model}, {later:.0f} s later: {number - 1} calls, {trees} trees")
