"""The spool: made once, dropped into durably, looked at without a service."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import identity, ready
from spoolbridge.claim import Claim
from spoolbridge.errors import SpoolError
from spoolbridge.journal import Journal
from spoolbridge.spool import DIRECTORIES, README, STATES, Entry, Spool
from tests.support.clock import FakeClock
from tests.support.crashes import Killed, fail_at, kill_at
from tests.support.powercut import recorded
from tests.support.tree import contents, dig, tree

VILLA = 1467106918538678293
HOURS = 3600.0


class TestCreate:
    """Only `init`, `run` and `demo` do."""

    def test_everything_is_there(self, tmp_path: Path) -> None:
        """The states, the contract beside them, and rights for a group."""
        before = os.umask(0o022)
        try:
            Spool.create(tmp_path / "a" / "spool").close()
        finally:
            os.umask(before)
        root = tmp_path / "a" / "spool"
        assert sorted([*DIRECTORIES, README]) == sorted(os.listdir(root))
        modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in DIRECTORIES}
        assert {**dict.fromkeys(DIRECTORIES, 0o2770), "state": 0o2750} == modes

    def test_nothing_that_is_there_is_changed(self, spool: Spool) -> None:
        """Neither a text nor a mode that its owner gave it."""
        (spool.root / README).write_text("mine")
        (spool.root / "outgoing").chmod(0o700)
        Spool.create(spool.root).close()
        assert "mine" == (spool.root / README).read_text()
        assert 0o700 == stat.S_IMODE((spool.root / "outgoing").stat().st_mode)

    def test_one_descriptor(self, tmp_path: Path) -> None:
        """Of the root, until it is closed."""
        before = sorted(os.listdir("/proc/self/fd"))
        spool = Spool.create(tmp_path / "spool")
        assert len(before) + 1 == len(os.listdir("/proc/self/fd"))
        spool.drop("villa", b"hello", files={"a": b"1"})
        spool.sweep()
        spool.close()
        assert before == sorted(os.listdir("/proc/self/fd"))

    def test_what_is_missing_is_made(self, spool: Spool) -> None:
        """A spool of an older version, or one that was made by half."""
        (spool.root / "attachments").rmdir()
        (spool.root / README).unlink()
        Spool.create(spool.root).close()
        assert sorted([*DIRECTORIES, README]) == sorted(os.listdir(spool.root))

    def test_every_crash(self, tmp_path: Path) -> None:
        """Whoever starts next finishes it."""
        for number in count(1):
            root = tmp_path / f"{number}"
            with kill_at(number) as struck, contextlib.suppress(Killed):
                Spool.create(root).close()
            Spool.create(root).close()
            found = [name for name in os.listdir(root) if not name.startswith(".")]
            assert sorted([*DIRECTORIES, README]) == sorted(found)
            assert (root / README).read_bytes()
            if not struck:
                break
        assert number > 10

    @pytest.mark.parametrize("what", ["file", "link to a file", "broken link", "below a file"])
    def test_where_something_else_lies(self, what: str, tmp_path: Path) -> None:
        """A sentence, not a traceback."""
        root = tmp_path / "spool"
        (tmp_path / "file").write_bytes(b"x")
        if what == "file":
            root.write_bytes(b"x")
        elif what == "below a file":
            root = tmp_path / "file" / "spool"
        else:
            root.symlink_to("file" if what == "link to a file" else "nowhere")
        with pytest.raises(SpoolError, match=r"SPOOLBRIDGE_SPOOL"):
            Spool.create(root)

    def test_where_nothing_may_be_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another user's directory."""

        def mkdir(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

        monkeypatch.setattr(os, "mkdir", mkdir)
        with pytest.raises(SpoolError, match=r"no spool can be made at .* \(Permission denied\); set"):
            Spool.create(tmp_path / "spool")


class TestOpen:
    """Every other command refuses where there is none."""

    @pytest.mark.parametrize("what", ["nothing", "empty", "file", "by half"])
    def test_no_spool(self, what: str, tmp_path: Path) -> None:
        """And says what to set; nothing is made, no descriptor is left."""
        root = tmp_path / "spool"
        if what == "file":
            root.write_bytes(b"x")
        elif what != "nothing":
            root.mkdir()
        if what == "by half":
            for name in DIRECTORIES[:-1]:
                (root / name).mkdir()
        before, open_before = tree(tmp_path), sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(SpoolError, match=r"no spool at .*; set SPOOLBRIDGE_SPOOL"):
            Spool(root)
        assert before == tree(tmp_path)
        assert open_before == sorted(os.listdir("/proc/self/fd"))

    def test_one_that_may_not_be_entered(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another group's: a sentence as well."""
        deny(monkeypatch, spool.root)
        with pytest.raises(SpoolError, match="may not be entered; join the group"):
            Spool(spool.root)

    def test_a_state_that_is_a_link(self, spool: Spool, tmp_path: Path) -> None:
        """Is not a state: messages would lie elsewhere."""
        (spool.root / "sent").rmdir()
        (tmp_path / "elsewhere").mkdir()
        (spool.root / "sent").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SpoolError, match="no spool"):
            Spool(spool.root)

    def test_a_state_on_another_file_system(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Renames cannot cross; better now than with a claimed message in hand."""
        real: Callable[..., os.stat_result] = os.stat

        def elsewhere(path: Any, **keywords: Any) -> os.stat_result:
            status = real(path, **keywords)
            return os.stat_result((*status[:2], status.st_dev + 1, *status[3:])) if path == "sent" else status

        monkeypatch.setattr(os, "stat", elsewhere)
        with pytest.raises(SpoolError, match="sent is on another file system; renames cannot cross"):
            Spool(spool.root)


class TestDrop:
    """Durable and whole when it returns."""

    def test_a_text(self, spool: Spool) -> None:
        """Under an ID, in the channel, readable for the group."""
        before = os.umask(0)
        try:
            entry = spool.drop("villa", b"hello", name="note")
        finally:
            os.umask(before)
        assert f"{entry.id}.note" == entry.name
        assert ("outgoing", "villa", spool.root / "outgoing" / "villa" / entry.name) == (
            entry.state, entry.channel, entry.path,
        )  # fmt: skip
        assert b"hello" == entry.path.read_bytes()
        assert 0o660 == stat.S_IMODE(entry.path.stat().st_mode)
        assert [] == os.listdir(spool.root / "tmp")

    def test_without_a_name(self, spool: Spool) -> None:
        """The ID alone."""
        entry = spool.drop("villa", b"hello")
        assert entry.id == entry.name

    def test_a_bundle(self, spool: Spool) -> None:
        """Words and files; or files alone."""
        entry = spool.drop("villa", b"look", name="chart", files={"a.png": b"1", "b": b""})
        place = f"outgoing/villa/{entry.id}.chart.msg"
        expected = {f"{place}/body": b"look", f"{place}/files/a.png": b"1", f"{place}/files/b": b""}
        assert expected == contents(spool.root, "outgoing", "tmp")
        alone = spool.drop("vgt", None, files={"a": b"1"})
        assert {f"outgoing/vgt/{alone.name}/files": ["a"]} == tree(spool.root, "outgoing/vgt")

    @pytest.mark.parametrize(
        "name", ["", "note", "a b/../c\n", "x" * 300, ".why", "x.why", "draft.tmp", "x~", "ß" * 99]
    )
    @pytest.mark.parametrize("files", [None, {"a": b"1"}])
    def test_it_is_always_seen(self, name: str, files: dict[str, bytes] | None, spool: Spool) -> None:
        """No name makes a message that the service passes over in silence, nor one that it renames."""
        entry = spool.drop("villa", b"hello", name=name, files=files)
        assert not ready.ignored(entry.name)
        parsed = identity.parse(entry.name)
        assert parsed is not None
        assert entry.id == parsed[0]
        assert entry.name == identity.file_name(*parsed)
        with spool.at("outgoing/villa") as at:
            verdict = ready.examine(entry.name, at=at, now=os.stat(entry.path).st_ctime + 5, first_seen=0)
        assert verdict is True

    def test_in_order(self, spool: Spool) -> None:
        """Names sort as they were dropped, however fast."""
        names = [spool.drop("villa", b"x").name for _ in range(200)]
        assert sorted(names) == names

    def test_from_many_threads(self, spool: Spool) -> None:
        """None is lost and none is mixed up."""

        def work(number: int) -> None:
            for _ in range(10):
                spool.drop("villa", f"{number}".encode() * 100)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = list(contents(spool.root, "outgoing").values())
        assert sorted(f"{number}".encode() * 100 for number in range(8) for _ in range(10)) == sorted(found)

    @pytest.mark.parametrize("channel", ["", ".", "..", "../escape", "a/b", "/tmp", ".hidden", "a\0b"])
    def test_no_channel_leads_elsewhere(self, channel: str, spool: Spool) -> None:
        """Whoever names one: a model, say."""
        before = tree(spool.root.parent)
        with pytest.raises(SpoolError, match="cannot be a name in the spool"):
            spool.drop(channel, b"hello")
        assert before == tree(spool.root.parent)

    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../../x", "/etc/passwd", "a/b", "a\0", ".bashrc", "x.part"]
    )
    def test_no_file_leads_elsewhere(self, name: str, spool: Spool) -> None:
        """Nor is one left out in silence."""
        before = tree(spool.root.parent)
        with pytest.raises(SpoolError):
            spool.drop("villa", b"hello", files={"a": b"1", name: b"2"})
        assert before == tree(spool.root.parent)

    @pytest.mark.parametrize("files", [None, {"a": b"1", "b": b"2"}])
    def test_every_system_call_failing(self, files: dict[str, bytes] | None, tmp_path: Path) -> None:
        """Whole, or an error with nothing dropped and nothing left in `tmp/`."""
        for number in count(1):
            spool = Spool.create(tmp_path / f"{number}")
            with fail_at(number) as struck:
                try:
                    spool.drop("villa", b"hello", files=files)
                except OSError as error:
                    assert errno.ENOSPC == error.errno
                    assert {} == tree(spool.root, "outgoing", "tmp")
                else:
                    assert 1 + len(files or ()) == len(contents(spool.root, "outgoing"))
            spool.close()
            if not struck:
                break
        assert number > 6

    def test_interrupted(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C in the middle of it: nothing dropped."""

        def fsync(_: int) -> None:
            raise KeyboardInterrupt

        spool.add_channel("villa")
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(KeyboardInterrupt):
            spool.drop("villa", b"hello")
        assert {} == tree(spool.root, "outgoing", "tmp")

    @pytest.mark.parametrize("files", [None, {"a": b"hello"}])
    def test_every_crash(self, files: dict[str, bytes] | None, tmp_path: Path) -> None:
        """What lies in `outgoing/` is whole; what does not was not dropped."""
        for number in count(1):
            spool = Spool.create(tmp_path / f"{number}")
            with kill_at(number) as struck, contextlib.suppress(Killed):
                spool.drop("villa", b"hello", files=files)
            found = contents(spool.root, "outgoing")
            assert len(found) in (0, 1 + len(files or ()))
            assert all(b"hello" == data for data in found.values())
            spool.close()
            if not struck:
                break
        assert number > 6

    @pytest.mark.parametrize("files", [None, {"a": b"hello"}])
    def test_every_power_cut(self, files: dict[str, bytes] | None, spool: Spool, tmp_path: Path) -> None:
        """The same, with whatever the disk may hold then; once it has returned, it is there."""
        with recorded(tmp_path) as calls:
            spool.drop("villa", b"hello", files=files)
        whole = 1 + len(files or ())
        for returned, state in calls.after_a_cut():
            found = [
                data
                for name, data in state.items()
                if name.startswith("spool/outgoing/") and data is not None
            ]
            assert [b"hello"] * len(found) == found
            assert len(found) in ((whole,) if returned == len(calls.calls) else (0, whole))


class TestFind:
    """Where an entry is, and what came of it."""

    def claimed(self, spool: Spool, entry: Entry) -> Claim:
        for state in ("sending", "failed"):
            (spool.root / state / entry.channel).mkdir(exist_ok=True)
        os.rename(entry.path, spool.root / "sending" / entry.channel / entry.name)
        return Claim(spool.root, spool.fd, entry.channel, entry.name)

    @pytest.mark.parametrize("known", [False, True])
    def test_through_all_states(self, known: bool, spool: Spool) -> None:
        """By ID alone, and with channel and name, which is cheaper."""
        entry = spool.drop("villa", b"hello", name="a note")
        where = (entry.channel, entry.name) if known else ()
        assert entry == spool.find(entry.id, *where)
        claim = self.claimed(spool, entry)
        assert "sending" == getattr(spool.find(entry.id, *where), "state", None)
        claim.release()
        assert entry == spool.find(entry.id, *where)
        place = self.claimed(spool, entry).failed("50013 Missing Permissions", hint="give it")
        assert Entry(
            entry.id, "villa", entry.name, "failed", spool.root / place, reason="50013 Missing Permissions"
        ) == spool.find(entry.id, *where)

    def test_sent(self, spool: Spool) -> None:
        """With the message's ids and address, from the journal."""
        entry = spool.drop("villa", b"hello")
        place = self.claimed(spool, entry).sent()
        with spool.at("state") as state:
            journal = Journal(state)
            journal.sent(entry.id, VILLA, 2, 8, 3)
            journal.sent(entry.id, VILLA, 1, 7, 3)
            journal.close()
        found = spool.find(entry.id)
        assert Entry(
            entry.id, "villa", entry.name, "sent", spool.root / place,
            message_ids=(7, 8), channel_id=VILLA, guild_id=3,
        ) == found  # fmt: skip
        assert found is not None
        assert f"https://discord.com/channels/3/{VILLA}/7" == found.jump_url

    def test_sent_where_the_journal_may_not_be_read(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A dropper gets the state without the message's id."""
        entry = spool.drop("villa", b"hello")
        self.claimed(spool, entry).sent()
        deny(monkeypatch, "state")
        found = spool.find(entry.id)
        assert found is not None
        assert ("sent", (), None) == (found.state, found.message_ids, found.jump_url)

    def test_a_reason_that_is_no_text(self, spool: Spool) -> None:
        """Somebody wrote it by hand, or it is gone, or a directory: the state is known all the same."""
        entry = spool.drop("villa", b"hello")
        place = self.claimed(spool, entry).failed("no")
        why = spool.root / f"{place}.why"
        why.write_bytes(b"2026-11-22T05:55:02Z  \xff no\n")
        assert "� no" == getattr(spool.find(entry.id), "reason", None)
        why.unlink()
        assert "" == getattr(spool.find(entry.id), "reason", None)
        why.mkdir()
        assert "" == getattr(spool.find(entry.id), "reason", None)

    def test_nowhere(self, spool: Spool) -> None:
        """Cancelled, or never dropped; a reason alone is no entry."""
        entry = spool.drop("villa", b"hello")
        entry.path.unlink()
        (spool.root / "failed" / "villa").mkdir()
        (spool.root / "failed" / "villa" / f"{entry.id}.why").write_text("x")
        assert spool.find(entry.id) is None
        assert spool.find(entry.id, "nobody", entry.name) is None

    def test_directly_in_failed(self, spool: Spool) -> None:
        """What was dropped without a channel."""
        entry = spool.drop("villa", b"hello")
        os.rename(entry.path, spool.root / "failed" / entry.name)
        found = spool.find(entry.id)
        assert found is not None
        assert ("failed", "", spool.root / "failed" / entry.name) == (found.state, found.channel, found.path)

    def test_put_back_behind_the_first_look(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Released from `sending/` to `outgoing/` just when `outgoing/` had been looked through."""
        entry = spool.drop("villa", b"hello")
        claim = self.claimed(spool, entry)
        real = Spool.has

        def has(self: Spool, path: str, name: str) -> bool:
            if path == "sending/villa" and not claim.settled:
                claim.release()
            return real(self, path, name)

        monkeypatch.setattr(Spool, "has", has)
        assert entry == spool.find(entry.id, "villa", entry.name)

    def test_no_address_without_a_message(self) -> None:
        """Nor in a direct message's channel, which has no guild."""
        entry = Entry("x", "villa", "x", "sent", Path("x"), message_ids=(7,), channel_id=VILLA)
        assert entry.jump_url is None


class TestLooking:
    """Names and sweeps."""

    def test_names_of_no_directory(self, spool: Spool, tmp_path: Path) -> None:
        """Missing, a file, a link: nothing there."""
        (spool.root / "outgoing" / "file").write_bytes(b"x")
        (spool.root / "outgoing" / "link").symlink_to(tmp_path)
        for name in ("missing", "file", "link"):
            assert [] == spool.names(f"outgoing/{name}")
            assert not spool.has(f"outgoing/{name}", "spool")
        assert [] == spool.channels("outgoing")

    def test_has(self, spool: Spool) -> None:
        """Anything of that name."""
        (spool.root / "outgoing" / ".hold").symlink_to("nowhere")
        assert spool.has("outgoing", ".hold")
        assert not spool.has("outgoing", ".hole")

    def test_sweep(self, tmp_path: Path) -> None:
        """What writers left in `tmp/` 36 hours ago, bundles too; nothing younger, nothing elsewhere."""
        clock = FakeClock()
        spool = Spool.create(tmp_path / "spool", clock=clock)
        for name, age in {"old": 37, "older.msg": 37, "young": 35, ".old": 100}.items():
            path = spool.root / "tmp" / name
            if name.endswith(".msg"):
                (path / "files").mkdir(parents=True)
                (path / "body").write_bytes(b"x")
            else:
                path.write_bytes(b"x")
            os.utime(path, (clock.now - age * HOURS,) * 2)
        kept = spool.drop("villa", b"hello").path
        os.utime(kept, (0, 0))
        assert 3 == spool.sweep()
        assert {"tmp": ["young"], "outgoing/villa": [kept.name]} == tree(spool.root, "tmp", "outgoing")
        spool.close()

    def test_a_sweep_follows_no_link(self, tmp_path: Path) -> None:
        """Not by age, and not into what it leads to."""
        clock = FakeClock(4e9)
        spool = Spool.create(tmp_path / "spool", clock=clock)
        (tmp_path / "victim").mkdir()
        (tmp_path / "victim" / "x").write_bytes(b"x")
        (spool.root / "tmp" / "link").symlink_to(tmp_path / "victim")
        assert 1 == spool.sweep()
        assert b"x" == (tmp_path / "victim" / "x").read_bytes()
        assert [] == os.listdir(spool.root / "tmp")
        spool.close()


def test_a_sweep_ends_however_deep_it_is(tmp_path: Path) -> None:
    """Directories in directories by the thousand would end the service, and each of its starts."""
    spool = Spool.create(tmp_path / "spool", clock=FakeClock(4e9))
    dig(spool.root / "tmp" / "deep", 2000)
    assert 1 == spool.sweep()
    assert [] == os.listdir(spool.root / "tmp")
    spool.close()


def test_the_root_is_held(spool: Spool, tmp_path: Path) -> None:
    """A spool that is renamed while it is open is still the same spool, and its old name leads nowhere."""
    (tmp_path / "victim").mkdir()
    spool.root.rename(tmp_path / "moved")
    spool.root.symlink_to(tmp_path / "victim")
    spool.drop("villa", b"hello")
    assert {} == tree(tmp_path / "victim")
    assert [b"hello"] == list(contents(tmp_path / "moved", *STATES).values())


def deny(monkeypatch: pytest.MonkeyPatch, name: str | Path) -> None:
    """This user may not open that."""
    real: Callable[..., int] = os.open

    def refuse(path: Any, *arguments: Any, **keywords: Any) -> int:
        if path == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
