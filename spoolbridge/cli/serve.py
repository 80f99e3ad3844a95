"""The commands that run until they are told to end, and the one that prepares them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import click

from spoolbridge.cli.options import load_settings
from spoolbridge.errors import SpoolbridgeError

_PORT = click.IntRange(0, 65535)
_SPOOL = click.Path(file_okay=False)


@click.command()
@click.option("--spool", type=_SPOOL, help="Keep the spool here.  [default: a scratch one]")
@click.option("--port", type=_PORT, default=8640, show_default=True, help="Of the chat page.")
def demo(spool: str | None, port: int) -> None:
    """Show the bridge with an imaginary Discord: no token, no network."""
    from pathlib import Path

    from spoolbridge import demo as the_demo

    _log_to(None)
    try:
        _run(the_demo.run(Path(spool) if spool else None, port, click.echo))
    except OSError as error:
        raise SpoolbridgeError(f"port {port} cannot be used ({error.strerror})", "say --port 0") from None


@click.command()
@click.option("--once", is_flag=True, help="Send what waits, read what is new, and exit.")
@click.option("--log", type=click.Path(dir_okay=False), help="Log to this file, rotated at 10 MB.")
def run(once: bool, log: str | None) -> None:
    """Run the service: post what is dropped, file what is answered."""
    from spoolbridge import service

    _log_to(log)
    _run(service.run(load_settings(), once=once))


@click.command()
def init() -> None:
    """Make the spool and a channels file, and say what comes next."""
    from spoolbridge import channels
    from spoolbridge.spool import Spool

    settings = load_settings()
    spool = Spool.create(settings.spool)
    channels.make(settings.channels)
    for address in channels.load(settings.channels).addresses:
        spool.add_channel(address)
    spool.close()
    click.echo(f"spool     {settings.spool}\nchannels  {settings.channels}\ninbox     {settings.inbox}\n")
    if not settings.token:
        click.echo("Next: put DISCORD_BOT_TOKEN=… into .env, chmod 600 .env, then: spoolbridge channels sync")
    elif not channels.load(settings.channels).channels:
        click.echo("Next: spoolbridge channels sync")
    else:
        click.echo("Next: spoolbridge run")


@click.command()
def mcp() -> None:
    """Serve the MCP tools on standard input and output; needs no token."""
    from spoolbridge import mcp_server

    mcp_server.run(load_settings(secrets=False))


@click.command()
@click.option("--port", type=_PORT, default=8641, show_default=True, help="Of the API and its chat page.")
@click.option("--channel", "names", multiple=True, help="A channel of the guild.  [default: mayor-villa]")
def emulate(port: int, names: tuple[str, ...]) -> None:
    """Run the emulator alone: an imaginary Discord on loopback, with its chat page."""
    from spoolbridge import demo as the_demo

    try:
        _run(the_demo.emulate(port, names or ("mayor-villa",), click.echo))
    except OSError as error:
        raise SpoolbridgeError(f"port {port} cannot be used ({error.strerror})", "say --port 0") from None


def _run(flow: Coroutine[Any, Any, None]) -> None:
    import asyncio

    asyncio.run(flow)


def _log_to(path: str | None) -> None:
    import logging
    import logging.handlers

    handler: logging.Handler = logging.StreamHandler()
    if path:
        handler = logging.handlers.RotatingFileHandler(path, maxBytes=10_000_000, backupCount=5)
    logging.basicConfig(
        level=logging.INFO, handlers=[handler], format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"
    )


COMMANDS = (demo, run, init, mcp, emulate)
