"""Files that people attached, as Discord's CDN gives them: by signed links, in pieces.

Promises to ask nobody else: https and the CDN's own hosts, or, where the API is on loopback (the emulator),
the API's own address. Must never send the token or a cookie, follow a redirect, unpack what arrives, nor
give more bytes than were asked for. A link is data: it was chosen by Discord, but it came with a message.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from spoolbridge.discord.connection import CONNECT_TIMEOUT, FAILURES, USER_AGENT
from spoolbridge.errors import DiscordError, RefusedError, UnreachableError

#: Where Discord's API says that attachments lie (Attachment object, `url` and `proxy_url`).
HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
#: Seconds for one file, and bytes a second that any line manages: a large one gets its size's worth on top.
TIMEOUT = 15.0
SLOWEST = 256 * 1024

_PIECE = 1 << 18  # bytes
_TOO_MANY = 429


class Cdn:
    """Use it as an async context manager: it owns its HTTP session. `timeout` is in seconds."""

    def __init__(self, api_url: str, *, timeout: float = TIMEOUT) -> None:
        api = _url(api_url)
        self._emulator = api if api is not None and _is_loopback(api.host) else None
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Unasked, the CDN may pack a text, and then its length is not the one that Discord declared.
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    def serves(self, link: str) -> bool:
        """Whether the link leads to where Discord keeps attachments."""
        url = _url(link)
        if url is None or url.user is not None or url.password is not None:
            return False
        if self._emulator is not None and _is_loopback(url.host):
            return (url.scheme, url.port) == (self._emulator.scheme, self._emulator.port)
        return url.scheme == "https" and url.host in HOSTS and url.port == 443

    async def pieces(self, link: str, size: int, *, seconds: float) -> AsyncIterator[bytes]:
        """The `size` bytes behind the link, within `seconds` at the most, and within what `size` deserves.

        Raises UnreachableError where it may work later (no answer, 429, 5xx, an answer cut short) and
        RefusedError where it will not: 403 and 404 are what an expired link gets, and what is gone.
        """
        assert self._session is not None, "use the CDN inside `async with`"
        if not self.serves(link):
            raise RefusedError("its address is not Discord's")
        time = aiohttp.ClientTimeout(
            total=min(seconds, self._timeout + size / SLOWEST), connect=min(self._timeout, CONNECT_TIMEOUT)
        )
        try:
            async with self._session.get(URL(link, encoded=True), timeout=time, allow_redirects=False) as got:
                if got.status != 200:
                    raise _refusal(got.status)
                arrived = 0
                async for piece in got.content.iter_chunked(_PIECE):
                    arrived += len(piece)
                    if arrived > size:
                        raise RefusedError(f"it is larger than the {size} bytes that Discord declared")
                    yield piece
        except TimeoutError:
            raise UnreachableError("it did not arrive in time") from None
        except FAILURES as error:
            raise UnreachableError(f"the connection failed ({type(error).__name__})") from None
        if arrived != size:
            raise UnreachableError(f"it ended after {arrived} of {size} bytes")


def _refusal(status: int) -> DiscordError:
    said = f"Discord's file server answered {status}"
    if status == _TOO_MANY or status >= 500:
        return UnreachableError(said, status=status)
    return RefusedError(said, status=status)


def _url(text: str) -> URL | None:
    """An address that may be asked for as it is, without anything in it that could end a request's line."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        return None
    try:
        url = URL(text, encoded=True)
        return url if url.host and url.port and url.scheme in ("http", "https") else None
    except ValueError:
        return None


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
