"""Whether a message may go out as it is: one that holds a secret is held back until a person retries it.

Looks at all of it that Discord would be shown: text, options, names and text files. Which secret was seen
is told with its value masked. Who moves the entry back from `failed/` has read why, so the same content
then passes; other content is looked at anew, and the bot's own token never passes.

That the entry was held back is noted when it lies in `failed/`, and not before: what is found in `sending/`
after a crash was put there by the service, and must not pass for a retry.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from spoolbridge import identity, leaks
from spoolbridge.claim import Claim
from spoolbridge.errors import ForgottenError
from spoolbridge.history import History
from spoolbridge.journal import Journal
from spoolbridge.leaks import Leak
from spoolbridge.outgoing import OutgoingMessage
from spoolbridge.waiting import in_thread

LOOKED_AT = 4 << 20  # characters of the text and of each file; a few hundred milliseconds in a thread
_BINARY = 8192  # bytes; a NUL among the first of a file says that it is no text
_LIGHT = 1 << 16  # characters, which take a millisecond at most

_OWN = "the bot's own token"


@dataclass(frozen=True)
class Withheld:
    """Nothing was posted, for it holds a secret. Without a `digest` it never will be."""

    reason: str
    hint: str
    channel_id: int
    digest: str = ""


class Secrecy:
    """Looks at messages. `token` is the bot's own; `holding`: whether other secrets are looked for too."""

    def __init__(self, journal: Journal, token: str = "", *, holding: bool = True) -> None:
        self._journal = journal
        self._token = token
        self._holding = holding

    async def objection(self, entry_id: str, channel_id: int, message: OutgoingMessage) -> Withheld | None:
        """Why the entry is not to be posted; None: it may be. Raises OSError."""
        light = len(message.text) <= _LIGHT and not message.files
        seen = self._seen(message) if light else await in_thread(self._seen, message)
        return await in_thread(self._judged, seen, entry_id, channel_id, message) if seen else None

    def note(self, claim: Claim, withheld: Withheld) -> None:
        """The claim lies in `failed/`: from now on the same content passes. Raises OSError: it does not."""
        parsed = identity.parse(claim.settled.rpartition("/")[2])
        if parsed:
            self._journal.failed(parsed[0], withheld.channel_id, withheld.reason, held=withheld.digest)

    def _judged(
        self, seen: list[str], entry_id: str, channel_id: int, message: OutgoingMessage
    ) -> Withheld | None:
        own = [each for each in seen if each.startswith(_OWN)]
        if own:
            hint = "take it out and drop it anew; reset the token if others could read it"
            return Withheld(f"holds {_listed(own)}, which is never posted", hint, channel_id)
        try:
            history = self._journal.history(entry_id, channel_id)
        except ForgottenError:
            return None  # it is not posted anyway, for a reason of its own
        digest = _digest(message)
        if history.held == digest or _begun(history):
            return None
        reason = f"holds what looks like {_listed(seen)}; nothing was posted"
        hint = "take it out and drop it anew; or retry it as it is, and it is posted all the same"
        return Withheld(reason, hint, channel_id, digest)

    def _hides_own(self, data: bytes) -> bool:
        """Whether our token stands in a file that is no text: an archive, or what Windows writes."""
        if not self._token or b"\0" not in data:
            return False
        return any(self._token.encode(form) in data for form in ("utf-8", "utf-16-le", "utf-16-be"))

    def _seen(self, message: OutgoingMessage) -> list[str]:
        """Each secret in words, without its value, the bot's own first."""
        found: list[str] = []
        for file in message.files:
            if self._hides_own(file.data):
                found.append(f"{_OWN} ({leaks.mask(file.name)})")
        for place, text in _shown(message):
            if self._token and self._token in text:
                found.insert(0, f"{_OWN} ({place(text.index(self._token))})")
            elif self._holding:
                for leak in leaks.find(text[:LOOKED_AT]):
                    found.append(_told(leak, place(leak.start)))
        return found


@dataclass(frozen=True)
class _Place:
    """Where a text stands in the message; called with an offset in it, the place in words."""

    name: str
    text: str = ""

    def __call__(self, at: int) -> str:
        return f"line {self.text.count(chr(10), 0, at) + 1} of {self.name}" if self.text else self.name


def _shown(message: OutgoingMessage) -> Iterator[tuple[_Place, str]]:
    """All that Discord is shown of a message, with its place."""
    yield _Place("the text", message.text), message.text
    options = message.options
    for key, value in (("Rig", options.rig), ("Thread", options.thread), ("React", options.react)):
        if isinstance(value, str):
            yield _Place(f"the option {key}"), value
    for file in message.files:
        yield _Place("the name of a file"), file.name
        text = _text(file.data)
        yield _Place(leaks.mask(file.name), text), text


def _text(data: bytes) -> str:
    """Of a file; empty where it is none."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what Windows calls text
        return data[: 2 * LOOKED_AT].decode("utf-16", "replace")
    # Latin-1 takes any byte, and what the shapes are made of is ASCII.
    return data.decode("latin-1") if b"\0" not in data[:_BINARY] else ""


def _told(leak: Leak, place: str) -> str:
    begins = f"{leak.mark.strip()}…, " if leak.mark else ""
    return f"{leak.kind} ({begins}{leak.end - leak.start} characters, {place})"


def _listed(seen: list[str]) -> str:
    more = len(seen) - 1
    return seen[0] + (f" and {more} more secret{'s' if more > 1 else ''}" if more else "")


def _begun(history: History) -> bool:
    """Whether something of it is on Discord, or may be: then the rest is not kept back."""
    return any(part.message_id is not None or part.unresolved is not None for part in history.part.values())


def _digest(message: OutgoingMessage) -> str:
    """What the same content is recognised by."""
    digest = hashlib.blake2b(digest_size=16)
    for each in (message.text, repr(tuple(message.options)), *(file.name for file in message.files)):
        digest.update(each.encode("utf-8", "surrogatepass") + b"\0")
    for file in message.files:
        digest.update(len(file.data).to_bytes(8, "big") + file.data)
    return digest.hexdigest()
