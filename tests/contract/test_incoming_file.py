"""The Maildir delivery, read by a reader who takes every file away as soon as it is there."""

from __future__ import annotations

import mailbox
import os
from pathlib import Path

from spoolbridge.deliveries import Delivery
from spoolbridge.incoming import maildir_bytes, maildir_name
from spoolbridge.incoming_file import IncomingFile
from tests.contract.delivery_contract import DeliveryTests
from tests.support.crashes import Killed, kill_at
from tests.support.messages import SECOND, START, VILLA, incoming


class TestIncomingFile(DeliveryTests):
    def make(self) -> Delivery:
        return IncomingFile(self.spool_fd, self.cursors)

    def new_spool(self, root: Path) -> None:
        self.taken: list[int] = []
        super().new_spool(root)

    def read(self) -> list[int]:
        new = self.root / "incoming" / "mayor-villa" / "new"
        for path in sorted(new.iterdir()):
            message_id = int(path.name.split(".")[1].removeprefix("D"))
            assert maildir_bytes(incoming(message_id)) == _as_villa(path.read_bytes())
            self.taken.append(message_id)
            path.unlink()
        return self.taken

    def test_pythons_mailbox_reads_it(self) -> None:
        """`new/` is a Maildir to others: a key, headers, a body, and flags once it was read."""
        self.delivery.deliver(VILLA, [incoming(content="grüße\nfrom Zürich")])
        box = mailbox.Maildir(self.root / "incoming" / "mayor-villa", create=False)
        (key,) = box.keys()
        message = box[key]
        assert maildir_name(incoming()) == key
        assert "Discord #mayor-villa from nic" == message["Subject"]
        body = message.get_payload(decode=True)
        assert isinstance(body, bytes)
        assert "grüße\nfrom Zürich\n" == body.decode()
        message.set_subdir("cur")
        message.add_flag("S")
        box[key] = message
        self.restart()
        assert 0 == self.delivery.deliver(VILLA, [incoming(content="grüße\nfrom Zürich")])
        assert [key] == list(mailbox.Maildir(self.root / "incoming" / "mayor-villa", create=False).keys())

    def test_the_group_may_read_and_nobody_else(self) -> None:
        """Messages are for the agents' group, whatever the umask of the service allows beyond."""
        before = os.umask(0)
        try:
            self.delivery.deliver(VILLA, [incoming()])
        finally:
            os.umask(before)
        maildir = self.root / "incoming" / "mayor-villa"
        (path,) = (maildir / "new").iterdir()
        assert 0o640 == path.stat().st_mode & 0o777
        assert 0o2770 == (maildir / "new").stat().st_mode & 0o7777

    def test_an_interrupted_page_is_finished_where_it_was_staged(self, tmp_path: Path) -> None:
        """The channel is renamed in the file between the crash and the start: the message is not lost."""
        for number in range(1, 200):
            self.stop()
            self.new_spool(tmp_path / f"renamed-{number}")
            try:
                with kill_at(number):
                    self.delivery.deliver(VILLA, [incoming()])
            except Killed:
                if not self.cursors(VILLA.id, "incoming").intended:
                    continue
                self.restart()
                assert [START] == self.read(), f"died at call {number}"
            else:
                return
        raise AssertionError("deliver never ended")

    def test_a_file_that_is_there_is_never_replaced(self) -> None:
        """A cursor put back from an old copy delivers again; what an agent may be reading stays."""
        state = self.root / "state" / "cursors" / f"{VILLA.id}.incoming.json"
        old = state.read_bytes()
        self.delivery.deliver(VILLA, [incoming()])
        (path,) = (self.root / "incoming" / "mayor-villa" / "new").iterdir()
        inode = path.stat().st_ino
        state.write_bytes(old)
        self.restart()
        self.delivery.deliver(VILLA, [incoming()])
        assert inode == path.stat().st_ino
        assert [] == list((self.root / "incoming" / "mayor-villa" / "tmp").iterdir())

    def test_a_link_in_place_of_the_maildir_is_not_followed(self, tmp_path: Path) -> None:
        """Whoever may write in incoming/ must not direct the bridge elsewhere."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        new = self.root / "incoming" / "mayor-villa" / "new"
        new.rmdir()
        new.symlink_to(elsewhere)
        try:
            self.delivery.deliver(VILLA, [incoming(START + SECOND)])
        except OSError:
            pass
        else:
            raise AssertionError("it was followed")
        assert [] == list(elsewhere.iterdir())


def _as_villa(data: bytes) -> bytes:
    """A thread's message with the header that tells it apart taken out."""
    return b"".join(line for line in data.splitlines(True) if not line.startswith(b"X-Discord-Thread-Id"))
