"""What the dispatcher does on the disk: settle what was sent, take what comes next.

What several channels want at the same time is done in one turn of a thread and becomes durable together. An
entry is not taken before the one before it is settled: where the disk refuses that, it refuses both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from spoolbridge import outgoing
from spoolbridge.claim import Claim
from spoolbridge.intake import Intake
from spoolbridge.moves import SHARES, Directories, Moves
from spoolbridge.outgoing import OutgoingMessage
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
class _Step:
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
        #: Threads that only wait for the disk. One of them is this turn's own.
        self._pool = ThreadPoolExecutor(SHARES - 1, thread_name_prefix="sync")
        self._turns: Turns[_Wish, Taken | None] = Turns(self._turn, most=_MOST, patience=_PATIENCE)
        self._rings = 0
        self._knocks: dict[str, int] = {}

    def close(self) -> None:
        """No turn is under way any more."""
        self._pool.shutdown(wait=False)

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
            steps = [self._begin(wish, directories) for wish in wishes]
            all_moves = [moves for step in steps for moves in (step.settling, step.taking)]
            errors = directories.sync(all_moves, self._pool)
            return [_ended(step, *errors[2 * number : 2 * number + 2]) for number, step in enumerate(steps)]

    def _begin(self, wish: _Wish, directories: Directories) -> _Step:
        step = _Step(wish, Moves(directories), Moves(directories))
        try:
            if wish.settle is not None:
                step.settled = wish.settle.leave(step.settling)
            if wish.take:
                step.taken = self._take(wish.channel, step.taking)
        except Exception as error:
            step.error = error
        return step

    def _take(self, channel: str, moves: Moves) -> Taken:
        times, found = self.times_told(channel), None
        try:
            found = self._intake.take(channel, moves, told=times)
            if not isinstance(found, Claim):
                return Taken(times, found)
            return Taken(times, found, read(found, moves.directories.at(f"sending/{channel}")))
        except Exception as error:
            return Taken(times, found, error=error)


def _ended(step: _Step, settling: OSError | None, taking: OSError | None) -> Taken | Exception | None:
    """What came of a wish, given what the disk refused of it."""
    if error := step.error or settling:
        step.taking.undo()
        return error
    if step.wish.settle is not None:
        step.wish.settle.settled = step.settled
    if taking and step.taken:
        return Taken(step.taken.times, error=taking)
    return step.taken


def read(claim: Claim, at: int | None = None) -> OutgoingMessage | None:
    """The message; None: somebody still writes to it. Raises as `Claim.read` does, and MessageError."""
    content = claim.read(at)
    return None if content is None else outgoing.parse(claim.rest, content.body, content.files)
