"""What several commands take and give: a channel's name, a text, files, the settings, JSON."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spoolbridge.cli import plain
from spoolbridge.errors import SettingsError, SpoolbridgeError, SpoolError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from spoolbridge.discord.client import DiscordClient
    from spoolbridge.settings import Settings
    from spoolbridge.spool import Spool

_T = TypeVar("_T")


class Known(click.ParamType[str]):
    """A word that is completed from what there is: cheaply, from files, and in silence where they are not."""

    def __init__(self, name: str, known: Callable[[], Iterable[str]]) -> None:
        self.name, self._known = name, known

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        with suppress(SpoolbridgeError, OSError):
            return [CompletionItem(each) for each in self._known() if each.startswith(incomplete)]
        return []


def _addresses() -> Iterable[str]:
    from spoolbridge import channels

    return channels.load(load_settings(secrets=False).channels).addresses


def _rigs() -> Iterable[str]:
    from spoolbridge import channels

    found = channels.load(load_settings(secrets=False).channels).channels
    return dict.fromkeys(each.rig for each in found if each.rig)


def _failed() -> Iterable[str]:
    from spoolbridge import identity

    _, spool = open_spool()
    for place in ("failed", *(f"failed/{channel}" for channel in spool.channels("failed"))):
        for name in spool.names(place):
            if not name.endswith(identity.WHY) and (parsed := identity.parse(name)):
                yield parsed[0]


def _asked() -> Iterable[str]:
    _, spool = open_spool()
    names = spool.names("state/asks")
    return [name.removesuffix(".json") for name in names if name.endswith(".json")]


CHANNEL = Known("channel", _addresses)
RIG = Known("rig", _rigs)
FAILED = Known("entry", _failed)
QUESTION = Known("id", _asked)
FILES = click.Path(exists=True, dir_okay=False)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def load_settings(*, secrets: bool = True) -> Settings:
    from spoolbridge import settings

    return settings.load(secrets=secrets)


def open_spool() -> tuple[Settings, Spool]:
    """The settings without the token, and the spool, which the end of the process closes."""
    from spoolbridge import first_start
    from spoolbridge.spool import Spool

    settings = load_settings(secrets=False)
    spool = Spool(settings.spool)
    first_start.check(spool.fd, spool.root)
    return settings, spool


def directory_of(channel: str, spool: Spool, settings: Settings, state: str) -> str:
    """The directory that CHANNEL means in a state: also one that the channels file has lost since.

    Raises UnknownChannelError, so that a typing error does not look like an empty channel.
    """
    from spoolbridge import channels

    if channel in spool.channels(state):
        return channel
    return channels.load(settings.channels).resolve(channel).address


def with_client(ask: Callable[[DiscordClient, Settings], Coroutine[Any, Any, _T]]) -> _T:
    """What `ask` answers, with a client that is logged in by the settings' token."""
    import asyncio

    from spoolbridge.discord.client import DiscordClient

    settings = load_settings()
    if not settings.token:
        do = "spoolbridge init asks for it, or put DISCORD_BOT_TOKEN=… into .env"
        raise SettingsError("no bot token", do)

    async def asking() -> _T:
        async with DiscordClient(settings.token, api_url=settings.api_url) as client:
            return await ask(client, settings)

    return asyncio.run(asking())


def the_text(text: str | None, *, optional: bool) -> str | None:
    """TEXT; None: standard input, where TEXT is missing or `-`."""
    if text is not None or plain.is_piped():
        return None if text == "-" else text
    if optional:
        return ""
    raise click.UsageError("give a TEXT, or pipe one in")


def read_files(paths: tuple[str, ...]) -> dict[str, bytes]:
    """The files' contents by name. Raises SpoolError before a large one is read."""
    from pathlib import Path

    from spoolbridge.ready import LARGEST

    found: dict[str, bytes] = {}
    for path in map(Path, paths):
        if path.name in found:
            raise SpoolError(f"two files are called {path.name!r}", "rename one")
        if path.stat().st_size > LARGEST:
            raise SpoolError(f"{path.name!r} is larger than the {LARGEST} bytes that Discord takes")
        found[path.name] = path.read_bytes()
    return found


def colors(settings: Settings) -> bool | None:
    """For click.echo: None, which means colours on a terminal alone; False where NO_COLOR is set."""
    return False if settings.environment.get("NO_COLOR") else None


def as_json_text(value: object, *, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)
