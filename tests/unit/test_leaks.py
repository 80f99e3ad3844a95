"""Secrets in a text: found by their shapes, masked, and nothing else taken for one."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import string
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import identity, leaks

_LETTERS = string.ascii_letters + string.digits
_RANDOM = random.Random(20261124)


def letters(count: int, alphabet: str = _LETTERS) -> str:
    """So many, with a digit among them."""
    return "7" + "".join(_RANDOM.choices(alphabet, k=count - 1))


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def pem(kind: str, head: str = "") -> str:
    body = base64.encodebytes(_RANDOM.randbytes(300)).decode()
    return f"-----BEGIN {kind}-----\n{head}{body}-----END {kind}-----"


_HEAD, _CLAIMS = b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890","iat":1516239022}'
#: Kind → secrets of it, made as their issuers make them. None is anybody's.
SECRETS = {
    "a GitHub token": [f"ghp_{letters(36)}", f"ghs_{letters(36)}", f"github_pat_{letters(22)}_{letters(59)}"],
    "a GitLab token": [f"glpat-{letters(20)}", f"glpat-{letters(27)}.01.{letters(9)}"],
    "a Slack token": [f"xoxb-{letters(12, string.digits)}-{letters(12, string.digits)}-{letters(24)}"],
    "a Slack webhook": [f"hooks.slack.com/services/T{'0A1B2C3D4'}/B{'5E6F7G8H9'}/{letters(24)}"],
    "a Discord webhook": [f"discord.com/api/webhooks/1467106918538678293/{letters(68)}"],
    "a Discord token": [
        f"{url64(b'1467106918538678293')}.{letters(6)}.{letters(38)}",
        f"{url64(b'146710691853867829')}.GsEcrE.{letters(27)}",
        f"mfa.{letters(84)}",
    ],
    "an AWS access key": [f"AKIA{letters(16, string.ascii_uppercase)}"],
    "a Google API key": [f"AIza{letters(35)}"],
    "a Google client secret": [f"GOCSPX-{letters(28)}"],
    "an Anthropic key": [f"sk-ant-api03-{letters(93)}"],
    "an OpenAI key": [f"sk-proj-{letters(120)}", f"sk-{letters(48)}"],
    "an OpenRouter key": [f"sk-or-v1-{hashlib.sha256(b'1').hexdigest()}"],
    "a Stripe key": [f"sk_live_{letters(24)}", f"rk_live_{letters(99)}"],
    "an npm token": [f"npm_{letters(36)}"],
    "a Hugging Face token": [f"hf_{letters(34)}"],
    "a SendGrid key": [f"SG.{letters(22)}.{letters(43)}"],
    "an age key": [f"AGE-SECRET-KEY-1{letters(58, string.ascii_uppercase)}"],
    "a JSON Web Token": [f"{url64(_HEAD)}.{url64(_CLAIMS)}.{letters(43)}"],
    "a private key": [
        pem("RSA PRIVATE KEY"), pem("PRIVATE KEY"), pem("OPENSSH PRIVATE KEY"),
        pem("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B\n\n"),
        pem("PGP PRIVATE KEY BLOCK", "Version: 2\n\n"),
    ],
}  # fmt: skip
ALL = [pytest.param(kind, each, id=f"{kind}-{n}") for kind in SECRETS for n, each in enumerate(SECRETS[kind])]

HARMLESS = {
    "commit": "Merged 55546bc0a1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6 into main; see 8627d4a..24dc89e.",
    "digest": f"sha256:{hashlib.sha256(b'x').hexdigest()} and sha512-{'q' * 3}{letters(85)}==",
    "uuid": f"request {uuid.UUID(int=2**127 + 5)} took 31 ms",
    "snowflakes": "https://discord.com/channels/1467106918538678200/1467106918538678293/1467106918538679000",
    "our ID": "20261122T055501.123456Z-k3f9q2x7.note waits",
    "picture": f"![](data:image/png;base64,{base64.b64encode(_RANDOM.randbytes(3000)).decode()})",
    "lines of base64": base64.encodebytes(_RANDOM.randbytes(100_000)).decode(),
    "lines of url-safe base64": base64.urlsafe_b64encode(_RANDOM.randbytes(100_000)).decode(),
    "hyphens": "the task-runner: risk-management-of-the-disk-sk-layer-with-very-long-names-and-more",
    "a branch": "git checkout sk-proj-this-is-the-branch-that-we-all-have-been-waiting-for-since-last-week",
    "placeholders": f"GITHUB_TOKEN=ghp_{'x' * 36} AKIAIOSFODNN7EXAMPLE npm_{'0' * 36} xoxb-your-token-here",
    "what a token is": "a token begins with ghp_, github_pat_, sk-ant-, xoxb- or AIza; then letters come",
    "a key's head alone": "look for -----BEGIN PRIVATE KEY----- in it, and for -----END PRIVATE KEY-----",
    "a public key": pem("PUBLIC KEY") + "\n" + pem("CERTIFICATE"),
    "ssh public": f"ssh-ed25519 {base64.b64encode(_RANDOM.randbytes(51)).decode()} nic@villa",
    "address": "postgres://app:app@localhost/db, redis://cache:6379, https://user:${PASSWORD}@host, ssh://git@x:22",
    "versions": "M1.abcdef.27 Node.js v22.11.0, Microsoft.Extensions.DependencyInjection.Abstracts",
    "code": "Map<String, Object>.entrySet(); NSString.stringWithFormat.initWithContentsOfURLAndMoreWords",
    "json": json.dumps({"id": 1, "alg": "HS256", "text": "eyJ is how it begins: eyJhbGciOiJIUzI1NiJ9"}),
    "mail": "From: nic <1467106918538678293@discord>, In-Reply-To: <1467106918538678294@discord>",
    "stack": 'File "/usr/lib/python3.11/asyncio/base_events.py", line 654, in run_until_complete',
    "umlauts": "Größe: 25 MiB – ✅ geprüft. 日本語のテキスト。" * 50,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "secret"), ALL)
@pytest.mark.parametrize("around", ["{}", "export T={}\n", 'x: "{}",', "see ({}).", "ä{}ä", "a-{}\nc"])
def test_a_secret_is_found_and_masked(kind: str, secret: str, around: str) -> None:
    """Whatever stands around it, and nothing of it but its beginning stays."""
    text = around.format(secret)
    (leak,) = leaks.find(text)
    assert kind == leak.kind
    assert secret.rstrip(".") == text[leak.start : leak.end].rstrip(".")
    masked = leaks.mask(text)
    assert secret[-16:] not in masked
    assert [] == leaks.find(masked)
    assert f"{leak.mark}…" in masked


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_ordinary_text_holds_none(text: str) -> None:
    """What agents write all day is not held back."""
    assert [] == leaks.find(text)
    assert text == leaks.mask(text)


def test_a_secret_that_is_only_a_part() -> None:
    """Of an address and of an assignment it is the value that is the secret: the rest may be shown."""
    secret = f"{letters(39)}/"
    text = f"aws_secret_access_key = {secret}\nDATABASE_URL=postgres://app:{letters(12)}@db.example.net/app"
    assert ["an AWS secret key", "a password in an address"] == [each.kind for each in leaks.find(text)]
    masked = leaks.mask(text)
    assert "aws_secret_access_key = …\nDATABASE_URL=postgres://app:…@db.example.net/app" == masked


def test_a_key_in_json() -> None:
    """As a service account's file holds it: the lines' ends are written as two characters."""
    secret = pem("PRIVATE KEY")
    text = json.dumps({"type": "service_account", "private_key": secret})
    assert ["a private key"] == [each.kind for each in leaks.find(text)]
    assert '{"type": "service_account", "private_key": "-----BEGIN …"}' == leaks.mask(text)


def test_our_own_is_masked_whatever_it_looks_like() -> None:
    """Nothing of it stays, not even its beginning."""
    assert "a … b …" == leaks.mask("a hunter2 b hunter2", "hunter2")
    assert "a b" == leaks.mask("a b", "")


def test_a_name_that_holds_one_is_masked() -> None:
    """Names of drops stand in logs and reasons. What holds none keeps every character."""
    secret = SECRETS["a GitHub token"][0]
    assert "ID.deploy-ghp_masked.md" == identity.file_name("ID", f"deploy-{secret}.md")
    assert "ID.deploy-ghp_masked.md" == identity.file_name("ID", "deploy-ghp_masked.md")


def test_a_secret_is_in_no_repr() -> None:
    """A leak that is logged by mistake says where it is and not what."""
    secret = SECRETS["an OpenAI key"][0]
    assert secret[:10] not in repr(leaks.find(secret)[0])


@given(st.text(max_size=200), st.sampled_from([each.values for each in ALL]), st.text(max_size=200))
def test_no_text_around_it_hides_a_secret(before: str, secret: tuple[str, str], after: str) -> None:
    """As long as it is a word by itself."""
    assert secret[1][-16:] not in leaks.mask(f"{before} {secret[1]} {after}")


HOSTILE = [
    *sorted({mark for shape in leaks._SHAPES for mark in shape.marks}), "M.", f"{'M' * 28}.",
    "MAAAAAAAAAAAAAAAAAAAAAAA.aaaaaa.", "eyJaaaaaaaaaa.", "://a:bbbbbbbb", f"://{'a' * 100}",
    f"://a:{'b' * 199}", "-----BEGIN A A A PRIVATE KEY-----\nA: A: A: A: \n", f"-----BEGIN {'A ' * 30}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{'A: b' * 6}", f"aws_secret_access_key{' ' * 6}", f"ghp_{'a' * 251}",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("behind", ["", " ", ".", "a" * 9 + "."])
def test_hostile_texts_take_no_longer_than_others(piece: str, behind: str) -> None:
    """Eight times as long a text takes about eight times as long, and not sixty-four times: nothing is read
    again and again."""

    def seconds(size: int) -> float:
        text = (piece + behind) * (size // len(piece + behind))
        began = time.thread_time()
        leaks.find(text)
        return time.thread_time() - began

    bound = 24 * min(seconds(1 << 13) for _ in range(3)) + 0.003
    assert any(seconds(1 << 16) < bound for _ in range(2))
