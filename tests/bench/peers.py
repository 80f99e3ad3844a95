"""What others do with the same work: `python -m tests.bench.peers NAME URL CHANNELS EACH`.

Each posts EACH messages to each of CHANNELS channels, one after another in a channel, and prints the
processor time that the posting took, in seconds. None of them keeps anything: a crash loses or repeats what
was under way.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
import warnings
from collections.abc import Awaitable, Callable

import aiohttp

from tests.bench.stub import FIRST_CHANNEL, TOKEN

Post = Callable[[int, str], Awaitable[object]]


async def _all(post: Post, channels: int, each: int) -> None:
    async def one(channel: int) -> None:
        for number in range(each):
            await post(channel, text(number))

    began = time.process_time()
    await asyncio.gather(*(one(FIRST_CHANNEL + number) for number in range(channels)))
    print(time.process_time() - began)


def text(number: int) -> str:
    """The message of that number."""
    return f"a line that an agent writes, number {number}"


async def raw(url: str, channels: int, each: int) -> None:
    """aiohttp and nothing else: the reference."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {TOKEN}"}) as session:

        async def post(channel: int, content: str) -> object:
            body = json.dumps({"content": content, "nonce": "0" * 24, "enforce_nonce": True})
            headers = {"Content-Type": "application/json"}
            address = f"{url}/channels/{channel}/messages"
            async with session.post(address, data=body, headers=headers) as response:
                return json.loads(await response.read())["id"]

        await _all(post, channels, each)


async def discord_py(url: str, channels: int, each: int) -> None:
    """discord.py's HTTP client, by its public face."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its voice side imports what Python 3.13 drops
        import discord
    discord.http.Route.BASE = url
    async with discord.Client(intents=discord.Intents.none()) as client:
        await client.login(TOKEN)
        known = {FIRST_CHANNEL + number: client.get_partial_messageable(FIRST_CHANNEL + number)
                 for number in range(channels)}  # fmt: skip
        await _all(lambda channel, content: known[channel].send(content), channels, each)


async def script(url: str, channels: int, each: int) -> None:
    """A script a message, as the seed was: a process that starts, posts and ends."""
    del channels
    for number in range(each):
        arguments = (sys.executable, "-m", "tests.bench.peers", "once", url, str(FIRST_CHANNEL), text(number))
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.DEVNULL)
        await process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime)


async def once(url: str, channel: int, content: str) -> None:
    """What such a script does."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bot {TOKEN}"}) as session,
        session.post(f"{url}/channels/{channel}/messages", json={"content": content}) as response,
    ):
        response.raise_for_status()


if __name__ == "__main__":
    who, url, first, second = sys.argv[1:]
    if who == "once":
        asyncio.run(once(url, int(first), second))
    else:
        peer = {"raw": raw, "discord.py": discord_py, "script": script}[who]
        asyncio.run(peer(url, int(first), int(second)))
