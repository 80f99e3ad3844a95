"""The entries in `failed/`, and the way back: the same move that an operator makes with `mv`."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from spoolbridge import atomic, identity, ready
from spoolbridge.errors import SpoolError
from spoolbridge.identity import WHY
from spoolbridge.spool import Spool


@dataclass(frozen=True)
class Failure:
    """One failed entry. `channel` is empty for what was dropped directly in `outgoing/`."""

    id: str
    channel: str
    name: str
    path: Path
    why: str

    @property
    def reason(self) -> str:
        """The first line of its `.why`, without the time."""
        return self.why.partition("\n")[0].partition("  ")[2]


def failures(
    spool: Spool, channel: str | None = None, *, but: Container[tuple[str, str]] = ()
) -> Iterator[Failure]:
    """The failed entries, oldest first in each channel; not opened are those of `but`: (channel, name)."""
    for each in [channel] if channel is not None else ["", *spool.channels("failed")]:
        place = f"failed/{each}".rstrip("/")
        for name in sorted(spool.names(place)):
            parsed = identity.parse(name)
            if parsed and not ready.ignored(name) and (each, name) not in but:
                yield Failure(parsed[0], each, name, spool.root / place / name, _why(spool, place, name))


def find(spool: Spool, reference: str) -> Failure:
    """The failed entry whose ID, name or path this is, or the beginning of exactly one.

    Raises SpoolError.
    """
    place, _, wanted = reference.rstrip("/").removesuffix(WHY).rpartition("/")
    found = [each for each in failures(spool) if wanted and each.name.startswith(wanted)]
    # An ID keeps its name through channels, so it can have failed in two.
    found = [each for each in found if place and each.channel == place.rpartition("/")[2]] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise SpoolError(f"{len(found)} failed entries begin with {wanted!r}", "give more of the name")
    raise SpoolError(f"no failed entry {reference!r}", "list them with: spoolbridge failed list")


def retry(spool: Spool, failure: Failure, *, to: str | None = None) -> Path:
    """Move it back to `outgoing/`, under its ID, into the channel `to` (its own).

    Raises SpoolError where no channel is known or the name is taken there.
    """
    channel = to or failure.channel
    if not channel:
        raise SpoolError(f"{failure.name} was dropped without a channel", "say --to CHANNEL")
    spool.add_channel(channel)
    place = f"failed/{failure.channel}".rstrip("/")
    try:
        with spool.at(place) as src, spool.at(f"outgoing/{channel}") as dst:
            atomic.move(failure.name, failure.name, src=src, dst=dst)
    except FileNotFoundError:
        raise SpoolError(f"{failure.name} is gone; somebody moved it meanwhile") from None
    except FileExistsError:
        raise SpoolError(f"outgoing/{channel} holds {failure.name} already") from None
    return spool.root / "outgoing" / channel / failure.name


def _why(spool: Spool, place: str, name: str) -> str:
    try:
        return (spool.root / place / (name + WHY)).read_text("utf-8", "replace")
    except OSError:
        return ""
