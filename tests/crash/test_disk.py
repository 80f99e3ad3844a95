"""The model of a disk itself: the textbook cases, as they were measured on real file systems."""

from __future__ import annotations

import base64

import pytest

from tests.crash.disk import Snapshot, after_power_cut

BEFORE = Snapshot({".": 1, "new": 2, "tmp": 3}, {1: None, 2: None, 3: None})


def _calls(*names: str) -> list[dict[str, object]]:
    known: dict[str, list[dict[str, object]]] = {
        "create": [{"call": "open", "path": "tmp/x"}, {"call": "opened", "inode": 9}],
        "write": [
            {
                "call": "write",
                "path": "tmp/x",
                "inode": 9,
                "offset": 0,
                "data": base64.b64encode(b"hi").decode(),
            }
        ],
        "sync file": [{"call": "fsync", "path": "tmp/x", "inode": 9}],
        "rename": [{"call": "rename", "path": "tmp/x", "to": "new/x", "inode": 9}],
        "sync new": [{"call": "fsync", "path": "new", "inode": 2}],
    }
    return [each for name in names for each in known[name]]


def _found(model: str, *names: str) -> set[str]:
    """What a reader of new/ may find."""
    trees = after_power_cut(BEFORE, _calls(*names), model)
    return {
        "nothing" if "new/x" not in tree.names else repr(tree.content[tree.names["new/x"]]) for tree in trees
    }


@pytest.mark.parametrize("model", ["journalled", "unordered"])
def test_the_full_protocol_survives(model: str) -> None:
    """File, name, directory: there, and whole."""
    assert {"b'hi'"} == _found(model, "create", "write", "sync file", "rename", "sync new")


@pytest.mark.parametrize("model", ["journalled", "unordered"])
def test_without_the_file_sync_it_may_be_empty(model: str) -> None:
    """The directory's fsync alone leaves empty files."""
    assert {"b''", "b'hi'"} == _found(model, "create", "write", "rename", "sync new")


@pytest.mark.parametrize("model", ["journalled", "unordered"])
def test_without_the_directory_sync_the_name_may_be_lost(model: str) -> None:
    """The last rename is the one that is missing."""
    assert {"nothing", "b'hi'"} == _found(model, "create", "write", "sync file", "rename")


def test_only_a_journal_orders_other_directories() -> None:
    """A later fsync elsewhere saves an earlier rename on a journalled disk, and only there."""
    calls = ("create", "write", "sync file", "rename", "sync file")
    assert {"b'hi'"} == _found("journalled", *calls)
    assert {"nothing", "b'hi'"} == _found("unordered", *calls)


def test_what_a_naive_writer_left_may_be_empty_until_it_is_synced() -> None:
    """Taken over without an fsync it may be lost; a claim's fsync makes it ours."""
    before = Snapshot(
        {".": 1, "outgoing": 2, "sending": 3, "outgoing/x": 9}, {1: None, 2: None, 3: None, 9: b"hi"}
    )
    before.unsynced = frozenset({9})
    rename = {"call": "rename", "path": "outgoing/x", "to": "sending/x", "inode": 9}
    syncs = [
        {"call": "fsync", "path": name, "inode": inode} for name, inode in (("sending", 3), ("outgoing", 2))
    ]
    without = list(after_power_cut(before, [rename, *syncs], "unordered"))
    assert {b"", b"hi"} == {tree.content[9] for tree in without}
    synced = {"call": "fsync", "path": "outgoing/x", "inode": 9}
    assert [b"hi"] == [
        tree.content[9] for tree in after_power_cut(before, [synced, rename, *syncs], "unordered")
    ]
