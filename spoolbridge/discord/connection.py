"""One request to Discord at a time: the session, the turns, the limiter, the answer.

Owns the HTTP session of one token and asks the limiter before every request. Promises: requests of one kind
to one channel go one by one, in the order of the calls, and channels never wait for one another; after a 401
nothing is asked any more. Must never follow a redirect, keep a cookie, show the token anywhere but in the
Authorization header, nor repeat what may have been carried out and is not safe to repeat.

Waits longer than `LONGEST_WAIT` are the caller's: they come back as UnreachableError with the seconds named,
so that whoever asked can say so and do something else.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

import aiohttp
from yarl import URL

from spoolbridge import __version__
from spoolbridge.discord import dates
from spoolbridge.discord.answers import Answer, error_of, error_of_failure, token_refused
from spoolbridge.discord.ratelimit import TOO_MANY, Permit, RateLimiter
from spoolbridge.discord.routes import Route
from spoolbridge.discord.uploads import Upload, form, json_body
from spoolbridge.errors import SettingsError, UnreachableError

USER_AGENT = f"DiscordBot (https://github.com/spoolbridge/spoolbridge, {__version__})"

#: Seconds of a request in which the connection must be made.
CONNECT_TIMEOUT = 10.0
#: Bytes a second that any line manages: an upload gets its size's worth of time on top.
SLOWEST_UPLOAD = 128 * 1024
#: Seconds that a caller is kept waiting by a limit; anything longer it is told instead.
LONGEST_WAIT = 60.0
#: How often one call is asked while the answer is 429, the first time included.
TIMES_ASKED = 5

#: What a request without an answer raises. TimeoutError, which aiohttp raises when the time for the whole
#: request is over, is an OSError.
FAILURES = (aiohttp.ClientError, OSError)

_UNAUTHORIZED = 401

log = logging.getLogger(__name__)


class Body(NamedTuple):
    """What a request carries, and how many seconds it may take on top of the usual."""

    data: bytes | aiohttp.FormData | None = None
    headers: Mapping[str, str] | None = None
    extra_time: float = 0.0

    @classmethod
    def json(cls, payload: Mapping[str, object]) -> Body:
        return cls(json_body(payload), {"Content-Type": "application/json"})

    @classmethod
    def form(cls, payload: Mapping[str, object], files: Sequence[Upload]) -> Body:
        """For one request only: a form cannot be sent twice."""
        size = sum(len(upload.data) for upload in files)
        return cls(form(payload, files), extra_time=size / SLOWEST_UPLOAD)


NOTHING = Body()


class Connection:
    """What the client's methods are made of. Raises SettingsError where token or address cannot be one."""

    def __init__(
        self,
        token: str,
        api_url: str,
        *,
        limiter: RateLimiter,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        timeout: float,
        heard: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._token = _plausible(token)
        self.api_url = _address(api_url)
        self.breaker = limiter.breaker
        self._limiter = limiter
        self.clock = clock
        self._sleep = sleep
        self._timeout = timeout
        self._usual = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, CONNECT_TIMEOUT))
        self._heard = heard
        self._session: aiohttp.ClientSession | None = None
        self._turns: WeakValueDictionary[tuple[str, str, int], asyncio.Lock] = WeakValueDictionary()
        self._refused = False
        self.answered_at: float | None = None
        #: Seconds that this machine's clock is ahead of Discord's, as the last answer tells.
        self.clock_ahead: float | None = None
        #: Discord's time at an answer (unix seconds), and the clock's then.
        self._dated: tuple[float, float] | None = None

    def open(self) -> None:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bot {self._token}", "User-Agent": USER_AGENT},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def once(
        self, route: Route, body: Body, *, before: Callable[[], Awaitable[None]] | None = None
    ) -> Answer:
        """Whatever Discord answers to one request. Raises one of FAILURES where it gives no answer.

        Raises UnreachableError, with nothing asked, where a limit would make it wait too long.
        """
        async with self._turn(route):
            return await self._exchange(route, body, None, before)

    async def call(
        self, route: Route, *, query: Mapping[str, str] | None = None, body: Body = NOTHING
    ) -> Answer:
        """A successful answer, waiting out 429s and, for what may be repeated, one broken connection.

        Raises a DiscordError.
        """
        async with self._turn(route):
            for _ in range(TIMES_ASKED):
                answer = await self._answer(route, body, query)
                if answer.status != TOO_MANY:
                    break
        if answer.ok:
            return answer
        raise error_of(answer, route)

    def _turn(self, route: Route) -> asyncio.Lock:
        """First come, first served; forgotten as soon as nobody holds it or waits for it."""
        return self._turns.setdefault(route.key, asyncio.Lock())

    async def _answer(self, route: Route, body: Body, query: Mapping[str, str] | None) -> Answer:
        try:
            return await self._exchange(route, body, query)
        except FAILURES as error:
            if not route.repeatable:
                raise error_of_failure(error) from error
        try:
            return await self._exchange(route, body, query)
        except FAILURES as error:
            raise error_of_failure(error) from error

    async def _exchange(
        self,
        route: Route,
        body: Body,
        query: Mapping[str, str] | None,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        assert self._session is not None, "use the client inside `async with`"
        with await self._permit(route, held=before is not None) as permit:
            if before:
                await before()
                permit.leave(self.clock())
            left = time.time()
            try:
                answer = await self._asked(self._session, route, body, query)
            except FAILURES:
                self._heard(0)
                raise
            self._note(route, answer, permit)
        back = time.time()
        self.clock_ahead = dates.ahead(answer.headers, left, back)
        if self.clock_ahead is not None:
            self._dated = back - self.clock_ahead, self.clock()
        return answer

    @property
    def time(self) -> float | None:
        """Discord's time (unix seconds, to about two), however this machine's clock is set meanwhile; None:
        it has told none yet. While the machine sleeps it may stand still."""
        return self._dated and self._dated[0] + self.clock() - self._dated[1]

    async def _asked(
        self, session: aiohttp.ClientSession, route: Route, body: Body, query: Mapping[str, str] | None
    ) -> Answer:
        async with session.request(
            route.method,
            URL(self.api_url + route.path, encoded=True),
            params=query,
            data=body.data,
            headers=body.headers,
            # aiohttp would give a body that is not there a content type, and Discord may refuse that.
            skip_auto_headers=("Content-Type",) if body.data is None else None,
            timeout=self._times(body),
            allow_redirects=False,
        ) as response:
            return Answer.read(response.status, response.headers, await _whole(response))

    async def _permit(self, route: Route, *, held: bool) -> Permit:
        while True:
            if self._refused:
                raise token_refused()
            found = self._limiter.acquire(route, self.clock(), held=held)
            if isinstance(found, Permit):
                return found
            if found > LONGEST_WAIT:
                raise self._too_long(found)
            await self._sleep(found)

    def _too_long(self, seconds: float) -> UnreachableError:
        if not math.isfinite(seconds):
            return UnreachableError("another client with the same limiter is asking for the same")
        why = self.breaker.why(self.clock()) or "Discord's limit for this is used up"
        return UnreachableError(f"{why}; the bridge waits {seconds:.0f} s", retry_after=seconds)

    def _times(self, body: Body) -> aiohttp.ClientTimeout:
        if not body.extra_time:
            return self._usual
        return aiohttp.ClientTimeout(total=self._timeout + body.extra_time, connect=self._usual.connect)

    def _note(self, route: Route, answer: Answer, permit: Permit) -> None:
        now, status, edge = self.clock(), answer.status, answer.edge
        self._heard(status)
        seconds = None if status < 400 else answer.retry_after
        permit.complete(answer.headers, now, status=status, retry_after=seconds, edge=edge)
        if status == _UNAUTHORIZED:
            self._refused = True
        if edge or status == TOO_MANY:
            who = "Cloudflare" if edge else "Discord"
            log.info("%s %s for %d: %s answered %d", route.method, route.template, route.major, who, status)
        if not edge and status < 500:
            self.answered_at = now


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body. Of a refusal the status says enough, so there a cut page is no broken connection."""
    try:
        return await response.read()
    except FAILURES:
        if response.status < 300:
            raise
        return b""


def _plausible(token: str) -> str:
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    raise SettingsError("that is no Discord token: it is empty, or holds a space", "check DISCORD_BOT_TOKEN")


def _address(api_url: str) -> str:
    try:
        url = URL(api_url.rstrip("/"))
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError("the API's address does not begin with https://", "check SPOOLBRIDGE_API_URL")
    return str(url)
