"""What Discord says, and where it says nothing, how far the way to it leads."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from yarl import URL

from spoolbridge import findings, guild
from spoolbridge.channels import Registry
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import SpoolbridgeError, UnreachableError
from spoolbridge.findings import Finding
from spoolbridge.settings import Settings
from spoolbridge.standing import TOLERABLE

PATIENCE = 10.0  # seconds for each stage of the way
_NOTHING_GOES = "nothing can be posted or read"

LookUp = Callable[[str, int], Awaitable[Any]]


async def examine(settings: Settings, known: Registry | None) -> list[Finding]:
    """The token, the intents, every channel's permissions, the clock; or why Discord does not answer."""
    client = DiscordClient(settings.token, api_url=settings.api_url)
    try:
        async with client:
            found = await _asked(client, settings, known or Registry([]))
    except UnreachableError as error:
        blocked = await _way(settings.api_url) if not error.status else None
        do = error.hint or "try again later"
        return [blocked or Finding("error", error.what, _NOTHING_GOES, do)]
    except SpoolbridgeError as error:
        do = error.hint or "try again later"
        found = [Finding("error", error.what, _NOTHING_GOES, do)]
    return [*found, *_clock(client.clock_ahead)]


async def _asked(client: DiscordClient, settings: Settings, known: Registry) -> list[Finding]:
    own_id = int((await client.me())["id"])
    return await findings.ask(
        client, lambda: known, settings.poll,
        guild_id=await guild.guild_id(client, settings), own_id=own_id, access=settings.access,
    )  # fmt: skip


def _clock(ahead: float | None) -> list[Finding]:
    if ahead is None or abs(ahead) <= TOLERABLE:
        return []
    what = f"this clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Discord's"
    why = "IDs, lateness and Not-After go by it, and so does what is read back"
    return [Finding("warning", what, why, "sudo timedatectl set-ntp true")]


async def _look_up(host: str, port: int) -> None:
    await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _way(api_url: str, look_up: LookUp = _look_up) -> Finding | None:
    """The first stage of the way to that address that does not go: name, connection, TLS. None: all do."""
    url = URL(api_url)
    host, port = url.host or "", url.port or 443
    try:
        async with asyncio.timeout(PATIENCE):
            await look_up(host, port)
    except (OSError, TimeoutError, UnicodeError) as error:
        what = f"no connection to Discord: the name {host} cannot be looked up ({_said(error)})"
        return Finding("error", what, _NOTHING_GOES, f"mend the name service; try: getent hosts {host}")
    try:
        await _connect(host, port, None)
    except (OSError, TimeoutError) as error:
        what = f"no connection to Discord: {host}, port {port} ({_said(error)})"
        do = f"let port {port} out of the firewall (no proxy is used); try: curl -v {api_url}/gateway"
        return Finding("error", what, _NOTHING_GOES, do)
    if url.scheme != "https":
        return None
    try:
        await _connect(host, port, ssl.create_default_context())
    except (OSError, TimeoutError) as error:  # an SSLError is an OSError
        what = f"no connection to Discord: no TLS with {host} ({_said(error)})"
        do = "look at this machine's clock and certificates (ca-certificates), and for a proxy between"
        return Finding("error", what, _NOTHING_GOES, do)
    return None


async def _connect(host: str, port: int, context: ssl.SSLContext | None) -> None:
    async with asyncio.timeout(PATIENCE):
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.close()


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {PATIENCE:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS"
    return getattr(error, "strerror", None) or type(error).__name__
