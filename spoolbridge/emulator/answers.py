"""What goes out: the status, headers and bytes of an answer, whole, cut short, or with its connection's end.

An answer carries exactly `Content-Type: application/json`, and `Via: 1.1 google` unless it plays the edge.
Decides nothing: `transport` says which answer a request gets.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from aiohttp import web

from spoolbridge.emulator.faults import Fault
from spoolbridge.emulator.limits import TooMany
from spoolbridge.emulator.routes import Reply

GZIP_FROM = 1024  # bytes; below that compression costs more than it saves
BLOCKED = "You are being blocked from accessing our API temporarily due to exceeding our rate limits."
HTML = "text/html; charset=UTF-8"
PLAIN = "text/plain; charset=UTF-8"
PAGE = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"


@dataclass(frozen=True)
class Answered:
    """What to send: `edge` answers come from in front of Discord and lack `Via`."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    content_type: str = "application/json"
    edge: bool = False
    scope: str = ""
    date: float = 0.0  # seconds since 1970
    closes: bool = False


def as_json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def of_reply(reply: Reply, headers: Mapping[str, str]) -> Answered:
    if reply.status == 204:
        return Answered(204, headers=headers, content_type="")
    return Answered(reply.status, as_json(reply.body), headers)


def of_limit(refused: TooMany) -> Answered:
    return Answered(429, as_json(refused.body), refused.headers, scope=refused.headers["X-RateLimit-Scope"])


def of_status(fault: Fault) -> Answered:
    status = int(fault.details.get("status", 500))
    message = str(fault.details.get("message", f"{status}: Internal Server Error"))
    if fault.details.get("html", status >= 500):
        page = PAGE.format(title=f"{status} Server Error").encode()
        return Answered(status, page, content_type=HTML, edge=True)
    return Answered(status, as_json({"message": message, "code": int(fault.details.get("code", 0))}))


def of_body(fault: Fault) -> Answered:
    """An answer of another text than its own, under the Content-Type of JSON."""
    return Answered(int(fault.details.get("status", 200)), str(fault.details.get("text", "")).encode())


def cloudflare(shape: str, retry_after: Any = None) -> Answered:
    """A block in front of Discord: no `Via`, no rate limit headers, three shapes (#5810, #7137)."""
    headers = {} if retry_after is None else {"Retry-After": str(int(retry_after))}
    if shape == "json":
        return Answered(429, as_json({"code": 0, "message": BLOCKED}), headers, edge=True)
    if shape == "text":
        return Answered(429, b"error code: 1015", headers, content_type=PLAIN, edge=True)
    page = PAGE.format(title="Error 1015: You are being rate limited").encode()
    return Answered(429, page, headers, content_type=HTML, edge=True)


def _headers(answered: Answered) -> dict[str, str]:
    date = formatdate(answered.date, usegmt=True)
    headers = {"Server": "cloudflare", "Date": date, **(answered.headers or {})}
    if answered.content_type:
        headers["Content-Type"] = answered.content_type
    if not answered.edge:
        headers["Via"] = "1.1 google"
    return headers


def response(request: web.Request, answered: Answered) -> web.Response:
    body = answered.body if answered.status != 204 else None
    made = web.Response(body=body, status=answered.status, headers=_headers(answered))
    if answered.closes:
        made.force_close()
    takes = "gzip" in request.headers.get("Accept-Encoding", "")
    if takes and answered.content_type == "application/json" and len(answered.body) >= GZIP_FROM:
        made.enable_compression(web.ContentCoding.gzip)
    return made


async def truncated(request: web.Request, answered: Answered) -> web.StreamResponse:
    """Half of the body under the length of the whole, then the end of the connection."""
    headers = _headers(answered) | {"Content-Length": str(len(answered.body))}
    cut = web.StreamResponse(status=answered.status, headers=headers)
    await cut.prepare(request)
    await cut.write(answered.body[: len(answered.body) // 2])
    close(request, reset=False)
    return cut


async def hang_up(request: web.Request, answered: Answered) -> web.StreamResponse:
    """A whole answer that promises to keep the connection, then its end: the keep-alive race."""
    whole = response(request, answered)
    await whole.prepare(request)
    await whole.write_eof()
    close(request, reset=False)
    return whole


def close(request: web.Request, *, reset: bool) -> None:
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
