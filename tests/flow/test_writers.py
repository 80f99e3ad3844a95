"""Who writes without knowing of us: every program is let loose on a running bridge, all at once.

The programs are real, and so are the dispatcher, its watcher and its two seconds; each row has a channel
of its own. What a row states is the contract's: posted once and whole, or refused with what to do. A
program that is missing skips its row, but never in CI.
"""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge import ready
from spoolbridge.ready import GRACE
from tests.support.live import Live, living
from tests.support.waiting import until

WHOLE = "first\nsecond"
TIMEOUT = 20.0  # seconds; an editor on a busy machine takes one or two
AT_ONCE = 12  # programs; more would only wait for the processor
NEW_CHANNELS = [f"new-{number}" for number in range(50)]
LINK = ["the file has a second link", "What to do: copy it instead"]
SYMLINK = ["a symbolic link, which is never followed", "What to do: copy the file instead"]
PIPE = ["not a regular file", "What to do: drop a file"]


@dataclass(frozen=True)
class Row:
    """A writer. Its script finds `$x` (the file to write), `$box` (the drop box), `$src` (WHOLE, in a file
    of 2001), `$tmp` (the spool's), `$away` (elsewhere), `$far` (another file system) and `$code`."""

    name: str  # begins with the program
    script: str
    texts: tuple[str, ...] = (WHOLE,)
    refused: tuple[list[str], ...] = ()
    files: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    package: str = ""  # Debian's, where the program is not everywhere
    code: str = ""


def pieces(sink: str) -> str:
    """Two lines with a pause that is longer than the settle, into a pipe or a redirection."""
    return f"(echo first; sleep 0.6; echo second) {sink}"


def edited(act: str) -> str:
    """A file that waits to be corrected. Held open, for the bridge would take it before an editor starts."""
    return f"exec 3>> \"$x\"; printf 'first\\nseconds\\n' >&3; {act}; exec 3>&-"


def vim(settings: str, act: str) -> str:
    """`backupskip` would have files below /tmp edited in place."""
    return f"vim -Nu NONE -i NONE -es -c 'set backupskip= {settings}' -c '{act}' -c wq \"$x\" < /dev/null"


def emacs(act: str) -> str:
    # Without a terminal it keeps no backup, nor of what lies below a directory for temporary files.
    backup = "(setq backup-inhibited nil backup-enable-predicate (lambda (_) t))"
    return f"emacs -Q --batch \"$x\" --eval '(progn {backup} {act} (save-buffer))'"


def bundle(act: str) -> str:
    """A bundle `b.msg`, whole elsewhere, and what is done with it."""
    made = 'cd "$away"; mkdir -p b.msg/files; cp "$src" b.msg/body; echo log > b.msg/files/log.txt'
    return f"{made}; {act}"


PYTHON = """
import sys, time
with open(sys.argv[1], "w") as file:
    print("first", file=file, flush=True)
    time.sleep(0.6)
    print("second", file=file)
"""
MAP = """
import mmap, sys, time
with open(sys.argv[1], "w+b") as file:
    file.truncate(13)
    view = mmap.mmap(file.fileno(), 13)
time.sleep(0.6)
view[:] = b"first\\nsecond\\n"
view.close()
"""
NODE = 'require("fs").promises.writeFile(process.argv[1], "first\\nsecond\\n")'

ROWS = (
    Row("bash echo", "echo $'first\\nsecond' > \"$x\""),
    Row("bash slow subshell", pieces('> "$x"')),
    Row("bash two quick appends", 'echo first > "$x"; sleep 0.05; echo second >> "$x"'),
    Row(
        "bash two slow appends",
        'echo first > "$x"; while [ -e "$x" ]; do sleep 0.02; done; echo second >> "$x"', ("first", "second"),
    ),
    Row("bash two quick saves", 'echo draft > "$x"; sleep 0.05; cat "$src" > "$x"'),
    Row(
        "bash two slow saves",
        'echo draft > "$x"; while [ -e "$x" ]; do sleep 0.02; done; cat "$src" > "$x"', ("draft", WHOLE),
    ),
    Row("bash descriptor", 'exec 3> "$x"; echo first >&3; sleep 0.6; echo second >&3; exec 3>&-'),
    Row("bash forked child", 'exec 3> "$x"; echo first >&3; (sleep 0.6; echo second >&3) & exec 3>&-'),
    Row("touch, then write", 'touch "$x"; sleep 0.6; cat "$src" > "$x"'),
    Row("tee", pieces('| tee "$x" > /dev/null')),
    Row("dd", pieces('| dd of="$x" bs=1 status=none')),
    Row("cp", 'cp "$src" "$x"'),
    Row("cp -p", 'cp -p "$src" "$x"'),
    Row("cp -r of a bundle", bundle('cp -r "b.msg" "$box"'), files=("log.txt",)),
    Row("mv", 'cp -p "$src" "$tmp/mv"; mv "$tmp/mv" "$x"'),
    Row("mv from a hidden name", pieces('> "$box/.x"') + '; mv "$box/.x" "$x"'),
    Row("mv of a bundle", bundle('mv "b.msg" "$box"'), files=("log.txt",)),
    Row("mv across file systems", 'cp -p "$src" "$far/mv"; mv "$far/mv" "$x"'),
    Row("ln", 'cp "$src" "$away/ln"; ln "$away/ln" "$x"', (), (LINK,)),
    Row("ln -s", 'ln -s "$src" "$x"', (), (SYMLINK,)),
    Row("ln as Maildir does", 'cp "$src" "$tmp/link"; ln "$tmp/link" "$x"; rm "$tmp/link"'),
    Row("mkfifo", 'mkfifo "$x"', (), (PIPE,)),
    Row("install -m", 'install -m 640 "$src" "$x"'),
    Row("tar", 'cp -p "$src" "$away/x"; tar -C "$away" -cf - x | tar -C "$box" -xf -'),
    Row("rsync", 'rsync "$src" "$x"', package="rsync"),
    Row("rsync -a", 'rsync -a "$src" "$x"', package="rsync"),
    Row("rsync --inplace", 'rsync --inplace "$src" "$x"', package="rsync"),
    Row("rsync --temp-dir", 'rsync --temp-dir="$tmp" "$src" "$x"', package="rsync"),
    Row("rsync --delay-updates", 'rsync -a --delay-updates "$src" "$x"', package="rsync"),
    Row(
        "rsync of a bundle over a slow line",
        bundle('seq 40000 > "b.msg/files/log.txt"; rsync -a --bwlimit=150 "b.msg" "$box"'),
        files=("log.txt",), package="rsync",
    ),
    Row("sed -i", edited('sed -i s/seconds/second/ "$x"')),
    Row("perl -i", edited('perl -pi -e s/seconds/second/ "$x"'), package="perl"),
    Row(
        "patch", edited('diff -u "$x" "$src" > "$away/diff" || true; patch -s "$x" "$away/diff"'),
        package="patch",
    ),
    Row("ed", edited("printf '%s\\n' 2s/seconds/second/ w q | ed -s \"$x\""), package="ed"),
    Row("sponge", pieces('| sponge "$x"'), package="moreutils"),
    Row("vim of a new file", vim("", 'call setline(1, ["first", "second"])'), package="vim"),
    Row("vim of a file", edited(vim("backupcopy=no", "%s/seconds/second/")), package="vim"),
    Row("vim in place", edited(vim("backupcopy=yes", "%s/seconds/second/")), package="vim"),
    Row("nano", "", package="nano"),  # typed into, below
    Row("emacs of a new file", emacs('(insert "first\\nsecond\\n")'), package="emacs-nox"),
    Row(
        "emacs of a file", edited(emacs('(search-forward "seconds") (delete-char -1)')),
        leaves=("x~",), package="emacs-nox",
    ),
    Row("python in pieces", 'python "$code" "$x"', code=PYTHON),
    Row("python through a map", 'python "$code" "$x"', code=MAP),
    Row("node", 'node -e "$code" "$x"', code=NODE, package="nodejs"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of one row; `complaint` is the program's."""

    texts: list[str]
    files: list[list[str]]
    refused: list[list[str]]
    left: list[str]
    complaint: str = ""


@dataclass(frozen=True)
class Ran:
    """What came of all: rows by name, why a row could not run, what waited for the minute to pass, and
    the texts of the channels that were made by their first message."""

    rows: dict[str, Outcome]
    missing: dict[str, str]
    waited: dict[str, list[str]]
    new: dict[str, list[str]]


def channel_of(row: Row) -> str:
    return f"writer-{ROWS.index(row)}"


def missing(row: Row, far: Path | None) -> str:
    """Why a row cannot run here, and what would help; empty: it can."""
    program = row.name.split()[0].rstrip(",")
    if program != "python" and shutil.which(program) is None:
        return f"no {program}: apt-get install {row.package or program}"
    return "no second file system: mount -t tmpfs none /dev/shm" if "$far" in row.script and not far else ""


async def shell(script: str, environment: dict[str, str]) -> str:
    """Run a script until the last process that it started has ended; what it said, if it failed."""
    started = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(started.communicate(), TIMEOUT)
    return "" if started.returncode == 0 else f"exit {started.returncode}: {said.decode()}"


async def nano(path: str, environment: dict[str, str]) -> str:
    """Type into nano on a terminal of its own: the text, ^O, Enter, ^X."""
    ours, theirs = pty.openpty()
    loop = asyncio.get_running_loop()
    drawn = asyncio.Event()

    def look() -> None:
        try:
            shown = os.read(ours, 1 << 16)
        except OSError:  # it has ended
            loop.remove_reader(ours)
            return
        if b"Exit" in shown:  # its list of keys, the last of the first screen
            drawn.set()

    loop.add_reader(ours, look)
    try:
        started = await asyncio.create_subprocess_exec(
            "nano", "-I", path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        await asyncio.wait_for(drawn.wait(), TIMEOUT)
        os.write(ours, b"first\rsecond\x0f\r\x18")
        code = await asyncio.wait_for(started.wait(), TIMEOUT)
    finally:
        loop.remove_reader(ours)
        os.close(ours)
    return f"exit {code}" if code else ""


class Writers:
    """Lets the programs loose on a bridge."""

    def __init__(self, live: Live, place: Path, far: Path | None) -> None:
        self._live, self._place, self._far = live, place, far
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._src = place / "whole"
        self._src.write_text(WHOLE + "\n")
        os.utime(self._src, (1_000_000_000, 1_000_000_000))

    async def run(self, row: Row) -> str:
        """One program to its end; what it complained of."""
        environment = self._environment(row)
        async with self._turn:
            if row.name == "nano":
                return await nano(environment["x"], environment)
            return await shell(f'python() {{ "{sys.executable}" -c "$@"; }}; {row.script}', environment)

    async def make_channels(self) -> str:
        """As `run`: fifty channels that come into being with their first message, with no gap between."""
        script = 'cd "$0"; for each; do mkdir "$each"; echo "in $each" > "$each/x"; done'
        outgoing = str(self._live.outgoing)
        return await shell(f"set -- {' '.join(NEW_CHANNELS)}; {script}".replace("$0", outgoing), {})

    def _environment(self, row: Row) -> dict[str, str]:
        box = self._live.outgoing / channel_of(row)
        away = self._place / channel_of(row)
        away.mkdir()
        return {
            "PATH": os.environ["PATH"], "HOME": str(self._place), "LANG": "C.UTF-8", "TERM": "xterm",
            "TMPDIR": str(away), "x": str(box / "x"), "box": str(box), "src": str(self._src),
            "tmp": str(self._live.spool.root / "tmp"), "away": str(away), "far": str(self._far),
            "code": row.code,
        }  # fmt: skip


@contextmanager
def another_file_system(place: Path) -> Iterator[Path | None]:
    """A directory that a rename from `place` cannot reach; None: there is none here."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == place.stat().st_dev:
        yield None
        return
    made = shm / f"spoolbridge-{os.getpid()}"
    made.mkdir()
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
async def ran(tmp_path_factory: pytest.TempPathFactory, anyio_backend: str) -> Ran:
    """Everybody at once, then what came of it."""
    place = tmp_path_factory.mktemp("writers")
    async with living(place / "spool", *map(channel_of, ROWS)) as live:
        live.add(*NEW_CHANNELS, box=False)
        with another_file_system(place) as far:
            unable = {row.name: why for row in ROWS if (why := missing(row, far))}
            able = [row for row in ROWS if row.name not in unable]
            writers = Writers(live, place, far)
            acts = [writers.make_channels(), *map(writers.run, able)]
            failed, *complaints = await asyncio.gather(*acts)
        assert "" == failed
        await live.empty({f"outgoing/{channel_of(row)}": ["x"] for row in able if LINK in row.refused})
        waited = live.waiting()
        live.later(GRACE)
        await live.empty()
        rows = {row.name: outcome(live, row, said) for row, said in zip(able, complaints, strict=True)}
        return Ran(rows, unable, waited, {each: live.texts(each) for each in NEW_CHANNELS})


def outcome(live: Live, row: Row, complaint: str) -> Outcome:
    channel = channel_of(row)
    refused = [why[:-1] for why in live.reasons(channel)]  # without the command that retries
    left = live.spool.names(f"outgoing/{channel}")
    return Outcome(live.texts(channel), live.files(channel), refused, left, complaint)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_writer(row: Row, ran: Ran) -> None:
    """Its message is posted once and whole, or refused with what to do instead."""
    if row.name in ran.missing and "CI" not in os.environ:
        pytest.skip(ran.missing[row.name])
    expected = Outcome(
        list(row.texts), [list(row.files)] * len(row.texts), list(row.refused), list(row.leaves)
    )
    assert expected == ran.rows[row.name]


def test_a_second_link_has_a_minute(ran: Ran) -> None:
    """Maildir's writers have two links for an instant: only who keeps both is refused."""
    assert {f"outgoing/{channel_of(row)}": ["x"] for row in ROWS if LINK in row.refused} == ran.waited


def test_channels_that_come_with_their_first_message(ran: Ran) -> None:
    """No event tells of a file that was there before its directory was watched; the message is found."""
    assert {each: [f"in {each}"] for each in NEW_CHANNELS} == ran.new


async def test_who_comes_back_within_the_settle(tmp_path: Path) -> None:
    """A file that was found closed and whole, and is opened again just then, is not half taken."""
    examine, verdicts = ready.examine, []

    def examine_and_tell(*entry: Any, **more: Any) -> Any:
        verdicts.append(examine(*entry, **more))
        return verdicts[-1]

    async with living(tmp_path / "spool", "general") as live:
        with patch.object(ready, "examine", examine_and_tell):
            path = live.outgoing / "general" / "x"
            path.write_text("first\n")
            await until(lambda: verdicts)
            with path.open("a") as file:
                file.write("second\n")
        await live.posted("general", WHOLE)


#: Opens its share of the files at once; writes to all of them in turn, twice, longer apart than the settle;
#: closes them in any order. `first` is the first file's number, `step` how many processes share them.
SLOW_WRITERS = """
import os, random, sys, time
outgoing, channels, first, step, count = sys.argv[1], *map(int, sys.argv[2:])
numbers = range(first, count, step)
flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
fds = {n: os.open(f"{outgoing}/slow-{n % channels}/{n}", flags, 0o660) for n in numbers}
for piece in ("first", "second", "last"):
    for n, fd in fds.items():
        os.write(fd, f"{piece} of {n}\\n".encode())
    time.sleep(0.4)
for n in random.Random(first).sample(numbers, len(numbers)):
    os.close(fds[n])
    time.sleep(0.001)
"""
PROCESSES = 4
SLOW_CHANNELS = 20


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.sweep)])
async def test_slow_writers_at_once(count: int, tmp_path: Path) -> None:
    """None of their messages is cut, lost or repeated, however many hold their files open meanwhile."""
    channels = [f"slow-{number}" for number in range(SLOW_CHANNELS)]
    async with living(tmp_path / "spool", *channels) as live:
        shares = [map(str, (SLOW_CHANNELS, first, PROCESSES, count)) for first in range(PROCESSES)]
        started = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", SLOW_WRITERS, live.outgoing, *share)
            for share in shares
        ]
        assert [0] * PROCESSES == [await writer.wait() for writer in started]
        await live.empty(seconds=50.0)  # the client keeps to 40 posts a second
        whole = Counter(f"first of {n}\nsecond of {n}\nlast of {n}" for n in range(count))
        assert whole == Counter(text for channel in channels for text in live.texts(channel))
