"""A backlog goes out as fast as Discord's limits let it, in order, and earns no 429: in virtual time.

The works as they are promised (`pace.WORKS`) are done by client and limiter alone: through the whole outbound
half two thousand messages are ten thousand fsyncs. With works of a few hundred the dispatcher shows that
nothing above the limiter costs pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.discord.client import DiscordClient
from spoolbridge.discord.ratelimit import READS_AT_LEAST
from spoolbridge.dispatcher import Dispatcher
from spoolbridge.emulator import Emulator
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.poller import Poller
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.spool import Spool
from tests.support import warp
from tests.support.pace import (
    BURST,
    LATENCY,
    PER_SECOND,
    PERIOD,
    ROUTE,
    WORKS,
    Pace,
    Work,
    by_client,
    discord,
    ideal,
    pace,
)

#: What "as fast as the limits let it" means.
CLOSE = 1.05

Clock = Callable[[], float]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return warp.WARPED


class Outbound:
    """The whole outbound half over a spool, beside a client that others may use too."""

    def __init__(self, emulator: Emulator, spool: Spool, journal: Journal, client: DiscordClient) -> None:
        self.emulator, self.spool, self.journal, self.client = emulator, spool, journal, client

    def registry(self) -> Registry:
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    def drop(self, work: Work) -> None:
        """A channel's texts in their order."""
        for text in work.texts:
            for name in work.names:
                self.spool.drop(name, text.encode())

    def dispatcher(self, clock: Clock) -> Dispatcher:
        bot = Bot(self.emulator.guild.bot.id, self.emulator.guild.id)
        posting = Posting(self.journal, self.client, bot, clock=clock)
        return Dispatcher(Intake(self.spool, clock=clock), posting, self.registry, clock=clock)


@asynccontextmanager
async def outbound(work: Work, root: Path) -> AsyncIterator[tuple[Outbound, Clock]]:
    """Everything dropped, nothing begun."""
    async with AsyncExitStack() as stack:
        emulator, clock = await stack.enter_async_context(discord(work))
        spool = Spool.create(root, clock=clock)
        stack.callback(spool.close)
        for name in work.names:
            spool.add_channel(name)
        journal = Journal(stack.enter_context(spool.at("state")), clock=clock)
        stack.callback(journal.close)
        seconds = asyncio.get_running_loop().time
        client = DiscordClient(emulator.token, api_url=emulator.api_url, clock=seconds)
        made = Outbound(emulator, spool, journal, await stack.enter_async_context(client))
        made.drop(work)
        yield made, clock


async def by_dispatcher(work: Work, root: Path) -> Pace:
    """The work, from the dropped files to the last answer."""
    async with outbound(work, root) as (made, clock):
        began = clock()
        await made.dispatcher(clock).drain()
        return pace(work, made.emulator, began)


@asynccontextmanager
async def polling(made: Outbound, clock: Clock, inbox: Path) -> AsyncIterator[None]:
    """The poller at work on every channel, often, with the client that the dispatcher has."""
    cursors = Cursors(made.spool.fd)
    stop = asyncio.Event()
    poller = Poller(
        made.client, made.registry, [IncomingFile(made.spool.fd, cursors), InboxFile(inbox, cursors)],
        globs=["mayor-*"], guild_id=made.emulator.guild.id, own_id=made.emulator.guild.bot.id,
        first_start=clock(), interval=0.5, clock=asyncio.get_running_loop().time,
    )  # fmt: skip
    running = asyncio.ensure_future(poller.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running
        cursors.close()


def incoming(spool: Spool, channel: str) -> list[str]:
    """The texts that a channel's Maildir has."""
    place = spool.root / "incoming" / channel / "new"
    return [each.read_text("utf-8").partition("\n\n")[2].rstrip("\n") for each in sorted(place.iterdir())]


# -- the ideal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (Work(1, 1), 0.0),  # the way there
        (Work(1, 5), 0.48),  # one after another
        (Work(1, 6), 1.0),  # the first token that comes back
        (Work(45, 1), 0.0),  # all in one second
        (Work(46, 1), 1.0),  # one too many for it
        (Work(40, 50), 45.0),
        (Work(1, 100), 95.0),
        (Work(200, 3), 13.0),
    ],
)
def test_the_ideal(work: Work, seconds: float) -> None:
    """What the rest is measured by is what the limits say, worked out by hand."""
    assert pytest.approx(seconds + LATENCY) == ideal(work)


# -- the backlog -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", WORKS, ids=str)
async def test_the_limiter_reaches_the_ideal(work: Work) -> None:
    """Client and limiter post as fast as the limits let them, in order, without one 429."""
    assert_close(await by_client(work))


@pytest.mark.parametrize("work", [Work(40, 6), Work(1, 40), Work(60, 3)], ids=str)
async def test_the_dispatcher_reaches_it_too(tmp_path: Path, work: Work) -> None:
    """Files, claims and journal in between cost work, but no waiting."""
    assert_close(await by_dispatcher(work, tmp_path / "spool"))


async def test_a_disk_that_hangs_earns_no_429() -> None:
    """The journal notes each try when its turn has come. What a slow disk kept back and lets go at once does
    not meet the next second's requests."""
    work, disk, hangs = Work(200, 1), asyncio.Lock(), iter([1.5])

    async def journal() -> None:
        async with disk:
            await asyncio.sleep(next(hangs, 0.002))

    came = await by_client(work, before=journal)
    assert (0, 0, True) == (came.refused, came.lost, came.in_order)
    assert came.seconds <= CLOSE * (ideal(work) + 1.5)


async def test_posts_and_polls_share_the_limits(tmp_path: Path) -> None:
    """With every channel polled and people answering, posts keep at least 40 requests of each second, what
    is answered becomes a file within seconds, and neither earns a 429."""
    work = Work(40, 6)
    async with outbound(work, tmp_path / "spool") as (made, clock):
        async with polling(made, clock, tmp_path / "inbox.jsonl"):
            await asyncio.sleep(5)  # every channel has its beginning
            began = clock()
            dispatching = asyncio.ensure_future(made.dispatcher(clock).drain())
            await asyncio.sleep(1)
            for name in work.names:
                made.emulator.say(name, "a human")
            await dispatching
            came = pace(work, made.emulator, began)
            while ["a human"] * 40 != [text for name in work.names for text in incoming(made.spool, name)]:
                assert clock() - began < 15, "reads are silenced by posts"
                await asyncio.sleep(0.1)
        requests = [each for each in made.emulator.requests() if each.time >= began]
    assert came.seconds <= CLOSE * ideal(work, per_second=PER_SECOND - READS_AT_LEAST)
    assert (0, True) == (came.lost, came.in_order)
    assert {200} == {each.status for each in requests}
    reads = sum(each.method == "GET" and each.time < began + came.seconds for each in requests)
    assert reads >= READS_AT_LEAST * int(came.seconds - 1), "nothing was read beside the posts"


async def test_a_bucket_that_was_used_before_costs_one_429(tmp_path: Path) -> None:
    """A service that starts anew knows no bucket: it learns each by one refusal at most, which counts as no
    try, and nothing is out of order or late for it."""
    work = Work(4, 10)
    async with outbound(work, tmp_path / "spool") as (made, clock):
        for name in work.names:
            for _ in range(BURST):
                made.emulator.limits.take("POST", ROUTE, str(made.emulator.guild.channel(name).id), clock())
        began = clock()
        await made.dispatcher(clock).drain()
        came = pace(work, made.emulator, began)
    assert (4, 1, 0) == (came.refused, came.refused_most, came.refused_late)
    assert (0, True) == (came.lost, came.in_order)
    # One token is back at once after a second and a latency; the rest as ever.
    assert came.seconds <= CLOSE * (work.each * PERIOD + 2 * LATENCY)


def assert_close(came: Pace) -> None:
    assert came.ratio <= CLOSE
    assert (0, 0, True) == (came.refused, came.lost, came.in_order)
