"""The commands about the channels file and the guild."""

from __future__ import annotations

import click

from spoolbridge.cli.options import RIG, load_settings, with_client


@click.group()
def channels() -> None:
    """List, create and synchronise the channels.

    Example: spoolbridge channels list
    """


@channels.command("list")
def channels_list() -> None:
    """Show the channels of the channels file, and which are read.

    A line each: the name by which it is addressed, its id, its rig. Read are those that SPOOLBRIDGE_POLL
    matches. Asks nothing of Discord.

    Example: spoolbridge channels list
    """
    from fnmatch import fnmatchcase

    from spoolbridge import channels as the_channels

    settings = load_settings(secrets=False)
    found = the_channels.load(settings.channels).channels
    if not found:
        click.echo(f"none in {settings.channels} yet: spoolbridge channels sync", err=True)
    longest = max((len(each.address) for each in found), default=0)
    for each in found:
        polled = "read" if any(fnmatchcase(each.name, glob) for glob in settings.poll) else ""
        click.echo(f"{each.address:<{max(32, longest)}} {each.id:<20} {each.rig or '':<24} {polled}".rstrip())


@channels.command("create")
@click.argument("name")
@click.option("--category", type=int, metavar="ID", help="Under this category of the guild.")
@click.option("--rig", type=RIG, metavar="RIG", help="Put it under this rig in the channels file.")
def channels_create(name: str, category: int | None, rig: str | None) -> None:
    """Create the text channel NAME, and add it to the channels file.

    One that the guild has already, and the file lacks, is added and not made twice.

    Example: spoolbridge channels create mayor-villa --rig villacalculatecost3
    """
    from spoolbridge import guild

    added = with_client(
        lambda client, settings: guild.create(client, settings, name, rig=rig, category=category)
    )
    click.echo(f"{added.name} {added.id} {'created' if added.made else 'was there; added to the file'}")


@channels.command("sync")
def channels_sync() -> None:
    """Add the guild's text channels that the file lacks.

    Removes nothing, and leaves every other byte of the channels file as it is.

    Example: spoolbridge channels sync
    """
    from spoolbridge import guild

    added, refused = with_client(guild.sync)
    for each in added:
        click.echo(f"{each.name} {each.id} added")
    for sentence in refused:
        click.echo(f"spoolbridge: {sentence}", err=True)
    click.echo(f"{len(added)} added to {load_settings(secrets=False).channels}")


COMMANDS = (channels,)
