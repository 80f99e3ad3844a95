"""Outbound: wake, scan, claim, post, settle.

Owns which channels are worked on. Promises one message in flight a channel, in order, and that no
channel waits for another. A wake-up is cleared before the scan, and the scan runs on a timer anyway.
Knows neither the poller nor where a wake-up comes from.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from spoolbridge import backoff, clerk
from spoolbridge.channels import Registry
from spoolbridge.claim import Claim, one_line
from spoolbridge.clerk import Clerk, Taken
from spoolbridge.errors import MessageError, SpoolError, TokenRefusedError, UnknownChannelError
from spoolbridge.intake import Intake
from spoolbridge.metrics import Kind, Metrics
from spoolbridge.outcome import Closed, Refused, Sent
from spoolbridge.outgoing import OutgoingMessage
from spoolbridge.posting import Outcome, Posting, Reused
from spoolbridge.secrecy import Withheld
from spoolbridge.tries import Cancelled, NotNowError
from spoolbridge.waiting import in_thread

RESCAN = 2.0  # seconds; what no event told of is found within them
LEASE_WAIT = 30.0  # seconds for which a writer may keep a claimed file open
_LEASE_LOOK = 0.05  # seconds between two looks at it
_FINISH = 5.0  # seconds that what is being posted gets when the service stops

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parked:
    """A channel that Discord closed to the bot. Times in unix seconds."""

    since: float
    until: float
    reason: str


class Dispatcher:
    """Posts what is dropped. `ring` may be called from any thread of the loop's process."""

    def __init__(
        self, intake: Intake, posting: Posting, registry: Callable[[], Registry], *,
        clock: Callable[[], float] = time.time, rescan: float = RESCAN, metrics: Metrics | None = None,
    ) -> None:  # fmt: skip
        self._intake = intake
        self._clerk = Clerk(intake)
        self._posting = posting
        self._registry = registry
        self._clock = clock
        self._rescan = rescan
        self._metrics = metrics or Metrics(clock=clock)
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks: asyncio.TaskGroup | None = None
        self._active: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, asyncio.TimerHandle] = {}
        #: channel → claims that are not settled: of a former service, or left when the disk refused.
        self._claims: dict[str, list[Claim]] = {}
        #: channel → what was taken when the entry before it was settled.
        self._taken: dict[str, Taken] = {}
        self._finishing = False
        #: Channels whose entry waits for another start (`NotNowError`).
        self._deferred: set[str] = set()
        #: channel → why it is closed to the bot, and when it is tried again.
        self.parked: dict[str, Parked] = {}
        #: channel → what the disk refused, in words.
        self.disk: dict[str, str] = {}
        self.last_sent: dict[str, float] = {}
        #: The loop's time of the last look that came to its end.
        self.looked_at = self._loop.time()

    def ring(self) -> None:
        """Something may have been dropped: look again."""
        with suppress(RuntimeError):  # the loop is closed; nobody is left to look
            self._loop.call_soon_threadsafe(self._rung)

    def knock(self, channel: str) -> None:
        """Something may have been dropped there: as `ring`, without a look at all the others."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._knocked, channel)

    def _rung(self) -> None:
        self._clerk.told()
        self._wake.set()

    def _knocked(self, channel: str) -> None:
        self._clerk.told(channel)
        if self._is_busy(channel):
            return  # it looks once more before it ends
        if self._tasks is None or self._claims.get(channel):  # whose channel may be held by now
            self._wake.set()
        elif self._open(channel) and not channel.startswith("."):
            self._start(self._tasks, channel)

    async def run(self) -> None:
        """Dispatch until cancelled; `finish` first lets what is under way be settled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._recover()
                self._tasks = tasks
                while True:
                    self._wake.clear()
                    await self._scan(tasks)
                    await self._woken(self._rescan)
        finally:
            self._tasks = None
            self._clerk.close()
            for timer in self._again.values():
                timer.cancel()

    async def drain(self) -> None:
        """Dispatch until nothing is left that could go out now, then return."""
        try:
            async with asyncio.TaskGroup() as tasks:
                await self._recover()
                while True:
                    self._wake.clear()
                    await self._scan(tasks)
                    if self._active:
                        await asyncio.wait(self._active.values())
                    if self._ready_soon():
                        await self._woken(RESCAN)
                    elif not self._wake.is_set():
                        return
        finally:
            self._clerk.close()

    def _ready_soon(self) -> bool:
        """Whether something is still being written; for room on the disk nobody waits here."""
        soon = self._loop.time() + RESCAN
        return any(timer.when() <= soon for name, timer in self._again.items() if name not in self.disk)

    async def finish(self) -> None:
        """Claim nothing more, and let what is being posted be settled: a few seconds at most."""
        self._finishing = True
        busy = [task for channel, task in self._active.items() if channel not in self._posting.waiting]
        if busy:
            await asyncio.wait(busy, timeout=_FINISH)

    async def _woken(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _recover(self) -> None:
        for claim in await in_thread(lambda: list(self._intake.recover())):
            self._claims.setdefault(claim.channel, []).append(claim)
            log.info("%s recovered", claim)

    async def _scan(self, tasks: asyncio.TaskGroup) -> None:
        try:
            look = await in_thread(self._intake.look)
        except FileNotFoundError:
            raise SpoolError("outgoing/ was removed while the service ran", "start it again") from None
        if look.strays:
            known = ", ".join(self._registry().addresses[:5]) or "none yet"
            hint = f"name a channel: outgoing/<channel>/<name>; there are {known}"
            await in_thread(self._intake.refuse_strays, look.strays, hint)
        self._metrics.looked()
        unsettled = {channel for channel, claims in self._claims.items() if claims}
        waiting = {channel for channel, some in look.waiting.items() if some}
        for channel in self.disk.keys() - waiting - unsettled:
            del self.disk[channel]
        for channel in (waiting | unsettled) - look.held:
            if self._open(channel) and not self._is_busy(channel):
                self._start(tasks, channel)
        self.looked_at = self._loop.time()

    def _open(self, channel: str) -> bool:
        parked = self.parked.get(channel)
        if self._finishing or channel in self._deferred:
            return False
        return parked is None or self._clock() >= parked.until

    def _is_busy(self, channel: str) -> bool:
        task = self._active.get(channel)
        return task is not None and not task.done()

    def _start(self, tasks: asyncio.TaskGroup, channel: str) -> None:
        if timer := self._again.pop(channel, None):
            timer.cancel()
        task = self._active[channel] = tasks.create_task(self._work(channel), name=f"channel {channel}")
        task.add_done_callback(lambda ended: self._ended(channel, ended))

    def _ended(self, channel: str, task: asyncio.Task[None]) -> None:
        if self._active.get(channel) is task:
            del self._active[channel]

    async def _work(self, channel: str) -> None:
        """Everything that is ready in one channel, one after another."""
        claims = self._claims.setdefault(channel, [])
        taken: Taken | None = None
        try:
            while True:
                if not claims:
                    taken = await self._next(channel)
                    if isinstance(found := taken.found, Claim):
                        claims.append(found)
                    elif taken.error:
                        raise taken.error
                    elif self._finishing or taken.times == self._clerk.times_told(channel):
                        break
                    else:
                        continue  # what was dropped meanwhile may have come just behind that look
                carried, taken = await self._carry(claims[0], taken), None
                del claims[0]
                self.disk.pop(channel, None)
                if not carried or self._finishing:
                    return
            self.disk.pop(channel, None)
            if found is not None:
                self._look_again(channel, found)
        except NotNowError:
            self._deferred.add(channel)
        except OSError as error:
            self._disk_refused(channel, error)

    async def _next(self, channel: str) -> Taken:
        taken = self._taken.pop(channel, None)
        return taken if taken is not None else await self._clerk.take(channel)

    def _look_again(self, channel: str, seconds: float) -> None:
        def look() -> None:
            self._again.pop(channel, None)
            self._knocked(channel)

        self._again[channel] = self._loop.call_later(seconds, look)

    def _disk_refused(self, channel: str, error: OSError) -> None:
        """Nothing was posted without its `try`. Room may come back; after EIO nothing can be believed."""
        if error.errno == errno.EIO:
            hint = "check it before you start again"
            raise SpoolError(f"the disk fails ({error.strerror})", hint) from error
        if channel not in self.disk:
            log.error("%s waits: the disk refuses (%s)", one_line(channel), error.strerror or error)
        self.disk[channel] = error.strerror or str(error)
        self._look_again(channel, self._rescan)

    async def _carry(self, claim: Claim, taken: Taken | None) -> bool:
        """One claimed entry to its settlement, whatever happens. False: the channel has to wait."""
        try:
            return await self._post(claim, taken)
        except (OSError, TokenRefusedError, NotNowError):
            raise
        except Exception as error:
            log.error("%s failed by a bug: %s", claim, _where(error))
            what = f"the bridge itself failed ({type(error).__name__})"
            await self._fail(claim, "bug", what, "see its log")
            return True

    async def _post(self, claim: Claim, taken: Taken | None) -> bool:
        try:
            message = await self._read(claim, taken)
            if message is None:
                await in_thread(claim.release)
                log.warning("%s released: somebody keeps it open for writing", claim)
                return False
            channel = self._registry().resolve(claim.channel)
        except FileNotFoundError:
            log.info("%s cancelled: it was taken out of sending/", claim)
            return True
        except UnknownChannelError as error:
            choice = error.choices[0] if error.choices else "CHANNEL"
            await self._fail(claim, "no_channel", error.what, error.hint, to=choice)
            return True
        except MessageError as error:
            await self._fail(claim, "unreadable", error.what, error.hint)
            return True
        return await self._settle(claim, await self._posting.post(claim, channel.id, message))

    async def _read(self, claim: Claim, taken: Taken | None) -> OutgoingMessage | None:
        """The message, once its writer has closed it; None: 30 s were not enough."""
        if taken and taken.error:
            raise taken.error
        if taken and taken.message is not None:
            return taken.message
        for _ in range(int(LEASE_WAIT / _LEASE_LOOK)):
            message = await in_thread(clerk.read, claim)
            if message is not None:
                return message
            await asyncio.sleep(_LEASE_LOOK)
        return None

    async def _settle(self, claim: Claim, outcome: Outcome) -> bool:
        try:
            if isinstance(outcome, Sent):
                take = len(self._claims[claim.channel]) == 1 and not self._finishing
                if taken := await self._clerk.settle(claim, take=take):
                    self._taken[claim.channel] = taken
                log.info("%s sent as %d", claim, outcome.message_id)
                self.last_sent[claim.channel] = self._clock()
                self._metrics.sent(claim.channel, claim.settled)
                self.parked.pop(claim.channel, None)
            elif isinstance(outcome, Refused):
                kind: Kind = "refused" if outcome.status or outcome.code else "given_up"
                await self._fail(claim, kind, outcome.reason)
            elif isinstance(outcome, Withheld):
                await self._fail(claim, "withheld", outcome.reason, outcome.hint)
                with suppress(OSError):  # without the note the next retry is held back as well
                    await in_thread(self._posting.secrecy.note, claim, outcome)
            elif isinstance(outcome, Reused):
                reason = "this ID belongs to another message, which was sent before or may have been"
                await self._fail(claim, "reused", reason, "drop it under a plain name", fresh=True)
            elif isinstance(outcome, Cancelled):
                log.info("%s cancelled: it was taken out of sending/", claim)
            elif isinstance(outcome, Closed):
                await in_thread(claim.release)
                self._park(claim, outcome)
                return False
        except FileNotFoundError:
            log.warning("%s settled, but it was taken out of sending/", claim)
        return True

    async def _fail(
        self, claim: Claim, kind: Kind, reason: str, hint: str = "", *,
        to: str | None = None, fresh: bool = False,
    ) -> None:  # fmt: skip
        place = await in_thread(claim.failed, reason, hint=hint, to=to, fresh=fresh)
        self._metrics.failed(claim.channel, kind)
        log.warning("%s failed: %s", one_line(place.removeprefix("failed/")), one_line(reason))

    def _park(self, claim: Claim, outcome: Closed) -> None:
        now = self._clock()
        before = self.parked.get(claim.channel)
        since = before.since if before else now
        until = now + backoff.delay(now - since)
        self.parked[claim.channel] = Parked(since, until, outcome.reason)
        log.warning("%s released, the channel parked for %.0f s: %s", claim, until - now, outcome.reason)


def _where(error: Exception) -> str:
    """The error's kind and the lines it came through: what a report needs, without the error's own text."""
    lines = traceback.extract_tb(error.__traceback__)
    return " > ".join([*(f"{each.name}:{each.lineno}" for each in lines), type(error).__name__])
