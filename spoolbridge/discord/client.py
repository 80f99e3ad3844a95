"""Discord for one bot: what can be asked of it, and in which form it answers.

Promises: `post` asks once and says what came of it as an outcome; everything else answers, or raises a
DiscordError after waiting out up to four 429s and, for a read or a reaction, one broken connection. Ids are
ints, pages are ascending. Must never repeat a post by itself: whether to ask again is decided where the
journal is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from spoolbridge.discord import routes
from spoolbridge.discord.answers import Answer, outcome_of, outcome_of_failure
from spoolbridge.discord.connection import FAILURES, Body, Connection
from spoolbridge.discord.ratelimit import RateLimiter
from spoolbridge.discord.uploads import Upload
from spoolbridge.errors import UnreachableError
from spoolbridge.outcome import NotSent, Outcome

__all__ = ["DiscordClient", "JsonObject", "Upload"]

JsonObject = dict[str, Any]

API_URL = "https://discord.com/api/v10"
#: Seconds for one request; discord.js takes 15, but a slow post is better than one of unknown outcome.
TIMEOUT = 30.0
#: Messages on a page, the most that Discord gives.
PAGE = 100

_TEXT_CHANNEL = 0


class DiscordClient:
    """Use it as an async context manager: it owns its HTTP session.

    `clock` gives seconds that do not jump; `sleep` is what waiting is done with; `timeout` is in seconds;
    `heard` is told the status of every answer, and 0 where a request has none.
    A limiter belongs to one client. Raises SettingsError where the token or the address cannot be one.
    """

    def __init__(
        self,
        token: str,
        *,
        api_url: str = API_URL,
        limiter: RateLimiter | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout: float = TIMEOUT,
        heard: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._connection = Connection(
            token, api_url,
            limiter=limiter or RateLimiter(), clock=clock, sleep=sleep, timeout=timeout, heard=heard,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<DiscordClient {self._connection.api_url}>"

    async def __aenter__(self) -> Self:
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    # -- how it stands ---------------------------------------------------------------------------------

    @property
    def answered_at(self) -> float | None:
        """The clock's time of the last answer of Discord's own below 500; None: none yet."""
        return self._connection.answered_at

    @property
    def invalid_requests(self) -> int:
        """Refused requests of the last 10 minutes that count towards a ban of this address."""
        return self._connection.breaker.invalid_requests(self._connection.clock())

    @property
    def paused_for(self) -> float:
        """Seconds for which nothing at all is asked; 0: requests go out."""
        return self._connection.breaker.wait(self._connection.clock())

    @property
    def paused_because(self) -> str:
        """Why nothing is asked, in words; empty where requests go out."""
        return self._connection.breaker.why(self._connection.clock())

    @property
    def time(self) -> float | None:
        """Discord's time in unix seconds, to about two; None: it has not told it yet."""
        return self._connection.time

    @property
    def clock_ahead(self) -> float | None:
        """Seconds that this machine's clock is ahead of Discord's, behind where negative; None: not known."""
        return self._connection.clock_ahead

    # -- outbound --------------------------------------------------------------------------------------

    async def post(
        self,
        channel_id: int,
        payload: Mapping[str, object],
        *,
        files: Sequence[Upload] = (),
        retrying: bool = False,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Create one message, asking once, after waiting for its turn.

        `payload` is Create Message's; with `files`, its `attachments` are filled in where it has none.
        `retrying`: this nonce was used before. `before` is awaited when the turn has come, just before
        the request goes out; what it raises is raised, with nothing asked. Raises TokenRefusedError; all
        else is an outcome.
        """
        body = Body.form(payload, files) if files else Body.json(payload)
        try:
            answer = await self._connection.once(routes.create_message(channel_id), body, before=before)
        except UnreachableError as error:  # the limiter's wait is too long: nothing was asked
            return NotSent(error.what, error.retry_after)
        except FAILURES as error:
            return outcome_of_failure(error)
        return outcome_of(answer, retrying=retrying, files=bool(files))

    async def react(self, channel_id: int, message_id: int, emoji: str) -> None:
        """Put one reaction on a message; twice is once."""
        await self._connection.call(routes.create_reaction(channel_id, message_id, emoji))

    async def create_channel(
        self, guild_id: int, name: str, *, parent_id: int | None = None, topic: str | None = None
    ) -> JsonObject:
        """Make a text channel. Names are not unique on Discord, which also changes them: look first."""
        payload: dict[str, object] = {"name": name, "type": _TEXT_CHANNEL}
        if parent_id is not None:
            payload["parent_id"] = str(parent_id)
        if topic is not None:
            payload["topic"] = topic
        route = routes.create_guild_channel(guild_id)
        return _object(await self._connection.call(route, body=Body.json(payload)))

    # -- inbound ---------------------------------------------------------------------------------------

    async def messages(self, channel_id: int, *, after: int, limit: int = PAGE) -> list[JsonObject]:
        """The `limit` (1 to 100) messages next above that id, ascending by id.

        Discord gives them newest first (discord-api-docs #7740), and `null` for none. Without the right to
        read the history it gives none, and does not say so.
        """
        query = {"after": str(after), "limit": str(limit)}
        answer = await self._connection.call(routes.channel_messages(channel_id), query=query)
        return sorted(_list(answer), key=_id_of)

    async def messages_since(self, channel_id: int, after: int) -> AsyncIterator[list[JsonObject]]:
        """Pages of messages, each ascending and above the one before, to the end of the channel."""
        while page := await self.messages(channel_id, after=after):
            yield page
            newest = _id_of(page[-1])
            if len(page) < PAGE or newest <= after:
                return
            after = newest

    async def message(self, channel_id: int, message_id: int) -> JsonObject:
        """One message; needs Read Message History (50013 without it), and is 10008 once it was deleted."""
        return _object(await self._connection.call(routes.message(channel_id, message_id)))

    async def reactions(self, channel_id: int, message_id: int, emoji: str) -> list[JsonObject]:
        """Every user who put this emoji on a message, ascending by id; when they did it, Discord does not
        tell."""
        route, found, after = routes.reactions(channel_id, message_id, emoji), list[JsonObject](), 0
        while True:
            query = {"limit": str(PAGE)} | ({"after": str(after)} if after else {})
            page = sorted(_list(await self._connection.call(route, query=query)), key=_id_of)
            found += [each for each in page if _id_of(each) > after]
            if len(page) < PAGE or _id_of(page[-1]) <= after:
                return found
            after = _id_of(page[-1])

    async def channel(self, channel_id: int) -> JsonObject:
        return _object(await self._connection.call(routes.channel(channel_id)))

    # -- who and where ---------------------------------------------------------------------------------

    async def me(self) -> JsonObject:
        """The bot's user: the cheapest check of the token."""
        return _object(await self._connection.call(routes.current_user()))

    async def application(self) -> JsonObject:
        return _object(await self._connection.call(routes.current_application()))

    async def guilds(self) -> list[JsonObject]:
        """The first 200 guilds that the bot is in."""
        return _list(await self._connection.call(routes.current_guilds()))

    async def guild(self, guild_id: int) -> JsonObject:
        return _object(await self._connection.call(routes.guild(guild_id)))

    async def guild_channels(self, guild_id: int) -> list[JsonObject]:
        """Every channel that the bot can see, each with its `last_message_id`; no threads."""
        return _list(await self._connection.call(routes.guild_channels(guild_id)))

    async def active_threads(self, guild_id: int) -> list[JsonObject]:
        """Every thread that the bot can see and that is not archived, of all channels."""
        answer = await self._connection.call(routes.active_threads(guild_id))
        return _objects(_object(answer).get("threads"))

    async def archived_threads(self, channel_id: int) -> AsyncIterator[list[JsonObject]]:
        """Pages of a channel's archived public threads, the last archived first.

        Needs Read Message History (50001 or 50013 without it).
        """
        query = {"limit": str(PAGE)}
        while True:
            answer = _object(await self._connection.call(routes.archived_threads(channel_id), query=query))
            threads = _objects(answer.get("threads"))
            yield threads
            if not threads or not answer.get("has_more"):
                return
            oldest = str(_object_in(threads[-1], "thread_metadata")["archive_timestamp"])
            if query.get("before") == oldest:
                return
            query["before"] = oldest

    async def start_thread(self, channel_id: int, name: str, *, kind: int) -> JsonObject:
        """Make a thread of that name without a message of its own. Names are not unique, and this request
        has no nonce: look first. `kind` must be said, for Discord's default is a private thread."""
        body = Body.json({"name": name, "type": kind})
        return _object(await self._connection.call(routes.start_thread(channel_id), body=body))

    async def roles(self, guild_id: int) -> list[JsonObject]:
        return _list(await self._connection.call(routes.guild_roles(guild_id)))

    async def member(self, guild_id: int, user_id: int) -> JsonObject:
        return _object(await self._connection.call(routes.guild_member(guild_id, user_id)))


def _object(answer: Answer) -> JsonObject:
    if not isinstance(answer.data, dict):
        raise _unreadable()
    return answer.data


def _list(answer: Answer) -> list[JsonObject]:
    return _objects(answer.data)


def _objects(data: object) -> list[JsonObject]:
    if data is None:
        return []
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise _unreadable()
    return data


def _object_in(json: JsonObject, key: str) -> JsonObject:
    inner = json.get(key)
    if not isinstance(inner, dict):
        raise _unreadable()
    return inner


def _id_of(message: JsonObject) -> int:
    """A snowflake as the number that it is: as text, 18 digits would sort after 19."""
    try:
        return int(message["id"])
    except (KeyError, TypeError, ValueError):
        raise _unreadable() from None


def _unreadable() -> UnreachableError:
    return UnreachableError("Discord's answer cannot be read")
