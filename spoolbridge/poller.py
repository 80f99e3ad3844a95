"""Inbound: fetch, deliver, advance.

Each look asks the guild which channels and threads have a new last message and begins a visit to each
of those, and to a few others whose turn it is, for that hint is only a hint. A visit fetches from the
oldest position that one of the deliveries has there, and hands every page to every delivery, once what
was attached is on disk. It takes as long as it takes: the next look does not wait for it.

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
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from spoolbridge.access import Access
from spoolbridge.archive import Archive
from spoolbridge.attachments import Attachments
from spoolbridge.channels import Registry
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import (
    ChannelClosedError,
    DiscordError,
    SpoolbridgeError,
    TokenRefusedError,
    UnreachableError,
)
from spoolbridge.findings import Emptied
from spoolbridge.hints import number
from spoolbridge.incoming import IncomingMessage, from_discord, snowflake_at, snowflake_time
from spoolbridge.receipts import Receipts
from spoolbridge.role_names import RoleNames
from spoolbridge.schedule import BUSY_INTERVAL, INTERVAL, Schedule
from spoolbridge.scope import Place as _Place
from spoolbridge.scope import Scope
from spoolbridge.troubles import Key, Troubles, shown
from spoolbridge.visits import Visits
from spoolbridge.waiting import in_thread, pause

_AT_ONCE = 16  # pages fetched at the same time of places that have moved
_SWEEP_AT_ONCE = 2  # and in the sweep, which nobody waits for

GUILD = "the guild"  # the key in `problems` of what concerns every channel

_log = logging.getLogger(__name__)


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
        alarm: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client, self._guild_id, self._deliveries = client, guild_id, tuple(deliveries)
        self._access, self._receipts = access or Access(own_id), receipts
        self._first_start, self._report, self._alarm = first_start, report, alarm
        self._clock, self._sleep = clock, sleep
        self._attachments, self._roles = attachments, RoleNames(client, clock=clock)
        self._schedule, self._archive = Schedule(interval=interval), Archive(client, first_start)
        self._doors, self._sweep_doors = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(_SWEEP_AT_ONCE)
        self._visits = Visits()
        self._emptied = Emptied(own_id, alarm)
        self._scope = Scope(
            client, registry, globs,
            first=self._deliveries[0], archive=self._archive, knows=self._schedule.knows,
        )  # fmt: skip
        self._troubles = Troubles(clock, jitter)
        self._names: Mapping[int, str] = {}
        #: When the next look is due, by the clock; None: none has been taken.
        self.due_at: float | None = None

    @property
    def problems(self) -> dict[str, str]:
        """What does not work now, in a sentence, by channel address or GUILD."""
        return self._troubles.problems

    @property
    def emptied(self) -> frozenset[str]:
        """The addresses of channels whose last human message came without its words."""
        return self._emptied.channels

    def look_again(self) -> None:
        """Something was opened: wherever a hint lies above the cursors, fetch at the next look."""
        self._schedule.doubt()

    async def run(self, stop: asyncio.Event) -> None:
        """Look after look until `stop`; long visits go on beside the next ones. Raises TokenRefusedError."""
        try:
            while not stop.is_set():
                await self._look()
                await self._visits.ended(BUSY_INTERVAL)
                self.due_at = self._clock() + (rest := self._rest())
                await pause(rest, stop, sleep=self._sleep)
        finally:
            await self._visits.abandon()

    async def cycle(self) -> None:
        """One look, and every visit to its end. Raises TokenRefusedError, and nothing else of Discord's."""
        try:
            await self._look()
            await self._visits.ended()
            if self._archive.threads:  # the lists of archived threads had some
                await self._look()
                await self._visits.ended()
        finally:
            await self._visits.abandon()

    async def _look(self) -> None:
        """Begin a visit to every place that is due and is not being visited."""
        await self._visits.ended(0)
        try:
            places = await self._places()
        except UnreachableError as error:
            self._trouble((GUILD, ""), error)
            return
        self._forget_others(places)
        self._read_archives()
        free = [place for place in places if place.polled.id not in self._visits]
        free = [place for place in free if not self._left_alone(place.key)]
        # An archived thread is visited once, and only where there is something in it.
        turns = [place.polled.id for place in free if place.polled.id not in self._archive.threads]
        swept = set(self._schedule.swept(turns, self._clock()))
        for place in free:
            key, thorough = place.polled.id, place.polled.id in swept
            if self._is_due(place):
                self._visits.begin(key, self._visit(place, self._doors, thorough=thorough))
            elif thorough:
                self._visits.begin(key, self._visit(place, self._sweep_doors, thorough=True))

    def _rest(self) -> float:
        return self._troubles.wait((GUILD, "")) or self._schedule.rest(self._clock())

    async def _places(self) -> list[_Place]:
        """Raises UnreachableError, TokenRefusedError."""
        guild_id = self._guild_id if isinstance(self._guild_id, int) else self._guild_id()
        try:
            places = await self._scope.places(guild_id)
        except (UnreachableError, TokenRefusedError):
            raise
        except DiscordError as error:  # no hints to be had: look into every channel
            self._trouble((GUILD, ""), error)
            return self._scope.unhinted()
        self._troubles.pop((GUILD, ""), None)
        self._names = self._scope.names
        return places

    def _read_archives(self) -> None:
        for channel in self._archive.due(self._scope.listable, self._clock()):
            if -channel.id not in self._visits:  # negative: not the visit to the channel itself
                self._visits.begin(-channel.id, self._archive.read(channel, self._sweep_doors))

    def _forget_others(self, places: Sequence[_Place]) -> None:
        """Drop what is known of places that are polled no longer."""
        keys = {(GUILD, "")} | {place.key for place in places}
        keys |= {_key(place, delivery) for place in places for delivery in self._deliveries}
        self._troubles.keep(keys)
        self._schedule.keep({place.polled.id for place in places})

    def _is_due(self, place: _Place) -> bool:
        """Whether there may be something to fetch or to hand over, by what is known."""
        keys = [place.key, *(_key(place, delivery) for delivery in self._deliveries)]
        retry = any(key in self._troubles and not self._left_alone(key) for key in keys)
        return retry or self._schedule.moved(place.polled.id, place.hint)

    async def _visit(self, place: _Place, doors: asyncio.Semaphore, *, thorough: bool) -> None:
        at = self._clock()
        try:
            fetched = await self._fetch(place, doors, thorough=thorough)
        except TokenRefusedError:
            raise
        except ChannelClosedError as error:
            self._alarm()
            if not self._archive.done(place.polled.id):  # of a thread that is gone there is nothing to tell
                self._trouble(place.key, error)
        except (OSError, SpoolbridgeError) as error:
            self._trouble(place.key, error)
        except Exception as error:  # a bug met in one channel must not silence the others
            _log.exception("%s could not be polled", shown(place.key))
            self._trouble(place.key, error)
        else:
            self._note(place, at if fetched else None)

    def _note(self, place: _Place, at: float | None) -> None:
        """The visit has ended well; `at` is when it began to fetch, None: there was nothing to fetch."""
        self._troubles.pop(place.key, None)
        if at is not None or place.hint is None:
            self._schedule.fetched(place.polled.id, place.hint, self._clock() if at is None else at)
        else:
            self._schedule.passed_over(place.polled.id, place.hint)
        whole = not any(_key(place, delivery) in self._troubles for delivery in self._deliveries)
        self._archive.visited(place.polled.id, whole=whole)

    async def _fetch(self, place: _Place, doors: asyncio.Semaphore, *, thorough: bool) -> bool:
        """Every page from the oldest position on, to every delivery that is not left alone just now.

        Says whether it asked at all. A door is held for one page: a long backlog holds up nobody.
        """
        positions: dict[Delivery, int] = {}
        for delivery in self._deliveries:
            if not self._left_alone(_key(place, delivery)):
                await self._attempt(place, delivery, self._locate(place, delivery, positions))
        if not positions or not (thorough or self._may_hold_more(place, positions)):
            return False
        pages = self._client.messages_since(place.polled.id, min(positions.values()))
        empty = True
        async with aclosing(pages):  # type: ignore[type-var]
            while positions:
                async with doors:
                    page = await anext(pages, None)
                    if page is None:
                        break
                    empty = False
                    await self._hand_over(place, page, positions)
        if empty and self._may_hold_more(place, positions, known=False):
            self._alarm()  # the last message was deleted, or the history is closed
        return True

    def _may_hold_more(self, place: _Place, positions: Iterable[Delivery], *, known: bool = True) -> bool:
        """Whether the hint lies above what is done with, or the place is `known`: then it has moved."""
        hint = place.hint
        if hint is None or (known and self._schedule.knows(place.polled.id)):
            return True
        return any(hint > (delivery.reached(place.polled) or 0) for delivery in positions)

    async def _hand_over(
        self, place: _Place, page: Sequence[dict[str, Any]], positions: dict[Delivery, int]
    ) -> None:
        """One page to the deliveries that are there yet; who fails with it gets no further one."""
        self._emptied.weigh(place.channel.address, page)
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
            return messages, number(page[-1], "id"), None
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
            _log.exception("%s failed", shown(_key(place, delivery)))
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
        if place.late and (began := await in_thread(self._deliveries[0].began, place.channel)) is not None:
            return max(began, snowflake_at(self._first_start) - 1)
        if place.hint is not None:
            return place.hint or polled
        return number(await self._client.channel(polled), "last_message_id") or polled

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
            self._schedule.heard(self._clock())
            self._report(message)

    def _left_alone(self, key: Key) -> bool:
        return self._troubles.wait(key) > 0

    def _trouble(self, key: Key, error: Exception) -> None:
        self._troubles.note(key, error)


def _key(place: _Place, delivery: Delivery) -> Key:
    address, thread = place.key
    return address, f"{thread}, {delivery.name}" if thread else delivery.name
