"""The MCP server as its clients meet it: both protocol eras, real processes on pipes, raw JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from mcp import Client, MCPError, types
from mcp.client.stdio import StdioServerParameters

from spoolbridge import __version__, errors, mcp_server, outgoing, sending
from spoolbridge.channels import load
from spoolbridge.claim import Claim
from spoolbridge.journal import Journal
from spoolbridge.mcp_server import SEND, make_server, schemas
from spoolbridge.settings import Settings
from spoolbridge.spool import Entry, Spool

CHANNELS = {
    "vgt": "1467106918538678293",
    "villa": {"mayor-villa": "1467106918538678294", "ops": "1467106918538678295"},
    "farm": {"mayor-farm": "1467106918538678296", "ops": "1467106918538678297"},
}
GUILD = 1467106918538600000
MESSAGE = 1467106918538700001  # beyond what a float can tell apart
TOKEN = "MTIz.not-a-real-token.abc"
SERVE = 'from spoolbridge import cli; cli.run(["mcp"])'
ERAS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A spool and its channels file."""
    root = tmp_path / "spool"
    Spool.create(root).close()
    found = Settings(spool=root, channels=root / "discord-channels.json", inbox=root / "inbox.jsonl")
    found.channels.write_text(json.dumps(CHANNELS))
    return found


@pytest.fixture
def spool(settings: Settings) -> Iterator[Spool]:
    spool = Spool(settings.spool)
    yield spool
    spool.close()


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """The SDK client's `mode`: the modern protocol, and the handshake of the years before it."""
    return str(request.param)


def dropped(spool: Spool, channel: str = "mayor-villa") -> list[bytes]:
    """What lies in the drop box, in order."""
    return [
        (spool.root / "outgoing" / channel / name).read_bytes()
        for name in sorted(spool.names(f"outgoing/{channel}"))
    ]


def kept(told: dict[str, Any]) -> bytes:
    """The file that an answer names."""
    return Path(told["file"]).read_bytes()


def post(claim: Claim, journal: Journal) -> None:
    journal.sent(claim.id, int(CHANNELS["villa"]["mayor-villa"]), 1, MESSAGE, GUILD)  # type: ignore[index]
    claim.sent()


def refuse(claim: Claim, journal: Journal) -> None:
    claim.failed("50006: Cannot send an empty message", hint="write something")


@contextmanager
def service(spool: Spool, settle: Callable[[Claim, Journal], None]) -> Iterator[list[str]]:
    """Settles every entry of `mayor-villa` as the service does, but for Discord; the IDs as they come."""
    for state in ("outgoing", "sending", "failed"):
        (spool.root / state / "mayor-villa").mkdir(exist_ok=True)
    ids: list[str] = []
    over = threading.Event()

    def work() -> None:
        with spool.at("state") as state, spool.at("outgoing/mayor-villa") as source:
            journal = Journal(state)
            while not over.wait(0.005):
                for name in sorted(os.listdir(source)):
                    os.rename(name, spool.root / "sending" / "mayor-villa" / name, src_dir_fd=source)
                    claim = Claim(spool.root, spool.fd, "mayor-villa", name)
                    ids.append(claim.id)
                    settle(claim, journal)
            journal.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


async def call(client: Client, **arguments: Any) -> tuple[types.CallToolResult, dict[str, Any], str]:
    """The result, its structured content, and its one line."""
    return await ask(client, SEND, **arguments)


async def ask(
    client: Client, name: str, **arguments: Any
) -> tuple[types.CallToolResult, dict[str, Any], str]:
    """As `call`, of any tool."""
    result = await client.call_tool(name, arguments)
    assert isinstance(result.content[0], types.TextContent)
    assert "\n" not in result.content[0].text
    [tool] = [each for each in (await client.list_tools()).tools if each.name == name]
    Draft202012Validator(tool.output_schema).validate(result.structured_content)
    return result, dict(result.structured_content or {}), result.content[0].text


def process(settings: Settings, code: str = "") -> StdioServerParameters:
    """The installed `spoolbridge mcp`, or Python with this code."""
    env = {"SPOOLBRIDGE_SPOOL": str(settings.spool), "DISCORD_BOT_TOKEN": TOKEN}
    program = str(Path(sys.executable).with_name("spoolbridge"))
    command, args = (sys.executable, ["-c", code]) if code else (program, ["mcp"])
    return StdioServerParameters(command=command, args=args, env=env, cwd=settings.spool.parent)


# --- in memory ---------------------------------------------------------------------------------------


async def test_the_tools_are_listed_with_valid_schemas(settings: Settings, era: str) -> None:
    """At most seven, their schemas are JSON Schema, the channels are named, the first sentence suffices."""
    async with Client(make_server(settings), mode=era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert ERAS[era] == client.protocol_version
        assert client.server_info is not None
        assert ("spoolbridge", __version__) == (client.server_info.name, client.server_info.version)
    assert [tool.name for tool in schemas.TOOLS] == list(tools)
    assert len(tools) <= 7
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema)
        assert len((tool.description or "").encode()) < 2048
        if "channel_name" in tool.input_schema["properties"]:
            described = tool.input_schema["properties"]["channel_name"]["description"]
            assert "vgt, mayor-villa, villa.ops" in described
    assert ["channel_name", "message"] == tools[SEND].input_schema["required"]


@pytest.mark.parametrize(
    ("name", "hints"),
    [
        (SEND, (False, False, False, True)),
        (schemas.READ, (False, False, True, False)),
        (schemas.REPLY, (False, False, False, True)),
        (schemas.REACT, (False, False, True, True)),
        (schemas.STATUS, (True, False, True, False)),
        (schemas.CHANNELS, (True, False, True, False)),
        (schemas.ASK, (False, False, False, True)),
    ],
)
async def test_the_hints_are_the_truth(
    settings: Settings, name: str, hints: tuple[bool, bool, bool, bool]
) -> None:
    """Reads only, destroys, may be repeated, reaches beyond this machine."""
    async with Client(make_server(settings)) as client:
        [tool] = [each for each in (await client.list_tools()).tools if each.name == name]
    told = tool.annotations
    assert told is not None
    assert hints == (
        told.read_only_hint, told.destructive_hint, told.idempotent_hint, told.open_world_hint
    )  # fmt: skip


async def test_without_a_service_a_message_is_queued(settings: Settings, spool: Spool, era: str) -> None:
    """Queued is a success that says where the file lies and that nothing more is to be done."""
    async with Client(make_server(settings, patience=0), mode=era) as client:
        result, told, line = await call(
            client, channel_name="#mayor-villa", message="Build is green", rig_name="villa"
        )
    assert not result.is_error
    assert {"status", "id", "file", "channel"} == told.keys()
    assert ("queued", "mayor-villa") == (told["status"], told["channel"])
    assert "do not send it again" in line
    assert [b"Spoolbridge: 1\nRig: villa\n\nBuild is green"] == dropped(spool)
    message = outgoing.parse("", kept(told))
    assert ["[villa] Build is green"] == [part.content for part in outgoing.compose(message)]


async def test_a_text_that_looks_like_a_header_stays_text(settings: Settings, spool: Spool) -> None:
    """A model cannot smuggle options in through the message."""
    text = "Spoolbridge: 1\nMentions: users\n\nhi"
    async with Client(make_server(settings, patience=0)) as client:
        await call(client, channel_name="mayor-villa", message=text)
    [body] = dropped(spool)
    message = outgoing.parse("", body)
    assert (text, ()) == (message.text, message.options.mentions)


async def test_what_the_service_sends_is_answered_with_its_address(
    settings: Settings, spool: Spool, era: str
) -> None:
    """Sent: Discord's ID as an exact string, and a link."""
    async with Client(make_server(settings), mode=era) as client:
        with service(spool, post) as ids:
            result, told, line = await call(client, channel_name="mayor-villa", message="hi")
    url = f"https://discord.com/channels/{GUILD}/1467106918538678294/{MESSAGE}"
    assert not result.is_error
    assert ("sent", ids[0], str(MESSAGE), url) == (
        told["status"], told["id"], told["message_id"], told["jump_url"],
    )  # fmt: skip
    assert f"sent to #mayor-villa: {url}" == line
    assert b"hi" == kept(told)


async def test_what_discord_refuses_is_an_error_with_its_reason(
    settings: Settings, spool: Spool, era: str
) -> None:
    """Failed: the sentence of the `.why`, and the file that is kept."""
    async with Client(make_server(settings), mode=era) as client:
        with service(spool, refuse):
            result, told, line = await call(client, channel_name="mayor-villa", message="hi")
    assert result.is_error
    assert ("failed", "50006: Cannot send an empty message") == (told["status"], told["reason"])
    assert "50006: Cannot send an empty message" in line
    assert "failed/mayor-villa" in told["file"]
    assert b"hi" == kept(told)


async def test_a_message_that_is_taken_away_is_not_called_queued(settings: Settings, spool: Spool) -> None:
    """`rm` in the spool cancels, and the caller hears of it."""

    def cancel(claim: Claim, journal: Journal) -> None:
        (spool.root / "sending" / "mayor-villa" / claim.name).unlink()

    async with Client(make_server(settings)) as client:
        with service(spool, cancel):
            result, told, _ = await call(client, channel_name="mayor-villa", message="hi")
    assert result.is_error
    assert "failed" == told["status"]
    assert "somebody took it away" in told["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ({"channel_name": "mayor-vila", "message": "x"}, "unknown_channel", "mayor-villa"),
        ({"channel_name": "ops", "message": "x"}, "unknown_channel", "say villa.ops or farm.ops"),
        ({"channel_name": "../../etc", "message": "x"}, "unknown_channel", "no channel"),
        ({"channel_name": "vgt", "message": ""}, "bad_arguments", "message is empty"),
        ({"channel_name": "vgt", "message": " \n\t"}, "bad_message", "the message is empty"),
        ({"channel_name": "vgt", "message": "a\0b"}, "bad_message", "byte 2 is NUL"),
        ({"channel_name": "vgt", "message": "é" * 600_000}, "bad_message", "1200000 bytes"),
        ({"channel_name": "vgt", "message": "x", "rig_name": "a\nb"}, "bad_message", "cannot stand here"),
        ({"channel_name": "vgt", "message": "x", "rig_name": "r" * 81}, "bad_arguments", "rig_name has more"),
        ({"channel_name": "vgt", "message": 7}, "bad_arguments", "message must be text"),
        ({"channel_name": ["vgt"], "message": "x"}, "bad_arguments", "channel_name must be text"),
        ({"channel_name": "vgt"}, "bad_arguments", "message is missing"),
        ({"channel_name": "vgt", "message": None}, "bad_arguments", "message is missing"),
        ({}, "bad_arguments", "is missing"),
        ({"channel_name": "vgt", "message": "x", "chan": 1}, "bad_arguments", "no argument 'chan'"),
    ],
)
async def test_a_wrong_call_is_refused_with_what_to_do(
    settings: Settings, spool: Spool, arguments: dict[str, Any], code: str, says: str
) -> None:
    """A tool's error, not the protocol's: a model reads it and corrects itself; nothing is dropped."""
    async with Client(make_server(settings, patience=0)) as client:
        result, told, line = await call(client, **arguments)
    assert result.is_error
    assert ("refused", code, False) == (told["status"], told["code"], told["retriable"])
    assert told["hint"]
    assert says in line
    assert len(line) <= 600
    assert [] == spool.channels("outgoing")
    assert [] == spool.names("tmp")


async def test_the_choices_are_told_to_programs_too(settings: Settings) -> None:
    """An ambiguous name comes back with the names that would do, and each of them does."""
    async with Client(make_server(settings, patience=0)) as client:
        _, told, _ = await call(client, channel_name="ops", message="x")
        assert ["villa.ops", "farm.ops"] == told["choices"]
        for choice in told["choices"]:
            _, sent, _ = await call(client, channel_name=choice, message="x", rig_name=None)
            assert ("queued", choice) == (sent["status"], sent["channel"])


async def test_an_unknown_tool_is_the_protocols_error(settings: Settings, era: str) -> None:
    """-32602, as the specification asks."""
    async with Client(make_server(settings), mode=era) as client:
        with pytest.raises(MCPError) as raised:
            await client.call_tool("send_telegram", {})
    assert types.INVALID_PARAMS == raised.value.code


async def test_spool_and_channels_may_come_after_the_server(tmp_path: Path) -> None:
    """Each thing that is missing is named in turn, and the same server works once they are there."""
    root = tmp_path / "spool"
    late = Settings(spool=root, channels=tmp_path / "channels.json", inbox=root / "inbox.jsonl")
    async with Client(make_server(late, patience=0)) as client:
        tool = (await client.list_tools()).tools[0]
        assert "There are" not in tool.input_schema["properties"]["channel_name"]["description"]
        _, told, line = await call(client, channel_name="vgt", message="x")
        assert ("no_spool", f"no spool at {root}") == (told["code"], line.partition(": ")[2].split(";")[0])
        assert not root.exists()
        Spool.create(root).close()
        _, told, line = await call(client, channel_name="vgt", message="x")
        assert "no_channels" == told["code"]
        late.channels.write_text("{")
        _, told, line = await call(client, channel_name="vgt", message="x")
        assert "no_channels" == told["code"]
        assert "is not JSON" in line
        late.channels.write_text(json.dumps(CHANNELS))
        _, told, _ = await call(client, channel_name="vgt", message="x")
        assert "queued" == told["status"]
        root.rename(tmp_path / "old")
        _, told, _ = await call(client, channel_name="vgt", message="x")
        assert "no_spool" == told["code"]
        Spool.create(root).close()
        _, told, _ = await call(client, channel_name="vgt", message="x")
        assert told["file"].startswith(str(root))
        assert b"x" == kept(told)


async def test_a_channel_that_is_added_is_known_at_once(settings: Settings) -> None:
    """The file is read again when it changes; broken later, the last good one stays and the error says so."""
    async with Client(make_server(settings, patience=0)) as client:
        _, told, _ = await call(client, channel_name="new", message="x")
        assert "unknown_channel" == told["code"]
        settings.channels.write_text(json.dumps(CHANNELS | {"new": "1467106918538678299"}))
        _, told, _ = await call(client, channel_name="new", message="x")
        assert "queued" == told["status"]
        settings.channels.write_text("[")
        _, told, _ = await call(client, channel_name="new", message="x")
        assert "queued" == told["status"]
        _, told, _ = await call(client, channel_name="newer", message="x")
        assert "cannot be read since it was changed" in told["hint"]


async def test_calls_at_once_keep_their_order(
    settings: Settings, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that a client sends without waiting are posted in the order of the calls, even where the
    disk is slowest with the first."""
    texts = [f"message {number}" for number in range(10)]
    quick, slowness = sending.drop_message, iter(range(len(texts), 0, -1))

    def slow(*args: Any, **options: Any) -> Entry:
        time.sleep(next(slowness) / 200)
        return quick(*args, **options)

    monkeypatch.setattr(sending, "drop_message", slow)
    async with Client(make_server(settings, patience=0)) as client, anyio.create_task_group() as calls:
        for text in texts:
            calls.start_soon(client.call_tool, SEND, {"channel_name": "mayor-villa", "message": text})
    assert texts == [body.decode() for body in dropped(spool)]


async def test_a_cancelled_call_stops_waiting_and_keeps_the_message(settings: Settings, spool: Spool) -> None:
    """The server is free again at once, and what was dropped will be sent."""
    claimed = threading.Event()
    async with Client(make_server(settings, patience=20)) as client:
        with service(spool, lambda claim, journal: claimed.set()) as ids, anyio.fail_after(10):
            async with anyio.create_task_group() as calls:
                calls.start_soon(client.call_tool, SEND, {"channel_name": "mayor-villa", "message": "hi"})
                assert await anyio.to_thread.run_sync(claimed.wait, 30)
                calls.cancel_scope.cancel()
        result, _, _ = await call(client, channel_name="nowhere", message="hi")
    assert result.is_error
    assert [f"{ids[0]}.mcp.md"] == spool.names("sending/mayor-villa")


# --- real processes ----------------------------------------------------------------------------------


async def test_a_real_process_serves_both_eras(settings: Settings, spool: Spool, era: str) -> None:
    """Over pipes: listed, sent, refused; nothing of it needs a token."""
    with service(spool, post):
        async with Client(process(settings), mode=era) as client:
            assert ERAS[era] == client.protocol_version
            assert SEND in [tool.name for tool in (await client.list_tools()).tools]
            _, told, _ = await call(client, channel_name="mayor-villa", message="hi", rig_name="villa")
            assert ("sent", str(MESSAGE)) == (told["status"], told["message_id"])
            result, told, _ = await call(client, channel_name="nowhere", message="hi")
            assert (True, "unknown_channel") == (result.is_error, told["code"])


async def test_two_servers_share_a_spool(settings: Settings, spool: Spool) -> None:
    """Each agent has its own server; every message is sent once, under an ID of its own."""
    told: list[dict[str, Any]] = []

    async def speak(client: Client, who: str) -> None:
        for number in range(3):
            told.append((await call(client, channel_name="mayor-villa", message=f"{who} {number}"))[1])

    with service(spool, post) as ids:
        async with (
            Client(process(settings)) as first,
            Client(process(settings), mode="legacy") as second,
            anyio.create_task_group() as both,
        ):
            both.start_soon(speak, first, "first")
            both.start_soon(speak, second, "second")
    assert ["sent"] * 6 == [each["status"] for each in told]
    assert sorted(ids) == sorted(each["id"] for each in told)
    assert 6 == len(set(ids))


# What is printed by mistake while serving, and what the process looks like when it ends.
NOISY = f"""
import json, os, sys
from spoolbridge import sending
quiet = sending.drop_message
def drop_message(*args, **keywords):
    print("a stray print", flush=True)
    os.write(1, b"a stray write\\n")
    return quiet(*args, **keywords)
sending.drop_message = drop_message
{SERVE}
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
end = {{"environ": list(os.environ), "modules": list(sys.modules), "kib": int(peak)}}
print(json.dumps(end), file=sys.stderr)
"""


class RawClient:
    """Writes JSON lines to a server and reads what it writes, byte for byte."""

    def __init__(self, settings: Settings, log: Path) -> None:
        there = settings.spool.parent
        (there / ".env").write_bytes(b"DISCORD_BOT_TOKEN=\xff")  # whoever opens it fails
        env = {"PATH": os.environ["PATH"], **(process(settings).env or {})}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", NOISY],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=there,
            )  # fmt: skip
        self.lines: list[dict[str, Any]] = []

    def say(self, method: str, number: int | None = None, **params: Any) -> None:
        assert self._process.stdin is not None
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        line = json.dumps(message if number is None else message | {"id": number})
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def answer(self, number: int) -> dict[str, Any]:
        """Read up to the answer to this request."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))
            if self.lines[-1].get("id") == number:
                return self.lines[-1]
        raise AssertionError(f"the server ended without an answer to {number}")

    def hang_up(self) -> float:
        """Close the pipe, read the rest; how long the server then took to end, in seconds."""
        begun = time.monotonic()
        rest, _ = self._process.communicate(timeout=30)
        self.lines += [json.loads(line) for line in rest.splitlines()]
        assert self._process.returncode == 0
        return time.monotonic() - begun


def test_the_wire_holds_the_protocol_alone(settings: Settings, spool: Spool, tmp_path: Path) -> None:
    """JSON-RPC lines on stdout whatever prints; no token, no Discord code, no message's text in the log;
    and the message of a client that hangs up stays, while the server does not."""
    log, text = tmp_path / "log", "the text of the message"
    client = RawClient(settings, log)
    about = {"clientInfo": {"name": "raw", "version": "0"}, "capabilities": {}}
    client.say("initialize", 1, protocolVersion="2025-11-25", **about)
    assert "spoolbridge" == client.answer(1)["result"]["serverInfo"]["name"]
    client.say("notifications/initialized")
    client.say("tools/call", 2, name=SEND, arguments={"channel_name": "mayor-villa", "message": text})
    client.say("tools/call", 3, name=SEND, arguments={"channel_name": "nowhere", "message": text})
    assert client.answer(3)["result"]["isError"]
    assert client.hang_up() < mcp_server.PATIENCE - 1
    assert [text.encode()] == dropped(spool)
    assert all(each["jsonrpc"] == "2.0" and each["id"] in (1, 2, 3) for each in client.lines)
    *lines, last = log.read_text().splitlines()
    assert {"a stray print", "a stray write"} <= set(lines)
    assert any("dropped mayor-villa/" in line for line in lines)
    end = json.loads(last)
    assert "SPOOLBRIDGE_SPOOL" in end["environ"]
    assert "DISCORD_BOT_TOKEN" not in end["environ"]
    foreign = ("aiohttp", "watchdog", "spoolbridge.discord", "spoolbridge.service", "spoolbridge.emulator")
    assert [] == [each for each in end["modules"] if each.startswith(foreign)]
    assert end["kib"] < 80_000
    for hidden in (TOKEN, text):
        assert hidden not in log.read_text()
        assert hidden not in json.dumps(client.lines)


def test_the_configuration_for_clients_starts_the_command() -> None:
    """contrib/mcp.json names a command that the package installs, and holds no secret."""
    import tomllib

    project = Path(__file__).parents[2]
    servers = json.loads((project / "contrib" / "mcp.json").read_text())["mcpServers"]
    scripts = tomllib.loads((project / "pyproject.toml").read_text())["project"]["scripts"]
    assert ["spoolbridge"] == list(servers)
    assert servers["spoolbridge"]["command"] in scripts
    assert ["mcp"] == servers["spoolbridge"]["args"]
    assert {"type", "command", "args"} == servers["spoolbridge"].keys()


# --- sending, which the command line shares ----------------------------------------------------------


class Clock:
    """Seconds that pass in `sleep` alone; `then` happens at a given pause."""

    def __init__(self, then: dict[int, Callable[[], object]] | None = None) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self._then = then or {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        self._then.get(len(self.pauses), lambda: None)()


def drop(spool: Spool, settings: Settings, text: str = "hi", **options: Any) -> Entry:
    return sending.drop_message(spool, load(settings.channels), "mayor-villa", text, **options)


def test_waiting_looks_less_often_with_time_and_ends_in_time(settings: Settings, spool: Spool) -> None:
    """10 ms at first, 100 ms in the end, and not a moment beyond what was granted."""
    clock = Clock()
    entry = drop(spool, settings)
    assert entry == sending.wait_for(spool, entry, seconds=5, clock=lambda: clock.now, sleep=clock.sleep)
    assert pytest.approx(5.0) == clock.now
    assert (0.01, 0.1) == (clock.pauses[0], max(clock.pauses))
    assert clock.pauses[:-1] == sorted(clock.pauses[:-1])


def test_waiting_ends_with_the_outcome_wherever_the_entry_went(settings: Settings, spool: Spool) -> None:
    """An operator may move it to another channel meanwhile; it is the same entry."""
    entry = drop(spool, settings, name="my note")

    def move() -> None:
        (spool.root / "failed" / "vgt").mkdir()
        entry.path.rename(spool.root / "failed" / "vgt" / entry.name)

    clock = Clock({3: move})
    found = sending.wait_for(spool, entry, seconds=60, clock=lambda: clock.now, sleep=clock.sleep)
    assert ("failed", "vgt", entry.id, 3) == (found.state, found.channel, found.id, len(clock.pauses))
    assert "no reason is given" in sending.sentence(found)


def test_a_message_without_an_id_is_still_told_as_sent(spool: Spool) -> None:
    """Posted, and deleted by somebody before Discord said its ID: there is nothing to link to."""
    entry = Entry("ID", "vgt", "ID.md", "sent", spool.root / "ID.md", (0,), 1467106918538678293, GUILD)
    assert {"status", "id", "file", "channel"} == sending.answer(entry).keys()
    assert "sent to #vgt" == sending.sentence(entry)


def test_files_travel_in_a_bundle_under_harmless_names(settings: Settings, spool: Spool) -> None:
    """A name is never a path, and a text may be missing even where a rig speaks."""
    files = {"../../evil.txt": b"1", "chart.png": b"\x89PNG"}
    entry = drop(spool, settings, "", rig="villa", reply_to=MESSAGE, files=files)
    written = {path.name: path.read_bytes() for path in (entry.path / "files").iterdir()}
    assert {"_.._evil.txt": b"1", "chart.png": b"\x89PNG"} == written
    message = outgoing.parse(entry.name, (entry.path / "body").read_bytes(), written)
    assert ("", "villa", MESSAGE) == (message.text, message.options.rig, message.options.reply_to)
    assert not (drop(spool, settings, "", files=files).path / "body").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"files": {"half.part": b"x"}}, "another name"),
        ({"files": {"a:b": b"x", "a?b": b"y"}}, "two files"),
        ({"files": {str(number): b"x" for number in range(11)}}, "11 files"),
        ({"files": {"big": bytes(25 * 1024 * 1024 + 1)}}, "more than"),
        ({"reply_to": "latest"}, "an id"),
    ],
)
def test_what_the_service_would_refuse_is_refused_at_once(
    settings: Settings, spool: Spool, options: dict[str, Any], says: str
) -> None:
    """Before anything is dropped, in a sentence."""
    with pytest.raises(errors.MessageError, match=says):
        drop(spool, settings, **options)
    assert [] == spool.channels("outgoing")


def test_no_name_makes_an_entry_that_the_service_skips(settings: Settings, spool: Spool) -> None:
    """A name like a temporary file's would wait for ever."""
    assert drop(spool, settings, name="notes.tmp").name.endswith(".notes.tmp.txt")
    assert drop(spool, settings, name="notes.md").name.endswith(".notes.md")


def test_a_full_disk_is_an_expected_error(
    settings: Settings, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence that says that nothing was dropped, as true as it reads."""

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.SpoolError, match=r"No space left on device.*nothing was dropped"):
        drop(spool, settings)
    monkeypatch.undo()
    assert [] == dropped(spool)
    assert [] == spool.names("tmp")


def test_sending_starts_fast() -> None:
    """`spoolbridge send` is waited for: nothing slow is imported."""
    slow = ("aiohttp", "mcp", "watchdog", "pydantic", "asyncio", "filelock", "logging")
    code = f"import sys, spoolbridge.sending; print([each for each in {slow} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
