"""A process that has everything imported and forks a service for each command it reads.

One JSON object a line on standard input, one on standard output. Each command runs the real service in
a fork of its own, with every system call that changes something recorded, and killed with SIGKILL at
the entry of the chosen one. A fork starts in milliseconds, so that every point can be tried.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.crash import calls


def main() -> None:
    # Before anything of ours is imported: defaults such as `clock=time.time` are bound then.
    import time

    real_time = time.time
    offset = [0.0]
    time.time = lambda: real_time() + offset[0]

    import asyncio
    import concurrent.futures.thread  # noqa: F401 - a fork need not
    import gc

    import watchdog.observers.inotify_c  # noqa: F401 - nor this, which the watcher imports when it starts

    from spoolbridge import asker, asks, gt_mail, notices, service
    from spoolbridge.settings import Settings

    notices.EVERY = 0.1  # seconds
    gt_mail.UNKNOWN_WAIT = 0.3  # seconds; the gt of these tests takes a twentieth of one

    asker.LOOK, asker.PACES = 0.01, ((asks.LONGEST, 0.02),) * 2  # seconds; people answer at once here

    def child(command: dict[str, Any]) -> None:
        offset[0] = command["time_passed"]
        trace = os.open(command["trace"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        calls.record(trace, root=command["spool"], kill_at=command.get("kill_at"))
        settings = Settings(
            spool=Path(command["spool"]), channels=Path(command["channels"]), inbox=Path(command["inbox"]),
            token=command["token"], api_url=command["api_url"], guild_id=command["guild_id"],
            poll_interval=0.05, gt="auto" if command.get("town") else "off",
            town=Path(command["town"]) if command.get("town") else None,
            environment=command["environment"],
        )  # fmt: skip
        done = Path(command["done"])
        asyncio.run(service.run(settings, ready=lambda parts: _end_when(done, parts)))

    gc.freeze()  # a collection in a fork would copy every page of what is here
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                _log()
                child(command)
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(70)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = {"killed": killed, "code": None if killed else os.waitstatus_to_exitcode(status)}
        print(json.dumps(answer), flush=True)


def _log() -> None:
    import logging

    logging.basicConfig(level=logging.INFO, format="%(message)s")


def _end_when(done: Path, parts: Any) -> None:
    """End the service, as an operator would, once the test has seen what it waits for."""
    import asyncio

    async def watch() -> None:
        while not calls.quietly(done.exists):
            await asyncio.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    parts.watch = asyncio.ensure_future(watch())


if __name__ == "__main__":
    main()
