"""The record that every crash test rests on is complete: strace(1) sees the same calls in the same order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spoolbridge.spool import Spool

HERE = Path(__file__).parents[2]
_CALLS = (
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,ftruncate,syncfs"
)
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += 0")
_SAME = {
    "renameat": "rename",
    "renameat2": "rename",
    "unlinkat": "unlink",
    "mkdirat": "mkdir",
    "fdatasync": "fsync",
}

_ACTS = """
import os, sys
from pathlib import Path
from tests.crash import calls
root, trace = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
import signal
signal.signal(signal.SIGIO, signal.SIG_IGN)
from spoolbridge.intake import Intake
from spoolbridge.journal import Journal
from spoolbridge.outgoing import Form
from spoolbridge.spool import Spool
from spoolbridge import atomic
os.mkdir(root / "tmp" / "BEGIN")
calls.record(trace, root=str(root), kill_at=None)
spool = Spool(root)
spool.drop("mayor-villa", b"hello", name="note")
spool.drop("mayor-villa", b"look", name="two", files={"a.png": b"png"})
with spool.at("state") as state:
    journal = Journal(state)
    intake = Intake(spool)
    for settle in ("sent", "failed"):
        claim = intake.claim("mayor-villa")
        journal.tried(claim.id, 5, 1, parts=1, form=Form(), digest="", files=[])
        journal.sent(claim.id, 5, 1, 7, 9)
        claim.sent() if settle == "sent" else claim.failed("no")
"""


def _strace() -> str:
    found = shutil.which("strace")
    if found is None and not os.environ.get("CI"):
        pytest.skip("needs strace: apt-get install -y strace")
    assert found, "strace is missing"
    return found


def test_strace_sees_nothing_that_the_record_lacks(tmp_path: Path) -> None:
    """Two drops, two claims, both ways to settle: every call that changes a name or syncs."""
    root, trace, seen = tmp_path / "spool", tmp_path / "trace", tmp_path / "seen"
    Spool.create(root).close()
    subprocess.run(
        [_strace(), "-f", "-y", "-qq", "-e", f"trace={_CALLS}", "-o", str(seen),
         sys.executable, "-c", _ACTS, str(root), str(trace)],
        check=True, cwd=HERE,
    )  # fmt: skip
    counted = {"fsync", "rename", "unlink", "mkdir", "link", "ftruncate"}
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    recorded = [each["call"] for each in records if each["call"] in counted]
    lines = seen.read_text().partition("BEGIN")[2].splitlines()[1:]
    traced = [_SAME.get(match[1], match[1]) for match in map(_LINE.match, lines) if match]
    assert 20 < len(recorded)
    assert recorded == traced
