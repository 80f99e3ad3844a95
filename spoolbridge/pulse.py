"""The pulse of a service, as systemd hears it: that it starts, how it stands, and that it is alive.

A service that hangs looks alive to everybody else. A beat comes from the event loop, so that the loop turns;
it is left out where the dispatcher, which looks every two seconds, has not ended a look for long. That the
poller and all others live needs no proof: a task that dies ends the service. How long Discord takes proves
nothing, and is no reason to be started again.
"""

from __future__ import annotations

import asyncio

from spoolbridge.dispatcher import RESCAN
from spoolbridge.findings import polled
from spoolbridge.parts import Parts
from spoolbridge.systemd import Notifier

EVERY = 10.0  # seconds between two beats, where systemd wants none more often
_MORE = 60  # seconds that a start is given with each beat
_LOOKS = 10  # so many times as long as the dispatcher rests may one of its looks take


async def starting(notifier: Notifier) -> None:
    """Ask for time until cancelled: a start waits as long as Discord is away, or the disk is full."""
    while notifier.address:
        said = "starting; what it waits for stands in the log"
        notifier.tell(EXTEND_TIMEOUT_USEC=_MORE * 10**6, STATUS=said)
        await asyncio.sleep(EVERY)


async def keep(notifier: Notifier, parts: Parts) -> None:
    """Beat until cancelled, twice in the time after which systemd takes silence for death."""
    loop = asyncio.get_running_loop()
    longest = max(notifier.watchdog or 0.0, _LOOKS * RESCAN)
    while notifier.address:
        alive = loop.time() - parts.dispatcher.looked_at < longest
        beat = {"WATCHDOG": 1} if alive and notifier.watchdog else {}
        notifier.tell(STATUS=sentence(parts), **beat)
        await asyncio.sleep(min(EVERY, (notifier.watchdog or EVERY) / 2))


def sentence(parts: Parts) -> str:
    """How it stands, for one line of `systemctl status`. Holds no message's text."""
    known = parts.registry().channels
    read = sum(polled(each, parts.settings.poll) for each in known)
    told = f"serving {len(known)} {'channel' if len(known) == 1 else 'channels'}, {read} of them read"
    if reason := parts.client.paused_because:
        return f"{told}; Discord is not asked: {reason}"
    found = len(parts.inspection.findings)
    return f"{told}; {found} to mend, see: spoolbridge status" if found else told
