"""A town's day: agents who drop, humans who write and answer, readers who read. All by one seed.

Between seven and ten in the evening there is work, at night next to nothing. Everything is told to the ledger
when it has been handed over, and not before: a drop that met a full disk is its writer's to repeat.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from spoolbridge import asks, channels, choices, identity
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.spool import Spool
from tests.soak.ledger import Entry
from tests.soak.world import World

DROPS, WORDS = 30.0, 45.0  # seconds between two drops, and two human messages, by day
NIGHT = 12.0  # so many times as long
BURST = 0.02  # of the drops are a burst of so many:
BURST_OF = (5, 25)
BUSY = 4  # channels that get two fifths of them
_READ = 45.0  # seconds between two rounds of a reader
_QUESTION = 900.0  # seconds for which a question is open
_KEYS = 40  # Dedupe-Keys that agents use at a time
_SAID = "the build is green and the convoy has landed on the moon with three beads left over"
_WORDS = _SAID.split()


class Town:
    """Everybody who is no part of the bridge. `run` until cancelled; after `rest` only the readers work."""

    def __init__(self, world: World) -> None:
        self._world, self._dice, self._ledger = world, world.dice, world.ledger
        self._spool = Spool(world.settings.spool)
        self._resting = False
        self.asked: dict[str, float] = {}

    def close(self) -> None:
        self._spool.close()

    def rest(self) -> None:
        self._resting = True

    async def run(self) -> None:
        async with asyncio.TaskGroup() as people:
            people.create_task(self._often(DROPS, self._agent))
            people.create_task(self._often(WORDS, self._human))
            people.create_task(self._often(600.0, self._ask))
            people.create_task(self._read_forever())

    async def _often(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while not self._resting:
            hour = datetime.fromtimestamp(self._world.now, UTC).hour
            mean = seconds if 7 <= hour < 22 else seconds * NIGHT
            await asyncio.sleep(min(self._dice.expovariate(1 / mean), 5 * mean))
            if not self._resting:
                await act()

    # -- agents ------------------------------------------------------------------------------------------

    async def _agent(self) -> None:
        every = list(self._world.channels)
        channel = self._dice.choice(every[:BUSY] if self._dice.random() < 0.4 else every)
        for _ in range(self._dice.randint(*BURST_OF) if self._dice.random() < BURST else 1):
            ways = (self._plain, self._by_id, self._bundle, self._long, self._options)
            (way,) = self._dice.choices(ways, (5, 5, 1, 1, 3))
            with suppress(OSError, SpoolbridgeError):  # not handed over, and the writer knows
                way(channel)
            await asyncio.sleep(self._dice.uniform(0.0, 2.0))

    def _entry(self, channel: str, marks: int = 1) -> Entry:
        clocks = self._world.clocks
        return Entry(self._ledger.next(), channel, clocks.true(), clocks.wall(), [0] * marks)

    def _text(self, entry: Entry, mark: int = 1, words: int = 12) -> str:
        return f"o{entry.number}.{mark} {' '.join(self._dice.choices(_WORDS, k=words))}"

    def _plain(self, channel: str) -> None:
        """`echo … > outgoing/<channel>/…`"""
        entry = self._entry(channel)
        path = self._spool.root / "outgoing" / channel / f"o{entry.number}.txt"
        try:
            # Not by open(): its calls are not those of `os`, and would find room on a full disk.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                data = self._text(entry).encode()
                whole = os.write(fd, data) == len(data)
            finally:
                os.close(fd)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise
        if not whole:
            path.unlink()
            return
        self._world.clocks.wrote(str(path))
        self._ledger.drop(entry)

    def _by_id(self, channel: str, text: str = "", entry: Entry | None = None) -> None:
        """The six acts, as the MCP tool and `send` have them."""
        entry = entry or self._entry(channel)
        made = self._spool.drop(channel, (text or self._text(entry)).encode(), name=f"o{entry.number}.txt")
        entry.wall = identity.time_of(made.id)  # its place: IDs go on where a clock was set back
        self._ledger.drop(entry)

    def _bundle(self, channel: str) -> None:
        entry = self._entry(channel)
        files = {"log.txt": os.urandom(8).hex().encode() * 100, "chart.png": self._dice.randbytes(3000)}
        made = self._spool.drop(channel, self._text(entry).encode(), name=f"o{entry.number}", files=files)
        entry.wall = identity.time_of(made.id)
        self._ledger.drop(entry)

    def _long(self, channel: str) -> None:
        """Several parts: each paragraph has its mark."""
        paragraphs = self._dice.randint(4, 10)
        entry = self._entry(channel, paragraphs)
        text = "\n\n".join(self._text(entry, mark, 120) for mark in range(1, paragraphs + 1))
        self._by_id(channel, text, entry)

    def _options(self, channel: str) -> None:
        entry = self._entry(channel)
        header = self._dice.choice((self._thread, self._reply, self._key, self._reaction))(entry)
        text = "" if entry.silent else self._text(entry)
        self._by_id(channel, "\n".join(["Spoolbridge: 1", *header, "", text]), entry)

    def _thread(self, entry: Entry) -> list[str]:
        return [f"Thread: convoy {self._dice.randint(1, 2)}"]

    def _reply(self, entry: Entry) -> list[str]:
        said = self._last(entry.channel)
        return [f"Reply-To: {said}"] if said else []

    def _reaction(self, entry: Entry) -> list[str]:
        said = self._last(entry.channel)
        if not said:
            return []
        entry.silent, entry.posted = True, []
        return [f"Reply-To: {said}", f"React: {self._dice.choice('👍🎉🚀')}"]

    def _key(self, entry: Entry) -> list[str]:
        # A day's keys: one that is used again only after the ledger has forgotten it would look like a loss.
        entry.key = f"{entry.channel} {int(self._world.now // 7200)} {self._dice.randrange(_KEYS)}"
        return [f"Dedupe-Key: {entry.key}"]

    def _last(self, channel: str) -> int | None:
        """Somebody's message of late."""
        place = self._world.emulator.guild.by_id.get(self._world.channels.get(channel, 0))
        messages = self._world.emulator.guild.history(place.id)[-10:] if place else []
        return self._dice.choice(messages).id if messages else None

    # -- questions ---------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        channel, mark = self._dice.choice(self._world.polled()), f"q{self._dice.getrandbits(40):x}"
        with suppress(OSError, SpoolbridgeError):
            registry = channels.load(self._world.settings.channels)
            asked = asks.ask(
                self._spool, registry, channel, f"{mark} deploy?", options=("yes", "no"), timeout=_QUESTION,
                clock=self._world.clocks.wall,
            )  # fmt: skip
            self.asked[asked.id] = self._world.now + _QUESTION
            asyncio.get_running_loop().call_later(self._dice.uniform(20, 1200), self._answer, channel, mark)

    def _answer(self, channel: str, mark: str) -> None:
        guild = self._world.emulator.guild
        for message in guild.history(self._world.channels.get(channel, 0)):
            if mark in message.content:
                emoji = self._dice.choice(choices.emojis(("yes", "no")))
                guild.react(message, emoji, guild.person("nic"))

    def questions(self) -> None:
        """Every question that was asked has been answered or given up: there is a file for each."""
        answers = self._spool.root / "state" / "asks" / "answers"
        for ask_id, due in list(self.asked.items()):
            if self._world.now > due + 3600:
                del self.asked[ask_id]
                if not (answers / f"{ask_id}.json").exists():
                    self._ledger.wrong.append(f"the question {ask_id} was never answered, nor given up")

    # -- humans ------------------------------------------------------------------------------------------

    async def _human(self) -> None:
        channel = self._dice.choice(self._world.polled())
        for _ in range(self._dice.choice((1, 1, 1, 2, 5))):
            (way,) = self._dice.choices((self._say, self._in_thread, self._bot, self._edit), (8, 1, 1, 1))
            way(channel)
            await asyncio.sleep(self._dice.uniform(0.5, 8.0))

    def _say(self, channel: str, place: int | None = None) -> None:
        place = place or self._world.channels.get(channel)
        if place not in self._world.emulator.guild.by_id:
            return
        answers = self._dice.random() < 0.2 and place == self._world.channels[channel]
        said = self._last(channel) if answers else None
        files = [("photo.png", self._dice.randbytes(2000))] if self._dice.random() < 0.05 else []
        text = " ".join(self._dice.choices(_WORDS, k=self._dice.choice((3, 10, 200))))
        author = self._dice.choice(("nic", "ada"))
        message = self._world.emulator.say(place, text, author=author, reply_to=said, files=files)
        self._ledger.say(message, self._world.now, channel)

    def _in_thread(self, channel: str) -> None:
        guild = self._world.emulator.guild
        parent = self._world.channels.get(channel)
        threads = [each.id for each in guild.by_id.values() if each.is_thread and each.parent_id == parent]
        if threads and (len(threads) > 2 or self._dice.random() < 0.8):
            self._say(channel, self._dice.choice(threads))
        elif parent in guild.by_id:
            self._say(channel, self._world.emulator.start_thread(parent, f"talk {len(threads)}"))

    def _bot(self, channel: str) -> None:
        place = self._world.channels.get(channel)
        if place in self._world.emulator.guild.by_id:
            kind = self._dice.choice(("bot", "webhook"))
            self._ledger.stranger(self._world.emulator.say(place, "beep", author="dyno", kind=kind))

    def _edit(self, channel: str) -> None:
        """Somebody changes, or deletes, what was said last."""
        guild = self._world.emulator.guild
        messages = guild.history(self._world.channels.get(channel, 0))[-5:]
        mine = [each for each in messages if each.id in self._ledger.heard]
        if mine and self._dice.random() < 0.7:
            guild.change(mine[-1], content=mine[-1].content + " (edited)", edited_at=self._world.now)
        elif mine:
            self._ledger.heard[mine[-1].id].excused = True
            guild.remove(mine[-1])

    # -- readers -----------------------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        while True:
            await asyncio.sleep(_READ)
            self.read()

    def read(self) -> None:
        """Whatever is new, by every channel's agent, and by who follows the inbox file."""
        incoming = self._spool.root / "incoming"
        for box in sorted(incoming.glob("*/new")):
            for name in sorted(os.listdir(box)):
                self._ledger.file(name)
                self._done_with(box / name)
        self._ledger.read_lines(self._world.settings.inbox)

    def _done_with(self, path: Path) -> None:
        how = self._dice.random()
        if how < 0.5:
            path.rename(path.parent.parent / "cur" / f"{path.name}:2,S")
        elif how < 0.75:
            path.rename(path.parent.parent / "cur" / path.name)
        else:
            path.unlink()

    def tidy(self) -> None:
        """Once an hour: read mail is removed, the inbox file rotated, what was attached is thrown away."""
        for each in (self._spool.root / "incoming").glob("*/cur/*"):
            each.unlink()
        for each in (self._spool.root / "attachments").glob("*/*"):
            if self._world.clocks.wall() - each.stat().st_mtime > 7200:
                shutil.rmtree(each)
        self._ledger.rotate(self._world.settings.inbox)
