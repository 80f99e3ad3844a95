"""The commands of who looks after the bridge: how it stands, what failed, what is wrong."""

from __future__ import annotations

import click

from spoolbridge.cli.options import CHANNEL, JSON, as_json_text, load_settings, open_spool


@click.command()
@JSON
def status(as_json: bool) -> None:
    """Show whether the service runs and what waits, failed or went out."""
    _, spool = open_spool()
    from spoolbridge import status as the_status

    snapshot = the_status.snapshot(spool, the_status.read(spool))
    click.echo(as_json_text(snapshot, indent=2) if as_json else the_status.render(snapshot), nl=as_json)


@click.group()
def failed() -> None:
    """Look at what failed, and send it again."""


@failed.command("list")
@click.argument("channel", required=False, type=CHANNEL)
def failed_list(channel: str | None) -> None:
    """Show the failed entries and why they failed."""
    _, spool = open_spool()
    from spoolbridge import failures

    for each in failures.failures(spool, channel):
        click.echo(f"{each.channel or '-'}/{each.name}  {each.reason}")


@failed.command("show")
@click.argument("entry")
def failed_show(entry: str) -> None:
    """Show why ENTRY (an ID, a name or a path) failed, and the command that retries."""
    _, spool = open_spool()
    from spoolbridge import failures

    found = failures.find(spool, entry)
    click.echo(f"{found.path}\n{found.why}".rstrip())


@failed.command("retry")
@click.argument("entries", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every failed entry that has a channel.")
@click.option("--to", type=CHANNEL, help="Into this channel instead of its own.")
def failed_retry(entries: tuple[str, ...], everything: bool, to: str | None) -> None:
    """Move ENTRIES back to outgoing/, under their IDs.

    Example: spoolbridge failed retry 20261122T055501.123456Z-k3f9q2x7
    """
    _, spool = open_spool()
    from spoolbridge import failures

    if not entries and not everything:
        raise click.UsageError("name an entry, or say --all")
    found = [failures.find(spool, each) for each in entries]
    if everything:
        found = [each for each in failures.failures(spool) if each.channel or to]
    for each in found:
        click.echo(f"{failures.retry(spool, each, to=to)} waits to be sent")


@click.command()
@click.option("--offline", is_flag=True, help="Ask nothing of Discord.")
@JSON
def doctor(offline: bool, as_json: bool) -> None:
    """Find what is wrong, and say what mends it. Exit 1 where an error is found."""
    import asyncio

    from spoolbridge import doctor as the_doctor

    settings = load_settings()
    findings = the_doctor.offline(settings)
    findings += [] if offline else asyncio.run(the_doctor.online(settings))
    for each in findings:
        told = f"{each.level:<8} {each.what}\n         {each.why}\n         → {each.do}"
        click.echo(as_json_text(each.as_json()) if as_json else told)
    if not findings and not as_json:
        click.echo("nothing found: all is well")
    raise click.exceptions.Exit(int(any(each.level == "error" for each in findings)))


COMMANDS = (status, failed, doctor)
