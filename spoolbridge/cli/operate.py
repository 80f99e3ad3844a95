"""The commands of who looks after the bridge: how it stands, what is wrong, what is missing."""

from __future__ import annotations

import re
import shutil
import sys
from typing import TYPE_CHECKING

import click

from spoolbridge.cli import plain
from spoolbridge.cli.options import JSON, as_json_text, colors, load_settings, open_spool, with_client

if TYPE_CHECKING:
    from spoolbridge.findings import Finding
    from spoolbridge.status import Facts

_COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 24 * 3600.0}
_LONGEST = 3650 * 24 * 3600.0  # seconds; Discord itself is hardly older


class Duration(click.ParamType[float]):
    """A time such as 90m, 24h or 7d, in seconds."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        seconds = int(match[1]) * _SECONDS[match[2]] if match else 0.0
        if not 0 < seconds <= _LONGEST:
            self.fail(f"{value!r} is no time; write 90m, 24h or 7d", param, ctx)
        return seconds


@click.command()
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until Ctrl-C.")
@click.option("--schema", is_flag=True, help="Print what --json means, as a JSON Schema, and end.")
@JSON
def status(watch: bool, schema: bool, as_json: bool) -> None:
    """Show how the bridge stands: what runs, waits and failed.

    With --watch a terminal is redrawn every second; elsewhere a block (with --json a line) is printed when
    something has changed. Ctrl-C ends it with exit code 0.

    Example: spoolbridge status --watch
    """
    if schema:
        click.echo(_schema(), nl=False)
        return
    _, spool = open_spool()
    from spoolbridge import status as the_status
    from spoolbridge.census import Census
    from spoolbridge.cli import screen

    census = Census(spool)

    def look() -> Facts:
        return the_status.snapshot(spool, the_status.read(spool), census=census)

    def shown(snapshot: Facts) -> str:
        return f"{as_json_text(snapshot) if as_json else the_status.render(snapshot)}\n"

    if watch and not as_json and sys.stdout.isatty():
        screen.redraw(lambda columns: the_status.render(look(), width=columns))
    elif watch:
        screen.repeat(lambda: (the_status.essence(snapshot := look()), shown(snapshot)))
    elif as_json:
        click.echo(as_json_text(look(), indent=2))
    else:
        click.echo(the_status.render(look(), width=_width()), nl=False)


def _schema() -> str:
    from importlib import resources

    return resources.files("spoolbridge").joinpath("status.schema.json").read_text("utf-8")


def _width() -> int:
    """The terminal's columns, where it is one."""
    from spoolbridge.standing import WIDTH

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH


@click.command()
@click.option("--offline", is_flag=True, help="Ask nothing of Discord.")
@click.option("--fix", is_flag=True, help="Mend what is safe to: modes, lost directories.")
@JSON
def doctor(offline: bool, fix: bool, as_json: bool) -> None:
    """Find what is wrong, and say what mends it.

    Exit 1 where an error is found; warnings and notes alone exit 0. Nothing is changed without --fix.

    Example: spoolbridge doctor --offline
    """
    import asyncio

    from spoolbridge import doctor as the_doctor
    from spoolbridge.claim import one_line

    settings = load_settings()
    for line in the_doctor.fix(settings) if fix else ():
        click.echo(one_line(line), err=as_json)
    asked = [] if offline else asyncio.run(the_doctor.online(settings))
    findings = the_doctor.once(the_doctor.offline(settings), asked)
    for each in findings:
        told = as_json_text(each.as_json()) if as_json else _shown(each)
        click.echo(told, color=colors(settings))
    if not findings and not as_json:
        click.echo("nothing found: all is well")
    raise click.exceptions.Exit(int(any(each.level == "error" for each in findings)))


def _shown(finding: Finding) -> str:
    from spoolbridge.claim import one_line

    level = click.style(f"{finding.level:<8}", fg=_COLORS[finding.level], bold=True)
    what, why, do = map(one_line, (finding.what, finding.why, finding.do))
    return f"{level} {what}\n         {why}\n         → {do}"


@click.command()
@click.option("--since", type=Duration(), default="24h", show_default=True, help="So far back: 90m, 7d.")
@click.option("--repair", is_flag=True, help="Hand over what is missing; the service must be stopped.")
@JSON
def audit(since: float, repair: bool, as_json: bool) -> None:
    """Prove that every human message was filed, every entry posted.

    Reads Discord back. Exit 0 only where nothing is missing, repeated or unproved.

    Example: spoolbridge audit --since 7d
    """
    from spoolbridge import audit as the_audit

    report = with_client(
        lambda client, settings: the_audit.run(client, settings, seconds=since, repairing=repair)
    )
    if as_json:
        click.echo(as_json_text(report.as_json()))
    else:
        for each in (*report.repaired, *report.findings, report.summary, report.advice):
            if each:
                click.echo(str(each))
    raise click.exceptions.Exit(int(not report.ok))


@click.command(context_settings={"ignore_unknown_options": True})  # a message may begin with a dash
@click.option("--channel", metavar="CHANNEL", required=True, help="admin, status, or a channel's name.")
@click.option(
    "--priority", metavar="PRIORITY", default=plain.INFO, show_default=True,
    help="critical, high, success or info: the sign before the message.",
)  # fmt: skip
@click.argument("message")
def notify(channel: str, priority: str, message: str) -> None:
    """Drop MESSAGE for CHANNEL and end at once, as gt-notify does.

    A Gas Town's daemon calls it as <town>/bin/gt-notify. Which channels admin and status are says the table
    [notify] of spoolbridge.toml.

    Example: spoolbridge notify --channel admin --priority high "deacon stuck"
    """
    raise click.exceptions.Exit(plain.announce(channel, message, priority))


COMMANDS = (status, notify, doctor, audit)
