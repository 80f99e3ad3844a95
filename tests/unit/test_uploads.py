"""Names of files as Discord gets them."""

from __future__ import annotations

import json

import pytest

from spoolbridge.discord.uploads import LONGEST_NAME, json_body, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("chart.png", "chart.png"),
        ("naïve résumé ✅.md", "naïve résumé ✅.md"),
        ("/etc/passwd", "passwd"),
        ("../../x.txt", "x.txt"),
        ("C:\\temp\\x.txt", "x.txt"),
        ("dir/", "dir"),
        ('a"; filename="b.html', "a_; filename=_b.html"),
        ("a\r\nX-Evil: 1", "a__X-Evil_ 1"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("half\udc80.bin", "half_.bin"),
        ("", "file"),
        ("...", "file"),
        (" .. ", "file"),
        ("/", "file"),
    ],
)
def test_a_name_is_a_name(name: str, safe: str) -> None:
    """No path, no quote, no control: nothing that a header or a file system reads otherwise."""
    assert safe == safe_name(name)


def test_a_long_name_keeps_its_suffix() -> None:
    """The suffix is how Discord and people tell what it is."""
    short = safe_name("x" * 300 + ".tar.gz")
    assert (LONGEST_NAME, "x.gz") == (len(short), short[-4:])


def test_a_long_name_without_a_suffix_is_cut() -> None:
    """Also where all of it stands behind a dot."""
    assert [LONGEST_NAME] * 2 == [len(safe_name("x" * 300)), len(safe_name("a." + "x" * 300))]


def test_a_lone_surrogate_is_sent_as_an_escape() -> None:
    """Half a character in a text must not stop the channel."""
    assert {"content": "a\udc80"} == json.loads(json_body({"content": "a\udc80"}))
