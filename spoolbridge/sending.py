"""Sending as its two faces mean it (`spoolbridge send` and the MCP tool): drop, wait, tell.

Promises that a refusal is known before anything is dropped, by the very test that the service puts
to a file, and that what was dropped is never called refused afterwards. Must never import what
starts slowly (aiohttp, mcp, watchdog, pydantic, asyncio): an agent waits for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from spoolbridge import header, outgoing, ready
from spoolbridge.channels import Registry
from spoolbridge.errors import MessageError, SpoolError
from spoolbridge.spool import Entry, Spool

LONGEST_TEXT = 1024 * 1024  # bytes; more is a file's to carry, since nobody reads it as messages
#: The spool has no cheaper event for a light process: a rename elsewhere wakes nobody here.
_SHORTEST_PAUSE = 0.01  # seconds between two looks; a post takes about a tenth of a second
_LONGEST_PAUSE = 0.1  # seconds; later, a look costs more than it tells
_GROWTH = 1.5

_STATUSES = {"outgoing": "queued", "sending": "queued", "sent": "sent", "failed": "failed"}


def drop_message(
    spool: Spool,
    registry: Registry,
    channel: str,
    text: str,
    *,
    rig: str | None = None,
    reply_to: int | str | None = None,
    thread: int | str | None = None,
    dedupe_key: str | None = None,
    react: str | None = None,
    files: Mapping[str, bytes] | None = None,
    name: str = "",
    not_after: float | None = None,
    entry_id: str = "",
) -> Entry:
    """Hand `text` over for `channel` (a name, `rig.name`, a leading `#` forgiven); durable on return.

    `files` are contents by name, and the text may then be empty, as with `react`, an emoji for the
    message `reply_to`. `name` ends the entry's file name. It is not posted any more after `not_after` (unix
    seconds). `entry_id` was minted before.
    Raises UnknownChannelError, MessageError or SpoolError; nothing has been dropped then.
    """
    address = registry.resolve(channel).address
    attached = _attached(files) if files else None
    headers = {
        "Rig": rig, "Reply-To": reply_to, "Thread": thread, "Dedupe-Key": dedupe_key, "React": react,
        "Not-After": not_after and _rfc3339(not_after),
    }  # fmt: skip
    said = {key: str(value) for key, value in headers.items() if value}
    data = _bytes(text, said) if text or not attached or said else None
    outgoing.parse(name, data, attached)
    try:
        return spool.drop(address, data, name=_visible(name), files=attached, entry_id=entry_id)
    except OSError as error:
        what = f"the spool at {spool.root} cannot be written to ({error.strerror}); nothing was dropped"
        raise SpoolError(what, "make room or give rights, then send again") from error


def wait_for(
    spool: Spool,
    entry: Entry,
    *,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Entry:
    """The entry once it is sent or failed, or as it is after `seconds`, whatever its state then.

    Raises SpoolError where somebody took it away (`rm` cancels) before it was sent.
    """
    end, pause = clock() + seconds, _SHORTEST_PAUSE
    # Nothing has come of it yet, and a look now is in the way of whoever is about to claim it.
    while (left := end - clock()) > 0:
        sleep(min(pause, left))
        pause = min(pause * _GROWTH, _LONGEST_PAUSE)
        entry = _look(spool, entry)
        if entry.state in ("sent", "failed"):
            break
    return entry


def answer(entry: Entry) -> dict[str, str]:
    """What is told to programs: `status` (queued, sent, failed), `id`, `file`, `channel`; where known
    `message_id`, `jump_url` (of the first part) and `reason`. Ids are strings: JSON's numbers round them.
    """
    told = {
        "status": _STATUSES[entry.state],
        "id": entry.id,
        "file": os.fsencode(entry.path).decode("utf-8", "replace"),
        "channel": entry.channel,
    }
    if entry.message_ids and entry.message_ids[0]:  # 0: posted, and deleted before we heard its id
        told["message_id"] = str(entry.message_ids[0])
        if entry.jump_url:
            told["jump_url"] = entry.jump_url
    if entry.reason:
        told["reason"] = entry.reason
    return told


def sentence(entry: Entry) -> str:
    """What is told to people and models: one line, and for what waits, that it needs nobody."""
    told = answer(entry)
    if told["status"] == "sent":
        where = told.get("jump_url") or told.get("message_id", "")
        return f"sent to #{entry.channel}{f': {where}' if where else ''}"
    if told["status"] == "failed":
        return f"failed for #{entry.channel}: {entry.reason or 'no reason is given'} (kept as {told['file']})"
    return f"queued for #{entry.channel} as {entry.id}; it will be sent by itself, do not send it again"


def _bytes(text: str, headers: Mapping[str, str]) -> bytes:
    # One newline at the end is not part of a message, but the line that ends a header must stand.
    data = header.render(text or "\n", headers) if headers else header.render(text, headers)
    if len(data) > LONGEST_TEXT:
        what = f"the message has {len(data)} bytes, more than {LONGEST_TEXT}"
        raise MessageError(what, "shorten it, or attach it as a file")
    return data


def _rfc3339(at: float) -> str:
    import math  # only a message that is not for ever pays for it

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(math.ceil(at)))


def _attached(files: Mapping[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for each, data in files.items():
        plain = outgoing.safe_file_name(each)
        if ready.ignored(plain):
            raise MessageError(f"the spool skips files called like {plain!r}", "attach it under another name")
        if plain in found:
            raise MessageError(f"two files are called {plain!r}", "attach one under another name")
        found[plain] = data
    size = sum(map(len, found.values()))
    if size > ready.LARGEST:
        what = f"the files have {size} bytes, more than the {ready.LARGEST} that Discord takes in all"
        raise MessageError(what, "attach fewer or smaller ones")
    return found


def _visible(name: str) -> str:
    """A name that the service does not take for a temporary one."""
    return f"{name}.txt" if name and ready.ignored(f"ID.{name}") else name


def _look(spool: Spool, entry: Entry) -> Entry:
    """The entry as it is now; as it was, where this process may not look."""
    with suppress(OSError):
        # The second look is for an entry that somebody moved to another channel or name.
        found = spool.find(entry.id, entry.channel, entry.name) or spool.find(entry.id)
        if found is None:
            what = f"{entry.id} is not in the spool any more: somebody took it away before it was sent"
            raise SpoolError(what, "send it again only if it should still go out")
        return found
    return entry
