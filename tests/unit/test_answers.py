"""One answer of Discord's, or none, becomes an outcome, an error and a sentence: the whole table."""

from __future__ import annotations

import json
import ssl
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest

from spoolbridge.discord import answers, routes
from spoolbridge.discord.answers import (
    UNREADABLE,
    Answer,
    error_of,
    outcome_of,
    outcome_of_failure,
    reason_of,
)
from spoolbridge.discord.codes import MEANINGS
from spoolbridge.errors import (
    ChannelClosedError,
    DiscordError,
    RefusedError,
    TokenRefusedError,
    UnreachableError,
)
from spoolbridge.outcome import Closed, NotSent, Outcome, Refused, Sent, Unknown

HTML = b"<!DOCTYPE html><html><head><title>502: Bad gateway</title></head></html>"
SECRET = "the agent's own words"


def answered(status: int, body: object = None, *, via: bool = True, **headers: str) -> Answer:
    """An answer of the API's: JSON, through Google's proxy."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    sent["Content-Type"] = "application/json"
    if via:
        sent["Via"] = "1.1 google"
    return Answer.read(status, sent, json.dumps(body).encode())


def coded(status: int, code: int, message: str = "", **more: object) -> Answer:
    return answered(status, {"message": message, "code": code, **more})


def page(status: int, body: bytes = HTML, *, retry_after: str = "") -> Answer:
    """An answer of the edge's."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return Answer.read(status, {"Content-Type": "text/html", **headers}, body)


REFUSED = ConnectionRefusedError(111, "Connection refused")


def no_connection(kind: type[aiohttp.ClientConnectorError], error: OSError) -> aiohttp.ClientConnectorError:
    return kind(Mock(host="discord.com", port=443, ssl=True), error)


# -- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("application/json", b'{"id": "1"}', {"id": "1"}),
        ("application/json; charset=utf-8", b"[]", []),
        ("application/json", b"null", None),
        ("application/json", b'{"id": "1', UNREADABLE),
        ("application/json", b"\xff\xfe", UNREADABLE),
        ("application/json", b"[" * 100_000, UNREADABLE),
        ("text/html", b'{"id": "1"}', UNREADABLE),
        ("", b"", UNREADABLE),
    ],
)
def test_what_a_body_says(kind: str, body: bytes, data: object) -> None:
    """Only whole JSON that says it is JSON is read; `null` is an answer, a cut one is none."""
    assert data == Answer.read(200, {"Content-Type": kind}, body).data


@pytest.mark.parametrize(("code", "read"), [(50001, 50001), (True, 0), ("50001", 0), (None, 0)])
def test_a_code_is_a_number(code: object, read: int) -> None:
    """Anything else in its place is no code."""
    assert read == answered(400, {"code": code}).code


@pytest.mark.parametrize(
    ("answer", "edge"),
    [
        (answered(429, {"retry_after": 1.0}), False),
        (answered(429, {"retry_after": 1.0}, via=False), True),
        (answered(429, {"code": 0, "message": "You are being blocked"}), True),
        (page(429), True),
        (page(429, b"error code: 1015"), True),
        (page(403, b"error code: 1010"), True),
        (coded(403, 40333), False),
        (coded(403, 50001), False),
        (page(502), False),
        (page(404), False),
        (answered(200, {}), False),
    ],
)
def test_who_answered(answer: Answer, edge: bool) -> None:
    """Cloudflare's refusals lack `Via` or JSON; its error pages are about a server, not about us."""
    assert edge is answer.edge


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (answered(429, {"retry_after": 64.57}, Retry_After="65"), 64.57),
        (answered(429, {}, Retry_After="65"), 65.0),
        (answered(429, {"retry_after": "soon"}, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), None),
        (answered(429, {"retry_after": -1}), None),
        (page(429, retry_after="900"), 900.0),
    ],
)
def test_how_long_to_wait(answer: Answer, seconds: float | None) -> None:
    """The body's fraction before the header's whole seconds, and neither where it makes no sense."""
    assert seconds == answer.retry_after


# -- outcomes --------------------------------------------------------------------------------------------


def kind_of(outcome: Outcome) -> type[Outcome]:
    return type(outcome)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (answered(200, {"id": "1573850500300800000"}), Sent),
        (answered(200, {"id": "x"}), Unknown),
        (answered(200, {"id": 5}), Unknown),
        (answered(200, {"id": "9" * 5000}), Unknown),
        (answered(200, []), Unknown),
        (page(200), Unknown),
        (page(204, b""), Unknown),
        (page(500), Unknown),
        (page(502), Unknown),
        (page(504), Unknown),
        (page(524), Unknown),
        (coded(500, 0), Unknown),
        (coded(503, 130000), Unknown),
        (coded(503, 50001), Unknown),
        (page(408), Unknown),
        (answered(429, {"retry_after": 1.0}), NotSent),
        (coded(429, 20028, retry_after=0.3), NotSent),
        (coded(429, 40062, retry_after=1), NotSent),
        (page(429), NotSent),
        (page(403), NotSent),
        (coded(400, 40004), NotSent),
        (coded(403, 40006), NotSent),
        (coded(400, 40062), NotSent),
        (coded(400, 130000), NotSent),
        (page(301), NotSent),
        (page(308), NotSent),
        (coded(403, 50001), Closed),
        (coded(403, 50013), Closed),
        (coded(404, 10003), Closed),
        (coded(404, 10008), Refused),
        (coded(400, 50035), Refused),
        (coded(400, 50006), Refused),
        (coded(400, 200000), Refused),
        (coded(400, 240000), Refused),
        (coded(400, 20009), Refused),
        (coded(413, 40005), Refused),
        (page(413), Refused),
        (coded(403, 40333), Refused),
        (coded(403, 160002), Refused),
        (coded(403, 160005), Refused),
        (coded(400, 40058), Refused),
        (coded(404, 0, "404: Not Found"), Refused),
        (coded(405, 0), Refused),
        (coded(400, 99999999), Refused),
    ],
)
def test_what_came_of_a_post(answer: Answer, expected: type[Outcome]) -> None:
    """The table, row by row: nothing that may have been carried out is called not sent."""
    assert expected is kind_of(outcome_of(answer))


def test_a_sent_message_has_its_id() -> None:
    """As a number."""
    assert Sent(1573850500300800000) == outcome_of(answered(200, {"id": "1573850500300800000"}))


def test_a_deleted_original_was_sent() -> None:
    """A repeated nonce whose message is gone was posted; the same code on a first try is a refusal."""
    gone = coded(404, 10008)
    assert (Sent(0), Refused) == (outcome_of(gone, retrying=True), kind_of(outcome_of(gone)))


def test_an_unknown_channel_is_not_a_deleted_message() -> None:
    """On a repeated nonce too."""
    assert Closed is kind_of(outcome_of(coded(404, 10003), retrying=True))


def test_a_wait_is_handed_on() -> None:
    """The dispatcher needs to know how long."""
    outcome = outcome_of(answered(429, {"retry_after": 2.5}))
    assert isinstance(outcome, NotSent)
    assert 2.5 == outcome.retry_after


def test_a_refusal_has_its_codes() -> None:
    """Discord's and HTTP's."""
    outcome = outcome_of(coded(400, 200000))
    assert isinstance(outcome, Refused)
    assert (200000, 400) == (outcome.code, outcome.status)


def test_a_missing_permission_with_files_may_be_the_one_to_attach() -> None:
    """Then the entry fails and the channel stays open; access and existence are the channel's own."""
    outcomes = [kind_of(outcome_of(coded(403, code), files=True)) for code in (50013, 50001, 10003)]
    assert [Refused, Closed, Closed] == outcomes


FAULT: dict[str, Any] = {"_errors": [{"code": "X", "message": "no"}]}


def invalid(*path: str) -> Answer:
    """A form that Discord does not take, with the fault at that place."""
    errors = FAULT
    for each in reversed(path):
        errors = {each: errors}
    return coded(400, 50035, errors=errors)


@pytest.mark.parametrize(
    ("answer", "about"),
    [
        (invalid("message_reference"), "reply"),
        (invalid("message_reference", "message_id"), "reply"),
        (coded(400, 160002), "reply"),
        (coded(400, 50035, errors={"message_reference": FAULT, "files": {"0": FAULT}}), "reply"),
        (coded(400, 50035, errors={"message_reference": FAULT, "content": FAULT}), "message"),
        (invalid("content"), "message"),
        (coded(400, 200000), "message"),
        (coded(413, 40005), "files"),
        (coded(400, 50045), "files"),
        (coded(400, 30015), "files"),
        (coded(403, 50013), "files"),
        (page(413), "files"),
        (invalid("files", "0"), "files"),
        (coded(400, 50035, errors={"attachments": FAULT, "files": {"0": FAULT}}), "files"),
        (invalid("attachments", "0", "filename"), "files"),
    ],
)
def test_what_of_a_message_was_refused(answer: Answer, about: str) -> None:
    """Where it is the answer or the files, the text may pass; without files it is never the files."""
    refused = outcome_of(answer, files=True)
    assert isinstance(refused, Refused)
    assert about == refused.about
    plain = outcome_of(answer)
    if isinstance(plain, Refused):
        assert (about if about == "reply" else "message") == plain.about


@pytest.mark.parametrize("answer", [coded(401, 0), coded(401, 50014), page(401), coded(401, 40001)])
def test_a_refused_token_is_raised(answer: Answer) -> None:
    """It is nothing of this message's: everything has to stop."""
    with pytest.raises(TokenRefusedError) as raised:
        outcome_of(answer)
    assert (401, answer.code) == (raised.value.status, raised.value.code)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (no_connection(aiohttp.ClientConnectorError, REFUSED), NotSent),
        (no_connection(aiohttp.ClientConnectorDNSError, OSError(-2, "Name not known")), NotSent),
        (no_connection(aiohttp.ClientConnectorSSLError, OSError(1, "wrong version number")), NotSent),
        (aiohttp.ClientConnectorCertificateError(Mock(host="h"), ssl.CertificateError("old")), NotSent),
        (aiohttp.ConnectionTimeoutError(), NotSent),
        (aiohttp.ServerDisconnectedError(), Unknown),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), Unknown),
        (aiohttp.SocketTimeoutError(), Unknown),
        (aiohttp.ServerTimeoutError(), Unknown),
        (TimeoutError(), Unknown),
        (aiohttp.ClientPayloadError("cut"), Unknown),
        (aiohttp.ClientConnectionResetError("closing"), Unknown),
        (aiohttp.ClientResponseError(Mock(), ()), Unknown),
        (OSError(32, "Broken pipe"), Unknown),
        (aiohttp.ClientError(), Unknown),
    ],
)
def test_what_came_of_a_post_without_an_answer(error: Exception, expected: type[Outcome]) -> None:
    """Not sent only where no connection was made; every other silence leaves it open."""
    outcome = outcome_of_failure(error)
    assert expected is kind_of(outcome)
    assert 0 < len(outcome.reason) <= answers.LONGEST_REASON


# -- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (coded(401, 0), TokenRefusedError),
        (coded(403, 50001), ChannelClosedError),
        (coded(403, 50013), ChannelClosedError),
        (coded(404, 10003), ChannelClosedError),
        (coded(403, 40333), RefusedError),
        (coded(404, 10008), RefusedError),
        (coded(400, 50035), RefusedError),
        (answered(429, {"retry_after": 1.0}), UnreachableError),
        (page(429), UnreachableError),
        (page(502), UnreachableError),
        (coded(503, 130000), UnreachableError),
        (coded(403, 40006), UnreachableError),
        (page(200), UnreachableError),
        (page(302), UnreachableError),
    ],
)
def test_the_error_of_a_read(answer: Answer, expected: type[DiscordError]) -> None:
    """Transient or permanent by its class, with status and code."""
    error = error_of(answer, routes.channel_messages(1))
    assert (expected, answer.status, answer.code) == (type(error), error.status, error.code)


@pytest.mark.parametrize("route", [routes.guild_channels(1), routes.create_reaction(1, 2, "✅")])
def test_only_the_channel_itself_can_be_closed(route: routes.Route) -> None:
    """A reaction that is not allowed, or a guild that is not seen, parks no channel."""
    assert RefusedError is type(error_of(coded(403, 50013), route))


def test_an_unreachable_discord_names_its_wait() -> None:
    """In seconds."""
    error = error_of(answered(429, {"retry_after": 2.5}), routes.current_user())
    assert isinstance(error, UnreachableError)
    assert 2.5 == error.retry_after


# -- reasons ---------------------------------------------------------------------------------------------


def validation(**errors: Any) -> Answer:
    return coded(400, 50035, "Invalid Form Body", errors=errors)


def leaf(code: str, message: str) -> dict[str, Any]:
    return {"_errors": [{"code": code, "message": message}]}


def test_a_validation_error_says_where() -> None:
    """The nested keys become a path, as in the request."""
    answer = validation(embeds={"0": {"title": leaf("BASE_TYPE_MAX_LENGTH", "Must be 256 or fewer.")}})
    assert (
        "Discord answered 400, code 50035: a part of the message has a form that Discord does not take "
        "(embeds.0.title: BASE_TYPE_MAX_LENGTH Must be 256 or fewer.); correct the part that is named"
    ) == reason_of(answer)


def test_an_error_of_the_whole_request_has_a_path_too() -> None:
    """`_errors` at the top is about the message."""
    found = list(answers.flattened(leaf("UNION_TYPE_CHOICES", "Pick one.")))
    assert [("message", "UNION_TYPE_CHOICES", "Pick one.")] == found


@pytest.mark.parametrize(
    "errors", [None, [], "x", {"a": None}, {"_errors": "x"}, {"_errors": [None]}, {"a": {"_errors": 5}}]
)
def test_errors_of_another_shape_are_nothing(errors: object) -> None:
    """New shapes come up all the time; none may break the sentence about it."""
    assert [] == list(answers.flattened(errors))


def test_many_errors_are_a_short_reason() -> None:
    """Some of them are shown, and the sentence stays within a line."""
    answer = validation(**{f"field{number}": leaf("CODE", "x" * 90) for number in range(50)})
    reason = reason_of(answer)
    assert answers.LONGEST_REASON == len(reason)
    assert "field0: CODE" in reason


@pytest.mark.parametrize("quoted", ['"{}"', "“{}”", "`{}`", '"{}'])
def test_what_discord_quotes_is_left_out(quoted: str) -> None:
    """It is what was sent, and a reason is written to logs."""
    answer = validation(content=leaf("BASE_TYPE_CHOICES", f"Value {quoted.format(SECRET)} must be another."))
    unknown = coded(400, 99999999, f"Cannot send {quoted.format(SECRET)}")
    assert [False, False] == [SECRET in reason_of(answer), SECRET in reason_of(unknown)]


def test_a_custom_automod_text_is_left_out() -> None:
    """For a known code the words are ours, whatever a server's admin wrote."""
    assert SECRET not in reason_of(coded(400, 200000, SECRET))


def test_a_reason_is_one_line_of_plain_characters() -> None:
    """Terminal controls, line ends and direction marks of a foreign text end here."""
    reason = reason_of(coded(400, 99999999, "a\x1b[31m\r\nb\u202ec\u2028d\x00e"))
    assert "Discord answered 400, code 99999999: a [31m b c d e" == reason


@pytest.mark.parametrize("answer", [page(status) for status in (200, 301, 403, 404, 413, 429, 502)])
def test_no_html_in_a_reason(answer: Answer) -> None:
    """Error pages are long and not for people."""
    assert "<" not in reason_of(answer)
    assert str(answer.status) in reason_of(answer)


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_every_known_code_has_a_whole_reason(code: int) -> None:
    """Meaning and advice fit, and name the code."""
    reason = reason_of(coded(400, code))
    meaning, advice = MEANINGS[code]
    assert f"Discord answered 400, code {code}: {meaning}; {advice}" == reason
    assert answers.LONGEST_REASON > len(reason)
