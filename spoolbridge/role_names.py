"""What the guild's roles are called, for the poller: asked only when somebody mentions one.

Names are for reading, so a Discord that does not answer costs the name and nothing else. Must never ask
more often than once a minute, whatever people write.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import DiscordError, TokenRefusedError

FRESH = 600.0  # seconds for which names are believed
UNKNOWN = 60.0  # seconds after which an id without a name is worth asking for again

_MENTION = re.compile(r"<@&(\d{1,20})>")


class RoleNames:
    """The roles of one guild. `clock` in seconds; its zero does not matter."""

    def __init__(self, client: DiscordClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._clock = client, clock
        self._names: dict[int, str] = {}
        self._asked: float | None = None
        self._turn = asyncio.Lock()

    async def of(self, guild_id: int, page: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """The names of every role, by id; none where the page of messages mentions no role.

        Raises TokenRefusedError.
        """
        mentioned = {int(each) for each in _MENTION.findall(json.dumps(page, default=repr))}
        if not mentioned:
            return {}
        async with self._turn:
            if self._is_due(mentioned):
                await self._ask(guild_id)
        return self._names

    def _is_due(self, mentioned: set[int]) -> bool:
        age = float("inf") if self._asked is None else self._clock() - self._asked
        return age >= FRESH or (age >= UNKNOWN and not mentioned <= self._names.keys())

    async def _ask(self, guild_id: int) -> None:
        self._asked = self._clock()
        try:
            roles = await self._client.roles(guild_id)
            self._names = {int(each["id"]): str(each["name"]) for each in roles}
        except TokenRefusedError:
            raise
        except (DiscordError, KeyError, TypeError, ValueError):
            return
