"""SIGKILL at every system call of a message's life, and after the next start nothing is lost or repeated.

The calls are enumerated from a life that nobody disturbed; then, for each of them, a fresh world is
killed at its entry, started again, and held against the promise.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import asks
from spoolbridge.channels import Channel, Registry
from spoolbridge.spool import Spool
from tests.crash.world import CHANNEL, World, Zygote, world

LONG = "\n\n".join(f"{number}. " + "All work and no play makes a long message. " * 12 for number in range(9))
PICTURE = b"\x89PNG" + bytes(300_000)
SHARE = 6  # pairs of kills that an ordinary run tries; the sweep tries all
APART = 4  # calls between two kills behind which somebody reads or retries, in an ordinary run


@dataclass(frozen=True)
class Life:
    """What happens in a world before the service is killed in it."""

    name: str
    prepare: Callable[[World], object]
    failed: int = 0
    mailed: bool = False
    #: Seconds between the kill and the next start; past the nonce window the channel must be read back.
    later: float = 0.0
    #: An ordinary run kills at each so manieth call, beginning with one that the dice choose.
    every: int = 1


def _into_a_thread(world: World) -> None:
    world.drop("Spoolbridge: 1\nThread: Deploys\n\nhello")


def _a_reaction(world: World) -> None:
    said = world.emulator.say(CHANNEL, "deploy?", author="spoolbridge-tester", kind="bot")
    world.drop(f"Spoolbridge: 1\nReply-To: {said}\nReact: 👍\n\n")


def _files_refused(world: World) -> None:
    world.emulator.guild.max_file = 2
    world.drop("look", files={"chart.png": b"\x89PNG"})


def _an_answer_to_nothing(world: World) -> None:
    world.drop(f"Spoolbridge: 1\nReply-To: {world.emulator.guild.id}\n\nhello")


def _a_question(world: World) -> None:
    """Somebody reacts as soon as it is posted."""
    guild = world.emulator.guild
    place = Channel(CHANNEL, guild.channel(CHANNEL).id, None, CHANNEL)
    spool = Spool(world.root)
    asks.ask(spool, Registry([place]), CHANNEL, "Deploy?", options=("yes", "no"))
    spool.close()

    def answer(what: str, about: Any) -> None:
        if what == "created":
            guild.react(about, "👎", guild.person("nic"))

    guild.listeners.append(answer)


def _refused(world: World) -> None:
    world.drop("!!automod please")
    world.dropped.clear()


def _an_agents_mail(world: World) -> None:
    assert world.gt
    world.gt.mail(f"discord/{CHANNEL}", "", "hello")


def _an_agents_mail_is_refused(world: World) -> None:
    assert world.gt
    world.gt.mail(f"discord/{CHANNEL}", "", "!!automod please")


LIVES = [
    Life("one drop", lambda world: world.drop("hello")),
    Life("a long drop", lambda world: world.drop(LONG), every=9),
    Life("a long drop, found later", lambda world: world.drop(LONG), later=200.0, every=9),
    Life("a refused drop", _refused, failed=1, every=6),
    Life("a drop into a new thread", _into_a_thread, every=9),
    Life("a reaction", _a_reaction, every=9),
    Life("a drop whose files are refused", _files_refused, failed=1, every=8),
    Life("an answer to what is gone", _an_answer_to_nothing, later=200.0, every=9),
    Life("a question", _a_question, every=16),
    Life("a mailed answer", lambda world: world.say("what is up?"), mailed=True, every=20),
    Life("a mail to the channel", _an_agents_mail, mailed=True, every=20),
    Life("a mail to the channel, refused", _an_agents_mail_is_refused, mailed=True, every=20),
    Life("an answer with a picture", lambda world: world.say("look", PICTURE), every=9),
    Life("an answer", lambda world: world.say("what is up?"), every=4),
]


async def points(base: Path, forks: Zygote, life: Life) -> int:
    """How many calls the undisturbed life has, but for the poller's requests, which come as they please."""
    async with world(base, forks, mailed=life.mailed) as quiet:
        life.prepare(quiet)
        await quiet.life()
        check(quiet, life)
        return sum("n" in each and each["call"] != "send" for each in quiet.trace())


def _in_the_thread(world: World) -> None:
    [thread] = [each for each in world.emulator.guild.by_id.values() if each.is_thread]
    assert ["hello"] == [each["content"] for each in world.emulator.messages(thread.id) if not each["type"]]
    assert 1 == len(world.files("sent"))


def _reacted(world: World) -> None:
    [message] = world.emulator.messages(CHANNEL)
    assert [("👍", 1)] == [(each["emoji"]["name"], each["count"]) for each in message["reactions"]]
    assert ([], 1) == (world.posted(), len(world.files("sent")))


def _text_alone(world: World) -> None:
    assert ["look\n-# could not be attached: chart.png"] == world.posted()
    [entry] = world.files("failed")
    assert "40005" in Path(f"{entry}.why").read_text()


def _quoting(world: World) -> None:
    assert ["> (a message that was deleted)\nhello"] == world.posted()
    assert 1 == len(world.files("sent"))


def _answered(world: World) -> None:
    [message] = world.emulator.messages(CHANNEL)
    shown = {each["emoji"]["name"]: each["count"] for each in message["reactions"]}
    assert ({"👎": 1, "✅": 1}, 1) == (shown, len(world.files("sent")))
    [path] = (world.root / "state" / "asks" / "answers").glob("*.json")
    told = json.loads(path.read_text("utf-8"))
    assert ("answered", "no", message["id"]) == (told["status"], told["option"], str(told["question_id"]))


def _from_the_agent(world: World) -> None:
    assert ["[villacalculatecost3/crew/max] hello"] == world.posted()
    assert (1, []) == (len(world.files("sent")), world.gt and world.gt.mails)


def _told_the_agent(world: World) -> None:
    assert world.gt
    assert ([], 1) == (world.posted(), len(world.files("failed")))
    assert ["villacalculatecost3/crew/max"] == [mail["to"] for mail in world.gt.mails]


#: What is checked of a life that does not end with its text in the channel.
_CHECKS: dict[str, Callable[[World], None]] = {
    "a drop into a new thread": _in_the_thread,
    "a reaction": _reacted,
    "a mail to the channel": _from_the_agent,
    "a mail to the channel, refused": _told_the_agent,
    "a drop whose files are refused": _text_alone,
    "an answer to what is gone": _quoting,
    "a question": _answered,
}


def check(world: World, life: Life) -> None:
    if life.name in _CHECKS:
        assert world.files("outgoing") == world.files("sending") == []
        _CHECKS[life.name](world)
    elif life.failed:
        assert [] == world.posted()
        assert life.failed == len(world.files("failed"))
        assert world.files("outgoing") == world.files("sending") == world.files("sent") == []
        [entry] = world.files("failed")
        assert "200000" in Path(f"{entry}.why").read_text()
    elif life.name.startswith("a long drop"):
        assert 1 < len(world.posted()) == len(set(world.posted()))
        assert "".join(LONG.split()) == "".join("".join(world.posted()).split())
        assert 1 == len(world.files("sent"))
    else:
        world.assert_kept()


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@pytest.mark.timeout(240)
async def test_killed_at_a_call(tmp_path: Path, forks: Zygote, life: Life, dice: random.Random) -> None:
    """One kill, one start: all is settled as if nothing had happened. Of most lives a share of the calls."""
    await _killed_at_calls(tmp_path, forks, life, dice.randint(1, life.every), life.every)


@pytest.mark.sweep
@pytest.mark.parametrize("life", [life for life in LIVES if life.every > 1], ids=lambda life: life.name)
@pytest.mark.timeout(600)
async def test_killed_at_every_call(tmp_path: Path, forks: Zygote, life: Life) -> None:
    """The rest of them."""
    await _killed_at_calls(tmp_path, forks, life, 1, 1)


async def _killed_at_calls(tmp_path: Path, forks: Zygote, life: Life, first: int, every: int) -> None:
    least = await points(tmp_path / "quiet", forks, life)
    assert least > 10
    number, killed = first - every, True
    while killed:
        number += every
        async with world(tmp_path / "killed", forks, mailed=life.mailed) as struck:
            life.prepare(struck)
            killed = (await struck.life(kill_at=number))["killed"]
            struck.pass_time(life.later)
            await struck.life()
            check(struck, life)
    assert number > least, "some calls were never reached"


async def _killed_twice(base: Path, forks: Zygote, life: Life, first: int, second: int) -> None:
    async with world(base, forks, mailed=life.mailed) as struck:
        life.prepare(struck)
        await struck.life(kill_at=first)
        struck.pass_time(life.later)
        await struck.life(kill_at=second)
        await struck.life()
        check(struck, life)


@pytest.mark.timeout(120)
async def test_killed_in_the_recovery_too(tmp_path: Path, forks: Zygote, dice: random.Random) -> None:
    """A kill at one call, a kill at any call of the start that follows: a share of all pairs."""
    for number in range(SHARE):
        life = LIVES[number % len(LIVES)]
        count = await points(tmp_path / "quiet", forks, life)
        first, second = dice.randint(1, count), dice.randint(1, count)
        await _killed_twice(tmp_path / "struck", forks, life, first, second)


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
async def test_killed_at_every_pair_of_calls(tmp_path: Path, forks: Zygote, life: Life) -> None:
    """Every call, and every call of the start that follows."""
    count = await points(tmp_path / "quiet", forks, life)
    for first in range(1, count + 1):
        for second in range(1, count + 1):
            await _killed_twice(tmp_path / "struck", forks, life, first, second)
    print(f"{life.name}: {count} calls, {count * count} pairs")


@pytest.mark.timeout(120)
async def test_a_consumer_that_takes_the_file_at_once(
    tmp_path: Path, forks: Zygote, dice: random.Random
) -> None:
    """A reader empties `new/` between the kill and the start: the message does not come a second time."""
    await _killed_and_read(tmp_path, forks, dice.randint(1, APART), APART)


@pytest.mark.sweep
@pytest.mark.timeout(600)
async def test_a_consumer_after_every_call(tmp_path: Path, forks: Zygote) -> None:
    """The rest of them."""
    await _killed_and_read(tmp_path, forks, 1, 1)


async def _killed_and_read(tmp_path: Path, forks: Zygote, first: int, every: int) -> None:
    life = LIVES[-1]
    count = await points(tmp_path / "quiet", forks, life)
    for number in range(first, count + 1, every):
        async with world(tmp_path / "killed", forks) as struck:
            life.prepare(struck)
            await struck.life(kill_at=number)
            new = struck.root / "incoming" / CHANNEL / "new"
            taken = [path.name for path in new.glob("*.discord")]
            for path in new.glob("*.discord"):
                path.unlink()
            await struck.life()
            left = [path.name for path in new.glob("*.discord")]
            assert 1 == len(taken) + len(left), f"killed at {number}"


@pytest.mark.timeout(120)
async def test_an_operator_retries_what_had_been_posted(
    tmp_path: Path, forks: Zygote, dice: random.Random
) -> None:
    """Wherever the kill left it, `mv … outgoing/` of the very same entry posts nothing twice."""
    await _killed_and_retried(tmp_path, forks, dice.randint(1, APART), APART)


@pytest.mark.sweep
@pytest.mark.timeout(600)
async def test_an_operator_retries_after_every_call(tmp_path: Path, forks: Zygote) -> None:
    """The rest of them."""
    await _killed_and_retried(tmp_path, forks, 1, 1)


async def _killed_and_retried(tmp_path: Path, forks: Zygote, first: int, every: int) -> None:
    life = LIVES[0]
    count = await points(tmp_path / "quiet", forks, life)
    for number in range(first, count + 1, every):
        async with world(tmp_path / "killed", forks) as struck:
            life.prepare(struck)
            await struck.life(kill_at=number)
            lying = [*struck.files("sending"), *struck.files("sent")]
            for entry in lying:
                subprocess.run(["mv", str(entry), str(struck.root / "outgoing" / CHANNEL) + "/"], check=True)
            await struck.life()
            struck.assert_kept()


async def test_three_deaths_in_a_post_are_poison(tmp_path: Path, forks: Zygote) -> None:
    """An entry that the service dies of is read back and set aside with its reason."""
    async with world(tmp_path / "w", forks) as struck:
        struck.drop("hello")
        post = f"POST /api/v10/channels/{struck.emulator.guild.channel(CHANNEL).id}/messages "
        for _ in range(3):
            assert (await struck.life(kill_at=post))["killed"]
        assert ["try"] * 3 == _journalled(struck)
        await struck.life()
        [entry] = struck.files("failed")
        assert "died 3 times" in Path(f"{entry}.why").read_text()
        assert [] == struck.posted()


def _journalled(world: World) -> list[str]:
    lines = (world.base / "spool" / "state" / "journal.jsonl").read_text().splitlines()
    return [json.loads(line)["kind"] for line in lines]
