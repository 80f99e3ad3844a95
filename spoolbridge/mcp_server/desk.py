"""What the tools work at: the spool and the channels file. Either may come after the server, or be
replaced while it runs."""

from __future__ import annotations

import os
from contextlib import suppress

import anyio

from spoolbridge import first_start
from spoolbridge.channels import Registry, Watched
from spoolbridge.errors import ChannelsError, SpoolError
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool


class Desk:
    """Opened when needed; `close` gives the descriptors back, once nobody waits any more."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._channels: Watched | None = None
        self._spools: list[Spool] = []
        # One at a time, first come first served: the order of the calls is the order of the IDs.
        self.turn = anyio.CapacityLimiter(1)

    def registry(self) -> Registry:
        """The channels that there are now. Raises ChannelsError."""
        if self._channels is None:
            self._channels = Watched(self.settings.channels)
        return self._channels()

    def names(self) -> tuple[str, ...]:
        """Every channel's address; none where the file cannot be read, which a call will say."""
        with suppress(ChannelsError):
            return self.registry().addresses
        return ()

    @property
    def problem(self) -> str:
        """Why the channels file cannot be read since it was changed; empty: it can."""
        return (self._channels.problem or "") if self._channels is not None else ""

    def spool(self) -> Spool:
        """The spool at that path now. One that was replaced stays open: a call may be waiting in it.

        Raises SpoolError.
        """
        root = self.settings.spool
        with suppress(OSError):
            if self._spools and os.path.samestat(os.stat(root), os.fstat(self._spools[-1].fd)):
                return self._spools[-1]
        try:
            spool = Spool(root)
        except OSError as error:
            raise SpoolError(f"the spool at {root} cannot be opened ({error.strerror})") from error
        try:
            first_start.check(spool.fd, root)
        except SpoolError:
            spool.close()
            raise
        self._spools.append(spool)
        return self._spools[-1]

    def close(self) -> None:
        while self._spools:
            self._spools.pop().close()
