"""Forks in place of programs: each of them is what the program would be, were it executed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import warm
from tests.support.programs import PROGRAM

PIPE = subprocess.PIPE
TELLS = """
import json, os, sys
umask = os.umask(0)
print(json.dumps({
    "argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "umask": umask, "beside": sys.path[0],
    "leads": os.getsid(0) == os.getpid(), "parent": os.getppid(), "files": os.listdir("/proc/self/fd"),
}))
print("to stderr", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""
WAITS = "import sys, time\nprint('here', flush=True)\ntime.sleep(600)"
READS = "print(input()[::-1])"
ON_TERMINAL = "import os\nopen('/dev/tty', 'w').write(f'tty {os.isatty(1)}')"


def script(place: Path, text: str) -> Path:
    path = place / "program"
    path.write_text(text)
    return path


def told(place: Path, **more: Any) -> dict[str, Any]:
    """What a program tells of itself, and what it is held against: the same one, executed."""
    path, found = str(script(place, TELLS)), []
    for start, command in (warm.Popen, [path, "3"]), (subprocess.Popen, [sys.executable, path, "3"]):
        with start(command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, text=True, **more) as process:
            out, err = process.communicate(timeout=30)
        assert (3, "to stderr\n") == (process.returncode, err)
        found.append(json.loads(out))
    assert found[1] == found[0]
    return dict(found[0])


def test_it_is_what_would_have_been_executed(tmp_path: Path) -> None:
    """Its arguments, environment, directory, mask and files; and it is a child of ours."""
    env = {"PATH": os.environ["PATH"], "WORD": "ä", "LC_ALL": "C.UTF-8"}
    found = told(tmp_path, cwd=tmp_path, env=env, start_new_session=True, umask=0o027)
    assert (env, str(tmp_path), 0o027) == (found["env"], found["cwd"], found["umask"])
    assert (os.getpid(), True) == (found["parent"], found["leads"])
    before = os.umask(0o077)
    try:
        assert 0o077 == told(tmp_path, env=env)["umask"]
    finally:
        os.umask(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(tmp_path: Path, number: int) -> None:
    """As it ends Python: a traceback for Ctrl-C alone, and the signal is what it died of."""
    with warm.Popen([script(tmp_path, WAITS)], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        assert "here\n" == process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (-number, number == signal.SIGINT) == (process.returncode, "KeyboardInterrupt" in err)


def test_an_error_is_told(tmp_path: Path) -> None:
    """A traceback, and exit code 1."""
    with warm.Popen([script(tmp_path, "1 / 0")], stdout=PIPE, stderr=PIPE, text=True) as process:
        out, err = process.communicate(timeout=30)
    assert (1, "", True) == (process.returncode, out, err.endswith("ZeroDivisionError: division by zero\n"))


def test_it_reads_what_it_is_given(tmp_path: Path) -> None:
    """From a pipe of its own, also beside another one."""
    path = script(tmp_path, READS)
    with (
        warm.Popen([path], stdin=PIPE, stdout=PIPE, text=True) as first,
        warm.Popen([path], stdin=PIPE, stdout=PIPE, text=True) as second,
    ):
        assert ("cba\n", None) == second.communicate("abc\n", timeout=30)
        assert ("zyx\n", None) == first.communicate("xyz\n", timeout=30)


def test_a_terminal_controls_it(tmp_path: Path) -> None:
    """What it is given as standard input is /dev/tty to it."""
    ours, theirs = os.openpty()
    with warm.Popen([script(tmp_path, ON_TERMINAL)], ctty=True, stdin=theirs, stdout=theirs) as process:
        os.close(theirs)
        assert 0 == process.wait(30)
    assert b"tty True" == os.read(ours, 100)
    os.close(ours)


def test_the_installed_program_runs(tmp_path: Path) -> None:
    """The script that pip made, by its own name."""
    with warm.Popen([PROGRAM, "--version"], stdout=PIPE, text=True, cwd=tmp_path) as process:
        out, _ = process.communicate(timeout=30)
    assert (0, True) == (process.returncode, out.startswith("spoolbridge, version "))
