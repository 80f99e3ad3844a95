"""The `gt` program of a Gas Town: one mail sent or archived, or one inbox read, by one process.

Owns the command line, the environment and what gt's exit and words mean; everything else switches on
the `Answer`. Promises that one gt runs at a time, whoever asks, that a process never outlives its
time-out, that no shell and no inherited setting takes part, and that a human's text is only ever
standard input or one argument's value.

Two things about gt rule the shape of this. Killing it does not unsend the mail, because its children
run in a process group of their own: a time-out means unknown. And those children may hold its output
open: output goes to files, so that nothing here waits for a pipe.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from spoolbridge.mail import AgentMail, Mail, agent_mail
from spoolbridge.rendering import one_line

TIME_OUT = 120.0  # seconds; a wedged store was measured to take 40
_MOST_OUTPUT = 32 << 20  # bytes; an inbox of a thousand of the longest mails
_REASON = 200  # characters

#: What gt may know of its surroundings. No GT_ROLE, BD_ACTOR or TMUX: they would change who is speaking.
_INHERITED = ("PATH", "HOME", "USER", "LANG", "GT_TMUX_SOCKET", "TMUX_TMPDIR")

_PERMANENT = (
    "unknown recipient",
    "invalid recipient",
    "unknown address",
    "title must be",
    "argument list too long",
    "parse error on line",
)
_NO_TOWN = "not in a gas town workspace"
_UNKNOWN_FLAG = "unknown flag:"
_PARTIAL = "some deliveries failed"


class Verdict(Enum):
    """What came of a call: of `gt mail send`, or of one that reads or archives."""

    DONE = "done"  #: It is in the recipient's mailbox; it is archived.
    REFUSED = "refused"  #: Never to this address, however often it is tried.
    UNCONFIGURED = "unconfigured"  #: No gt, or no town: nothing goes until somebody changes that.
    FAILED = "failed"  #: Not this time.
    UNKNOWN = "unknown"  #: It took too long; it may arrive all the same.


@dataclass(frozen=True)
class Answer:
    """The verdict, and for anything but plain success a sentence."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True)
class Flags:
    """What this gt can do: `--stdin` came with 0.6.0, `--from` with 1.0.0."""

    stdin: bool
    sender: bool


@dataclass(frozen=True)
class Ended:
    """How a process ended; `code` None: it was killed at the time-out."""

    code: int | None
    out: bytes = b""
    err: str = ""


class Gt:
    """Runs gt in `town`; `environment` is what its own is picked from."""

    def __init__(
        self,
        town: Path,
        *,
        environment: Mapping[str, str],
        program: str = "gt",
        time_out: float = TIME_OUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._town = town
        self._program = program
        self._time_out, self._sleep = time_out, sleep
        # Both this and the working directory: gt up to 0.12 ignores the one, crew addresses need the other.
        self._environment = {name: environment[name] for name in _INHERITED if name in environment} | {
            "NO_COLOR": "1",
            "GT_TOWN_ROOT": str(town),
            "GT_ROOT": str(town),
        }
        self._flags: Flags | None = None
        self._turn = asyncio.Lock()

    async def send(self, mail: Mail) -> Answer:
        """Send it, once; a flag that this gt turns out not to know is looked up and left out."""
        try:
            return await self._send(mail)
        except OSError as error:
            return self._not_started(error)

    async def arrived(self, address: str, marker: str) -> bool | None:
        """Whether a mail whose last line is `marker` is in the inbox; None: it could not be read."""
        found = await self.inbox(address)
        return None if isinstance(found, Answer) else any(_ends_with(mail.body, marker) for mail in found)

    async def inbox(self, address: str, *, unread: bool = False) -> list[AgentMail] | Answer:
        """What lies there, as gt orders it; the answer says why that is not known.

        What is no mail in gt's list is left out: one that is damaged must not hide the others.
        """
        try:
            ended = await self._run(["mail", "inbox", address, *(["--unread"] if unread else []), "--json"])
            if ended.code != 0:
                return answer_of(ended.code, ended.err, "inbox")
            found = json.loads(ended.out) or ()  # an empty inbox is [], and null in gt 0.5.0
            if not isinstance(found, list | tuple):
                raise ValueError("no list")
        except OSError as error:
            return self._not_started(error)
        except (ValueError, RecursionError):
            return Answer(Verdict.FAILED, "gt mail inbox --json did not print a list of mails")
        return [mail for each in found if (mail := agent_mail(each))]

    async def archive(self, address: str, mail_id: str) -> Answer:
        """Take one mail out of the unread ones of `address`; where that is not to be had, mark it read.

        Twice is once: a mail that is archived already may be refused, and is not listed again.
        """
        answer = Answer(Verdict.FAILED)
        for act in ("archive", "mark-read"):
            try:
                ended = await self._run(["mail", act, mail_id], extra={"GT_ROLE": address})
            except OSError as error:
                return self._not_started(error)
            answer = answer_of(ended.code, ended.err, act)
            if answer.verdict in (Verdict.DONE, Verdict.UNKNOWN, Verdict.UNCONFIGURED):
                break
        return answer

    async def _send(self, mail: Mail) -> Answer:
        ended = Ended(None)
        for _ in range(2):
            flags = self._flags or await self._detect()
            if isinstance(flags, Answer):
                return flags
            ended = await self._run(*_command(mail, flags))
            if ended.code in (0, None) or _UNKNOWN_FLAG not in ended.err:
                return answer_of(ended.code, ended.err)
            self._flags = None  # gt was exchanged under us
        return Answer(Verdict.FAILED, _reason(ended.err, ended.code))

    async def _detect(self) -> Flags | Answer:
        ended = await self._run(["mail", "send", "--help"])
        if ended.code is None:
            return Answer(Verdict.FAILED, "gt mail send --help did not end")  # nothing was sent
        if ended.code != 0:
            return answer_of(ended.code, ended.err)
        text = ended.out.decode("utf-8", "replace") + ended.err
        self._flags = Flags(stdin=bool(_flag("stdin", text)), sender=bool(_flag("from", text)))
        return self._flags

    async def _run(
        self, arguments: Sequence[str], text: str = "", extra: Mapping[str, str] | None = None
    ) -> Ended:
        async with self._turn:
            return await self._alone(arguments, text, extra or {})

    async def _alone(self, arguments: Sequence[str], text: str, extra: Mapping[str, str]) -> Ended:
        with (
            tempfile.TemporaryFile() as stdin,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            stdin.write(text.encode())
            stdin.seek(0)
            process = await asyncio.create_subprocess_exec(
                self._program,
                *arguments,
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=self._town,
                env={**self._environment, **extra},
                start_new_session=True,
            )
            code = await self._end_of(process)
            return Ended(code, _content(out), _content(err).decode("utf-8", "replace"))

    async def _end_of(self, process: asyncio.subprocess.Process) -> int | None:
        ended = asyncio.ensure_future(process.wait())
        limit = asyncio.ensure_future(self._sleep(self._time_out))
        try:
            await asyncio.wait([ended, limit], return_when=asyncio.FIRST_COMPLETED)
            return ended.result() if ended.done() else None
        finally:
            limit.cancel()
            if not ended.done():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.wait([ended, limit])

    def _not_started(self, error: OSError) -> Answer:
        if error.errno == errno.E2BIG:
            return Answer(Verdict.REFUSED, "the mail is longer than a command line may be")
        if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
            gone = f"no town at {self._town}" if not self._town.is_dir() else f"no {self._program} on PATH"
            return Answer(Verdict.UNCONFIGURED, gone)
        return Answer(Verdict.FAILED, f"gt did not start ({error.strerror})")


def answer_of(code: int | None, err: str, act: str = "send") -> Answer:
    """What gt's exit and standard error mean; `code` None: killed at the time-out."""
    if code is None:
        return Answer(Verdict.UNKNOWN, f"gt mail {act} did not end in time")
    said = err.lower()
    if code == 0:
        partly = next((line for line in err.splitlines() if _PARTIAL in line.lower()), "")
        return Answer(Verdict.DONE, one_line(partly, _REASON))
    if _NO_TOWN in said:
        return Answer(Verdict.UNCONFIGURED, _reason(err, code))
    refused = any(words in said for words in _PERMANENT)
    return Answer(Verdict.REFUSED if refused else Verdict.FAILED, _reason(err, code))


def _command(mail: Mail, flags: Flags) -> tuple[list[str], str, dict[str, str]]:
    """Arguments, standard input and additional environment."""
    arguments = ["mail", "send", mail.to, "-s", mail.subject]
    arguments += ["--stdin"] if flags.stdin else ["-m", mail.body]
    arguments += ["--from", mail.sender] if flags.sender else []
    extra = {} if flags.sender else {"GT_ROLE": mail.sender}
    return arguments, mail.body if flags.stdin else "", extra


def _reason(err: str, code: int | None) -> str:
    """gt's own sentence; the usage text that follows it is left out."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    told = next((line.removeprefix("Error:") for line in lines if line.startswith("Error:")), "")
    return one_line(told or (lines[-1] if lines else ""), _REASON) or f"gt ended with {code} and said nothing"


def _flag(name: str, text: str) -> re.Match[str] | None:
    return re.search(rf"--{name}(?![\w-])", text)


def _ends_with(body: str, marker: str) -> bool:
    return body.rstrip().rpartition("\n")[2].strip() == marker


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_MOST_OUTPUT)
