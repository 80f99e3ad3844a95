"""What a dropped file says, and what Discord is asked to create for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoolbridge import header, outgoing, split
from spoolbridge.errors import MessageError
from spoolbridge.header import Options
from spoolbridge.outgoing import (
    BINARY_TYPES,
    File,
    Form,
    OutgoingMessage,
    Part,
    compose,
    late_stamp,
    parse,
    payload,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0"
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=300)


def text_of(body: bytes) -> str:
    """The text of a lone file."""
    return parse("x", body).text


def refused(name: str, body: bytes | None, files: dict[str, bytes] | None = None) -> str:
    """What is said of a file that is no message."""
    with pytest.raises(MessageError) as raised:
        parse(name, body, files)
    return str(raised.value)


class TestText:
    """Valid UTF-8 without NUL is the message, all of it."""

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"hello", "hello"),
            (b"hello\n", "hello"),
            (b"hello\n\n", "hello\n"),
            (b"\nhello", "\nhello"),
            (b"  hello  ", "  hello  "),
            (b"a\r\nb\r\n", "a\nb"),
            (b"\xef\xbb\xbfhello", "hello"),
            ("ñ 👩\u200d👧 永".encode(), "ñ 👩\u200d👧 永"),
            (b"\ta\tb", "\ta\tb"),
            (b"\x1b[31mred\x1b[0m\x07", "[31mred[0m"),
            (b"Note: this is text\n\nreally", "Note: this is text\n\nreally"),
            (b'{"content": "not JSON to us"}', '{"content": "not JSON to us"}'),
            (b"---\ntitle: x\n---\n", "---\ntitle: x\n---"),
        ],
    )
    def test_it_is_taken_as_it_is(self, body: bytes, expected: str) -> None:
        """CRLF becomes LF, one newline at the end goes, and so does what moves a terminal's cursor."""
        assert OutgoingMessage(expected) == parse("x", body)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"abc\xff", "not UTF-8 text: byte 4 is 0xff"),
            (b"\xff\xfeh\0i\0", "not UTF-8 text: byte 1 is 0xff"),
            (b"\xc3", "not UTF-8 text: byte 1 is 0xc3"),
            (b"\xed\xa0\x80", "not UTF-8 text: byte 1 is 0xed"),
            (b"ab\0cd", "byte 3 is NUL, perhaps the mark of a crash"),
            (b"ab\0cd\xff", "byte 3 is NUL"),
            (b"ab\xffcd\0", "byte 3 is 0xff"),
            (bytes(4096), "byte 1 is NUL"),
        ],
    )
    def test_anything_else_is_refused_naming_the_byte(self, body: bytes, said: str) -> None:
        """The first bad one, counted from 1, and what to do."""
        assert said in refused("x", body)
        assert "write UTF-8 text, or name the file by its type" in refused("x", body)

    @pytest.mark.parametrize(
        "body", [b"", b"\n", b" \t\r\n ", b"\xef\xbb\xbf", b"\x1b\x07", b"Spoolbridge: 1\n\n"]
    )
    def test_nothing_is_no_message(self, body: bytes) -> None:
        """Discord refuses white space alone."""
        assert "the message is empty" == refused("x", body)

    def test_options_are_behind_the_magic_line(self) -> None:
        """With CRLF as well, and behind a byte order mark."""
        body = b"\xef\xbb\xbfSpoolbridge: 1\r\nReply-To: 5\r\n\r\nhello\r\n"
        assert OutgoingMessage("hello", (), Options(reply_to=5)) == parse("x", body)

    def test_a_wrong_header_is_refused(self) -> None:
        """And not sent as text."""
        assert "line 2: unknown header 'Repy-To'" in refused("x", b"Spoolbridge: 1\nRepy-To: 5\n\nx")

    @given(st.binary(max_size=200))
    @example(b"Spoolbridge: 1\nMentions: \xb2\n\n")
    @example(b"\xef\xbb\xbf\xef\xbb\xbf")
    def test_any_bytes_are_a_message_or_refused(self, body: bytes) -> None:
        """Never anything but MessageError, and a message always has something to post."""
        try:
            message = parse("x", body)
        except MessageError as error:
            assert str(error)
        else:
            assert message.text.strip()
            assert compose(message)

    @given(_TEXTS)
    @example("\ufeffx")
    @example("x\n")
    def test_what_is_rendered_is_parsed(self, text: str) -> None:
        """From the text to the bytes of a drop and back, but for the one newline and the mark."""
        expected = text.removeprefix("\ufeff").removesuffix("\n")
        if expected.strip():
            assert expected == text_of(header.render(text, {}))
        assert f"{text}.".removeprefix("\ufeff") == text_of(header.render(f"{text}.", {}))


class TestFiles:
    """What is uploaded."""

    @pytest.mark.parametrize("suffix", sorted(BINARY_TYPES))
    def test_a_known_type_is_uploaded(self, suffix: str) -> None:
        """In capitals too; under its own name, with its type."""
        message = parse(f"chart{suffix.upper()}", PNG)
        assert OutgoingMessage("", (File(f"chart{suffix.upper()}", PNG, BINARY_TYPES[suffix]),)) == message

    @pytest.mark.parametrize(
        ("rest", "expected"),
        [
            ("my%20chart.png", "my chart.png"),
            ("gr%C3%A1fico.png", "gráfico.png"),
            ("%FF.png", "�.png"),
            (".png", "png"),
            ("a%2Fb%0A%22.png", "a_b__.png"),
            ("..%2F..%2Fetc%2Fx.png", "_.._etc_x.png"),
        ],
    )
    def test_under_its_own_name(self, rest: str, expected: str) -> None:
        """The spool encodes names; people see the one that was dropped, as far as it is harmless."""
        assert expected == parse(rest, PNG).files[0].name

    def test_text_is_text_whatever_its_name(self) -> None:
        """A PNG that is none says what it says."""
        assert OutgoingMessage("hello") == parse("chart.png", b"hello")

    @pytest.mark.parametrize("name", ["chart", "chart.exe", "png", "chart.png.bak", ""])
    def test_an_unknown_type_is_refused(self, name: str) -> None:
        """Nothing is uploaded by guessing."""
        assert "not UTF-8 text: byte 1 is 0x89" in refused(name, PNG)

    def test_a_bundle(self) -> None:
        """The text and the files in one message, types by name where it tells."""
        message = parse("x.msg", b"look\n", {"a.png": PNG, "b.dat": b"\0"})
        assert OutgoingMessage("look", (File("a.png", PNG, "image/png"), File("b.dat", b"\0"))) == message

    def test_a_bundle_without_words(self) -> None:
        """Files alone, also beside an empty body."""
        assert OutgoingMessage("", (File("b.dat", b""),)) == parse("x.msg", None, {"b.dat": b""})
        assert OutgoingMessage("", (File("b.dat", b""),)) == parse("x.msg", b"", {"b.dat": b""})

    def test_a_bundle_with_nothing(self) -> None:
        """Is refused, as an empty file is."""
        assert "the bundle holds neither a body nor a file" == refused("x.msg", None, {})
        assert "the message is empty" == refused("x.msg", b"", {})

    def test_a_bundles_body_is_text(self) -> None:
        """Its own name tells no type."""
        assert "not UTF-8 text" in refused("chart.png", PNG, {})

    def test_too_many_files(self) -> None:
        """Discord takes ten."""
        files = {f"{number}.txt": b"x" for number in range(10)}
        assert 10 == len(parse("x.msg", b"hello", files).files)
        files["10.txt"] = b"x"
        assert "11 files in one message; Discord takes 10" == refused("x.msg", b"hello", files)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.png", "a.png"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ('a"b\\c:d*e?f<g>h|i', "a_b_c_d_e_f_g_h_i"),
            ("a\r\nContent-Type: text/html", "a__Content-Type_ text_html"),
            ("a\x7f\x00b", "a__b"),
            (".hidden.", "hidden"),
            ("...", "file"),
            ("", "file"),
            ("a\udcffb", "a?b".replace("?", "_")),
            ("x" * 300 + ".png", "x" * 96 + ".png"),
        ],
    )
    def test_a_name_that_travels_in_a_header(self, name: str, expected: str) -> None:
        """No quote, no path, no line break; the end is kept, for it holds the type."""
        assert expected == outgoing.safe_file_name(name)

    @given(st.text(max_size=300))
    def test_any_name(self, name: str) -> None:
        """Comes out as something printable in a header, and stays as it is the second time."""
        plain = outgoing.safe_file_name(name)
        assert 0 < len(plain) <= 100
        assert not set(plain) & set('\r\n\0"\\/')
        assert plain.encode()


class TestCompose:
    """The parts to post."""

    def test_one(self) -> None:
        """As it was written."""
        assert [Part("hello")] == compose(OutgoingMessage("hello"))

    def test_the_rig_and_the_stamp_stand_before_it(self) -> None:
        """On the first part only."""
        message = OutgoingMessage("word " * 500, options=Options(rig="villa"))
        parts = compose(message, Form("(written 14:02, delayed 31 min)"))
        assert parts[0].content.startswith("[villa] (written 14:02, delayed 31 min)\nword ")
        assert parts[1].content.startswith("word ")
        assert 2 == len(parts)

    def test_files_travel_with_the_first(self) -> None:
        """One request carries both."""
        files = (File("a.png", PNG),)
        assert [files, ()] == [part.files for part in compose(OutgoingMessage("word " * 500, files))]

    def test_files_alone(self) -> None:
        """Are one part without a text."""
        files = (File("a.png", PNG),)
        assert [Part("", files)] == compose(OutgoingMessage("", files))

    def test_five_parts_are_parts(self) -> None:
        """The last number that is not a file."""
        lines = [f"{number:04} {'x' * 494}\n" for number in range(17)]
        parts = compose(OutgoingMessage("".join(lines[:16])))
        assert 5 == len(parts)
        assert "".join(lines[:16]) == "".join(part.content for part in parts)
        assert 1 == len(compose(OutgoingMessage("".join(lines))))

    @pytest.mark.parametrize("length", [10_001, 12_000, 200_000])
    def test_more_are_the_first_and_a_file(self, length: int) -> None:
        """The file holds all of it, the files of the message travel along."""
        text = ("word " * length)[:length]
        [part] = compose(OutgoingMessage(text, (File("a.png", PNG),), Options(rig="villa")), Form("(late)"))
        assert part.content.startswith("[villa] (late)\nword ")
        assert part.content.endswith("\n-# cut here; the whole text is attached")
        assert (File("message.md", text.encode(), "text/markdown"), File("a.png", PNG)) == part.files
        assert 1900 < split.units(part.content) <= split.LIMIT

    def test_a_fence_that_is_cut_for_good_is_closed(self) -> None:
        """The note is not code."""
        [part] = compose(OutgoingMessage("```py\n" + "print(1)\n" * 5000 + "```"))
        assert 2 == part.content.count("```")
        assert part.content.endswith("```\n-# cut here; the whole text is attached")

    def test_a_long_way_to_the_first_word(self) -> None:
        """White space in front is not what is posted of it."""
        [part] = compose(OutgoingMessage("\n" * 50_000 + "here"))
        assert part.content.startswith("here\n-# cut here")

    def test_a_log_file_takes_no_noticeable_time(self) -> None:
        """25 MiB on one line, or on many: the loop that posts must not stand still for it."""
        started = time.process_time()
        for text in ("x" * 25_000_000, "a line 😀\n" * 2_000_000):
            assert 1 == len(compose(OutgoingMessage(text)))
        assert time.process_time() - started < 3

    @given(st.text(st.sampled_from("ab \n😀`"), max_size=300), st.integers(1, 60))
    def test_the_same_message_gives_the_same_parts(self, text: str, times: int) -> None:
        """After a crash too: what was posted is recognised by it. Never more than five, each fits."""
        message = OutgoingMessage(text * times)
        parts = compose(message)
        assert parts == compose(OutgoingMessage(text * times))
        assert 1 <= len(parts) <= outgoing.MOST_PARTS
        assert all(split.units(part.content) <= split.LIMIT for part in parts)

    def test_the_digest_is_of_what_discord_keeps(self) -> None:
        """It strips both ends; the stamp belongs to it."""
        expected = hashlib.blake2b(b"a b", digest_size=16).hexdigest()
        assert expected == Part("a b").digest == Part("\n a b \n").digest
        assert Part("a b").digest != Part("a  b").digest

    def test_sizes_are_what_files_are_recognised_by(self) -> None:
        """Names and bytes, fit for JSON."""
        part = Part("x", (File("a.png", PNG), File("b", b"")))
        assert [["a.png", 10], ["b", 0]] == json.loads(json.dumps(part.sizes))


class TestPayload:
    """The body of Create Message."""

    def body(self, options: Options, *, first: bool = True) -> dict[str, object]:
        return payload(OutgoingMessage("hi", options=options), Part("hi"), "n" * 24, reply=first)

    def test_nobody_is_pinged_by_default(self) -> None:
        """Left out, Discord would ping everyone."""
        expected = {
            "content": "hi",
            "nonce": "n" * 24,
            "enforce_nonce": True,
            "allowed_mentions": {"parse": []},
        }
        assert expected == self.body(Options())

    @pytest.mark.parametrize(
        ("mentions", "expected"),
        [
            ((), {"parse": []}),
            (None, {"parse": ["users"]}),
            ((1467106918538678293, 5), {"parse": [], "users": ["1467106918538678293", "5"]}),
        ],
    )
    def test_who_is_pinged(self, mentions: tuple[int, ...] | None, expected: dict[str, list[str]]) -> None:
        """Ids as strings: Discord's are beyond what JSON's numbers keep."""
        assert expected == self.body(Options(mentions=mentions))["allowed_mentions"]

    @pytest.mark.parametrize(
        ("silent", "suppress", "expected"),
        [(False, False, None), (True, False, 4096), (False, True, 4), (True, True, 4100)],
    )
    def test_flags(self, silent: bool, suppress: bool, expected: int | None) -> None:
        """SUPPRESS_NOTIFICATIONS is 1 << 12, SUPPRESS_EMBEDS 1 << 2 (message flags)."""
        assert expected == self.body(Options(silent=silent, suppress_embeds=suppress)).get("flags")

    def test_a_reply_is_the_first_parts(self) -> None:
        """The others would each quote it again."""
        assert {"message_id": "7"} == self.body(Options(reply_to=7))["message_reference"]
        assert "message_reference" not in self.body(Options(reply_to=7), first=False)

    def test_it_is_json(self) -> None:
        """And so it can be sent."""
        assert json.dumps(self.body(Options(reply_to=7, mentions=None, silent=True)))


class TestLateStamp:
    """When it was written, for who reads it late."""

    @pytest.fixture(autouse=True)
    def in_caracas(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("TZ", "America/Caracas")
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    @pytest.mark.parametrize(
        ("minutes", "expected"),
        [
            (6, "(written 14:02, delayed 6 min)"),
            (31, "(written 14:02, delayed 31 min)"),
            (119, "(written 14:02, delayed 119 min)"),
            (120, "(written 14:02, delayed 2 h)"),
            (599, "(written 2026-11-22 14:02, delayed 9 h)"),
            (600, "(written 2026-11-22 14:02, delayed 10 h)"),
            (2879, "(written 2026-11-22 14:02, delayed 47 h)"),
            (2880, "(written 2026-11-22 14:02, delayed 2 days)"),
        ],
    )
    def test_in_local_time(self, minutes: int, expected: str) -> None:
        """With the date where it was another day."""
        written = datetime(2026, 11, 22, 18, 2, tzinfo=UTC).timestamp()
        assert expected == late_stamp(written, written + minutes * 60)

    def test_the_epoch(self) -> None:
        """A machine that booted without a clock dated the file 1970."""
        assert late_stamp(0.0, 1.8e9).startswith("(written 1969-12-31 20:00, delayed ")


def test_bodies_are_in_no_repr() -> None:
    """They would end up in a log."""
    message = parse("x.msg", b"the secret", {"a.png": PNG + b"secret"})
    assert "secret" not in repr(message)
    assert "secret" not in repr(compose(message))
