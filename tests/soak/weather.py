"""Everybody's troubles, by one seed: Discord's and the network's, the disk's, the clock's, operators', kills.

One trouble after another, a few minutes apart; those that last overlap with the next ones. What a trouble
takes it gives back, at the latest when it is cancelled: a promise is one about the day after.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from spoolbridge import failures
from spoolbridge.emulator.permissions import READ_MESSAGE_HISTORY, SEND_MESSAGES, VIEW_CHANNEL
from spoolbridge.spool import Spool
from tests.soak.ledger import Entry
from tests.soak.world import World

BETWEEN = 150.0  # seconds between two troubles, on average
_MESSAGES = "/channels/{channel}/messages"
_REQUESTS = (
    ("POST", _MESSAGES), ("POST", _MESSAGES), ("POST", _MESSAGES), ("GET", _MESSAGES),
    ("GET", "/guilds/{guild}/channels"), ("GET", "/guilds/{guild}/threads/active"),
    ("PUT", _MESSAGES + "/{message}/reactions/{emoji}/@me"),
)  # fmt: skip
_STEPS = (-300.0, -90.0, -5.0, 5.0, 90.0, 600.0)  # seconds by which the clock is set, and later set back
_BITS = (SEND_MESSAGES, VIEW_CHANNEL, READ_MESSAGE_HISTORY, SEND_MESSAGES | VIEW_CHANNEL)


class Weather:
    """`restart`, with how: the service is stopped and started again."""

    def __init__(self, world: World, restart: Callable[[str], Awaitable[None]]) -> None:
        self._world, self._dice, self._restart = world, world.dice, restart
        self._spool = Spool(world.settings.spool)
        self._ways: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "answers": (100, self._answers),
            "outages": (8, self._outage),
            "full disks": (5, self._full_disk),
            "permissions": (14, self._permission),
            "channels": (5, self._channel),
            "clocks": (6, self._clock),
            "retries": (30, self._retry),
            "cancels": (12, self._cancel),
            "holds": (6, self._hold),
            # Seldom: what a service keeps is only seen while it lives.
            "stops": (1, self._stop),
            "kills": (2, self._kill),
        }

    def close(self) -> None:
        self._spool.close()

    async def run(self) -> None:
        """Trouble after trouble; cancelled, each gives back at once what it took."""
        names, weights = list(self._ways), [weight for weight, _ in self._ways.values()]
        async with asyncio.TaskGroup() as troubles:
            while True:
                await asyncio.sleep(self._dice.expovariate(1 / BETWEEN))
                (name,) = self._dice.choices(names, weights)
                troubles.create_task(self.make(name))

    async def make(self, name: str) -> None:
        """This trouble, from its beginning to its end."""
        self._world.did(name)
        await self._ways[name][1]()

    # -- Discord and the network -------------------------------------------------------------------------

    async def _answers(self) -> None:
        method, route = self._dice.choice(_REQUESTS)
        kind, details = self._dice.choice((
            ("status", {"status": self._dice.choice((500, 502, 503, 524)), "html": True, "commit": False}),
            ("status", {"status": self._dice.choice((500, 502, 503, 524)), "html": True, "commit": True}),
            ("drop_before", {"reset": self._dice.random() < 0.5}), ("drop_after", {}), ("truncated", {}),
            ("delay", {"seconds": self._dice.choice((5.0, 40.0, 200.0)), "commit": True}),
            ("ratelimit", {"retry_after": self._dice.choice((0.5, 3.0, 40.0))}),
            ("ratelimit", {"retry_after": 2.0, "scope": "shared"}), ("hang_up", {}),
            ("cloudflare", {"retry_after": 20.0}),
        ))  # fmt: skip
        times = self._dice.choice((1, 1, 2, 5))
        self._world.emulator.fail(method=method, route=route, kind=kind, times=times, **details)

    async def _outage(self) -> None:
        try:
            await self._world.emulator.down()
            await asyncio.sleep(self._dice.choice((15.0, 100.0, 600.0, 1200.0)))
        finally:
            await self._world.emulator.up()

    async def _permission(self) -> None:
        world = self._world
        channel = world.untroubled()
        if channel is None or world.channels[channel] not in world.emulator.guild.by_id:
            return
        bits = self._dice.choice(_BITS)
        with world.trouble(channel):
            try:
                world.emulator.deny(world.channels[channel], bits)
                await asyncio.sleep(self._dice.uniform(60, 1500))
            finally:
                world.emulator.allow(world.channels[channel], bits)

    async def _channel(self) -> None:
        """A channel is made, used for an hour, deleted, and taken out of the file some time later."""
        world = self._world
        world.made += 1
        name = f"mayor-new-{world.made}"
        with world.trouble(name):
            world.add(name)
            world.write_channels()
            try:
                await asyncio.sleep(self._dice.uniform(600, 3600))
                self._delete(name)
                await asyncio.sleep(self._dice.uniform(60, 600))
            finally:
                if world.channels[name] in world.emulator.guild.by_id:
                    self._delete(name)
                del world.channels[name]
                world.write_channels()

    def _delete(self, name: str) -> None:
        world = self._world
        world.emulator.guild.remove_channel(world.channels[name])
        for heard in world.ledger.heard.values():
            heard.excused |= heard.channel == name

    # -- the machine -------------------------------------------------------------------------------------

    async def _full_disk(self) -> None:
        try:
            self._world.disk.fill()
            await asyncio.sleep(self._dice.uniform(20, 300))
        finally:
            self._world.disk.make_room()

    async def _clock(self) -> None:
        if self._world.clocks.steps:
            return
        seconds = self._dice.choice(_STEPS)
        try:
            self._world.clocks.step(seconds)
            await asyncio.sleep(self._dice.uniform(60, 1200))
        finally:
            self._world.clocks.step(-self._world.clocks.steps)

    async def _stop(self) -> None:
        await self._restart("stop")

    async def _kill(self) -> None:
        await self._restart("kill")

    # -- operators ---------------------------------------------------------------------------------------

    async def _retry(self) -> None:
        """`mv failed/<channel>/* outgoing/<channel>/`, where the channel is one."""
        for failure in list(failures.failures(self._spool)):
            if failure.channel in self._world.channels:
                self._moved(failure.name)
                with suppress(OSError):
                    failure.path.rename(self._spool.root / "outgoing" / failure.channel / failure.name)

    async def _cancel(self) -> None:
        """`rm` of something that waits in `outgoing/`, or that is under way."""
        waiting = [
            (state, channel, name)
            for state in ("outgoing", "sending")
            for channel in self._spool.channels(state)
            for name in self._spool.names(f"{state}/{channel}")
            if ".o" in name or name.startswith("o")
        ]
        if waiting:
            state, channel, name = self._dice.choice(sorted(waiting))
            path = self._spool.root / state / channel / name
            if path.is_file():
                for entry in self._numbered(name):
                    entry.cancelled = True
                with suppress(OSError):
                    os.unlink(path)

    def _moved(self, name: str) -> None:
        for entry in self._numbered(name):
            entry.moved = True

    def _numbered(self, name: str) -> list[Entry]:
        return [each for each in self._world.ledger.entries.values() if f"o{each.number}." in name]

    async def _hold(self) -> None:
        channel = self._world.untroubled()
        if channel is None:
            return
        hold = self._spool.root / "outgoing" / channel / ".hold"
        with self._world.trouble(channel):
            try:
                with suppress(OSError):
                    hold.touch()
                await asyncio.sleep(self._dice.uniform(60, 1200))
            finally:
                hold.unlink(missing_ok=True)
