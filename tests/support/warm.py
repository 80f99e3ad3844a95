"""Python programs without their start: forks of a process that has imported whatever they would.

The installed program takes a third of a second of processor time to import what `run` needs, and more for
`mcp`. Most tests that start it ask what it does and not how it starts; those that ask that execute it
(`faces/test_start_up.py`, `faces/test_cli.py`, `bench/`). A fork is a process like any other: it has its own
signals, files and environment, its own place in the tree of processes, and it ends as Python ends.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_MOST = 1 << 20  # bytes of one request
_SET_CHILD_SUBREAPER = 36  # prctl(2)
#: What those import only when they run, and what the watcher and asyncio do.
_MORE = ("concurrent.futures.thread", "encodings.idna", "watchdog.observers.inotify_c")
_libc = ctypes.CDLL(None, use_errno=True)


class Popen(subprocess.Popen[Any]):
    """As subprocess.Popen, for `args` that begin with the path of a Python program, found as it is named.

    `ctty`: standard input is a terminal, and becomes the one that controls it.
    """

    def __init__(self, args: Sequence[str | Path], *, ctty: bool = False, **more: Any) -> None:
        self._ctty = ctty
        super().__init__([str(each) for each in args], **more)

    def _execute_child(self, args: list[str], *more: Any) -> None:
        """In place of fork and exec: what subprocess gives is all that it would need for both."""
        _, _, _, _, cwd, env, _, _, _, *files = more[:15]
        _, _, _, _, umask, new_session, _ = more[15:]
        theirs = [files[0], files[3], files[5]]
        request = {
            "args": args, "cwd": str(cwd or os.getcwd()), "env": dict(os.environ if env is None else env),
            "umask": _umask() if umask < 0 else umask, "session": new_session or self._ctty,
            "ctty": self._ctty,
        }  # fmt: skip
        self.pid = _fork_of(request, [own if fd < 0 else fd for own, fd in enumerate(theirs)])
        self._child_created = True
        self._close_pipe_fds(*files)  # type: ignore[attr-defined]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# -- in the process of the tests ---------------------------------------------------------------------

_lock = threading.Lock()
_server: tuple[subprocess.Popen[bytes], socket.socket] | None = None


def _fork_of(request: dict[str, Any], files: list[int]) -> int:
    """The process id of a child of this process."""
    with _lock:
        talk = _talk()
        # Who ends leaves its children to the next of its forebears that adopts: that is how the fork of a
        # fork becomes a child of ours. For this instant only: other orphans are not meant.
        _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(talk, [json.dumps(request).encode()], files)
            answer = talk.recv(32)
        finally:
            _libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    if not answer:
        raise RuntimeError("the process that forks programs has ended")
    return int(answer)


def _talk() -> socket.socket:
    global _server
    if _server is None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())], cwd=_ROOT, pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        _server = process, ours
        atexit.register(_end)
    return _server[1]


def _end() -> None:
    assert _server is not None
    process, talk = _server
    talk.close()
    process.wait()


# -- in the process that forks -----------------------------------------------------------------------


def main(talk: socket.socket) -> None:
    import spoolbridge

    for each in pkgutil.walk_packages(spoolbridge.__path__, "spoolbridge."):
        if not each.name.endswith("__main__"):
            import_module(each.name)
    for name in _MORE:
        import_module(name)
    gc.freeze()  # a collection in a fork would copy every page of these
    while True:
        data, files, _, _ = socket.recv_fds(talk, _MOST, 3)
        if not data:
            return
        told, tell = os.pipe()
        if (middle := os.fork()) == 0:
            between = os.getpid()
            if (program := os.fork()) == 0:
                for fd in (told, tell, talk.detach()):
                    os.close(fd)
                while os.getppid() == between:
                    time.sleep(0.0005)  # nothing tells who has been adopted
                _become(json.loads(data), files)
                return
            os.write(tell, str(program).encode())
            os._exit(0)
        os.waitpid(middle, 0)  # from now on it is the child of who asked
        talk.send(os.read(told, 32))
        for fd in (told, tell, *files):
            os.close(fd)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Be that program, to its end."""
    if request["session"]:
        os.setsid()
    for own, fd in enumerate(files):
        os.dup2(fd, own)
        os.close(fd)
    if request["ctty"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.stdin = _stream(0, "r")
    sys.stdout = _stream(1, "w", buffering=1 if os.isatty(1) else -1)
    sys.stderr = _stream(2, "w", buffering=1, errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    sys.argv = request["args"]
    sys.path[0] = os.path.dirname(sys.argv[0])  # for it was the directory of work that this process began in
    runpy.run_path(sys.argv[0], run_name="__main__")


def _stream(fd: int, mode: str, **more: Any) -> Any:
    """A new one in place of what was made for another file."""
    return open(fd, mode, encoding="utf-8", closefd=False, **more)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
