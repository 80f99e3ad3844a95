"""What looks like a secret in a text: the well-known shapes of tokens and keys, found and masked.

Precise over broad, for what is held back by mistake waits for a person: a shape counts only where a word
begins, with the length and the letters that its issuer gives it, and never as a placeholder (`ghp_xxxx…`).
Commit hashes, UUIDs, snowflakes and pictures in base64 have none of these shapes.

Pure, and linear in the text's length whatever it says: a shape is looked for by the literal that begins it,
and its pattern never gives back what it took. Patterns are compiled when their literal is met, for `send`
imports this and mostly meets none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

_LEAST_DIFFERENT = 8  # characters in a value; `xxxxxxxx` and `…EXAMPLE` stand for a secret and are none
_PLACEHOLDERS = ("EXAMPLE", "example")
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_PEM = "-----BEGIN "
_PEM_END = r"-----END [A-Z0-9 ]{1,60}-----"
_LONGEST_PEM = 16384  # characters


class Leak(NamedTuple):
    """One secret: what it is, the part of it that may be shown, and where it stands in the text."""

    kind: str
    mark: str
    start: int
    end: int

    def __repr__(self) -> str:
        return f"<Leak of {self.kind} at {self.start}>"


class _Shape(NamedTuple):
    """`marks`: literals that begin it, at the beginning of a word if `word`. `pattern` is matched there; its
    group `secret`, or all of it, is the secret. `digit`: without one it is a word with hyphens."""

    kind: str
    marks: tuple[str, ...]
    pattern: str
    word: bool = True
    digit: bool = False


_END = r"(?![A-Za-z0-9_-])"
_GAP = r"(?:\s|\\[nr]){1,10}+"  # as in a file, and as in a string of JSON
_SHAPES = (
    _Shape(
        "a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), rf"gh[pousr]_[A-Za-z0-9]{{36,251}}+{_END}"
    ),
    _Shape("a GitHub token", ("github_pat_",), rf"github_pat_[A-Za-z0-9]{{22}}_[A-Za-z0-9]{{59}}{_END}"),
    _Shape("a GitLab token", ("glpat-",), r"glpat-[A-Za-z0-9_.-]{20,300}+", digit=True),
    _Shape("a Slack token", ("xox", "xapp-"), r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{20,300}+", digit=True),
    _Shape(
        "a Slack webhook", ("hooks.slack.com/services/",),
        rf"hooks\.slack\.com/services/T[A-Z0-9]{{6,14}}/B[A-Z0-9]{{6,14}}/[A-Za-z0-9]{{20,30}}+{_END}",
    ),
    _Shape(
        "a Discord webhook", ("discord.com/api/", "discordapp.com/api/"),
        r"discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{17,20}+/[A-Za-z0-9_-]{60,90}+",
    ),
    _Shape("a Discord token", ("mfa.",), r"mfa\.[A-Za-z0-9_-]{84,100}+", digit=True),
    _Shape("an AWS access key", ("AKIA", "ASIA"), rf"A[KS]IA[A-Z0-9]{{16}}{_END}"),
    _Shape(
        "an AWS secret key",
        ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "SecretAccessKey", "secretAccessKey"),
        r"\w{15,21}+[\"']?\s{0,5}+[=:]\s{0,5}+[\"']?(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _Shape("a Google API key", ("AIza",), rf"AIza[A-Za-z0-9_-]{{35}}{_END}"),
    _Shape("a Google client secret", ("GOCSPX-",), rf"GOCSPX-[A-Za-z0-9_-]{{28}}{_END}"),
    _Shape("a Google access token", ("ya29.",), r"ya29\.[A-Za-z0-9_.-]{50,2000}+", digit=True),
    _Shape("an Anthropic key", ("sk-ant-",), r"sk-ant-[a-z]{2,8}\d\d-[A-Za-z0-9_-]{40,300}+"),
    _Shape(
        "an OpenAI key", ("sk-proj-", "sk-svcacct-", "sk-admin-"),
        r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,300}+", digit=True,
    ),
    _Shape("an OpenAI key", ("sk-",), rf"sk-[A-Za-z0-9]{{40,60}}+{_END}", digit=True),
    _Shape("an OpenRouter key", ("sk-or-",), rf"sk-or-v1-[0-9a-f]{{64}}{_END}"),
    _Shape("a Stripe key", ("sk_live_", "rk_live_"), rf"[rs]k_live_[A-Za-z0-9]{{20,250}}+{_END}"),
    _Shape("an npm token", ("npm_",), rf"npm_[A-Za-z0-9]{{36}}{_END}"),
    _Shape("a Hugging Face token", ("hf_",), rf"hf_[A-Za-z0-9]{{34}}{_END}"),
    _Shape("a SendGrid key", ("SG.",), rf"SG\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{43}}{_END}"),
    _Shape("an age key", ("AGE-SECRET-KEY-1",), rf"AGE-SECRET-KEY-1[A-Z0-9]{{58}}{_END}"),
    _Shape(
        "a JSON Web Token", ("eyJ",),
        r"eyJ[A-Za-z0-9_-]{10,2000}+\.eyJ[A-Za-z0-9_-]{10,8000}+\.[A-Za-z0-9_-]{20,2000}+",
    ),
    _Shape(
        "a private key", (_PEM,),
        rf"-----BEGIN (?:[A-Z0-9]{{1,20}}+ ){{0,3}}?PRIVATE KEY(?: BLOCK)?-----{_GAP}"
        rf"(?:[A-Za-z-]{{1,20}}+: [^\n\\]{{0,200}}+{_GAP}){{0,5}}[A-Za-z0-9+/]{{40}}",
        word=False,
    ),
    _Shape(
        "a password in an address", ("://",),
        r"://[^\s/:@\"'<>]{0,100}+:(?P<secret>[^\s/@:\"'<>(){}$*]{8,200}+)@[A-Za-z0-9.-]{1,253}",
        word=False, digit=True,
    ),
)  # fmt: skip
#: Most texts hold none of these, and to see that is all that is done with them.
_MARKS = tuple((shape, mark) for shape in _SHAPES for mark in shape.marks)
#: Its first part is the bot's id in base64, so it begins with one of three letters.
_DISCORD = r"([MNO](?<!\w.)[\w-]{22,27})\.[\w-]{6}\.[\w-]{27,110}+"


def find(text: str) -> list[Leak]:
    """The secrets in a text, by where they stand; none overlaps another."""
    seen: list[Leak] = []
    for shape, mark in _MARKS:
        if mark in text:
            seen += _beginning(shape, mark, text)
    if text.count(".") > 1:
        seen += _of_discord(text)
    found: list[Leak] = []
    for leak in sorted(seen, key=lambda each: (each.start, -each.end)):
        if not found or leak.start >= found[-1].end:
            found.append(leak)
    return found


def mask(text: str, own: str = "", *, by: str = "…") -> str:
    """The text with every secret cut to what it begins with; of `own`, a secret of our own, nothing stays."""
    if own:
        text = text.replace(own, by)
    for leak in reversed(find(text)):
        text = text[: leak.start] + leak.mark + by + text[leak.end :]
    return text


def _beginning(shape: _Shape, mark: str, text: str) -> Iterator[Leak]:
    """Those of a shape that begin with one of its marks."""
    at = text.find(mark)
    while at >= 0:
        after = at + len(mark)
        if not (shape.word and at and text[at - 1] in _WORD):
            match = _compiled(shape.pattern).match(text, at)
            if match is not None:
                after = match.end()  # also where it is none: what was read is not read again
                if leak := _judged(shape, mark, match):
                    yield leak
        at = text.find(mark, after)


def _of_discord(text: str) -> Iterator[Leak]:
    for match in _compiled(_DISCORD).finditer(text):
        if _is_an_id(match[1]):
            yield Leak("a Discord token", "", match.start(), match.end())


def _judged(shape: _Shape, mark: str, match: re.Match[str]) -> Leak | None:
    """The leak, unless what has its shape is a placeholder or a word."""
    group = "secret" if "secret" in match.groupdict() else 0
    start, end = match.span(group)
    value = match[group]
    if len(set(value)) < _LEAST_DIFFERENT or any(each in value for each in _PLACEHOLDERS):
        return None
    if shape.digit and not any(each.isdigit() for each in value[0 if group else len(mark) :]):
        return None
    if mark == "eyJ" and not _is_a_head(value.partition(".")[0]):
        return None
    if mark == _PEM:
        ending = _compiled(_PEM_END).search(match.string, end, end + _LONGEST_PEM)
        end = ending.end() if ending else min(len(match.string), end + _LONGEST_PEM)
    return Leak(shape.kind, "" if group else mark, start, end)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _is_an_id(part: str) -> bool:
    """Whether it is a snowflake in base64."""
    digits = _decoded(part)
    return digits.isdigit() and 17 <= len(digits) <= 20


def _is_a_head(part: str) -> bool:
    """Whether it is the head of a JSON Web Token."""
    head = _decoded(part)
    return head.startswith(b"{") and b'"alg"' in head


def _decoded(part: str) -> bytes:
    import base64

    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return b""
