"""Threads that were archived before everything in them was read.

A thread that is archived leaves the guild's list of active ones, and what was said in it just before is
in no hint. Two ways lead to it: it was in the list at the last look and is not now; or it was archived
while nobody looked, and then only the channel's own list of archived threads has it. That list is read
from its newest end as far back as the last reading, the first time as far as the bridge's first start:
a message wakes a thread, so one that was archived before then holds nothing for us.

Promises that a thread stays in `threads` until `done`. Asks one channel at a time, when told to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace

from spoolbridge.channels import Channel
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import DiscordError, TokenRefusedError
from spoolbridge.hints import Hints, Thread, archived, thread
from spoolbridge.schedule import Sweep

_log = logging.getLogger(__name__)


class Archive:
    """`since` is the bridge's first start, in unix seconds."""

    def __init__(self, client: DiscordClient, since: float) -> None:
        self._client, self._since = client, since
        self._sweep = Sweep()
        self._active: Mapping[int, Thread] = {}
        self._read: dict[int, float] = {}  # channel → the latest time of archiving in its list
        self.threads: dict[int, Thread] = {}

    def compare(self, hints: Hints, polled: Collection[int]) -> None:
        """Take up what has left the list of active threads since the last look."""
        for each in self._active.values():
            if each.id not in hints.threads:
                self.threads.setdefault(each.id, replace(each, hint=None))
        self._active = {key: each for key, each in hints.threads.items() if each.parent in polled}
        self.threads = {
            key: each
            for key, each in self.threads.items()
            if each.parent in polled and key not in self._active
        }
        self._read = {channel: at for channel, at in self._read.items() if channel in polled}
        self._sweep.keep(polled)

    def due(self, channels: Mapping[int, Channel], now: float) -> list[Channel]:
        """Those of the channels whose list is to be read now."""
        return [channels[each] for each in self._sweep.take(channels, now)]

    async def read(self, channel: Channel, doors: asyncio.Semaphore) -> None:
        """Take up what was archived in a channel since its list was read last. Raises TokenRefusedError."""
        since = self._read.get(channel.id, self._since)
        try:
            async with doors:
                found, latest = await archived(self._client, channel.id, since)
        except TokenRefusedError:
            raise
        except DiscordError as error:  # what is closed the visits tell
            if error.transient:
                self._sweep.give_back(channel.id)
            _log.info("%s: no list of archived threads (%s)", channel.address, error.what)
            return
        for each in map(thread, found):
            if each.id not in self._active:
                self.threads.setdefault(each.id, each)
        self._read[channel.id] = latest

    def visited(self, thread_id: int, *, whole: bool) -> None:
        """It was read to its end; not `whole`: some delivery has yet to get it, which asks by itself."""
        if whole:
            self.done(thread_id)
        elif thread_id in self.threads:
            self.threads[thread_id] = replace(self.threads[thread_id], hint=0)

    def done(self, thread_id: int) -> bool:
        """Everything in it was read, or it is gone for good. Says whether it was one of these."""
        return self.threads.pop(thread_id, None) is not None
