"""The one exception tree: what went wrong, in a sentence, and what to do about it.

    SpoolbridgeError
    ├── SettingsError            a setting that cannot be used
    ├── ChannelsError            discord-channels.json cannot be used
    │   └── UnknownChannelError  a channel name that the file does not hold, or holds twice
    ├── SpoolError               no spool there, or not one that can be worked with
    │   ├── SpoolBusyError       another service works on it
    │   ├── NoMessageError       no incoming message by that id or path
    │   └── ForgottenError       an ID so old that nobody knows whether it was sent
    ├── MessageError             a dropped file that is not a message
    └── DiscordError             an answer of Discord's other than success
        ├── TokenRefusedError    401: permanent, and it stops the service
        ├── ChannelClosedError   50001, 50013, 10003: permanent for one channel until someone opens it
        ├── RefusedError         any other 4xx: permanent for this request
        └── UnreachableError     no answer, 429 or 5xx: transient

Transient or permanent is decided here, by the class; nobody reads an error's text to find out.
None of these shows a traceback: each is one sentence, and `hint` is what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class SpoolbridgeError(Exception):
    """An expected error: exit code 1, one line on stderr."""

    #: Whether the same request may succeed later without anybody changing anything.
    transient = False

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class SettingsError(SpoolbridgeError):
    """A setting that cannot be used."""


class ChannelsError(SpoolbridgeError):
    """discord-channels.json is missing, unreadable or contradicts itself."""


class UnknownChannelError(ChannelsError):
    """No channel of that name, or more than one; `choices` are the names that would do."""

    def __init__(self, what: str, hint: str = "", choices: Sequence[str] = ()) -> None:
        super().__init__(what, hint)
        self.choices = tuple(choices)


class SpoolError(SpoolbridgeError):
    """No spool at that place, or not one that can be worked with."""


class SpoolBusyError(SpoolError):
    """Another service holds this spool."""

    transient = True


class NoMessageError(SpoolError):
    """No incoming message by that id or path; its reader may have removed it."""


class ForgottenError(SpoolError):
    """Whether an entry was sent stood in files of the journal that have been removed since."""

    def __init__(self) -> None:
        super().__init__("too old to tell whether it was sent", "drop it under a plain name to send it")


class MessageError(SpoolbridgeError):
    """A dropped file that is not a message; the sentence names the line or the byte."""


class DiscordError(SpoolbridgeError):
    """An answer of Discord's other than success.

    `status` is the HTTP status (0: there was no answer), `code` Discord's own (0: none was given).
    """

    def __init__(self, what: str, hint: str = "", *, status: int = 0, code: int = 0) -> None:
        super().__init__(what, hint)
        self.status = status
        self.code = code


class TokenRefusedError(DiscordError):
    """401. Every further request would count towards a ban of this address."""


class ChannelClosedError(DiscordError):
    """The bot may not see the channel or write there, or it is gone."""


class RefusedError(DiscordError):
    """Discord will not do this, however often it is asked."""


class UnreachableError(DiscordError):
    """No answer, 429 or 5xx; `retry_after` is in seconds where Discord named it."""

    transient = True

    def __init__(
        self, what: str, hint: str = "", *, status: int = 0, code: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(what, hint, status=status, code=code)
        self.retry_after = retry_after
