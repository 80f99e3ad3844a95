"""The thread that a message's `Thread` means: by its id, or by its name, made where there is none.

Making a thread has no nonce. So a thread of that name is looked for first, among the active and the
archived ones; the try to make it is durable before the request, and whatever became of that request,
the next look finds what it made. Which thread it was is noted for the entry, so that all its parts go
to one. Must never post.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from spoolbridge.discord.client import DiscordClient, JsonObject
from spoolbridge.errors import ChannelClosedError, DiscordError, RefusedError
from spoolbridge.journal import POISON, Journal
from spoolbridge.waiting import in_thread

_ANNOUNCEMENT = 5  # channel type; its threads have a type of their own
_ANNOUNCEMENT_THREAD, _PUBLIC_THREAD = 10, 11
_MOST_KNOWN = 1000  # threads that are remembered, so that not every message asks for its own


class Threads:
    """Finds threads. One object serves all channels of one guild."""

    def __init__(self, client: DiscordClient, journal: Journal, guild_id: int) -> None:
        self._client = client
        self._journal = journal
        self._guild_id = guild_id
        #: (channel id, id or name as it was wanted) → thread id.
        self._found: dict[tuple[int, int | str], int] = {}

    async def find(self, entry_id: str, channel_id: int, wanted: int | str) -> int:
        """The thread's id. Raises DiscordError (RefusedError where it is none of that channel's), and
        OSError where the journal cannot be written: then no thread was made."""
        history = await in_thread(self._journal.history, entry_id, channel_id)
        # An operator may have corrected the name before the retry.
        if history.thread is not None and isinstance(wanted, str) and history.thread_name in ("", wanted):
            return history.thread
        found = self._found.get((channel_id, wanted))
        if found is None and isinstance(wanted, int):
            found = await self._checked(channel_id, wanted)
        elif found is None:
            found = await self._named(channel_id, str(wanted))
        if found is None:
            if history.thread_tries >= POISON:
                raise RefusedError("the service died 3 times while making the thread", "make it by hand")
            found = await self._make(entry_id, channel_id, str(wanted))
        self._remember(channel_id, wanted, found)
        if not isinstance(wanted, int):
            await in_thread(self._journal.thread, entry_id, channel_id, found, wanted)
        return found

    async def forget(self, entry_id: str, channel_id: int, wanted: int | str) -> None:
        """It is gone: look for it, or make it, anew."""
        self._found.pop((channel_id, wanted), None)
        await in_thread(self._journal.thread, entry_id, channel_id, None)

    def _remember(self, channel_id: int, wanted: int | str, thread_id: int) -> None:
        if len(self._found) >= _MOST_KNOWN:
            self._found.clear()
        self._found[channel_id, wanted] = thread_id

    async def _checked(self, channel_id: int, thread_id: int) -> int:
        """An id is checked: whoever may write to one channel's drop box may not post everywhere."""
        try:
            thread = await self._client.channel(thread_id)
        except ChannelClosedError as error:
            raise RefusedError(f"the thread {thread_id} is refused: {error.what}", code=error.code) from error
        if "thread_metadata" not in thread or str(thread.get("parent_id")) != str(channel_id):
            hint = "drop it for the channel that the thread belongs to"
            raise RefusedError(f"{thread_id} is no thread of this channel", hint)
        return thread_id

    async def _named(self, channel_id: int, name: str) -> int | None:
        active = await self._client.active_threads(self._guild_id)
        found = _of_name([each for each in active if str(each.get("parent_id")) == str(channel_id)], name)
        if found is not None:
            return found
        try:
            async for page in self._client.archived_threads(channel_id):
                found = _of_name(page, name)
                if found is not None:
                    return found
        except (ChannelClosedError, RefusedError):
            pass  # not allowed to look there; what was made a moment ago is among the active ones
        return None

    async def _make(self, entry_id: str, channel_id: int, name: str) -> int:
        channel = await self._client.channel(channel_id)
        kind = _ANNOUNCEMENT_THREAD if channel.get("type") == _ANNOUNCEMENT else _PUBLIC_THREAD
        await in_thread(self._journal.making_thread, entry_id, channel_id)
        try:
            return int((await self._client.start_thread(channel_id, name, kind=kind))["id"])
        except DiscordError:
            await in_thread(self._journal.thread, entry_id, channel_id, None)
            raise
        except asyncio.CancelledError:
            self._journal.thread(entry_id, channel_id, None)
            raise


def _of_name(threads: Iterable[JsonObject], name: str) -> int | None:
    """The newest thread of that name that is not locked; case and spaces do not matter."""
    wanted = _plain(name)
    fitting = [
        int(each["id"])
        for each in threads
        if _plain(str(each.get("name"))) == wanted and not (each.get("thread_metadata") or {}).get("locked")
    ]
    return max(fitting, default=None)


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())
