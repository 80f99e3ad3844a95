"""Files from Discord's CDN: who is asked, what is sent along, and what becomes of every kind of answer."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

from spoolbridge.discord.cdn import SLOWEST, Cdn
from spoolbridge.errors import DiscordError, RefusedError, UnreachableError

API = "https://discord.com/api/v10"
EMULATOR = "http://127.0.0.1:8640/api/v10"
DATA = bytes(range(256)) * 4000  # larger than one piece

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answering: Answering, *, timeout: float = 15.0) -> AsyncIterator[tuple[Cdn, str]]:
    """A server on loopback that answers every request so; a CDN for which it is Discord; a link."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site.port}"
    try:
        async with Cdn(f"{url}/api/v10", timeout=timeout) as cdn:
            yield cdn, f"{url}/attachments/1/2/a%20b.png?ex=1&is=2&hm=%2f"
    finally:
        await runner.cleanup()


async def fetched(cdn: Cdn, link: str, size: int = len(DATA), seconds: float = 60.0) -> bytes:
    async with aclosing(cdn.pieces(link, size, seconds=seconds)) as pieces:  # type: ignore[type-var]
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize(
    ("link", "served"),
    [
        ("https://cdn.discordapp.com/attachments/1/2/a.png?ex=1&is=2&hm=3", True),
        ("https://media.discordapp.net/attachments/1/2/a.png", True),
        ("https://cdn.discordapp.com:443/a", True),
        ("https://CDN.discordapp.com/a", True),
        ("http://cdn.discordapp.com/a", False),
        ("ftp://cdn.discordapp.com/a", False),
        ("file:///etc/passwd", False),
        ("https://cdn.discordapp.com:8443/a", False),
        ("https://cdn.discordapp.com.evil.example/a", False),
        ("https://evil.example/cdn.discordapp.com", False),
        ("https://cdn.discordapp.com@evil.example/a", False),
        ("https://cdn.discordapp.com\\@evil.example/a", False),
        ("https://evil.example#@cdn.discordapp.com/a", False),
        ("https://user@cdn.discordapp.com/a", False),
        ("https://:pass@cdn.discordapp.com/a", False),
        ("https://cdn.discordapp.com/a b", False),
        ("https://cdn.discordapp.com/a\r\nHost: x", False),
        ("https://cdn.discordapp.com/ä", False),
        ("https://discord.com/a", False),
        ("https://127.0.0.1/a", False),
        ("http://127.0.0.1:8640/attachments/1", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("http://[::1", False),
        ("//cdn.discordapp.com/a", False),
        ("", False),
    ],
)
def test_who_is_asked(link: str, served: bool) -> None:
    """Https and the CDN's two hosts; whatever else a link may look like."""
    assert served == Cdn(API).serves(link)


@pytest.mark.parametrize(
    ("link", "served"),
    [
        ("http://127.0.0.1:8640/attachments/1", True),
        ("http://localhost:8640/attachments/1", True),
        ("http://127.0.0.1:8641/attachments/1", False),
        ("https://127.0.0.1:8640/attachments/1", False),
        ("http://192.0.2.1:8640/attachments/1", False),
        ("https://cdn.discordapp.com/a", True),
    ],
)
def test_who_is_asked_where_the_api_is_the_emulator(link: str, served: bool) -> None:
    """Its own address as well, and no other service of this machine."""
    assert served == Cdn(EMULATOR).serves(link)


def test_an_api_elsewhere_serves_no_files() -> None:
    """A proxy for the API is no reason to ask any address that a message names."""
    assert not Cdn("https://proxy.example/api/v10").serves("https://proxy.example/attachments/1")


async def test_nobody_else_is_connected_to() -> None:
    """Refused before a name is looked up: the guard of these tests would bark."""
    async with Cdn(API) as cdn:
        with pytest.raises(RefusedError, match="its address is not Discord's"):
            await fetched(cdn, "http://169.254.169.254/latest/meta-data")


async def test_what_is_sent_along() -> None:
    """The link as it was signed; no token, no cookie, nothing to unpack."""
    seen: list[tuple[str, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.raw_path, dict(request.headers)))
        return web.Response(body=DATA, headers={"Set-Cookie": "a=b; Path=/"})

    async with serving(answer) as (cdn, link):
        assert DATA == await fetched(cdn, link) == await fetched(cdn, link)
    for path, headers in seen:
        assert "/attachments/1/2/a%20b.png?ex=1&is=2&hm=%2f" == path
        assert {"Host", "Accept", "Accept-Encoding", "User-Agent"} == set(headers)
        assert "identity" == headers["Accept-Encoding"]


async def test_what_arrives_is_not_unpacked() -> None:
    """A small answer cannot become a large file."""
    packed = gzip.compress(b"\0" * 1_000_000)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with serving(answer) as (cdn, link):
        assert packed == await fetched(cdn, link, len(packed))


async def test_a_redirect_is_not_followed() -> None:
    """It would lead to wherever it says."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(answer) as (cdn, link):
        with pytest.raises(RefusedError, match="answered 302"):
            await fetched(cdn, link)
    assert ["/attachments/1/2/a b.png"] == seen


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, RefusedError), (404, RefusedError), (410, RefusedError), (400, RefusedError), (204, RefusedError),
     (429, UnreachableError), (500, UnreachableError), (503, UnreachableError)],
)  # fmt: skip
async def test_every_other_status(status: int, kind: type[DiscordError]) -> None:
    """What may pass is told apart from what will not, with the status."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(answer) as (cdn, link):
        with pytest.raises(kind, match=f"Discord's file server answered {status}") as raised:
            await fetched(cdn, link)
    assert status == raised.value.status


@pytest.mark.parametrize("declared", [0, len(DATA) - 1])
async def test_more_than_was_declared(declared: int) -> None:
    """It stops there, whatever the server goes on to send."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=DATA)

    async with serving(answer) as (cdn, link):
        with pytest.raises(RefusedError, match=f"larger than the {declared} bytes"):
            await fetched(cdn, link, declared)


async def test_an_endless_answer() -> None:
    """Of a file that is said to be small, no more is read than that."""
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)
            sent += 65536

    async with serving(answer) as (cdn, link):
        with pytest.raises(RefusedError, match="larger than the 100000 bytes"):
            await fetched(cdn, link, 100_000)
    assert sent < 100 << 20


async def test_less_than_was_declared() -> None:
    """Whole by its own account, and yet not the file: it may be by the next time."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=DATA[:10])

    async with serving(answer) as (cdn, link):
        with pytest.raises(UnreachableError, match=f"ended after 10 of {len(DATA)} bytes"):
            await fetched(cdn, link)


async def test_a_connection_that_breaks() -> None:
    """In the middle of a file."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    async with serving(answer) as (cdn, link):
        with pytest.raises(UnreachableError, match="the connection failed"):
            await fetched(cdn, link)


@pytest.mark.parametrize(("timeout", "seconds"), [(0.05, 60.0), (60.0, 0.05)])
async def test_a_server_that_says_nothing(timeout: float, seconds: float) -> None:
    """The time that a file of its size deserves, and what is left of its message's."""
    ended = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with serving(answer, timeout=timeout) as (cdn, link):
        with pytest.raises(UnreachableError, match="did not arrive in time"):
            await fetched(cdn, link, 1, seconds)
        ended.set()


async def test_a_large_file_gets_more_time() -> None:
    """A server that needs a little longer than a small file may take."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.2)
        await response.write(DATA)
        return response

    assert len(DATA) / SLOWEST > 1
    async with serving(answer, timeout=0.05) as (cdn, link):
        assert DATA == await fetched(cdn, link)


async def test_nobody_listens() -> None:
    """A refused connection may be accepted later."""
    async with Cdn("http://127.0.0.1:9/api/v10") as cdn:
        with pytest.raises(UnreachableError, match="the connection failed"):
            await fetched(cdn, "http://127.0.0.1:9/attachments/1")
