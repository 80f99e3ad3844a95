"""The two-way audit: Discord is read back and compared with what the files tell.

In: every message of the time asked for that is for agents was handed over to every delivery, once; what
`access` refuses is counted, and not missing. Out: every entry in `sent/` was posted whole, and every
message of ours belongs to one entry. What was handed over is known by the lists in `state/handed/`, not
by the files that are still there: what a reader has consumed, an operator has pruned or somebody has
deleted on Discord is told, and is no failure.

`audit` looks while the service runs and changes nothing. `repair` needs the spool to itself: it hands
over what never was, by the deliveries' own way, and nothing that they were given before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial

from spoolbridge import channels, evidence, first_start, lock, post_office
from spoolbridge.access import Access
from spoolbridge.attachments import Attachments
from spoolbridge.channels import Registry
from spoolbridge.comparison import Comparison, Report, Undelivered, id_before, told
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient, JsonObject
from spoolbridge.errors import SpoolBusyError, SpoolError
from spoolbridge.evidence import Evidence
from spoolbridge.incoming import from_discord, snowflake_time
from spoolbridge.places import Guild, Place, survey
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from spoolbridge.waiting import in_thread

#: Seconds beyond two polls for which a message may be on its way; fetching and filing take one or two.
GRACE = 60.0


async def run(client: DiscordClient, settings: Settings, *, seconds: float, repairing: bool) -> Report:
    """Audit the last `seconds` of the spool that the settings name; `repairing`: fill in what is missing.

    Raises SpoolError, ChannelsError, DiscordError: then nothing is proved.
    """
    spool = Spool(settings.spool)
    try:
        first_start.check(spool.fd, spool.root)
        act = repair if repairing else audit
        return await act(client, settings, spool, channels.load(settings.channels), time.time() - seconds)
    except OSError as error:
        what = f"the spool at {spool.root} cannot be worked with ({error.strerror or error})"
        raise SpoolError(what, "mend that, then audit again: a repair goes on where it ended") from error
    finally:
        spool.close()


async def audit(
    client: DiscordClient, settings: Settings, spool: Spool, registry: Registry, since: float,
    *, clock: Callable[[], float] = time.time,
) -> Report:  # fmt: skip
    """What holds and what does not since that time (unix seconds). Raises DiscordError, SpoolError."""
    return (await _compare(client, settings, spool, registry, since, clock)).report()


async def repair(
    client: DiscordClient, settings: Settings, spool: Spool, registry: Registry, since: float,
    *, clock: Callable[[], float] = time.time,
) -> Report:  # fmt: skip
    """Hand over what humans wrote and a delivery was never given; then audit.

    Raises SpoolBusyError while a service holds the spool, OSError, and what `audit` raises. Whatever
    ends it half-way, a second call goes on where it ended.
    """
    done: list[Undelivered] = []
    async with AsyncExitStack() as stack:
        held = stack.enter_context(ExitStack())
        _hold(spool, held)
        deliveries = _deliveries(settings, spool, held)
        downloads = Attachments.by(settings, spool.fd, client, patience=None)
        await stack.enter_async_context(downloads)
        compared = await _compare(client, settings, spool, registry, since, clock)
        for place in compared.places.values():
            undelivered = list(compared.undelivered(place))
            for delivery in deliveries:
                owed = [each for each in undelivered if each.delivery == delivery.name]
                if owed:
                    await _redeliver(delivery, place, owed, compared.guild, downloads)
                    done += owed
        report = await audit(client, settings, spool, registry, since, clock=clock)
    return replace(report, repaired=tuple(told("repaired", "handed over to", done)))


async def _compare(
    client: DiscordClient, settings: Settings, spool: Spool, registry: Registry, since: float,
    clock: Callable[[], float],
) -> Comparison:  # fmt: skip
    before = await in_thread(evidence.look, spool, settings, since)
    guild = await survey(client, settings, registry)
    # Threads leave the guild's list when they are archived, with what was said in them before.
    await guild.list_archived(since)
    known = {channel_id for each in before.deliveries for channel_id in each.began}
    posted = {channel_id for each in before.sent for channel_id in before.histories.get(each.id, ())}
    places = await guild.places(sorted(known | posted))
    settled = clock() - GRACE - 2 * settings.poll_interval
    starts = {place_id: _start(place, before, since) for place_id, place in places.items()}
    read = await guild.read(places.values(), starts)
    admitted, refused = await _judged(client, settings, guild, read.values())
    after = await in_thread(evidence.look, spool, settings, since)
    return Comparison(guild, read, admitted, refused, before, after, since, settled)


async def _judged(
    client: DiscordClient, settings: Settings, guild: Guild, places: Iterable[Place]
) -> tuple[dict[int, list[JsonObject]], dict[int, list[JsonObject]]]:
    """By place, what is for agents and what is refused: by the rules and the roles of now."""
    member = partial(client.member, guild.id)
    access = Access(guild.own_id, settings.access, member=member, guild_id=guild.id)
    admitted, refused = {}, {}
    for place in places:
        if place.polled:
            admitted[place.id], refused[place.id] = await access.judge(place.channel, place.messages)
    return admitted, refused


def _start(place: Place, before: Evidence, since: float) -> int:
    """The id behind which a place is read: also what no delivery has come to yet, however old it is."""
    starts = [id_before(since)]
    if place.polled:
        positions = [each.positions.get(place.id) for each in before.deliveries]
        starts += [each.floor for each in positions if each is not None]
        if None in positions and before.first_start and snowflake_time(place.id) > before.first_start:
            starts.append(place.id - 1)
    return min(starts)


def _hold(spool: Spool, stack: ExitStack) -> None:
    try:
        stack.enter_context(lock.holding(spool))
    except SpoolBusyError as error:
        raise SpoolBusyError(error.what, "stop it first, then: spoolbridge audit --repair") from None


def _deliveries(settings: Settings, spool: Spool, stack: ExitStack) -> list[Delivery]:
    """Those that the service has, with whatever a crash interrupted finished."""
    cursors = Cursors(spool.fd)
    stack.callback(cursors.close)
    return post_office.deliveries_of(settings, spool, cursors, stack)[0]


async def _redeliver(
    delivery: Delivery, place: Place, owed: Sequence[Undelivered], guild: Guild, downloads: Attachments
) -> None:
    messages = [from_discord(each.message, place.channel, guild.id, names=guild.names) for each in owed]
    messages, halt = await downloads.complete(messages, {each.id for each in messages}, guild.names)
    if halt is not None:
        raise halt
    # The place was read from the cursor on, so what lies before its newest is owed, or was handed over.
    await in_thread(delivery.redeliver, place.own, messages, after=max(place.ids))
