"""Questions to people on an emulated Discord: answered, contradicted, too late, refused, and restarted."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import asker, asks
from spoolbridge.access import Access
from spoolbridge.asker import LOOK, PACES, SLOWEST, UNDROPPED, Asker
from spoolbridge.asks import ANSWERED, FAILED, GRACE, TIMED_OUT, Answer
from spoolbridge.channels import Registry
from spoolbridge.choices import Question
from spoolbridge.emulator import Emulator
from spoolbridge.errors import TokenRefusedError
from spoolbridge.settings import AccessTable
from tests.flow.test_service import Town
from tests.support.bridge import READ_MESSAGE_HISTORY, Bridge, bridging
from tests.support.programs import PATIENCE, PROGRAM, environment
from tests.support.waiting import until

VILLA = "mayor-villa"
MESSAGE = "/channels/{channel}/messages/{message}"
MESSAGES = "/channels/{channel}/messages"
REACT = f"{MESSAGE}/reactions/{{emoji}}/@me"
REACTORS = f"{MESSAGE}/reactions/{{emoji}}"
ADD_REACTIONS = 1 << 6


class Asking:
    """A bridge whose questions are looked after when a test says so; `start` again is a restart."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge, self.clock, self.emulator = bridge, bridge.clock, bridge.emulator
        self.spool = bridge.spool
        self.start()

    def start(self, tables: Mapping[str, AccessTable] | None = None) -> None:
        guild, client = self.emulator.guild, self.bridge.client

        async def member(user_id: int) -> dict[str, Any]:
            return await client.member(guild.id, user_id)

        self.access = Access(guild.bot.id, tables or {}, member=member, guild_id=guild.id, clock=self.clock)
        self.asker = Asker(
            self.spool, client, self.access, self.bridge.registry,
            guild_id=guild.id, clock=self.clock, sleep=self.clock.sleep,
        )  # fmt: skip

    async def ask(
        self, options: Sequence[str] = ("yes", "no"), *, timeout: float = 3600, posted: bool = True
    ) -> Question:
        self.clock.now += 0.001
        asked = asks.ask(
            self.spool, self.bridge.registry(), VILLA, "Deploy?",
            options=options, timeout=timeout, clock=self.clock,
        )  # fmt: skip
        self.bridge.ring()
        if posted:
            entry = self.spool.find(asked.id)
            assert entry is not None
            await self.bridge.settled(entry)
            await self.look()
        return asked

    async def look(self, seconds: float = 0.0) -> None:
        """Time goes on, and the service looks."""
        self.clock.advance(seconds)
        await self.asker.look()

    def posted(self, asked: Question) -> int:
        """The question's id on Discord."""
        entry = self.spool.find(asked.id)
        assert entry is not None
        return entry.message_ids[0]

    def reply(self, asked: Question, text: str, **more: Any) -> int:
        self.clock.advance(0.5)
        return self.emulator.say(VILLA, text, reply_to=self.posted(asked), **more)

    def react(self, asked: Question, emoji: str, author: str = "nic", *, bot: bool = False) -> None:
        guild = self.emulator.guild
        message = guild.message(guild.channel(VILLA).id, self.posted(asked))
        assert message is not None
        guild.react(message, emoji, guild.person(author, bot=bot))

    def answer(self, asked: Question) -> Answer | None:
        return asks.answer_of(self.spool, asked.id)

    def status(self, asked: Question) -> str:
        found = self.answer(asked)
        return found.status if found else "open"

    def said(self, asked: Question) -> tuple[str, str, str, str]:
        """Option, text, author, how."""
        found = self.answer(asked)
        assert found is not None
        assert ANSWERED == found.status, found.reason
        return found.option, found.text, found.author, found.how

    def shown(self, asked: Question) -> list[str]:
        """What the bot has put on the question."""
        [found] = [each for each in self.emulator.messages(VILLA) if each["id"] == str(self.posted(asked))]
        return [each["emoji"]["name"] for each in found.get("reactions", []) if each["me"]]

    def open(self) -> list[str]:
        return asks.listed(self.spool)

    def reads(self) -> int:
        return sum(seen.method == "GET" for seen in self.emulator.requests())


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    async with bridging(tmp_path / "spool", channels=(VILLA,)) as bridge:
        yield Asking(bridge)


# --- answers -----------------------------------------------------------------------------------------


async def test_a_reply_answers(asking: Asking) -> None:
    """What is not an option is talk; the answer is shown on the question, which is closed then."""
    asked = await asking.ask()
    asking.emulator.say(VILLA, "yes")  # to nobody
    asking.reply(asked, "why?")
    await asking.look(3)
    assert ("open", []) == (asking.status(asked), asking.shown(asked))
    said = asking.reply(asked, " YES ", author="ada")
    await asking.look(3)
    assert ("yes", " YES ", "Ada", "reply") == asking.said(asked)
    found = asking.answer(asked)
    assert found is not None
    assert (said, VILLA, asking.posted(asked)) == (found.message_id, found.channel, found.question_id)
    assert (asking.emulator.guild.person("ada").id, 0) == (found.author_id, found.number)
    assert (["✅"], []) == (asking.shown(asked), asking.open())


@pytest.mark.parametrize(
    ("options", "emoji", "option"),
    [(("yes", "no"), "👎", "no"), (("yes", "no"), "👍🏾", "yes"), (("a", "b", "c"), "2️⃣", "b")],
)
async def test_a_reaction_answers(asking: Asking, options: tuple[str, ...], emoji: str, option: str) -> None:
    """Any other emoji is none, and neither is one that the bot or another bot has put there."""
    asked = await asking.ask(options)
    asking.react(asked, "🎉")
    asking.react(asked, emoji, "robot", bot=True)
    await asking.bridge.client.react(asking.emulator.guild.channel(VILLA).id, asking.posted(asked), emoji)
    await asking.look(3)
    assert "open" == asking.status(asked)
    asking.react(asked, emoji)
    await asking.look(3)
    assert (option, emoji, "Nic", "reaction") == asking.said(asked)
    assert "✅" in asking.shown(asked)


async def test_any_reply_answers_where_there_are_no_options(asking: Asking) -> None:
    """Its text as everybody reads it, mentions as names; a reaction says nothing there."""
    asked = await asking.ask(())
    asking.react(asked, "👍")
    await asking.look(3)
    assert "open" == asking.status(asked)
    ada = asking.emulator.guild.person("ada").id
    asking.reply(asked, f"ask <@{ada}>\nor wait")
    await asking.look(3)
    assert ("", "ask @Ada\nor wait", "Nic", "reply") == asking.said(asked)
    found = asking.answer(asked)
    assert (found is not None, -1) == (True, found and found.number)


async def test_contradicting_reactions_decide_nothing(asking: Asking) -> None:
    """Nobody can say which was first; one is withdrawn, or a reply decides."""
    asked = await asking.ask()
    asking.react(asked, "👍", "nic")
    asking.react(asked, "👎", "ada")
    await asking.look(3)
    assert "open" == asking.status(asked)
    asking.reply(asked, "no", author="ada")
    await asking.look(3)
    assert ("no", "no", "Ada", "reply") == asking.said(asked)


async def test_an_answer_stays(asking: Asking) -> None:
    """What comes behind it changes nothing, nor does a restart."""
    asked = await asking.ask()
    asking.reply(asked, "no")
    await asking.look(3)
    before = asking.answer(asked)
    asking.reply(asked, "yes")
    asking.start()
    await asking.look(3)
    assert (before, "no") == (asking.answer(asked), before and before.option)


async def test_a_reply_among_many_messages(asking: Asking) -> None:
    """Behind more than a page of talk, and one that becomes visible late."""
    asked = await asking.ask()
    late = asking.clock()
    for number in range(130):
        asking.emulator.say(VILLA, f"talk {number}")
    await asking.look(5)
    asking.emulator.say(VILLA, "yes", reply_to=asking.posted(asked), at=late)
    await asking.look(3)
    assert "yes" == asking.said(asked)[0]


async def test_many_who_react(asking: Asking) -> None:
    """Who may answer is found behind a hundred who may not."""
    nic = asking.emulator.guild.person("nic").id
    asking.start({"": AccessTable(users=frozenset({nic}))})
    asked = await asking.ask()
    for number in range(130):
        asking.react(asked, "👍", f"user{number}")
    asking.react(asked, "👍", "nic")
    await asking.look(3)
    assert ("yes", "👍", "Nic", "reaction") == asking.said(asked)


# --- who may answer ----------------------------------------------------------------------------------


async def test_a_stranger_is_not_heard(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by reply nor by reaction; the log says so once, with the id and without the words."""
    caplog.set_level(logging.INFO)
    nic = asking.emulator.guild.person("nic").id
    asking.start({VILLA: AccessTable(users=frozenset({nic}))})
    asked = await asking.ask()
    for _ in range(2):
        asking.reply(asked, "YES", author="mallory")
        asking.react(asked, "👍", "mallory")
        await asking.look(3)
    assert "open" == asking.status(asked)
    mallory = asking.emulator.guild.person("mallory").id
    assert 1 == caplog.text.count(f"what user {mallory} answers does not count")
    asking.reply(asked, "no", author="nic")
    await asking.look(3)
    assert "no" == asking.said(asked)[0]
    assert "YES" not in caplog.text


async def test_a_role_may_answer(asking: Asking) -> None:
    """It is looked up for who reacts as for who replies."""
    guild = asking.emulator.guild
    role = guild.add_role("deployers").id
    guild.member_roles[guild.person("ada").id].add(role)
    asking.start({"": AccessTable(roles=frozenset({role}))})
    asked = await asking.ask()
    asking.react(asked, "👎", "nic")
    asking.react(asked, "👍", "ada")
    await asking.look(3)
    assert ("yes", "👍", "Ada", "reaction") == asking.said(asked)


@pytest.mark.parametrize("kind", ["bot", "webhook"])
async def test_bots_do_not_answer(asking: Asking, kind: str) -> None:
    """Even where they reach the agents: a question is for people."""
    asking.start({"": AccessTable(bots=True)})
    asked = await asking.ask()
    asking.reply(asked, "yes", kind=kind)
    asking.react(asked, "👍", "robot", bot=True)
    await asking.look(3)
    assert "open" == asking.status(asked)


# --- time --------------------------------------------------------------------------------------------


async def test_nobody_answers(asking: Asking) -> None:
    """Its time over, that is shown; what is replied later changes nothing."""
    asked = await asking.ask(timeout=600)
    await asking.look(599)
    assert "open" == asking.status(asked)
    await asking.look(1.1)
    assert (TIMED_OUT, ["⌛"], []) == (asking.status(asked), asking.shown(asked), asking.open())
    asking.reply(asked, "yes")
    await asking.look(3)
    assert TIMED_OUT == asking.status(asked)


async def test_the_last_look_is_behind_the_deadline(asking: Asking) -> None:
    """Who answers in the last second is heard."""
    asked = await asking.ask(timeout=600)
    await asking.look(599)
    asking.react(asked, "👍")
    await asking.look(1.1)
    assert "yes" == asking.said(asked)[0]


async def test_a_service_that_was_away_over_the_deadline(asking: Asking) -> None:
    """A reply has a time, and counts if it came in time; a reaction has none, and does not."""
    first, second = await asking.ask(timeout=600), await asking.ask(timeout=600)
    asking.reply(first, "no")
    asking.react(second, "👍")
    asking.start()
    await asking.look(600 + GRACE + 1)
    assert (("no", "no", "Nic", "reply"), TIMED_OUT) == (asking.said(first), asking.status(second))


async def test_looks_become_rarer(asking: Asking) -> None:
    """Two reads a look: every 3 seconds at first, later every 30; and none where nothing is asked."""
    before = asking.reads()
    for _ in range(60):
        await asking.look(LOOK)
    assert before == asking.reads()
    await asking.ask(timeout=3000)
    counts = []
    for seconds in (PACES[0][0], PACES[1][0] - PACES[0][0], 1200):
        before = asking.reads()
        for _ in range(int(seconds)):
            await asking.look(1)
        counts.append((asking.reads() - before) / 2)
    assert [120 / 3, 780 / 10, 1200 / SLOWEST] == pytest.approx(counts, abs=2)


async def test_a_question_that_waits_to_be_posted(asking: Asking) -> None:
    """Its time runs; where it is over before Discord is back, nobody is asked any more."""
    await asking.emulator.down()
    asked = await asking.ask(timeout=600, posted=False)
    await asking.look(1)
    assert "open" == asking.status(asked)
    await asking.look(600)
    assert TIMED_OUT == asking.status(asked)
    await asking.emulator.up()
    entry = await asking.bridge.only("failed")
    assert (asked.id, [], []) == (entry.id, asking.bridge.texts(VILLA), asking.open())


async def test_an_outage_costs_no_answer(asking: Asking) -> None:
    """While Discord does not answer nothing is decided, also not that the time is over."""
    asked = await asking.ask(timeout=600)
    asking.reply(asked, "yes")
    asking.emulator.fail(method="GET", route=MESSAGE, kind="status", status=503, times=0)
    await asking.look(300)
    await asking.look(700)
    assert "open" == asking.status(asked)
    asking.emulator.faults.clear()
    await asking.look(400)
    assert "yes" == asking.said(asked)[0]


# --- what goes wrong ---------------------------------------------------------------------------------


def _failed(asking: Asking, asked: Question) -> str:
    found = asking.answer(asked)
    assert found is not None
    assert FAILED == found.status
    assert [] == asking.open()
    return found.reason


async def test_a_question_that_discord_refuses(asking: Asking) -> None:
    """Whoever waits is told why, at once."""
    asking.emulator.fail(method="POST", route=MESSAGES, kind="status", status=400, code=50035)
    asked = await asking.ask()
    await asking.look(1)
    assert "50035" in _failed(asking, asked)


async def test_a_question_that_somebody_took_away(asking: Asking) -> None:
    """`rm` in outgoing/ cancels it."""
    (asking.bridge.box(VILLA) / ".hold").touch()
    asked = await asking.ask(posted=False)
    entry = asking.spool.find(asked.id)
    assert entry is not None
    entry.path.unlink()
    await asking.look(1)
    assert "open" == asking.status(asked)
    await asking.look(UNDROPPED)
    assert "somebody took it away" in _failed(asking, asked)


async def test_a_question_that_is_deleted_on_discord(asking: Asking) -> None:
    """Nobody can answer it any more."""
    asked = await asking.ask()
    guild = asking.emulator.guild
    message = guild.message(guild.channel(VILLA).id, asking.posted(asked))
    assert message is not None
    guild.remove(message)
    await asking.look(3)
    assert "10008" in _failed(asking, asked)


async def test_a_channel_whose_history_may_not_be_read(asking: Asking) -> None:
    """Discord would show an empty page for ever."""
    asked = await asking.ask()
    asking.emulator.deny(VILLA, READ_MESSAGE_HISTORY)
    await asking.look(3)
    assert "50013" in _failed(asking, asked)


async def test_a_channel_that_the_file_has_lost(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its name nobody knows who may answer there."""
    asked = await asking.ask()
    monkeypatch.setattr(asking.bridge, "registry", lambda: Registry([]))
    asking.start()
    await asking.look(3)
    assert "no channel 'mayor-villa'" in _failed(asking, asked)


async def test_a_refused_token_ends_the_service(asking: Asking) -> None:
    """As everywhere."""
    await asking.ask()
    asking.emulator.fail(method="GET", route=MESSAGE, kind="unauthorized")
    with pytest.raises(TokenRefusedError):
        await asking.look(3)


@pytest.mark.parametrize("route", [MESSAGES, REACTORS])
async def test_half_a_look_decides_nothing_and_loses_nothing(asking: Asking, route: str) -> None:
    """Where one of the requests fails, the whole look is made again."""
    asked = await asking.ask()
    asking.reply(asked, "no")
    asking.react(asked, "👍")
    asking.emulator.fail(method="GET", route=route, kind="status", status=503)
    await asking.look(3)
    assert "open" == asking.status(asked)
    await asking.look(300)
    assert "no" == asking.said(asked)[0]


async def test_what_cannot_be_shown(asking: Asking) -> None:
    """An outage: later. A right that is missing: never. The answer stands in any case."""
    first, second = await asking.ask(), await asking.ask()
    asking.reply(first, "yes")
    asking.emulator.fail(method="PUT", route=REACT, kind="status", status=503)
    await asking.look(3)
    assert (ANSWERED, [], 2) == (asking.status(first), asking.shown(first), len(asking.open()))
    await asking.look(300)
    assert ["✅"] == asking.shown(first)
    asking.emulator.deny(VILLA, ADD_REACTIONS)
    asking.reply(second, "yes")
    await asking.look(300)
    assert (ANSWERED, [], []) == (asking.status(second), asking.shown(second), asking.open())


async def test_a_crash_between_the_answer_and_its_sign(asking: Asking) -> None:
    """The next service shows what was decided, and decides nothing again."""
    asked = await asking.ask()
    entry = asking.spool.find(asked.id)
    assert entry is not None
    assert entry.channel_id is not None
    decided = Answer(
        asked.id, ANSWERED, asking.clock(), option="no", number=1, text="no", author="nic", author_id=7,
        channel=VILLA, channel_id=entry.channel_id, question_id=entry.message_ids[0], how="reply",
    )  # fmt: skip
    asks.settle(asking.spool, decided)
    asking.reply(asked, "yes")
    asking.start()
    await asking.look(3)
    assert (decided, ["✅"], []) == (asking.answer(asked), asking.shown(asked), asking.open())


async def test_a_full_disk(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of an answer that is not durable; with room it is found again."""
    asked = await asking.ask()
    asking.reply(asked, "yes")

    def full(*_: object) -> Answer:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(asks, "settle", full)
        await asking.look(3)
        assert ("open", []) == (asking.status(asked), asking.shown(asked))
    await asking.look(30)
    assert "yes" == asking.said(asked)[0]


async def test_a_disk_that_fails(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the service's end: after EIO nothing that was written can be believed."""

    def broken(*_: object) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(asks, "listed", broken)
    with pytest.raises(OSError, match="Input/output"):
        await asking.look()


async def test_hostile_files(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever lies there: a sentence for whoever waits, one line in the log, and everything else goes on."""
    caplog.set_level(logging.INFO)
    asked = await asking.ask()
    place = asking.spool.root / "state" / "asks"
    bad, folder = asking.spool.mint(), asking.spool.mint()
    (place / f"{bad}.json").write_text('{"options": ["../../x"], "deadline": 1e308}')
    (place / f"{folder}.json").mkdir()
    (place / "disk").write_text("x")
    (place / "a\nb %s %d.json").symlink_to("/etc/passwd")
    asking.reply(asked, "yes")
    for _ in range(3):
        await asking.look(3)
    assert "yes" == asking.said(asked)[0]
    for each, says in ((bad, "deadline"), (folder, "no regular file")):
        found = asks.answer_of(asking.spool, each)
        assert found is not None
        assert (FAILED, True) == (found.status, says in found.reason)
    assert sorted(["a\nb %s %d.json", "disk", f"{folder}.json"]) == asking.open()
    lines = [record.getMessage() for record in caplog.records if record.name == asker.__name__]
    assert 2 == sum("is no question and is left alone" in line for line in lines)
    assert 1 == sum("cannot be closed" in line for line in lines)
    assert not any("\n" in line for line in lines)


async def test_too_many_questions(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that asks without end does not take the reads from everybody else."""
    monkeypatch.setattr(asker, "MOST_OPEN", 2)
    asked = [await asking.ask(posted=False) for _ in range(3)]
    await asking.look()
    assert ["open", "open", FAILED] == [asking.status(each) for each in asked]


async def test_run_looks_every_second(asking: Asking) -> None:
    """And goes on until it is cancelled."""
    running = asyncio.ensure_future(asking.asker.run())
    await asking.clock.sleepers()
    asked = await asking.ask(posted=False)
    entry = asking.spool.find(asked.id)
    assert entry is not None
    await asking.bridge.settled(entry)
    asking.react(asked, "👍")
    asking.clock.advance(LOOK)
    await until(lambda: asking.status(asked) == ANSWERED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# --- the service and the command as processes --------------------------------------------------------


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with Emulator(limits=False).serve() as emulator:
        for name in ("general", VILLA):
            emulator.add_channel(name)
        made = Town(emulator, tmp_path)
        yield made
        made.spool.close()


class Command:
    """`spoolbridge ask`, started; `ended` gives what it left."""

    def __init__(self, town: Town, *words: str) -> None:
        self._town, self._words = town, words

    async def __aenter__(self) -> Command:
        self.process = await asyncio.create_subprocess_exec(
            PROGRAM, "ask", *self._words, cwd=self._town.root, env=environment(self._town.env),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    async def asked(self) -> str:
        """The ID, once it says so."""
        assert self.process.stderr is not None
        line = (await asyncio.wait_for(self.process.stderr.readline(), PATIENCE)).decode()
        assert line.startswith("asked as "), line
        return line.split()[2].rstrip(";")

    async def ended(self) -> tuple[int, str]:
        out, _ = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode()


async def _message(town: Town, ask_id: str, channel: str) -> int:
    """The question's id on Discord, once it is there."""

    def sent() -> int:
        entry = town.spool.find(ask_id)
        return entry.message_ids[0] if entry and entry.message_ids else 0

    await until(sent, PATIENCE)
    assert channel == (entry.channel if (entry := town.spool.find(ask_id)) else "")
    return sent()


async def test_a_command_and_a_service(town: Town) -> None:
    """From the shell to a person and back, in a channel that is not polled; then another option, as JSON."""
    guild = town.emulator.guild
    async with town.serving():
        async with Command(town, "general", "Deploy?", "--options", "yes,no", "--timeout", "2h") as command:
            message = await _message(town, await command.asked(), "general")
            assert town.texts()[0].startswith("Deploy?\n👍 yes\n👎 no\n")
            town.emulator.say("general", "yes", reply_to=message)
            assert (0, "yes\n") == await command.ended()
        async with Command(town, "#mayor-villa", "Deploy?", "--options", "yes,no", "--json") as command:
            ask_id = await command.asked()
            message = await _message(town, ask_id, VILLA)
            found = guild.message(guild.channel(VILLA).id, message)
            assert found is not None
            guild.react(found, "👎", guild.person("nic"))
            code, out = await command.ended()
        assert (10, {
            "status": "answered", "id": ask_id, "option": "no", "text": "👎", "author": "Nic",
            "author_id": str(guild.person("nic").id), "message_id": str(message), "how": "reaction",
            "channel": VILLA,
        }) == (code, json.loads(out))  # fmt: skip


async def test_everything_dies_and_goes_on(town: Town) -> None:
    """The command and the service are killed while the question is open; both take it up again."""
    async with town.serving() as service:
        async with Command(town, VILLA, "When?") as command:
            ask_id = await command.asked()
            message = await _message(town, ask_id, VILLA)
            command.process.kill()
        service.process.kill()
        service.process.wait()
    town.emulator.say(VILLA, "on Tuesday\nor so", reply_to=message)
    async with town.serving():
        async with Command(town, "--again", ask_id) as command:
            assert (0, "on Tuesday\nor so\n") == await command.ended()
        async with Command(town, "--again", ask_id, "--timeout", "1s") as command:
            assert (0, "on Tuesday\nor so\n") == await command.ended()


async def test_how_a_command_ends(town: Town) -> None:
    """124 where nobody answered in time, or yet; 1 where the question failed; 130 by Ctrl-C."""
    place = f"/channels/{town.emulator.guild.channel(VILLA).id}/messages"
    town.emulator.fail(method="POST", route=place, kind="status", status=400, code=50035)
    async with town.serving():
        async with Command(town, "general", "Deploy?", "--timeout", "3s") as command:
            assert (124, "") == await command.ended()
        await until(lambda: "⌛" in json.dumps(town.emulator.messages("general"), ensure_ascii=False))
        async with Command(town, VILLA, "Deploy?", "--options", "yes,no") as command:
            assert (1, "") == await command.ended()
        async with Command(town, "general", "Deploy?") as command:
            ask_id = await command.asked()
            command.process.send_signal(signal.SIGINT)
            assert (130, "") == await command.ended()
        async with Command(town, "--again", ask_id, "--timeout", "0.1", "--json") as command:
            code, out = await command.ended()
        assert (124, {"status": "open", "id": ask_id}) == (code, json.loads(out))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "give a CHANNEL and a QUESTION"),
        (("general",), 2, "give a CHANNEL and a QUESTION"),
        (("general", "--again", "x"), 2, "takes the ID alone"),
        (("general", "x", "--timeout", "soon"), 2, "no time such as"),
        (("general", "x", "--timeout", "30d"), 1, "cannot be waited"),
        (("general", "x", "--options", "yes,yes"), 1, "two options are the same"),
        (("nowhere", "x"), 1, "no channel 'nowhere'"),
        (("--again", "../../x"), 1, "no question"),
    ],
)
async def test_what_a_command_refuses(town: Town, words: tuple[str, ...], code: int, says: str) -> None:
    """In one line, with nothing asked."""
    async with Command(town, *words) as command:
        _, err = await asyncio.wait_for(command.process.communicate(), PATIENCE)
        assert (code, True) == (command.process.returncode, says in err.decode())
    assert [] == asks.listed(town.spool)
