"""What the dispatcher does on the disk: settle what was sent, take what comes next.

What several channels want at the same time is done in one turn of a thread and becomes durable together. An
entry is not taken before the one before it is settled: where the disk refuses that, it refuses both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from spoolbridge import outgoing
from spoolbridge.claim import Claim
from spoolbridge.intake import Intake
from spoolbridge.moves import Moves
from spoolbridge.outgoing import OutgoingMessage
from spoolbridge.syncs import SHARES, Step, Syncs
from spoolbridge.turns import Turns

_MOST = 32  # entries of one turn: what is taken first does not wait long for the last
_PATIENCE = 0.1  # seconds; a turn takes a few milliseconds, but for a large file or a slow disk


class Taken(NamedTuple):
    """What was found in a drop box."""

    #: How often something had been told before that look.
    times: int
    #: As `Intake.take` gives it.
    found: Claim | float | None = None
    #: The claim's; None: somebody still writes to it.
    message: OutgoingMessage | None = None
    #: What looking for a claim raised, or reading it.
    error: Exception | None = None


class _Wish(NamedTuple):
    """`settle`: what was sent there; `take`: whether the next one is taken."""

    channel: str
    settle: Claim | None
    take: bool


@dataclass
class _Grant:
    """A wish that is being granted."""

    wish: _Wish
    settling: Moves
    taking: Moves
    settled: str = ""
    taken: Taken | None = field(default=None)
    error: Exception | None = None


class Clerk:
    """Used by the dispatcher, which has one wish at a time for each channel."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._syncs = Syncs(SHARES - 1)
        self._turns: Turns[_Wish, Taken | None] = Turns(self._turn, most=_MOST, patience=_PATIENCE)
        self._rings = 0
        self._knocks: dict[str, int] = {}

    def close(self) -> None:
        """No turn is under way any more."""
        self._syncs.close()

    def told(self, channel: str | None = None) -> None:
        """Something may have been dropped there; None: anywhere."""
        if channel is None:
            self._rings += 1
        else:
            self._knocks[channel] = self._knocks.get(channel, 0) + 1

    def times_told(self, channel: str) -> int:
        """How often something may have been dropped in the channel. From any thread."""
        return self._rings + self._knocks.get(channel, 0)

    async def take(self, channel: str) -> Taken:
        """The channel's next claim, durable, and the first reading of it."""
        taken = await self._turns.ask(_Wish(channel, None, True))
        assert taken is not None
        return taken

    async def settle(self, claim: Claim, *, take: bool) -> Taken | None:
        """Settle it as sent, durably, and in the same turn take what comes next, if told to.

        Raises OSError: the disk refuses, and it lies where it lay; FileNotFoundError: somebody took it away.
        """
        return await self._turns.ask(_Wish(claim.channel, claim, take))

    def _turn(self, wishes: Sequence[_Wish]) -> list[Taken | Exception | None]:
        """In a thread."""
        with self._intake.directories() as directories:
            grants = [_Grant(wish, Moves(directories), Moves(directories)) for wish in wishes]
            self._syncs.walk([self._grant(each) for each in grants])
            all_moves = [moves for each in grants for moves in (each.settling, each.taking)]
            errors = directories.sync(all_moves, self._syncs)
            return [_ended(each, *errors[2 * number : 2 * number + 2]) for number, each in enumerate(grants)]

    def _grant(self, grant: _Grant) -> Step[None]:
        wish = grant.wish
        try:
            if wish.settle is not None:
                grant.settled = wish.settle.leave(grant.settling)
            if wish.take:
                grant.taken = yield from self._take(wish.channel, grant.taking)
        except Exception as error:
            grant.error = error

    def _take(self, channel: str, moves: Moves) -> Step[Taken]:
        times, found = self.times_told(channel), None
        try:
            found = yield from self._intake.take(channel, moves, told=times)
            if not isinstance(found, Claim):
                return Taken(times, found)
            return Taken(times, found, read(found, moves.directories.at(f"sending/{channel}")))
        except Exception as error:
            return Taken(times, found, error=error)


def _ended(grant: _Grant, settling: OSError | None, taking: OSError | None) -> Taken | Exception | None:
    """What came of a wish, given what the disk refused of it."""
    if error := grant.error or settling:
        grant.taking.undo()
        return error
    if grant.wish.settle is not None:
        grant.wish.settle.settled = grant.settled
    if taking and grant.taken:
        return Taken(grant.taken.times, error=taking)
    return grant.taken


def read(claim: Claim, at: int | None = None) -> OutgoingMessage | None:
    """The message; None: somebody still writes to it. Raises as `Claim.read` does, and MessageError."""
    content = claim.read(at)
    return None if content is None else outgoing.parse(claim.rest, content.body, content.files)
