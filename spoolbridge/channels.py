"""discord-channels.json: which names there are, and whose ids they stand for.

The file mixes scalars (a channel of the town) and objects (a rig and its channels):

    {"vgt": 1467106918538678293, "villacalculatecost3": {"mayor-villa": "1467106918538678294"}}

Ids are numbers or strings and exact to 64 bits. Keys that begin with `_` are remarks. What is
written here is inserted: every other byte of the file stays as its owner left it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spoolbridge import atomic
from spoolbridge.errors import ChannelsError, UnknownChannelError

_LARGEST_ID = 2**64 - 1
_LONGEST_NAME = 100  # characters
#: A channel's name becomes a directory's: nothing hidden, no path, nothing that moves a cursor.
_BARRED = frozenset(" ./\\\"'")
_BARRED_AT_FIRST = ("-", "_")
_LONGEST_ADDRESS = 255  # bytes in a directory's name
_MOST_CHOICES = 3
_FORM = 'mend it; it looks like {"vgt": "1467106918538678293"}'
_LOCK_WAIT = 10.0  # seconds for another program that adds a channel


class Channel(NamedTuple):
    """A channel that the bridge knows. `address` is its directory's name: `name`, or `rig.name`."""

    name: str
    id: int
    rig: str | None
    address: str


class Registry:
    """The channels of one reading of the file."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self.channels = tuple(channels)
        self._by_address = {channel.address: channel for channel in channels}
        self.addresses = tuple(self._by_address)
        self._by_rig = {f"{channel.rig}.{channel.name}": channel for channel in channels if channel.rig}

    def resolve(self, address: str) -> Channel:
        """The channel of that name or `rig.name`, a leading `#` forgiven.

        Raises UnknownChannelError, with the nearest names or the ones to choose from.
        """
        wanted = address.removeprefix("#")
        channel = self._by_address.get(wanted) or self._by_rig.get(wanted)
        if channel is not None:
            return channel
        choices = [each.address for each in self.channels if each.name == wanted]
        if choices:
            hint = f"say {_or(choices)}"
            raise UnknownChannelError(f"{wanted!r} is a channel of several rigs", hint, choices)
        choices = self._nearest(wanted)
        hint = f"did you mean {_or(choices)}?" if choices else "see: spoolbridge channels list"
        raise UnknownChannelError(f"no channel {wanted!r} in discord-channels.json", hint, choices)

    def _nearest(self, wanted: str) -> list[str]:
        import difflib  # only a wrong name pays for it

        return difflib.get_close_matches(wanted, [*self._by_address, *self._by_rig], _MOST_CHOICES, 0.5)


def load(path: Path) -> Registry:
    """The registry in the file. Raises ChannelsError where it cannot be used."""
    return parse(_read(path), path)


def parse(text: str, path: Path) -> Registry:
    """As `load`, from the file's text; `path` is named in what is raised."""
    found = list(_entries(_decode(text, path), path))
    several = {name for name, count in Counter(name for _, name, _ in found).items() if count > 1}
    return Registry([
        Channel(name, id_, rig, f"{rig}.{name}" if rig and name in several else name)
        for rig, name, id_ in found
    ])


class Watched:
    """The registry as it stands in the file now: read again whenever the file has changed.

    A file that cannot be used leaves the last good registry in force and its `problem` to be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = os.fspath(path)  # of a Path it is made anew each time that it is asked
        self.problem = ""
        self._seen = self._stamp()  # before the reading: what changes in between is read again
        self._registry = load(path)

    def __call__(self) -> Registry:
        stamp = self._stamp()
        if stamp != self._seen:
            try:
                self._registry, self.problem = load(self.path), ""
            except ChannelsError as error:
                self.problem = str(error)
            self._seen = stamp
        return self._registry

    def known(self) -> tuple[str, ...]:
        """The addresses as they were read last; the file is not looked at."""
        return self._registry.addresses

    def _stamp(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._name)
        except OSError:
            return ()
        return status.st_mtime_ns, status.st_size, status.st_ino


def add(path: Path, name: str, channel_id: int, *, rig: str | None = None) -> None:
    """Put a channel into the file (made where it is missing), under a lock, the rest untouched.

    Raises ChannelsError where the name is taken already or cannot be a directory's, and where the file
    cannot be written.
    """
    from filelock import FileLock

    _check_name(name, rig, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_WAIT, fallback_to_soft=False):
            _add(path, name, channel_id, rig)
    except OSError as error:
        raise ChannelsError(f"{path} cannot be written ({error})") from None


def _add(path: Path, name: str, channel_id: int, rig: str | None) -> None:
    there = path.exists()
    text = _read(path) if there else "{}\n"
    mode = stat.S_IMODE(path.stat().st_mode) if there else atomic.FILE_MODE
    parse(text, path)
    value = _decode(text, path)
    inside = value if rig is None else value.get(rig, {})
    if not isinstance(inside, dict):
        raise ChannelsError(f"{rig!r} is a channel in {path}, not a rig")
    if name in inside:
        raise ChannelsError(f"{name!r} is in {path} already, as {json.dumps(inside[name])}")
    changed = _inserted(text, rig, name, channel_id)
    parse(changed, path)
    with atomic.directory(path.parent) as at:
        atomic.replace(path.name, changed.encode(), at=at, mode=mode)


def make(path: Path) -> None:
    """An empty channels file where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.directory(path.parent) as at:
            atomic.replace(path.name, b"{}\n", at=at)


def check(name: str, rig: str | None) -> None:
    """Raises ChannelsError where these cannot stand in the file."""
    _check_name(name, rig, Path("discord-channels.json"))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()  # not read_text, which would make CRLF of others LF
    except FileNotFoundError:
        hint = "make it with: spoolbridge channels sync"
        raise ChannelsError(f"no channels file at {path}", hint) from None
    except UnicodeDecodeError as error:
        raise ChannelsError(f"{path} cannot be read ({error})", _FORM) from None
    except OSError as error:
        what = f"{path} cannot be read ({error.strerror})"
        raise ChannelsError(what, "let the users of the spool read it, or set SPOOLBRIDGE_CHANNELS") from None


def _decode(text: str, path: Path) -> dict[str, object]:
    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:  # json would take the last and say nothing: a message would go to another channel
            raise ChannelsError(f"{path}: {twice[0]!r} stands there twice", "keep one of them")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        raise ChannelsError(f"{path} is not JSON: line {error.lineno}, {error.msg}", _FORM) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, a thousand brackets
        raise ChannelsError(f"{path} holds what cannot be a channel id", _FORM) from None
    if not isinstance(value, dict):
        raise ChannelsError(f"{path} must hold an object of channel names and ids", _FORM)
    return value


def _entries(value: dict[str, object], path: Path) -> Iterator[tuple[str | None, str, int]]:
    for key, inner in value.items():
        if key.startswith("_"):
            continue
        if isinstance(inner, dict):
            for name, scalar in inner.items():
                if not name.startswith("_"):
                    yield _checked(key, name, scalar, path)
        else:
            yield _checked(None, key, inner, path)


def _checked(rig: str | None, name: str, scalar: object, path: Path) -> tuple[str | None, str, int]:
    _check_name(name, rig, path)
    text = scalar if isinstance(scalar, str) else str(scalar) if type(scalar) is int else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and 0 < int(text) <= _LARGEST_ID):
        raise ChannelsError(f"{path}: {name!r} has no channel id", 'write "name": "1467106918538678293"')
    return rig, name, int(text)


def _check_name(name: str, rig: str | None, path: Path) -> None:
    printable = 0 < len(name) <= _LONGEST_NAME and name.isprintable()  # no white space but a plain one
    if not printable or name.startswith(_BARRED_AT_FIRST) or not _BARRED.isdisjoint(name):
        hint = "no space, dot, slash or quote, not first - or _, at most 100 characters"
        raise ChannelsError(f"{path}: {name!r} cannot be a channel's name", hint)
    if rig is not None and not _is_rig(rig):
        raise ChannelsError(f"{path}: {rig!r} cannot be a rig's name", "letters, digits and _")
    if len(f"{rig}.{name}".encode()) > _LONGEST_ADDRESS:
        raise ChannelsError(f"{path}: {name!r} is too long for a directory", "rename it on Discord")


def _is_rig(key: str) -> bool:
    """Letters, digits and _; a key that begins with _ is a remark."""
    return len(key) <= _LONGEST_NAME and key.replace("_", "x").isalnum() and not key.startswith("_")


def _inserted(text: str, rig: str | None, name: str, channel_id: int) -> str:
    top = text.index("{")
    start, members = top, _members(text, top)
    new, level = f'"{name}": {_id_like_the_others(text, channel_id)}', 1
    if rig is not None:
        if rig in members:
            start, level = members[rig][0], 2
            members = _members(text, start)
        else:
            new = f'"{rig}": {{\n    {new}\n  }}'
    if not members:
        closing = text[text.index("}", start) :]
        return f"{text[: start + 1]}\n{'  ' * level}{new}\n{'  ' * (level - 1)}{closing}"
    end = max(end for _, end in members.values())
    first_key = re.compile(r"\s*").match(text, start + 1)
    indent = first_key[0] if first_key else "\n  "
    return f"{text[:end]},{indent or ' '}{new}{text[end:]}"


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Key → where its value begins and ends, for the object that begins at `start`."""
    decoder, space = json.JSONDecoder(), re.compile(r"[\s,:]*")
    found: dict[str, tuple[int, int]] = {}
    at = space.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[at] != "}":
        key, at = decoder.raw_decode(text, at)
        at = space.match(text, at).end()  # type: ignore[union-attr]
        _, end = decoder.raw_decode(text, at)
        found[key] = (at, end)
        at = space.match(text, end).end()  # type: ignore[union-attr]
    return found


def _id_like_the_others(text: str, channel_id: int) -> str:
    """As a number where the file has numbers; a string is safer for who reads it with floats."""
    return str(channel_id) if re.search(r":\s*\d{15,}", text) else f'"{channel_id}"'


def _or(choices: Sequence[str]) -> str:
    return " or ".join(choices)
