"""Waiting for what another process or thread does, where there is no event to wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK = 0.005  # seconds between two looks


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return once `condition()` is true. Raises TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {seconds} s: {condition}")
        time.sleep(LOOK)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """As `wait_until`, while the loop goes on."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError(f"not true within {seconds} s: {condition}")
        await asyncio.sleep(LOOK)
