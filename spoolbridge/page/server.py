"""What is answered, and to whom.

    GET  /             the page, with page.css and its scripts: no data in them, so no key is asked for
    GET  /state.json   what the page shows       GET  /metrics   for Prometheus
    GET  /healthz      200, or 503 with the reason in a line; anybody may ask
    POST /retry        {channel, file}: a failed entry back to outgoing/, for who has the key

On loopback everybody on this machine may look; elsewhere whoever has the key. Of a request nothing is
logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import resources
from socket import socket

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from spoolbridge import failures, identity, ready
from spoolbridge.errors import SpoolError
from spoolbridge.page.door import Door, Where, address_of
from spoolbridge.page.exposition import CONTENT_TYPE, Exposition
from spoolbridge.page.health import Health, health
from spoolbridge.page.looks import Looks, Seen
from spoolbridge.page.picture import picture
from spoolbridge.parts import Parts
from spoolbridge.settings import HTTP_KEY
from spoolbridge.waiting import in_thread

FRESH = 0.4  # seconds for which one look at the spool does for everybody who asks
_COUNT = 5.0  # seconds between two looks where nobody asks
_LARGEST = 4096  # bytes of a request's body
_MOST = 64  # connections at a time; a browser has six
_IDLE = 30.0  # seconds for which one may say nothing
_ENDS_WITHIN = 1.0  # seconds that requests under way get when the service ends
_SCRIPTS = ("page.js", "lanes.js", "charts.js", "lists.js", "parts.js")
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in _SCRIPTS},
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READ_ONLY = f"The page only shows: put {HTTP_KEY}=… (16 characters or more) into .env to retry from here."
_NO_KEY = "This needs the key: Authorization: Bearer and what SPOOLBRIDGE_HTTP_KEY is."

log = logging.getLogger(__name__)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(parts: Parts, bound: socket, where: Where, *, key: str) -> None:
    """Answer on a socket that `listen` gave, until cancelled."""
    page = Page(parts, Door(bound, where.host, key=key))
    runner = web.AppRunner(
        page.app(), access_log=None, logger=_log_of_bugs(), keepalive_timeout=_IDLE,
        shutdown_timeout=_ENDS_WITHIN, handle_signals=False,
    )  # fmt: skip
    await runner.setup()
    server = runner.server
    assert server is not None

    def connected() -> asyncio.Protocol:
        return server() if len(server.connections) < _MOST else _TurnedAway()

    listening = await asyncio.get_running_loop().create_server(connected, sock=bound)
    try:
        log.info("the page is at %s/", address_of(bound))
        await page.keep_counting()
    finally:
        listening.close()
        await runner.cleanup()


class _TurnedAway(asyncio.Protocol):
    """One connection too many: the descriptors that more would take are the service's to post with."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _log_of_bugs() -> logging.Logger:
    """Where aiohttp tells of ours; what is no HTTP it would quote, as often as it comes."""

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    told = logging.getLogger(f"{__name__}.http")
    told.filters = [is_ours]
    return told


class Page:
    """The routes of one service."""

    def __init__(
        self, parts: Parts, door: Door, *, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._parts, self._door, self._clock = parts, door, clock
        self._looks = Looks(parts.spool)
        self._looking = asyncio.Lock()
        self._seen: tuple[float, Seen] | None = None
        self._exposition = Exposition(parts, self._health, self._oldest)

    def app(self) -> web.Application:
        """The application; nothing runs yet."""
        app = web.Application(middlewares=[self._guard], client_max_size=_LARGEST)
        for path in _FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/state.json", self._state)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_post("/retry", self._retry)
        return app

    async def keep_counting(self) -> None:
        """Look now and then although nobody asks, for the hour of the backlog; until cancelled."""
        while True:
            with suppress(OSError):  # whoever asks is told
                await self._look()
            await asyncio.sleep(_COUNT)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        """Names first, then the key; the headers of every answer, refusals included."""
        turned_away = self._door.stranger(request.headers.get("Host", ""), request.headers.get("Origin"))
        if turned_away:
            return _text(403, turned_away)
        private = request.path not in (*_FILES, "/healthz")
        if private and not self._door.loopback and not self._has_key(request):
            return _text(401, _NO_KEY)
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            return _text(error.status, error.reason)
        except OSError as error:
            return _text(503, f"The spool cannot be looked at ({error.strerror}).")
        answer.headers.update(_HEADERS)
        return answer

    def _has_key(self, request: web.Request) -> bool:
        return self._door.has_key(request.headers.get("Authorization", ""))

    async def _file(self, request: web.Request) -> web.Response:
        name, kind = _FILES[request.path]
        text = resources.files(__package__).joinpath(name).read_text("utf-8")
        return web.Response(text=text, content_type=kind)

    async def _state(self, request: web.Request) -> web.Response:
        shown = picture(self._parts, await self._look(), self._health())
        shown["retry"] = "" if self._door.key else _READ_ONLY
        return web.Response(text=json.dumps(shown), content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._look()
        return web.Response(body=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, request: web.Request) -> web.Response:
        told = self._health()
        return _text(200 if told.well else 503, told.why)

    async def _retry(self, request: web.Request) -> web.Response:
        if not self._door.key:
            return _text(403, _READ_ONLY)
        if not self._has_key(request):
            return _text(401, _NO_KEY)
        try:
            wanted = await request.json()
            channel, file = (str(wanted[each]) for each in ("channel", "file"))
        except (ValueError, TypeError, KeyError):
            return _text(400, "Say which, as JSON: channel and file.")
        try:
            await in_thread(self._put_back, channel, file)
        except SpoolError as error:
            return _text(409, str(error))
        except OSError as error:
            return _text(409, f"it cannot be moved ({error.strerror})")
        self._seen = None
        self._parts.dispatcher.ring()
        return _text(200, "It is in outgoing/ again.")

    def _put_back(self, channel: str, file: str) -> None:
        """Raises SpoolError; names are compared with what lies there, and make no path."""
        spool = self._parts.spool
        parsed = identity.parse(file)
        known = channel in ("", *spool.channels("failed")) and not ready.ignored(file)
        if parsed and known and file in spool.names(f"failed/{channel}".rstrip("/")):
            failures.retry(spool, failures.at(spool, channel, file, parsed[0]))
            return
        raise SpoolError(f"{file[:120]!r} is no longer in failed/", "somebody else moved it")

    async def _look(self) -> Seen:
        """One look at a time, for all who ask about now."""
        async with self._looking:
            now = self._clock()
            if self._seen is None or not 0 <= now - self._seen[0] < FRESH:
                seen = await in_thread(self._looks.look, list(self._parts.metrics.newest))
                self._parts.metrics.counted(seen.backlog)
                self._seen = (now, seen)
            return self._seen[1]

    def _health(self) -> Health:
        return health(self._parts, clock=self._clock)

    def _oldest(self) -> float:
        oldest = self._seen[1].oldest if self._seen else None
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)


def _text(status: int, line: str) -> web.Response:
    challenge = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(status=status, text=f"{line}\n", headers=_HEADERS | challenge)
