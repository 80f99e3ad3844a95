"""What is wrong, why it matters, and what mends it: findings, from files alone and from Discord.

Each module examines one thing and yields findings. Looking changes nothing; `fix` does only what can harm
nothing. Each finding names a command or a toggle, for a finding that nobody can act on is noise. The token is
never in one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spoolbridge import first_start
from spoolbridge.doctor import agents, configuration, discord, disk, entries, machine, service, town
from spoolbridge.errors import SpoolbridgeError, SpoolError
from spoolbridge.findings import Finding
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

_LEVELS = ("error", "warning", "note")


def offline(settings: Settings) -> list[Finding]:
    """What the files tell, without a word to Discord."""
    served = service.runs(settings.spool)
    found = [*configuration.examine(settings, served=served), *machine.examine(), *agents.examine(settings)]
    if lost := [*disk.missing(settings.spool)]:
        return [*found, *lost]
    try:
        spool = Spool(settings.spool)
    except SpoolbridgeError as error:
        return [*found, Finding("error", error.what, "nothing can be dropped or delivered", error.hint)]
    try:
        found += _of_the_spool(spool, settings)
    except SpoolError as error:
        found.append(Finding("error", error.what, "this version does not touch it", error.hint))
    except PermissionError:
        found.append(disk.closed(spool))
    finally:
        spool.close()
    return list({each.what: each for each in found}.values())  # the service may have said so as well


def _of_the_spool(spool: Spool, settings: Settings) -> list[Finding]:
    first_start.check(spool.fd, spool.root)
    known = configuration.known(settings)
    return [
        *service.examine(spool), *town.mail(spool), *entries.examine(spool, settings, known),
        *disk.examine(spool), *town.examine(settings, known),
    ]  # fmt: skip


async def online(settings: Settings) -> list[Finding]:
    """What Discord says: the token, the intents, every channel's permissions; whether it can be reached."""
    if not settings.token:
        return []
    return await discord.examine(settings, configuration.known(settings))


def once(told: Sequence[Finding], asked: Sequence[Finding]) -> list[Finding]:
    """Both, `told` by the files and `asked` of Discord, without what the service only repeats; the worst
    first."""
    said = {each.sentence for each in asked}
    found = [*(each for each in told if each.what not in said), *asked]
    return sorted(found, key=lambda each: _LEVELS.index(each.level))


def fix(settings: Settings) -> list[str]:
    """Do what can harm nothing: modes of `.env` and `state/`, directories that the spool has lost.

    Returns a line for each act. What could not be done is said too; it stays a finding.
    """
    said: list[str] = []
    for _ in range(2):  # a directory that is lost hides what is wrong with the others
        for each in offline(settings):
            if each.mend is not None:
                said.append(_mended(each, each.mend))
    return list(dict.fromkeys(said))


def _mended(finding: Finding, mend: Callable[[], None]) -> str:
    try:
        mend()
    except (OSError, SpoolbridgeError) as error:
        return f"cannot mend: {finding.what} ({getattr(error, 'strerror', None) or error})"
    return f"mended: {finding.what}"
