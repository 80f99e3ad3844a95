"""Out of a Gas Town: what agents mail to `discord/<channel>` is dropped into that channel.

A directory `<town>/discord/<channel>/` is what makes such an address valid for gt, so `gt mail reply` to a
forwarded message, `gt mail send`, escalation routes and convoy notifications all end in a mailbox that is
read here. Promises that a mail becomes one entry, whatever dies when: it is dropped, durably, under an ID
that derives from the mail, and only then archived; one that is found unread again is known by that ID.

Mail that was written before this spool first served the town is left alone: nobody meant it for Discord.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from spoolbridge import atomic, backoff, header, identity, inbox
from spoolbridge.channels import Channel, Registry
from spoolbridge.errors import SpoolbridgeError, SpoolError
from spoolbridge.gt import Answer, Gt, Verdict
from spoolbridge.mail import (
    MAILBOXES,
    AgentMail,
    is_address,
    mailbox_of,
    marked,
    sender_of,
    without_mailbox,
    without_trailer,
)
from spoolbridge.rendering import one_line
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread

EVERY = 15.0  # seconds between two looks into one mailbox
REFUSED_WAIT = 300.0  # seconds until a mailbox is looked into that gt does not know, or that has no gt
_NAME = "mail"  # what a dropped mail is called behind its ID
_SINCE_FILE = "town.json"
_MODE = 0o755  # empty directories, which every agent's gt must find
_LONGEST_RIG = 80  # characters (header's `Rig`)
_LONGEST_SUBJECT = 200  # characters

log = logging.getLogger(__name__)


class Town:
    """The mailboxes of the channels. `work` must run for anything to be read; the counters are for STATUS."""

    def __init__(
        self, spool: Spool, registry: Callable[[], Registry], gt: Gt, root: Path, *, since: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._spool, self._registry, self._gt, self._root = spool, registry, gt, root
        self._since, self._clock, self._sleep = since, clock, sleep
        self._known: Registry | None = None
        self._boxes: dict[str, Channel] = {}
        self._due: dict[str, float] = {}
        self._failing: float | None = None  # since when
        self._dropped: set[str] = set()  # mails that are still to be archived
        self._left: dict[str, int] = {}
        #: How many mails were dropped, since the start.
        self.dropped = 0
        self._problems: dict[str, str] = {}  # by address; "" is all of them
        #: Channels that cannot have a mailbox, in sentences.
        self.findings: tuple[str, ...] = ()

    @property
    def last_error(self) -> str:
        """What is wrong now, in a sentence; empty: nothing."""
        return next(iter(self._problems.values()), "")

    @property
    def mailboxes(self) -> int:
        return len(self._boxes)

    @property
    def left_alone(self) -> int:
        """How many unread mails are from before the first start."""
        return sum(self._left.values())

    async def work(self) -> None:
        """Look into one mailbox after another until cancelled. gt works half of the time at most."""
        while True:
            began = self._clock()
            await self.visit_next()
            worked = self._clock() - began
            await self._sleep(max(self._until_due(), worked, backoff.SHORTEST / 10))

    async def visit_all(self) -> None:
        """Every mailbox that is due, once, however long gt takes for them."""
        await self._make_mailboxes()
        for _ in self._boxes:
            await self.visit_next()

    async def visit_next(self) -> bool:
        """Look into the mailbox that has waited longest; False: none is due."""
        await self._make_mailboxes()
        address = min(self._due, key=self._due.__getitem__, default=None)
        if address is None or self._due[address] > self._clock():
            return False
        self._due[address] = self._clock() + EVERY
        try:
            await self._visit(address, self._boxes[address])
        except (OSError, SpoolbridgeError) as error:
            self._problem(address, f"mail to {address} waits: {error}")
        return True

    def _until_due(self) -> float:
        return max(0.0, min(self._due.values(), default=self._clock() + EVERY) - self._clock())

    async def _make_mailboxes(self) -> None:
        """A directory for each channel of the file, whenever that has changed."""
        known = self._registry()
        if known is self._known:
            return
        self._boxes = boxes = {sender_of(each): each for each in known.channels if mailbox_of(each)}
        self.findings = tuple(without_mailbox(each) for each in known.channels if not mailbox_of(each))
        try:
            await in_thread(self._make_directories, [address.partition("/")[2] for address in boxes])
        except OSError as error:
            what = f"{self._root / MAILBOXES} cannot be made ({error.strerror}): no channel gets mail"
            self._problem("", what)
            self._due = {address: self._clock() + REFUSED_WAIT for address in boxes}
            return
        self._known = known
        self._problems = {}
        self._due = {address: self._due.get(address, 0.0) for address in boxes}
        self._left = {address: count for address, count in self._left.items() if address in boxes}

    def _make_directories(self, names: list[str]) -> None:
        with atomic.directory(self._root) as town:
            atomic.ensure_directory(MAILBOXES, at=town, mode=_MODE)
            with atomic.directory(MAILBOXES, at=town) as boxes:
                for name in names:
                    atomic.ensure_directory(name, at=boxes, mode=_MODE)

    async def _visit(self, address: str, channel: Channel) -> None:
        found = await self._gt.inbox(address, unread=True)
        if isinstance(found, Answer):
            self._unreadable(address, found)
            return
        self._failing = None
        for each in ("", address):
            self._problems.pop(each, None)
        new = [mail for mail in found if not 0 < mail.at < self._since]
        self._left[address] = len(found) - len(new)
        for mail in sorted(new, key=lambda mail: (mail.at, mail.id)):
            await self._drop(address, channel, mail)
            answer = await self._gt.archive(address, mail.id)
            if answer.verdict is not Verdict.DONE:
                what = f"{mail.id} of {address} was dropped, but not archived: {answer.reason}"
                self._problem(address, what)
                return  # the next look finds it, and knows it
            self._dropped.discard(mail.id)

    def _unreadable(self, address: str, answer: Answer) -> None:
        """The store is down for every mailbox alike; an address that is refused is so alone."""
        now = self._clock()
        alone = answer.verdict is Verdict.REFUSED
        self._problem(address if alone else "", f"the mail of {address} cannot be read: {answer.reason}")
        if alone:
            self._due[address] = now + REFUSED_WAIT
            self._known = None  # its directory may have been removed
            return
        self._failing = now if self._failing is None else self._failing
        wait = backoff.delay(now - self._failing)
        if answer.verdict is Verdict.UNCONFIGURED:
            wait = REFUSED_WAIT
        self._due = {each: max(due, now + wait) for each, due in self._due.items()}

    async def _drop(self, address: str, channel: Channel, mail: AgentMail) -> None:
        entry_id = identity.derived(mail.at or self._since, f"{address}\n{mail.id}")
        if mail.id in self._dropped or await in_thread(self._spool.find, entry_id) is not None:
            return
        data = entry_of(mail, *await self._answered(address, channel, mail))
        await in_thread(self._spool.drop, channel.address, data, name=_NAME, entry_id=entry_id)
        self._dropped.add(mail.id)
        self.dropped += 1
        log.info("%s/%s dropped from the mail %s", channel.address, entry_id, mail.id)

    async def _answered(
        self, address: str, channel: Channel, mail: AgentMail
    ) -> tuple[int | None, int | None]:
        """The message that the mail answers, and the thread it lies in; None: not known, or no answer."""
        message_id, sure = marked(mail.body), False
        if message_id is None and mail.reply_to and is_address(mail.sender):
            # The mail that it answers lies where its answer comes from, unless it is archived by now.
            found = await self._gt.inbox(mail.sender)
            about = [] if isinstance(found, Answer) else [each for each in found if each.id == mail.reply_to]
            if about and about[0].sender == address:
                message_id, sure = marked(about[0].body), True
        if message_id is None:
            return None, None
        said = await in_thread(inbox.message, self._spool, channel.address, message_id)
        if said is not None:
            return message_id, said.thread_id
        return (message_id if sure else None), None  # what is only quoted may be another channel's

    def _problem(self, address: str, sentence: str) -> None:
        if sentence != self._problems.get(address):
            log.warning("%s", sentence)
        self._problems[address] = sentence


def entry_of(mail: AgentMail, reply_to: int | None = None, thread: int | None = None) -> bytes:
    """What is dropped: the sender as rig, the subject above the text, and for whom it failed if it fails."""
    said = {"Rig": rig_of(mail.sender), "Reply-To": reply_to, "Thread": thread}
    rendered = header.render(
        text_of(mail, answers=reply_to is not None), {key: str(value) for key, value in said.items() if value}
    )
    traces = f"X-Mail-Id: {mail.id}\n"
    if is_address(mail.sender):
        traces += f"X-Mail-From: {mail.sender}\n"
    first, rest = rendered.split(b"\n", 1)
    return b"\n".join([first, traces.encode() + rest])


def text_of(mail: AgentMail, *, answers: bool) -> str:
    """The subject in bold and the body, each where it says something that the other does not."""
    body = without_trailer(mail.body.replace("\0", ""))
    subject = one_line(mail.subject, _LONGEST_SUBJECT)
    if not subject or (body and answers) or body.partition("\n")[0].strip() == subject:
        return body or subject or "(an empty mail)"
    return f"**{subject}**\n{body}" if body else subject


def rig_of(sender: str) -> str:
    """The sender in the form of the header's `Rig`."""
    plain = re.sub(r"[^\w./ -]", "_", one_line(sender, 200)).strip(" /")
    return plain[:_LONGEST_RIG].strip() or "town"


def served_since(spool: Spool, clock: Callable[[], float] = time.time) -> float:
    """When this spool first served its town, in unix seconds; noted where it is not.

    A whole second, as gt's own times are: what is mailed just behind it must not seem older.
    """
    with spool.at("state") as state:
        if not atomic.exists(_SINCE_FILE, at=state):
            atomic.replace(_SINCE_FILE, json.dumps({"since": int(clock())}).encode(), at=state)
    path = spool.root / "state" / _SINCE_FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return float(found["since"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SpoolError(f"{path} cannot be read", "remove it: mail is then read from now on") from None
