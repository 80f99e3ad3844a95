"""The journal's files in `state/`: their names, the order in which they were written, and reading them.

    journal.jsonl                  the one that is written to
    journal-2026-11-22.jsonl       what was it before, by the UTC day on which it was begun
    journal-2026-11-22.2.jsonl     the second one of that day
    journal-2026-11-15.jsonl.gz    one of an older day, compressed: every byte of it is there

Only the one who holds the spool's lock changes any of them; whoever only looks may do so at any time, for
a file is there under its compressed name before its plain one goes.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any, NamedTuple, cast

from spoolbridge import atomic
from spoolbridge.errors import SpoolError
from spoolbridge.identity import day_of

FILE = "journal.jsonl"
COMPRESSED = ".gz"

_NAME = re.compile(r"journal-(\d{4}-\d\d-\d\d)(?:\.([1-9]\d{0,8}))?\.jsonl(?:\.gz)?", re.ASCII)
_MENTIONED = re.compile(rb'"(?:id|key)": ?"([^"]*)"|"message": ?(\d+)')
_BLOCK = 1 << 18  # bytes
_INDEXED = 200  # files, the newest, of which is remembered what they mention: 26 KiB each
_DAY = 24 * 3600.0  # seconds
_EVER = float("-inf")

Record = dict[str, Any]


class Dated(NamedTuple):
    """A file that is not written to any more; they sort as they were written."""

    day: str
    number: int = 1

    @property
    def name(self) -> str:
        number = f".{self.number}" if self.number > 1 else ""
        return f"journal-{self.day}{number}.jsonl"


class Older:
    """The files before the one that is written to, for the one who writes; not for several threads.

    Remembers what the newer ones mention, so that whoever asks for what is in none of them reads nothing.
    """

    def __init__(self, state: int) -> None:
        self._state = state
        self._mentioned: dict[Dated, array[int]] = {}
        self._horizon: float | None = None
        self._files: list[Dated] = []
        self.renew()

    def renew(self) -> None:
        """Look again which there are."""
        self._files, self._horizon = dated(self._state), None
        self._mentioned = {each: self._mentioned[each] for each in self._files if each in self._mentioned}

    @property
    def never(self) -> bool:
        """There are none, and never were: all that was ever written is in the file that is written to."""
        return not self._files and self.horizon == _EVER

    @property
    def horizon(self) -> float:
        """As the function of that name, asked once."""
        if self._horizon is None:
            self._horizon = horizon(self._state, self._files)
        return self._horizon

    def next_after(self, began: float) -> Dated:
        """The name for a file that was begun then. Behind all others, also where the clock was set back."""
        day = day_of(began)
        last = self._files[-1] if self._files else Dated("", 0)
        return Dated(last.day, last.number + 1) if day <= last.day else Dated(day)

    def records(self, since: float, *, having: str = "") -> Iterator[Record]:
        """What was written at that time (unix seconds) or later. `having`: an ID, a key or a message's id,
        and only records that mention it."""
        wanted, indexed = hash(having.encode()), set(self._files[-_INDEXED:])
        for each in self._reaching(since):
            if having and each in indexed:
                if each not in self._mentioned:
                    self._mentioned[each] = _mentions(self._state, each.name)
                if not _contains(self._mentioned[each], wanted):
                    continue
            yield from read(self._state, each.name, having=having)

    def silent(self, since: float, text: str) -> bool:
        """Whether `records` gives nothing, and no file that was removed could have, as far as that is known
        without reading; at any time and from any thread."""
        horizon, mentioned, wanted = self._horizon, self._mentioned, hash(text.encode())
        if horizon is None or horizon > since - _DAY:
            return False
        for each in self._reaching(since):
            known = mentioned.get(each)
            if known is None or _contains(known, wanted):
                return False
        return True

    def _reaching(self, since: float) -> Sequence[Dated]:
        """The files that may hold what was written then or later. Without a look at the others, of which a
        year leaves thousands."""
        files = self._files
        return files[bisect_left(files, Dated(day_of(since - _DAY), 0)) :]


def dated(state: int) -> list[Dated]:
    """The files that are not written to any more, in the order in which they were."""
    return sorted({each for each in map(named, os.listdir(state)) if each})


def named(name: str) -> Dated | None:
    """The file that has this name, compressed or not; None: none of ours that is done with."""
    match = _NAME.fullmatch(name)
    return Dated(match[1], int(match[2] or 1)) if match else None


def read(state: int, name: str = FILE, *, having: str = "") -> Iterator[Record]:
    """The records of one file, compressed or not; a line that is not one is passed over.

    `having`: only lines with these characters are decoded, which is most of the time it takes.
    Raises SpoolError where a compressed one is damaged.
    """
    with suppress(FileNotFoundError), _opened(state, name) as file:
        for line in _lines(file, having.encode()):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "kind" in record:
                yield record


def records(state: int, since_day: str, *, having: str = "") -> list[Record]:
    """All records of files that were begun on that day (UTC) or later, for who looks while a service writes:
    read again where a file was begun meanwhile."""
    while True:
        files = dated(state)
        names = [*(each.name for each in files if each.day >= since_day), FILE]
        found = [record for name in names for record in read(state, name, having=having)]
        if files == dated(state):
            return found


def lookup(state: int, entry_id: str) -> Record:
    """Where an entry was posted, for who dropped it: `message_ids` by part, `channel_id`, `guild_id`."""
    found: Record = {}
    messages: dict[int, int] = {}
    for record in records(state, f"{entry_id[:4]}-{entry_id[4:6]}-{entry_id[6:8]}", having=entry_id):
        if record.get("id") == entry_id and record["kind"] in ("sent", "same"):
            messages[record["part"]] = record["message"]
            found = {"channel_id": record["channel"], "guild_id": record["guild"]}
    return {**found, "message_ids": tuple(messages[part] for part in sorted(messages))} if found else {}


def horizon(state: int, files: Sequence[Dated] | None = None) -> float:
    """Since when (unix seconds) the files tell of everything; -inf: since ever. `files`: those of `dated`.

    The very first file opens with no checkpoint. Where the oldest that is left does, others were before it.
    """
    files = dated(state) if files is None else files
    for record in read(state, files[0].name if files else FILE):
        return float(record["at"]) if record["kind"] == "checkpoint" else _EVER
    return _EVER


def compress(state: int, file: Dated) -> int:
    """Keep it compressed. Returns how many bytes that spares. Raises OSError with everything as it was."""
    import gzip

    with suppress(FileNotFoundError), _plain(state, file.name) as source:
        data = source.read()
        packed = gzip.compress(data, mtime=0)
        atomic.replace(file.name + COMPRESSED, packed, at=state)
        os.unlink(file.name, dir_fd=state)
        return len(data) - len(packed)
    return 0


def remove(state: int, file: Dated) -> None:
    """Remove it for good, durably: the oldest, for between those that are left none may be missing."""
    for name in (file.name, file.name + COMPRESSED):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=state)
    atomic.sync_directory(state)


@contextmanager
def _opened(state: int, name: str) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(_plain(state, name))
            return
        except FileNotFoundError:
            if not _NAME.fullmatch(name):
                raise
        import gzip
        import zlib

        name = name.removesuffix(COMPRESSED) + COMPRESSED
        try:
            packed = stack.enter_context(_plain(state, name))
            yield cast(IO[bytes], stack.enter_context(gzip.open(packed)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:  # it was whole: the disk has changed it
            raise SpoolError(f"state/{name} is damaged ({error})", "put its copy back") from error


def _plain(state: int, name: str) -> IO[bytes]:
    return open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=state), "rb")


def _lines(file: IO[bytes], wanted: bytes) -> Iterator[bytes]:
    if not wanted:
        yield from file
        return
    for block in _blocks(file):
        if wanted in block:
            yield from (line for line in block.split(b"\n") if wanted in line)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    """The file in pieces that end with a line."""
    while block := file.read(_BLOCK):
        yield block + file.readline()


def _contains(known: array[int], wanted: int) -> bool:
    place = bisect_left(known, wanted)
    return place < len(known) and known[place] == wanted


def _mentions(state: int, name: str) -> array[int]:
    """Hashes of the IDs, keys and messages' ids that a file mentions, sorted."""
    found: set[int] = set()
    with suppress(FileNotFoundError), _opened(state, name) as file:
        for block in _blocks(file):
            found.update(hash(match[1] or match[2]) for match in _MENTIONED.finditer(block))
    return array("q", sorted(found))
