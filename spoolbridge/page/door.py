"""Who may ask: the address that the page listens on, the names that it answers to, and the key.

A page that is open in the same browser may be led to this address under a name of its own (DNS rebinding), so
only names that are ours are answered; a number cannot be rebound. What carries an Origin carries our own.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
from typing import NamedTuple

from spoolbridge.errors import SettingsError, SpoolbridgeError
from spoolbridge.settings import HTTP_KEY

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_BACKLOG = 64  # connections that wait to be taken


class Where(NamedTuple):
    """An address to listen on; `port` 0 takes a free one."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        return (number := _number(self.host)) is not None and number.is_loopback


def where(text: str) -> Where:
    """`HOST:PORT`, `[::1]:PORT` or `PORT` alone. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(text)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(text)
    return Where(host or "127.0.0.1", int(port))


def listen(at: Where, *, key: str, anywhere: bool = False) -> socket.socket:
    """The socket to serve on, bound; whoever gives it away closes it.

    Raises SettingsError where others than this machine would reach it without `anywhere` and a key, and
    SpoolbridgeError where the address cannot be had.
    """
    if not at.loopback and not anywhere:
        what = f"{at.host} lets other machines read what is written in the channels"
        raise SettingsError(what, "say --http-anywhere as well if that is meant, or use 127.0.0.1")
    if not at.loopback and not key:
        hint = f"put {HTTP_KEY}=… (16 characters or more) into .env"
        raise SettingsError(f"a page that other machines reach needs a key, and {HTTP_KEY} is not set", hint)
    try:
        kind, *_, address = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(kind, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        why = os.strerror(error.errno or 0) if error.errno and error.errno > 0 else str(error.strerror)
        what = f"port {at.port} of {at.host} cannot be used ({why.lower()})"
        raise SpoolbridgeError(what, "choose another one") from None
    return bound


def address_of(bound: socket.socket) -> str:
    """`http://…`, without a slash at its end."""
    host, port, *_ = bound.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Door:
    """What is asked of each request, by its headers. `key` empty: nobody may change anything."""

    def __init__(self, bound: socket.socket, host: str, *, key: str) -> None:
        number = _number(bound.getsockname()[0])
        self.loopback = number is not None and number.is_loopback
        self.key = key
        self._names = _LOOPBACK | {host.lower()}
        if not self.loopback:
            self._names |= {socket.gethostname().lower()}

    def stranger(self, host: str, origin: str | None) -> str:
        """Why a request with these headers is turned away; empty: it is not."""
        name = _name(host)
        if name not in self._names and (self.loopback or _number(name) is None):
            return "The page answers to its own names only, and the Host of this request is none of them."
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "The page answers to itself only, and the Origin of this request is another page."
        return ""

    def has_key(self, authorization: str) -> bool:
        """Whether `Authorization` is `Bearer` and the key."""
        kind, _, said = authorization.partition(" ")
        if not self.key or kind.lower() != "bearer":
            return False
        return hmac.compare_digest(said.strip().encode("utf-8", "replace"), self.key.encode())


def _name(host: str) -> str:
    """The name in a Host header, without its port and brackets."""
    name, colon, port = host.rpartition(":")
    bare = name if colon and port.isdigit() and not (name.count(":") and not name.endswith("]")) else host
    return bare.removeprefix("[").removesuffix("]").lower()


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
