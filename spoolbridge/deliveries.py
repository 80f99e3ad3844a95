"""Where an incoming message goes: the one contract of the three deliveries.

`IncomingFile` writes a Maildir, `InboxFile` appends to discord-inbox.jsonl, `GtMail` mails. Each has
its own cursor in every channel, so that one that fails holds up no other. All promise: what was
delivered twice is there once, in the order of the ids; what fails leaves no half file and may be
given again; what returned is durable. None of them ever talks to Discord.

Synchronous, because durable: the poller calls them in a thread, and never two at once for one
channel. Different channels may come at the same time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from spoolbridge.channels import Channel
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.incoming import IncomingMessage


class Delivery(ABC):
    """One place that messages go to. `channel.id` is what was polled: a channel, or a thread of it."""

    #: Part of the cursor files' names, so it must not change.
    name: str

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors

    def recover(self) -> None:
        """At start, before anything else: finish what a crash interrupted."""
        for cursor in self._cursors.of(self.name):
            self._resume(cursor)

    def position(self, channel: Channel) -> int | None:
        """The id after which to fetch, the overlap already taken off; None: `begin` was never called."""
        return self._cursors(channel.id, self.name).position

    def reached(self, channel: Channel) -> int | None:
        """The highest id that is done with there; None: `begin` was never called."""
        return self._cursors(channel.id, self.name).reached

    def began(self, channel: Channel) -> int | None:
        """The id that `begin` was called with there for the first time; None: it never was."""
        return self._cursors.began(channel.id, self.name)

    def begin(self, channel: Channel, after: int) -> None:
        """Start in this channel behind the id `after`; a second time changes nothing."""
        self._cursors(channel.id, self.name).begin(after)

    def missing(self, channel: Channel, messages: Sequence[IncomingMessage]) -> list[IncomingMessage]:
        """Those of the messages that this delivery does not have, by ascending id, each once."""
        cursor = self._cursors(channel.id, self.name)
        new = {message.id: message for message in messages if not cursor.seen(message.id)}
        return [new[message_id] for message_id in sorted(new)]

    def deliver(self, channel: Channel, messages: Sequence[IncomingMessage], *, upto: int = 0) -> int:
        """Deliver what is missing and say how many that were.

        Behind them the cursor moves on to `upto`, past what is not for agents. Raises OSError or
        SpoolbridgeError with the cursor not past what failed: the same call may simply be made again.
        """
        cursor = self._cursors(channel.id, self.name)
        self._resume(cursor)
        missing = self.missing(channel, messages)
        if missing:
            self._hand_over(cursor, channel, missing)
        cursor.advance([message.id for message in missing], upto)
        return len(missing)

    def redeliver(self, channel: Channel, messages: Sequence[IncomingMessage], *, after: int) -> int:
        """As `deliver`, for messages that were never handed over although the cursor may have passed them.

        Where it has been lost, it begins again behind the id `after`.
        """
        self.begin(channel, after)
        self._cursors(channel.id, self.name).reopen(message.id for message in messages)
        return self.deliver(channel, messages)

    def _resume(self, cursor: Cursor) -> None:  # noqa: B027 -- most have nothing to resume
        """Finish what an earlier call began and did not end."""

    @abstractmethod
    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        """Make these durable where they go; twice is once."""
