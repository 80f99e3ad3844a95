"""The spool as a whole, against a model of a few lines: which file lies where.

Hypothesis invents lives: drops, claims, settlements, crashes, and an operator who moves, copies and
removes whatever he likes. After every act each file is in exactly one place and whole, every change is one
that the act allows, and the journal still knows what was sent. Nobody here posts anything.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spoolbridge import atomic, identity, ready
from spoolbridge.census import Census
from spoolbridge.claim import Claim
from spoolbridge.errors import SpoolError
from spoolbridge.identity import WHY
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.outgoing import Form
from spoolbridge.spool import HOLD, Spool
from tests.support.crashes import Killed, kill_at
from tests.support.powercut import recorded

CHANNELS = ("general", "mayor-villa")
IDS = {"general": 11, "mayor-villa": 12}
STATES = ("outgoing", "sending", "sent", "failed")
#: Nothing here waits for a file to settle: the spool's clock is ahead of the files' by more than that.
AHEAD = 10.0  # seconds
NAMES = ("note", "a.md", "-rf", "zwölf Uhr", "x" * 120)

_channel = st.sampled_from(CHANNELS)
_index = st.integers(0, 50)


@dataclass(frozen=True)
class Move:
    """One file that changed its place during an act."""

    source: str
    target: str

    @property
    def states(self) -> tuple[str, str]:
        return self.source.partition("/")[0], self.target.partition("/")[0]


def clock() -> float:
    return time.time() + AHEAD


class SpoolMachine(RuleBasedStateMachine):
    """`files` is the model: path from the root → what is written in the file (a bundle's: in its body)."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.files: dict[str, bytes] = {}
        self.claims: list[Claim] = []
        self.ids: set[str] = set()  # every ID that was ever seen
        self.sent: set[tuple[str, str]] = set()  # (ID, channel) that the journal was told of
        self.numbers = itertools.count()
        (root.parent / f"{root.name}-desk").mkdir()
        Spool.create(root, clock=clock).close()
        self._start()
        for channel in CHANNELS:
            self.spool.add_channel(channel)
            self.drop_by_a_shell(channel, NAMES[0])
            self.claim(channel)
            self.drop(channel, "", False)

    def _start(self) -> None:
        self.spool = Spool(self.root, clock=clock)
        self.state = atomic.open_directory("state", at=self.spool.fd)
        self.journal = Journal(self.state, clock=clock)
        self.intake = Intake(self.spool, clock=clock)

    def _end(self) -> None:
        self.journal.close()
        os.close(self.state)
        self.spool.close()

    def teardown(self) -> None:
        self.crash()
        self.look()
        self._end()

    # -- who drops -------------------------------------------------------------------------------------

    def _text(self) -> bytes:
        return f"message {next(self.numbers)}\n".encode()

    @rule(channel=_channel, name=st.sampled_from(NAMES))
    def drop_by_a_shell(self, channel: str, name: str) -> None:
        path, text = f"outgoing/{channel}/{name}", self._text()
        if path not in self.files:
            (self.root / path).write_bytes(text)
            self.files[path] = text

    @rule(channel=_channel, name=st.sampled_from(("", *NAMES)), bundled=st.booleans())
    def drop(self, channel: str, name: str, bundled: bool) -> None:
        text = self._text()
        entry = self.spool.drop(channel, text, name=name, files={"a.png": b"\x89PNG"} if bundled else None)
        self._new(entry.id)
        self.files[f"outgoing/{channel}/{entry.name}"] = text
        assert entry == self.spool.find(entry.id)

    # -- the service -----------------------------------------------------------------------------------

    @rule(channel=_channel)
    def claim(self, channel: str) -> None:
        """The first that is not the copy of one on its way."""
        waiting = [path for path in self.files if path.startswith(f"outgoing/{channel}/")]
        first = self._first(waiting)
        claim = self.intake.claim(channel)
        moves = self._moves()
        claimed = [move for move in moves if ("outgoing", "sending") == move.states]
        refused = [move for move in moves if ("outgoing", "failed") == move.states]
        assert len(moves) == len(claimed) + len(refused)
        for move in refused:
            self._is_refused_copy(move)
        if not isinstance(claim, Claim):
            assert (None, len(waiting), []) == (claim, len(refused), claimed)
            return
        assert [f"sending/{channel}/{claim.name}"] == [move.target for move in claimed]
        assert first in [move.source for move in moves]
        self._is_named_after(claimed[0])
        self.claims.append(claim)

    def _first(self, waiting: list[str]) -> str | None:
        """Who has waited longest: by the ID, or else since the last change."""

        def key(path: str) -> tuple[float, str]:
            parsed = identity.parse(os.path.basename(path))
            since = identity.time_of(parsed[0]) if parsed else os.stat(self.root / path).st_ctime
            return since, os.path.basename(path)

        return min(waiting, key=key, default=None)

    def _is_refused_copy(self, move: Move) -> None:
        """Only one whose ID is on its way already: under a fresh ID, with a reason."""
        copied = identity.parse(os.path.basename(move.source))
        given = identity.parse(os.path.basename(move.target))
        assert copied is not None
        assert given is not None
        assert copied[0] in {claimed[0] for claimed in map(identity.parse, self._names("sending")) if claimed}
        self._new(given[0])
        assert "is being sent already" in (self.root / (move.target + WHY)).read_text("utf-8")

    def _is_named_after(self, move: Move) -> None:
        """An ID is kept with all that follows it; any other name gets one that nobody had before."""
        before, after = os.path.basename(move.source), os.path.basename(move.target)
        if identity.parse(before):
            assert before == after
            return
        parsed = identity.parse(after)
        assert parsed is not None
        self._new(parsed[0])
        if len(before) < identity.LONGEST_NAME:
            assert before == identity.original(parsed[1])

    @precondition(lambda self: self.claims)
    @rule(which=_index, how=st.sampled_from(["sent", "failed", "release"]))
    def settle(self, which: int, how: str) -> None:
        """Where it says, under its name; under a fresh ID where that one is taken."""
        claim = self.claims.pop(which % len(self.claims))
        source = f"sending/{claim.channel}/{claim.name}"
        act: Callable[[], str] = {
            "sent": claim.sent, "failed": lambda: claim.failed("refused"), "release": claim.release
        }[how]  # fmt: skip
        if source not in self.files:
            with pytest.raises(FileNotFoundError):
                act()
            assert [] == self._moves()
            return
        goal = self._target(source, "outgoing" if how == "release" else how, claim.channel)
        taken = goal in self.files
        path = act()
        assert [Move(source, path)] == self._moves()
        with pytest.raises(SpoolError, match="settled before"):
            act()
        if path.startswith("failed/"):
            assert "Retry: mv " in (self.root / (path + WHY)).read_text("utf-8")
        if not taken:
            assert goal == path
            return
        parsed = identity.parse(os.path.basename(path))
        assert parsed is not None
        assert (f"failed/{claim.channel}", claim.rest) == (os.path.dirname(path), parsed[1])
        self._new(parsed[0])

    @precondition(lambda self: self.claims)
    @rule(which=_index)
    def post(self, which: int) -> None:
        """What is posted is written down; what an operator took away is not posted."""
        claim = self.claims[which % len(self.claims)]
        if claim.exists():
            key = (claim.id, IDS[claim.channel], 1)
            self.journal.tried(*key, parts=1, form=Form(), digest="d", files=[])
            self.journal.sent(*key, 1000 + next(self.numbers), 1)
            self.sent.add((claim.id, claim.channel))

    @precondition(lambda self: self.claims)
    @rule(which=_index)
    def read(self, which: int) -> None:
        claim = self.claims[which % len(self.claims)]
        if claim.exists():
            content = claim.read()
            assert content is not None
            assert self.files[f"sending/{claim.channel}/{claim.name}"] == content.body

    @rule()
    def crash(self) -> None:
        """All objects are forgotten; what lies in sending/ is found again, and nothing moves."""
        self._end()
        self._start()
        self.claims = list(self.intake.recover())
        assert [] == self._moves()
        found = sorted(f"sending/{claim.channel}/{claim.name}" for claim in self.claims)
        assert sorted(path for path in self.files if path.startswith("sending/")) == found

    # -- the operator ----------------------------------------------------------------------------------

    @precondition(lambda self: self.files)
    @rule(which=_index, state=st.sampled_from(["outgoing", "failed", "sent", "desk"]), channel=_channel)
    def move_by_hand(self, which: int, state: str, channel: str) -> None:
        """`mv -n`: from anywhere to anywhere, or out of the spool."""
        source = self._pick(which)
        target = self._target(source, state, channel)
        if target in self.files:
            return
        (self.root / target).parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.root / source, self.root / target)
        text = self.files.pop(source)
        if state != "desk":
            self.files[target] = text

    @precondition(lambda self: self.files)
    @rule(which=_index, channel=_channel, name=st.sampled_from(["", "again"]))
    def copy_by_hand(self, which: int, channel: str, name: str) -> None:
        """`cp -rn … outgoing/channel/`, under its own name or another."""
        source = self._pick(which)
        suffix = ready.BUNDLE if name and source.endswith(ready.BUNDLE) else ""
        self._copy(source, f"outgoing/{channel}/{name or os.path.basename(source)}{suffix}")

    @precondition(lambda self: self.claims)
    @rule(which=_index, state=st.sampled_from(["outgoing", "failed", "sent"]))
    def copy_to_where_it_may_go(self, which: int, state: str) -> None:
        """The place of an entry that is on its way is taken when it comes there."""
        claim = self.claims[which % len(self.claims)]
        source = f"sending/{claim.channel}/{claim.name}"
        if source in self.files:
            self._copy(source, self._target(source, state, claim.channel))

    def _copy(self, source: str, target: str) -> None:
        if target in self.files:
            return
        (self.root / target).parent.mkdir(parents=True, exist_ok=True)
        if (self.root / source).is_dir():
            shutil.copytree(self.root / source, self.root / target)
        else:
            shutil.copyfile(self.root / source, self.root / target)
        self.files[target] = self.files[source]

    @precondition(lambda self: self.files)
    @rule(which=_index)
    def remove_by_hand(self, which: int) -> None:
        """`rm -r`, for example in sending/ between two tries."""
        path = self.root / self._pick(which)
        del self.files[os.path.relpath(path, self.root)]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    @rule(channel=_channel, everything=st.booleans())
    def hold(self, channel: str, everything: bool) -> None:
        """`touch .hold`, a look, `rm .hold`."""
        path = self.root / "outgoing" / ("" if everything else channel) / HOLD
        path.touch()
        assert (None, []) == (self.intake.claim(channel), self._moves())
        path.unlink()

    # -- what always holds -----------------------------------------------------------------------------

    @invariant()
    def nothing_moves_by_itself(self) -> None:
        assert [] == self._moves()

    @rule()
    def look(self) -> None:
        """What there is to be known is known: in the journal, in the counts, by every ID."""
        self._look_into_the_journal()
        self._look_at_the_counts()
        self._look_for_every_id()

    def _look_into_the_journal(self) -> None:
        known = {(each, channel) for each in self.ids for channel in CHANNELS if self._is_sent(each, channel)}
        assert self.sent == known

    def _look_at_the_counts(self) -> None:
        counted = Census(self.spool).channels("2026-11-22")
        for state, field in (("outgoing", "waiting"), ("sending", "sending"), ("failed", "failed")):
            expected = Counter(path.split("/")[1] for path in self.files if path.startswith(f"{state}/"))
            assert expected == Counter({name: getattr(each, field) for name, each in counted.items()})

    def _look_for_every_id(self) -> None:
        names = {parsed[0] for path in self.files if (parsed := identity.parse(os.path.basename(path)))}
        for each in self.ids:
            entry = self.spool.find(each)
            assert (each in names) == (entry is not None)
            if entry:
                assert os.path.relpath(entry.path, self.root) in self.files

    def _is_sent(self, entry_id: str, channel: str) -> bool:
        return self.journal.history(entry_id, IDS[channel]).sent

    def _new(self, entry_id: str) -> None:
        assert entry_id not in self.ids
        self.ids.add(entry_id)

    def _pick(self, which: int) -> str:
        return sorted(self.files)[which % len(self.files)]

    def _target(self, source: str, state: str, channel: str) -> str:
        name = os.path.basename(source)
        if state == "desk":
            return f"../{self.root.name}-desk/{next(self.numbers)}"
        day = time.strftime("%Y-%m-%d", time.gmtime(clock()))
        return f"sent/{channel}/{day}/{name}" if state == "sent" else f"{state}/{channel}/{name}"

    def _names(self, state: str) -> list[str]:
        return [os.path.basename(path) for path in self.files if path.startswith(f"{state}/")]

    def _moves(self) -> list[Move]:
        """What has changed its place since the last look; nothing else may have changed."""
        now = self._on_disk()
        gone = {path: text for path, text in self.files.items() if path not in now}
        come = {path: text for path, text in now.items() if path not in self.files}
        assert Counter(gone.values()) == Counter(come.values())
        assert {path: self.files[path] for path in self.files.keys() & now.keys()} == {
            path: now[path] for path in self.files.keys() & now.keys()
        }
        self.files = now
        return [Move(source, self._next(come, text)) for source, text in sorted(gone.items())]

    def _next(self, come: dict[str, bytes], text: bytes) -> str:
        path = min(path for path in come if come[path] == text)
        del come[path]
        return path

    def _on_disk(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for state in STATES:
            for place, directories, names in os.walk(self.root / state):
                for name in [each for each in directories if each.endswith(ready.BUNDLE)]:
                    directories.remove(name)
                    found[self._path(place, name)] = (Path(place) / name / "body").read_bytes()
                for name in [each for each in names if each != HOLD and not each.endswith(WHY)]:
                    found[self._path(place, name)] = (Path(place) / name).read_bytes()
        return found

    def _path(self, place: str, name: str) -> str:
        return os.path.relpath(os.path.join(place, name), self.root)


def _live(base: Path, **limits: Any) -> None:
    roots = (base / str(number) for number in itertools.count())
    checks = [HealthCheck.filter_too_much, HealthCheck.too_slow]

    class Here(SpoolMachine):
        def __init__(self) -> None:
            super().__init__(next(roots))

    with patch.object(os, "fsync"):  # a power cut is others' subject
        run_state_machine_as_test(Here, settings=settings(**limits, suppress_health_check=checks))


def test_whatever_happens_in_a_spool(tmp_path: Path) -> None:
    """Some lives, the same in every run."""
    _live(tmp_path, max_examples=30, stateful_step_count=50)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_whatever_happens_in_many_spools(tmp_path: Path) -> None:
    """Many, and others in every run; a failure prints what to do to see it again."""
    _live(tmp_path, max_examples=1000, stateful_step_count=60, derandomize=False, print_blob=True)


def test_a_claim_that_is_recovered_is_durable(tmp_path: Path) -> None:
    """Killed at any call of the claim: what the next service finds in sending/ no power cut puts back."""
    recovered = 0
    for number in itertools.count(1):
        spool = Spool.create(tmp_path / f"{number}", clock=clock)
        spool.add_channel("general")
        (spool.root / "outgoing" / "general" / "note").write_text("hello")
        Intake(spool, clock=clock).claim("mayor-villa")
        with recorded(spool.root) as recording:
            try:
                with kill_at(number) as struck:
                    Intake(spool, clock=clock).claim("general")
            except Killed:
                pass
            claims = list(Intake(spool, clock=clock).recover())
        spool.close()
        if claims:
            recovered += 1
            assert [] == [state for state in recording.at_the_end() if "outgoing/general/note" in state]
        if not struck:
            break
    assert recovered > 2
