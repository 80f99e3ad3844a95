"""What an installation is made of, and what Discord says of it: for `init`, which asks and tells.

The token is checked before it is written down, by one request: each that Discord refuses counts towards a ban
of this machine's address.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from spoolbridge import channels, findings, guild
from spoolbridge.channels import Channel
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import ChannelsError, SettingsError, SpoolError
from spoolbridge.findings import Finding
from spoolbridge.guild import Added
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool


class Login(NamedTuple):
    """Who the token is, and which guilds (id → name) it sees."""

    name: str
    id: int
    guilds: dict[int, str]


class Offered(NamedTuple):
    """A text channel of the guild; `known`: the channels file has it."""

    name: str
    id: int
    known: bool
    read: bool


def prepare(settings: Settings) -> Spool:
    """The spool, the channels file and a drop box for each channel, made where they are missing.

    Raises SpoolError, ChannelsError.
    """
    spool = Spool.create(settings.spool)
    try:
        channels.make(settings.channels)
    except OSError as error:
        what = f"{settings.channels} cannot be made ({error.strerror})"
        raise ChannelsError(what, "make its directory yours, or set SPOOLBRIDGE_CHANNELS") from None
    add_boxes(spool, settings)
    return spool


def add_boxes(spool: Spool, settings: Settings) -> None:
    """A drop box for each channel of the file. Raises SpoolError where the spool is somebody else's."""
    for address in channels.load(settings.channels).addresses:
        try:
            spool.add_channel(address)
        except OSError as error:
            what = f"no drop box can be made in {spool.root} ({error.strerror})"
            raise SpoolError(what, "say it as the spool's owner") from None


async def log_in(settings: Settings) -> Login:
    """Raises SettingsError where the token cannot be one, TokenRefusedError, other DiscordErrors."""
    async with _client(settings) as client:
        me = await client.me()
        guilds = {int(each["id"]): str(each["name"]) for each in await client.guilds()}
        return Login(str(me.get("username") or me["id"]), int(me["id"]), guilds)


def chosen(login: Login, wanted: int | None) -> int | None:
    """The guild to serve: the wanted one, or the only one; None: somebody has to say.

    Raises SettingsError where the bot is not in the wanted one.
    """
    if wanted is None:
        return next(iter(login.guilds)) if len(login.guilds) == 1 else None
    if wanted not in login.guilds:
        there = " or ".join(map(str, login.guilds)) or f"none yet: {guild.invitation(login.id)}"
        raise SettingsError(f"the bot is not in the guild {wanted}", f"it is in {there}")
    return wanted


async def offered(settings: Settings) -> list[Offered]:
    """The guild's text channels that the bot sees. Raises DiscordError, ChannelsError."""
    async with _client(settings) as client:
        found = await guild.text_channels(client, settings)
    known = {each.id: each for each in channels.load(settings.channels).channels}
    offers = []
    for name, channel_id in found:
        channel = known.get(channel_id) or Channel(name, channel_id, None, name)
        read = findings.polled(channel, settings.poll)
        offers.append(Offered(name, channel_id, channel_id in known, read))
    return offers


def named(offers: Sequence[Offered], names: Collection[str]) -> list[Offered]:
    """Those of these names that the file lacks. Raises ChannelsError for a name that the guild has not."""
    there = {each.name for each in offers}
    if unknown := [name for name in names if name.removeprefix("#") not in there]:
        hint = f"there are {', '.join(sorted(there)[:10])}" if there else "it has none that the bot may see"
        raise ChannelsError(f"the guild has no channel {unknown[0]!r}", hint)
    wanted = {name.removeprefix("#") for name in names}
    return [each for each in offers if each.name in wanted and not each.known]


async def add(settings: Settings, chosen: Sequence[Offered]) -> tuple[list[Added], list[str]]:
    """Put them into the channels file; a sentence for each that cannot be."""
    if not chosen:
        return [], []
    async with _client(settings) as client:
        return await guild.sync(client, settings, only={each.id for each in chosen})


async def inspected(settings: Settings, login: Login) -> list[Finding]:
    """What is wrong with these channels on Discord's side. Raises DiscordError."""
    registry = channels.load(settings.channels)
    async with _client(settings) as client:
        return await findings.ask(
            client, lambda: registry, settings.poll,
            guild_id=await guild.guild_id(client, settings), own_id=login.id, access=settings.access,
        )  # fmt: skip


def _client(settings: Settings) -> DiscordClient:
    return DiscordClient(settings.token, api_url=settings.api_url)
