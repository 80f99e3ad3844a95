"""What a power cut may leave of a run of system calls, on two kinds of disk.

`journalled`: the file system keeps the order of all changes of names, and any fsync makes all earlier
ones durable (ext4, xfs). `unordered`: each directory is its own, and only its own fsync makes its
names durable (what POSIX promises). On both, a file's content is durable up to its last fsync, and
anything later may be there or not. A rename happens whole or not at all; a file system on which it
can be cut in half is out of scope.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

_NAMING = ("open", "mkdir", "rename", "unlink", "link")


@dataclass
class Snapshot:
    """A tree as it is: names → inodes, and what the inodes hold (None: a directory)."""

    names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes | None] = field(default_factory=dict)
    #: Files that a naive writer never synced: until somebody does, they may come back empty.
    unsynced: frozenset[int] = frozenset()

    @classmethod
    def of(cls, root: Path) -> Snapshot:
        made = cls()
        for place, _, files in os.walk(root):
            status = os.stat(place)
            made.names[os.path.relpath(place, root)] = status.st_ino
            made.content[status.st_ino] = None
            for name in files:
                path = Path(place) / name
                inode = path.lstat().st_ino
                made.names[os.path.relpath(path, root)] = inode
                made.content[inode] = path.read_bytes()
        return made

    def key(self) -> tuple[tuple[str, bytes | None], ...]:
        """Equal for trees that a program cannot tell apart."""
        return tuple(sorted((name, self.content.get(inode, b"")) for name, inode in self.names.items()))

    def restore(self, root: Path) -> None:
        """Make the directory `root` hold this tree and nothing else."""
        for child in root.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        for name in sorted(self.names):
            held = self.content.get(self.names[name], b"")
            if held is None:
                (root / name).mkdir(exist_ok=True)
        for name, inode in self.names.items():
            held = self.content.get(inode, b"")
            if held is not None and (root / name).parent.is_dir():
                (root / name).write_bytes(held)


@dataclass(frozen=True)
class _Change:
    """One change of names: the call, and the directories whose entries it touches."""

    at: int
    call: dict[str, Any]
    inode: int

    @property
    def directories(self) -> set[str]:
        paths = [self.call["path"], *([self.call["to"]] if "to" in self.call else [])]
        return {os.path.dirname(path) or "." for path in paths}


def after_power_cut(before: Snapshot, trace: list[dict[str, Any]], model: str) -> Iterator[Snapshot]:
    """Every tree that the disk may hold, once each."""
    trace = _numbered_anew(before, trace)
    changes, syncs = _changes(trace), _syncs(trace)
    seen = set()
    for kept in _kept(changes, syncs, model):
        for content in _contents(before, trace):
            tree = _applied(
                before, [change for change, keep in zip(changes, kept, strict=True) if keep], content
            )
            if tree.key() not in seen and not _still_its_writers(before, tree):
                seen.add(tree.key())
                yield tree


def _numbered_anew(before: Snapshot, trace: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """File systems use an inode's number again once it is free; the model must not."""
    number: dict[int, int] = {}
    unused = max(before.content, default=0) + max((int(each.get("inode", 0)) for each in trace), default=0)
    found = []
    for call in trace:
        if call["call"] in ("opened", "mkdired"):
            unused += 1
            number[call["inode"]] = unused
        inode = call.get("inode")
        found.append(call if inode is None else {**call, "inode": number.get(inode, inode)})
    return found


def _changes(trace: list[dict[str, Any]]) -> list[_Change]:
    found = []
    for at, call in enumerate(trace):
        if call["call"] in _NAMING:
            made = trace[at + 1] if call["call"] in ("open", "mkdir") and at + 1 < len(trace) else call
            if made is call or made["call"] in ("opened", "mkdired"):
                found.append(_Change(at, call, int(made.get("inode", 0))))
    return found


def _syncs(trace: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(at, call["path"]) for at, call in enumerate(trace) if call["call"] == "fsync"]


def _kept(changes: list[_Change], syncs: list[tuple[int, str]], model: str) -> Iterator[tuple[bool, ...]]:
    """The sets of changes that may have survived, each in the order of the calls."""
    if model == "journalled":
        last = max((at for at, _ in syncs), default=-1)
        least = sum(change.at < last for change in changes)
        for count in range(least, len(changes) + 1):
            yield tuple(place < count for place in range(len(changes)))
        return
    sure = [any(at > each.at and path in each.directories for at, path in syncs) for each in changes]
    open_ones = [place for place, each in enumerate(sure) if not each]
    for choice in product((False, True), repeat=len(open_ones)):
        kept = list(sure)
        for place, keep in zip(open_ones, choice, strict=True):
            kept[place] = keep
        if _in_order(changes, kept):
            yield tuple(kept)


def _in_order(changes: list[_Change], kept: list[bool]) -> bool:
    """Within one directory a later change never survives an earlier one."""
    lost: set[str] = set()
    for change, keep in zip(changes, kept, strict=True):
        if keep and change.directories & lost:
            return False
        if not keep:
            lost |= change.directories
    return True


def _still_its_writers(before: Snapshot, tree: Snapshot) -> bool:
    """Whether an unsynced file was lost before anybody took it over: its writer's loss, not ours."""
    return any(
        not tree.content[inode] and name.startswith("outgoing/")
        for name, inode in tree.names.items()
        if inode in before.unsynced
    )


def _contents(before: Snapshot, trace: list[dict[str, Any]]) -> Iterator[dict[int, bytes]]:
    """What the files may hold: up to the last fsync surely, and all, or none, of what came later."""
    whole: dict[int, bytes] = {inode: before.content[inode] or b"" for inode in before.unsynced}
    durable: dict[int, bytes] = dict.fromkeys(before.unsynced, b"")
    for call in trace:
        inode = call.get("inode", 0)
        held = whole.get(inode, before.content.get(inode) or b"")
        if call["call"] == "write":
            whole[inode] = held[: call["offset"]] + base64.b64decode(call["data"])
        elif call["call"] == "ftruncate":
            whole[inode] = held[: call["length"]]
        elif call["call"] == "fsync" and inode in whole:
            durable[inode] = whole[inode]
    unsure = [inode for inode, held in whole.items() if durable.get(inode) != held]
    for choice in product((False, True), repeat=len(unsure)):
        lost = {inode for inode, keep in zip(unsure, choice, strict=True) if not keep}
        yield {
            inode: durable.get(inode, before.content.get(inode) or b"") if inode in lost else held
            for inode, held in whole.items()
        }


def _applied(before: Snapshot, changes: list[_Change], content: dict[int, bytes]) -> Snapshot:
    tree = Snapshot(dict(before.names), {**before.content, **content})
    for change in changes:
        call, path = change.call["call"], change.call["path"]
        if call == "unlink":
            tree.names.pop(path, None)
            continue
        if call == "rename":
            tree.names.pop(path, None)
            path = change.call["to"]
        elif call == "link":
            path = change.call["to"]
        tree.names[path] = change.inode
        tree.content.setdefault(change.inode, None if call == "mkdir" else b"")
    return tree
