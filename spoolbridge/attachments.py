"""What humans attach is on disk before any delivery names it, or there is a reason why it is not.

Promises that no download wedges a channel: what fails is tried a few times, within a bounded time, and
then the message goes out with the reason and the link. While a large file is on its way its own channel
waits, and no other. Only a disk without room, or one that fails, keeps a message back, as it would keep
back its delivery. A whole file that is there already is not asked for again. What arrives is never
looked into.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from spoolbridge import atomic
from spoolbridge.attached_files import AttachedFiles, file_names
from spoolbridge.discord.cdn import Cdn
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import DiscordError, RefusedError, TokenRefusedError, UnreachableError
from spoolbridge.incoming import Attachment, IncomingMessage, from_discord, with_files
from spoolbridge.rendering import Kept, Names, size
from spoolbridge.settings import DEFAULT_MAX_DOWNLOAD, Settings
from spoolbridge.waiting import in_thread

PATIENCE = 5.0  # seconds for which a visit to a channel waits; what takes longer is met by a later visit
LONGEST = 300.0  # seconds for the files of one message
MOST_DONE = 100  # messages whose files are there and that have not come for them
WAITS = (1.0, 4.0)  # seconds between the tries of one file

_AT_ONCE = 6  # messages whose files are being downloaded
_OF_ONE_CHANNEL = 2  # of those: slow ones in one channel must not keep the others' waiting
_LOOK_AGAIN = 1.0  # seconds until a channel whose file is on its way is visited again
_GONE = (403, 404, 410)  # an expired link, or a file that is no more
#: What a disk says when nothing can be filed just now; anything else concerns the one file.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Wanted:
    """One file: for which message, under which names, and until which of the clock's times."""

    message: IncomingMessage
    attachment: Attachment
    names: tuple[str, str]
    until: float


class Attachments:
    """Downloads into the spool behind `spool_fd`. Use it as an async context manager.

    `largest`: bytes of one file, 0 downloads nothing. `patience` in seconds, None: to the end.
    """

    def __init__(
        self,
        spool_fd: int,
        client: DiscordClient,
        cdn: Cdn,
        *,
        largest: int = DEFAULT_MAX_DOWNLOAD,
        patience: float | None = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._files, self._client, self._cdn = AttachedFiles(spool_fd), client, cdn
        self._largest, self._patience = largest, patience
        self._clock, self._sleep = clock, sleep
        self._doors = asyncio.Semaphore(_AT_ONCE)
        self._channels: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()
        self._under_way: dict[int, asyncio.Task[dict[int, Kept]]] = {}
        self._stack = AsyncExitStack()

    @classmethod
    def by(
        cls, settings: Settings, spool_fd: int, client: DiscordClient, *, patience: float | None = PATIENCE
    ) -> Self:
        """As the settings say."""
        cdn = Cdn(settings.api_url)
        return cls(spool_fd, client, cdn, largest=settings.max_download, patience=patience)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._cdn)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is under way is given up, and begins anew with the message that it belongs to."""
        under_way, self._under_way = list(self._under_way.values()), {}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._stack.aclose()

    async def complete(
        self, messages: Sequence[IncomingMessage], new: Collection[int], names: Names
    ) -> tuple[list[IncomingMessage], Exception | None]:
        """The messages with what became of their files, as far as they can be delivered now; why no further.

        Only those whose ids are in `new` are looked at. What holds the rest up is an OSError of the disk, an
        UnreachableError where a file is still on its way, or a TokenRefusedError.
        """
        self._forget()
        tasks = {each.id: self._task(each) for each in messages if each.id in new and each.attachments}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=self._patience)
        done: list[IncomingMessage] = []
        for message in messages:
            if (task := tasks.get(message.id)) is not None:
                if not task.done():
                    what = f"what was attached to message {message.id} is still being downloaded"
                    return done, UnreachableError(what, retry_after=_LOOK_AGAIN)
                del self._under_way[message.id]
                if (error := task.exception()) is not None:
                    assert isinstance(error, Exception)
                    return done, error
                message = with_files(message, task.result(), names)
            done.append(message)
        return done, None

    def _task(self, message: IncomingMessage) -> asyncio.Task[dict[int, Kept]]:
        """The one under way, else a new one; a failure is old by now."""
        task = self._under_way.get(message.id)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = asyncio.ensure_future(self._all_of(message))
            self._under_way[message.id] = task
        return task

    def _forget(self) -> None:
        """What was deleted on Discord while it was downloaded, nobody asks for again; its files are there."""
        done = [message_id for message_id, task in self._under_way.items() if task.done()]
        for message_id in done[: max(0, len(done) - MOST_DONE)]:
            task = self._under_way.pop(message_id)
            _ = task.cancelled() or task.exception()  # else asyncio complains that nobody looked

    async def _all_of(self, message: IncomingMessage) -> dict[int, Kept]:
        """What became of each. Raises OSError of the disk, TokenRefusedError."""
        channel = self._channels.setdefault(message.channel.id, asyncio.Semaphore(_OF_ONE_CHANNEL))
        async with channel, self._doors:
            until = self._clock() + LONGEST
            kept: dict[int, Kept] = {}
            for attachment, names in zip(message.attachments, file_names(message.attachments), strict=True):
                if attachment.id:  # always, but for shapes that Discord does not have
                    kept[attachment.id] = await self._kept(_Wanted(message, attachment, names, until))
        return kept

    async def _kept(self, wanted: _Wanted) -> Kept:
        try:
            file = await self._file(wanted)
        except TokenRefusedError:
            raise
        except DiscordError as error:
            kept = Kept(reason=error.what)
        except OSError as error:
            if error.errno in _DISK:
                raise
            kept = Kept(reason=f"it cannot be written here ({error.strerror})")
        else:
            kept = Kept(file)
        _log.info("%s %s", _shown(wanted), "downloaded" if kept.file else f"not downloaded: {kept.reason}")
        return kept

    async def _file(self, wanted: _Wanted) -> str:
        """Where it lies. Raises DiscordError with the reason where it is not to be had, and OSError."""
        attachment = wanted.attachment
        if not self._largest:
            raise RefusedError("downloads are switched off")
        if attachment.size > self._largest:
            raise RefusedError(f"it is larger than the {size(self._largest)} that are downloaded")
        there = await in_thread(self._files.find, wanted.message, attachment, wanted.names)
        if there:
            return there
        try:
            return await self._patiently(wanted, attachment.url)
        except RefusedError as error:
            if error.status not in _GONE:
                raise
            return await self._patiently(wanted, await self._fresh_link(wanted))

    async def _patiently(self, wanted: _Wanted, link: str) -> str:
        """Try it, and again after what may pass. Raises the last DiscordError, and OSError."""
        for wait in (*WAITS, None):
            try:
                return await self._download(wanted, link)
            except UnreachableError as error:
                if wait is None or self._clock() + wait >= wanted.until:
                    raise
                _log.info("%s is tried again: %s", _shown(wanted), error.what)
                await self._sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _download(self, wanted: _Wanted, link: str) -> str:
        message, attachment = wanted.message, wanted.attachment
        seconds = wanted.until - self._clock()
        if seconds <= 0:
            raise UnreachableError("the files of its message took too long")
        fd = await in_thread(self._files.begin, message, attachment)
        try:
            async with aclosing(self._cdn.pieces(link, attachment.size, seconds=seconds)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    await in_thread(atomic.append, fd, piece, durable=False)
            return await in_thread(self._files.finish, fd, message, attachment, wanted.names)
        except BaseException:
            await in_thread(self._files.discard, message, attachment)  # a full disk needs the room
            raise
        finally:
            os.close(fd)

    async def _fresh_link(self, wanted: _Wanted) -> str:
        """Links expire after about a day, and each look at the message gives a new one."""
        message, attachment = wanted.message, wanted.attachment
        place = message.thread_id or message.channel.id
        found = await self._client.messages(place, after=message.id - 1, limit=1)
        fresh = {each.id: each.url for json in found for each in _attachments_of(json, message)}
        if attachment.id not in fresh:
            raise RefusedError("it was taken off the message, or deleted with it")
        return fresh[attachment.id]


def _attachments_of(json: Mapping[str, Any], message: IncomingMessage) -> Iterator[Attachment]:
    found = from_discord(json, message.channel, message.guild_id)
    yield from found.attachments if found.id == message.id else ()


def _shown(wanted: _Wanted) -> str:
    """For the log: ids and numbers, nothing that a human wrote."""
    message, attachment = wanted.message, wanted.attachment
    return f"{message.channel.address}/{message.id}: attachment {attachment.id} ({attachment.size} bytes)"
