"""A `gt` that behaves, or misbehaves, as one is told: flags by version, exit codes, a hang, a late arrival.

`FakeGt(directory)` writes an executable `gt` there. What it is to do lies in files beside it, because
the bridge hands no environment of ours down to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_SCRIPT = r'''#!{python} -IS
import json, os, subprocess, sys, time

here = os.path.dirname(os.path.abspath(__file__))
path = lambda name: os.path.join(here, name)
arguments = sys.argv[1:]
plan = json.load(open(path("plan.json")))


def note(name, value):
    with open(path(name), "a") as file:
        file.write(json.dumps(value) + "\n")


def fail(text, code=1):
    sys.stderr.write("Warning: bd is older than this gt\nError: " + text + "\n")
    sys.stderr.write("Usage:\n  gt mail send <address> [flags]\n")
    sys.exit(code)


def option(name):
    return arguments[arguments.index(name) + 1] if name in arguments else None


def behaviour():
    steps = plan["behaviours"]
    taken = len(open(path("taken")).read()) if os.path.exists(path("taken")) else 0
    with open(path("taken"), "a") as file:
        file.write(".")
    return steps[taken] if taken < len(steps) else "ok"


def arrive(body):
    sender = option("--from") or os.environ.get("GT_ROLE") or "overseer"
    note("mails.jsonl", {{"to": arguments[2], "from": sender, "subject": option("-s"), "body": body}})


def send():
    body = sys.stdin.read() if "--stdin" in arguments else option("-m")
    for flag in ("--stdin", "--from"):
        if flag in arguments and flag not in plan["flags"]:
            fail("unknown flag: " + flag)
    doing = behaviour()
    if doing == "hang":
        time.sleep(600)
    if doing == "arrive and hang":
        # As the real one: a child in a process group of its own outlives the kill and holds the output.
        subprocess.Popen(["sleep", "3"], start_new_session=True)
        arrive(body)
        time.sleep(600)
    if doing == "partial":
        sys.stderr.write("⚠ Some deliveries failed: list:all\n")
    elif doing != "ok":
        fail(doing)
    arrive(body)
    print("✓ Message sent to " + arguments[2])


def inbox():
    if plan["inbox"] != "ok":
        fail(plan["inbox"])
    lines = open(path("mails.jsonl")).read().splitlines() if os.path.exists(path("mails.jsonl")) else []
    mails = [mail for mail in map(json.loads, lines) if mail["to"] == arguments[2]]
    print(json.dumps(mails) if mails else plan["empty"])


note("calls.jsonl", {{"argv": arguments, "cwd": os.getcwd(), "env": dict(os.environ)}})
if "--help" in arguments:
    print("Usage:\n  gt mail send <address> [flags]\nFlags:\n  -s, --subject string")
    print("\n".join("      %s   about it" % flag for flag in plan["flags"]))
elif arguments[1] == "send":
    send()
else:
    inbox()
'''

#: What `gt mail send` of a version can do.
FLAGS = {"0.5.0": [], "0.12.0": ["--stdin", "--no-notify", "--to"], "1.0.0": ["--stdin", "--from"]}


class FakeGt:
    """The program, what it is to do next, and what it was asked and delivered so far."""

    def __init__(self, directory: Path, version: str = "1.0.0") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._plan: dict[str, Any] = {"behaviours": [], "inbox": "ok", "empty": "[]"}
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
        self._plan |= {"flags": FLAGS[version], "empty": "null" if version == "0.5.0" else "[]"}
        self._write()

    def plan(self, *behaviours: str, inbox: str = "ok") -> None:
        """What the next `gt mail send`s do, one each, then "ok" again.

        "ok", "partial", "hang", "arrive and hang"; anything else is what gt says before it exits 1.
        """
        (self.directory / "taken").unlink(missing_ok=True)
        self._plan |= {"behaviours": behaviours, "inbox": inbox}
        self._write()

    @property
    def mails(self) -> list[dict[str, str]]:
        """Every mail in somebody's inbox, in the order of arrival."""
        return self._lines("mails.jsonl")

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
