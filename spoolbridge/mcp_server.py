"""The MCP server: one tool, `send_discord_message`, over the spool and stdio.

Owns what models see: the tool's description and schemas, and answers that fit into one line. Promises
that a message is durable in the spool before it is called queued, that messages keep the order in
which they were called, and that what went wrong says what to do. It has no token and talks to
nobody but its client: the service posts. Must never write to stdout but through the protocol, nor
log a message's text.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from mcp import MCPError, types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from spoolbridge import __version__, sending
from spoolbridge.channels import Registry, Watched
from spoolbridge.errors import (
    ChannelsError,
    MessageError,
    SpoolbridgeError,
    SpoolError,
    UnknownChannelError,
)
from spoolbridge.settings import Settings
from spoolbridge.spool import Entry, Spool

TOOL = "send_discord_message"
#: A post takes tenths of a second; clients give a tool a minute, and a model that waits does nothing.
PATIENCE = 5.0  # seconds
_FILE_NAME = "mcp.md"  # what an operator reads behind the ID
_MOST_OF_A_LINE = 600  # characters; a reason of Discord's may be longer
_MOST_NAMES = 40  # channels named in the schema; Claude Code shows 2 KB of a description
_LONGEST_CHANNEL = 202  # characters: `#`, a rig's name, a dot, a channel's name
_LONGEST_RIG = 80  # characters

DESCRIPTION = """\
Send a message to a Discord channel through the spool; returns whether it was sent, is queued, or failed. \
The message is Discord markdown; long text is split into parts. Mentions are shown but notify nobody. \
"queued" is a success: the message is stored durably and will be sent by itself as soon as Discord can be \
reached, so never send it again. "failed" gives the reason, "refused" what to change in the call."""
_INSTRUCTIONS = f"Use {TOOL} to tell people on Discord something. A queued message needs nothing more."

_INPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "channel_name": {
            "type": "string",
            "minLength": 1,
            "maxLength": _LONGEST_CHANNEL,
            "description": "The channel's name, or rig.name where several rigs have one of that name.",
        },
        "message": {"type": "string", "minLength": 1, "description": "The text, in Discord markdown."},
        "rig_name": {
            "type": "string",
            "maxLength": _LONGEST_RIG,
            "description": "The rig that speaks: shown as [rig] before the text.",
        },
    },
    "required": ["channel_name", "message"],
    "additionalProperties": False,
}
_OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["sent", "queued", "failed", "refused"]},
        "id": {"type": "string", "description": "The message's ID in the spool, for life."},
        "file": {"type": "string", "description": "Where it lies in the spool now."},
        "channel": {"type": "string"},
        "message_id": {"type": "string", "description": "Discord's ID of the (first) message."},
        "jump_url": {"type": "string", "description": "The message's address on Discord."},
        "reason": {"type": "string", "description": "Why it failed."},
        "code": {"type": "string", "description": "What kind of refusal; nothing was stored."},
        "retriable": {"type": "boolean", "description": "Whether the same call may succeed later."},
        "hint": {"type": "string", "description": "What to do instead."},
        "choices": {"type": "array", "items": {"type": "string"}, "description": "Channels that exist."},
    },
    "required": ["status"],
    "additionalProperties": False,
}
_ARGUMENTS = Draft202012Validator(_INPUT)
#: The first class that fits names the refusal.
_CODES: tuple[tuple[type[SpoolbridgeError], str], ...] = (
    (UnknownChannelError, "unknown_channel"),
    (ChannelsError, "no_channels"),
    (MessageError, "bad_message"),
    (SpoolError, "no_spool"),
    (SpoolbridgeError, "error"),
)

log = logging.getLogger(__name__)


class SendTool:
    """The tool. Spool and channels file are opened when needed: either may come after the server."""

    def __init__(self, settings: Settings, *, patience: float = PATIENCE) -> None:
        self._settings = settings
        self._patience = patience
        self._channels: Watched | None = None
        self._spools: list[Spool] = []
        # One at a time, first come first served: the order of the calls is the order of the IDs.
        self._turn = anyio.CapacityLimiter(1)

    async def describe(self) -> types.Tool:
        """The tool as clients list it, with the channels that there are now."""
        names = await anyio.to_thread.run_sync(self._names, limiter=self._turn)
        return types.Tool(
            name=TOOL,
            title="Send a Discord message",
            description=DESCRIPTION,
            input_schema=_input_naming(names),
            output_schema=_OUTPUT,
            annotations=types.ToolAnnotations(
                title="Send a Discord message",
                read_only_hint=False,
                destructive_hint=False,
                idempotent_hint=False,
                open_world_hint=True,
            ),
        )

    async def call(self, arguments: Mapping[str, Any]) -> types.CallToolResult:
        """Drop the message and wait for what comes of it.

        Cancelled, it stops waiting; what was dropped stays dropped.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        if error := best_match(_ARGUMENTS.iter_errors(given)):
            hint = "it takes channel_name, message and, if you like, rig_name, all of them text"
            return _refused("bad_arguments", _fault(error), hint)
        try:
            spool, entry = await anyio.to_thread.run_sync(self._drop, given, limiter=self._turn)
        except SpoolbridgeError as error:
            return self._refusal(error)
        log.info("dropped %s/%s", entry.channel, entry.id)
        return await self._outcome(spool, entry)

    def close(self) -> None:
        """Give the descriptors back, once nobody waits any more."""
        while self._spools:
            self._spools.pop().close()

    def _drop(self, given: Mapping[str, str]) -> tuple[Spool, Entry]:
        spool, channel, rig = self._spool(), given["channel_name"].strip(), given.get("rig_name", "").strip()
        return spool, sending.drop_message(
            spool, self._registry(), channel, given["message"], rig=rig or None, name=_FILE_NAME
        )

    async def _outcome(self, spool: Spool, entry: Entry) -> types.CallToolResult:
        look = partial(sending.wait_for, spool, entry, seconds=self._patience, sleep=_cancellable_sleep)
        try:
            entry = await anyio.to_thread.run_sync(look)
        except SpoolError as error:
            told = sending.answer(entry) | {"status": "failed", "reason": error.what}
            return _result(f"failed for #{entry.channel}: {error}", told, is_error=True)
        told = sending.answer(entry)
        log.info("%s %s/%s", told["status"], entry.channel, entry.id)
        return _result(sending.sentence(entry), told, is_error=told["status"] == "failed")

    def _refusal(self, error: SpoolbridgeError) -> types.CallToolResult:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        choices: tuple[str, ...] = ()
        hint = error.hint or "correct it and call again"
        if isinstance(error, UnknownChannelError):
            choices = error.choices
            if self._channels is not None and self._channels.problem:
                hint = f"{hint}; the file cannot be read since it was changed: {self._channels.problem}"
        return _refused(code, error.what, hint, retriable=error.transient, choices=choices)

    def _registry(self) -> Registry:
        if self._channels is None:
            self._channels = Watched(self._settings.channels)
        return self._channels()

    def _names(self) -> tuple[str, ...]:
        with suppress(ChannelsError):  # the call will say it
            return self._registry().addresses
        return ()

    def _spool(self) -> Spool:
        """The spool at that path now. One that was replaced stays open: a call may be waiting in it."""
        root = self._settings.spool
        with suppress(OSError):
            if self._spools and os.path.samestat(os.stat(root), os.fstat(self._spools[-1].fd)):
                return self._spools[-1]
        try:
            self._spools.append(Spool(root))
        except OSError as error:
            raise SpoolError(f"the spool at {root} cannot be opened ({error.strerror})") from error
        return self._spools[-1]


def make_server(settings: Settings, *, patience: float = PATIENCE) -> Server[None]:
    """The server, for any transport. `patience` is how long a call waits for its outcome, in seconds."""
    tool = SendTool(settings, patience=patience)

    @asynccontextmanager
    async def lifespan(_: Server[None]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            tool.close()

    async def list_tools(_: object, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[await tool.describe()])

    async def call_tool(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name != TOOL:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]!r}; there is {TOOL}")
        return await tool.call(params.arguments or {})

    return Server(
        "spoolbridge",
        version=__version__,
        title="spoolbridge",
        instructions=_INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve(settings: Settings) -> None:
    """Serve stdin and stdout until stdin ends."""
    server = make_server(settings)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def run(settings: Settings) -> None:
    """As `serve`, with a log on stderr. Returns when the client hangs up."""
    # The SDK logs whole requests below WARNING, and with them what messages say.
    form = "%(levelname)s %(name)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=form)
    logging.getLogger("spoolbridge").setLevel(logging.INFO)
    anyio.run(serve, settings)


def _cancellable_sleep(seconds: float) -> None:
    anyio.from_thread.check_cancelled()
    time.sleep(seconds)  # at most a tenth of a second, see wait_for


def _input_naming(names: tuple[str, ...]) -> dict[str, Any]:
    if not names:
        return _INPUT
    rest = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    channel = _INPUT["properties"]["channel_name"]
    text = f"{channel['description']} There are: {', '.join(names[:_MOST_NAMES])}{rest}."
    return _INPUT | {"properties": _INPUT["properties"] | {"channel_name": channel | {"description": text}}}


def _fault(error: ValidationError) -> str:
    """What is wrong with the arguments, without repeating a value: it may be long."""
    name = str(error.path[0]) if error.path else ""
    if error.validator == "required":
        return f"{next(each for each in _INPUT['required'] if each not in error.instance)} is missing"
    if error.validator == "additionalProperties":
        unknown = min(error.instance.keys() - _INPUT["properties"].keys())
        return f"there is no argument {unknown[:40]!r}"
    if error.validator == "minLength":
        return f"{name} is empty"
    if error.validator == "maxLength":
        return f"{name} has more than {error.validator_value} characters"
    return f"{name} must be text"


def _refused(
    code: str, what: str, hint: str, *, retriable: bool = False, choices: tuple[str, ...] = ()
) -> types.CallToolResult:
    log.warning("refused a call: %s", code)
    told: dict[str, Any] = {"status": "refused", "code": code, "retriable": retriable, "hint": hint}
    if choices:
        told["choices"] = list(choices)
    return _result(f"refused, nothing was stored: {what}{f'; {hint}' if hint else ''}", told, is_error=True)


def _result(line: str, told: Mapping[str, Any], *, is_error: bool) -> types.CallToolResult:
    text = " ".join(line.split())
    if len(text) > _MOST_OF_A_LINE:
        text = text[: _MOST_OF_A_LINE - 1] + "…"
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=dict(told), is_error=is_error
    )
