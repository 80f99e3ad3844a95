"""A command at a real terminal: what it shows, and what somebody types."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import warm
from tests.support.programs import ENDS_WITHIN, PATIENCE, PROGRAM, environment


class Terminal:
    """The command with a terminal of its own, which is the one that it controls and is controlled by."""

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self._end, inner = pty.openpty()
        self._shown = b""
        self._read = 0
        made = {"cwd": cwd, "env": environment(env), "stdin": inner, "stdout": inner, "stderr": inner}
        self.process = (
            warm.Popen(command, ctty=True, **made)
            if command[0] == PROGRAM
            else subprocess.Popen(["setsid", "--ctty", *command], **made)  # type: ignore[call-overload]
        )
        os.close(inner)

    @property
    def shown(self) -> str:
        """All that it has shown, with plain line ends."""
        return self._shown.decode("utf-8", "replace").replace("\r\n", "\n")

    def asks(self, text: str) -> None:
        """Wait until it shows this behind what was waited for before. Raises AssertionError where it ends."""
        end = time.monotonic() + PATIENCE
        while text not in self.shown[self._read :]:
            assert self._more(end), self.shown
        self._read = self.shown.index(text, self._read) + len(text)

    def types(self, text: str, end: str = "\n") -> None:
        """Type a line, or what has another end."""
        os.write(self._end, f"{text}{end}".encode())

    def ends(self) -> int:
        """Its exit code, once it has shown everything."""
        end = time.monotonic() + PATIENCE
        while self._more(end):
            pass
        return self.process.wait(ENDS_WITHIN)

    def _more(self, end: float) -> bool:
        """Whether it has shown more; False: it has ended. Raises AssertionError where it takes too long."""
        ready, _, _ = select.select([self._end], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"it waits: {self.shown}"
        try:
            data = os.read(self._end, 4096)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self._shown += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._end)
