"""The command of the first minute: it prepares everything, asks what it has to, and says what comes next."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from spoolbridge.cli.options import FILES, load_settings
from spoolbridge.errors import ChannelsError, SettingsError, TokenRefusedError, UnreachableError

if TYPE_CHECKING:
    from spoolbridge.installation import Login, Offered
    from spoolbridge.settings import Settings
    from spoolbridge.spool import Spool

_T = TypeVar("_T")
_TRIES = 3  # each that Discord refuses counts towards a ban of this address
_SHOWN = 10  # names in a line
_HOW = "make a bot at discord.com/developers: New Application, Bot, Reset Token"


class Missing(NamedTuple):
    """What keeps the service from being started, and what to do about it."""

    what: str
    do: str


_TOKEN = Missing(
    f"the bot's token; if there is none yet, {_HOW}",
    "spoolbridge init at a terminal, or with --token-file FILE",
)


@click.command()
@click.option("--token-file", type=FILES, metavar="FILE", help="Take the token from this file.")
@click.option("--token", metavar="-", help="Take the token from standard input; - is all that can be said.")
@click.option("--guild", type=int, metavar="ID", help="Serve this guild, where the bot is in several.")
@click.option(
    "--channels", "wanted", multiple=True, metavar="all|none|NAME",
    help="Add these to the channels file; may be repeated.  [default: all, to an empty file]",
)  # fmt: skip
@click.option("--group", metavar="GROUP", help="Share the spool with the users of this group.")
@click.option(
    "--unit", type=click.Choice(["user", "system", "none"]),
    help="Write a systemd unit, for you or for the machine.  [default: none]",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Ask nothing: every answer is yes, or the default.")
def init(
    token_file: str | None, token: str | None, guild: int | None, wanted: tuple[str, ...],
    group: str | None, unit: str | None, yes: bool,
) -> None:  # fmt: skip
    """Set everything up: the spool, the token, the channels, a unit.

    Says what it found, what is wrong, and what to run next. The token is checked at once and written to .env,
    for you alone to read. In a Gas Town everything lies in the town's own places. Without a terminal nothing
    is asked, and what is missing is said. Said twice it changes nothing.

    \b
    Examples:
      spoolbridge init
      spoolbridge init --token-file token.txt --channels all --unit user
      pass show discord-bot | spoolbridge init --token - --group agents --yes

    See also: spoolbridge doctor, spoolbridge channels sync
    """
    given = _given(token, token_file)
    asking = not yes and given is None and sys.stdin.isatty() and sys.stdout.isatty()
    settings = load_settings()
    spool = _places(settings, group)
    try:
        login, settings = _logged_in(settings, given, asking=asking)
        missing = _served(spool, settings, login, guild, wanted, asking=asking) if login else _TOKEN
    except UnreachableError as error:
        if given is not None:
            raise
        missing = Missing(f"Discord's answer ({error.what})", "spoolbridge init, once it answers")
    _next(settings, missing, _unit(settings, unit, asking=asking, yes=yes))


def _given(token: str | None, token_file: str | None) -> str | None:
    """The token by one of its two ways, neither of which shows it to other users or to the history."""
    if token is not None and token_file is not None:
        raise click.UsageError("say --token-file or --token, not both")
    if token is not None:
        if token != "-":  # noqa: S105
            raise click.UsageError("--token - reads it from standard input; as an argument everybody sees it")
        return sys.stdin.readline().strip()
    if token_file is not None:
        try:
            return Path(token_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"{token_file} cannot be read as text", "write the token into it") from None
    return None


def _places(settings: Settings, group: str | None) -> Spool:
    from spoolbridge import installation, sharing

    shared = sharing.group_id(group) if group else None
    spool = installation.prepare(settings)
    if settings.town:
        click.echo(f"town      {settings.town}: its own places are used")
    click.echo(f"spool     {settings.spool}\nchannels  {settings.channels}\ninbox     {settings.inbox}")
    if shared is not None:
        changed = sharing.share(spool, shared)
        click.echo(f"group     {group}: {f'{changed} directories given to it' if changed else 'as it was'}")
        if closed := sharing.closed_above(settings.spool, shared):
            click.echo(f"! the group cannot pass through {closed}: chmod o+x {closed}")
    return spool


def _logged_in(settings: Settings, given: str | None, *, asking: bool) -> tuple[Login | None, Settings]:
    """Who the token is, once Discord has said so and it is written down; and the settings with it."""
    from spoolbridge import installation

    if given is not None:
        settings = settings._replace(token=given)
        login = _run(installation.log_in(settings))
    elif settings.token:
        try:
            login = _run(installation.log_in(settings))
        except TokenRefusedError as error:
            if not asking:
                raise
            click.echo(f"! {error.what}")
            return _asked(settings)
        click.echo(f"token     {_line(login.name)}, as it was")
        return login, settings
    elif asking:
        return _asked(settings)
    else:
        return None, settings
    _keep(settings, login)
    return login, settings


def _asked(settings: Settings) -> tuple[Login | None, Settings]:
    from spoolbridge import installation

    click.echo(f"\nIf there is none yet, {_HOW}.")
    for left in reversed(range(_TRIES)):
        typed = click.prompt("Token (it is not shown; empty: later)", default="", hide_input=True,
                             show_default=False).strip()  # fmt: skip
        if not typed:
            return None, settings
        try:
            tried = settings._replace(token=typed)
            login = _run(installation.log_in(tried))
        except (TokenRefusedError, SettingsError) as error:
            if not left:
                raise
            click.echo(f"! {error.what}: copy it whole; Reset Token shows it once")
            continue
        _keep(tried, login)
        return login, tried
    return None, settings


def _keep(settings: Settings, login: Login) -> None:
    """Write the token down, which Discord has taken."""
    from spoolbridge import dotenv
    from spoolbridge.settings import TOKEN, dotenv_place

    path = dotenv_place()
    written = dotenv.put(path, {TOKEN: settings.token})
    click.echo(f"token     {_line(login.name)}, {'written to' if written else 'as it was in'} {path}")
    if load_settings().token != settings.token:
        click.echo(f"! {TOKEN} in the environment is another, and goes before it: unset {TOKEN}")


def _served(
    spool: Spool, settings: Settings, login: Login, guild: int | None, wanted: tuple[str, ...], *,
    asking: bool,
) -> Missing | None:  # fmt: skip
    """The guild and its channels in the files, as far as nothing is missing."""
    from spoolbridge import guild as the_guild
    from spoolbridge import installation

    if not login.guilds:
        return Missing("a guild that the bot is in", f"{the_guild.invitation(login.id)} invites it")
    chosen = installation.chosen(login, settings.guild_id if guild is None else guild)
    if chosen is None and asking:
        chosen = _which(login)
    if chosen is None:
        ids = " or ".join(f"{key} ({_line(name)})" for key, name in login.guilds.items())
        return Missing(f"which guild: {ids}", "spoolbridge init --guild ID")
    if chosen != settings.guild_id and len(login.guilds) > 1:
        from spoolbridge import dotenv
        from spoolbridge.settings import dotenv_place

        dotenv.put(dotenv_place(), {"DISCORD_GUILD_ID": str(chosen)})
    settings = settings._replace(guild_id=chosen)
    _fill(settings, login, wanted, asking=asking)
    installation.add_boxes(spool, settings)
    for each in _run(installation.inspected(settings, login)):
        click.echo(f"! {_line(each.sentence)}")
    return None


def _which(login: Login) -> int:
    for number, (key, name) in enumerate(login.guilds.items(), 1):
        click.echo(f"  {number}  {_line(name)} ({key})")
    number = click.prompt("Which guild", type=click.IntRange(1, len(login.guilds)), default=1)
    return list(login.guilds)[number - 1]


def _fill(settings: Settings, login: Login, wanted: tuple[str, ...], *, asking: bool) -> None:
    """The channels file gets what is wanted of the guild's channels, and what there is is told."""
    from spoolbridge import installation

    offers = _run(installation.offered(settings))
    assert settings.guild_id is not None
    read = [each.name for each in offers if each.read]
    globs = ", ".join(settings.poll)
    click.echo(
        f"guild     {_line(login.guilds.get(settings.guild_id, ''))}: {_counted(len(offers), 'channel')}, "
        f"{len(read)} {'is' if len(read) == 1 else 'are'} read ({globs})"
    )
    added, refused = _run(installation.add(settings, _wanted(offers, wanted, asking=asking)))
    if added:
        click.echo(f"added     {_names([each.name for each in added])}")
    for sentence in refused:
        click.echo(f"! {_line(sentence)}")


def _wanted(offers: list[Offered], wanted: tuple[str, ...], *, asking: bool) -> list[Offered]:
    from spoolbridge import installation

    lacking = [each for each in offers if not each.known]
    names = [name.strip() for each in wanted for name in each.split(",") if name.strip()]
    if names == ["all"]:
        return lacking
    if names:
        return [] if names == ["none"] else installation.named(offers, names)
    first = len(lacking) == len(offers)
    if not lacking or not asking:
        if lacking and not first:
            click.echo(f"          {len(lacking)} are not in the file: spoolbridge channels sync adds them")
        return lacking if first else []
    click.echo(f"          not in the file yet: {_names([each.name for each in lacking])}")
    if click.confirm(f"Add {'it' if len(lacking) == 1 else f'all {len(lacking)}'}", default=first):
        return lacking
    return _picked(offers)


def _picked(offers: list[Offered]) -> list[Offered]:
    """Those that somebody types; a name that the guild has not is asked for again."""
    from spoolbridge import installation

    while True:
        typed = click.prompt("Which, by commas (empty: none)", default="", show_default=False)
        try:
            return installation.named(offers, [each.strip() for each in typed.split(",") if each.strip()])
        except ChannelsError as error:
            click.echo(f"! {_line(str(error))}")


def _unit(settings: Settings, kind: str | None, *, asking: bool, yes: bool) -> tuple[str, ...]:
    """The commands that start the service by its unit, once that is written; empty: there is none."""
    import shutil

    from spoolbridge import units
    from spoolbridge.settings import dotenv_place

    if kind is None and asking and shutil.which("systemctl"):
        click.echo("\nsystemd can start the service: as yours, or as the machine's.")
        kind = click.prompt("Write a unit", type=click.Choice(["user", "system", "none"]), default="none")
    chosen = next((each for each in units.KINDS if each == kind), None)
    if chosen is None:
        return ()
    unit = units.made_for(settings, chosen, dotenv_place(), cwd=Path.cwd())
    there = units.written(unit)
    if there not in (None, unit.text):
        question = f"{unit.path} was changed. Replace it"
        if not yes and not (asking and click.confirm(question, default=False)):
            click.echo(f"unit      {unit.path} was changed since, and stays so; --yes replaces it")
            return unit.next
        there = None
    if there is None:
        units.write(unit)
    click.echo(f"unit      {unit.path}{', as it was' if there else ''}")
    return unit.next


def _next(settings: Settings, missing: Missing | None, unit: tuple[str, ...]) -> None:
    """The one thing to do now."""
    from spoolbridge import channels

    if missing:
        click.echo(f"\nMissing: {missing.what}\nNext: {missing.do}")
    elif not channels.load(settings.channels).channels:
        click.echo("\nNext: spoolbridge channels sync")
    elif unit:
        click.echo("\nNext:")
        for command in unit:
            click.echo(f"  {command}")
    else:
        click.echo("\nNext: spoolbridge run")


def _counted(count: int, what: str) -> str:
    return f"{count} {what if count == 1 else f'{what}s'}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(_line(each) for each in names[:_SHOWN]) + more


def _line(text: str) -> str:
    """What Discord says, without what would move a cursor or begin a line of its own."""
    from spoolbridge.rendering import one_line

    return one_line(text, len(text) + 1)


def _run(asking: Coroutine[Any, Any, _T]) -> _T:
    import asyncio

    return asyncio.run(asking)


COMMANDS = (init,)
