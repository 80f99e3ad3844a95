"""The `spoolbridge` program: its commands gathered, and what their errors become.

Exit codes: 0 done; 1 an expected error, in one line on stderr; 2 usage; 3 a bug, with a log to attach;
130 interrupted.
"""

from __future__ import annotations

import sys

import click

from spoolbridge import __version__
from spoolbridge.cli import channels, operate, serve, talk
from spoolbridge.errors import SpoolbridgeError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="spoolbridge")
def cli() -> None:
    """A file-spool bridge between AI agents and Discord.

    Drop a file into spool/outgoing/CHANNEL/ and it is posted; what humans answer lies in
    spool/incoming/CHANNEL/new/. Try it without a token: spoolbridge demo
    """


for command in (*serve.COMMANDS, *talk.COMMANDS, *channels.COMMANDS, *operate.COMMANDS):
    cli.add_command(command)


def main() -> None:
    """The `spoolbridge` program."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    try:
        return cli.main(arguments, prog_name="spoolbridge", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SpoolbridgeError as error:
        click.echo(f"spoolbridge: {error}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away; Python would say so at its end
        return 1
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile(
        "w", prefix="spoolbridge-bug-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"spoolbridge {__version__}, Python {sys.version}\n\n")
        traceback.print_exception(error, file=file)
    click.echo(f"spoolbridge: a bug ({type(error).__name__}); report it with {file.name}", err=True)
    return 3
