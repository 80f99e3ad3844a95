"""The imaginary guild and the spool of one soak, and who is in it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from spoolbridge.emulator import Emulator
from spoolbridge.emulator.objects import Channel, Message
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from tests.soak.clocks import Clocks
from tests.soak.disk import Disk
from tests.soak.gauges import Recent
from tests.soak.ledger import Ledger

POLLED = 16  # channels that humans write in too
POSTED = 4  # and that only agents do


@dataclass
class World:
    """`channels`: name → id, of those that the channels file names."""

    root: Path
    emulator: Emulator
    clocks: Clocks
    disk: Disk
    dice: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    channels: dict[str, int] = field(default_factory=dict)
    #: Channels that somebody is doing something to; one trouble at a time each.
    troubled: set[str] = field(default_factory=set)
    #: What was done to everybody, and how often.
    acts: dict[str, int] = field(default_factory=dict)
    made: int = 0

    @property
    def now(self) -> float:
        return self.clocks.true()

    @property
    def settings(self) -> Settings:
        spool = self.root / "spool"
        return Settings(
            spool=spool, channels=self.root / "discord-channels.json",
            inbox=self.root / "discord-inbox.jsonl", token=self.emulator.token,
            api_url=self.emulator.api_url, gt="off",
        )  # fmt: skip

    def found(self) -> None:
        """The guild and the channels file, as they are on the first day."""
        self.emulator.transport.seen = Recent()
        self.emulator.guild.listeners.append(self._hear)
        for number in range(POLLED):
            self.add(f"mayor-{number}")
        for number in range(POSTED):
            self.add(f"rig-{number}-status")
        self.write_channels()
        Spool.create(self.settings.spool).close()

    def add(self, name: str) -> None:
        self.channels[name] = self.emulator.add_channel(name)

    def write_channels(self) -> None:
        told = {name: str(each) for name, each in self.channels.items()}
        new = self.settings.channels.with_suffix(".new")
        new.write_text(json.dumps(told))
        new.rename(self.settings.channels)

    def _hear(self, what: str, about: Message | Channel) -> None:
        if what == "created" and isinstance(about, Message) and about.author.id == self.emulator.guild.bot.id:
            self.ledger.post(about.content)

    def did(self, what: str) -> None:
        self.acts[what] = self.acts.get(what, 0) + 1

    def polled(self) -> list[str]:
        """The channels that humans can write in."""
        return [name for name in self.channels if name.startswith("mayor-")]

    @contextmanager
    def trouble(self, channel: str) -> Iterator[None]:
        """Nothing else happens to the channel meanwhile."""
        self.troubled.add(channel)
        try:
            yield
        finally:
            self.troubled.discard(channel)

    def untroubled(self, names: list[str] | None = None) -> str | None:
        free = [name for name in names or self.channels if name not in self.troubled]
        return self.dice.choice(free) if free else None
