"""The mail delivery of a Gas Town: every message becomes one `gt mail send`, as soon as that works.

To deliver is only to write a file in `state/mail/`, for gt takes seconds and may be down. `work`
sends the files one at a time, the oldest of those that are due first. Before gt starts, the try is
marked on disk. A try whose end is not known (a time-out, a crash) is looked up in the recipient's
inbox, by the mail's last line, before it is made again; where an agent has archived the mail by then
it comes twice, and `possibly_twice` counts that.

Only a mail that its cursor covers is sent: after a crash between the file and the cursor the message
is delivered again, and a mail sent in between would have come twice. A mail that tells of a failed entry
(`owe`) has no cursor; that it was sent is remembered by its file instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from spoolbridge import backoff
from spoolbridge.channels import Channel
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.gt import TIME_OUT, Answer, Gt, Verdict
from spoolbridge.incoming import IncomingMessage
from spoolbridge.mail import MAYOR, Mail, address_of, checked_routes, compose
from spoolbridge.mail_files import MailFiles
from spoolbridge.waiting import in_thread, pause

UNKNOWN_WAIT = 60.0  # seconds until a mail whose gt was killed is sure to be in the inbox, or not to come
UNCONFIGURED_WAIT = 300.0  # seconds between looks for a gt or a town that was not there
LONGEST_AGE = 24 * 3600.0  # seconds; an older message would only puzzle the agent
LONGEST_REST = 300.0  # seconds between looks at the directory when nothing is due

_log = logging.getLogger(__name__)


class GtMail(Delivery):
    """Delivers by gt's mail. `work` must run for anything to be sent; the counters are for STATUS."""

    name = "mail"

    def __init__(
        self,
        spool_fd: int,
        cursors: Cursors,
        *,
        town: Path,
        environment: Mapping[str, str],
        routes: Mapping[str, str] | None = None, default: str = MAYOR,
        gt: str = "gt", spool: str = "spool", replies: bool = False, time_out: float = TIME_OUT,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        super().__init__(cursors)
        #: The town's one gt: whoever else needs it waits for its turn there.
        self.gt = Gt(town, environment=environment, program=gt, time_out=time_out, sleep=sleep)
        self._files = MailFiles(spool_fd)
        self._routes, self._default = checked_routes(routes or {}), default
        self._spool, self._replies = spool, replies
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._due: dict[str, float] = {}
        self._failing: dict[str, float] = {}  # since when
        self._paused_until = 0.0
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Mails that were sent again although an earlier try may have arrived, since the start.
        self.possibly_twice = 0
        #: What went wrong last, in a sentence; empty after a success.
        self.last_error = ""
        #: The clock's time of the last mail that arrived.
        self.last_success: float | None = None

    def close(self) -> None:
        self._files.close()

    @property
    def pending(self) -> int:
        """How many mails wait."""
        return len(self._files.waiting())

    @property
    def given_up(self) -> int:
        """How many mails will not be sent; their files are kept in state/mail/."""
        return self._files.given_up()

    def recover(self) -> None:
        super().recover()
        for key, tried in self._files.waiting():
            if tried:  # its gt may be running still
                self._due[key] = self._clock() + UNKNOWN_WAIT

    def deliver(self, channel: Channel, messages: Sequence[IncomingMessage], *, upto: int = 0) -> int:
        new = super().deliver(channel, messages, upto=upto)
        if new:
            self._ring()
        return new

    def owe(self, mail: Mail) -> bool:
        """Send this one as well, which tells of an entry; False: that has been done, or is about to be.

        Durable on return. May be called from any thread.
        """
        new = self._files.put(mail)
        if new:
            self._ring()
        return new

    def told(self) -> list[str]:
        """The IDs of the entries that a mail has told of."""
        return self._files.told()

    def forget(self, entry_id: str) -> None:
        """The entry is gone: it cannot fail again."""
        self._files.forget(entry_id)

    def _ring(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: the next start finds the files
                self._loop.call_soon_threadsafe(self._wake.set)

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        for message in messages:
            to = address_of(message.channel, self._routes)
            if to is not None:
                now, spool, replies = self._clock(), self._spool, self._replies
                self._files.put(
                    compose(message, to, polled_id=channel.id, now=now, spool=spool, replies=replies)
                )

    async def work(self, stop: asyncio.Event | None = None) -> None:
        """Send what is delivered, until `stop` or cancellation, which leaves a try as unknown."""
        stop = stop or asyncio.Event()
        self._loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._wake.clear()  # before the look: what is delivered during it rings again
            rest = LONGEST_REST
            try:
                await self.send_due()
                rest = await in_thread(self._until_due)
            except (OSError, SpoolbridgeError) as error:
                self._problem(f"state/mail cannot be worked with: {error}")
                rest = UNKNOWN_WAIT
            await pause(rest, self._wake, stop, sleep=self._sleep)

    async def send_due(self) -> None:
        """Send every mail whose time has come, one after another."""
        while (found := await in_thread(self._next)) is not None:
            mail, tried = found
            if tried and not await self._look_up(mail):
                continue
            await self._try(mail, tried=tried)

    def _next(self) -> tuple[Mail, bool] | None:
        now = self._clock()
        if now < self._paused_until:
            return None
        for key, tried in self._files.waiting():
            if self._due.get(key, 0.0) > now:
                continue
            try:
                mail = self._files.load(key, tried=tried)
            except ValueError as error:
                self._give_up(key, f"its file cannot be read ({error})", tried=tried)
                continue
            if mail.entry or self._cursors(mail.polled_id, self.name).seen(mail.message_id):
                return mail, tried
        return None

    def _until_due(self) -> float:
        now = self._clock()
        dues = [self._due.get(key, now + LONGEST_REST) for key, _ in self._files.waiting()]
        return max(min([*dues, now + LONGEST_REST]), self._paused_until, now) - now

    async def _look_up(self, mail: Mail) -> bool:
        """Whether a mail that was tried must be sent again; settles it where it has arrived."""
        arrived = await self.gt.arrived(mail.to, mail.marker)
        if arrived is None:
            await self._later(mail, f"the inbox of {mail.to} cannot be read", tried=True)
            return False
        if arrived:
            await self._done(mail, Answer(Verdict.DONE))
        elif self._too_old(mail):
            reason = "gt did not end in time, again and again"
            await in_thread(self._give_up, mail.key, reason, tried=True)
        else:
            return True
        return False

    async def _try(self, mail: Mail, *, tried: bool) -> None:
        # Until the outcome is written down it is unknown, whatever happens in between.
        self._due[mail.key] = self._clock() + UNKNOWN_WAIT
        if tried:
            self.possibly_twice += 1
        else:
            await in_thread(self._files.mark_tried, mail.key)
        await self._settle(mail, await self.gt.send(mail))

    async def _settle(self, mail: Mail, answer: Answer) -> None:
        match answer.verdict:
            case Verdict.DONE:
                await self._done(mail, answer)
            case Verdict.UNKNOWN:
                self._problem(f"{mail.channel}/{mail.key}: {answer.reason}")
                self._due[mail.key] = self._clock() + UNKNOWN_WAIT
            case Verdict.UNCONFIGURED:
                self._problem(answer.reason)
                self._paused_until = self._clock() + UNCONFIGURED_WAIT
                self._due.pop(mail.key, None)
                await in_thread(self._files.wait_again, mail.key)
            case Verdict.REFUSED:
                await self._refused(mail, answer.reason)
            case Verdict.FAILED:
                await in_thread(self._files.wait_again, mail.key)
                await self._later(mail, answer.reason, tried=False)

    async def _done(self, mail: Mail, answer: Answer) -> None:
        await in_thread(self._files.arrived, mail)
        self._forget(mail.key)
        self.last_success = self._clock()
        self.last_error = answer.reason
        _log.info("%s/%s mailed to %s", mail.channel, mail.key, mail.to)

    async def _refused(self, mail: Mail, reason: str) -> None:
        self._due.pop(mail.key, None)
        if mail.readdressed or mail.to == self._default:
            await in_thread(self._give_up, mail.key, reason, tried=True)
            return
        self._problem(f"{mail.to} was refused ({reason}); {self._default} gets its mail")
        await in_thread(self._files.readdress, mail, self._default)

    async def _later(self, mail: Mail, reason: str, *, tried: bool) -> None:
        now = self._clock()
        if self._too_old(mail):
            await in_thread(self._give_up, mail.key, reason, tried=tried)
            return
        age = now - self._failing.setdefault(mail.key, now)
        self._due[mail.key] = now + backoff.delay(age, jitter=self._jitter)
        self._problem(f"{mail.channel}/{mail.key} waits: {reason}")

    def _too_old(self, mail: Mail) -> bool:
        return self._clock() - mail.since > LONGEST_AGE

    def _give_up(self, key: str, reason: str, *, tried: bool) -> None:
        self._files.give_up(key, tried=tried)
        self._forget(key)
        self._problem(f"mail {key} given up: {reason}")

    def _forget(self, key: str) -> None:
        self._due.pop(key, None)
        self._failing.pop(key, None)

    def _problem(self, sentence: str) -> None:
        if sentence != self.last_error:
            _log.warning("%s", sentence)
        self.last_error = sentence
