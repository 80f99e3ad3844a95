"""Open questions: where each stands, the look for its answer, the decision, and showing it.

    question file → posted → somebody answers, or its time is over → answer file → shown → question closed

Everything that must not be lost is in those files and in the spool; a service that starts goes on with what
is open. An answer is decided once: its file is durable before anybody is told. Only who may reach the agents
of the channel (`access`) and is a person is heard, in channels that are not polled too.

Two reads a look and one more for each option somebody reacted with, one question after the other: every 3
seconds at first, later every 30.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spoolbridge import asks, backoff, choices
from spoolbridge.access import Access
from spoolbridge.asks import ANSWERED, FAILED, GRACE, TIMED_OUT, Answer
from spoolbridge.channels import Channel, Registry
from spoolbridge.choices import REACTION, REPLY, Question, Said
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import DiscordError, SpoolbridgeError, SpoolError, TokenRefusedError, UnreachableError
from spoolbridge.incoming import from_discord, is_human
from spoolbridge.rendering import display_name
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread

LOOK = 1.0  # seconds between two looks into state/asks/
PACES = ((120.0, 3.0), (900.0, 10.0))  # seconds since it was asked → seconds between two looks on Discord
SLOWEST = 30.0
UNDROPPED = 60.0  # seconds for which a question may lie there before its entry is dropped
SHOWING = 3600.0  # seconds for which a decision that cannot be shown is tried again
MOST_OPEN = 100  # questions; what is asked beyond fails
SIGNS = {ANSWERED: "✅", TIMED_OUT: "⌛"}
_SWEEP = 24 * 3600.0  # seconds between two sweeps
_OVERLAP = 10_000 << 22  # ids: a message may show up so late behind a younger one, 10 s
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_MOST_TOLD = 1000  # people that are remembered as told of

_REFERENCES = ("message_reference", "referenced_message")

Json = Mapping[str, Any]

log = logging.getLogger(__name__)


@dataclass
class _Course:
    """One question on its way; what is in it can be found again."""

    question: Question
    #: Where it was posted; ids are 0 before.
    channel: str = ""
    channel_id: int = 0
    message_id: int = 0
    #: Above which id replies are still to be looked at.
    seen: int = 0
    #: When it is looked at next, and since when Discord cannot be asked.
    due: float = 0.0
    failing: float | None = None

    def answer(self, status: str, at: float, **more: Any) -> Answer:
        return Answer(
            self.question.id, status, at, channel=self.channel, channel_id=self.channel_id,
            question_id=self.message_id, **more,
        )  # fmt: skip


class Asker:
    """Looks after the questions of a spool. `clock` gives unix seconds.

    Belongs to the event loop's thread, under the service's lock.
    """

    def __init__(
        self,
        spool: Spool,
        client: DiscordClient,
        access: Access,
        registry: Callable[[], Registry],
        *,
        guild_id: int = 0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spool, self._client, self._access, self._registry = spool, client, access, registry
        self._guild_id, self._clock, self._sleep = guild_id, clock, sleep
        self._courses: dict[str, _Course] = {}
        self._showing: dict[str, float] = {}
        self._told: dict[str, None] = {}
        self._swept = float("-inf")

    async def run(self) -> None:
        """Look until cancelled. Raises TokenRefusedError, and OSError where the disk fails."""
        while True:
            await self.look()
            await self._sleep(LOOK)

    async def look(self) -> None:
        """One look at every question that is due."""
        try:
            await self._keep_house()
            names = await in_thread(asks.listed, self._spool)
            for number, name in enumerate(names):
                ask_id = asks.id_in(name)
                if ask_id is None:
                    self._tell(f"name {name}", "state/asks/%.60r is no question and is left alone", name)
                else:
                    await self._attend(ask_id, crowded=number >= MOST_OPEN)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._tell("disk", "questions wait for the disk (%s)", error.strerror)
            return
        self._told.pop("disk", None)
        for gone in self._courses.keys() - set(map(asks.id_in, names)):
            del self._courses[gone]

    async def _keep_house(self) -> None:
        if self._clock() - self._swept > _SWEEP:
            self._swept = self._clock()
            await in_thread(asks.make, self._spool)
            await in_thread(asks.sweep, self._spool, self._clock())

    async def _attend(self, ask_id: str, *, crowded: bool) -> None:
        """The question's next step, if it is due."""
        try:
            if known := await in_thread(asks.answer_of, self._spool, ask_id):
                await self._show(known)
                return
            if crowded and ask_id not in self._courses:
                raise SpoolError(f"more than {MOST_OPEN} questions are open", "ask again later")
            course = await self._course(ask_id)
            if course is None or self._clock() < course.due:
                return
            answer = await self._step(course)
        except (DiscordError, OSError):
            raise
        except SpoolbridgeError as error:
            if not self._spool.has(f"state/{asks.DIRECTORY}", f"{ask_id}.json"):
                return  # whoever asked has taken it back
            answer = Answer(ask_id, FAILED, self._clock(), reason=str(error))
        if answer is not None:
            await self._settle(answer)

    async def _course(self, ask_id: str) -> _Course | None:
        known = self._courses.get(ask_id)
        if known is None:
            question = await in_thread(asks.question_of, self._spool, ask_id, self._clock())
            known = self._courses[ask_id] = _Course(question)
        return known

    async def _settle(self, answer: Answer) -> None:
        decided = await in_thread(asks.settle, self._spool, answer)
        how = f"by a {decided.how} of user {decided.author_id}" if decided.how else decided.reason
        words = " ".join(filter(None, (decided.status.replace("_", " "), how)))
        log.info("question %s %s", decided.id, words)
        await self._show(decided)

    # -- the steps of a question that is not decided ---------------------------------------------------

    async def _step(self, course: _Course) -> Answer | None:
        """What has come of it; None: nothing yet, and `due` says when to look again."""
        now = self._clock()
        if not course.message_id and (answer := await self._until_posted(course, now)):
            return answer
        if course.message_id:
            try:
                if answer := await self._look_on_discord(course, now):
                    return answer
                course.failing = None
            except TokenRefusedError:
                raise
            except UnreachableError as error:
                course.failing = now if course.failing is None else course.failing
                course.due = now + (error.retry_after or backoff.delay(now - course.failing))
                return None
            except DiscordError as error:
                return course.answer(FAILED, now, reason=f"its answer cannot be read: {error}")
        if now >= course.question.deadline:
            return course.answer(TIMED_OUT, now)
        course.due = min(now + self._pace(course, now), course.question.deadline)
        return None

    def _pace(self, course: _Course, now: float) -> float:
        age = now - course.question.asked
        if not course.message_id and age < UNDROPPED:
            return LOOK
        return next((pace for until, pace in PACES if age < until), SLOWEST)

    async def _until_posted(self, course: _Course, now: float) -> Answer | None:
        """Where its entry is; an answer only where there never will be a question on Discord."""
        entry = await in_thread(self._spool.find, course.question.id)
        if entry is None:
            if now - course.question.asked > UNDROPPED:
                reason = "the question is not in the spool any more: somebody took it away"
                return course.answer(FAILED, now, reason=reason)
            return None
        course.channel = entry.channel
        if entry.state == "failed" and now < course.question.deadline:
            return course.answer(FAILED, now, reason=entry.reason or "the question failed")
        if entry.state == "sent":
            if not (entry.message_ids and entry.message_ids[-1] and entry.channel_id):
                return course.answer(FAILED, now, reason="the question was deleted on Discord")
            course.channel_id, course.message_id = entry.channel_id, entry.message_ids[-1]
            course.seen = course.message_id
        return None

    # -- Discord ---------------------------------------------------------------------------------------

    async def _look_on_discord(self, course: _Course, now: float) -> Answer | None:
        """Raises a DiscordError, and UnknownChannelError where the file has lost the channel."""
        channel = self._registry().resolve(course.channel)
        message = await self._client.message(course.channel_id, course.message_id)
        replies, seen = await self._replies(course, channel)
        # They have no time: those of a service that comes back long after the deadline do not count.
        in_time = now <= course.question.deadline + GRACE
        reactions = await self._reactions(course, channel, message) if in_time else []
        decided = choices.decide(course.question, replies, reactions)
        course.seen = max(course.seen, seen - _OVERLAP)
        if decided is None:
            return None
        said, number = decided
        option = "" if number is None else course.question.options[number]
        return course.answer(
            ANSWERED, now, option=option, number=-1 if number is None else number, **said._asdict()
        )

    async def _replies(self, course: _Course, channel: Channel) -> tuple[list[Said], int]:
        """What may answer, and up to which id it was looked for."""
        found: list[Said] = []
        seen = course.seen
        async for page in self._client.messages_since(course.channel_id, course.seen):
            seen = int(page[-1]["id"])
            read = [(each, from_discord(each, channel, self._guild_id)) for each in page]
            replies = [(json, told) for json, told in read if told.reply_to == course.message_id]
            heard = await self._heard(channel, [json for json, _ in replies])
            for json, told in replies:
                if json in heard:
                    text = (
                        str(json.get("content") or "")
                        if course.question.options
                        else self._words(json, channel)
                    )
                    found.append(Said(REPLY, text, told.author, told.author_id, told.id))
        return found, seen

    def _words(self, json: Json, channel: Channel) -> str:
        """As it is delivered, but for the line that says what it answers."""
        alone = {key: value for key, value in json.items() if key not in _REFERENCES}
        return from_discord(alone, channel, self._guild_id).text

    async def _reactions(self, course: _Course, channel: Channel, message: Json) -> list[Said]:
        found: list[Said] = []
        for name in _standard_emojis(message):
            if choices.option_of(course.question.options, name) is None:
                continue
            users = await self._client.reactions(course.channel_id, course.message_id, name)
            # As if each had written it: the rules are about messages.
            written = [{"id": str(course.message_id), "type": 0, "author": user} for user in users]
            for json in await self._heard(channel, written):
                author = json["author"]
                found.append(Said(REACTION, name, display_name(author), int(author["id"]), course.message_id))
        return found

    async def _heard(self, channel: Channel, said: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those by people who may answer. Raises a DiscordError where roles cannot be looked up."""
        people = [each for each in said if is_human(each, 0)]
        admitted, refused = await self._access.judge(channel, people)
        for json in refused:
            user = str(json["author"].get("id"))
            self._tell(
                f"user {user}",
                "%s: what user %.20s answers does not count, by [access]",
                channel.address,
                user,
            )
        return admitted

    async def _show(self, answer: Answer) -> None:
        """The decision on the question itself, best effort; then it is closed."""
        sign, now = SIGNS.get(answer.status), self._clock()
        if now < self._showing.get(answer.id, 0.0):
            return
        if sign and answer.question_id and now - answer.at < SHOWING:
            try:
                await self._client.react(answer.channel_id, answer.question_id, sign)
            except TokenRefusedError:
                raise
            except UnreachableError as error:
                self._showing[answer.id] = now + (error.retry_after or backoff.delay(now - answer.at))
                return
            except DiscordError as error:
                log.info("question %s: %s cannot be shown: %s", answer.id, sign, error.what)
        try:
            await in_thread(asks.close, self._spool, answer.id)
            self._showing.pop(answer.id, None)
        except OSError as error:  # its owner has put something else there
            self._showing[answer.id] = float("inf")
            log.info("question %s cannot be closed (%s) and is left alone", answer.id, error.strerror)

    def _tell(self, key: str, text: str, *values: object) -> None:
        """Once."""
        if key not in self._told:
            self._told[key] = None
            log.info(text, *values)
        while len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]


def _standard_emojis(message: Json) -> list[str]:
    """What people reacted with; a guild's own emoji can have any name, and is none of them."""
    shown = message.get("reactions")
    found = []
    for each in shown if isinstance(shown, list) else ():
        emoji = each.get("emoji") if isinstance(each, dict) else None
        name = str(emoji.get("name")) if isinstance(emoji, dict) and not emoji.get("id") else ""
        found += [] if name.isascii() else [name]
    return found
