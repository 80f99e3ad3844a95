"""The doctor: every finding made on purpose, each with what mends it, and nothing changed by looking."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from spoolbridge import cli, doctor, lock, status
from spoolbridge.doctor import machine, mounts
from spoolbridge.emulator import Emulator
from spoolbridge.findings import Finding
from spoolbridge.settings import AccessTable, Settings
from spoolbridge.spool import Spool
from tests.support.tree import contents, tree

SCHEMA = Path(doctor.__file__).parents[1] / "finding.schema.json"
TOKEN = "MTIz.not-a-real-token.abc"
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
READ_MESSAGE_HISTORY = 1 << 16


@pytest.fixture(autouse=True)
def _a_healthy_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this one, and whatever temporary directories lie on."""
    empty = tmp_path_factory.mktemp("machine")
    monkeypatch.setattr(machine, "PROC", empty)
    monkeypatch.setattr(mounts, "MOUNTINFO", empty / "mountinfo")


@pytest.fixture(autouse=True)
def _told_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of these tests is what it has written: the kernel is not asked whether it lives."""
    monkeypatch.setattr(lock, "is_held", lambda spool: None)


@pytest.fixture
def settings(spool: Spool) -> Settings:
    """A bridge that lacks nothing but a service that runs."""
    path = spool.root / "discord-channels.json"
    path.write_text('{"mayor-villa": "1467106918538678293", "general": "1467106918538678294"}')
    return Settings(spool=spool.root, channels=path, inbox=spool.root / "inbox.jsonl", token=TOKEN)


@pytest.fixture
def running(spool: Spool, settings: Settings) -> Callable[..., None]:
    """Writes what a service writes that runs now, with these facts besides."""

    def write(**facts: Any) -> None:
        status.write(spool, {"at": time.time(), "since": time.time(), "pid": 1, **facts})

    return write


def found(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Level, what and do of each: what a person acts on."""
    return [(each.level, each.what, each.do) for each in findings]


# --- from files alone --------------------------------------------------------------------------------


def test_nothing_to_find(settings: Settings, running: Callable[..., None]) -> None:
    """A bridge that works has no findings at all: noise is not read."""
    running()
    assert [] == doctor.offline(settings)


def test_the_service_does_not_run(settings: Settings, running: Callable[..., None]) -> None:
    """Whether it never ran, has stopped, or died without a word."""
    expected = [("warning", "the service does not run", "spoolbridge run")]
    assert expected == found(doctor.offline(settings))
    running(stopped=True)
    assert expected == found(doctor.offline(settings))
    running(at=time.time() - 60)
    assert expected == found(doctor.offline(settings))


def test_no_token(settings: Settings, running: Callable[..., None]) -> None:
    """Nothing starts without one; where a service runs, it is only this user who has none."""
    without = settings._replace(token="")
    do = "spoolbridge init asks for it; or put DISCORD_BOT_TOKEN=… into .env and: chmod 600 .env"
    assert ("error", "no bot token", do) in found(doctor.offline(without))
    running()
    mine = ("note", "no bot token for this user", "say it as the service's user")
    assert [mine] == found(doctor.offline(without))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_can_read(
    settings: Settings, running: Callable[..., None], tmp_path: Path, mode: int
) -> None:
    """Once for each file, in a Gas Town its settings/ too."""
    running()
    town = tmp_path / "town"
    (town / "settings").mkdir(parents=True)
    (town / "mayor").mkdir()
    paths = [tmp_path / ".env", town / "settings" / ".env"]
    for path in paths:
        path.write_text(f"DISCORD_BOT_TOKEN={TOKEN}\n")
        path.chmod(mode)
    findings = doctor.offline(settings._replace(town=town, gt="off"))
    expected = [("warning", f"{path} can be read by others", f"chmod 600 {path}") for path in paths]
    assert expected == found(findings)
    for path in paths:
        path.chmod(0o600)
    assert [] == doctor.offline(settings._replace(town=town, gt="off"))


@pytest.mark.parametrize(
    ("text", "level", "what", "do"),
    [
        (None, "error", "no channels file at {path}", "make it with: spoolbridge channels sync"),
        ("{,", "error", "{path} is not JSON: line 1, ", "mend it; it looks like {{"),
        ('{"a b": 1}', "error", "{path}: 'a b' cannot be a channel's name", "no space, dot, "),
        ("{}", "error", "no channel in {path}", "spoolbridge channels sync"),
        ('{"general": "146"}', "warning", "no channel matches mayor-*", "name one so, or "),
    ],
)
def test_the_channels_file(
    settings: Settings, running: Callable[..., None], text: str | None, level: str, what: str, do: str
) -> None:
    """Missing, broken, empty, or without a channel that is read."""
    running()
    if text is None:
        settings.channels.unlink()
    else:
        settings.channels.write_text(text)
    [(its_level, its_what, its_do)] = found(doctor.offline(settings))
    assert level == its_level
    assert its_what.startswith(what.format(path=settings.channels))
    assert its_do.startswith(do.format(path=settings.channels))


def test_access_to_no_channel(settings: Settings, running: Callable[..., None]) -> None:
    """A name that is wrong, or of a channel that is not read: whom it should keep out is let in."""
    running()
    names = ("", "mayor-*", "mayor-villa", "mayor-vila", "general", "villa.mayor-villa", "x*")
    tables = {name: AccessTable(users=frozenset()) for name in names}
    do = "name it as `spoolbridge channels list` does, or see SPOOLBRIDGE_POLL"
    wrong = ("mayor-vila", "general", "villa.mayor-villa", "x*")
    expected = [("warning", f"[access.{name}] names no channel that is read", do) for name in wrong]
    assert expected == found(doctor.offline(settings._replace(access=tables)))


def test_no_spool(settings: Settings, tmp_path: Path) -> None:
    """The rest is then not asked for; nothing is made."""
    missing = tmp_path / "elsewhere"
    expected = [("error", f"no spool at {missing}", "set SPOOLBRIDGE_SPOOL, or: spoolbridge init")]
    assert expected == found(doctor.offline(settings._replace(spool=missing)))
    assert not missing.exists()


@pytest.mark.parametrize(
    ("facts", "level", "what", "do"),
    [
        (
            {"findings": ["the file is broken"]},
            "warning", "the file is broken", "mend it; the service looks again",
        ),
        (
            {"discord": {"paused_because": "Cloudflare blocks this address"}},
            "error", "Discord is not asked: Cloudflare blocks this address", "wait; it ends by itself",
        ),
        (
            {"channels": {"general": {"parked": "50013: Missing Permissions"}}},
            "error", "general: 50013: Missing Permissions", "give the bot the permission it lacks",
        ),
        (
            {"channels": {"mayor-villa": {"inbound": "50001: Missing Access"}}},
            "error", "mayor-villa: 50001: Missing Access", "give the bot the permission it lacks",
        ),
        (
            {"channels": {"mayor-villa": {"receipts": "50013: Missing Permissions"}}},
            "warning", "mayor-villa: 50013: Missing Permissions", "give the bot the permission it lacks",
        ),
    ],
)  # fmt: skip
def test_what_the_service_says(
    settings: Settings, running: Callable[..., None], facts: dict[str, Any], level: str, what: str, do: str
) -> None:
    """What only a running service knows is repeated here, and forgotten once it has stopped."""
    running(**facts)
    assert [(level, what, do)] == found(doctor.offline(settings))
    running(**facts, stopped=True)
    assert ["the service does not run"] == [each.what for each in doctor.offline(settings)]


def test_failed_entries(settings: Settings, running: Callable[..., None], spool: Spool) -> None:
    running()
    for number, words in enumerate(("1 entry in failed/", "2 entries in failed/")):
        place = spool.root / "failed" / "mayor-villa"
        place.mkdir(exist_ok=True)
        (place / f"20261122T05550{number}.123456Z-k3f9q2x7.note").write_text("text")
        (place / f"20261122T05550{number}.123456Z-k3f9q2x7.note.why").write_text("why")
        assert [("warning", words, "spoolbridge failed list")] == found(doctor.offline(settings))


def test_a_channel_on_hold(settings: Settings, running: Callable[..., None], spool: Spool) -> None:
    """Somebody may have forgotten it."""
    running()
    spool.add_channel("general")
    (spool.root / "outgoing" / "general" / ".hold").touch()
    assert [("note", "general is on hold", "spoolbridge resume general")] == found(doctor.offline(settings))


def test_a_name_that_is_ignored(
    settings: Settings, running: Callable[..., None], spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute later it is no writer's temporary file any more; a bundle is no stray directory."""
    spool.add_channel("general")
    box = spool.root / "outgoing" / "general"
    for name in ("note", "note.tmp"):
        (box / name).write_text("text")
    for name in ("folder", "bundle.msg"):
        (box / name).mkdir()
    running()
    assert [] == doctor.offline(settings)
    now = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: now)
    running()
    up = f"mv {box}/folder/* {box}/ if messages are in it"
    expected = [
        ("note", f"{box}/folder is a directory, and ignored", up),
        ("note", f"{box}/note.tmp is ignored", "rename it if it is a message"),
    ]
    assert expected == sorted(found(doctor.offline(settings)))


@pytest.mark.parametrize("full", [{"f_bavail": 10}, {"f_favail": 0}])
def test_a_disk_that_is_nearly_full(
    settings: Settings, running: Callable[..., None], spool: Spool, monkeypatch: pytest.MonkeyPatch,
    full: dict[str, int],
) -> None:  # fmt: skip
    """Of blocks or of inodes."""
    running()
    real = os.fstatvfs(spool.fd)
    fields = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail")
    values = {name: getattr(real, name) for name in (*fields, "f_flag", "f_namemax")}
    values |= {"f_files": max(1, real.f_files), **full}
    monkeypatch.setattr(os, "fstatvfs", lambda fd: os.statvfs_result(values.values()))
    what = f"the disk of {spool.root} is nearly full"
    assert [("error", what, "make room")] == found(doctor.offline(settings))


def test_a_spool_for_everybody(settings: Settings, running: Callable[..., None], spool: Spool) -> None:
    running()
    spool.root.chmod(0o777)
    what, do = f"{spool.root} can be written by everybody", f"chmod o-w {spool.root}"
    assert [("warning", what, do)] == found(doctor.offline(settings))


def test_a_town_without_gt(
    settings: Settings, running: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where there is a town, and mail is wanted."""
    running()
    monkeypatch.setenv("PATH", str(tmp_path))
    in_town = settings._replace(town=tmp_path)
    do = "install it, or set SPOOLBRIDGE_GT=off"
    assert [("warning", "no gt on PATH", do)] == found(doctor.offline(in_town))
    assert [] == doctor.offline(in_town._replace(gt="off"))
    (tmp_path / "gt").write_text("#!/bin/sh\n")
    (tmp_path / "gt").chmod(0o755)
    assert [] == doctor.offline(in_town)


@pytest.fixture
def in_town(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The bridge in a town that has a gt."""
    (tmp_path / "gt").write_text("#!/bin/sh\n")
    (tmp_path / "gt").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return settings._replace(town=tmp_path)


def test_mail_that_waits_or_was_given_up(
    in_town: Settings, running: Callable[..., None], spool: Spool
) -> None:
    """Both ways: what agents were to get, and what they wrote."""
    mail = {
        "pending": 2, "given_up": 1, "last_error": "no gt on PATH", "mailboxes": 2, "dropped": 0,
        "mailbox_error": "the mail of discord/vgt cannot be read: no gt on PATH",
    }  # fmt: skip
    running(mail=mail)
    place = spool.root / "state" / "mail"
    assert [
        ("warning", "1 mail given up", f"read {place}/*.given-up.json, then remove them"),
        ("warning", "2 pending for agents: no gt on PATH", "mend it; it is tried again for 24 h"),
        ("warning", mail["mailbox_error"], "mend it; it is tried again"),
    ] == found(doctor.offline(in_town))
    running(mail=mail, stopped=True)
    assert ["the service does not run", "1 mail given up"] == [
        each.what for each in doctor.offline(in_town)
    ]
    told = status.render(status.snapshot(spool, {"at": time.time(), "since": 0.0, "pid": 1, "mail": mail}))
    assert "gt mail   2 pending, 1 given up, 0 dropped from 2 mailboxes; no gt on PATH; the mail of" in told


def test_channels_and_mailboxes_that_do_not_go_together(
    in_town: Settings, running: Callable[..., None], tmp_path: Path
) -> None:
    """A channel that gt takes for an agent, said once; a mailbox that nobody reads."""
    in_town.channels.write_text('{"mayor": "1", "mayor-villa": "2"}')
    for name in ("mayor-villa", "old"):
        (tmp_path / "discord" / name).mkdir(parents=True)
    sentence = "#mayor has no mailbox: to gt, discord/mayor is the mayor"
    running(findings=[sentence])
    do = f"rmdir {tmp_path / 'discord' / 'old'}, or add the channel to the channels file"
    assert [
        ("warning", sentence, "rename the channel on Discord and in the channels file"),
        ("warning", "discord/old is the mailbox of no channel", do),
    ] == found(doctor.offline(in_town))


# --- with Discord ------------------------------------------------------------------------------------


@pytest.fixture
async def emulator(settings: Settings) -> AsyncIterator[Emulator]:
    """A guild that fits the channels file."""
    async with Emulator(token=TOKEN, limits=False).serve() as running:
        ids = {name: str(running.add_channel(name)) for name in ("mayor-villa", "general")}
        settings.channels.write_text(json.dumps(ids))
        yield running


async def online(settings: Settings, emulator: Emulator, **more: Any) -> list[tuple[str, str, str]]:
    return found(await doctor.online(settings._replace(api_url=emulator.api_url, **more)))


async def test_a_guild_that_fits(settings: Settings, emulator: Emulator) -> None:
    """Nothing to find, and nothing but reading done."""
    assert [] == await online(settings, emulator)
    assert {"GET"} == {request.method for request in emulator.requests()}


async def test_without_a_token_nothing_is_asked(settings: Settings, emulator: Emulator) -> None:
    assert [] == await online(settings, emulator, token="")
    assert [] == emulator.requests()


async def test_the_intent_is_off(settings: Settings, emulator: Emulator) -> None:
    """The toggle without which every human's message arrives empty."""
    emulator.guild.message_content = False
    do = "switch on Message Content Intent: Developer Portal, your application, Bot"
    expected = [("error", "the Message Content intent is off", do)]
    assert expected == await online(settings, emulator)


@pytest.mark.parametrize(
    ("channel", "bits", "lacks"),
    [
        ("mayor-villa", SEND_MESSAGES, "Send Messages"),
        ("mayor-villa", READ_MESSAGE_HISTORY, "Read Message History"),
        ("mayor-villa", SEND_MESSAGES | READ_MESSAGE_HISTORY, "Send Messages, Read Message History"),
        ("general", SEND_MESSAGES, "Send Messages"),
    ],
)
async def test_a_missing_permission(
    settings: Settings, emulator: Emulator, channel: str, bits: int, lacks: str
) -> None:
    """By the names that Discord's own settings use."""
    emulator.deny(channel, bits)
    expected = [("error", f"{channel}: the bot lacks {lacks}", "channel settings, Permissions")]
    assert expected == await online(settings, emulator)


async def test_rights_that_come_from_a_role(settings: Settings, emulator: Emulator) -> None:
    """Denied to everyone and allowed to the bot's role is allowed: only the whole sum counts."""
    guild = emulator.guild
    guild.overwrite(guild.channel("mayor-villa"), deny=READ_MESSAGE_HISTORY, target=guild.id)
    expected = [
        ("error", "mayor-villa: the bot lacks Read Message History", "channel settings, Permissions")
    ]
    assert expected == await online(settings, emulator)
    guild.overwrite(guild.channel("mayor-villa"), allow=READ_MESSAGE_HISTORY, target=guild.bot_role)
    assert [] == await online(settings, emulator)


async def test_any_number_of_channels_costs_the_same(settings: Settings, emulator: Emulator) -> None:
    """The service asks again and again: flags, member, roles and channels, whatever the file names."""
    ids = {f"mayor-{number}": str(emulator.add_channel(f"mayor-{number}")) for number in range(20)}
    settings.channels.write_text(json.dumps(ids))
    await online(settings, emulator, guild_id=emulator.guild.id)
    assert 1 + 4 == len(emulator.requests())


async def test_history_is_needed_only_where_it_is_read(settings: Settings, emulator: Emulator) -> None:
    """A channel that nobody reads from is not asked to show its past."""
    emulator.deny("general", READ_MESSAGE_HISTORY)
    assert [] == await online(settings, emulator)
    assert 1 == len(await online(settings, emulator, poll=("general",)))


async def test_a_hidden_and_a_deleted_channel(settings: Settings, emulator: Emulator) -> None:
    """Discord does not tell them apart; both are in the file and not to be seen."""
    emulator.deny("mayor-villa", VIEW_CHANNEL)
    emulator.guild.remove_channel(emulator.guild.channels["general"].id)
    do = "let the bot View Channel, or correct the id in the channels file"
    names = ("mayor-villa", "general")
    expected = [("error", f"{name} is gone or hidden from the bot", do) for name in names]
    assert expected == await online(settings, emulator)


async def test_a_channel_that_is_not_in_the_file(settings: Settings, emulator: Emulator) -> None:
    """A mayor's humans are not heard there; any other channel is nobody's business."""
    emulator.add_channel("mayor-quarry")
    emulator.add_channel("chatter")
    expected = [("warning", "mayor-quarry is not in the file", "spoolbridge channels sync")]
    assert expected == await online(settings, emulator)


async def test_many_channels_that_are_not_in_the_file(settings: Settings, emulator: Emulator) -> None:
    """A guild that has forty does not push everything else out of sight: one finding, for one command."""
    for number in range(6):
        emulator.add_channel(f"mayor-{number}")
    what = "mayor-0, mayor-1, mayor-2, mayor-3 and 2 more are not in the file"
    assert [("warning", what, "spoolbridge channels sync")] == await online(settings, emulator)


async def test_a_file_that_cannot_be_used_is_found_once(settings: Settings, emulator: Emulator) -> None:
    """The offline finding says it; what the guild has is looked at all the same."""
    settings.channels.unlink()
    told = await online(settings, emulator)
    assert [("warning", "mayor-villa is not in the file", "spoolbridge channels sync")] == told


async def test_a_role_that_the_guild_has_not(settings: Settings, emulator: Emulator) -> None:
    """In any table; those that it has, that of everybody among them, are no finding."""
    crew = emulator.guild.add_role("crew").id
    there = frozenset({crew, emulator.guild.id})
    tables = {"": AccessTable(roles=there | {7}), "mayor-villa": AccessTable(frozenset({8}), frozenset({9}))}
    do = "copy its id in Discord: Server Settings, Roles"
    expected = [
        ("warning", "[access] lists the role 7, which the guild has not", do),
        ("warning", "[access.mayor-villa] lists the role 9, which the guild has not", do),
    ]
    assert expected == await online(settings, emulator, access=tables)


async def test_a_token_that_is_refused(settings: Settings, emulator: Emulator) -> None:
    told = await online(settings, emulator, token="another")
    do = "set DISCORD_BOT_TOKEN to the bot's current token, then start the service again"
    assert [("error", "Discord refuses the token (401)", do)] == told


async def test_a_guild_that_is_not_the_bots(settings: Settings, emulator: Emulator) -> None:
    """A wrong DISCORD_GUILD_ID is one finding, with what Discord says to it."""
    [(level, what, _)] = await online(settings, emulator, guild_id=7)
    assert ("error", True) == (level, "10004" in what)


async def test_discord_cannot_be_reached(settings: Settings) -> None:
    """Nobody listens: one finding, soon."""
    async with Emulator(token=TOKEN).serve() as emulator:
        address = emulator.api_url
    [(level, what, do)] = found(await doctor.online(settings._replace(api_url=address)))
    assert ("error", True) == (level, what.startswith("no connection to Discord"))
    assert do


# --- the command -------------------------------------------------------------------------------------


def told(*arguments: str, **env: str) -> tuple[int, str, str]:
    with CliRunner().isolation(env=env) as (out, err, _):
        code = cli.run(["doctor", *arguments])
        sys.stderr.flush()
        return code, out.getvalue().decode(), err.getvalue().decode()


async def test_doctor_when_all_is_well(
    settings: Settings, emulator: Emulator, running: Callable[..., None]
) -> None:
    """One sentence, exit 0; for programs not even that."""
    running()
    env = {"SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": TOKEN}
    assert (0, "nothing found: all is well\n", "") == await asyncio.to_thread(told, **env)
    assert (0, "", "") == await asyncio.to_thread(lambda: told("--json", **env))
    assert emulator.requests()


async def test_doctor_asks_both(settings: Settings, emulator: Emulator) -> None:
    """What files say and what Discord says; an error makes the exit code 1, a warning does not."""
    env = {"SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": TOKEN}
    warned = await asyncio.to_thread(told, **env)
    sentence = "what is dropped waits, and nothing is read"
    expected = f"warning  the service does not run\n         {sentence}\n         → spoolbridge run\n"
    assert (0, expected, "") == warned
    emulator.guild.message_content = False
    code, out, err = await asyncio.to_thread(lambda: told("--json", **env))
    findings = [json.loads(line) for line in out.splitlines()]
    assert (1, "") == (code, err)
    assert ["error", "warning"] == [each["level"] for each in findings]
    for each in findings:
        Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).validate(each)


async def test_what_the_service_only_repeats_is_said_once(
    settings: Settings, emulator: Emulator, running: Callable[..., None]
) -> None:
    """Both have asked Discord the same; what only the service knows is kept."""
    emulator.guild.message_content = False
    asked = await doctor.online(settings._replace(api_url=emulator.api_url))
    running(findings=[*(each.sentence for each in asked), "the watcher is blind"])
    env = {"SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": TOKEN}
    _, out, _ = await asyncio.to_thread(lambda: told("--json", **env))
    whats = [json.loads(line)["what"] for line in out.splitlines()]
    assert ["the Message Content intent is off", "the watcher is blind"] == whats


async def test_doctor_offline_asks_nothing(settings: Settings, emulator: Emulator) -> None:
    env = {"SPOOLBRIDGE_API_URL": emulator.api_url, "DISCORD_BOT_TOKEN": TOKEN}
    emulator.guild.message_content = False
    code, _, _ = await asyncio.to_thread(lambda: told("--offline", **env))
    assert (0, []) == (code, emulator.requests())


async def test_doctor_changes_nothing_and_shows_no_token(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """Looking is free; the token is in none of its lines, even where it is what is wrong."""
    (tmp_path / ".env").write_text("DISCORD_BOT_TOKEN=the.wrong.one\n")
    before = (tree(tmp_path), contents(tmp_path))
    code, out, err = await asyncio.to_thread(lambda: told(SPOOLBRIDGE_API_URL=emulator.api_url))
    assert (1, "") == (code, err)
    assert "Discord refuses the token (401)" in out
    assert "the.wrong.one" not in out
    assert before == (tree(tmp_path), contents(tmp_path))


def test_doctor_for_a_newcomer(tmp_path: Path) -> None:
    """In an empty directory it names what is missing, in the order in which it is to be done."""
    code, out, _ = told()
    whats = [line.split("  ")[-1].strip() for line in out.splitlines() if line.startswith("error")]
    assert 1 == code
    assert ["no bot token", "no channels file", "no spool"] == [what.partition(" at ")[0] for what in whats]
    assert {} == tree(tmp_path)
