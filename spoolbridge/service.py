"""The service: the only place where everything is built, and where it ends.

Owns the spool's lock, the tasks and the signals. A task that dies ends the service, for half a
service looks alive; an expected error ends it with its sentence. SIGTERM and SIGINT let requests in
flight finish; what is not settled then lies in `sending/` and is recovered at the next start.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from spoolbridge import (
    backoff,
    bulletin,
    findings,
    first_start,
    guild,
    inbox,
    lock,
    post_office,
    prune,
    pulse,
)
from spoolbridge.access import Access, strangers
from spoolbridge.asker import Asker
from spoolbridge.attachments import PATIENCE, Attachments
from spoolbridge.channels import Watched
from spoolbridge.discord.client import DiscordClient
from spoolbridge.dispatcher import Dispatcher
from spoolbridge.errors import SettingsError, SpoolbridgeError, SpoolError
from spoolbridge.findings import Inspection
from spoolbridge.incoming import IncomingMessage
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.metrics import Metrics
from spoolbridge.parts import Parts
from spoolbridge.poller import Poller
from spoolbridge.posting import Posting
from spoolbridge.readback import Bot
from spoolbridge.receipts import Receipts
from spoolbridge.secrecy import Secrecy
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from spoolbridge.systemd import Notifier
from spoolbridge.tries import NotNowError
from spoolbridge.waiting import in_thread
from spoolbridge.watcher import Watcher

_SWEEP = 24 * 3600.0  # seconds between two sweeps of tmp/
_NEW_CHANNELS = 5.0  # seconds between two looks for them
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DISK = (*_NO_ROOM, errno.EIO, errno.EROFS)  # what a disk says; any other OSError is a bug

#: Something that shows a running service, until it is cancelled.
Face = Callable[[Parts], Coroutine[object, object, None]]

log = logging.getLogger(__name__)


async def run(
    settings: Settings,
    *,
    once: bool = False,
    ready: Callable[[Parts], None] | None = None,
    report: Callable[[IncomingMessage], None] = lambda _: None,
    face: Face | None = None,
) -> None:
    """Serve until a signal comes; with `once`, drain both ways and return. A `face` runs beside the flows.

    Raises SpoolbridgeError for what is expected to go wrong: no token, a refused token, a spool that
    another service holds, a disk that fails.
    """
    # The kernel sends it when a writer opens a file that we hold a lease on; its default ends the process.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    stop = asyncio.Event()
    last_acts: list[Callable[[], Awaitable[None]]] = []
    notifier = Notifier.of(settings.environment)
    starting = asyncio.ensure_future(pulse.starting(notifier))

    def built(parts: Parts) -> None:
        starting.cancel()
        notifier.tell(READY=1, STATUS=pulse.sentence(parts))
        last_acts.append(parts.dispatcher.finish)
        if ready:
            ready(parts)

    serving = asyncio.ensure_future(
        _serve(settings, stop, once=once, built=built, report=report, face=face)
    )
    stopping = asyncio.ensure_future(stop.wait())
    try:
        with _signals_to(stop):
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                log.info("stopping")
                notifier.tell(STOPPING=1, STATUS="stopping; what is being posted gets a few seconds")
                for act in last_acts:
                    await act()
                serving.cancel()
            await _result(serving, stopping=stop.is_set())
    finally:
        for each in (stopping, starting, serving):
            each.cancel()
        # Where somebody cancelled us: a service that nobody waits for would keep the lock.
        await asyncio.gather(serving, return_exceptions=True)


@contextmanager
def _signals_to(stop: asyncio.Event) -> Iterator[None]:
    loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _result(serving: asyncio.Future[None], *, stopping: bool) -> None:
    """The expected error behind a group of them, or the bug itself. `stopping`: a full disk, which a service
    waits for, is none."""
    try:
        with suppress(asyncio.CancelledError):
            await serving
    except BaseExceptionGroup as group:
        if stopping and group.split(_is_full)[1] is None:
            return
        expected, _ = group.split(SpoolbridgeError)
        error: BaseException = expected or group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise _told(error) from None
    except OSError as error:
        if not (stopping and _is_full(error)):
            raise _told(error) from None


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def _told(error: BaseException) -> BaseException:
    """A sentence instead of what the disk says."""
    if isinstance(error, OSError) and error.errno in _DISK:
        return SpoolError(f"the disk refuses ({error.strerror})", "mend that before you start again")
    return error


async def _serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    once: bool,
    built: Callable[[Parts], None],
    report: Callable[[IncomingMessage], None],
    face: Face | None,
) -> None:
    async with AsyncExitStack() as stack:
        parts = await _when_there_is_room(stack, settings, report, once=once)
        built(parts)
        if once:
            await parts.post.collect()
            await parts.dispatcher.drain()
            await parts.poller.cycle()
            await parts.asker.look()
            if parts.receipts:
                await parts.receipts.once()
            await parts.post.send()
            return
        flows: Sequence[Coroutine[object, object, None]] = [
            parts.dispatcher.run(),
            parts.poller.run(stop),
            parts.inspection.run(parts.poller),
            parts.asker.run(),
            bulletin.keep(parts),
            pulse.keep(Notifier.of(settings.environment), parts),
            _keep_house(parts),
            prune.daily(parts.spool, parts.settings.retention, parts.journal),
            *parts.post.flows(),
            *([parts.receipts.run()] if parts.receipts else []),
            *([face(parts)] if face else []),
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                for flow in flows:
                    tasks.create_task(flow)
        finally:
            with suppress(OSError):
                bulletin.last(parts)


async def _when_there_is_room(
    stack: AsyncExitStack, settings: Settings, report: Callable[[IncomingMessage], None], *, once: bool
) -> Parts:
    """Everything built. A start has things to finish, and a full disk is waited for like a silent Discord."""
    began = time.monotonic()
    while True:
        try:
            return await stack.enter_async_context(_built(settings, report, once=once))
        except OSError as error:
            if once or error.errno not in _NO_ROOM:
                raise
            seconds = backoff.delay(time.monotonic() - began)
            log.error("the disk refuses (%s); trying again in %.0f s", error.strerror, seconds)
            await asyncio.sleep(seconds)


@asynccontextmanager
async def _built(
    settings: Settings, report: Callable[[IncomingMessage], None], *, once: bool
) -> AsyncIterator[Parts]:
    if not settings.token:
        raise SettingsError("no bot token", "spoolbridge init asks for it; without one: spoolbridge demo")
    async with AsyncExitStack() as stack:
        spool = Spool.create(settings.spool)
        stack.callback(spool.close)
        stack.enter_context(lock.holding(spool))
        state = stack.enter_context(spool.at("state"))
        since = first_start.mark(state, spool.root / "state")
        registry = Watched(settings.channels)
        for address in registry().addresses:
            spool.add_channel(address)
        journal = Journal(state)
        stack.callback(journal.close)
        if journal.torn:
            log.warning("journal: a torn last line of %d bytes was cut and kept aside", len(journal.torn))
        metrics = Metrics(registry.known)
        discord = DiscordClient(settings.token, api_url=settings.api_url, heard=metrics.asked)
        client = await stack.enter_async_context(discord)
        log.info("spool %s held by process %s", spool.root, lock.holder(spool))
        bot = Bot(*await guild.identify(client, settings))
        posting = Posting(
            journal, client, bot,
            quote=functools.partial(inbox.quoted, spool), max_upload=settings.max_upload,
            secrecy=Secrecy(journal, settings.token, holding=settings.holds_secrets),
            sleep=_do_not_wait if once else asyncio.sleep, answered=metrics.answered,
        )  # fmt: skip
        intake = Intake(spool, refused=_counting(metrics))
        dispatcher = Dispatcher(intake, posting, registry, metrics=metrics)
        watcher = Watcher(spool.root, dispatcher.ring, knock=dispatcher.knock)
        await in_thread(watcher.start)
        stack.callback(watcher.stop)
        post = post_office.opened(settings, spool, registry, stack)
        downloads = Attachments.by(settings, spool.fd, client, patience=None if once else PATIENCE)
        member = functools.partial(client.member, bot.guild_id)
        access = Access(bot.id, settings.access, member=member, guild_id=bot.guild_id)
        for title in strangers(settings.access, registry().channels, settings.poll):
            log.warning("%s names no channel that is read", title)
        receipts = Receipts(spool, client, post.deliveries[:2]) if settings.receipts else None
        inspection = Inspection(
            functools.partial(
                findings.ask, client, registry, settings.poll,
                guild_id=bot.guild_id, own_id=bot.id, access=settings.access,
            )
        )  # fmt: skip
        asker = Asker(spool, client, access, registry, guild_id=bot.guild_id)
        poller = Poller(
            client, registry, post.deliveries, attachments=await stack.enter_async_context(downloads),
            globs=settings.poll, interval=settings.poll_interval, guild_id=bot.guild_id, own_id=bot.id,
            first_start=since, access=access, receipts=receipts, report=_counted(metrics, report),
            alarm=inspection.alarm,
        )  # fmt: skip
        yield Parts(
            settings, spool, registry, client, bot, journal, posting, dispatcher, access, receipts, asker,
            poller, watcher, post, inspection, metrics, time.time(),
        )  # fmt: skip


def _counting(metrics: Metrics) -> Callable[[str], None]:
    """The intake looks in a thread of its own, and the counts belong to the loop."""
    loop = asyncio.get_running_loop()

    def refused(channel: str) -> None:
        loop.call_soon_threadsafe(metrics.failed, channel, "unfit")

    return refused


def _counted(
    metrics: Metrics, report: Callable[[IncomingMessage], None]
) -> Callable[[IncomingMessage], None]:
    def filed(message: IncomingMessage) -> None:
        metrics.filed(message.channel.address)
        report(message)

    return filed


async def _do_not_wait(seconds: float) -> None:
    raise NotNowError


async def _keep_house(parts: Parts) -> None:
    """Drop boxes for new channels soon after the file names them; once a day a sweep of `tmp/`."""
    swept, known = -_SWEEP, parts.registry()
    while True:
        if parts.registry() is not known:
            known = parts.registry()
            for address in known.addresses:
                with suppress(OSError):  # a full disk is the dispatcher's to tell
                    await in_thread(parts.spool.add_channel, address)
        if time.monotonic() - swept > _SWEEP:
            swept = time.monotonic()
            await in_thread(parts.spool.sweep)
        await asyncio.sleep(_NEW_CHANNELS)
