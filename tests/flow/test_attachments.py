"""What people attach, from the emulator's chat to files: whole before it is named, or the reason is."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from aiohttp import web

from spoolbridge.attached_files import AttachedFiles
from spoolbridge.attachments import LONGEST, WAITS, Attachments
from spoolbridge.channels import Channel, Registry
from spoolbridge.cursor import Cursor, Cursors
from spoolbridge.deliveries import Delivery
from spoolbridge.discord.cdn import Cdn
from spoolbridge.discord.client import DiscordClient
from spoolbridge.emulator import Emulator
from spoolbridge.emulator.page import Page
from spoolbridge.inbox_file import InboxFile
from spoolbridge.incoming import IncomingMessage
from spoolbridge.incoming_file import IncomingFile
from spoolbridge.poller import Poller
from spoolbridge.role_names import FRESH, UNKNOWN
from spoolbridge.settings import DEFAULT_MAX_DOWNLOAD
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock
from tests.support.tree import contents

MESSAGES = "/channels/{channel}/messages"
ROLES = "/guilds/{guild}/roles"
PNG = b"\x89PNG" + bytes(range(256)) * 1024
SETTLED = 30.0  # seconds; more than the overlap, so that what was read is not read again

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Shelf:
    """The emulator's own files, or for the next requests what a test plans instead."""

    def __init__(self) -> None:
        self.plan: list[Answer | int] = []
        self.asked: list[str] = []  # the names in the links
        self.headers: list[dict[str, str]] = []

    async def answer(self, own: Answer, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.match_info["name"])
        self.headers.append(dict(request.headers))
        planned = self.plan.pop(0) if self.plan else own
        return web.Response(status=planned) if isinstance(planned, int) else await planned(request)


class Fragile(InboxFile):
    """The inbox file, failing when it is told to."""

    error: Exception | None = None

    def _hand_over(self, cursor: Cursor, channel: Channel, messages: Sequence[IncomingMessage]) -> None:
        if self.error is not None:
            raise self.error
        super()._hand_over(cursor, channel, messages)


class Bridge:
    """The inbound half of a service over one spool, with downloads; started, stopped, started again."""

    def __init__(self, emulator: Emulator, clock: FakeClock, root: Path, shelf: Shelf) -> None:
        self.emulator, self.clock, self.shelf = emulator, clock, shelf
        self.spool = Spool.create(root / "spool", clock=clock)
        self.root, self.inbox = self.spool.root, root / "discord-inbox.jsonl"
        self.first_start = clock()
        self.waits: list[float] = []
        self.client = DiscordClient(
            emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.leap
        )

    async def start(self, *, largest: int = DEFAULT_MAX_DOWNLOAD, patience: float | None = None) -> None:
        self.cursors = Cursors(self.spool.fd)
        self.fragile = Fragile(self.inbox, self.cursors)
        deliveries: list[Delivery] = [IncomingFile(self.spool.fd, self.cursors), self.fragile]
        for delivery in deliveries:
            delivery.recover()
        self.attachments = Attachments(
            self.spool.fd, self.client, Cdn(self.emulator.api_url),
            largest=largest, patience=patience, clock=self.clock, sleep=self._wait,
        )  # fmt: skip
        await self.attachments.__aenter__()
        guild = self.emulator.guild
        self.poller = Poller(
            self.client, self._registry, deliveries, globs=["mayor-*"], guild_id=guild.id,
            own_id=guild.bot.id, first_start=self.first_start, attachments=self.attachments,
            clock=self.clock, sleep=self.clock.sleep, jitter=lambda: 1.0,
        )  # fmt: skip
        await self.poller.cycle()
        self.clock.advance(SETTLED)

    async def _wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self.clock.leap(seconds)

    async def stop(self) -> None:
        await self.attachments.__aexit__(None, None, None)
        self.cursors.close()

    async def restart(self, **options: Any) -> None:
        await self.stop()
        await self.start(**options)

    def _registry(self) -> Registry:
        channels = self.emulator.guild.channels
        return Registry([Channel(name, each.id, None, name) for name, each in channels.items()])

    async def say(self, *files: tuple[str, bytes], channel: str = "mayor-villa", **more: Any) -> int:
        """Somebody writes, and the poller comes round."""
        said = self.emulator.say(channel, more.pop("text", "look"), files=files, **more)
        await self.poller.cycle()
        return said

    def files(self) -> dict[str, bytes]:
        return contents(self.root, "attachments")

    def mail(self, message_id: int, channel: str = "mayor-villa") -> str:
        (path,) = (self.root / "incoming" / channel / "new").glob(f"*.D{message_id}.discord")
        return path.read_text("utf-8")

    def line(self, message_id: int) -> dict[str, Any]:
        lines = [json.loads(line) for line in self.inbox.read_text("utf-8").splitlines()]
        (found,) = [line for line in lines if line["id"] == str(message_id)]
        return dict(found)

    def lines(self) -> list[int]:
        text = self.inbox.read_text("utf-8") if self.inbox.exists() else ""
        return [int(json.loads(line)["id"]) for line in text.splitlines()]

    def requests(self, route: str) -> int:
        return sum(seen.route == route for seen in self.emulator.requests())

    def assert_missing(self, message_id: int, reason: str) -> None:
        """The message is there, its file is not, and every form of it says why and where it was."""
        (listed,) = self.line(message_id)["attachments"]
        assert (None, reason) == (listed["file"], listed["reason"])
        mail = self.mail(message_id)
        assert "\nX-Attachment: " not in mail
        assert f"\nX-Attachment-Missing: {listed['name']}: {reason}\n" in mail
        assert f", not downloaded: {reason}, {listed['url']}]" in mail
        assert ({}, [], {}) == (self.files(), self.spool.names("tmp"), self.poller.problems)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made, own = Shelf(), Page._attachment

    async def answer(page: Page, request: web.Request) -> web.StreamResponse:
        return await made.answer(lambda each: own(page, each), request)

    monkeypatch.setattr(Page, "_attachment", answer)
    return made


@pytest.fixture
async def bridge(clock: FakeClock, tmp_path: Path, shelf: Shelf) -> AsyncIterator[Bridge]:
    async with Emulator(clock=clock, limits=False).serve() as emulator:
        for name in ("mayor-villa", "mayor-db", "general"):
            emulator.add_channel(name)
        clock.advance(3600)
        made = Bridge(emulator, clock, tmp_path, shelf)
        async with made.client:
            await made.start()
            yield made
            await made.stop()
        made.spool.close()


async def test_a_picture(bridge: Bridge) -> None:
    """It is a file, and mail and line name it; nobody was shown the token; nobody fetches it twice."""
    said = await bridge.say(("chart.png", PNG))
    path = f"attachments/mayor-villa/{said}/chart.png"
    assert {path: PNG} == bridge.files()
    mail = bridge.mail(said)
    assert f"\nX-Attachment: {path}\n" in mail
    assert f"\n\nlook\n\n[attachment: chart.png, 262 kB, image/png, saved as {path}]\n" in mail
    (listed,) = bridge.line(said)["attachments"]
    expected = {"name": "chart.png", "size": len(PNG), "type": "image/png", "file": path, "reason": None}
    assert expected == {key: value for key, value in listed.items() if key != "url"}
    assert ["chart.png"] == bridge.shelf.asked
    assert "Authorization" not in bridge.shelf.headers[0]
    await bridge.poller.cycle()
    await bridge.restart()
    await bridge.poller.cycle()
    assert (["chart.png"], [said]) == (bridge.shelf.asked, bridge.lines())


async def test_what_was_read_and_removed_does_not_come_back(bridge: Bridge) -> None:
    """A message that every delivery has is not looked at again, though the overlap fetches it."""
    await bridge.say(("chart.png", PNG))
    (path,) = bridge.files()
    (bridge.root / path).unlink()
    bridge.emulator.say("mayor-villa", "next")
    await bridge.poller.cycle()
    assert (["chart.png"], {}, 2) == (bridge.shelf.asked, bridge.files(), len(bridge.lines()))


async def test_several_files_and_names_that_want_to_be_paths(bridge: Bridge) -> None:
    """Each becomes one harmless name in the message's own directory; two of one name are two files."""
    names = ["..\\..\\lock", "a.png", "a.png", ".hidden", "-rf", "gnp.\u202eexe", "x" * 250, "a\nb"]
    said = await bridge.say(*((name, name.encode()) for name in names))
    ids = [each["id"] for each in bridge.emulator.messages("mayor-villa")[-1]["attachments"]]
    expected = [
        "%2E%2E%5C..%5Clock", "a.png", f"a-{ids[2]}.png", "%2Ehidden", "%2Drf", "gnp.%20exe",
        "x" * 99 + "_", "a%20b",
    ]  # fmt: skip
    folder = f"attachments/mayor-villa/{said}"
    found = {f"{folder}/{each}": name.encode() for each, name in zip(expected, names, strict=True)}
    assert found == bridge.files()
    mail = bridge.mail(said)
    headers = [line.partition(": ")[2] for line in mail.split("\n") if line.startswith("X-Attachment: ")]
    assert [f"{folder}/{each}" for each in expected] == headers
    assert names[0] == bridge.line(said)["attachments"][0]["name"]


async def test_a_name_that_is_a_path(bridge: Bridge) -> None:
    """Discord would not let it through; a server that does finds it become one name."""
    bridge.emulator.say("general", "the plan", files=[("plan.pdf", b"%PDF")])
    (attachment,) = bridge.emulator.messages("general")[0]["attachments"]
    said = await bridge.say(attachments=[{**attachment, "filename": "../../../state/lock"}])
    name = "%2E%2E%2F..%2F..%2Fstate%2Flock"
    assert {f"attachments/mayor-villa/{said}/{name}": b"%PDF"} == bridge.files()


async def test_an_empty_file(bridge: Bridge) -> None:
    """It is a file all the same."""
    said = await bridge.say(("empty.txt", b""))
    assert {f"attachments/mayor-villa/{said}/empty.txt": b""} == bridge.files()


async def test_the_files_of_a_forward(bridge: Bridge) -> None:
    """What was attached to the message that is forwarded comes with it."""
    bridge.emulator.say("general", "the plan", files=[("plan.pdf", b"%PDF")])
    (origin,) = bridge.emulator.messages("general")
    said = await bridge.say(
        text="", flags=1 << 14, message_snapshots=[{"message": origin}],
        message_reference={"type": 1, "message_id": origin["id"], "channel_id": origin["channel_id"]},
    )  # fmt: skip
    path = f"attachments/mayor-villa/{said}/plan.pdf"
    assert {path: b"%PDF"} == bridge.files()
    told = f"  [attachment: plan.pdf, 4 bytes, application/pdf, saved as {path}]"
    assert f"\n\n[forwarded from #general]\n  the plan\n{told}\n" in bridge.mail(said)


async def test_nobody_downloads_what_is_not_forwarded(bridge: Bridge) -> None:
    """A bot's files, and those of a channel that is not read."""
    await bridge.say(("a.png", PNG), kind="bot", author="rita")
    await bridge.say(("a.png", PNG), channel="general")
    assert ([], {}) == (bridge.shelf.asked, bridge.files())


async def test_too_large(bridge: Bridge) -> None:
    """It is not even asked for; exactly as large as is allowed, it is."""
    await bridge.restart(largest=len(PNG))
    said = await bridge.say(("chart.png", PNG + b"!"))
    bridge.assert_missing(said, "it is larger than the 262 kB that are downloaded")
    assert [] == bridge.shelf.asked
    await bridge.say(("chart.png", PNG))
    assert [PNG] == list(bridge.files().values())


async def test_switched_off(bridge: Bridge) -> None:
    """Nothing is asked for, an empty file neither."""
    await bridge.restart(largest=0)
    for data in (PNG, b""):
        bridge.assert_missing(await bridge.say(("chart.png", data)), "downloads are switched off")
    assert [] == bridge.shelf.asked


async def test_a_link_that_leads_elsewhere(bridge: Bridge) -> None:
    """Whoever wrote it does not choose whom the bridge asks."""
    stolen = {"id": "5", "filename": "x", "size": 3, "url": "http://169.254.169.254/latest/meta-data"}
    said = await bridge.say(attachments=[stolen])
    bridge.assert_missing(said, "its address is not Discord's")


@pytest.mark.parametrize("status", [403, 404])
async def test_an_expired_link_is_refreshed(bridge: Bridge, status: int) -> None:
    """By one look at the message, which has a new one."""
    bridge.shelf.plan = [status]
    fetched = bridge.requests(MESSAGES)
    await bridge.say(("chart.png", PNG))
    assert [PNG] == list(bridge.files().values())
    assert (2, []) == (bridge.requests(MESSAGES) - fetched, bridge.waits)


async def test_a_file_that_vanished(bridge: Bridge) -> None:
    """Refreshed once, and then the message goes out without it."""
    bridge.shelf.plan = [404] * 9
    said = await bridge.say(("chart.png", PNG))
    bridge.assert_missing(said, "Discord's file server answered 404")
    assert 2 == len(bridge.shelf.asked)


async def test_a_file_that_was_taken_off_its_message(bridge: Bridge) -> None:
    """Between the fetch and the download."""

    async def take_off(request: web.Request) -> web.Response:
        guild = bridge.emulator.guild
        guild.change(guild.history(guild.channel("mayor-villa").id)[-1], attachments=())
        return web.Response(status=404)

    bridge.shelf.plan = [take_off]
    said = await bridge.say(("chart.png", PNG))
    bridge.assert_missing(said, "it was taken off the message, or deleted with it")


async def test_what_may_pass_is_waited_for(bridge: Bridge) -> None:
    """Twice, and no longer each time than is said; the third time it works."""
    bridge.shelf.plan = [503, 429]
    await bridge.say(("chart.png", PNG))
    assert ([PNG], list(WAITS)) == (list(bridge.files().values()), bridge.waits)


async def test_what_does_not_pass_holds_nobody_up(bridge: Bridge) -> None:
    """After three tries the message goes out with the reason, and the next file is not affected."""
    bridge.shelf.plan = [503] * 3
    said = await bridge.say(("chart.png", PNG))
    bridge.assert_missing(said, "Discord's file server answered 503")
    assert 3 == len(bridge.shelf.asked)
    await bridge.say(("chart.png", PNG))
    assert [PNG] == list(bridge.files().values())


async def test_half_a_file_is_none(bridge: Bridge) -> None:
    """The line broke in the middle of it, every time."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(PNG))})
        await response.prepare(request)
        await response.write(PNG[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    bridge.shelf.plan = [half] * 3
    said = await bridge.say(("chart.png", PNG))
    (listed,) = bridge.line(said)["attachments"]
    assert "the connection failed" in listed["reason"]
    bridge.assert_missing(said, listed["reason"])


async def test_the_files_of_one_message_have_an_end(bridge: Bridge) -> None:
    """Ten slow files take ten times as long, but not for ever: the rest is told, with its links."""

    async def slow(request: web.Request) -> web.Response:
        bridge.clock.advance(LONGEST)
        return web.Response(body=PNG)

    bridge.shelf.plan = [slow]
    said = await bridge.say(("one.png", PNG), ("two.png", PNG))
    assert [f"attachments/mayor-villa/{said}/one.png"] == list(bridge.files())
    assert [None, "the files of its message took too long"] == [
        each["reason"] for each in bridge.line(said)["attachments"]
    ]


async def test_a_wait_that_would_outlast_the_end_is_not_begun(bridge: Bridge) -> None:
    """The reason is then what the server said."""
    with patch("spoolbridge.attachments.LONGEST", sum(WAITS)):
        bridge.shelf.plan = [503] * 3
        said = await bridge.say(("chart.png", PNG))
    bridge.assert_missing(said, "Discord's file server answered 503")
    assert (2, [WAITS[0]]) == (len(bridge.shelf.asked), bridge.waits)


class Gate:
    """A server that answers when it is told to."""

    def __init__(self) -> None:
        self.inside, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: web.Request) -> web.Response:
        self.inside.set()
        await self.open.wait()
        return web.Response(body=PNG)


async def test_a_slow_file_holds_up_its_own_channel_only(bridge: Bridge) -> None:
    """What was said before it is there, what was said behind it waits, other channels go on; it is told."""
    await bridge.restart(patience=0.05)
    gate = Gate()
    bridge.shelf.plan = [gate]
    before = bridge.emulator.say("mayor-villa", "before")
    slow = bridge.emulator.say("mayor-villa", "look", files=[("chart.png", PNG)])
    behind = bridge.emulator.say("mayor-villa", "behind")
    other = bridge.emulator.say("mayor-db", "other")
    for _ in range(3):
        await bridge.poller.cycle()
        assert [before, other] == sorted(bridge.lines())
        told = f"what was attached to message {slow} is still being downloaded"
        assert {"mayor-villa": told} == bridge.poller.problems
        bridge.clock.advance(1.0)
    assert ["chart.png"] == bridge.shelf.asked
    gate.open.set()
    await asyncio.wait(bridge.attachments._under_way.values())
    await bridge.poller.cycle()
    assert [before, slow, behind] == [each for each in bridge.lines() if each != other]
    assert ([PNG], {}) == (list(bridge.files().values()), bridge.poller.problems)
    assert ["chart.png"] == bridge.shelf.asked


async def test_a_message_that_is_deleted_meanwhile(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody comes for its file any more, and it is not remembered for good."""
    monkeypatch.setattr("spoolbridge.attachments.MOST_DONE", 1)
    await bridge.restart(patience=0.0)
    guild = bridge.emulator.guild
    for number in range(4):
        said = await bridge.say((f"{number}.png", PNG))
        await asyncio.wait(bridge.attachments._under_way.values())
        message = guild.message(guild.channels["mayor-villa"].id, said)
        assert message is not None
        guild.remove(message)
        bridge.clock.advance(60.0)
    await bridge.say(("last.png", PNG), channel="mayor-db")
    assert 2 == len(bridge.attachments._under_way)  # the last, and one that may still be asked for


async def test_a_service_that_ends_meanwhile(bridge: Bridge) -> None:
    """It does not wait for the file and leaves no half of it; the next one gets it."""
    await bridge.restart(patience=0.0)
    gate = Gate()
    bridge.shelf.plan = [gate]
    said = await bridge.say(("chart.png", PNG))
    await gate.inside.wait()
    await bridge.stop()
    assert ({}, [], []) == (bridge.files(), bridge.spool.names("tmp"), bridge.lines())
    gate.open.set()
    await bridge.start()
    assert ([PNG], [said]) == (list(bridge.files().values()), bridge.lines())


async def test_a_disk_without_room(bridge: Bridge) -> None:
    """The message waits like one that cannot be filed, in order, and takes no room; then it all comes."""

    no_room = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch.object(AttachedFiles, "finish", side_effect=no_room):
        before = bridge.emulator.say("mayor-villa", "before")
        said = await bridge.say(("chart.png", PNG))
    assert {"mayor-villa": "[Errno 28] No space left on device"} == bridge.poller.problems
    assert ({}, []) == (bridge.files(), bridge.spool.names("tmp"))
    behind = bridge.emulator.say("mayor-villa", "behind")
    await bridge.poller.cycle()
    assert said not in bridge.lines()
    for _ in range(2):
        bridge.clock.advance(SETTLED)
        await bridge.poller.cycle()
    assert ([before, said, behind], {}) == (bridge.lines(), bridge.poller.problems)
    assert [PNG] == list(bridge.files().values())


async def test_what_stands_in_the_way_wedges_nothing(bridge: Bridge) -> None:
    """Somebody made a file where the directory should be: the message says so, and comes."""
    (bridge.root / "attachments" / "mayor-villa").write_text("")
    said = await bridge.say(("chart.png", PNG))
    (listed,) = bridge.line(said)["attachments"]
    assert f"it cannot be written here ({os.strerror(errno.ENOTDIR)})" == listed["reason"]
    assert ([], {}) == (bridge.spool.names("tmp"), bridge.poller.problems)


async def test_a_delivery_that_lags_names_the_same_file(bridge: Bridge) -> None:
    """It is not fetched a second time for it."""
    bridge.fragile.error = OSError(errno.EACCES, "not now")
    said = await bridge.say(("chart.png", PNG))
    assert [] == bridge.lines()
    bridge.fragile.error = None
    bridge.clock.advance(SETTLED)
    await bridge.poller.cycle()
    (path,) = bridge.files()
    assert [path] == [each["file"] for each in bridge.line(said)["attachments"]]
    assert ["chart.png"] == bridge.shelf.asked


async def test_a_log_tells_ids_only(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """What people call their files is theirs."""
    caplog.set_level("DEBUG", "spoolbridge")
    bridge.shelf.plan = [404, 404]
    await bridge.say(("secret.png", PNG), ("secret.pdf", b"x"))
    assert 2 == sum("downloaded" in line for line in caplog.messages)
    assert not [line for line in caplog.messages if "secret" in line]


async def test_what_discord_keeps_back_is_told(bridge: Bridge) -> None:
    """Without the Message Content intent files arrive as nothing at all, unless the bot is mentioned."""
    bridge.emulator.guild.message_content = False
    hidden = await bridge.say(("chart.png", PNG))
    hint = "[no text: is the bot's Message Content intent on?]"
    assert (hint, []) == (bridge.line(hidden)["body"], bridge.line(hidden)["attachments"])
    shown = await bridge.say(("chart.png", PNG), text=f"<@{bridge.emulator.guild.bot.id}>, look")
    assert [f"attachments/mayor-villa/{shown}/chart.png"] == list(bridge.files())


async def test_a_role_is_told_by_its_name(bridge: Bridge) -> None:
    """Asked for when somebody mentions one; again when one is new, but not more often than once a minute."""
    guild = bridge.emulator.guild
    mayors = guild.add_role("mayors")
    said = await bridge.say(text=f"<@&{mayors.id}>, look")
    assert "@mayors, look" == bridge.line(said)["body"]
    await bridge.say(text=f"<@&{mayors.id}>")
    assert 1 == bridge.requests(ROLES)
    clerks = guild.add_role("clerks")
    said = await bridge.say(text=f"<@&{clerks.id}>")
    assert (f"<@&{clerks.id}>", 1) == (bridge.line(said)["body"], bridge.requests(ROLES))
    bridge.clock.advance(UNKNOWN)
    said = await bridge.say(text=f"<@&{clerks.id}> <@&{mayors.id}>")
    assert ("@clerks @mayors", 2) == (bridge.line(said)["body"], bridge.requests(ROLES))
    bridge.clock.advance(FRESH)
    await bridge.say(text=f"<@&{mayors.id}>")
    assert 3 == bridge.requests(ROLES)


async def test_roles_that_cannot_be_had_hold_nobody_up(bridge: Bridge) -> None:
    """The number stands for the name."""
    mayors = bridge.emulator.guild.add_role("mayors")
    bridge.emulator.fail(method="GET", route=ROLES, kind="status", status=403, code=50013)
    said = await bridge.say(text=f"<@&{mayors.id}>")
    assert (f"<@&{mayors.id}>", {}) == (bridge.line(said)["body"], bridge.poller.problems)
