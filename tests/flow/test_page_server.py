"""The page's answers over a real socket, beside a real dispatcher and an emulated guild."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from spoolbridge import page, service
from spoolbridge.emulator import Emulator
from spoolbridge.page import looks, server
from spoolbridge.page.door import Door, Where
from spoolbridge.page.health import LEAST, health
from spoolbridge.page.looks import Looks
from spoolbridge.page.server import Page
from spoolbridge.parts import Parts
from spoolbridge.settings import Settings
from spoolbridge.spool import Spool
from tests.support.clock import FakeClock
from tests.support.waiting import until

KEY = "a-key-of-some-length"
BEARER = {"Authorization": f"Bearer {KEY}"}


@dataclass
class Served:
    """A page, who asks it, and the service that it shows."""

    parts: Parts
    emulator: Emulator
    client: aiohttp.ClientSession
    url: str

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.text()

    async def state(self) -> dict[str, Any]:
        return dict(json.loads((await self.get("/state.json"))[1]))

    async def channel(self, name: str = "mayor-villa") -> dict[str, Any]:
        [found] = [each for each in (await self.state())["channels"] if each["name"] == name]
        return dict(found)

    async def retry(self, headers: dict[str, str] = BEARER, **body: Any) -> tuple[int, str]:
        async with self.client.post(f"{self.url}/retry", json=body, headers=headers) as answer:
            return answer.status, (await answer.text()).strip()

    def drop(self, text: str, channel: str = "mayor-villa", **more: Any) -> None:
        self.parts.spool.drop(channel, text.encode(), **more)
        self.parts.dispatcher.ring()

    async def failed(self, count: int = 1) -> list[dict[str, Any]]:
        await until(lambda: sum(self.parts.metrics.failed_by.values()) >= count)
        return list((await self.state())["failures"])


@asynccontextmanager
async def serving(root: Path, key: str = KEY) -> AsyncIterator[Served]:
    """Dispatcher and page of a service, on free ports of loopback."""
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(server, "FRESH", 0.0))  # what was just done is seen
        emulator = await stack.enter_async_context(Emulator(limits=False).serve())
        channel_id = str(emulator.add_channel("mayor-villa"))
        channels = root / "channels.json"
        channels.write_text(json.dumps({"mayor-villa": channel_id}))
        settings = Settings(
            spool=root / "spool", channels=channels, inbox=root / "inbox.jsonl", token=emulator.token,
            api_url=emulator.api_url, poll_interval=0.05, gt="off", http_key=key,
        )  # fmt: skip
        built = service._built(settings, lambda message: None, once=False)
        parts = await stack.enter_async_context(built)
        where = Where("127.0.0.1", 0)
        bound = page.listen(where, key=key)
        flows = [parts.dispatcher.run(), page.serve(parts, bound, where, key=key)]
        tasks = [asyncio.ensure_future(flow) for flow in flows]
        client = await stack.enter_async_context(aiohttp.ClientSession())
        try:
            yield Served(parts, emulator, client, f"http://127.0.0.1:{bound.getsockname()[1]}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as made:
        yield made


async def test_an_entry_is_seen_in_every_state(served: Served) -> None:
    """Waiting under its name, then sent under an ID, with what it said; the counts agree."""
    box = served.parts.spool.root / "outgoing" / "mayor-villa"
    (box / ".hold").touch()
    (box / "note").write_text("deployed\n")
    [waiting] = (await served.channel())["outgoing"]["entries"]
    assert ("", "note") == (waiting["id"], waiting["name"])
    assert ["on hold"] == (await served.channel())["remarks"]
    (box / ".hold").unlink()
    await until(lambda: served.parts.metrics.last_sent)
    channel = await served.channel()
    [sent] = channel["sent"]["entries"]
    assert ("note", 1, 0) == (sent["name"], channel["sent"]["count"], channel["outgoing"]["count"])
    state = await served.state()
    assert [("mayor-villa", "deployed")] == [(each["channel"], each["text"]) for each in state["out"]]
    assert 1 == sum(slot[1] for slot in state["hour"])


async def test_the_backlog_is_counted_though_nobody_asks(served: Served) -> None:
    """Its hour would have gaps wherever nobody looked at the page."""
    (served.parts.spool.root / "outgoing" / "mayor-villa" / ".hold").touch()
    for number in range(3):
        served.drop(f"number {number}")
    await until(lambda: served.parts.metrics.backlog == {"mayor-villa": 3})
    assert 3 == served.parts.metrics.hour[-1].backlog


async def test_a_failed_entry_is_retried_by_who_has_the_key(served: Served) -> None:
    """The move that an operator makes: the same ID, and this time it is sent."""
    served.drop("!!drop Spoolbridge", name="good")
    served.drop("Spoolbridge: 1\nRepy-To: 1\n\nhi", name="bad")
    [failure] = await served.failed()
    assert ("mayor-villa", "bad") == (failure["channel"], failure["name"])
    assert failure["reason"].startswith("line 2: ")
    path = served.parts.spool.root / "failed" / "mayor-villa" / failure["file"]
    path.write_text("hi")
    entry_id, which = failure["id"], {"channel": "mayor-villa", "file": failure["file"]}
    assert 409 == (await served.retry(channel="mayor-villa", file=failure["file"] + ".why"))[0]
    assert (200, "It is in outgoing/ again.") == await served.retry(**which)
    await until(lambda: (found := served.parts.spool.find(entry_id)) and found.state == "sent")
    assert [] == (await served.state())["failures"]
    assert 409 == (await served.retry(**which))[0]


@pytest.mark.parametrize(
    ("channel", "file"),
    [("..", "x"), ("mayor-villa/..", "x"), ("", "../../channels.json"), ("mayor-villa", "../x"), ("\0", "")],
)
async def test_a_retry_makes_no_path_of_names(served: Served, channel: str, file: str) -> None:
    """What is not in failed/ under that very name is not moved, wherever it may be."""
    assert 409 == (await served.retry(channel=channel, file=file))[0]
    assert (served.parts.settings.channels).exists()


async def test_nobody_else_retries(served: Served) -> None:
    """No key, a wrong one, another page's Origin, a strange body: refused, and nothing moves."""
    served.drop("Spoolbridge: 1\nRepy-To: 1\n\nhi", name="bad")
    [failure] = await served.failed()
    which = {"channel": failure["channel"], "file": failure["file"]}
    for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}):
        assert 401 == (await served.retry(headers, **which))[0]
    assert 403 == (await served.retry(BEARER | {"Origin": "http://evil.example"}, **which))[0]
    assert 400 == (await served.retry(channel="mayor-villa"))[0]
    assert 413 == (await served.retry(**which, more="x" * 5000))[0]
    assert [failure["file"]] == [each["file"] for each in (await served.state())["failures"]]


async def test_without_a_key_the_page_only_shows(tmp_path: Path) -> None:
    """And says how that is changed; no request can retry, whatever it carries."""
    async with serving(tmp_path, key="") as served:
        assert "SPOOLBRIDGE_HTTP_KEY" in (await served.state())["retry"]
        for headers in ({}, {"Authorization": "Bearer "}, BEARER):
            status, told = await served.retry(headers, channel="mayor-villa", file="x")
            assert (403, True) == (status, "SPOOLBRIDGE_HTTP_KEY" in told)


@pytest.mark.parametrize("path", ["/", "/state.json", "/metrics", "/healthz", "/page.js"])
async def test_a_strange_name_or_page_gets_nothing(served: Served, path: str) -> None:
    """A page that rebinds its name to this machine, and one that asks from elsewhere."""
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        status, told = await served.get(path, **headers)
        assert (403, True) == (status, told.startswith("The page answers to its"))


async def test_every_answer_is_guarded(served: Served) -> None:
    """No script but the page's own, no guessing of types, no cookie, nothing kept; refusals included."""
    for path in ("/", "/page.css", "/page.js", "/state.json", "/metrics", "/healthz", "/nowhere"):
        async with served.client.get(served.url + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
            assert ("nosniff", "no-store") == (
                answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]
            )  # fmt: skip
            assert "Set-Cookie" not in answer.headers
    assert "unsafe" not in policy


async def test_where_other_machines_reach_it_only_the_key_opens(served: Served) -> None:
    """All but the page's own files and /healthz, which tell nothing of the channels."""
    where = Where("0.0.0.0", 0)
    with page.listen(where, key=KEY, anywhere=True) as bound:
        runner = web.AppRunner(Page(served.parts, Door(bound, where.host, key=KEY)).app())
        await runner.setup()
        await web.SockSite(runner, bound).start()
        url, served.url = served.url, f"http://127.0.0.1:{bound.getsockname()[1]}"
        try:
            told = {"/": 200, "/page.js": 200, "/healthz": 200, "/state.json": 401, "/metrics": 401}
            for path, without in told.items():
                assert without == (await served.get(path))[0]
                assert 200 == (await served.get(path, **BEARER))[0]
            assert 401 == (await served.get("/nowhere"))[0]
        finally:
            served.url = url
            await runner.cleanup()


async def test_no_secret_is_shown(served: Served) -> None:
    """Neither the token nor the key is in anything that the page answers."""
    token = served.parts.settings.token
    served.drop(f"never show {token} nor {KEY} to anybody")
    await until(lambda: sum(served.parts.metrics.sent_by.values()) or served.parts.metrics.failed_by)
    for path in ("/", "/page.js", "/state.json", "/metrics", "/healthz"):
        status, told = await served.get(path, **BEARER)
        assert 200 == status
        assert served.parts.settings.token not in told
        assert KEY not in told


async def test_metrics_as_prometheus_reads_them(served: Served) -> None:
    """Its own parser takes them; what was sent and what failed is counted, by channels of the file only."""
    served.drop("hello")
    await until(lambda: served.parts.metrics.last_sent)
    served.drop("!!automod buy")
    (served.parts.spool.root / "outgoing" / "made up").mkdir()
    served.drop("whom?", "made up")
    await served.failed(2)
    text = (await served.get("/metrics"))[1]
    families = {each.name: each for each in text_string_to_metric_families(text)}

    def value(family: str, sample: str, **labels: str) -> float:
        [found] = [s.value for s in families[family].samples if (s.name, s.labels) == (sample, labels)]
        return float(found)

    villa = {"channel": "mayor-villa"}
    assert 1 == value("spoolbridge_entries_sent", "spoolbridge_entries_sent_total", **villa)
    assert 0 == value("spoolbridge_messages_filed", "spoolbridge_messages_filed_total", **villa)
    failed = ("spoolbridge_entries_failed", "spoolbridge_entries_failed_total")
    assert 1 == value(*failed, channel="mayor-villa", reason="refused")
    assert 1 == value(*failed, channel="other", reason="no_channel")
    latency = "spoolbridge_delivery_latency_seconds"
    assert 1 == value(latency, f"{latency}_count") == value(latency, f"{latency}_bucket", le="+Inf")
    assert 1 == value("spoolbridge_healthy", "spoolbridge_healthy")
    assert "made up" not in (await served.get("/metrics"))[1]


async def test_health_is_not_a_heartbeat(served: Served) -> None:
    """The page answers all the time, and is red once Discord has been silent for three intervals."""
    await until(lambda: served.parts.metrics.looked_at)
    answered, looked = served.parts.client.answered_at, served.parts.metrics.looked_at
    assert answered and looked
    clock = FakeClock(answered + LEAST)
    served.parts.metrics.looked_at = clock.now
    assert (True, "ok", LEAST) == health(served.parts, clock=clock)
    clock.advance(0.1)
    assert (False, "Discord has not answered for 45 s") == health(served.parts, clock=clock)[:2]
    served.parts.settings = served.parts.settings._replace(poll_interval=20.0)
    assert health(served.parts, clock=clock).well
    clock.advance(15.0)
    assert not health(served.parts, clock=clock).well


async def test_health_of_a_flow_that_hangs(served: Served) -> None:
    """Discord's answers to the one do not make the other well."""
    await until(lambda: served.parts.metrics.looked_at)
    answered = served.parts.client.answered_at or 0.0
    served.parts.metrics.looked_at = answered - LEAST - 1
    told = health(served.parts, clock=lambda: answered)
    assert (False, "the dispatcher has not looked for 46 s") == told[:2]
    served.parts.metrics.looked_at = answered
    served.parts.poller.due_at = answered - LEAST - 2
    told = health(served.parts, clock=lambda: answered)
    assert (False, "the poller has not looked for 47 s") == told[:2]


async def test_healthz(served: Served) -> None:
    """200 and ok, by HEAD too; 503 with the reason where Cloudflare has closed the door."""
    assert (200, "ok\n") == await served.get("/healthz")
    async with served.client.head(f"{served.url}/healthz") as answer:
        assert (200, b"") == (answer.status, await answer.read())
    served.drop("!!1015")
    await until(lambda: served.parts.client.paused_because)
    status, told = await served.get("/healthz")
    assert (503, True) == (status, told.startswith("Discord is not asked: Cloudflare"))
    async with served.client.head(f"{served.url}/healthz") as answer:
        assert 503 == answer.status


async def test_what_is_wrong_is_a_finding(served: Served) -> None:
    """A parked channel stands among the findings and in its lane."""
    served.drop("!!403 closed")
    await until(lambda: served.parts.dispatcher.parked)
    [remark] = (await served.channel())["remarks"]
    assert remark.startswith("parked: Discord answered 403")
    assert f"#mayor-villa is {remark}" in (await served.state())["findings"]


def test_a_look_reads_little(tmp_path: Path) -> None:
    """Of thousands of names and of large files only as much as the page shows; links are not followed."""
    spool = Spool.create(tmp_path / "spool")
    spool.add_channel("villa")
    box = spool.root / "outgoing" / "villa"
    for number in range(2500):
        (box / f"note{number}").touch()
    day = spool.root / "sent" / "villa" / "2026-11-24"
    day.mkdir(parents=True)
    (day / f"{spool.mint()}.large").write_bytes(b"x" * 1_000_000)
    os.symlink("/etc/passwd", day / f"{spool.mint()}.link")
    (day / f"{spool.mint()}.towers").write_text("a" + "\u0301" * 2000)
    seen = Looks(spool).look([])
    spool.close()
    assert (2500, 12) == (seen.outgoing["villa"].total, len(seen.outgoing["villa"].entries))
    large, link, towers = [said.text for said in seen.outward]
    assert ("x" * 600 + "…", "link") == (large, link)
    assert looks._MARKS + 2 >= len(towers)


@pytest.mark.parametrize(
    ("name", "data", "shown"),
    [
        ("note", b"two\r\nlines\n\n", "two\nlines"),
        ("note", b"Spoolbridge: 1\nSilent: yes\n\nthe text\n", "the text"),
        ("chart.png", b"\x89PNG\r\n\x1a\n\0\0", "chart.png"),
        ("a%2Fb", b"", "a/b"),
        ("note", b"x" * 4095 + "é".encode(), "x" * 600 + "…"),
    ],
)
def test_what_is_shown_of_a_sent_entry(tmp_path: Path, name: str, data: bytes, shown: str) -> None:
    """Its text, without its options; of what is no text, its name."""
    spool = Spool.create(tmp_path / "spool")
    day = spool.root / "sent" / "villa" / "2026-11-24"
    day.mkdir(parents=True)
    (day / f"{spool.mint()}.{name}").write_bytes(data)
    bundle = day / f"{spool.mint()}.with-files.msg"
    bundle.mkdir()
    (bundle / "body").write_text("see the file")
    assert [shown, "see the file"] == [said.text for said in Looks(spool).look([]).outward]
    spool.close()


def test_a_mail_that_cannot_be_shown_hides_no_other(tmp_path: Path) -> None:
    """A huge one, a link, a pipe, one of another program's making: left out, and the rest is there."""
    spool = Spool.create(tmp_path / "spool")
    new = spool.root / "incoming" / "villa" / "new"
    new.mkdir(parents=True)
    head = "From: Nic <1@discord>\nDate: Tue, 24 Nov 2026 01:00:00 +0000\n"
    (new / "1700000001.D101.discord").write_text(f"{head}\nhow is it?\n")
    (new / "1700000002.D102.discord").write_text(f"{head}\n{'x' * 2_000_000}")
    (new / "1700000003.D103.discord").symlink_to(new / "1700000001.D101.discord")
    os.mkfifo(new / "1700000005.D105.discord")
    odd = f"{head}Content-Type: text/plain; charset=klingon\n\nqapla\n"
    (new / "1700000004.D104.discord").write_text(odd)
    (new / "notes.txt").write_text("mine")
    (new.parent / "cur").mkdir()
    (new.parent / "cur" / "1700000000.D100.discord:2,S").write_text(f"{head}\nread before\n")
    said = [(each.who, each.text) for each in Looks(spool).look([]).inward if "qapla" not in each.text]
    assert [("Nic", "read before"), ("Nic", "how is it?")] == said
    spool.close()


async def test_connections_are_counted(served: Served) -> None:
    """Whoever can reach the port must not take the files that the service needs to post: there is an end."""
    port = int(served.url.rpartition(":")[2])
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(server._MOST)]
    reader, one_more = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError):
        assert b"" == await reader.read()
    held[0][1].close()
    one_more.close()

    async def answers() -> bool:
        try:
            return (await served.get("/healthz"))[0] in (200, 503)
        except aiohttp.ClientError:
            return False

    while not await answers():  # once the end of the first is noticed
        await asyncio.sleep(0.01)
    for _, writer in held[1:]:
        writer.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nx\x1b[2J: \x00\r\n\r\n"])
async def test_what_is_no_http_is_not_logged(
    served: Served, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A line of a stranger's in the log for each that he sends would fill the disk in his words."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(said)
    assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
    writer.close()
    assert [] == [each for each in caplog.records if each.name.startswith(("aiohttp", server.__name__))]


async def test_a_spool_that_cannot_be_read_is_said(served: Served) -> None:
    """In a sentence, and only for as long as it lasts."""
    incoming = served.parts.spool.root / "incoming"
    incoming.rename(incoming.with_name("elsewhere"))
    told = "The spool cannot be looked at (No such file or directory).\n"
    assert (503, told) == await served.get("/state.json")
    incoming.with_name("elsewhere").rename(incoming)
    assert 200 == (await served.get("/state.json"))[0]


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    """A failed entry that comes is seen, one that stays costs nothing, one that goes is gone."""
    spool = Spool.create(tmp_path / "spool")
    failed = spool.root / "failed" / "villa"
    failed.mkdir()
    name = f"{spool.mint()}.bad"
    (failed / name).touch()
    (failed / f"{name}.why").write_text("2026-11-24T01:00:00Z  it is bad\nWhat to do: mend it\n")
    os.utime(failed, (1.0, 1.0))
    looking = Looks(spool)
    [failure] = looking.look([]).failures
    assert ("it is bad", {"villa": 1}) == (failure.reason, looking.look([]).failed)
    assert failure is looking.look([]).failures[0]
    (failed / name).unlink()
    assert [] == looking.look([]).failures
    spool.close()
