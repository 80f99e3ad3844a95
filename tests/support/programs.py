"""The installed program as processes: one that ends by itself, one that is told to, and the demo.

They are forks of a process that has imported everything (`tests.support.warm`).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner

from spoolbridge import cli
from tests.support import warm
from tests.support.waiting import wait_until

PROGRAM = Path(sys.executable).with_name("spoolbridge")
PATIENCE = 30.0  # seconds for one command, on a loaded machine
ENDS_WITHIN = 10.0  # seconds between a signal and the end
_OURS = ("DISCORD_", "SPOOLBRIDGE_", "GT_", "_SPOOLBRIDGE_")


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours and `more`, without any setting of the bridge, and with Python as it is for anybody."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        kept.pop(name, None)
    return kept | dict(more or {})


def ran(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: bytes = b"",
    timeout: float = PATIENCE,
) -> Ended:  # fmt: skip
    """The command once it has ended."""
    pipe = subprocess.PIPE
    with warm.Popen(
        [PROGRAM, *arguments], cwd=cwd, env=environment(env), stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except BaseException:
            process.kill()
            raise
    return Ended(process.returncode, out.decode(), err.decode())


def said(*arguments: str, stdin: str | bytes = "", env: dict[str, str] | None = None) -> Ended:
    """What the program says and ends with, in this process: click's streams, our own exit codes."""
    with CliRunner().isolation(stdin, env) as (out, err, _):
        code = cli.run(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
        return Ended(code, out.getvalue().decode(), err.getvalue().decode())


def refused(ended: Ended, *words: str) -> None:
    """It ended as an expected error does: one line on stderr, with these words, and nothing else."""
    assert (1, "") == (ended.code, ended.out)
    assert ended.err.startswith("spoolbridge: ")
    assert 1 == ended.err.count("\n")
    for word in words:
        assert word in ended.err


class Running:
    """A command that runs until it is told to end, leader of a process group of its own."""

    def __init__(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        # Files and not pipes: nobody has to read them for the program to go on.
        self._out, self._err = cwd / f"{arguments[0]}.out", cwd / f"{arguments[0]}.err"
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = warm.Popen(
                [PROGRAM, *arguments], cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL,
                stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        return self._err.read_text("utf-8")

    def prints(self, text: str) -> None:
        """Wait until it has printed this. Raises AssertionError where it ends without."""
        wait_until(lambda: text in self.out or self.process.poll() is not None, PATIENCE)
        assert text in self.out, self.err

    def logs(self, text: str) -> None:
        """As `prints`, on stderr."""
        wait_until(lambda: text in self.err or self.process.poll() is not None, PATIENCE)
        assert text in self.err, self.err

    def end(self, number: int = signal.SIGINT) -> int:
        """Its exit code after this signal. Raises TimeoutExpired where it goes on."""
        self.process.send_signal(number)
        return self.process.wait(ENDS_WITHIN)

    def leaves_nobody(self) -> bool:
        """Whether nobody of its process group lives any more."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Demo(Running):
    """`spoolbridge demo`, once its first message has been sent."""

    def __init__(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        super().__init__("demo", "--port", "0", *arguments, cwd=cwd, env=env)
        try:
            self.logs(".hello sent as")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.url = self._shown("the chat")
        self.page = self._shown("the page")
        self.spool = Path(self._shown("the spool"))

    def _shown(self, what: str) -> str:
        match = re.search(rf"{what} +(\S+)", self.out)
        assert match, self.out
        return match[1]

    @property
    def env(self) -> dict[str, str]:
        """What leads another command to its spool."""
        return {"SPOOLBRIDGE_SPOOL": str(self.spool)}

    @property
    def api(self) -> dict[str, str]:
        """What leads another command to its imaginary Discord."""
        return {"SPOOLBRIDGE_API_URL": f"{self.url}api/v10", "DISCORD_BOT_TOKEN": "emulator-token"}

    def channels(self) -> dict[str, str]:
        """Name → id, of every channel and thread."""
        return {each["name"]: each["id"] for each in self._ask("_emulator/state")["channels"]}

    def messages(self, channel: str = "mayor-villa") -> list[dict[str, Any]]:
        """What a channel shows, oldest first."""
        shown: list[dict[str, Any]] = self._ask(f"_emulator/messages/{self.channels()[channel]}")
        return shown

    def texts(self, channel: str = "mayor-villa") -> list[str]:
        return [message["content"] for message in self.messages(channel)]

    def say(self, text: str, channel: str = "mayor-villa", **more: Any) -> int:
        """A human writes; the message's id."""
        return int(self._ask("_emulator/say", {"channel": channel, "text": text, **more})["id"])

    def call(self, path: str, body: Mapping[str, Any]) -> Any:
        """A request of the bot's own to the API."""
        return self._ask(f"api/v10/{path}", body)

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(self.url + path, None if body is None else json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("User-Agent", "DiscordBot (https://example.org, 1)")
        request.add_header("Authorization", "Bot emulator-token")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)
