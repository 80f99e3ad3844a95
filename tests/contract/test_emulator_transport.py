"""What a client sees of each fault, and whether the message was posted all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from spoolbridge.emulator import Emulator, permissions

POST = {"method": "POST", "route": "/channels/{channel}/messages"}
HEADERS = {"Authorization": "Bot emulator-token", "User-Agent": "DiscordBot (https://example.org, 1)"}


@dataclass
class Poster:
    """Posts one text; what happened as (status, Content-Type or exception, Via)."""

    emulator: Emulator
    session: aiohttp.ClientSession

    async def __call__(self, text: str = "hello", *, nonce: str | None = None) -> tuple[int, str]:
        url = f"{self.emulator.api_url}/channels/{self.emulator.guild.channels['mayor-villa'].id}/messages"
        body = {"content": text, "nonce": nonce, "enforce_nonce": True}
        try:
            async with self.session.post(url, json=body) as answer:
                await answer.read()
                return answer.status, answer.headers["Content-Type"]
        except aiohttp.ClientError as wrong:
            return 0, type(wrong).__name__

    def fail(self, kind: str, **details: Any) -> None:
        self.emulator.fail(method="POST", route="/channels/{channel}/messages", kind=kind, **details)

    @property
    def texts(self) -> list[str]:
        return [message["content"] for message in self.emulator.messages("mayor-villa")]


@pytest.fixture
async def post() -> AsyncIterator[Poster]:
    async with (
        Emulator(limits=False).serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        emulator.add_channel("mayor-villa")
        yield Poster(emulator, session)


JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@pytest.mark.parametrize(
    ("kind", "details", "seen", "committed"),
    [
        ("drop_before", {}, (0, "ServerDisconnectedError"), False),
        ("drop_before", {"reset": True}, (0, "ClientOSError"), False),
        ("drop_after", {}, (0, "ServerDisconnectedError"), True),
        ("drop_after", {"reset": True}, (0, "ClientOSError"), True),
        ("truncated", {}, (0, "ClientPayloadError"), True),
        ("status", {"status": 503}, (503, HTML), False),
        ("status", {"status": 503, "commit": True}, (503, HTML), True),
        ("status", {"status": 500, "html": False}, (500, JSON), False),
        ("status", {"status": 400, "code": 200000, "message": "AutoMod"}, (400, JSON), False),
        ("cloudflare", {}, (429, HTML), False),
        ("cloudflare", {"shape": "text"}, (429, "text/plain; charset=UTF-8"), False),
        ("cloudflare", {"shape": "json"}, (429, JSON), False),
        ("ratelimit", {"retry_after": 2.5}, (429, JSON), False),
        ("unauthorized", {}, (401, JSON), False),
        ("hang_up", {}, (200, JSON), True),
        ("delay", {"seconds": 0.01}, (200, JSON), True),
        ("delay", {"seconds": 0.01, "commit": False}, (200, JSON), True),
        ("body", {"text": "null"}, (200, JSON), False),
        ("body", {"text": '{"id": "1', "commit": True}, (200, JSON), True),
        ("revoke", {}, (403, JSON), False),
        ("revoke", {"bits": permissions.SEND_MESSAGES}, (403, JSON), False),
        ("new_hash", {}, (200, JSON), True),
    ],
)
async def test_kinds(
    post: Poster, kind: str, details: dict[str, Any], seen: tuple[int, str], committed: bool
) -> None:
    """Each kind breaks one request in its own way, and says truly whether it was carried out."""
    post.fail(kind, **details)
    assert seen == await post("hello")
    assert (["hello"] if committed else []) == post.texts


async def test_nonce_after_a_drop(post: Poster) -> None:
    """The case that nonces are for: posted, the answer lost, tried again, and there is one message."""
    post.fail("drop_after")
    assert 0 == (await post(nonce="n-1"))[0]
    assert 200 == (await post(nonce="n-1"))[0]
    assert ["hello"] == post.texts


async def test_times_and_after(post: Poster) -> None:
    """A fault passes the first requests by, meets the next, and is gone."""
    post.fail("status", status=503, after=1, times=2)
    assert [200, 503, 503, 200] == [(await post(str(number)))[0] for number in range(4)]


async def test_two_faults_in_line(post: Poster) -> None:
    """Two scripts for one route strike one after the other."""
    post.fail("status", status=502)
    post.fail("status", status=503)
    assert [502, 503, 200] == [(await post(str(number)))[0] for number in range(3)]


async def test_unauthorized_lasts(post: Poster) -> None:
    """A token that was refused stays refused."""
    post.fail("unauthorized")
    assert [401, 401] == [(await post())[0] for _ in range(2)]


async def test_changes_while_it_runs(post: Poster) -> None:
    """A permission goes with the second request and the channel with the fourth, and stay gone."""
    post.fail("revoke", bits=permissions.SEND_MESSAGES, after=1)
    assert [200, 403, 403] == [(await post(str(number)))[0] for number in range(3)]
    url = f"{post.emulator.api_url}/channels/{post.emulator.guild.channels['mayor-villa'].id}"
    post.emulator.fail(method="GET", route="/channels/{channel}", kind="remove_channel")
    for _ in range(2):
        async with post.session.get(url) as answer:
            assert (404, 10003) == (answer.status, (await answer.json())["code"])
    assert {} == post.emulator.guild.channels


@pytest.mark.parametrize(
    ("kind", "details", "seen"),
    [
        ("delay", {"seconds": 0.01}, (200, 5000)),
        ("status", {"status": 404}, (404, None)),
        ("status", {"status": 503}, (503, None)),
        ("truncated", {}, "ClientPayloadError"),
        # The client silently tries a GET again whose connection broke.
        ("drop_before", {"times": 2}, "ServerDisconnectedError"),
    ],
)
async def test_faults_of_files(post: Poster, kind: str, details: dict[str, Any], seen: Any) -> None:
    """A message's file can fail to come too, once; then it is there."""
    post.emulator.say("mayor-villa", "look", files=[("a.bin", b"x" * 5000)])
    url = post.emulator.messages("mayor-villa")[0]["attachments"][0]["url"]
    post.emulator.fail(method="GET", route="/attachments/{channel}/{file}/{name}", kind=kind, **details)
    found: list[Any] = []
    for _ in range(2):
        try:
            async with post.session.get(url) as answer:
                data = await answer.read()
                found.append((answer.status, len(data) if answer.status == 200 else None))
        except aiohttp.ClientError as wrong:
            found.append(type(wrong).__name__)
    assert [seen, (200, 5000)] == found


async def test_new_hash() -> None:
    """A bucket's hash changes while it runs, and what was taken from it stays taken."""
    async with (
        Emulator(clock=lambda: 1_795_000_000.0).serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS) as session,
    ):
        url = f"{emulator.api_url}/channels/{emulator.add_channel('mayor-villa')}/messages"
        emulator.fail(method="POST", route=POST["route"], kind="new_hash", after=1)
        seen = []
        for _ in range(3):
            async with session.post(url, json={"content": "x"}) as answer:
                seen.append(tuple(answer.headers[f"X-RateLimit-{name}"] for name in ("Bucket", "Remaining")))
    (first, _), (second, _), (third, _) = seen
    assert ["4", "3", "2"] == [left for _, left in seen]
    assert first != second == third


async def test_date_and_keep_alive() -> None:
    """The date is the emulator's own, and a connection ends after as many requests as it may carry."""
    async with (
        Emulator(clock=lambda: 1_795_000_000.0, keep_alive=2).serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS) as session,
    ):
        said = []
        for _ in range(4):
            async with session.get(f"{emulator.api_url}/users/@me") as answer:
                said.append((answer.headers["Date"], answer.headers.get("Connection")))
    when = "Wed, 18 Nov 2026 11:06:40 GMT"
    assert [(when, None), (when, "close")] * 2 == said


async def test_writes_of_all_senders() -> None:
    """Beside the bot's own bucket a channel has one for everybody: 429 with 20028, tokens left."""
    async with (
        Emulator(clock=lambda: 1_795_000_000.0).serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS) as session,
    ):
        emulator.limits.set_writes(2, 0.6)
        url = f"{emulator.api_url}/channels/{emulator.add_channel('mayor-villa')}/messages"
        for _ in range(2):
            assert ("5", 200) == (await _headers(session, "POST", url))[::2]
        async with session.post(url, json={"content": "x"}) as answer:
            body = await answer.json()
            assert (429, 20028, 0.3) == (answer.status, body["code"], body["retry_after"])
            assert ("shared", "2") == tuple(
                answer.headers[f"X-RateLimit-{name}"] for name in ("Scope", "Remaining")
            )
        assert 0 == emulator.limits.invalid


async def test_edge_has_no_via(post: Poster) -> None:
    """What plays the edge lacks `Via`; what plays the API has it."""
    url = f"{post.emulator.api_url}/users/@me"
    for kind, via in (("cloudflare", None), ("ratelimit", "1.1 google")):
        post.emulator.fail(method="GET", route="/users/@me", kind=kind)
        async with post.session.get(url) as answer:
            assert via == answer.headers.get("Via")


async def test_rate_limit_shape(post: Poster) -> None:
    """A scripted 429 carries the float in its body and its ceiling in the header."""
    post.emulator.fail(
        method="GET", route="/users/@me", kind="ratelimit", retry_after=64.57, scope="shared", code=20028
    )
    async with post.session.get(f"{post.emulator.api_url}/users/@me") as answer:
        body = await answer.json()
        assert (64.57, False, 20028) == (body["retry_after"], body["global"], body["code"])
        assert ("65", "shared") == (answer.headers["Retry-After"], answer.headers["X-RateLimit-Scope"])


async def test_time_out(post: Poster) -> None:
    """An answer that is held back passes a client's patience although the message is posted."""
    post.fail("delay", seconds=30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await post()
    assert ["hello"] == post.texts


async def test_down_and_up(post: Poster) -> None:
    """Down, connections are refused and open ones break; up, it is the same address again."""
    address = post.emulator.url
    assert 200 == (await post())[0]
    await post.emulator.down()
    assert (0, "ClientConnectorError") == await post()
    await post.emulator.up()
    assert 200 == (await post())[0]
    assert address == post.emulator.url


async def test_down_by_fault(post: Poster) -> None:
    """The fault `down` closes the door and opens it again by itself."""
    post.fail("down", seconds=0.2)
    assert 0 == (await post())[0]
    assert (0, "ClientConnectorError") == await post()
    async with asyncio.timeout(5):
        # A refused connection is answered at once: knocking is the way to wait for a door.
        while (await post())[0] == 0:
            pass
    assert ["hello"] == post.texts


@pytest.mark.parametrize(
    ("word", "statuses"),
    [
        ("!!503", [503, 200]),
        ("!!503-after", [503, 200]),
        ("!!drop", [0, 200]),
        ("!!drop-after", [0, 200]),
        ("!!truncated", [0, 200]),
        ("!!429 2.5", [429, 200]),
        ("!!1015", [429, 200]),
        ("!!401", [401, 200]),
        ("!!503 always", [503, 503]),
        ("!!automod", [400, 400]),
        ("!!links", [400, 400]),
        ("!!403", [403, 403]),
        ("!!404", [404, 404]),
        ("!!413", [413, 413]),
        ("!!nonsense", [200, 200]),
        ("really!! 503", [200, 200]),
    ],
)
async def test_typed(post: Poster, word: str, statuses: list[int]) -> None:
    """A word in a posted text strikes its first try, or every try where its answer is final."""
    assert statuses == [(await post(f"see {word}", nonce="n-1"))[0] for _ in range(2)]


async def test_typed_strikes_each_message_once(post: Poster) -> None:
    """The same text as another message (another nonce) meets the fault again."""
    assert [503, 200, 503] == [(await post("!!503", nonce=nonce))[0] for nonce in ("a", "a", "b")]


async def test_a_human_arms_a_fault(post: Poster) -> None:
    """A word typed alone on the page is not said: it waits for the bot's next message in that channel."""
    said = {"channel": "mayor-villa", "author": "nic", "text": "!!503"}
    async with post.session.post(f"{post.emulator.url}/_emulator/say", json=said) as answer:
        assert {"armed": "!!503"} == await answer.json()
    assert [503, 200] == [(await post())[0] for _ in range(2)]
    assert ["hello"] == post.texts


async def test_admin(post: Poster) -> None:
    """Faults are scripted, refused with a sentence, and forgotten over HTTP too."""
    url = f"{post.emulator.url}/_emulator/faults"
    async with post.session.post(url, json={**POST, "kind": "status", "status": 418, "times": 0}) as answer:
        assert 201 == answer.status
    assert [418, 418] == [(await post())[0] for _ in range(2)]
    async with post.session.post(url, json={**POST, "kind": "gremlins"}) as answer:
        assert (400, True) == (answer.status, "no fault 'gremlins'" in (await answer.json())["message"])
    async with post.session.delete(url) as answer:
        assert 204 == answer.status
    assert 200 == (await post())[0]


async def test_state(post: Poster) -> None:
    """The state names the guild, its channels with counts, its people and the words."""
    post.emulator.say("mayor-villa", "hello")
    async with post.session.get(f"{post.emulator.url}/_emulator/state") as answer:
        state = await answer.json()
    assert [("mayor-villa", 1)] == [(one["name"], one["messages"]) for one in state["channels"]]
    assert ["nic", "ada"] == [human["username"] for human in state["humans"]]
    assert "!!drop-after" in [one["word"] for one in state["words"]]


async def test_say_refused(post: Poster) -> None:
    """Nothing to say, or nowhere to say it, is a sentence."""
    url = f"{post.emulator.url}/_emulator/say"
    for said, status in (({"channel": "mayor-villa"}, 400), ({"channel": "moon", "text": "x"}, 404)):
        async with post.session.post(url, json=said) as answer:
            assert status == answer.status
            assert (await answer.json())["message"]


async def test_events(post: Poster) -> None:
    """The feed tells of a message made, changed and deleted, and of a channel, in that order."""
    async with post.session.get(f"{post.emulator.url}/_emulator/events") as feed:
        await feed.content.readuntil(b"\n\n")
        said = post.emulator.say("mayor-villa", "hello")
        guild = post.emulator.guild
        message = guild.message(guild.channels["mayor-villa"].id, said)
        assert message is not None
        guild.remove(guild.change(message, content="hi"))
        post.emulator.add_channel("mayor-quarry")
        events = [await feed.content.readuntil(b"\n\n") for _ in range(4)]
    assert [
        "created",
        "changed",
        "deleted",
        "added",
    ] == [event.decode().partition('"what": "')[2].partition('"')[0] for event in events]


async def test_ends_with_open_streams() -> None:
    """Neither an open feed nor an answer that is held back delays the end."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async with Emulator().serve() as emulator:
            emulator.fail(method="GET", route="/users/@me", kind="delay", seconds=600)
            held = asyncio.create_task(session.get(f"{emulator.api_url}/users/@me"))
            feed = await session.get(f"{emulator.url}/_emulator/events")
            await feed.content.readuntil(b"\n\n")
        assert b"" == await feed.content.read()
        (await held).close()
        feed.close()


async def test_rate_limits() -> None:
    """Five posts pass, the sixth is refused with the time to the next token; GETs lie until they refuse."""
    now = 1_795_000_000.0
    async with (
        Emulator(clock=lambda: now).serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS) as session,
    ):
        url = f"{emulator.api_url}/channels/{emulator.add_channel('mayor-villa')}/messages"
        posts = [await _headers(session, "POST", url) for _ in range(6)]
        gets = [await _headers(session, "GET", url) for _ in range(6)]
    assert [("5", str(left), 200) for left in (4, 3, 2, 1, 0)] + [("5", "0", 429)] == posts
    assert [("1000", str(left), 200) for left in (999, 998, 997, 996, 995)] + [("5", "0", 429)] == gets


async def _headers(session: aiohttp.ClientSession, method: str, url: str) -> tuple[str, str, int]:
    body = {"content": "x"} if method == "POST" else None
    async with session.request(method, url, json=body) as answer:
        limit, left = (answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining"))
        return limit, left, answer.status


async def test_ban() -> None:
    """Too many refusals block the address, as Cloudflare does, whatever is asked next."""
    async with (
        Emulator().serve() as emulator,
        aiohttp.ClientSession(headers=HEADERS) as session,
    ):
        emulator.limits.max_invalid = 3
        for _ in range(3):
            wrong = {"Authorization": "Bot wrong"}
            async with session.get(f"{emulator.api_url}/users/@me", headers=wrong) as answer:
                assert 401 == answer.status
        async with session.get(f"{emulator.api_url}/users/@me") as answer:
            assert (429, None) == (answer.status, answer.headers.get("Via"))


async def test_loopback_only() -> None:
    """An address that others could reach is refused before anything listens."""
    with pytest.raises(ValueError, match="loopback only"):
        async with Emulator().serve("0.0.0.0"):
            raise AssertionError("it listened")
