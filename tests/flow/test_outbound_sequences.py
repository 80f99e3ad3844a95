"""Outbound, in an order that nobody would choose: edits, deaths, settings and refusals between two tries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.emulator import objects
from spoolbridge.spool import Entry
from tests.flow.test_outbound_content import headed, settled
from tests.support.bridge import MESSAGES, READ_MESSAGE_HISTORY, Bridge, bridging
from tests.support.waiting import until

PNG = b"\x89PNG\r\n\x1a\n\xff"
LATER = 200.0  # seconds: past the nonce window
BLOCKED: dict[str, Any] = {"status": 400, "code": 200000, "message": "blocked"}
THREADS = "/channels/{channel}/threads"


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


async def retried(bridge: Bridge, failed: Entry, text: str | None = None) -> Entry:
    """As an operator does it, who edits it first."""
    if text is not None:
        failed.path.write_text(text)
    bridge.retry(failed)
    return await bridge.settled(failed)


def threads(bridge: Bridge, name: str) -> list[int]:
    """The ids of the threads of that name, oldest first."""
    return [each.id for each in bridge.emulator.guild.by_id.values() if each.is_thread and each.name == name]


def posted(bridge: Bridge, thread_id: int) -> list[str]:
    """What lies in a thread but for the system's own."""
    return [each["content"] for each in bridge.emulator.messages(thread_id) if each["type"] in (0, 19)]


# -- edited before the retry -------------------------------------------------------------------------------


async def test_a_reaction_that_comes_back_as_another(bridge: Bridge) -> None:
    """Another emoji under an ID that was sent is not taken for sent."""
    said = bridge.emulator.say("general", "deploy?")
    entry = await settled(bridge, headed("", Reply_To=said, React="👍"))
    entry.path.write_text(headed("", Reply_To=said, React="🎉"))
    bridge.retry_sent(entry)
    failed = await bridge.only("failed")
    assert "this ID belongs to another message" in failed.reason
    assert "sent" == (await retried(bridge, failed)).state
    [message] = bridge.emulator.messages("general")
    assert ["👍", "🎉"] == [each["emoji"]["name"] for each in message["reactions"]]


async def test_a_text_that_comes_back_as_a_reaction(bridge: Bridge) -> None:
    """Nor is a reaction under the ID of a text."""
    said = bridge.emulator.say("general", "deploy?")
    entry = await settled(bridge, "yes")
    entry.path.write_text(headed("", Reply_To=said, React="👍"))
    bridge.retry_sent(entry)
    failed = await bridge.only("failed")
    assert "this ID belongs to another message" in failed.reason


async def test_another_thread_for_the_retry(bridge: Bridge) -> None:
    """Whoever corrects the thread's name means the other thread."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", **BLOCKED)
    failed = await settled(bridge, headed("hello", Thread="Deplos"))
    assert "failed" == failed.state
    entry = await retried(bridge, failed, headed("hello", Thread="Deploys"))
    assert "sent" == entry.state
    [right], [wrong] = threads(bridge, "Deploys"), threads(bridge, "Deplos")
    assert (["hello"], []) == (posted(bridge, right), posted(bridge, wrong))


async def test_a_thread_that_is_locked_later(bridge: Bridge) -> None:
    """It is left alone from then on, though the bridge knows it."""
    await settled(bridge, headed("one", Thread="x"))
    [first] = threads(bridge, "x")
    bridge.emulator.guild.change_channel(first, locked=True)
    entry = await settled(bridge, headed("two", Thread="x"))
    second = max(threads(bridge, "x"))
    assert ("sent", ["one"], ["two"]) == (entry.state, posted(bridge, first), posted(bridge, second))


async def test_a_thread_that_is_locked_between_two_parts(bridge: Bridge) -> None:
    """What people see already is not said again elsewhere; the entry fails, and says why."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **BLOCKED)
    failed = await settled(bridge, headed("a" * 2000 + "b" * 100, Thread="x"))
    [first] = threads(bridge, "x")
    bridge.emulator.guild.change_channel(first, locked=True)
    again = await retried(bridge, failed)
    assert ("failed", [first]) == (again.state, threads(bridge, "x"))
    assert "160005" in again.reason
    bridge.emulator.guild.change_channel(first, locked=False)
    assert "sent" == (await retried(bridge, again)).state
    assert 2 == len(posted(bridge, first))


async def test_a_thread_deleted_between_parts(bridge: Bridge) -> None:
    """What was in it went with it: the whole message goes to the thread that is made anew."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **BLOCKED)
    failed = await settled(bridge, headed("a" * 2000 + "b" * 100, Thread="x"))
    [first] = threads(bridge, "x")
    bridge.emulator.guild.remove_channel(first)
    again = await retried(bridge, failed)
    assert "sent" == again.state
    [second] = threads(bridge, "x")
    assert "a" * 2000 + "b" * 100 == "".join(posted(bridge, second))


# -- keys --------------------------------------------------------------------------------------------------


async def in_doubt(bridge: Bridge, fault: str) -> Entry:
    """An entry with the key `k` that failed, and nobody knows whether it was posted."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind=fault)
    bridge.watched = True
    await bridge.restart()
    first = bridge.drop(headed("one", Dedupe_Key="k"))
    await bridge.clock.sleepers(1)
    await bridge.kill()
    bridge.emulator.deny("general", READ_MESSAGE_HISTORY)
    bridge.clock.now += LATER
    bridge.watched = False
    await bridge.start()
    failed = await bridge.settled(first)
    assert ("failed", True) == (failed.state, "delivery unknown" in failed.reason)
    return failed


@pytest.mark.parametrize(("fault", "texts"), [("drop_after", ["one"]), ("drop_before", ["once more"])])
async def test_sent_again_while_the_delivery_is_unknown(
    bridge: Bridge, fault: str, texts: list[str]
) -> None:
    """That is what a key is for: the second is posted only where the first is surely not there."""
    failed = await in_doubt(bridge, fault)
    doubtful = await settled(bridge, headed("once more", Dedupe_Key="k"))
    assert "failed" == doubtful.state
    assert f"{failed.id} has its Dedupe-Key and may be on Discord" in doubtful.reason
    bridge.emulator.allow("general", READ_MESSAGE_HISTORY)
    for each in (doubtful, failed):
        assert "sent" == (await retried(bridge, each)).state
    assert texts == bridge.texts()


async def test_the_thread_of_a_message_in_doubt_is_gone(bridge: Bridge) -> None:
    """With it went whatever was in it: the key is free."""
    guild = bridge.emulator.guild
    made = guild.add_thread(guild.channel("general"), "x", objects.PUBLIC_THREAD)
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="drop_after")
    bridge.watched = True
    await bridge.restart()
    first = bridge.drop(headed("one", Dedupe_Key="k", Thread=made.id))
    await bridge.clock.sleepers(1)
    guild.remove_channel(made.id)
    bridge.watched = False
    await bridge.kill()
    await bridge.start()
    assert "failed" == (await bridge.settled(first)).state
    assert "sent" == (await settled(bridge, headed("two", Dedupe_Key="k"))).state
    assert ["two"] == bridge.texts()


async def test_twins_whose_second_waits_for_a_day(bridge: Bridge) -> None:
    """They were dropped together: that the service was down in between makes them no two messages."""
    await bridge.stop()
    await bridge.open()
    first = bridge.drop(headed("one", Dedupe_Key="k"))
    second = bridge.drop(headed("two", Dedupe_Key="k"))
    (bridge.box() / second.name).rename(bridge.spool.root / "tmp" / second.name)
    await bridge.restart()
    await bridge.settled(first)
    await bridge.stop()
    (bridge.spool.root / "tmp" / second.name).rename(bridge.box() / second.name)
    bridge.clock.now += 2 * 86_400
    await bridge.start()
    assert ("sent", ["one"]) == ((await bridge.settled(second)).state, bridge.texts())


async def test_a_key_across_three_journals(bridge: Bridge) -> None:
    """The entry that holds it is of the day before yesterday's file, by its ID."""
    bridge.drop("before")
    old = bridge.drop(headed("one", Dedupe_Key="k"))
    await bridge.settled(old)
    for _ in range(2):
        bridge.clock.now += 11.9 * 3600
        await settled(bridge, "hour by hour")
        await bridge.restart()
    assert "sent" == (await settled(bridge, headed("two", Dedupe_Key="k"))).state
    assert "one" in bridge.texts() and not any("two" in each for each in bridge.texts())


# -- deaths ------------------------------------------------------------------------------------------------


class DiedError(OSError):
    """What the journal raises where the process is to end."""


def dying(bridge: Bridge, at: int, *, written: bool) -> list[str]:
    """Let the journal's `at`-th record be the last thing that happens, written or not. The records it saw."""
    append = bridge.journal._append
    kinds: list[str] = []

    def last(kind: str, *given: Any, **more: Any) -> None:
        kinds.append(kind)
        if len(kinds) > at or (len(kinds) == at and not written):
            raise DiedError(28, "killed")
        append(kind, *given, **more)
        if len(kinds) == at:
            raise DiedError(28, "killed")

    bridge.journal._append = last  # type: ignore[method-assign]
    return kinds


@pytest.mark.parametrize("later", [0.0, LATER, 86_400.0])
@pytest.mark.parametrize("written", [True, False])
async def test_death_at_each_record(bridge: Bridge, written: bool, later: float) -> None:
    """A thread to be made, an answer to what is gone, files that are refused, and a death at each step of it:
    one thread, one text, and the files once they may come."""
    at, reached = 0, True
    while reached:
        at += 1
        bridge.emulator.guild.max_file = 2
        await bridge.restart()
        kinds = dying(bridge, at, written=written)
        text = headed("look", Thread=f"x{at}", Reply_To=5, Dedupe_Key=f"k{at}")
        entry = bridge.drop(text, files={"chart.png": PNG})
        await until(lambda: bool(bridge.dispatcher.disk) or bridge.tree("failed") != {})
        reached = bool(bridge.dispatcher.disk)
        await bridge.kill()
        bridge.clock.now += later
        await bridge.start()
        failed = await bridge.settled(entry)
        bridge.emulator.guild.max_file = 100
        assert ("failed", "sent") == (failed.state, (await retried(bridge, failed)).state)
        [thread] = threads(bridge, f"x{at}")
        first, second = posted(bridge, thread)
        assert first.endswith("look\n-# could not be attached: chart.png"), kinds
        assert "" == second
    assert at > 8


# -- files, answers and settings ---------------------------------------------------------------------------


async def test_the_answer_and_the_files_are_refused(bridge: Bridge) -> None:
    """First the one, then the others: the text goes out once, behind both lines."""
    bridge.emulator.guild.max_file = 2
    failed = await settled(bridge, headed("look", Reply_To=5), files={"chart.png": PNG})
    text = "> (a message that was deleted)\nlook\n-# could not be attached: chart.png"
    assert ("failed", [text]) == (failed.state, bridge.texts())
    bridge.emulator.guild.max_file = 100
    await bridge.restart()
    assert "sent" == (await retried(bridge, failed)).state
    assert [text, ""] == bridge.texts()


@pytest.mark.parametrize("later", [0.0, LATER])
@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
async def test_a_smaller_limit_after_a_crash(bridge: Bridge, later: float, fault: str) -> None:
    """What may have been carried out is looked for before anybody says that it is too large."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind=fault)
    bridge.watched = True
    await bridge.restart()
    entry = bridge.drop("look", files={"chart.png": PNG})
    await bridge.clock.sleepers(1)
    await bridge.kill()
    bridge.clock.now += later
    bridge.watched = False
    await bridge.open()
    bridge.posting._max_upload = 4
    bridge._running = asyncio.ensure_future(bridge.dispatcher.run())
    done = await bridge.settled(entry)
    assert 1 == len(bridge.texts())
    if fault == "drop_after":
        assert ("sent", ["look"]) == (done.state, bridge.texts())


async def test_a_text_of_five_parts_whose_file_is_refused(bridge: Bridge) -> None:
    """The line about the file does not cost the text its end."""
    bridge.emulator.guild.max_file = 2
    text = "\n".join(letter * 1990 for letter in "abcde")
    failed = await settled(bridge, text, files={"chart.png": PNG})
    assert "failed" == failed.state
    assert [*(letter * 1990 for letter in "abcde"), "-# could not be attached: chart.png"] == bridge.texts()
    bridge.emulator.guild.max_file = 100
    assert "sent" == (await retried(bridge, failed)).state
    assert 7 == len(bridge.texts())


async def test_a_quoted_file_that_cannot_be_read(bridge: Bridge) -> None:
    """A reader's leavings in the Maildir do not hold up the channel."""
    place = bridge.spool.root / "incoming" / "general" / "cur" / "1.D5.discord:2,S"
    place.mkdir(parents=True)
    entry = await settled(bridge, headed("nothing", Reply_To=5))
    assert ("sent", ["> (a message that was deleted)\nnothing"]) == (entry.state, bridge.texts())


async def test_a_renamed_file_for_the_retry(bridge: Bridge) -> None:
    """It goes under its new name; the text stays as it was posted."""
    bridge.emulator.guild.max_file = 2
    failed = await settled(bridge, "look", files={"chart.png": PNG})
    (failed.path / "files" / "chart.png").rename(failed.path / "files" / "diagram.png")
    bridge.emulator.guild.max_file = 100
    assert "sent" == (await retried(bridge, failed)).state
    assert ["look\n-# could not be attached: chart.png", ""] == bridge.texts()
    assert ["diagram.png"] == [name for name, _ in bridge.arrived[-1][1]]


async def test_no_files_at_all_for_the_retry(bridge: Bridge) -> None:
    """Whoever gives up on the files is done."""
    bridge.emulator.guild.max_file = 2
    failed = await settled(bridge, "look", files={"chart.png": PNG})
    (failed.path / "files" / "chart.png").unlink()
    (failed.path / "files").rmdir()
    assert "sent" == (await retried(bridge, failed)).state
    assert 1 == len(bridge.texts())


async def test_a_retry_days_later(bridge: Bridge) -> None:
    """The form is in the first day's journal."""
    bridge.emulator.guild.max_file = 2
    failed = await settled(bridge, headed("look", Reply_To=5), files={"chart.png": PNG})
    for _ in range(3):
        bridge.clock.now += 86_400
        await settled(bridge, "another day")
        await bridge.restart()
    bridge.emulator.guild.max_file = 100
    assert "sent" == (await retried(bridge, failed)).state
    assert 5 == len(bridge.texts())


async def test_a_checkpoint_of_the_version_before(bridge: Bridge) -> None:
    """Its forms have but a stamp: the rest is as if nothing had been refused."""
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="drop_after")
    bridge.watched = True
    await bridge.restart()
    entry = bridge.drop("look", files={"chart.png": PNG})
    await bridge.clock.sleepers(1)
    await bridge.kill()
    bridge.clock.now += 86_400
    state = bridge.spool.root / "state"
    lines = [json.loads(line) for line in (state / "journal.jsonl").read_text().splitlines()]
    [tried] = [each for each in lines if each["kind"] == "try"]
    part = {
        "digest": tried["digest"], "files": tried["files"], "message_id": None, "first_unknown": None,
        "pending": tried["at"], "crashes": 0,
    }  # fmt: skip
    about = {"id": entry.id, "channel": tried["channel"]}
    old = about | {"parts": 1, "stamp": "", "failed": "", "part": {"1": part}}
    record = {"at": bridge.clock.now - 60, "kind": "checkpoint", "unresolved": [old]}
    (state / "journal.jsonl").write_text(json.dumps(record) + "\n")
    bridge.watched = False
    await bridge.start()
    assert ("sent", ["look"]) == ((await bridge.settled(entry)).state, bridge.texts())


@pytest.mark.parametrize("name", ["²", "a: b", "  x   y ", "👩‍👧", "../..", "ǅ", "%s{0}", "x" * 100])
async def test_strange_names_of_threads(bridge: Bridge, name: str) -> None:
    """One thread each, found again after a restart."""
    for text in ("one", "two"):
        entry = await settled(bridge, headed(text, Thread=name))
        assert "sent" == entry.state
        await bridge.restart()
    made = [each for each in bridge.emulator.guild.by_id.values() if each.is_thread]
    assert [["one", "two"]] == [posted(bridge, each.id) for each in made]


async def test_a_reaction_retried_when_its_message_is_gone(bridge: Bridge) -> None:
    """It fails again, and its entry may become something else, for nothing came of it."""
    said = bridge.emulator.say("general", "deploy?")
    route = "/channels/{channel}/messages/{message}/reactions/{emoji}/@me"
    bridge.emulator.fail(method="PUT", route=route, kind="status", status=403, code=90001, message="no")
    failed = await settled(bridge, headed("", Reply_To=said, React="👍"))
    guild = bridge.emulator.guild
    message = guild.message(guild.channel("general").id, said)
    assert message is not None
    guild.remove(message)
    again = await retried(bridge, failed)
    assert ("failed", True) == (again.state, "10008" in again.reason)
    assert "sent" == (await retried(bridge, again, "a text instead")).state


async def test_mentions_named_twice(bridge: Bridge) -> None:
    """Discord refuses a list that names somebody twice."""
    assert "sent" == (await settled(bridge, headed("hi", Mentions="5, 5"))).state
    assert ["5"] == bridge.arrived[-1][0]["allowed_mentions"]["users"]
