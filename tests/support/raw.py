"""The emulator's REST side looked at raw: requests by hand, answers uninterpreted, a clock that stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import aiohttp

from spoolbridge.emulator import Emulator

AGENT = "DiscordBot (https://example.org, 1)"
NOW = 1_795_000_000.0  # seconds since 1970


@dataclass
class Checked:
    """What the schemas were asked about: (method, route, status) of each answer, and what was wrong."""

    seen: set[tuple[str, str, int]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)


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
            json = answer.content_type == "application/json"
            return Raw(answer.status, answer.headers, await answer.json() if json else await answer.text())

    async def post(self, channel: int | None = None, /, **body: Any) -> Raw:
        return await self("POST", f"/channels/{channel or self.channel}/messages", json=body)

    async def page(self, **query: Any) -> Raw:
        return await self("GET", f"/channels/{self.channel}/messages", params=query)
