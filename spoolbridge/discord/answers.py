"""One answer of Discord's, or its absence, becomes an outcome or an error: decided here and nowhere else.

Promises: pure functions of what came back. `outcome_*` are for a post, where "was it carried out?" is the
question; `error_*` are for everything else. A reason is one sentence of at most 300 characters in our own
words, with Discord's code; it never holds HTML, control characters or the text of the message. Must never
call an outcome `NotSent` where the request may have been carried out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple

import aiohttp

from spoolbridge.discord.breaker import TURNED_AWAY
from spoolbridge.discord.bucket import number
from spoolbridge.discord.codes import (
    CLOSED,
    FILES_REFUSED,
    MEANINGS,
    MISSING_PERMISSION,
    REPLY_REFUSED,
    TRANSIENT,
    UNKNOWN_MESSAGE,
)
from spoolbridge.discord.routes import Route
from spoolbridge.errors import (
    ChannelClosedError,
    DiscordError,
    RefusedError,
    TokenRefusedError,
    UnreachableError,
)
from spoolbridge.outcome import Closed, NotSent, Outcome, Refused, Sent, Unknown

RETRY_AFTER = "Retry-After"
VIA = "Via"

#: Characters; it must fit a line of STATUS and of a .why.
LONGEST_REASON = 300
#: Details of a validation error that are worth showing.
MOST_DETAILS = 3

#: What `Answer.data` is where the body is no JSON, or not the whole of it; None is JSON's null.
UNREADABLE: Final = object()

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TIMED_OUT, _TOO_LARGE, _TOO_MANY = 401, 403, 404, 408, 413, 429
_FILES = {"files", "attachments"}  # where a validation error puts the fault of a file
_SNOWFLAKE = re.compile(r"[0-9]{1,20}")
_QUOTED = re.compile(r'"[^"]*"?|“[^”]*”?|`[^`]*`?')


class Answer(NamedTuple):
    """What came back. `data` is the body's JSON, or UNREADABLE; `headers` ignore case."""

    status: int
    headers: Mapping[str, str]
    data: object

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        if not headers.get("Content-Type", "").startswith("application/json"):
            return cls(status, headers, UNREADABLE)
        try:
            return cls(status, headers, json.loads(body.decode("utf-8", "surrogatepass")))
        except (ValueError, RecursionError):
            return cls(status, headers, UNREADABLE)

    @property
    def fields(self) -> dict[str, object]:
        return self.data if isinstance(self.data, dict) else {}

    @property
    def code(self) -> int:
        """Discord's own code; 0 where the answer has none."""
        code = self.fields.get("code")
        return code if isinstance(code, int) and not isinstance(code, bool) else 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def edge(self) -> bool:
        """Whether Cloudflare turned the request away: no answer of Discord's, and one for every route."""
        if self.status == _TOO_MANY:
            return VIA not in self.headers or "retry_after" not in self.fields
        return self.status == _FORBIDDEN and VIA not in self.headers and not self.fields

    @property
    def retry_after(self) -> float | None:
        """Seconds; the body's figure is exact, the header's rounded up."""
        named = number(self.fields.get("retry_after"))
        return number(self.headers.get(RETRY_AFTER)) if named is None else named


def outcome_of(answer: Answer, *, retrying: bool = False, files: bool = False) -> Outcome:
    """What an answer to Create Message means.

    `retrying`: the nonce was used before, so "unknown message" says that it was posted and then deleted.
    `files`: files were sent; a missing permission may then be the one to attach, and is not the channel's.
    Raises TokenRefusedError on 401.
    """
    if answer.status == _UNAUTHORIZED:
        raise token_refused(answer.code)
    if answer.ok:
        return _posted(answer)
    if answer.status >= 500 or answer.status == _TIMED_OUT:
        return Unknown(reason_of(answer))
    if _passes_later(answer):
        return NotSent(reason_of(answer), answer.retry_after)
    if retrying and answer.status == _NOT_FOUND and answer.code == UNKNOWN_MESSAGE:
        return Sent(0)
    if answer.code in CLOSED and not (files and answer.code == MISSING_PERMISSION):
        return Closed(reason_of(answer), answer.code)
    return Refused(reason_of(answer), answer.code, answer.status, _refused_part(answer, files=files))


def _refused_part(answer: Answer, *, files: bool) -> Literal["message", "reply", "files"]:
    """What the refusal is about; a missing permission to a post with files may be the one to attach."""
    faulty = {path.partition(".")[0] for path, _, _ in flattened(answer.fields.get("errors"))}
    if answer.code in REPLY_REFUSED or "message_reference" in faulty <= {"message_reference", *_FILES}:
        return "reply"  # and perhaps the files: without the reply, the next answer is about them alone
    about_files = answer.status == _TOO_LARGE or answer.code in FILES_REFUSED | {MISSING_PERMISSION}
    return "files" if files and (about_files or (faulty and faulty <= _FILES)) else "message"


def _posted(answer: Answer) -> Outcome:
    message_id = answer.fields.get("id")
    if isinstance(message_id, str) and _SNOWFLAKE.fullmatch(message_id):
        return Sent(int(message_id))
    return Unknown(f"Discord answered {answer.status}, but the answer cannot be read")


def _passes_later(answer: Answer) -> bool:
    # A redirect is nobody's refusal of this message: a proxy or a mistaken address stands in the way.
    redirect = 300 <= answer.status < 400
    return redirect or answer.status == _TOO_MANY or answer.edge or answer.code in TRANSIENT


def outcome_of_failure(error: Exception) -> NotSent | Unknown:
    """What a post without an answer means: whether the request can have reached Discord."""
    return NotSent(failure_reason(error)) if surely_not_sent(error) else Unknown(failure_reason(error))


def surely_not_sent(error: Exception) -> bool:
    """Whether no connection was made: refused, DNS, TLS. A reset or a time-out later leaves it open."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def error_of(answer: Answer, route: Route) -> DiscordError:
    """The error that says what an answer other than success means."""
    status, code, reason = answer.status, answer.code, reason_of(answer)
    if status == _UNAUTHORIZED:
        return token_refused(code)
    if status >= 500 or status == _TIMED_OUT or _passes_later(answer) or answer.ok:
        return UnreachableError(reason, status=status, code=code, retry_after=answer.retry_after)
    if code in CLOSED and route.about_messages:
        return ChannelClosedError(reason, status=status, code=code)
    return RefusedError(reason, status=status, code=code)


def token_refused(code: int = 0) -> TokenRefusedError:
    return TokenRefusedError(
        "Discord refuses the token (401)",
        "set DISCORD_BOT_TOKEN to the bot's current token, then start the service again",
        status=_UNAUTHORIZED,
        code=code,
    )


def error_of_failure(error: Exception) -> UnreachableError:
    return UnreachableError(failure_reason(error), "the bridge tries again by itself")


def failure_reason(error: Exception) -> str:
    """One sentence about a request that got no answer."""
    if surely_not_sent(error):
        return clean(f"no connection to Discord: {error or type(error).__name__}")
    if isinstance(error, TimeoutError):
        return "Discord did not answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "Discord's answer was cut off"
    return f"the connection to Discord broke off ({type(error).__name__})"


def reason_of(answer: Answer) -> str:
    """One sentence: the status, Discord's code, what it means, where the fault is, and what to do."""
    if answer.edge:
        return f"{TURNED_AWAY} ({answer.status}); the bridge waits"
    if answer.ok:
        return f"Discord answered {answer.status}, but the answer cannot be read"
    if 300 <= answer.status < 400:
        return f"Discord's address answers with a redirect ({answer.status}); check SPOOLBRIDGE_API_URL"
    coded = f"Discord answered {answer.status}" + (f", code {answer.code}" if answer.code else "")
    if answer.status == _TOO_MANY and answer.code not in MEANINGS:
        return f"{coded}: too many requests; the bridge waits and tries again"
    if answer.code not in MEANINGS:
        return clean(f"{coded}{_own_words(answer)}{_details(answer)}")
    meaning, advice = MEANINGS[answer.code]
    return clean(f"{coded}: {meaning}{_details(answer)}; {advice}")


def _own_words(answer: Answer) -> str:
    said = answer.fields.get("message")
    return f": {_unquoted(said)}" if isinstance(said, str) and said.strip() else ""


def _details(answer: Answer) -> str:
    leaves = flattened(answer.fields.get("errors"))
    found = [f"{path}: {code} {_unquoted(said)}".strip() for path, code, said in leaves]
    return f" ({'; '.join(found[:MOST_DETAILS])})" if found else ""


def flattened(errors: object, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Each leaf of Discord's nested `errors`: where it is (`embeds.0.title`), its code, Discord's text."""
    if not isinstance(errors, dict):
        return
    for key, inner in errors.items():
        if key == "_errors" and isinstance(inner, list):
            for leaf in inner:
                if isinstance(leaf, dict):
                    yield path or "message", str(leaf.get("code", "")), str(leaf.get("message", ""))
        else:
            yield from flattened(inner, f"{path}.{key}" if path else str(key))


def _unquoted(text: str) -> str:
    # What Discord quotes is what was sent to it, and that does not belong into a log or a .why.
    return _QUOTED.sub("“…”", text)


def clean(text: str) -> str:
    """One line of at most 300 characters, without control, format or unassigned characters."""
    plain = "".join(" " if unicodedata.category(each).startswith(("C", "Z")) else each for each in text)
    line = " ".join(plain.split())
    return line if len(line) <= LONGEST_REASON else line[: LONGEST_REASON - 1] + "…"
