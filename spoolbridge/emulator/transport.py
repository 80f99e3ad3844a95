"""HTTP on one side, calls and replies on the other: what Discord's edge and its API do with every request.

Owns the order of the checks (blocked address, User-Agent, route, token, scripted fault, rate limit) and the
acting out of faults. Decides nothing about messages or channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from aiohttp import web

from spoolbridge.emulator import answers, bodies, refusals
from spoolbridge.emulator.answers import Answered
from spoolbridge.emulator.faults import Fault, Faults
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.limits import Limits, TooMany, too_many
from spoolbridge.emulator.permissions import VIEW_CHANNEL
from spoolbridge.emulator.refusals import RefusalError
from spoolbridge.emulator.render import Viewer
from spoolbridge.emulator.routes import Call, Found, Table

DROPS = frozenset({"drop_before", "drop_after", "down"})  # faults after which nothing is answered
VERSIONS = ("v9", "v10")


@dataclass(frozen=True)
class Seen:
    """A request that came: `route` is its template ("" for none), `status` 0 while or where unanswered."""

    time: float
    method: str
    path: str
    route: str = ""
    status: int = 0
    bucket: str = ""


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
        self, guild: Guild, table: Table, *, limits: Limits, faults: Faults, token: str, latency: float,
        keep_alive: int,
    ) -> None:  # fmt: skip
        self.guild = guild
        self.table = table
        self.limits = limits
        self.faults = faults
        self.token = token
        self.latency = latency
        self.keep_alive = keep_alive
        self.url = ""
        self.refused_token = False
        self.seen: list[Seen] = []
        self.closing = asyncio.Event()
        self._carried: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self.go_down: Callable[[float], Awaitable[None]] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request, from its arrival in the log to its answer or its broken connection."""
        exchange = Exchange(request, len(self.seen))
        self.seen.append(Seen(self.guild.clock(), request.method, request.path))
        answered = await self._decide(exchange)
        self.limits.count(answered.status, answered.scope, self.guild.clock())
        answered = replace(answered, date=self.guild.clock(), closes=self._closes(request))
        if exchange.fault is None or exchange.fault.kind not in DROPS:
            self._note(exchange, status=answered.status)
        return await self._send(request, exchange.fault, answered)

    async def file(self, request: web.Request, answered: Answered) -> web.StreamResponse:
        """A file of a message, or what a scripted fault makes of it: without a token, from another server."""
        fault = self.faults.scripted("GET", request.path)
        answered = replace(answered, date=self.guild.clock())
        if fault is not None and not fault.commits:
            answered = await self._instead(fault) or answered
        return await self._send(request, fault, answered)

    async def _send(
        self, request: web.Request, fault: Fault | None, answered: Answered
    ) -> web.StreamResponse:  # fmt: skip
        """The answer, as whole as its fault leaves it."""
        if fault is None:
            return answers.response(request, answered)
        if fault.kind in DROPS:
            return await self._drop(request, fault)
        if fault.kind == "delay" and fault.commits:
            await self.pause(fault.seconds)
        if fault.kind == "truncated":
            return await answers.truncated(request, answered)
        if fault.kind == "hang_up":
            return await answers.hang_up(request, answered)
        return answers.response(request, answered)

    def _closes(self, request: web.Request) -> bool:
        """Whether this request is the last that its connection carries."""
        if self.keep_alive == 0 or request.transport is None:
            return False
        carried = self._carried[request.transport] = self._carried.get(request.transport, 0) + 1
        return carried >= self.keep_alive

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
            answered = Answered(refusal.status, answers.as_json(refusal.body), exchange.headers)
        except InsteadError as instead:
            answered = instead.answered
        fault = exchange.fault
        if fault is not None and fault.kind in ("status", "body") and fault.commits:
            return answers.of_status(fault) if fault.kind == "status" else answers.of_body(fault)
        return answered

    async def _carry_out(self, exchange: Exchange) -> Answered:
        """The checks in Discord's order, then the answer. Raises RefusalError, InsteadError."""
        request, now = exchange.request, self.guild.clock()
        self.guild.archive_idle()
        blocked = self.limits.banned(now)
        if blocked > 0:
            return answers.cloudflare("html", blocked)
        found, path = self._enter(request)
        template = found.route.template
        self._note(exchange, route=template)
        await self._meet(exchange, self.faults.scripted(request.method, path))
        self._change(exchange.fault, found)
        ticket = self.limits.take(request.method, template, _major(found), self.guild.clock())
        if isinstance(ticket, TooMany):
            return answers.of_limit(ticket)
        if ticket is not None:
            exchange.headers = ticket.headers(self.guild.clock())
            self._note(exchange, bucket=exchange.headers["X-RateLimit-Bucket"])
        call = await self._call(request, found)
        if exchange.fault is None:
            await self._meet(exchange, self._typed(call, found))
        return answers.of_reply(found.route.answer(call), exchange.headers)

    async def _meet(self, exchange: Exchange, fault: Fault | None) -> None:
        """Note a fault. Raises InsteadError where it keeps the request from being carried out."""
        exchange.fault = fault
        if fault is not None and not fault.commits:
            instead = await self._instead(fault)
            if instead is not None:
                raise InsteadError(instead)

    def _change(self, fault: Fault | None, found: Found) -> None:
        """What somebody changes at Discord just before a request arrives there."""
        if fault is None:
            return
        if fault.kind == "new_hash":
            self.limits.new_hash(found.route.method, found.route.template)
        named = found.ids.get("channel", "")
        channel = self.guild.by_id.get(int(named)) if named.isdecimal() else None
        if channel is not None and fault.kind == "remove_channel":
            self.guild.remove_channel(channel.id)
        if channel is not None and fault.kind == "revoke":
            place = self.guild.by_id.get(channel.parent_id or 0, channel) if channel.is_thread else channel
            self.guild.overwrite(place, deny=int(fault.details.get("bits", VIEW_CHANNEL)))

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
            return Answered(401, answers.as_json(refusals.unauthorized().body))
        if fault.kind == "cloudflare":
            return answers.cloudflare(str(details.get("shape", "html")), details.get("retry_after"))
        if fault.kind == "ratelimit":
            scope = str(details.get("scope", "user"))
            refused = too_many(float(details.get("retry_after", 1.0)), scope=scope, code=details.get("code"))
            return answers.of_limit(refused)
        if fault.kind == "body":
            return answers.of_body(fault)
        return Answered(0) if fault.kind in ("drop_before", "down") else answers.of_status(fault)

    async def _drop(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """Break the connection; what is returned goes nowhere."""
        answers.close(request, reset=bool(fault.details.get("reset", False)))
        if fault.kind == "down" and self.go_down is not None:
            await self.go_down(fault.seconds)
        return web.Response(status=500)


def _major(found: Found) -> str:
    """The part of the path that limits are kept by: the channel, else the guild."""
    return found.ids.get("channel") or found.ids.get("guild") or ""
