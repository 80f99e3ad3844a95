"""A `gt` that behaves, or misbehaves, as one is told: flags by version, exit codes, a hang, a late arrival.

Its `mail` has send, reply, inbox, archive and mark-read, with the limits and the addresses of the real one.

`FakeGt(directory)` writes an executable `gt` there. What it is to do lies in files beside it, because
the bridge hands no environment of ours down to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_SCRIPT = r'''#!{python} -IS
import json, os, re, sys, time  # it is started a thousand times: nothing that one case needs

here = os.path.dirname(os.path.abspath(__file__))
path = lambda name: os.path.join(here, name)
arguments = sys.argv[1:]
plan = json.load(open(path("plan.json")))
old = plan["version"] == "0.5.0"


def note(name, value):
    with open(path(name), "a") as file:
        file.write(json.dumps(value) + "\n")


def noted(name):
    return [json.loads(line) for line in open(path(name))] if os.path.exists(path(name)) else []


def fail(text, code=1):
    sys.stderr.write("Warning: bd is older than this gt\nError: " + text + "\n")
    sys.stderr.write("Usage:\n  gt mail %s <address> [flags]\n" % arguments[1])
    sys.exit(code)


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


def behaviour():
    steps = plan["behaviours"]
    taken = len(open(path("taken")).read()) if os.path.exists(path("taken")) else 0
    with open(path("taken"), "a") as file:
        file.write(".")
    return steps[taken] if taken < len(steps) else "ok"


def valid(address):
    """Agents by their form, whether they exist or not; of anything else, a directory of the town's root."""
    agent = r"(mayor|deacon)/|overseer|(list|queue|announce):.+|\w+/(witness|refinery|crew/\w+)"
    return old or re.fullmatch(agent, address) or os.path.isdir(address.rstrip("/"))


def kept():
    archived = noted("archived.jsonl")
    read = set(noted("read.jsonl"))
    mails = [mail for mail in noted("mails.jsonl") if mail["id"] not in archived]
    return [dict(mail, read=mail["id"] in read) for mail in mails]


def own(mail_id):
    for mail in kept():
        if mail["id"] == mail_id and mail["to"] == os.environ.get("GT_ROLE"):
            return mail
    fail("message not found: " + mail_id)


def arrive(to, subject, body, about=None):
    sender = option("--from") or os.environ.get("GT_ROLE") or "overseer"
    mail_id = "hq-%x" % time.time_ns()
    note("mails.jsonl", {{
        "id": mail_id, "from": sender, "to": to, "subject": subject, "body": "" if body == "-" else body,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "priority": "normal",
        "type": "notification", "thread_id": about["thread_id"] if about else "thread-" + mail_id,
        "reply_to": about["id"] if about else "",
    }})


def send():
    body, subject = sys.stdin.read() if "--stdin" in arguments else option("-m"), option("-s")
    for flag in ("--stdin", "--from"):
        if flag in arguments and flag not in plan["flags"]:
            fail("unknown flag: " + flag)
    if "--stdin" in arguments and "-m" in arguments:
        fail("cannot use --stdin with --message")
    if not subject or (old and subject.startswith("-")):
        fail("flag needs an argument: 's' in -s")
    if len(subject.encode()) > 500:
        fail("title must be 500 characters or less")
    if len(body.encode()) >= 128 << 10:
        fail("argument list too long")
    if '"' in (option("--from") or ""):
        fail("parse error on line 1")
    if not valid(arguments[2]):
        fail("unknown recipient: " + arguments[2])
    doing = behaviour()
    if doing == "hang":
        time.sleep(600)
    if doing == "arrive and hang":
        # As the real one: a child in a process group of its own outlives the kill and holds the output.
        import subprocess

        subprocess.Popen(["sleep", "3"], start_new_session=True)
        arrive(arguments[2], subject, body)
        time.sleep(600)
    if doing == "partial":
        sys.stderr.write("⚠ Some deliveries failed: list:all\n")
    elif doing != "ok":
        fail(doing)
    arrive(arguments[2], subject, body)
    print("✓ Message sent to " + arguments[2])


def reply():
    about = [mail for mail in noted("mails.jsonl") if mail["id"] == arguments[2]]
    if not about:
        fail("message not found: " + arguments[2])
    if not valid(about[0]["from"]):
        fail("invalid recipient: " + about[0]["from"])
    arrive(about[0]["from"], option("-s") or "Re: " + about[0]["subject"], option("-m"), about[0])


def inbox():
    if plan["inbox"] != "ok":
        fail(plan["inbox"])
    mails = [mail for mail in kept() if mail["to"] == arguments[2]]
    mails = [mail for mail in mails if not (mail["read"] and "--unread" in arguments)]
    print(json.dumps(mails[::-1]) if mails else plan["empty"])  # the newest first


def archive():
    mail = own(arguments[2])
    if plan["archive"] not in ("ok", "archived, but it hangs"):
        fail(plan["archive"])
    note("archived.jsonl", mail["id"])
    if plan["archive"] != "ok":
        time.sleep(600)


def mark_read():
    if plan["mark-read"] != "ok":
        fail(plan["mark-read"])
    note("read.jsonl", own(arguments[2])["id"])


note("calls.jsonl", {{"argv": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}})
if "--help" in arguments:
    print("Usage:\n  gt mail send <address> [flags]\nFlags:\n  -s, --subject string")
    print("\n".join("      %s   about it" % flag for flag in plan["flags"]))
else:
    acts = {{"send": send, "reply": reply, "inbox": inbox, "archive": archive, "mark-read": mark_read}}
    acts[arguments[1]]()
'''

#: What `gt mail send` of a version can do.
FLAGS = {"0.5.0": [], "0.12.0": ["--stdin", "--no-notify", "--to"], "1.0.0": ["--stdin", "--from"]}


class FakeGt:
    """The program, what it is to do next, and what it was asked and delivered so far."""

    def __init__(self, directory: Path, version: str = "1.0.0") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._plan: dict[str, Any] = {"behaviours": [], "inbox": "ok", "archive": "ok", "mark-read": "ok"}
        self.be(version)
        program = directory / "gt"
        program.write_text(_SCRIPT.format(python=sys.executable), "utf-8")
        program.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """What to run it with: this gt on PATH, and things that must not reach it."""
        return {
            "PATH": f"{self.directory}:/usr/bin:/bin",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "GT_ROLE": "mayor",
            "BD_ACTOR": "somebody",
            "TMUX": "/tmp/tmux",
            "DISCORD_BOT_TOKEN": "secret",
        }

    def be(self, version: str) -> None:
        """Become another version."""
        empty = "null" if version == "0.5.0" else "[]"
        self._plan |= {"version": version, "flags": FLAGS[version], "empty": empty}
        self._write()

    def plan(
        self, *behaviours: str, inbox: str = "ok", archive: str = "ok", mark_read: str = "ok"
    ) -> None:
        """What the next `gt mail send`s do, one each, then "ok" again; and what reading and archiving do.

        "ok", "partial", "hang", "arrive and hang"; anything else is what gt says before it exits 1.
        `archive` may also be "archived, but it hangs".
        """
        (self.directory / "taken").unlink(missing_ok=True)
        self._plan |= {"behaviours": behaviours, "inbox": inbox, "archive": archive, "mark-read": mark_read}
        self._write()

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail in somebody's inbox, in the order of arrival."""
        archived = self._lines("archived.jsonl")
        return [each for each in self._lines("mails.jsonl") if each["id"] not in archived]

    def unread(self, address: str) -> list[str]:
        """The ids of what lies unread there."""
        read = self._lines("read.jsonl")
        return [each["id"] for each in self.mails if each["to"] == address and each["id"] not in read]

    def mail(self, to: str, subject: str, body: str, *, at: float | None = None, **more: str) -> str:
        """An agent has mailed, at that time (unix seconds; now); the mail's id. `more`: other fields."""
        moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
        told = {
            "id": f"hq-{time.time_ns():x}", "from": "villacalculatecost3/crew/max", "to": to,
            "subject": subject, "body": body, "timestamp": moment.isoformat().replace("+00:00", "Z"),
            "priority": "normal", "type": "notification", "thread_id": "thread-1", "reply_to": "", **more,
        }  # fmt: skip
        with (self.directory / "mails.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
        return str(told["id"])

    def run(self, *arguments: str, town: Path, role: str = "mayor/") -> subprocess.CompletedProcess[str]:
        """`gt …`, as an agent of that role calls it in the town."""
        environment = {"PATH": "/usr/bin:/bin", "GT_ROLE": role}
        command = [str(self.directory / "gt"), *arguments]
        return subprocess.run(
            command, cwd=town, env=environment, capture_output=True, text=True, timeout=20, check=False
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every start of the program: argv, cwd, env."""
        return self._lines("calls.jsonl")

    @property
    def begun(self) -> int:
        """How many of the planned behaviours were taken up."""
        path = self.directory / "taken"
        return path.stat().st_size if path.exists() else 0

    def sends(self) -> list[list[str]]:
        """The arguments of every `gt mail send` that was not for its help."""
        argvs = [call["argv"] for call in self.calls]
        return [argv for argv in argvs if argv[:2] == ["mail", "send"] and "--help" not in argv]

    def archive(self) -> None:
        """The agents have read and archived everything."""
        (self.directory / "mails.jsonl").unlink(missing_ok=True)

    def _write(self) -> None:
        (self.directory / "plan.json").write_text(json.dumps(self._plan), "utf-8")

    def _lines(self, name: str) -> list[Any]:
        path = self.directory / name
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
