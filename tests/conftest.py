"""Fixtures for every group, and the guards: no real home, no real spool, no address but loopback."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from spoolbridge.spool import Spool

_SCRUBBED = ("DISCORD_", "SPOOLBRIDGE_", "GT_")
_ASKS_A_RESOLVER = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_TALKS = ("socket.connect", "socket.sendto", "socket.sendmsg")

#: What has tried to leave this machine since the last test began.
_left: list[str] = []

# The same examples in every run: a failure is found again by whoever looks for it. More and others:
# HYPOTHESIS_PROFILE=explore.
settings.register_profile("usual", database=None, deadline=None, derandomize=True)
settings.register_profile("explore", database=None, deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

# As the service does: the kernel's signal for a broken lease would end the process.
signal.signal(signal.SIGIO, signal.SIG_IGN)
# A shell's job in the background ignores it, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


class OutsideError(RuntimeError):
    """A test reached for an address that is not loopback."""


def _is_loopback(host: object) -> bool:
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    try:
        address = ipaddress.ip_address(os.fsdecode(host) if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what leaves this machine. Subprocesses have hooks of their own, or none."""
    if event in _TALKS:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # others are paths of local sockets
    elif event in _ASKS_A_RESOLVER:
        host = arguments[0]
    else:
        return
    if not _is_loopback(host):
        _left.append(f"{event} {host!r}")
        raise OutsideError(f"{event}: {host!r} is not on this machine")


sys.addaudithook(_guard)  # not by patching: it also sees what asyncio and C code do


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()  # what is made here stays to the end, and there is much of it
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _nothing_real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, _home: Path) -> None:
    """No setting of whoever runs the tests, an empty home, and a working directory without a spool."""
    for name in [name for name in os.environ if name.startswith(_SCRUBBED)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(_home))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_outside() -> Iterator[None]:
    """Fails a test that reached outside, even where the code under test swallowed the refusal."""
    _left.clear()
    yield
    assert not _left


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    made = Spool.create(tmp_path / "spool")
    yield made
    made.close()
