"""One part of an entry, tried until its outcome is sure.

The order is what keeps the promise: the claim is durable, the `try` is durable, then the request
goes out; `sent` is durable before anything else happens. What a crash leaves in between is resolved
by the nonce within two minutes, and by reading the channel back after that.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

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
from spoolbridge.journal import Journal, PartHistory
from spoolbridge.outcome import Closed, NotSent, Outcome, Refused, Sent, Unknown
from spoolbridge.outgoing import Form, OutgoingMessage, Part
from spoolbridge.readback import Absent, Bot, Found, read_back
from spoolbridge.turns import Turns
from spoolbridge.waiting import in_thread

NONCE_WINDOW = 120.0  # seconds; Discord says "the past few minutes" and no more (Create Message)
LATE = 300.0  # seconds; what is older says when it was written
_SAME = 3.0  # seconds within which two clocks show the same: Discord's Date has whole ones
ALONE = 600.0  # seconds that a message may fail while everything else succeeds

_T = TypeVar("_T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cancelled:
    """An operator took the entry out of `sending/` between two tries."""


class NotNowError(Exception):
    """Raised by a `sleep` that does not wait: the entry stays in `sending/` for the next start."""


class _StaleError(Exception):
    """The nonce's time was over when the request's turn came: the channel is read back first."""


class _GoneError(Exception):
    """The entry was taken out of `sending/` before the request's turn came."""


class _UnwrittenError(Exception):
    """The `try` could not be written. Not an OSError on its way through the client, which would take
    it for a broken connection."""


class Alone:
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


class Place(NamedTuple):
    """One part of one claimed entry on its way to one channel (or thread)."""

    claim: Claim
    channel_id: int
    number: int
    parts: int
    form: Form
    part: Part
    message: OutgoingMessage
    #: Digest of channel and Dedupe-Key; empty: it has none.
    key: str
    alone: Alone

    @property
    def whose(self) -> tuple[str, int, int]:
        """The journal's key."""
        return self.claim.id, self.channel_id, self.number


class Tries:
    """Tries parts. One object serves all channels; `waiting` says why each of them waits."""

    def __init__(
        self, journal: Journal, client: DiscordClient, bot: Bot, *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        answered: Callable[[float], None] = lambda written: None,
    ) -> None:  # fmt: skip
        self._journal = journal
        #: What several channels note at the same time is made durable together.
        self._noting: Turns[Callable[[], None], None] = Turns(journal.together)
        self._client = client
        self._bot = bot
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._answered = answered
        #: channel → (when the next try is due, in unix seconds; why).
        self.waiting: dict[str, tuple[float, str]] = {}

    async def until_sure(
        self, place: Place, known: PartHistory
    ) -> Sent | Refused | Closed | Cancelled | None:
        """Post the part, as often as it takes. None: its text is not what it should be any more.

        Raises TokenRefusedError, and OSError where the journal cannot be written: then nothing was
        posted without its `try`.
        """
        if known.message_id is not None:
            return Sent(known.message_id)
        refused: Refused | None = None
        while True:
            if known.unresolved is not None and (refused or known.poisoned or not self._nonce_holds(known)):
                outcome = await self._resolve(place, known)
                if outcome is not None:
                    return outcome
                known = await self._known(place)
                continue
            refused = refused or self._given_up(place.message, place.alone)
            if refused is not None:
                if known.unresolved is None:
                    return refused
                continue  # an earlier try may have succeeded: first read back
            if known.unresolved is None and self._is_outdated(place):
                return None
            tried = await self._try(place, known)
            if isinstance(tried, Sent | Closed | Cancelled):
                return tried
            known = await self._known(place)
            if isinstance(tried, Refused):
                refused = tried
            elif tried is not None:
                await self._after_failure(place.claim, tried, place.alone)

    async def patiently(
        self, claim: Claim, message: OutgoingMessage, ask: Callable[[], Awaitable[_T]]
    ) -> _T | Refused | Closed | Cancelled:
        """The answer to something that may be asked twice without harm, waiting while there is none.

        Raises TokenRefusedError.
        """
        alone = Alone()
        while True:
            if refused := self._given_up(message, alone):
                return refused
            if not await in_thread(claim.exists):
                return Cancelled()
            try:
                return await ask()
            except TokenRefusedError:
                raise
            except UnreachableError as error:
                await self._after_failure(claim, NotSent(str(error), error.retry_after), alone)
            except ChannelClosedError as error:
                return Closed(str(error), error.code)
            except DiscordError as error:
                return Refused(str(error), error.code, error.status)

    def stamp(self, claim: Claim) -> str:
        """What is said now of when it was written; empty: it is not late."""
        now = self._clock()
        return outgoing.late_stamp(claim.written, now) if now - claim.written > LATE else ""

    def _given_up(self, message: OutgoingMessage, alone: Alone) -> Refused | None:
        not_after = message.options.not_after
        if not_after is not None and self._clock() > not_after:
            return Refused("its Not-After has passed")
        return Refused(alone.complaint) if alone.too_long(self._clock()) else None

    def _nonce_holds(self, known: PartHistory) -> bool:
        """Whether Discord would still recognise the message: by our clock, and by Discord's, for ours may
        have been set since. One that went back counts as later."""
        assert known.unresolved is not None
        passed = self._clock() - known.unresolved
        return 0 <= passed < NONCE_WINDOW and passed + known.ahead - self._ahead() < NONCE_WINDOW

    def _ahead(self) -> float:
        """Seconds that our clock is ahead of Discord's, behind where negative; of a few nobody can tell."""
        theirs = self._client.time
        ahead = 0.0 if theirs is None else self._clock() - theirs
        return round(ahead) if abs(ahead) > _SAME else 0.0

    async def _try(self, place: Place, known: PartHistory) -> Outcome | Cancelled | None:
        """Ask Discord once, with the `try` durable before and what came of it noted after.

        None: nothing was asked, for the nonce's time was over when the turn came.
        """
        asked = False

        async def journal_try() -> None:
            nonlocal asked
            if known.unresolved is not None and not self._nonce_holds(known):
                raise _StaleError  # the limiter may have kept it waiting for a minute
            try:
                await self._noting.ask(partial(self._write_try, place))
            except OSError as error:
                raise _UnwrittenError from error
            asked = True

        try:
            outcome = await self._ask(place, before=journal_try, retrying=known.unresolved is not None)
        except _StaleError:
            return None
        except _GoneError:
            return Cancelled()
        except _UnwrittenError as error:
            assert error.__cause__ is not None
            raise error.__cause__ from None
        except TokenRefusedError:
            if asked:  # who is refused at the door has posted nothing
                await in_thread(self._journal.not_sent, *place.whose)
            raise
        except asyncio.CancelledError:
            if asked:  # the service stops, and the request may have gone out
                self._journal.unknown(*place.whose)
            raise
        if asked:
            await self._note(place, outcome)
        return outcome

    def _write_try(self, place: Place) -> None:
        if not place.claim.exists():
            raise _GoneError
        self._journal.tried(
            *place.whose, parts=place.parts, form=place.form, digest=place.part.digest,
            files=place.part.sizes, key=place.key, ahead=self._ahead(),
        )  # fmt: skip

    async def _ask(
        self, place: Place, *, before: Callable[[], Awaitable[None]], retrying: bool
    ) -> Outcome:
        body = outgoing.payload(
            place.message,
            place.part,
            identity.nonce(place.claim.id, place.number, place.channel_id),
            reply=place.number == 1 and not place.form.quote,
        )
        files = [Upload(file.name, file.data, file.content_type) for file in place.part.files]
        return await self._client.post(
            place.channel_id, body, files=files, retrying=retrying, before=before
        )

    async def _note(self, place: Place, outcome: Outcome) -> None:
        if isinstance(outcome, Sent):
            if place.number == place.parts:
                self._answered(place.claim.written)
            note = partial(self._journal.sent, *place.whose, outcome.message_id, self._bot.guild_id)
        elif isinstance(outcome, Unknown):
            note = partial(self._journal.unknown, *place.whose)
        else:
            note = partial(self._journal.not_sent, *place.whose)
        await self._noting.ask(note)

    async def _resolve(self, place: Place, known: PartHistory) -> Sent | Refused | Closed | None:
        """Read the channel back. None: it is surely not there and the journal says so, or: ask again."""
        poisoned = known.poisoned  # before the journal, and with it `known`, is told what was found
        try:
            found = await read_back(self._client, self._journal, self._bot, place.channel_id, known)
        except UnreachableError as error:
            if place.alone.too_long(self._clock()):
                return _undecided(place.alone.complaint)
            failure = NotSent(f"reading back: {error}", error.retry_after)
            await self._after_failure(place.claim, failure, place.alone)
            return None
        except TokenRefusedError:
            raise
        except ChannelClosedError as error:
            return Closed(str(error), error.code)
        except DiscordError as error:
            return _undecided(str(error))
        if isinstance(found, Found):
            log.info("%s found on Discord as %d", place.claim, found.message_id)
            await self._note(place, Sent(found.message_id))
            return Sent(found.message_id)
        if not isinstance(found, Absent):
            return _undecided(found.reason)
        await in_thread(self._journal.not_sent, *place.whose, read_back=True)
        if poisoned:
            return Refused("the service died 3 times while posting this; it is not on Discord")
        return None

    async def _after_failure(self, claim: Claim, outcome: NotSent | Unknown, alone: Alone) -> None:
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

    async def _known(self, place: Place) -> PartHistory:
        history = await in_thread(self._journal.history, place.claim.id, place.channel_id)
        return history.part.get(place.number) or PartHistory()

    def _is_outdated(self, place: Place) -> bool:
        return place.number == 1 and place.form.stamp != self.stamp(place.claim)


def _undecided(reason: str) -> Refused:
    return Refused(f"delivery unknown: {reason}; look into the channel, and if it is not there drop it anew")
