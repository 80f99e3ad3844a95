"""What is counted of each channel: right at once, and counted again only where something changed."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any

import pytest

from spoolbridge import glances
from spoolbridge.census import NOTHING, Census, Counted
from spoolbridge.spool import Spool
from tests.support.clock import next_tick

TODAY = "2026-11-22"
ID = "20261122T055501.123456Z-k3f9q2x7"
WRITTEN = 1795326901.123456


def made(spool: Spool, *places: str) -> None:
    """Files, with the directories that they lie in; a place that ends with a slash is a directory."""
    for place in places:
        path = spool.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if place.endswith("/") else path.write_text("x")


def test_nothing(spool: Spool) -> None:
    """A new spool."""
    assert ({}, 0) == (Census(spool).channels(TODAY), Census(spool).strays())


def test_entries(spool: Spool) -> None:
    """By state; of `sent/` today's; nothing that is ignored, and no folder in a drop box."""
    names = (f"{ID}.a", f"{ID}.b", "a.why", ".hidden")
    days = ("sent/villa/2026-11-21", f"sent/villa/{TODAY}")
    for place in ("outgoing/villa", "sending/villa", "failed/villa", *days):
        made(spool, *(f"{place}/{name}" for name in names))
    made(spool, f"sent/villa/{TODAY}/c", "outgoing/villa/folder/", "sent/vgt/", "outgoing/file")
    day = (spool.root / "sent" / "villa" / TODAY).stat().st_mtime
    expected = {"villa": Counted(2, 2, 2, 3, False, WRITTEN, day, None), "vgt": NOTHING}
    assert expected == Census(spool).channels(TODAY)


def test_a_day_that_is_over(spool: Spool) -> None:
    """Tells when something was sent last, and not that it was today."""
    made(spool, f"sent/villa/{TODAY}/a")
    day = (spool.root / "sent" / "villa" / TODAY).stat().st_mtime
    found = Census(spool).channels("2026-11-23")["villa"]
    assert (0, day) == (found.sent_today, found.last_sent)


def test_what_was_dropped_without_a_channel(spool: Spool) -> None:
    """It failed, and is in no channel's count; neither is a channel's directory an entry."""
    made(spool, f"failed/{ID}.a", f"failed/{ID}.a.why", "failed/villa/", "failed/.dropped.jsonl")
    assert (1, 0) == (Census(spool).strays(), Census(spool).channels(TODAY)["villa"].failed)


def test_what_came_in_last(spool: Spool) -> None:
    """Read or not, in whichever order they are listed; what is not ours is passed over."""
    made(spool, "outgoing/vgt/", "incoming/vgt/new/1795326901.D15.discord", "incoming/vgt/new/note")
    made(spool, "incoming/vgt/cur/1795326902.D16.discord:2,S", "incoming/vgt/cur/1795326900.D14.discord:2,S")
    made(spool, "incoming/other/new/1795326901.D17.discord")
    found = Census(spool).channels(TODAY)
    assert {"vgt": 1795326902.0} == {name: each.last_received for name, each in found.items()}


def test_a_maildir_that_may_not_be_read(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's: the counts are told all the same."""
    made(spool, "outgoing/vgt/a", "incoming/vgt/new/1795326901.D15.discord")
    real = os.open

    def refusing(path: Any, *args: Any, **kwargs: Any) -> int:
        if path == "incoming/vgt/new":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    found = Census(spool).channels(TODAY)["vgt"]
    assert (1, None) == (found.waiting, found.last_received)


class Kept:
    """One census, asked again and again, and what it lists meanwhile."""

    def __init__(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(glances, "SURE", 0.0)
        self.census = Census(spool)
        self.listed: list[str] = []
        real = os.open

        def noting(path: Any, *args: Any, **kwargs: Any) -> int:
            self.listed.append(str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, "open", noting)

    def look(self) -> Counted:
        self.listed.clear()
        found = self.census.channels(TODAY)["vgt"]
        self.census.strays()
        self.listed = [each for each in self.listed if "/" in each]  # the states themselves are listed always
        return found


def test_what_has_not_changed_is_not_listed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """STATUS is written every few seconds, and a Maildir may hold years."""
    kept = Kept(spool, monkeypatch)
    made(spool, "outgoing/vgt/.hold", f"failed/vgt/{ID}.a", f"sent/vgt/{TODAY}/a", "sending/vgt/")
    made(spool, "incoming/vgt/new/1795326901.D15.discord", "incoming/vgt/cur/")
    first = kept.look()
    assert 7 == len(kept.listed)
    assert (first, []) == (kept.look(), kept.listed)
    assert (True, 1, 1, 1795326901.0) == (first.held, first.failed, first.sent_today, first.last_received)


def test_what_has_changed_is_told(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message on its way through every state, and one that comes in and is read."""
    made(spool, "outgoing/vgt/", "sending/vgt/", "failed/vgt/", "incoming/vgt/new/", "incoming/vgt/cur/")
    kept, root = Kept(spool, monkeypatch), spool.root
    assert NOTHING == kept.look()

    def after(place: str, to: str) -> Counted:
        next_tick(root / "tmp")
        made(spool, place) if not to else (root / place).rename(root / to)
        return kept.look()

    assert 1 == after(f"outgoing/vgt/{ID}.a", "").waiting
    assert (0, 1) == after(f"outgoing/vgt/{ID}.a", f"sending/vgt/{ID}.a")[:2]
    assert (0, 0, 1) == after(f"sending/vgt/{ID}.a", f"failed/vgt/{ID}.a")[:3]
    (root / "sent" / "vgt" / TODAY).mkdir(parents=True)
    assert (0, 0, 0, 1) == after(f"failed/vgt/{ID}.a", f"sent/vgt/{TODAY}/{ID}.a")[:4]
    mail = "1795326901.D15.discord"
    assert 1795326901.0 == after(f"incoming/vgt/new/{mail}", "").last_received
    assert 1795326901.0 == after(f"incoming/vgt/new/{mail}", f"incoming/vgt/cur/{mail}:2,S").last_received
    assert after(f"incoming/vgt/cur/{mail}:2,S", "tmp/read").last_received is None
    assert kept.look().oldest is None


def test_what_is_written_to_grows_younger(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory does not change with it."""
    kept, path = Kept(spool, monkeypatch), spool.root / "outgoing" / "vgt" / "note"
    made(spool, "outgoing/vgt/note")
    first = path.stat().st_ctime
    assert first == kept.look().oldest
    next_tick(spool.root / "tmp")
    path.write_text("longer")
    assert first < path.stat().st_ctime
    assert path.stat().st_ctime == kept.look().oldest


def test_many_are_counted_one_by_one(spool: Spool) -> None:
    """A million entries sent today would take a hundred MB, of which some stay."""
    many = 2000
    made(spool, *(f"sent/villa/{TODAY}/{ID[:-4]}{number:04}.note" for number in range(many)))
    census = Census(spool)
    tracemalloc.start()
    try:
        found = census.channels(TODAY)["villa"]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many == found.sent_today
    assert most < 50 * many
