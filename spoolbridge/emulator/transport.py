"""HTTP on one side, calls and replies on the other: what Discord's edge and its API do with every request.

Owns the order of the checks (blocked address, User-Agent, route, token, scripted fault, rate limit), the
headers of an answer, and the acting out of faults. Decides nothing about messages or channels.
An answer carries exactly `Content-Type: application/json`, and `Via: 1.1 google` unless it plays the edge.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from spoolbridge.emulator import bodies, refusals
from spoolbridge.emulator.faults import Fault, Faults
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.limits import Limits, TooMany, too_many
from spoolbridge.emulator.refusals import RefusalError
from spoolbridge.emulator.render import Viewer
from spoolbridge.emulator.routes import Call, Found, Reply, Table

GZIP_FROM = 1024  # bytes; below that compression costs more than it saves
VERSIONS = ("v9", "v10")
BLOCKED = "You are being blocked from accessing our API temporarily due to exceeding our rate limits."
HTML = "text/html; charset=UTF-8"
PLAIN = "text/plain; charset=UTF-8"
PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"


@dataclass(frozen=True)
class Seen:
    """A request that came: `route` is its template ("" for none), `status` 0 while or where unanswered."""

    time: float
    method: str
    path: str
    route: str = ""
    status: int = 0
    bucket: str = ""


@dataclass(frozen=True)
class Answered:
    """What to send: `edge` answers come from in front of Discord and lack `Via`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    content_type: str = "application/json"
    edge: bool = False
    scope: str = ""


@dataclass
class Exchange:
    """One request on its way: where it stands in the log, the fault it met, the headers of its bucket."""

    request: web.Request
    index: int
    fault: Fault | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class InsteadError(Exception):
    """The request is not carried out; `answered` goes out in place of an answer."""

    def __init__(self, answered: Answered) -> None:
        super().__init__(answered.status)
        self.answered = answered


class Transport:
    """Answers every request below /api."""

    def __init__(
        self, guild: Guild, table: Table, *, limits: Limits, faults: Faults, token: str, latency: float
    ) -> None:
        self.guild = guild
        self.table = table
        self.limits = limits
        self.faults = faults
        self.token = token
        self.latency = latency
        self.url = ""
        self.refused_token = False
        self.seen: list[Seen] = []
        self.closing = asyncio.Event()
        self.go_down: Callable[[float], Awaitable[None]] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, from its arrival in the log to its answer or its broken connection."""
        exchange = Exchange(request, len(self.seen))
        self.seen.append(Seen(self.guild.clock(), request.method, request.path))
        answered = await self._decide(exchange)
        self.limits.count(answered.status, answered.scope, self.guild.clock())
        fault = exchange.fault
        if fault is None:
            self._note(exchange, status=answered.status)
            return _response(request, answered)
        if fault.kind in ("drop_before", "drop_after", "down"):
            return await self._drop(request, fault)
        self._note(exchange, status=answered.status)
        if fault.kind == "delay" and fault.commits:
            await self.pause(fault.seconds)
        if fault.kind == "truncated":
            return await _truncated(request, answered)
        if fault.kind == "hang_up":
            return await _hang_up(request, answered)
        return _response(request, answered)

    async def pause(self, seconds: float) -> None:
        """Wait in real time, but not beyond the emulator's end."""
        if seconds > 0:
            try:
                await asyncio.wait_for(self.closing.wait(), seconds)
            except TimeoutError:
                return

    def _note(self, exchange: Exchange, **fields: Any) -> None:
        self.seen[exchange.index] = replace(self.seen[exchange.index], **fields)

    async def _decide(self, exchange: Exchange) -> Answered:
        """The answer that the request gets, or would get if its connection were not about to break."""
        await self.pause(self.latency)
        try:
            answered = await self._carry_out(exchange)
        except RefusalError as refusal:
            answered = Answered(refusal.status, _json(refusal.body), exchange.headers)
        except InsteadError as instead:
            answered = instead.answered
        fault = exchange.fault
        if fault is not None and fault.kind == "status" and fault.commits:
            return _status(fault)
        return answered

    async def _carry_out(self, exchange: Exchange) -> Answered:
        """The checks in Discord's order, then the answer. Raises RefusalError, InsteadError."""
        request, now = exchange.request, self.guild.clock()
        blocked = self.limits.banned(now)
        if blocked > 0:
            return _cloudflare("html", blocked)
        found, path = self._enter(request)
        template = found.route.template
        self._note(exchange, route=template)
        await self._meet(exchange, self.faults.scripted(request.method, path))
        ticket = self.limits.take(request.method, template, _major(found), self.guild.clock())
        if isinstance(ticket, TooMany):
            return _too_many(ticket)
        if ticket is not None:
            exchange.headers = ticket.headers(self.guild.clock())
            self._note(exchange, bucket=exchange.headers["X-RateLimit-Bucket"])
        call = await self._call(request, found)
        if exchange.fault is None:
            await self._meet(exchange, self._typed(call, found))
        return _answered(found.route.answer(call), exchange.headers)

    async def _meet(self, exchange: Exchange, fault: Fault | None) -> None:
        """Note a fault. Raises InsteadError where it keeps the request from being carried out."""
        exchange.fault = fault
        if fault is not None and not fault.commits:
            instead = await self._instead(fault)
            if instead is not None:
                raise InsteadError(instead)

    def _enter(self, request: web.Request) -> tuple[Found, str]:
        """The route of an admitted request. Raises RefusalError: 40333, 404, 405, 401."""
        _, _, version, *rest = request.rel_url.raw_path.split("/")
        if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
            raise refusals.bad_user_agent()
        if version not in VERSIONS:
            raise refusals.invalid_version() if version[:1] == "v" else refusals.not_found()
        path = "/" + "/".join(rest)
        found = self.table.find(request.method, path)
        if self.refused_token or request.headers.get("Authorization", "") != f"Bot {self.token}":
            raise refusals.unauthorized()
        return found, path

    def _typed(self, call: Call, found: Found) -> Fault | None:
        channel = call.ids.get("channel", "")
        if (found.route.method, found.route.template) != ("POST", "/channels/{channel}/messages"):
            return None
        if not channel.isdecimal():
            return None
        key = str(call.body.get("nonce") or "")
        return self.faults.typed(int(channel), str(call.body.get("content") or ""), key=key)

    async def _call(self, request: web.Request, found: Found) -> Call:
        body, uploads = await bodies.read(request, most=self.guild.max_request)
        return Call(
            self.guild, Viewer(self.guild, self.url),
            {name: unquote(value) for name, value in found.ids.items()}, request.query, body, uploads,
        )  # fmt: skip

    async def _instead(self, fault: Fault) -> Answered | None:
        """What a request gets in place of being carried out; None: it is carried out after all."""
        details = fault.details
        if fault.kind == "delay":
            await self.pause(fault.seconds)
            return None
        if fault.kind == "unauthorized":
            self.refused_token = True
            return Answered(401, _json(refusals.unauthorized().body))
        if fault.kind == "cloudflare":
            return _cloudflare(str(details.get("shape", "html")), details.get("retry_after"))
        if fault.kind == "ratelimit":
            scope = str(details.get("scope", "user"))
            refused = too_many(float(details.get("retry_after", 1.0)), scope=scope, code=details.get("code"))
            return _too_many(refused)
        return Answered(0) if fault.kind in ("drop_before", "down") else _status(fault)

    async def _drop(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Break the connection; what is returned goes nowhere."""
        _close(request, reset=bool(fault.details.get("reset", False)))
        if fault.kind == "down" and self.go_down is not None:
            await self.go_down(fault.seconds)
        return web.Response(status=500)


def _major(found: Found) -> str:
    """The part of the path that limits are kept by: the channel, else the guild."""
    return found.ids.get("channel") or found.ids.get("guild") or ""


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _answered(reply: Reply, headers: Mapping[str, str]) -> Answered:
    if reply.status == 204:
        return Answered(204, headers=headers, content_type="")
    return Answered(reply.status, _json(reply.body), headers)


def _too_many(refused: TooMany) -> Answered:
    return Answered(429, _json(refused.body), refused.headers, scope=refused.headers["X-RateLimit-Scope"])


def _status(fault: Fault) -> Answered:
    status = int(fault.details.get("status", 500))
    message = str(fault.details.get("message", f"{status}: Internal Server Error"))
    if fault.details.get("html", status >= 500):
        page = PAGE.format(title=f"{status} Server Error").encode()
        return Answered(status, page, content_type=HTML, edge=True)
    return Answered(status, _json({"message": message, "code": int(fault.details.get("code", 0))}))


def _cloudflare(shape: str, retry_after: Any = None) -> Answered:
    """A block in front of Discord: no `Via`, no rate limit headers, three shapes (#5810, #7137)."""
    headers = {} if retry_after is None else {"Retry-After": str(int(retry_after))}
    if shape == "json":
        return Answered(429, _json({"code": 0, "message": BLOCKED}), headers, edge=True)
    if shape == "text":
        return Answered(429, b"error code: 1015", headers, content_type=PLAIN, edge=True)
    page = PAGE.format(title="Error 1015: You are being rate limited").encode()
    return Answered(429, page, headers, content_type=HTML, edge=True)


def _headers(answered: Answered) -> dict[str, str]:
    headers = {"Server": "cloudflare", **(answered.headers or {})}
    if answered.content_type:
        headers["Content-Type"] = answered.content_type
    if not answered.edge:
        headers["Via"] = "1.1 google"
    return headers


def _response(request: web.Request, answered: Answered) -> web.Response:
    body = answered.body if answered.status != 204 else None
    response = web.Response(body=body, status=answered.status, headers=_headers(answered))
    if len(answered.body) >= GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def _truncated(request: web.Request, answered: Answered) -> web.StreamResponse:
    """Half of the body under the length of the whole, then the end of the connection."""
    headers = _headers(answered) | {"Content-Length": str(len(answered.body))}
    response = web.StreamResponse(status=answered.status, headers=headers)
    await response.prepare(request)
    await response.write(answered.body[: len(answered.body) // 2])
    _close(request, reset=False)
    return response


async def _hang_up(request: web.Request, answered: Answered) -> web.StreamResponse:
    """A whole answer that promises to keep the connection, then its end: the keep-alive race."""
    response = _response(request, answered)
    await response.prepare(request)
    await response.write_eof()
    _close(request, reset=False)
    return response


def _close(request: web.Request, *, reset: bool) -> None:
    """End the connection: in order, or (`reset`) so that the other side reads ECONNRESET."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        connection = transport.get_extra_info("socket")
        # A linger time of zero makes the kernel send RST in place of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
