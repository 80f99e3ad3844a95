"""What is old goes, and nothing else: plans held against trees, removals against crashes."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoolbridge import handed, lock, prunable, prune
from spoolbridge.errors import ForgottenError
from spoolbridge.identity import WHY, day_of
from spoolbridge.incoming import snowflake_at
from spoolbridge.journal import Journal
from spoolbridge.journal_files import Dated
from spoolbridge.outgoing import PLAIN
from spoolbridge.prunable import Removal
from spoolbridge.prune import Tally
from spoolbridge.retention import DAY, Keep, Retention
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, kill_at
from tests.support.tree import dig, tree

VILLA = "mayor-villa"
NOTHING = Retention(Keep(), Keep(), Keep(), Keep(), Keep())
CHANNEL_ID, GUILD = 1467106918538678293, 1467106918538678200


class Place:
    """A spool to be filled with what is so many days old, as seen from `now`, which lies far ahead: what was
    made a moment ago is 1,000 days old then, and so is its last rename."""

    def __init__(self, spool: Spool) -> None:
        self.spool, self.root = spool, spool.root
        self.now = time.time() + 1000 * DAY

    def at(self, days: float) -> float:
        return self.now - days * DAY

    def id(self, days: float, last: str = "00000000") -> str:
        return f"{datetime.fromtimestamp(self.at(days), UTC):%Y%m%dT%H%M%S.%fZ}-{last}"

    def message(self, days: float) -> int:
        return snowflake_at(self.at(days))

    def put(self, path: str, data: bytes = b"x") -> str:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        return path

    def sent(self, days: float, data: bytes = b"x", *, last: str = "00000000") -> str:
        return self.put(f"sent/{VILLA}/{day_of(self.at(days))}/{self.id(days, last)}.note", data)

    def mail(self, days: float, box: str = "cur", flags: str = ":2,S") -> str:
        message_id = self.message(days)
        name = f"{int(self.at(days))}.D{message_id}.discord{flags if box == 'cur' else ''}"
        return self.put(f"incoming/{VILLA}/{box}/{name}")

    def attached(self, days: float, data: bytes = b"x") -> str:
        path = f"attachments/{VILLA}/{self.message(days)}"
        self.put(f"{path}/a.png", data)
        return path

    def planned(self, retention: Retention) -> list[Removal]:
        return [each for each in prunable.plan(self.spool, retention, self.now) if each]

    def goes(self, retention: Retention) -> list[str]:
        """The paths that may go, without directories that go if they are empty."""
        return [each.path for each in self.planned(retention) if not each.empty]

    def prune(self, retention: Retention, *, dry_run: bool = False) -> Tally:
        tally = Tally()
        list(prune.by_hand(self.spool, retention, self.now, tally, dry_run=dry_run))
        return tally


@pytest.fixture
def place(spool: Spool) -> Place:
    return Place(spool)


class TestSent:
    """What was posted."""

    def test_by_age(self, place: Place) -> None:
        """By its day, whatever is written in its name."""
        old, young = place.sent(91.5), place.sent(89)
        assert [old] == place.goes(NOTHING._replace(sent=Keep(90 * DAY)))
        assert [] == place.goes(NOTHING)
        assert young in place.goes(NOTHING._replace(sent=Keep(80 * DAY)))

    def test_by_size(self, place: Place) -> None:
        """The oldest of all channels, until the rest is small enough; within a day too."""
        paths = [place.sent(days, bytes(10), last=f"0000000{n}") for n, days in enumerate((9, 8, 5, 5, 3))]
        other = place.put(f"sent/vgt/{day_of(place.at(6))}/{place.id(6)}", bytes(10))
        assert [*paths[:2], other] == place.goes(NOTHING._replace(sent=Keep(None, 30)))
        assert paths[:2] == place.goes(NOTHING._replace(sent=Keep(None, 49)))
        assert [*paths[:2], other, paths[2]] == place.goes(NOTHING._replace(sent=Keep(None, 20)))
        assert [] == place.goes(NOTHING._replace(sent=Keep(None, 60)))

    def test_no_cap_takes_what_is_young(self, place: Place) -> None:
        """A day at least it can be looked at, and no directory is taken that is being settled into."""
        place.sent(0)
        place.sent(0.9)
        assert [] == place.planned(NOTHING._replace(sent=Keep(None, 0)))

    def test_a_day_that_is_empty(self, place: Place) -> None:
        """Its directory goes too; not where something lies in it that is not ours."""
        place.sent(100)
        stray = place.put(f"sent/{VILLA}/{day_of(place.at(99))}/notes.txt")
        place.prune(NOTHING._replace(sent=Keep(90 * DAY)))
        assert [day_of(place.at(99))] == os.listdir(place.root / "sent" / VILLA)
        assert (place.root / stray).exists()

    def test_a_bundle(self, place: Place) -> None:
        """Goes as a whole, and counts with all that is in it."""
        bundle = f"sent/{VILLA}/{day_of(place.at(100))}/{place.id(100)}.a.msg"
        place.put(f"{bundle}/body", bytes(3))
        place.put(f"{bundle}/files/a.png", bytes(4))
        tally = place.prune(NOTHING._replace(sent=Keep(90 * DAY)))
        assert (1, 7) == (tally.count["sent"], tally.size["sent"])
        assert {} == tree(place.root, "sent", "tmp")


class TestFailed:
    """What was not posted."""

    KEEP = NOTHING._replace(failed=Keep(90 * DAY))

    def test_with_its_reason(self, place: Place) -> None:
        """Wherever it was dropped; a reason that is left alone goes as well."""
        names = [place.put(f"failed/{VILLA}/{place.id(100)}.a"), place.put(f"failed/{place.id(101)}.b")]
        for each in (*names, f"failed/{VILLA}/{place.id(102)}.gone"):
            place.put(f"{each}{WHY}")
        place.put(f"failed/{VILLA}/{place.id(10)}.young")
        place.prune(self.KEEP)
        assert {f"failed/{VILLA}": [f"{place.id(10)}.young"]} == tree(place.root, "failed")

    def test_what_failed_just_now(self, place: Place) -> None:
        """It was written long ago and waited: nobody has seen it yet."""
        place.now = time.time() + 60
        place.put(f"failed/{VILLA}/{place.id(400)}.waited")
        assert [] == place.goes(self.KEEP)

    def test_somebody_tries_it_again_meanwhile(self, place: Place) -> None:
        """It came back behind the plan: it has failed anew, and stays."""
        path = place.put(f"failed/{VILLA}/{place.id(100)}.a")
        planned = place.planned(self.KEEP)
        os.rename(place.root / path, place.root / "tmp" / "a")
        os.rename(place.root / "tmp" / "a", place.root / path)
        os.utime(place.root / path)
        tally = Tally()
        prune.carry_out(place.spool, planned, tally, forget=lambda _: None)
        assert (0, True) == (tally.count["failed"], (place.root / path).exists())


    def test_directories_in_directories(self, place: Place) -> None:
        """Whoever drops a thousand of them, one in the other, must not keep everything else from going."""
        place.put(f"failed/{VILLA}/{place.id(100)}.note")
        dig(place.root / "failed" / VILLA / f"{place.id(99)}.deep.msg", 1000)
        tally = place.prune(NOTHING._replace(failed=Keep(90 * DAY)))
        assert (2, []) == (tally.count["failed"], tally.troubles)
        assert [] == [*os.listdir(place.root / "failed" / VILLA), *os.listdir(place.root / "tmp")]


class TestRead:
    """What humans wrote."""

    KEEP = NOTHING._replace(read=Keep(365 * DAY))

    @pytest.mark.parametrize("flags", ["", ":2,S", ":2,RS"])
    def test_read(self, flags: str, place: Place) -> None:
        """Moved to cur/ by hand, or marked as seen."""
        path = place.mail(400, flags=flags)
        place.mail(300, flags=flags)
        assert [path] == place.goes(self.KEEP)

    @pytest.mark.parametrize(
        ("box", "flags"), [("new", ""), ("cur", ":2,"), ("cur", ":2,T"), ("cur", ":2,FS")]
    )
    def test_unread_or_flagged(self, box: str, flags: str, place: Place) -> None:
        """Stays for ever."""
        place.mail(900, box, flags)
        assert [] == place.goes(self.KEEP)

    def test_read_just_now(self, place: Place) -> None:
        """Who has left it unread for a year has a year from now on."""
        place.now = time.time() + 60
        place.mail(400)
        assert [] == place.goes(self.KEEP)


class TestAttachments:
    """What humans attached."""

    KEEP = NOTHING._replace(attachments=Keep(30 * DAY))

    def test_without_its_message(self, place: Place) -> None:
        """A month longer: the inbox file still names it."""
        path = place.attached(31)
        place.attached(29)
        assert [path] == place.goes(self.KEEP)

    @pytest.mark.parametrize(
        ("box", "flags"), [("new", ""), ("cur", ":2,"), ("cur", ":2,S"), ("cur", ",U=5:2,")]
    )
    def test_with_its_message(self, box: str, flags: str, place: Place) -> None:
        """It stays, read or not."""
        place.attached(500)
        place.mail(500, box, flags)
        assert [] == place.goes(self.KEEP)

    def test_by_size(self, place: Place) -> None:
        """The oldest first, also of what was read; never an unread message's, nor a week's."""
        paths = [place.attached(days, bytes(10)) for days in (60, 50, 40, 6)]
        place.mail(60, "new")
        place.mail(50, "cur")
        assert paths[1:3] == place.goes(NOTHING._replace(attachments=Keep(None, 0)))
        assert paths[1:2] == place.goes(NOTHING._replace(attachments=Keep(None, 30)))

    def test_fetched_just_now(self, place: Place) -> None:
        """Of an old message, before it is delivered: nothing else knows of it yet."""
        place.now = time.time() + 60
        place.attached(100)
        assert [] == place.goes(NOTHING._replace(attachments=Keep(30 * DAY, 0)))


class TestState:
    """What the service keeps for itself."""

    KEEP = NOTHING._replace(journal=Keep(400 * DAY), failed=Keep(90 * DAY))

    def test_leavings(self, place: Place) -> None:
        """Cut ends of lines and refused mails; nothing else there."""
        torn = [place.put("state/journal.jsonl.torn"), place.put("state/handed/2026-01-01.inbox.log.torn")]
        refused = place.put(f"state/mail/{place.message(100)}.given-up.json")
        place.put(f"state/mail/{place.message(100)}.json")
        place.put("state/format.json")
        assert [*torn, refused] == place.goes(self.KEEP)

    def test_lists(self, place: Place) -> None:
        """By the day in the name; which days are told of no more is noted first."""
        day = day_of(place.at(401))
        old = [place.put(f"state/handed/{day}.{each}.log") for each in ("inbox", "incoming")]
        young = place.put(f"state/handed/{day_of(place.at(400))}.inbox.log")
        began = place.put("state/handed/inbox.began")
        assert old == place.goes(self.KEEP)
        place.prune(self.KEEP)
        assert all((place.root / each).exists() for each in (young, began))
        with place.spool.at("state") as state:
            assert day_of(place.at(400)) == str(handed.complete_since(state))

    def test_every_crash_of_a_lists_removal(self, place: Place) -> None:
        """A list that is gone is noted, at every instant; the note never goes back."""
        for number in count(1):
            days = (403, 402, 401)
            paths = [place.put(f"state/handed/{day_of(place.at(each))}.inbox.log") for each in days]
            with kill_at(number) as struck, suppress(Killed):
                place.prune(self.KEEP)
            gone = [day for day, path in zip(days, paths, strict=True) if not (place.root / path).exists()]
            with place.spool.at("state") as state:
                since = str(handed.complete_since(state) or "")
            assert all(day_of(place.at(day)) < since for day in gone)
            if not struck:
                break
        assert (number > 9, day_of(place.at(400))) == (True, since)

    def test_the_journal(self, place: Place) -> None:
        """Files of days, compressed or not, the oldest first; never the one that is written to."""
        days = [place.put(f"state/journal-{day_of(place.at(each))}.jsonl") for each in (401, 402)]
        second = place.put(f"state/journal-{day_of(place.at(402))}.2.jsonl.gz")
        place.put(f"state/journal-{day_of(place.at(400))}.jsonl")
        place.put("state/journal.jsonl")
        assert [days[1], second.removesuffix(".gz"), days[0]] == place.goes(self.KEEP)
        assert 3 == place.prune(self.KEEP).count["journal"]
        assert [f"journal-{day_of(place.at(400))}.jsonl.gz", "journal.jsonl"] == sorted(
            name for name in os.listdir(place.root / "state") if name.startswith("journal")
        )

    def test_while_a_service_runs(self, place: Place) -> None:
        """The journal is its own; all else goes."""
        path = place.put(f"state/journal-{day_of(place.at(402))}.jsonl")
        place.sent(500)
        with lock.holding(place.spool):
            tally = place.prune(Retention())
        assert ({"sent": 1}, True) == (dict(tally.count), (place.root / path).exists())


class TestRemoving:
    """Whatever happens meanwhile."""

    def test_a_dry_run(self, place: Place) -> None:
        """Tells the same, and changes nothing."""
        full(place)
        before = tree(place.root)
        told = place.prune(Retention(), dry_run=True)
        assert before == tree(place.root)
        done = place.prune(Retention())
        assert (done.count, done.size) == (told.count, told.size)
        assert 0 == place.prune(Retention()).count.total()

    def test_one_that_fails(self, place: Place) -> None:
        """Is told, and the others go."""
        paths = [place.sent(days) for days in (100, 99, 98)]
        real = os.unlink

        def unlink(name: str, *, dir_fd: int) -> None:
            if name == Path(paths[1]).name:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            real(name, dir_fd=dir_fd)

        with patch.object(os, "unlink", unlink):
            tally = place.prune(NOTHING._replace(sent=Keep(90 * DAY)))
        assert (2, [(paths[1], "Permission denied")]) == (tally.count["sent"], tally.troubles)

    def test_two_at_once(self, place: Place) -> None:
        """Each thing is removed once, and nobody is troubled."""
        for number in range(200):
            place.sent(100 + number % 7, last=f"{number:08}")
        tallies = [Tally(), Tally()]

        def work(tally: Tally) -> None:
            list(prune.by_hand(place.spool, Retention(), place.now, tally, dry_run=False))

        threads = [threading.Thread(target=work, args=(tally,)) for tally in tallies]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert (200, []) == (sum(each.count["sent"] for each in tallies), tallies[0].troubles)
        assert {} == tree(place.root, "sent")

    @pytest.mark.parametrize("at", ["sent", f"sent/{VILLA}", "attachments", f"incoming/{VILLA}"])
    def test_links_lead_nowhere(self, at: str, place: Place, tmp_path: Path) -> None:
        """A directory that was replaced by a link to somebody's files."""
        place.mail(500)
        place.sent(500)
        place.attached(500)
        moved = tmp_path / "elsewhere"
        shutil.move(place.root / at, moved)
        (place.root / at).symlink_to(moved)
        before = tree(moved)
        place.prune(Retention())
        assert before == tree(moved)

    def test_a_link_swapped_in_behind_the_plan(self, place: Place, tmp_path: Path) -> None:
        """Between looking and removing."""
        path = place.sent(500)
        planned = place.planned(Retention())
        day = (place.root / path).parent
        moved = tmp_path / "elsewhere"
        shutil.move(day, moved)
        day.symlink_to(moved)
        tally = Tally()
        prune.carry_out(place.spool, planned, tally, forget=lambda _: None)
        assert (1, 0) == (len(os.listdir(moved)), tally.count.total())

    def test_every_crash(self, tmp_path: Path) -> None:
        """Killed at any call, nothing is lost that should stay, and the next prune ends it."""
        for number in count(1):
            made = Spool.create(tmp_path / f"{number}")
            place = Place(made)
            stays = full(place)
            with kill_at(number) as struck, suppress(Killed):
                place.prune(Retention())
            assert all((place.root / each).exists() for each in stays), number
            place.prune(Retention())
            left = {f"{at}/{name}" for at, names in tree(place.root).items() for name in names}
            assert stays == {each for each in left if not each.startswith(("./", "state/", "tmp/"))}
            made.close()
            if not struck:
                break
        assert number > 20


def test_every_crash_of_a_prune_repeats_nothing(tmp_path: Path) -> None:
    """Lists, files and the journal in one: killed at any call, an ID that was sent is known to be, or is too
    old to tell. What is unresolved stays so."""
    for number in count(1):
        made = Spool.create(tmp_path / f"{number}")
        place = Place(made)
        ids, waits = _a_journal_of_years(place)
        with kill_at(number) as struck, suppress(Killed):
            place.prune(Retention())
        for again in (False, True):
            with made.at("state") as state:
                journal = Journal(state, clock=lambda now=place.now: now)  # type: ignore[misc]
                told = {each: _told(journal, each) for each in ids}
                assert {"sent", "forgotten"} >= set(told.values()), (number, told)
                assert "sent" == told[ids[-1]]
                assert journal.history(waits, CHANNEL_ID).part[1].unresolved is not None
                journal.close()
            if not again:
                place.prune(Retention())
        made.close()
        if not struck:
            break
    assert ["forgotten", "sent"] == [told[ids[0]], told[ids[-1]]]
    assert number > 15


def _a_journal_of_years(place: Place) -> tuple[list[str], str]:
    """A message sent now and then, the oldest first, and one that has been unresolved all the time."""
    now = [place.at(800)]
    waits = place.id(800)
    ids = []
    with place.spool.at("state") as state:
        journal = Journal(state, clock=lambda: now[0])
        journal.tried(waits, CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
        for number, days in enumerate((700, 600, 500, 300, 20, 1)):
            now[0] = place.at(days)
            ids.append(place.id(days))
            journal.tried(ids[-1], CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
            journal.sent(ids[-1], CHANNEL_ID, 1, number + 1, GUILD)
        journal.close()
    return ids, waits


def _told(journal: Journal, entry_id: str) -> str:
    try:
        return "sent" if journal.history(entry_id, CHANNEL_ID).sent else "unknown"
    except ForgottenError:
        return "forgotten"


def full(place: Place) -> set[str]:
    """Something of everything, old and young. Returns what stays."""
    place.sent(500)
    bundle = f"sent/{VILLA}/{day_of(place.at(400))}/{place.id(400)}.a.msg"
    place.put(f"{bundle}/body")
    place.put(f"failed/{VILLA}/{place.id(400)}.a")
    place.put(f"failed/{VILLA}/{place.id(400)}.a{WHY}")
    place.mail(500)
    place.attached(450)
    place.put(f"state/handed/{day_of(place.at(500))}.inbox.log")
    place.put(f"state/journal-{day_of(place.at(500))}.jsonl")
    place.put(f"state/journal-{day_of(place.at(20))}.jsonl")
    return {
        place.sent(3), place.mail(600, "new"), place.mail(601, "cur", ":2,"), f"{place.attached(600)}/a.png",
        place.put(f"failed/{VILLA}/{place.id(3)}.b"), place.put(f"outgoing/{VILLA}/{place.id(900)}"),
        place.put(f"sending/{VILLA}/{place.id(900)}"), place.mail(20),
    }  # fmt: skip


_AGES = st.floats(0, 900)
_KEEPS = st.builds(
    Keep,
    st.none() | st.integers(1, 900).map(lambda days: days * DAY),
    st.none() | st.integers(0, 50),
)
_KINDS = ("sent", "failed", "new", "cur", "seen", "attached", "outgoing", "sending")
_THINGS = st.lists(st.tuples(st.sampled_from(_KINDS), _AGES), max_size=25)


@given(things=_THINGS, keeps=st.tuples(_KEEPS, _KEEPS, _KEEPS, _KEEPS))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_what_nobody_has_read_and_what_is_young_stays(
    things: list[tuple[str, float]],
    keeps: tuple[Keep, Keep, Keep, Keep],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever there is, and whatever is set: with its attached files, until somebody has read it."""
    root = tmp_path_factory.mktemp("spool")
    spool = Spool.create(root)
    place = Place(spool)
    put: dict[str, Callable[[float], str]] = {
        "sent": place.sent,
        "failed": lambda days: place.put(f"failed/{VILLA}/{place.id(days)}"),
        "new": lambda days: place.mail(days, "new"),
        "cur": lambda days: place.mail(days, "cur", ":2,"),
        "seen": lambda days: place.mail(days),
        "attached": place.attached,
        "outgoing": lambda days: place.put(f"outgoing/{VILLA}/{place.id(days)}"),
        "sending": lambda days: place.put(f"sending/{VILLA}/{place.id(days)}"),
    }
    paths = [(kind, days, put[kind](days)) for kind, days in things]
    unread = {days for kind, days, _ in paths if kind in ("new", "cur")}
    place.prune(Retention(*keeps, Keep()))
    gone = {(kind, days) for kind, days, path in paths if not (root / path).exists()}
    spool.close()
    shutil.rmtree(root)
    assert set() == {each for each in gone if each[0] in ("new", "cur", "outgoing", "sending")}
    assert set() == {(kind, days) for kind, days in gone if days < 1}
    assert set() == {days for kind, days in gone if kind == "attached"} & unread
    sent, failed, read, attachments = keeps
    if sent.size is None:
        assert all(sent.age and days >= sent.age / DAY for kind, days in gone if kind == "sent")
    assert all(failed.age and days > failed.age / DAY for kind, days in gone if kind == "failed")
    assert all(read.age and days > read.age / DAY for kind, days in gone if kind == "seen")
    assert all(attachments != Keep() for kind, _ in gone if kind == "attached")


def test_the_journal_gets_no_gap(place: Place) -> None:
    """Where one file cannot be removed the next ones stay: an ID out of a gap would be posted twice."""
    names = [f"state/journal-2020-01-0{day}.jsonl" for day in (1, 2, 3)]
    forgotten: list[Dated] = []

    def forget(file: Dated) -> None:
        if file.day.endswith("2"):
            raise OSError(errno.EPERM, "Operation not permitted")
        forgotten.append(file)

    tally = Tally()
    for name in names:  # in several batches
        prune.carry_out(place.spool, [Removal("journal", name, 1, 0.0)], tally, forget=forget)
    assert [Dated("2020-01-01")] == forgotten
    assert [(names[1], "Operation not permitted")] == tally.troubles


class TestDaily:
    """As the service does it."""

    async def test_once_a_day(self, place: Place) -> None:
        """Not in the first minute, then each day; the journal by its own hand."""
        clock = FakeClock(place.now)
        with place.spool.at("state") as state:
            journal = Journal(state, clock=lambda: clock() - 500 * DAY)
            old = place.id(500.5)
            journal.tried(old, CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
            journal.sent(old, CHANNEL_ID, 1, 5, GUILD)
            journal._clock = lambda: clock() - 20 * DAY
            journal.tried(place.id(20), CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
            journal._clock = clock
            journal.tried(place.id(0), CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
            path = place.sent(100)
            work = asyncio.ensure_future(
                prune.daily(place.spool, Retention(), journal, clock=clock, sleep=clock.sleep)
            )
            try:
                await clock.sleepers()
                assert (place.root / path).exists()
                clock.advance(prune.FIRST)
                await clock.sleepers()
                assert not (place.root / path).exists()
                assert [f"{Dated(day_of(place.at(20))).name}.gz"] == [
                    each for each in os.listdir(place.root / "state") if each.startswith("journal-")
                ]
                with pytest.raises(ForgottenError):
                    journal.history(old, CHANNEL_ID)
                again = place.sent(100)
                clock.advance(prune.EVERY)
                await clock.sleepers()
                assert not (place.root / again).exists()
            finally:
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work
                journal.close()

    @pytest.mark.parametrize("told_by", ["the journal", "the lists"])
    async def test_a_clock_that_is_years_ahead(self, place: Place, told_by: str) -> None:
        """Makes nothing old: Discord's numbers tell how late it is; what is old by them goes all the same."""
        clock = FakeClock(place.now + 3650 * DAY)
        with place.spool.at("state") as state:
            journal = Journal(state, clock=clock)
            if told_by == "the journal":
                journal.tried(place.id(0), CHANNEL_ID, 1, parts=1, form=PLAIN, digest="d", files=[])
                journal.sent(place.id(0), CHANNEL_ID, 1, place.message(0), GUILD)
            else:
                place.put(f"state/handed/{day_of(place.now)}.incoming.log")
            young, old = place.sent(80), place.sent(100)
            work = asyncio.ensure_future(
                prune.daily(place.spool, Retention(), journal, clock=clock, sleep=clock.sleep)
            )
            await clock.sleepers()
            clock.advance(prune.FIRST)
            await clock.sleepers()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            journal.close()
        assert (True, False) == ((place.root / young).exists(), (place.root / old).exists())

    async def test_a_disk_that_refuses(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """Is told, and the next day comes all the same."""
        clock = FakeClock(place.now)
        with place.spool.at("state") as state:
            journal = Journal(state, clock=clock)
            with patch.object(os, "scandir", side_effect=OSError(errno.EACCES, "Permission denied")):
                work = asyncio.ensure_future(
                    prune.daily(place.spool, Retention(), journal, clock=clock, sleep=clock.sleep)
                )
                for _ in range(2):
                    await clock.sleepers()
                    clock.advance(prune.EVERY)
                await clock.sleepers()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            journal.close()
        assert 2 == caplog.text.count("pruning was cut short: [Errno 13] Permission denied")
