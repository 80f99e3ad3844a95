"""The service as it tells of itself, and whether it runs at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from spoolbridge import __version__, status
from spoolbridge.errors import SpoolbridgeError
from spoolbridge.findings import Finding
from spoolbridge.spool import Spool
from spoolbridge.watcher import Watcher

#: What the service says of a channel, how bad that is, and why.
_SAID = (
    ("parked", "error", "its messages wait in outgoing/"),
    ("inbound", "error", "answers are not read"),
    ("receipts", "warning", "nobody sees there that a message was filed or read"),
)
#: Refused requests in ten minutes that want to be known of: Discord bans an address at 10,000, the bridge
#: itself pauses at 500.
_MANY_REFUSED = 250
_BLIND = "no file system events"
#: What watchdog calls a limit of inotify(7), and what lifts it.
_LIMITS = {"watch limit": "max_user_watches=524288", "instance limit": "max_user_instances=1024"}


def runs(root: Path) -> bool:
    """Whether a service runs on the spool there, as far as this user may look."""
    with suppress(SpoolbridgeError, OSError):
        spool = Spool(root)
        try:
            return bool(status.told(spool, status.read(spool))["running"])
        finally:
            spool.close()
    return False


def examine(spool: Spool) -> Iterator[Finding]:
    told = status.told(spool, status.read(spool))
    if not told["running"]:
        yield _absent(told["held_by"])
        yield from _eyes(spool)
        return
    for sentence in told.get("findings") or []:
        yield _said(sentence)
    if (version := told.get("version", __version__)) != __version__:
        why = "what one writes the other may not understand"
        what = f"the service is spoolbridge {version}, and this command {__version__}"
        yield Finding("warning", what, why, "start the service again")
    yield from _discord(told.get("discord") or {})
    for name, channel in sorted((told.get("channels") or {}).items()):
        for key, level, why in _SAID:
            if reason := channel.get(key):
                yield Finding(level, f"{name}: {reason}", why, "give the bot the permission it lacks")


def _absent(pid: int | None) -> Finding:
    why = "what is dropped waits, and nothing is read"
    if pid is None:
        return Finding("warning", "the service does not run", why, "spoolbridge run")
    do = f"see its log: it starts, ends, or waits for Discord or the disk; where it hangs: kill {pid}"
    return Finding("warning", f"process {pid} holds the spool, and says nothing", why, do)


def _eyes(spool: Spool) -> Iterator[Finding]:
    """Whether a service would be told of files: by asking the kernel for the same watches, for an instant."""
    for where, inner in (("outgoing", ""), ("incoming", "new")):
        watcher = Watcher(Path(spool.root), lambda: None, where=where, inner=inner)
        watcher.start()
        problem = watcher.problem
        watcher.stop()
        if problem:
            yield _said(problem)
            return


def _said(sentence: str) -> Finding:
    if not sentence.startswith(_BLIND):
        return Finding("warning", sentence, "the service says so", "mend it; the service looks again")
    do = "run the service on a system that tells of them"
    for words, limit in _LIMITS.items():
        if words in sentence:
            do = f"sudo sysctl fs.inotify.{limit}, and write it to /etc/sysctl.d/"
    return Finding("warning", sentence, "drops are found up to 2 s later", do)


def _discord(discord: Mapping[str, Any]) -> Iterator[Finding]:
    if reason := discord.get("paused_because"):
        yield Finding("error", f"Discord is not asked: {reason}", "drops wait", "wait; it ends by itself")
    if (refused := discord.get("invalid_requests") or 0) >= _MANY_REFUSED:
        what = f"Discord refused {refused} requests in ten minutes"
        do = "look for what is refused in its log: a missing permission, or another program with this token"
        yield Finding("warning", what, "at 10,000 it bans this address; at 500 the bridge pauses", do)
