"""The commands that people and scripts talk with: send, reply and react."""

from __future__ import annotations

import click

from spoolbridge.cli import plain
from spoolbridge.cli.options import CHANNEL, FILES, RIG, open_spool, read_files, the_text

_rig = click.option("--rig", type=RIG, metavar="RIG", help="Put [RIG] before the text.")
_file = click.option("--file", "files", multiple=True, type=FILES, help="Attach it; may be repeated.")
_wait = click.option("--wait", is_flag=True, help="Wait for it: exit 0 sent, 1 failed, 75 still queued.")
_timeout = click.option(
    "--timeout", type=float, metavar="SECONDS", default=plain.WAIT, show_default=True,
    help="For --wait: at most this long.",
)  # fmt: skip


@click.command()
@click.argument("channel", type=CHANNEL)
@click.argument("text", required=False)
@_rig
@_file
@click.option("--reply-to", metavar="ID", help="Answer the message with this id.")
@click.option("--thread", metavar="THREAD", help="Into this thread: its id, or a name (made if need be).")
@click.option("--dedupe-key", metavar="KEY", help="Send one message a key and channel in 24 hours.")
@_wait
@_timeout
def send(
    channel: str, text: str | None, rig: str | None, files: tuple[str, ...], reply_to: str | None,
    thread: str | None, dedupe_key: str | None, wait: bool, timeout: float,
) -> None:  # fmt: skip
    """Send TEXT (or standard input: no TEXT, or -) to CHANNEL.

    Example: uptime | spoolbridge send mayor-villa --rig villacalculatecost3
    """
    code = plain.post(
        channel, the_text(text, optional=bool(files)),
        rig=rig, reply_to=reply_to, thread=thread, dedupe_key=dedupe_key,
        files=read_files(files) or None, wait=timeout if wait else None,
    )  # fmt: skip
    raise click.exceptions.Exit(code)


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
    """Answer the message in FILE with TEXT or standard input.

    FILE is a path below incoming/ or the message's id, wherever the file was moved to since.

    Example: spoolbridge reply 1574238566794526720 "on it"
    """
    _, spool = open_spool()
    from spoolbridge import inbox

    message = inbox.find(spool, file)
    code = plain.post(
        message.channel, the_text(text, optional=bool(files)), rig=rig, reply_to=message.id,
        thread=message.thread_id, files=read_files(files) or None, wait=timeout if wait else None,
    )  # fmt: skip
    raise click.exceptions.Exit(code)


@click.command()
@click.argument("file")
@click.argument("emoji")
@_wait
@_timeout
def react(file: str, emoji: str, wait: bool, timeout: float) -> None:
    """Put EMOJI on the message in FILE.

    FILE is a path below incoming/ or the message's id, wherever the file was moved to since.

    Example: spoolbridge react 1574238566794526720 👍
    """
    _, spool = open_spool()
    from spoolbridge import inbox

    message = inbox.find(spool, file)
    code = plain.post(
        message.channel, "", reply_to=message.id, thread=message.thread_id, react=emoji,
        wait=timeout if wait else None,
    )  # fmt: skip
    raise click.exceptions.Exit(code)


COMMANDS = (send, reply, react)
