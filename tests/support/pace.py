"""How fast a backlog goes out, in virtual time: the work, the emulator with Discord's limits, the ideal.

The emulator keeps what was observed of Discord: a leaky bucket of 5 requests in 5 s a channel, 50 requests a
second in all; and an answer takes 120 ms. Everything runs in one loop of `tests.support.warp`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.outcome import NotSent, Sent
from tests.support import warp

BURST = 5  # requests that a channel's bucket holds
PERIOD = 1.0  # seconds until it has one more
PER_SECOND = 45  # requests in any second that the limiter plans for
LATENCY = 0.12  # seconds from a request to its answer
ROUTE = "/channels/{channel}/messages"


@dataclass(frozen=True)
class Work:
    """So many messages in each of so many channels, all there at the start, to go out in order."""

    channels: int
    each: int

    def __str__(self) -> str:
        return f"{self.channels} × {self.each}"

    @property
    def names(self) -> list[str]:
        return [f"mayor-{number}" for number in range(self.channels)]

    @property
    def texts(self) -> list[str]:
        """What a channel gets, in order."""
        return [f"message {number}" for number in range(self.each)]


#: A long backlog over many channels, one chatty channel, and many that have little to say.
WORKS = (Work(40, 50), Work(1, 100), Work(200, 3))


def ideal(work: Work, *, per_second: int = PER_SECOND) -> float:
    """Seconds after which the last message can be there at the earliest.

    A channel's bucket begins with 5 tokens and gets one a second, so its k-th message is posted k - 5 seconds
    after the start, or later. Of all requests at most 45 leave in any second (`per_second`: so many of them
    posts), so the n-th leaves (n - 1) // 45 seconds after the first. In a channel each waits for the answer
    to the one before, or the order would be luck. None of the three can be had faster, so the slowest counts;
    and the last has to travel.
    """
    bucket = max(0, work.each - BURST) * PERIOD
    everything = float((work.channels * work.each - 1) // per_second)
    one_by_one = (work.each - 1) * LATENCY
    return max(bucket, everything, one_by_one) + LATENCY


@dataclass(frozen=True)
class Pace:
    """What came of it. `refused`: 429s, `refused_most`: in one channel, `refused_late`: after a channel had
    had its first answer. `lost`: messages that are not there; `in_order`: in every channel. `given_up`: how
    often the client left it to its caller to send a message again."""

    seconds: float
    ratio: float
    refused: int
    refused_most: int
    refused_late: int
    lost: int
    in_order: bool
    given_up: int = 0


@asynccontextmanager
async def discord(work: Work) -> AsyncIterator[tuple[Emulator, Callable[[], float]]]:
    """An emulator with Discord's limits and latency and the work's channels, and the clock it goes by."""
    clock = warp.clock(time.time())
    async with Emulator(clock=clock, latency=LATENCY).serve() as emulator:
        for name in work.names:
            emulator.add_channel(name)
        yield emulator, clock


def pace(work: Work, emulator: Emulator, began: float) -> Pace:
    """Read from what the emulator saw since `began`, which is its clock's time."""
    posts = [each for each in emulator.requests() if each.method == "POST" and each.route == ROUTE]
    answered: set[str] = set()
    refused, late = Counter[str](), 0
    for each in posts:
        if each.status == 429:
            refused[each.path] += 1
            late += each.path in answered
        answered.add(each.path)
    seconds = max(each.time for each in posts) + LATENCY - began
    there = {name: _texts(emulator, name) for name in work.names}
    return Pace(
        seconds, seconds / ideal(work), refused.total(), max(refused.values(), default=0), late,
        sum(work.each - len(texts) for texts in there.values()),
        all(texts == [text for text in work.texts if text in texts] for texts in there.values()),
    )  # fmt: skip


def _texts(emulator: Emulator, name: str) -> list[str]:
    """What the bot has posted there."""
    own = str(emulator.guild.bot.id)
    return [each["content"] for each in emulator.messages(name) if each["author"]["id"] == own]


async def by_client(work: Work, *, before: Callable[[], Awaitable[None]] | None = None) -> Pace:
    """The bridge's client and limiter alone: a task a channel, as the dispatcher has it. `before` stands for
    the journal, which notes a try when its turn has come."""
    async with discord(work) as (emulator, clock):
        loop = asyncio.get_running_loop()
        async with DiscordClient(emulator.token, api_url=emulator.api_url, clock=loop.time) as client:
            began = clock()
            posting = (_post_all(client, emulator, name, work, before) for name in work.names)
            given_up = sum(await asyncio.gather(*posting))
            return replace(pace(work, emulator, began), given_up=given_up)


async def _post_all(
    client: DiscordClient,
    emulator: Emulator,
    name: str,
    work: Work,
    before: Callable[[], Awaitable[None]] | None,
) -> int:
    """How often a message had to be sent again."""
    channel, again = emulator.guild.channel(name).id, 0
    for number, text in enumerate(work.texts):
        payload = {"content": text, "nonce": f"{channel}.{number}"[-25:], "enforce_nonce": True}
        while isinstance(outcome := await client.post(channel, payload, before=before), NotSent):
            again += 1
            await asyncio.sleep(outcome.retry_after or 0.0)
        assert isinstance(outcome, Sent), outcome
    return again
