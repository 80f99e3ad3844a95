"""A human's message: who counts as human, how it reads, and the two forms in which it is filed."""

from __future__ import annotations

import email
import email.policy
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge.channels import Channel
from spoolbridge.incoming import (
    Attachment,
    from_discord,
    inbox_line,
    is_human,
    maildir_bytes,
    maildir_file,
    maildir_name,
    snowflake_at,
    snowflake_time,
)
from spoolbridge.rendering import Kept, one_line, size
from tests.support.messages import GUILD, NIC, START, VILLA, incoming, json_message

OURS = 5
ADA = {"id": "7", "username": "ada_l", "global_name": "ada"}
URL = "https://cdn.example/chart.png?ex=1"
PICTURE = {"id": "9", "filename": "chart.png", "size": 123_456, "url": URL}
AWKWARD = 'nic \\"<>()@,;:.[]=?\n\t\0\u00a0\u200d\u202eé雅🙂'
PICTURE_LINE = "[attachment: chart.png, 123 kB, https://cdn.example/chart.png?ex=1]"


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("changes", "human"),
    [
        ({}, True),
        ({"type": 19}, True),
        ({"type": 7}, False),
        ({"type": 20}, False),
        ({"type": 46}, False),
        ({"type": None}, False),
        ({"type": []}, False),
        ({"author": {**NIC, "bot": True}}, False),
        ({"author": {**NIC, "bot": False}}, True),
        ({"author": {**NIC, "system": True}}, False),
        ({"author": {**NIC, "id": str(OURS)}}, False),
        ({"author": {**NIC, "id": OURS}}, False),
        ({"author": {**NIC, "id": "x"}}, False),
        ({"author": None}, False),
        ({"webhook_id": "8"}, False),
    ],
)
def test_who_counts_as_human(changes: dict[str, Any], human: bool) -> None:
    """Type 0 and 19, by somebody who is neither we nor a bot, a webhook or the system."""
    assert human == is_human(json_message(**changes), OURS)


@pytest.mark.parametrize("odd", [None, [], "x", 5, {}])
def test_nothing_odd_is_human(odd: Any) -> None:
    """And it raises nothing."""
    assert not is_human(odd, OURS)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi <@7> and <@!7>", "hi @ada and @ada"),
        ("<@8> is unknown", "<@8> is unknown"),
        ("see <#21>, <#22>", "see #general, <#22>"),
        ("<@&31>!", "@mayors!"),
        ("<:party:12> <a:wave:13>", ":party: :wave:"),
        ("</deploy now:14>", "/deploy now"),
        ("<t:1700000000> <t:1700000000:R>", "2023-11-14 22:13 UTC 2023-11-14 22:13 UTC"),
        ("<t:99999999999999999>", "<t:99999999999999999>"),
        ("<id:guide> <id:linked-roles:15>", "#Server Guide #Linked Roles"),
        ("<id:other> <b> a<b", "<id:other> <b> a<b"),
        ("one\r\ntwo\rthree\n\n", "one\ntwo\nthree"),
        ("\x1b[2J\x00\x07\x7f\x9b", "␛[2J␀␇␡�"),
        ("tab\tstays, \u200fש too", "tab\tstays, \u200fש too"),
        ("\ud83d\ude00 \ud800", "😀 �"),
        ("", "[no text: is the bot's Message Content intent on?]"),
    ],
)
def test_the_text_as_it_reads(content: str, text: str) -> None:
    """Names for ids where they are known, and nothing that acts on a terminal."""
    names = {21: "general", 31: "mayors"}
    message = from_discord(json_message(content=content, mentions=[ADA]), VILLA, GUILD, names=names)
    assert (text, "") == (message.text, message.reason)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"attachments": [PICTURE]}, f"hi\n\n{PICTURE_LINE}"),
        (
            {"content": "", "flags": 1 << 13, "attachments": [{**PICTURE, "size": 99, "duration_secs": 4.2}]},
            "[voice message: chart.png, 99 bytes, 4 s, https://cdn.example/chart.png?ex=1]",
        ),
        ({"content": "", "sticker_items": [{"id": "1", "name": "Wave"}]}, "[sticker: Wave]"),
        (
            {
                "content": "",
                "poll": {
                    "question": {"text": "Deploy?"},
                    "answers": [
                        {"poll_media": {"text": "yes"}},
                        {"poll_media": {"emoji": {"id": None, "name": "❌"}}},
                        {"poll_media": {"text": "later", "emoji": {"id": "5", "name": "party"}}},
                    ],
                },
            },
            "[poll: Deploy?]\n  - yes\n  - ❌\n  - party later",
        ),
        (
            {
                "content": "",
                "poll": {
                    "question": {"text": "Which?"},
                    "answers": [],
                    "allow_multiselect": True,
                    "expiry": "2026-11-23T01:00:00.123000+01:00",
                },
            },
            "[poll: Which?, several answers allowed, open until 2026-11-23 00:00 UTC]",
        ),
        ({"content": "", "activity": {"type": 3}, "application": {"name": "Chess"}}, "[invitation: Chess]"),
        (
            {
                "embeds": [
                    {
                        "type": "rich",
                        "title": "Build 7",
                        "url": "https://ci.example/7",
                        "description": "red\ngreen",
                        "fields": [{"name": "took", "value": "3 min"}],
                        "footer": {"text": "ci"},
                    }
                ]
            },
            "hi\n\n[embed: Build 7, https://ci.example/7]\n  red\n  green\n  took: 3 min\n  ci",
        ),
        (
            {"embeds": [{"description": "long\n" * 300, "fields": [{"name": "never", "value": "shown"}]}]},
            "hi\n\n[embed: untitled]\n" + "  long\n" * 199 + "  long…",
        ),
        (
            {"components": [{"type": 17, "components": [{"type": 10, "content": "inside"}]}]},
            "hi\n\n  inside",
        ),
        (
            {
                "type": 19,
                "message_reference": {"message_id": "42"},
                "referenced_message": {"author": ADA, "content": "how\nis it?"},
            },
            "hi\n\n[in reply to ada: how is it?]",
        ),
        (
            {"type": 19, "message_reference": {"message_id": "42"}, "referenced_message": None},
            "hi\n\n[in reply to a message that was deleted]",
        ),
        ({"type": 19, "message_reference": {"message_id": "42"}}, "hi\n\n[in reply to message 42]"),
        (
            {
                "content": "",
                "message_reference": {"type": 1, "message_id": "42"},
                "message_snapshots": [
                    {"message": {"content": "look <@7>", "mentions": [ADA], "attachments": [PICTURE]}}
                ],
            },
            f"[forwarded]\n  look @ada\n  {PICTURE_LINE}",
        ),
        (
            {
                "content": "",
                "message_reference": {"type": 1, "message_id": "42", "channel_id": "21"},
                "message_snapshots": [
                    {"message": {"content": "", "flags": 1 << 13, "attachments": [{**PICTURE, "id": "8"}]}}
                ],
            },
            f"[forwarded from #general]\n  {PICTURE_LINE.replace('attachment', 'voice message')}",
        ),
    ],
)
def test_what_is_not_text_becomes_a_line(changes: dict[str, Any], text: str) -> None:
    """Behind the human's own words, so that an answer of one word is still one word first."""
    json_of = json_message(**{"content": "hi", **changes})
    message = from_discord(json_of, VILLA, GUILD, names={21: "general"})
    assert (text, "") == (message.text, message.reason)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ({"content": "how\nis <@7>?", "mentions": [ADA]}, "how is @ada?"),
        ({"content": "x" * 300}, "x" * 199 + "…"),
        ({"content": "", "attachments": [PICTURE, {**PICTURE, "filename": "b.png"}]}, "chart.png, b.png"),
        ({"content": "", "sticker_items": [{"name": "Wave"}]}, "sticker: Wave"),
        ({"content": "", "poll": {"question": {"text": "Deploy?"}}}, "poll: Deploy?"),
        ({"content": ""}, "a message without text"),
    ],
)
def test_a_reply_quotes_a_line_of_what_it_answers(origin: dict[str, Any], told: str) -> None:
    """Also where that has no words: an agent must know what is meant."""
    reply: dict[str, Any] = {"type": 19, "message_reference": {"message_id": "42"}}
    message = incoming(content="yes", referenced_message={"author": ADA, **origin}, **reply)
    assert f"yes\n\n[in reply to ada: {told}]" == message.text


def test_a_reply_that_arrives_empty_says_so() -> None:
    """What it answers is known without the Message Content intent; that its words are missing is not seen."""
    reply: dict[str, Any] = {"type": 19, "message_reference": {"message_id": "42"}}
    hint = "[no text: is the bot's Message Content intent on?]"
    assert f"{hint}\n[in reply to message 42]" == incoming(content="", **reply).text


FILE = f"attachments/mayor-villa/{START}/chart.png"


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (Kept(FILE), f"[attachment: chart.png, 123 kB, image/png, a chart, saved as {FILE}]"),
        (
            Kept(reason="downloads are switched off"),
            "[attachment: chart.png, 123 kB, image/png, a chart, not downloaded: downloads are switched off, "
            f"{URL}]",
        ),
    ],
)
def test_what_became_of_an_attachment(kept: Kept, told: str) -> None:
    """The text, the header and the line name the file; or the reason, and the link while it is good."""
    picture = {**PICTURE, "content_type": "image/png", "description": "a chart"}
    message = from_discord(json_message(attachments=[picture]), VILLA, GUILD, kept={9: kept})
    assert f"how is the build?\n\n{told}" == message.text
    parsed = email.message_from_bytes(maildir_bytes(message), policy=email.policy.default)
    missing = f"chart.png: {kept.reason}" if kept.reason else None
    assert (kept.file or None, missing) == (parsed["X-Attachment"], parsed["X-Attachment-Missing"])
    expected = {"name": "chart.png", "url": URL, "size": 123_456, "type": "image/png"}
    (listed,) = json.loads(inbox_line(message, ""))["attachments"]
    assert expected | {"file": kept.file or None, "reason": kept.reason or None} == listed


def test_what_a_forward_carries_counts_as_attached() -> None:
    """Its files are another message's, and are wanted all the same."""
    forward: dict[str, Any] = {
        "message_reference": {"type": 1},
        "message_snapshots": [{"message": {"content": "look", "attachments": [PICTURE]}}],
    }
    message = from_discord(json_message(content="", **forward), VILLA, GUILD, kept={9: Kept(FILE)})
    assert [FILE] == [each.file for each in message.attachments]
    assert f"[forwarded]\n  look\n  [attachment: chart.png, 123 kB, saved as {FILE}]" == message.text


def test_what_cannot_be_rendered_keeps_its_files() -> None:
    """The words are raw JSON, and the file has its header."""
    odd = json_message(attachments=[PICTURE], poll=1)
    message = from_discord(odd, VILLA, GUILD, kept={9: Kept(FILE)})
    assert odd == json.loads(message.text)
    assert f"\nX-Attachment: {FILE}\n" in maildir_bytes(message).decode()


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (1, "1 byte"), (9_999, "9999 bytes"), (10_000, "10 kB"), (25 << 20, "26 MB")],
)
def test_sizes_as_people_say_them(count: int, said: str) -> None:
    """Short, and never 0 of anything."""
    assert said == size(count)


def test_a_reply_is_known_by_its_id_and_a_forward_is_none() -> None:
    """`reply_to` threads the mail; what was forwarded is not what is answered."""
    reference = {"message_id": "42"}
    reply = incoming(type=19, message_reference=reference, referenced_message=None)
    forward = incoming(message_reference={**reference, "type": 1}, message_snapshots=[])
    assert (42, None) == (reply.reply_to, forward.reply_to)


def test_attachments_are_kept_as_data() -> None:
    """Name, address and size; a name is one line whatever it was."""
    message = incoming(attachments=[{**PICTURE, "filename": "../a\nb\u202e.png"}])
    assert (Attachment(9, "../a b .png", URL, 123_456),) == message.attachments


def test_a_thread_is_told_apart_from_its_channel() -> None:
    """The channel is the one whose directory it goes to."""
    assert None is incoming().thread_id
    assert 77 == incoming(channel_id="77").thread_id


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-11-22T00:00:00.500000+00:00", 1795305600.5),
        ("2026-11-22T01:00:00+01:00", 1795305600.0),
        ("2026-11-22T00:00:01", 1795305601.0),
        ("yesterday", snowflake_time(START)),
        (None, snowflake_time(START)),
        ("0001-01-01T00:00:00+00:00", snowflake_time(START)),
    ],
)
def test_the_time_is_the_messages_own(timestamp: Any, expected: float) -> None:
    """From the message; from its id where that is no time."""
    assert expected == incoming(timestamp=timestamp).timestamp


def test_snowflakes_and_times() -> None:
    """There and back, to the millisecond."""
    assert 1795305600.0 == snowflake_time(1573850500300800000)
    assert 1573850500300800000 == snowflake_at(1795305600.0)
    assert 0 == snowflake_at(0)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "text",
        json_message() | {"content": None},
        json_message() | {"content": ["a"]},
        json_message() | {"author": None, "content": 5},
        json_message(mentions=[{"id": "x"}]),
        json_message(attachments=[{"filename": 5}]),
        json_message(embeds=["x"]),
        json_message(poll={"question": 1}),
        json_message(message_reference={"type": 1}),
        json_message(message_reference=[1]),
        json_message(flags="x"),
        {"id": "99999999999999999999999", "secret": "kept"},
    ],
)
def test_what_cannot_be_rendered_is_delivered_raw(odd: Any) -> None:
    """The JSON is the body, nothing of it is lost, and a header says why."""
    message = from_discord(odd, VILLA, GUILD)
    assert odd == json.loads(message.text)
    assert "the body is Discord's JSON" in message.reason
    assert b"\nX-Spoolbridge-Reason: not rendered (" in maildir_bytes(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*json_message(), "poll", "message_reference"]), JSON, max_size=6))
def test_no_message_raises(changes: dict[str, Any]) -> None:
    """Whatever Discord sends is a file, a line, and an answer to who wrote it."""
    json_of = json_message() | changes
    message = from_discord(json_of, VILLA, GUILD)
    is_human(json_of, OURS)
    parsed = email.message_from_bytes(maildir_bytes(message), policy=email.policy.default)
    assert str(message.id) == parsed["X-Discord-Message-Id"]
    assert 1 == inbox_line(message, maildir_file(message)).count(b"\n")


@given(st.text(st.characters(), max_size=60), st.text(st.characters(), max_size=60))
def test_no_name_makes_a_header(author: str, text: str) -> None:
    """Line ends, controls, direction marks and encoded words in a name stay a name."""
    user = {"id": "7", "username": author}
    data = maildir_bytes(incoming(content=text, author=user))
    head, _, _ = data.partition(b"\n\n")
    expected = [
        "From", "Date", "Subject", "Message-ID", "List-Id", "X-Discord-Message-Id", "X-Discord-Channel-Id",
        "X-Discord-Guild-Id", "X-Discord-Author-Id", "Content-Type", "Content-Transfer-Encoding",
        "MIME-Version",
    ]  # fmt: skip
    assert expected == [line.split(":")[0] for line in head.decode().split("\n")]
    assert expected == list(email.message_from_bytes(data, policy=email.policy.default).keys())


@pytest.mark.parametrize("name", ["nic\r\nBcc: x", "nic\0\x1b", "\u202enic\u2066", "=?utf-8?q?=0ABcc:_x?="])
def test_an_attackers_name(name: str) -> None:
    """The ones that would otherwise work."""
    parsed = email.message_from_bytes(
        maildir_bytes(incoming(author={"id": "7", "username": name})), policy=email.policy.default
    )
    assert None is parsed["Bcc"]
    shown = one_line(name).replace("=?", "= ?")
    assert f"Discord #mayor-villa from {shown}" == parsed["Subject"]
    assert "7@discord" == parsed["From"].addresses[0].addr_spec


@given(
    st.text(st.sampled_from(AWKWARD) | st.characters(), max_size=60),
    st.text(st.characters(), max_size=60),
    st.integers(0, 2**32),
)
def test_the_file_is_what_pythons_mail_makes_of_it(author: str, text: str, at: int) -> None:
    """Quotes, dates or line ends of our own making would be read differently by some mail programs."""
    message = replace(incoming(author={"id": "7", "username": author}, content=text), timestamp=float(at))
    mail = EmailMessage(
        policy=email.policy.SMTPUTF8.clone(linesep="\n", cte_type="8bit", max_line_length=None)
    )
    mail["From"] = Address(one_line(author).replace("=?", "= ?") or "unknown", "7", "discord")
    mail["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    mail["Subject"] = f"Discord #mayor-villa from {one_line(author) or 'unknown'}".replace("=?", "= ?")
    mail.set_content(f"{message.text}\n", charset="utf-8", cte="8bit")
    (ours, body), (theirs, content) = (
        data.split(b"\n\n", 1) for data in (maildir_bytes(message), mail.as_bytes())
    )
    assert content == body
    assert theirs.split(b"\n")[:3] == ours.split(b"\n")[:3]
    assert theirs.split(b"\n")[3:] == ours.split(b"\n")[-3:]


def test_the_whole_file() -> None:
    """Readable with cat: the headers that were promised, a blank line, the text."""
    json_of = json_message(
        content="grüße\nFrom me",
        attachments=[PICTURE],
        type=19,
        channel_id="77",
        message_reference={"message_id": "42"},
        referenced_message=None,
        author={**NIC, "global_name": 'Nic "雅" é'},
    )
    message = from_discord(json_of, VILLA, GUILD, kept={9: Kept("attachments/mayor-villa/1/a.png")})
    assert f"1795305600.D{START}.discord" == maildir_name(message)
    assert maildir_bytes(message).decode() == f"""\
From: "Nic \\"雅\\" é" <80351110224678912@discord>
Date: Sun, 22 Nov 2026 00:00:00 +0000
Subject: Discord #mayor-villa from Nic "雅" é
Message-ID: <{START}@discord>
In-Reply-To: <42@discord>
References: <42@discord>
List-Id: mayor-villa <{VILLA.id}.{GUILD}.discord>
X-Discord-Message-Id: {START}
X-Discord-Channel-Id: {VILLA.id}
X-Discord-Thread-Id: 77
X-Discord-Guild-Id: {GUILD}
X-Discord-Author-Id: 80351110224678912
X-Attachment: attachments/mayor-villa/1/a.png
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: 8bit
MIME-Version: 1.0

grüße
From me

[attachment: chart.png, 123 kB, saved as attachments/mayor-villa/1/a.png]
[in reply to a message that was deleted]
"""


def test_a_long_line_stays_a_line() -> None:
    """8bit and unfolded, whatever its length: `grep` finds what was written."""
    assert ("ü" * 4000).encode() in maildir_bytes(incoming(content="ü" * 4000))


@pytest.mark.usefixtures("berlin")
def test_the_line_of_the_inbox_file() -> None:
    """The three old keys first, the time local; ids as strings."""
    line = inbox_line(incoming(attachments=[PICTURE], content="grüße"), "incoming/x")
    assert line.decode() == json.dumps(
        {
            "timestamp": "2026-11-22T01:00:00",
            "subject": "Discord #mayor-villa from nic",
            "body": f"grüße\n\n{PICTURE_LINE}",
            "id": str(START),
            "channel": "mayor-villa",
            "channel_id": str(VILLA.id),
            "rig": "villacalculatecost3",
            "author": "nic",
            "author_id": "80351110224678912",
            "file": "incoming/x",
            "reply_to": None,
            "attachments": [
                {
                    "name": "chart.png", "url": URL, "size": 123_456,
                    "type": None, "file": None, "reason": None,
                }
            ],
        },
        ensure_ascii=False,
    ) + "\n"  # fmt: skip


def test_a_channel_that_two_rigs_have_is_told_by_its_address() -> None:
    """The same word that `send` takes and that the directory is called."""
    channel = Channel("status", 3, "db", "db.status")
    message = from_discord(json_message(), channel, GUILD)
    assert f"incoming/db.status/new/{maildir_name(message)}" == maildir_file(message)
    assert "db.status" == json.loads(inbox_line(message, ""))["channel"]
