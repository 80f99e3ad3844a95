"""The commands that run until they are told to end."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from spoolbridge.cli.options import load_settings

if TYPE_CHECKING:
    from spoolbridge.service import Face

_PORT = click.IntRange(0, 65535)
_FREE = "0 takes a free one."
_SPOOL = click.Path(file_okay=False)


@click.command()
@click.option("--spool", type=_SPOOL, help="Keep the spool here.  [default: a scratch one]")
@click.option(
    "--port", type=click.IntRange(0, 65534), metavar="PORT", default=8640, show_default=True,
    help=f"The page's, and the chat's is the next; {_FREE}",
)  # fmt: skip
def demo(spool: str | None, port: int) -> None:
    """Show the bridge with an imaginary Discord: no token, no network.

    Prints where the page, the chat and the spool are, and what to try. Ctrl-C ends it.

    Example: spoolbridge demo --port 0
    """
    from pathlib import Path

    from spoolbridge import demo as the_demo
    from spoolbridge import logbook

    logbook.begin(None)
    _run(the_demo.run(Path(spool) if spool else None, port, click.echo))


@click.command()
@click.option("--once", is_flag=True, help="Send what waits, read what is new, and exit.")
@click.option("--log", type=click.Path(dir_okay=False), help="Log to this file, rotated at 10 MB.")
@click.option("--http", "where", metavar="[HOST:]PORT", help="Serve the page, /metrics and /healthz there.")
@click.option("--http-anywhere", is_flag=True, help="HOST may be reached by other machines; needs a key.")
def run(once: bool, log: str | None, where: str | None, http_anywhere: bool) -> None:
    """Run the service: post what is dropped, file what is answered.

    Stays in the foreground and logs to stderr; SIGTERM or Ctrl-C ends it with exit code 0. It ends with 1
    where only a person can help (no token, a refused one, another service on the spool); Discord being out of
    reach is waited for. Under systemd it says when it is ready and that it is alive.

    The page of --http only shows, unless SPOOLBRIDGE_HTTP_KEY is set.

    \b
    Examples:
      spoolbridge run --log spoolbridge.log
      spoolbridge run --http 127.0.0.1:8640

    See also: spoolbridge init --unit, spoolbridge status
    """
    from spoolbridge import logbook, service

    if where and once:
        raise click.UsageError("--http goes with a service that stays; leave out --once.")
    if http_anywhere and not where:
        raise click.UsageError("--http-anywhere says who may reach the page; say --http HOST:PORT as well.")
    settings = load_settings()
    logbook.begin(log, settings.token)
    face = _page(where, settings.http_key, http_anywhere) if where else None
    _run(service.run(settings, once=once, face=face, ready=_keep))


def _keep(_: object) -> None:
    """What the service is made of stays. To look through all of it for what may go takes 30 ms, in which a
    message waits, and was done again and again."""
    import gc

    gc.collect()
    gc.freeze()


def _page(text: str, key: str, anywhere: bool) -> Face:
    import functools

    from spoolbridge import page

    try:
        where = page.where(text)
    except ValueError:
        raise click.BadParameter("write HOST:PORT, such as 127.0.0.1:8640", param_hint="--http") from None
    bound = page.listen(where, key=key, anywhere=anywhere)
    return functools.partial(page.serve, bound=bound, where=where, key=key)


@click.command()
@click.option(
    "--channel", "channels", multiple=True, metavar="CHANNEL",
    help="Push what arrives there to the client; may be repeated.",
)  # fmt: skip
def mcp(channels: tuple[str, ...]) -> None:
    """Serve the MCP tools on standard input and output.

    An agent's program starts it; it needs no token, only the spool and the channels file. With --channel
    it is a channel of Claude Code, which has to be started for it.

    Example: spoolbridge mcp --channel mayor-villa
    """
    import gc

    # The SDK makes 80,000 objects that stay. To look through them for what may go, again and again while they
    # are made, is a tenth of the start; and nobody has to look through them later.
    gc.disable()
    from spoolbridge import mcp_server

    gc.freeze()
    gc.enable()
    mcp_server.run(load_settings(secrets=False), channels)


@click.command()
@click.option(
    "--port", type=_PORT, metavar="PORT", default=8641, show_default=True,
    help=f"The API's and the chat page's; {_FREE}",
)  # fmt: skip
@click.option(
    "--channel", "names", multiple=True, metavar="NAME",
    help="A channel of the guild; may be repeated.  [default: mayor-villa]",
)  # fmt: skip
def emulate(port: int, names: tuple[str, ...]) -> None:
    """Run the imaginary Discord alone, with its chat page.

    Prints the settings that lead a bridge to it. Ctrl-C ends it.

    Example: spoolbridge emulate --port 8641 --channel mayor-villa --channel ops
    """
    from spoolbridge import demo as the_demo

    _run(the_demo.emulate(port, names or ("mayor-villa",), click.echo))


def _run(flow: Coroutine[Any, Any, None]) -> None:
    import asyncio

    asyncio.run(flow)


COMMANDS = (demo, run, mcp, emulate)
