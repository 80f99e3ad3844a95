"""One claimed entry to its end: where it goes, in which form, and its parts posted in order.

Decides what the parts are before the first of them may be on Discord; from then on they stay the same,
however often the entry comes back. What of a message can be refused alone (the message that it answers,
its files) costs it that and not the text. Each part's outcome is `tries`' business.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from spoolbridge import outgoing
from spoolbridge.claim import Claim
from spoolbridge.discord.client import DiscordClient
from spoolbridge.discord.codes import THREAD_LOCKED, UNKNOWN_CHANNEL
from spoolbridge.errors import ForgottenError
from spoolbridge.journal import History, Journal, PartHistory
from spoolbridge.outcome import Closed, Refused, Sent
from spoolbridge.outgoing import PLAIN, File, Form, OutgoingMessage, Part
from spoolbridge.readback import Absent, Bot, Found, Undecided, read_back
from spoolbridge.secrecy import Secrecy, Withheld
from spoolbridge.settings import DEFAULT_MAX_UPLOAD
from spoolbridge.threads import Threads
from spoolbridge.tries import Alone, Cancelled, Place, Tries
from spoolbridge.waiting import in_thread

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reused:
    """The ID belongs to another message, which was sent or may have been: this one needs its own."""


Outcome = Sent | Refused | Closed | Cancelled | Reused | Withheld


@dataclass
class _Course:
    """One entry on its way, and what has come to be known on it."""

    claim: Claim
    #: The channel that it was dropped for, and the channel or thread that it goes to.
    channel_id: int
    target: int
    message: OutgoingMessage
    key: str = ""
    quote: str = ""
    note: str = ""
    #: The first part may be begun several times, and fails alone all that time.
    alone: Alone = field(default_factory=Alone)
    #: Why the files will not be asked for (again) on this course.
    without_files: Refused | None = None


class Posting:
    """Posts claims. One object serves all channels; `waiting` says why each of them waits.

    `quote(channel, message id)` gives the line that stands for a message which is gone; `max_upload` is
    in bytes a file; `secrecy` says what is not to go out as it is; `answered` is told when an entry was
    written (unix seconds), once all of it is posted.
    """

    def __init__(
        self, journal: Journal, client: DiscordClient, bot: Bot, *,
        quote: Callable[[str, int], str] = lambda channel, message_id: "> (deleted)",
        max_upload: int = DEFAULT_MAX_UPLOAD,
        secrecy: Secrecy | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        answered: Callable[[float], None] = lambda written: None,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._client = client
        self._bot = bot
        self._answered = answered
        self._tries = Tries(
            journal, client, bot, clock=clock, sleep=sleep, jitter=jitter, answered=answered
        )
        self._threads = Threads(client, journal, bot.guild_id)
        self._quote = quote
        self._max_upload = max_upload
        self.secrecy = secrecy or Secrecy(journal)
        #: channel → (when the next try is due, in unix seconds; why).
        self.waiting = self._tries.waiting

    async def post(self, claim: Claim, channel_id: int, message: OutgoingMessage) -> Outcome:
        """Post all parts that were not posted yet. Returns what the entry is to be settled by.

        Raises TokenRefusedError, and OSError where the journal cannot be written: then nothing was
        posted without its `try`.
        """
        if withheld := await self.secrecy.objection(claim.id, channel_id, message):
            return withheld
        key = _key(channel_id, message.options.dedupe_key)
        course = _Course(claim, channel_id, channel_id, message, key)
        if key and (outcome := await self._by_its_key(course)):
            return outcome
        try:
            outcome = await self._into_its_thread(course)
            if message.options.thread and await self._needs_another_thread(course, outcome):
                await self._threads.forget(claim.id, channel_id, message.options.thread)
                outcome = await self._into_its_thread(course)  # by name it may be made anew
        except ForgottenError as error:
            outcome = Refused(str(error))
        if isinstance(outcome, Closed) and course.target != channel_id:
            outcome = Refused(f"the thread {course.target} is refused: {outcome.reason}", outcome.code)
        if isinstance(outcome, Refused):
            await in_thread(self._journal.failed, claim.id, course.target, outcome.reason)
        elif isinstance(outcome, Cancelled):
            reason = "an operator took it out of sending/"
            await in_thread(self._journal.failed, claim.id, course.target, reason)
        return outcome

    async def _by_its_key(self, course: _Course) -> Outcome | None:
        """Another entry with this Dedupe-Key was sent, or nobody can tell: this one is not posted."""
        claim, key = course.claim, course.key
        found = await in_thread(self._journal.twin, key, but=claim.id)
        if not found:
            if in_doubt := await self._others_in_doubt(course):
                return in_doubt
            found = await in_thread(self._journal.twin, key, but=claim.id)
        if found is None:
            return None
        message_id, twin = found
        log.info("%s not posted: its Dedupe-Key was sent with %s as %d", claim, twin, message_id)
        await in_thread(self._journal.same, claim.id, course.channel_id, message_id, twin)
        return Sent(message_id)

    async def _others_in_doubt(self, course: _Course) -> Refused | Closed | Cancelled | None:
        """Who sends again because a delivery is unknown gives the same key: look for the first message."""
        others = await in_thread(self._journal.with_key, course.key, but=course.claim.id)
        for entry_id, place, history in others:
            for number, part in list(history.part.items()):
                if part.unresolved is None:
                    continue
                look = partial(read_back, self._client, self._journal, self._bot, place, part)
                found = await self._tries.patiently(course.claim, course.message, look)
                if isinstance(found, Found):
                    message_id, guild_id = found.message_id, self._bot.guild_id
                    await in_thread(self._journal.sent, entry_id, place, number, message_id, guild_id)
                elif isinstance(found, Absent) or _is_gone(found):
                    await in_thread(self._journal.not_sent, entry_id, place, number, read_back=True)
                elif isinstance(found, Undecided):
                    return Refused(f"{entry_id} has its Dedupe-Key and may be on Discord: {found.reason}")
                else:
                    return found
        return None

    async def _into_its_thread(self, course: _Course) -> Outcome:
        claim, message = course.claim, course.message
        wanted = message.options.thread
        if wanted is not None:

            async def find() -> int:
                return await self._threads.find(claim.id, course.channel_id, wanted)

            found = await self._tries.patiently(claim, message, find)
            if not isinstance(found, int):
                return found
            course.target = found
        if message.options.react is not None:
            return await self._react(course, message.options.react)
        outcome = await self._all_parts(course)
        while outcome is None:
            outcome = await self._all_parts(course)
        return outcome

    async def _needs_another_thread(self, course: _Course, outcome: Outcome) -> bool:
        """Whether its thread is deleted, or was locked before anything of the entry was in it."""
        if isinstance(outcome, Closed):
            return _is_gone(outcome)
        named = isinstance(course.message.options.thread, str) and course.message.options.react is None
        if not (named and isinstance(outcome, Refused) and outcome.code in THREAD_LOCKED):
            return False
        return not _begun(await in_thread(self._journal.history, course.claim.id, course.target))

    async def _react(self, course: _Course, emoji: str) -> Outcome:
        """A reaction is there once, however often it is put; it is tried and noted like a part."""
        claim, target, message_id = course.claim, course.target, course.message.options.reply_to
        assert message_id is not None
        history = await self._history(claim, target)
        part = Part(f"{emoji} {message_id}")
        if _is_another(history, [part]):
            return Reused()
        if sent := self._sent_before(claim, history):
            return sent

        await in_thread(
            self._journal.tried, claim.id, target, 1,
            parts=1, form=PLAIN, digest=part.digest, files=[], key=course.key,
        )  # fmt: skip
        outcome = await self._tries.patiently(
            claim, course.message, lambda: self._client.react(target, message_id, emoji)
        )
        if outcome is not None:
            await in_thread(self._journal.not_sent, claim.id, target, 1, read_back=True)
            return outcome
        self._answered(claim.written)
        await in_thread(self._journal.sent, claim.id, target, 1, message_id, self._bot.guild_id)
        return Sent(message_id)

    async def _all_parts(self, course: _Course) -> Outcome | None:
        """None: nothing of it is on Discord, and it has to take another form. Begin again."""
        claim, message = course.claim, course.message
        course.without_files = course.without_files or self._too_large(message)
        history = await self._history(claim, course.target)
        form = history.form if _begun(history) else self._form(course)
        parts = outgoing.compose(message, form)
        if _is_another(history, parts):
            return Reused()
        if sent := self._sent_before(claim, history):
            return sent
        outcome: Outcome | None = Refused("the message has no parts")
        for number, part in enumerate(parts, 1):
            known = history.part.get(number) or PartHistory()
            if part.files and course.without_files and known.message_id is None and known.unresolved is None:
                return course.without_files
            alone = course.alone if number == 1 else Alone()
            place = Place(claim, course.target, number, len(parts), form, part, message, course.key, alone)
            outcome = await self._tries.until_sure(place, known)
            if not isinstance(outcome, Sent):
                break
        if isinstance(outcome, Refused) and number == 1:
            return None if await self._can_change(course, form, part, outcome) else outcome
        return outcome

    async def _history(self, claim: Claim, target: int) -> History:
        """Raises ForgottenError where nobody can tell."""
        if known := self._journal.at_hand(claim.id, target):
            return known
        return await in_thread(self._journal.history, claim.id, target)

    def _form(self, course: _Course) -> Form:
        """What nothing has fixed yet: as things are now, and as Discord wants it."""
        if course.without_files and not course.note and course.message.text.strip():
            course.note = outgoing.apart_note(outgoing.compose(course.message)[0].files)
        return Form(self._tries.stamp(course.claim), course.quote, course.note)

    def _too_large(self, message: OutgoingMessage) -> Refused | None:
        large = [file for file in message.files if len(file.data) > self._max_upload]
        if not large:
            return None
        most = f"{self._max_upload / (1 << 20):.4g} MiB a file (SPOOLBRIDGE_MAX_UPLOAD)"
        return Refused(f"{_named(large)} and the bridge sends at most {most}", about="files")

    async def _can_change(self, course: _Course, form: Form, part: Part, refused: Refused) -> bool:
        """Whether the entry may still go out without what was refused of its first part."""
        if refused.about == "reply" and not form.quote and course.message.options.reply_to is not None:
            said = course.message.options.reply_to
            course.quote = await in_thread(self._quote, course.claim.channel, said)
            log.info("%s: the message that it answers is gone; it is quoted instead", course.claim)
            return True
        if refused.about == "files" and part.files and course.message.text.strip() and not form.note:
            course.note = outgoing.apart_note(part.files)
            course.without_files = refused
            log.info("%s: its files are refused; the text goes without them", course.claim)
            return True
        return False

    def _sent_before(self, claim: Claim, history: History) -> Sent | None:
        """A known ID that comes back: the same message is not posted again."""
        if not history.sent:
            return None
        message_id = history.part[history.parts].message_id or 0
        log.info("%s not posted: already sent as %d", claim, message_id)
        return Sent(message_id)


def _key(channel_id: int, dedupe_key: str | None) -> str:
    """What the journal keeps of a Dedupe-Key, which may be anything."""
    if dedupe_key is None:
        return ""
    return hashlib.blake2b(f"{channel_id}|{dedupe_key}".encode(), digest_size=16).hexdigest()


def _is_gone(outcome: object) -> bool:
    """Whether the channel or thread was deleted, and all that was in it."""
    return isinstance(outcome, Closed) and outcome.code == UNKNOWN_CHANNEL


def _named(files: list[File]) -> str:
    names = ", ".join(f"{file.name} ({len(file.data) / (1 << 20):.1f} MiB)" for file in files[:3])
    return f"{names} {'is' if len(files) == 1 else 'are'} too large,"


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
