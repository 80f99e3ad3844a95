"""Something that is shown again whenever it has changed: redrawn on a terminal, else one after another."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EVERY = 1.0  # seconds between two looks
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the alternate screen, without a cursor
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def redraw(draw: Callable[[int], str]) -> None:
    """Fill the terminal with what `draw` makes for its columns, every second, until Ctrl-C or SIGTERM.

    What the terminal showed before is there again afterwards, however this ends.
    """
    with _until_interrupted():
        sys.stdout.write(_ENTER)
        try:
            while True:
                columns, rows = shutil.get_terminal_size()
                lines = _cut(draw(columns).splitlines(), rows)
                sys.stdout.write(_HOME + f"{_REST_OF_LINE}\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN)
                sys.stdout.flush()
                time.sleep(EVERY)
        finally:
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()


def _cut(lines: list[str], rows: int) -> list[str]:
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], f"… {len(lines) - rows + 1} more lines: make the window taller"]


def repeat(look: Callable[[], tuple[Any, str]]) -> None:
    """Print what `look` has to show whenever the first of what it returns has changed, until interrupted."""
    with _until_interrupted():
        before: object = None
        while True:
            now, shown = look()
            if now != before:
                before = now
                sys.stdout.write(shown)
                sys.stdout.flush()
            time.sleep(EVERY)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
