"""The memory that survives a crash: what was tried, and what came of it."""

from __future__ import annotations

import errno
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import atomic, identity, journal, journal_files
from spoolbridge.errors import ForgottenError, SpoolError
from spoolbridge.journal import POISON, History, Journal, PartHistory, fold
from spoolbridge.journal_files import Dated
from spoolbridge.outgoing import PLAIN, Form
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.powercut import recorded
from tests.support.tree import tree
from tests.support.waiting import wait_until

VILLA, VGT, GUILD = 1467106918538678293, 1467106918538678294, 1467106918538678200
DAY = 24 * 3600.0
START = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
FILES: list[list[Any]] = [["a.png", 10]]


def new_id(at: float = START, last: str = "00000000") -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{last}"


A, B, C = (new_id(START, last * 8) for last in "abc")


class Desk:
    """A journal in a directory, on a clock of its own, that can be closed and opened again."""

    def __init__(self, state: Path) -> None:
        self.path = state
        self.state = atomic.open_directory(state)
        self.clock = FakeClock(START)
        self.largest = journal.LARGEST
        self.journal = Journal(self.state, clock=self.clock)

    def close(self) -> None:
        self.journal.close()
        os.close(self.state)

    def restart(self) -> Journal:
        self.journal.close()
        self.journal = Journal(self.state, clock=self.clock, largest=self.largest)
        return self.journal

    def full(self, largest: int = 1) -> Journal:
        """As `restart`; from now on a file is full with that many bytes."""
        self.largest = largest
        return self.restart()

    def files(self) -> list[Dated]:
        return journal_files.dated(self.state)

    def tried(self, entry_id: str = A, part: int = 1, *, channel: int = VILLA, parts: int = 1) -> None:
        self.journal.tried(
            entry_id, channel, part, parts=parts, form=Form("(late)"), digest=f"digest {part}", files=FILES
        )

    def sent(self, entry_id: str = A, part: int = 1, *, channel: int = VILLA, message: int = 5) -> None:
        self.journal.sent(entry_id, channel, part, message, GUILD)

    def history(self, entry_id: str = A, channel: int = VILLA) -> History:
        return self.journal.history(entry_id, channel)

    def part(self, entry_id: str = A, part: int = 1, channel: int = VILLA) -> PartHistory:
        return self.history(entry_id, channel).part[part]

    def records(self, name: str = journal.FILE) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / name).read_text().splitlines()]


@contextmanager
def opened(state: Path) -> Iterator[Desk]:
    state.mkdir(exist_ok=True)
    made = Desk(state)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened(tmp_path / "state") as made:
        yield made


@dataclass
class Model:
    """One part, as a person would reckon it: the tries whose end is not sure, in order."""

    unsure: list[float] = field(default_factory=list)
    open: bool = False  # whether the last of them has heard nothing yet
    crashes: int = 0
    message: int | None = None

    def see(self, kind: str, at: float) -> None:
        if kind == "try":
            self.crashes += self.open
            self.unsure.append(at)
            self.open = True
            return
        if kind in ("sent", "read back"):
            self.unsure.clear()
        elif kind == "not-sent" and self.open:
            self.unsure.pop()
        if kind in ("sent", "unknown", "failed"):
            self.crashes = 0
        if kind == "sent":
            self.message = int(at)
        self.open = False


def record(kind: str, at: float, part: int) -> dict[str, Any]:
    """As it stands in the file."""
    common = {"at": at, "id": A, "channel": VILLA}
    if kind == "failed":
        return common | {"kind": kind, "reason": "no"}
    if kind == "read back":
        return common | {"kind": "not-sent", "part": part, "read_back": True}
    more: dict[str, dict[str, Any]] = {
        "try": {"parts": 2, "stamp": f"stamp {at}", "digest": f"digest {at}", "files": []},
        "sent": {"message": int(at), "guild": None},
    }
    return common | {"kind": kind, "part": part} | more.get(kind, {})


class TestFold:
    """Every sequence of records, held against the model."""

    @pytest.mark.parametrize(("length", "parts"), [(6, 1), (4, 2)])
    def test_exhaustively(self, length: int, parts: int) -> None:
        """What may be on Discord, since when, how often the process died, and whether all is sent."""
        kinds = [(kind, part) for kind in ("try", "sent", "unknown", "not-sent", "read back")
                 for part in range(1, parts + 1)] + [("failed", 0)]  # fmt: skip
        for sequence in product(kinds, repeat=length):
            history, models = History(), {part: Model() for part in range(1, parts + 1)}
            for at, (kind, part) in enumerate(sequence, 1):
                fold(history, record(kind, float(at), part))
                for number, model in models.items():
                    if part in (number, 0):
                        model.see(kind, at)
            self.check(history, models, sequence)

    def check(self, history: History, models: dict[int, Model], sequence: Any) -> None:
        for number, model in models.items():
            known = history.part.get(number, PartHistory())
            told = (
                known.unresolved,
                known.crashes,
                known.poisoned,
                known.message_id,
                known.pending is not None,
            )
            since = model.unsure[0] if model.unsure else None
            poisoned = model.crashes + model.open >= POISON
            assert (since, model.crashes, poisoned, model.message, model.open) == told, sequence
        tries = [at for at, (kind, _) in enumerate(sequence, 1) if kind == "try"]
        ends = [at for at, (kind, _) in enumerate(sequence, 1) if kind == "failed"]
        failed = bool(ends) and ends[-1] > max(tries, default=0)
        assert failed == bool(history.failed), sequence
        everything = [model.message is not None for model in models.values()]
        assert history.sent == (bool(tries) and history.parts == sum(everything)), sequence
        assert history.resolved == (history.sent or failed), sequence
        assert (f"stamp {tries[-1]:.1f}" if tries else "") == history.form.stamp, sequence

    def test_three_crashes_are_poison(self) -> None:
        """The one that the process died in just now counts."""
        history = History()
        for at in range(1, POISON + 1):
            assert not history.part.get(1, PartHistory()).poisoned
            fold(history, record("try", at, 1))
        assert history.part[1].poisoned

    def test_an_answer_between_is_no_crash(self) -> None:
        """A 5xx is an answer: only silence counts."""
        history = History()
        for at in range(1, 10):
            fold(history, record("try", at, 1))
            fold(history, record("unknown", at + 0.5, 1))
        assert (0, False, 1) == (
            history.part[1].crashes,
            history.part[1].poisoned,
            history.part[1].unresolved,
        )


class TestRecords:
    """What is written."""

    def test_a_try(self, desk: Desk) -> None:
        """Everything by which the message would be recognised."""
        desk.tried(part=2, parts=3)
        assert [
            {"at": START, "kind": "try", "id": A, "channel": VILLA, "part": 2, "parts": 3,
             "digest": "digest 2", "files": FILES, "stamp": "(late)"},
        ] == desk.records()  # fmt: skip
        expected = PartHistory(digest="digest 2", files=FILES, pending=START)
        assert History(parts=3, form=Form("(late)"), part={2: expected}) == desk.history()

    def test_all_kinds(self, desk: Desk) -> None:
        """One line each."""
        desk.tried()
        desk.journal.not_sent(A, VILLA, 1)
        desk.journal.unknown(A, VILLA, 1)
        desk.journal.not_sent(A, VILLA, 1, read_back=True)
        desk.journal.failed(A, VILLA, "no\nway")
        desk.sent(message=2**63 + 1)
        kinds = [(each["kind"], each.get("read_back")) for each in desk.records()]
        assert [("try", None), ("not-sent", False), ("unknown", None), ("not-sent", True), ("failed", None),
                ("sent", None)] == kinds  # fmt: skip
        assert (2**63 + 1, GUILD) == (desk.records()[-1]["message"], desk.records()[-1]["guild"])

    def test_names_of_any_kind(self, desk: Desk) -> None:
        """Bytes that are no UTF-8 stand in JSON as well, and a file's name breaks no line."""
        files: list[list[Any]] = [[os.fsdecode(b"\xff\n\x1b.png"), 1]]
        desk.journal.tried(A, VILLA, 1, parts=1, form=Form(), digest="d", files=files)
        desk.restart()
        assert files == desk.part().files

    def test_a_try_is_durable_when_it_returns(self, desk: Desk, tmp_path: Path) -> None:
        """And so are `sent` and `failed`; of the others a loss costs a look at the channel."""
        calls: list[tuple[Callable[[], object], bool]] = [
            (desk.tried, True),
            (desk.sent, True),
            (lambda: desk.journal.failed(A, VILLA, "no"), True),
            (lambda: desk.journal.unknown(A, VILLA, 1), False),
            (lambda: desk.journal.not_sent(A, VILLA, 1), False),
        ]
        for call, durable in calls:
            before = (desk.path / journal.FILE).read_bytes()
            with recorded(tmp_path) as done:
                call()
            found = {state["state/journal.jsonl"] == before for state in done.at_the_end()}
            assert ({False} if durable else {True, False}) == found

    @pytest.mark.parametrize("number", [1, 2])
    def test_a_try_that_cannot_be_written(self, number: int, desk: Desk) -> None:
        """Raises, so that nothing is posted, and is in no history: neither now nor after a restart."""
        desk.tried(B)
        before = (desk.path / journal.FILE).read_bytes()
        with fail_at(number), pytest.raises(OSError, match="No space left"):
            desk.tried(A)
        assert before == (desk.path / journal.FILE).read_bytes()
        assert History() == desk.history(A)
        desk.tried(A)
        desk.restart()
        assert desk.history(A).part[1].pending == START

    def test_a_short_line_is_cut_off(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before the next one would be glued to it."""
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:20]))
        with pytest.raises(OSError, match="only a part"):
            desk.tried(A)
        monkeypatch.undo()
        desk.tried(B)
        assert [B] == [each["id"] for each in desk.records()]

    def test_channels_do_not_mix(self, desk: Desk) -> None:
        """The key is the ID and the channel."""
        desk.tried(channel=VILLA)
        desk.sent(channel=VILLA)
        assert History() == desk.history(A, VGT)
        desk.tried(channel=VGT)
        assert (True, False) == (desk.history(A, VILLA).sent, desk.history(A, VGT).sent)

    def test_all_parts_are_sent(self, desk: Desk) -> None:
        """And not before."""
        for part in (1, 2):
            desk.tried(part=part, parts=2)
            assert not desk.history().sent
            desk.sent(part=part, message=part)
        assert desk.history().sent

    def test_posted_and_then_deleted(self, desk: Desk) -> None:
        """Message id 0 is an id: it was sent."""
        desk.tried()
        desk.sent(message=0)
        assert desk.history().sent

    def test_a_thread(self, desk: Desk) -> None:
        """Which one the entry goes to survives a restart and a rotation; a try that came to nothing counts
        no more."""
        desk.journal.making_thread(A, VILLA)
        desk.journal.making_thread(A, VILLA)
        assert (None, 2) == (desk.history().thread, desk.history().thread_tries)
        desk.journal.thread(A, VILLA, None)
        assert (None, 0) == (desk.history().thread, desk.history().thread_tries)
        desk.journal.thread(A, VILLA, VGT)
        for _ in range(2):
            desk.clock.now += DAY
            desk.tried(B)
            desk.restart()
            assert VGT == desk.history().thread

    def test_a_form_survives_a_rotation(self, desk: Desk) -> None:
        """Its parts must stay what they are."""
        form = Form("(late)", "> quoted", "-# not attached")
        desk.journal.tried(A, VILLA, 1, parts=2, form=form, digest="d", files=[])
        desk.sent(A)
        for _ in range(2):
            desk.clock.now += DAY
            desk.tried(B)
            desk.restart()
            assert form == desk.history().form

    def test_a_twin(self, desk: Desk) -> None:
        """Only another entry, only when it was sent, only for a day."""
        desk.journal.tried(A, VILLA, 1, parts=1, form=PLAIN, digest="d", files=[], key="k")
        assert None is desk.journal.twin("k", but=B)
        desk.sent(A)
        assert ((5, A), None, None) == (
            desk.journal.twin("k", but=B), desk.journal.twin("k", but=A), desk.journal.twin("other", but=B)
        )  # fmt: skip
        desk.restart()
        assert (5, A) == desk.journal.twin("k", but=B)
        desk.clock.now += journal.KEY_HOLDS - 1
        desk.tried(C)
        assert (5, A) == desk.restart().twin("k", but=B)
        desk.clock.now += 2
        assert None is desk.journal.twin("k", but=f"20261123T120001.000000Z-{'d' * 8}")
        assert (5, A) == desk.journal.twin("k", but=B)  # dropped together, and its turn came late

    def test_the_same(self, desk: Desk) -> None:
        """It counts as sent, tells the other's message, and does not own it."""
        desk.journal.same(B, VILLA, 5, A)
        assert desk.history(B).sent
        assert (5,) == journal.lookup(desk.state, B)["message_ids"]
        assert None is desk.journal.owner(5, since=START)

    def test_from_many_threads(self, desk: Desk) -> None:
        """Whole lines, every one of them, over a change of day."""

        def work(last: str) -> None:
            for number in range(20):
                desk.tried(new_id(START, last * 8), number + 1, parts=20)
                if number == 10:
                    desk.clock.now = START + DAY

        threads = [threading.Thread(target=work, args=(last,)) for last in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        desk.restart()
        for last in "abcd":
            assert 20 == len(desk.history(new_id(START, last * 8)).part)


class Crowd:
    """Threads that append at once: the first keeps the disk busy until all others wait for it."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk = desk
        self.busy, self.go_on = threading.Event(), threading.Event()
        #: What one write held, in lines, each of which is followed by one sync.
        self.writes: list[int] = []
        #: What the next but one write is refused with.
        self.refused: OSError | None = None
        self._real = atomic.append
        monkeypatch.setattr(atomic, "append", self._append)

    def _append(self, fd: int, data: bytes, *, durable: bool = True) -> None:
        self.writes.append(data.count(b"\n"))
        if len(self.writes) == 1:
            self.busy.set()
            assert self.go_on.wait(10)
        elif self.refused:
            raise self.refused
        self._real(fd, data, durable=durable)

    def all_at_once(self, calls: list[Callable[[], None]]) -> list[OSError | None]:
        """What each call behind the first one raised."""
        with ThreadPoolExecutor(len(calls)) as threads:
            first = threads.submit(calls[0])
            assert self.busy.wait(10)
            others = [threads.submit(call) for call in calls[1:]]
            wait_until(lambda: len(self.desk.journal._queue) == len(others))
            self.go_on.set()
            first.result()
            errors = [other.exception() for other in others]
        assert all(error is None or isinstance(error, OSError) for error in errors)
        return [error if isinstance(error, OSError) else None for error in errors]


class TestTogether:
    """What several channels append at the same time."""

    IDS = tuple(new_id(START, f"{number:08}") for number in range(9))

    def test_what_waits_is_written_and_synced_together(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without it twenty channels would stand in line for twenty syncs of one file."""
        crowd = Crowd(desk, monkeypatch)
        with recorded(desk.path) as recording:
            assert [None] * 8 == crowd.all_at_once([partial(desk.tried, each) for each in self.IDS])
        assert [1, 8] == crowd.writes
        assert 2 == sum(call.kind == "sync" for call in recording.calls)
        assert sorted(self.IDS) == sorted(record["id"] for record in desk.records())
        for each in self.IDS:
            assert START == desk.part(each).pending

    def test_what_is_known_is_at_hand_while_the_disk_is_busy(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The event loop asks, and would stand still for as long as a sync takes."""
        desk.sent(B)
        crowd = Crowd(desk, monkeypatch)
        with ThreadPoolExecutor(1) as threads:
            writing = threads.submit(desk.tried)
            assert crowd.busy.wait(10)
            known, none_yet = (desk.journal.at_hand(each, VILLA) for each in (B, A))
            crowd.go_on.set()
            writing.result()
        assert known is not None and 5 == known.part[1].message_id
        assert History() == none_yet
        assert desk.history() == desk.journal.at_hand(A, VILLA)

    def test_what_older_files_may_tell_is_not_at_hand(self, desk: Desk) -> None:
        """An entry that was sent yesterday would look like a new one, and be posted again."""
        desk.tried()
        desk.sent()
        desk.clock.now += DAY
        desk.tried(new_id(desk.clock.now))
        for _ in range(2):
            assert desk.journal.at_hand(A, VILLA) is None
            assert desk.history().sent
            assert desk.history() == desk.journal.at_hand(A, VILLA)
            desk.restart()

    def test_what_no_older_file_mentions_is_at_hand(self, desk: Desk) -> None:
        """Of a long backlog every entry is older than the file, and each would wait for a thread. What the
        files mention is known from the first look on; what is tried then is no longer new."""
        first, second, mentioned = (new_id(START + 0.5, f"{number:08}") for number in range(3))
        desk.tried(mentioned)
        desk.sent(mentioned)
        desk.full()
        desk.clock.advance(1)
        while not desk.files():
            desk.tried(B)
        assert desk.journal.at_hand(first, VILLA) is None
        assert History() == desk.history(first)
        assert History() == desk.journal.at_hand(second, VILLA)
        assert desk.journal.at_hand(mentioned, VILLA) is None
        desk.tried(second)
        assert desk.history(second) == desk.journal.at_hand(second, VILLA)
        assert desk.history(second).part

    def test_what_a_removed_file_may_have_mentioned_is_not_at_hand(self, desk: Desk) -> None:
        """It may have been sent: that nobody can tell is found out by looking."""
        desk.tried(B)
        desk.clock.now += DAY
        desk.tried(new_id(desk.clock.now))
        for file in desk.files():
            desk.journal.forget(file)
        for _ in range(2):
            assert desk.journal.at_hand(A, VILLA) is None
            with pytest.raises(ForgottenError):
                desk.history()

    def test_calls_are_made_together(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """One write and one sync for all; what one of them raises costs the others nothing."""
        writes: list[int] = []
        real = atomic.append

        def append(fd: int, data: bytes, *, durable: bool = True) -> None:
            writes.append(data.count(b"\n"))
            real(fd, data, durable=durable)

        def taken_away() -> None:
            desk.tried(self.IDS[5])
            raise FileNotFoundError

        monkeypatch.setattr(atomic, "append", append)
        calls = partial(desk.tried, self.IDS[0]), taken_away, partial(desk.sent, self.IDS[1])
        errors = desk.journal.together(calls)
        assert [None, FileNotFoundError, None] == [error and type(error) for error in errors]
        assert [2] == writes
        assert [*self.IDS[:2]] == [record["id"] for record in desk.records()]
        assert 5 == desk.part(self.IDS[1]).message_id

    def test_a_failure_is_told_to_every_call(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who was not told would post without its `try`. Afterwards there is room again."""

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as full:
            full.setattr(atomic, "append", refuse)
            errors = desk.journal.together([partial(desk.tried, each) for each in self.IDS[:2]])
        assert [errno.ENOSPC] * 2 == [error.errno for error in errors if isinstance(error, OSError)]
        assert [] == desk.records()
        assert [None] == desk.journal.together([desk.tried])
        assert [A] == [record["id"] for record in desk.records()]

    def test_no_calls(self, desk: Desk) -> None:
        """Write nothing."""
        assert [] == desk.journal.together([])
        assert [] == desk.records()

    def test_a_failure_is_told_to_everybody_whose_record_was_in_it(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who was not told would post without its `try`."""
        crowd = Crowd(desk, monkeypatch)
        crowd.refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        errors = crowd.all_at_once([partial(desk.tried, each) for each in self.IDS])
        assert [errno.ENOSPC] * 8 == [error and error.errno for error in errors]
        assert [self.IDS[0]] == [record["id"] for record in desk.records()]
        assert [False] * 8 == [bool(desk.history(each).part) for each in self.IDS[1:]]

    def test_one_that_need_not_be_durable_is_so_in_company(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The one that has to be durable would not be, were the batch judged by its first."""
        desk.tried(B)
        crowd = Crowd(desk, monkeypatch)
        with recorded(desk.path) as recording:
            crowd.all_at_once([
                partial(desk.journal.not_sent, B, VILLA, 1),
                partial(desk.journal.not_sent, C, VILLA, 1),
                desk.tried,
            ])  # fmt: skip
        assert [1, 2] == crowd.writes
        assert 1 == sum(call.kind == "sync" for call in recording.calls)

    def test_those_that_wait_over_midnight_go_to_one_file(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was queued before midnight and is written after it is neither lost nor told twice."""
        crowd = Crowd(desk, monkeypatch)

        def tomorrow() -> None:
            desk.clock.now += DAY
            desk.tried(C)

        crowd.all_at_once([desk.tried, partial(desk.tried, B), tomorrow])
        assert [A] == [record["id"] for record in desk.records(desk.files()[0].name)]
        assert {B, C} == {record["id"] for record in desk.records()[1:]}
        desk.restart()
        assert [1, 1, 1] == [len(desk.history(each).part) for each in (A, B, C)]


class TestOwner:
    """Which entry a message on Discord is known to be."""

    def test_known(self, desk: Desk) -> None:
        """By the message's id; nobody's is None."""
        desk.tried()
        desk.sent(message=7)
        assert A == desk.journal.owner(7, since=START)
        assert desk.journal.owner(8, since=START) is None

    @pytest.mark.parametrize("restart", [False, True])
    def test_from_an_older_file(self, restart: bool, desk: Desk) -> None:
        """A read-back that begins before midnight must not take yesterday's message for today's."""
        desk.tried()
        desk.sent(message=7)
        desk.clock.advance(DAY)
        desk.tried(B)
        if restart:
            desk.restart()
        assert A == desk.journal.owner(7, since=START)
        assert desk.journal.owner(8, since=START) is None


class TestRestart:
    """The same journal, opened again."""

    def test_everything_is_known(self, desk: Desk) -> None:
        """As it was."""
        desk.tried(A, 1, parts=2)
        desk.sent(A, 1)
        desk.tried(A, 2, parts=2)
        desk.tried(B)
        desk.journal.failed(B, VILLA, "no")
        before = [desk.history(A), desk.history(B)]
        desk.restart()
        assert before == [desk.history(A), desk.history(B)]
        assert b"" == desk.journal.torn

    @pytest.mark.parametrize("tail", [b'{"at":1,"kind":"se', b"\0" * 100, b"x"])
    def test_a_torn_tail(self, tail: bytes, desk: Desk) -> None:
        """Is kept aside and cut; what stands before it is known, and what comes after it is whole."""
        desk.tried()
        with open(desk.path / journal.FILE, "ab") as file:
            file.write(tail)
        desk.restart()
        assert tail == desk.journal.torn == (desk.path / "journal.jsonl.torn").read_bytes()
        desk.sent()
        desk.restart()
        assert desk.history().sent

    @pytest.mark.parametrize(
        "line", [b"\0\0\0\n", b"\n", b"null\n", b"[]\n", b"{}\n", b'"x"\n', b"\xff\n", b"{\n"]
    )
    def test_a_line_that_is_none(self, line: bytes, desk: Desk) -> None:
        """Is passed over; nobody's memory ends there."""
        desk.tried()
        with open(desk.path / journal.FILE, "ab") as file:
            file.write(line)
        desk.sent()
        desk.restart()
        assert desk.history().sent

    def test_a_link_in_its_place(self, desk: Desk, tmp_path: Path) -> None:
        """Is not followed."""
        (tmp_path / "victim").write_bytes(b"{}\n")
        (desk.path / journal.FILE).unlink()
        (desk.path / journal.FILE).symlink_to(tmp_path / "victim")
        with pytest.raises(OSError, match="symbolic links"):
            Journal(desk.state)


class TestRotation:
    """A file a day."""

    def test_it_opens_with_what_is_unresolved(self, desk: Desk) -> None:
        """And only that; the old file keeps all."""
        desk.tried(A)
        desk.sent(A)
        desk.tried(B)
        desk.journal.failed(B, VILLA, "no")
        desk.tried(C)
        desk.clock.advance(DAY)
        desk.tried(new_id(START + DAY))
        assert ["journal-2026-11-22.jsonl", "journal.jsonl"] == tree(desk.path)["."]
        checkpoint, then = desk.records()
        assert ("checkpoint", [C]) == (checkpoint["kind"], [each["id"] for each in checkpoint["unresolved"]])
        assert "try" == then["kind"]
        assert [A, A, B, B, C] == [each["id"] for each in desk.records("journal-2026-11-22.jsonl")]

    @pytest.mark.parametrize("restart", [False, True])
    def test_nothing_is_forgotten(self, restart: bool, desk: Desk) -> None:
        """Sent, failed with a part that may be on Discord, and in the middle of it: a week later."""
        desk.tried(A, 1, parts=2)
        desk.sent(A, 1)
        desk.tried(A, 2, parts=2)
        desk.sent(A, 2)
        desk.tried(B)
        desk.journal.failed(B, VILLA, "delivery unknown")
        desk.tried(C, 1, parts=2)
        desk.sent(C, 1)
        desk.tried(C, 2, parts=2)
        before = [desk.history(each) for each in (A, B, C)]
        for _ in range(7):
            desk.clock.advance(DAY)
            desk.tried(new_id(desk.clock.now))
        if restart:
            desk.restart()
        assert before == [desk.history(each) for each in (A, B, C)]

    def test_a_retry_of_yesterdays_failure_survives_a_restart(self, desk: Desk) -> None:
        """Part 1 was sent, part 2 failed; the next day it is tried again, and the process dies in it: the
        new file knows of part 2 only, and part 1 must not be posted twice."""
        desk.tried(A, 1, parts=2)
        desk.sent(A, 1)
        desk.tried(A, 2, parts=2)
        desk.journal.failed(A, VILLA, "no")
        desk.clock.advance(DAY)
        desk.tried(A, 2, parts=2)
        before = desk.history(A)
        desk.restart()
        assert 5 == desk.part(A, 1).message_id
        assert before == desk.history(A)

    def test_and_a_second_rotation(self, desk: Desk) -> None:
        """Which happens before anybody has asked for that entry again."""
        desk.tried(A, 1, parts=2)
        desk.sent(A, 1)
        desk.tried(A, 2, parts=2)
        desk.journal.failed(A, VILLA, "no")
        desk.clock.advance(DAY)
        desk.tried(A, 2, parts=2)
        before = desk.history(A)
        desk.restart()
        desk.clock.advance(DAY)
        desk.tried(B)
        desk.restart()
        assert before == desk.history(A)

    def test_between_its_two_renames(self, desk: Desk) -> None:
        """The next start finishes it: the file opens with the checkpoint, as ever."""
        expected = self.day(desk)
        desk.tried(C)
        (desk.path / journal.FILE).rename(desk.path / "journal.next")
        desk.restart()
        assert "checkpoint" == desk.records()[0]["kind"]
        assert [*expected, 1] == [desk.history(A), desk.history(B), desk.history(C).parts]

    def test_old_files_may_be_removed(self, desk: Desk) -> None:
        """`prune` does: what is unresolved is whole in the checkpoint, whatever has been added since."""
        desk.tried(A, 1, parts=2)
        desk.sent(A, 1)
        desk.tried(A, 2, parts=2)
        desk.clock.advance(DAY)
        desk.journal.unknown(A, VILLA, 2)
        before = desk.history(A)
        (desk.path / "journal-2026-11-22.jsonl").unlink()
        desk.restart()
        assert before == desk.history(A)

    def test_descriptors_are_given_back(self, tmp_path: Path) -> None:
        """One a journal, however many days it runs; none behind it."""
        before = sorted(os.listdir("/proc/self/fd"))
        with opened(tmp_path / "state") as desk:
            during = len(os.listdir("/proc/self/fd"))
            for _ in range(3):
                desk.clock.advance(DAY)
                desk.tried(new_id(desk.clock.now))
            assert during == len(os.listdir("/proc/self/fd"))
        assert before == sorted(os.listdir("/proc/self/fd"))

    @pytest.mark.parametrize("days", [1, 40])
    def test_an_id_from_a_clock_that_was_ahead(self, days: int, desk: Desk) -> None:
        """It was sent before the time that it names; when it comes back it is not sent again."""
        ahead = new_id(START + days * DAY)
        desk.tried(ahead)
        desk.sent(ahead)
        for _ in range(3):
            desk.clock.advance(DAY)
            desk.tried(new_id(desk.clock.now, "11111111"))
        desk.restart()
        assert desk.history(ahead).sent

    def test_an_id_of_long_ago(self, desk: Desk) -> None:
        """An operator's retry of an entry that no file knows any more."""
        assert History() == desk.history(new_id(0.0))
        assert History() == desk.history(new_id(86400.0))

    def test_a_clock_that_was_set_back(self, desk: Desk) -> None:
        """Keeps to its file; no file is ever replaced, and nothing is forgotten."""
        desk.tried(A)
        desk.sent(A)
        desk.clock.advance(DAY)
        desk.tried(B)
        desk.clock.advance(-DAY)
        desk.restart()
        desk.tried(C)
        desk.clock.advance(DAY)
        desk.tried(new_id(desk.clock.now))
        desk.restart()
        assert desk.history(A).sent
        assert (1, 1) == (len(desk.history(B).part), len(desk.history(C).part))
        assert [A, A] == [each["id"] for each in desk.records("journal-2026-11-22.jsonl")]

    @pytest.mark.parametrize("full", [False, True])
    def test_every_system_call_failing(self, full: bool, tmp_path: Path) -> None:
        """The disk refuses once in the middle of it: the try is refused, the next works, all is known."""
        for number in count(1):
            with opened(tmp_path / f"{number}") as desk:
                expected = self.begun(desk, full)
                with fail_at(number) as struck:
                    try:
                        desk.tried(C)
                    except OSError as error:
                        assert errno.ENOSPC == error.errno
                if struck:
                    desk.journal.history(C, VILLA)
                    desk.tried(C)
                desk.tried(new_id(START + DAY))
                for again in (False, True):
                    if again:
                        desk.restart()
                    assert expected == [desk.history(A), desk.history(B)], number
                    assert 1 == desk.history(C).parts, number
                    assert 1 == desk.history(new_id(START + DAY)).parts, number
            if not struck:
                break
        assert number > 8

    def test_it_never_writes_into_a_descriptor_that_it_closed(
        self, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No descriptor is to be had for the new file (EMFILE): the number of the old one may be another
        file's by the next try, which would then get our lines."""
        self.day(desk)
        real: Callable[..., int] = os.open
        left = [1]

        def scarce(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
            if path == journal.FILE and left:
                left.pop()
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(path, flags, *arguments, **keywords)

        monkeypatch.setattr(os, "open", scarce)
        with pytest.raises(OSError, match="Too many open files"):
            desk.tried(C)
        with open(tmp_path / "other", "w+b") as other:
            desk.tried(C)
            assert b"" == other.read()
        desk.restart()
        assert 1 == desk.history(C).parts

    @pytest.mark.parametrize("full", [False, True])
    def test_every_crash(self, full: bool, tmp_path: Path) -> None:
        """Between any two of its system calls: the next start knows all that was known."""
        for number in count(1):
            with opened(tmp_path / f"{number}") as desk:
                expected = self.begun(desk, full)
                with kill_at(number) as struck, suppress(Killed):
                    desk.tried(C)
                desk.restart()
                assert expected == [desk.history(A), desk.history(B)], number
                desk.tried(C)
                desk.restart()
                assert expected == [desk.history(A), desk.history(B)], number
                assert 1 == desk.history(C).parts
            if not struck:
                break
        assert number > 8

    @pytest.mark.parametrize("full", [False, True])
    def test_every_power_cut(self, full: bool, tmp_path: Path) -> None:
        """Behind any of them, with whatever the disk may hold then."""
        with opened(tmp_path / "state") as desk:
            expected = self.begun(desk, full)
            with recorded(tmp_path / "state") as calls:
                desk.tried(C)
        states = {
            (
                returned == len(calls.calls),
                tuple(sorted((name, data) for name, data in state.items() if name)),
            )
            for returned, state in calls.after_a_cut()
        }
        assert len(states) > 5
        for number, (finished, state) in enumerate(states):
            place = tmp_path / f"{number}"
            place.mkdir()
            for name, data in state:
                (place / name).write_bytes(data or b"")
            with opened(place) as desk:
                desk.clock.now = START + DAY
                desk.restart()
                assert expected == [desk.history(A), desk.history(B)], state
                assert 1 == desk.history(C).parts or not finished, state

    @pytest.mark.parametrize("number", range(1, 12))
    def test_what_is_noted_while_it_is_half_done(self, number: int, desk: Desk) -> None:
        """The disk refuses in the middle of it, and what is told next is that B was sent: written behind the
        checkpoint that says the contrary, it would be forgotten by the next start."""
        self.begun(desk, True)
        with fail_at(number), suppress(OSError):
            desk.tried(C)
        desk.sent(B, message=8)
        assert desk.restart().history(B, VILLA).sent

    def begun(self, desk: Desk, full: bool) -> list[History]:
        """A file with one message sent and one in the middle of it, which the next try ends: for it is full,
        or for it is midnight."""
        if not full:
            return self.day(desk)
        desk.tried(A)
        desk.sent(A)
        desk.tried(B)
        desk.full()
        return [desk.history(A), desk.history(B)]

    def day(self, desk: Desk) -> list[History]:
        """A day with one message sent and one in the middle of it; then midnight."""
        desk.tried(A)
        desk.sent(A)
        desk.tried(B)
        desk.clock.advance(DAY)
        return [desk.history(A), desk.history(B)]


_STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["try", "sent", "unknown", "not-sent", "read back", "failed"]),
        st.sampled_from([A, B]),
        st.integers(1, 2),
    ),
    st.sampled_from([("restart", "", 0), ("midnight", "", 0), ("full", "", 0), ("compress", "", 0)]),
)


@given(st.lists(_STEPS, max_size=25))
def test_restarts_and_rotations_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    """Whatever happens, in whatever order: what is known is what was written, folded."""
    expected = {A: History(), B: History()}
    with opened(tmp_path_factory.mktemp("state")) as desk:
        for number, (kind, entry_id, part) in enumerate(steps):
            desk.clock.now += 1
            if kind == "restart":
                desk.restart()
            elif kind == "full":
                desk.full(number % 2 * 300)
            elif kind == "compress":
                for file in desk.files():
                    desk.journal.compress(file)
            elif kind == "midnight":
                desk.clock.now += DAY
            else:
                line = record(kind, desk.clock.now, part) | {"id": entry_id}
                fold(expected[entry_id], line)
                if kind == "try":
                    desk.journal.tried(
                        entry_id, VILLA, part, parts=2, form=Form(line["stamp"]), digest=line["digest"],
                        files=[],
                    )
                elif kind == "sent":
                    desk.journal.sent(entry_id, VILLA, part, line["message"], None)
                elif kind == "failed":
                    desk.journal.failed(entry_id, VILLA, "no")
                elif kind == "unknown":
                    desk.journal.unknown(entry_id, VILLA, part)
                else:
                    desk.journal.not_sent(entry_id, VILLA, part, read_back=kind == "read back")
            if number % 3 == 0:
                assert expected[A] == desk.history(A)
        desk.restart()
        assert expected == {each: desk.history(each) for each in (A, B)}


class TestFullFiles:
    """A file that is large is read by no start."""

    def fill(self, desk: Desk, messages: int = 6) -> list[str]:
        """One message a file; their IDs."""
        desk.full()
        ids = [new_id(START + number, f"{number:08}") for number in range(messages)]
        for number, each in enumerate(ids):
            desk.tried(each)
            desk.sent(each, message=100 + number)
        return ids

    def test_their_names(self, desk: Desk) -> None:
        """In the order in which they were written, also behind the tenth of a day."""
        self.fill(desk, 12)
        names = ["journal-2026-11-22.jsonl", *(f"journal-2026-11-22.{n}.jsonl" for n in range(2, 12))]
        assert names == [each.name for each in desk.files()]
        desk.clock.advance(DAY)
        desk.tried(A)
        desk.clock.advance(DAY)
        desk.tried(B)
        assert ["journal-2026-11-22.12.jsonl", "journal-2026-11-23.jsonl"] == [
            each.name for each in desk.files()[-2:]
        ]

    @pytest.mark.parametrize("restart", [False, True])
    def test_nothing_is_forgotten(self, restart: bool, desk: Desk) -> None:
        """What was sent in whichever of them; whose a message is; and not a word of what never was."""
        ids = self.fill(desk)
        if restart:
            desk.restart()
        assert [True] * len(ids) == [desk.history(each).sent for each in ids]
        assert ids == [desk.journal.owner(100 + n, since=START) for n in range(len(ids))]
        assert (None, History()) == (desk.journal.owner(99, since=START), desk.history(A))
        assert (100,) == journal.lookup(desk.state, ids[0])["message_ids"]

    def test_a_clock_that_was_set_back(self, desk: Desk) -> None:
        """A try of yesterday's date that was written later stands behind: else what was sent would look as if
        it had been tried again."""
        desk.clock.advance(DAY)
        desk.full()
        desk.tried(A)
        desk.tried(B)
        desk.clock.advance(-DAY)
        desk.sent(A)
        desk.tried(C)
        desk.tried(C)
        assert [Dated("2026-11-23"), Dated("2026-11-23", 2)] == desk.files()
        assert desk.restart().history(A, VILLA).sent

    def test_only_a_try_begins_one(self, desk: Desk) -> None:
        """What a post came to must be written whatever else the disk refuses."""
        desk.tried(A)
        desk.full()
        desk.sent(A)
        desk.journal.failed(A, VILLA, "no")
        assert [] == desk.files()

    def test_much_that_is_unresolved(self, desk: Desk) -> None:
        """A checkpoint that is larger than a file may be does not make each try begin another."""
        for number in range(50):
            desk.tried(new_id(START + number))
        desk.full()
        for number in range(50, 60):
            desk.tried(new_id(START + number))
        assert 2 > len(desk.files())

    @pytest.mark.parametrize("what", ["id", "key"])
    def test_what_is_nowhere_costs_no_reading(
        self, what: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a backlog every entry is older than the file; each file is looked through once, for all of
        them."""
        self.fill(desk, 20)
        desk.clock.advance(10)

        def ask(number: int) -> None:
            other = new_id(START + 0.5, f"{number:08}")
            if what == "id":
                assert History() == desk.history(other)
            else:
                assert None is desk.journal.twin(f"key {number}", but=other)

        ask(1)
        read: list[str] = []
        real = journal_files._plain

        def noted(at: int, name: str) -> Any:
            read.append(name)
            return real(at, name)

        monkeypatch.setattr(journal_files, "_plain", noted)
        for number in range(2, 50):
            ask(number)
        assert [] == read

    def test_a_twin_in_an_older_file(self, desk: Desk) -> None:
        """A Dedupe-Key counts a day, however often the file has changed."""
        desk.journal.tried(A, VILLA, 1, parts=1, form=PLAIN, digest="d", files=[], key="k")
        desk.sent(A)
        self.fill(desk)
        assert (5, A) == desk.journal.twin("k", but=B)
        assert (5, A) == desk.restart().twin("k", but=B)


class TestCompressed:
    """The same files, smaller."""

    def test_every_byte_is_there(self, desk: Desk) -> None:
        """For `zcat` as well, and for every question."""
        ids = TestFullFiles().fill(desk, 3)
        before = {each.name: (desk.path / each.name).read_bytes() for each in desk.files()}
        for each in desk.files():
            desk.journal.compress(each)
        assert {f"{name}.gz" for name in before} | {journal.FILE} == set(os.listdir(desk.path))
        assert before == {name: gzip.decompress((desk.path / f"{name}.gz").read_bytes()) for name in before}
        for again in (False, True):
            if again:
                desk.restart()
            assert [True] * 3 == [desk.history(each).sent for each in ids]
            assert (100,) == journal.lookup(desk.state, ids[0])["message_ids"]

    def test_it_is_smaller(self, desk: Desk) -> None:
        """A fifth, and it says how much that is; a second time there is nothing to do."""
        desk.full(100_000)
        for number in range(1000):
            desk.tried(new_id(START + number, f"{number:08}"))
        [file, *_] = desk.files()
        size = (desk.path / file.name).stat().st_size
        spared = desk.journal.compress(file)
        assert size - spared == (desk.path / f"{file.name}.gz").stat().st_size < size / 5
        assert 0 == desk.journal.compress(file)

    def test_every_crash(self, tmp_path: Path) -> None:
        """Of a kill between any two calls nothing is lost, and nothing is there twice."""
        for number in count(1):
            with opened(tmp_path / f"{number}") as desk:
                ids = TestFullFiles().fill(desk, 3)
                before = journal_files.records(desk.state, "")
                with kill_at(number) as struck, suppress(Killed):
                    desk.journal.compress(desk.files()[0])
                assert before == journal_files.records(desk.state, "")
                desk.restart()
                desk.journal.compress(desk.files()[0])
                assert before == journal_files.records(desk.state, "")
                assert [True] * 3 == [desk.history(each).sent for each in ids]
                assert not (desk.path / desk.files()[0].name).exists()
            if not struck:
                break
        assert number > 5

    def test_every_power_cut(self, tmp_path: Path) -> None:
        """Under one name or the other, each file is whole."""
        with opened(tmp_path / "state") as desk:
            TestFullFiles().fill(desk, 2)
            before = journal_files.records(desk.state, "")
            with recorded(tmp_path / "state") as calls:
                desk.journal.compress(desk.files()[0])
        for number, (_, state) in enumerate(calls.after_a_cut()):
            place = tmp_path / f"{number}"
            place.mkdir()
            for name, data in state.items():
                if name:
                    (place / name).write_bytes(data or b"")
            with atomic.directory(place) as at:
                assert before == journal_files.records(at, "")

    def test_damaged(self, desk: Desk) -> None:
        """It says so: what cannot be read must not look as if nothing had been sent."""
        ids = TestFullFiles().fill(desk, 3)
        first = desk.files()[0]
        desk.journal.compress(first)
        packed = desk.path / f"{first.name}.gz"
        packed.write_bytes(packed.read_bytes()[:-20])
        with pytest.raises(SpoolError, match="is damaged"):
            desk.restart().history(ids[0], VILLA)


class TestForgotten:
    """Files that were removed: what they told is not made up."""

    def old(self, desk: Desk) -> None:
        """A sent, B failed after its first part, C in the middle of it, each in a file that goes."""
        desk.tried(A)
        desk.sent(A)
        desk.tried(B, 1, parts=2)
        desk.sent(B, 1)
        desk.journal.failed(B, VILLA, "no")
        desk.tried(C)
        desk.clock.advance(3 * DAY)
        desk.tried(new_id(desk.clock.now))
        [file] = desk.files()
        desk.journal.forget(file)

    @pytest.mark.parametrize("restart", [False, True])
    def test_what_cannot_be_told(self, restart: bool, desk: Desk) -> None:
        """Whether it was sent or failed or never tried: an ID of that time is not to be posted."""
        self.old(desk)
        if restart:
            desk.restart()
        for each in (A, B, new_id(START, "99999999")):
            with pytest.raises(ForgottenError, match="too old to tell whether it was sent; drop it under a"):
                desk.history(each)
        assert History() == desk.history(new_id(START + 5 * DAY))

    @pytest.mark.parametrize("days", [0, 1, 40])
    def test_what_is_unresolved_is_never_forgotten(self, days: int, desk: Desk) -> None:
        """The checkpoint has it whole, in whichever file that is by now; when it ends, that is known too."""
        self.old(desk)
        for number in range(days):
            desk.clock.advance(DAY)
            desk.tried(new_id(desk.clock.now, f"{number:08}"))
            desk.restart()
        assert START == desk.part(C).pending
        desk.sent(C)
        for number in range(3):
            desk.clock.advance(DAY)
            desk.tried(new_id(desk.clock.now, f"{number:08}"))
        assert desk.restart().history(C, VILLA).sent

    def test_what_was_sent_since(self, desk: Desk) -> None:
        """An old entry of which a file that is left tells that all was sent."""
        self.old(desk)
        desk.journal.same(A, VILLA, 5, B)
        desk.clock.advance(DAY)
        desk.tried(new_id(desk.clock.now))
        assert desk.restart().history(A, VILLA).sent

    def test_the_first_file_tells_everything(self, desk: Desk) -> None:
        """Nothing was removed: an ID from before the first start was never sent, and may be."""
        assert History() == desk.history(new_id(START - 400 * DAY))
        desk.tried(A)
        desk.clock.advance(DAY)
        desk.tried(B)
        assert History() == desk.restart().history(new_id(START - 400 * DAY), VILLA)

    def test_every_crash(self, tmp_path: Path) -> None:
        """Of a kill between any two calls an old ID is sent, or too old to tell; never unknown."""
        for number in count(1):
            with opened(tmp_path / f"{number}") as desk:
                ids = TestFullFiles().fill(desk, 4)
                desk.clock.advance(3 * DAY)
                with kill_at(number) as struck, suppress(Killed):
                    for each in desk.files()[:2]:
                        desk.journal.forget(each)
                desk.restart()
                left = len(desk.files())
                for place, entry_id in enumerate(ids):
                    with suppress(ForgottenError):
                        assert desk.history(entry_id).sent
                        assert place >= len(ids) - left - 1
            if not struck:
                break
        assert number > 3


class TestReaders:
    """Who only looks."""

    def test_lookup(self, desk: Desk) -> None:
        """Where an entry was posted, by part, for who dropped it."""
        desk.tried(A, 2, parts=2)
        desk.sent(A, 2, message=8)
        desk.sent(A, 1, message=7)
        desk.sent(B, 1, message=9)
        expected = {"channel_id": VILLA, "guild_id": GUILD, "message_ids": (7, 8)}
        assert expected == journal.lookup(desk.state, A)

    def test_lookup_over_midnight(self, desk: Desk) -> None:
        """Part 1 yesterday, part 2 today."""
        desk.sent(A, 1, message=7)
        desk.clock.advance(DAY)
        desk.sent(A, 2, message=8)
        assert (7, 8) == journal.lookup(desk.state, A)["message_ids"]

    def test_lookup_of_nothing(self, desk: Desk) -> None:
        """Tried, not sent; and where there is no journal at all."""
        desk.tried(A)
        assert {} == journal.lookup(desk.state, A)
        assert {} == journal.lookup(desk.state, C)
        (desk.path / journal.FILE).unlink()
        assert {} == journal.lookup(desk.state, A)

    def test_read_only_what_is_wanted(self, desk: Desk) -> None:
        """Lines without these characters are not even decoded."""
        desk.tried(A)
        desk.tried(B)
        assert [A] == [each["id"] for each in journal.read(desk.state, having=A)]
        assert [] == list(journal.read(desk.state, "journal-1999-01-01.jsonl"))

    def test_a_follower_sees_whole_lines(self, desk: Desk) -> None:
        """While the service writes."""
        for number in range(50):
            desk.tried(new_id(START + number))
            assert number + 1 == len(list(journal.read(desk.state)))


def test_ids_are_what_identity_makes() -> None:
    """The names used here are IDs."""
    assert START == identity.time_of(A)
