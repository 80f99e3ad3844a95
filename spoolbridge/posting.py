"""One claimed entry to its end: its parts posted in order, each until its outcome is sure.

The order is what keeps the promise: the claim is durable, the `try` is durable, then the request
goes out; `sent` is durable before the entry moves. What a crash leaves in between is resolved by
the nonce within two minutes, and by reading the channel back after that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from spoolbridge import backoff, identity, outgoing
from spoolbridge.claim import Claim
from spoolbridge.discord.client import DiscordClient, Upload
from spoolbridge.errors import (
    ChannelClosedError,
    DiscordError,
    RefusedError,
    TokenRefusedError,
    UnreachableError,
)
from spoolbridge.journal import History, Journal, PartHistory
from spoolbridge.outcome import Closed, NotSent, Outcome, Refused, Sent, Unknown
from spoolbridge.outgoing import OutgoingMessage, Part
from spoolbridge.readback import Absent, Bot, Found, read_back
from spoolbridge.waiting import in_thread

NONCE_WINDOW = 120.0  # seconds; Discord says "the past few minutes" and no more (Create Message)
LATE = 300.0  # seconds; what is older says when it was written
ALONE = 600.0  # seconds that a message may fail while everything else succeeds

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cancelled:
    """An operator took the entry out of `sending/` between two tries."""


@dataclass(frozen=True)
class Reused:
    """The ID belongs to another message, which was sent or may have been: this one needs its own."""


class NotNowError(Exception):
    """Raised by a `sleep` that does not wait: the entry stays in `sending/` for the next start."""


class _StaleError(Exception):
    """The nonce's time was over when the request's turn came: the channel is read back first."""


class _UnwrittenError(Exception):
    """The `try` could not be written. Not an OSError on its way through the client, which would take
    it for a broken connection."""


@dataclass(frozen=True)
class _Place:
    """One part of one entry on its way to one channel (or thread)."""

    entry_id: str
    channel_id: int
    number: int
    parts: int
    stamp: str
    part: Part
    message: OutgoingMessage


class Posting:
    """Posts claims. One object serves all channels; `waiting` says why each of them waits."""

    def __init__(
        self, journal: Journal, client: DiscordClient, bot: Bot, *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._client = client
        self._bot = bot
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        #: channel → (when the next try is due, in unix seconds; why).
        self.waiting: dict[str, tuple[float, str]] = {}

    async def post(
        self, claim: Claim, channel_id: int, message: OutgoingMessage
    ) -> Sent | Refused | Closed | Cancelled | Reused:
        """Post all parts that were not posted yet. Returns what the entry is to be settled by.

        Raises TokenRefusedError, and OSError where the journal cannot be written: then nothing was
        posted without its `try`.
        """
        target = message.options.thread or channel_id
        alone = _Alone()
        outcome = await self._all_parts(claim, target, message, alone)
        while outcome is None:
            outcome = await self._all_parts(claim, target, message, alone)
        if isinstance(outcome, Closed) and message.options.thread:
            return Refused(f"the thread {message.options.thread} is refused: {outcome.reason}", outcome.code)
        return outcome

    async def _all_parts(
        self, claim: Claim, target: int, message: OutgoingMessage, alone: _Alone
    ) -> Sent | Refused | Closed | Cancelled | Reused | None:
        """None: surely nothing of it went out, and by now it may be late. Begin again."""
        history = await in_thread(self._journal.history, claim.id, target)
        stamp = history.stamp if _begun(history) else self._stamp(claim)
        parts = outgoing.compose(message, stamp)
        if _is_another(history, parts):
            return Reused()
        if history.sent:
            return self._again(claim, history)
        outcome: Sent | Refused | Closed | Cancelled | None = Refused("the message has no parts")
        for number, part in enumerate(parts, 1):
            place = _Place(claim.id, target, number, len(parts), stamp, part, message)
            known = history.part.get(number) or PartHistory()
            outcome = await self._one(claim, place, known, alone if number == 1 else _Alone())
            if not isinstance(outcome, Sent):
                break
        return outcome

    def _again(self, claim: Claim, history: History) -> Sent:
        """A known ID that comes back: the same message is not posted again."""
        message_id = history.part[history.parts].message_id or 0
        log.info("%s not posted: already sent as %d", claim, message_id)
        return Sent(message_id)

    async def _one(
        self, claim: Claim, place: _Place, known: PartHistory, alone: _Alone
    ) -> Sent | Refused | Closed | Cancelled | None:
        """One part, tried until its outcome is sure. None: its text is not what it should be any more."""
        if known.message_id is not None:
            return Sent(known.message_id)
        refused: Refused | None = None
        while True:
            if known.unresolved is not None and (refused or known.poisoned or not self._nonce_holds(known)):
                outcome = await self._resolve(claim, place, known, alone)
                if outcome is not None:
                    return outcome
                known = await self._known(place)
                continue
            refused = refused or self._given_up(claim, place, known, alone)
            if refused is not None:
                if known.unresolved is None:
                    return await self._failed(place, refused)
                continue  # an earlier try may have succeeded: first read back
            if not await in_thread(claim.exists):
                await self._failed(place, Refused("an operator took it out of sending/"))
                return Cancelled()
            if known.unresolved is None and self._is_outdated(claim, place):
                return None
            tried = await self._try(place, known)
            known = await self._known(place)
            if isinstance(tried, Sent | Closed):
                return tried
            if isinstance(tried, Refused):
                refused = tried
            elif tried is not None:
                await self._after_failure(claim, tried, alone)

    def _given_up(self, claim: Claim, place: _Place, known: PartHistory, alone: _Alone) -> Refused | None:
        not_after = place.message.options.not_after
        if not_after is not None and self._clock() > not_after:
            return Refused("its Not-After has passed")
        return Refused(alone.complaint) if alone.too_long(self._clock()) else None

    def _nonce_holds(self, known: PartHistory) -> bool:
        """Whether Discord would still recognise the message. A clock that went back counts as later."""
        assert known.unresolved is not None
        return 0 <= self._clock() - known.unresolved < NONCE_WINDOW

    async def _try(self, place: _Place, known: PartHistory) -> Outcome | None:
        """Ask Discord once, with the `try` durable before and what came of it noted after.

        None: nothing was asked, for the nonce's time was over when the turn came.
        """
        key = (place.entry_id, place.channel_id, place.number)
        body = outgoing.payload(
            place.message,
            place.part,
            identity.nonce(place.entry_id, place.number, place.channel_id),
            first=place.number == 1,
        )
        files = [Upload(file.name, file.data, file.content_type) for file in place.part.files]
        asked = False

        async def journal_try() -> None:
            nonlocal asked
            if known.unresolved is not None and not self._nonce_holds(known):
                raise _StaleError  # the limiter may have kept it waiting for a minute
            try:
                await in_thread(
                    self._journal.tried, *key,
                    parts=place.parts, stamp=place.stamp, digest=place.part.digest, files=place.part.sizes,
                )  # fmt: skip
            except OSError as error:
                raise _UnwrittenError from error
            asked = True

        try:
            outcome = await self._client.post(
                place.channel_id, body, files=files, retrying=known.unresolved is not None, before=journal_try
            )
        except _StaleError:
            return None
        except _UnwrittenError as error:
            assert error.__cause__ is not None
            raise error.__cause__ from None
        except TokenRefusedError:
            if asked:  # who is refused at the door has posted nothing
                await in_thread(self._journal.not_sent, *key)
            raise
        except asyncio.CancelledError:
            if asked:  # the service stops, and the request may have gone out
                self._journal.unknown(*key)
            raise
        if asked:
            await self._note(key, outcome)
        return outcome

    async def _note(self, key: tuple[str, int, int], outcome: Outcome) -> None:
        if isinstance(outcome, Sent):
            await in_thread(self._journal.sent, *key, outcome.message_id, self._bot.guild_id)
        elif isinstance(outcome, Unknown):
            await in_thread(self._journal.unknown, *key)
        else:
            await in_thread(self._journal.not_sent, *key)

    async def _resolve(
        self, claim: Claim, place: _Place, known: PartHistory, alone: _Alone
    ) -> Sent | Refused | Closed | None:
        """Read the channel back. None: it is surely not there and the journal says so, or: ask again."""
        poisoned = known.poisoned
        try:
            found = await read_back(self._client, self._journal, self._bot, place.channel_id, known)
        except UnreachableError as error:
            if alone.too_long(self._clock()):
                return await self._undecided(place, alone.complaint)
            await self._after_failure(claim, NotSent(f"reading back: {error}", error.retry_after), alone)
            return None
        except TokenRefusedError:
            raise
        except ChannelClosedError as error:
            return Closed(str(error), error.code)
        except DiscordError as error:
            return await self._undecided(place, str(error))
        key = (place.entry_id, place.channel_id, place.number)
        if isinstance(found, Found):
            log.info("%s found on Discord as %d", claim, found.message_id)
            await self._note(key, Sent(found.message_id))
            return Sent(found.message_id)
        if not isinstance(found, Absent):
            return await self._undecided(place, found.reason)
        await in_thread(self._journal.not_sent, *key, read_back=True)
        if poisoned:
            reason = "the service died 3 times while posting this; it is not on Discord"
            return await self._failed(place, Refused(reason))
        return None

    async def _undecided(self, place: _Place, reason: str) -> Refused:
        reason = f"delivery unknown: {reason}; look into the channel, and if it is not there drop it anew"
        return await self._failed(place, Refused(reason))

    async def _failed(self, place: _Place, refused: Refused) -> Refused:
        await in_thread(self._journal.failed, place.entry_id, place.channel_id, refused.reason)
        return refused

    async def _after_failure(self, claim: Claim, outcome: NotSent | Unknown, alone: _Alone) -> None:
        limited = isinstance(outcome, NotSent) and outcome.retry_after is not None
        if not limited:
            alone.note(await self._api_is_up(), self._clock(), outcome.reason)
        await self._wait(claim, outcome.retry_after if isinstance(outcome, NotSent) else None, outcome.reason)

    async def _api_is_up(self) -> bool:
        """Whether it is this message alone that fails: Discord answers something else."""
        try:
            await self._client.me()
        except UnreachableError:
            return False
        except RefusedError:
            pass
        return True

    async def _wait(self, claim: Claim, retry_after: float | None, reason: str) -> None:
        seconds = retry_after
        if seconds is None:
            seconds = backoff.delay(self._clock() - claim.claimed, jitter=self._jitter)
        self.waiting[claim.channel] = (self._clock() + seconds, reason)
        log.warning("%s deferred for %.0f s: %s", claim, seconds, reason)
        await self._sleep(seconds)
        del self.waiting[claim.channel]

    async def _known(self, place: _Place) -> PartHistory:
        history = await in_thread(self._journal.history, place.entry_id, place.channel_id)
        return history.part.get(place.number) or PartHistory()

    def _is_outdated(self, claim: Claim, place: _Place) -> bool:
        return place.number == 1 and place.stamp != self._stamp(claim)

    def _stamp(self, claim: Claim) -> str:
        now = self._clock()
        return outgoing.late_stamp(claim.written, now) if now - claim.written > LATE else ""


class _Alone:
    """Since when one message has failed while Discord answered everything else."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.reason = ""

    def note(self, api_is_up: bool, now: float, reason: str) -> None:
        self.reason = reason
        self.since = (self.since or now) if api_is_up else None

    def too_long(self, now: float) -> bool:
        return self.since is not None and now - self.since > ALONE

    @property
    def complaint(self) -> str:
        return f"{self.reason}, for 10 minutes in which Discord answered everything else"


def _begun(history: History) -> bool:
    """Whether anything of the entry is on Discord, or may be: its text and its parts are then fixed."""
    return any(part.message_id is not None or part.unresolved is not None for part in history.part.values())


def _is_another(history: History, parts: list[Part]) -> bool:
    """Whether what was sent under this ID, or may have been, is not what these parts are."""
    if history.sent and history.parts != len(parts):
        return True
    for number, known in history.part.items():
        if known.message_id is None and known.unresolved is None:
            continue
        part = parts[number - 1] if number <= len(parts) else Part("")
        if (known.digest, known.files) != (part.digest, part.sizes):
            return True
    return False
