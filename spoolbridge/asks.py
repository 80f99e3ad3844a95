"""Questions to people and what they answered: the files in `state/asks/`, asking, and waiting.

    asks/<ID>.json           a question, written by whoever asks; open while it lies there
    asks/answers/<ID>.json   what came of it, written by the service alone; kept for a month

The ID is that of the entry with which the question is posted. The question is written before the entry is
dropped: one that is posted and that nobody looks after would be worse than one that is not posted.

Promises that a name or a content that somebody else wrote is data: a SpoolError says what is wrong with it.
Must never talk to Discord: that is `asker`'s.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from spoolbridge import atomic, choices, identity, sending
from spoolbridge.channels import Registry
from spoolbridge.choices import Question
from spoolbridge.errors import MessageError, SpoolError
from spoolbridge.spool import Spool

DIRECTORY, ANSWERS = "asks", "answers"
ANSWERED, TIMED_OUT, FAILED = "answered", "timed_out", "failed"
STATUSES = (ANSWERED, TIMED_OUT, FAILED)

TIMEOUT = 3600.0  # seconds for an answer, where nothing else is said
LONGEST = 7 * 24 * 3600.0  # seconds
GRACE = 15.0  # seconds behind the deadline: the last look takes that long at most, or is not to be had
KEPT = 30 * 24 * 3600.0  # seconds for which an answer is kept
_LARGEST_FILE = 1 << 20  # bytes; a reply with all that it may carry has a tenth of it
_AHEAD = 3600.0  # seconds that the clock of who asks may be ahead
_LOOSE = 24 * 3600.0  # seconds after which a half-written question is nobody's

#: Any writer of the spool may create here and nobody but its owner remove; answers are the service's.
_ASKS_MODE = 0o3770
_ANSWERS_MODE = 0o2750
_PAUSES = (0.1, 0.5)  # seconds between two looks for the answer: at first, and at most
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Answer(NamedTuple):
    """What came of a question, decided once; ids are 0 where there is none, `at` is in unix seconds."""

    id: str
    status: str
    at: float
    option: str = ""
    text: str = ""
    author: str = ""
    author_id: int = 0
    message_id: int = 0
    how: str = ""
    reason: str = ""
    #: Which of the options it is, from 0; -1: none.
    number: int = -1
    #: The question on Discord.
    channel: str = ""
    channel_id: int = 0
    question_id: int = 0

    def told(self) -> dict[str, Any]:
        """What programs are told; ids as strings, for JSON's numbers round them."""
        told: dict[str, Any] = {"status": self.status, "id": self.id}
        if self.status == ANSWERED:
            told |= {
                "text": self.text, "author": self.author, "author_id": str(self.author_id),
                "message_id": str(self.message_id), "how": self.how,
            }  # fmt: skip
        if self.option:
            told["option"] = self.option
        if self.channel:
            told["channel"] = self.channel
        if self.reason:
            told["reason"] = self.reason
        return told


# --- asking ------------------------------------------------------------------------------------------


def ask(
    spool: Spool,
    registry: Registry,
    channel: str,
    text: str,
    *,
    options: Iterable[str] = (),
    timeout: float = TIMEOUT,
    rig: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Question:
    """Ask people in `channel`, durably on return; `timeout` in seconds, from now.

    Raises UnknownChannelError, MessageError or SpoolError; nothing has been asked then.
    """
    if not 0 < timeout <= LONGEST:
        raise MessageError(f"{timeout:g} seconds cannot be waited", f"at most {LONGEST:.0f}, a week")
    question = Question(spool.mint(), choices.checked(options), clock() + timeout)
    whole = choices.posted_text(text, question.options, question.deadline)
    make(spool)
    told = {"options": question.options, "deadline": question.deadline}
    with spool.at(f"state/{DIRECTORY}") as at:
        try:
            atomic.replace(f"{question.id}.json", json.dumps(told).encode(), at=at, mode=0o660)
        except OSError as error:
            what = f"the question cannot be written ({error.strerror}); nothing was asked"
            raise SpoolError(what, "make room or give rights, then ask again") from error
        try:
            sending.drop_message(
                spool, registry, channel, whole,
                rig=rig, not_after=question.deadline, entry_id=question.id, name="ask.md",
            )  # fmt: skip
        except BaseException:
            with suppress(OSError):
                os.unlink(f"{question.id}.json", dir_fd=at)
            raise
    return question


def wait_for(
    spool: Spool,
    ask_id: str,
    seconds: float | None = None,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], object] = time.sleep,
) -> Answer | None:
    """What came of a question; None: nothing yet, and `seconds` are over.

    Its own time over without a decision of the service's counts as timed out; a later one may still come.
    Raises SpoolError where there is no such question.
    """
    end = None if seconds is None else clock() + seconds
    pause, most = _PAUSES
    while True:
        question, problem = None, None
        try:
            question = question_of(spool, ask_id, clock())
        except SpoolError as error:
            problem = error
        # In this order: the service removes the question once the answer is there.
        answer = answer_of(spool, ask_id)
        if answer is not None:
            return answer
        if question is None:
            raise problem or _no_question(ask_id)
        left = question.deadline + GRACE - clock()
        if left <= 0:
            reason = "no service has looked for an answer; see: spoolbridge status"
            return Answer(ask_id, TIMED_OUT, clock(), reason=reason)
        left = left if end is None else min(left, end - clock())
        if left <= 0:
            return None
        sleep(min(pause, left))
        pause = min(2 * pause, most)


# --- the files ---------------------------------------------------------------------------------------


def make(spool: Spool) -> None:
    """The directories, where they are missing; only the owner of `state/` can. Raises SpoolError."""
    try:
        with spool.at("state") as state:
            if not atomic.exists(DIRECTORY, at=state):
                atomic.ensure_directory(DIRECTORY, at=state, mode=_ASKS_MODE)
            with atomic.directory(DIRECTORY, at=state) as at:
                if not atomic.exists(ANSWERS, at=at):
                    atomic.ensure_directory(ANSWERS, at=at, mode=_ANSWERS_MODE)
    except PermissionError:
        what = "no questions can be asked in this spool yet"
        raise SpoolError(what, "start the service, which prepares it: spoolbridge run") from None
    except OSError as error:
        what = f"{spool.root / 'state' / DIRECTORY} cannot be used ({error.strerror})"
        raise SpoolError(what, "it is a directory that the service makes") from None


def listed(spool: Spool) -> list[str]:
    """The names in `state/asks/` that should be open questions, oldest first: `<ID>.json`, or anything."""
    names = spool.names(f"state/{DIRECTORY}")
    return sorted(name for name in names if name != ANSWERS and not name.startswith("."))


def id_in(name: str) -> str | None:
    """The ID in the name of a question's file; None: that is no name of one."""
    ask_id, dot, suffix = name.partition(".json")
    return ask_id if dot and not suffix and _is_id(ask_id) else None


def question_of(spool: Spool, ask_id: str, now: float) -> Question:
    """An open question. Raises SpoolError where its file is none."""
    if not _is_id(ask_id):
        raise _no_question(ask_id)
    told = _read(spool, f"state/{DIRECTORY}", ask_id)
    options, deadline = told.get("options"), told.get("deadline", 0)
    asked = identity.time_of(ask_id)
    if not isinstance(options, list) or not all(isinstance(each, str) for each in options):
        raise _unreadable("its options are no list of texts")
    if type(deadline) not in (int, float) or not asked - _AHEAD < deadline <= asked + LONGEST + _AHEAD:
        raise _unreadable(f"its deadline is not within {LONGEST:.0f} s")
    if asked > now + _AHEAD:
        raise _unreadable("its ID is of a time that is still to come")
    try:
        return Question(ask_id, choices.checked(options), float(deadline))
    except MessageError as error:
        raise _unreadable(error.what) from None


def answer_of(spool: Spool, ask_id: str) -> Answer | None:
    """What came of a question; None: nothing yet. Raises SpoolError for a file that cannot be read."""
    if not _is_id(ask_id) or not spool.has(f"state/{DIRECTORY}/{ANSWERS}", f"{ask_id}.json"):
        return None
    told = _read(spool, f"state/{DIRECTORY}/{ANSWERS}", ask_id)
    try:
        found = Answer(**told)
        if found.status not in STATUSES or found.id != ask_id:
            raise ValueError(found.status)
    except (TypeError, ValueError):
        raise _unreadable("it is no answer") from None
    return found


def settle(spool: Spool, answer: Answer) -> Answer:
    """Decide, durably; the first decision stays, and is returned. The service's alone, under its lock."""
    known = None
    with suppress(SpoolError):  # a damaged one tells nobody anything
        known = answer_of(spool, answer.id)
    if known is None:
        with spool.at(f"state/{DIRECTORY}/{ANSWERS}") as at:
            data = json.dumps(answer._asdict(), ensure_ascii=False).encode("utf-8", "replace")
            atomic.replace(f"{answer.id}.json", data, at=at)
    return known or answer


def close(spool: Spool, ask_id: str) -> None:
    """The question is looked after no more: its answer is there. Raises OSError."""
    with suppress(FileNotFoundError), spool.at(f"state/{DIRECTORY}") as at:
        os.unlink(f"{ask_id}.json", dir_fd=at)


def sweep(spool: Spool, now: float) -> None:
    """Remove old answers, and what a writer that died left."""
    for path in (DIRECTORY, f"{DIRECTORY}/{ANSWERS}"):
        with suppress(OSError), spool.at(f"state/{path}") as at:
            for name in os.listdir(at):
                if not name.startswith(".") and path == DIRECTORY:
                    continue
                oldest = _LOOSE if name.startswith(".") else KEPT
                with suppress(OSError):
                    if now - os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime > oldest:
                        os.unlink(name, dir_fd=at)


def _is_id(text: str) -> bool:
    return identity.parse(text) == (text, "")


def _read(spool: Spool, path: str, ask_id: str) -> Mapping[str, Any]:
    try:
        with spool.at(path) as at:
            fd = os.open(f"{ask_id}.json", _OPEN, dir_fd=at)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise _unreadable("it is no regular file")
            told = json.loads(atomic.read_bounded(fd, _LARGEST_FILE))
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise _no_question(ask_id) from None
    except OSError as error:
        raise _unreadable((error.strerror or "the disk refuses").lower()) from None
    except (ValueError, RecursionError):
        raise _unreadable("it is no JSON") from None
    if not isinstance(told, dict):
        raise _unreadable("it is no JSON object")
    return told


def _unreadable(why: str) -> SpoolError:
    return SpoolError(f"the file of the question cannot be used: {why}", "ask again with: spoolbridge ask")


def _no_question(ask_id: str) -> SpoolError:
    return SpoolError(f"no question {ask_id[:60]!r}", "give the ID that was told when it was asked")
