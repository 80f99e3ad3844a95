"""What lies in `outgoing/`: which entries are ready, in which order, and the claim of the next.

The service's side of the spool, used under its lock by one process. Promises that a claimed entry's
content is durable before its name moves and that the claim is durable when it returns; that an
entry is never in two states; that what can never become a message lies in `failed/` with a reason.
Never reads what a message says and never talks to Discord.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from spoolbridge import atomic, identity, ready
from spoolbridge.claim import Claim, explain, one_line, sync_entry, why
from spoolbridge.drop_box import DropBox
from spoolbridge.glances import Glances
from spoolbridge.identity import WHY
from spoolbridge.moves import Directories, Moves
from spoolbridge.spool import HOLD, Spool

_MANY = 8  # claims of one channel that are not settled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """What one scan of `outgoing/` found."""

    waiting: dict[str, bool]  # channel directory → whether there is an entry that is not ignored
    held: frozenset[str]  # channel directories that are paused
    strays: tuple[str, ...]  # names directly in outgoing/


class Intake:
    """The one who claims."""

    def __init__(
        self, spool: Spool, *, clock: Callable[[], float] = time.time,
        refused: Callable[[str], None] = lambda channel: None,
    ) -> None:  # fmt: skip
        self._spool = spool
        self._clock = clock
        self._refused = refused  # told in the thread that looks
        self._minter = identity.Minter(clock)
        self._minters: dict[str, identity.Minter] = {}
        self._boxes: dict[str, DropBox] = {}
        #: Of each drop box: whether an entry lies there, and whether it is held. Both depend on names alone;
        #: that an entry still waits for its time is found out by who claims.
        self._glances = Glances(_glanced)
        #: channel → what was claimed in it; those that are settled are forgotten with the next.
        self._claims: dict[str, list[Claim]] = {}
        #: Channels that have their directories in every state.
        self._roomy: set[str] = set()
        #: Places in `failed/` that may hold reasons: those of what failed here, and of what had before.
        self._explained: set[str] = set()
        self._explained_before = False
        self._strays: dict[str, float] = {}
        self._told: set[str] = set()

    def look(self) -> Look:
        """One scan of the drop boxes: names only, no entry is opened, and no box in which nothing changed."""
        waiting: dict[str, bool] = {}
        held, strays = set(), []
        with self._spool.at("outgoing") as outgoing:
            everything = atomic.exists(HOLD, at=outgoing)
            with os.scandir(outgoing) as children:
                found = [(child.name, child.is_dir(follow_symlinks=False)) for child in children]
            for name, is_directory in found:
                if not is_directory:
                    strays += [] if ready.ignored(name) else [name]
                elif not name.startswith("."):
                    waiting[name], paused = self._glance(name, outgoing)
                    if everything or paused:
                        held.add(name)
        for gone in self._boxes.keys() - waiting.keys():
            del self._boxes[gone]
        self._glances.keep(waiting)
        return Look(waiting, frozenset(held), tuple(strays))

    def directories(self) -> Directories:
        """The spool's, for one turn."""
        return Directories(self._spool.fd)

    def claim(self, channel: str) -> Claim | float | None:
        """As `take`, durably. Raises OSError where the disk refuses; nothing is then claimed."""
        with self.directories() as directories:
            moves = Moves(directories)
            found = self.take(channel, moves)
            moves.settle()
            return found

    def take(self, channel: str, moves: Moves, *, told: int | None = None) -> Claim | float | None:
        """Claim the channel's first ready entry, as durably as `moves` are. A number: look again in so many
        seconds. `told`: how often something was told to have changed, if anybody tells.

        What can never become a message goes to `failed/` on the way; a held channel is left alone.
        Raises OSError where the disk refuses; nothing is then claimed. An entry that may not be moved
        (another user's directory) keeps back only itself, and is named once there is nothing else.
        """
        top = moves.directories.at("outgoing")
        # Before the box is opened: one that is renamed, and let go under its new name, must not look let go.
        if atomic.exists(HOLD, at=top) or atomic.exists(f"{channel}/{HOLD}", at=top):
            return None
        try:
            outgoing = moves.directories.at(f"outgoing/{channel}")
        except FileNotFoundError:
            return None
        now = self._clock()
        box = self._boxes.setdefault(channel, DropBox())
        if box.still_holds(told, now) and isinstance(found := self._first(channel, box, moves, now), Claim):
            return found
        box.list(outgoing, now, told)
        return self._first(channel, box, moves, now)

    def _first(self, channel: str, box: DropBox, moves: Moves, now: float) -> Claim | float | None:
        soonest: float | None = None
        stuck: PermissionError | None = None
        outgoing = moves.directories.at(f"outgoing/{channel}")
        for name, written, first_seen in box.waiting(now):
            try:
                verdict = ready.examine(name, at=outgoing, now=now, first_seen=first_seen)
                if isinstance(verdict, ready.NotYet):
                    soonest = min(verdict.seconds, soonest or verdict.seconds)
                elif isinstance(verdict, ready.Never):
                    self._refuse(outgoing, channel, name, verdict.reason, verdict.hint)
                elif verdict and (claim := self._claim(outgoing, channel, name, written, moves)):
                    return claim
            except PermissionError as error:
                stuck = stuck or PermissionError(error.errno, f"{error.strerror}: {name!a}")
        if stuck:
            raise stuck
        return soonest

    def refuse_strays(self, names: Sequence[str], hint: str) -> None:
        """What lies directly in `outgoing/` names no channel: to `failed/` itself, with a `.why`."""
        now = self._clock()
        with self._spool.at("outgoing") as outgoing:
            for name in names:
                first_seen = self._strays.setdefault(name, now)
                try:
                    verdict = ready.examine(name, at=outgoing, now=now, first_seen=first_seen)
                    if verdict is True or isinstance(verdict, ready.Never):
                        self._refuse(outgoing, "", name, "dropped directly in outgoing/", hint)
                except OSError as error:
                    if error.errno == errno.EIO:
                        raise
                    self._tell(f"outgoing/{name!a} cannot be moved: {error.strerror}")
        self._strays = {name: self._strays[name] for name in names}

    def recover(self) -> Iterator[Claim]:
        """The entries that a former service left in `sending/`, oldest first in each channel."""
        for channel in self._spool.channels("sending"):
            names = [name for name in self._spool.names(f"sending/{channel}") if identity.parse(name)]
            if names:
                self._sync_claims(channel)
            for name in sorted(names):
                with suppress(FileNotFoundError):
                    yield self._given(channel, name)

    def _sync_claims(self, channel: str) -> None:
        """The former service may have died between a claim's rename and its fsync. Posted like that, a power
        cut would put the entry back under its plain name, to be posted again under another ID."""
        for place in (f"sending/{channel}", f"outgoing/{channel}"):
            with suppress(FileNotFoundError), self._spool.at(place) as at:
                atomic.sync_directory(at)

    def _claim(
        self, outgoing: int, channel: str, name: str, written: float, moves: Moves
    ) -> Claim | None:
        place = self._roomy_place(channel, moves.directories)
        parsed = identity.parse(name)
        entry_id = parsed[0] if parsed else self._channel_minter(channel).mint(written)
        claimed = identity.file_name(entry_id, parsed[1] if parsed else name)
        try:
            if parsed and self._is_being_sent(channel, entry_id):
                raise FileExistsError
            stamp = sync_entry(name, outgoing)
            moves.move(name, claimed, src=f"outgoing/{channel}", dst=place)
        except FileExistsError:  # also where somebody else has put one into sending/
            reason = "an entry of this ID is being sent already; this one was not posted"
            self._refuse(outgoing, channel, name, reason, "drop it under a plain name", fresh=True)
            return None
        except (FileNotFoundError, ValueError):
            return None  # somebody was quicker, or a bundle got a stray member just now
        self._forget(channel, name)
        with suppress(OSError):  # an entry in sending/ without a claim would wait for the next start
            os.unlink(name + WHY, dir_fd=outgoing)  # `mv failed/ch/*` takes it along
        with suppress(OSError):
            self._forget_reasons(claimed if parsed else "")
        return self._given(channel, claimed, stamp=stamp, claimed=self._clock())

    def _given(
        self, channel: str, name: str, *, stamp: tuple[int, ...] = (), claimed: float | None = None
    ) -> Claim:
        claim = Claim(
            self._spool.root, self._spool.fd, channel, name,
            stamp=stamp, claimed=claimed, clock=self._clock, explained=self._explained,
        )  # fmt: skip
        others = [each for each in self._claims.get(channel, ()) if not each.settled]
        if len(others) > _MANY:  # an operator has cancelled some, which are never settled
            others = [each for each in others if each.exists()]
        self._claims[channel] = [*others, claim]
        return claim

    def _is_being_sent(self, channel: str, entry_id: str) -> bool:
        """Whether an entry of this ID has been claimed and lies in `sending/` still, under whatever name."""
        return any(each.id == entry_id and each.exists() for each in self._claims.get(channel, ()))

    def _roomy_place(self, channel: str, directories: Directories) -> str:
        """Where the channel's claims lie, once there is every directory that they will need."""
        place = f"sending/{channel}"
        try:
            if channel in self._roomy and directories.at(place) >= 0:
                return place
        except FileNotFoundError:
            pass
        self._make_room(channel)
        return place

    def _forget_reasons(self, retried: str) -> None:
        """An entry on its way has no reason in `failed/`, under whichever channel it was dropped at first."""
        if not retried:
            return
        if not self._explained_before:
            places = ["failed", *(f"failed/{each}" for each in self._spool.channels("failed"))]
            self._explained.update(
                place for place in places if any(each.endswith(WHY) for each in self._spool.names(place))
            )
            self._explained_before = True
        for place in tuple(self._explained):
            with suppress(OSError), self._spool.at(place) as at:
                os.unlink(retried + WHY, dir_fd=at)

    def _glance(self, channel: str, outgoing: int) -> tuple[bool, bool]:
        """Whether an entry lies in a drop box, and whether it is held."""
        try:
            return self._glances.at(channel, at=outgoing)
        except PermissionError as error:
            self._tell(f"outgoing/{channel!a} cannot be read: {error.strerror}")
        except (FileNotFoundError, NotADirectoryError):
            pass  # moved away just now
        return False, False

    def _tell(self, what: str) -> None:
        """A warning, once: it would come with every scan."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", what)

    def _refuse(
        self, outgoing: int, channel: str, name: str, reason: str, hint: str, *, fresh: bool = False
    ) -> str:
        """From `outgoing/` straight to `failed/`: what cannot be claimed is not lost either."""
        parsed = identity.parse(name)
        keeps = parsed is not None and not fresh
        entry_id = parsed[0] if parsed and keeps else self._minter.mint()
        refused = identity.file_name(entry_id, parsed[1] if parsed else name)
        place = f"failed/{channel}" if channel else "failed"
        if channel:
            self._make_room(channel)
        with self._spool.at(place) as failed, suppress(FileNotFoundError):
            if atomic.exists(refused, at=failed):
                return self._refuse(outgoing, channel, name, reason, hint, fresh=True)
            text = why(self._spool.root, channel, refused, reason, hint, channel or "CHANNEL", self._clock())
            explain(failed, refused, text)
            self._explained.add(place)
            try:
                atomic.move(name, refused, src=outgoing, dst=failed)
            except OSError:
                with suppress(OSError):  # a reason without its entry would puzzle people
                    os.unlink(refused + WHY, dir_fd=failed)
                raise
            self._forget(channel, name)
            self._refused(channel)
            log.warning("%s/%s refused: %s", one_line(place), refused, reason)
        return f"{place}/{refused}"

    def _make_room(self, channel: str) -> None:
        """Every directory that the channel's entries will need, while there is room on the disk."""
        for state in ("sending", "sent", "failed"):
            with self._spool.at(state) as at:
                atomic.ensure_directory(channel, at=at)
        self._roomy.add(channel)

    def _forget(self, channel: str, name: str) -> None:
        if box := self._boxes.get(channel):
            box.forget(name)

    def _channel_minter(self, channel: str) -> identity.Minter:
        return self._minters.setdefault(channel, identity.Minter(self._clock))


def _glanced(box: int) -> tuple[bool, bool]:
    """For `Intake._glances`. Reads no further than the first entry."""
    with os.scandir(box) as children:
        waiting = any(not ready.ignored(child.name) for child in children)
    return waiting, atomic.exists(HOLD, at=box)
