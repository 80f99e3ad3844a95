"""The emulator: builds the guild and the application around it, serves it, and speaks for its people.

Promises the API of the class `Emulator` to tests and to the command line. Serves on loopback only.
Everything here belongs to the thread of the event loop that serves it.
"""

from __future__ import annotations

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from spoolbridge.emulator import objects, rest_guild, rest_messages, rest_reactions, rest_threads
from spoolbridge.emulator.faults import Faults
from spoolbridge.emulator.guild import NONCE_WINDOW, Guild
from spoolbridge.emulator.limits import Limits
from spoolbridge.emulator.objects import Channel, Message, Reference, Upload, User
from spoolbridge.emulator.page import Page
from spoolbridge.emulator.render import Viewer
from spoolbridge.emulator.routes import Table
from spoolbridge.emulator.transport import Seen, Transport

SHUTDOWN = 1.0  # seconds that open requests get at the end; delays and streams are ended before that
ROUNDS = 5  # of the event loop, until both ends of a closed connection have noticed; 3 were seen
ROUTES = (*rest_guild.ROUTES, *rest_messages.ROUTES, *rest_reactions.ROUTES, *rest_threads.ROUTES)
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Emulator:
    """An imaginary Discord guild on loopback.

        async with Emulator().serve() as emulator:
            emulator.add_channel("mayor-villa")
            client = Client(emulator.token, emulator.api_url)

    `clock` gives seconds since 1970. `latency` and delays are waited in real time. `keep_alive`: requests
    that one connection may carry, 0 for any number.
    """

    def __init__(
        self, *, token: str = "emulator-token", clock: Callable[[], float] = time.time, limits: bool = True,  # noqa: S107
        nonce_window: float = NONCE_WINDOW, latency: float = 0.0, keep_alive: int = 0,
    ) -> None:  # fmt: skip
        self.token = token
        self.guild = Guild(clock, nonce_window=nonce_window)
        self.limits = Limits(enabled=limits)
        self.faults = Faults()
        self.transport = Transport(
            self.guild, Table(ROUTES), limits=self.limits, faults=self.faults, token=token, latency=latency,
            keep_alive=keep_alive,
        )  # fmt: skip
        self.url = ""
        self.app = web.Application()
        self.app.router.add_route("*", "/api/{path:.*}", self.transport.answer)
        Page(self.guild, self.transport, self).add_to(self.app)
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._address = ("127.0.0.1", 0)
        self._rising: asyncio.Task[None] | None = None
        self.transport.go_down = self._down_for

    # Serving

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Emulator]:
        """Listen while the context lasts. Raises ValueError for an address that is not loopback."""
        if host not in LOOPBACK:
            raise ValueError(f"the emulator serves on loopback only, not on {host!r}")
        self._runner = web.AppRunner(self.app, shutdown_timeout=SHUTDOWN, access_log=None)
        await self._runner.setup()
        self._address = (host, port)
        self.transport.closing.clear()
        try:
            await self.up()
            yield self
        finally:
            self.transport.closing.set()
            if self._rising is not None:
                await self._rising
            await self._runner.cleanup()
            self._runner = self._site = None

    async def up(self) -> None:
        """Accept connections (again), on the same port as before."""
        if self._runner is None or self._site is not None:
            return
        host, port = self._address
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()
        self._address = (host, self._site.port)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._site.port}"
        self.transport.url = self.url

    async def down(self) -> None:
        """Refuse connections and break those that are open, until `up`."""
        if self._runner is None or self._site is None:
            return
        site, self._site = self._site, None
        await site.stop()
        server = self._runner.server
        for connection in [] if server is None else list(server.connections):
            connection.force_close()
        # Each end of a connection learns of its end in the loop's next rounds: a client on this loop shall
        # find the door shut, not take a dead connection from its pool.
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    async def _down_for(self, seconds: float) -> None:
        """Go down now and come up again after these (real) seconds."""
        await self.down()
        self._rising = asyncio.create_task(self._rise(seconds))

    async def _rise(self, seconds: float) -> None:
        await self.transport.pause(seconds)
        if not self.transport.closing.is_set():
            await self.up()

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/v10"

    # Channels and people

    def add_channel(self, name: str, *, type: int = objects.TEXT, parent_id: int | None = None) -> int:  # noqa: A002
        """A new channel; its id."""
        return self.guild.add_channel(name, type, parent_id=parent_id).id

    def allow(self, channel: str | int, bits: int) -> None:
        """Allow the bot these permission bits in a channel."""
        self.guild.overwrite(self.guild.channel(channel), allow=bits)

    def deny(self, channel: str | int, bits: int) -> None:
        """Deny the bot these permission bits in a channel."""
        self.guild.overwrite(self.guild.channel(channel), deny=bits)

    def say(
        self, channel: str | int, text: str, *, author: str = "nic", reply_to: int | None = None,
        kind: str = "human", at: float | None = None, files: Sequence[tuple[str, bytes]] = (),
        voice: float | None = None, **extra: Any,
    ) -> int:  # fmt: skip
        """Somebody writes; the message's id.

        `kind`: human, bot, webhook or system. `at`: seconds, for a message that becomes visible late.
        `files`: (name, bytes) each. `voice`: the files are a voice message of so many seconds. `type` and
        `flags` are the message's; any other `extra` is a field of the message object, shown as it is
        (sticker_items, poll, message_snapshots).
        """
        place = self.guild.channel(channel)
        fields: dict[str, Any] = {name: extra.pop(name) for name in ("type", "flags", "tts") if name in extra}
        if reply_to is not None:
            fields = {"type": objects.REPLY, "reference": Reference(place.id, reply_to), **fields}
        if voice is not None:
            fields["flags"] = fields.get("flags", 0) | objects.IS_VOICE_MESSAGE
        who = self._author(author, kind)
        if kind == "webhook":
            fields["webhook_id"] = who.id
        uploads = [Upload(name, data, _content_type(name), duration=voice) for name, data in files]
        return self.guild.write(place.id, who, text, at=at, extra=extra, uploads=uploads, **fields).id

    def react(
        self, channel: str | int, message: int, emoji: str, *, author: str = "nic", remove: bool = False
    ) -> None:
        """Somebody puts a reaction on a message, or takes it back. Raises KeyError for no such message."""
        place = self.guild.channel(channel)
        found = self.guild.message(place.id, message)
        if found is None:
            raise KeyError(f"no message {message} in {place.name}")
        self.guild.react(found, emoji, self.guild.person(author), remove=remove)

    def start_thread(
        self, channel: str | int, name: str, *, message: int | None = None, author: str = "nic", **fields: Any
    ) -> int:
        """Somebody starts a thread, from a message or by itself; its id. `fields` are a `Channel`'s."""
        place = self.guild.channel(channel)
        start = None if message is None else self.guild.message(place.id, message)
        return self.guild.start_thread(place, name, self.guild.person(author), message=start, **fields).id

    def _author(self, name: str, kind: str) -> User:
        if kind in ("human", "bot"):
            return self.guild.person(name, bot=kind == "bot")
        made = self.guild.snowflakes.next()
        return User(made, name, bot=kind == "webhook", system=kind == "system")

    # Looking

    def messages(self, channel: str | int) -> list[dict[str, Any]]:
        """A channel's messages as the API shows them, oldest first, never blanked."""
        viewer = Viewer(self.guild, self.url, blanking=False)
        return [viewer.message(message) for message in self.guild.history(self.guild.channel(channel).id)]

    def requests(self) -> list[Seen]:
        """Every request so far, in the order of arrival."""
        return list(self.transport.seen)

    async def posted(
        self, channel: str | int, count: int = 1, *, timeout: float = 10.0  # noqa: ASYNC109
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Wait until the bot has `count` messages in a channel; those. Raises TimeoutError (real seconds)."""
        place = self.guild.channel(channel).id
        news = asyncio.Event()

        def listen(what: str, about: Message | Channel) -> None:
            news.set()

        self.guild.listeners.append(listen)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    mine = [m for m in self.messages(place) if m["author"]["id"] == str(self.guild.bot.id)]
                    if len(mine) >= count:
                        return mine
                    news.clear()
                    await news.wait()
        finally:
            self.guild.listeners.remove(listen)

    # Faults

    def fail(
        self, *, method: str, route: str, kind: str, times: int = 1, after: int = 0, **details: Any
    ) -> None:
        """Script a fault (see `faults`): the requests after the first `after` meet it.

        `times` requests, 0: every one from then on.
        """
        self.faults.add(method=method, route=route, kind=kind, times=times, after=after, **details)


def _content_type(name: str) -> str | None:
    return mimetypes.guess_type(name)[0]
