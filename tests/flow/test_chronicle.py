"""`spoolbridge log`: what it tells of entries and messages is what happened to them, in that order."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spoolbridge import failures, handed, identity, journal
from spoolbridge.chronicle import Chronicle
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolError
from spoolbridge.happenings import Event
from spoolbridge.identity import day_of
from spoolbridge.incoming import snowflake_at
from spoolbridge.spool import Entry, Spool
from tests.support.bridge import Bridge, bridging
from tests.support.waiting import until

ENTRY = "20261122T055501.123456Z-k3f9q2x7"
OTHER = "20261122T055502.000000Z-k3f9q2x8"


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


def words(events: list[Event]) -> list[str]:
    return [event.what for event in events]


def url(bridge: Bridge, number: int, channel: str = "general") -> str:
    """The address of a message on Discord."""
    guild = bridge.emulator.guild
    message = bridge.emulator.messages(channel)[number]
    return f"https://discord.com/channels/{guild.id}/{guild.channel(channel).id}/{message['id']}"


async def known(bridge: Bridge, entry: Entry) -> tuple[Chronicle, Entry]:
    """Once it is settled and all that is noted of it is."""
    found = await bridge.settled(entry)
    await until(lambda: not bridge.dispatcher._active)
    return Chronicle(bridge.spool, bridge.registry()), found


async def test_an_entry_of_two_parts(bridge: Bridge) -> None:
    """From when it was written to where it lies, each part with its address."""
    entry = bridge.drop("a" * 1500 + "\n\n" + "b" * 1500, name="long")
    chronicle, found = await known(bridge, entry)
    expected = [
        "written", "tried part 1 of 2", f"sent part 1 of 2 as {url(bridge, 0)}", "tried part 2 of 2",
        f"sent part 2 of 2 as {url(bridge, 1)}", f"in {found.path.relative_to(bridge.spool.root)}",
    ]  # fmt: skip
    events = chronicle.of(entry.id)
    assert expected == words(events)
    assert {"general"} == {event.channel for event in events}
    times = [event.at for event in events if event.at is not None]
    assert sorted(times) == times
    assert (None, "now") == (events[-1].at, events[-1].kind)


@pytest.mark.parametrize("way", ["id", "name", "path", "beginning", "plain", "message", "url", "why"])
async def test_whatever_a_person_has_at_hand(bridge: Bridge, way: str) -> None:
    """The ID, its beginning, the file's name or path, the name that it was dropped under, the message."""
    entry = bridge.drop("hi", name="näme.md")
    chronicle, found = await known(bridge, entry)
    reference = {
        "id": entry.id, "name": found.name, "path": str(found.path), "beginning": entry.id[:20],
        "plain": "näme.md", "message": bridge.emulator.messages("general")[0]["id"], "url": url(bridge, 0),
        "why": f"{found.path}.why",
    }[way]  # fmt: skip
    assert ["written", "tried", f"sent as {url(bridge, 0)}"] == words(chronicle.of(reference))[:3]


async def test_what_never_came_so_far(bridge: Bridge) -> None:
    """It is in no journal: its reason tells, with the time."""
    entry = bridge.drop("Spoolbridge: 1\nRepy-To: 1\n\nhi")
    chronicle, found = await known(bridge, entry)
    events = chronicle.of(entry.id)
    told = f"in {found.path.relative_to(bridge.spool.root)}"
    assert ["written", "failed: line 2: unknown header 'Repy-To'", told] == words(events)
    assert ("failed", str(found.path)) == (events[1].kind, events[1].facts["file"])
    assert ["failed"] == [event.kind for event in chronicle.lately(0.0)]


async def test_failed_retried_and_sent(bridge: Bridge) -> None:
    """The failure is told once, though journal and reason know it, and the retry behind it."""
    entry = bridge.drop(f"one ghp_{'aB3cD4' * 6}")
    chronicle, _ = await known(bridge, entry)
    reason = "failed: holds what looks like a GitHub token (ghp_…, 40 characters, line 1 of the text)"
    assert [f"{reason}; nothing was posted"] == [
        event.what for event in chronicle.of(entry.id) if event.kind == "failed"
    ]
    assert 1 == [event.kind for event in chronicle.lately(0.0)].count("failed")
    failures.retry(bridge.spool, failures.find(bridge.spool, entry.id))
    bridge.clock.now += 60
    bridge.ring()
    await bridge.quiet()
    chronicle, _ = await known(bridge, entry)
    assert ["written", "failed", "try", "sent", "now"] == [event.kind for event in chronicle.of(entry.id)]


async def test_removed_for_good(bridge: Bridge) -> None:
    """What is nowhere any more is not forgotten."""
    entry = bridge.drop("Spoolbridge: 1\nRepy-To: 1\n\nhi")
    chronicle, _ = await known(bridge, entry)
    failures.drop(bridge.spool, failures.find(bridge.spool, entry.id), now=bridge.clock())
    user = "root (uid 0)" if os.getuid() == 0 else f"uid {os.getuid()}"
    removed = chronicle.of(entry.id)[-1]
    assert ("dropped", "general") == (removed.kind, removed.channel)
    assert removed.what.startswith("removed for good by ")
    assert user in removed.what
    assert ["dropped"] == [event.kind for event in chronicle.lately(0.0)]


async def test_what_waits(bridge: Bridge) -> None:
    """Where it is, before anybody has touched it."""
    (bridge.box() / ".hold").touch()
    entry = bridge.drop("hi", name="x")
    told = Chronicle(bridge.spool).of(entry.id)
    assert ["written", f"waits in outgoing/general/{entry.name}"] == words(told)


async def test_lately_in_one_channel(bridge: Bridge) -> None:
    """In order over channels, or only what happened in one; what is older is left out."""
    old = bridge.drop("old")
    await known(bridge, old)
    bridge.clock.now += 3600
    since = bridge.clock.now
    first = bridge.drop("one", "mayor-villa")
    await known(bridge, first)
    bridge.clock.now += 1
    second = bridge.drop("two")
    chronicle, _ = await known(bridge, second)
    told = [(event.channel, event.id, event.kind) for event in chronicle.lately(since)]
    of_first = [("mayor-villa", first.id, kind) for kind in ("try", "sent")]
    of_second = [("general", second.id, kind) for kind in ("try", "sent")]
    assert [*of_first, *of_second] == told
    assert of_second == [(e.channel, e.id, e.kind) for e in chronicle.lately(since, "general")]


def test_a_message_that_is_read_meanwhile(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader moves the file between two looks: it is told where it lies then, and is no bug."""
    boxes = {box: spool.root / "incoming" / "vgt" / box for box in ("new", "cur")}
    for box in boxes.values():
        box.mkdir(parents=True)
    name = f"1.D{snowflake_at(1.7e9)}.discord"
    (boxes["new"] / name).write_text("x")
    names = spool.names

    def listed(place: str) -> list[str]:
        found = names(place)
        if place.endswith("/new"):
            (boxes["new"] / name).rename(boxes["cur"] / f"{name}:2,S")
        return found

    monkeypatch.setattr(spool, "names", listed)
    told = words(Chronicle(spool).of(str(snowflake_at(1.7e9))))
    assert ["written on Discord", f"filed as incoming/vgt/cur/{name}:2,S, and read"] == told


def test_what_is_not_known(spool: Spool) -> None:
    """A sentence, for each kind of reference, and a harmless one."""
    chronicle = Chronicle(spool)
    for reference in (ENTRY, "note", "1467106918538678293", "nowhere/", "", "\x1b[2J", "20261122T"):
        with pytest.raises(SpoolError) as told:
            chronicle.of(reference)
        assert "nothing is known of " in told.value.what
        assert "\x1b" not in told.value.what


def test_what_may_mean_several(spool: Spool) -> None:
    """Names and beginnings of IDs need not be one's own."""
    for entry_id in (ENTRY, OTHER):
        spool.drop("vgt", b"x", entry_id=entry_id, name="note")
    chronicle = Chronicle(spool)
    with pytest.raises(SpoolError, match="2 entries begin with '20261122T0555'; give more of the ID"):
        chronicle.of("20261122T0555")
    with pytest.raises(SpoolError, match=f"2 entries are called 'note'; the newest is {OTHER}"):
        chronicle.of("note")
    for number in range(30):
        spool.drop("vgt", b"x", entry_id=f"20261122T055503.0000{number:02}Z-k3f9q2x8")
    with pytest.raises(SpoolError, match="more than 20 entries begin with"):
        chronicle.of("20261122T")


# --- what came in ------------------------------------------------------------------------------------


def filed(spool: Spool, message_id: int, box: str = "new", flags: str = "") -> str:
    """A human's message where the Maildir delivery puts it, and listed."""
    name = f"1790000000.D{message_id}.discord{flags}"
    for each in ("new", "cur"):
        (spool.root / "incoming" / "vgt" / each).mkdir(parents=True, exist_ok=True)
    (spool.root / "incoming" / "vgt" / box / name).write_text("Subject: x\n\nhi")
    listed(spool, message_id)
    return f"incoming/vgt/{box}/{name}"


def listed(spool: Spool, message_id: int, *deliveries: str) -> None:
    with spool.at("state") as state:
        lists = handed.Handed(state)
        for each in deliveries or ("incoming", "inbox", "mail"):
            lists.record(each, 7, [message_id])
        lists.close()


MESSAGE = snowflake_at(1_790_000_000.0) + 5


@pytest.mark.parametrize(
    ("box", "flags", "says"),
    [
        ("new", "", "not read yet"), ("cur", ":2,", "not read yet"),
        ("cur", ":2,S", "read"), ("cur", "", "read"),
    ],
)  # fmt: skip
def test_a_message_and_what_came_of_it(spool: Spool, box: str, flags: str, says: str) -> None:
    """Where each delivery has it, and whether it has been read."""
    place = filed(spool, MESSAGE, box, flags)
    (spool.root / "attachments" / "vgt" / str(MESSAGE)).mkdir(parents=True)
    (spool.root / "attachments" / "vgt" / str(MESSAGE) / "a.png").touch()
    chronicle = Chronicle(spool)
    expected = [
        "written on Discord", f"filed as {place}, and {says}", "a line in the inbox file", "mailed",
        f"1 attached file in attachments/vgt/{MESSAGE}/",
    ]  # fmt: skip
    assert expected == words(chronicle.of(str(MESSAGE)))
    assert expected == words(chronicle.of(place))
    assert ["incoming"] == [event.kind for event in chronicle.lately(1_790_000_000.0)]
    assert [] == list(chronicle.lately(1_790_000_010.0))


def test_a_message_that_was_removed(spool: Spool) -> None:
    """The lists remember it; a mail that is owed is told as it stands."""
    listed(spool, MESSAGE)
    (spool.root / "state" / "mail").mkdir()
    (spool.root / "state" / "mail" / f"{MESSAGE}.given-up.json").touch()
    told = words(Chronicle(spool).of(f"https://discord.com/channels/1/7/{MESSAGE}"))
    gone = "filed, and removed by a reader since"
    assert ["written on Discord", gone, "a line in the inbox file", "the mail of it was given up"] == told


# --- the journal as a stream -------------------------------------------------------------------------


def write(spool: Spool, name: str, *records: dict[str, object]) -> None:
    with (spool.root / "state" / name).open("a") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")


def sent(number: int, at: float) -> dict[str, object]:
    entry_id = identity.fresh(at)
    return {"at": at, "kind": "sent", "id": entry_id, "channel": 7, "part": 1, "message": number, "guild": 1}


def test_a_file_that_is_begun_meanwhile(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service rotates the journal while this reads: nothing is left out, nothing told twice."""
    begin, day = 1_790_000_000.0, 24 * 3600.0
    write(spool, f"journal-{day_of(begin)}.jsonl", sent(1, begin))
    write(spool, journal.FILE, sent(2, begin + day))
    read = journal.read

    def reading(state: int, name: str = journal.FILE, **more: str) -> object:
        ended = spool.root / "state" / f"journal-{day_of(begin + day)}.jsonl"
        if name == journal.FILE and not ended.exists():
            (spool.root / "state" / journal.FILE).rename(ended)
            checkpoint = {"at": 0, "kind": "checkpoint", "unresolved": []}
            write(spool, journal.FILE, checkpoint, sent(3, begin + 2 * day))
        return read(state, name, **more)

    monkeypatch.setattr(journal, "read", reading)
    assert ["1", "2", "3"] == [event.facts["message"] for event in Chronicle(spool).lately(begin)]


def test_memory_does_not_grow_with_the_journal(spool: Spool) -> None:
    """Lately may be long, and a spool old."""
    at = 1_790_000_000.0
    write(spool, journal.FILE, *(sent(number, at + number / 100) for number in range(20_000)))
    chronicle = Chronicle(spool)
    tracemalloc.start()
    try:
        assert 20_000 == sum(1 for _ in chronicle.lately(at))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20  # bytes; the file has four million


def test_a_reader_without_rights(spool: Spool) -> None:
    """One sentence with what to do."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.chmod(spool.root, 0o755)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(SpoolError) as told:
            Chronicle(spool)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    what = f"{spool.root}/state may not be read (Permission denied)"
    assert (what, "join the group that owns it") == (told.value.what, told.value.hint)


async def test_no_sure_answer(tmp_path: Path) -> None:
    """A try that may have been carried out is told as one, and the look that found it."""
    async with bridging(tmp_path / "spool") as bridge:
        emulator: Emulator = bridge.emulator
        entry = bridge.drop("hi !!drop-after")
        chronicle, _ = await known(bridge, entry)
        kinds = [event.kind for event in chronicle.of(entry.id)]
        assert "!!drop-after" in emulator.messages("general")[0]["content"]
        assert ["written", "try", "unknown"] == kinds[:3]
        assert "no sure answer: it may be on Discord" in words(chronicle.of(entry.id))
        assert ["sent", "now"] == kinds[-2:]
