"""Names: unique, sortable, harmless, and the same after a crash."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import identity, ready
from spoolbridge.identity import LONGEST_NAME, Minter

ID = "20261122T055501.123456Z-k3f9q2x7"
AT = datetime(2026, 11, 22, 5, 55, 1, 123456, UTC).timestamp()
_FORM = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-hjkmnp-tv-z]{8}")

#: What a directory may hold: any bytes but NUL and the slash, at most 255 of them.
_NAMES = st.binary(min_size=1, max_size=255).map(
    lambda raw: os.fsdecode(raw.replace(b"\0", b"%").replace(b"/", b".") or b"x")
)


def test_an_id_has_the_form() -> None:
    """UTC to the microsecond and eight characters of Crockford's base32."""
    minted = Minter(lambda: AT).mint()
    assert _FORM.fullmatch(minted)
    assert minted.startswith("20261122T055501.123456Z-")


def test_times_strictly_increase() -> None:
    """While the clock stands still, and while it goes back: by a microsecond each."""
    now = AT
    minter = Minter(lambda: now)
    minted = [minter.mint() for _ in range(1000)]
    now -= 3600
    minted.append(minter.mint())
    times = [each.partition("-")[0] for each in minted]
    assert sorted(set(times)) == times
    assert "20261122T055501.124456Z" == times[-1]


def test_an_id_for_another_time() -> None:
    """A dropped file's ID carries when it was written; a later one's never comes before it."""
    minter = Minter(lambda: AT)
    assert minter.mint(AT - 10).startswith("20261122T055451.123456Z-")
    assert minter.mint(AT - 20).startswith("20261122T055451.123457Z-")


def test_two_processes_do_not_meet() -> None:
    """The same microsecond a thousand times: 40 random bits keep them apart."""
    assert 1000 == len({identity.fresh(AT) for _ in range(1000)})


def test_the_random_characters_use_all_forty_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each from a byte of its own, all 32 letters reachable, none more likely than another."""
    seen = ""
    for start in range(0, 256, 8):
        monkeypatch.setattr(os, "urandom", lambda size, start=start: bytes(range(start, start + size)))
        seen += identity.fresh(AT).partition("-")[2]
    assert {8} == {seen.count(each) for each in set(seen)}
    assert 32 == len(set(seen))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ID, (ID, "")),
        (f"{ID}.", (ID, "")),
        (f"{ID}.hello.txt", (ID, "hello.txt")),
        (f"{ID}.a\nb", (ID, "a\nb")),
        (f"{ID}.{ID}", (ID, ID)),
        (f"{ID}..why", (ID, ".why")),
        (f"{ID}x", None),
        (f"{ID}-x.txt", None),
        (f" {ID}", None),
        (f"{ID}\n", None),
        (ID.upper(), None),
        (ID.replace("k3f9", "k3l9"), None),
        (ID.replace("20261122", "20261322"), None),
        (ID.replace("20261122", "20260230"), None),
        (ID.replace("T055501", "T245501"), None),
        (ID.replace("20261122", "00000101"), None),
        (ID.replace("20261122", "00010101"), None),
        (ID.replace("20261122", "19691231"), None),
        (ID.replace("2026", "२०२६"), None),
        ("hello.txt", None),
        ("", None),
    ],
)
def test_what_is_an_id(name: str, expected: tuple[str, str] | None) -> None:
    """Only a real moment in exactly our form, followed by nothing or a dot."""
    assert expected == identity.parse(name)


@given(_NAMES)
def test_parse_never_raises(name: str) -> None:
    """Whatever lies in the drop box."""
    assert identity.parse(name) is None or name.startswith(identity.parse(name)[0])  # type: ignore[index]


def test_time_of() -> None:
    """Back to unix seconds."""
    assert AT == identity.time_of(ID)


@pytest.mark.parametrize(
    "name",
    ["", "hello", "20269922T055501.123456Z-k3f9q2x7", "20261122T055501.123456Z", "2026-11-22",
     "2026-11-22T05:55:01.12Z-k3f9q2x7", "20261122T055501.123456+-k3f9q2x7"],
)  # fmt: skip
def test_time_of_nothing(name: str) -> None:
    """ValueError, never a time that somebody made up."""
    with pytest.raises(ValueError, match="not an ID"):
        identity.time_of(name)


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_ids_sort_as_their_times(moment: datetime) -> None:
    """By name, as `ls` does, to the microsecond."""
    minted = identity.fresh(moment.timestamp())
    assert moment.timestamp() == identity.time_of(minted)
    assert (minted < ID) == (moment < datetime.fromtimestamp(AT, UTC))


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("hello.txt", f"{ID}.hello.txt"),
        ("", ID),
        ("hello world", f"{ID}.hello%20world"),
        ("a\nb\x1b[2J", f"{ID}.a%0Ab%1B%5B2J"),
        ("../../etc/passwd", f"{ID}...%2F..%2Fetc%2Fpasswd"),
        ("-rf", f"{ID}.-rf"),
        ("привет", f"{ID}.%D0%BF%D1%80%D0%B8%D0%B2%D0%B5%D1%82"),
        ("\u202etxt.exe", f"{ID}.%E2%80%AEtxt.exe"),
        (os.fsdecode(b"\xff\xfe"), f"{ID}.%FF%FE"),
        ("100%", f"{ID}.100%25"),
        ("%zz%4", f"{ID}.%25zz%254"),
        ("hello%20world", f"{ID}.hello%20world"),
    ],
)
def test_a_name_is_made_harmless(rest: str, expected: str) -> None:
    """Newlines, escapes, slashes, bidi and bytes that are no UTF-8: percent-encoded."""
    assert expected == identity.file_name(ID, rest)


@given(_NAMES)
def test_every_name_fits_and_is_plain(name: str) -> None:
    """At most 100 bytes behind the ID, of A-Z a-z 0-9 . _ - and escapes that decode."""
    rest = identity.file_name(ID, name).removeprefix(f"{ID}.")
    assert 0 < len(rest) <= LONGEST_NAME
    assert re.fullmatch(r"(?:[A-Za-z0-9._-]|%[0-9A-F]{2})*", rest)


@given(_NAMES)
def test_a_name_keeps_its_bytes(name: str) -> None:
    """What the escapes say is what was dropped, where it fits."""
    rest = identity.file_name(ID, name).removeprefix(f"{ID}.")
    if len(rest) < LONGEST_NAME - 3 and not re.search(r"%[0-9A-F]{2}", name):
        assert os.fsencode(name) == unquote_to_bytes(rest)


@given(_NAMES)
def test_a_name_made_harmless_stays_as_it_is(name: str) -> None:
    """A known ID that comes back keeps its name: its `.why`, and who waits for it, find it by that."""
    once = identity.file_name(ID, name)
    parsed = identity.parse(once)
    assert parsed is not None
    assert once == identity.file_name(*parsed)


@given(_NAMES)
def test_a_name_that_is_seen_is_never_made_invisible(name: str) -> None:
    """Cut short, `….why-is-the-build-red` must not become `….why`, which the next scan would skip."""
    if not ready.ignored(name):
        assert not ready.ignored(identity.file_name(ID, name))


@pytest.mark.parametrize("hidden", [".why", ".tmp", ".part", ".swp", ".crdownload"])
def test_a_cut_does_not_end_on_an_ignored_suffix(hidden: str) -> None:
    """The cut may fall anywhere."""
    for length in range(LONGEST_NAME - 2 * len(hidden), LONGEST_NAME + 1):
        name = "a" * length + hidden + "b" * 40
        assert not ready.ignored(identity.file_name(ID, name)), name


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a" * 300 + ".png", ".png"),
        ("ö" * 80 + ".msg", ".msg"),
        ("a" * 300 + ".a-very-long-suffix", "aaa_"),
        ("a" * 300, "aaa_"),
    ],
)
def test_a_long_name_keeps_its_suffix(name: str, ending: str) -> None:
    """For it says what the file is."""
    short = identity.file_name(ID, name)
    assert short.endswith(ending)
    assert len(ID) + 1 + LONGEST_NAME >= len(short)


@given(_NAMES)
def test_the_original_name_can_be_read_again(name: str) -> None:
    """For people, so bytes that are no UTF-8 become a sign; and only as far as it was not cut."""
    rest = identity.file_name(ID, name).removeprefix(f"{ID}.")
    readable = os.fsencode(name).decode("utf-8", "replace")
    if len(rest) < LONGEST_NAME - 3 and not re.search(r"%[0-9A-F]{2}", name):
        assert readable == identity.original(rest)


def test_the_nonce_is_computed() -> None:
    """BLAKE2b of ID, part and channel in base32: what any other implementation would compute."""
    digest = hashlib.blake2b(f"{ID}|1|1467106918538678293".encode(), digest_size=15).digest()
    expected = base64.b32encode(digest).decode().lower()
    assert expected == identity.nonce(ID, 1, 1467106918538678293)
    assert 24 == len(expected)


def test_every_part_and_channel_has_a_nonce_of_its_own() -> None:
    """Else Discord would take the second for the first."""
    nonces = {identity.nonce(ID, part, channel) for part in range(1, 6) for channel in (1, 11, 111)}
    assert 15 == len(nonces)
