"""Who may ask the page: addresses, names, origins, the key."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from spoolbridge.errors import SettingsError, SpoolbridgeError
from spoolbridge.page.door import Door, Where, address_of, listen, where

KEY = "a key of sixteen"


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with listen(Where("127.0.0.1", 0), key="") as made:
        yield made


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8640", "127.0.0.1", 8640),
        ("127.0.0.1:8640", "127.0.0.1", 8640),
        (":0", "127.0.0.1", 0),
        ("[::1]:8640", "::1", 8640),
        ("example.org:80", "example.org", 80),
    ],
)
def test_an_address(text: str, host: str, port: int) -> None:
    """With or without a host; a number in brackets."""
    assert (host, port) == where(text)


@pytest.mark.parametrize(
    "text", ["", "localhost", "::1", "::1:8640", "127.0.0.1:", "a:b", "a:65536", "a:-1", "٣"]
)
def test_what_is_no_address(text: str) -> None:
    """Is refused, for a guess might listen where nobody meant."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        where(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_other_machines_reach_it_only_where_that_is_said(host: str) -> None:
    """And only with a key; nothing is bound before both are there."""
    with pytest.raises(SettingsError, match="--http-anywhere"):
        listen(Where(host, 0), key=KEY)
    with pytest.raises(SettingsError, match="SPOOLBRIDGE_HTTP_KEY is not set"):
        listen(Where(host, 0), key="", anywhere=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.9.10", "::1"])
def test_loopback_needs_neither(host: str) -> None:
    """By whichever of its names."""
    with listen(Where(host, 0), key="") as made:
        assert address_of(made).startswith("http://")
        assert made.getsockname()[1] > 0


def test_a_port_that_is_taken(bound: socket.socket) -> None:
    """A sentence, with the port in it."""
    port = bound.getsockname()[1]
    told = rf"port {port} of 127\.0\.0\.1 cannot be used \(address already"
    with pytest.raises(SpoolbridgeError, match=told):
        listen(Where("127.0.0.1", port), key="")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8640", "localhost:1", "LOCALHOST", "[::1]:8640", "[::1]"]
)
def test_its_own_names(bound: socket.socket, host: str) -> None:
    """Whatever the port: a tunnel has another."""
    assert "" == Door(bound, "127.0.0.1", key="").stranger(host, None)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8640", "127.0.0.1.evil.example", "localhost.", "192.0.2.1"]
)
def test_a_strangers_name(bound: socket.socket, host: str) -> None:
    """A page that rebinds its own name to this machine reads nothing."""
    assert "Host" in Door(bound, "127.0.0.1", key="").stranger(host, None)


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://127.0.0.1:1", "http://localhost:8640", ""]
)
def test_a_strangers_origin(bound: socket.socket, origin: str) -> None:
    """Another page of this machine is a stranger too."""
    door = Door(bound, "127.0.0.1", key="")
    assert "Origin" in door.stranger("127.0.0.1:8640", origin)
    assert "" == door.stranger("127.0.0.1:8640", "http://127.0.0.1:8640")


def test_where_other_machines_reach_it() -> None:
    """A number cannot be rebound; of names only the given one and the machine's own are answered."""
    with listen(Where("0.0.0.0", 0), key=KEY, anywhere=True) as made:
        door = Door(made, "spool.example", key=KEY)
    assert not door.loopback
    for host in ("192.0.2.1:8640", "spool.example", socket.gethostname(), "localhost:8640"):
        assert "" == door.stranger(host, None)
    assert "Host" in door.stranger("evil.example", None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"Bearer {KEY}", True),
        (f"bearer  {KEY} ", True),
        (f"Basic {KEY}", False),
        (f"Bearer {KEY}x", False),
        ("Bearer", False),
        ("Bearer \udcff", False),
        (KEY, False),
        ("", False),
    ],
)
def test_the_key(bound: socket.socket, said: str, expected: bool) -> None:
    """Whole, and behind its word."""
    assert expected == Door(bound, "127.0.0.1", key=KEY).has_key(said)


def test_without_a_key_nobody_has_it(bound: socket.socket) -> None:
    """An empty word is not the empty key."""
    assert not Door(bound, "127.0.0.1", key="").has_key("Bearer ")
