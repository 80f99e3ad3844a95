"""The bot's token is in no output: real services through success and every kind of trouble, and then every
byte that they and the commands have left is searched for it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from spoolbridge.emulator import Emulator
from spoolbridge.spool import Spool
from tests.support.programs import PATIENCE, Running, ran
from tests.support.waiting import until

MESSAGES = "/channels/{channel}/messages"
TOKEN = "MTU3Mzg1MDUwMDMwMDgwMDAwMA.Gabcde.nowhere-to-be-seen-in-any-byte-of-it-1"
#: By what it is recognised, also where a part of it was cut off or changed.
PIECES = ("nowhere-to-be-seen", "MTU3Mzg1MDUwMDMw")
COMMANDS = (
    ["status"], ["status", "--json"], ["doctor"], ["doctor", "--json", "--offline"], ["failed", "list"],
    ["failed", "list", "--json"], ["log"], ["log", "--json"], ["audit"], ["channels", "list"],
    ["inbox"],
)  # fmt: skip

PAGES = ("/", "/state.json", "/metrics", "/healthz")


class World:
    """An imaginary guild that has this token, a spool, and what is started on them."""

    def __init__(self, emulator: Emulator, root: Path) -> None:
        self.emulator, self.root = emulator, root
        self.spool = Spool.create(root / "spool")
        ids = {name: str(emulator.add_channel(name)) for name in ("general", "mayor-villa")}
        (self.spool.root / "discord-channels.json").write_text(json.dumps(ids))
        (root / "tmp").mkdir()

    @property
    def env(self) -> dict[str, str]:
        return {
            "DISCORD_BOT_TOKEN": TOKEN, "SPOOLBRIDGE_API_URL": self.emulator.api_url,
            "SPOOLBRIDGE_SPOOL": str(self.spool.root), "SPOOLBRIDGE_POLL_INTERVAL": "0.1",
            "TMPDIR": str(self.root / "tmp"),
        }  # fmt: skip

    def failed(self, channel: str = "general") -> list[str]:
        return [name for name in self.spool.names(f"failed/{channel}") if not name.endswith(".why")]

    async def said(self, *arguments: str, **env: str) -> str:
        """All that a command writes."""
        ended = await asyncio.to_thread(ran, *arguments, cwd=self.root, env=self.env | env)
        return f"{ended.out}{ended.err}"

    def holding(self) -> list[str]:
        """The files whose name or content holds a piece of the token, but for what was dropped with it."""
        found = []
        for path in sorted(self.root.rglob("*")):
            where = str(path.relative_to(self.root))
            data = path.read_bytes() if path.is_file() else b""
            dropped = path.parts[-3] == "failed" and path.suffix != ".why"
            if path.parent.name == "files":  # within a bundle
                continue
            in_content = not dropped and any(piece.encode() in data for piece in PIECES)
            if in_content or any(piece in path.name for piece in PIECES):
                found.append(where)
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Emulator(limits=False, token=TOKEN).serve() as emulator:
        made = World(emulator, tmp_path)
        yield made
        made.spool.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def fetched(url: str) -> str:
    """What the page answers, its headers too."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return f"{answer.headers}\n{answer.read().decode()}"
    except urllib.error.HTTPError as error:  # not well: 503 with the reason
        return f"{error.headers}\n{error.read().decode()}"


def told(text: str) -> list[str]:
    """The pieces of the token that a text holds."""
    return [piece for piece in PIECES if piece in text]


async def everything_dropped(world: World) -> None:
    """Good messages, and the token wherever somebody may write it."""
    spool = world.spool
    spool.drop("general", b"hello")
    spool.drop("general", f"the token is {TOKEN}".encode())
    spool.drop("general", b"hi", name=f"for-{TOKEN}.md")
    spool.drop("general", None, files={f"{TOKEN}.png": b"\x89PNG\0"})
    for line in (TOKEN, f"Reply-To: {TOKEN}", f"Silent: {TOKEN}", f"Rig: {TOKEN}"):
        spool.drop("general", f"Spoolbridge: 1\n{line}\n\nhi".encode())
    await until(lambda: len(world.failed()) == 6, PATIENCE)
    world.emulator.say("mayor-villa", "hello")
    await until(lambda: any((spool.root / "incoming" / "mayor-villa" / "new").iterdir()), PATIENCE)


@pytest.mark.timeout(180)
async def test_it_is_in_no_byte_that_is_left(world: World) -> None:
    """Through success, drops that hold it, proxies that show request heads, errors that quote it, answers
    that are no JSON, and time-outs: in the log, in the whole spool, and in what each command says."""
    quoting = json.dumps({"message": f"Bot {TOKEN} may not do this", "code": 50035})
    page = f"<html>Bad Gateway<pre>Authorization: Bot {TOKEN}</pre></html>"
    address = f"127.0.0.1:{free_port()}"
    with Running("run", "--log", "bridge.log", "--http", address, cwd=world.root, env=world.env) as running:
        await until((world.spool.root / "outgoing" / "general").is_dir, PATIENCE)
        await everything_dropped(world)
        world.emulator.fail(method="POST", route=MESSAGES, kind="body", status=502, text=page)
        world.spool.drop("general", b"behind a proxy")
        await until(lambda: "behind a proxy" in str(world.emulator.messages("general")), PATIENCE)
        world.emulator.fail(method="POST", route=MESSAGES, kind="body", status=200, text=f'{{"id": "{TOKEN}"')
        world.emulator.fail(method="POST", route=MESSAGES, kind="body", status=400, text=quoting)
        for text in (b"not JSON", b"quoted"):
            world.spool.drop("general", text)
        await until(lambda: len(world.failed()) == 7, PATIENCE)
        said = [await world.said(*command) for command in COMMANDS]
        said += [await asyncio.to_thread(fetched, f"http://{address}{path}") for path in PAGES]
        running.process.send_signal(signal.SIGTERM)
        await until(lambda: running.process.poll() is not None, PATIENCE)
        assert 0 == running.process.returncode
        said += [running.out, running.err]
    said += [await world.said(*command) for command in COMMANDS]
    said += [await world.said("failed", "show", name) for name in world.failed()]
    said += [await world.said("log", name) for name in world.failed()]
    assert [] == [text for text in said if told(text)]
    assert [] == world.holding()
    assert "token" in (world.root / "bridge.log").read_text()  # it was spoken of, and masked


async def test_a_name_that_is_the_token(world: World) -> None:
    """Directories and files directly in outgoing/ have names that the service did not make: they stand in no
    log, no reason and no list for people. What is for programs has to name a directory as it is called."""
    outgoing, failed = world.spool.root / "outgoing", world.spool.root / "failed"
    (outgoing / f"x {TOKEN}").mkdir()
    (outgoing / f"x {TOKEN}" / f"20261122T055501.123456Z-k3f9q2x7.{TOKEN}").write_text("hi")
    (outgoing / f"stray {TOKEN}").write_text("hi")
    with Running("run", cwd=world.root, env=world.env) as running:
        await until(lambda: running.err.count("failed:") + running.err.count("refused:") >= 2, PATIENCE)
        people = [command for command in COMMANDS if "--json" not in command]
        said = [await world.said(*command) for command in people]
        said.append((world.spool.root / "state" / "STATUS").read_text())
        running.process.send_signal(signal.SIGTERM)
        await until(lambda: running.process.poll() is not None, PATIENCE)
    assert [] == [text for text in (running.err, running.out, *said) if told(text)]
    files = [path for path in failed.rglob("*") if path.is_file()]
    assert 4 == len(files)
    assert [] == [path.name for path in files if told(path.name)]
    assert [] == [path.name for path in files if told(path.read_text())]


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"DISCORD_BOT_TOKEN": f"{TOKEN}x"}, "Discord refuses the token (401)"),
        ({"DISCORD_BOT_TOKEN": f"{TOKEN}\nX-More: 1"}, "spoolbridge: "),
        ({"DISCORD_BOT_TOKEN": f"{TOKEN}é"}, "spoolbridge: "),
        ({"DISCORD_GUILD_ID": TOKEN}, "DISCORD_GUILD_ID cannot be"),
        ({"SPOOLBRIDGE_API_URL": f"http://127.0.0.1:9/{quote(TOKEN)}"}, "Discord does not answer"),
    ],
    ids=["refused", "two lines", "not ASCII", "elsewhere", "in the address"],
)
async def test_a_start_that_fails(world: World, env: dict[str, str], says: str) -> None:
    """In the sentence that it ends with, in the log, and in what a bug leaves to be attached to a report."""
    with Running("run", cwd=world.root, env=world.env | env) as running:
        await until(lambda: says in running.err or running.process.poll() is not None, PATIENCE)
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
        await until(lambda: running.process.poll() is not None, PATIENCE)
    assert says in running.err
    texts: list[Callable[[], str]] = [lambda: running.err, lambda: running.out]
    assert [] == [text() for text in texts if told(text())]
    assert [] == [command for command in COMMANDS if told(await world.said(*command, **env))]
    assert [] == world.holding()
