"""The command that removes what has been kept for long enough."""

from __future__ import annotations

import click

from spoolbridge.cli.options import JSON, as_json_text, open_spool


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option("-v", "--verbose", is_flag=True, help="Name each path.")
@JSON
def prune(dry_run: bool, verbose: bool, as_json: bool) -> None:
    """Remove what is older, or more, than the settings keep.

    The service does so once a day. Nothing unread, nothing that waits and nothing younger than a day goes.
    While a service runs, the journal is left to it. Exit 1 where something could not be removed.

    Example: spoolbridge prune --dry-run --verbose
    """
    import time

    from spoolbridge import prune as the_prune
    from spoolbridge.prunable import KINDS
    from spoolbridge.rendering import one_line

    settings, spool = open_spool()
    tally, paths = the_prune.Tally(), []
    for each in the_prune.by_hand(spool, settings.retention, time.time(), tally, dry_run=dry_run):
        if verbose and as_json:
            paths += [] if each.empty else [each.path]
        elif verbose and not each.empty:
            click.echo(one_line(each.path))
    if as_json:
        named = {"paths": paths} if verbose else {}
        click.echo(as_json_text({"dry_run": dry_run, **tally.told(), **named}))
    else:
        for kind in KINDS:
            click.echo(f"{kind:<12} {tally.count[kind]:>9,} {_told(tally.size[kind]):>10}")
        click.echo("this would go now; nothing was removed" if dry_run else "removed")
    for path, why in tally.troubles:
        click.echo(f"spoolbridge: {one_line(path)} cannot be removed: {why}", err=True)
    raise click.exceptions.Exit(int(bool(tally.troubles)))


def _told(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"


COMMANDS = (prune,)
