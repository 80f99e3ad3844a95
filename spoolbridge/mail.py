"""The mail that a message becomes: to whom, from whom, and what it says; and the mail of an agent.

Pure. The subject is typed into an agent's prompt by gt, so nothing in it may act there; the sender is
made of configuration only, never of what a human is called; the body ends with a line that finds the
mail again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from spoolbridge.channels import Channel
from spoolbridge.errors import SettingsError
from spoolbridge.incoming import IncomingMessage, maildir_file, subject
from spoolbridge.rendering import one_line

MAYOR = "mayor/"
_MAYOR_CHANNELS = "mayor-*"
MAILBOXES = "discord"  # the directory in the town whose directories are the channels' addresses

LONGEST_BODY = 32 * 1024  # bytes; the store's column ends at 64 KiB, and gt fails beyond 128
_LONGEST_SUBJECT = 120  # characters, of which gt takes 500 bytes and a prompt has less room

_SENDER = re.compile(r"discord/[a-z0-9][a-z0-9_-]{0,90}")
#: gt would read these as the agents of that name.
AGENTS = frozenset({"mayor", "deacon", "overseer"})
#: A bare word is taken for a directory, whose mailbox nobody reads, and gt says that all is well.
_ADDRESS = re.compile(r"overseer|(?:list|queue|announce):[\w.-]+|\w[\w.-]*/(?:\w[\w.-]*(?:/\w[\w.-]*)?)?")

#: What may be an argument of gt's: its own ids, and nothing that looks like a flag.
_MAIL_ID = re.compile(r"[A-Za-z0-9][\w.:-]{0,199}", re.ASCII)

_MESSAGE_MARK = "discord-message-id: "
_ENTRY_MARK = "spoolbridge-entry: "

#: The fields that are not text.
_TYPES: dict[str, tuple[type, ...]] = {
    "message_id": (int,),
    "polled_id": (int,),
    "since": (int, float),
    "readdressed": (bool,),
}


@dataclass(frozen=True)
class Mail:
    """One mail to an agent; `since` in unix seconds. The cursor of `polled_id` (a channel or a thread)
    says whether it may be sent.
    """

    message_id: int
    polled_id: int
    channel: str
    to: str
    sender: str
    subject: str
    body: str
    since: float
    #: It was refused at its own address and now goes to the default one.
    readdressed: bool = False
    #: The ID of the entry that it tells of, where it tells of one: there is no message then.
    entry: str = ""

    @property
    def key(self) -> str:
        """What it is called in `state/mail/`."""
        return self.entry or str(self.message_id)

    @property
    def marker(self) -> str:
        """The body's last line."""
        return f"{_ENTRY_MARK}{self.entry}" if self.entry else f"{_MESSAGE_MARK}{self.message_id}"

    def encode(self) -> bytes:
        return json.dumps(asdict(self), ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"


class AgentMail(NamedTuple):
    """One mail of an agent's, as `gt mail inbox --json` tells it; `at` in unix seconds, 0.0: not told."""

    id: str
    sender: str
    subject: str
    body: str
    at: float
    reply_to: str


def agent_mail(told: object) -> AgentMail | None:
    """The mail in one object of gt's list; None: it is none, or its id could not be told to gt again."""
    if not isinstance(told, dict) or not _MAIL_ID.fullmatch(str(told.get("id") or "")):
        return None
    sender, subject, body, reply_to = (
        each if isinstance(each := told.get(name), str) else ""
        for name in ("from", "subject", "body", "reply_to")
    )
    try:
        at = datetime.fromisoformat(told["timestamp"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        at = 0.0
    return AgentMail(str(told["id"]), sender, subject, body, max(at, 0.0), reply_to)


def is_address(text: str) -> bool:
    """Whether gt would bring a mail there to somebody who reads it."""
    return _ADDRESS.fullmatch(text) is not None


def marked(body: str) -> int | None:
    """The message that a mail of ours was about, by its last line or by what an answer quotes of it."""
    found = re.findall(rf"^[> \t]*{_MESSAGE_MARK}(\d{{1,20}})[ \t]*$", body, re.MULTILINE | re.ASCII)
    return int(found[-1]) if found else None


def without_trailer(body: str) -> str:
    """The body without the lines that we put behind a message, quoted or not."""
    cut = rf"\n[> \t]*-- ?\n[> \t]*To answer: [^\n]*\n[> \t]*{_MESSAGE_MARK}\d+[ \t]*(?=\n|$)"
    lines = re.sub(cut, "", body).split("\n")
    return "\n".join(each for each in lines if not each.lstrip("> \t").startswith(_MESSAGE_MARK)).strip()


def decode(data: bytes) -> Mail:
    """The mail in a file's content. Raises ValueError where it is none."""
    try:
        fields: dict[str, Any] = json.loads(data)
        mail = Mail(**fields)
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    for name, value in fields.items():
        if type(value) not in _TYPES.get(name, (str,)):
            raise ValueError(f"{name} is not what it should be")
    return mail


def checked_routes(routes: Mapping[str, str]) -> dict[str, str]:
    """Channel name → mail address, as given. Raises SettingsError for an address nobody would read."""
    for name, address in routes.items():
        if not _ADDRESS.fullmatch(address):
            raise SettingsError(
                f"the route of {name!r} leads to {address!r}, which is no mail address",
                "write mayor/, overseer, <rig>/witness, <rig>/crew/<name> or list:<name>",
            )
    return dict(routes)


def address_of(channel: Channel, routes: Mapping[str, str]) -> str | None:
    """Who gets the mail of that channel: the route's address, the mayor for mayor-*, else nobody."""
    routed = routes.get(channel.address) or routes.get(channel.name)
    return routed or (MAYOR if fnmatchcase(channel.name, _MAYOR_CHANNELS) else None)


def sender_of(channel: Channel) -> str:
    """`discord/<channel>`; by its id where the name would mean something else to gt."""
    sender = f"discord/{channel.address}"
    if channel.address in AGENTS or not _SENDER.fullmatch(sender):
        return f"discord/{channel.id}"
    return sender


def mailbox_of(channel: Channel) -> str | None:
    """Its directory in `<town>/discord/`, which makes `sender_of` an address that mail can be answered to.

    None: the name is an agent's to gt, and what is sent to `discord/<name>` would reach that agent.
    """
    return None if channel.address in AGENTS else sender_of(channel).partition("/")[2]


def without_mailbox(channel: Channel) -> str:
    """The finding about a channel that `mailbox_of` gives none, in a sentence."""
    return f"#{channel.address} has no mailbox: to gt, discord/{channel.address} is the {channel.address}"


def compose(
    message: IncomingMessage, to: str, *, polled_id: int, now: float, spool: str, replies: bool = False
) -> Mail:
    """The mail for a message; `spool` is the spool's path as agents know it.

    `replies`: the bridge reads the channel's mailbox, so an agent may answer by `gt mail reply`.
    """
    head = _head(message)
    tail = _tail(message, spool, replies)
    room = LONGEST_BODY - len(f"{head}{tail}".encode())
    return Mail(
        message_id=message.id,
        polled_id=polled_id,
        channel=message.channel.address,
        to=to,
        sender=sender_of(message.channel),
        subject=in_a_prompt(subject(message)),
        body=f"{head}{_cut(message.text, room, f'{spool}/{maildir_file(message)}')}{tail}",
        since=now,
    )


def in_a_prompt(text: str) -> str:
    """The text as a subject: gt types it into an agent's terminal."""
    return one_line(re.sub("[<>`]", "", text), _LONGEST_SUBJECT)


def _head(message: IncomingMessage) -> str:
    written = datetime.fromtimestamp(message.timestamp, UTC)
    rig = f", rig {message.channel.rig}" if message.channel.rig else ""
    author = one_line(message.author)
    return f"Discord #{message.channel.address}{rig}, from {author} at {written:%Y-%m-%d %H:%M} UTC:\n\n"


def _tail(message: IncomingMessage, spool: str, replies: bool) -> str:
    ways = ["gt mail reply <this mail>"] if replies and mailbox_of(message.channel) else []
    ways.append(f"a file in {spool}/outgoing/{message.channel.address}/")
    ways.append("the spoolbridge MCP tools")
    files = [f"Attached: {spool}/{each.file}\n" for each in message.attachments if each.file]
    attached = "\n\n" + "".join(files).rstrip("\n") if files else ""
    return f"{attached}\n\n-- \nTo answer: {', or '.join(ways)}.\ndiscord-message-id: {message.id}\n"


def _cut(text: str, room: int, file: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= room:
        return data.decode()
    note = f"\n[cut here; the whole text is in {file}]"
    return data[: room - len(note.encode())].decode("utf-8", "ignore") + note
