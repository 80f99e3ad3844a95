"""The command line: parses, calls, prints. No logic lives here.

    plain      `send` and `notify` in their plainest form, without click
    program    every command, gathered
    ending     what errors become: exit codes, one line on stderr
    options    what several commands take: a channel, a text, files, the settings
    begin      init
    serve      demo, run, mcp, emulate
    talk       send, reply, inbox
    ask        ask
    channels   list, create, sync
    operate    status, notify, audit, doctor
    entries    failed, pause, resume, log

Each command imports what it needs when it runs: `send` is called by scripts that wait for it.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the installed program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The program, called with these arguments; its exit code."""
    from spoolbridge.cli import plain

    code = plain.run(arguments)
    if code is None:
        from spoolbridge.cli import program

        code = program.run(arguments)
    return code
