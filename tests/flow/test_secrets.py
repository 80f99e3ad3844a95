"""A drop that holds a secret: held back with the value masked, posted where somebody retries it as it is."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spoolbridge import identity
from spoolbridge.journal import Journal
from spoolbridge.secrecy import Secrecy
from spoolbridge.spool import Entry
from tests.support.bridge import Bridge, bridging
from tests.support.waiting import until

TAIL = "9aB8cD7eF6gH5iJ4kL3mN2oP1qR0sT9uV8w7"
SECRET = f"ghp_{TAIL}"
OWN = "MTQ2NzEwNjkxODUzODY3ODI5Mw.GsEcrE.own-own-own-own-own-own-own-own1"
TODO = "take it out and drop it anew; or retry it as it is, and it is posted all the same"


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


def said(place: str) -> str:
    """The reason where the secret stands there."""
    return f"holds what looks like a GitHub token (ghp_…, 40 characters, {place}); nothing was posted"


async def held(bridge: Bridge, entry: Entry) -> str:
    """The reason, once the entry lies in failed/ and the note of that is written."""
    found = await bridge.settled(entry)
    assert "failed" == found.state
    await until(lambda: not bridge.dispatcher._active)
    return bridge.why(found)[0].partition("  ")[2]


async def retried(bridge: Bridge, entry: Entry) -> Entry:
    """The entry once what its reason says was done, and the service has settled it again."""
    failed = bridge.spool.find(entry.id)
    assert failed is not None
    bridge.retry(failed)
    await bridge.quiet()
    return await bridge.settled(entry)


async def test_it_is_held_back_and_a_retry_posts_it(bridge: Bridge) -> None:
    """The reason says what it looks like and where, the retry is one command."""
    entry = bridge.drop(f"deployed\n\nexport TOKEN={SECRET}\n")
    assert said("line 3 of the text") == await held(bridge, entry)
    assert f"What to do: {TODO}" == bridge.why(await bridge.settled(entry))[1]
    assert [] == bridge.texts()
    assert "sent" == (await retried(bridge, entry)).state
    assert [f"deployed\n\nexport TOKEN={SECRET}"] == bridge.texts()


async def test_the_value_stands_nowhere(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log nor in any file but the entry itself, also where it is in the entry's own name."""
    caplog.set_level(logging.DEBUG)
    entry = bridge.drop(f"a {SECRET}", name=f"for-{SECRET}.md")
    await held(bridge, entry)
    assert "GitHub token" in caplog.text
    assert TAIL not in caplog.text
    files = [path for path in bridge.spool.root.rglob("*") if path.is_file()]
    holding = [path for path in files if TAIL.encode() in path.read_bytes() or TAIL in path.name]
    failed = bridge.spool.find(entry.id)
    assert failed is not None
    assert [failed.path] == holding
    assert f"{entry.id}.for-ghp_masked.md" == failed.name


@pytest.mark.parametrize(
    ("data", "files", "place"),
    [
        (None, {"notes.md": f"a\nb {SECRET}".encode()}, "line 2 of notes.md"),
        (b"hi", {"log.txt": b"\xff" + SECRET.encode()[1:] + f"\n{SECRET}".encode()}, "line 2 of log.txt"),
        (None, {f"{SECRET}.png": b"\x89PNG\0"}, "the name of a file"),
        (f"Spoolbridge: 1\nThread: {SECRET}\n\nhi".encode(), None, "the option Thread"),
        (f"Spoolbridge: 1\nRig: {SECRET}\n\nhi".encode(), None, "the option Rig"),
        (f"gh\x01p_{TAIL}".encode(), None, "line 1 of the text"),
    ],
)
async def test_everything_that_would_be_posted_is_looked_at(
    bridge: Bridge, data: bytes | None, files: dict[str, bytes] | None, place: str
) -> None:
    """Files, their names, and options: also what becomes a secret once control characters are left out."""
    reason = await held(bridge, bridge.drop(data, files=files))
    assert said(place) == reason
    assert 0 == bridge.posts()


async def test_what_is_no_text_is_not_read(bridge: Bridge) -> None:
    """A picture may hold any bytes."""
    entry = bridge.drop(None, files={"a.png": b"\x89PNG\0" + SECRET.encode()})
    assert "sent" == (await bridge.settled(entry)).state


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
async def test_what_windows_calls_text_is_read(bridge: Bridge, encoding: str) -> None:
    """`>` of its shell writes UTF-16, which is no reason to let a secret pass."""
    data = f"\ufeff{SECRET}\r\n".encode(encoding)
    assert said("line 1 of env.txt") == await held(bridge, bridge.drop(None, files={"env.txt": data}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
async def test_our_own_token_passes_in_no_archive(bridge: Bridge, encoding: str) -> None:
    """Whoever sends the working directory as a tar sends `.env` with it."""
    bridge.posting.secrecy = Secrecy(bridge.journal, OWN, holding=False)
    data = b"x\0" * 5000 + f"\nDISCORD_BOT_TOKEN={OWN}\n".encode(encoding)
    entry = bridge.drop(None, files={"all.tar": data})
    assert "holds the bot's own token (all.tar), which is never posted" == await held(bridge, entry)


async def test_other_content_under_the_id_is_looked_at_anew(bridge: Bridge) -> None:
    """Who allowed one text has not allowed another."""
    entry = bridge.drop(f"one {SECRET}")
    await held(bridge, entry)
    failed = bridge.spool.find(entry.id)
    assert failed is not None
    failed.path.write_text(f"another {SECRET}")
    assert "failed" == (await retried(bridge, entry)).state
    assert [] == bridge.texts()


async def test_a_restart_remembers_what_was_held_back(bridge: Bridge) -> None:
    """And a day later as well, when the journal has been rotated."""
    entry = bridge.drop(f"one {SECRET}")
    await held(bridge, entry)
    await bridge.stop()
    bridge.clock.now += 2 * 24 * 3600.0
    await bridge.start()
    bridge.drop("rotates the journal")
    await bridge.quiet()
    assert "sent" == (await retried(bridge, entry)).state


async def test_a_crash_is_not_a_retry(bridge: Bridge) -> None:
    """What a dead service left in sending/ nobody has allowed, however far it had come with it."""
    entry = bridge.drop(f"one {SECRET}")
    await held(bridge, entry)
    await bridge.stop()
    # As if the rename to failed/ had been undone by a power cut before the note: the note is not there.
    journal = bridge.spool.root / "state" / "journal.jsonl"
    assert 1 == journal.read_text().count('"held"')
    journal.write_text("")
    failed = bridge.spool.find(entry.id)
    assert failed is not None
    os.rename(failed.path, bridge.spool.root / "sending" / "general" / failed.name)
    await bridge.start()
    assert "nothing was posted" in await held(bridge, entry)
    assert [] == bridge.texts()


async def test_the_note_comes_behind_the_rename(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it, a crash between both would pass for a retry."""
    places: list[str] = []
    noted = Journal.failed

    def noting(self: Journal, entry_id: str, channel_id: int, reason: str, *, held: str = "") -> None:
        entry = bridge.spool.find(entry_id)
        places.append(entry.state if entry else "")
        noted(self, entry_id, channel_id, reason, held=held)

    monkeypatch.setattr(Journal, "failed", noting)
    await held(bridge, bridge.drop(f"one {SECRET}"))
    assert ["failed"] == places


async def test_in_another_channel_it_is_looked_at_anew(bridge: Bridge) -> None:
    """There it is another message, for other people."""
    entry = bridge.drop(f"one {SECRET}")
    await held(bridge, entry)
    failed = bridge.spool.find(entry.id)
    assert failed is not None
    failed.path.rename(bridge.box("mayor-villa") / failed.name)
    bridge.ring()
    assert "failed" == (await bridge.settled(entry)).state


async def test_several_are_counted(bridge: Bridge) -> None:
    """The first is shown, the others are not hidden."""
    reason = await held(bridge, bridge.drop(f"{SECRET}\n{SECRET} {SECRET}"))
    assert reason.endswith("line 1 of the text) and 2 more secrets; nothing was posted")


async def test_our_own_token_never_passes(bridge: Bridge) -> None:
    """Whatever it looks like, however often it is retried, and with the setting off."""
    for token in (OWN, "any-words-at-all"):
        bridge.posting.secrecy = Secrecy(bridge.journal, token, holding=False)
        entry = bridge.drop(f"hi\nBot {token}")
        assert "holds the bot's own token (line 2 of the text), which is never posted" == await held(
            bridge, entry
        )
        assert "failed" == (await retried(bridge, entry)).state
        picture = bridge.drop(None, files={"notes.md": token.encode()})
        assert "line 1 of notes.md" in await held(bridge, picture)
    assert [] == bridge.texts()


async def test_the_setting_lets_others_pass(bridge: Bridge) -> None:
    """Who posts to a private place may switch it off."""
    bridge.posting.secrecy = Secrecy(bridge.journal, OWN, holding=False)
    entry = bridge.drop(f"one {SECRET}")
    assert "sent" == (await bridge.settled(entry)).state


async def test_what_was_posted_before_is_not_held_back(bridge: Bridge) -> None:
    """The setting came later: its ID comes back, and it goes to sent/ unposted like any other."""
    bridge.posting.secrecy = Secrecy(bridge.journal, holding=False)
    sent = await bridge.settled(bridge.drop(f"one {SECRET}"))
    bridge.posting.secrecy = Secrecy(bridge.journal)
    sent.path.rename(bridge.box() / sent.name)
    bridge.ring()
    await bridge.quiet()
    assert "sent" == (await bridge.settled(sent)).state
    assert 1 == bridge.posts()


async def test_a_header_that_is_wrong_quotes_no_secret(bridge: Bridge) -> None:
    """The reason names the line, with what is in it masked before it is cut."""
    for line in (SECRET, f"Reply-To: {SECRET}", f"Silent: {OWN}"):
        entry = bridge.drop(f"Spoolbridge: 1\n{line}\n\nhi")
        reason = await held(bridge, entry)
        assert reason.startswith("line 2: ")
        assert "…" in reason
        assert (TAIL[:12] in reason, OWN[30:40] in reason) == (False, False)


def test_a_name_without_a_secret_is_kept() -> None:
    assert "ID.ghp_notes.md" == identity.file_name("ID", "ghp_notes.md")
