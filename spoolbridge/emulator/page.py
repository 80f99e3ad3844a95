"""The face for people: the chat page, its live feed, the files of messages, and the `_emulator` endpoints.

    GET  /                               the page                GET  /_emulator/events   server-sent events
    GET  /_emulator/state                channels and counts     GET  /_emulator/messages/{channel}
    POST /_emulator/say                  {channel, author, text, reply_to?}, or a form with files
    POST /_emulator/react                {channel, message, author, emoji}: puts it there, or takes it back
    POST /_emulator/thread               {channel, author, name, message?}: starts a thread
    POST /_emulator/faults               the fields of `Emulator.fail`           DELETE: forget them all
    GET  /attachments/{channel}/{file}/{name}    signed links, as long as they are good

Needs no token: it is bound to loopback, the Host header must name loopback, and a write that carries an
Origin must carry this page's own, so that no page from elsewhere can write.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Protocol

from aiohttp import web

from spoolbridge.emulator import bodies, coerce, objects, refusals, render
from spoolbridge.emulator.answers import PLAIN, Answered
from spoolbridge.emulator.faults import TYPED, WORDS
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.objects import Channel, Message, Upload
from spoolbridge.emulator.refusals import RefusalError, invalid, unknown_channel
from spoolbridge.emulator.render import Viewer
from spoolbridge.emulator.rest_reactions import check_kinds, emoji
from spoolbridge.emulator.rest_threads import thread_name
from spoolbridge.emulator.transport import Transport

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
HISTORY = 200  # messages that the page shows of a channel when it opens it
BACKLOG = 1000  # events that one page may lag behind before its stream ends and it starts afresh
HEARTBEAT = 15.0  # seconds between comments on an idle stream, so that a dead page is noticed
SCRIPTS = (
    "page.js", "box.js", "channels.js", "dialog.js", "files.js", "log.js", "markup.js", "message.js",
    "reactions.js",
)  # fmt: skip
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in SCRIPTS},
}
NOSNIFF = {"X-Content-Type-Options": "nosniff"}
# What a stranger uploaded must not run as a page of this origin.
SANDBOX = {"Content-Security-Policy": "default-src 'none'; sandbox", **NOSNIFF}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Body = dict[str, Any]
Act = Callable[[Channel, str, Body, tuple[Upload, ...]], Body]


@web.middleware
async def loopback_only(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Refuse a foreign Host (DNS rebinding) and a write from a foreign page."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name not in LOOPBACK:
        return web.Response(status=403, text="The emulator answers to loopback names only.\n")
    origin = request.headers.get("Origin")
    if request.method not in ("GET", "HEAD") and origin is not None and origin != f"http://{host}":
        return web.Response(status=403, text="The emulator takes writes from its own page only.\n")
    return await handler(request)


class People(Protocol):
    """What humans do in the guild; the class `Emulator` is this."""

    def say(
        self, channel: int, text: str, *, author: str, reply_to: int | None, files: list[tuple[str, bytes]]
    ) -> int: ...

    def react(self, channel: int, message: int, emoji: str, *, author: str, remove: bool) -> None: ...

    def start_thread(self, channel: int, name: str, *, message: int | None, author: str) -> int: ...


class Page:
    """Routes for people: what they do is done by `people`, and everybody who looks on hears of it."""

    def __init__(self, guild: Guild, transport: Transport, people: People) -> None:
        self.guild = guild
        self.transport = transport
        self.faults = transport.faults
        self.people = people
        self._streams: set[asyncio.Queue[str | None]] = set()
        self.guild.listeners.append(self._tell)

    def add_to(self, app: web.Application) -> None:
        """Put the routes and the loopback check into an application."""
        app.middlewares.append(loopback_only)
        for path in FILES:
            app.router.add_get(path, self._file)
        app.router.add_get("/attachments/{channel}/{file}/{name}", self._attachment)
        app.router.add_get("/_emulator/state", self._state)
        app.router.add_get("/_emulator/messages/{channel}", self._messages)
        app.router.add_get("/_emulator/events", self._events)
        for path, act in (("say", self._say), ("react", self._react), ("thread", self._thread)):
            app.router.add_post(f"/_emulator/{path}", self._acting(act))
        app.router.add_post("/_emulator/faults", self._add_fault)
        app.router.add_delete("/_emulator/faults", self._clear_faults)
        app.on_shutdown.append(self._end)

    async def _file(self, request: web.Request) -> web.Response:
        name, kind = FILES[request.path]
        text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", **NOSNIFF}
        return web.Response(text=text, content_type=kind, headers=headers)

    async def _attachment(self, request: web.Request) -> web.StreamResponse:
        """A file of a message, as Discord's CDN gives it: signed, for a while, without a token."""
        return await self.transport.file(request, self._content(request))

    def _content(self, request: web.Request) -> Answered:
        wanted = request.match_info
        good = render.is_good(request.rel_url.raw_path, request.query, self.guild.clock())
        channel = int(wanted["channel"]) if wanted["channel"].isdecimal() else 0
        for message in self.guild.history(channel) if good else ():
            for file in message.attachments:
                if str(file.id) == wanted["file"]:
                    kind = file.content_type or "application/octet-stream"
                    return Answered(200, file.data, SANDBOX, content_type=kind, edge=True)
        return Answered(404, b"This content is no longer available.", content_type=PLAIN, edge=True)

    async def _state(self, request: web.Request) -> web.Response:
        guild = self.guild
        return _json(
            {
                "guild": {"id": str(guild.id), "name": guild.name},
                "bot": render.user(guild.bot),
                "humans": [render.user(human) for human in guild.humans],
                "roles": [render.role(role) for role in guild.roles.values()],
                "channels": [self._channel(channel) for channel in guild.by_id.values()],
                "requests": len(self.transport.seen),
                "faults": self.faults.waiting,
                "words": [{"word": word, "meaning": meaning} for word, meaning in WORDS],
            }
        )

    def _channel(self, channel: Channel) -> dict[str, Any]:
        return render.channel(self.guild, channel) | {"messages": len(self.guild.history(channel.id))}

    def _message(self, message: Message) -> dict[str, Any]:
        """A message as the API shows it, and who reacted, which the API tells one emoji at a time."""
        shown = Viewer(self.guild, self.transport.url, blanking=False).message(message)
        users = self.guild.users
        who = {key: [render.user(users[one]) for one in some] for key, some in message.reactions.items()}
        return shown | {"reactors": who}

    async def _messages(self, request: web.Request) -> web.Response:
        wanted = request.match_info["channel"]
        if not wanted.isdecimal() or int(wanted) not in self.guild.by_id:
            return _json(unknown_channel().body, status=404)
        history = self.guild.history(int(wanted))[-HISTORY:]
        return _json([self._message(message) for message in history])

    def _acting(self, act: Act) -> Answer:
        """A request of somebody's: its body read, its refusal told."""

        async def answer(request: web.Request) -> web.Response:
            try:
                body, uploads = await bodies.read(request, most=self.guild.max_request)
                author = coerce.text("author", body.get("author") or "nic").strip()
                return _json(act(self._place(body.get("channel")), author, body, uploads))
            except RefusalError as refusal:
                return _json(refusal.body, status=refusal.status)

        return answer

    def _say(self, channel: Channel, author: str, body: Body, uploads: tuple[Upload, ...]) -> Body:
        """A human writes. A fault's word alone is not said: it arms the bot's next post in that channel."""
        text = coerce.text("text", body.get("text")).strip()
        reply = body.get("reply_to")
        reply_to = None if reply is None else coerce.snowflake("reply_to", reply)
        if not text and not uploads:
            raise invalid("text", "BASE_TYPE_REQUIRED", "Say something, or attach a file.")
        if channel.type not in objects.WRITABLE:
            raise refusals.not_text()
        if TYPED.fullmatch(text) and self.faults.arm(channel.id, text):
            return {"armed": text}
        files = [(upload.filename, upload.data) for upload in uploads]
        said = self.people.say(channel.id, text, author=author, reply_to=reply_to, files=files)
        return {"id": str(said)}

    def _react(self, channel: Channel, author: str, body: Body, uploads: tuple[Upload, ...]) -> Body:
        """A human clicks on an emoji: there it is, or no longer is."""
        message = self._written(channel, body.get("message"))
        key = emoji(self.guild, coerce.text("emoji", body.get("emoji")))
        check_kinds(message, key)
        there = self.guild.person(author).id in message.reactions.get(key, ())
        self.people.react(channel.id, message.id, key, author=author, remove=there)
        return {"reacted": not there}

    def _thread(self, channel: Channel, author: str, body: Body, uploads: tuple[Upload, ...]) -> Body:
        """A human starts a thread, from a message or by itself."""
        if channel.type not in (objects.TEXT, objects.ANNOUNCEMENT):
            raise refusals.wrong_type()
        name = thread_name(body.get("name"))
        start = None if body.get("message") is None else self._written(channel, body["message"]).id
        if start in self.guild.by_id:
            raise refusals.thread_exists()
        made = self.people.start_thread(channel.id, name, message=start, author=author)
        return {"id": str(made)}

    def _written(self, channel: Channel, named: Any) -> Message:
        """A message of a channel. Raises RefusalError 10008."""
        found = self.guild.message(channel.id, coerce.snowflake("message", named))
        if found is None:
            raise refusals.unknown_message()
        return found

    def _place(self, named: Any) -> Channel:
        """The channel of a request, by id or by name. Raises RefusalError 10003."""
        text = coerce.text("channel", named)
        found = self.guild.by_id.get(int(text)) if text.isdecimal() else self.guild.channels.get(text)
        if found is None:
            raise unknown_channel()
        return found

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            body, _ = await bodies.read(request, most=self.guild.max_request)
            self.faults.add(**body)
        except RefusalError as refusal:
            return _json(refusal.body, status=refusal.status)
        except (TypeError, ValueError) as wrong:
            return _json({"message": str(wrong)}, status=400)
        return _json({"faults": self.faults.waiting}, status=201)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The live feed: one event for each message made, changed or deleted, and each channel."""
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        stream: asyncio.Queue[str | None] = asyncio.Queue(BACKLOG)
        self._streams.add(stream)
        try:
            await response.write(b"retry: 1000\n\n")
            while (event := await _next(stream)) is not None:
                await response.write(event.encode())
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams.discard(stream)
        return response

    def _tell(self, what: str, about: Message | Channel) -> None:
        shown = self._message(about) if isinstance(about, Message) else render.channel(self.guild, about)
        self._send(what, shown)
        thread = self.guild.by_id.get(about.channel_id) if isinstance(about, Message) else None
        start = self.guild.message(thread.parent_id or 0, thread.id) if thread is not None else None
        if start is not None:
            self._send("changed", self._message(start))  # it shows how many messages its thread has

    def _send(self, what: str, shown: dict[str, Any]) -> None:
        event = f"data: {json.dumps({'what': what, 'about': shown})}\n\n"
        for stream in list(self._streams):
            if stream.full():
                self._stop(stream)
            else:
                stream.put_nowait(event)

    def _stop(self, stream: asyncio.Queue[str | None]) -> None:
        """End a stream; what it has not read is lost, and its page starts afresh."""
        self._streams.discard(stream)
        while not stream.empty():
            stream.get_nowait()
        stream.put_nowait(None)

    async def _end(self, app: web.Application) -> None:
        for stream in list(self._streams):
            self._stop(stream)


async def _next(stream: asyncio.Queue[str | None]) -> str | None:
    """The next event, a comment where none came for a while, None at the end."""
    try:
        return await asyncio.wait_for(stream.get(), HEARTBEAT)
    except TimeoutError:
        return ": still here\n\n"


def _json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")
