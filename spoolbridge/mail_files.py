"""`state/mail/`: one file a mail, and its state is its name.

    <key>.json            waits
    <key>.tried.json      gt was started with it, and how that ended is not known yet
    <key>.given-up.json   will not be sent; kept for whoever looks
    <key>.told.json       of an entry: its sender has been told, and will not be told again

The key is a message's id, or the ID of the entry that the mail tells of. A message's mail that arrived has no
file. Every change is one rename or one atomic write, durable on return.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from spoolbridge import atomic, identity
from spoolbridge.mail import Mail, decode

_STATE_MODE = 0o2750
_LARGEST_FILE = 1 << 20  # bytes; a body has 32 KiB, JSON's escapes make it six times that at most
_WAITING, _TRIED, _GIVEN_UP, _TOLD = "{}.json", "{}.tried.json", "{}.given-up.json", "{}.told.json"
_FORMS = (_WAITING, _TRIED, _GIVEN_UP, _TOLD)
_FORM = re.compile(r"(\d{1,20}|[^.]{15}\.[^.]+)((?:\.tried|\.given-up|\.told)?)\.json", re.ASCII)
_DISCORD_EPOCH = 1420070400.0  # unix seconds at which snowflakes begin


class MailFiles:
    """The mail files of the spool behind `spool_fd`. Holds the directory open until `close`."""

    def __init__(self, spool_fd: int) -> None:
        atomic.ensure_directory("state", at=spool_fd, mode=_STATE_MODE)
        with atomic.directory("state", at=spool_fd) as state:
            atomic.ensure_directory("mail", at=state, mode=_STATE_MODE)
            self._directory = atomic.open_directory("mail", at=state)

    def close(self) -> None:
        os.close(self._directory)

    def put(self, mail: Mail) -> bool:
        """Have the mail wait; one that is there in any state stays as it is, and the answer is False."""
        if any(self._has(form, mail.key) for form in _FORMS):
            return False
        atomic.replace(_WAITING.format(mail.key), mail.encode(), at=self._directory)
        return True

    def waiting(self) -> list[tuple[str, bool]]:
        """Key and whether it was tried, the oldest first."""
        found = [(key, state == ".tried") for key, state in self._all() if state in ("", ".tried")]
        return sorted(found, key=lambda each: (_written(each[0]), each))

    def given_up(self) -> int:
        """How many lie here that will not be sent."""
        return sum(state == ".given-up" for _, state in self._all())

    def told(self) -> list[str]:
        """The IDs of the entries whose senders have been told."""
        return [key for key, state in self._all() if state == ".told"]

    def load(self, key: str, *, tried: bool) -> Mail:
        """Raises ValueError where the file holds no mail, FileNotFoundError where it is gone."""
        name = (_TRIED if tried else _WAITING).format(key)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            return decode(atomic.read_bounded(fd, _LARGEST_FILE))
        finally:
            os.close(fd)

    def mark_tried(self, key: str) -> None:
        """From now until the outcome is known, the mail may be in the recipient's inbox."""
        self._move(key, _WAITING, _TRIED)

    def wait_again(self, key: str) -> None:
        """The try surely came to nothing."""
        self._move(key, _TRIED, _WAITING)

    def readdress(self, mail: Mail, to: str) -> None:
        """As `wait_again`, and the next try goes to another address."""
        changed = replace(mail, to=to, readdressed=True)
        atomic.replace(_TRIED.format(mail.key), changed.encode(), at=self._directory)
        self.wait_again(mail.key)

    def give_up(self, key: str, *, tried: bool) -> None:
        self._move(key, _TRIED if tried else _WAITING, _GIVEN_UP)

    def arrived(self, mail: Mail) -> None:
        """The mail is in the recipient's inbox: nothing is left to do."""
        if mail.entry:
            self._move(mail.key, _TRIED, _TOLD)
        else:
            self._remove(_TRIED.format(mail.key))

    def forget(self, key: str) -> None:
        """The entry is gone: nobody will ask whether its sender was told."""
        self._remove(_TOLD.format(key))

    def _all(self) -> list[tuple[str, str]]:
        found = (_FORM.fullmatch(name) for name in os.listdir(self._directory))
        return [(match[1], match[2]) for match in found if match]

    def _remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._directory)
        atomic.sync_directory(self._directory)

    def _move(self, key: str, form: str, new: str) -> None:
        directory = self._directory
        atomic.move(form.format(key), new.format(key), src=directory, dst=directory)

    def _has(self, form: str, key: str) -> bool:
        return atomic.exists(form.format(key), at=self._directory)


def _written(key: str) -> float:
    """When what the mail is about was written, in unix seconds."""
    if key.isdigit():
        return (int(key) >> 22) / 1000 + _DISCORD_EPOCH
    return identity.time_of(key) if identity.parse(key) else 0.0
