"""Inbound: fetch, deliver, advance.

Each cycle asks the guild which channels and threads have a new last message, fetches those from the
oldest position that one of the deliveries has there, and hands every page to every delivery, once
what was attached is on disk. That hint is only a hint: each place is also fetched at the first cycle
and every ten minutes.

Promises that a delivery or a channel that fails stops no other: it is noted in `problems`, logged
when it changes, and tried again later, from the page that failed. What is not for agents (`access`
decides) is passed over, and the cursors with it. Only a refused token ends the poller. Never posts
anything, and knows nothing of the dispatcher.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from spoolbridge import backoff
from spoolbridge.access import Access
from spoolbridge.attachments import Attachments
from spoolbridge.channels import Channel, Registry
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import DiscordError, SpoolbridgeError, TokenRefusedError, UnreachableError
from spoolbridge.incoming import IncomingMessage, from_discord, snowflake_time
from spoolbridge.receipts import Receipts
from spoolbridge.rendering import one_line
from spoolbridge.role_names import RoleNames
from spoolbridge.waiting import in_thread, pause

INTERVAL = 15.0  # seconds between cycles when it is quiet
BUSY_INTERVAL = 2.0  # seconds between cycles while people talk
BUSY_FOR = 60.0  # seconds after a message for which that counts as talking
SWEEP = 600.0  # seconds; how fresh the guild's hints are is not documented
_AT_ONCE = 4  # places fetched at the same time: a long backlog in one must not hold up the others

GUILD = "the guild"  # the key in `problems` of what concerns every channel

_Key = tuple[str, str]  # whose trouble it is: a channel's address and, within it, "thread 157…" or "mail"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """A channel or one of its threads. `hint` is its last message's id, 0: none, None: not known."""

    polled: Channel
    channel: Channel
    hint: int | None

    @property
    def key(self) -> _Key:
        thread = self.polled.id != self.channel.id
        return self.channel.address, f"thread {self.polled.id}" if thread else ""


@dataclass(frozen=True)
class _Fetched:
    """The last complete fetch of a place: when, and what the hint was before it."""

    at: float
    hint: int | None


@dataclass(frozen=True)
class _Trouble:
    """What is wrong, since when, and until when it is left alone; clock's times."""

    sentence: str
    since: float
    until: float


class Poller:
    """Polls the channels of the registry that match `globs`; `first_start` in unix seconds.

    `clock` and `sleep` are in seconds; the clock's zero does not matter. The first delivery decides
    which messages are new to `report`.
    """

    def __init__(
        self,
        client: DiscordClient,
        registry: Callable[[], Registry],
        deliveries: Sequence[Delivery],
        *,
        globs: Sequence[str],
        guild_id: int | Callable[[], int],
        own_id: int,
        first_start: float,
        interval: float = INTERVAL,
        attachments: Attachments | None = None,
        access: Access | None = None,
        receipts: Receipts | None = None,
        report: Callable[[IncomingMessage], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client, self._registry, self._deliveries = client, registry, tuple(deliveries)
        self._globs, self._guild_id = tuple(globs), guild_id
        self._access, self._receipts = access or Access(own_id), receipts
        self._first_start, self._interval, self._report = first_start, interval, report
        self._clock, self._sleep, self._jitter = clock, sleep, jitter
        self._attachments, self._roles = attachments, RoleNames(client, clock=clock)
        self._fetched: dict[int, _Fetched] = {}
        self._troubles: dict[_Key, _Trouble] = {}
        self._last_message: float | None = None
        self._names: Mapping[int, str] = {}

    @property
    def problems(self) -> dict[str, str]:
        """What does not work now, in a sentence, by channel address or GUILD."""
        found: dict[str, list[str]] = {}
        for (address, part), trouble in self._troubles.items():
            found.setdefault(address, []).append(f"{part}: {trouble.sentence}" if part else trouble.sentence)
        return {address: "; ".join(sentences) for address, sentences in found.items()}

    async def run(self, stop: asyncio.Event) -> None:
        """Cycle after cycle until `stop`. Raises TokenRefusedError."""
        while not stop.is_set():
            await self.cycle()
            await pause(self._rest(), stop, sleep=self._sleep)

    async def cycle(self) -> None:
        """One pass over the channels. Raises TokenRefusedError, and nothing else of Discord's."""
        try:
            places = await self._places()
        except UnreachableError as error:
            self._trouble((GUILD, ""), error)
            return
        self._forget_others(places)
        doors = asyncio.Semaphore(_AT_ONCE)
        visits = [self._visit(place, doors) for place in places if self._is_due(place)]
        for ended in await asyncio.gather(*visits, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    def _rest(self) -> float:
        now = self._clock()
        silent = self._troubles.get((GUILD, ""))
        if silent is not None and silent.until > now:
            return silent.until - now
        talking = self._last_message is not None and now - self._last_message < BUSY_FOR
        return min(self._interval, BUSY_INTERVAL) if talking else self._interval

    async def _places(self) -> list[_Place]:
        """The matching channels and their active threads. Raises UnreachableError, TokenRefusedError."""
        registry = self._registry()
        matching = [channel for channel in registry.channels if self._matches(channel)]
        if not matching:
            return []
        try:
            hints, threads = await self._moved()
        except (UnreachableError, TokenRefusedError):
            raise
        except DiscordError as error:  # no hints to be had: look into every channel
            self._trouble((GUILD, ""), error)
            return [_Place(channel, channel, None) for channel in matching]
        self._troubles.pop((GUILD, ""), None)
        places = [_Place(channel, channel, hints.get(channel.id)) for channel in matching]
        parents = {channel.id: channel for channel in matching}
        for thread_id, (parent_id, hint) in threads.items():
            if parent_id in parents:
                parent = parents[parent_id]
                places.append(_Place(parent._replace(id=thread_id), parent, hint))
        return places

    async def _moved(self) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
        """Last message by channel; parent and last message by thread."""
        guild_id = self._guild_id if isinstance(self._guild_id, int) else self._guild_id()
        channels = await self._client.guild_channels(guild_id)
        threads = await self._client.active_threads(guild_id)
        self._names = {_number(each, "id"): str(each.get("name") or "") for each in [*channels, *threads]}
        hints = {_number(each, "id"): _number(each, "last_message_id") for each in channels}
        moved = {_number(each, "id"): each for each in threads}
        return hints, {
            thread_id: (_number(each, "parent_id"), _number(each, "last_message_id"))
            for thread_id, each in moved.items()
        }

    def _matches(self, channel: Channel) -> bool:
        names = {channel.name, channel.address}
        return any(fnmatchcase(name, glob) for glob in self._globs for name in names)

    def _forget_others(self, places: Sequence[_Place]) -> None:
        """Drop what is known of places that are polled no longer."""
        keys = {(GUILD, "")} | {place.key for place in places}
        keys |= {_key(place, delivery) for place in places for delivery in self._deliveries}
        self._troubles = {key: trouble for key, trouble in self._troubles.items() if key in keys}
        ids = {place.polled.id for place in places}
        self._fetched = {key: fetched for key, fetched in self._fetched.items() if key in ids}

    def _is_due(self, place: _Place) -> bool:
        if self._left_alone(place.key):
            return False
        fetched = self._fetched.get(place.polled.id)
        if fetched is None or place.hint is None or place.hint != fetched.hint:
            return True
        if place.key in self._troubles:
            return True
        keys = (_key(place, delivery) for delivery in self._deliveries)
        retry = any(key in self._troubles and not self._left_alone(key) for key in keys)
        return retry or self._clock() - fetched.at >= SWEEP

    async def _visit(self, place: _Place, doors: asyncio.Semaphore) -> None:
        async with doors:
            at = self._clock()
            try:
                await self._fetch(place)
            except TokenRefusedError:
                raise
            except (OSError, SpoolbridgeError) as error:
                self._trouble(place.key, error)
            except Exception as error:  # a bug met in one channel must not silence the others
                _log.exception("%s could not be polled", _shown(place.key))
                self._trouble(place.key, error)
            else:
                self._fetched[place.polled.id] = _Fetched(at, place.hint)
                self._troubles.pop(place.key, None)

    async def _fetch(self, place: _Place) -> None:
        """Every page from the oldest position on, to every delivery that is not left alone just now."""
        positions: dict[Delivery, int] = {}
        for delivery in self._deliveries:
            if not self._left_alone(_key(place, delivery)):
                await self._attempt(place, delivery, self._locate(place, delivery, positions))
        if not positions:
            return
        pages = self._client.messages_since(place.polled.id, min(positions.values()))
        async with aclosing(pages):  # type: ignore[type-var]
            async for page in pages:
                messages, upto, halt = await self._whole(place, page, list(positions))
                lacking = self._receipts.lacking(place.polled, messages) if self._receipts else []
                for delivery in list(positions):
                    step = self._deliver(place, delivery, messages, upto)
                    if not await self._attempt(place, delivery, step):
                        del positions[delivery]  # not past the page that failed
                if self._receipts and lacking:
                    self._receipts.note(place.polled, lacking)
                if halt is not None:
                    raise halt
                if not positions:
                    return

    async def _whole(
        self, place: _Place, page: Sequence[dict[str, Any]], deliveries: Sequence[Delivery]
    ) -> tuple[list[IncomingMessage], int, Exception | None]:
        """The page's messages with their files, up to which id all are there, and why not to its end."""
        guild_id = self._guild_id if isinstance(self._guild_id, int) else self._guild_id()
        self._names = {**self._names, **await self._roles.of(guild_id, page)}
        messages, halt = await self._humans(place, page), None
        if self._attachments is not None:
            new = {each.id for delivery in deliveries for each in delivery.missing(place.polled, messages)}
            messages, halt = await self._attachments.complete(messages, new, self._names)
        if halt is None:
            return messages, _number(page[-1], "id"), None
        return messages, messages[-1].id if messages else 0, halt

    async def _attempt(self, place: _Place, delivery: Delivery, step: Awaitable[None]) -> bool:
        """Whether the step worked; where the delivery failed, that is noted against it alone."""
        try:
            await step
        except DiscordError:
            raise
        except (OSError, SpoolbridgeError) as error:
            self._trouble(_key(place, delivery), error)
            return False
        except Exception as error:
            _log.exception("%s failed", _shown(_key(place, delivery)))
            self._trouble(_key(place, delivery), error)
            return False
        return True

    async def _locate(self, place: _Place, delivery: Delivery, positions: dict[Delivery, int]) -> None:
        position = await in_thread(delivery.position, place.polled)
        if position is None:
            await in_thread(delivery.begin, place.polled, await self._beginning(place))
            position = await in_thread(delivery.position, place.polled)
        if position is not None:
            positions[delivery] = position

    async def _beginning(self, place: _Place) -> int:
        """From now; a channel or thread that is younger than the bridge is read from its beginning."""
        polled = place.polled.id
        if snowflake_time(polled) > self._first_start:
            return polled - 1  # a forum post's first message has the thread's own id
        if place.hint is not None:
            return place.hint or polled
        return _number(await self._client.channel(polled), "last_message_id") or polled

    async def _humans(self, place: _Place, page: Sequence[dict[str, Any]]) -> list[IncomingMessage]:
        """What is for agents; raises a DiscordError where an author's roles cannot be looked up."""
        guild_id = self._guild_id if isinstance(self._guild_id, int) else self._guild_id()
        admitted = await self._access.admitted(place.channel, page)
        return [from_discord(json, place.channel, guild_id, names=self._names) for json in admitted]

    async def _deliver(
        self, place: _Place, delivery: Delivery, messages: Sequence[IncomingMessage], upto: int
    ) -> None:
        first = delivery is self._deliveries[0]
        new = delivery.missing(place.polled, messages) if first else []
        await in_thread(delivery.deliver, place.polled, messages, upto=upto)
        self._troubles.pop(_key(place, delivery), None)
        for message in new:
            self._last_message = self._clock()
            self._report(message)

    def _left_alone(self, key: _Key) -> bool:
        return key in self._troubles and self._clock() < self._troubles[key].until

    def _trouble(self, key: _Key, error: Exception) -> None:
        """Note it, say so where it is new, and leave it alone for a while that grows with its age."""
        now, known = self._clock(), self._troubles.get(key)
        expected = isinstance(error, (OSError, SpoolbridgeError))
        sentence = one_line(str(error) if expected else f"a bug: {type(error).__name__}", 300)
        since = known.since if known else now
        asked = error.retry_after if isinstance(error, UnreachableError) else None
        wait = backoff.delay(now - since, jitter=self._jitter) if asked is None else asked
        self._troubles[key] = _Trouble(sentence, since, now + wait)
        if known is None or known.sentence != sentence:
            _log.warning("%s waits: %s", _shown(key), sentence)


def _key(place: _Place, delivery: Delivery) -> _Key:
    address, thread = place.key
    return address, f"{thread}, {delivery.name}" if thread else delivery.name


def _shown(key: _Key) -> str:
    return f"{key[0]} ({key[1]})" if key[1] else key[0]


def _number(json: Mapping[str, Any], key: str) -> int:
    """A snowflake of Discord's, 0 where there is none."""
    value = json.get(key)
    return int(value) if isinstance(value, (str, int)) and str(value).isdigit() else 0
