"""A disk that is full, has no inodes, turns read-only or fails: real file systems, real errors.

Nothing is posted without its durable `try`, nothing vanishes, whoever looks is told in words, and
when there is room again the work goes on by itself. After EIO nothing can be believed: the service ends.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import mailbox
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from spoolbridge import atomic, doctor, status
from spoolbridge.attachments import Attachments
from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.cdn import Cdn
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolError
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import Poller
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from tests.support import programs
from tests.support.bridge import MESSAGES, Bridge, bridging
from tests.support.clock import FakeClock
from tests.support.programs import PATIENCE, Running, ran
from tests.support.standing import looked
from tests.support.tree import contents
from tests.support.waiting import until, wait_until

CHANNEL = "mayor-villa"
SIZE = "96m"  # more than what doctor calls nearly full
FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)
FAILS = os.strerror(errno.EIO)


# -- file systems ------------------------------------------------------------------------------------------


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """What mount(8) makes of these options, at `place`; skipped where one may not mount, but not in CI."""
    place.mkdir()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        assert "CI" not in os.environ, done.stderr
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def tmpfs(place: Path, *, inodes: int = 0) -> Iterator[Path]:
    """One of 96 MiB, which it takes only when it is filled, and of so many files (0: any number)."""
    limits = f"size={SIZE},nr_inodes={inodes}"
    with mounted(place, "-t", "tmpfs", "-o", limits, "tmpfs") as disk:
        yield disk


def take_all_room(disk: Path) -> None:
    """Until not a byte more can be written to a new page, whatever was given back since the last time."""
    with open(disk / "ballast", "ab", buffering=0) as ballast:
        taken, left = os.fstat(ballast.fileno()).st_size, os.statvfs(disk)
        if left.f_bavail:
            os.posix_fallocate(ballast.fileno(), taken, left.f_bavail * left.f_frsize)
        with pytest.raises(OSError, match=FULL):
            while True:
                ballast.write(b"x" * 4096)


def take_all_inodes(disk: Path) -> None:
    """Until not one more file can be made."""
    (disk / "many").mkdir()
    with pytest.raises(OSError, match=FULL):
        for number in range(10_000):
            (disk / "many" / str(number)).touch()


def make_room(disk: Path) -> None:
    """An operator removes what took it."""
    (disk / "ballast").unlink(missing_ok=True)
    shutil.rmtree(disk / "many", ignore_errors=True)


# -- a service on one of them ------------------------------------------------------------------------------


class World:
    """An imaginary guild, and a spool on a disk that gets into trouble."""

    def __init__(self, emulator: Emulator, disk: Path, desk: Path) -> None:
        self.emulator, self.disk, self.desk = emulator, disk, desk
        self.root = disk / "spool"
        self.spool = Spool.create(self.root)
        channel_id = emulator.add_channel(CHANNEL)
        (self.root / "discord-channels.json").write_text(json.dumps({CHANNEL: str(channel_id)}))
        self.started = 0

    @property
    def env(self) -> dict[str, str]:
        return {
            "SPOOLBRIDGE_API_URL": self.emulator.api_url, "DISCORD_BOT_TOKEN": self.emulator.token,
            "SPOOLBRIDGE_SPOOL": str(self.root), "SPOOLBRIDGE_POLL_INTERVAL": "0.1",
        }  # fmt: skip

    @property
    def settings(self) -> Settings:
        root = self.root
        return Settings(
            spool=root, channels=root / "discord-channels.json", inbox=root / "discord-inbox.jsonl",
            token=self.emulator.token, api_url=self.emulator.api_url, gt="off",
        )  # fmt: skip

    def serving(self) -> Running:
        """`spoolbridge run`, its log in a directory of its own on another disk."""
        self.started += 1
        place = self.desk / str(self.started)
        place.mkdir()
        return Running("run", cwd=place, env=self.env)

    async def warm(self, *, mail: int = 1) -> None:
        """One message each way, so that everything is there that the first ones make."""
        self.spool.drop(CHANNEL, b"warm")
        await self.emulator.posted(CHANNEL, timeout=PATIENCE)
        await until(lambda: self.at_rest() and len(self.cursors()) == 2, PATIENCE)
        self.emulator.say(CHANNEL, "warm")
        await until(lambda: (mail, mail) == (len(self.filed()), len(self.lines())), PATIENCE)

    def hold(self) -> None:
        (self.root / "outgoing" / CHANNEL / ".hold").touch()

    def go_on(self) -> None:
        """No hold any more; by a rename, which needs no room and is noticed at once."""
        (self.root / "outgoing" / CHANNEL / ".hold").rename(self.root / "outgoing" / CHANNEL / ".off")

    async def text_of(self, command: str, *more: str) -> str:
        """What a command prints."""
        return (await asyncio.to_thread(ran, command, *more, cwd=self.desk, env=self.env)).out

    # -- who looks -------------------------------------------------------------------------------------

    def at_rest(self) -> bool:
        names = [*self.spool.names(f"outgoing/{CHANNEL}"), *self.spool.names(f"sending/{CHANNEL}")]
        return all(name.startswith(".") for name in names)

    def texts(self) -> list[str]:
        own = str(self.emulator.guild.bot.id)
        found = self.emulator.messages(CHANNEL)
        return [each["content"] for each in found if each["author"]["id"] == own]

    def said(self) -> list[int]:
        own = str(self.emulator.guild.bot.id)
        found = self.emulator.messages(CHANNEL)
        return [int(each["id"]) for each in found if each["author"]["id"] != own]

    def cursors(self) -> list[str]:
        return self.spool.names("state/cursors")

    def filed(self) -> list[int]:
        box = mailbox.Maildir(self.root / "incoming" / CHANNEL, create=False)
        return [int(box[key]["X-Discord-Message-Id"]) for key in sorted(box.keys())]

    def lines(self) -> list[int]:
        path = self.root / "discord-inbox.jsonl"
        text = path.read_text("utf-8") if path.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines()]

    def tried(self) -> set[str]:
        """The IDs that the journal has a `try` of."""
        lines = (self.root / "state" / "journal.jsonl").read_text("utf-8").splitlines()
        return {each["id"] for each in map(json.loads, lines) if each["kind"] == "try"}

    def remark(self) -> dict[str, Any]:
        """What status.json says of the channel."""
        return dict(looked(self.spool)["channels"][CHANNEL])

    def findings(self) -> list[str]:
        """What doctor finds without Discord, but that the spool lies on a tmpfs."""
        found = [each.what for each in doctor.offline(self.settings)]
        return [what for what in found if not what.endswith(" lies on tmpfs")]

    async def assert_all_is_well(self, texts: Sequence[str]) -> None:
        """Everything went out once, in order, and came in once; STATUS and doctor have nothing to tell."""
        await until(lambda: self.at_rest() and self.said() == self.filed() == self.lines(), PATIENCE)
        assert list(texts) == self.texts()
        assert len(texts) == sum(path.is_file() for path in (self.root / "sent").rglob("*"))
        assert [] == list((self.root / "failed" / CHANNEL).iterdir())
        await until(lambda: not {"disk", "inbound"} & self.remark().keys(), PATIENCE)
        assert [] == self.findings()


#: The installed program, but that it waits a fraction of a second wherever it would wait for seconds.
_IMPATIENT = """#!{python}
from spoolbridge import backoff
backoff.delay = lambda age, **_: 0.3
from spoolbridge.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "spoolbridge"
    program.write_text(_IMPATIENT.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(programs, "PROGRAM", program)


@asynccontextmanager
async def world(disk: Path, desk: Path) -> AsyncIterator[World]:
    desk.mkdir()
    async with Emulator(limits=False).serve() as emulator:
        made = World(emulator, disk, desk)
        yield made
        made.spool.close()


@asynccontextmanager
async def world_on_tmpfs(base: Path, *, inodes: int = 0) -> AsyncIterator[World]:
    with tmpfs(base / "disk", inodes=inodes) as disk:
        async with world(disk, base / "desk") as made:
            yield made


async def test_no_room(tmp_path: Path) -> None:
    """Both ways wait and say so, a sender is told, a kill changes nothing; with room it all goes on."""
    async with world_on_tmpfs(tmp_path) as here:
        texts = [f"number {number}" for number in range(30)]
        with here.serving() as service:
            await here.warm()
            here.hold()
            entries = [here.spool.drop(CHANNEL, text.encode()) for text in texts]
            take_all_room(here.disk)
            here.emulator.say(CHANNEL, "during")
            here.go_on()
            await until(lambda: {"disk", "inbound"} <= here.remark().keys(), PATIENCE)
            take_all_room(here.disk)  # a file that was there for an instant may have kept a page from us
            await until(lambda: {"disk", "inbound"} <= here.remark().keys(), PATIENCE)
            await _assert_waiting(here, [entry.id for entry in entries], texts)
            service.process.kill()
            service.process.wait()
        with here.serving() as service:
            await until(lambda: "disk" in here.remark() and _is_of(here, service), PATIENCE)
            await _assert_waiting(here, [entry.id for entry in entries], texts)
            make_room(here.disk)
            await here.assert_all_is_well(["warm", *texts])
            assert 0 == service.end(signal.SIGTERM)


def _is_of(here: World, service: Running) -> bool:
    """Whether status.json was written by this service."""
    return (status.read(here.spool) or {}).get("pid") == service.process.pid


async def _assert_waiting(here: World, ids: list[str], texts: list[str]) -> None:
    """What was posted was tried first, durably; the rest lies where it lay; everybody is told."""
    posted = here.texts()[1:]
    assert texts[: len(posted)] == posted
    assert len(posted) < len(texts)
    assert set(ids[: len(posted)]) <= here.tried()
    found = [here.spool.find(each) for each in ids]
    assert all(each and each.state in ("outgoing", "sending", "sent") for each in found)
    # A small entry may still fit in between, and then the next one waits.
    await until(lambda: all(FULL in here.remark().get(each, "") for each in ("disk", "inbound")), PATIENCE)
    told = ("service running, process", f"waits for the disk: {FULL}", "; not read: ")
    path = here.root / "state" / "STATUS"
    await until(lambda: all(each in " ".join(path.read_text("utf-8").split()) for each in told), PATIENCE)
    assert f"the disk of {here.root} is nearly full" in here.findings()
    refused = await asyncio.to_thread(ran, "send", CHANNEL, "more", cwd=here.desk, env=here.env)
    assert (1, "") == (refused.code, refused.out)
    assert f"cannot be written to ({FULL}); nothing was dropped; make room" in refused.err
    assert [] == here.spool.names("tmp")


def test_a_status_without_room_for_a_second_file(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written over the first: longer, shorter, and not at all where that has no blocks for it."""

    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, FULL)

    def facts(*findings: str) -> status.Facts:
        return {"at": time.time(), "since": 0.0, "pid": os.getpid(), "findings": list(findings)}

    status.write(spool, facts("one"))
    inode = (spool.root / "state" / status.FILE).stat().st_ino
    monkeypatch.setattr(atomic, "replace", no_room)
    for findings in (["one", "two" * 900], ["three"]):
        written = facts(*findings)
        status.write(spool, written)
        assert written == status.read(spool)
        blocks = (spool.root / "state" / status.TEXT).read_text("utf-8").split("\n\n")
        shown = [" ".join(block.split()) for block in blocks if block[:1] == "!"]
        assert [f"! {each}" for each in findings] == shown
    with pytest.raises(OSError, match=FULL):
        status.write(spool, facts("x" * 100_000))
    assert written == status.read(spool)
    assert inode == (spool.root / "state" / status.FILE).stat().st_ino


async def test_no_inodes(tmp_path: Path) -> None:
    """What needs no new file goes on; what does waits, is told, and comes when there is one."""
    async with world_on_tmpfs(tmp_path, inodes=300) as here:
        with here.serving() as service:
            await here.warm()
            here.hold()
            texts = [f"number {number}" for number in range(5)]
            for text in texts:
                here.spool.drop(CHANNEL, text.encode())
            take_all_inodes(here.disk)
            here.emulator.say(CHANNEL, "during")
            here.go_on()
            await here.emulator.posted(CHANNEL, 6)
            await until(lambda: "inbound" in here.remark(), PATIENCE)
            assert FULL in here.remark()["inbound"]
            assert 1 == len(here.filed())
            assert "no inodes left" in " ".join(each.why for each in doctor.offline(here.settings))
            make_room(here.disk)
            await here.assert_all_is_well(["warm", *texts])
            assert 0 == service.end(signal.SIGTERM)


async def test_a_start_on_a_full_disk(tmp_path: Path) -> None:
    """A torn line cannot be saved aside: the service waits for the room, and then does its work."""
    async with world_on_tmpfs(tmp_path) as here:
        with here.serving() as service:
            await here.warm()
            assert 0 == service.end(signal.SIGTERM)
        here.spool.drop(CHANNEL, b"waits")
        with open(here.root / "state" / "journal.jsonl", "ab") as journal:
            journal.write(b'{"at":17')
        take_all_room(here.disk)
        with here.serving() as service:
            await until(lambda: "trying again in" in service.err, PATIENCE)
            assert f"the disk refuses ({FULL}); trying again in" in service.err
            assert ["warm"] == here.texts()
            make_room(here.disk)
            await here.assert_all_is_well(["warm", "waits"])
            assert b'{"at":17' == (here.root / "state" / "journal.jsonl.torn").read_bytes()
            assert 0 == service.end(signal.SIGTERM)


async def test_a_start_on_a_read_only_disk(tmp_path: Path) -> None:
    """One sentence and exit 1; doctor says what it is; remounted, everything is there."""
    async with world_on_tmpfs(tmp_path) as here:
        with here.serving() as service:
            await here.warm()
            assert 0 == service.end(signal.SIGTERM)
        here.spool.drop(CHANNEL, b"waits")
        subprocess.run(["mount", "-o", "remount,ro", here.disk], check=True)
        with here.serving() as service:
            assert 1 == await asyncio.to_thread(service.process.wait, PATIENCE)
            said = f"spoolbridge: the disk refuses ({READ_ONLY}); mend that before you start again\n"
            assert service.err.endswith(said)
            assert "Traceback" not in service.err
        assert f"the disk of {here.root} is read-only" in here.findings()
        subprocess.run(["mount", "-o", "remount,rw", here.disk], check=True)
        with here.serving() as service:
            await here.assert_all_is_well(["warm", "waits"])
            assert 0 == service.end(signal.SIGTERM)


@contextmanager
def ext4(base: Path) -> Iterator[Path]:
    """A real one in a file, which turns read-only at the first error, as most are set up."""
    if shutil.which("mkfs.ext4") is None or not Path("/dev/loop-control").exists():
        assert "CI" not in os.environ, "no mkfs.ext4, or no loop devices"
        pytest.skip("needs loop devices, and mkfs.ext4: apt-get install -y e2fsprogs")
    image = base / "image"
    with open(image, "wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted(base / "disk", "-o", "loop,errors=remount-ro", str(image)) as disk:
        yield disk


def break_down(disk: Path) -> None:
    """The kernel meets an error on it and forbids to write, whoever has files open."""
    found = subprocess.run(["findmnt", "-no", "SOURCE", disk], check=True, capture_output=True, text=True)
    Path(f"/sys/fs/ext4/{Path(found.stdout.strip()).name}/trigger_fs_error").write_text("a test")


async def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    """Nothing can be written any more, not even that; it is known all the same, and nothing is posted."""
    with ext4(tmp_path) as disk:
        async with world(disk, tmp_path / "desk") as here:
            with here.serving() as service:
                await here.warm()
                # While it waits for its next try nothing is being written that could fail halfway, with EIO.
                here.emulator.fail(method="POST", route=MESSAGES, kind="ratelimit", retry_after=2.5)
                here.spool.drop(CHANNEL, b"waits")
                await until(lambda: "next_try" in here.remark(), PATIENCE)
                break_down(disk)
                here.emulator.say(CHANNEL, "during")
                await until(lambda: f"waits: the disk refuses ({READ_ONLY})" in service.err, PATIENCE)
                await until(lambda: f"waits: [Errno {errno.EROFS}]" in service.err, PATIENCE)
                later = time.time() + 60
                snapshot = status.snapshot(here.spool, status.read(here.spool), now=later)
                told = " ".join(status.render(snapshot, now=later).split())
                assert f"running, process {service.process.pid}," in told
                assert "the last the service wrote was 6" in told
                assert "the disk refuses, or it hangs; see its log" in told
                assert ["warm"] == here.texts()
                assert 0 == service.end(signal.SIGTERM)
                assert "Traceback" not in service.err
                assert (["warm"], 1) == (here.texts(), len(here.spool.names(f"sending/{CHANNEL}")))


# -- every call, one by one --------------------------------------------------------------------------------


def _needs_room(name: str, path: Any, *more: Any, dir_fd: int | None = None, **_: Any) -> bool:
    """Whether the call makes or writes something; not where it only finds that it is there."""
    if name in ("open", "mkdir"):
        flags = more[0] if name == "open" else os.O_CREAT
        try:
            os.stat(path, dir_fd=dir_fd)
        except FileNotFoundError:
            return bool(flags & os.O_CREAT)
        return False
    return True


@contextmanager
def failing(number: int, code: int) -> Iterator[list[str]]:
    """The `number`-th call of this process that needs the disk fails once with this error.

    What is given names it, and is empty until then.
    """
    count, failed = itertools.count(1), list[str]()

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if _needs_room(name, *args, **kwargs) and next(count) == number:
                failed.append(name)
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    with ExitStack() as stack:
        for name in ("open", "write", "fsync", "rename", "mkdir"):
            stack.enter_context(patch.object(os, name, wrapped(name, getattr(os, name))))
        yield failed


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["no room", "fails"])
async def test_outbound_with_any_call_refused(tmp_path: Path, code: int) -> None:
    """Posted once all the same; but after EIO only by another service, for this one ends with a sentence."""
    calls = []
    for number in itertools.count(1):
        async with bridging(tmp_path / f"{number}", channels=[CHANNEL]) as bridge:
            with failing(number, code) as failed:
                (bridge.box(CHANNEL) / "note").write_text("one")
                bridge.clock.advance(60)  # a rename that is taken back counts as a change of the file
                bridge.ring()
                await _rest(bridge)
            if code == errno.EIO and failed:
                error = await bridge.ended()
                assert isinstance(error, SpoolError)
                assert f"the disk fails ({FAILS}); check it before you start again" == str(error)
                assert len(bridge.texts(CHANNEL)) <= 1
                await bridge.restart()
            await bridge.quiet()
            assert (["one"], {}) == (bridge.texts(CHANNEL), bridge.tree("outgoing", "sending", "failed"))
            assert ["one"] == [data.decode() for data in contents(bridge.spool.root, "sent").values()]
        calls += failed
        if not failed:
            break
    print(len(calls), "calls:", *calls)
    assert (
        {"open", "write", "fsync", "rename", "mkdir"} >= set(calls) >= {"write", "fsync", "rename", "mkdir"}
    )
    assert len(calls) > 12


async def _rest(bridge: Bridge) -> None:
    """Return once the dispatcher has ended, or has nothing left."""
    running = bridge._running
    assert running is not None
    await until(lambda: running.done() or not bridge.tree("outgoing", "sending"))


class Inbound:
    """The inbound half of a service on a spool of its own."""

    def __init__(self, emulator: Emulator, client: DiscordClient, clock: FakeClock, root: Path) -> None:
        self.spool, self.clock = Spool.create(root, clock=clock), clock
        self.cursors = Cursors(self.spool.fd)
        self.inbox = root / "discord-inbox.jsonl"
        deliveries: list[Delivery] = [
            IncomingFile(self.spool.fd, self.cursors), InboxFile(self.inbox, self.cursors)
        ]  # fmt: skip
        self.attachments = Attachments(
            self.spool.fd, client, Cdn(emulator.api_url), patience=None, clock=clock, sleep=clock.leap
        )
        guild = emulator.guild
        registry = Registry([Channel(CHANNEL, guild.channel(CHANNEL).id, None, CHANNEL)])
        self.poller = Poller(
            client, lambda: registry, deliveries, globs=[CHANNEL], guild_id=guild.id, own_id=guild.bot.id,
            first_start=clock(), attachments=self.attachments,
            clock=clock, sleep=clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip

    def filed(self) -> list[int]:
        box = mailbox.Maildir(self.spool.root / "incoming" / CHANNEL, create=False)
        return [int(box[key]["X-Discord-Message-Id"]) for key in sorted(box.keys())]

    def lines(self) -> list[int]:
        return [int(json.loads(line)["id"]) for line in self.inbox.read_text("utf-8").splitlines()]

    def close(self) -> None:
        self.cursors.close()
        self.spool.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["no room", "fails"])
async def test_inbound_with_any_call_refused(tmp_path: Path, code: int) -> None:
    """What was fetched then comes later: once, whole and in order in both places, and it is told."""
    clock, calls = FakeClock(), list[str]()
    async with (
        Emulator(clock=clock, limits=False).serve() as emulator,
        DiscordClient(emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.leap) as client,
        AsyncExitStack() as stack,
    ):
        emulator.add_channel(CHANNEL)
        for number in itertools.count(1):
            clock.advance(60)
            with closing(Inbound(emulator, client, clock, tmp_path / f"{number}")) as inbound:
                await stack.enter_async_context(inbound.attachments)
                await inbound.poller.cycle()
                clock.advance(60)
                files = [("a.png", b"whole")]
                said = [emulator.say(CHANNEL, f"{number}.{each}", files=files[each:]) for each in range(3)]
                with failing(number, code) as failed:
                    await inbound.poller.cycle()
                told = inbound.poller.problems.get(CHANNEL, "")
                assert bool(failed) == (os.strerror(code) in told)
                for _ in range(2):
                    clock.advance(60)
                    await inbound.poller.cycle()
                assert said == inbound.filed() == inbound.lines()
                assert {} == inbound.poller.problems
                assert [] == inbound.spool.names(f"incoming/{CHANNEL}/tmp") == inbound.spool.names("tmp")
                pictures = contents(inbound.spool.root, "attachments")
                assert {f"attachments/{CHANNEL}/{said[0]}/a.png": b"whole"} == pictures
            calls += failed
            if not failed:
                break
    print(len(calls), "calls:", *calls)
    assert len(calls) > 12


async def test_a_disk_that_fails_ends_the_service(tmp_path: Path) -> None:
    """The real process meets EIO from the kernel: exit 1 and one sentence; the next one posts it, once."""
    (tmp_path / "spool's place").mkdir()
    async with world(tmp_path / "spool's place", tmp_path / "desk") as here:
        with here.serving() as service:
            await here.warm()
            with strace(tmp_path, service, "inject=fsync:error=EIO"):
                entry = _drop_from_another_process(here, "once")
                assert 1 == await asyncio.to_thread(service.process.wait, PATIENCE)
            said = f"spoolbridge: the disk fails ({FAILS}); check it before you start again"
            assert said == service.err.splitlines()[-1]
            assert "Traceback" not in service.err
            assert ["warm"] == here.texts()
            assert entry in ("outgoing", "sending")
        with here.serving() as service:
            await here.assert_all_is_well(["warm", "once"])
            assert 0 == service.end(signal.SIGTERM)


def _drop_from_another_process(here: World, text: str) -> str:
    """Its disk is well: only the service's calls fail. The state in which the entry is found."""
    entry = here.spool.drop(CHANNEL, text.encode())
    found = here.spool.find(entry.id)
    assert found is not None
    return found.state


@contextmanager
def strace(place: Path, service: Running, *expressions: str) -> Iterator[None]:
    """Attached to every thread of the service while the context lasts, or until it ends."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("needs strace: apt-get install -y strace")
    said = place / "strace"
    command = ["strace", "-f", "-q", "-o", os.devnull, "-p", str(service.process.pid)]
    options = [word for each in expressions for word in ("-e", each)]
    with open(said, "wb") as err:
        tracer = subprocess.Popen([*command, "-e", "trace=fsync", *options], stderr=err)
    try:
        wait_until(lambda: _is_traced(service) or tracer.poll() is not None, PATIENCE)
        if tracer.poll() is not None:
            assert "CI" not in os.environ, said.read_text()
            pytest.skip(f"tracing is not permitted here: {said.read_text().strip()}")
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _is_traced(service: Running) -> bool:
    """Whether every thread has a tracer."""
    tasks = Path(f"/proc/{service.process.pid}/task")
    found = [(each / "status").read_text() for each in tasks.iterdir()]
    return all("TracerPid:\t0\n" not in each for each in found)
