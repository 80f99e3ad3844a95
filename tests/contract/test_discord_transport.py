"""What the client puts on the wire, and what it makes of a server that is no Discord at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import BodyPartReader, web

from spoolbridge import __version__
from spoolbridge.discord.client import DiscordClient, Upload
from spoolbridge.errors import RefusedError, SettingsError, TokenRefusedError, UnreachableError
from spoolbridge.outcome import NotSent, Outcome, Sent, Unknown

TOKEN = "MTU3Mzg1MDUwMDMwMDgwMDAwMA.Gabcde.not-a-real-token"
PAYLOAD = {"content": "hello", "nonce": "n"}

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def api(body: object, status: int = 200) -> web.Response:
    """An answer as the API's are: exactly this content type, and `Via`."""
    headers = {"Content-Type": "application/json", "Via": "1.1 google"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


@asynccontextmanager
async def serving(
    answering: Answering, *, host: str = "127.0.0.1", **options: Any
) -> AsyncIterator[DiscordClient]:
    """A server on loopback that answers every request so, and a client that knows it under that name."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with DiscordClient(TOKEN, api_url=f"http://{host}:{site.port}/api/v10/", **options) as client:
            yield client
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(*pieces: bytes) -> AsyncIterator[DiscordClient]:
    """A server that reads one request, writes these bytes and hangs up; and a client of it."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(pieces)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with DiscordClient(TOKEN, api_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.close()
        await server.wait_closed()


# -- what is sent ----------------------------------------------------------------------------------------


async def test_what_a_post_looks_like() -> None:
    """Token, User-Agent and content type as Discord wants them, and the payload as it is."""
    seen: list[tuple[str, str, dict[str, str], Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.raw_path, dict(request.headers), await request.json()))
        return api({"id": "7"})

    async with serving(answer) as client:
        assert Sent(7) == await client.post(5, PAYLOAD)
    ((method, path, headers, body),) = seen
    assert ("POST", "/api/v10/channels/5/messages", PAYLOAD) == (method, path, body)
    agent = f"DiscordBot (https://github.com/spoolbridge/spoolbridge, {__version__})"
    expected = {"Authorization": f"Bot {TOKEN}", "User-Agent": agent, "Content-Type": "application/json"}
    assert expected == {name: headers[name] for name in expected}


async def test_a_get_and_a_put_have_no_body() -> None:
    """A content type without content can be refused."""
    seen: list[tuple[str, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers.get("Content-Type"), await request.read()))
        return api([]) if request.method == "GET" else web.Response(status=204, headers={"Via": "1.1 google"})

    async with serving(answer) as client:
        await client.messages(5, after=0)
        await client.react(5, 6, "👀")
    assert [b"", b""] == [body for _, _, body in seen]
    assert "/api/v10/channels/5/messages?after=0&limit=100" == seen[0][0]
    assert "/api/v10/channels/5/messages/6/reactions/%F0%9F%91%80/@me" == seen[1][0]
    assert [None, None] == [kind for _, kind, _ in seen]


async def test_what_an_upload_looks_like() -> None:
    """One request: the payload as JSON, then the files under the names that Discord links by number."""
    seen: list[tuple[str | None, str | None, str, bytes]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            seen.append((part.name, part.filename, part.headers["Content-Type"], bytes(await part.read())))
        return api({"id": "7"})

    files = [Upload("naïve plan.md", b"# hi", "text/markdown"), Upload("core", b"\x00\xff")]
    async with serving(answer) as client:
        assert Sent(7) == await client.post(5, PAYLOAD, files=files)
    (name, filename, kind, described), *rest = seen
    assert ("payload_json", None, "application/json") == (name, filename, kind.partition(";")[0])
    listed = [{"id": 0, "filename": "naïve plan.md"}, {"id": 1, "filename": "core"}]
    assert {**PAYLOAD, "attachments": listed} == json.loads(described)
    assert [
        ("files[0]", "naïve plan.md", "text/markdown", b"# hi"),
        ("files[1]", "core", "application/octet-stream", b"\x00\xff"),
    ] == rest


async def test_no_cookie_is_kept() -> None:
    """Cloudflare hands some out, and they tie requests to one of its machines."""
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        response = api({})
        response.set_cookie("__cf_bm", "x")
        return response

    # By name: for a bare address no jar would keep any.
    async with serving(answer, host="localhost") as client:
        await client.me()
        await client.application()
    assert [None, None] == cookies


async def test_no_redirect_is_followed() -> None:
    """The token goes to the address that was configured and to no other."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere", "Via": "1.1 google"})

    async with serving(answer) as client:
        outcome = await client.post(5, PAYLOAD)
        with pytest.raises(UnreachableError):
            await client.me()
    assert isinstance(outcome, NotSent)
    assert "SPOOLBRIDGE_API_URL" in outcome.reason
    assert "/elsewhere" not in seen


# -- what comes back -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n", b'{"id": "7"'),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n", b'{"id'),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"9\r\n{",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n", b"ok"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n", b"<html>"),
        (b"SMTP ready\r\n\r\n",),
    ],
)
async def test_an_answer_that_is_none(pieces: tuple[bytes, ...]) -> None:
    """The request arrived, so that whatever else it is, it is not `not sent`."""
    async with raw(*pieces) as client:
        outcome = await client.post(5, PAYLOAD)
    assert isinstance(outcome, Unknown)
    assert "<" not in outcome.reason


async def test_a_refusal_with_a_cut_page_is_a_refusal() -> None:
    """The status says that nothing was posted; the page would only have said why."""
    async with raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\n", b"{") as client:
        with pytest.raises(TokenRefusedError):
            await client.post(5, PAYLOAD)


async def test_another_service_on_that_port_is_unreachable() -> None:
    """A read says so, too, and shows nothing of what it answered."""
    async with raw(b"220 \x1b[31m<b>mail</b> ready\r\n\r\n") as client:
        with pytest.raises(UnreachableError) as raised:
            await client.me()
    assert "mail" not in str(raised.value)


@pytest.mark.parametrize("body", ["x", 5, {"id": "1"}, [1], [{"no": "id"}], [{"id": "x"}], [{"id": None}]])
async def test_a_page_of_another_shape_is_an_error(body: object) -> None:
    """And not an empty page: a cursor must not pass what could not be read."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return api(body)

    async with serving(answer) as client:
        with pytest.raises(UnreachableError):
            await client.messages(5, after=0)


async def test_null_is_an_empty_page() -> None:
    """The schema allows it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return api(None)

    async with serving(answer) as client:
        assert [] == await client.messages(5, after=0)


async def test_ids_are_compared_as_numbers() -> None:
    """As text, 18 digits would come after 19, and messages of one millisecond come in any order."""
    ids = ["1000000000000000002", "999999999999999999", "1000000000000000000"]

    async def answer(request: web.Request) -> web.StreamResponse:
        return api([{"id": each} for each in ids])

    async with serving(answer) as client:
        page = await client.messages(5, after=0)
    assert sorted(int(each) for each in ids) == [int(message["id"]) for message in page]


async def test_a_server_that_ignores_the_cursor_is_no_endless_loop() -> None:
    """The same full page again ends it."""
    asked = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return api([{"id": str(each)} for each in range(1, 101)])

    async def no_wait(seconds: float) -> None:
        clock.append(clock[-1] + seconds)

    clock = [0.0]
    async with serving(answer, clock=lambda: clock[-1], sleep=no_wait) as client:
        pages = [page async for page in client.messages_since(5, 0)]
    assert (2, 2) == (asked, len(pages))


# -- turns -----------------------------------------------------------------------------------------------


async def test_one_channel_waits_and_the_others_do_not() -> None:
    """A post that hangs holds up its own channel alone, and lets the next go when it is answered."""
    arrived: list[str] = []
    hanging, answer_now = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        arrived.append((await request.json())["content"])
        if arrived[-1] == "first":
            hanging.set()
            await answer_now.wait()
        return api({"id": "7"})

    async with serving(answer) as client, asyncio.TaskGroup() as group:
        group.create_task(client.post(1, {"content": "first"}))
        await hanging.wait()
        second = group.create_task(client.post(1, {"content": "second"}))
        assert Sent(7) == await client.post(2, {"content": "other"})
        assert not second.done()
        answer_now.set()
    assert ["first", "other", "second"] == arrived


async def test_a_cancelled_post_frees_its_channel() -> None:
    """The service may be told to stop in the middle of one."""
    hanging, never = asyncio.Event(), asyncio.Event()
    posts = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal posts
        posts += 1
        if posts == 1:
            hanging.set()
            await never.wait()
        return api({"id": "7"})

    async with serving(answer) as client:
        task = asyncio.create_task(client.post(1, PAYLOAD))
        await hanging.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        outcome: Outcome = await client.post(1, PAYLOAD)
        never.set()
    assert Sent(7) == outcome


# -- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "Bot abc", "abc\n", "abc\r\nX-Evil: 1", "abć", "abc\x00"])
def test_what_is_no_token(token: str) -> None:
    """It is refused before it comes near a header, and not repeated."""
    with pytest.raises(SettingsError) as raised:
        DiscordClient(token)
    assert "DISCORD_BOT_TOKEN" in str(raised.value)
    assert "ab" not in str(raised.value).replace("able", "")


@pytest.mark.parametrize(
    "address", ["", "discord.com/api/v10", "ftp://discord.com", "https://", "file:///etc/passwd"]
)
def test_what_is_no_address(address: str) -> None:
    """Only the web's two schemes, with a host."""
    with pytest.raises(SettingsError):
        DiscordClient(TOKEN, api_url=address)


def test_the_token_does_not_show() -> None:
    """A client in a traceback or a log says where it asks and nothing more."""
    assert "<DiscordClient https://discord.com/api/v10>" == repr(DiscordClient(TOKEN))


async def test_the_token_is_in_no_error() -> None:
    """Refused, unreachable, not an emoji: none of the sentences holds it."""
    texts: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        return api({"message": "no", "code": 0}, status=400)

    async with serving(answer) as client:
        texts.append(repr(await client.post(5, PAYLOAD)))
        for call in (client.me(), client.react(5, 6, "..")):
            with pytest.raises(RefusedError) as raised:
                await call
            texts.append(f"{raised.value!r} {raised.value}")
    assert [] == [text for text in texts if TOKEN in text]
