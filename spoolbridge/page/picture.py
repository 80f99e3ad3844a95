"""Everything that the page shows, as one object of plain values. Holds no token and no key."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from spoolbridge import __version__, bulletin, identity, leaks
from spoolbridge.failures import Failure
from spoolbridge.metrics import SLOT, SLOTS, Settled, Slot
from spoolbridge.page.health import Health
from spoolbridge.page.looks import SHOWN, Box, Said, Seen
from spoolbridge.parts import Parts
from spoolbridge.poller import GUILD

Picture = dict[str, Any]


def picture(parts: Parts, seen: Seen, health: Health) -> Picture:
    """The spool and the service as they stand. Times are unix seconds, ids and names are texts.

    `channels` is each channel with its counts, its newest entries by state, and what is said of it;
    `failures` are the newest of `failed`; `hour` the last hour in slots of `slot` seconds, oldest first: when
    it began, sent, failed, filed, backlog, and the latency that half and 95 % of its messages stayed within.
    """
    told = bulletin.facts(parts)
    metrics, said = parts.metrics, told["channels"]
    guild = said.pop(GUILD, {}).get("inbound")
    troubles = [f"The guild is not read: {guild}"] if guild else []
    troubles += [f"#{name} is {remark}" for name, each in said.items() for remark in _remarks(each)]
    hide = _hiding(parts.settings.token, parts.settings.http_key)
    return {
        "at": time.time(),
        "since": parts.since,
        "version": __version__,
        "well": health.well,
        "why": health.why,
        "silence": health.silence,
        "rates": {
            "sent": metrics.sent_a_minute, "failed": metrics.failed_a_minute, "filed": metrics.filed_a_minute
        },
        "totals": {"sent": metrics.sent_by.total(), "filed": metrics.filed_by.total()},
        "oldest": seen.oldest,
        "channels": _channels(seen, said, metrics.sent_by),
        "findings": [*map(str, told["findings"]), *troubles],
        "slot": SLOT,
        "slots": SLOTS,
        "hour": [_slot(each) for each in metrics.hour],
        "failed": sum(seen.failed.values()),
        "failures": [_failure(each, hide) for each in reversed(seen.failures)],
        "out": [_said(each, hide) for each in reversed(seen.outward)],
        "in": [_said(each, hide) for each in reversed(seen.inward)],
    }  # fmt: skip


def _hiding(*own: str) -> Callable[[str], str]:
    """Masks what looks like a secret, and these of ours: a message may hold anything."""

    def hide(text: str) -> str:
        for secret in filter(None, own):
            text = text.replace(secret, "…")
        return leaks.mask(text)

    return hide


def _channels(seen: Seen, said: dict[str, Any], sent: Counter[str]) -> list[Picture]:
    newest: dict[str, list[Settled]] = {}
    for each in seen.sent:
        newest.setdefault(each.channel, []).append(each)
    failed: dict[str, list[Failure]] = {}
    for failure in seen.failures:
        failed.setdefault(failure.channel, []).append(failure)
    names = sorted({*said, *seen.outgoing, *seen.sending, *(name for name in seen.failed if name)})
    return [
        {
            "name": name,
            "outgoing": _box(seen.outgoing.get(name)),
            "sending": _box(seen.sending.get(name)),
            "sent": {"count": sent[name], "entries": [_sent(each) for each in newest.get(name, ())][-SHOWN:]},
            "failed": {
                "count": seen.failed.get(name, 0),
                "entries": [_entry(each.id, each.name) for each in failed.get(name, ())][-SHOWN:],
            },
            "remarks": [*(["on hold"] if {"", name} & seen.held else []), *_remarks(said.get(name, {}))],
        }
        for name in names
    ]


def _remarks(said: dict[str, Any]) -> list[str]:
    """Why a channel stands, where it does."""
    found = []
    if said.get("parked"):
        found.append(f"parked: {said['parked']}")
    elif said.get("reason"):
        found.append(f"waiting: {said['reason']}")
    if said.get("disk"):
        found.append(f"waiting for the disk: {said['disk']}")
    if said.get("inbound"):
        found.append(f"not read: {said['inbound']}")
    return found


def _box(box: Box | None) -> Picture:
    entries = [{"id": each.id, "name": each.name, "at": each.at} for each in box.entries] if box else []
    return {"count": box.total if box else 0, "entries": entries}


def _sent(each: Settled) -> Picture:
    name = each.path.rpartition("/")[2]
    parsed = identity.parse(name)
    return _entry(parsed[0] if parsed else name, name) | {"settled": each.at}


def _entry(entry_id: str, name: str) -> Picture:
    parsed = identity.parse(name)
    return {"id": entry_id, "name": identity.original(parsed[1]) if parsed else name}


def _failure(each: Failure, hide: Callable[[str], str]) -> Picture:
    lines = each.why.splitlines()
    hints = [line.partition(": ")[2] for line in lines if line.startswith("What to do: ")]
    return {
        "channel": each.channel, "file": each.name, "at": identity.time_of(each.id),
        **_entry(each.id, each.name), "reason": hide(each.reason) or "no reason lies beside it",
        "hint": hide("".join(hints)),
    }  # fmt: skip


def _said(each: Said, hide: Callable[[str], str]) -> Picture:
    return each._replace(text=hide(each.text))._asdict()


def _slot(each: Slot) -> list[float | None]:
    return [
        each.began, each.sent, each.failed, each.filed, each.backlog, each.latency(0.5), each.latency(0.95)
    ]  # fmt: skip
