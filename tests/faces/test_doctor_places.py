"""The doctor about the machine: its disk, rights, strays, agents' files, programs; and what --fix does."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spoolbridge import __version__, cli, doctor, lock, status
from spoolbridge.doctor import discord, machine, mounts
from spoolbridge.emulator import Emulator
from spoolbridge.findings import Finding
from spoolbridge.settings import Settings
from spoolbridge.spool import DIRECTORIES, Spool
from tests.support.clock import FakeClock
from tests.support.tree import tree

TOKEN = "MTIz.not-a-real-token.abc"
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away: run the tests as root")


@pytest.fixture
def proc(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel's directory in which nothing runs and nothing is mounted."""
    made = tmp_path_factory.mktemp("proc")
    monkeypatch.setattr(machine, "PROC", made)
    monkeypatch.setattr(mounts, "MOUNTINFO", made / "mountinfo")
    return made


@pytest.fixture(autouse=True)
def _told_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of these tests is what it has written: the kernel is not asked whether it lives."""
    monkeypatch.setattr(lock, "is_held", lambda spool: None)


@pytest.fixture
def settings(spool: Spool, proc: Path) -> Settings:
    """A bridge in which all is well, seen a moment after its service wrote how it stands."""
    path = spool.root / "discord-channels.json"
    path.write_text('{"mayor-villa": "1467106918538678293", "general": "1467106918538678294"}')
    for channel in ("mayor-villa", "general"):
        spool.add_channel(channel)
    status.write(spool, {"at": time.time(), "since": time.time(), "pid": 1, "version": __version__})
    return Settings(spool=spool.root, channels=path, inbox=spool.root / "inbox.jsonl", token=TOKEN)


def found(settings: Settings) -> list[tuple[str, str, str]]:
    """Level, what and do of each finding of the files."""
    return [(each.level, each.what, each.do) for each in doctor.offline(settings)]


def only(settings: Settings) -> Finding:
    [finding] = doctor.offline(settings)
    return finding


@pytest.fixture
def later(settings: Settings, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The same bridge, looked at two minutes after the test has changed something."""
    now = time.time() + 120
    status.write(spool, {"at": now, "since": now, "pid": 1, "version": __version__})
    monkeypatch.setattr(time, "time", lambda: now)
    yield settings


# --- the disk ----------------------------------------------------------------------------------------


def test_a_healthy_bridge(settings: Settings) -> None:
    """Nothing to find; every test below takes one thing away."""
    assert [] == found(settings)


def test_a_file_system_that_will_not_do(settings: Settings, proc: Path) -> None:
    """Told with what is lost there."""
    mountinfo = f"22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 0:9 / {settings.spool.parent} rw - {{}} x rw\n"
    (proc / "mountinfo").write_text(mountinfo.format("nfs4"))
    do = "put the spool on a disk of this machine"
    assert [("warning", f"{settings.spool} lies on nfs4", do)] == found(settings)
    (proc / "mountinfo").write_text(mountinfo.format("xfs"))
    assert [] == found(settings)


@pytest.mark.parametrize("name", ["tmp", "state", "sent"])
def test_a_directory_is_lost(settings: Settings, name: str) -> None:
    """Not called no spool at all: what is still there is not to be made anew; --fix makes it as it was."""
    place = settings.spool / name
    mode = stat.S_IMODE(place.stat().st_mode)
    for each in sorted(place.rglob("*"), reverse=True):
        each.unlink()
    place.rmdir()
    finding = only(settings)
    assert ("error", f"{settings.spool} lacks {name}/") == (finding.level, finding.what)
    assert [f"mended: {finding.what}"] == doctor.fix(settings)
    assert mode == stat.S_IMODE(place.stat().st_mode)
    assert not [each for each in found(settings) if each[0] == "error"]
    assert [] == doctor.fix(settings)


def test_what_is_no_spool_is_not_made_one(settings: Settings, tmp_path: Path) -> None:
    """A directory that happens to have a tmp/ stays as it is."""
    (tmp_path / "elsewhere" / "tmp").mkdir(parents=True)
    wrong = settings._replace(spool=tmp_path / "elsewhere")
    assert "no spool at" in only(wrong).what
    assert [] == doctor.fix(wrong)
    assert ["tmp"] == os.listdir(tmp_path / "elsewhere")


@as_root
def test_a_lost_directory_is_made_for_the_spools_owner(settings: Settings) -> None:
    """Made by root for a service that is not root, it would be useless."""
    for place in (settings.spool, *settings.spool.rglob("*")):
        os.chown(place, NOBODY, NOBODY)
    (settings.spool / "tmp").rmdir()
    doctor.fix(settings)
    made = (settings.spool / "tmp").stat()
    assert (NOBODY, NOBODY, 0o2770) == (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode))


@pytest.mark.parametrize("mode", [0o2755, 0o2770, 0o0777])
def test_a_state_that_others_may_enter(settings: Settings, mode: int) -> None:
    """Others may read what was sent, or have it sent again; --fix closes it."""
    state = settings.spool / "state"
    state.chmod(mode)
    mine = [each for each in doctor.offline(settings) if "is open to others" in each.what]
    assert [f"chmod 2750 {state}"] == [each.do for each in mine]
    assert f"mended: {mine[0].what}" in doctor.fix(settings)
    assert 0o2750 == stat.S_IMODE(state.stat().st_mode)
    assert [] == found(settings)


def test_a_box_that_everybody_may_write(settings: Settings) -> None:
    """Named in one command; where nobody else can come so far it does not matter."""
    boxes = [settings.spool / "outgoing" / name for name in ("general", "mayor-villa")]
    for box in boxes:
        box.chmod(0o2777)
    settings.spool.chmod(0o2770)
    assert [] == found(settings)
    settings.spool.chmod(0o2771)
    what = f"{boxes[0]} and 1 more can be written by everybody"
    assert [("warning", what, f"chmod o-w {boxes[0]} {boxes[1]}")] == found(settings)


def test_a_box_that_does_not_pass_on_its_group(settings: Settings) -> None:
    """The service of another user could not read what is dropped there."""
    box = settings.spool / "outgoing" / "general"
    box.chmod(0o0770)
    assert [("note", f"{box} not passing on the group (setgid)", f"chmod g+s {box}")] == found(settings)


@as_root
@pytest.mark.parametrize(("mode", "shared"), [(0o2770, True), (0o2750, False), (0o3770, False)])
def test_a_box_of_another_user(settings: Settings, mode: int, shared: bool) -> None:
    """Fine where the group may write; not where it may not, or where only owners may rename (sticky)."""
    box = settings.spool / "outgoing" / "general"
    os.chown(box, NOBODY, -1)
    box.chmod(mode)
    owner = "root"
    what = f"{box} belongs to nobody, the spool to {owner}"
    assert ([] if shared else [("error", what, f"chown {owner} {box}")]) == found(settings)


@contextmanager
def nobody(*doors: Path) -> Iterator[None]:
    """A user in none of the spool's groups, who may come as far as these doors."""
    for place in (each for door in doors for each in (door, *door.parents)):
        if not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@as_root
def test_a_user_who_may_not_look(settings: Settings, proc: Path) -> None:
    """Is told whose group to join, and is not told that nothing runs."""
    proc.chmod(0o755)
    with nobody(settings.spool, proc):
        finding = only(settings)
    assert f"nobody may not look into {settings.spool}" == finding.what
    assert "sudo usermod -aG root nobody, then log in again" == finding.do


@as_root
@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["failed", "list"], ["inbox"]])
def test_a_command_of_a_user_who_may_not_look(settings: Settings, words: list[str]) -> None:
    """Is refused in one line, and is no bug to be reported."""
    with CliRunner().isolation():
        assert 0 == cli.run(words)  # and has imported what that user may not read
    with CliRunner().isolation() as (out, err, _), nobody(settings.spool):
        code = cli.run(words)
        sys.stderr.flush()
        told = err.getvalue().decode()
    assert (1, b"") == (code, out.getvalue())
    assert told.startswith("spoolbridge: this user may not use ")
    assert told.endswith("; join the group that owns the spool, or see: spoolbridge doctor\n")


def test_a_box_that_is_a_link(settings: Settings, tmp_path: Path) -> None:
    """No service looks through it."""
    (tmp_path / "elsewhere").mkdir()
    box = settings.spool / "outgoing" / "vgt"
    box.symlink_to(tmp_path / "elsewhere")
    assert [("warning", f"{box} is a link", f"rm {box}, and drop into outgoing/ itself")] == found(settings)


# --- what lies in it ---------------------------------------------------------------------------------


def test_a_box_of_no_channel(settings: Settings, spool: Spool) -> None:
    """Empty, it will be a trap; with something in it, somebody has fallen in."""
    spool.add_channel("old")
    box = spool.root / "outgoing" / "old"
    what = f"{box} is the drop box of no channel"
    do = f"rmdir {box}, or add the channel to the channels file"
    assert [("note", what, do)] == found(settings)
    (box / "note").write_text("hi")
    assert [("warning", what)] == [each[:2] for each in found(settings)]
    settings.channels.write_text("{,")
    assert what not in [each[1] for each in found(settings)]


def test_all_channels_on_hold(settings: Settings) -> None:
    """The hold that is seen in no channel."""
    (settings.spool / "outgoing" / ".hold").touch()
    assert [("note", "every channel is on hold", "spoolbridge resume")] == found(settings)


def test_strays(later: Settings) -> None:
    """A file where nothing is looked for is told with the move that was meant; what belongs there is not."""
    root = later.spool
    for name in ("inbox.jsonl", "inbox.jsonl.1", "inbox-20261122.jsonl", ".gitignore", "spoolbridge.toml"):
        (root / name).write_text("")
    (root / "lost+found").mkdir()
    assert [] == found(later)
    for name in ("note to all", "outgoing/note", "sending/general/note"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("hi")
    assert [
        ("note", f"{root}/note to all is nothing of the spool's",
         f"mv '{root}/note to all' {root}/outgoing/CHANNEL/ if it is a message"),
        ("note", f"{root}/outgoing/note lies in no channel",
         f"mv {root}/outgoing/note {root}/outgoing/CHANNEL/"),
        ("note", f"{root}/sending/general/note has no ID",
         f"mv {root}/sending/general/note {root}/outgoing/general/"),
    ] == found(later)  # fmt: skip


def test_a_stray_that_was_just_made(settings: Settings) -> None:
    """May be on its way."""
    (settings.spool / "note").write_text("hi")
    assert [] == found(settings)


# --- the service -------------------------------------------------------------------------------------


def test_somebody_holds_the_spool_and_says_nothing(settings: Settings, spool: Spool) -> None:
    """A service that waits for Discord, or hangs: to say that none runs would make people start another."""
    (spool.root / "state" / status.FILE).unlink()
    with lock.holding(spool):
        finding = only(settings)
        assert f"process {os.getpid()} holds the spool, and says nothing" == finding.what
        assert f"kill {os.getpid()}" in finding.do
    assert "the service does not run" == only(settings).what


def test_another_version_serves(settings: Settings, spool: Spool) -> None:
    """It was updated, and nobody started it again."""
    status.write(spool, {"at": time.time(), "since": 0.0, "pid": 1, "version": "0.0.1"})
    what = f"the service is spoolbridge 0.0.1, and this command {__version__}"
    assert [("warning", what, "start the service again")] == found(settings)


def test_many_requests_are_refused(settings: Settings, spool: Spool) -> None:
    """Long before Discord bans the address."""
    for count, told in ((249, 0), (250, 1)):
        discord = {"invalid_requests": count}
        status.write(spool, {"at": time.time(), "since": 0.0, "pid": 1, "discord": discord})
        assert told == len([each for each in found(settings) if "refused 250 requests" in each[1]])


@pytest.mark.parametrize(
    ("limit", "words", "mends"),
    [
        ("max_inotify_watches", "inotify watch limit reached", "fs.inotify.max_user_watches="),
        ("max_inotify_instances", "inotify instance limit reached", "fs.inotify.max_user_instances="),
    ],
)
def test_a_machine_that_grants_no_watches(
    settings: Settings, spool: Spool, tmp_path: Path, limit: str, words: str, mends: str
) -> None:
    """Asked of the kernel itself while no service runs, and with the setting that lifts it."""
    (spool.root / "state" / status.FILE).unlink()
    script = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    program = [str(Path(sys.executable).with_name("spoolbridge")), "doctor", "--offline", "--json"]
    unshared = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    done = subprocess.run([*unshared, *program], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    if "unshare" in done.stderr:
        pytest.skip("no user namespaces for this user: run the tests as root")
    told = {each["what"]: each["do"] for each in map(json.loads, done.stdout.splitlines())}
    assert mends in told[f"no file system events ({words}); scanning instead"]


# --- the machine -------------------------------------------------------------------------------------


def test_a_poller_that_still_runs(settings: Settings, proc: Path, tmp_path: Path) -> None:
    """A real process, as the kernel shows it; not one that only has the name among its words."""
    script = tmp_path / "discord-callback.py"
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen([sys.executable, script, "--daemon"], stdout=subprocess.PIPE) as poller:
        assert poller.stdout is not None
        assert b"here\n" == poller.stdout.readline()
        with subprocess.Popen(["sleep", "60", script], stderr=subprocess.DEVNULL):
            own = [each for each in machine.pollers(Path("/proc")) if f" {poller.pid} " in each.what]
            poller.kill()
    assert [f"process {poller.pid} runs discord-callback.py"] == [each.what for each in own]
    assert own[0].do.startswith(f"kill {poller.pid}, ")


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["python3", "/gt/scripts/discord-callback.py"], True),
        (["/usr/bin/python3.12", "-u", "discord-callback.py", "--once"], True),
        (["uv", "run", "discord-callback.py"], True),
        (["./discord-callback.py"], True),
        (["vim", "discord-callback.py"], False),
        (["tail", "-f", "discord-callback.py"], False),
        (["python3", "discord-callback.py.bak"], False),
        ([""], False),
    ],
)
def test_what_runs_the_poller(settings: Settings, proc: Path, words: list[str], runs: bool) -> None:
    """An interpreter with the script, or the script itself; nobody who edits it."""
    (proc / "4711").mkdir()
    (proc / "4711" / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    (proc / "4712").mkdir()  # it has ended meanwhile
    told = [each for each in found(settings) if each[0] == "error"]
    assert (["process 4711 runs discord-callback.py"] if runs else []) == [what for _, what, _ in told]


def test_packages_that_do_not_fit() -> None:
    """Missing, too old, too new; extras are nobody's business."""
    there = {"aiohttp": "3.9.5", "click": "9.0.1", "filelock": "4.2", "watchdog": "7.1.0.post1"}

    def installed(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    wanted = [
        "aiohttp<4,>=3.14", "click<9,>=8.5", "filelock<5,>=4.2.0", "mcp<3,>=2.3", "watchdog<8,>=7.1",
        "pytest>=9; extra == 'dev'",
    ]  # fmt: skip
    assert [
        ("aiohttp 3.9.5", "pip install 'aiohttp<4,>=3.14', then start the service again"),
        ("click 9.0.1", "pip install 'click<9,>=8.5', then start the service again"),
        ("mcp is missing", "pip install 'mcp<3,>=2.3', then start the service again"),
    ] == [(each.what, each.do) for each in machine.packages(wanted, installed)]


def test_a_python_that_does_not_fit() -> None:
    """By numbers: 3.9 is older than 3.11."""
    assert [] == [*machine.python("3.11.0", ">=3.11")]
    [finding] = machine.python("3.9.19", ">=3.11")
    assert "this is Python 3.9.19, and spoolbridge is for >=3.11" == finding.what


# --- what agents are told ----------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `spoolbridge` on PATH."""
    made = tmp_path / "bin" / "spoolbridge"
    made.parent.mkdir()
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", str(made.parent))
    return made


def told_agents(place: Path, **servers: Any) -> None:
    (place / ".mcp.json").write_text(json.dumps({"mcpServers": servers}))


def test_an_entry_that_works(settings: Settings, program: Path, tmp_path: Path) -> None:
    """As contrib/mcp.json has it, with or without the spool named; and servers of other things."""
    ours = {"type": "stdio", "command": "spoolbridge", "args": ["mcp"]}
    environment = settings._replace(environment={"PATH": str(program.parent)})
    for entry in (ours, {**ours, "env": {"SPOOLBRIDGE_SPOOL": "spool"}}, {**ours, "command": str(program)}):
        told_agents(tmp_path, spoolbridge=entry, files={"command": "npx", "args": ["files"]})
        assert [] == found(environment)
    told_agents(tmp_path, spoolbridge={**ours, "command": "${HOME}/spoolbridge"})
    assert [] == found(environment)


def test_a_command_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    """By the PATH that the entry itself gives, too."""
    file = tmp_path / ".mcp.json"
    told_agents(tmp_path, bridge={"command": "/opt/spoolbridge", "args": ["mcp"]})
    assert f"'bridge' of {file} cannot be started: no '/opt/spoolbridge'" == only(settings).what
    told_agents(tmp_path, bridge={"command": "spoolbridge", "args": ["mcp"], "env": {"PATH": "/nowhere"}})
    finding = only(settings)
    assert ("error", f"'bridge' of {file} cannot be started: no 'spoolbridge'") == (
        finding.level, finding.what,
    )  # fmt: skip


def test_an_entry_for_another_spool(settings: Settings, program: Path, tmp_path: Path) -> None:
    """Named, or meant by where the client starts it: a town's own file leads to the town's own spool."""
    here = settings._replace(environment={"PATH": str(program.parent)})
    entry = {"command": "spoolbridge", "args": ["mcp"], "env": {"SPOOLBRIDGE_SPOOL": "elsewhere"}}
    told_agents(tmp_path, spoolbridge=entry)
    do = f'write "env": {{"SPOOLBRIDGE_SPOOL": "{settings.spool}"}}'
    uses = f"uses the spool {tmp_path}/elsewhere, and not {settings.spool}"
    what = f"'spoolbridge' of {tmp_path}/.mcp.json {uses}"
    assert [("warning", what, do)] == found(here)


def test_a_server_beside_the_bridge(settings: Settings, tmp_path: Path) -> None:
    """By its name, its script or its token, which is not shown; in the town's files as well."""
    town = tmp_path / "town"
    (town / "mayor").mkdir(parents=True)
    token = "MTIz.somebodys-token.abc"
    told_agents(tmp_path, chat={"command": "python3", "args": ["scripts/discord_mcp.py"]})
    told_agents(town, discord={"command": "npx", "args": ["chat"]})
    told_agents(town / "mayor", chat={"command": "x", "env": {"DISCORD_BOT_TOKEN": token}})
    findings = doctor.offline(settings._replace(town=town, gt="off"))
    assert [
        f"'chat' of {tmp_path}/.mcp.json talks to Discord beside the bridge",
        f"'discord' of {town}/.mcp.json talks to Discord beside the bridge",
        f"'chat' of {town}/mayor/.mcp.json talks to Discord beside the bridge",
    ] == [each.what for each in findings]
    assert token not in str(findings)


def test_a_token_in_an_agents_file(settings: Settings, program: Path, tmp_path: Path) -> None:
    """The tools need none."""
    env = {"DISCORD_BOT_TOKEN": TOKEN}
    told_agents(tmp_path, bridge={"command": str(program), "args": ["mcp"], "env": env})
    finding = only(settings)
    assert f"'bridge' of {tmp_path}/.mcp.json holds the token" == finding.what
    assert TOKEN not in str(finding)


@pytest.mark.parametrize("text", ["{,", "[]", '{"mcpServers": []}', '{"mcpServers": {"a": 1, "b": {}}}'])
def test_a_file_of_agents_that_is_none(settings: Settings, tmp_path: Path, text: str) -> None:
    """JSON of another form is somebody else's; what is no JSON is told."""
    (tmp_path / ".mcp.json").write_text(text)
    expected = [f"{tmp_path}/.mcp.json cannot be read as JSON"] if text == "{," else []
    assert expected == [what for _, what, _ in found(settings)]


# --- the way to Discord ------------------------------------------------------------------------------


async def test_the_name_cannot_be_looked_up() -> None:
    """The resolver's words, and what to try."""

    async def look_up(host: str, port: int) -> None:
        assert ("discord.com", 443) == (host, port)
        raise OSError(-2, "Name or service not known")

    finding = await discord._way("https://discord.com/api/v10", look_up)
    assert finding is not None
    what = "no connection to Discord: the name discord.com cannot be looked up (Name or service not known)"
    assert (what, True) == (finding.what, finding.do.endswith("getent hosts discord.com"))


async def test_nobody_listens(settings: Settings) -> None:
    """The address and the port, as a firewall's rule would name them."""
    async with Emulator(token=TOKEN).serve() as emulator:
        address = emulator.api_url
    port = address.split(":")[2].partition("/")[0]
    [finding] = await doctor.online(settings._replace(api_url=address))
    assert f"no connection to Discord: 127.0.0.1, port {port} (" in finding.what
    assert finding.do.startswith(f"let port {port} out of the firewall")


async def test_no_tls(settings: Settings) -> None:
    """Somebody listens, and does not speak TLS: a proxy, or a wrong address."""
    async with Emulator(token=TOKEN).serve() as emulator:
        address = emulator.api_url.replace("http://", "https://")
        [finding] = await doctor.online(settings._replace(api_url=address))
    assert "no connection to Discord: no TLS with 127.0.0.1 (" in finding.what


@pytest.mark.parametrize(("off", "words"), [(-60, "ahead of"), (60, "behind")])
async def test_a_wrong_clock(settings: Settings, off: float, words: str) -> None:
    """By the date of Discord's answers; a few seconds are nothing to speak of."""
    for seconds in (off, off / 20):
        clock = FakeClock(time.time() + seconds)
        async with Emulator(token=TOKEN, limits=False, clock=clock).serve() as it:
            ids = {name: str(it.add_channel(name)) for name in ("mayor-villa", "general")}
            settings.channels.write_text(json.dumps(ids))
            findings = await doctor.online(settings._replace(api_url=it.api_url))
        told = [each.what for each in findings]
        if seconds == off:
            assert 1 == len(told)
            assert told[0].startswith("this clock is ")
            assert told[0].endswith(f" s {words} Discord's")
        else:
            assert [] == told


# --- the command -------------------------------------------------------------------------------------


def said(*arguments: str, **env: str) -> tuple[int, str, str]:
    with CliRunner().isolation(env={"DISCORD_BOT_TOKEN": TOKEN, **env}, color=True) as (out, err, _):
        code = cli.run(["doctor", "--offline", *arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        return code, out.getvalue().decode(), err.getvalue().decode()


def test_fix_says_each_act_and_does_nothing_else(settings: Settings, tmp_path: Path) -> None:
    """Modes and lost directories; a hold and a stray box are left to people. Twice is once."""
    (tmp_path / ".env").write_text("SPOOLBRIDGE_GT=off\n")
    (tmp_path / ".env").chmod(0o644)
    (settings.spool / "tmp").rmdir()
    (settings.spool / "state").chmod(0o2755)
    (settings.spool / "outgoing" / "old").mkdir()
    (settings.spool / "outgoing" / "general" / ".hold").touch()
    before = tree(tmp_path)
    code, out, err = said("--fix")
    assert (0, "") == (code, err)
    mended = [line for line in out.splitlines() if line.startswith("mended: ")]
    assert [
        f"mended: {tmp_path}/.env can be read by others",
        f"mended: {settings.spool} lacks tmp/",
        f"mended: {settings.spool}/state is open to others (mode 2755)",
    ] == mended
    assert before == tree(tmp_path)
    assert (settings.spool / "outgoing" / "old").is_dir()
    assert set(DIRECTORIES) <= set(os.listdir(settings.spool))
    again = said("--fix")
    assert (0, 0) == (again[0], again[1].count("mended"))


def test_fix_for_programs(settings: Settings, tmp_path: Path) -> None:
    """Standard output holds findings alone; which ones could be mended is told without --fix."""
    (tmp_path / ".env").write_text("SPOOLBRIDGE_GT=off\n")
    (tmp_path / ".env").chmod(0o644)
    [finding] = [json.loads(line) for line in said("--json")[1].splitlines()]
    assert finding["fixable"]
    assert (0, "", f"mended: {finding['what']}\n") == said("--fix", "--json")


@pytest.mark.parametrize("linked", [Path.symlink_to, Path.hardlink_to])
def test_fix_touches_nothing_through_a_link(settings: Settings, tmp_path: Path, linked: Any) -> None:
    """An .env that is another file's name is told, and its mode left to people: it may be anybody's file."""
    (tmp_path / "somebodys").write_text("SPOOLBRIDGE_GT=off\n")
    (tmp_path / "somebodys").chmod(0o644)
    linked(tmp_path / ".env", tmp_path / "somebodys")
    assert ("can be read by others" in only(settings).what, None) == (True, only(settings).mend)
    assert [] == doctor.fix(settings)
    assert 0o644 == stat.S_IMODE((tmp_path / "somebodys").stat().st_mode)


def test_what_cannot_be_mended_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stays a finding."""
    (settings.spool / "state").chmod(0o2755)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    _, out, _ = said("--fix")
    assert "cannot mend: " in out
    assert "(Operation not permitted)" in out
    assert "is open to others" in out.splitlines()[-3]


def test_colours(settings: Settings, tmp_path: Path) -> None:
    """On a terminal alone, and not where NO_COLOR is set."""
    settings.channels.unlink()
    assert "\x1b[31m" in said()[1]
    assert "\x1b" not in said(NO_COLOR="1")[1]
    program = [str(Path(sys.executable).with_name("spoolbridge")), "doctor", "--offline"]
    piped = subprocess.run(program, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert b"\x1b" not in piped.stdout


def test_what_is_asked_of_the_kernel_is_given_back(settings: Settings, spool: Spool) -> None:
    """The watches that a service would have are had for an instant: no descriptor and no thread stays."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    (spool.root / "state" / status.FILE).unlink()
    before = held()
    assert "the service does not run" == only(settings).what
    assert before == held()
