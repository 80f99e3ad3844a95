"""Permissions by Discord: what Claude Code asks before it uses a tool is asked in a channel as well, and
people there answer `yes abcde` or `no abcde`; the first answer, theirs or the terminal's, counts.

Offered only for channels whose `[access]` names who is heard: whoever else may write there would otherwise
decide what runs on this machine. The service has refused everybody else before a message is a file; where
users are named and no roles, the author's id is looked at once more. Whoever can write files into the
spool's `incoming/` is trusted with that.

What the tool is about to do was written by a model and may carry anybody's words: it is cut, and shown as
data. A verdict is passed on once, for a request of this session, and for no other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import anyio
from mcp.server.lowlevel import Server
from pydantic import BaseModel

from spoolbridge import inbox, sending
from spoolbridge.channels import Channel, Registry, load
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.inbox import Received
from spoolbridge.mcp_server.desk import Desk
from spoolbridge.rendering import one_line
from spoolbridge.settings import Settings

if TYPE_CHECKING:
    from spoolbridge.access import Rule

CAPABILITY = "claude/channel/permission"
_REQUEST = "notifications/claude/channel/permission_request"
_ID = re.compile(r"[a-km-z]{5}")
_VERDICT = re.compile(r"\s*(y|yes|n|no)\s+([a-km-z]{5})\s*", re.IGNORECASE)
_MOST_PENDING = 100  # requests; what is older was answered in the terminal long ago
_LONGEST_PREVIEW = 600  # characters of what the tool is given
_LONGEST_LINE = 200  # characters of what it says that it does

log = logging.getLogger(__name__)


class Request(BaseModel):
    """What Claude Code asks. No `NotificationParams`: the SDK would look for camelCase, and drop it."""

    request_id: str
    tool_name: str = ""
    description: str = ""
    input_preview: str = ""


class Verdict(BaseModel):
    request_id: str
    behavior: Literal["allow", "deny"]


class PermissionNotification(BaseModel):
    method: Literal["notifications/claude/channel/permission"] = "notifications/claude/channel/permission"
    params: Verdict


def authenticates(settings: Settings, channels: Sequence[str]) -> bool:
    """Whether one of the channels is for named people alone."""
    try:
        return _place(settings, load(settings.channels), channels) is not None
    except SpoolbridgeError:
        return False


def is_verdict(message: Received) -> bool:
    """Whether a message is an answer to a request, and nothing for the agent to read."""
    return _VERDICT.fullmatch(message.text) is not None


def text(request: Request) -> str:
    """The request as it is posted."""
    preview = request.input_preview[:_LONGEST_PREVIEW].replace("`", "ˋ")
    cut = " […]" if len(request.input_preview) > _LONGEST_PREVIEW else ""
    about = _quoted(request.description)
    return (
        f"**May the agent use `{_quoted(request.tool_name) or 'a tool'}`?**\n"
        + (f"> `{about}`\n" if about else "")
        + (f"```\n{preview}{cut}\n```\n" if preview.strip() else "")
        + f"-# Answer `yes {request.request_id}` or `no {request.request_id}`."
    )


class Relay:
    """The requests of one session that wait for an answer."""

    def __init__(self, desk: Desk, channels: Sequence[str]) -> None:
        self._desk = desk
        self._channels = tuple(channels)
        #: Request → the address of the channel in which it was asked.
        self._pending: dict[str, str] = {}

    def add_to(self, server: Server[Any]) -> None:
        server.add_notification_handler(_REQUEST, Request, self._requested)

    async def _requested(self, _: Any, request: Request) -> None:
        await anyio.to_thread.run_sync(self._ask, request, limiter=self._desk.turn)

    def _ask(self, request: Request) -> None:
        if not _ID.fullmatch(request.request_id):
            log.warning("a permission request without a proper id is not relayed")
            return
        try:
            registry = self._desk.registry()
            place = _place(self._desk.settings, registry, self._channels)
            if place is None:
                log.warning("a permission request is not relayed: no channel's [access] says who is heard")
                return
            self._pending[request.request_id] = place.address
            sending.drop_message(
                self._desk.spool(), registry, place.address, text(request), name="permission.md"
            )
            log.info("permission request %s asked in %s", request.request_id, place.address)
        except SpoolbridgeError as error:
            log.warning("permission request %s is not relayed: %s", request.request_id, error)
        while len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]

    def verdict(self, message: Received) -> PermissionNotification | None:
        """What a person decided, once; None: on no request of this session, or not theirs to decide. The
        message then stays unread."""
        match = _VERDICT.fullmatch(message.text)
        if match is None:
            return None
        word, request_id = match[1].lower(), match[2].lower()
        if self._pending.get(request_id) != message.channel or not self._may_decide(message):
            log.info("%s/%d decides nothing", message.channel, message.id)
            return None
        del self._pending[request_id]
        inbox.mark_read(message)
        behavior: Literal["allow", "deny"] = "allow" if word[0] == "y" else "deny"
        return PermissionNotification(params=Verdict(request_id=request_id, behavior=behavior))

    def _may_decide(self, message: Received) -> bool:
        rule = _rule(self._desk.settings, self._desk.registry().resolve(message.channel))
        return bool(rule.roles) or message.author_id in (rule.users or ())


def _rule(settings: Settings, channel: Channel) -> Rule:
    from spoolbridge import access  # it knows Discord's codes, which a server that relays nothing need not

    return access.rule_of(settings.access, channel)


def _place(settings: Settings, registry: Registry, channels: Sequence[str]) -> Channel | None:
    """The first of the channels whose rule names users or roles."""
    for name in channels:
        try:
            channel = registry.resolve(name)
        except SpoolbridgeError:
            continue
        rule = _rule(settings, channel)
        if rule.users or rule.roles:
            return channel
    return None


def _quoted(said: str) -> str:
    return one_line(said, _LONGEST_LINE).replace("`", "ˋ")
