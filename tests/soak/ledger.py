"""What was handed over and what came of it: every entry and every human message of a soak, both ways.

Told by who writes and by who reads, never by the service. A text holds marks, `o12.1`: of the entry 12 the
first; each has to come to Discord once, also across parts, retries and restarts. What is long done is
forgotten, so that the ledger itself stays small: an unknown number that turns up is a repetition.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARK = re.compile(r"\bo(\d+)\.(\d+)\b")
_NUMBER = re.compile(r"\bo(\d+)\b")
_FILED = re.compile(r"\d+\.D(\d{1,20})\.discord(?::2,\w*)?")
_WHY = ".why"

OVERTAKE = 15.0  # seconds between two drops that must keep their order: above the settle time, and its error
SOON = 3600.0  # seconds after which an entry that nothing keeps back has to be settled
KEPT = 3 * 3600.0  # seconds for which what is done is remembered


@dataclass
class Entry:
    """One drop; when, by Discord's clock and by this machine's; `posted`: how often each mark was."""

    number: int
    channel: str
    at: float
    wall: float
    posted: list[int]
    key: str = ""
    #: Its content makes no message with marks: a reaction.
    silent: bool = False
    #: An operator took it away, or moved it: then it need not come, or not in its turn.
    cancelled: bool = False
    moved: bool = False
    #: The channel is gone from Discord.
    homeless: bool = False

    @property
    def whole(self) -> bool:
        return self.silent or all(self.posted)


@dataclass
class Heard:
    """One human message: how often it came by each delivery. `excused`: deleted, or its channel, before."""

    at: float
    channel: str
    files: int = 0
    lines: int = 0
    excused: bool = False


@dataclass
class Ledger:
    """`wrong` is what must stay empty: one sentence for each promise that was not kept."""

    entries: dict[int, Entry] = field(default_factory=dict)
    heard: dict[int, Heard] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    dropped: int = 0
    posts: int = 0
    said: int = 0
    filed: int = 0
    settled: dict[str, int] = field(default_factory=lambda: {"sent": 0, "failed": 0, "cancelled": 0})
    #: Channel → the drop times of what was posted there last.
    _order: dict[str, deque[tuple[int, float, float]]] = field(default_factory=dict)
    _strangers: set[int] = field(default_factory=set)
    #: How far the inbox file was read, and the one that it was until the last rotation.
    _offset: int = 0
    _rest: int | None = None

    # -- out ---------------------------------------------------------------------------------------------

    def next(self) -> int:
        self.dropped += 1
        return self.dropped

    def drop(self, entry: Entry) -> None:
        """It has been handed over: from now on it is sent once or explained."""
        self.entries[entry.number] = entry

    def post(self, content: str) -> None:
        """The bot has posted this."""
        self.posts += 1
        for number, mark in {(int(a), int(b)) for a, b in MARK.findall(content)}:
            entry = self.entries.get(number)
            if entry is None:
                self.wrong.append(f"o{number}.{mark} was posted long after all of o{number} was done")
                continue
            entry.posted[mark - 1] += 1
            if entry.posted[mark - 1] > 1:
                self.wrong.append(f"o{number}.{mark} was posted {entry.posted[mark - 1]} times")
            if mark == 1:
                self._in_turn(entry)

    def _in_turn(self, entry: Entry) -> None:
        before = self._order.setdefault(entry.channel, deque(maxlen=100))
        for number, at, wall in before:
            late = at - entry.at > OVERTAKE and wall - entry.wall > OVERTAKE
            if late and not entry.moved:
                what = f"o{entry.number} came behind o{number}, which was dropped {at - entry.at:.0f} s later"
                self.wrong.append(f"{entry.channel}: {what}")
                break
        if not entry.moved:
            before.append((entry.number, entry.at, entry.wall))

    def settle(self, root: Path, now: float, *, everything: bool) -> None:
        """Look where the entries lie. `everything`: nothing keeps any of them back any more."""
        places = _places(root)
        for number, entry in list(self.entries.items()):
            # A thread may have moved it while we looked: it is met twice, or not at all.
            found = _again(root, places.get(number) or _places(root).get(number, []))
            if now - entry.at < 60 and not found:
                continue
            self._judge(root, entry, found, now, everything=everything)

    def _judge(self, root: Path, entry: Entry, found: list[str], now: float, *, everything: bool) -> None:
        name = f"o{entry.number} ({entry.channel})"
        if len(found) > 1:
            self.wrong.append(f"{name} lies in {' and '.join(found)}")
        state = found[0].partition("/")[0] if found else ""
        if not found and not entry.cancelled:
            self.wrong.append(f"{name} is nowhere: neither sent nor explained")
        if state == "sent" and not entry.whole and not self._has_twin(entry):
            self.wrong.append(f"{name} counts as sent, and was not posted: {entry.posted}")
        if state == "failed" and not (root / (found[0] + _WHY)).exists() and _again(root, found):
            self.wrong.append(f"{name} failed without a reason")
        if state in ("outgoing", "sending") and (everything or now - entry.at > KEPT):
            self.wrong.append(f"{name} still lies in {found[0]} after {(now - entry.at) / 60:.0f} min")
        done = state == "sent" or not found or (state == "failed" and now - entry.at > KEPT)
        if done and (everything or now - entry.at > KEPT):
            self.settled[state or "cancelled"] += 1
            del self.entries[entry.number]
        elif everything and state == "failed":
            self.settled[state] += 1

    def _has_twin(self, entry: Entry) -> bool:
        """Another entry with its Dedupe-Key was posted; of those that are forgotten nobody can tell."""
        twins = [each for each in self.entries.values() if each.key == entry.key and each is not entry]
        return bool(entry.key) and (any(each.whole for each in twins) or not twins)

    # -- in ----------------------------------------------------------------------------------------------

    def say(self, message_id: int, at: float, channel: str) -> None:
        """A human has written; it has to come by each delivery once."""
        self.said += 1
        self.heard[message_id] = Heard(at, channel)

    def stranger(self, message_id: int) -> None:
        """What is not for agents: it must never come."""
        self._strangers.add(message_id)

    def file(self, name: str) -> int | None:
        """Somebody has found this in a `new/`; the message's id."""
        match = _FILED.fullmatch(name)
        if match is None:
            self.wrong.append(f"a file in new/ is called {name!r}")
            return None
        found = self._known(int(match[1]), "filed")
        if found:
            self.filed += 1
            found.files += 1
            if found.files > 1:
                self.wrong.append(f"{match[1]} was filed {found.files} times")
        return int(match[1])

    def read_lines(self, inbox: Path) -> None:
        """What the inbox file has got since the last look; of a rotated one first what came behind that."""
        if self._rest is not None:
            self._lines(_rotated(inbox), self._rest)
            self._rest = None
        if inbox.exists():
            self._offset = self._lines(inbox, self._offset)

    def rotate(self, inbox: Path) -> None:
        """As logrotate does; who has the file open may still write to it."""
        self.read_lines(inbox)
        if inbox.exists():
            inbox.rename(_rotated(inbox))
            self._rest, self._offset = self._offset, 0

    def _lines(self, path: Path, offset: int) -> int:
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                message_id = int(json.loads(line)["id"])
                found = self._known(message_id, "in the inbox file")
                if found:
                    found.lines += 1
                    if found.lines > 1:
                        self.wrong.append(f"{message_id} has {found.lines} lines")
        return offset

    def _known(self, message_id: int, where: str) -> Heard | None:
        if message_id in self._strangers:
            self.wrong.append(f"{message_id} is not for agents, and was {where}")
        elif message_id not in self.heard:
            self.wrong.append(f"{message_id} was {where} long after it was done, or nobody wrote it")
        return self.heard.get(message_id)

    def arrive(self, now: float, *, everything: bool) -> None:
        """Look at what humans wrote: there in time, and the done forgotten."""
        for message_id, found in list(self.heard.items()):
            age = now - found.at
            there = found.files > 0 and found.lines > 0
            if not there and not found.excused and (everything or age > KEPT):
                came = f"{found.files} files, {found.lines} lines"
                self.wrong.append(f"{message_id} ({found.channel}), said {age / 60:.0f} min ago, has {came}")
            if everything or age > KEPT:
                del self.heard[message_id]
        if everything:
            self._strangers.clear()

    @property
    def open(self) -> tuple[int, int]:
        """How many entries, and how many messages, are not through yet."""
        out = sum(not each.whole and not each.cancelled for each in self.entries.values())
        return out, sum(not (each.files and each.lines) for each in self.heard.values())


def _places(root: Path) -> dict[int, list[str]]:
    """Entry's number → where it lies, relative to the spool."""
    found: dict[int, list[str]] = {}
    for path in _entries(root):
        if match := _NUMBER.search(path.rpartition("/")[2]):
            found.setdefault(int(match[1]), []).append(path)
    return found


def _entries(root: Path) -> Iterator[str]:
    # In the order in which an entry moves: one that moves meanwhile is met twice rather than never.
    for state, depth in (("outgoing", 1), ("sending", 1), ("sent", 2), ("failed", 1)):
        yield from (path for path in _below(root, state, depth) if not path.endswith(_WHY))


def _below(root: Path, place: str, depth: int) -> Iterator[str]:
    with os.scandir(root / place) as children:
        names = sorted(child.name for child in children if depth == 0 or child.is_dir())
    for name in names:
        if depth:
            yield from _below(root, f"{place}/{name}", depth - 1)
        else:
            yield f"{place}/{name}"


def _again(root: Path, found: list[str]) -> list[str]:
    """Those that lie there still."""
    return [each for each in found if (root / each).exists()]


def _rotated(inbox: Path) -> Path:
    return inbox.with_name(inbox.name + ".1")
