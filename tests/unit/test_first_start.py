"""The format of `state/`, for who serves a spool and for who only looks."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from spoolbridge import audit, doctor, first_start
from spoolbridge.discord.client import DiscordClient
from spoolbridge.errors import SpoolError
from spoolbridge.mcp_server.desk import Desk
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool

NEWER = r"a newer spoolbridge \(format 2\) has served this spool; upgrade this one"


@pytest.fixture
def settings(spool: Spool) -> Settings:
    return Settings(spool=spool.root, channels=spool.root / "channels.json", inbox=spool.root / "inbox.jsonl")


def write(spool: Spool, text: str) -> None:
    (spool.root / "state" / first_start.FILE).write_text(text)


def test_a_spool_that_was_never_served(spool: Spool) -> None:
    """Whoever looks writes nothing."""
    first_start.check(spool.fd, spool.root)
    assert [] == os.listdir(spool.root / "state")


def test_our_own_format(spool: Spool) -> None:
    """What `mark` writes is taken, then and at every later start, and keeps its time."""
    with spool.at("state") as state:
        since = first_start.mark(state, spool.root / "state")
        first_start.check(spool.fd, spool.root)
        assert since == first_start.mark(state, spool.root / "state") == first_start.known(state)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"format": 2, "first_start": 0}), NEWER),
        ("", "state/format.json cannot be read; it holds the format of state/; restore it"),
        ('{"format": "x", "first_start": 0}', "cannot be read"),
        ("[]", "cannot be read"),
    ],
)
def test_what_is_refused(spool: Spool, text: str, says: str) -> None:
    """By who serves and by who looks, alike, and nothing is changed."""
    write(spool, text)
    with pytest.raises(SpoolError, match=says):
        first_start.check(spool.fd, spool.root)
    with spool.at("state") as state, pytest.raises(SpoolError, match=says):
        first_start.mark(state, spool.root / "state")
    assert text == (spool.root / "state" / first_start.FILE).read_text()


def test_the_mcp_server(spool: Spool, settings: Settings) -> None:
    """A tool's call is refused with the sentence."""
    write(spool, '{"format": 2, "first_start": 0}')
    desk = Desk(settings)
    with pytest.raises(SpoolError, match=NEWER):
        desk.spool()
    desk.close()


def test_doctor(spool: Spool, settings: Settings) -> None:
    """It is a finding, and the rest of `state/` is not judged."""
    write(spool, '{"format": 2, "first_start": 0}')
    found = [each for each in doctor.offline(settings) if "newer" in each.what]
    assert [("error", "upgrade this one")] == [(each.level, each.do) for each in found]


@pytest.mark.parametrize("repairing", [False, True])
def test_an_audit(spool: Spool, settings: Settings, repairing: bool) -> None:
    """It proves nothing, and above all it repairs nothing; Discord is not even asked."""
    write(spool, '{"format": 2, "first_start": 0}')

    async def run() -> None:
        client = DiscordClient("token", api_url="http://127.0.0.1:9")
        await audit.run(client, settings, seconds=60, repairing=repairing)

    with pytest.raises(SpoolError, match=NEWER):
        asyncio.run(run())
