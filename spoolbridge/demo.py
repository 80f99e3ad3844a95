"""The bridge with an imaginary Discord: emulator and service in one process, no token, no network.

Everything is real but Discord itself. Ends with the service; the spool goes with it unless it was named.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from spoolbridge import service
from spoolbridge.emulator import Emulator
from spoolbridge.incoming import IncomingMessage
from spoolbridge.rendering import one_line
from spoolbridge.settings import Settings

CHANNELS = {"mayor-villa": "villacalculatecost3", "mayor-bridge": "discord_bot", "town-square": None}
PORT = 8640
_POLL = 1.0  # seconds; a person is watching
_FIRST = (
    "Hello! This message was a file a moment ago.\n\n"
    "Write something below, and look into the spool's `incoming/mayor-villa/new/`."
)

log = logging.getLogger("spoolbridge.demo")


async def run(spool: Path | None, port: int, say: Callable[[str], None]) -> None:
    """Serve until a signal comes; `say` prints a line. Raises OSError where the port is taken."""
    with ExitStack() as stack:
        if spool is None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="spoolbridge-demo-"))
            spool = Path(scratch) / "spool"
        emulator = Emulator()
        async with emulator.serve(port=port):
            await service.run(
                _settings(spool, emulator),
                ready=lambda parts: _welcome(parts, emulator.url, say),
                report=_report,
            )


def _settings(spool: Path, emulator: Emulator) -> Settings:
    """A guild with three channels, and the file that names them, made anew: a guild lasts one run."""
    spool.mkdir(parents=True, exist_ok=True)
    names: dict[str, object] = {}
    for name, rig in CHANNELS.items():
        channel_id = str(emulator.add_channel(name))
        if rig:
            names[rig] = {name: channel_id}
        else:
            names[name] = channel_id
    path = spool / "discord-channels.json"
    path.write_text(json.dumps(names, indent=2) + "\n", "utf-8")
    return Settings(
        spool=spool.resolve(), channels=path, inbox=spool / "discord-inbox.jsonl",
        token=emulator.token, api_url=emulator.api_url, guild_id=emulator.guild.id,
        poll_interval=_POLL, gt="off",
    )  # fmt: skip


def _welcome(parts: service.Parts, url: str, say: Callable[[str], None]) -> None:
    outgoing = parts.spool.root / "outgoing"
    for line in (
        "",
        "  spoolbridge demo: an imaginary Discord, a real bridge",
        "",
        f"  the chat      {url}/",
        f"  the spool     {parts.spool.root}",
        "",
        "  Try, in another terminal:",
        f"    echo 'deployed' > {outgoing}/mayor-villa/note",
        f"    cat {parts.spool.root}/state/STATUS",
        "  and answer in the chat: your message becomes a file.",
        "",
        "  Ctrl-C ends it. What happens:",
        "",
    ):
        say(line)
    asyncio.get_running_loop().call_soon(_drop_first, parts)


def _drop_first(parts: service.Parts) -> None:
    parts.spool.drop("mayor-villa", _FIRST.encode(), name="hello")


def _report(message: IncomingMessage) -> None:
    log.info("%s: %s wrote a message", message.channel.address, one_line(message.author))


async def emulate(port: int, names: Sequence[str], say: Callable[[str], None]) -> None:
    """The emulator alone, until a signal comes; says the settings that lead a bridge to it."""
    emulator = Emulator()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for name in names:
        emulator.add_channel(name)
    async with emulator.serve(port=port):
        say(f"the chat      {emulator.url}/")
        say("lead a bridge here:")
        say(f"  export SPOOLBRIDGE_API_URL={emulator.api_url} DISCORD_BOT_TOKEN={emulator.token}")
        say("Ctrl-C ends it.")
        await stop.wait()
