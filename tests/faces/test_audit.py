"""The audit: what it proves, what it finds where that was broken, and that a repair fills in just that."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from spoolbridge import atomic, audit, cli, handed, identity, journal_files, lock
from spoolbridge.access import Access
from spoolbridge.channels import Registry
from spoolbridge.comparison import FAILURES, Finding, Report
from spoolbridge.cursor import Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.emulator.objects import Upload
from spoolbridge.errors import SpoolBusyError, UnreachableError
from spoolbridge.gt_mail import GtMail
from spoolbridge.handed import Handed
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import snowflake_at
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.places import Guild
from spoolbridge.poller import Poller
from spoolbridge.settings import AccessTable, Settings
from spoolbridge.spool import Spool
from tests.support.bridge import MESSAGES, READ_MESSAGE_HISTORY, VIEW_CHANNEL, Bridge, bridging
from tests.support.crashes import Killed, kill_at
from tests.support.fake_gt import FakeGt
from tests.support.tree import contents

VILLA = "mayor-villa"
DAY = 24 * 3600.0  # seconds
BOTH = "incoming, inbox"
MORE_THAN_ENOUGH = 1000  # changes of the file system in one repair


def said(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `spoolbridge audit`."""
    with CliRunner().isolation() as (out, err, _):
        code = cli.run(["audit", *arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        return code, out.getvalue().decode(), err.getvalue().decode()


class World:
    """A whole bridge in this process: what `Bridge` does outbound, and a poller that goes round when told."""

    def __init__(self, bridge: Bridge, root: Path, *, mailed: bool = False) -> None:
        self.bridge, self.root, self.emulator = bridge, bridge.spool.root, bridge.emulator
        self.clock, self.gt = bridge.clock, FakeGt(root / "bin") if mailed else None
        self.settings = Settings(
            self.root, self.root / "discord-channels.json", self.root / "discord-inbox.jsonl",
            token=self.emulator.token, guild_id=self.emulator.guild.id, api_url=self.emulator.api_url,
            town=root if self.gt else None, environment=self.gt.environment if self.gt else {},
        )  # fmt: skip
        made = {"format": 1, "first_start": self.clock()}
        (self.root / "state" / "format.json").write_text(json.dumps(made))
        self.started = self.clock()
        self._write_channels()
        self.start()

    def _write_channels(self) -> None:
        ids = {name: str(channel.id) for name, channel in self.emulator.guild.channels.items()}
        self.settings.channels.write_text(json.dumps(ids))

    def start(self) -> None:
        """The inbound half, as the service builds it."""
        self.cursors = Cursors(self.bridge.spool.fd)
        self.deliveries: list[Delivery] = [
            IncomingFile(self.bridge.spool.fd, self.cursors), InboxFile(self.settings.inbox, self.cursors)
        ]  # fmt: skip
        self.mail = None
        if self.gt is not None:
            self.mail = GtMail(
                self.bridge.spool.fd, self.cursors, town=self.root.parent, environment=self.gt.environment,
                clock=self.clock, sleep=self.clock.sleep, spool=str(self.root),
            )  # fmt: skip
            self.deliveries.append(self.mail)
        for delivery in self.deliveries:
            delivery.recover()
        guild, client = self.emulator.guild, self.bridge.client
        self.access = Access(
            guild.bot.id, self.settings.access, member=partial(client.member, guild.id), guild_id=guild.id,
            clock=self.clock,
        )  # fmt: skip
        self.poller = Poller(
            self.bridge.client, self.registry, self.deliveries, globs=self.settings.poll, access=self.access,
            guild_id=self.emulator.guild.id, own_id=self.emulator.guild.bot.id, first_start=self.started,
            clock=self.clock, sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip

    def let_in(self, **tables: AccessTable) -> None:
        """From now on these rules are in force: `all`, or a channel's name with _ for -."""
        access = {"" if name == "all" else name.replace("_", "-"): table for name, table in tables.items()}
        self.settings = self.settings._replace(access=access)
        self.stop()
        self.start()

    def stop(self) -> None:
        if self.mail is not None:
            self.mail.close()
        self.cursors.close()

    def registry(self) -> Registry:
        """Channels, no threads: the file names none."""
        whole = self.bridge.registry().channels
        guild = self.emulator.guild
        return Registry([each for each in whole if not guild.channel(each.id).is_thread])

    # -- what happens ----------------------------------------------------------------------------------

    async def say(self, text: str, channel: str | int = VILLA, **more: Any) -> int:
        """A human writes, and the poller comes round."""
        self.clock.advance(1)
        said = self.emulator.say(channel, text, **more)
        await self.poller.cycle()
        return said

    async def pass_over(self, text: str = "hidden", channel: str = VILLA) -> int:
        """A message that becomes visible half a minute late, below every cursor's floor."""
        await self.say("before", channel)
        self.clock.advance(60)
        await self.say("after", channel)
        late = self.emulator.say(channel, text, at=self.clock() - 30)
        await self.poller.cycle()
        return late

    async def post(self, text: str, channel: str = "general", **more: Any) -> str:
        """An agent writes, and it is sent; the entry's ID."""
        entry = await self.bridge.settled(self.bridge.drop(text, channel, **more))
        assert "sent" == entry.state
        return entry.id

    def delete(self, channel: str | int, message_id: int) -> None:
        guild = self.emulator.guild
        message = guild.message(guild.channel(channel).id, message_id)
        assert message is not None
        guild.remove(message)

    # -- who looks -------------------------------------------------------------------------------------

    async def audit(self, *, seconds: float = DAY, act: Callable[..., Any] = audit.audit) -> Report:
        report = await act(
            self.bridge.client, self.settings, self.bridge.spool, self.registry(), self.clock() - seconds,
            clock=self.clock,
        )  # fmt: skip
        assert isinstance(report, Report)
        return report

    async def repair(self, **more: Any) -> Report:
        """As the command does it, the service stopped before and started again after it."""
        self.stop()
        try:
            return await self.audit(act=audit.repair, **more)
        finally:
            self.start()

    async def told(self, *arguments: str) -> tuple[int, str, str]:
        """What `spoolbridge audit` says, in a thread: the emulator answers in this one."""
        return await asyncio.to_thread(said, *arguments)

    def files(self, channel: str = VILLA) -> list[int]:
        """The ids in a channel's new/, in the order of the names."""
        new = self.root / "incoming" / channel / "new"
        return [int(path.name.partition("D")[2].partition(".")[0]) for path in sorted(new.iterdir())]

    def mails(self) -> list[int]:
        """The ids of the mails that wait."""
        return [int(path.name.partition(".")[0]) for path in (self.root / "state" / "mail").glob("*.json")]

    def lines(self) -> list[int]:
        path = self.settings.inbox
        return [int(json.loads(line)["id"]) for line in path.read_text("utf-8").splitlines()]


@asynccontextmanager
async def working(
    root: Path, *, mailed: bool = False, start: bool = True, **more: Any
) -> AsyncIterator[World]:
    """`start`: with a dispatcher, which would feel every stroke at the file system too."""
    root.mkdir(exist_ok=True)
    async with bridging(root / "spool", start=start, **more) as bridge:
        if not start:
            await bridge.open()
        bridge.clock.advance(5)  # the channels are older than the first start
        made = World(bridge, root, mailed=mailed)
        await made.poller.cycle()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with working(tmp_path, channels=("general", VILLA, "mayor-db")) as made:
        settings = made.settings
        monkeypatch.setenv("DISCORD_BOT_TOKEN", settings.token)
        monkeypatch.setenv("DISCORD_GUILD_ID", str(settings.guild_id))
        monkeypatch.setenv("SPOOLBRIDGE_API_URL", settings.api_url)
        monkeypatch.setenv("SPOOLBRIDGE_SPOOL", str(settings.spool))
        yield made


def found(report: Report, *kinds: str) -> list[tuple[str, str, str]]:
    """Place, kind and id of the findings (of those kinds)."""
    chosen = [each for each in report.findings if not kinds or each.what in kinds]
    return [(each.place, each.what, each.id) for each in chosen]


# -- all is well ---------------------------------------------------------------------------------------


async def test_all_is_well(world: World) -> None:
    """People, bots, a thread, three channels, a long text, a picture: everything is accounted for."""
    guild = world.emulator.guild
    await world.say("how is the build?")
    await world.say("and the data?", "mayor-db")
    world.clock.advance(60)
    thread = guild.add_thread(guild.channel(VILLA), "the failing test", 11)
    await world.say("look here", thread.id)
    await world.say("no agent's business", "general")
    await world.say("beep", kind="bot", author="rita")
    await world.post("green again", VILLA)
    await world.post("word " * 1000, "general")
    await world.post("a chart", files={"chart.png": b"\x89PNG\0"})
    report = await world.audit()
    assert ((), True, 3, 3) == (report.findings, report.ok, report.counts["in"], report.counts["out"])
    code, out, err = await world.told("--since", "2h")
    assert (0, 1, "") == (code, len(out.splitlines()), err)
    assert out.startswith("3 in and 3 out since ")
    assert ": 0 missing, 0 repeated, 0 waiting, 0 unproved, 0 given up; 0 arriving, 0 consumed" in out


async def test_what_is_refused_is_not_missing(world: World) -> None:
    """By user or by role, also where it was passed over: counted, not owed, and left alone by a repair."""
    guild = world.emulator.guild
    nic, crew = guild.person("nic"), guild.add_role("crew", members=[guild.person("eve")])
    world.let_in(all=AccessTable(frozenset({nic.id}), frozenset({crew.id})))
    said = [await world.say("hello"), await world.say("hello", author="eve")]
    await world.say("let me in", author="ada")
    world.clock.advance(3600)
    world.emulator.say(VILLA, "let me in", author="ada", at=world.clock() - 1800)
    report = await world.audit()
    assert ((), True, 2, 2) == (report.findings, report.ok, report.counts["in"], report.counts["refused"])
    assert () == (await world.repair()).repaired
    assert said == world.files() == world.lines()


async def test_bots_that_are_wanted_are_owed(world: World) -> None:
    """Where a rule forwards them, one that was passed over is missing, and a repair hands it over."""
    world.let_in(mayor_villa=AccessTable(bots=True))
    said = await world.say("build 7 failed", kind="webhook", author="ci")
    await world.say("nobody's business", "mayor-db", kind="webhook", author="ci")
    world.clock.advance(3600)
    said_later = await world.say("hello")
    late = world.emulator.say(VILLA, "build 6 failed", kind="bot", author="ci", at=world.clock() - 1800)
    assert [(VILLA, "missing", str(late))] == found(await world.audit())
    report = await world.repair()
    assert (True, [late]) == (report.ok, [int(each.id) for each in report.repaired[:1]])
    assert [said, said_later, late] == world.lines()


async def test_roles_that_cannot_be_looked_up_prove_nothing(world: World) -> None:
    """Better no report than one that says of somebody's message what nobody knows."""
    await world.say("hello")
    world.let_in(all=AccessTable(roles=frozenset({7})))
    asked = f"/guilds/{world.emulator.guild.id}/members/{world.emulator.guild.person('nic').id}"
    world.emulator.fail(method="GET", route=asked, kind="status", status=503, times=0)
    with pytest.raises(UnreachableError):
        await world.audit()


async def test_an_audit_changes_nothing(world: World) -> None:
    """Not a byte in the spool and not a message on Discord, also where something is found."""
    await world.pass_over()
    await world.post("hello")
    before = contents(world.root), world.emulator.messages(VILLA), world.emulator.messages("general")
    assert 1 == (await world.told())[0]
    assert before == (
        contents(world.root),
        world.emulator.messages(VILLA),
        world.emulator.messages("general"),
    )
    assert {"GET"} == {each.method for each in world.emulator.requests() if each.method != "POST"}


async def test_a_service_that_works_meanwhile_is_not_accused(world: World) -> None:
    """Said, filed, dropped and posted between the looks at the files and at Discord, on either side."""
    await world.say("early")
    read = Guild.read

    async def reading(guild: Guild, *args: Any) -> Any:
        await world.say("during the audit, before Discord was read")
        await world.post("the same")
        found = await read(guild, *args)
        await world.say("during the audit, after Discord was read")
        await world.post("and the same")
        return found

    with patch.object(Guild, "read", reading):
        report = await world.audit()
    assert ((), 2) == (report.findings, report.counts["in"])


# -- in ------------------------------------------------------------------------------------------------


async def test_a_message_that_the_cursor_passed_over(world: World) -> None:
    """It is named, with what it lacks and what mends it; repaired once; and then all is well."""
    late = await world.pass_over()
    code, out, _ = await world.told()
    first, _, advice = out.splitlines()
    assert [
        VILLA,
        "missing",
        str(late),
        "never",
        "handed",
        "over",
        "to",
        "incoming,",
        "inbox",
    ] == first.split()
    assert (1, "stop the service, then: spoolbridge audit --repair") == (code, advice.partition(", ")[2])
    world.stop()
    code, out, _ = await world.told("--repair")
    again = await world.told("--repair")
    world.start()
    assert [VILLA, "repaired", str(late), "handed", "over", "to", "incoming,", "inbox"] == out.splitlines()[
        0
    ].split()
    assert (0, 2, 0, 1) == (code, len(out.splitlines()), again[0], len(again[1].splitlines()))
    await world.say("on it goes")
    assert (3 + 1, 3 + 1) == (len(world.files()), len(world.lines()))
    assert late in world.files()
    assert late in world.lines()
    assert (await world.audit()).ok


async def test_a_repair_brings_the_files_too(world: World) -> None:
    """What was attached to a message that was never handed over is on disk, and every delivery names it."""
    await world.say("before")
    world.clock.advance(60)
    await world.say("after")
    picture = ("chart.png", b"\x89PNG")
    late = world.emulator.say(VILLA, "look", at=world.clock() - 30, files=[picture])
    await world.poller.cycle()
    assert [late] == [int(each.id) for each in (await world.repair()).repaired]
    path = f"attachments/{VILLA}/{late}/chart.png"
    assert {path: b"\x89PNG"} == contents(world.root, "attachments")
    (mail,) = (world.root / "incoming" / VILLA / "new").glob(f"*.D{late}.discord")
    assert f"\nX-Attachment: {path}\n" in mail.read_text("utf-8")
    line = json.loads(world.settings.inbox.read_text("utf-8").splitlines()[-1])
    assert (str(late), path) == (line["id"], line["attachments"][0]["file"])


async def test_what_is_repaired_arrives_as_it_would_have(world: World) -> None:
    """With its text, and in the thread that it was written in."""
    guild = world.emulator.guild
    world.clock.advance(60)
    thread = guild.add_thread(guild.channel(VILLA), "details", 11)
    await world.say("first", thread.id)
    world.clock.advance(60)
    await world.say("third", thread.id)
    text = f"see <#{guild.channel('general').id}>, <@&{guild.add_role('mayors').id}>"
    late = world.emulator.say(thread.id, text, at=world.clock() - 30)
    await world.poller.cycle()
    report = await world.repair()
    assert [(f"{VILLA} (thread {thread.id})", str(late))] == [
        (each.place, each.id) for each in report.repaired
    ]
    (path,) = (world.root / "incoming" / VILLA / "new").glob(f"*D{late}*")
    text = path.read_text("utf-8")
    assert f"\nX-Discord-Thread-Id: {thread.id}\n" in text
    assert text.endswith("\n\nsee #general, @mayors\n")


async def test_a_cursor_that_was_moved_by_hand(world: World) -> None:
    """Each delivery is judged by itself: only the one that lacks the message gets it."""
    await world.say("one")
    villa = world.emulator.guild.channel(VILLA).id
    world.stop()
    path = world.root / "state" / "cursors" / f"{villa}.incoming.json"
    moved = json.loads(path.read_text())
    world.clock.advance(60)
    skipped = world.emulator.say(VILLA, "two")
    world.clock.advance(60)
    high = world.emulator.say(VILLA, "three")
    path.write_text(json.dumps({**moved, "high": str(high), "floor": str(high - 1), "handed": [str(high)]}))
    world.start()
    await world.poller.cycle()
    report = await world.audit()
    assert [(VILLA, "missing", str(skipped))] == found(report)
    assert "never handed over to incoming" == report.findings[0].why
    repaired = await world.repair()
    assert (True, "handed over to incoming") == (repaired.ok, repaired.repaired[0].why)
    assert (1, 3) == (world.files().count(skipped), len(world.lines()))


@pytest.mark.parametrize("started_again", [True, False])
async def test_a_cursor_that_was_lost(world: World, *, started_again: bool) -> None:
    """The channel goes on from now; what was written in between is still owed, and nothing else is."""
    had = [await world.say(text) for text in ("one", "two")]
    world.stop()
    villa = world.emulator.guild.channel(VILLA).id
    for path in (world.root / "state" / "cursors").glob(f"{villa}.*"):
        path.unlink()
    (world.root / "incoming" / VILLA / "new" / _name(world, had[0])).unlink()  # consumed
    world.clock.advance(600)
    gap = [world.emulator.say(VILLA, text) for text in ("three", "four")]
    world.start()
    if started_again:
        await world.poller.cycle()
    report = await world.audit()
    assert [(VILLA, "missing", str(each)) for each in gap] == found(report)
    assert (await world.repair()).ok
    await world.say("five")
    assert [*had[1:], *gap] == world.files()[:3]
    assert [*had, *gap] == world.lines()[:4]
    assert (4, 5) == (len(world.files()), len(world.lines()))


async def test_what_no_service_has_come_to_yet(world: World, tmp_path: Path) -> None:
    """New messages may be on their way; old ones wait, and that is no proof. A repair hands them over too."""
    await world.say("one")
    two = world.emulator.say(VILLA, "two")
    report = await world.audit()
    assert ([(VILLA, "arriving", str(two))], True) == (found(report), report.ok)
    world.clock.advance(audit.GRACE + 2 * world.settings.poll_interval + 1)
    report = await world.audit()
    assert ([(VILLA, "waiting", str(two))], False) == (found(report), report.ok)
    assert "no service has handed it over yet to incoming, inbox" == report.findings[0].why
    report = await world.repair()
    assert (True, (), 1) == (report.ok, report.findings, len(report.repaired))
    three = await world.say("three")
    assert [two, three] == world.files()[1:] == world.lines()[1:]


async def test_what_waits_longer_than_one_looks_back(world: World) -> None:
    """The service was down for two days: a repair of the last hour must not take the cursor past the rest."""
    await world.say("one")
    said = []
    for _ in range(4):
        world.clock.advance(DAY / 2)
        said.append(world.emulator.say(VILLA, "later"))
    report = await world.repair(seconds=3600)
    assert [str(each) for each in said] == [each.id for each in report.repaired]
    assert (True, said, said) == (report.ok, world.files()[1:], world.lines()[1:])


async def test_what_was_missed_before_the_time_asked_for(world: World) -> None:
    """Neither told nor repaired."""
    late = await world.pass_over()
    world.clock.advance(7200)
    await world.say("now")
    assert (1, ()) == (
        (await world.audit(seconds=3600)).counts["in"],
        (await world.audit(seconds=3600)).findings,
    )
    assert () == (await world.repair(seconds=3600)).repaired
    assert [(VILLA, "missing", str(late))] == found(await world.audit(seconds=3 * 3600))


async def test_what_a_reader_consumed_is_told_and_not_delivered_again(world: World) -> None:
    """Moved, removed, a line taken out: it was handed over, whatever became of it."""
    one, two, three = [await world.say(text) for text in ("one", "two", "three")]
    new = world.root / "incoming" / VILLA / "new"
    (new / _name(world, one)).unlink()
    (new / _name(world, two)).rename(new.parent / "cur" / f"{_name(world, two)}:2,S")
    kept = [line for line in world.settings.inbox.read_text().splitlines(True) if str(two) not in line]
    world.settings.inbox.write_text("".join(kept))
    report = await world.audit()
    assert ((), 1, 1) == (report.findings, report.counts["consumed"], report.counts["pruned"])
    assert () == (await world.repair()).repaired
    assert ([three], [one, three]) == (world.files(), world.lines())


async def test_what_happened_before_the_time_asked_for(world: World) -> None:
    """Deleted, repeated: told where that time is asked for, and not otherwise."""
    one, two = [await world.say(text) for text in ("one", "two")]
    box = world.root / "incoming" / VILLA
    os.link(box / "new" / _name(world, one), box / "cur" / f"{_name(world, one)}:2,S")
    world.delete(VILLA, two)
    world.clock.advance(7200)
    assert () == (await world.audit(seconds=3600)).findings
    told = found(await world.audit(seconds=3 * 3600))
    assert [(VILLA, "deleted", str(two)), (VILLA, "repeated", str(one))] == told


async def test_a_file_that_is_read_meanwhile_is_neither_consumed_nor_repeated(world: World) -> None:
    """Moved from new/ to cur/ between the looks at the two, and back."""
    one = await world.say("one")
    box, names = world.root / "incoming" / VILLA, Spool.names
    paths = [box / "new" / _name(world, one), box / "cur" / f"{_name(world, one)}:2,S"]

    def moving(spool: Spool, path: str) -> list[str]:
        found = names(spool, path)
        if path.startswith(f"incoming/{VILLA}/"):
            old, new = paths if paths[0].exists() else reversed(paths)
            old.rename(new)
        return found

    with patch.object(Spool, "names", moving):
        report = await world.audit()
    assert ((), 0, 0) == (report.findings, report.counts["consumed"], report.counts["repeated"])


async def test_a_cursor_that_was_put_back(world: World) -> None:
    """An older copy of one: what it has before it was handed over, however long ago, and is not again."""
    villa = world.emulator.guild.channel(VILLA).id
    path = world.root / "state" / "cursors" / f"{villa}.incoming.json"
    old = path.read_text()
    said = await world.say("days ago")
    (world.root / "incoming" / VILLA / "new" / _name(world, said)).unlink()
    world.clock.advance(3 * DAY)
    await world.say("today")
    world.stop()
    path.write_text(old)
    world.start()
    assert () == (await world.audit(seconds=3600)).findings
    assert () == (await world.repair(seconds=3600)).repaired
    assert said not in world.files()


async def test_an_inbox_that_was_rotated_is_not_pruned(world: World) -> None:
    """Its lines are looked for in the files that it was."""
    await world.say("one")
    world.settings.inbox.rename(world.root / "discord-inbox.jsonl.1")
    await world.say("two")
    world.settings.inbox.rename(world.root / "discord-inbox-20261122.jsonl")
    await world.say("three")
    assert (0, 0) == ((await world.audit()).counts["pruned"], (await world.audit()).counts["repeated"])


async def test_what_was_deleted_on_discord_is_told(world: World) -> None:
    """A human's message that was filed before, and a post of ours: notes, and no failures."""
    said = await world.say("oops")
    entry = await world.post("oops too")
    (post,) = [each for each in world.emulator.messages("general") if each["content"] == "oops too"]
    world.delete(VILLA, said)
    world.delete("general", int(post["id"]))
    report = await world.audit()
    assert [(VILLA, "deleted", str(said)), ("general", "deleted", entry)] == found(report)
    assert (True, 2) == (report.ok, report.counts["deleted"])
    assert post["id"] in report.findings[1].why


async def test_what_lies_in_two_places_is_repeated(world: World) -> None:
    """Two files of one message, two lines of one, also across a rotation; a copy that is kept is none."""
    one, two, three = [await world.say(text) for text in ("one", "two", "three")]
    box = world.root / "incoming" / VILLA
    os.link(box / "new" / _name(world, one), box / "cur" / f"{_name(world, one)}:2,S")
    lines = world.settings.inbox.read_text().splitlines(True)
    for copy in ("discord-inbox.jsonl.bak", "discord-inbox-copy.jsonl"):
        (world.root / copy).write_text("".join(lines))
    (world.root / "discord-inbox.jsonl.1").write_text(lines[1])
    world.settings.inbox.write_text("".join([*lines, lines[2]]))
    report = await world.audit()
    assert [(VILLA, "repeated", str(each)) for each in (one, two, three)] == found(report)
    whys = ["2 files in incoming/", "2 lines in the inbox file", "2 lines in the inbox file"]
    assert (whys, False) == ([each.why for each in report.findings], report.ok)
    assert 1 == (await world.told("--repair"))[0]


async def test_what_came_before_the_bridge_is_not_owed(tmp_path: Path) -> None:
    """Nothing is missing of the time before the first start, nor in a channel that is not read."""
    async with bridging(tmp_path / "spool") as bridge:
        bridge.clock.advance(60)
        bridge.emulator.say(VILLA, "long before")
        await bridge.client.post(bridge.emulator.guild.channel(VILLA).id, {"content": "ours, by hand"})
        bridge.clock.advance(60)
        world = World(bridge, tmp_path)
        await world.poller.cycle()
        bridge.emulator.say("general", "not read")
        report = await world.audit()
        world.stop()
        assert ((), 0, True) == (report.findings, report.counts["in"], report.ok)


async def test_a_channel_that_no_service_has_read_yet(world: World) -> None:
    """One that is younger than the bridge owes all of it; one that was only added to the file, nothing."""
    world.clock.advance(3600)
    world.emulator.add_channel("mayor-new")
    said = world.emulator.say("mayor-new", "is anybody there?")
    world.clock.advance(3600)
    assert [("mayor-new", "waiting", str(said))] == found(await world.audit(seconds=60))
    world.started = world.clock()
    (world.root / "state" / "format.json").write_text(json.dumps({"format": 1, "first_start": world.started}))
    assert () == (await world.audit()).findings


async def test_a_thread_that_was_archived_while_nobody_read(world: World) -> None:
    """It is gone from the guild's list of threads, and what was said in it is still owed."""
    guild = world.emulator.guild
    world.clock.advance(60)
    thread = guild.add_thread(guild.channel(VILLA), "details", 11)
    await world.say("read", thread.id)
    said = world.emulator.say(thread.id, "not read")
    guild.change_channel(thread.id, archived=True)
    world.clock.advance(3600)
    assert [(f"{VILLA} (thread {thread.id})", "waiting", str(said))] == found(await world.audit())
    assert (await world.repair()).ok
    assert said in world.files()


async def test_a_thread_that_was_archived_between_two_looks(world: World) -> None:
    """The poller finds it by its absence, and nothing is owed."""
    guild = world.emulator.guild
    world.clock.advance(60)
    thread = guild.add_thread(guild.channel(VILLA), "details", 11)
    await world.say("read", thread.id)
    said = world.emulator.say(thread.id, "not read")
    guild.change_channel(thread.id, archived=True)
    await world.poller.cycle()
    assert said in world.files()
    world.clock.advance(3600)
    assert [] == found(await world.audit())


@pytest.mark.parametrize("old", [True, False])
async def test_a_thread_that_no_service_ever_saw(world: World, *, old: bool) -> None:
    """Made, or woken, and archived while the service was down: what was said in it is owed, and repaired."""
    guild = world.emulator.guild
    await world.say("hello")
    villa = guild.channel(VILLA)
    thread_id = guild.snowflakes.at(world.started - DAY) if old else 0
    world.clock.advance(60)
    thread = guild.add_thread(villa, "while nobody looked", 11, id=thread_id)
    said = world.emulator.say(thread.id, "not read")
    guild.change_channel(thread.id, archived=True, changed_at=world.clock())
    world.clock.advance(600)
    where = f"{VILLA} (thread {thread.id})"
    assert [(where, "waiting", str(said))] == found(await world.audit())
    await world.repair()
    assert [] == found(await world.audit())
    assert world.files()[-1] == world.lines()[-1] == said


async def test_a_thread_that_was_deleted_owes_nothing(world: World) -> None:
    """With it went its messages."""
    guild = world.emulator.guild
    world.clock.advance(60)
    thread = guild.add_thread(guild.channel(VILLA), "details", 11)
    await world.say("read", thread.id)
    guild.remove_channel(thread.id)
    report = await world.audit()
    assert (True, 0) == (report.ok, report.counts["in"])


@pytest.mark.parametrize("right", [READ_MESSAGE_HISTORY, VIEW_CHANNEL])
async def test_a_history_that_may_not_be_read_proves_nothing(world: World, right: int) -> None:
    """Discord answers with an empty page and 200, which looks exactly like silence."""
    await world.say("hello")
    world.emulator.deny(VILLA, right)
    report = await world.audit()
    assert ([(VILLA, "unproved", "-")], False) == (found(report), report.ok)
    assert report.findings[0].why.startswith("what humans wrote there: ")
    code, out, _ = await world.told()
    assert (1, 2) == (code, len(out.splitlines()))


async def test_the_lists_were_lost(world: World) -> None:
    """Then nobody can say what was handed over: that is told, nothing is delivered again, and it passes."""
    said = await world.say("one")
    world.stop()
    for path in (world.root / "state" / "handed").iterdir():
        path.unlink()
    world.start()
    world.clock.advance(60)
    report = await world.repair()
    places = sorted(2 * [("mayor-db", "unproved"), (VILLA, "unproved")])
    assert (places, ()) == (sorted((place, what) for place, what, _ in found(report)), report.repaired)
    await world.say("two", "mayor-db")
    await world.say("two")
    assert ([], 1) == (found(await world.audit()), world.files().count(said))


async def test_a_damaged_cursor_is_an_error(world: World) -> None:
    """It says which, and what to do, and nothing is proved."""
    villa = world.emulator.guild.channel(VILLA).id
    (world.root / "state" / "cursors" / f"{villa}.inbox.json").write_text("{")
    code, out, err = await world.told()
    assert (1, "") == (code, out)
    assert f"state/cursors/{villa}.inbox.json is damaged" in err


# -- out -----------------------------------------------------------------------------------------------


async def test_a_sent_entry_that_the_journal_does_not_know(world: World) -> None:
    """Somebody moved it there, or one of its parts was never posted."""
    await world.post("known")
    strange = world.bridge.spool.root / "sent" / "general" / "2999-01-01"
    strange.mkdir()
    entry_id = "20261122T055501.123456Z-k3f9q2x7"
    (strange / f"{entry_id}.note").write_text("never posted")
    report = await world.audit()
    assert [("general", "missing", entry_id)] == found(report)
    assert (False, 2, "") == (report.ok, report.counts["out"], report.advice)


async def test_an_entry_of_which_a_part_is_missing(world: World) -> None:
    """All parts must have been posted, not the first alone."""
    entry = await world.post("word " * 1000)
    journal = world.root / "state" / "journal.jsonl"
    lines = journal.read_text().splitlines(True)
    assert 3 == sum('"sent"' in line for line in lines)
    journal.write_text("".join(lines[:-1]))
    report = await world.audit()
    assert [("general", "missing", entry)] == found(report, *FAILURES)


async def test_an_entry_that_came_back_is_known_by_an_older_journal(world: World) -> None:
    """Posted three days ago and retried today: the journal of that day has it, and Discord need not."""
    then = world.clock() - 3 * DAY
    entry_id = identity.Minter(lambda: then).mint()
    key = {"at": then, "id": entry_id, "channel": world.emulator.guild.channel("general").id, "part": 1}
    records = [
        {**key, "kind": "try", "parts": 1, "stamp": "", "digest": "x", "files": []},
        {**key, "kind": "sent", "message": snowflake_at(then), "guild": world.settings.guild_id},
    ]
    today = datetime.fromtimestamp(world.clock(), UTC).strftime("%Y-%m-%d")
    (world.root / "sent" / "general" / today).mkdir(parents=True)
    (world.root / "sent" / "general" / today / f"{entry_id}.note").write_text("hello")
    assert [("general", "missing", entry_id)] == found(await world.audit(seconds=3600))
    day = datetime.fromtimestamp(then, UTC).strftime("%Y-%m-%d")
    (world.root / "state" / f"journal-{day}.jsonl").write_text(
        "".join(f"{json.dumps(each)}\n" for each in records)
    )
    report = await world.audit(seconds=3600)
    assert ((), 1) == (report.findings, report.counts["out"])


async def test_an_entry_that_was_sent_to_two_channels(world: World) -> None:
    """One ID, two messages: each lies in a channel of its own, and is looked for there."""
    entry = await world.post("hello", "general")
    (path,) = (world.root / "sent" / "general").glob(f"*/{entry}")
    (world.bridge.box(VILLA) / path.name).write_bytes(path.read_bytes())
    world.bridge.ring()
    await world.emulator.posted(VILLA, 1)
    await world.bridge.quiet()
    world.delete("general", int(world.emulator.messages("general")[-1]["id"]))
    report = await world.audit()
    assert ([("general", "deleted", entry)], 2) == (found(report), report.counts["out"])


async def test_what_we_posted_twice(world: World) -> None:
    """The same text from this token, and the journal knows one of them: one line, one failure."""
    entry = await world.post("deployed", files={"log.txt": b"ok"})
    world.clock.advance(60)
    general = world.emulator.guild.channel("general").id
    guild = world.emulator.guild
    log = Upload("log.txt", b"ok")
    again = guild.write(general, guild.bot, "deployed", uploads=[log])
    other = guild.write(general, guild.bot, "deployed")  # without the file it is another message
    guild.write(guild.channel(VILLA).id, guild.bot, "deployed", uploads=[log])  # and so it is here
    report = await world.audit()
    assert [("general", "repeated", str(again.id))] == found(report, *FAILURES)
    assert f"posted like {entry}" == found_one(report, "repeated").why
    assert str(other.id) in [each for _, _, each in found(report, "unaccounted")]
    assert 2 == report.counts["unaccounted"]


async def test_what_another_program_posted(world: World) -> None:
    """With the same token: a note, for it is not the bridge's."""
    guild = world.emulator.guild
    posted = guild.write(guild.channel("general").id, guild.bot, "from a script")
    guild.write(guild.channel("general").id, guild.bot, "", type=18)  # what the system says in our name
    code, out, _ = await world.told()
    assert (0, ["general", "unaccounted", str(posted.id)]) == (code, out.splitlines()[0].split()[:3])
    assert 2 == len(out.splitlines())


async def test_a_post_whose_outcome_is_not_known_yet(world: World) -> None:
    """It is on Discord and the journal does not know: not repeated, and said whose it may be."""
    world.bridge.watched = True
    await world.bridge.restart()
    world.emulator.fail(method="POST", route=MESSAGES, kind="drop_after")
    entry = world.bridge.drop("hello", "general")
    await world.emulator.posted("general", 1)
    await world.clock.sleepers()
    report = await world.audit()
    (note,) = report.findings
    assert ("unaccounted", f"perhaps {entry.id}, whose outcome is not known yet") == (note.what, note.why)
    assert report.ok


async def test_a_channel_that_is_only_posted_to(world: World) -> None:
    """Its history matters where something was posted there, and then only."""
    world.emulator.deny("general", READ_MESSAGE_HISTORY)
    assert (await world.audit()).ok
    await world.post("hello", "general")
    report = await world.audit()
    assert [("general", "unproved", "-")] == found(report)
    assert "what was posted there: the bot lacks Read Message History" == report.findings[0].why


async def test_a_post_in_a_thread(world: World) -> None:
    """Looked for where it was posted, also once the thread is archived; gone with it, it was deleted."""
    guild = world.emulator.guild
    thread = guild.add_thread(guild.channel("general"), "details", 11)
    entry = await world.post(f"Spoolbridge: 1\nThread: {thread.id}\n\nhello")
    guild.change_channel(thread.id, archived=True)
    report = await world.audit()
    assert ((), 1) == (report.findings, report.counts["out"])
    guild.remove_channel(thread.id)
    report = await world.audit()
    assert (["deleted"], [entry], True) == (
        [each.what for each in report.findings], [each.id for each in report.findings], report.ok
    )  # fmt: skip


# -- mail ----------------------------------------------------------------------------------------------


async def test_mails_are_audited_where_they_are_on(tmp_path: Path) -> None:
    """Pending or sent, it was handed over; one that was passed over is mailed once; a refused one is told."""
    async with working(tmp_path, mailed=True) as world:
        assert world.mail is not None
        assert world.gt is not None
        await world.say("one")
        assert (await world.audit()).ok
        await world.mail.send_due()
        assert (True, 1) == ((await world.audit()).ok, len(world.gt.mails))
        late = await world.pass_over()
        report = await world.audit()
        assert ([(VILLA, "missing", str(late))], "incoming, inbox, mail") == (
            found(report), report.findings[0].why.removeprefix("never handed over to ")
        )  # fmt: skip
        assert (await world.repair()).ok
        await world.mail.send_due()
        await world.repair()
        await world.mail.send_due()
        assert 1 == sum(f"discord-message-id: {late}" in mail["body"] for mail in world.gt.mails)
        assert 4 == len(world.gt.mails)
        last = await world.say("refused")
        mails = world.root / "state" / "mail"
        (mails / f"{last}.json").rename(mails / f"{last}.given-up.json")
        assert [(VILLA, "given up", str(last))] == found(await world.audit())


# -- the command ---------------------------------------------------------------------------------------


async def test_a_repair_waits_for_the_service_to_stop(world: World) -> None:
    """It has the cursors in memory: one line that says who holds the spool, and nothing is changed."""
    late = await world.pass_over()
    with lock.holding(world.bridge.spool):
        code, out, err = await world.told("--repair")
        assert (1, "") == (code, out)
        assert 1 == len(err.splitlines())
        assert f"process {os.getpid()} is the service of {world.root} already; stop it first" in err
        assert 1 == (await world.told())[0]  # looking is allowed
        with pytest.raises(SpoolBusyError):
            await world.audit(act=audit.repair)
    assert late not in world.files()


async def test_a_repair_holds_the_spool(world: World) -> None:
    """No service may start in the middle of it."""
    late = await world.pass_over()
    held = []
    redeliver = IncomingFile.redeliver

    def redelivering(delivery: IncomingFile, *args: Any, **more: Any) -> int:
        with pytest.raises(SpoolBusyError), lock.holding(world.bridge.spool):
            pass
        held.append(late)
        return redeliver(delivery, *args, **more)

    with patch.object(IncomingFile, "redeliver", redelivering):
        await world.repair()
    with lock.holding(world.bridge.spool):
        assert [late] == held


async def test_a_repair_on_a_full_disk_goes_on_later(world: World) -> None:
    """In one line; what one delivery got is not lost and not given to it again."""
    late = await world.pass_over()
    world.stop()
    with patch.object(InboxFile, "_hand_over", side_effect=OSError(28, "No space left on device")):
        code, out, err = await world.told("--repair")
    assert (1, "", 1, True) == (code, out, len(err.splitlines()), "(No space left on device)" in err)
    world.start()
    assert (1, 0) == (world.files().count(late), world.lines().count(late))
    report = await world.repair()
    assert (True, "handed over to inbox") == (report.ok, report.repaired[0].why)
    assert (1, 1) == (world.files().count(late), world.lines().count(late))


@pytest.mark.timeout(180)
async def test_a_repair_that_dies_is_made_again(tmp_path: Path) -> None:
    """Killed at a share of all changes of a file: the next one ends with each message everywhere, once."""
    for number in range(1, MORE_THAN_ENOUGH, 19):
        async with working(tmp_path / f"{number}", mailed=True, start=False) as world:
            late = [await world.pass_over("one"), await world.pass_over("two")]
            world.stop()
            with suppress(Killed), kill_at(number) as struck:
                await world.audit(act=audit.repair)
            world.start()
            assert (await world.repair()).ok, f"died at call {number}"
            await world.poller.cycle()
            for had in world.files(), world.lines(), world.mails():
                assert (6, late) == (len(had), [each for each in sorted(had) if each in late]), (
                    f"call {number}"
                )
            assert world.mail is not None
            await world.mail.send_due()
            assert 0 == world.mail.pending, f"died at call {number}"
            if not struck:
                return
    raise AssertionError("the repair never ended")


@pytest.mark.parametrize("name", ["incoming", "inbox", "mail"])
async def test_a_service_or_a_repair_that_died_before_its_cursor_moved(tmp_path: Path, name: str) -> None:
    """Delivered and not listed, or listed and not passed: a repair ends it, and delivers nothing twice."""
    record = Handed.record
    for listed in (False, True):
        async with working(tmp_path / f"{listed}", mailed=True, start=False) as world:
            late = await world.pass_over()

            def dying(handed: Handed, delivery: str, *args: Any) -> None:
                if delivery != name or listed:  # noqa: B023
                    record(handed, delivery, *args)
                if delivery == name:
                    raise Killed

            world.stop()
            with patch.object(Handed, "record", dying), suppress(Killed):
                await world.audit(act=audit.repair)
            world.start()
            with patch.object(Handed, "record", dying), suppress(Killed):
                await world.say("and then the service")
            assert (await world.repair()).ok
            await world.say("on it goes")
            for had in world.files(), world.lines(), world.mails():
                assert (1, 5, 5) == (had.count(late), len(had), len(set(had)))
            assert world.mail is not None
            await world.mail.send_due()
            assert 0 == world.mail.pending


async def test_a_name_that_somebody_chose_moves_no_cursor(world: World) -> None:
    """A directory called like an escape sequence, or not in UTF-8, is told as one harmless line."""
    said = await world.say("hello")
    for name in (b"\x1b[2Jgone\nok", b"\xff\xfe"):
        box = os.path.join(os.fsencode(world.root), b"incoming", name, b"new")
        os.makedirs(box)
        os.link(
            world.root / "incoming" / VILLA / "new" / _name(world, said),
            os.path.join(box, os.fsencode(_name(world, said))),
        )
    for arguments, lines in ((), 2), (("--json",), 1):
        code, out, err = await world.told(*arguments)
        assert (1, "", lines) == (code, err, len(out.splitlines()))
        assert "\x1b" not in out
        assert "3 files in incoming/" in out


async def test_json_is_one_object(world: World) -> None:
    """For programs: whether all holds, the counts, and every finding, ids as strings."""
    late = await world.pass_over()
    code, out, _ = await world.told("--json")
    told = json.loads(out)
    finding = {"place": VILLA, "what": "missing", "id": str(late), "why": f"never handed over to {BOTH}"}
    assert (1, False, [finding], []) == (code, told["ok"], told["findings"], told["repaired"])
    assert (3, 0, 1, 0) == tuple(told["counts"][each] for each in ("in", "out", "missing", "repeated"))
    world.stop()
    _, out, _ = await world.told("--json", "--repair")
    world.start()
    told = json.loads(out)
    assert (True, [], [str(late)]) == (
        told["ok"],
        told["findings"],
        [each["id"] for each in told["repaired"]],
    )


async def test_discord_does_not_answer(world: World) -> None:
    """Nothing is proved, in one line; and what was asked at the same time is not left behind."""
    world.emulator.fail(method="GET", route=MESSAGES, kind="status", status=503, times=0)
    code, out, err = await world.told()
    assert (1, "", 1) == (code, out, len(err.splitlines()))
    with pytest.raises(UnreachableError):
        await world.audit()


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "0h", "1.5h", "24 h", "1w", "٣h", "999999999d", "9" * 400 + "d"]
)
def test_a_time_that_is_none(text: str) -> None:
    """Usage, with how to write it."""
    code, _, err = said("--since", text)
    assert (2, True) == (code, "write 90m, 24h or 7d" in err)


def test_without_a_spool_or_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, with what to do; no spool is made."""
    do = "spoolbridge init asks for it, or put DISCORD_BOT_TOKEN=… into .env"
    assert (1, "", f"spoolbridge: no bot token; {do}\n") == said()
    monkeypatch.setenv("DISCORD_BOT_TOKEN", "x")
    code, out, err = said()
    assert (1, "", True) == (code, out, err.startswith(f"spoolbridge: no spool at {tmp_path / 'spool'}; "))
    assert not (tmp_path / "spool").exists()


def _name(world: World, message_id: int) -> str:
    (path,) = (world.root / "incoming" / VILLA / "new").glob(f"*D{message_id}.discord")
    return path.name


def found_one(report: Report, what: str) -> Finding:
    (finding,) = [each for each in report.findings if each.what == what]
    return finding


# -- what was pruned -----------------------------------------------------------------------------------


async def test_what_was_pruned_is_not_missing(world: World) -> None:
    """Lists and journal reach back some days only: what is older is counted as pruned, on both sides; what is
    younger is still proved."""
    await world.say("long ago")
    await world.post("long ago too", VILLA)
    world.clock.advance(10 * DAY)
    passed = await world.pass_over("nobody was given this")
    await world.post("lately", VILLA)
    assert 2 == (before := await world.audit(seconds=20 * DAY)).counts["out"]
    state = world.root / "state"
    since = datetime.fromtimestamp(world.clock(), UTC).date()
    with atomic.directory(state / "handed") as lists:
        for name in sorted(os.listdir(lists)):
            if handed.day_in(name) and handed.day_in(name) < since.isoformat():
                handed.forget(lists, name)
    world.bridge.journal.forget(journal_files.dated(world.bridge._state)[0])
    report = await world.audit(seconds=20 * DAY)
    assert found(before) == found(report) == [(VILLA, "missing", str(passed))]
    assert before.counts["pruned"] + 2 == report.counts["pruned"]
