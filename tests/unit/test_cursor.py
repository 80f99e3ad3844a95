"""The cursor: what it says of an id, what it writes, and what it refuses to read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolbridge.cursor import OVERLAP, Cursors
from spoolbridge.errors import SpoolError
from tests.support.crashes import fail_at
from tests.support.messages import SECOND, START

CHANNEL = 1467106918538678293


@pytest.fixture
def spool_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def cursors(spool_fd: int) -> Iterator[Cursors]:
    made = Cursors(spool_fd)
    yield made
    made.close()


def file_of(root: Path, delivery: str = "incoming") -> Path:
    return root / "state" / "cursors" / f"{CHANNEL}.{delivery}.json"


def test_nothing_is_seen_before_the_beginning(cursors: Cursors) -> None:
    """No position, and every id is new."""
    cursor = cursors(CHANNEL, "incoming")
    assert (None, False) == (cursor.position, cursor.seen(1))


def test_what_lies_before_the_beginning_counts_as_seen(cursors: Cursors) -> None:
    """The overlap does not reach back behind the first start."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    assert START == cursor.position
    assert [True, True, False] == [cursor.seen(each) for each in (START - 1, START, START + 1)]


def test_within_the_overlap_only_what_was_handed_over_is_seen(cursors: Cursors) -> None:
    """Ids on both sides of the highest, and at the edge of the ten seconds."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    high = START + 60 * SECOND
    cursor.advance([high, high - SECOND])
    edge = high - OVERLAP
    ids = (edge, edge + 1, high - SECOND, high - 1, high, high + 1)
    assert [True, False, True, False, True, False] == [cursor.seen(each) for each in ids]


def test_ids_compare_as_numbers(cursors: Cursors) -> None:
    """18 digits come before 19, which text would get wrong."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(999_999_999_999_999_999)
    assert not cursor.seen(1_000_000_000_000_000_000)
    cursor.advance([1_000_000_000_000_000_000])
    cursor.advance([999_999_999_999_999_999])
    assert cursor.seen(1_000_000_000_000_000_000)


def test_ids_are_written_as_strings_and_soon_forgotten(cursors: Cursors, tmp_path: Path) -> None:
    """The file holds those of ten seconds, however many there were."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    for number in range(1, 100):
        cursor.advance([START + number * SECOND])
    written = json.loads(file_of(tmp_path).read_text())
    assert [str(START + number * SECOND) for number in range(90, 100)] == written["handed"]
    assert str(START + 99 * SECOND) == written["high"]


def test_a_restart_reads_what_was_written(cursors: Cursors, spool_fd: int) -> None:
    """Handed over, intended, and where: all of it survives."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    cursor.advance([START + SECOND])
    cursor.intend([START + 2 * SECOND], "mayor-villa")
    again = Cursors(spool_fd)
    read = again(CHANNEL, "incoming")
    assert (True, False) == (read.seen(START + SECOND), read.seen(START + 2 * SECOND))
    assert (frozenset({START + 2 * SECOND}), "mayor-villa") == (read.intended, read.place)
    assert [read] == list(again.of("incoming"))
    assert [] == list(again.of("inbox"))
    again.close()


def test_nothing_is_written_where_nothing_changed(cursors: Cursors, tmp_path: Path) -> None:
    """A quiet channel costs no disk."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    cursor.advance([START + SECOND], START + SECOND)
    before = file_of(tmp_path).stat().st_ino
    cursor.advance([], START)
    cursor.begin(START + 9 * SECOND)
    assert before == file_of(tmp_path).stat().st_ino


def test_a_failed_write_leaves_the_cursor_behind(cursors: Cursors) -> None:
    """Memory must never be ahead of the disk: the same message would be lost with the next crash."""
    cursor = cursors(CHANNEL, "incoming")
    cursor.begin(START)
    with pytest.raises(OSError, match="No space left"), fail_at(2):
        cursor.advance([START + SECOND])
    assert not cursor.seen(START + SECOND)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"high": 5, "floor": "5", "handed": [], "intended": [], "place": ""}',
        '{"high": "5", "floor": "6", "handed": [], "intended": [], "place": ""}',
        '{"high": "5", "floor": "5", "handed": ["x"], "intended": [], "place": ""}',
        '{"high": "5", "floor": "5", "handed": [], "intended": ["7"], "place": "../.."}',
        '{"high": "5", "floor": "5", "handed": [], "intended": []}',
        "\udcff",
    ],
)
def test_a_damaged_file_is_named(spool_fd: int, tmp_path: Path, content: str) -> None:
    """With what to do about it, and never read as a first start."""
    Cursors(spool_fd).close()
    file_of(tmp_path).write_text(content, "utf-8", "surrogateescape")
    cursors = Cursors(spool_fd)
    name = rf"state/cursors/{CHANNEL}\.incoming\.json"
    with pytest.raises(SpoolError, match=f"{name} is damaged; put its copy back"):
        cursors(CHANNEL, "incoming")
    cursors.close()


def test_a_cursor_that_never_began_cannot_move(cursors: Cursors) -> None:
    """Without a beginning, nobody could say what comes next."""
    with pytest.raises(SpoolError):
        cursors(CHANNEL, "incoming").advance([START])


def test_each_delivery_has_its_own(cursors: Cursors) -> None:
    """What is in the Maildir need not be in the inbox file."""
    cursors(CHANNEL, "incoming").begin(START)
    assert cursors(CHANNEL, "inbox").position is None


def test_of_many_threads_memory_keeps_the_last(cursors: Cursors, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was forgotten is read again, and is where it was: threads come and go for years."""
    monkeypatch.setattr("spoolbridge.cursor.MOST", 10)
    cursors(CHANNEL, "incoming").begin(START)
    cursors(CHANNEL, "incoming").advance([START + SECOND])
    for number in range(1, 50):
        cursors(CHANNEL + number, "incoming").begin(START)
        assert cursors(CHANNEL + 1, "incoming") is cursors(CHANNEL + 1, "incoming")
    assert 10 == len(cursors._cursors)
    again = cursors(CHANNEL, "incoming")
    assert (START + SECOND, True) == (again.reached, again.seen(START + SECOND))
