"""Other programs that write into `outgoing/`: processes of their own, with descriptors of their own."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_SLOW = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    print("open", flush=True)
    for line in sys.stdin.buffer:
        file.write(line)
        print("written", flush=True)
"""


def shell_rename(box: Path, name: str, text: str) -> Path:
    """As the README shows it: write beside it under a hidden name, then `mv`."""
    script = 'printf %s "$2" > "$0/.$1.draft" && mv "$0/.$1.draft" "$0/$1"'
    subprocess.run(["sh", "-c", script, box, name, text], check=True, timeout=10)
    return box / name


class SlowWriter:
    """A process that holds the file open for writing until it is closed; each piece is on disk on return."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SLOW, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._expect(b"open\n")

    def write(self, line: bytes) -> None:
        """Append one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        self._expect(b"written\n")

    def close(self) -> None:
        """Close the file; on return its process has ended."""
        self._process.communicate(timeout=10)

    def _expect(self, answer: bytes) -> None:
        assert self._process.stdout is not None
        assert answer == self._process.stdout.readline()

    def __enter__(self) -> SlowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.close()


@contextmanager
def half_written(path: Path, data: bytes) -> Iterator[int]:
    """A file with its first bytes, held open for writing by the descriptor that is given."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file mapped for writing, with no descriptor open: stores through the map give no event."""
    with open(path, "r+b") as file:
        view = mmap.mmap(file.fileno(), 0)
    try:
        yield view
    finally:
        view.close()
