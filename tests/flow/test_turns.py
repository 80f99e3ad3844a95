"""How often a message on its way waits for a thread, and what is done where the joined steps part."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from spoolbridge.moves import Moves
from tests.support.live import living

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
