"""What clients can read and be told of without a tool: the channels, each channel's inbox, and a prompt.

    spool://channels                       every channel                        JSON
    spool://channels/{channel_name}        one of them                          JSON
    spool://inbox/{channel_name}           what is unread there, framed         text

Subscriptions to an inbox fire when a human writes, in both protocol eras. That is a hint: what it tells of
stays unread until it is marked as read. The Maildirs are watched only once somebody has subscribed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote

import anyio
from mcp import MCPError, types
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated

from spoolbridge import framing, inbox
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.mcp_server import schemas
from spoolbridge.mcp_server.desk import Desk
from spoolbridge.mcp_server.tools import Tools

CHANNELS = "spool://channels"
CHANNEL = "spool://channels/{channel_name}"
INBOX = "spool://inbox/{channel_name}"
PROMPT = "answer_discord"
_MOST_VALUES = 100  # of one completion (the protocol's own limit)
_LOOK = 0.5  # seconds; so long may a server that ends still wait
_AGAIN = 2.0  # seconds until a spool that is not there is looked for again


class Resources:
    """Resources, subscriptions, completion and the prompt of one server. `watch` runs beside it."""

    def __init__(self, desk: Desk, tools: Tools) -> None:
        self._desk = desk
        self._tools = tools
        self._bus = InMemorySubscriptionBus()
        self._listening = ListenHandler(self._bus)
        #: URI → who subscribed to it by the handshake's way.
        self._sessions: dict[str, set[ServerSession]] = {}
        self._wanted = anyio.Event()
        self._watching = anyio.Event()

    # -- reading ---------------------------------------------------------------------------------------

    async def listed(self, _: object, __: object) -> types.ListResourcesResult:
        """The channels, and an inbox for each that is read."""
        names = await self._in_turn(self._read_channels)
        inboxes = [
            types.Resource(
                name=f"inbox {name}", title=f"Unread in #{name}", uri=_inbox(name), mime_type="text/plain",
                description="What people wrote there and nobody has read.",
            )
            for name in names
        ]  # fmt: skip
        channels = types.Resource(
            name="channels", title="Discord channels", uri=CHANNELS, mime_type="application/json",
            description="Every channel, with what is unread, waiting and failed.",
        )  # fmt: skip
        return types.ListResourcesResult(resources=[channels, *inboxes])

    async def templates(self, _: object, __: object) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    name="channel", title="One Discord channel", uri_template=CHANNEL,
                    mime_type="application/json", description="What is unread, waiting and failed there.",
                ),
                types.ResourceTemplate(
                    name="inbox", title="Unread in a channel", uri_template=INBOX, mime_type="text/plain",
                    description="What people wrote there and nobody has read.",
                ),
            ]
        )  # fmt: skip

    async def read(self, _: object, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Raises MCPError for a resource that is not there."""
        kind, name = _parts(params.uri)
        try:
            if kind == "inbox":
                text = await self._in_turn(lambda: self._unread(name))
                return _contents(params.uri, "text/plain", text)
            running, channels = await self._in_turn(self._tools.known_channels)
        except SpoolbridgeError as error:
            raise _unknown(params.uri, str(error)) from None
        if kind == "channels" and not name:
            return _json(params.uri, {"service_running": running, "channels": channels})
        for channel in channels:
            if kind == "channels" and channel["name"] == name:
                return _json(params.uri, channel)
        raise _unknown(params.uri, "there is no such resource")

    def _unread(self, name: str) -> str:
        spool = self._desk.spool()
        address = self._desk.registry().resolve(name).address
        messages = list(inbox.received(spool, address, unread=True))
        told = framing.weighed([each.told() for each in messages])
        more = f"\n{len(messages) - len(told)} more" if len(messages) > len(told) else ""
        return f"{framing.framed(told)}{more}\n" if told else "nothing unread\n"

    def _read_channels(self) -> list[str]:
        with suppress(SpoolbridgeError):
            return self._desk.spool().channels("incoming")
        return []

    async def complete(self, _: object, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Names of channels, for the templates and the prompt."""
        names: list[str] = []
        if params.argument.name == "channel_name":
            begun = params.argument.value
            names = [name for name in await self._in_turn(self._desk.names) if name.startswith(begun)]
        values = names[:_MOST_VALUES]
        found = types.Completion(values=values, total=len(names), has_more=len(names) > len(values))
        return types.CompleteResult(completion=found)

    # -- subscriptions ---------------------------------------------------------------------------------

    async def subscribe(self, context: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """The handshake era's way."""
        await self._begin()
        self._sessions.setdefault(params.uri, set()).add(context.session)
        return types.EmptyResult()

    async def unsubscribe(self, context: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self._sessions.get(params.uri, set()).discard(context.session)
        return types.EmptyResult()

    async def listen(
        self, context: Any, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """The modern way."""
        await self._begin()
        return await self._listening(context, params)

    async def _begin(self) -> None:
        """Return once whatever is written from now on will be told; where there is no spool, at once."""
        self._wanted.set()
        with anyio.move_on_after(_AGAIN):
            await self._watching.wait()

    async def watch(self) -> None:
        """Tell subscribers of what arrives, until cancelled."""
        await self._wanted.wait()
        from spoolbridge.arrivals import Arrivals  # with watchdog, which most servers never need

        while True:
            with suppress(SpoolbridgeError, OSError), Arrivals(self._desk.spool()) as coming:
                await anyio.to_thread.run_sync(coming.new)
                self._watching.set()
                while True:
                    listed = await anyio.to_thread.run_sync(coming.wait, _LOOK)
                    for channel in dict.fromkeys(each.channel for each in listed):
                        await self._tell(_inbox(channel))
            await anyio.sleep(_AGAIN)

    async def _tell(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri=uri))
        for session in list(self._sessions.get(uri, ())):
            try:
                await session.send_resource_updated(uri)
            except Exception:  # its client is gone, whatever the transport calls that
                self._sessions[uri].discard(session)

    # -- the prompt ------------------------------------------------------------------------------------

    async def prompts(self, _: object, __: object) -> types.ListPromptsResult:
        argument = types.PromptArgument(
            name="channel_name", description="The channel; without it, all of them.", required=False
        )
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(
                    name=PROMPT, title="Answer people on Discord", arguments=[argument],
                    description="Read what people wrote on Discord, and answer what wants an answer.",
                )
            ]
        )  # fmt: skip

    async def prompt(self, _: object, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        """Raises MCPError for a prompt that is not there."""
        if params.name != PROMPT:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name[:100]!r}; there is {PROMPT}")
        channel = (params.arguments or {}).get("channel_name", "").strip()
        where = f"in the channel {json.dumps(channel)}" if channel else "in any channel"
        content = types.TextContent(type="text", text=schemas.ANSWER.format(where=where))
        said = types.PromptMessage(role="user", content=content)
        return types.GetPromptResult(description="Answer people on Discord", messages=[said])

    async def _in_turn(self, call: Callable[[], Any]) -> Any:
        return await anyio.to_thread.run_sync(call, limiter=self._desk.turn)


def _inbox(channel: str) -> str:
    return INBOX.format(channel_name=quote(channel, safe=""))


def _parts(uri: str) -> tuple[str, str]:
    """What kind of resource, and of which channel."""
    kind, _, name = uri.removeprefix("spool://").partition("/")
    return (kind, unquote(name)) if uri.startswith("spool://") else ("", "")


def _json(uri: str, value: object) -> types.ReadResourceResult:
    return _contents(uri, "application/json", json.dumps(value, ensure_ascii=False, indent=1))


def _contents(uri: str, kind: str, text: str) -> types.ReadResourceResult:
    content = types.TextResourceContents(uri=uri, mime_type=kind, text=text)
    return types.ReadResourceResult(contents=[content])


def _unknown(uri: str, why: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, f"{uri[:200]!r} cannot be read: {why}", {"uri": uri[:200]})
