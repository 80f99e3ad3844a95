"""Questions and answers as files: asked whole or not at all, decided once, and whatever else lies there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import asks, outgoing, sending
from spoolbridge.asks import ANSWERED, FAILED, GRACE, KEPT, TIMED_OUT, Answer
from spoolbridge.channels import Channel, Registry
from spoolbridge.choices import Question
from spoolbridge.errors import MessageError, SpoolError, UnknownChannelError
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock

GROUP, SERVICE, WRITER = 4242, 4001, 4002
REGISTRY = Registry([Channel("mayor-villa", 1467106918538678293, None, "mayor-villa")])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def spool(tmp_path: Path, clock: FakeClock) -> Iterator[Spool]:
    spool = Spool.create(tmp_path / "spool", clock=clock)
    yield spool
    spool.close()


@pytest.fixture
def place(spool: Spool) -> Path:
    """`state/asks/`, as the service makes it."""
    asks.make(spool)
    return spool.root / "state" / "asks"


def ask(spool: Spool, clock: FakeClock, text: str = "Deploy?", **more: Any) -> Question:
    return asks.ask(spool, REGISTRY, "mayor-villa", text, **{"options": ("yes", "no"), **more}, clock=clock)


def answer(ask_id: str, status: str = ANSWERED, **more: Any) -> Answer:
    return Answer(ask_id, status, 1_800_000_001.0, **more)


# --- asking ------------------------------------------------------------------------------------------


def test_a_question_and_its_entry_have_one_id(spool: Spool, clock: FakeClock) -> None:
    """The service finds the one by the other; and what is posted too late would ask nobody."""
    asked = ask(spool, clock, timeout=90.5, rig="villa")
    entry = spool.find(asked.id)
    assert entry is not None
    assert ("outgoing", "mayor-villa") == (entry.state, entry.channel)
    message = outgoing.parse("", entry.path.read_bytes())
    assert message.text.startswith("Deploy?\n👍 yes\n👎 no\n")
    assert ("villa", ()) == (message.options.rig, message.options.mentions)
    assert message.options.not_after is not None
    assert asked.deadline <= message.options.not_after < asked.deadline + 1
    assert asked == asks.question_of(spool, asked.id, clock())
    assert [f"{asked.id}.json"] == asks.listed(spool)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"options": ("yes", "YES")}, MessageError),
        ({"timeout": 0}, MessageError),
        ({"timeout": 8 * 86400.0}, MessageError),
        ({"timeout": float("nan")}, MessageError),
        ({"text": " "}, MessageError),
        ({"rig": "a\nb"}, MessageError),
    ],
)
def test_what_cannot_be_asked_leaves_nothing(
    spool: Spool, clock: FakeClock, more: dict[str, Any], error: type[Exception]
) -> None:
    """No question that nobody was asked, and no entry that nobody looks after."""
    with pytest.raises(error):
        ask(spool, clock, **more)
    assert ([], []) == (asks.listed(spool), spool.names("outgoing/mayor-villa"))


def test_an_unknown_channel(spool: Spool, clock: FakeClock) -> None:
    """The question is taken back."""
    with pytest.raises(UnknownChannelError):
        asks.ask(spool, REGISTRY, "nowhere", "Deploy?", clock=clock)
    assert [] == asks.listed(spool)


def test_the_question_is_there_before_its_entry(
    spool: Spool, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two must not leave a post that nobody looks after."""
    there: list[list[str]] = []
    drop = sending.drop_message

    def dropping(*given: Any, **more: Any) -> Any:
        there.append(asks.listed(spool))
        return drop(*given, **more)

    monkeypatch.setattr(sending, "drop_message", dropping)
    asked = ask(spool, clock)
    assert [[f"{asked.id}.json"]] == there


def test_the_directories_modes(place: Path) -> None:
    """Writers of the group ask, nobody takes another's question away, and answers are the service's."""
    assert 0o3770 == stat.S_IMODE(place.stat().st_mode)
    assert 0o2750 == stat.S_IMODE((place / "answers").stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; run as a user")
def test_a_spool_that_was_never_served(spool: Spool, clock: FakeClock) -> None:
    """Who may not prepare it is told who does."""
    (spool.root / "state").chmod(0o500)
    try:
        with pytest.raises(SpoolError, match="spoolbridge run"):
            ask(spool, clock)
    finally:
        (spool.root / "state").chmod(0o750)


# --- deciding ----------------------------------------------------------------------------------------


def test_the_first_decision_stays(spool: Spool, clock: FakeClock) -> None:
    """Whatever is found later, whoever was told was told this."""
    asked = ask(spool, clock)
    first = answer(asked.id, option="yes", text="YES", author="nic", author_id=7, message_id=8, how="reply")
    assert first == asks.settle(spool, first)
    assert first == asks.settle(spool, answer(asked.id, option="no", number=1))
    assert first == asks.answer_of(spool, asked.id)
    asks.close(spool, asked.id)
    asks.close(spool, asked.id)
    assert ([], first) == (asks.listed(spool), asks.answer_of(spool, asked.id))
    assert {
        "status": "answered", "id": asked.id, "option": "yes", "text": "YES", "author": "nic",
        "author_id": "7", "message_id": "8", "how": "reply",
    } == first.told()  # fmt: skip


def test_a_damaged_answer_is_decided_anew(spool: Spool, clock: FakeClock, place: Path) -> None:
    """It tells nobody anything, and must not end the service."""
    asked = ask(spool, clock)
    (place / "answers" / f"{asked.id}.json").write_text("{")
    with pytest.raises(SpoolError):
        asks.answer_of(spool, asked.id)
    asks.settle(spool, answer(asked.id, TIMED_OUT))
    assert answer(asked.id, TIMED_OUT) == asks.answer_of(spool, asked.id)


def test_old_answers_are_swept(spool: Spool, clock: FakeClock, place: Path) -> None:
    """And what a writer left that died; an open question never."""
    old, new, still = (ask(spool, clock).id for _ in range(3))
    for each in (old, new):
        asks.settle(spool, answer(each))
        asks.close(spool, each)
    (place / f".{still}.json.1.tmp").write_text("half")
    now = (place / "answers" / f"{new}.json").stat().st_mtime
    for path in (place / "answers" / f"{old}.json", place / f"{still}.json", place / f".{still}.json.1.tmp"):
        os.utime(path, (now - KEPT - 1, now - KEPT - 1))
    asks.sweep(spool, now)
    assert [None, new] == [(found := asks.answer_of(spool, each)) and found.id for each in (old, new)]
    assert sorted(["answers", f"{still}.json"]) == sorted(os.listdir(place))


@contextmanager
def user(number: int) -> Iterator[None]:
    """Act as this user, of the spool's group."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(GROUP)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="other users take root: sudo")
def test_writers_ask_and_the_service_decides(spool: Spool, clock: FakeClock) -> None:
    """Any user of the group may ask; none may answer in the service's name, or take a question away."""
    for place, _, _ in os.walk(spool.root):
        os.chown(place, SERVICE, GROUP)
    os.chmod(spool.root, 0o2770)
    with user(SERVICE):
        asks.make(spool)
    with user(WRITER):
        asked = ask(spool, clock)
        with spool.at("state/asks") as at, pytest.raises(PermissionError):
            os.rename("answers", "mine", src_dir_fd=at, dst_dir_fd=at)
        with spool.at("state/asks/answers") as at, pytest.raises(PermissionError):
            os.open(f"{asked.id}.json", os.O_WRONLY | os.O_CREAT, dir_fd=at)
    with user(WRITER + 1), spool.at("state/asks") as at, pytest.raises(PermissionError):
        os.unlink(f"{asked.id}.json", dir_fd=at)
    with user(SERVICE):
        assert asked == asks.question_of(spool, asked.id, clock())
        asks.settle(spool, answer(asked.id, TIMED_OUT))
        asks.close(spool, asked.id)
    with user(WRITER):
        assert answer(asked.id, TIMED_OUT) == asks.wait_for(spool, asked.id, clock=clock)


# --- waiting -----------------------------------------------------------------------------------------


def test_waiting_ends_with_the_answer(spool: Spool, clock: FakeClock) -> None:
    """Also where the question is closed in the same instant."""
    asked = ask(spool, clock)
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        clock.now += seconds
        if looks == 3:
            asks.settle(spool, answer(asked.id, FAILED, reason="no"))
            asks.close(spool, asked.id)

    found = asks.wait_for(spool, asked.id, clock=clock, sleep=sleep)
    assert (answer(asked.id, FAILED, reason="no"), 3) == (found, looks)
    assert found == asks.wait_for(spool, asked.id, 0, clock=clock, sleep=sleep)


def _moving(clock: FakeClock) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        assert seconds > 0
        clock.now += seconds

    return sleep


def test_waiting_ends_with_its_own_time(spool: Spool, clock: FakeClock) -> None:
    """Nothing yet; the question stays open."""
    asked, began = ask(spool, clock, timeout=600), clock()
    assert asks.wait_for(spool, asked.id, 50, clock=clock, sleep=_moving(clock)) is None
    assert 50 == pytest.approx(clock() - began)
    assert [f"{asked.id}.json"] == asks.listed(spool)


def test_waiting_ends_although_no_service_runs(spool: Spool, clock: FakeClock) -> None:
    """A little behind the deadline, in which the service would have had its last look."""
    asked = ask(spool, clock, timeout=600)
    found = asks.wait_for(spool, asked.id, clock=clock, sleep=_moving(clock))
    assert found is not None
    assert (TIMED_OUT, True) == (found.status, "see: spoolbridge status" in found.reason)
    assert asked.deadline + GRACE == pytest.approx(clock())


@pytest.mark.parametrize(
    "wrong",
    ["", ".", "..", "answers", "../../etc/passwd", "20261122T055501.123456Z-k3f9q2x7", "x\0y", "x" * 999],
)
def test_a_question_that_is_not_there(spool: Spool, clock: FakeClock, place: Path, wrong: str) -> None:
    """Whatever is given as an ID is looked up as one, and is never a path."""
    with pytest.raises(SpoolError, match="no question"):
        asks.wait_for(spool, wrong, clock=clock)


# --- what others put there ---------------------------------------------------------------------------

GOOD = {"options": ["yes", "no"], "deadline": 1_800_000_600}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 50_000, "no JSON"),
        (b"9" * 5_000, "no JSON"),
        (b'{"options": [], "deadline": NaN}', "deadline"),
        (json.dumps({**GOOD, "deadline": 10**400}).encode(), "deadline"),
        (json.dumps({**GOOD, "deadline": 4e9}).encode(), "deadline"),
        (json.dumps({**GOOD, "deadline": True}).encode(), "deadline"),
        (json.dumps({**GOOD, "deadline": "soon"}).encode(), "deadline"),
        (json.dumps({"deadline": 1_800_000_600}).encode(), "no list of texts"),
        (json.dumps({**GOOD, "options": "yes"}).encode(), "no list of texts"),
        (json.dumps({**GOOD, "options": [1]}).encode(), "no list of texts"),
        (json.dumps({**GOOD, "options": ["../x", ""]}).encode(), "cannot be an option"),
        (json.dumps({**GOOD, "options": ["\ud800"]}).encode(), "cannot be an option"),
        (json.dumps({**GOOD, "padding": "x" * (1 << 20)}).encode(), "no JSON"),
    ],
)
def test_hostile_questions(spool: Spool, clock: FakeClock, place: Path, content: bytes, says: str) -> None:
    """One sentence each."""
    ask_id = spool.mint()
    (place / f"{ask_id}.json").write_bytes(content)
    with pytest.raises(SpoolError, match=says):
        asks.question_of(spool, ask_id, clock())


def _link(path: Path) -> None:
    (path.parent.parent / "secret").write_text(json.dumps(GOOD))
    path.symlink_to("../secret")


@pytest.mark.parametrize(
    "make",
    [_link, os.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")],
    ids=["a link", "a directory", "a FIFO", "a link to nowhere"],
)
def test_what_is_no_file(spool: Spool, clock: FakeClock, place: Path, make: Callable[[Path], None]) -> None:
    """Is not opened, followed or waited for."""
    ask_id = spool.mint()
    make(place / f"{ask_id}.json")
    with pytest.raises(SpoolError, match="cannot be used"):
        asks.question_of(spool, ask_id, clock())


def test_a_question_of_the_future(spool: Spool, clock: FakeClock, place: Path) -> None:
    """It would stay open for ever."""
    ask_id = spool.mint()
    (place / f"{ask_id}.json").write_text(json.dumps(GOOD))
    with pytest.raises(SpoolError, match="still to come"):
        asks.question_of(spool, ask_id, clock() - 7200)


def test_names_that_are_no_questions(spool: Spool, place: Path) -> None:
    """They are told apart by their names alone."""
    ask_id = spool.mint()
    assert ask_id == asks.id_in(f"{ask_id}.json")
    for wrong in (
        "x.json",
        ask_id,
        f"{ask_id}.json.json",
        f"{ask_id}.x.json",
        f"{ask_id}.jsonx",
        ".json",
        "\udcff",
    ):
        assert asks.id_in(wrong) is None
