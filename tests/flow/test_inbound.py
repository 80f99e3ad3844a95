"""Inbound from end to end: the emulator's people write, the client fetches, real files are read back."""

from __future__ import annotations

import asyncio
import json
import mailbox
import os
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.errors import SpoolError, TokenRefusedError
from spoolbridge.gt_mail import GtMail
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import IncomingMessage, snowflake_at
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import GUILD, Poller
from spoolbridge.schedule import BUSY_FOR, BUSY_INTERVAL, INTERVAL, SWEEP
from tests.support.clock import FakeClock
from tests.support.fake_gt import FakeGt
from tests.support.waiting import until

MESSAGES = "/channels/{channel}/messages"
ARCHIVED = "/channels/{channel}/threads/archived/public"
DAY = 24 * 3600.0  # seconds
VIEW_CHANNEL = 1 << 10
READ_MESSAGE_HISTORY = 1 << 16
SETTLED = 30.0  # seconds; more than the overlap, so that what was read is not read again


class Fragile(Delivery):
    """A delivery that fails when it is told to."""

    name = "fragile"

    def __init__(self, cursors: Cursors) -> None:
        super().__init__(cursors)
        self.error: Exception | None = None
        self.once = False
        self.got: list[int] = []

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        if self.error is not None:
            error, self.error = self.error, None if self.once else self.error
            raise error
        self.got += [message.id for message in messages]


class Bridge:
    """The inbound half of a service, to be started, stopped and started again over one spool."""

    def __init__(self, emulator: Emulator, clock: FakeClock, root: Path) -> None:
        self.emulator, self.clock, self.root = emulator, clock, root
        self.gt = FakeGt(root / "bin")
        (root / "spool").mkdir()
        (root / "town").mkdir()
        self.spool_fd = os.open(root / "spool", os.O_RDONLY | os.O_DIRECTORY)
        self.first_start = clock()
        self.reported: list[int] = []
        self.alarms = 0
        self.client = DiscordClient(
            emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.leap
        )
        self.start()

    def start(self) -> None:
        self.cursors = Cursors(self.spool_fd)
        self.fragile = Fragile(self.cursors)
        self.mail = GtMail(
            self.spool_fd, self.cursors, town=self.root / "town", environment=self.gt.environment,
            clock=self.clock, sleep=self.clock.sleep,
        )  # fmt: skip
        inbox = InboxFile(self.root / "discord-inbox.jsonl", self.cursors)
        deliveries = [IncomingFile(self.spool_fd, self.cursors), inbox, self.mail, self.fragile]
        for delivery in deliveries:
            delivery.recover()
        self.poller = Poller(
            self.client, self.registry, deliveries, globs=["mayor-*"],
            guild_id=lambda: self.emulator.guild.id,
            own_id=self.emulator.guild.bot.id, first_start=self.first_start,
            report=lambda message: self.reported.append(message.id), alarm=self._alarm,
            clock=self.clock, sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip

    def _alarm(self) -> None:
        self.alarms += 1

    def stop(self) -> None:
        self.mail.close()
        self.cursors.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def registry(self) -> Registry:
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    async def cycle(self) -> None:
        await self.poller.cycle()

    def box(self, channel: str = "mayor-villa") -> list[tuple[int, str]]:
        """Id and text of every message in a channel's Maildir, in the order of the names."""
        box = mailbox.Maildir(self.root / "spool" / "incoming" / channel, create=False)
        found = []
        for key in sorted(box.keys()):
            body = box[key].get_payload(decode=True)
            assert isinstance(body, bytes)
            found.append((int(box[key]["X-Discord-Message-Id"]), body.decode().removesuffix("\n")))
        return found

    def ids(self, channel: str = "mayor-villa") -> list[int]:
        return [message_id for message_id, _ in self.box(channel)]

    def lines(self) -> list[int]:
        path = self.root / "discord-inbox.jsonl"
        text = path.read_text("utf-8") if path.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines()]

    def fetches(self, route: str = MESSAGES) -> int:
        """How many pages of messages were asked for so far."""
        return sum(1 for seen in self.emulator.requests() if seen.method == "GET" and seen.route == route)

    def thread(self, name: str = "details", *, born: float | None = None) -> int:
        """A new thread of mayor-villa, or one that was made at that time (unix seconds); its id."""
        guild = self.emulator.guild
        thread_id = 0 if born is None else guild.snowflakes.at(born)
        return guild.add_thread(guild.channel("mayor-villa"), name, 11, id=thread_id).id

    def archive(self, thread_id: int) -> None:
        self.emulator.guild.change_channel(thread_id, archived=True, changed_at=self.clock())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def bridge(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Bridge]:
    async with Emulator(clock=clock).serve() as emulator:
        emulator.add_channel("mayor-villa")
        emulator.add_channel("mayor-db")
        emulator.add_channel("general")
        clock.advance(3600)
        made = Bridge(emulator, clock, tmp_path)
        async with made.client:
            yield made
        made.stop()
        os.close(made.spool_fd)


async def test_from_a_human_to_every_delivery(bridge: Bridge) -> None:
    """One message becomes a file, a line, a mail and a report; a channel not asked for stays unread."""
    await bridge.cycle()
    said = bridge.emulator.say("mayor-villa", "how is the **build**?")
    bridge.emulator.say("general", "not for agents")
    await bridge.cycle()
    await bridge.mail.send_due()
    assert [(said, "how is the **build**?")] == bridge.box()
    assert [said] == bridge.lines() == bridge.reported == bridge.fragile.got
    assert [f"discord-message-id: {said}"] == [mail["body"].splitlines()[-1] for mail in bridge.gt.mails]
    assert not (bridge.root / "spool" / "incoming" / "general").exists()


async def test_a_first_start_begins_now(bridge: Bridge, clock: FakeClock) -> None:
    """What was said before the bridge came is not for it, not even a second before."""
    bridge.emulator.say("mayor-villa", "old")
    clock.advance(1)
    bridge.emulator.say("mayor-villa", "just before")
    await bridge.cycle()
    bridge.restart()
    new = bridge.emulator.say("mayor-villa", "new")
    await bridge.cycle()
    assert [new] == bridge.ids()


async def test_a_channel_without_messages_begins_with_its_first(bridge: Bridge) -> None:
    """The cursor is written at the first start, so what is said while the bridge is down then counts."""
    await bridge.cycle()
    bridge.restart()
    first = bridge.emulator.say("mayor-db", "the first ever")
    await bridge.cycle()
    assert [first] == bridge.ids("mayor-db")


async def test_a_channel_younger_than_the_bridge_is_read_from_its_beginning(bridge: Bridge) -> None:
    """Made and written in while the bridge was down: nothing of it is lost."""
    await bridge.cycle()
    bridge.clock.advance(60)
    bridge.emulator.add_channel("mayor-new")
    said = [bridge.emulator.say("mayor-new", text) for text in ("one", "two")]
    await bridge.cycle()
    assert said == bridge.ids("mayor-new")


async def test_a_burst_during_downtime_arrives_whole_and_in_order(bridge: Bridge) -> None:
    """Three pages, written while nobody polled, come once each after a restart."""
    await bridge.cycle()
    bridge.stop()
    said = []
    for number in range(250):
        bridge.clock.advance(0.04)
        said.append(bridge.emulator.say("mayor-villa", f"message {number}"))
    bridge.start()
    await bridge.cycle()
    assert [(each, f"message {number}") for number, each in enumerate(said)] == bridge.box()
    assert said == bridge.lines() == bridge.reported == bridge.fragile.got
    bridge.restart()
    await bridge.cycle()
    assert said == bridge.ids() == bridge.lines()
    assert (250, said) == (bridge.mail.pending, bridge.reported)


async def test_only_humans_are_forwarded(bridge: Bridge, clock: FakeClock) -> None:
    """Bots, webhooks, the system and our own posts are passed over, and not fetched again."""
    await bridge.cycle()
    for kind in ("bot", "webhook", "system"):
        bridge.emulator.say("mayor-villa", f"a {kind}'s", author="rita", kind=kind)
    bridge.emulator.say("mayor-villa", "", type=7)
    await bridge.client.post(bridge.emulator.guild.channel("mayor-villa").id, {"content": "ours"})
    await bridge.cycle()
    assert [] == bridge.ids() == bridge.lines()
    cursor = bridge.cursors(bridge.emulator.guild.channel("mayor-villa").id, "incoming")
    last = int(bridge.emulator.messages("mayor-villa")[-1]["id"])
    assert cursor.position is not None
    assert snowflake_at(clock()) - (11_000 << 22) < cursor.position < last


async def test_a_quiet_guild_costs_two_requests(bridge: Bridge, clock: FakeClock) -> None:
    """The hints say that nothing moved; every ten minutes each channel is fetched all the same."""
    await bridge.cycle()
    fetched, asked = bridge.fetches(), len(bridge.emulator.requests())
    await bridge.cycle()
    assert (fetched, asked + 2) == (bridge.fetches(), len(bridge.emulator.requests()))
    clock.advance(SWEEP)
    await bridge.cycle()
    assert fetched + 2 == bridge.fetches()


async def test_a_message_that_becomes_visible_late_is_found(bridge: Bridge, clock: FakeClock) -> None:
    """Its id is smaller than one that was delivered already."""
    await bridge.cycle()
    clock.advance(60)
    first = bridge.emulator.say("mayor-villa", "first to be seen")
    await bridge.cycle()
    late = bridge.emulator.say("mayor-villa", "written before it", at=clock() - 4)
    newest = bridge.emulator.say("mayor-villa", "and one more")
    await bridge.cycle()
    assert late < first
    assert [first, late, newest] == bridge.lines() == bridge.reported


async def test_a_delivery_that_fails_stops_no_other(bridge: Bridge, clock: FakeClock) -> None:
    """It is said once, tried again later, and then has every message in order."""
    await bridge.cycle()
    said = []
    for text in ("one", "two"):
        bridge.fragile.error = OSError(28, "No space left on device")
        said.append(bridge.emulator.say("mayor-villa", text))
        await bridge.cycle()
    assert said == bridge.ids() == bridge.lines()
    assert {"mayor-villa": "fragile: [Errno 28] No space left on device"} == bridge.poller.problems
    bridge.fragile.error = None
    await bridge.cycle()
    assert [] == bridge.fragile.got
    clock.advance(SETTLED)
    await bridge.cycle()
    assert (said, {}) == (bridge.fragile.got, bridge.poller.problems)
    assert said == bridge.ids()


async def test_a_delivery_never_gets_past_the_page_that_failed(bridge: Bridge, clock: FakeClock) -> None:
    """It fails once, in the first of two pages; the second would have taken its cursor along."""
    await bridge.cycle()
    said = []
    for number in range(150):
        clock.advance(1)
        said.append(bridge.emulator.say("mayor-villa", f"message {number}"))
    bridge.fragile.error, bridge.fragile.once = OSError(5, "Input/output error"), True
    await bridge.cycle()
    assert ([], said) == (bridge.fragile.got, bridge.ids())
    clock.advance(SETTLED)
    await bridge.cycle()
    assert said == bridge.fragile.got


async def test_a_bug_in_a_delivery_is_contained(bridge: Bridge, clock: FakeClock) -> None:
    """An exception that nobody expected holds up that delivery only."""
    await bridge.cycle()
    bridge.fragile.error = ZeroDivisionError("secret text of a message")
    said = bridge.emulator.say("mayor-villa", "hello")
    await bridge.cycle()
    assert {"mayor-villa": "fragile: a bug: ZeroDivisionError"} == bridge.poller.problems
    bridge.fragile.error = None
    clock.advance(SETTLED)
    await bridge.cycle()
    assert [said] == bridge.ids() == bridge.fragile.got


async def test_a_gt_that_fails_holds_up_no_file(bridge: Bridge, clock: FakeClock) -> None:
    """The mail waits on disk across a restart, and goes when gt does."""
    await bridge.cycle()
    bridge.gt.plan("store is down")
    said = bridge.emulator.say("mayor-villa", "hello")
    await bridge.cycle()
    await bridge.mail.send_due()
    assert ([said], 1, {}) == (bridge.ids(), bridge.mail.pending, bridge.poller.problems)
    bridge.restart()
    await bridge.mail.send_due()
    assert (1, 0) == (len(bridge.gt.mails), bridge.mail.pending)


async def test_an_outage_in_the_middle_of_a_backlog(bridge: Bridge, clock: FakeClock) -> None:
    """The second page fails for a while: what came is kept, the rest follows, nothing comes twice."""
    await bridge.cycle()
    said = []
    for number in range(150):
        clock.advance(1)
        said.append(bridge.emulator.say("mayor-villa", f"message {number}"))
    bridge.emulator.fail(method="GET", route=MESSAGES, kind="status", status=503, html=True, after=1, times=9)
    while len(bridge.ids()) < 150:
        await bridge.cycle()
        assert said[: len(bridge.ids())] == bridge.ids()
        clock.advance(SETTLED)
    assert said == bridge.ids() == bridge.lines() == bridge.reported
    assert {} == bridge.poller.problems


async def test_discord_is_down_and_comes_back(bridge: Bridge, clock: FakeClock) -> None:
    """Nobody answers: that is a problem of the guild, and it ends by itself."""
    await bridge.cycle()
    said = bridge.emulator.say("mayor-villa", "hello")
    await bridge.emulator.down()
    await bridge.cycle()
    assert [GUILD] == list(bridge.poller.problems)
    await bridge.emulator.up()
    await bridge.cycle()
    assert ([said], {}) == (bridge.ids(), bridge.poller.problems)


async def test_a_channel_that_is_closed_stops_no_other(bridge: Bridge, clock: FakeClock) -> None:
    """The bot may not look into one channel: it is told, left alone for a while, and looked at again."""
    await bridge.cycle()
    bridge.emulator.deny("mayor-db", VIEW_CHANNEL)
    hidden = bridge.emulator.say("mayor-db", "not to be seen yet")
    said = bridge.emulator.say("mayor-villa", "hello")
    await bridge.cycle()
    assert [said] == bridge.ids()
    assert ["mayor-db"] == list(bridge.poller.problems)
    asked = bridge.fetches()
    await bridge.cycle()
    assert asked == bridge.fetches()
    bridge.emulator.allow("mayor-db", VIEW_CHANNEL)
    clock.advance(SETTLED)
    await bridge.cycle()
    assert ([hidden], {}) == (bridge.ids("mayor-db"), bridge.poller.problems)


async def test_a_refused_token_ends_the_poller(bridge: Bridge) -> None:
    """Every further request would count towards a ban."""
    await bridge.cycle()
    bridge.emulator.say("mayor-villa", "hello")
    bridge.emulator.fail(method="GET", route=MESSAGES, kind="unauthorized")
    with pytest.raises(TokenRefusedError):
        await bridge.poller.run(asyncio.Event())


async def test_a_thread_goes_to_its_channel(bridge: Bridge, clock: FakeClock) -> None:
    """What is said in a thread of the channel lies with the rest, and says where it was said."""
    await bridge.cycle()
    clock.advance(60)
    guild = bridge.emulator.guild
    thread = guild.add_thread(guild.channel("mayor-villa"), "the failing test", 11)
    said = bridge.emulator.say(thread.id, "look here")
    await bridge.cycle()
    assert [said] == bridge.ids()
    (path,) = (bridge.root / "spool" / "incoming" / "mayor-villa" / "new").iterdir()
    assert f"\nX-Discord-Thread-Id: {thread.id}\n" in path.read_text("utf-8")


async def test_a_forum_post_keeps_its_first_message(bridge: Bridge, clock: FakeClock) -> None:
    """That one has the thread's own id, so a cursor that began at the thread would skip it."""
    await bridge.cycle()
    clock.advance(60)
    guild = bridge.emulator.guild
    thread = guild.add_thread(guild.channel("mayor-villa"), "a post", 11)
    guild.write(thread.id, guild.person("nic"), "the post itself", message_id=thread.id)
    await bridge.cycle()
    assert [(thread.id, "the post itself")] == bridge.box()


async def test_a_log_tells_entries_only(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """What was said, and what people call themselves, stays out of it."""
    caplog.set_level("DEBUG", "spoolbridge")
    await bridge.cycle()
    said = bridge.emulator.say("mayor-villa", "the secret plan", author="mallory")
    await bridge.cycle()
    await bridge.mail.send_due()
    assert f"mayor-villa/{said} delivered to incoming/mayor-villa" in caplog.messages
    assert f"mayor-villa/{said} mailed to mayor/" in caplog.messages
    assert not [line for line in caplog.messages if "secret" in line or "mallory" in line]


async def test_what_cannot_be_rendered_is_delivered_raw(bridge: Bridge) -> None:
    """A shape that Discord does not have yet wedges nothing, and loses nothing."""
    await bridge.cycle()
    odd = bridge.emulator.say("mayor-villa", "vote!", poll={"question": ["new", "shape"]})
    after = bridge.emulator.say("mayor-villa", "and now?")
    await bridge.cycle()
    (_, raw), (_, text) = bridge.box()
    assert [odd, after] == bridge.lines()
    assert ("vote!", {"question": ["new", "shape"]}) == (json.loads(raw)["content"], json.loads(raw)["poll"])
    assert "and now?" == text


async def test_a_damaged_cursor_is_an_error_with_a_name(bridge: Bridge) -> None:
    """Never a silent fresh start, which would lose what was written in between: the start is refused."""
    await bridge.cycle()
    villa = bridge.emulator.guild.channel("mayor-villa").id
    (bridge.root / "spool" / "state" / "cursors" / f"{villa}.fragile.json").write_text("{")
    with pytest.raises(SpoolError, match=rf"state/cursors/{villa}\.fragile\.json is damaged"):
        bridge.restart()


async def test_it_looks_more_often_while_people_talk(bridge: Bridge, clock: FakeClock) -> None:
    """Fifteen seconds when it is quiet; two from a message on, until nobody has written for a minute."""
    stop, rests = asyncio.Event(), []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 2:
            bridge.emulator.say("mayor-villa", "hello")
        if rests[-2:] == [BUSY_INTERVAL, INTERVAL]:
            stop.set()
        await clock.leap(seconds)

    bridge.poller._sleep = rest
    await bridge.poller.run(stop)
    talking = int(BUSY_FOR / BUSY_INTERVAL)
    assert [INTERVAL, INTERVAL, *[BUSY_INTERVAL] * talking, INTERVAL] == rests


async def test_a_stop_ends_its_rest(bridge: Bridge, clock: FakeClock) -> None:
    """Nobody waits fifteen seconds for a service to end."""
    stop = asyncio.Event()
    running = asyncio.create_task(bridge.poller.run(stop))
    await clock.sleepers()
    stop.set()
    await running
    assert 0 == clock.asleep


async def test_a_cancelled_poller_leaves_no_thread_behind(bridge: Bridge) -> None:
    """What a delivery works with may be closed as soon as the cancelled task has ended."""
    await bridge.cycle()
    bridge.emulator.say("mayor-villa", "hello")
    inside, leave = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        inside.set()
        assert leave.wait(20)
        bridge.fragile.got.append(1)

    bridge.fragile._hand_over = slow  # type: ignore[method-assign,assignment]
    cycle = asyncio.create_task(bridge.cycle())
    assert await asyncio.to_thread(inside.wait, 20)
    cycle.cancel()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await cycle
    assert [1] == bridge.fragile.got


# -- many places -----------------------------------------------------------------------------------------


async def test_a_start_fetches_only_what_has_moved(bridge: Bridge, clock: FakeClock) -> None:
    """Sixty channels, and one was written in while the bridge was away: the rest waits for the sweep."""
    for number in range(60):
        bridge.emulator.add_channel(f"mayor-{number}")
    await bridge.cycle()
    bridge.restart()
    said = bridge.emulator.say("mayor-31", "hello")
    clock.advance(3600)
    before = bridge.fetches()
    await bridge.cycle()
    assert [said] == bridge.ids("mayor-31")
    assert bridge.fetches() - before <= 20 + 1
    for _ in range(int(SWEEP / INTERVAL) - 1):
        clock.advance(INTERVAL)
        await bridge.cycle()
    assert bridge.fetches() - before in (62, 63)


async def test_a_long_visit_holds_up_no_other(bridge: Bridge, clock: FakeClock) -> None:
    """While one channel is still being handed over, the next look finds another's message, and no second
    visit begins where the first goes on."""
    await bridge.cycle()
    inside, leave = threading.Event(), threading.Event()

    def slow(cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        if channel.name == "mayor-villa":
            inside.set()
            assert leave.wait(20)
        bridge.fragile.got += [message.id for message in messages]

    bridge.fragile._hand_over = slow  # type: ignore[method-assign]
    first = bridge.emulator.say("mayor-villa", "the first of many")
    await bridge.poller._look()
    assert await asyncio.to_thread(inside.wait, 20)
    fetched = bridge.fetches()
    second, quick = bridge.emulator.say("mayor-villa", "more"), bridge.emulator.say("mayor-db", "hello")
    clock.advance(BUSY_INTERVAL)
    await bridge.poller._look()
    await until(lambda: quick in bridge.fragile.got)
    assert ([quick], fetched + 1) == (bridge.fragile.got, bridge.fetches())
    leave.set()
    await bridge.cycle()
    await bridge.cycle()
    assert [quick, first, second] == bridge.fragile.got


# -- archived threads ------------------------------------------------------------------------------------


async def test_a_thread_that_is_archived_between_two_looks(bridge: Bridge, clock: FakeClock) -> None:
    """What was said in it just before is in no list any more; one visit, and then it is left alone."""
    thread = bridge.thread()
    await bridge.cycle()
    said = bridge.emulator.say(thread, "the last word")
    bridge.archive(thread)
    await bridge.cycle()
    assert [said] == bridge.ids()
    fetched = bridge.fetches()
    await bridge.cycle()
    assert fetched == bridge.fetches()


async def test_an_archived_thread_waits_for_a_delivery_that_fails(bridge: Bridge, clock: FakeClock) -> None:
    """It is in no list, so it is kept until everybody has it, and asked for no more than need be."""
    thread = bridge.thread()
    await bridge.cycle()
    said = bridge.emulator.say(thread, "the last word")
    bridge.archive(thread)
    bridge.fragile.error = OSError(28, "No space left on device")
    for _ in range(2):
        await bridge.cycle()
    assert ([said], []) == (bridge.ids(), bridge.fragile.got)
    fetched = bridge.fetches()
    for _ in range(3):
        await bridge.cycle()
    assert fetched == bridge.fetches()
    bridge.fragile.error = None
    clock.advance(SETTLED)
    await bridge.cycle()
    assert ([said], {}) == (bridge.fragile.got, bridge.poller.problems)


async def test_threads_that_were_archived_while_the_bridge_was_away(bridge: Bridge, clock: FakeClock) -> None:
    """One it had read, one that was made meanwhile; the list of archived threads has both, and each comes
    once. What was archived before the bridge came is not asked for."""
    known, ancient = bridge.thread("known"), bridge.thread("ancient", born=clock() - DAY)
    bridge.emulator.guild.change_channel(ancient, archived=True, changed_at=clock() - 1800)
    await bridge.cycle()
    bridge.stop()
    clock.advance(60)
    said = [bridge.emulator.say(known, "in the known one")]
    made = bridge.thread("made meanwhile")
    said += [bridge.emulator.say(made, text) for text in ("one", "two")]
    for thread in (known, made):
        clock.advance(5)
        bridge.archive(thread)
    clock.advance(3600)
    bridge.start()
    await bridge.cycle()
    assert said == sorted(bridge.ids()) == sorted(bridge.lines())
    bridge.restart()
    before = [seen.path for seen in bridge.emulator.requests()]
    await bridge.cycle()
    assert said == sorted(bridge.ids())
    asked = [seen.path for seen in bridge.emulator.requests()][len(before) :]
    assert not [path for path in asked if str(ancient) in path or str(made) in path]


async def test_more_archived_threads_than_a_page(bridge: Bridge, clock: FakeClock) -> None:
    """Discord lists a hundred at a time, the last archived first: the oldest news is on the second page."""
    await bridge.cycle()
    bridge.stop()
    clock.advance(60)
    said = []
    for number in range(120):
        clock.advance(1)
        thread = bridge.thread(f"number {number}")
        said.append(bridge.emulator.say(thread, "news"))
        bridge.archive(thread)
    bridge.start()
    await bridge.cycle()
    assert said == sorted(bridge.ids())


async def test_an_old_thread_that_wakes(bridge: Bridge, clock: FakeClock) -> None:
    """It was archived when the channel was begun, so it has no cursor; the message that woke it counts."""
    thread = bridge.thread(born=clock() - DAY)
    bridge.emulator.say(thread, "before the bridge", at=clock() - 7200)
    bridge.archive(thread)
    bridge.emulator.guild.change_channel(thread, changed_at=clock() - 7200)
    await bridge.cycle()
    clock.advance(60)
    said = bridge.emulator.say(thread, "it is back")
    await bridge.cycle()
    assert [said] == bridge.ids()


async def test_an_active_thread_begins_now_with_its_channel(bridge: Bridge, clock: FakeClock) -> None:
    """At the first start its history is not for the bridge, although the channel's own last word is older."""
    thread = bridge.thread(born=clock() - DAY)
    bridge.emulator.say(thread, "before the bridge")
    clock.advance(1)
    await bridge.cycle()
    bridge.restart()
    said = bridge.emulator.say(thread, "for the bridge")
    await bridge.cycle()
    assert [said] == bridge.ids()


async def test_a_list_that_fails_is_asked_for_again(bridge: Bridge, clock: FakeClock) -> None:
    """The thread is in no other; that Discord hiccups must not put it off until the next sweep."""
    await bridge.cycle()
    bridge.stop()
    clock.advance(60)
    thread = bridge.thread()
    said = bridge.emulator.say(thread, "once")
    bridge.archive(thread)
    bridge.start()
    bridge.emulator.fail(method="GET", route=ARCHIVED, kind="status", status=503, html=True, times=6)
    while not bridge.ids():
        clock.advance(INTERVAL)
        await bridge.cycle()
    assert [said] == bridge.ids()
    assert bridge.fetches(ARCHIVED) < 20


async def test_a_thread_that_is_deleted_is_no_trouble(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves the list like an archived one; asked for, it is not there, and nobody is told to mend it."""
    thread = bridge.thread()
    await bridge.cycle()
    bridge.emulator.guild.remove_channel(thread)
    for _ in range(2):
        await bridge.cycle()
    assert {} == bridge.poller.problems
    assert not [line for line in caplog.messages if str(thread) in line]


async def test_lists_of_archived_threads_are_rare(bridge: Bridge, clock: FakeClock) -> None:
    """One for each channel at the start and in each sweep, not in each cycle."""
    for _ in range(20):
        await bridge.cycle()
        clock.advance(SWEEP / 20)
    assert 2 == bridge.fetches(ARCHIVED)
    await bridge.cycle()
    assert 4 == bridge.fetches(ARCHIVED)


# -- what Discord does not say ---------------------------------------------------------------------------


async def test_a_history_that_is_closed_is_noticed_and_made_up_for(bridge: Bridge) -> None:
    """A hint beside an empty page raises an alarm; once the right is there, the message comes."""
    await bridge.cycle()
    bridge.emulator.deny("mayor-villa", READ_MESSAGE_HISTORY)
    said = bridge.emulator.say("mayor-villa", "hello")
    alarms = bridge.alarms
    await bridge.cycle()
    assert ([], alarms + 1) == (bridge.lines(), bridge.alarms)
    bridge.emulator.allow("mayor-villa", READ_MESSAGE_HISTORY)
    bridge.poller.look_again()
    await bridge.cycle()
    assert [said] == bridge.ids()


async def test_messages_that_arrive_empty_are_noticed(bridge: Bridge) -> None:
    """Until one comes with its words again; those that mention the bot always have them."""
    await bridge.cycle()
    bridge.emulator.guild.message_content = False
    bridge.emulator.say("mayor-villa", "you cannot read this")
    await bridge.cycle()
    assert ({"mayor-villa"}, 1) == (set(bridge.poller.emptied), bridge.alarms)
    bridge.emulator.say("mayor-villa", f"<@{bridge.emulator.guild.bot.id}> but this")
    await bridge.cycle()
    assert {"mayor-villa"} == bridge.poller.emptied
    bridge.emulator.guild.message_content = True
    bridge.emulator.say("mayor-villa", "and this")
    await bridge.cycle()
    assert (set(), 1) == (set(bridge.poller.emptied), bridge.alarms)


@pytest.mark.parametrize(
    "more",
    [
        {"sticker_items": [{"id": "1", "name": "wave", "format_type": 1}]},
        {"poll": {"question": {"text": "deploy?"}, "answers": []}},
        {"message_snapshots": [{"message": {"content": "forwarded"}}], "flags": 1 << 14},
        {"files": [("voice.ogg", b"OggS")], "flags": 1 << 13},
        {"files": [("chart.png", b"PNG")]},
    ],
)
async def test_what_has_no_text_by_nature_is_no_alarm(bridge: Bridge, more: dict[str, Any]) -> None:
    """A sticker, a poll, a forward, a voice message, a picture: the intent is on."""
    await bridge.cycle()
    bridge.emulator.say("mayor-villa", "", **more)
    await bridge.cycle()
    assert (set(), 0) == (set(bridge.poller.emptied), bridge.alarms)
    assert 1 == len(bridge.ids())
