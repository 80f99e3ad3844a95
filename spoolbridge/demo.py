"""The bridge with an imaginary Discord: emulator and service in one process, no token, no network.

Everything is real but Discord itself. Ends with the service; the spool goes with it unless it was named.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from socket import socket

from spoolbridge import page, service
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.incoming import IncomingMessage, maildir_file
from spoolbridge.parts import Parts
from spoolbridge.rendering import one_line
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

CHANNELS = {"mayor-villa": "villacalculatecost3", "mayor-bridge": "discord_bot", "town-square": None}
_KEY_BYTES = 18
_POLL = 1.0  # seconds; a person is watching
_REMARK = "spoolbridge demo makes this file anew at each start"
_FIRST = (
    "Hello! This message was a file a moment ago.\n\n"
    "Write something below; it will be a file in `{root}/incoming/mayor-villa/new/`."
)

log = logging.getLogger("spoolbridge.demo")


async def run(spool: Path | None, port: int, say: Callable[[str], None]) -> None:
    """Serve until a signal comes; `say` prints a line. The page takes `port`, the chat the next one; 0 takes
    free ones. Raises SpoolbridgeError where a port is taken.
    """
    with ExitStack() as stack:
        if spool is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolbridge-demo-"))
            spool = Path(scratch) / "spool"
        emulator, key = Emulator(), secrets.token_urlsafe(_KEY_BYTES)
        where = page.Where("127.0.0.1", port)
        bound = stack.enter_context(_bound(where, key))
        async with _serving(emulator, port + 1 if port else 0):
            pages = f"http://{where.host}:{bound.getsockname()[1]}/#key={key}", f"{emulator.url}/"
            await service.run(
                _settings(spool, emulator)._replace(http_key=key),
                ready=lambda parts: _welcome(parts, *pages, say),
                report=_report,
                face=lambda parts: page.serve(parts, bound, where, key=key),
            )


def _bound(where: page.Where, key: str) -> socket:
    try:
        return page.listen(where, key=key)
    except SpoolbridgeError as error:
        raise SpoolbridgeError(error.what, "say --port 0, which takes free ones") from None


@asynccontextmanager
async def _serving(emulator: Emulator, port: int) -> AsyncIterator[None]:
    """The emulator on that port. An OSError of what runs inside is not the port's."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(emulator.serve(port=port))
        except OSError as error:
            what = f"port {port} cannot be used ({os.strerror(error.errno or 0).lower()})"
            raise SpoolbridgeError(what, "say --port 0, which takes a free one") from None
        yield


def _settings(spool: Path, emulator: Emulator) -> Settings:
    """A guild with three channels, and the file that names them, made anew: a guild lasts one run.

    Raises SpoolbridgeError where the spool cannot be made, or serves a real guild.
    """
    Spool.create(spool).close()
    path = spool / "discord-channels.json"
    if path.exists() and _REMARK not in path.read_text("utf-8", "replace"):
        what = f"{spool} is no demo's spool: its channels file would be replaced"
        raise SpoolbridgeError(what, "name another directory with --spool")
    names: dict[str, object] = {"_": _REMARK}
    for name, rig in CHANNELS.items():
        channel_id = str(emulator.add_channel(name))
        if rig:
            names[rig] = {name: channel_id}
        else:
            names[name] = channel_id
    path.write_text(json.dumps(names, indent=2) + "\n", "utf-8")
    return Settings(
        spool=spool.resolve(), channels=path, inbox=spool / "discord-inbox.jsonl",
        token=emulator.token, api_url=emulator.api_url, guild_id=emulator.guild.id,
        poll_interval=_POLL, gt="off",
    )  # fmt: skip


def _welcome(parts: Parts, url: str, chat: str, say: Callable[[str], None]) -> None:
    root = shlex.quote(str(parts.spool.root))
    for line in (
        "",
        "  spoolbridge demo: an imaginary Discord, a real bridge",
        "",
        f"  the page      {url}",
        f"  the chat      {chat}",
        f"  the spool     {parts.spool.root}",
        "",
        "  Try, in another terminal:",
        f"    echo 'deployed' > {root}/outgoing/mayor-villa/note",
        f"    cat {root}/state/STATUS",
        "  and answer in the chat: your message becomes a file.",
        "",
        "  Ctrl-C ends it. What happens:",
        "",
    ):
        say(line)
    asyncio.get_running_loop().call_soon(_drop_first, parts)


def _drop_first(parts: Parts) -> None:
    text = _FIRST.format(root=parts.spool.root)
    parts.spool.drop("mayor-villa", text.encode("utf-8", "replace"), name="hello")


def _report(message: IncomingMessage) -> None:
    log.info("%s wrote; read it: %s", one_line(message.author), maildir_file(message))


async def emulate(port: int, names: Sequence[str], say: Callable[[str], None]) -> None:
    """The emulator alone, until a signal comes; says the settings that lead a bridge to it."""
    emulator = Emulator()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for name in names:
        emulator.add_channel(name)
    async with _serving(emulator, port):
        say(f"the chat      {emulator.url}/")
        say("lead a bridge here:")
        say(f"  export SPOOLBRIDGE_API_URL={emulator.api_url} DISCORD_BOT_TOKEN={emulator.token}")
        say("  spoolbridge init && spoolbridge channels sync && spoolbridge run")
        say("Ctrl-C ends it.")
        await stop.wait()
