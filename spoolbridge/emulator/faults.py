"""Faults on demand: what goes wrong, with which request, how often.

Pure. A fault is scripted (`add`: a method, a route, the nth request) or typed: a message that holds one of
these words meets its fault the first time it is posted, and at every try where `always` follows.

    !!drop          the connection closes, nothing was posted
    !!drop-after    posted, then the connection closes
    !!503           an HTML error page, nothing was posted (500, 502, 504, 520 to 524 too)
    !!503-after     posted, and the error page all the same
    !!slow 40       posted at once, answered 40 seconds later
    !!truncated     posted, and the answer is cut short
    !!429 2.5       a rate limit of 2.5 seconds
    !!1015          Cloudflare blocks the address
    !!down 10       nobody listens for 10 seconds
    !!401           the token is refused, once
    !!403 !!404 !!413 !!automod !!links     refused for good: these need no `always`

Kinds for `add`, with their details:

    drop_before [reset]           drop_after [reset]       truncated        hang_up (answers, then closes)
    status (status, code, message, commit, html)           delay (seconds, commit)
    ratelimit (retry_after, scope, code)                   cloudflare (shape: html, text or json; retry_after)
    unauthorized (from then on)                            down (seconds)
    body (text, status, commit): another text as JSON      new_hash: of the rate limit, from then on
    revoke (bits, of the channel, VIEW_CHANNEL if not said) and remove_channel happen just before the request

A message's file is GET /attachments/{channel}/{file}/{name}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: What each kind may be told, and the type of each detail.
KINDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "drop_before": {"reset": (bool,)},
    "drop_after": {"reset": (bool,)},
    "truncated": {},
    "hang_up": {},
    "status": {"status": (int,), "code": (int,), "message": (str,), "commit": (bool,), "html": (bool,)},
    "delay": {"seconds": (int, float), "commit": (bool,)},
    "ratelimit": {"retry_after": (int, float), "scope": (str,), "code": (int,)},
    "cloudflare": {"shape": (str,), "retry_after": (int, float)},
    "unauthorized": {},
    "down": {"seconds": (int, float)},
    "body": {"text": (str,), "status": (int,), "commit": (bool,)},
    "new_hash": {},
    "revoke": {"bits": (int,)},
    "remove_channel": {},
}
TYPED = re.compile(r"!!([a-z0-9]+(?:-after)?)\b(?:[ \t]+(\d{1,4}(?:\.\d{1,3})?)\b)?(?:[ \t]+(always)\b)?")
#: Kinds that break nothing of the answer: the request is carried out in a world that has just changed.
CHANGES = frozenset({"new_hash", "revoke", "remove_channel"})
SERVER_ERRORS = frozenset({500, 502, 503, 504, 520, 521, 522, 523, 524})
#: (word, what it does), as the page lists them.
WORDS = (
    ("!!drop", "the connection closes, nothing was posted"),
    ("!!drop-after", "posted, then the connection closes"),
    ("!!503", "a server error, nothing was posted (also 500, 502, 504, 520, 524)"),
    ("!!503-after", "posted, and a server error all the same"),
    ("!!slow 40", "posted at once, answered 40 seconds later"),
    ("!!truncated", "posted, and the answer is cut short"),
    ("!!429 2.5", "a rate limit of 2.5 seconds"),
    ("!!1015", "Cloudflare blocks the address"),
    ("!!down 10", "nobody listens for 10 seconds"),
    ("!!401", "the token is refused, once"),
    ("!!403", "the bot may not post here, at every try"),
    ("!!404", "there is no such channel, at every try"),
    ("!!413", "the request is too large, at every try"),
    ("!!automod", "AutoMod refuses the text, at every try"),
    ("!!links", "the filter for harmful links refuses, at every try"),
)
#: Words whose answer is final: they refuse every try. (status, code, message)
FINAL = {
    "403": (403, 50013, "Missing Permissions"),
    "404": (404, 10003, "Unknown Channel"),
    "413": (413, 40005, "Request entity too large"),
    "automod": (400, 200000, "Message was blocked by automatic moderation"),
    "links": (400, 240000, "Message blocked by harmful links filter"),
}


@dataclass(frozen=True)
class Fault:
    """What happens to a request instead of, or besides, its answer."""

    kind: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = KINDS.get(self.kind)
        if known is None:
            raise ValueError(f"no fault {self.kind!r}; there are: {', '.join(KINDS)}")
        for name, value in self.details.items():
            if name not in known:
                names = ", ".join(known) or "nothing"
                raise ValueError(f"the fault {self.kind!r} knows no {name!r}; it knows: {names}")
            if not isinstance(value, known[name]):
                raise ValueError(f"{name!r} of the fault {self.kind!r} must be {known[name][-1].__name__}")

    @property
    def commits(self) -> bool:
        """Whether the request is carried out although its answer is not what it should be."""
        if self.kind in ("status", "body"):
            return bool(self.details.get("commit", False))
        if self.kind == "delay":
            return bool(self.details.get("commit", True))
        return self.kind in CHANGES or self.kind in ("drop_after", "truncated", "hang_up")

    @property
    def seconds(self) -> float:
        return float(self.details.get("seconds", 1.0))


@dataclass
class Script:
    """A fault that waits for its requests: after `after` of them it meets `times` (0: all that follow)."""

    fault: Fault
    method: str
    pattern: re.Pattern[str]
    times: int
    after: int
    fired: int = 0

    def fits(self, method: str, path: str) -> bool:
        return self.method in ("*", method) and self.pattern.fullmatch(path) is not None

    @property
    def is_spent(self) -> bool:
        return self.fired >= self.times > 0


class Faults:
    """The faults that wait; `scripted` and `typed` say which one a request meets."""

    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self._met: set[str] = set()
        self._armed: dict[int, Fault] = {}

    def add(
        self, *, method: str, route: str, kind: str, times: int = 1, after: int = 0, **details: Any
    ) -> None:
        """Script a fault: `route` is a template or a path, method "*" any. ValueError for a wrong word."""
        fault = Fault(kind, details)
        pattern = "[^/]+".join(re.escape(piece) for piece in re.split(r"\{\w+\}", route))
        self._scripts.append(Script(fault, method.upper(), re.compile(pattern), times, after))

    def clear(self) -> None:
        self._scripts.clear()
        self._armed.clear()

    @property
    def waiting(self) -> int:
        """How many faults wait for a request."""
        return len(self._scripts) + len(self._armed)

    def scripted(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets. Of several that are due the oldest fires, the others wait on."""
        chosen: Script | None = None
        for script in self._scripts:
            if not script.fits(method, path):
                continue
            if script.after > 0:
                script.after -= 1
            elif chosen is None:
                chosen = script
                script.fired += 1
        self._scripts = [script for script in self._scripts if not script.is_spent]
        return None if chosen is None else chosen.fault

    def arm(self, channel_id: int, text: str) -> bool:
        """A human typed a word: the next post in that channel meets its fault. False: it is no such word."""
        found = TYPED.search(text)
        fault = None if found is None else _fault(found)
        if fault is not None:
            self._armed[channel_id] = fault
        return fault is not None

    def typed(self, channel_id: int, text: str, *, key: str = "") -> Fault | None:
        """The fault in a posted text; `key` tells one message's tries from another's (its nonce)."""
        armed = self._armed.pop(channel_id, None)
        if armed is not None:
            return armed
        found = TYPED.search(text)
        fault = None if found is None else _fault(found)
        if found is None or fault is None or found[3] or found[1] in FINAL:
            return fault
        met = f"{channel_id} {key or text}"
        if met in self._met:
            return None
        self._met.add(met)
        return fault


def _fault(found: re.Match[str]) -> Fault | None:
    """The fault that a word names; None where it is only two exclamation marks and a word."""
    word, number = found[1], float(found[2] or 0)
    if word in FINAL:
        status, code, message = FINAL[word]
        return Fault("status", {"status": status, "code": code, "message": message})
    name, _, after = word.partition("-")
    if name.isdecimal() and int(name) in SERVER_ERRORS:
        return Fault("status", {"status": int(name), "html": True, "commit": bool(after)})
    plain = {
        "drop": Fault("drop_before"),
        "drop-after": Fault("drop_after"),
        "truncated": Fault("truncated"),
        "slow": Fault("delay", {"seconds": number or 40.0}),
        "429": Fault("ratelimit", {"retry_after": number or 2.0}),
        "1015": Fault("cloudflare", {"shape": "html", "retry_after": number or 5.0}),
        "down": Fault("down", {"seconds": number or 10.0}),
        "401": Fault("status", {"status": 401, "code": 0, "message": "401: Unauthorized"}),
    }
    return plain.get(word)
