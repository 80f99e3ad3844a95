"""The guards of conftest.py: a guard that has stopped working looks like a test suite that passes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from tests import conftest
from tests.conftest import OutsideError

TEST_NET = "192.0.2.1"  # RFC 5737: documentation, routed nowhere


@pytest.fixture
def reached() -> list[str]:
    """What the guard has noted; a test that reaches out on purpose clears it."""
    return conftest._left


def test_an_address_outside_is_refused(reached: list[str]) -> None:
    """Neither a connection nor a datagram leaves, and both are noted."""
    with socket.socket() as stream, pytest.raises(OutsideError):
        stream.connect((TEST_NET, 80))
    with socket.socket(type=socket.SOCK_DGRAM) as datagram, pytest.raises(OutsideError):
        datagram.sendto(b"x", (TEST_NET, 53))
    noted = [each.partition(" ")[0] for each in reached]
    reached.clear()
    assert ["socket.connect", "socket.sendto"] == noted


async def test_a_name_outside_is_not_even_looked_up(reached: list[str]) -> None:
    """asyncio asks the resolver in a thread, which the guard sees as well."""
    with pytest.raises(OutsideError):
        await asyncio.open_connection("discord.com", 443)
    noted = list(reached)
    reached.clear()
    assert ["socket.getaddrinfo 'discord.com'"] == noted


async def test_loopback_is_allowed() -> None:
    """A server and a client on 127.0.0.1 meet."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert b"" == await reader.read()
        writer.close()
        await writer.wait_closed()


def test_the_environment_is_nobodys(tmp_path: Path) -> None:
    """No setting is inherited; home is empty, and the working directory is the test's own."""
    prefixes = ("DISCORD_", "SPOOLBRIDGE_", "GT_")
    assert [] == [name for name in os.environ if name.startswith(prefixes)]
    assert tmp_path == Path.cwd()
    assert "home" in Path.home().name
    assert not (Path.cwd() / "spool").exists()


def test_the_lease_signal_is_ignored() -> None:
    """As in the service: without it `ready.lease` says that there is none to be had."""
    assert signal.SIG_IGN == signal.getsignal(signal.SIGIO)
