"""What an operator does with entries: those that failed, those that wait, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from spoolbridge.cli import plain
from spoolbridge.cli.operate import Duration
from spoolbridge.cli.options import CHANNEL, FAILED, JSON, as_json_text, directory_of, open_spool
from spoolbridge.errors import ChannelsError, SpoolError

if TYPE_CHECKING:
    from spoolbridge.failures import Failure, Wanted
    from spoolbridge.happenings import Event
    from spoolbridge.settings import Settings
    from spoolbridge.spool import Spool

_Command = TypeVar("_Command", bound=Callable[..., Any])

_REASON = click.option("--reason", metavar="TEXT", default="", help="Only with these words in the reason.")
_NONE = "nothing has failed that fits"
_SINCE = click.option("--since", type=Duration(), help="Only what failed in the last 90m, 24h, 7d.")


@click.group()
def failed() -> None:
    """Look at what failed; send it again, or drop it.

    Example: spoolbridge failed list
    """


@failed.command("list")
@click.argument("channel", required=False, type=CHANNEL)
@_REASON
@_SINCE
@JSON
def failed_list(channel: str | None, reason: str, since: float | None, as_json: bool) -> None:
    """Show the failed entries and why they failed.

    Example: spoolbridge failed list mayor-villa --since 7d
    """
    settings, spool = open_spool()
    from spoolbridge import failures

    none = True
    for each in failures.failures(spool, wanted=_wanted(settings, spool, channel, reason, since)):
        click.echo(as_json_text(each.as_json()) if as_json else _listed(each))
        none = False
    if none and not as_json:
        click.echo(_NONE, err=True)


@failed.command("show")
@click.argument("entry", type=FAILED)
def failed_show(entry: str) -> None:
    """Show why ENTRY failed, the command that retries, and how it begins.

    ENTRY is an ID, a name or a path, or the beginning of exactly one: whatever failed list shows will do.

    Example: spoolbridge failed show 20261122T0555
    """
    _, spool = open_spool()
    from spoolbridge import failures
    from spoolbridge.claim import shown

    found = failures.find(spool, entry)
    for line in map(shown, (str(found.path), *found.why.splitlines())):
        click.echo(line)
    for line in ("", *failures.excerpt(found)):
        click.echo(f"  {line}".rstrip())


def _selection(command: _Command) -> _Command:
    """What `retry` and `drop` take: entries by name, or all that fit."""
    for option in (
        _SINCE,
        _REASON,
        click.option("--channel", type=CHANNEL, help="Only those of this channel."),
        click.option("--all", "everything", is_flag=True, help="Every failed entry that fits."),
        click.argument("entries", nargs=-1, type=FAILED),
    ):
        command = option(command)
    return command


@failed.command("retry")
@_selection
@click.option("--to", type=CHANNEL, help="Into this channel instead of its own.")
def failed_retry(to: str | None, **selection: Any) -> None:
    """Move ENTRIES (IDs, names or paths) back to outgoing/.

    Or all that fit: --all, --channel, --reason and --since. What was dropped without a channel needs --to.

    Example: spoolbridge failed retry 20261122T055501.123456Z-k3f9q2x7
    """
    settings, spool = open_spool()
    from spoolbridge import channels, failures

    to = channels.load(settings.channels).resolve(to).address if to else None
    found = _chosen(settings, spool, **selection)
    if not selection["entries"]:
        found = [each for each in found if each.channel or to]
        if not found:
            click.echo(_NONE, err=True)
    _each(found, lambda each: f"{failures.retry(spool, each, to=to)} waits to be sent")


@failed.command("drop")
@_selection
@click.option("--yes", is_flag=True, help="Do not ask.")
def failed_drop(yes: bool, **selection: Any) -> None:
    """Remove ENTRIES (IDs, names or paths) for good.

    Or all that fit: --all, --channel, --reason and --since. Asks first; `spoolbridge log` still knows them.

    Example: spoolbridge failed drop 20261122T055501.123456Z-k3f9q2x7 --yes
    """
    settings, spool = open_spool()
    from spoolbridge import failures

    found = _chosen(settings, spool, **selection)
    if not found:
        click.echo(_NONE, err=True)
    elif not yes:
        if plain.is_piped():
            raise click.UsageError("nobody is there to ask; say --yes")
        for each in found:
            click.echo(_listed(each))
        click.confirm(f"Remove {len(found)} for good?", abort=True)

    def dropped(failure: Failure) -> str:
        failures.drop(spool, failure)
        return f"{_shown(failure)} is dropped"

    _each(found, dropped)


def _wanted(
    settings: Settings, spool: Spool, channel: str | None, reason: str, since: float | None
) -> Wanted:
    import time

    from spoolbridge.failures import Wanted

    place = directory_of(channel, spool, settings, "failed") if channel else None
    return Wanted(place, reason, time.time() - since if since else 0.0)


def _chosen(
    settings: Settings, spool: Spool, *, entries: tuple[str, ...], everything: bool, channel: str | None,
    reason: str, since: float | None,
) -> list[Failure]:  # fmt: skip
    """Raises UsageError where nothing is named, or both entries and what they have to fit."""
    from spoolbridge import failures

    fitting = everything or channel or reason or since
    if not entries and not fitting:
        raise click.UsageError("name an entry, or say --all")
    if entries and fitting:
        raise click.UsageError("name entries, or say which: not both")
    if entries:
        return list({each.path: each for each in (failures.find(spool, each) for each in entries)}.values())
    return list(failures.failures(spool, wanted=_wanted(settings, spool, channel, reason, since)))


def _each(found: list[Failure], act: Callable[[Failure], str]) -> None:
    """Do it to each of them and say so; what cannot be done stops nothing else, and the end is 1 then."""
    from spoolbridge.claim import one_line

    refused = []
    for each in found:
        try:
            click.echo(one_line(act(each)))
        except SpoolError as error:
            refused.append(error)
    for reason in refused:
        click.echo(f"spoolbridge: {one_line(str(reason))}", err=True)
    if refused:
        raise click.exceptions.Exit(1)


def _listed(failure: Failure) -> str:
    from spoolbridge.claim import one_line

    return f"{_shown(failure)}  {one_line(failure.reason)}"  # a reason is a file that others can write too


def _shown(failure: Failure) -> str:
    from spoolbridge.claim import one_line

    place = f"{failure.channel}/" if failure.channel else ""
    return one_line(f"{place}{failure.name}")  # a directory may be called anything


@click.command()
@click.argument("channels", nargs=-1, type=CHANNEL)
def pause(channels: tuple[str, ...]) -> None:
    """Hold CHANNELS, or all: what is dropped there waits.

    The same as touch outgoing/CHANNEL/.hold; what is being sent is still sent.

    Example: spoolbridge pause mayor-villa
    """
    settings, spool = open_spool()
    from spoolbridge import holds

    for each in _boxes(channels, spool, settings):
        already = "" if holds.pause(spool, each) else " already"
        click.echo(f"{_on_hold(each)}{already}; {_waiting(spool, each)}; {_go_on(each)}")


@click.command()
@click.argument("channels", nargs=-1, type=CHANNEL)
def resume(channels: tuple[str, ...]) -> None:
    """Let CHANNELS go on, or all that were held at once.

    Example: spoolbridge resume mayor-villa
    """
    settings, spool = open_spool()
    from spoolbridge import holds

    for each in _boxes(channels, spool, settings):
        what = "goes on" if holds.resume(spool, each) else "was not on hold"
        said = [f"{each or 'everything'} {what}", _waiting(spool, each)]
        if each and holds.everything(spool):
            said.append("but everything is on hold; to go on: spoolbridge resume")
        if not each and (still := holds.held(spool)):
            said.append(f"on hold by themselves: {', '.join(still)}")
        click.echo("; ".join(said))


def _boxes(channels: tuple[str, ...], spool: Spool, settings: Settings) -> Iterator[str]:
    """The channels' directories, each name checked before anything is done; "" for all of them."""
    yield from [directory_of(each, spool, settings, "outgoing") for each in channels] or [""]


def _on_hold(channel: str) -> str:
    return f"{channel or 'everything'} is on hold"


def _go_on(channel: str) -> str:
    return f"to go on: spoolbridge resume {channel}".rstrip()


def _waiting(spool: Spool, channel: str) -> str:
    from spoolbridge import holds

    count = holds.waiting(spool, channel)
    return f"{count or 'nothing'} {'wait' if count > 1 else 'waits'}"


@click.command()
@click.argument("reference", metavar="[ID|NAME|PATH]", required=False)
@click.option("--since", type=Duration(), default="1h", show_default=True, help="So far back: 90m, 7d.")
@click.option("--channel", type=CHANNEL, help="Only what happened there.")
@JSON
def log(reference: str | None, since: float, channel: str | None, as_json: bool) -> None:
    """Tell what happened to an entry or a message, or lately.

    Of an entry by its ID, its name or path, or the beginning of its ID; of a message by its id or its
    address on Discord. Needs no service, and holds no text.

    Example: spoolbridge log 20261122T055501.123456Z-k3f9q2x7
    """
    settings, spool = open_spool()
    import time

    from spoolbridge import channels
    from spoolbridge.chronicle import Chronicle

    registry = None
    with suppress(ChannelsError):  # without the file, channels have only their ids
        registry = channels.load(settings.channels)
    chronicle = Chronicle(spool, registry)
    if reference:
        events: Iterable[Event] = chronicle.of(reference)
        if not as_json:
            click.echo(_about(list(events)))
    else:
        place = directory_of(channel, spool, settings, "outgoing") if channel else None
        events = chronicle.lately(time.time() - since, place)
    for event in events:
        click.echo(as_json_text(event.as_json()) if as_json else _line(event, named=not reference))


def _about(events: list[Event]) -> str:
    from spoolbridge.claim import one_line

    channels = dict.fromkeys(each.channel for each in events if each.channel)
    return one_line(f"{events[0].id} in {', '.join(channels) or 'no channel'}")


def _line(event: Event, *, named: bool) -> str:
    from datetime import datetime

    from spoolbridge.claim import one_line

    at = "now" if event.at is None else f"{datetime.fromtimestamp(event.at):%Y-%m-%d %H:%M:%S}"
    place = f"{one_line(event.channel)}/" if event.channel else ""
    return f"{at:<19}  {f'{place}{event.id}  ' if named else ''}{one_line(event.what)}"


COMMANDS = (failed, pause, resume, log)
