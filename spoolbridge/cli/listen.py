"""The commands that show what humans wrote: inbox and wait."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from spoolbridge.cli.options import (
    CHANNEL,
    JSON,
    as_json_text,
    directory_of,
    load_settings,
    open_spool,
)

if TYPE_CHECKING:
    from pathlib import Path

    from spoolbridge.inbox import Received
    from spoolbridge.spool import Spool

TIMED_OUT = 124  # as of timeout(1)
REWAKE = 2  # what an asyncRewake hook ends with where the agent shall hear of it


@click.command()
@click.argument("channel", required=False, type=CHANNEL)
@click.option("--unread", is_flag=True, help="Only what nobody has read.")
@JSON
@click.option("--mark-read", is_flag=True, help="Move what is shown to cur/, read.")
@click.option("--follow", is_flag=True, help="What is unread, then what comes: a line each, until Ctrl-C.")
@click.option("--hook", is_flag=True, help="What is unread, as context for an agent's prompt.")
def inbox(
    channel: str | None, unread: bool, as_json: bool, mark_read: bool, follow: bool, hook: bool
) -> None:
    """Show what humans wrote, oldest first.

    With --hook for Claude Code's hooks SessionStart and UserPromptSubmit: framed as data, at most 10,000
    characters, the newest kept; nothing where nothing is unread, or where there is no spool.

    Example: spoolbridge inbox mayor-villa --unread --mark-read
    """
    if hook and not _is_there():
        return
    settings, spool = open_spool()
    from spoolbridge import inbox as the_inbox

    place = directory_of(channel, spool, settings, "incoming") if channel else None
    if follow:
        _follow(spool, place, as_json=as_json, mark_read=mark_read)
    messages = list(the_inbox.received(spool, place, unread=unread or hook))
    if hook:
        _as_context(messages, mark_read=mark_read)
        return
    for message in messages:
        _show_received(message, the_inbox.read_place(message) if mark_read else message.path, as_json)
        if mark_read:  # behind it: what nobody has seen must stay unread
            the_inbox.mark_read(message)


@click.command()
@click.argument("channel", required=False, type=CHANNEL)
@click.option("--unread", is_flag=True, help="Also what is unread already: then it does not wait.")
@click.option("--mark-read", is_flag=True, help="Move what is shown to cur/, read.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait no longer; exit code 124.")
@click.option("--hook", is_flag=True, help="On standard error, exit code 2: for an asyncRewake hook.")
def wait(
    channel: str | None, unread: bool, mark_read: bool, timeout: float | None, hook: bool
) -> None:
    """Wait until a human writes, and show it.

    One waits in a channel at a time. With --hook as a hook of Claude Code with asyncRewake, which wakes the
    agent; where another waits already it ends in silence.

    Example: spoolbridge wait mayor-villa --timeout 600
    """
    if hook and not _is_there():
        return
    settings, spool = open_spool()
    from spoolbridge import arrivals
    from spoolbridge import inbox as the_inbox
    from spoolbridge.errors import SpoolBusyError

    place = directory_of(channel, spool, settings, "incoming") if channel else None
    try:
        with arrivals.waiting(spool, place), arrivals.Arrivals(spool, place) as coming:
            listed = coming.new() if unread else coming.new()[:0]
            messages = list(the_inbox.loaded(listed or coming.wait(timeout)))
    except SpoolBusyError:
        if not hook:
            raise
        return
    if not messages:
        raise click.exceptions.Exit(TIMED_OUT)
    _as_context(messages, mark_read=mark_read, err=hook)
    raise click.exceptions.Exit(REWAKE if hook else 0)


def _is_there() -> bool:
    """Whether there is a spool: a hook runs in every project, and most have none."""
    return load_settings(secrets=False).spool.is_dir()


def _follow(spool: Spool, place: str | None, *, as_json: bool, mark_read: bool) -> None:
    from spoolbridge import arrivals
    from spoolbridge import inbox as the_inbox

    with arrivals.Arrivals(spool, place) as coming:
        for listed in coming.follow():
            for message in the_inbox.loaded(listed):
                path = the_inbox.read_place(message) if mark_read else message.path
                told = {**message.told(), "file": str(path)}
                text = as_json_text(told) if as_json else _in_a_line(message, path)
                sys.stdout.write(f"{text}\n")  # one write: a reader of the pipe never sees half a line
                sys.stdout.flush()
                if mark_read:
                    the_inbox.mark_read(message)


def _in_a_line(message: Received, path: Path) -> str:
    from spoolbridge.rendering import one_line

    # Without direction marks, which could show the path as another.
    told = (message.channel, message.author, message.text, str(path))
    channel, author, text, place = (one_line(each, len(each) + 1) for each in told)
    return f"{channel}  {author}: {text}  {place}"


def _as_context(messages: Sequence[Received], *, mark_read: bool, err: bool = False) -> None:
    from spoolbridge import framing
    from spoolbridge import inbox as the_inbox

    places = [the_inbox.read_place(message) if mark_read else message.path for message in messages]
    told = [message.told() | {"file": str(path)} for message, path in zip(messages, places, strict=True)]
    text, shown = framing.for_a_hook(told)
    if text:
        click.echo(text, err=err)
    # What nobody has seen stays unread.
    for message in messages[len(messages) - shown :] if mark_read else ():
        the_inbox.mark_read(message)


def _show_received(message: Received, path: Path, as_json: bool) -> None:
    if as_json:
        click.echo(as_json_text({"attachments": [], **message.told(), "file": str(path)}))
        return
    from spoolbridge.rendering import one_line

    mark = " " if message.read else "•"
    head = (message.channel, message.author, message.date, str(path))
    click.echo(f"{mark} {'  '.join(one_line(each, len(each) + 1) for each in head)}")
    click.echo("    " + message.text.replace("\n", "\n    ") + "\n")


COMMANDS = (inbox, wait)
