"""Several channels settled and taken in one turn of a thread: what each of them is told."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge.claim import Claim
from spoolbridge.clerk import Clerk, Taken
from spoolbridge.errors import MessageError
from spoolbridge.intake import Intake
from spoolbridge.moves import Moves
from spoolbridge.spool import Spool
from tests.support.live import living
from tests.support.tree import contents

CHANNELS = ("general", "vgt", "villa")


class Office:
    """A spool, and a clerk that serves it."""

    def __init__(self, root: Path) -> None:
        self.spool = Spool.create(root)
        self.intake = Intake(self.spool)
        self.clerk = Clerk(self.intake)

    def drop(self, *texts: str, channel: str = "villa") -> None:
        for text in texts:
            self.spool.drop(channel, text.encode())

    async def take(self, channel: str = "villa") -> Claim:
        taken = await self.clerk.take(channel)
        assert isinstance(taken.found, Claim)
        return taken.found

    async def take_all(self) -> list[Taken]:
        return await asyncio.gather(*map(self.clerk.take, CHANNELS))

    async def settle_all(self, taken: Sequence[Taken], *, take: bool) -> list[Taken | None]:
        claims = [each.found for each in taken if isinstance(each.found, Claim)]
        return await asyncio.gather(*(self.clerk.settle(claim, take=take) for claim in claims))

    def lie(self) -> dict[str, int]:
        """State → how many entries."""
        found: dict[str, int] = {}
        for path in contents(self.spool.root):
            state = path.partition("/")[0]
            if state in ("outgoing", "sending", "sent", "failed"):
                found[state] = found.get(state, 0) + 1
        return found


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path / "spool")
    yield made
    made.spool.close()


class Disk:
    """Counts the syncs of directories, and refuses those of one place."""

    def __init__(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.full = ""
        self._root = office.spool.root
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, fd: int) -> None:
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.isdir(path):
            self.synced.append(os.path.relpath(path, self._root))
            if self.full and self.synced[-1].startswith(self.full):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._real(fd)


async def test_channels_share_a_turn(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that two moves of a turn touch is synced once, so each channel has three syncs."""
    for channel in CHANNELS:
        office.drop("one", "two", "three", channel=channel)
    await office.settle_all(await office.take_all(), take=False)  # which makes the day's directories
    taken = await office.take_all()
    disk = Disk(office, monkeypatch)
    following = await office.settle_all(taken, take=True)
    assert ["three"] * 3 == [taken.message.text for taken in following if taken and taken.message]
    for channel in CHANNELS:
        states = [place.split("/")[0] for place in disk.synced if place.split("/")[1] == channel]
        assert ["sent", "sending", "outgoing"] == states
    assert {"sending": 3, "sent": 6} == office.lie()


async def test_one_that_cannot_be_read_is_told_alone(office: Office) -> None:
    """Its claim stands, for it fails with a reason; the others are as if it were not there."""
    office.drop("one", channel="general")
    office.spool.drop("vgt", b"\xff\xfe")
    general, vgt, villa = await office.take_all()
    assert isinstance(general.found, Claim)
    assert isinstance(vgt.found, Claim)
    assert isinstance(vgt.error, MessageError)
    assert (None, None) == (villa.found, villa.error)


async def test_no_room_for_the_next(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was settled in that turn stays settled; what could not be taken waits where it lay."""
    office.drop("one", "two")
    claim = await office.take()
    disk = Disk(office, monkeypatch)
    disk.full = "outgoing"
    taken = await office.clerk.settle(claim, take=True)
    assert taken is not None
    assert (None, errno.ENOSPC) == (taken.found, isinstance(taken.error, OSError) and taken.error.errno)
    assert claim.settled.startswith("sent/villa/")
    assert {"outgoing": 1, "sent": 1} == office.lie()
    disk.full = ""
    assert "two" == (await office.take()).read().body.decode()  # type: ignore[union-attr]


@pytest.mark.parametrize("place", ["sent", "sending"])
async def test_no_room_to_settle(office: Office, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Then nothing is taken either: the next would be posted before it is known that this one was."""
    office.drop("one", "two")
    claim = await office.take()
    disk = Disk(office, monkeypatch)
    disk.full = place
    with pytest.raises(OSError, match="No space left"):
        await office.clerk.settle(claim, take=True)
    assert ("", True) == (claim.settled, claim.exists())
    assert {"outgoing": 1, "sending": 1} == office.lie()
    disk.full = ""
    taken = await office.clerk.settle(claim, take=True)
    assert taken is not None
    assert isinstance(taken.found, Claim)
    assert {"sending": 1, "sent": 1} == office.lie()


async def test_taken_out_of_sending(office: Office) -> None:
    """By an operator: told to who settles it, and nothing is taken in that turn."""
    office.drop("one", "two")
    claim = await office.take()
    os.unlink(office.spool.root / "sending" / "villa" / claim.name)
    with pytest.raises(FileNotFoundError):
        await office.clerk.settle(claim, take=True)
    assert {"outgoing": 1} == office.lie()
    await office.take()


class TestList:
    """When a drop box is listed anew."""

    @pytest.fixture
    def listed(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The drop boxes, each time."""
        found: list[str] = []
        real = os.listdir

        def listdir(path: int | str) -> list[str]:
            if isinstance(path, int):
                where = os.path.relpath(os.readlink(f"/proc/self/fd/{path}"), office.spool.root)
                found.extend([where] if where.startswith("outgoing/") else [])
            return real(path)

        monkeypatch.setattr(os, "listdir", listdir)
        return found

    async def test_once_for_a_backlog(self, office: Office, listed: list[str]) -> None:
        """And again before it counts as empty."""
        texts = [f"message {number}" for number in range(20)]
        office.drop(*texts)
        for text in texts:
            claim = await office.take()
            content = claim.read()
            assert content is not None
            assert text.encode() == content.body
            await office.clerk.settle(claim, take=False)
        assert ["outgoing/villa"] == listed
        assert (await office.clerk.take("villa")).found is None
        assert ["outgoing/villa"] * 2 == listed

    async def test_when_the_bell_has_rung(self, office: Office, listed: list[str]) -> None:
        """What comes back under an older ID has its turn before what is newer."""
        older = office.spool.mint()
        office.drop("one", "two")
        await office.take()
        office.spool.drop("villa", b"returned", entry_id=older)
        office.clerk.told("villa")
        assert older == (await office.take()).id
        assert ["outgoing/villa"] * 2 == listed

    async def test_what_came_without_a_sound(self, office: Office) -> None:
        """Is found when nothing else is left."""
        office.drop("one")
        await office.take()
        office.drop("two")
        await office.take()

    async def test_what_was_removed(self, office: Office) -> None:
        """Is passed over, and what is behind it is taken."""
        office.drop("one", "two", "three")
        await office.take()
        second, _ = sorted((office.spool.root / "outgoing" / "villa").iterdir())
        second.unlink()
        content = (await office.take()).read()
        assert content is not None
        assert b"three" == content.body


# --- as the dispatcher uses it -----------------------------------------------------------------------

TURNS = 3  # taken and read; tried; noted. It is settled in the turn that takes the next


async def test_a_message_waits_for_three_turns(tmp_path: Path) -> None:
    """More turns of threads would cost each message of a backlog time and processor."""
    turns = 0
    loop = asyncio.get_running_loop()
    run = loop.run_in_executor

    def counted(*given: Any) -> Any:
        nonlocal turns
        turns += 1
        return run(*given)

    async with living(tmp_path / "spool", "general", rescan=60.0) as live:
        hold = live.outgoing / "general" / ".hold"
        hold.touch()
        texts = [f"message {number}" for number in range(40)]
        for text in texts:
            live.spool.drop("general", text.encode())
        with patch.object(loop, "run_in_executor", counted):
            hold.unlink()
            await live.posted("general", *texts)
            await live.empty()
    assert (TURNS - 1) * len(texts) < turns < (TURNS + 1) * len(texts)


async def test_the_disk_refuses_the_next_claim(tmp_path: Path) -> None:
    """What was settled in that turn is neither settled nor posted again, and the next waits for room."""
    async with living(tmp_path / "spool", "general", rescan=0.05) as live:
        take, claims = live.intake.take, 0

        def refusing(channel: str, moves: Moves, **more: Any) -> Any:
            nonlocal claims
            claims += 1
            if claims == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return take(channel, moves, **more)

        with patch.object(live.intake, "take", refusing):
            for text in ("first", "second"):
                live.spool.drop("general", text.encode())
            await live.posted("general", "first", "second")
            await live.empty()
        assert claims > 2
        assert [] == live.failed("general")


async def test_what_follows_cannot_be_read(tmp_path: Path) -> None:
    """Read in the turn that settled the one before it, it fails for itself, and the next one goes out."""
    async with living(tmp_path / "spool", "general", rescan=60.0) as live:
        hold = live.outgoing / "general" / ".hold"
        hold.touch()
        for data in (b"first", b"\xff\xfe", b"third"):
            live.spool.drop("general", data)
        hold.unlink()
        await live.posted("general", "first", "third")
        [reason] = await live.refused("general")
        assert "byte" in reason[0]
        await live.empty()
