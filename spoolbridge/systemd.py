"""What systemd is told of a service, by sd_notify(3): a datagram a message, by the standard library alone.

Must never end or delay a service: what cannot be told is left untold. Outside of systemd nothing is.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
_PATIENCE = 1.0  # seconds for a systemd that is busy


class Notifier(NamedTuple):
    """Whom to tell; `watchdog` is the time in seconds after which silence means death, None: it may last."""

    address: str = ""
    watchdog: float | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """As systemd put it into the environment of this process."""
        address = environment.get(SOCKET, "")
        usec = environment.get(WATCHDOG, "")
        ours = environment.get(WATCHDOG_PID, str(os.getpid())) == str(os.getpid())
        watched = bool(address) and ours and usec.isascii() and usec.isdigit() and int(usec) > 0
        return cls(address if address[:1] in ("/", "@") else "", int(usec) / 1e6 if watched else None)

    def tell(self, **said: str | int) -> None:
        """Assignments such as READY=1, in one message; each value becomes one line."""
        if not self.address:
            return
        text = "\n".join(f"{name}={' '.join(str(value).split())}" for name, value in said.items())
        # An address that begins with @ lies in the abstract namespace, where the first byte is NUL.
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.settimeout(_PATIENCE)
            end.sendto(text.encode("utf-8", "replace"), address)
