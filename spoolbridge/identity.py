"""What a name says: the ID that an entry keeps for life, and the nonce that Discord is shown.

An ID is the UTC time to the microsecond and eight random characters: it sorts by name and reads by
eye. The nonce is computed from it and never random, for it must be the same after a crash.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

#: Crockford's base32, lower case: no i, l, o or u to misread.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_CHARACTERS = 8
_FORM = re.compile(
    rf"((\d{{8}}T\d{{6}}\.\d{{6}}Z)-[{_ALPHABET}]{{{_RANDOM_CHARACTERS}}})(?:\.(.*))?", re.DOTALL | re.ASCII
)
#: What the name of a reason ends with, beside its failed entry.
WHY = ".why"
_TIME = "%Y%m%dT%H%M%S"
#: xfs refused to rename to a 200-byte name on a full disk (measured); `.why` must fit behind it too.
LONGEST_NAME = 100  # bytes
_LONGEST_SUFFIX = 10  # bytes
#: Names whose parts are remembered: on its way an entry is asked for them again and again.
_REMEMBERED = 2000
_HARMFUL = re.compile(rb"[^A-Za-z0-9._%-]|%(?![0-9A-F]{2})")


class Minter:
    """Makes IDs whose times strictly increase."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = -1  # microseconds

    def mint(self, at: float | None = None) -> str:
        """An ID for the time `at` (unix seconds; now), a microsecond later where that one is taken."""
        self._last = max(_microseconds(self._clock() if at is None else at), self._last + 1)
        return _id(self._last, os.urandom(_RANDOM_CHARACTERS))


def fresh(at: float) -> str:
    """An ID of the time `at` (unix seconds), unlike any other."""
    return _id(_microseconds(at), os.urandom(_RANDOM_CHARACTERS))


def derived(at: float, of: str) -> str:
    """An ID of the time `at` (unix seconds), the same for the same `of`: what was dropped before is known by
    it."""
    import hashlib

    digest = hashlib.blake2b(of.encode("utf-8", "replace"), digest_size=_RANDOM_CHARACTERS).digest()
    return _id(_microseconds(at), digest)


@lru_cache(_REMEMBERED)
def parse(name: str) -> tuple[str, str] | None:
    """The ID and the rest of a name in our form; None for any other name."""
    match = _FORM.fullmatch(name)
    if match is None or _moment(match[2]) is None:
        return None
    return match[1], match[3] or ""


@lru_cache(_REMEMBERED)
def time_of(entry_id: str) -> float:
    """When the entry was written, in unix seconds. Raises ValueError where it is not an ID."""
    match = _FORM.fullmatch(entry_id)
    moment = _moment(match[2]) if match else None
    if moment is None:
        raise ValueError(f"not an ID: {entry_id!r}")
    return moment.timestamp()


def stamp(at: float) -> str:
    """What an ID of the time `at` (unix seconds) begins with: it sorts among IDs as its time does."""
    return _stamp(_microseconds(at))


def file_name(entry_id: str, rest: str) -> str:
    """`<ID>.<rest>`, the rest made harmless: everything but A-Z a-z 0-9 . _ - is percent-encoded.

    What is harmless already stays as it is: an entry that comes back keeps its name.
    """
    return f"{entry_id}.{harmless(rest)}" if rest else entry_id


def harmless(name: str) -> str:
    """A name of at most LONGEST_NAME characters A-Z a-z 0-9 . _ - and percent-escapes; a suffix stays.

    Names stand in logs, so a secret in one is masked.
    """
    from spoolbridge import leaks  # a plain message's name has nothing to be made harmless

    name = leaks.mask(name, by="masked")
    plain = _HARMFUL.sub(lambda found: b"%%%02X" % found[0][0], os.fsencode(name)).decode("ascii")
    if len(plain) > LONGEST_NAME:
        stem, dot, suffix = plain.rpartition(".")
        if dot and len(suffix) <= _LONGEST_SUFFIX:
            end = f".{suffix}"
        else:
            stem, end = plain, "_"  # a cut must not leave `.why` or `.part` at the end: nobody would see it
        # Not in the middle of an escape: what is left must still decode.
        plain = re.sub(r"%.?$", "", stem[: LONGEST_NAME - len(end)]) + end
    return plain


def original(rest: str) -> str:
    """The name that `file_name` made harmless, for people to read: as it was dropped, if it was not cut."""
    from urllib.parse import unquote  # `send` needs none of it

    return unquote(rest, errors="replace")


def nonce(entry_id: str, part: int, channel_id: int) -> str:
    """24 characters: Discord takes at most 25 (Create Message), parts count from 1."""
    import base64  # with hashlib a tenth of what `send` may take to start, and it makes no nonce
    import hashlib

    digest = hashlib.blake2b(f"{entry_id}|{part}|{channel_id}".encode(), digest_size=15).digest()
    return base64.b32encode(digest).decode().lower()


def day_of(at: float) -> str:
    """The UTC day of a time in unix seconds, which directories and files of days are called by."""
    return _day(int(max(at, 0.0) // 86400))


@lru_cache(16)
def _day(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * 86400))


def _microseconds(at: float) -> int:
    """Since 1970. The whole seconds first: multiplied by a million, a time far off would lose some."""
    whole = int(at // 1)
    return whole * 10**6 + round((at - whole) * 1e6)


def _id(moment: int, tail: bytes) -> str:
    """`moment` in microseconds since 1970."""
    return f"{_stamp(moment)}-{''.join(_ALPHABET[byte % 32] for byte in tail)}"


def _stamp(moment: int) -> str:
    seconds, part = divmod(moment, 10**6)
    return f"{time.strftime(_TIME, time.gmtime(seconds))}.{part:06d}Z"


def _moment(written: str) -> datetime | None:
    from datetime import datetime  # `send` reads no ID

    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    # An earlier year is nobody's clock, and local times overflow in the year 1.
    return moment if moment.year >= 1970 else None
