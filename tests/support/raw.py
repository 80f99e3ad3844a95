"""The emulator's REST side looked at raw: requests by hand, answers uninterpreted, a clock that stands."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from spoolbridge.emulator import Emulator
from tests.support import schemas

AGENT = "DiscordBot (https://example.org, 1)"
NOW = 1_795_000_000.0  # seconds since 1970


@dataclass
class Checked:
    """What the schemas were asked about: (method, route, status) of each answer, and what was wrong."""

    seen: set[tuple[str, str, int]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)

    def look(self, method: str, route: str, status: int, body: bytes) -> None:
        """Hold one answer against its schema; that there is none is a fault too."""
        try:
            schema = schemas.of(method, route, status)
        except KeyError as missing:
            self.broken.append(f"no schema: {missing}")
            return
        self.seen.add((method, route, status))
        if schema is None:
            wrong = ["a body where none belongs"] if body else []
        else:
            wrong = schemas.problems(schema, json.loads(body))
        self.broken.extend(f"{method} {route} {status} {problem}" for problem in wrong)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Raw:
    """What came back: nothing is interpreted but the JSON."""

    status: int
    headers: Any
    body: Any

    @property
    def error(self) -> tuple[int, int]:
        return self.status, self.body["code"]


class Api:
    """Requests to the emulator, with the right headers unless others are given."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession, channel: int) -> None:
        self.emulator = emulator
        self.session = session
        self.channel = channel

    async def __call__(self, method: str, path: str, *, base: str = "", **more: Any) -> Raw:
        headers = {
            "Authorization": f"Bot {self.emulator.token}",
            "User-Agent": AGENT,
            **more.pop("headers", {}),
        }
        url = (base or self.emulator.api_url) + path
        async with self.session.request(method, url, headers=headers, **more) as answer:
            read = answer.json if answer.content_type == "application/json" else answer.text
            return Raw(answer.status, answer.headers, await read())

    async def post(self, channel: int | None = None, /, **body: Any) -> Raw:
        return await self("POST", f"/channels/{channel or self.channel}/messages", json=body)

    async def page(self, **query: Any) -> Raw:
        return await self("GET", f"/channels/{self.channel}/messages", params=query)
