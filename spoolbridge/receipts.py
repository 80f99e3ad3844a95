"""Receipts: 👀 on a message once its file and its line are durable, ✅ once it has been read.

Owns `state/receipts/<channel id>.json`, one small file for each channel or thread in which a message has
not all its receipts yet. Best effort, and honest: what a receipt says is true, and one that a crash, an
old age or a refusal costs is only missing. Must never hold up who delivers: the poller only notes in
memory; files, looks at `new/` and requests are the task's that runs `run`, and nothing is fsynced.

Read means what it means to `inbox` and to every mail program: gone from `new/`, and not in `cur/` with
flags that lack S (there a program has seen that it came, and shown it to nobody).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from spoolbridge import atomic, backoff
from spoolbridge.channels import Channel
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.discord.codes import MISSING_ACCESS, MISSING_PERMISSION, UNKNOWN_CHANNEL
from spoolbridge.errors import DiscordError, SpoolbridgeError, TokenRefusedError, UnreachableError
from spoolbridge.incoming import IncomingMessage, snowflake_time
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread, pause

FILED, READ = "👀", "✅"
DIRECTORY = "receipts"

LOOK = 3.0  # seconds between two looks at new/ while a receipt is pending
LOOK_AGAIN = 60.0  # seconds between two looks at cur/ while nothing has left new/ since
PACE = 0.1  # seconds from one receipt to the next of all channels: polls need most of the 30 reads a second
AT_ONCE = 3  # receipts that may wait for the limiter: in front of a poll there are never more
ONCE = 30.0  # seconds that `run --once` spends on receipts; the rest is for the next time
PROBE = 3600.0  # seconds after which a channel without the permission is tried again
OLDEST = 7 * 24 * 3600.0  # seconds after which an unread message gets no receipt any more
MOST = 5000  # receipts that may be pending; the oldest messages lose theirs

_STATE_MODE = 0o2750
_LARGEST_FILE = 1 << 20  # bytes; MOST ids need a tenth of it
_FILE = re.compile(r"(\d{1,20})\.json")
_NAME = re.compile(r"\d+\.D(\d{1,20})\.discord(?::2,(\w*))?")

_NONE: frozenset[int] = frozenset()

_log = logging.getLogger(__name__)


@dataclass
class _Place:
    """A channel or thread and its messages that lack a receipt, by ascending id; `address`: its directory."""

    id: int
    address: str
    #: Message id → whether it has its 👀.
    pending: dict[int, bool] = field(default_factory=dict)
    #: Not to be asked before this time of the clock, and since when that is so.
    until: float = 0.0
    failing: float | None = None
    #: Whether the file says something else.
    changed: bool = False

    def drop(self, message_id: int) -> None:
        self.changed |= self.pending.pop(message_id, None) is not None


class Receipts:
    """Gives receipts in a spool for what `deliveries` (all of them) have. `run` must run.

    `clock` gives unix seconds. Belongs to the event loop's thread.
    """

    def __init__(
        self,
        spool: Spool,
        client: DiscordClient,
        deliveries: Sequence[Delivery],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spool, self._client, self._deliveries = spool, client, tuple(deliveries)
        self._clock, self._sleep = clock, sleep
        self._places = {place.id: place for place in _load(spool)}
        self._visited: set[int] = set()
        self._looked: dict[str, tuple[float, frozenset[int], frozenset[int]]] = {}
        self._next, self._doors = 0.0, asyncio.Semaphore(AT_ONCE)
        self._wake = asyncio.Event()
        self._told: set[tuple[str, int]] = set()
        #: Channel address → why there are no receipts there for now.
        self.stopped: dict[str, str] = {}

    @property
    def pending(self) -> int:
        """How many messages lack a receipt."""
        return sum(len(place.pending) for place in self._places.values())

    # -- the poller's side -----------------------------------------------------------------------------

    def lacking(self, channel: Channel, messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
        """Those of the messages that some delivery does not have yet. `channel.id`: what was polled."""
        lacking: set[int] = set()
        for delivery in self._deliveries:
            try:
                lacking |= {message.id for message in delivery.missing(channel, messages)}
            except (OSError, SpoolbridgeError):  # a damaged cursor: nobody can say
                return list(messages)
        return [message for message in messages if message.id in lacking]

    def note(self, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        """These were lacking; what every delivery has now gets its receipts."""
        still = {message.id for message in self.lacking(channel, messages)}
        filed = {message.id: False for message in messages if message.id not in still}
        if filed:
            place = self._places.setdefault(channel.id, _Place(channel.id, channel.address))
            place.address = channel.address  # it may have been renamed
            place.pending, place.changed = {**filed, **place.pending}, True
            self._wake.set()

    # -- the task's side -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Give receipts until cancelled. Raises TokenRefusedError, and nothing else of Discord's."""
        try:
            async with asyncio.TaskGroup() as visits:
                while True:
                    self._wake.clear()
                    for place, read in await self._due():
                        self._visited.add(place.id)
                        visits.create_task(self._visit(place, read))
                    await pause(LOOK if self.pending else OLDEST, self._wake, sleep=self._sleep)
        finally:
            self._end()

    async def once(self) -> None:
        """Give what can be given soon. Raises TokenRefusedError."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ONCE):
                    await asyncio.gather(*(self._visit(place, read) for place, read in await self._due()))
        finally:
            self._end()

    def _end(self) -> None:
        if changed := self._changed():
            _save(self._spool, changed)

    async def _due(self) -> list[tuple[_Place, frozenset[int]]]:
        """The places where something can be given now, each with what has been read of it."""
        self._forget_old()
        if changed := self._changed():
            await in_thread(_save, self._spool, changed)
        now = self._clock()
        able = [
            place
            for place in self._places.values()
            if place.pending and place.id not in self._visited and place.until <= now
        ]
        read: dict[str, frozenset[int]] = {}
        for address in {place.address for place in able}:
            ids = [each for place in able if place.address == address for each in place.pending]
            read[address] = await in_thread(self._read, address, frozenset(ids))
        due = [(place, read[place.address] & place.pending.keys()) for place in able]
        return [(place, done) for place, done in due if done or not all(place.pending.values())]

    def _read(self, address: str, pending: frozenset[int]) -> frozenset[int]:
        """Which of the pending messages have been read: one look at new/, and seldom one at cur/."""
        listed = _listed(self._spool, f"incoming/{address}/new")
        if listed is None:
            return frozenset()
        gone = pending - listed.keys()
        at, before, unread = self._looked.get(address, (0.0, _NONE, _NONE))
        if gone - before or self._clock() - at >= LOOK_AGAIN:
            cur = _listed(self._spool, f"incoming/{address}/cur") if gone else {}
            flagged = {each: flags for each, flags in (cur or {}).items() if flags is not None}
            unread = gone & {each for each, flags in flagged.items() if "S" not in flags}
            self._looked[address] = (self._clock(), gone, unread)
        return gone - unread

    async def _visit(self, place: _Place, read: frozenset[int]) -> None:
        try:
            for message_id, shown in sorted(place.pending.items()):
                if not shown:
                    await self._give(place, message_id, FILED)
                if message_id in read:
                    await self._give(place, message_id, READ)
                if self._clock() < place.until:
                    return
        finally:
            self._visited.discard(place.id)
            if place.changed:
                self._wake.set()

    async def _give(self, place: _Place, message_id: int, emoji: str) -> None:
        if message_id not in place.pending or self._clock() < place.until:
            return
        try:
            async with self._doors:
                await self._turn()
                await self._client.react(place.id, message_id, emoji)
        except TokenRefusedError:
            raise
        except UnreachableError as error:
            self._put_off(place, error)
        except DiscordError as error:
            self._refused(place, message_id, error)
        else:
            place.failing = None
            if self.stopped.pop(place.address, None):
                _log.info("%s: receipts are given again", place.address)
            if emoji == READ:
                place.drop(message_id)
            elif message_id in place.pending:
                place.pending[message_id] = place.changed = True

    async def _turn(self) -> None:
        now = self._clock()
        at, self._next = max(now, self._next), max(now, self._next) + PACE
        if at > now:
            await self._sleep(at - now)

    def _put_off(self, place: _Place, error: UnreachableError) -> None:
        now = self._clock()
        place.failing = now if place.failing is None else place.failing
        wait = backoff.delay(now - place.failing) if error.retry_after is None else error.retry_after
        place.until = now + wait

    def _refused(self, place: _Place, message_id: int, error: DiscordError) -> None:
        """One message goes without (it is gone, its author has blocked the bot), or its whole channel."""
        if error.code in (MISSING_ACCESS, MISSING_PERMISSION):
            until = self._clock() + PROBE
            for each in self._places.values():
                if each.address == place.address:  # threads have their channel's permissions
                    each.until = until
            self._tell(place, error, "no receipts there")
            self.stopped[place.address] = error.what
            return
        place.drop(message_id)
        if error.code == UNKNOWN_CHANNEL:
            for other in list(place.pending):
                place.drop(other)
        self._tell(place, error, "a message goes without its receipt")

    def _tell(self, place: _Place, error: DiscordError, what: str) -> None:
        """Once for each channel and code; that messages are deleted is no news."""
        if (place.address, error.code) not in self._told:
            self._told.add((place.address, error.code))
            _log.warning("%s: %s: %s", place.address, what, error.what)

    def _forget_old(self) -> None:
        now = self._clock()
        every = sorted((each, place.id) for place in self._places.values() for each in place.pending)
        spare = len(every) - MOST
        for number, (message_id, place_id) in enumerate(every):
            if number >= spare and now - snowflake_time(message_id) <= OLDEST:
                break
            self._places[place_id].drop(message_id)

    def _changed(self) -> list[tuple[int, bytes]]:
        """Channel id → its file's new content, empty where it is needed no more; it counts as written."""
        changed = [place for place in self._places.values() if place.changed]
        for place in changed:
            place.changed = False
            if not place.pending and place.id not in self._visited:
                del self._places[place.id]
        return [(place.id, _encode(place)) for place in changed]


def _listed(spool: Spool, path: str) -> dict[int, str | None] | None:
    """Message id → its flags (None: no program has set any) in a box; None: there is no such box."""
    try:
        with spool.at(path) as box, os.scandir(box) as entries:
            matches = [match for entry in entries if (match := _NAME.fullmatch(entry.name))]
    except OSError:  # a reader may even take the box away; that says nothing about what was read
        return None
    return {int(match[1]): match[2] for match in matches}


def _encode(place: _Place) -> bytes:
    if not place.pending:
        return b""
    told = {str(each): shown for each, shown in sorted(place.pending.items())}
    return json.dumps({"channel": place.address, "filed": told}, ensure_ascii=False).encode() + b"\n"


def _save(spool: Spool, files: Sequence[tuple[int, bytes]]) -> None:
    """Not durable: a power cut costs receipts, and no message. Nor does a full disk."""
    with suppress(OSError), spool.at("state") as state:
        atomic.ensure_directory(DIRECTORY, at=state, mode=_STATE_MODE)
        with atomic.directory(DIRECTORY, at=state) as directory:
            for channel_id, content in files:
                if content:
                    atomic.replace(f"{channel_id}.json", content, at=directory, durable=False)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(f"{channel_id}.json", dir_fd=directory)


def _load(spool: Spool) -> Iterator[_Place]:
    """What a former service left pending; a file that cannot be read says nothing."""
    for name in spool.names(f"state/{DIRECTORY}"):
        if match := _FILE.fullmatch(name):
            with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                told = _read_file(spool, name)
                filed = {int(each): shown is True for each, shown in told["filed"].items()}
                if _is_directory_name(told["channel"]):
                    yield _Place(int(match[1]), told["channel"], filed)


def _read_file(spool: Spool, name: str) -> dict[str, Any]:
    with spool.at(f"state/{DIRECTORY}") as directory:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(fd, "rb") as file:
        told: dict[str, Any] = json.loads(file.read(_LARGEST_FILE))
        return told


def _is_directory_name(address: str) -> bool:
    return bool(address) and "/" not in address and "\0" not in address and not address.startswith(".")
