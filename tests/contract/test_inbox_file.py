"""The inbox file delivery, read as any follower of discord-inbox.jsonl reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from spoolbridge import inbox_file
from spoolbridge.deliveries import Delivery
from spoolbridge.inbox_file import InboxFile
from tests.contract.delivery_contract import DeliveryTests
from tests.support.crashes import Killed, kill_at
from tests.support.messages import SECOND, START, VILLA, incoming
from tests.support.waiting import wait_until


class TestInboxFile(DeliveryTests):
    @property
    def path(self) -> Path:
        return self.root / "daemon" / "discord-inbox.jsonl"

    def make(self) -> Delivery:
        return InboxFile(self.path, self.cursors)

    def read(self) -> list[int]:
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines(True) if line.endswith("\n")]

    def test_a_torn_last_line_is_kept_aside(self) -> None:
        """What a power cut left of a line is cut, kept, and written again whole."""
        self.delivery.deliver(VILLA, [incoming(START)])
        with self.path.open("ab") as file:
            file.write(b'{"timestamp": "2026-')
        self.restart()
        self.delivery.deliver(VILLA, [incoming(START + SECOND)])
        assert [START, START + SECOND] == self.read()
        assert b'{"timestamp": "2026-' == self.path.with_name("discord-inbox.jsonl.torn").read_bytes()

    def test_lines_of_others_are_left_alone(self) -> None:
        """Older lines without an id, and ones that are no JSON, neither count nor hinder."""
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text('{"timestamp": "x", "subject": "y", "body": "z"}\nnonsense\n[1]\n', "utf-8")
        self.restart()
        assert 1 == self.delivery.deliver(VILLA, [incoming()])
        assert 4 == len(self.path.read_text("utf-8").splitlines())

    def test_a_file_rotated_in_between_counts(self, tmp_path: Path) -> None:
        """The line was appended, the process died, the file was rotated: it is not written again."""
        for name in ("discord-inbox.jsonl.1", "discord-inbox-20261122.jsonl"):
            self.stop()
            self.new_spool(tmp_path / name)
            self._die_before_the_cursor()
            self.path.rename(self.path.with_name(name))
            self.restart()
            self.delivery.deliver(VILLA, [incoming()])
            assert [] == self.read()

    def test_rotation_while_running_loses_nothing(self) -> None:
        """The next page goes to the new file, not to the one that was renamed away."""
        self.delivery.deliver(VILLA, [incoming(START)])
        self.path.rename(self.path.with_name("discord-inbox.jsonl.1"))
        self.delivery.deliver(VILLA, [incoming(START + SECOND)])
        assert [START + SECOND] == self.read()

    def test_a_follower_loses_no_line_in_a_rotation(self, tmp_path: Path) -> None:
        """`tail -F` reads on while the file is renamed away, again and again."""
        self.delivery.deliver(VILLA, [incoming(START)])
        followed = tmp_path / "followed"
        with followed.open("wb") as out:
            command = ["tail", "-n", "+1", "-s", "0.05", "-F", str(self.path)]
            tail = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        try:
            ids = [START]
            for number in range(1, 6):
                _has_lines(followed, len(ids))
                self.path.rename(self.path.with_name(f"discord-inbox.jsonl.{number}"))
                ids += [START + (2 * number + each) * SECOND for each in range(2)]
                self.delivery.deliver(VILLA, [incoming(each) for each in ids[-2:]])
            _has_lines(followed, len(ids))
        finally:
            tail.terminate()
            tail.wait()
        assert ids == [int(json.loads(line)["id"]) for line in followed.read_bytes().splitlines()]

    def test_a_page_longer_than_the_look_back_is_remembered(self) -> None:
        """The cursor moves in groups, so that what is read back at a start always reaches it."""
        ids = [START + number * SECOND for number in range(40)]
        messages = [incoming(each, "x" * 40_000) for each in ids]
        calls = 1
        while True:
            try:
                with kill_at(calls):
                    self.delivery.deliver(VILLA, messages)
                break
            except Killed:
                assert self._unaccounted() <= inbox_file.LOOK_BACK
                self.restart()
                calls += 10
        assert ids == self.read()

    def _unaccounted(self) -> int:
        cursor = self.cursors(VILLA.id, "inbox")
        lines = self.path.read_bytes().splitlines(True) if self.path.exists() else []
        return sum(len(line) for line in lines if not cursor.seen(int(json.loads(line)["id"])))

    def _die_before_the_cursor(self) -> None:
        number = 0
        while self.read() == []:
            number += 1
            try:
                with kill_at(number):
                    self.delivery.deliver(VILLA, [incoming()])
            except Killed:
                pass
        assert not self.cursors(VILLA.id, "inbox").seen(START)


def _has_lines(path: Path, count: int) -> None:
    """Wait until a follower has written as many whole lines."""
    wait_until(lambda: path.read_bytes().count(b"\n") == count, 10)
