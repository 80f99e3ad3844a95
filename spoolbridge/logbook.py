"""The service's log, on stderr or in a file: no line of it holds a secret, whoever wrote it.

A message leaves a line, so a line is formatted once and masked once. A full file is put aside behind the line
that filled it: to do so before, Python's own handler formats every line a second time, to learn its length.
"""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler

from spoolbridge import leaks
from spoolbridge.errors import SettingsError

LARGEST = 10_000_000  # bytes of a file; a line more is where it ends
KEPT = 5  # older files


class _Masked(logging.Formatter):
    def __init__(self, own: str) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self._own = own

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record, self.datefmt)} {record.getMessage()}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return leaks.mask(line, self._own)


class _Rotated(RotatingFileHandler):
    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """Whether the file is full; a terminal or a pipe, which has no size, never is."""
        if self.stream is None:  # it could not be opened anew when it was put aside
            self.stream = self._open()
        return os.fstat(self.stream.fileno()).st_size >= self.maxBytes


def begin(path: str | None, own: str = "") -> None:
    """Log to this file or to stderr from now on; of `own`, a secret of our own, nothing stays.

    Raises SettingsError where the file cannot be written to.
    """
    logging.basicConfig(level=logging.INFO, handlers=[handler(path, own)])
    # No line shows where in the code it comes from, nor the process: neither is looked up (the Logging
    # HOWTO's "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def handler(path: str | None, own: str = "") -> logging.Handler:
    """What `begin` logs by."""
    made: logging.Handler = logging.StreamHandler()
    if path:
        try:
            made = _Rotated(path, maxBytes=LARGEST, backupCount=KEPT)
        except OSError as error:
            what = f"the log {path} cannot be written to ({error.strerror})"
            raise SettingsError(what, "make its directory and give it to the service's user") from None
    made.setFormatter(_Masked(own))
    return made
