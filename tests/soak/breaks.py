"""That the soak can fail: the product is broken in a copy of the tree, and the soak has to say what.

    python -m tests.soak.breaks            every break (a quarter of an hour or so)
    python -m tests.soak.breaks NAME …     those with that word in their name

Each is an exact piece of the product's text and what stands there instead, as in `tests/crash/guards.py`.
That every piece still stands there, once, is a test of the ordinary run.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.broken import ROOT, broken, environment


@dataclass(frozen=True)
class Break:
    """`instead` takes the place of `text` in the module; the soak then prints `says`."""

    name: str
    module: str
    text: str
    instead: str
    says: str
    hours: float = 1.0

    @property
    def path(self) -> Path:
        return ROOT / "spoolbridge" / self.module


BREAKS = (
    Break(
        "a settlement is left out",
        "clerk.py", "step.settled = wish.settle.leave(step.settling)", "pass", "still lies in",
    ),
    Break(
        "a message is taken for sent before it is",
        "posting.py", "outcome = await self._tries.until_sure(place, known)", "outcome = Sent(1)",
        "counts as sent, and was not posted",
    ),
    Break(
        "the nonce is not enforced",
        "outgoing.py", '"enforce_nonce": True', '"enforce_nonce": False', "was posted 2 times",
    ),
    Break(
        "an entry that fails is removed",
        "claim.py", 'return self._settle(f"failed/{self.channel}", name)',
        "return os.unlink(self._root / 'sending' / self.channel / self.name) or name",
        "is nowhere",
    ),
    Break(
        "a reason is left out",
        "claim.py", "explain(at, name, text)\n            self._explained", "self._explained",
        "without a reason", 3.0,
    ),
    Break(
        "the last comes first",
        "drop_box.py", "key=self._place_of)", "key=self._place_of, reverse=True)", "came behind", 2.0,
    ),
    Break(
        "the end of a page is passed over",
        "poller.py", "        messages, upto, halt = await self._whole(place, page, list(positions))\n",
        "        messages, upto, halt = await self._whole(place, page, list(positions))\n"
        "        messages = messages[:2]\n", ", has 0 files",
    ),
    Break(
        "what was handed over is not listed",
        "cursor.py",
        "self._handed.record(self._delivery, self._channel_id, filterfalse(begun.seen, done))", "pass",
        "audit: ",
    ),
    Break(
        "bots are let in",
        "access.py", "wanted = rule.bots if isinstance(rule.bots, bool) else sender in rule.bots",
        "wanted = True", "is not for agents",
    ),
    Break(
        "a bug in a flow",
        "bulletin.py", "        told = facts(parts)\n",
        "        told = facts(parts)\n        1 // (time.time() % 2000 > 5)\n", "ended by itself",
    ),
    Break(
        "a bug in a channel",
        "poller.py", "self._emptied.weigh(", "self._emptied.weighs(", "the log says",
    ),
    Break(
        "a descriptor is forgotten",
        "atomic.py", "        yield fd\n    finally:\n        os.close(fd)",
        "        yield fd\n    finally:\n        path == 'tmp' or os.close(fd)", "files grew",
    ),
    Break(
        "a thread is forgotten",
        "watcher.py", "reader.stop()\n            reader.join()", "pass", "of the thread",
    ),
    Break(
        "memory is kept",
        "dispatcher.py", "self.parked.pop(claim.channel, None)",
        "log.__dict__.setdefault('kept', []).append(bytearray(20_000))", "rss grew", 8.0,
    ),
)  # fmt: skip


def said(what: Break) -> str:
    """What a soak prints in a copy of the tree that is broken so."""
    with broken(what.module, what.text, what.instead, name=what.name) as copy:
        command = [sys.executable, "-m", "tests.soak", "--hours", str(what.hours)]
        done = subprocess.run(
            command, cwd=copy, env=environment(copy), text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout if done.returncode == 1 else ""



def main(names: list[str]) -> int:
    green = 0
    for each in BREAKS:
        if not names or any(name in each.name for name in names):
            red = any(line.startswith("WRONG: ") and each.says in line for line in said(each).splitlines())
            green += not red
            print(f"{'red  ' if red else 'GREEN'}  {each.name}", flush=True)
    return min(green, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
