"""The commands that people and scripts talk with: send, reply, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from spoolbridge.cli.options import CHANNEL, FILES, JSON, as_json_text, open_spool, read_files, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from spoolbridge.inbox import Received
    from spoolbridge.spool import Entry, Spool

QUEUED = 75  # EX_TEMPFAIL: neither sent nor failed yet
_WAIT = 30.0  # seconds

_rig = click.option("--rig", help="Put [RIG] before the text.")
_file = click.option("--file", "files", multiple=True, type=FILES, help="Attach it; may be repeated.")
_wait = click.option("--wait", is_flag=True, help="Wait: exit 0 sent, 1 failed, 75 still queued.")
_timeout = click.option("--timeout", type=float, default=_WAIT, show_default=True, help="Seconds for --wait.")


@click.command()
@click.argument("channel", type=CHANNEL)
@click.argument("text", required=False)
@_rig
@_file
@click.option("--reply-to", metavar="ID", help="Answer the message with this id.")
@_wait
@_timeout
def send(
    channel: str, text: str | None, rig: str | None, files: tuple[str, ...], reply_to: str | None,
    wait: bool, timeout: float,
) -> None:  # fmt: skip
    """Send TEXT (or standard input: no TEXT, or -) to CHANNEL.

    Example: uptime | spoolbridge send mayor-villa --rig villacalculatecost3
    """
    settings, spool = open_spool()
    from spoolbridge import channels, sending

    body = read_text(text, optional=bool(files))
    entry = sending.drop_message(
        spool, channels.load(settings.channels), channel, body,
        rig=rig, reply_to=reply_to, files=read_files(files) or None,
    )  # fmt: skip
    _told(spool, entry, wait, timeout)


@click.command()
@click.argument("file")
@click.argument("text", required=False)
@_rig
@_file
@_wait
@_timeout
def reply(
    file: str, text: str | None, rig: str | None, files: tuple[str, ...], wait: bool, timeout: float
) -> None:
    """Answer the human message in FILE (a path, or its id) with TEXT or standard input.

    Example: echo "on it" | spoolbridge reply spool/incoming/mayor-villa/new/1763791200.D1441….discord
    """
    settings, spool = open_spool()
    from spoolbridge import channels, inbox, sending

    message = inbox.find(spool, file)
    entry = sending.drop_message(
        spool, channels.load(settings.channels), message.channel, read_text(text, optional=bool(files)),
        rig=rig, reply_to=message.id, thread=message.thread_id, files=read_files(files) or None,
    )  # fmt: skip
    _told(spool, entry, wait, timeout)


@click.command()
@click.argument("channel", required=False, type=CHANNEL)
@click.option("--unread", is_flag=True, help="Only what nobody has read.")
@JSON
@click.option("--mark-read", is_flag=True, help="Move what is shown to cur/, read.")
def inbox(channel: str | None, unread: bool, as_json: bool, mark_read: bool) -> None:
    """Show what humans wrote, oldest first.

    Example: spoolbridge inbox mayor-villa --unread --mark-read
    """
    _, spool = open_spool()
    from spoolbridge import inbox as the_inbox

    for message in the_inbox.received(spool, channel, unread=unread):
        path = the_inbox.mark_read(message) if mark_read else message.path
        _show_received(message, path, as_json)


def _told(spool: Spool, entry: Entry, wait: bool, timeout: float) -> None:
    from spoolbridge import sending

    if wait:
        entry = sending.wait_for(spool, entry, seconds=timeout)
    click.echo(sending.sentence(entry))
    codes = {"sent": 0, "failed": 1}
    raise click.exceptions.Exit(codes.get(entry.state, QUEUED) if wait else 0)


def _show_received(message: Received, path: Path, as_json: bool) -> None:
    if as_json:
        fields = ("id", "channel", "author", "date", "text", "attachments", "read")
        told = {name: getattr(message, name) for name in fields}
        click.echo(as_json_text({**told, "id": str(message.id), "file": str(path)}))
        return
    mark = " " if message.read else "•"
    click.echo(f"{mark} {message.channel}  {message.author}  {message.date}  {path}")
    click.echo("    " + message.text.replace("\n", "\n    ") + "\n")


COMMANDS = (send, reply, inbox)
