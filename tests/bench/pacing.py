"""How fast a backlog goes out under Discord's limits: spoolbridge's client and limiter, and discord.py's.

Both post the same messages, a task a channel and each after the answer to the one before, to an emulator
with the limits of `tests.support.pace`, in virtual time. What a client gives up after so many 429s is sent
again at once, so that the same messages are there in the end.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from spoolbridge.emulator import Emulator
from tests.bench.table import Table
from tests.support import warp
from tests.support.pace import LATENCY, PER_SECOND, WORKS, Pace, Work, by_client, discord, ideal, pace

with warnings.catch_warnings():
    # Its voice side, which is not used here, imports a module that Python 3.13 drops.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord as discord_py

#: Times that one message is sent again; more are a ban, after which nothing would go at all.
MOST_AGAIN = 50

HEAD = ["messages", "client", "ideal s", "took s", "ratio", "429s", "in one", "given up", "lost", "order"]
NOTE = f"""\
Messages: channels × so many in each. Limits: 5 in 5 s a channel (leaky), 50 a second in all; an answer
takes {LATENCY * 1000:.0f} ms; virtual time. The ideal plans with {PER_SECOND} a second, some use more.
429s: all, and the most in one channel; at 10,000 in ten minutes Discord bans an address. Given up: how
often the client left it to its caller to send a message again."""


async def by_discord_py(work: Work) -> Pace:
    """discord.py's client, which makes its own way through the limits."""
    async with discord(work) as (emulator, clock):
        with patch.object(discord_py.http.Route, "BASE", emulator.api_url):
            async with discord_py.Client(intents=discord_py.Intents.none()) as client:
                await client.login(emulator.token)
                began = clock()
                posting = (_post_all(client, emulator, name, work) for name in work.names)
                given_up = sum(await asyncio.gather(*posting))
                return replace(pace(work, emulator, began), given_up=given_up)


async def _post_all(client: discord_py.Client, emulator: Emulator, name: str, work: Work) -> int:
    """How often a message had to be sent again."""
    channel, again = client.get_partial_messageable(emulator.guild.channel(name).id), 0
    for text in work.texts:
        for _ in range(MOST_AGAIN):
            try:
                await channel.send(text)
                break
            except discord_py.HTTPException as error:
                if error.status != 429:
                    raise
                again += 1
    return again


CLIENTS: tuple[tuple[str, Callable[[Work], Coroutine[Any, Any, Pace]]], ...] = (
    ("spoolbridge", by_client),
    (f"discord.py {discord_py.__version__}", by_discord_py),
)


def measure(scale: float = 1.0) -> Table:
    """Every work by every client. `scale` shortens the backlog of each channel."""
    # A warning a 429: they are counted here, by the hundred.
    logging.getLogger("discord.http").setLevel(logging.ERROR)
    works = [replace(work, each=max(1, round(work.each * scale))) for work in WORKS]
    rows = [_row(work, name, warp.run(client(work))) for work in works for name, client in CLIENTS]
    return Table("Pacing", HEAD, rows, NOTE)


def _row(work: Work, client: str, came: Pace) -> tuple[str, ...]:
    return (
        str(work), client, f"{ideal(work):.2f}", f"{came.seconds:.2f}", f"{came.ratio:.3f}",
        str(came.refused), str(came.refused_most), str(came.given_up), str(came.lost),
        "kept" if came.in_order else "broken",
    )  # fmt: skip
