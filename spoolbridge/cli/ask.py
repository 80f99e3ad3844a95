"""The command that asks people and waits for their answer."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from spoolbridge.cli.listen import TIMED_OUT
from spoolbridge.cli.options import CHANNEL, JSON, QUESTION, RIG, as_json_text, open_spool
from spoolbridge.errors import SpoolError

if TYPE_CHECKING:
    from spoolbridge.asks import Answer
    from spoolbridge.spool import Spool

ANOTHER = 10  # the exit code for any option but the first
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """Seconds, or a number and a unit: 90, 90s, 30m, 2h, 1d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", str(value), re.ASCII)
        if match is None:
            self.fail(f"{str(value)[:40]!r} is no time such as 90s, 30m or 2h", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


@click.command()
@click.argument("channel", required=False, type=CHANNEL)
@click.argument("question", required=False)
@click.option("--options", metavar="A,B,…", help="What can be answered.  [default: any reply]")
@click.option("--timeout", type=Duration(), metavar="TIME", help="At most: 90s, 30m, 2h.  [default: 1h]")
@click.option("--rig", type=RIG, metavar="RIG", help="Put [RIG] before the question.")
@click.option("--again", type=QUESTION, metavar="ID", help="Wait on for a question that was asked before.")
@JSON
def ask(
    channel: str | None, question: str | None, options: str | None, timeout: float | None,
    rig: str | None, again: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Ask people in CHANNEL, wait for their answer, and print it.

    They answer by a reply to the question, or by a reaction with an option's emoji. Exit codes: 0 the first
    option, or any reply where there are no options; 10 another option; 124 nobody answered in time; 1 an
    error. Who was stopped waits on with --again; --timeout is then for the waiting alone.

    Example: spoolbridge ask mayor-villa "Deploy?" --options yes,no --timeout 2h
    """
    from spoolbridge import asks

    if again:
        if channel or options or rig:
            raise click.UsageError("--again takes the ID alone: the question was asked already")
        _, spool = open_spool()
        ask_id, seconds = again, timeout
    else:
        ask_id, spool = _asked(channel, question, options, timeout, rig)
        seconds = None
    answer = asks.wait_for(spool, ask_id, seconds)
    _tell(ask_id, answer, as_json)
    raise click.exceptions.Exit(_code(answer))


def _asked(
    channel: str | None, question: str | None, options: str | None, timeout: float | None, rig: str | None
) -> tuple[str, Spool]:
    if not channel or not question:
        raise click.UsageError("give a CHANNEL and a QUESTION, or --again ID")
    from spoolbridge import asks, channels

    settings, spool = open_spool()
    asked = asks.ask(
        spool, channels.load(settings.channels), channel, question,
        options=options.split(",") if options else (),
        timeout=asks.TIMEOUT if timeout is None else timeout, rig=rig,
    )  # fmt: skip
    sys.stderr.write(f"asked as {asked.id}; to wait on later: spoolbridge ask --again {asked.id}\n")
    sys.stderr.flush()
    return asked.id, spool


def _tell(ask_id: str, answer: Answer | None, as_json: bool) -> None:
    from spoolbridge import asks

    if as_json:
        told = {"status": "open", "id": ask_id} if answer is None else answer.told()
        click.echo(as_json_text(told))
    elif answer is not None and answer.status == asks.ANSWERED:
        click.echo(answer.option or answer.text)
    if answer is not None and answer.status == asks.FAILED:
        raise SpoolError(f"the question failed: {answer.reason}")
    if answer is None:
        sys.stderr.write("nobody has answered yet\n")
    elif answer.status == asks.TIMED_OUT:
        sys.stderr.write(f"nobody answered in time{answer.reason and f'; {answer.reason}'}\n")


def _code(answer: Answer | None) -> int:
    from spoolbridge import asks

    if answer is None or answer.status != asks.ANSWERED:
        return TIMED_OUT
    return ANOTHER if answer.number > 0 else 0


COMMANDS = (ask,)
