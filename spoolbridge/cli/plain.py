"""`send` and `notify` in their plainest form, without click: agents, scripts and daemons wait for them.

click alone takes as long to start as four bare interpreters (measured). What is not plain at a glance
is left to it: other options, other spellings, help, files, whatever is wrong. Promises that a call ends
in the same way whoever reads it, for both end in `post` and `announce`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from spoolbridge.cli import ending

if TYPE_CHECKING:
    from spoolbridge.spool import Spool

WAIT = 30.0  # seconds
QUEUED = 75  # EX_TEMPFAIL: neither sent nor failed yet
_CODES = {"sent": 0, "failed": 1}
_OPTIONS = ("--rig", "--reply-to", "--thread", "--dedupe-key")


#: What is put before a notification. The daemon of a Gas Town has these four priorities.
_MARKS = {"critical": "🔴 ", "high": "🟠 ", "success": "✅ ", "info": ""}
INFO = "info"


def run(arguments: Sequence[str]) -> int | None:
    """The exit code once it is done; None: this call is click's, and nothing has been done."""
    return notify(arguments) if list(arguments[:1]) == ["notify"] else send(arguments)


def notify(arguments: Sequence[str]) -> int | None:
    """As `run`: `notify --channel CHANNEL [--priority PRIORITY] MESSAGE`, options in any place."""
    words: list[str] = []
    options: dict[str, str] = {}
    rest = iter(arguments[1:])
    for each in rest:
        if each in ("--channel", "--priority") and (value := next(rest, "")):
            options[each] = value
        elif each.startswith("-"):
            return None
        else:
            words.append(each)
    if len(words) != 1 or "--channel" not in options:
        return None
    return ending.of(lambda: announce(options["--channel"], words[0], options.get("--priority", INFO)))


def announce(name: str, message: str, priority: str = INFO) -> int:
    """Drop a notification for the channel that `[notify]` gives that name, else for the one of that name.

    A priority that is not known is shown as it is, for a notification must not fail by a word. Returns the
    exit code. Raises SpoolbridgeError, with nothing dropped.
    """
    from spoolbridge import channels, sending, settings
    from spoolbridge.errors import UnknownChannelError
    from spoolbridge.spool import Spool

    found = settings.load(secrets=False)
    spool, registry = Spool(found.spool), channels.load(found.channels)
    mark = _MARKS.get(priority.lower(), f"[{priority}] ")
    try:
        channel = registry.resolve(found.notify.get(name, name)).address
    except UnknownChannelError as error:
        hint = f'name it in {settings.TOML}: [notify], then {name if name.isalnum() else "admin"} = "CHANNEL"'
        raise UnknownChannelError(error.what, hint, error.choices) from None
    entry = sending.drop_message(spool, registry, channel, f"{mark}{message}", name="notification")
    sys.stdout.write(f"{sending.sentence(entry)}\n")
    sys.stdout.flush()
    return 0


def send(arguments: Sequence[str]) -> int | None:
    """The exit code once it is done; None: this call is click's, and nothing has been done."""
    words: list[str] = []
    options: dict[str, str] = {}
    wait = None
    rest = iter(arguments[1:])
    for each in rest:
        if each == "--wait":
            wait = WAIT
        elif each in _OPTIONS and not (value := next(rest, "-")).startswith("-"):
            options[each] = value
        elif each.startswith("-") and each != "-":
            return None
        else:
            words.append(each)
    if list(arguments[:1]) != ["send"] or not (len(words) == 2 or (len(words) == 1 and is_piped())):
        return None
    text = words[1] if words[1:] not in ([], ["-"]) else None
    rig, reply_to, thread, key = map(options.get, _OPTIONS)
    return ending.of(
        lambda: post(
            words[0], text, rig=rig, reply_to=reply_to, thread=thread, dedupe_key=key, wait=wait
        )
    )


def post(
    channel: str,
    text: str | None,
    *,
    rig: str | None = None,
    reply_to: int | str | None = None,
    thread: int | str | None = None,
    dedupe_key: str | None = None,
    react: str | None = None,
    files: Mapping[str, bytes] | None = None,
    wait: float | None = None,
) -> int:
    """Drop `text` (None: standard input), wait for at most `wait` seconds, and say what came of it.

    Returns the exit code. Raises SpoolbridgeError, with nothing dropped.
    """
    from spoolbridge import channels, sending, settings
    from spoolbridge.spool import Spool

    found = settings.load(secrets=False)
    spool = Spool(found.spool)
    entry = sending.drop_message(
        spool, channels.load(found.channels), channel, _piped() if text is None else text,
        rig=rig, reply_to=reply_to, thread=thread, dedupe_key=dedupe_key, react=react, files=files,
    )  # fmt: skip
    if wait is not None:
        entry = sending.wait_for(spool, entry, seconds=wait)
    sys.stdout.write(f"{sending.sentence(entry)}\n")
    sys.stdout.flush()
    if wait is None:
        return 0
    if entry.state not in _CODES and not _is_served(spool):
        sys.stderr.write("no service runs here that would send it; start it with: spoolbridge run\n")
    return _CODES.get(entry.state, QUEUED)


def _is_served(spool: Spool) -> bool:
    """Whether a service runs, as far as this process may look: only who may see that none does is told so."""
    import os

    from spoolbridge import status

    if not os.access(spool.root / "state", os.R_OK | os.X_OK):
        return True
    try:
        told = status.told(spool, status.read(spool))
    except OSError:
        return True
    return bool(told["running"] or told["held_by"])


def is_piped() -> bool:
    """Whether standard input is there and is not a terminal, at which somebody would have to type."""
    return sys.stdin is not None and not sys.stdin.isatty()


def _piped() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace").removesuffix("\n")
