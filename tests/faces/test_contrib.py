"""What lies in contrib/ works as it is: the unit, the shell dropper, the sample files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from spoolbridge import __version__, access, channels, identity, outgoing, pulse, ready, settings
from spoolbridge.cli import program
from spoolbridge.intake import Intake
from spoolbridge.mail import checked_routes
from spoolbridge.mcp_server import schemas as mcp_schemas
from spoolbridge.spool import Spool
from tests.support.programs import PROGRAM, Ended, ran
from tests.support.tree import contents, tree

CONTRIB = Path(__file__).parents[2] / "contrib"
UNITS = [CONTRIB / "spoolbridge.service", CONTRIB / "spoolbridge-system.service"]
MOST_EXPOSED = 2.0  # of 10; systemd 252 gives 1.7
DROP = CONTRIB / "spool-drop.sh"
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


@pytest.fixture(params=UNITS, ids=["user", "system"])
def unit(request: pytest.FixtureRequest) -> Path:
    """Each of the two."""
    path: Path = request.param
    return path


def service(unit: Path) -> dict[str, list[str]]:
    """What a unit's section [Service] sets; a key may stand there twice."""
    section = unit.read_text("utf-8").partition("\n[Service]\n")[2].partition("\n[")[0]
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_a_unit_says_what_the_exit_codes_mean(unit: Path) -> None:
    """Restarted after a bug or a kill, never after an error that only a person can mend, nor for usage."""
    said = service(unit)
    assert (["on-failure"], ["1 2"]) == (said["Restart"], said["RestartPreventExitStatus"])
    assert ["run"] == [each.rpartition("/.venv/bin/spoolbridge ")[2] for each in said["ExecStart"]]


def test_a_unit_knows_when_it_serves_and_when_it_hangs(unit: Path) -> None:
    """What the service tells is listened to, and it can be told often enough."""
    said = service(unit)
    assert (["notify"], ["2min"]) == (said["Type"], said["WatchdogSec"])
    assert pulse.EVERY < 60


def test_a_unit_forbids_nothing_that_the_bridge_needs(unit: Path) -> None:
    """Setgid directories are what the spool is made of, and gt's programs compile as they run."""
    said = service(unit)
    assert ["yes"] == said["NoNewPrivileges"]
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(said["RestrictAddressFamilies"][0].split())
    assert set() == {"RestrictSUIDSGID", "MemoryDenyWriteExecute", "PrivateUsers"} & set(said)


def analyze(*arguments: str, home: Path) -> Ended:
    """What systemd-analyze says."""
    program = shutil.which("systemd-analyze")
    if program is None:
        assert "CI" not in os.environ, "systemd-analyze is missing"
        pytest.skip("needs systemd-analyze: apt-get install -y systemd")
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [program, *arguments], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def placed(unit: Path, home: Path) -> Path:
    """The unit with a program where it looks for one, which `verify` asks for."""
    (program,) = service(unit)["ExecStart"]
    there = home / "spoolbridge" / ".venv" / "bin" / "spoolbridge"
    there.parent.mkdir(parents=True)
    there.write_text("#!/bin/sh\n", "utf-8")
    there.chmod(0o755)
    made = home / "spoolbridge.service"
    made.write_text(unit.read_text("utf-8").replace(program.partition(" ")[0], str(there)), "utf-8")
    return made


def test_systemd_understands_a_unit(unit: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, warnings included."""
    whose = "--system" if unit.stem.endswith("system") else "--user"
    ended = analyze("verify", whose, "--man=no", str(placed(unit, tmp_path)), home=tmp_path)
    assert Ended(0, "", "") == ended


def test_the_system_unit_is_exposed_little(tmp_path: Path) -> None:
    """By systemd's own measure, of ten; what is left is the network, and what the unit says it needs."""
    ended = analyze(
        "security", "--offline=true", "--threshold=20", "--no-pager", str(UNITS[1]), home=tmp_path
    )
    assert 0 == ended.code, ended.out
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", ended.out)
    assert float(exposure) <= MOST_EXPOSED


def test_the_system_unit_writes_to_the_spool_alone() -> None:
    """Devices, other users' homes and the rest of the disk are closed to it."""
    said = service(UNITS[1])
    assert (["strict"], ["/var/lib/spoolbridge/spool"]) == (said["ProtectSystem"], said["ReadWritePaths"])
    assert ["yes"] * 3 == [said[key][0] for key in ("PrivateDevices", "ProtectHome", "PrivateTmp")]
    assert [""] == said["CapabilityBoundingSet"]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory for PATH with what the dropper may use, which POSIX has, and no other."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("awk", "cat", "date", "mv", "od", "rm", "sync"):
        found = shutil.which(name)
        assert found
        (directory / name).symlink_to(found)
    return directory


class Dropper:
    """Runs the dropper by one shell, on one spool."""

    def __init__(self, programs: Path, spool: Spool) -> None:
        self._environment = {"PATH": str(programs), "SPOOLBRIDGE_SPOOL": str(spool.root)}

    def __call__(
        self, *arguments: str, text: bytes = b"", shell: str = "sh"
    ) -> subprocess.CompletedProcess[bytes]:
        program = shutil.which(shell)
        assert program
        command = [program, *(["sh"] if shell == "busybox" else []), str(DROP), *arguments]
        return subprocess.run(
            command, input=text, env=self._environment, capture_output=True, timeout=20, check=False
        )


@pytest.fixture
def drop(programs: Path, spool: Spool) -> Dropper:
    spool.add_channel("mayor-villa")
    return Dropper(programs, spool)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_drops_a_message_that_is_claimed_at_once(shell: str, drop: Dropper, spool: Spool) -> None:
    """Standard input becomes one entry under an ID of now: whole, readable by the group, and nothing else."""
    began = time.time()
    ended = drop("mayor-villa", text="it's done ✅\n".encode(), shell=shell)
    assert (0, b"") == (ended.returncode, ended.stderr)
    dropped = Path(os.fsdecode(ended.stdout.rstrip(b"\n")))
    assert [dropped.name] == tree(spool.root, "outgoing")["outgoing/mayor-villa"]
    assert {} == tree(spool.root, "tmp")
    assert 0o660 == dropped.stat().st_mode & 0o777
    parsed = identity.parse(dropped.name)
    assert parsed is not None
    assert began - 1 <= identity.time_of(parsed[0]) <= time.time()
    claim = Intake(spool).claim("mayor-villa")
    assert not isinstance(claim, float)
    assert claim is not None
    assert parsed[0] == claim.id
    content = claim.read()
    assert content is not None
    assert "it's done ✅" == outgoing.parse(claim.rest, content.body, content.files).text


def test_the_shell_keeps_a_files_name(drop: Dropper, spool: Spool, tmp_path: Path) -> None:
    """A picture is uploaded as what it is called; what is said in its bytes does not matter to a shell."""
    data = bytes(range(256)) * 400
    (tmp_path / "the chart.png").write_bytes(data)
    ended = drop("mayor-villa", str(tmp_path / "the chart.png"))
    assert (0, b"") == (ended.returncode, ended.stderr)
    claim = Intake(spool).claim("mayor-villa")
    assert not isinstance(claim, float)
    assert claim is not None
    content = claim.read()
    assert content is not None
    assert data == content.body
    assert "the%20chart.png" == claim.rest


@pytest.mark.parametrize("name", ["a~", "a.tmp", "a.swp", "a.swx", "a.part", "a.partial", "a.crdownload",
                                  "a.filepart", "a.why", ".hidden", "#a#", "4913"])  # fmt: skip
def test_no_name_is_dropped_that_the_service_would_ignore(
    name: str, drop: Dropper, spool: Spool, tmp_path: Path
) -> None:
    """What is called like a temporary file is a message all the same, once it was dropped on purpose."""
    assert ready.ignored(name)
    (tmp_path / name).write_text("hello", "utf-8")
    ended = drop("mayor-villa", str(tmp_path / name))
    assert 0 == ended.returncode
    (dropped,) = tree(spool.root, "outgoing")["outgoing/mayor-villa"]
    assert not ready.ignored(dropped)


def test_the_shells_order_is_the_order_of_the_calls(drop: Dropper, spool: Spool) -> None:
    """Each ID is later than the one before it."""
    for number in range(5):
        assert 0 == drop("mayor-villa", text=b"%d" % number).returncode
    found = sorted(contents(spool.root, "outgoing").items())
    assert [b"0", b"1", b"2", b"3", b"4"] == [data for _, data in found]


@pytest.mark.parametrize(
    ("arguments", "text", "code", "said"),
    [
        ([], b"", 2, "usage"),
        (["mayor-villa", "a", "b"], b"", 2, "usage"),
        (["../state"], b"hello", 2, "not a channel's name"),
        ([".hidden"], b"hello", 2, "not a channel's name"),
        (["typo"], b"hello", 1, "no outgoing/typo"),
        (["mayor-villa"], b"", 1, "empty"),
        (["mayor-villa", "no such file"], b"", 1, "no such file"),
    ],
)
def test_the_shell_refuses_in_one_line(
    arguments: list[str], text: bytes, code: int, said: str, drop: Dropper, spool: Spool
) -> None:
    """Nothing is dropped and nothing is left in tmp/."""
    ended = drop(*arguments, text=text)
    assert (code, b"") == (ended.returncode, ended.stdout)
    assert said in ended.stderr.decode()
    assert 1 == len(ended.stderr.splitlines())
    assert {} == tree(spool.root, "outgoing", "tmp")


def test_the_shell_says_where_it_looked_for_a_spool(tmp_path: Path) -> None:
    """A missing spool is named and not made."""
    ended = subprocess.run(
        ["sh", str(DROP), "mayor-villa"], input=b"hello", cwd=tmp_path, env={"PATH": os.environ["PATH"]},
        capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert 1 == ended.returncode
    assert b"no spool at spool; set SPOOLBRIDGE_SPOOL" in ended.stderr
    assert [] == list(tmp_path.iterdir())


def test_the_channels_sample_is_one() -> None:
    """Channels of the town and of two rigs, by the names that the other samples use."""
    found = channels.load(CONTRIB / "discord-channels.json").channels
    rigs = {each.address: each.rig for each in found}
    assert {
        "town-square": None,
        "mayor-villa": "villacalculatecost3",
        "vi-status": "villacalculatecost3",
        "mayor-bridge": "discord_bot",
        "db-status": "discord_bot",
    } == rigs
    assert len(found) == len({each.id for each in found})


def loaded(directory: Path, text: str) -> settings.Settings:
    directory.mkdir()
    (directory / settings.TOML).write_text(text, "utf-8")
    return settings.load({}, directory)


def test_the_settings_sample_holds_every_key_with_its_default(tmp_path: Path) -> None:
    """As it stands, and with every line switched on, it says what nothing says at all."""
    text = (CONTRIB / "spoolbridge.toml").read_text("utf-8")
    on = re.sub(r"(?m)^#(?=\w+ = )", "", text)
    plain, _, kept = on.partition("[routes]")[0].partition("[retention]")
    switched = re.findall(r"(?m)^(\w+) = ", plain)
    switched += [f"retention.{key}" for key in re.findall(r"(?m)^(\w+) = ", kept)]
    assert sorted(settings.KEYS.values()) == sorted(switched)
    asis, all_on = loaded(tmp_path / "a", text), loaded(tmp_path / "b", on)
    nothing = settings.load({}, tmp_path)
    for name in ("guild_id", "api_url", "poll", "poll_interval", "gt", "retention"):
        assert getattr(nothing, name) == getattr(asis, name)
    for name in ("api_url", "poll", "poll_interval", "gt", "retention"):
        assert getattr(nothing, name) == getattr(all_on, name)
    for name in ("spool", "channels", "inbox"):
        place = getattr(all_on, name).relative_to(tmp_path / "b")
        assert getattr(nothing, name).relative_to(tmp_path) == place
    assert 1467106918538678200 == all_on.guild_id


def test_the_samples_routes_lead_somewhere(tmp_path: Path) -> None:
    """Each is of a channel in the channels sample and to an address that gt's mail has."""
    sample = loaded(tmp_path / "a", (CONTRIB / "spoolbridge.toml").read_text("utf-8"))
    routes = sample.routes
    known = channels.load(CONTRIB / "discord-channels.json").addresses
    assert {"vi-status", "town-square"} == set(routes)
    assert set(routes) <= set(known)
    assert routes == checked_routes(routes)
    assert ({"admin", "status"}, True) == (set(sample.notify), set(sample.notify.values()) <= set(known))


def test_the_daemons_command_drops_a_file(tmp_path: Path) -> None:
    """Installed as <town>/bin/gt-notify it finds its town, also where the daemon names none."""
    town = tmp_path / "town"
    for name in ("mayor", "bin", "settings"):
        (town / name).mkdir(parents=True)
    (town / "settings" / settings.TOML).write_text('[notify]\nadmin = "vgt"\n', "utf-8")
    (town / "settings" / "discord-channels.json").write_text('{"vgt": "1"}', "utf-8")
    Spool.create(town / "spool").close()
    command = town / "bin" / "gt-notify"
    shutil.copy(CONTRIB / "gt-notify", command)
    path = f"{PROGRAM.parent}:/usr/bin:/bin"
    ended = subprocess.run(
        [command, "--channel", "admin", "--priority", "critical", "the deacon is stuck"], cwd=tmp_path,
        env={"PATH": path}, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert (0, b"") == (ended.returncode, ended.stderr)
    assert ["🔴 the deacon is stuck".encode()] == list(contents(town / "spool", "outgoing").values())


def test_the_samples_access_is_off_and_right(tmp_path: Path) -> None:
    """Nobody is kept out by a copied sample; switched on, each table is about a channel of the samples."""
    text = (CONTRIB / "spoolbridge.toml").read_text("utf-8")
    assert {} == loaded(tmp_path / "a", text).access
    tables = loaded(tmp_path / "b", re.sub(r"(?m)^#   (?=[\[a-z])", "", text)).access
    assert ["", "mayor-villa", "villacalculatecost3.vi-status", "mayor-*"] == list(tables)
    assert [] == access.strangers(tables, channels.load(CONTRIB / "discord-channels.json").channels)


# --- for agents --------------------------------------------------------------------------------------

PLUGIN = CONTRIB / "claude-code"


def commands() -> list[list[str]]:
    """What the plugin's hooks run."""
    events = json.loads((PLUGIN / "hooks" / "hooks.json").read_text("utf-8"))["hooks"]
    hooks = [hook for groups in events.values() for group in groups for hook in group["hooks"]]
    return [shlex.split(hook["command"]) for hook in hooks]


def test_the_plugin_is_what_claude_code_installs() -> None:
    """A marketplace that lists the plugin beside it, under the name that the page gives."""
    manifest = json.loads((PLUGIN / ".claude-plugin" / "plugin.json").read_text("utf-8"))
    market = json.loads((PLUGIN / ".claude-plugin" / "marketplace.json").read_text("utf-8"))
    assert manifest["version"] == __version__
    assert [(manifest["name"], "./")] == [(each["name"], each["source"]) for each in market["plugins"]]
    page = (CONTRIB / "agents.md").read_text("utf-8")
    assert f"/plugin install {manifest['name']}@{market['name']}\n" in page
    assert (PLUGIN / ".mcp.json").read_text("utf-8") == (CONTRIB / "mcp.json").read_text("utf-8")


def test_the_hooks_run_commands_that_there_are(tmp_path: Path) -> None:
    """With the options that they have, with and without a channel, and in silence where there is no spool."""
    for words in commands():
        for channel in ("", "mayor-villa"):
            given = [each.replace("$AGENT_CHANNEL", channel) for each in words]
            assert Ended(0, "", "") == ran(*filter(None, given[1:]), cwd=tmp_path)


def test_the_skill_names_what_there_is() -> None:
    """Its head is what an agent chooses by, and its tools exist."""
    head, _, text = (PLUGIN / "skills" / "discord" / "SKILL.md").read_text("utf-8")[4:].partition("\n---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    assert ("discord", True) == (fields["name"], 50 < len(fields["description"]) < 1024)
    tools = {tool.name for tool in mcp_schemas.TOOLS}
    named = {each for each in re.findall(r"`(\w+_\w+)`", text) if each not in {"channel_name", "dedupe_key"}}
    assert set() < named <= tools
    for verb in re.findall(r"`spoolbridge (\w+)", text):
        assert verb in program.cli.commands


def test_the_page_for_agents_can_be_copied() -> None:
    """Each block parses, and starts the command that the package installs."""
    page = (CONTRIB / "agents.md").read_text("utf-8")
    (toml,) = re.findall(r"(?ms)^```toml\n(.*?)^```", page)
    server = tomllib.loads(toml)["mcp_servers"]["spoolbridge"]
    assert ["spoolbridge", "mcp"] == [server["command"], *server["args"]]
    gemini, opencode = map(json.loads, re.findall(r"(?ms)^```json\n(.*?)^```", page))
    server = gemini["mcpServers"]["spoolbridge"]
    assert ["spoolbridge", "mcp"] == [server["command"], *server["args"]]
    assert ["spoolbridge", "mcp"] == opencode["mcp"]["spoolbridge"]["command"]
