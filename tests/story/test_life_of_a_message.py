"""The life of a message: a question goes out, an answer comes in. Read it aloud.

After each act stands the whole spool as `find` would show it, so that what should not be there would show.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from spoolbridge import outgoing
from spoolbridge.claim import Claim
from spoolbridge.cursor import Cursors
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.outcome import Sent
from spoolbridge.poller import Poller
from tests.support.bridge import Bridge, bridging

STATES = ("outgoing", "sending", "sent", "failed", "incoming")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool", channels=["mayor-villa"], start=False) as made:
        await made.open()
        yield made


@pytest.fixture
def poller(town: Bridge, tmp_path: Path) -> Iterator[Poller]:
    cursors = Cursors(town.spool.fd)
    guild = town.emulator.guild
    yield Poller(
        town.client, town.registry,
        [IncomingFile(town.spool.fd, cursors), InboxFile(tmp_path / "discord-inbox.jsonl", cursors)],
        globs=["mayor-*"], guild_id=guild.id, own_id=guild.bot.id, first_start=town.clock(),
        clock=town.clock, sleep=town.clock.leap,
    )  # fmt: skip
    cursors.close()


async def test_the_life_of_a_message(town: Bridge, poller: Poller, tmp_path: Path) -> None:
    """From an agent's `echo` to Discord, and from a human's answer to an agent's `cat`."""
    root = town.spool.root

    def tree() -> dict[str, list[str]]:
        return town.tree(*STATES)

    # The bridge has been here before: it has looked at the channel, and there was nothing.
    await poller.cycle()
    assert {} == tree()

    # An agent has a question. It writes a file; it needs no library, no token and no leave.
    subprocess.run(["sh", "-c", 'echo "may I deploy?" > outgoing/mayor-villa/question'], cwd=root, check=True)
    assert {"outgoing/mayor-villa": ["question"]} == tree()

    # It was written just now, so somebody may still be writing to it: it is left alone.
    wait = town.intake.claim("mayor-villa")
    assert isinstance(wait, float)
    assert {"outgoing/mayor-villa": ["question"]} == tree()

    # A quarter of a second later it is claimed. Now it has an ID, which it keeps for life.
    town.settle()
    claim = town.intake.claim("mayor-villa")
    assert isinstance(claim, Claim)
    name = f"{claim.id}.question"
    assert {"sending/mayor-villa": [name]} == tree()

    # It is read: the whole file is the message.
    content = claim.read()
    assert content is not None
    message = outgoing.parse(claim.rest, content.body)
    assert "may I deploy?" == message.text

    # It is posted. The journal knew of the try before Discord did; now it knows the message's id.
    channel = town.registry().resolve("mayor-villa")
    outcome = await town.posting.post(claim, channel.id, message)
    assert isinstance(outcome, Sent)
    records = [json.loads(line) for line in (root / "state" / "journal.jsonl").read_text().splitlines()]
    assert [("try", claim.id), ("sent", claim.id)] == [(each["kind"], each["id"]) for each in records]
    assert [("spoolbridge", "may I deploy?")] == [
        (each["author"]["username"], each["content"]) for each in town.emulator.messages("mayor-villa")
    ]
    assert {"sending/mayor-villa": [name]} == tree()

    # It is settled: one rename, and whoever dropped it can see that it was sent, and where it is.
    claim.sent()
    day = f"sent/mayor-villa/{claim.id[:4]}-{claim.id[4:6]}-{claim.id[6:8]}"
    assert {day: [name]} == tree()
    entry = town.spool.find(claim.id)
    assert entry is not None
    assert f"https://discord.com/channels/{town.emulator.guild.id}/{channel.id}/{outcome.message_id}" == (
        entry.jump_url
    )

    # Nic has read it, and answers in Discord. Nothing has come yet.
    town.clock.advance(60)
    answer = town.emulator.say("mayor-villa", "yes, go ahead 🚀", reply_to=outcome.message_id)
    assert {day: [name]} == tree()

    # The poller looks: the answer is a file in a Maildir, and a line in the inbox.
    await poller.cycle()
    seconds = ((answer >> 22) + 1420070400000) // 1000
    received = f"{seconds}.D{answer}.discord"
    assert {day: [name], "incoming/mayor-villa/new": [received]} == tree()
    (line,) = (tmp_path / "discord-inbox.jsonl").read_text().splitlines()
    text = "yes, go ahead 🚀\n\n[in reply to spoolbridge: may I deploy?]"
    assert (str(answer), text) == (json.loads(line)["id"], json.loads(line)["body"])

    # The poller looks again, and again: once is once.
    await poller.cycle()
    await poller.cycle()
    assert {day: [name], "incoming/mayor-villa/new": [received]} == tree()

    # The agent reads it, with what every machine has.
    read = subprocess.run(["cat", f"incoming/mayor-villa/new/{received}"], cwd=root, check=True, stdout=-1)
    header, _, body = read.stdout.decode().partition("\n\n")
    assert f"{text}\n" == body
    assert "From: Nic <" in header
    assert f"In-Reply-To: <{outcome.message_id}@discord>" in header

    # Read is read: it moves to `cur`, as in every Maildir. That is the end of the story.
    subprocess.run(
        ["mv", f"incoming/mayor-villa/new/{received}", "incoming/mayor-villa/cur/"], cwd=root, check=True
    )
    await poller.cycle()
    assert {day: [name], "incoming/mayor-villa/cur": [received]} == tree()
