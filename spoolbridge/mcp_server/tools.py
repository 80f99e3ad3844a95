"""What each tool does: calls over the spool, in threads, one result each.

Arguments were checked against the tool's schema. What a caller can mend is a result that says how; only
bugs raise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio
from mcp import types

from spoolbridge import asks, framing, inbox, sending, status
from spoolbridge.errors import SpoolbridgeError, SpoolError
from spoolbridge.mcp_server import answers, project_files, schemas
from spoolbridge.mcp_server.desk import Desk
from spoolbridge.spool import Entry, Spool

#: A post takes tenths of a second; clients give a tool a minute, and a model that waits does nothing.
PATIENCE = 5.0  # seconds
#: For people's answer, within that minute.
ASKING = 50.0  # seconds
_LIMIT = 20  # messages
_FILE_NAME = "mcp.md"  # what an operator reads behind the ID

_T = TypeVar("_T")
Given = Mapping[str, Any]
Call = Callable[[Given], Awaitable[types.CallToolResult]]

log = logging.getLogger(__name__)


class Tools:
    """All tools of one server. `patience`: how long a call waits for its outcome, `asking`: how long for
    people, in seconds."""

    def __init__(self, desk: Desk, *, patience: float = PATIENCE, asking: float = ASKING) -> None:
        self._desk = desk
        self._patience, self._asking = patience, asking
        self.calls: dict[str, Call] = {
            schemas.SEND: self._send,
            schemas.READ: self._read,
            schemas.REPLY: self._reply,
            schemas.REACT: self._react,
            schemas.STATUS: self._status,
            schemas.CHANNELS: self._channels,
            schemas.ASK: self._ask,
        }

    async def call(self, name: str, given: Given) -> types.CallToolResult:
        """One result, whatever the spool has to say. Cancelled, it stops waiting; what was dropped stays."""
        try:
            return await self.calls[name](given)
        except SpoolbridgeError as error:
            return answers.refusal(error, problem=self._desk.problem)

    async def _send(self, given: Given) -> types.CallToolResult:
        def drop() -> tuple[Spool, Entry]:
            spool, channel = self._desk.spool(), given["channel_name"].strip()
            return spool, self._drop(
                spool, channel, given["message"], given,
                reply_to=given.get("reply_to"), thread=given.get("thread"),
            )  # fmt: skip

        spool, entry = await self._in_turn(drop)
        return await self._outcome(spool, entry, given)

    async def _reply(self, given: Given) -> types.CallToolResult:
        def drop() -> tuple[Spool, Entry]:
            spool = self._desk.spool()
            message = inbox.find(spool, given["message_id"])
            entry = self._drop(
                spool, message.channel, given["message"], given,
                reply_to=message.id, thread=message.thread_id,
            )  # fmt: skip
            inbox.mark_read(message)
            return spool, entry

        spool, entry = await self._in_turn(drop)
        return await self._outcome(spool, entry, given)

    async def _react(self, given: Given) -> types.CallToolResult:
        def drop() -> tuple[Spool, Entry]:
            spool = self._desk.spool()
            message = inbox.find(spool, given["message_id"])
            return spool, self._drop(
                spool, message.channel, "", given,
                reply_to=message.id, thread=message.thread_id, react=given["emoji"],
            )  # fmt: skip

        spool, entry = await self._in_turn(drop)
        return await self._outcome(spool, entry, given)

    def _drop(self, spool: Spool, channel: str, text: str, given: Given, **options: Any) -> Entry:
        files = project_files.read(self._desk.settings.project, given.get("files") or ())
        return sending.drop_message(
            spool, self._desk.registry(), channel, text,
            rig=given.get("rig_name", "").strip() or None, dedupe_key=given.get("dedupe_key"),
            files=files or None, name=_FILE_NAME, **options,
        )  # fmt: skip

    async def _outcome(self, spool: Spool, entry: Entry, given: Given) -> types.CallToolResult:
        log.info("dropped %s/%s", entry.channel, entry.id)
        seconds = given.get("wait_seconds", self._patience)
        look = partial(sending.wait_for, spool, entry, seconds=seconds, sleep=_cancellable_sleep)
        try:
            entry = await anyio.to_thread.run_sync(look)
        except SpoolError as error:
            told = sending.answer(entry) | {"status": "failed", "reason": error.what}
            return answers.result(f"failed for #{entry.channel}: {error}", told, is_error=True)
        told = sending.answer(entry)
        log.info("%s %s/%s", told["status"], entry.channel, entry.id)
        return answers.result(sending.sentence(entry), told, is_error=told["status"] == "failed")

    async def _status(self, given: Given) -> types.CallToolResult:
        entry = await self._in_turn(lambda: self._desk.spool().find(given["id"]))
        if entry is None:
            hint = "look at the ID again; an operator may also have taken the message out of the spool"
            return answers.refused("unknown_id", f"no message {given['id']!r} in the spool", hint)
        return answers.result(sending.sentence(entry), sending.answer(entry))

    async def _read(self, given: Given) -> types.CallToolResult:
        told, more = await self._in_turn(lambda: self._received(given))
        if not told:
            return answers.result("nothing unread", {"status": "ok", "messages": [], "more": 0})
        rest = f", {more} more: call again" if more else ""
        line = f"{len(told)} message{'s' * (len(told) > 1)} from Discord{rest}"
        known = {"status": "ok", "notice": framing.NOTICE, "messages": told, "more": more}
        return answers.result(line, known, more=framing.framed(told))

    def _received(self, given: Given) -> tuple[list[dict[str, Any]], int]:
        """The messages as they are told, and how many were left out."""
        spool, channel = self._desk.spool(), given.get("channel_name", "").strip()
        place = self._desk.registry().resolve(channel).address if channel else None
        unread, limit = given.get("unread_only", True), given.get("limit", _LIMIT)
        listed = inbox.listed(spool, place, unread=unread)
        chosen = listed[:limit] if unread else listed[-limit:]
        messages = list(inbox.loaded(chosen))
        told = framing.weighed([each.told() for each in messages])
        if given.get("mark_read", False):
            for message in messages[: len(told)]:
                inbox.mark_read(message)
        return told, len(listed) - len(told)

    async def _channels(self, given: Given) -> types.CallToolResult:
        running, channels = await self._in_turn(self.known_channels)
        line = f"{len(channels)} channel{'s' * (len(channels) != 1)}"
        if not running:
            line += "; the service does not run, so what is sent waits until it does"
        return answers.result(line, {"status": "ok", "service_running": running, "channels": channels})

    def known_channels(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the service runs, and every channel as it is told. Raises SpoolbridgeError."""
        spool, registry = self._desk.spool(), self._desk.registry()
        snapshot = status.snapshot(spool, status.read(spool))
        told = []
        for address in registry.addresses:
            counts = snapshot["channels"].get(address, {})
            rig = registry.resolve(address).rig
            told.append(
                {
                    "name": address,
                    **({"rig": rig} if rig else {}),
                    "is_read": spool.has("incoming", address),
                    "unread": len(inbox.listed(spool, address, unread=True)),
                    "waiting": counts.get("waiting", 0) + counts.get("sending", 0),
                    "failed": counts.get("failed", 0),
                }
            )
        return bool(snapshot["running"]), told

    async def _ask(self, given: Given) -> types.CallToolResult:
        known = given.get("ask_id", "").strip()
        if known and len(given) > 1:
            return answers.refused("bad_arguments", "ask_id stands with nothing else", "give it alone")
        if not known and not (given.get("channel_name") and given.get("question")):
            hint = "give channel_name and question, or the ask_id of a question that is open"
            return answers.refused("bad_arguments", "there is nothing to ask", hint)
        ask_id = known or await self._in_turn(lambda: self._asked(given))
        spool = self._desk.spool()
        look = partial(asks.wait_for, spool, ask_id, self._asking, sleep=_cancellable_sleep)
        answer = await anyio.to_thread.run_sync(look)
        if answer is None:
            line = f"nobody has answered yet; to wait on call again with ask_id {ask_id} and nothing else"
            return answers.result(line, {"status": "open", "id": ask_id})
        return answers.people_said(answer)

    def _asked(self, given: Given) -> str:
        question = asks.ask(
            self._desk.spool(), self._desk.registry(), given["channel_name"].strip(), given["question"],
            options=given.get("options") or (), timeout=given.get("timeout_seconds", asks.TIMEOUT),
        )  # fmt: skip
        log.info("asked %s", question.id)
        return question.id

    async def _in_turn(self, call: Callable[[], _T]) -> _T:
        return await anyio.to_thread.run_sync(call, limiter=self._desk.turn)


def _cancellable_sleep(seconds: float) -> None:
    anyio.from_thread.check_cancelled()
    time.sleep(seconds)  # at most a second, see both functions wait_for
