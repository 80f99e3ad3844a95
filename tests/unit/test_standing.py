"""How the bridge stands, laid out for people: columns, folding, ages, names in any script."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from spoolbridge import standing
from spoolbridge.claim import one_line

NOW = 1795348800.0


def channel(**more: Any) -> dict[str, Any]:
    quiet = {"waiting": 0, "sending": 0, "failed": 0, "sent_today": 0, "held": False}
    return {**quiet, "oldest": None, "last_sent": None, "last_received": None, **more}


def snapshot(channels: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    counts = ("waiting", "sending", "failed", "sent_today")
    return {
        "running": True, "held_by": 7, "spool": "/srv/spool", "pid": 7, "since": NOW, "at": NOW - 2,
        "disk": {"free_bytes": 5 << 40, "free_inodes": None}, "held": False, "asks": 0, "mail": None,
        "discord": {"answered_at": NOW - 3, "paused_because": ""}, "findings": [], "channels": channels,
        "totals": {each: sum(it[each] for it in channels.values()) for each in counts}, **more,
    }  # fmt: skip


def lines(channels: dict[str, dict[str, Any]], width: int = 80, **more: Any) -> list[str]:
    return standing.render(snapshot(channels, **more), now=NOW, width=width).splitlines()


def columns(line: str) -> int:
    """What a terminal makes of it: East Asian characters take two, accents and joiners none."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in line)
    return len(line) + wide - sum(unicodedata.category(each) in ("Mn", "Me", "Cf") for each in line)


def test_a_row() -> None:
    """What is posted counts as waiting until it is sent; times are ages."""
    busy = channel(
        waiting=11, sending=1, failed=2, sent_today=340, oldest=NOW - 31 * 60, last_sent=NOW - 9,
        last_received=NOW - 3 * 86400, next_try=NOW + 31, reason="Discord answered 500",
    )  # fmt: skip
    assert [
        "channel                   waiting  oldest  failed  sent today  last out  last in",
        "mayor-villa                    12  31 min       2         340       9 s      3 d",
        "    next try in 31 s: Discord answered 500",
    ] == lines({"mayor-villa": busy})[-3:]


def test_thirty_channels() -> None:
    """Only those that want to be looked at, or where somebody has just spoken, have a row of their own."""
    channels = {f"channel-{number:02}": channel(last_sent=NOW - 7200) for number in range(30)}
    channels["channel-03"] = channel(waiting=1, oldest=NOW - 5)
    channels["channel-07"] = channel(last_received=NOW - 60)
    channels["channel-11"] = channel(parked="50013: Missing Permissions")
    told = lines(channels)
    rows = [line.split()[0] for line in told if line.startswith("channel-")]
    assert ["channel-03", "channel-07", "channel-11"] == rows
    folded = " ".join(" ".join(told).partition("and 27 quiet channels: ")[2].split())
    assert ", ".join(sorted(channels.keys() - set(rows))) == folded
    assert all(len(line) <= 80 for line in told)
    assert 18 > len(told)


def test_few_channels_are_all_shown() -> None:
    """However quiet they are."""
    told = lines({f"c{number}": channel() for number in range(10)})
    assert 10 == sum(line.startswith("c") and not line.startswith("channel") for line in told)
    assert "quiet" not in "".join(told)


def test_hundreds_of_quiet_channels() -> None:
    """Do not scroll what matters off the screen."""
    told = lines({f"a-long-name-of-a-channel-{number}": channel() for number in range(500)})
    assert any(line.startswith("500 quiet channels: a-long-name-of-a-channel-0, ") for line in told)
    assert told[-1].endswith(" more")
    assert 20 > len(told)


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.parametrize("name", ["x" * 100, "会議室-" * 20, "é" * 60, "👩‍👩‍👧" * 20, "mayor-villa"])
def test_names_in_any_script(name: str, width: int) -> None:
    """The figures stand below one another, and what is cut shows that it is."""
    told = lines({name: channel(waiting=1, oldest=NOW), "b": channel()}, width)
    row, other = told[-2:]
    shown = max(12, width - 56)
    assert shown + 56 == columns(row) == columns(other)
    assert ("…" in row) == (columns(one_line(name)) >= shown)


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nservice   running", "a\u202eb", "a\x9b31mb"])
def test_nothing_moves_the_cursor(text: str) -> None:
    """Not a name of a directory, a reason of Discord's or a finding: each is one line's data."""
    told = lines({text: channel(parked=text)}, findings=[text], spool=text)
    assert 1 == sum(line.startswith("service ") for line in told)
    for line in told:
        assert line.isprintable()


def test_long_findings_and_reasons_are_wrapped_at_words() -> None:
    """80 columns are enough for all of it, and the next finding stands apart."""
    reason = "Discord answered 500 " * 10
    told = lines({"a": channel(next_try=NOW, reason=reason)}, findings=["one " * 40, "two"])
    assert all(len(line) <= 80 for line in told)
    assert ["", "! two"] == told[-2:]
    assert reason.split() == " ".join(told).partition("next try in 0 s: ")[2].split()[: len(reason.split())]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"asks": 1}, "asked     1 open question"),
        ({"asks": 3}, "asked     3 open questions"),
        ({"held": True}, "on hold   everything; to go on: spoolbridge resume"),
        ({"disk": {"free_bytes": 7 << 20, "free_inodes": 12}}, "spool     /srv/spool, 7 MiB, 12 inodes free"),
        ({"disk": {"free_bytes": 77 << 30, "free_inodes": 10**6}}, "spool     /srv/spool, 77.0 GiB free"),
        ({"running": False, "held_by": None}, "service   not running; start it with: spoolbridge run"),
        ({"running": False}, "service   process 7 holds the spool, and says nothing; see its log"),
        (
            {"recent": {"seconds": 300.0, "sent": 12, "failed": 0, "filed": 3}},
            "messages  0 waiting, 0 failed, 0 sent today; in the last 5 min 12 out, 3 in",
        ),
        ({"discord": {"paused_because": "Cloudflare"}}, "discord   paused: Cloudflare"),
        (
            {"discord": {"answered_at": NOW, "clock_ahead": -31.2}},
            "discord   answered 0 s ago; this clock is 31 s behind its",
        ),
        ({"discord": {"answered_at": NOW, "clock_ahead": 4.9}}, "discord   answered 0 s ago"),
        ({"discord": {"answered_at": None, "paused_because": ""}}, "discord   has not answered yet"),
    ],
)
def test_the_lines_above(more: dict[str, Any], line: str) -> None:
    """Each says one thing, and is there only where there is something to say."""
    assert line in lines({}, **more)


def test_a_quiet_head() -> None:
    """Without questions, holds or few inodes there is no line for them; no channel is told too."""
    told = lines({})
    assert ["service", "spool", "discord", "gt", "messages", "none"] == [
        line.split()[0] for line in told if line
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"),
     (48 * 3600 - 1, "47 h"), (48 * 3600, "2 d"), (1e9, "11574 d")],
)  # fmt: skip
def test_ages(seconds: float, words: str) -> None:
    """In the largest unit that says enough; a clock that went back is now."""
    assert words == standing.age(seconds)
