"""The `spoolbridge` program: its commands gathered. What their errors become, `ending` says."""

from __future__ import annotations

import click

from spoolbridge import __version__
from spoolbridge.cli import ask, begin, channels, ending, entries, listen, operate, prune, serve, talk


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="spoolbridge")
def cli() -> None:
    """A file-spool bridge between AI agents and Discord.

    Drop a file into spool/outgoing/CHANNEL/ and it is posted; what humans answer lies in
    spool/incoming/CHANNEL/new/. Try it without a token: spoolbridge demo
    """


for command in (
    *begin.COMMANDS, *serve.COMMANDS, *talk.COMMANDS, *ask.COMMANDS, *listen.COMMANDS,
    *channels.COMMANDS, *operate.COMMANDS, *entries.COMMANDS, *prune.COMMANDS,
):  # fmt: skip
    cli.add_command(command)


def run(arguments: list[str]) -> int:
    """The exit code of the program, called with these arguments."""
    return ending.of(lambda: _clicked(arguments))


def _clicked(arguments: list[str]) -> int:
    try:
        return cli.main(arguments, prog_name="spoolbridge", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:  # a KeyboardInterrupt; click has ended the line
        return 130
