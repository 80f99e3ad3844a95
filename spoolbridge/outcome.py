"""What came of one try to post: values, made once at the edge, that everything else switches on.

The table is in ARCHITECTURE.md: a client turns an answer (or its absence) into one of these, the dispatcher
decides with it, and the spool settles the entry by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Sent:
    """The message is on Discord. `message_id` is 0 where it was posted and then deleted (10008)."""

    message_id: int


@dataclass(frozen=True)
class NotSent:
    """Surely not posted: refused connection, DNS, TLS, 429. Counts neither as a try nor towards poison."""

    reason: str
    #: Seconds that Discord asked for; None: the back-off decides.
    retry_after: float | None = None


@dataclass(frozen=True)
class Unknown:
    """The request may have been carried out: time-out, reset, 5xx, a cut answer."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """Permanent for this message. `code` is Discord's, 0 where the bridge itself refused."""

    reason: str
    code: int = 0
    status: int = 0
    #: What of it was refused: without that, the rest may pass.
    about: Literal["message", "reply", "files"] = "message"


@dataclass(frozen=True)
class Closed:
    """Permanent for the channel (50001, 50013, 10003): it is parked, the message waits in outgoing/."""

    reason: str
    code: int


Outcome = Sent | NotSent | Unknown | Refused | Closed
