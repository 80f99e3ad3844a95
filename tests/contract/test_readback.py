"""Reading a channel back, against the emulator: found, absent, or honestly undecided."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.discord import routes
from spoolbridge.discord.client import Upload
from spoolbridge.emulator import objects
from spoolbridge.errors import ChannelClosedError, UnreachableError
from spoolbridge.journal import PartHistory
from spoolbridge.outcome import Sent
from spoolbridge.outgoing import File, Part
from spoolbridge.readback import MARGIN, Absent, Found, Undecided, read_back, snowflake
from tests.support.bridge import MESSAGES, READ_MESSAGE_HISTORY, VIEW_CHANNEL, Bridge, bridging

OTHER = "20261122T055501.123456Z-k3f9q2x7"  # another entry of the journal


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    """Built, and nothing in it at work."""
    async with bridging(tmp_path / "spool", start=False) as made:
        await made.open()
        yield made


def tried(bridge: Bridge, part: Part) -> PartHistory:
    """A part that was tried now, and nobody knows what came of it."""
    return PartHistory(part.digest, part.sizes, first_unknown=bridge.clock())


async def post(bridge: Bridge, part: Part, channel: str = "general") -> int:
    """Put it on Discord as the bot; the message's id."""
    files = [Upload(file.name, file.data) for file in part.files]
    place = bridge.emulator.guild.channel(channel).id
    outcome = await bridge.client.post(place, {"content": part.content}, files=files)
    assert isinstance(outcome, Sent)
    return outcome.message_id


async def look(bridge: Bridge, known: PartHistory, channel: str = "general") -> Found | Absent | Undecided:
    guild = bridge.emulator.guild
    return await read_back(bridge.client, bridge.journal, bridge.bot, guild.channel(channel).id, known)


def sent(bridge: Bridge, message_id: int, *, at: float | None = None, part: int = 1) -> None:
    """The journal gives this message to another entry."""
    now, bridge.clock.now = bridge.clock.now, bridge.clock.now if at is None else at
    bridge.journal.sent(OTHER, 1, part, message_id, None)
    bridge.clock.now = now


async def test_found_by_its_text(bridge: Bridge) -> None:
    """Discord has stripped the ends."""
    part = Part("  hello \n")
    known = tried(bridge, part)
    message_id = await post(bridge, part)
    assert Found(message_id) == await look(bridge, known)


async def test_absent_from_an_empty_channel(bridge: Bridge) -> None:
    """Nothing is there, and the bot would see it."""
    assert Absent() == await look(bridge, tried(bridge, Part("hello")))


async def test_absent_among_others(bridge: Bridge) -> None:
    """Another text of ours, the same text of a human, of another bot, in another channel."""
    known = tried(bridge, Part("hello"))
    bridge.emulator.say("general", "hello")
    bridge.emulator.say("general", "hello", author="rita", kind="bot")
    bridge.emulator.say("general", "hello", author="spoolbridge", kind="webhook")
    await post(bridge, Part("hello!"))
    await post(bridge, Part("hello"), "mayor-villa")
    assert Absent() == await look(bridge, known)


async def test_what_another_entry_has_is_not_ours(bridge: Bridge) -> None:
    """The first of two equal messages is the journal's for another entry: ours is the second."""
    known = tried(bridge, Part("ping"))
    sent(bridge, await post(bridge, Part("ping")))
    assert Absent() == await look(bridge, known)
    second = await post(bridge, Part("ping"))
    assert Found(second) == await look(bridge, known)


async def test_what_another_entry_had_before_midnight_is_not_ours(bridge: Bridge) -> None:
    """The journal has been rotated since: its older file counts as well."""
    midnight = (bridge.clock() // 86400 + 1) * 86400
    bridge.clock.now = midnight - 30
    message_id = await post(bridge, Part("ping"))
    sent(bridge, message_id)
    bridge.clock.now = midnight + 5
    bridge.journal.sent(OTHER, 1, 2, 4711, None)
    assert (bridge.spool.root / "state" / "journal.jsonl").read_text().startswith('{"at":')
    assert [] != list((bridge.spool.root / "state").glob("journal-*.jsonl"))
    assert Absent() == await look(bridge, tried(bridge, Part("ping")))


@pytest.mark.parametrize(("before", "expected"), [(MARGIN - 1, True), (MARGIN + 1, False)])
async def test_how_far_our_clock_may_be_ahead(bridge: Bridge, before: float, expected: bool) -> None:
    """A message a minute older than the try may be it; one that is older still is not."""
    message_id = await post(bridge, Part("hello"))
    bridge.clock.advance(before)
    found = await look(bridge, tried(bridge, Part("hello")))
    assert (Found(message_id) if expected else Absent()) == found


async def test_found_behind_many_others(bridge: Bridge) -> None:
    """Discord gives a hundred at a time, and the newest first: it is on the third page."""
    known = tried(bridge, Part("hello"))
    for number in range(230):
        bridge.emulator.say("general", f"message {number}")
    message_id = await post(bridge, Part("hello"))
    for number in range(10):
        bridge.emulator.say("general", f"more {number}")
    assert Found(message_id) == await look(bridge, known)


async def test_files_are_told_apart_by_their_sizes(bridge: Bridge) -> None:
    """No text, so the files have to do; their number and order count, their names do not."""
    ours = Part("", (File("a b.png", b"12"), File("c.png", b"345")))
    known = tried(bridge, ours)
    for files in [(ours.files[0],), (*ours.files, File("d.png", b"6")), ours.files[::-1]]:
        await post(bridge, Part("", files))
    await post(bridge, Part("a text", ours.files))
    assert Absent() == await look(bridge, known)
    message_id = await post(bridge, Part("", (File("a_b.png", b"12"), File("5f3a.png", b"345"))))
    assert Found(message_id) == await look(bridge, known)


async def test_a_text_is_not_found_in_a_message_with_files(bridge: Bridge) -> None:
    """The same words under a picture are another message."""
    known = tried(bridge, Part("look"))
    await post(bridge, Part("look", (File("a.png", b"12"),)))
    assert Absent() == await look(bridge, known)


async def test_no_history_is_no_answer(bridge: Bridge) -> None:
    """Discord answers 200 `[]` to who may not read: that is not "it is not there"."""
    bridge.emulator.deny("general", READ_MESSAGE_HISTORY)
    known = tried(bridge, Part("hello"))
    await post(bridge, Part("hello"))
    found = await look(bridge, known)
    assert isinstance(found, Undecided)
    assert "may not read this channel's history" in found.reason


async def test_a_history_denied_by_a_role_but_allowed_to_the_bot(bridge: Bridge) -> None:
    """The channel's overwrites are Discord's own arithmetic, not a guess."""
    guild = bridge.emulator.guild
    guild.overwrite(guild.channel("general"), deny=READ_MESSAGE_HISTORY, target=guild.id)
    assert isinstance(await look(bridge, tried(bridge, Part("hello"))), Undecided)
    bridge.emulator.allow("general", READ_MESSAGE_HISTORY)
    assert Absent() == await look(bridge, tried(bridge, Part("hello")))


@pytest.mark.parametrize("denied", [False, True])
async def test_a_thread_has_its_channels_permissions(bridge: Bridge, denied: bool) -> None:
    """An empty thread counts where its parent's history may be read."""
    guild = bridge.emulator.guild
    guild.add_thread(guild.channel("general"), "the failing test", objects.PUBLIC_THREAD)
    if denied:
        bridge.emulator.deny("general", READ_MESSAGE_HISTORY)
    found = await look(bridge, tried(bridge, Part("hello")), "the failing test")
    assert denied == isinstance(found, Undecided)
    assert denied != (Absent() == found)


@pytest.mark.parametrize("route", ["/guilds/{guild}/members/{user}", "/guilds/{guild}/roles"])
async def test_permissions_that_cannot_be_asked_for(bridge: Bridge, route: str) -> None:
    """Then the empty page says nothing either."""
    bridge.emulator.fail(method="GET", route=route, kind="status", status=403, code=50001)
    assert isinstance(await look(bridge, tried(bridge, Part("hello"))), Undecided)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 503, "times": 0}, UnreachableError),
        ({"kind": "drop_before", "times": 0}, UnreachableError),
    ],
)
async def test_who_is_not_answered_knows_nothing(
    bridge: Bridge, fault: dict[str, Any], error: type[Exception]
) -> None:
    """No answer is neither found nor absent."""
    await post(bridge, Part("hello"))
    bridge.emulator.fail(method="GET", route=MESSAGES, **fault)
    with pytest.raises(error):
        await look(bridge, tried(bridge, Part("hello")))


async def test_a_page_that_fails_is_no_end(bridge: Bridge) -> None:
    """The first page answered, the second did not: it may be there."""
    known = tried(bridge, Part("hello"))
    for number in range(150):
        bridge.emulator.say("general", f"message {number}")
    await post(bridge, Part("hello"))
    bridge.emulator.fail(method="GET", route=MESSAGES, kind="status", status=503, after=1, times=0)
    with pytest.raises(UnreachableError):
        await look(bridge, known)


async def test_a_hidden_channel_is_closed(bridge: Bridge) -> None:
    """That is the channel's matter, and an error of its own."""
    bridge.emulator.deny("general", VIEW_CHANNEL)
    with pytest.raises(ChannelClosedError):
        await look(bridge, tried(bridge, Part("hello")))


async def test_one_page_is_one_request(bridge: Bridge) -> None:
    """The limit on reading is tight: nothing is asked that need not be."""
    known = tried(bridge, Part("hello"))
    await post(bridge, Part("hello"))
    before = len(bridge.emulator.requests())
    await look(bridge, known)
    asked = [(each.method, each.path) for each in bridge.emulator.requests()[before:]]
    channel = bridge.emulator.guild.channel("general").id
    assert [("GET", f"/api/v10{routes.channel_messages(channel).path}")] == asked


def test_the_smallest_id_of_a_time() -> None:
    """Discord counts from 2015, and nothing is older."""
    assert 0 == snowflake(0.0)
    assert 175928847298985984 >> 22 << 22 == snowflake(1462015105.796)
