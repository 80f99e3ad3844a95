"""Outbound, as it should go: what is dropped is posted once, in order, or lies in failed/ with a reason."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spoolbridge import identity, outgoing, ready
from spoolbridge.identity import WHY
from spoolbridge.spool import Entry
from tests.support.bridge import MESSAGES, VIEW_CHANNEL, Bridge, bridging

GRACE = ready.GRACE + 1  # seconds, and then an empty file is no file that is still being written


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with bridging(tmp_path / "spool") as made:
        yield made


def sent_to(entry: Entry) -> str:
    """The directory of today's sent entries."""
    return os.path.relpath(entry.path.parent, entry.path.parents[3])


# -- in, and out -----------------------------------------------------------------------------------------


async def test_an_echo_becomes_a_message(bridge: Bridge) -> None:
    """The file is the message, without its last newline; it ends in sent/ under an ID."""
    bridge.echo("deployed")
    sent = await bridge.only("sent")
    await bridge.quiet()
    day = f"{sent.id[:4]}-{sent.id[4:6]}-{sent.id[6:8]}"
    assert ["deployed"] == bridge.texts()
    assert {f"sent/general/{day}": [f"{sent.id}.note"]} == bridge.tree()
    assert b"deployed\n" == sent.path.read_bytes()


async def test_what_goes_over_the_wire(bridge: Bridge) -> None:
    """The text, the nonce that the ID gives, and that nobody is pinged."""
    entry = bridge.drop("@everyone look")
    await bridge.settled(entry)
    nonce = identity.nonce(entry.id, 1, bridge.emulator.guild.channel("general").id)
    payload = {
        "content": "@everyone look",
        "nonce": nonce,
        "enforce_nonce": True,
        "allowed_mentions": {"parse": []},
    }
    assert [(payload, [])] == bridge.arrived
    assert not bridge.emulator.messages("general")[0]["mention_everyone"]


async def test_an_id_is_ready_at_once_and_a_plain_name_once_it_has_settled(bridge: Bridge) -> None:
    """Whoever writes whole files waits for nothing; the clock stands still here."""
    plain = bridge.box() / "plain"
    plain.write_text("plain")
    bridge.clock.now = os.stat(plain).st_ctime + ready.SETTLE - 0.01
    await bridge.settled(bridge.drop("at once"))
    await bridge.scanned()
    assert ["at once"] == bridge.texts()
    bridge.clock.advance(0.02)
    bridge.ring()
    await bridge.emulator.posted("general", 2)
    assert ["at once", "plain"] == bridge.texts()


async def test_the_options_of_a_header(bridge: Bridge) -> None:
    """A rig is a prefix; the rest are fields of the request; mentions only those that are named."""
    asked = bridge.emulator.say("general", "how is it?")
    nic = bridge.emulator.guild.humans[0].id
    lines = ["Rig: villa", f"Reply-To: {asked}", f"Mentions: {nic}", "Silent: yes", "Embeds: suppress"]
    bridge.echo("\n".join(["Spoolbridge: 1", *lines, "", f"<@{nic}> it runs"]))
    await bridge.only("sent")
    ((payload, _),) = bridge.arrived
    assert f"[villa] <@{nic}> it runs" == payload["content"]
    assert {"parse": [], "users": [str(nic)]} == payload["allowed_mentions"]
    assert {"message_id": str(asked)} == payload["message_reference"]
    assert 1 << 2 | 1 << 12 == payload["flags"]


async def test_what_looks_like_a_header_is_text(bridge: Bridge) -> None:
    """Only the exact first line makes one."""
    bridge.echo("Subject: hello\n\nworld")
    await bridge.only("sent")
    assert ["Subject: hello\n\nworld"] == bridge.texts()


async def test_what_editors_leave_beside_a_file_is_nobodys(bridge: Bridge) -> None:
    """Hidden and temporary names stay where they are."""
    names = [".draft", "note~", "#note#", "note.tmp", "note.swp", "note.part", "4913"]
    for name in names:
        bridge.echo("not meant", name=name)
    bridge.echo("meant")
    await bridge.only("sent")
    await bridge.scanned()
    assert (["meant"], {"outgoing/general": sorted(names)}) == (bridge.texts(), bridge.tree("outgoing"))


async def test_removed_before_it_was_claimed_is_cancelled(bridge: Bridge) -> None:
    """`rm` in outgoing/ while the channel is on hold."""
    (bridge.box() / ".hold").touch()
    path = bridge.echo("no, wait")
    await bridge.scanned()
    path.unlink()
    (bridge.box() / ".hold").unlink()
    bridge.settle()
    await bridge.settled(bridge.drop("next"))
    assert ["next"] == bridge.texts()


@pytest.mark.parametrize("place", ["general", "."])
async def test_a_hold_pauses(bridge: Bridge, place: str) -> None:
    """One channel or all of them; what was dropped goes out when the file is removed."""
    hold = bridge.spool.root / "outgoing" / place / ".hold"
    hold.touch()
    waiting = bridge.drop("later")
    other = bridge.drop("elsewhere", "mayor-villa")
    await bridge.scanned()
    if place == "general":
        assert "sent" == (await bridge.settled(other)).state
    assert [] == bridge.texts()
    assert [waiting.name] == [each for each in os.listdir(bridge.box()) if each != ".hold"]
    hold.unlink()
    bridge.ring()
    await bridge.settled(waiting)
    await bridge.settled(other)
    assert (["later"], ["elsewhere"]) == (bridge.texts(), bridge.texts("mayor-villa"))


async def test_the_order_of_fifty_drops(bridge: Bridge) -> None:
    """Posted as they were dropped, one at a time."""
    (bridge.box() / ".hold").touch()
    dropped = [bridge.drop(f"number {number}") for number in range(50)]
    (bridge.box() / ".hold").unlink()
    await bridge.settled(dropped[-1])
    assert [f"number {number}" for number in range(50)] == bridge.texts()
    assert 50 == len(set(bridge.nonces)) == bridge.posts()


async def test_the_order_of_a_shell_loop(bridge: Bridge) -> None:
    """File times tick in steps of milliseconds: where they are equal the name decides."""
    script = 'for i in 10 11 12 13 14 15 16 17 18 19 20; do echo "$i" > "$0/$i"; done'
    subprocess.run(["sh", "-c", script, bridge.box()], check=True, timeout=10)
    bridge.settle()
    await bridge.all("sent", 11)
    assert [str(number) for number in range(10, 21)] == bridge.texts()


async def test_a_channel_that_waits_holds_up_no_other(bridge: Bridge) -> None:
    """One has a message that Discord will not answer; the other goes on."""
    await bridge.stop()
    bridge.watched = True
    await bridge.start()
    stuck = bridge.drop("!!503 in here")
    await bridge.clock.sleepers(1)
    behind = bridge.drop("behind it")
    others = [bridge.drop(f"number {number}", "mayor-villa") for number in range(3)]
    for other in others:
        await bridge.settled(other)
    assert ([], ["number 0", "number 1", "number 2"]) == (bridge.texts(), bridge.texts("mayor-villa"))
    assert (bridge.clock() + 5.0) == pytest.approx(bridge.posting.waiting["general"][0], abs=0.2)
    bridge.clock.advance(5.5)
    await bridge.settled(stuck)
    await bridge.settled(behind)
    assert (["!!503 in here", "behind it"], {}) == (bridge.texts(), bridge.posting.waiting)


# -- what cannot become a message ------------------------------------------------------------------------


async def test_an_unknown_channel_names_the_nearest(bridge: Bridge) -> None:
    """The reason's command, run by a shell, sends it there under its ID; no reason stays behind."""
    (bridge.spool.root / "outgoing" / "mayor-vila").mkdir()
    bridge.echo("hello", "mayor-vila")
    failed = await bridge.only("failed")
    assert "no channel 'mayor-vila' in discord-channels.json" == failed.reason
    assert "What to do: did you mean mayor-villa?" == bridge.why(failed)[1]
    bridge.retry(failed)
    sent = await bridge.settled(failed)
    assert (("sent", "mayor-villa"), ["hello"]) == (
        (sent.state, sent.channel), bridge.texts("mayor-villa")
    )  # fmt: skip
    assert {sent_to(sent): [failed.name]} == bridge.tree()


async def test_a_channel_like_no_other_is_left_to_the_reader(bridge: Bridge) -> None:
    """No name is near: the command says CHANNEL, and works with a real one."""
    (bridge.spool.root / "outgoing" / "xyzzy").mkdir()
    failed_drop = bridge.drop("hello", "xyzzy")
    failed = await bridge.settled(failed_drop)
    assert "What to do: see: spoolbridge channels list" == bridge.why(failed)[1]
    bridge.retry(failed, CHANNEL="general")
    assert "sent" == (await bridge.settled(failed)).state
    assert (["hello"], {}) == (bridge.texts(), bridge.tree("failed"))


async def test_dropped_beside_the_channels(bridge: Bridge) -> None:
    """A file directly in outgoing/ belongs to no channel: failed/, with those that there are."""
    (bridge.spool.root / "outgoing" / "stray").write_text("where to?\n")
    bridge.settle()
    failed = await bridge.only("failed")
    assert "dropped directly in outgoing/" == failed.reason
    hint = "name a channel: outgoing/<channel>/<name>; there are mayor-villa, general"
    assert f"What to do: {hint}" == bridge.why(failed)[1]
    bridge.retry(failed, CHANNEL="general")
    assert "sent" == (await bridge.settled(failed)).state
    assert (["where to?"], {}) == (bridge.texts(), bridge.tree("failed"))


async def test_an_unknown_key_is_not_skipped(bridge: Bridge) -> None:
    """A typo would send a wrong message: the line and the nearest key are named; corrected, it goes."""
    bridge.echo("Spoolbridge: 1\nRepy-To: 1\n\nhello")
    failed = await bridge.only("failed")
    assert "line 2: unknown header 'Repy-To'" == failed.reason
    assert "did you mean Reply-To?" in bridge.why(failed)[1]
    failed.path.write_text("Spoolbridge: 1\nRig: villa\n\nhello\n")
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert (["[villa] hello"], 1) == (bridge.texts(), bridge.posts())


async def test_an_empty_file_gets_a_minute(bridge: Bridge) -> None:
    """`touch`, and then nothing: after 60 seconds that is no message any more."""
    path = bridge.box() / "note"
    path.touch()
    bridge.settle()
    await bridge.scanned()
    assert {"outgoing/general": ["note"]} == bridge.tree()
    bridge.clock.advance(GRACE)
    bridge.ring()
    failed = await bridge.only("failed")
    assert ("the file is empty", []) == (failed.reason, bridge.texts())
    failed.path.write_text("now with a text\n")
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["now with a text"] == bridge.texts()


async def test_a_minute_is_enough_for_who_writes_into_it(bridge: Bridge) -> None:
    """Empty for half of it, then written: one message."""
    path = bridge.box() / "note"
    path.touch()
    bridge.clock.advance(30)
    bridge.ring()
    await bridge.scanned()
    path.write_text("late but whole\n")
    bridge.settle()
    await bridge.only("sent")
    assert ["late but whole"] == bridge.texts()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path, secret: os.symlink(secret, path), "a symbolic link, which is never followed"),
        (lambda path, secret: os.link(secret, path), "the file has a second link"),
        (lambda path, secret: os.mkfifo(path), "not a regular file"),
    ],
    ids=["symlink", "hard link", "fifo"],
)
async def test_no_file_of_somebody_else_is_read(
    bridge: Bridge, tmp_path: Path, make: Any, reason: str
) -> None:
    """Whoever can name a file could otherwise have the bridge read it out."""
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    make(bridge.box() / "note", secret)
    bridge.settle()
    await bridge.scanned()
    bridge.clock.advance(GRACE)
    bridge.ring()
    failed = await bridge.only("failed")
    assert (reason, 0) == (failed.reason, bridge.posts())
    assert "secret\n" == secret.read_text()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"caf\xe9\n", "not UTF-8 text: byte 4 is 0xe9"),
        (b"abc\0def\n", "byte 4 is NUL, perhaps the mark of a crash"),
        (b" \n\n", "the message is empty"),
    ],
)
async def test_bytes_that_are_no_text(bridge: Bridge, data: bytes, reason: str) -> None:
    """The reason names the byte."""
    failed = await bridge.settled(bridge.drop(data))
    assert ("failed", reason, 0) == (failed.state, failed.reason, bridge.posts())


@pytest.mark.parametrize(("word", "code"), [("automod", 200000), ("links", 240000), ("413", 40005)])
async def test_refused_by_discord(bridge: Bridge, word: str, code: int) -> None:
    """Asked once, in failed/ with Discord's code and without the text; with other words it goes."""
    failed = await bridge.settled(bridge.drop(f"!!{word} and a secret"))
    why = "\n".join(bridge.why(failed))
    assert ("failed", 1, []) == (failed.state, bridge.posts(), bridge.texts())
    assert f"code {code}: " in failed.reason
    assert "secret" not in why
    failed.path.write_text("in other words\n")
    bridge.retry(failed)
    sent = await bridge.settled(failed)
    assert ("sent", failed.name, ["in other words"]) == (sent.state, sent.name, bridge.texts())
    assert 1 == len(set(bridge.nonces))


async def test_refused_and_retried_unchanged(bridge: Bridge) -> None:
    """Somebody has changed Discord's mind: the same file, the same ID, the same nonce."""
    details: dict[str, Any] = {"status": 400, "code": 50035, "message": "Invalid Form Body"}
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", **details)
    failed = await bridge.settled(bridge.drop("hello", name="greeting"))
    assert ("failed", []) == (failed.state, bridge.texts())
    assert "Discord answered 400, code 50035" in failed.reason
    assert f"{failed.id}.greeting{WHY}" in bridge.tree()["failed/general"]
    bridge.retry(failed)
    sent = await bridge.settled(failed)
    assert (["hello"], {sent_to(sent): [failed.name]}) == (bridge.texts(), bridge.tree())


async def test_a_name_with_everything_in_it(bridge: Bridge) -> None:
    """The retry command quotes what a shell would read otherwise, even a channel's name."""
    channel = "it's; $(touch pwned) `x`\n\x1b[2J"
    (bridge.spool.root / "outgoing" / channel).mkdir()
    bridge.echo("hello", channel, name="a b;'\"$HOME\n.md")
    failed = await bridge.only("failed")
    bridge.retry(failed, CHANNEL="general")
    assert "sent" == (await bridge.settled(failed)).state
    assert (["hello"], {}) == (bridge.texts(), bridge.tree("failed"))
    assert not Path("pwned").exists()


async def test_names_that_are_not_even_text(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """A directory and a file named by other bytes than UTF-8 end in failed/, and nothing else ends."""
    box = os.fsencode(bridge.spool.root / "outgoing") + b"/caf\xe9"
    os.mkdir(box)
    with open(box + b"/\xff\xfe", "w") as file:
        file.write("hello\n")
    bridge.settle()
    failed = await bridge.only("failed")
    assert f"{failed.id}.%FF%FE" == failed.name
    await bridge.settled(bridge.drop("goes on"))
    assert ["goes on"] == bridge.texts()
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_drop_box_that_is_removed(bridge: Bridge) -> None:
    """While it was being emptied, or with an entry on its way: nothing else notices."""
    await bridge.settled(bridge.drop("one"))
    bridge.emulator.guild.overwrite(bridge.emulator.guild.channel("general"), deny=VIEW_CHANNEL)
    (bridge.box() / ".hold").touch()
    entry = bridge.drop("two")
    await bridge.stop()
    shutil.move(entry.path, bridge.spool.root / "sending" / "general" / entry.name)
    await bridge.start()
    shutil.rmtree(bridge.box())
    bridge.ring()
    await bridge.settled(bridge.drop("three", "mayor-villa"))
    await bridge.scanned()
    assert ({"outgoing/general": [entry.name]}, {}) == (
        bridge.tree("outgoing", "sending"), bridge.dispatcher.disk
    )  # fmt: skip


# -- long, and not text ----------------------------------------------------------------------------------


def long_text(parts: int) -> str:
    """A text of so many parts, with a code fence over every border."""
    lines = [f"line {number:04} of a log that goes on and on" for number in range(38 * parts)]
    return "before\n```python\n" + "\n".join(lines) + "\n```\nafter"


async def test_a_long_text_in_parts(bridge: Bridge) -> None:
    """Each part fits, each fence is closed and opened again, and no line is lost."""
    text = long_text(3)
    await bridge.settled(bridge.drop(text))
    found = bridge.texts()
    assert 3 <= len(found) <= 4
    assert all(len(part) <= 2000 and part.count("```") % 2 == 0 for part in found)
    lines = [line for part in found for line in part.split("\n") if not line.startswith("```")]
    assert [line for line in text.split("\n") if not line.startswith("```")] == lines
    assert len(found) == len(set(bridge.nonces))
    assert all({"parse": []} == payload["allowed_mentions"] for payload, _ in bridge.arrived)


async def test_a_text_of_more_than_five_parts(bridge: Bridge) -> None:
    """The beginning, and the whole as a file: not 512 posts."""
    text = long_text(9)
    await bridge.settled(bridge.drop(text))
    ((payload, files),) = bridge.arrived
    assert [("message.md", text.encode())] == files
    assert payload["content"].startswith("before\n```python\nline 0000")
    assert payload["content"].endswith("the whole text is attached")


async def test_a_failure_resumes_at_the_failed_part(bridge: Bridge) -> None:
    """Part 2 is refused: part 1 stays, and the retry posts what is missing and nothing else."""
    text = long_text(3)
    details: dict[str, Any] = {"status": 400, "code": 50035, "message": "Invalid Form Body"}
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **details)
    failed = await bridge.settled(bridge.drop(text))
    parts = [part.content.strip() for part in outgoing.compose(outgoing.parse("x", text.encode()))]
    assert ("failed", parts[:1]) == (failed.state, bridge.texts())
    await bridge.restart()
    bridge.retry(failed)
    sent = await bridge.settled(failed)
    assert ("sent", parts) == (sent.state, bridge.texts())
    assert 1 + len(parts) == bridge.posts()
    assert len(parts) == len(sent.message_ids)


async def test_an_entry_edited_after_its_first_part_was_sent(bridge: Bridge) -> None:
    """What was sent cannot be another text's beginning: the edited one is not lost, it needs a new name."""
    details: dict[str, Any] = {"status": 400, "code": 50035, "message": "Invalid Form Body"}
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **details)
    failed = await bridge.settled(bridge.drop(long_text(2)))
    first = bridge.texts()
    failed.path.write_text("short, after all\n")
    bridge.retry(failed)
    again = await bridge.only("failed")
    assert ("short, after all\n", first) == (again.path.read_text(), bridge.texts())
    assert failed.id != again.id
    assert "this ID belongs to another message" in again.reason
    bridge.retry(again)
    assert "sent" == (await bridge.settled(again)).state
    assert [*first, "short, after all"] == bridge.texts()


async def test_an_entry_edited_behind_what_was_sent(bridge: Bridge) -> None:
    """Part 2 was refused and is written anew; part 1 is as it was: that is the same message."""
    text = long_text(2)
    details: dict[str, Any] = {"status": 400, "code": 200000, "message": "blocked"}
    bridge.emulator.fail(method="POST", route=MESSAGES, kind="status", after=1, **details)
    failed = await bridge.settled(bridge.drop(text))
    edited = text.replace("after", "a better end")
    failed.path.write_text(edited)
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    parts = [part.content.strip() for part in outgoing.compose(outgoing.parse("x", edited.encode()))]
    assert (parts, len(parts) + 1) == (bridge.texts(), bridge.posts())


async def test_a_picture_is_uploaded_under_its_own_name(bridge: Bridge, tmp_path: Path) -> None:
    """`cp`, and that is all; what a name needs in the spool is nobody else's business."""
    picture = tmp_path / "my chart (1).png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    shutil.copy(picture, bridge.box())
    bridge.settle()
    sent = await bridge.only("sent")
    ((payload, files),) = bridge.arrived
    assert [("my chart (1).png", picture.read_bytes())] == files
    assert ("", {"parse": []}) == (payload["content"], payload["allowed_mentions"])
    assert f"{sent.id}.my%20chart%20%281%29.png" == sent.name


async def test_a_bundle(bridge: Bridge) -> None:
    """Text and files in one request; the body may have a header; a bundle without one is only files."""
    files = {"a.png": b"\x89PNG\xff", "b.txt": b"plain\n"}
    entry = bridge.drop("Spoolbridge: 1\nRig: villa\n\nlook\n", files=files, name="report")
    await bridge.settled(entry)
    await bridge.settled(bridge.drop(None, files={"c.log": b"all\n"}))
    assert [("[villa] look", list(files.items())), ("", [("c.log", b"all\n")])] == [
        (payload["content"], uploads) for payload, uploads in bridge.arrived
    ]


async def test_a_bundle_made_by_a_shell(bridge: Bridge) -> None:
    """Made under a hidden name and renamed."""
    script = 'cd "$0" && mkdir -p .a/files && echo look > .a/body && echo 1 > .a/files/n && mv .a a.msg'
    subprocess.run(["sh", "-c", script, bridge.box()], check=True, timeout=10)
    bridge.settle()
    await bridge.only("sent")
    assert [("look", [("n", b"1\n")])] == [(each["content"], uploads) for each, uploads in bridge.arrived]


async def test_files_that_are_refused_are_not_the_channels_fault(bridge: Bridge) -> None:
    """No right to attach is a missing permission too, but the channel takes text."""
    bridge.emulator.deny("general", 1 << 15)
    failed = await bridge.settled(bridge.drop(b"\x89PNG\xff", name="a.png"))
    await bridge.settled(bridge.drop("text"))
    assert ("failed", {}, ["text"]) == (failed.state, bridge.dispatcher.parked, bridge.texts())
    assert "code 50013" in failed.reason


# -- a known ID comes back -------------------------------------------------------------------------------


async def test_sent_already_and_moved_back(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    """`mv sent/…/X outgoing/general/` is no second message, and the log says which it was."""
    caplog.set_level("INFO")
    entry = await bridge.settled(bridge.drop("once"))
    await bridge.restart()
    shutil.move(entry.path, bridge.box())
    bridge.ring()
    await bridge.quiet()
    assert (["once"], 1, {sent_to(entry): [entry.name]}) == (bridge.texts(), bridge.posts(), bridge.tree())
    assert f"already sent as {entry.message_ids[0]}" in caplog.text


async def test_sent_already_and_copied_back(bridge: Bridge) -> None:
    """The original keeps its place and its ID; the copy says how to send it on purpose."""
    entry = await bridge.settled(bridge.drop("once"))
    shutil.copy(entry.path, bridge.box())
    bridge.settle()
    failed = await bridge.only("failed")
    assert (["once"], [entry.name]) == (bridge.texts(), bridge.tree("sent")[sent_to(entry)])
    assert entry.id != failed.id
    assert "once" == failed.path.read_text()
    assert "an entry of this ID lies in sent/ already" in failed.reason
    shutil.copy(entry.path, bridge.box() / "again")
    bridge.settle()
    await bridge.emulator.posted("general", 2)
    assert ["once", "once"] == bridge.texts()


async def test_a_sent_id_with_another_text(bridge: Bridge) -> None:
    """Another message has it: this one gets an ID of its own, and is sent by the retry."""
    entry = await bridge.settled(bridge.drop("first"))
    (bridge.box() / entry.name).write_text("second\n")
    bridge.settle()
    failed = await bridge.only("failed")
    assert (["first"], "second\n") == (bridge.texts(), failed.path.read_text())
    assert entry.id != failed.id
    assert "this ID belongs to another message, which was sent before or may have been" == failed.reason
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["first", "second"] == bridge.texts()


async def test_a_sent_id_in_another_channel(bridge: Bridge) -> None:
    """That is a new message, with a nonce of its own."""
    entry = await bridge.settled(bridge.drop("for both"))
    shutil.copy(entry.path, bridge.box("mayor-villa"))
    bridge.settle()
    await bridge.emulator.posted("mayor-villa")
    await bridge.quiet()
    assert (["for both"], ["for both"]) == (bridge.texts(), bridge.texts("mayor-villa"))
    assert 2 == len(set(bridge.nonces))


async def test_the_same_text_twice_is_two_messages(bridge: Bridge) -> None:
    """Dropped twice is meant twice."""
    for _ in range(2):
        bridge.echo("ping")
        await bridge.quiet()
    assert (["ping", "ping"], 2) == (bridge.texts(), len(set(bridge.nonces)))


# -- threads, time, and bugs -----------------------------------------------------------------------------


async def test_into_a_thread(bridge: Bridge) -> None:
    """A header names it; a thread that is closed refuses this message and parks no channel."""
    guild = bridge.emulator.guild
    thread = guild.add_thread(guild.channel("general"), "the failing test", 11)
    header = f"Spoolbridge: 1\nThread: {thread.id}\n\n"
    await bridge.settled(bridge.drop(f"{header}in the thread"))
    assert (["in the thread"], []) == (bridge.texts("the failing test"), bridge.texts())
    failed = await bridge.settled(bridge.drop("Spoolbridge: 1\nThread: 4711\n\nnowhere"))
    await bridge.settled(bridge.drop("in the channel"))
    assert "the thread 4711 is refused: " in failed.reason
    assert (["in the channel"], {}) == (bridge.texts(), bridge.dispatcher.parked)


async def test_not_after(bridge: Bridge) -> None:
    """What has expired is not posted; what has not is."""
    header = "Spoolbridge: 1\nNot-After: {}\n\n{}"
    failed = await bridge.settled(bridge.drop(header.format("2026-01-01T00:00:00Z", "stale")))
    await bridge.settled(bridge.drop(header.format("2999-01-01T00:00:00Z", "fresh")))
    assert ("its Not-After has passed", ["fresh"], 1) == (failed.reason, bridge.texts(), bridge.posts())


async def test_what_is_posted_late_says_so(bridge: Bridge) -> None:
    """Over five minutes after it was written: when, and how long ago."""
    await bridge.stop()
    soon, late = bridge.drop("in time"), bridge.drop("late", "mayor-villa")
    bridge.clock.advance(299)
    shutil.move(late.path, bridge.spool.root / late.name)
    await bridge.start()
    await bridge.settled(soon)
    bridge.clock.advance(1600)
    shutil.move(bridge.spool.root / late.name, late.path)
    bridge.ring()
    await bridge.settled(late)
    (text,) = bridge.texts("mayor-villa")
    assert (["in time"], "delayed 31 min)\nlate") == (bridge.texts(), text.partition(", ")[2])


@pytest.mark.parametrize("where", ["post", "read"])
async def test_a_bug_costs_one_message_its_place_and_no_other(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    """In posting or in reading: the entry is kept in failed/, says so, and the next goes out."""
    name = "compose" if where == "post" else "parse"
    real = getattr(outgoing, name)

    def broken(*arguments: Any) -> Any:
        if "poison" in arguments[0].text:
            raise ZeroDivisionError("poison")
        return real(*arguments)

    def broken_parse(entry: str, body: bytes, files: Any) -> Any:
        if b"poison" in body:
            raise ZeroDivisionError("poison")
        return real(entry, body, files)

    monkeypatch.setattr(outgoing, name, broken if where == "post" else broken_parse)
    entry = bridge.drop("poison")
    await bridge.settled(bridge.drop("next"))
    failed = await bridge.settled(entry)
    assert ("the bridge itself failed (ZeroDivisionError)", ["next"]) == (failed.reason, bridge.texts())
    assert "ZeroDivisionError" in caplog.text
    assert "poison" not in caplog.text
    monkeypatch.undo()
    bridge.retry(failed)
    assert "sent" == (await bridge.settled(failed)).state
    assert ["next", "poison"] == bridge.texts()


async def test_a_drop_box_that_may_not_be_read(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that somebody made for himself alone stops nobody else's messages."""
    names = bridge.spool.names

    def refused(path: str) -> list[str]:
        if path == "outgoing/mayor-villa":
            raise PermissionError(13, "Permission denied")
        return names(path)

    monkeypatch.setattr(bridge.spool, "names", refused)
    bridge.drop("goes on")
    await bridge.emulator.posted("general")
    assert ["goes on"] == bridge.texts()


async def test_drain_ends_where_nothing_more_can_go(bridge: Bridge) -> None:
    """What is ready goes out; what is not ready, not a message or on hold keeps nobody waiting."""
    await bridge.stop()
    await bridge.open()
    (bridge.box() / "empty").touch()
    (bridge.box() / "a directory").mkdir()
    (bridge.box("mayor-villa") / ".hold").touch()
    bridge.drop("held", "mayor-villa")
    for number in range(3):
        bridge.drop(f"number {number}")
    await bridge.dispatcher.drain()
    assert (["number 0", "number 1", "number 2"], []) == (bridge.texts(), bridge.texts("mayor-villa"))
