"""What the end of a command becomes, whoever parsed its words: an exit code, and at most one line.

0 done; 1 an expected error, in one line on stderr; 2 usage; 3 a bug, with a log to attach; 130
interrupted. Must never show a traceback, and must never import click: `plain` does without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from spoolbridge import __version__
from spoolbridge.errors import SpoolbridgeError


def of(command: Callable[[], int]) -> int:
    """The exit code for this command, which is run here."""
    try:
        return command()
    except SpoolbridgeError as error:
        from spoolbridge.claim import one_line

        sys.stderr.write(f"spoolbridge: {one_line(str(error))}\n")  # it may quote a setting, a line, a name
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\n")  # behind the ^C that the terminal shows
        return 130
    except BrokenPipeError:
        # The reader went away. What is still to be written must not fail again at Python's own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PermissionError as error:
        what = ascii(error.filename) if error.filename is not None else "something"
        hint = "join the group that owns the spool, or see: spoolbridge doctor"
        sys.stderr.write(f"spoolbridge: this user may not use {what}; {hint}\n")
        return 1
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    import tempfile
    import traceback

    from spoolbridge import leaks

    with tempfile.NamedTemporaryFile(
        "w", prefix="spoolbridge-bug-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"spoolbridge {__version__}, Python {sys.version}\n\n")
        file.write(leaks.mask("".join(traceback.format_exception(error))))
    sys.stderr.write(f"spoolbridge: a bug ({type(error).__name__}); report it with {file.name}\n")
    return 3
