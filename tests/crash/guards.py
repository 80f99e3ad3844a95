"""What keeps the promise, line by line: take one away, and a test goes red.

    python -m tests.crash.guards            every guard, in a copy of the tree (about ten minutes)
    python -m tests.crash.guards NAME …     some of them

Each guard is an exact piece of the product's text and what would stand there without it. That every
piece still stands there, once, is a test of the ordinary run (test_guards_stand.py).
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.broken import ROOT, broken, environment

_KILLS = "tests/crash/test_kill_points.py"
_CUTS = "tests/crash/test_power_cut.py::test_every_cut"
_UNORDERED_LATER = f"{_CUTS} -k drop-unordered-200"
_ANSWER_LATER = f"{_CUTS} -k answer-unordered-200"


@dataclass(frozen=True)
class Guard:
    """`without` takes the place of `text` in the module; `tests` are pytest's arguments."""

    name: str
    module: str
    text: str
    without: str
    tests: str

    @property
    def path(self) -> Path:
        return ROOT / "spoolbridge" / self.module


GUARDS = (
    Guard(
        "the entry is synced before the claim's rename",
        "intake.py", "stamp = sync_entry(name, outgoing)", "stamp = ()", _UNORDERED_LATER,
    ),
    Guard(
        "the directories of a rename are synced",
        "atomic.py",
        "        sync_directory(dst)\n        if not os.path.sameopenfile(src, dst):\n"
        "            sync_directory(src)\n",
        "        pass\n", "tests/unit/test_atomic.py -k power_cut",
    ),
    Guard(
        "the directories of a turn are synced",
        "moves.py", "                atomic.sync_directory(self._held[path])\n", "                pass\n",
        _UNORDERED_LATER,
    ),
    Guard(
        "where entries go to is synced before where they come from",
        "moves.py", '_ORDER = ("failed", "sent", "sending", "outgoing")',
        '_ORDER = ("outgoing", "sending", "sent", "failed")', "tests/unit/test_moves.py",
    ),
    Guard(
        "the try is durable before the POST",
        "journal.py", 'self._append(\n            "try", entry_id, channel_id, part',
        'self._append(\n            "try", entry_id, channel_id, durable=False, part', _UNORDERED_LATER,
    ),
    Guard(
        "Discord is told to enforce the nonce",
        "outgoing.py", '"enforce_nonce": True', '"enforce_nonce": False', _KILLS,
    ),
    Guard(
        "the nonce is the same after a crash",
        "identity.py", 'f"{entry_id}|{part}|{channel_id}".encode()',
        'f"{entry_id}|{part}|{channel_id}|{os.getpid()}".encode()', _KILLS,
    ),
    Guard(
        "past the nonce window the channel is read back",
        "tries.py",
        "return 0 <= passed < NONCE_WINDOW and passed + known.ahead - self._ahead() < NONCE_WINDOW",
        "return True", _UNORDERED_LATER,
    ),
    Guard(
        "what was posted already is not posted again",
        "posting.py", "if not history.sent:\n", "if True:\n", "tests/flow/test_outbound.py",
    ),
    Guard(
        "a part that is known to be sent is not tried",
        "tries.py", "if known.message_id is not None:\n", "if False:\n", _KILLS,
    ),
    Guard(
        "a thread is looked for by its name before it is made",
        "threads.py", "found = await self._named(channel_id, str(wanted))", "found = None", _KILLS,
    ),
    Guard(
        "which thread an entry goes to is noted",
        "threads.py", "if history.thread is not None and", "if False and",
        "tests/flow/test_outbound_content.py",
    ),
    Guard(
        "the form of what may be on Discord is kept",
        "history.py", "form_of(record), \"\"\n", "PLAIN, \"\"\n", "tests/flow/test_outbound_content.py",
    ),
    Guard(
        "a Dedupe-Key stands for one message",
        "posting.py", "if found is None:\n", "if True:\n", "tests/flow/test_outbound_content.py",
    ),
    Guard(
        "three deaths in a post are poison",
        "history.py", "POISON = 3", "POISON = 99", _KILLS,
    ),
    Guard(
        "an incoming file is synced before it is intended",
        "atomic.py", "            if durable:\n                sync(fd)\n        finally",
        "        finally", _ANSWER_LATER,
    ),
    Guard(
        "the ids of a page are noted as intended before the renames",
        "incoming_file.py",
        "            cursor.intend([message.id for message in messages], channel.address)\n", "", _KILLS,
    ),
    Guard(
        "the names in tmp/ are durable before they are intended",
        "incoming_file.py", "            atomic.sync_directory(tmp)\n", "", _ANSWER_LATER,
    ),
    Guard(
        "an inbox line is synced before its cursor moves",
        "inbox_file.py", "            atomic.sync(fd)\n", "", _ANSWER_LATER,
    ),
    Guard(
        "the inbox file's end is read back at start",
        "inbox_file.py", "                self._recorded |= _ids_at_end(name, parent)\n",
        "                pass\n", _KILLS,
    ),
    Guard(
        "a mail is marked as tried before gt starts",
        "gt_mail.py", "await in_thread(self._files.mark_tried, mail.key)", "pass", _KILLS,
    ),
    Guard(
        "an agent's mail that comes back is known by its entry",
        "town.py", "or await in_thread(self._spool.find, entry_id) is not None", "",
        "tests/contract/test_mailboxes.py",
    ),
    Guard(
        "that a sender was told of a failure is remembered",
        "mail_files.py", "self._move(mail.key, _TRIED, _TOLD)", "self._remove(_TRIED.format(mail.key))",
        "tests/contract/test_notices.py",
    ),
    Guard(
        "a read lease is asked for before the claim",
        "ready.py", "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)", "pass",
        "tests/unit/test_ready.py tests/flow/test_writers.py",
    ),
    Guard(
        "the lease is taken again after the claim",
        "claim.py", "written_to = ready.lease(fd) is False", "written_to = False",
        "tests/unit/test_claim.py",
    ),
    Guard(
        "an entry settles before it is claimed",
        "ready.py", "SETTLE = 0.25", "SETTLE = 0.0", "tests/unit/test_ready.py tests/flow/test_writers.py",
    ),
    Guard(
        "no link is followed",
        "ready.py", "_OPEN = os.O_RDONLY | os.O_NOFOLLOW |", "_OPEN = os.O_RDONLY |",
        "tests/unit/test_ready.py tests/flow/test_hostile_drops.py",
    ),
    Guard(
        "a second link is refused",
        "ready.py", "if status.st_nlink > 1:\n        return", "if False:\n        return",
        "tests/unit/test_ready.py",
    ),
    Guard(
        "no rename replaces anything",
        "atomic.py", "if exists(new, at=dst):", "if False:", "tests/unit/test_atomic.py",
    ),
    Guard(
        "the lock outlives its file",
        "lock.py", "while not lock_descriptor(root, blocking=False):", "while False:",
        "tests/flow/test_service.py",
    ),
    Guard(
        "an empty page counts only with the right to read history",
        "readback.py", "if anything or await _may_read_history(client, bot, channel_id):", "if True:",
        "tests/contract/test_readback.py",
    ),
    Guard(
        "an id that the journal gives to another entry is not ours",
        "readback.py", "if owner is None:", "if True:", "tests/contract/test_readback.py",
    ),
    Guard(
        "another message under a known ID is not taken for the first",
        "posting.py", "if _is_another(history, parts):\n", "if False:\n", "tests/flow",
    ),
    Guard(
        "what holds a secret is held back",
        "posting.py", "if withheld := await self.secrecy.objection(claim.id, channel_id, message):",
        "if withheld := None:", "tests/flow/test_secrets.py",
    ),
    Guard(
        "only what a person has seen in failed/ is let pass",
        "secrecy.py", "if history.held == digest or", "if history.failed or", "tests/flow/test_secrets.py",
    ),
    Guard(
        "nothing is posted where the try cannot be written",
        "tries.py", "raise _UnwrittenError from error", "asked = False", "tests/flow/test_recovery.py",
    ),
    Guard(
        "an id is listed as handed over before its cursor moves",
        "cursor.py",
        "            self._handed.record(self._delivery, self._channel_id, filterfalse(begun.seen, done))\n",
        "",
        "tests/unit/test_handed.py",
    ),
    Guard(
        "an attached file is synced before it gets its name",
        "attached_files.py", "        atomic.sync(fd)\n", "", f"{_CUTS} -k picture-unordered-200",
    ),
    Guard(
        "nobody but Discord is asked for a file",
        "discord/cdn.py", "if not self.serves(link):", "if False:", "tests/contract/test_cdn.py",
    ),
    Guard(
        "what cannot be judged is not passed",
        "access.py",
        "            if error.code not in (UNKNOWN_MEMBER, UNKNOWN_USER):\n                raise\n", "",
        "tests/unit/test_access.py",
    ),
    Guard(
        "a webhook is looked at before its author is believed",
        "access.py", 'if webhook or author.get("bot"):', 'if author.get("bot"):', "tests/unit/test_access.py",
    ),
    Guard(
        "a receipt waits for every delivery",
        "receipts.py", "for message in messages if message.id not in still}", "for message in messages}",
        "tests/flow/test_receipts.py",
    ),
    Guard(
        "an answer is written down before anybody is told",
        "asker.py", "decided = await in_thread(asks.settle, self._spool, answer)", "decided = answer",
        "tests/flow/test_questions.py -k reply_answers",
    ),
    Guard(
        "who may not answer is not heard",
        "asker.py", "admitted, refused = await self._access.judge(channel, people)",
        "admitted, refused = people, people[:0]", "tests/flow/test_questions.py -k stranger",
    ),
    Guard(
        "a reaction that is first seen too late decides nothing",
        "asker.py", "in_time = now <= course.question.deadline + GRACE", "in_time = True",
        "tests/flow/test_questions.py -k away",
    ),
    Guard(
        "an ID that is older than the journal is not posted",
        "journal.py", "            if not whole:\n                self._cut.add(key)\n", "",
        "tests/flow/test_retention.py",
    ),
    Guard(
        "a rotation that was begun is ended before anything is written",
        "journal.py", "if full or self._rotating or", "if full or", "tests/unit/test_journal.py -k half_done",
    ),
    Guard(
        "what is pruned was not used meanwhile",
        "prune.py", "if removal.changed and removal.changed != status.st_ctime_ns:", "if False:",
        "tests/unit/test_prune.py -k meanwhile",
    ),
    Guard(
        "an unread message's files stay",
        "prunable.py", " and message_id not in unread", "", "tests/unit/test_prune.py -k Attachments",
    ),
    Guard(
        "permissions are asked only where somebody is named",
        "mcp_server/relay.py", "if rule.users or rule.roles:", "if True:",
        "tests/faces/test_mcp_asks.py -k names_its_channel",
    ),
)  # fmt: skip


def goes_red(guard: Guard) -> bool:
    """Whether the guard's tests fail in a copy of the tree that lacks it."""
    with broken(guard.module, guard.text, guard.without, name=guard.name) as copy:
        marks = "sweep or not sweep"
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-m", marks, "--no-header",
             "-p", "no:cacheprovider", "--deselect",
             f"{_KILLS}::test_killed_at_every_pair_of_calls", *guard.tests.split()],
            cwd=copy, capture_output=True, text=True, check=False,
            env=environment(copy),
        )  # fmt: skip
        if ended.returncode not in (0, 1):
            raise RuntimeError(ended.stdout[-2000:] + ended.stderr[-2000:])
        return ended.returncode == 1


def main(names: list[str]) -> int:
    green = 0
    for guard in GUARDS:
        if not names or any(name in guard.name for name in names):
            red = goes_red(guard)
            green += not red
            print(f"{'red  ' if red else 'GREEN'}  {guard.name}", flush=True)
    return min(green, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
