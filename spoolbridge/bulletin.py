"""What the running service tells of itself: `state/status.json` and `state/STATUS`, kept fresh."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress

from spoolbridge import __version__, status
from spoolbridge.census import Census
from spoolbridge.metrics import RECENT, Metrics
from spoolbridge.parts import Parts
from spoolbridge.waiting import in_thread

_LOOK = 1.0  # seconds between two looks at whether the status has changed


async def keep(parts: Parts) -> None:
    """Rewrite STATUS whenever something in it has changed, and now and then in any case."""
    written, before, census = 0.0, status.Facts(), Census(parts.spool)
    while True:
        told = facts(parts)
        now = {**status.essence(told), "recent": told["recent"]}
        if now != before or time.monotonic() - written > status.EVERY:
            with suppress(OSError):
                await in_thread(status.write, parts.spool, told, census=census)
            written, before = time.monotonic(), now
        await asyncio.sleep(_LOOK)


def last(parts: Parts) -> None:
    """The last word of a service that ends. Raises OSError where the disk refuses it."""
    status.write(parts.spool, {**facts(parts), "stopped": True})


def facts(parts: Parts) -> status.Facts:
    """How the service stands now. Holds no message's text and no token; times in unix seconds."""
    client = parts.client
    answered = client.answered_at
    return {
        "at": time.time(),
        "version": __version__,
        "pid": os.getpid(),
        "since": parts.since,
        "bot": {"id": str(parts.bot.id), "guild_id": str(parts.bot.guild_id)},
        "discord": {
            "answered_at": answered and time.time() - (time.monotonic() - answered),
            "paused_because": client.paused_because,
            "invalid_requests": client.invalid_requests,
            "clock_ahead": client.clock_ahead,
        },
        "mail": parts.post.facts(),
        "recent": _recent(parts.metrics),
        "channels": _channel_facts(parts),
        "findings": [
            *filter(None, (parts.registry.problem, parts.watcher.problem)),
            *(parts.post.town.findings if parts.post.town else ()),
            *(each.sentence for each in parts.inspection.findings),
        ],
    }


def _recent(metrics: Metrics) -> dict[str, float]:
    """What passed through in the last minutes."""
    rates = (metrics.sent_a_minute, metrics.failed_a_minute, metrics.filed_a_minute)
    sent, failed, filed = (round(rate * RECENT / 60) for rate in rates)
    return {"seconds": RECENT, "sent": sent, "failed": failed, "filed": filed}


def _channel_facts(parts: Parts) -> dict[str, status.Facts]:
    said: dict[str, status.Facts] = {address: {} for address in parts.registry().addresses}
    dispatcher = parts.dispatcher
    for channel, parked in dispatcher.parked.items():
        said.setdefault(channel, {}).update(parked=parked.reason, next_try=parked.until)
    for channel, (due, reason) in parts.posting.waiting.items():
        said.setdefault(channel, {}).update(next_try=due, reason=reason)
    for channel, reason in dispatcher.disk.items():
        said.setdefault(channel, {})["disk"] = reason
    for channel, at in dispatcher.last_sent.items():
        said.setdefault(channel, {})["last_sent"] = at
    for channel, problem in parts.poller.problems.items():
        said.setdefault(channel, {})["inbound"] = problem
    for channel, count in parts.access.refused.items():
        said.setdefault(channel, {})["refused"] = count
    for channel, reason in (parts.receipts.stopped if parts.receipts else {}).items():
        said.setdefault(channel, {})["receipts"] = reason
    return said
