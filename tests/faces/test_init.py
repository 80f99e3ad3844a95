"""The first minute: `init` at a terminal and without one, against an imaginary Discord."""

from __future__ import annotations

import asyncio
import grp
import os
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from spoolbridge import channels, settings
from spoolbridge.emulator import Emulator, objects
from tests.support.programs import PATIENCE, PROGRAM, Ended, environment, ran
from tests.support.terminal import Terminal
from tests.support.tree import contents, tree

TOKEN = "MTU3Mzg1MDUwMDMwMDgwMDAwMA.Gabcde.not-a-real-token"
GUILDS = "/users/@me/guilds"
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limits=False, token=TOKEN).serve() as running:
        for name in ("mayor-villa", "mayor-bridge", "ops"):
            running.add_channel(name)
        running.add_channel("lounge", type=objects.VOICE)
        yield running


async def begun(
    emulator: Emulator, cwd: Path, *arguments: str, stdin: str = "", env: dict[str, str] | None = None
) -> Ended:
    """`spoolbridge init`, led to the emulator, without a terminal."""
    more = {"SPOOLBRIDGE_API_URL": emulator.api_url, **(env or {})}
    return await asyncio.to_thread(ran, "init", *arguments, cwd=cwd, stdin=stdin.encode(), env=more)


async def at_terminal(
    emulator: Emulator, cwd: Path, talk: Callable[[Terminal], None], *arguments: str, **env: str
) -> tuple[int, str]:
    """Its exit code and all that was shown, after a talk with somebody who types."""

    def talking() -> tuple[int, str]:
        more = {"SPOOLBRIDGE_API_URL": emulator.api_url, **env}
        with Terminal([PROGRAM, "init", *arguments], cwd=cwd, env=more) as terminal:
            talk(terminal)
            return terminal.ends(), terminal.shown

    return await asyncio.to_thread(talking)


def refusals(emulator: Emulator) -> int:
    return sum(each.status == 401 for each in emulator.requests())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# -- at a terminal --------------------------------------------------------------------------------------


async def test_a_newcomer(emulator: Emulator, tmp_path: Path) -> None:
    """Token, channels and unit are asked for; then everything is there, and what to run is said."""

    def talk(terminal: Terminal) -> None:
        terminal.asks("discord.com/developers")
        terminal.asks("Token (it is not shown; empty: later): ")
        terminal.types(TOKEN)
        terminal.asks("Add all 3 [Y/n]: ")
        terminal.types("")
        terminal.asks("Write a unit (user, system, none) [none]: ")
        terminal.types("user")

    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "systemctl").write_text("#!/bin/sh\nexit 1\n")  # it is looked for, and never run
    (bin_ / "systemctl").chmod(0o755)
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    code, shown = await at_terminal(emulator, tmp_path, talk, **env)
    assert 0 == code
    assert TOKEN not in shown
    root = tmp_path / "spool"
    unit = tmp_path / ".config" / "systemd" / "user" / "spoolbridge.service"
    for line in (
        f"token     spoolbridge, written to {tmp_path / '.env'}",
        "guild     Gas Town: 3 channels, 2 are read (mayor-*)",
        "added     mayor-villa, mayor-bridge, ops",
        f"unit      {unit}",
    ):
        assert f"{line}\n" in shown
    assert "\nNext:\n  systemctl --user daemon-reload && systemctl --user enable --now spoolbridge\n" in shown
    dotenv = tmp_path / ".env"
    assert (f"DISCORD_BOT_TOKEN={TOKEN}\n", 0o600) == (dotenv.read_text(), mode(dotenv))
    assert ("mayor-villa", "mayor-bridge", "ops") == channels.load(root / "discord-channels.json").addresses
    assert ["mayor-bridge", "mayor-villa", "ops"] == sorted(os.listdir(root / "outgoing"))
    assert f"WorkingDirectory={tmp_path}\n" in unit.read_text()


async def test_a_token_with_a_typing_error(emulator: Emulator, tmp_path: Path) -> None:
    """It is asked for again, each is tried once, and only the right one is written down. So is a channel."""

    def talk(terminal: Terminal) -> None:
        for each in ("wrong", "not a token", TOKEN):
            terminal.asks("Token (")
            terminal.types(each)
        terminal.asks("Add all 3")
        terminal.types("n")
        for each in ("ops, mayor-vila", "ops, mayor-villa"):
            terminal.asks("Which, by commas (empty: none): ")
            terminal.types(each)

    code, shown = await at_terminal(emulator, tmp_path, talk, "--unit", "none")
    assert (0, 2) == (code, shown.count("copy it whole"))
    assert "! the guild has no channel 'mayor-vila'; there are mayor-bridge, mayor-villa, ops" in shown
    assert 1 == refusals(emulator)  # the other cannot be one, and Discord is not asked
    assert f"DISCORD_BOT_TOKEN={TOKEN}\n" == (tmp_path / ".env").read_text()
    found = channels.load(tmp_path / "spool" / "discord-channels.json").addresses
    assert ["mayor-villa", "ops"] == sorted(found)


async def test_three_tokens_that_are_refused(emulator: Emulator, tmp_path: Path) -> None:
    """It ends, for each counts towards a ban of the address; nothing is written down."""

    def talk(terminal: Terminal) -> None:
        for each in ("one", "two", "three"):
            terminal.asks("Token (")
            terminal.types(each)

    code, shown = await at_terminal(emulator, tmp_path, talk)
    assert (1, 3) == (code, refusals(emulator))
    assert "spoolbridge: Discord refuses the token (401)" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / ".env").exists()


async def test_later(emulator: Emulator, tmp_path: Path) -> None:
    """Who has no token yet gets everything else, and hears what is missing."""

    def talk(terminal: Terminal) -> None:
        terminal.asks("Token (")
        terminal.types("")

    code, shown = await at_terminal(emulator, tmp_path, talk, "--unit", "none")
    assert (0, []) == (code, emulator.requests())
    assert "\nMissing: the bot's token" in shown
    assert (tmp_path / "spool" / "README.md").exists()


async def test_an_interrupt_while_asked(emulator: Emulator, tmp_path: Path) -> None:
    """Ctrl-C at the token ends it as any command, and the terminal shows what is typed again."""

    def talk(terminal: Terminal) -> None:
        terminal.asks("Token (")
        terminal.types("\x03")

    code, shown = await at_terminal(emulator, tmp_path, talk)
    assert 130 == code
    assert "Traceback" not in shown


# -- without one ----------------------------------------------------------------------------------------


def test_nothing_is_asked_without_a_terminal(tmp_path: Path) -> None:
    """What can be made is made, what is missing is said, and the exit code is 0."""
    ended = ran("init", cwd=tmp_path)
    root = tmp_path / "spool"
    assert (0, "") == (ended.code, ended.err)
    for name, path in (("spool", root), ("channels", root / "discord-channels.json")):
        assert f"{name:<10}{path}\n" in ended.out
    assert f"inbox     {root / 'discord-inbox.jsonl'}\n" in ended.out
    assert "\nMissing: the bot's token; if there is none yet, make a bot at" in ended.out
    assert ended.out.endswith("\nNext: spoolbridge init at a terminal, or with --token-file FILE\n")
    assert {".": ["README.md", "discord-channels.json"]} == tree(root)
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("way", ["--token", "--token-file"])
async def test_every_question_has_a_flag(emulator: Emulator, tmp_path: Path, way: str) -> None:
    """The token by standard input or a file, and the rest by words."""
    (tmp_path / "token.txt").write_text(f"{TOKEN}\n")
    given = ["--token", "-"] if way == "--token" else ["--token-file", "token.txt"]
    guild = str(emulator.guild.id)
    ended = await begun(
        emulator, tmp_path, *given, "--guild", guild, "--channels", "ops,#mayor-villa", "--unit", "none",
        stdin=f"{TOKEN}\n",
    )  # fmt: skip
    assert (0, "") == (ended.code, ended.err)
    assert ended.out.endswith(
        "\nadded     mayor-villa, ops\n"
        "! mayor-bridge is not in the file: its humans are not heard; spoolbridge channels sync\n"
        "\nNext: spoolbridge run\n"
    )
    assert settings.load({}, tmp_path).token == TOKEN


async def test_a_second_time_changes_nothing(emulator: Emulator, tmp_path: Path) -> None:
    """Neither a file nor a time: what is there is kept, and asked for no more."""
    arguments = ("--token", "-", "--unit", "system")
    assert 0 == (await begun(emulator, tmp_path, *arguments, stdin=TOKEN)).code

    def stamps() -> dict[str, tuple[int, int]]:
        found = [path for path in tmp_path.rglob("*") if not path.name.endswith((".out", ".err"))]
        return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    before, files = stamps(), contents(tmp_path)
    for again in (arguments, ("--unit", "system", "--yes")):
        ended = await begun(emulator, tmp_path, *again, stdin=TOKEN)
        assert (0, "") == (ended.code, ended.err)
        assert "added" not in ended.out
        assert "as it was" in ended.out
    assert (before, files) == (stamps(), contents(tmp_path))


async def test_what_a_former_file_chose_is_kept(emulator: Emulator, tmp_path: Path) -> None:
    """A file with channels gets others only where somebody says so."""
    await begun(emulator, tmp_path, "--token", "-", "--channels", "ops", stdin=TOKEN)
    file = tmp_path / "spool" / "discord-channels.json"
    ended = await begun(emulator, tmp_path)
    assert "2 are not in the file: spoolbridge channels sync adds them\n" in ended.out
    assert ("ops",) == channels.load(file).addresses
    await begun(emulator, tmp_path, "--channels", "all")
    assert 3 == len(channels.load(file).addresses)


async def test_a_refused_token_is_not_written_down(emulator: Emulator, tmp_path: Path) -> None:
    """One request, one sentence, and the old token stays."""
    (tmp_path / ".env").write_text("DISCORD_BOT_TOKEN=old\n")
    ended = await begun(emulator, tmp_path, "--token", "-", stdin="new\n")
    assert (1, 1) == (ended.code, refusals(emulator))
    assert ended.err.startswith("spoolbridge: Discord refuses the token (401)")
    assert "DISCORD_BOT_TOKEN=old\n" == (tmp_path / ".env").read_text()


async def test_without_discord(emulator: Emulator, tmp_path: Path) -> None:
    """A token that is there is enough for the directories; one that is given is not taken unchecked."""
    await emulator.down()
    (tmp_path / ".env").write_text("DISCORD_BOT_TOKEN=old\n")
    ended = await begun(emulator, tmp_path)
    assert (0, "") == (ended.code, ended.err)
    assert "\nMissing: Discord's answer (" in ended.out
    assert ended.out.endswith("\nNext: spoolbridge init, once it answers\n")
    ended = await begun(emulator, tmp_path, "--token", "-", stdin=TOKEN)
    assert (1, "DISCORD_BOT_TOKEN=old\n") == (ended.code, (tmp_path / ".env").read_text())
    assert 1 == ended.err.count("\n")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--token", TOKEN], 2, "as an argument everybody sees it"),
        (["--token", "-", "--token-file", "token.txt"], 2, "not both"),
        (["--token-file", "gone"], 2, "does not exist"),
        (["--unit", "cron"], 2, "is not one of"),
        (["--token-file", "token.txt", "--guild", "12"], 1, "the bot is not in the guild 12; it is in "),
        (["--token-file", "token.txt", "--channels", "opps"], 1, "the guild has no channel 'opps'; there"),
        (["--group", "no-such-group"], 1, "there is no group 'no-such-group'; make it: sudo groupadd"),
    ],
)
async def test_what_cannot_be(
    emulator: Emulator, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    """A sentence each, and never the token in it."""
    (tmp_path / "token.txt").write_text(TOKEN)
    ended = await begun(emulator, tmp_path, *arguments)
    assert code == ended.code
    assert says in ended.err
    assert TOKEN not in ended.err + ended.out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("SPOOLBRIDGE_SPOOL", "no spool can be made at /proc/nowhere (No such file or directory); set SPOOL"),
        ("SPOOLBRIDGE_CHANNELS", "/proc/nowhere cannot be made ("),
    ],
)
def test_where_nothing_can_be_made(name: str, says: str, tmp_path: Path) -> None:
    """A sentence, and not a bug."""
    ended = ran("init", cwd=tmp_path, env={name: "/proc/nowhere"})
    assert (1, "") == (ended.code, ended.out)
    assert ended.err.startswith(f"spoolbridge: {says}")


@AS_ROOT
def test_a_spool_of_somebody_else(tmp_path: Path) -> None:
    """Neither its drop boxes nor its group are ours to change, and that is what is said."""
    ran("init", cwd=tmp_path)
    root = tmp_path / "spool"
    (root / "discord-channels.json").write_text('{"ops": "1467106918538678301"}')
    os.chown(root / "outgoing", NOBODY, NOBODY)

    def begun_by_anybody(*arguments: str) -> str:
        """As any user: root without what makes it root. Its one line on stderr."""
        anybody = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", str(PROGRAM), "init", *arguments]
        ended = subprocess.run(
            anybody, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (1, 1) == (ended.returncode, ended.stderr.count("\n"))
        return str(ended.stderr)

    said = f"no drop box can be made in {root} (Permission denied); say it as the spool's owner"
    assert f"spoolbridge: {said}\n" == begun_by_anybody()
    (root / "discord-channels.json").write_text("{}")
    group = grp.getgrgid(os.getegid()).gr_name
    for mode in (0o770, 0o755):  # which cannot be entered, and which can
        (root / "outgoing").chmod(mode)
        said = f"spoolbridge: {root / 'outgoing'} is not yours to share; "
        assert said in begun_by_anybody("--group", group)


# -- what Discord says ----------------------------------------------------------------------------------


async def test_what_is_wrong_is_said_at_once(emulator: Emulator, tmp_path: Path) -> None:
    """Before the first message is lost: the toggle to flip, and the right that lacks."""
    emulator.guild.message_content = False
    emulator.deny("mayor-villa", 1 << 16)
    ended = await begun(emulator, tmp_path, "--token", "-", stdin=TOKEN)
    assert 0 == ended.code
    assert "! the Message Content intent is off: messages of humans arrive empty; switch on" in ended.out
    assert "! mayor-villa: the bot lacks Read Message History: " in ended.out


async def test_a_bot_in_no_guild(emulator: Emulator, tmp_path: Path) -> None:
    """The token is kept, and the address that invites it is shown."""
    emulator.fail(method="GET", route=GUILDS, kind="body", text="[]")
    ended = await begun(emulator, tmp_path, "--token", "-", stdin=TOKEN)
    assert 0 == ended.code
    assert "\nMissing: a guild that the bot is in\nNext: https://discord.com/oauth2/" in ended.out
    assert settings.load({}, tmp_path).token == TOKEN


async def test_a_bot_in_two_guilds(emulator: Emulator, tmp_path: Path) -> None:
    """Somebody has to say which, by a flag or a number; it is noted, and asked for no more."""
    own = str(emulator.guild.id)
    both = f'[{{"id": "12", "name": "else\\u202e\\nwhere"}}, {{"id": "{own}", "name": "Gas Town"}}]'
    emulator.fail(method="GET", route=GUILDS, kind="body", text=both, times=0)
    ended = await begun(emulator, tmp_path, "--token", "-", stdin=TOKEN)
    said = f"\nMissing: which guild: 12 (else where) or {own} (Gas Town)\nNext: spoolbridge init --guild ID\n"
    assert (0, True) == (ended.code, said in ended.out)

    def talk(terminal: Terminal) -> None:
        terminal.asks("Which guild [1]: ")
        terminal.types("2")
        terminal.asks("Add all 3 [Y/n]: ")
        terminal.types("y")

    code, _ = await at_terminal(emulator, tmp_path, talk, "--unit", "none")
    assert (0, emulator.guild.id) == (code, settings.load({}, tmp_path).guild_id)
    ended = await begun(emulator, tmp_path)
    assert (0, True) == (ended.code, ended.out.endswith("\nNext: spoolbridge run\n"))


# -- where it is put ------------------------------------------------------------------------------------


async def test_in_a_town(emulator: Emulator, tmp_path: Path) -> None:
    """The token and the channels go to the town's settings/, the rest where a town has it."""
    town = tmp_path / "gt"
    (town / "mayor").mkdir(parents=True)
    env = {"GT_TOWN_ROOT": str(town), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    ended = await begun(emulator, tmp_path, "--token", "-", "--unit", "user", stdin=TOKEN, env=env)
    assert (0, "") == (ended.code, ended.err)
    assert ended.out.startswith(f"town      {town}: its own places are used\nspool     {town / 'spool'}\n")
    assert 0o600 == mode(town / "settings" / ".env")
    assert 3 == len(channels.load(town / "settings" / "discord-channels.json").channels)
    unit = (tmp_path / "config" / "systemd" / "user" / "spoolbridge.service").read_text()
    for line in (f"WorkingDirectory={town}", f"Environment=GT_TOWN_ROOT={town}"):
        assert f"{line}\n" in unit


async def test_a_unit_that_was_changed_is_kept(emulator: Emulator, tmp_path: Path) -> None:
    """Until somebody says that it may be replaced."""
    config = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    unit = tmp_path / "config" / "systemd" / "user" / "spoolbridge.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    ended = await begun(emulator, tmp_path, "--unit", "user", env=config)
    assert f"unit      {unit} was changed since, and stays so; --yes replaces it\n" in ended.out
    assert "[Service]\n" == unit.read_text()
    await begun(emulator, tmp_path, "--unit", "user", "--yes", env=config)
    assert "ExecStart=" in unit.read_text()


@AS_ROOT
async def test_a_spool_that_is_shared(emulator: Emulator, tmp_path: Path) -> None:
    """The group gets every directory and what lies in them; state/ is its to read, nothing is anybody's."""
    await begun(emulator, tmp_path, "--token", "-", stdin=TOKEN)
    root = tmp_path / "spool"
    (root / "outgoing" / "ops" / "note").write_text("hello")
    (root / "outgoing" / "ops" / "link").symlink_to("/etc/hostname")
    group = grp.getgrgid(NOBODY).gr_name
    ended = await begun(emulator, tmp_path, "--group", group)
    assert (0, "") == (ended.code, ended.err)
    assert f"group     {group}: " in ended.out
    assert {NOBODY} == {path.lstat().st_gid for path in [root, *root.rglob("*")]}
    assert 0 == Path("/etc/hostname").stat().st_gid
    assert (0o2750, 0o2750) == (mode(root), mode(root / "state"))
    others = [path for path in root.rglob("*") if path.is_dir() and "state" not in path.parts]
    assert {0o2770} == {mode(path) for path in others}
    (root / "outgoing" / "ops" / "new").touch()
    assert NOBODY == (root / "outgoing" / "ops" / "new").stat().st_gid
    assert f"group     {group}: as it was\n" in (await begun(emulator, tmp_path, "--group", group)).out
