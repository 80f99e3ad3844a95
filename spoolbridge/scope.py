"""What is polled: the channels of the file that match, and those of their threads that may hold news.

Asks the guild once for all of them, and begins nothing there. Which threads are new to a channel that was
read before is decided here, for they begin elsewhere than a channel that the bridge sees for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from spoolbridge import hints
from spoolbridge.archive import Archive
from spoolbridge.channels import Channel, Registry
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.hints import Hints, Thread
from spoolbridge.waiting import in_thread


@dataclass(frozen=True)
class Place:
    """A channel or one of its threads. `hint` is its last message's id, 0: none, None: not known."""

    polled: Channel
    channel: Channel
    hint: int | None
    #: A thread that was not there yet when its channel was begun: "from now" would lose what woke it.
    late: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Its channel's address and, for a thread, which."""
        thread = self.polled.id != self.channel.id
        return self.channel.address, f"thread {self.polled.id}" if thread else ""


class Scope:
    """`first` is the delivery that tells what was begun; `knows` whether a thread was looked at before."""

    def __init__(
        self,
        client: DiscordClient,
        registry: Callable[[], Registry],
        globs: Sequence[str],
        *,
        first: Delivery,
        archive: Archive,
        knows: Callable[[int], bool],
    ) -> None:
        self._client, self._registry, self._globs = client, registry, tuple(globs)
        self._first, self._archive, self._knows = first, archive, knows
        #: Names of channels and active threads by id, as of the last look.
        self.names: Mapping[int, str] = {}
        #: The channels whose archived threads can be listed.
        self.listable: dict[int, Channel] = {}

    def channels(self) -> dict[int, Channel]:
        """The matching channels by id; of several names for one channel the first counts."""
        return {each.id: each for each in reversed(self._registry().channels) if self._matches(each)}

    def unhinted(self) -> list[Place]:
        """The channels, where no hints are to be had."""
        return [Place(channel, channel, None) for channel in self.channels().values()]

    async def places(self, guild_id: int) -> list[Place]:
        """Every channel and thread that is polled, with its hint. Raises DiscordError."""
        matching = self.channels()
        if not matching:
            return []
        found = await hints.ask(self._client, guild_id)
        self.names = found.names
        self.listable = {key: each for key, each in matching.items() if key in found.with_threads}
        self._archive.compare(found, matching.keys())
        places = [Place(channel, channel, found.channels.get(channel.id)) for channel in matching.values()]
        return places + await self._threads(found, matching)

    async def _threads(self, found: Hints, matching: Mapping[int, Channel]) -> list[Place]:
        threads = [*found.threads.values(), *self._archive.threads.values()]
        ours = [each for each in threads if each.parent in matching]
        new = [each for each in ours if not self._knows(each.id)]
        late = await in_thread(self._late, new, matching) if new else ()
        return [
            Place(parent._replace(id=each.id), parent, each.hint, late=each.id in late)
            for each in ours
            if (parent := matching[each.parent])
        ]

    def _late(self, threads: Iterable[Thread], matching: Mapping[int, Channel]) -> Collection[int]:
        """Those that were not there when their channel was begun."""
        return {
            each.id
            for each in threads
            if self._first.reached(matching[each.parent]) is not None
            and self._first.reached(matching[each.parent]._replace(id=each.id)) is None
        }

    def _matches(self, channel: Channel) -> bool:
        names = {channel.name, channel.address}
        return any(fnmatchcase(name, glob) for glob in self._globs for name in names)
