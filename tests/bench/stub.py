"""An imaginary Discord that costs less than any client of it: what is measured is then the client.

No limits and no faults, as few words as a client accepts, and everything in memory. HTTP/1.1 by hand: to read
a request takes one look for the end of its head and one for its length. When each message arrived and what
it was is kept as it came, and decoded for who asks (`/_stub/seen`). A process of its own: `Stub`.

Times are those of CLOCK_MONOTONIC, in seconds, which all processes of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections import Counter
from http.client import HTTPResponse
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.bench.programs import Program, python

TOKEN = "stub-token"
BOT, GUILD, HUMAN, ROLE = 100, 1000, 200, 1000
FIRST_CHANNEL = 10_000  # those behind it are numbered on
_EPOCH = 1_420_070_400_000  # milliseconds; the first second of 2015 (discord-api-docs, Snowflakes)
_EVERYTHING = str((1 << 50) - 1)
_HEAD = "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nVia: stub\r\n\r\n"
_PATH = "/api/v10"
#: The bot, as a user and as an application.
_BOT = {
    "id": str(BOT), "username": "bot", "discriminator": "0", "avatar": None, "bot": True, "flags": 1 << 18,
    "name": "bot", "description": "", "icon": None, "verify_key": "", "bot_public": False,
    "bot_require_code_grant": False,
    "owner": {"id": "1", "username": "owner", "discriminator": "0", "avatar": None},
}  # fmt: skip
#: What Create Message answers, with all that discord.py wants to find in it.
_CREATED = (
    '{{"id":"{id}","channel_id":"{channel}","content":"","type":0,"flags":0,"tts":false,"pinned":false,'
    '"author":{{"id":"100","username":"bot","discriminator":"0","avatar":null,"bot":true}},"embeds":[],'
    '"attachments":[],"mentions":[],"mention_roles":[],"mention_everyone":false,"components":[],'
    '"timestamp":"2026-01-31T19:22:22.000000+00:00","edited_timestamp":null}}'
)


class Post(NamedTuple):
    """A message that arrived."""

    at: float
    channel: int
    content: str


class Stub:
    """The process, and what it saw. `channels`: how many channels the guild has."""

    def __init__(self, channels: int = 20) -> None:
        self._program = Program(python("tests.bench.stub", str(channels)))
        self.url = self._program.line()
        self.api = self.url + _PATH

    def seen(self) -> list[Post]:
        """The messages since the last `forget`, as they came."""
        return [Post(*each) for each in self._ask("/_stub/seen")]

    def count(self) -> int:
        """How many messages came since the last `forget`."""
        return int(self._ask("/_stub/count"))

    def requests(self) -> Counter[str]:
        """How many requests there were since the last `forget`, by method and path, ids left out."""
        return Counter(self._ask("/_stub/requests"))

    def forget(self) -> None:
        """Let everything begin anew, but for what humans have said."""
        self._ask("/_stub/forget")

    def say(self, messages: int, channels: int) -> None:
        """Humans write: so many messages, one after another in so many channels."""
        self._ask(f"/_stub/say/{messages}/{channels}")

    def _ask(self, path: str) -> Any:
        answer: HTTPResponse
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._program.end()


class Guild:
    """What there is, and what came."""

    def __init__(self, channels: int) -> None:
        self.said: dict[int, list[dict[str, Any]]] = {FIRST_CHANNEL + each: [] for each in range(channels)}
        self.posts: list[tuple[float, str, bytes]] = []
        self.requests: Counter[str] = Counter()
        self._numbers = count(1)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """Status and body, of everything but what is asked most often: Create Message."""
        place, _, query = path.removeprefix(_PATH).partition("?")
        match place.split("/")[1:]:
            case ["_stub", *words]:
                return 200, self._told(words)
            case ["users", "@me"] | ["applications", "@me"] | ["oauth2", "applications", "@me"]:
                return 200, _BOT
            case ["users", "@me", "guilds"]:
                return 200, [{"id": str(GUILD), "name": "stub"}]
            case ["guilds", _, "channels"]:
                return 200, [self._channel(each) for each in self.said]
            case ["guilds", _, "threads", "active"]:
                return 200, {"threads": [], "members": []}
            case ["guilds", _, "roles"]:
                return 200, [{"id": str(ROLE), "name": "@everyone", "permissions": _EVERYTHING}]
            case ["guilds", _, "members", user]:
                return 200, {"user": {"id": user, "username": "someone"}, "roles": []}
            case ["channels", channel]:
                return 200, self._channel(int(channel))
            case ["channels", channel, "messages"]:
                return 200, self._page(int(channel), dict(pair.split("=") for pair in query.split("&")))
            case ["channels", _, "threads", *_]:
                return 200, {"threads": [], "members": [], "has_more": False}
        return (204, None) if method in ("PUT", "DELETE") else (404, {"code": 0, "message": f"no {place}"})

    def snowflake(self) -> int:
        milliseconds = int(time.time() * 1000)
        return ((milliseconds - _EPOCH) << 22) | (next(self._numbers) & 0x3FFFFF)

    def _told(self, words: list[str]) -> object:
        match words:
            case ["seen"]:
                return [(at, int(channel), json.loads(body)["content"]) for at, channel, body in self.posts]
            case ["count"]:
                return len(self.posts)
            case ["requests"]:
                return self.requests
            case ["say", messages, channels]:
                self._say(int(messages), int(channels))
            case _:
                self.posts.clear()
                self.requests.clear()
        return None

    def _say(self, messages: int, channels: int) -> None:
        for number in range(messages):
            channel = FIRST_CHANNEL + number % channels
            self.said[channel].append({
                "id": str(self.snowflake()), "channel_id": str(channel), "type": 0, "flags": 0,
                "content": f"words of a human, number {number}", "timestamp": "2026-01-31T19:22:22+00:00",
                "author": {"id": str(HUMAN), "username": "nic"}, "mentions": [], "attachments": [],
                "embeds": [],
            })  # fmt: skip

    def _channel(self, channel: int) -> dict[str, object]:
        said = self.said[channel]
        return {
            "id": str(channel), "type": 0, "name": name(channel - FIRST_CHANNEL), "guild_id": str(GUILD),
            "last_message_id": said[-1]["id"] if said else None, "permission_overwrites": [],
        }  # fmt: skip

    def _page(self, channel: int, query: dict[str, str]) -> list[dict[str, Any]]:
        newer = [each for each in self.said[channel] if int(each["id"]) > int(query.get("after", 0))]
        return newer[: int(query.get("limit", 50))][::-1]


class Connection(asyncio.Protocol):
    """One client, whose requests may come in pieces, and several at once."""

    def __init__(self, guild: Guild) -> None:
        self._guild = guild
        self._left = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._left + data
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            head = data[:end]
            whole = end + _length(head)
            if len(data) < whole:
                break
            self._transport.write(self._answer(head, data[end:whole]))
            data = data[whole:]
        self._left = data

    def _answer(self, head: bytes, body: bytes) -> bytes:
        method, path, _ = head.split(b" ", 2)
        if method == b"POST" and path.endswith(b"/messages"):
            channel = path.split(b"/")[4].decode()
            self._guild.posts.append((time.monotonic(), channel, body))
            text = _CREATED.format(id=self._guild.snowflake(), channel=channel)
            return _HEAD.format(status="200 OK", length=len(text)).encode() + text.encode()
        said = path.decode()
        if "/_stub/" not in said:
            words = said.partition("?")[0].removeprefix(_PATH).split("/")
            without_ids = "/".join("ID" if word.isdigit() else word for word in words)
            self._guild.requests[f"{method.decode()} {without_ids}"] += 1
        status, answer = self._guild.answer(method.decode(), said, body)
        if status == 204:
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        text = json.dumps(answer)
        return _HEAD.format(status=status, length=len(text)).encode() + text.encode()


def name(number: int) -> str:
    """How the channel of that number is called."""
    return f"mayor-{number}"


def ids(channels: int) -> dict[str, str]:
    """The content of a discord-channels.json."""
    return {name(each): str(FIRST_CHANNEL + each) for each in range(channels)}


def _length(head: bytes) -> int:
    at = head.find(b"Content-Length: ")
    return 0 if at < 0 else int(head[at + 16 : head.index(b"\r", at)])


async def main(channels: int) -> None:
    guild = Guild(channels)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(guild), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
