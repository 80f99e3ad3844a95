"""`state/mail/`: one file a mail, and its state is its name.

    <id>.json            waits
    <id>.tried.json      gt was started with it, and how that ended is not known yet
    <id>.given-up.json   will not be sent; kept for whoever looks

A mail that arrived has no file. Every change is one rename or one atomic write, durable on return.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from spoolbridge import atomic
from spoolbridge.mail import Mail, decode

_STATE_MODE = 0o2750
_LARGEST_FILE = 1 << 20  # bytes; a body has 32 KiB, JSON's escapes make it six times that at most
_WAITING, _TRIED, _GIVEN_UP = "{}.json", "{}.tried.json", "{}.given-up.json"
_FORM = re.compile(r"(\d{1,20})(\.tried)?\.json")
_GIVEN_UP_FORM = re.compile(r"\d{1,20}\.given-up\.json")


class MailFiles:
    """The mail files of the spool behind `spool_fd`. Holds the directory open until `close`."""

    def __init__(self, spool_fd: int) -> None:
        atomic.ensure_directory("state", at=spool_fd, mode=_STATE_MODE)
        with atomic.directory("state", at=spool_fd) as state:
            atomic.ensure_directory("mail", at=state, mode=_STATE_MODE)
            self._directory = atomic.open_directory("mail", at=state)

    def close(self) -> None:
        os.close(self._directory)

    def put(self, mail: Mail) -> None:
        """Have the mail wait; one that is there in any state stays as it is."""
        if not any(self._has(form, mail.message_id) for form in (_WAITING, _TRIED, _GIVEN_UP)):
            atomic.replace(_WAITING.format(mail.message_id), mail.encode(), at=self._directory)

    def waiting(self) -> list[tuple[int, bool]]:
        """Message id and whether it was tried, the oldest first."""
        found = (_FORM.fullmatch(name) for name in os.listdir(self._directory))
        return sorted((int(match[1]), bool(match[2])) for match in found if match)

    def given_up(self) -> int:
        """How many lie here that will not be sent."""
        return sum(1 for name in os.listdir(self._directory) if _GIVEN_UP_FORM.fullmatch(name))

    def load(self, message_id: int, *, tried: bool) -> Mail:
        """Raises ValueError where the file holds no mail, FileNotFoundError where it is gone."""
        name = (_TRIED if tried else _WAITING).format(message_id)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            return decode(atomic.read_bounded(fd, _LARGEST_FILE))
        finally:
            os.close(fd)

    def mark_tried(self, message_id: int) -> None:
        """From now until the outcome is known, the mail may be in the recipient's inbox."""
        self._move(message_id, _WAITING, _TRIED)

    def wait_again(self, message_id: int) -> None:
        """The try surely came to nothing."""
        self._move(message_id, _TRIED, _WAITING)

    def readdress(self, mail: Mail, to: str) -> None:
        """As `wait_again`, and the next try goes to another address."""
        changed = replace(mail, to=to, readdressed=True)
        atomic.replace(_TRIED.format(mail.message_id), changed.encode(), at=self._directory)
        self.wait_again(mail.message_id)

    def give_up(self, message_id: int, *, tried: bool) -> None:
        self._move(message_id, _TRIED if tried else _WAITING, _GIVEN_UP)

    def arrived(self, message_id: int) -> None:
        """The mail is in the recipient's inbox: nothing is left to do."""
        os.unlink(_TRIED.format(message_id), dir_fd=self._directory)
        atomic.sync_directory(self._directory)

    def _move(self, message_id: int, form: str, new: str) -> None:
        directory = self._directory
        atomic.move(form.format(message_id), new.format(message_id), src=directory, dst=directory)

    def _has(self, form: str, message_id: int) -> bool:
        return atomic.exists(form.format(message_id), at=self._directory)
