"""From each way in to the wire: how long after a message was handed over it arrives at Discord.

Timed from the moment before the writer's last act (the rename; the end of the `echo`; the request's line to
the MCP server; for the command line, and for the SDK's client of that server, the call) to the arrival of the
request at the stub, by a clock that all processes share.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from spoolbridge import identity
from tests.bench.figures import percentile
from tests.bench.programs import PATIENCE, Mcp, bridge, spool
from tests.bench.stub import Stub, ids, name
from tests.bench.table import Table
from tests.support.programs import PROGRAM, environment
from tests.support.waiting import wait_until

TIMES = 200

HEAD = ["way in", "messages", "p50 ms", "p99 ms", "worst ms"]
NOTE = """\
One message at a time, in turns between the ways. A plain name waits 250 ms after its last change, by the
contract; `send` counts with Python's start. The MCP tool counts from when its client writes the request; with
the SDK's client, from when that is asked to."""


class _Ways:
    """A service, and the ways to it. Each gives the time at which the message was handed over."""

    def __init__(
        self, root: Path, server: Mcp, session: ClientSession, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._root, self._server, self._session, self._loop = root, server, session, loop
        self._box, self._numbers, self._minter = root / "outgoing" / name(0), count(), identity.Minter()

    def by_rename(self, text: str) -> float:
        entry = f"{self._minter.mint()}.note"
        staged = self._root / "tmp" / entry
        staged.write_text(text)
        began = time.monotonic()
        os.rename(staged, self._box / entry)
        return began

    def by_echo(self, text: str) -> float:
        path = self._box / f"note{next(self._numbers)}"
        subprocess.run(["sh", "-c", 'echo "$0" > "$1"', text, path], check=True)
        return time.monotonic()

    def by_send(self, text: str) -> float:
        began = time.monotonic()
        env = environment({"SPOOLBRIDGE_SPOOL": str(self._root)})
        subprocess.run([PROGRAM, "send", name(0), text], env=env, check=True, capture_output=True)
        return began

    def by_mcp(self, text: str) -> float:
        arguments = {"channel_name": name(0), "message": text}
        request = self._server.request("tools/call", name="send_discord_message", arguments=arguments)
        began = time.monotonic()
        self._server.say(request)
        assert not self._server.answer()["isError"]
        return began

    def by_client(self, text: str) -> float:
        began = time.monotonic()
        arguments = {"channel_name": name(0), "message": text}
        call = self._session.call_tool("send_discord_message", arguments)
        assert not asyncio.run_coroutine_threadsafe(call, self._loop).result(PATIENCE).is_error
        return began


def measure(scale: float = 1.0) -> Table:
    """All ways, in turns."""
    return asyncio.run(_measured(max(3, round(TIMES * scale))))


async def _measured(times: int) -> Table:
    with ExitStack() as stack, Stub(1) as stub, spool(ids(1)) as root, bridge(root, stub.api):
        env = environment({"SPOOLBRIDGE_SPOOL": str(root)})
        server = StdioServerParameters(command=str(PROGRAM), args=["mcp"], env=env)
        log = stack.enter_context(open(os.devnull, "w"))  # what the server says of each call
        plain = Mcp(root)
        stack.callback(plain.end)
        plain.begin()
        async with stdio_client(server, errlog=log) as streams, ClientSession(*streams) as session:
            await session.initialize()
            ways = _Ways(root, plain, session, asyncio.get_running_loop())
            each = {
                "rename, ID form": ways.by_rename,
                "MCP tool": ways.by_mcp,
                "MCP tool, SDK client": ways.by_client,
                "echo": ways.by_echo,
                "spoolbridge send": ways.by_send,
            }
            rows = await asyncio.to_thread(_rows, stub, each, times)
    return Table("Latency", HEAD, rows, NOTE)


def _rows(stub: Stub, ways: Mapping[str, Callable[[str], float]], times: int) -> list[list[str]]:
    lags: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(times):
        for way, hand_over in ways.items():
            stub.forget()
            began = hand_over(f"{way}, number {number}")
            wait_until(stub.count, PATIENCE)
            lags[way].append(stub.seen()[0].at - began)
    shares = (0.5, 0.99, 1.0)
    return [
        [way, str(times), *(f"{percentile(found, share) * 1000:.1f}" for share in shares)]
        for way, found in lags.items()
    ]
