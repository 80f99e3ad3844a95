"""Outbound, what a message may carry: an answer, a thread, a reaction, a key, files; and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.emulator import objects
from spoolbridge.spool import Entry
from tests.support.bridge import MESSAGES, SEND_MESSAGES, Bridge, bridging

ATTACH_FILES = 1 << 15
THREADS = "/channels/{channel}/threads"
PNG = b"\x89PNG\r\n\x1a\n\xff"
LATER = 200.0  # seconds: past the nonce window


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


def headed(text: str, **headers: object) -> str:
    """A file with options; underscores stand for hyphens."""
    lines = [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\n".join(["Spoolbridge: 1", *lines, "", text])


async def settled(bridge: Bridge, text: str, **more: Any) -> Entry:
    return await bridge.settled(bridge.drop(text, **more))


def threads(bridge: Bridge, name: str) -> list[int]:
    """The ids of the threads of that name, oldest first."""
    return [each.id for each in bridge.emulator.guild.by_id.values() if each.is_thread and each.name == name]


def posted(bridge: Bridge, thread_id: int) -> list[str]:
    """What lies in a thread but for the system's own."""
    return [each["content"] for each in bridge.emulator.messages(thread_id) if each["type"] in (0, 19)]


def attached(bridge: Bridge) -> list[list[str]]:
    """The names of the files of every message in the channel."""
    messages = bridge.emulator.messages("general")
    return [[each["filename"] for each in message["attachments"]] for message in messages]


# -- answers ---------------------------------------------------------------------------------------------


async def test_an_answer_to_a_message_that_is_gone(bridge: Bridge) -> None:
    """It is no answer any more, but it is posted, and says what it was one to."""
    said = bridge.emulator.say("general", "what is up?")
    guild = bridge.emulator.guild
    message = guild.message(guild.channel("general").id, said)
    assert message is not None
    guild.remove(message)
    entry = await settled(bridge, headed("nothing much", Reply_To=said))
    assert ("sent", ["> (a message that was deleted)\nnothing much"]) == (entry.state, bridge.texts())
    assert [True, False] == ["message_reference" in payload for payload, _ in bridge.arrived]


async def test_the_message_that_is_gone_is_quoted_where_it_is_known(bridge: Bridge) -> None:
    """The line comes from whoever knows what was said, and stays the same after a crash."""
    lines = iter(["> Nic: what is up? (deleted since)", "> something else"])
    await bridge.restart()
    bridge.posting._quote = lambda channel, message_id: next(lines)
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="drop_after", after=1)
    bridge.clock.now += 1
    entry = await settled(bridge, headed("nothing much", Reply_To=bridge.emulator.guild.id))
    assert ("sent", ["> Nic: what is up? (deleted since)\nnothing much"]) == (entry.state, bridge.texts())


async def test_an_answer_without_the_right_to_read_history(bridge: Bridge) -> None:
    """Discord does not let the bot refer to it: the text goes out all the same."""
    said = bridge.emulator.say("general", "what is up?")
    bridge.emulator.deny("general", 1 << 16)
    assert "sent" == (await settled(bridge, headed("nothing", Reply_To=said))).state
    assert ["> (a message that was deleted)\nnothing"] == bridge.texts()


# -- threads ---------------------------------------------------------------------------------------------


async def test_a_thread_is_made_on_demand_and_found_again(bridge: Bridge) -> None:
    """By its name, whatever its case; one thread for all that name it, also after a restart."""
    for text, name in (("one", "Deploys"), ("two", "deploys")):
        assert "sent" == (await settled(bridge, headed(text, Thread=name))).state
    await bridge.restart()
    await settled(bridge, headed("three", Thread="DEPLOYS"))
    [thread] = threads(bridge, "Deploys")
    assert ["one", "two", "three"] == posted(bridge, thread)
    channel = bridge.emulator.guild.by_id[thread]
    assert (objects.PUBLIC_THREAD, bridge.emulator.guild.channel("general").id) == (
        channel.type, channel.parent_id
    )  # fmt: skip


async def test_threads_of_other_channels_do_not_count(bridge: Bridge) -> None:
    """One name in two channels is two threads."""
    await settled(bridge, headed("here", Thread="x"))
    await settled(bridge, headed("there", Thread="x"), channel="mayor-villa")
    first, second = threads(bridge, "x")
    assert (["here"], ["there"]) == (posted(bridge, first), posted(bridge, second))


async def test_an_archived_thread_is_found(bridge: Bridge) -> None:
    """Among more than a page of them, and it wakes."""
    guild = bridge.emulator.guild
    general = guild.channel("general")
    made = guild.add_thread(general, "long ago", objects.PUBLIC_THREAD, archived=True)
    for number in range(120):
        bridge.clock.now += 1
        guild.add_thread(general, f"thread {number}", objects.PUBLIC_THREAD, archived=True)
    await settled(bridge, headed("still there?", Thread="long ago"))
    assert (["still there?"], False) == (posted(bridge, made.id), guild.by_id[made.id].archived)


async def test_a_locked_thread_is_left_alone(bridge: Bridge) -> None:
    """Nobody can write there: another one is made."""
    guild = bridge.emulator.guild
    general = guild.channel("general")
    locked = guild.add_thread(general, "x", objects.PUBLIC_THREAD, locked=True, archived=True)
    await settled(bridge, headed("here", Thread="x"))
    assert ([], ["here"]) == tuple(posted(bridge, each) for each in sorted(threads(bridge, "x")))
    assert locked.id in threads(bridge, "x")


@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
async def test_a_thread_that_may_have_been_made(bridge: Bridge, fault: str) -> None:
    """The answer was lost: it is looked for before another is made, and there is one."""
    bridge.emulator.fail(method="POST", route=THREADS, kind=fault)
    assert "sent" == (await settled(bridge, headed("hello", Thread="Deploys"))).state
    [thread] = threads(bridge, "Deploys")
    assert ["hello"] == posted(bridge, thread)


async def test_all_parts_go_to_one_thread(bridge: Bridge) -> None:
    """Also when somebody gives another thread that name between two parts, and the service dies there."""
    details: dict[str, Any] = {"status": 400, "code": 200000, "message": "blocked"}
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **details)
    failed = await settled(bridge, headed("a" * 2000 + "b" * 100, Thread="x"))
    guild = bridge.emulator.guild
    bridge.clock.now += 1
    guild.add_thread(guild.channel("general"), "x", objects.PUBLIC_THREAD)
    await bridge.restart()
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    first, second = sorted(threads(bridge, "x"))
    assert (2, 0) == (len(posted(bridge, first)), len(posted(bridge, second)))


async def test_a_thread_that_was_deleted_is_made_anew(bridge: Bridge) -> None:
    """Its name is what was asked for, not its id."""
    await settled(bridge, headed("one", Thread="x"))
    [first] = threads(bridge, "x")
    bridge.emulator.guild.remove_channel(first)
    assert "sent" == (await settled(bridge, headed("two", Thread="x"))).state
    [second] = threads(bridge, "x")
    assert ["two"] == posted(bridge, second)


async def test_a_thread_by_id_must_be_the_channels(bridge: Bridge) -> None:
    """Whoever may write to one drop box may not post wherever the bot may."""
    guild = bridge.emulator.guild
    mine = guild.add_thread(guild.channel("general"), "mine", objects.PUBLIC_THREAD)
    other = guild.add_thread(guild.channel("mayor-villa"), "other", objects.PUBLIC_THREAD)
    assert "sent" == (await settled(bridge, headed("in", Thread=mine.id))).state
    for wrong in (other.id, guild.channel("mayor-villa").id, guild.channel("general").id, 5):
        failed = await settled(bridge, headed("out", Thread=wrong))
        assert "failed" == failed.state
        assert f"{wrong} is no thread of this channel" in failed.reason or "is refused" in failed.reason
    assert (["in"], []) == (posted(bridge, mine.id), posted(bridge, other.id))


async def test_a_thread_may_not_be_made(bridge: Bridge) -> None:
    """The entry fails with what is missing; the channel is not parked for it."""
    bridge.emulator.deny("general", 1 << 35)
    failed = await settled(bridge, headed("hello", Thread="x"))
    assert ("failed", {}) == (failed.state, bridge.dispatcher.parked)
    assert "code 50013" in failed.reason
    assert "sent" == (await settled(bridge, "plain")).state


async def test_three_deaths_while_a_thread_is_made(bridge: Bridge) -> None:
    """Somebody else has to make it; nothing loops."""
    await bridge.stop()
    await bridge.open()
    entry = bridge.drop(headed("hello", Thread="x"))
    for _ in range(3):
        bridge.journal.making_thread(entry.id, bridge.emulator.guild.channel("general").id)
    await bridge.restart()
    failed = await bridge.settled(entry)
    assert ("failed", []) == (failed.state, threads(bridge, "x"))
    assert "died 3 times while making the thread" in failed.reason


# -- reactions -------------------------------------------------------------------------------------------


async def test_a_reaction(bridge: Bridge) -> None:
    """One emoji on one message, and no message."""
    said = bridge.emulator.say("general", "deploy?")
    entry = await settled(bridge, headed("", Reply_To=said, React="👍"))
    [message] = bridge.emulator.messages("general")
    assert ("sent", [("👍", 1)]) == (
        entry.state, [(each["emoji"]["name"], each["count"]) for each in message["reactions"]]
    )  # fmt: skip
    assert (said,) == entry.message_ids
    await bridge.restart()
    bridge.retry_sent(entry)
    assert "sent" == (await bridge.settled(entry)).state


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
async def test_a_reaction_whose_answer_is_lost(bridge: Bridge, fault: str) -> None:
    """Put once more, which changes nothing."""
    said = bridge.emulator.say("general", "deploy?")
    route = "/channels/{channel}/messages/{message}/reactions/{emoji}/@me"
    bridge.emulator.fail(method="PUT", route=route, kind=fault)
    assert "sent" == (await settled(bridge, headed("", Reply_To=said, React="👍"))).state
    assert [1] == [each["count"] for each in bridge.emulator.messages("general")[0]["reactions"]]


@pytest.mark.parametrize(
    ("text", "headers", "said"),
    [
        ("", {"Reply_To": 5, "React": "👍"}, "10008"),
        ("", {"React": "👍"}, "React needs Reply-To"),
        ("text", {"Reply_To": 5, "React": "👍"}, "carries neither text nor files"),
    ],
)
async def test_a_reaction_that_cannot_be(
    bridge: Bridge, text: str, headers: dict[str, Any], said: str
) -> None:
    """It fails alone and says why."""
    failed = await settled(bridge, headed(text, **headers))
    assert "failed" == failed.state
    assert said in failed.reason


# -- keys ------------------------------------------------------------------------------------------------


async def test_one_message_a_key(bridge: Bridge) -> None:
    """The second is settled as sent, tells the first's message and is not posted; also after a restart."""
    first = await settled(bridge, headed("the build is red", Dedupe_Key="build 17"))
    await bridge.restart()
    second = await settled(bridge, headed("the build is red, I said", Dedupe_Key="build 17"))
    assert ("sent", ["the build is red"]) == (second.state, bridge.texts())
    assert first.message_ids == second.message_ids
    other = await settled(bridge, headed("elsewhere", Dedupe_Key="build 17"), channel="mayor-villa")
    assert ("sent", ["elsewhere"]) == (other.state, bridge.texts("mayor-villa"))


async def test_a_key_holds_for_a_day_across_midnight(bridge: Bridge) -> None:
    """For 24 hours, though the journal is another file by then; and no longer."""
    await settled(bridge, headed("one", Dedupe_Key="k"))
    bridge.clock.now += timedelta(hours=23).total_seconds()
    await settled(bridge, "another day")
    await bridge.restart()
    await settled(bridge, headed("two", Dedupe_Key="k"))
    bridge.clock.now += timedelta(hours=2).total_seconds()
    await settled(bridge, headed("three", Dedupe_Key="k"))
    texts = [text.rpartition("\n")[2] for text in bridge.texts()]
    assert ["one", "another day", "three"] == texts


async def test_the_key_of_a_message_that_failed_is_free(bridge: Bridge) -> None:
    """Nobody got that message."""
    assert "failed" == (await settled(bridge, headed("!!automod", Dedupe_Key="k"))).state
    assert "sent" == (await settled(bridge, headed("kinder words", Dedupe_Key="k"))).state
    assert ["kinder words"] == bridge.texts()


# -- files that are refused ------------------------------------------------------------------------------


def refuse_files(bridge: Bridge, kind: str) -> None:
    if kind == "permission":
        bridge.emulator.deny("general", ATTACH_FILES)
    elif kind == "server":
        bridge.emulator.guild.max_file = 2
    else:
        details: dict[str, Any] = {"status": 413, "html": True}
        bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", **details)


def allow_files(bridge: Bridge) -> None:
    bridge.emulator.allow("general", ATTACH_FILES)
    bridge.emulator.guild.max_file = 20 << 20


@pytest.mark.parametrize("kind", ["permission", "server", "413"])
async def test_the_text_goes_out_without_its_files(bridge: Bridge, kind: str) -> None:
    """With a line that names them; the entry fails, and its retry posts the files and repeats nothing."""
    refuse_files(bridge, kind)
    failed = await settled(bridge, "look at this", files={"chart.png": PNG})
    note = "look at this\n-# could not be attached: chart.png"
    assert ("failed", [note], {}) == (failed.state, bridge.texts(), bridge.dispatcher.parked)
    assert "Discord answered 4" in failed.reason
    allow_files(bridge)
    await bridge.restart()
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert [note, ""] == bridge.texts()
    assert [[], ["chart.png"]] == attached(bridge)


async def test_files_that_are_refused_again(bridge: Bridge) -> None:
    """The retry fails with its reason, and the text is still there once."""
    refuse_files(bridge, "server")
    failed = await settled(bridge, "look", files={"chart.png": PNG})
    for _ in range(2):
        bridge.retry(failed)
        failed = await bridge.settled(failed)
        assert ("failed", 1) == (failed.state, len(bridge.texts()))


async def test_smaller_files_for_the_retry(bridge: Bridge) -> None:
    """Whoever shrinks the picture and retries sends just that."""
    bridge.emulator.guild.max_file = 8
    failed = await settled(bridge, "look", files={"chart.png": PNG * 4})
    (failed.path / "files" / "chart.png").unlink()
    (failed.path / "files" / "small.png").write_bytes(b"\x89PNG")
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["look\n-# could not be attached: chart.png", ""] == bridge.texts()


async def test_files_alone_that_are_refused(bridge: Bridge) -> None:
    """There is no text that could go without them."""
    refuse_files(bridge, "server")
    failed = await bridge.settled(bridge.drop(PNG, name="chart.png"))
    assert ("failed", []) == (failed.state, bridge.texts())


async def test_a_file_that_is_too_large_is_not_even_tried(bridge: Bridge) -> None:
    """The text goes out; the reason names the file, its size and the setting."""
    bridge.posting._max_upload = 4
    failed = await settled(bridge, "look", files={"chart.png": PNG, "note.txt": b"x"})
    assert ["look\n-# could not be attached: chart.png, note.txt"] == bridge.texts()
    assert [[]] == [files for _, files in bridge.arrived]
    assert "chart.png (0.0 MiB) is too large" in failed.reason
    assert "SPOOLBRIDGE_MAX_UPLOAD" in failed.reason
    bridge.posting._max_upload = 100
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["chart.png", "note.txt"] == [name for name, _ in bridge.arrived[-1][1]]


async def test_no_right_to_write_at_all_parks(bridge: Bridge) -> None:
    """With or without files: the channel is closed."""
    bridge.emulator.deny("general", SEND_MESSAGES)
    entry = bridge.drop("look", files={"chart.png": PNG})
    await bridge.parked("general")
    assert [entry.name] == [path.name for path in bridge.box().iterdir()]
    bridge.emulator.allow("general", SEND_MESSAGES)
    bridge.clock.now = bridge.dispatcher.parked["general"].until
    bridge.ring()
    await bridge.settled(entry)
    assert (["look"], ["chart.png"]) == (bridge.texts(), [name for name, _ in bridge.arrived[-1][1]])


async def test_a_text_of_a_megabyte_whose_file_is_refused(bridge: Bridge) -> None:
    """The beginning goes out, and says that the rest could not be attached."""
    refuse_files(bridge, "server")
    failed = await settled(bridge, "word " * 200_000)
    [text] = bridge.texts()
    assert ("failed", True) == (failed.state, text.endswith("\n-# could not be attached: message.md"))


async def test_a_text_of_a_megabyte(bridge: Bridge) -> None:
    """One message with one file, and the channel beside it does not wait."""
    big = bridge.drop("word " * 200_000)
    await settled(bridge, "elsewhere", channel="mayor-villa")
    assert "sent" == (await bridge.settled(big)).state
    [message] = bridge.emulator.messages("general")
    [file] = message["attachments"]
    assert ("message.md", 1_000_000) == (file["filename"], file["size"])


async def test_ten_files_beside_a_text_that_becomes_one(bridge: Bridge) -> None:
    """Discord takes ten a message: the eleventh comes behind."""
    files = {f"{number}.txt": b"x" for number in range(10)}
    await settled(bridge, "word " * 20_000, files=files)
    assert [["message.md", *list(files)[:9]], ["9.txt"]] == [
        [name for name, _ in uploads] for _, uploads in bridge.arrived
    ]


@pytest.mark.parametrize("later", [0.0, LATER])
async def test_killed_between_the_text_and_its_files(bridge: Bridge, later: float) -> None:
    """Its answer was lost and the service dies there: the text is found, not posted again."""
    refuse_files(bridge, "server")
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="drop_after", after=1)
    bridge.watched = True
    await bridge.restart()
    entry = bridge.drop("look", files={"chart.png": PNG})
    await bridge.clock.sleepers(1)
    await bridge.kill()
    bridge.clock.now += later
    bridge.watched = False
    await bridge.start()
    failed = await bridge.settled(entry)
    assert ("failed", ["look\n-# could not be attached: chart.png"]) == (failed.state, bridge.texts())


async def test_the_journal_keeps_the_form_and_no_key(bridge: Bridge) -> None:
    """What was decided stands in the `try`; a key only as a digest."""
    refuse_files(bridge, "server")
    await settled(bridge, headed("look", Dedupe_Key="a secret key"), files={"chart.png": PNG})
    lines = (bridge.spool.root / "state" / "journal.jsonl").read_text().splitlines()
    tries = [record for record in map(json.loads, lines) if record["kind"] == "try"]
    assert ["", "-# could not be attached: chart.png"] == [record.get("note", "") for record in tries]
    assert all(len(record["key"]) == 32 for record in tries)
    assert "secret" not in "".join(lines)
