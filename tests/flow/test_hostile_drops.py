"""What nobody should drop: each is refused with a reason, or sent as the contract says.

Beside every spool here lies a secret that the bridge could read. It must never reach Discord, a log line
or the spool; nothing outside the spool is changed; and while something odd is dealt with, a good message
in another channel is posted.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge import ready
from spoolbridge.claim import Claim, Content
from spoolbridge.outcome import Closed
from spoolbridge.ready import GRACE, LARGEST, SETTLE, SETTLE_WITHOUT_LEASE, Verdict
from tests.support.live import Live, living, process
from tests.support.tree import tree
from tests.support.waiting import until

CANARY = "the-canary-that-nobody-may-hear"
ID = "20261122T055501.123456Z-k3f9q2x7"
HARMLESS = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-z]{8}(\.[A-Za-z0-9._%-]+)?")
WRITE = "write UTF-8 text, or name the file by its type, such as .png"
COPY = "copy it instead"
ONLY = "a bundle holds body and files/ with at most 10 files, and nothing else"
SYMLINK = ("a symbolic link, which is never followed", "copy the file instead")
ODD = ("not a regular file", "drop a file")
LINKED = ("the bundle holds a link or something else that is not a file", COPY)
LINKED_TWICE = ("in the bundle: the file has a second link", COPY)


def everything(place: Path) -> dict[str, tuple[object, ...]]:
    """What lies below a place, by name: kind, mode, time, and what a file says. Links are not followed."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, _, names in os.walk(place):
        for path in [Path(directory), *(Path(directory) / name for name in names)]:
            status = path.lstat()
            said = path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size < LARGEST else b""
            found[os.path.relpath(path, place)] = (status.st_mode, status.st_mtime_ns, status.st_ino, said)
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory with secrets, in the shape of a bundle too; whatever the test does, it stays as it is."""
    made = tmp_path / "outside"
    (made / "files").mkdir(parents=True)
    for name in ("secret", "body", "files/secret.txt"):
        (made / name).write_text(CANARY)
    return made


@pytest.fixture
async def live(tmp_path: Path, outside: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Live]:
    """A bridge of which the worst is expected: nothing has leaked, and what it logged is lines of text."""
    before = everything(outside)
    with caplog.at_level(logging.DEBUG, "spoolbridge"):
        async with living(tmp_path / "spool", "general", "other") as live:
            yield live
    assert before == everything(outside)
    assert [] == [where for where, said in heard(live, outside, caplog) if CANARY.encode() in said]
    logged = [each for each in caplog.records if each.name.startswith("spoolbridge")]
    assert [] == [said for each in logged if not (said := each.getMessage()).isprintable() or each.exc_info]


def heard(live: Live, outside: Path, caplog: pytest.LogCaptureFixture) -> list[tuple[str, bytes]]:
    """Everything that anybody could read: what was posted, logged, and written in the spool."""
    said = [("log", caplog.text.encode("utf-8", "surrogateescape"))]
    for name in live.emulator.guild.channels:
        for message in live.emulator.guild.history(live.emulator.guild.channel(name).id):
            said.append((name, message.content.encode()))
            said += [(each.filename, each.data) for each in message.attachments]
    own = {each[2] for each in everything(outside).values()}  # a hard link is the attacker's, not a copy
    written = everything(live.spool.root)
    return said + [(path, facts[3]) for path, facts in written.items() if facts[2] not in own]  # type: ignore[misc]


# -- what is refused -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drop:
    """How something gets to a place in the drop box, how long it may stay, and what its `.why` says."""

    what: str
    put: Callable[[Path, Path], object]  # (where to put it, the directory with the secrets)
    why: tuple[str, ...]
    seconds: float = SETTLE
    name: str = ""

    @property
    def at(self) -> str:
        return self.name or ("x.msg" if "bundle" in self.put.__qualname__ else "x")


def holding(data: bytes) -> Callable[[Path, Path], object]:
    return lambda at, _: at.write_bytes(data)


def linked(target: str) -> Callable[[Path, Path], object]:
    return lambda at, outside: at.symlink_to(outside / target)


def fifo(at: Path, _: Path) -> None:
    os.mkfifo(at)


def unix_socket(at: Path, _: Path) -> None:
    directory = os.open(at.parent, os.O_RDONLY)  # its whole path may be longer than a socket's can be
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{directory}/{at.name}")
    finally:
        os.close(directory)


def sparse(at: Path, _: Path) -> None:
    at.touch()
    os.truncate(at, 1 << 40)


def hard_link(at: Path, outside: Path) -> None:
    os.link(outside / "secret", at)


def device(kind: int) -> Callable[[Path, Path], object]:
    return lambda at, _: os.mknod(at, kind | 0o666, os.makedev(1, 3))


def bundle(member: str, put: Callable[[Path, Path], object]) -> Callable[[Path, Path], object]:
    """A bundle whose body is good, and something else in it."""

    def build(at: Path, outside: Path) -> None:
        built = at.parent / ".building"
        (built / "files").mkdir(parents=True)
        (built / "body").write_text("good")
        if member == "files":
            (built / "files").rmdir()
        if member == "body":
            (built / "body").unlink()
        (built / member).parent.mkdir(exist_ok=True)
        put(built / member, outside)
        built.rename(at)

    return build


def many(count: int) -> Callable[[Path, Path], object]:
    def put(at: Path, _: Path) -> None:
        for number in range(count):
            (at.parent / f"{number}.txt").write_text("good")

    return put


def directory(at: Path, _: Path) -> None:
    at.mkdir()


def empty_bundle(at: Path, _: Path) -> None:
    (at / "files").mkdir(parents=True)


TOO_LARGE = f"{1 << 40} bytes, more than the {LARGEST} that Discord takes in all"
WITH_BODY = TOO_LARGE.replace(str(1 << 40), str((1 << 40) + len("good")))
NUL, NO_UTF8 = "byte {} is NUL, perhaps the mark of a crash", "not UTF-8 text: byte {} is {}"
REFUSED = [
    Drop("a symlink to a secret", linked("secret"), SYMLINK),
    Drop("a symlink to nothing", linked("nothing"), SYMLINK),
    Drop("a symlink to a directory", linked("."), SYMLINK),
    Drop("a symlink in our form", linked("secret"), SYMLINK, name=f"{ID}.x"),
    Drop("a symlink that is called a bundle", linked("."), SYMLINK, name="x.msg"),
    Drop("a FIFO", fifo, ODD),
    Drop("a FIFO in our form", fifo, ODD, name=ID),
    Drop("a socket", unix_socket, ODD),
    Drop("a hard link to a secret", hard_link, ("the file has a second link", COPY), GRACE),
    Drop("an empty file", holding(b""), ("the file is empty", "write the message into it"), GRACE),
    Drop("a tebibyte of nothing", sparse, (f"the file has {TOO_LARGE}", "drop a file of at most 25 MiB")),
    Drop("zeros, as after a crash", holding(bytes(4096)), (NUL.format(1), WRITE)),
    Drop("a NUL in a text", holding(b"hello\0"), (NUL.format(6), WRITE)),
    Drop("Latin-1", holding(b"caf\xe9"), (NO_UTF8.format(4, "0xe9"), WRITE)),
    Drop("a lone surrogate", holding(b"\xed\xa0\x80"), (NO_UTF8.format(1, "0xed"), WRITE)),
    Drop("UTF-16", holding("hello".encode("utf-16")), (NO_UTF8.format(1, "0xff"), WRITE)),
    Drop("blanks only", holding(b" \n\t\r\n"), ("the message is empty",)),
    Drop("control characters only", holding(b"\a\b\x1b"), ("the message is empty",)),
    Drop("a directory for body", bundle("body", directory), (f"in the bundle: {ODD[0]}", ODD[1])),
    Drop("a symlink for body", bundle("body", linked("body")), LINKED),
    Drop("a FIFO for body", bundle("body", fifo), (f"in the bundle: {ODD[0]}", ODD[1])),
    Drop("a symlink in a bundle", bundle("files/a", linked("secret")), LINKED),
    Drop("a symlink for files", bundle("files", linked("files")), LINKED),
    Drop("a file for files", bundle("files", holding(b"good")), LINKED),
    Drop("a socket in a bundle", bundle("files/a", unix_socket), LINKED),
    Drop("a directory in files", bundle("files/a", directory), (f"in the bundle: {ODD[0]}", ODD[1])),
    Drop("a directory in a bundle", bundle("more", directory), ("the bundle holds 'more'", ONLY)),
    Drop("a file in a bundle", bundle("a\x1b[2J\nb", fifo), (r"the bundle holds 'a\x1b[2J\nb'", ONLY)),
    Drop("a hard link in a bundle", bundle("files/a", hard_link), LINKED_TWICE, GRACE),
    Drop(
        "a tebibyte in a bundle", bundle("files/a", sparse),
        (f"the bundle has {WITH_BODY}", "drop fewer or smaller files"),
    ),
    Drop("11 files", bundle("files/a", many(11)), ("11 files in one message", "Discord takes 10")),
    Drop("33 files", bundle("files/a", many(33)), ("the bundle holds 33 files", ONLY)),
    Drop("an empty bundle", empty_bundle, ("the bundle is empty", "put body or files/ into it"), GRACE),
]  # fmt: skip
DEVICES = [
    Drop("a character device", device(stat.S_IFCHR), ODD),
    Drop("a block device", device(stat.S_IFBLK), ODD),
    Drop("a device in a bundle", bundle("files/a", device(stat.S_IFCHR)), LINKED),
]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="devices and other users take root: sudo")


@pytest.mark.parametrize(
    "drop", [*REFUSED, *(pytest.param(each, marks=only_root) for each in DEVICES)], ids=lambda drop: drop.what
)
async def test_what_is_refused(drop: Drop, live: Live, outside: Path) -> None:
    """It goes to failed/ as it is, with the reason and what to do; nobody else waits for that."""
    drop.put(live.outgoing / "general" / drop.at, outside)
    await live.alive("other")
    await live.alive("general")
    live.later(drop.seconds)
    reason, *hint, retry = (await live.refused("general"))[0]
    assert drop.why == (reason, *(each.removeprefix("What to do: ") for each in hint))
    assert retry.startswith(f"Retry: mv {live.spool.root}/failed/general/")
    await live.empty()
    assert ["alive"] == live.texts("general")


@only_root
async def test_a_device_is_not_even_opened(live: Live, outside: Path) -> None:
    """Opening one may rewind a tape or start a watchdog."""
    opened: list[object] = []
    real = os.open

    def open_and_tell(path: Any, *more: Any, **others: Any) -> int:
        opened.append(path)
        return real(path, *more, **others)

    device(stat.S_IFCHR)(live.outgoing / "general" / "tape", outside)
    bundle("files/disk", device(stat.S_IFBLK))(live.outgoing / "general" / "x.msg", outside)
    with patch.object(os, "open", open_and_tell):
        live.later(SETTLE)
        await live.refused("general", 2)
    assert "x.msg" in opened
    assert not {"tape", "disk"} & set(opened)


# -- what is sent --------------------------------------------------------------------------------------------

SENT = [
    ("CRLF", "x", holding(b"one\r\ntwo\r\n"), "one\ntwo"),
    ("a byte order mark", "x", holding(b"\xef\xbb\xbfhello"), "hello"),
    ("control characters", "x", holding(b"a\x1b[31mb\a\n"), "a[31mb"),
    ("what looks like a header", "x", holding(b"Subject: not one\n\nhello\n"), "Subject: not one\n\nhello"),
    ("a path", "x", holding(b"/etc/passwd\n@/etc/passwd\n"), "/etc/passwd\n@/etc/passwd"),
    ("a text that is called a picture", "x.png", holding(b"hello"), "hello"),
    ("a picture", "x.png", holding(b"\x89PNG\r\n\x1a\n\0"), ""),
]


@pytest.mark.parametrize(("name", "put", "text"), [row[1:] for row in SENT], ids=[row[0] for row in SENT])
async def test_what_is_sent(
    name: str, put: Callable[[Path, Path], object], text: str, live: Live, outside: Path
) -> None:
    """Odd, but text, or a file of a known kind."""
    put(live.outgoing / "general" / name, outside)
    live.later(SETTLE)
    await live.posted("general", text)
    assert [[] if text else [name]] == live.files("general")


NAMES = [
    b"new\nline", b"\x1b[2Jescape", "\u202egnp.exe".encode(), b"\xff\xfe", b"l" * 255, b"-rf", b"a b",
    b"$(id)", b"`id`", b"'\"\\", b"%s%n{}", b"..%2f..", b"~root", b"?*[a]", "☃.txt".encode(), b"CON", b"x:y",
]  # fmt: skip


async def test_odd_names(live: Live) -> None:
    """Any name will do for a file; from the claim on it is plain ASCII and fits wherever it is put."""
    box = os.fsencode(live.outgoing / "general")
    for name in NAMES:
        with open(os.path.join(box, name), "wb") as file:
            file.write(b"called %d" % NAMES.index(name))
    live.later(SETTLE)
    visible = [name for name in NAMES if not name.startswith(b".")]
    await until(lambda: len(live.texts("general")) == len(visible))
    assert {f"called {NAMES.index(name)}" for name in visible} == set(live.texts("general"))
    await live.empty()
    (names,) = tree(live.spool.root, "sent").values()
    assert len(visible) == len([each for each in names if HARMLESS.fullmatch(each) and len(each) < 200])


async def test_odd_names_that_are_refused(live: Live) -> None:
    """Their `.why` is three lines of text, and its command, given to a shell, retries that very entry."""
    box = os.fsencode(live.outgoing / "general")
    for name in NAMES:
        with open(os.path.join(box, name), "wb") as file:
            file.write(b"\0")
    live.later(SETTLE)
    visible = [name for name in NAMES if not name.startswith(b".")]
    for why in await live.refused("general", len(visible)):
        assert 3 == len(why)
        assert all(line.isprintable() for line in why)
        await retry(why)
    await live.refused("general", len(visible))


async def retry(why: list[str], **words: str) -> None:
    """Give the command of a `.why` to a shell, as its reader would."""
    command = why[-1].removeprefix("Retry: ")
    for word, instead in words.items():
        command = command.replace(word, instead)
    shell = await asyncio.create_subprocess_exec("sh", "-c", command, stderr=asyncio.subprocess.PIPE)
    _, complaint = await shell.communicate()
    assert (b"", 0) == (complaint, shell.returncode)


CHANNELS = [
    b"new\nline", b"x\nRetry: rm -rf ~", b"\x1b[2J", "\u202egnp".encode(), b"\xff\xfe", b"c" * 255, b"-rf",
    b"$(id)", b"'\"", b"a b", b"%s", b"x.msg", b"~",
]  # fmt: skip


@pytest.mark.parametrize("channel", CHANNELS, ids=range(len(CHANNELS)))
async def test_a_channel_with_an_odd_name(channel: bytes, live: Live, outside: Path) -> None:
    """No name of a directory gets anywhere: not into the log, not into the command that retries."""
    directory = os.path.join(os.fsencode(live.outgoing), channel)
    os.mkdir(directory)
    with open(os.path.join(directory, b"note"), "wb") as file:
        file.write(b"lost my way")
    os.symlink(outside / "secret", os.path.join(directory, b"link"))
    live.later(SETTLE)
    whys = await live.refused(os.fsdecode(channel), 2)
    assert all(3 == len(why) and all(map(str.isprintable, why)) for why in whys)
    await live.alive("other")
    (why,) = [why for why in whys if why[0].startswith("no channel")]
    await retry(why, CHANNEL="general")
    await live.posted("general", "lost my way")


async def test_what_is_left_alone(live: Live) -> None:
    """A directory that is no bundle, however deep, and whatever is nobody's message."""
    box = live.outgoing / "general"
    deep = box / "/".join(["d"] * 100)
    deep.mkdir(parents=True)
    (deep / "x").write_text("deep down")
    endings = ("tmp", "swp", "swx", "part", "partial", "crdownload", "filepart", "why")
    for name in [".x", "x~", "#x#", "4913", "not-a-bundle/body", *(f"x.{each}" for each in endings)]:
        (box / name).parent.mkdir(exist_ok=True)
        (box / name).write_text("nobody's")
    before = everything(box)
    live.later(10 * GRACE)
    await live.alive("other")
    assert [] == live.texts("general")
    assert before == everything(box)


async def test_strays(live: Live, outside: Path) -> None:
    """Whatever lies directly in outgoing/ goes to failed/ itself; a link there is no way out either."""
    (live.outgoing / "note\n").write_text("for whom?")
    (live.outgoing / "link").symlink_to(outside)
    (live.outgoing / "secret").symlink_to(outside / "secret")
    os.mkfifo(live.outgoing / "fifo")
    unix_socket(live.outgoing / "socket", outside)
    live.later(SETTLE)
    whys = await live.refused("", 5)
    assert ["dropped directly in outgoing/"] * 5 == [why[0] for why in whys]
    await live.alive("general")


async def test_text_does_not_reach_the_log(live: Live) -> None:
    """What a refusal quotes from a file is quoted: no line of the log, or of a reason, is anybody else's."""
    texts = [
        f"Spoolbridge: 1\n{key}\n\nhello"
        for key in (
            "\x1b[2J: x", "Evil\r2026-11-23 00:00:00 CRITICAL: x", "Reply-To: 1\x1b]0;title\a", "\u202e: x",
            "Reply-To: \u2028 2026-11-23 CRITICAL", "no colon\u0085 here", f"{CANARY * 9}: x",
        )
    ]  # fmt: skip
    for number, text in enumerate(texts):
        (live.outgoing / "general" / str(number)).write_text(text.replace(CANARY, "k"), newline="")
    live.later(SETTLE)
    for why in await live.refused("general", len(texts)):
        assert 3 == len(why)
        assert all(line.isprintable() and len(line) < 400 for line in why)
    assert [] == live.texts("general")


# -- what changes while it is looked at ----------------------------------------------------------------------


def a_link(at: Path, outside: Path) -> None:
    at.rename(at.with_name(".gone"))
    at.symlink_to(outside / "secret")


def a_pipe(at: Path, outside: Path) -> None:
    at.unlink()
    os.mkfifo(at)


def a_link_to_a_directory(at: Path, outside: Path) -> None:
    at.rename(at.with_name(".gone"))
    at.symlink_to(outside)


def nothing(at: Path, outside: Path) -> None:
    at.unlink()


def a_second_link(at: Path, outside: Path) -> None:
    at.unlink()
    os.link(outside / "secret", at)


def more(at: Path, outside: Path) -> None:
    at.write_bytes(bytes(1000))


SWAPS = [a_link, a_pipe, a_link_to_a_directory, nothing, a_second_link, more]


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
async def test_swapped_between_the_look_and_the_claim(
    swap: Callable[[Path, Path], None], live: Live, outside: Path
) -> None:
    """What was found good and is something else by now is not read, and keeps nobody back."""
    at = live.outgoing / "general" / "x"
    examine = ready.examine

    def examine_and_swap(name: str, **more: Any) -> Verdict:
        verdict = examine(name, **more)
        if name == "x" and verdict is True and not swapped:
            swap(at, outside)
            swapped.append(name)
        return verdict

    swapped: list[str] = []
    with patch.object(ready, "examine", examine_and_swap):
        at.write_text("good")
        live.later(SETTLE)
        await until(lambda: swapped)
        await live.alive("other")
        await live.alive("general")
        live.later(GRACE)
        await live.empty()
    assert ["alive"] == live.texts("general")
    assert (0 if swap is nothing else 1) == len(live.failed("general"))


@pytest.mark.parametrize("swap", SWAPS, ids=lambda swap: swap.__name__)
async def test_swapped_after_the_claim(
    swap: Callable[[Path, Path], None], live: Live, outside: Path
) -> None:
    """Nor is what somebody put in its place in sending/."""
    read = Claim.read

    def swap_and_read(claim: Claim, at: int | None = None) -> Content | None:
        if claim.rest == "x" and not swapped:
            swap(live.spool.root / "sending" / "general" / claim.name, outside)
            swapped.append(claim.name)
        return read(claim, at)

    swapped: list[str] = []
    with patch.object(Claim, "read", swap_and_read):
        (live.outgoing / "general" / "x").write_text("good")
        live.later(SETTLE)
        await until(lambda: swapped)
        await live.alive("other")
        await live.alive("general")
        await live.empty()
    assert ["alive"] == live.texts("general")
    assert (0 if swap is nothing else 1) == len(live.failed("general"))


@pytest.mark.parametrize("member", ["body", "files/a", "files", "stray"])
async def test_a_bundle_that_changes_under_the_look(member: str, live: Live, outside: Path) -> None:
    """Neither a link that came in nor a stray file ends anything but this bundle."""
    at = live.outgoing / "general" / "x.msg"
    examine = ready.examine

    def examine_and_swap(name: str, **more: Any) -> Verdict:
        verdict = examine(name, **more)
        if name == at.name and verdict is True and not swapped:
            if (at / member).exists():
                os.rename(at / member, live.spool.root / "tmp" / "gone")
            (at / member).symlink_to(outside / (member if member != "files/a" else "secret"))
            swapped.append(name)
        return verdict

    swapped: list[str] = []
    with patch.object(ready, "examine", examine_and_swap):
        bundle("files/a", holding(b"good"))(at, outside)
        live.later(SETTLE)
        await until(lambda: swapped)
        await live.alive("other")
        await live.alive("general")
        live.later(SETTLE)
        await live.empty()
    assert ["alive"] == live.texts("general")
    assert 1 == len(live.failed("general"))


async def test_a_channel_swapped_for_a_link_while_it_is_looked_into(live: Live, outside: Path) -> None:
    """The descriptor is held: what it finds is the old directory's. The link itself is refused."""
    box = live.outgoing / "general"
    examine = ready.examine

    def swap_and_examine(name: str, **more: Any) -> Verdict:
        if not swapped:
            swapped.append(name)
            box.rename(live.outgoing / ".old")
            box.symlink_to(outside)
        return examine(name, **more)

    swapped: list[str] = []
    with patch.object(ready, "examine", swap_and_examine):
        (box / "secret").write_text("good")
        live.later(SETTLE)
        await live.posted("general", "good")
    await live.refused("")
    assert not box.exists()
    await live.alive("other")


async def test_a_channel_swapped_for_a_link_while_its_message_is_under_way(live: Live, outside: Path) -> None:
    """Put back to outgoing/, the entry does not follow the link; it is posted once there is a drop box."""
    box = live.outgoing / "general"
    post = live.posting.post

    async def swap_and_refuse(*claimed: Any) -> Any:
        if not swapped:
            swapped.append(claimed)
            box.rmdir()
            box.symlink_to(outside)
            return Closed("not now", 50001)
        return await post(*claimed)

    swapped: list[Any] = []
    with patch.object(live.posting, "post", swap_and_refuse):
        await asyncio.to_thread(live.spool.drop, "general", b"good")
        await live.refused("")
        await live.alive("other")
        await live.posted("general", "good")


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases on this system")
async def test_a_lease_of_somebody_else(live: Live) -> None:
    """Who keeps a lease on his file is waited for; the others in his channel are not kept back."""
    path = live.outgoing / "general" / "x"
    path.write_text("good")
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        live.later(SETTLE)
        await live.alive("general")
        await live.empty({"outgoing/general": ["x"]})
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(fd)
    await live.posted("general", "alive", "good")


# -- what belongs to somebody else ---------------------------------------------------------------------------

NOBODY = 65534
#: The service as any user: root without what makes it root.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@only_root
async def test_files_of_other_users(tmp_path: Path) -> None:
    """What may be read is sent; what may not is refused; what may not even be moved keeps back only itself.
    No lease is to be had on them, so they settle for two seconds."""
    channels = ("readable", "private", "immovable", "general")
    async with process(tmp_path, *channels, prefix=UNPRIVILEGED) as service:
        boxes = service.spool / "outgoing"
        (boxes / "immovable" / "x.msg").mkdir()
        for name in ("readable/x", "private/x", "immovable/x.msg/body"):
            path = boxes / name
            path.write_text("theirs")
            os.chown(path, NOBODY, NOBODY)
            path.chmod(0o600 if path.parent.name == "private" else 0o644)
        os.chown(boxes / "immovable" / "x.msg", NOBODY, NOBODY)
        began = time.monotonic()
        for channel in ("general", "immovable"):
            (boxes / channel / "note").write_text("ours")
        await until(lambda: service.texts("general") and service.texts("immovable"))
        await until(lambda: service.texts("readable"))
        settled = time.monotonic() - began
        await until(lambda: list((service.spool / "failed" / "private").glob("*.why")))
        await until(lambda: service.status()["channels"]["immovable"].get("disk"))
        said = service.status()["channels"]["immovable"]["disk"]
        (why,) = (service.spool / "failed" / "private").glob("*.why")
        assert why.read_text("utf-8").splitlines()[0].endswith("not readable by the service (uid 0)")
        assert "Permission denied: 'x.msg'" == said
        assert SETTLE_WITHOUT_LEASE <= settled
        assert ["theirs"] == service.texts("readable")
        assert ["ours"] == service.texts("immovable") == service.texts("general")
        assert ["body"] == os.listdir(boxes / "immovable" / "x.msg")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; see the test above")
async def test_an_unreadable_file(live: Live) -> None:
    """It has two seconds, for its writer may be about to change the mode; then it is refused."""
    path = live.outgoing / "general" / "x"
    path.write_text("nobody's")
    path.chmod(0)
    await live.alive("general")
    live.later(SETTLE_WITHOUT_LEASE)
    (why,) = await live.refused("general")
    assert f"not readable by the service (uid {os.geteuid()})" == why[0]
