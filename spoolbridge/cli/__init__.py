"""The command line: parses, calls, prints. No logic lives here.

    program    the group, and what errors become
    options    what several commands take: a channel, a text, files, the settings
    serve      demo, run, init, mcp, emulate
    talk       send, reply, inbox
    channels   list, create, sync
    operate    status, failed, doctor

Each command imports what it needs when it runs: `send` is called by scripts that wait for it.
"""

from __future__ import annotations


def main() -> None:
    """The entry point of the installed program."""
    from spoolbridge.cli import program

    program.main()
