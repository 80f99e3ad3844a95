"""The mail that a message becomes, and what gt's exit and words mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolbridge.channels import Channel
from spoolbridge.errors import SettingsError
from spoolbridge.gt import Verdict, answer_of
from spoolbridge.incoming import from_discord
from spoolbridge.mail import (
    LONGEST_BODY,
    address_of,
    agent_mail,
    checked_routes,
    compose,
    decode,
    mailbox_of,
    marked,
    sender_of,
    without_trailer,
)
from spoolbridge.rendering import Kept
from tests.support.messages import GUILD, START, STATUS, VILLA, incoming, json_message

CREW = "villacalculatecost3/crew/max"


def test_a_mail_survives_its_file() -> None:
    """Encoded and read back it is the same mail."""
    mail = compose(incoming(content="grüße \U0001f600"), CREW, polled_id=VILLA.id, now=1.5, spool="spool")
    assert mail == decode(mail.encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"message_id": 1}'])
def test_a_file_that_holds_no_mail(data: bytes) -> None:
    """One kind of error, whatever is wrong with it."""
    with pytest.raises(ValueError):
        decode(data)


def test_a_long_body_names_the_file() -> None:
    """The store's column ends at 64 KiB: what is cut is found in the spool."""
    mail = compose(incoming(content="ü" * 40_000), "mayor/", polled_id=1, now=0.0, spool="spool")
    assert len(mail.body.encode()) <= LONGEST_BODY
    name = f"spool/incoming/mayor-villa/new/1795305600.D{START}.discord"
    assert f"ü\n[cut here; the whole text is in {name}]\n\n-- \n" in mail.body
    assert mail.body.splitlines()[-1] == mail.marker


def test_a_mail_tells_where_the_files_lie() -> None:
    """By the spool's path as the agent knows it, also where the text was cut before it came to them."""
    picture = {"id": "9", "filename": "a.png", "size": 1, "url": "https://cdn.example/a.png"}
    kept = {9: Kept("attachments/mayor-villa/1/a.png"), 8: Kept(reason="too large")}
    both = json_message(content="ü" * 40_000, attachments=[picture, {**picture, "id": "8"}])
    message = from_discord(both, VILLA, GUILD, kept=kept)
    mail = compose(message, "mayor/", polled_id=1, now=0.0, spool="/town/spool")
    assert "]\n\nAttached: /town/spool/attachments/mayor-villa/1/a.png\n\n-- \nTo answer: " in mail.body
    assert 1 == mail.body.count("Attached: ")
    assert len(mail.body.encode()) <= LONGEST_BODY


def test_the_subject_cannot_act_in_a_prompt() -> None:
    """It is typed into an agent's terminal."""
    author = {"id": "5", "username": "`rm`\n\x1b[2J<x>\u202e" + "y" * 300}
    mail = compose(incoming(author=author), "mayor/", polled_id=1, now=0.0, spool="spool")
    assert 120 == len(mail.subject)
    assert mail.subject.startswith("Discord #mayor-villa from rm [2Jx yyy")


@pytest.mark.parametrize(
    ("name", "address", "sender"),
    [
        ("mayor-villa", "mayor-villa", "discord/mayor-villa"),
        ("mayor", "mayor", "discord/7"),
        ("grüße", "grüße", "discord/7"),
        ("mayor-x", "rig.mayor-x", "discord/7"),
    ],
)
def test_the_sender_is_ours_to_choose(name: str, address: str, sender: str) -> None:
    """A name that gt would read as an agent's, or trip over, is told by its id."""
    assert sender == sender_of(Channel(name, 7, None, address))


def test_routes_come_before_the_mayor() -> None:
    """By address or by name; without either only mayor-* is mailed."""
    assert "mayor/" == address_of(VILLA, {})
    assert CREW == address_of(VILLA, {"mayor-villa": CREW})
    assert None is address_of(STATUS, {})


@pytest.mark.parametrize("address", ["mayor", "-x/", "a b/", "villa/crew/max/more", "", "../x"])
def test_an_address_nobody_reads_is_refused(address: str) -> None:
    """gt takes a bare word for a directory and says that all is well."""
    with pytest.raises(SettingsError):
        checked_routes({"vi-status": address})


@pytest.mark.parametrize("address", ["mayor/", "overseer", "villa/witness", CREW, "list:all"])
def test_an_address_somebody_reads(address: str) -> None:
    """The forms that gt knows."""
    assert checked_routes({"vi-status": address}) == {"vi-status": address}


@pytest.mark.parametrize(
    ("code", "err", "verdict"),
    [
        (0, "", Verdict.DONE),
        (0, "Warning: bd is old", Verdict.DONE),
        (None, "", Verdict.UNKNOWN),
        (1, "Error: unknown address: x\nUsage:\n  gt", Verdict.REFUSED),
        (1, "Error: argument list too long", Verdict.REFUSED),
        (1, "Error: parse error on line 3", Verdict.REFUSED),
        (1, "Error: not in a Gas Town workspace", Verdict.UNCONFIGURED),
        (1, "Error: dolt: connection refused", Verdict.FAILED),
        (-9, "", Verdict.FAILED),
    ],
)
def test_what_an_exit_means(code: int | None, err: str, verdict: Verdict) -> None:
    """Decided here, once, by gt's exit and words."""
    assert verdict == answer_of(code, err).verdict


def test_the_usage_text_is_no_reason() -> None:
    """gt prints it behind every error."""
    err = "Warning: bd is old\nError: store is \x1b[1mdown\nUsage:\n  gt mail send <address>"
    assert "store is [1mdown" == answer_of(1, err).reason
    assert "gt ended with 1 and said nothing" == answer_of(1, "").reason


def test_a_channel_that_gt_takes_for_an_agent_has_no_mailbox() -> None:
    """Its mail would reach the agent, so no mail offers to be answered either."""
    named = {name: Channel(name, 7, None, name) for name in ("mayor", "deacon", "overseer", "vgt", "grüße")}
    assert {"mayor": None, "deacon": None, "overseer": None, "vgt": "vgt", "grüße": "7"} == {
        name: mailbox_of(channel) for name, channel in named.items()
    }
    message = replace(incoming(), channel=named["mayor"])
    mails = [
        compose(each, "mayor/", polled_id=1, now=0.0, spool="spool", replies=True)
        for each in (message, incoming())
    ]
    assert [False, True] == ["To answer: gt mail reply <this mail>, or " in mail.body for mail in mails]


@pytest.mark.parametrize("quote", ["", "> ", ">> "])
def test_an_answer_that_quotes_the_mail(quote: str) -> None:
    """It tells which message it is about, and the trailer is not posted."""
    asked = compose(incoming(), "mayor/", polled_id=1, now=0.0, spool="spool", replies=True).body
    body = "it is green\n\n" + "\n".join(f"{quote}{line}".rstrip() for line in asked.splitlines())
    assert START == marked(body)
    text = without_trailer(body)
    assert text.startswith("it is green\n")
    assert text.endswith("how is the build?" + (f"\n{quote}".rstrip() if quote else ""))


@pytest.mark.parametrize("body", ["", "discord-message-id: x", "see discord-message-id: 7 there", "9" * 30])
def test_what_marks_no_message(body: str) -> None:
    """Only a line of its own with an id does."""
    assert None is marked(body)


@pytest.mark.parametrize("told", [None, [], "x", {}, {"id": 7.5e99}, {"id": "-a"}, {"id": ""}, {"id": "a b"}])
def test_what_is_no_mail_of_an_agent(told: object) -> None:
    """Nor what could not be told to gt again as an argument."""
    assert None is agent_mail(told)


@pytest.mark.parametrize(
    ("timestamp", "at"),
    [
        ("2026-11-22T00:00:00Z", 1795305600.0),
        ("2026-11-22T01:00:00.123456789+01:00", 1795305600.123456),
        ("-0001-01-01T00:00:00Z", 0.0),
        (None, 0.0),
        (7, 0.0),
    ],
)
def test_when_a_mail_was_written(timestamp: object, at: float) -> None:
    """As gt tells it, to the nanosecond or not at all; whatever else is missing is empty."""
    assert ("hq-1", "", "", "", at, "") == agent_mail({"id": "hq-1", "timestamp": timestamp, "from": 3})
