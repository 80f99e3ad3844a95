"""Whether all is well: never by a heartbeat alone, only by answers of Discord's and looks at the spool."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from spoolbridge.parts import Parts

INTERVALS = 3  # poll intervals for which Discord may be silent
LEAST = 45.0  # seconds that it may be in any case


class Health(NamedTuple):
    """`why` is one line; `silence` seconds since Discord's last answer."""

    well: bool
    why: str
    silence: float | None


def health(parts: Parts, *, clock: Callable[[], float] = time.monotonic) -> Health:
    """How the service stands now, by the clock that its client goes by (seconds that do not jump).

    Red where Discord has not answered for three poll intervals, where it is not asked at all, and where the
    dispatcher or the poller has not looked for as long. A flow that dies ends the service, and this with it.
    """
    now = clock()
    patience = max(LEAST, INTERVALS * parts.settings.poll_interval)
    answered, looked = parts.client.answered_at, parts.metrics.looked_at
    silence = None if answered is None else max(0.0, now - answered)
    if parts.client.paused_because:
        return Health(False, f"Discord is not asked: {parts.client.paused_because}", silence)
    if silence is None or silence > patience:
        since = "yet" if silence is None else f"for {silence:.0f} s"
        return Health(False, f"Discord has not answered {since}", silence)
    for flow, last in (("dispatcher", looked), ("poller", parts.poller.due_at)):
        if last is not None and now - last > patience:
            return Health(False, f"the {flow} has not looked for {now - last:.0f} s", silence)
    return Health(True, "ok", silence)
