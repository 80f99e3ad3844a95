"""A claimed entry: read when it is whole, settled once, never lost and never on top of another."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import atomic, claim, identity, ready
from spoolbridge.claim import Claim, Content
from spoolbridge.errors import MessageError, SpoolError
from spoolbridge.spool import Spool
from tests.support.crashes import fail_at
from tests.support.droppers import half_written
from tests.support.powercut import recorded
from tests.support.tree import contents, tree

ID = "20261122T055501.123456Z-k3f9q2x7"
NAME = f"{ID}.hello"
AT = identity.time_of(ID) + 60
TODAY = "2026-11-22"
STATES = ("outgoing", "sending", "sent", "failed")

leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no leases on this system")


def claimed(spool: Spool, data: bytes = b"hello", *, name: str = NAME, now: float = AT) -> Claim:
    """A claim of a file with that content."""
    make_room(spool)
    (spool.root / "sending" / "villa" / name).write_bytes(data)
    return Claim(spool.root, spool.fd, "villa", name, clock=lambda: now)


def bundle(spool: Spool, body: bytes | None = b"hello", **files: bytes) -> tuple[Path, Claim]:
    """A claimed bundle, and where it lies."""
    make_room(spool)
    path = spool.root / "sending" / "villa" / f"{ID}.x.msg"
    (path / "files").mkdir(parents=True)
    if body is not None:
        (path / "body").write_bytes(body)
    for each, data in files.items():
        (path / "files" / each).write_bytes(data)
    return path, Claim(spool.root, spool.fd, "villa", path.name, clock=lambda: AT)


def make_room(spool: Spool) -> None:
    for state in STATES:
        (spool.root / state / "villa").mkdir(exist_ok=True)


class TestNouns:
    """What a claim knows of itself."""

    def test_its_name_says_all(self, spool: Spool) -> None:
        """ID, the rest, and when it was written."""
        found = claimed(spool)
        assert (ID, "hello", identity.time_of(ID), "villa") == (
            found.id, found.rest, found.written, found.channel,
        )  # fmt: skip
        assert f"villa/{NAME}" == str(found)

    def test_when_it_was_claimed(self, spool: Spool) -> None:
        """Age runs from the claim: the rename was its last change."""
        found = claimed(spool)
        assert (spool.root / "sending" / "villa" / NAME).stat().st_ctime == found.claimed

    def test_a_name_without_an_id(self, spool: Spool) -> None:
        """Is nobody's claim."""
        with pytest.raises(SpoolError, match="has no ID"):
            claimed(spool, name="hello")

    def test_what_is_gone(self, spool: Spool) -> None:
        """An operator was quicker."""
        make_room(spool)
        with pytest.raises(FileNotFoundError):
            Claim(spool.root, spool.fd, "villa", NAME)

    @pytest.mark.parametrize("how", ["rm", "mv", "rmdir"])
    def test_cancelled(self, how: str, spool: Spool) -> None:
        """`rm` and `mv` in `sending/` are seen, and so is a channel that was taken away."""
        found = claimed(spool)
        assert found.exists()
        path = spool.root / "sending" / "villa" / NAME
        if how == "rm":
            path.unlink()
        elif how == "mv":
            path.rename(spool.root / "failed" / "villa" / NAME)
        else:
            shutil.rmtree(path.parent)
        assert not found.exists()


class TestRead:
    """The content, once it is final."""

    def test_a_file(self, spool: Spool) -> None:
        """Its bytes as they are."""
        assert Content(b"a\r\nb\0\xff\n") == claimed(spool, b"a\r\nb\0\xff\n").read()

    @leases
    def test_not_while_somebody_writes(self, spool: Spool) -> None:
        """The descriptor that was open before the rename still leads here."""
        found = claimed(spool)
        with half_written(spool.root / "sending" / "villa" / NAME, b", wor") as fd:
            assert found.read() is None
            os.write(fd, b"ld")
        assert Content(b"hello, world") == found.read()

    def test_not_while_somebody_has_a_lease(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file server, say: it is asked to give it back, and read later."""
        found = claimed(spool)
        with monkeypatch.context() as patched:
            deny(patched, NAME, errno.EWOULDBLOCK)
            assert found.read() is None
        assert Content(b"hello") == found.read()

    def test_without_a_lease_it_is_read(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """It had its two seconds before it was claimed."""
        monkeypatch.setattr(ready, "lease", lambda _: None)
        assert Content(b"hello") == claimed(spool).read()

    def test_what_was_written_after_the_claims_sync_is_synced(self, spool: Spool, tmp_path: Path) -> None:
        """Else a power cut would leave a `try` of a text that is not there any more."""
        (spool.root / "outgoing" / "villa").mkdir()
        path = spool.root / "outgoing" / "villa" / NAME
        path.write_bytes(b"hello")
        with spool.at("outgoing/villa") as at:
            stamp = claim.sync_entry(NAME, at)
        make_room(spool)
        path.rename(spool.root / "sending" / "villa" / NAME)
        found = Claim(spool.root, spool.fd, "villa", NAME, stamp=stamp)
        with recorded(tmp_path) as untouched:
            assert Content(b"hello") == found.read()
        with open(spool.root / "sending" / "villa" / NAME, "ab") as late:
            late.write(b" again")
        with recorded(tmp_path) as touched:
            assert Content(b"hello again") == found.read()
        assert [] == list(untouched)
        assert [f"sync spool/sending/villa/{NAME}"] == list(touched)

    def test_a_recovered_one_is_synced(self, spool: Spool, tmp_path: Path) -> None:
        """Nobody knows what the former service had synced."""
        found = claimed(spool)
        with recorded(tmp_path) as calls:
            found.read()
        assert [f"sync spool/sending/villa/{NAME}"] == list(calls)

    def test_gone(self, spool: Spool) -> None:
        """FileNotFoundError: cancelled."""
        found = claimed(spool)
        (spool.root / "sending" / "villa" / NAME).unlink()
        with pytest.raises(FileNotFoundError):
            found.read()

    @pytest.mark.parametrize("what", ["link", "fifo", "socket", "hard link", "sparse", "another user's"])
    def test_what_is_no_message(
        self, what: str, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Swapped for something else behind our back, or found there after a crash: a MessageError, so that
        it goes to `failed/` and the channel goes on."""
        found = claimed(spool)
        path = spool.root / "sending" / "villa" / NAME
        (tmp_path / "secret").write_bytes(b"token")
        monkeypatch.chdir(path.parent)
        if what == "hard link":
            os.link(path, tmp_path / "second")
        elif what == "sparse":
            os.truncate(path, 1 << 40)
        elif what == "another user's":
            deny(monkeypatch, NAME, errno.EACCES)
        else:
            path.unlink()
        if what == "link":
            path.symlink_to(tmp_path / "secret")
        elif what == "fifo":
            os.mkfifo(path)
        elif what == "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(NAME)
        with pytest.raises(MessageError):
            found.read()

    @leases
    def test_a_file_that_grows_past_the_limit(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the look at its size and the lease: never the first 25 MiB of a longer message."""
        found = claimed(spool)
        real = ready.lease

        def slow(fd: int) -> bool | None:
            os.truncate(spool.root / "sending" / "villa" / NAME, ready.LARGEST + 1)
            return real(fd)

        monkeypatch.setattr(ready, "lease", slow)
        with pytest.raises(MessageError, match="more than"):
            found.read()

    @pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
    def test_a_failing_disk_is_not_the_messages_fault(
        self, number: int, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stays claimed and is read later."""
        found = claimed(spool)
        path, inside = bundle(spool)
        deny(monkeypatch, NAME, number)
        deny(monkeypatch, "body", number)
        for each in (found, inside):
            with pytest.raises(OSError, match=os.strerror(number)):
                each.read()
        assert path.exists()

    def test_nothing_of_it_in_a_repr(self, spool: Spool) -> None:
        """It would end up in a log."""
        assert "secret" not in repr(claimed(spool, b"secret").read())
        assert "secret" not in repr(bundle(spool, b"secret", a=b"secret")[1].read())


class TestReadBundle:
    """Body and files by name."""

    def test_whole(self, spool: Spool) -> None:
        """All of it."""
        _, found = bundle(spool, b"look", a=b"1", b=b"")
        assert Content(b"look", {"a": b"1", "b": b""}) == found.read()

    def test_without_a_body(self, spool: Spool) -> None:
        """Files alone."""
        assert Content(None, {"a": b"1"}) == bundle(spool, None, a=b"1")[1].read()

    def test_without_files(self, spool: Spool) -> None:
        """Words alone; still a bundle."""
        path, found = bundle(spool, b"look")
        (path / "files").rmdir()
        assert Content(b"look", {}) == found.read()

    def test_a_file_called_body(self, spool: Spool) -> None:
        """Is a file: it neither replaces the words nor becomes them."""
        path, found = bundle(spool, b"look")
        (path / "files" / "body").write_bytes(b"other")
        assert Content(b"look", {"body": b"other"}) == found.read()
        (path / "body").unlink()
        assert Content(None, {"body": b"other"}) == found.read()

    @leases
    def test_not_while_somebody_writes(self, spool: Spool) -> None:
        """To any member."""
        path, found = bundle(spool, b"look", a=b"1")
        for each in ("body", "files/a"):
            with open(path / each, "ab"):
                assert found.read() is None

    @pytest.mark.parametrize("spoil", ["link", "stray", "directory", "fifo", "hard link"])
    def test_spoilt(self, spoil: str, spool: Spool, tmp_path: Path) -> None:
        """After the claim, by whoever still holds a descriptor of it: refused, not read."""
        path, found = bundle(spool, b"look", a=b"1")
        makers: dict[str, Callable[[], object]] = {
            "link": lambda: (path / "files" / "z").symlink_to("/etc/passwd"),
            "stray": lambda: (path / "other").write_bytes(b"x"),
            "directory": lambda: (path / "files" / "z").mkdir(),
            "fifo": lambda: os.mkfifo(path / "files" / "z"),
            "hard link": lambda: os.link(path / "files" / "a", tmp_path / "second"),
        }
        makers[spoil]()
        before = sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(MessageError):
            found.read()
        assert before == sorted(os.listdir("/proc/self/fd"))


class TestSettle:
    """Out of `sending/`, once."""

    def test_sent(self, spool: Spool) -> None:
        """Into the day's directory, by the service's clock."""
        place = claimed(spool).sent()
        assert f"sent/villa/{TODAY}/{NAME}" == place
        assert {f"sent/villa/{TODAY}": [NAME]} == tree(spool.root, *STATES)

    def test_a_clock_that_was_set_back_to_yesterday(self, spool: Spool) -> None:
        """Whoever asks for it looks no further back than the day on which it was written."""
        claim = claimed(spool, now=AT - 86400)
        assert f"sent/villa/{identity.day_of(claim.written)}/{NAME}" == claim.sent()
        found = spool.find(claim.id)
        assert found is not None
        assert "sent" == found.state

    def test_the_day_is_utc(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the ID's is."""
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        midnight = identity.time_of("20261122T235959.999999Z-k3f9q2x7")
        assert f"sent/villa/{TODAY}/{NAME}" == claimed(spool, now=midnight).sent()

    def test_failed(self, spool: Spool) -> None:
        """With the reason beside it, and the command that retries."""
        place = claimed(spool).failed("50013 Missing Permissions (HTTP 403)", hint="give it the right")
        assert f"failed/villa/{NAME}" == place
        assert {"failed/villa": [NAME, f"{NAME}.why"]} == tree(spool.root, *STATES)
        why = (spool.root / f"{place}.why").read_text().splitlines()
        assert [
            "2026-11-22T05:56:01Z  50013 Missing Permissions (HTTP 403)",
            "What to do: give it the right",
            f"Retry: mv {spool.root}/failed/villa/{NAME} {spool.root}/outgoing/villa/",
        ] == why

    def test_the_command_retries(self, spool: Spool) -> None:
        """Typed as it stands there, in a shell."""
        place = claimed(spool).failed("no")
        why = (spool.root / f"{place}.why").read_text().splitlines()
        subprocess.run(["sh", "-c", why[-1].removeprefix("Retry: ")], check=True, timeout=10)
        assert {"outgoing/villa": [NAME], "failed/villa": [f"{NAME}.why"]} == tree(spool.root, *STATES)

    def test_the_command_names_the_right_channel(self, spool: Spool) -> None:
        """Where the wrong one was the reason."""
        place = claimed(spool).failed("no channel 'villa'", to="mayor-villa")
        why = (spool.root / f"{place}.why").read_text()
        assert why.endswith(f"{spool.root}/outgoing/mayor-villa/\n")

    def test_released(self, spool: Spool) -> None:
        """Back to `outgoing/`, under its ID."""
        assert f"outgoing/villa/{NAME}" == claimed(spool).release()
        assert {f"outgoing/villa/{NAME}": b"hello"} == contents(spool.root, *STATES)

    def test_a_bundle_is_one(self, spool: Spool) -> None:
        """It moves with all that is in it."""
        path, found = bundle(spool, b"look", a=b"1")
        found.failed("no")
        moved = f"failed/villa/{path.name}"
        expected = {f"{moved}/body": b"look", f"{moved}/files/a": b"1"}
        found_now = contents(spool.root, *STATES)
        assert expected == {name: data for name, data in found_now.items() if not name.endswith(".why")}

    @pytest.mark.parametrize("how", ["sent", "failed", "release"])
    def test_where_the_channels_directory_is_gone(self, how: str, spool: Spool) -> None:
        """An operator tidied up while the message was with Discord: it is made anew."""
        found = claimed(spool)
        for state in ("outgoing", "sent", "failed"):
            (spool.root / state / "villa").rmdir()
        settle(found, how)
        assert b"hello" == contents(spool.root, *STATES)[found.settled]

    @pytest.mark.parametrize("again", ["sent", "failed", "release"])
    @pytest.mark.parametrize("first", ["sent", "failed", "release"])
    def test_exactly_once(self, first: str, again: str, spool: Spool) -> None:
        """The second time is a bug of ours: an error, and nothing changes."""
        found = claimed(spool)
        settle(found, first)
        before = contents(spool.root, *STATES)
        with pytest.raises(SpoolError, match="was settled before"):
            settle(found, again)
        assert before == contents(spool.root, *STATES)

    @pytest.mark.parametrize("how", ["sent", "failed", "release"])
    def test_what_was_taken_away_meanwhile(self, how: str, spool: Spool) -> None:
        """FileNotFoundError; no reason without an entry is left."""
        found = claimed(spool)
        (spool.root / "sending" / "villa" / NAME).unlink()
        with pytest.raises(FileNotFoundError):
            settle(found, how)
        assert {} == tree(spool.root, *STATES)

    @pytest.mark.parametrize("how", ["sent", "failed", "release"])
    def test_every_system_call_failing(self, how: str, tmp_path: Path) -> None:
        """It is where it was or where it belongs, whole, and can be settled once the disk works again."""
        for number in count(1):
            spool = Spool.create(tmp_path / f"{number}")
            found = claimed(spool)
            with fail_at(number) as struck:
                try:
                    settle(found, how)
                except OSError as error:
                    assert errno.ENOSPC == error.errno
                    assert "" == found.settled
            if "" == found.settled:
                assert {f"sending/villa/{NAME}": b"hello"} == contents(spool.root, *STATES)
                settle(found, how)
            found_now = contents(spool.root, *STATES)
            assert [b"hello"] == [data for name, data in found_now.items() if not name.endswith(".why")]
            assert b"hello" == found_now[found.settled]
            spool.close()
            if not struck:
                break
        assert number > 3

    @pytest.mark.parametrize("how", ["sent", "failed", "release"])
    def test_every_power_cut(self, how: str, spool: Spool, tmp_path: Path) -> None:
        """In one state, whole; when it has returned, in the new one."""
        found = claimed(spool)
        with recorded(tmp_path) as calls:
            settle(found, how)
        for _, state in calls.after_a_cut():
            assert 1 == list(state.values()).count(b"hello")
        for state in calls.at_the_end():
            assert b"hello" == state[f"spool/{found.settled}"]

    def test_a_full_disk_does_not_keep_it_from_its_place(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Renames work on a full disk, a new `.why` does not (measured)."""

        def write(*_: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", write)
        claimed_before = claimed(spool)
        claimed_before.failed("no")
        assert {"failed/villa": [NAME]} == tree(spool.root, *STATES)


class TestTaken:
    """Something of that name lies there already: both are kept."""

    def test_sent_already(self, spool: Spool) -> None:
        """Somebody copied it back from `sent/`: the copy fails under an ID of its own, and says why."""
        found = claimed(spool, b"copy")
        (spool.root / "sent" / "villa" / TODAY).mkdir()
        (spool.root / "sent" / "villa" / TODAY / NAME).write_bytes(b"first")
        place = found.sent()
        assert b"first" == (spool.root / "sent" / "villa" / TODAY / NAME).read_bytes()
        assert b"copy" == (spool.root / place).read_bytes()
        assert place.startswith("failed/villa/20261122T055601.123456Z-")
        assert place.endswith(".hello")
        assert "lies in sent/ already" in (spool.root / f"{place}.why").read_text()

    @pytest.mark.parametrize("taken", ["file", "bundle", "broken link"])
    def test_failed_already(self, taken: str, spool: Spool) -> None:
        """A retried copy that fails again: under an ID of its own, each with its reason."""
        found = claimed(spool, b"copy")
        path = spool.root / "failed" / "villa" / NAME
        makers: dict[str, Callable[[], object]] = {
            "file": lambda: path.write_bytes(b"first"),
            "bundle": path.mkdir,
            "broken link": lambda: path.symlink_to("nowhere"),
        }
        makers[taken]()
        (spool.root / "failed" / "villa" / f"{NAME}.why").write_text("the first reason")
        before = path.lstat().st_ino
        place = found.failed("the second reason")
        assert before == path.lstat().st_ino
        assert b"copy" == (spool.root / place).read_bytes()
        assert NAME not in place
        assert "the first reason" == (spool.root / "failed" / "villa" / f"{NAME}.why").read_text()
        assert "the second reason" in (spool.root / f"{place}.why").read_text()

    def test_released_onto_another(self, spool: Spool) -> None:
        """Somebody dropped a file of that very name meanwhile: this one fails, that one goes its way."""
        found = claimed(spool, b"claimed")
        (spool.root / "outgoing" / "villa" / NAME).write_bytes(b"dropped")
        place = found.release()
        assert b"dropped" == (spool.root / "outgoing" / "villa" / NAME).read_bytes()
        assert b"claimed" == (spool.root / place).read_bytes()
        assert place.startswith("failed/villa/")
        assert NAME not in place
        assert "another entry of this name" in (spool.root / f"{place}.why").read_text()

    def test_a_fresh_id_on_request(self, spool: Spool) -> None:
        """Where the ID belongs to another message."""
        place = claimed(spool).failed("this ID belongs to another message", fresh=True)
        assert NAME not in place
        assert place.endswith(".hello")
        assert identity.parse(os.path.basename(place)) is not None


class TestWhy:
    """One sentence, what to do, the command."""

    def test_one_line_each(self) -> None:
        """Whatever Discord or a file put into the reason."""
        text = claim.why(Path("/s"), "villa", NAME, "a\nb\x1b[31m\u2028c\u202e", "x\r\ny", "villa", AT)
        assert [
            "2026-11-22T05:56:01Z  a b [31m c",
            "What to do: x y",
            f"Retry: mv /s/failed/villa/{NAME} /s/outgoing/villa/",
        ] == text.splitlines()

    def test_without_a_hint(self) -> None:
        """No empty line."""
        assert 2 == len(claim.why(Path("/s"), "villa", NAME, "no", "", "villa", AT).splitlines())

    @pytest.mark.parametrize("channel", ["my channel", "a;rm -rf $HOME", "it's", "-rf"])
    def test_the_command_is_one_command(self, channel: str) -> None:
        """Directories are named by whoever makes them."""
        text = claim.why(Path("/s p"), channel, NAME, "no", "", channel, AT)
        words = shlex.split(text.splitlines()[-1].removeprefix("Retry: "))
        assert ["mv", f"/s p/failed/{channel}/{NAME}", f"/s p/outgoing/{channel}/"] == words


class TestSyncEntry:
    """Durable before its name moves."""

    def test_a_file(self, spool: Spool, tmp_path: Path) -> None:
        """And what tells that it was written to afterwards."""
        (spool.root / "tmp" / "x").write_bytes(b"hello")
        with spool.at("tmp") as at, recorded(tmp_path) as calls:
            stamp = claim.sync_entry("x", at)
            (spool.root / "tmp" / "x").rename(spool.root / "tmp" / "y")
            assert stamp == claim.stamp_of((spool.root / "tmp" / "y").stat())
            (spool.root / "tmp" / "y").write_bytes(b"hallo!")
            assert stamp != claim.stamp_of((spool.root / "tmp" / "y").stat())
        assert "sync spool/tmp/x" == next(iter(calls))

    def test_descriptors_are_given_back(self, spool: Spool) -> None:
        """Of a file and of a bundle."""
        (spool.root / "tmp" / "x").write_bytes(b"hello")
        (spool.root / "tmp" / "x.msg" / "files").mkdir(parents=True)
        (spool.root / "tmp" / "x.msg" / "body").write_bytes(b"hello")
        before = sorted(os.listdir("/proc/self/fd"))
        with spool.at("tmp") as at:
            claim.sync_entry("x", at)
            claim.sync_entry("x.msg", at)
        assert before == sorted(os.listdir("/proc/self/fd"))

    def test_a_bundle(self, spool: Spool, tmp_path: Path) -> None:
        """Every member and every directory of it."""
        path = spool.root / "tmp" / "x.msg"
        (path / "files").mkdir(parents=True)
        for name in ("body", "files/a", "files/b"):
            (path / name).write_bytes(b"x")
        with spool.at("tmp") as at, recorded(tmp_path) as calls:
            assert () == claim.sync_entry("x.msg", at)
        inside = ["body", "files/a", "files/b", "files", ""]
        assert [f"sync spool/tmp/x.msg/{name}".rstrip("/") for name in inside] == list(calls)

    def test_a_link_is_not_followed(self, spool: Spool) -> None:
        """It was swapped in behind the ready test."""
        (spool.root / "tmp" / "x").symlink_to("/etc/passwd")
        with spool.at("tmp") as at, pytest.raises(OSError, match="symbolic links"):
            claim.sync_entry("x", at)


def settle(found: Claim, how: str) -> None:
    {"sent": found.sent, "failed": lambda: found.failed("no"), "release": found.release}[how]()


def deny(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """open(2) fails for this name."""
    real: Callable[..., int] = os.open

    def call(path: Any, *arguments: Any, **keywords: Any) -> int:
        if path == name:
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", call)


def test_the_directory_is_held_not_named(spool: Spool, tmp_path: Path) -> None:
    """A channel's directory in `sending/` that was swapped for a link leads nowhere."""
    found = claimed(spool)
    (spool.root / "sending" / "villa").rename(tmp_path / "away")
    (spool.root / "sending" / "villa").symlink_to(tmp_path / "away")
    with pytest.raises(NotADirectoryError):
        found.read()
    with pytest.raises(NotADirectoryError):
        found.sent()
    with atomic.directory(tmp_path / "away") as at:
        assert atomic.exists(NAME, at=at)
