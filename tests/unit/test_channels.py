"""discord-channels.json: read exactly, refused where it cannot be meant, and written to by insertion."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from spoolbridge import channels
from spoolbridge.channels import Channel, Registry, Watched, add, load, parse
from spoolbridge.errors import ChannelsError, UnknownChannelError

PATH = Path("discord-channels.json")
ID = 1467106918538678293
TOWN = f"""\
{{
  "_comment": "the town's own",
  "vgt": {ID},
  "villacalculatecost3": {{
    "mayor-villa": "{ID + 1}",
    "vi-status": {ID + 2}
  }},
  "other": {{"mayor-other": {ID + 3}, "vi-status": {ID + 4}, "_old": 5}}
}}
"""


def refused(text: str) -> str:
    """What is said of a file that cannot be used."""
    with pytest.raises(ChannelsError) as raised:
        parse(text, PATH)
    return str(raised.value)


class TestParse:
    """Scalars are the town's channels, objects are rigs."""

    def test_the_town(self) -> None:
        """Names that two rigs have are addressed `rig.name`; remarks are passed over."""
        expected = [
            Channel("vgt", ID, None, "vgt"),
            Channel("mayor-villa", ID + 1, "villacalculatecost3", "mayor-villa"),
            Channel("vi-status", ID + 2, "villacalculatecost3", "villacalculatecost3.vi-status"),
            Channel("mayor-other", ID + 3, "other", "mayor-other"),
            Channel("vi-status", ID + 4, "other", "other.vi-status"),
        ]
        assert expected == list(parse(TOWN, PATH).channels)

    def test_nothing(self) -> None:
        """No channels are no error."""
        assert () == parse("{}", PATH).channels
        assert () == parse('{"_": 1, "rig": {}}', PATH).channels

    @pytest.mark.parametrize("number", [1, 2**53 + 1, 2**63, 2**64 - 1, ID])
    @pytest.mark.parametrize("form", ["{}", '"{}"'])
    def test_ids_are_exact_to_64_bits(self, number: int, form: str) -> None:
        """As numbers and as strings: a float would round the last three digits."""
        assert number == parse(f'{{"a": {form.format(number)}}}', PATH).channels[0].id

    @pytest.mark.parametrize(
        "value",
        ["1467106918538678293.0", "1.467e18", "1e5", "NaN", "Infinity", "-5", "0", '"0"', '""', "true",
         "null", f"{2**64}", f'"{2**64}"', '"1 "', '"+1"', '"１"', '"²"', '"0x1f"', "[]", '["1"]',
         '"9' + "9" * 5000 + '"'],
    )  # fmt: skip
    def test_what_is_no_id(self, value: str) -> None:
        """Is refused with the name, and how to write it; a float above all."""
        said = refused(f'{{"rig": {{"mayor-villa": {value}}}}}')
        assert "'mayor-villa' has no channel id" in said
        assert 'write "name": "1467106918538678293"' in said

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is not JSON: line 1"),
            ('{"a": 1,\n}', "is not JSON: line 2"),
            ('{"a": 1', "is not JSON: line 1"),
            ("\ufeff{}", "is not JSON"),
            ("[]", "must hold an object"),
            ("5", "must hold an object"),
            ('{"a": ' + "9" * 5000 + "}", "cannot be a channel id"),
            ('{"a": ' + "[" * 100_000, "cannot be a channel id"),
            ('{"a": {"b": {"c": 1}}}', "'b' has no channel id"),
            ('{"a": 1, "a": 2}', "'a' stands there twice"),
            ('{"r": {"a": 1, "a": 1}}', "'a' stands there twice"),
            ('{"r": {"a": 1}, "r": {"b": 1}}', "'r' stands there twice"),
        ],
    )
    def test_what_cannot_be_used(self, text: str, said: str) -> None:
        """A sentence that names the file and the place; what stands there twice is not guessed."""
        assert said in refused(text)
        assert str(PATH) in refused(text)

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", ".hidden", "a.b", "a/b", "../a", "a\\\\b", "a b", "a\\tb", "a\\nb", "-rf", "a'b",
         'a\\"b', "'", "\\u001b[31m", "\\u202e", "\\u0000", "\\ud800", "x" * 101],
    )  # fmt: skip
    @pytest.mark.parametrize("form", ['{{"{}": 1}}', '{{"rig": {{"{}": 1}}}}'])
    def test_what_cannot_be_a_directory(self, name: str, form: str) -> None:
        """A channel's name becomes one: nothing hidden, no path, nothing that moves a cursor."""
        assert "cannot be a channel's name" in refused(form.format(name))

    @pytest.mark.parametrize(
        "name", ["general", "mayor-villa", "ventas_2", "café", "日本語", "🎉party", "a" * 100, "#1"]
    )
    def test_what_can(self, name: str) -> None:
        """Discord's names, in any script."""
        assert name == parse(json.dumps({name: 1}), PATH).channels[0].address

    @pytest.mark.parametrize("rig", ["", "a.b", "a b", "a/b", "..", "a-b", "x" * 101])
    def test_what_cannot_be_a_rig(self, rig: str) -> None:
        """`rig.name` must be read back."""
        assert "cannot be a rig's name" in refused(json.dumps({rig: {"a": 1}}))

    def test_what_is_too_long_for_a_directory(self) -> None:
        """A hundred characters of another script are more than 255 bytes: said at once, and not by the first
        directory that cannot be made."""
        assert "is too long for a directory" in refused(json.dumps({"rig": {"語" * 100: 1}}))

    @given(st.text(max_size=100))
    def test_anything_is_read_or_refused(self, text: str) -> None:
        """Never anything but ChannelsError."""
        try:
            parse(text, PATH)
        except ChannelsError as error:
            assert str(error)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
            ),
            max_leaves=12,
        )
    )
    def test_any_json_is_read_or_refused(self, value: Any) -> None:
        """And what is read has addresses that are unlike each other, and directories'."""
        try:
            registry = parse(json.dumps(value), PATH)
        except ChannelsError:
            return
        addresses = [channel.address for channel in registry.channels]
        assert len(set(addresses)) == len(addresses)
        assert all("/" not in each and not each.startswith(".") for each in addresses)


class TestResolve:
    """A name to a channel, or the names that would do."""

    @pytest.fixture
    def registry(self) -> Registry:
        return parse(TOWN, PATH)

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("vgt", ID),
            ("#vgt", ID),
            ("mayor-villa", ID + 1),
            ("villacalculatecost3.mayor-villa", ID + 1),
            ("#other.vi-status", ID + 4),
        ],
    )
    def test_found(self, address: str, expected: int, registry: Registry) -> None:
        """By name, by `rig.name`, with a `#` in front."""
        assert expected == registry.resolve(address).id

    def test_several(self, registry: Registry) -> None:
        """The bare name is refused with the choices: guessing would tell the wrong rig."""
        with pytest.raises(UnknownChannelError) as raised:
            registry.resolve("vi-status")
        choices = ("villacalculatecost3.vi-status", "other.vi-status")
        assert choices == raised.value.choices
        assert "say villacalculatecost3.vi-status or other.vi-status" == raised.value.hint

    @pytest.mark.parametrize("wrong", ["mayor-vila", "mayor_villa", "mayorvilla"])
    def test_nearly(self, wrong: str, registry: Registry) -> None:
        """The nearest names."""
        with pytest.raises(UnknownChannelError) as raised:
            registry.resolve(wrong)
        assert "mayor-villa" in raised.value.choices

    @pytest.mark.parametrize(
        "wrong", ["", "#", "xyzzy123", "../vgt", "vgt.vgt", "other", "_comment", "a\n\x1b"]
    )
    def test_unknown(self, wrong: str, registry: Registry) -> None:
        """One line, whatever was asked for."""
        with pytest.raises(UnknownChannelError) as raised:
            registry.resolve(wrong)
        assert str(raised.value).isprintable()

    def test_a_town_channel_of_the_same_name(self) -> None:
        """The bare name is the town's, whose it is alone."""
        registry = parse('{"a": 1, "rig": {"a": 2}}', PATH)
        assert (1, 2) == (registry.resolve("a").id, registry.resolve("rig.a").id)
        assert ("a", "rig.a") == registry.addresses

    def test_every_address_leads_to_its_channel(self, registry: Registry) -> None:
        """As an argument and as a directory."""
        for channel in registry.channels:
            assert channel == registry.resolve(channel.address)


class TestLoad:
    """The file itself."""

    def test_missing(self, tmp_path: Path) -> None:
        """With the command that makes it."""
        with pytest.raises(ChannelsError, match=r"no channels file at .*; make it with"):
            load(tmp_path / "x.json")

    @pytest.mark.parametrize("make", ["directory", "no text"])
    def test_unreadable(self, make: str, tmp_path: Path) -> None:
        """A sentence."""
        path = tmp_path / "x.json"
        if make == "directory":
            path.mkdir()
        else:
            path.write_bytes(b'{"a": "\xff"}')
        with pytest.raises(ChannelsError, match="cannot be read"):
            load(path)


class TestWatched:
    """The registry as it stands in the file now."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "channels.json"
        path.write_text('{"a": 1}')
        return path

    def test_it_is_read_again_when_it_changed(self, path: Path) -> None:
        """And not otherwise."""
        watched = Watched(path)
        first = watched()
        assert first is watched()
        path.write_text('{"a": 1, "b": 2}')
        assert ("a", "b") == watched().addresses

    def test_what_is_known_asks_nothing_of_the_disk(self, path: Path) -> None:
        """Who counts what was sent hears of a new channel with whoever sends there."""
        watched = Watched(path)
        path.write_text('{"a": 1, "b": 2}')
        assert ("a",) == watched.known()
        watched()
        assert ("a", "b") == watched.known()

    def test_replaced_by_rename(self, path: Path) -> None:
        """Same size, same time: another file."""
        watched = Watched(path)
        before = path.stat()
        path.with_suffix(".new").write_text('{"b": 1}')
        os.utime(path.with_suffix(".new"), ns=(before.st_atime_ns, before.st_mtime_ns))
        path.with_suffix(".new").rename(path)
        assert ("b",) == watched().addresses

    @pytest.mark.parametrize("spoil", ["half", "gone"])
    def test_a_file_that_cannot_be_used(self, spoil: str, path: Path) -> None:
        """Leaves the last good one in force, and says what is wrong until it is right again."""
        watched = Watched(path)
        if spoil == "half":
            path.write_text('{"a": 1, "b"')
        else:
            path.unlink()
        assert ("a",) == watched().addresses
        assert watched.problem
        path.write_text('{"c": 3}')
        assert ("c",) == watched().addresses
        assert "" == watched.problem

    def test_none_at_the_start(self, tmp_path: Path) -> None:
        """There is no last good one."""
        with pytest.raises(ChannelsError):
            Watched(tmp_path / "x.json")

    def test_a_change_during_the_first_reading(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is not missed."""
        real = channels.load

        def slow(each: Path) -> Registry:
            found = real(each)
            path.write_text('{"b": 22}')
            return found

        monkeypatch.setattr(channels, "load", slow)
        watched = Watched(path)
        monkeypatch.undo()
        assert ("b",) == watched().addresses


class TestAdd:
    """Inserted: every other byte stays as its owner left it."""

    @pytest.mark.parametrize(
        ("before", "rig", "after"),
        [
            ('{"a": 1}', None, '{"a": 1, "new": "7"}'),
            ('{"a": 1}\n\n', "r", '{"a": 1, "r": {\n    "new": "7"\n  }}\n\n'),
            ("{}", None, '{\n  "new": "7"\n}'),
            ('{\n  "a": 1\n}\n', None, '{\n  "a": 1,\n  "new": "7"\n}\n'),
            ('{\r\n\t"a": 1\r\n}\r\n', None, '{\r\n\t"a": 1,\r\n\t"new": "7"\r\n}\r\n'),
            ('{"r": {"a": 1}, "b": 2}', "r", '{"r": {"a": 1, "new": "7"}, "b": 2}'),
            ('{"r": { }, "b": 2}', "r", '{"r": {\n    "new": "7"\n  }, "b": 2}'),
            ('{ "a" :1 , "r":{"b":2} }', "r", '{ "a" :1 , "r":{"b":2, "new": "7"} }'),
            ('{"_": "a } { \\" brace", "a": 1}', None, '{"_": "a } { \\" brace", "a": 1, "new": "7"}'),
            (f'{{"a": {ID}}}', None, f'{{"a": {ID}, "new": 7}}'),
            (f'{{"a": "{ID}"}}', None, f'{{"a": "{ID}", "new": "7"}}'),
        ],
    )
    def test_it_is_inserted(self, before: str, rig: str | None, after: str, tmp_path: Path) -> None:
        """Behind its siblings, indented as they are, as a number where the file has numbers."""
        path = tmp_path / "x.json"
        path.write_bytes(before.encode())
        add(path, "new", 7, rig=rig)
        assert after.encode() == path.read_bytes()

    def test_the_file_is_made(self, tmp_path: Path) -> None:
        """With the directory around it."""
        path = tmp_path / "settings" / "x.json"
        add(path, "a", ID)
        add(path, "b", ID + 1, rig="r")
        assert [Channel("a", ID, None, "a"), Channel("b", ID + 1, "r", "b")] == list(load(path).channels)
        assert 0o640 == stat.S_IMODE(path.stat().st_mode)

    def test_its_mode_stays(self, tmp_path: Path) -> None:
        """Other programs of the town read it too."""
        path = tmp_path / "x.json"
        path.write_text("{}")
        path.chmod(0o644)
        add(path, "a", 1)
        assert 0o644 == stat.S_IMODE(path.stat().st_mode)

    @pytest.mark.parametrize(
        ("text", "name", "rig", "said"),
        [
            ('{"a": 1}', "a", None, "is in .* already, as 1"),
            ('{"r": {"a": "1"}}', "a", "r", 'is in .* already, as "1"'),
            ('{"r": {"a": 1}}', "r", None, "is in .* already"),
            ('{"a": 1}', "b", "a", "'a' is a channel in .*, not a rig"),
            ('{"a": 1', "b", None, "is not JSON"),
            ('{"a": 1.5}', "b", None, "has no channel id"),
            ("{}", "../b", None, "cannot be a channel's name"),
            ("{}", "_b", None, "cannot be a channel's name"),
            ("{}", 'b"', None, "cannot be a channel's name"),
            ("{}", "b", "_r", "cannot be a rig's name"),
            ("{}", "b", 'r"', "cannot be a rig's name"),
        ],
    )
    def test_what_is_refused(self, text: str, name: str, rig: str | None, said: str, tmp_path: Path) -> None:
        """Not a byte of the file is touched."""
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(ChannelsError, match=said):
            add(path, name, 5, rig=rig)
        assert text == path.read_text()

    def test_where_it_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A directory in its place, or another program that holds the lock: a sentence."""
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(ChannelsError, match="cannot be written"):
            add(tmp_path / "file" / "x.json", "a", 1)
        monkeypatch.setattr(channels, "_LOCK_WAIT", 0.01)
        with FileLock(tmp_path / ".x.json.lock"), pytest.raises(ChannelsError, match="cannot be written"):
            add(tmp_path / "x.json", "a", 1)

    def test_an_empty_file_is_made_once(self, tmp_path: Path) -> None:
        """Where there is none; one that is there stays as it is."""
        path = tmp_path / "settings" / "x.json"
        channels.make(path)
        assert "{}\n" == path.read_text()
        add(path, "a", 1)
        before = path.read_text()
        channels.make(path)
        assert before == path.read_text()

    def test_a_name_is_checked_before_anything_is_asked_of_discord(self) -> None:
        """A channel that could not stand in the file is not created."""
        channels.check("mayor-villa", "villa")
        for name, rig in (("a.b", None), ("a", "r-1")):
            with pytest.raises(ChannelsError):
                channels.check(name, rig)

    def test_many_at_once(self, tmp_path: Path) -> None:
        """Every one of them ends up in the file."""
        path = tmp_path / "x.json"
        threads = [
            threading.Thread(target=add, args=(path, f"c{number}", number + 1)) for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {f"c{number}": number + 1 for number in range(12)} == {
            channel.name: channel.id for channel in load(path).channels
        }

    _NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
    _RIGS = st.from_regex(r"[A-Z][a-z0-9_]{0,8}", fullmatch=True)
    _IDS = st.integers(1, 2**64 - 1).map(str) | st.integers(1, 2**64 - 1)
    _FILES = st.dictionaries(_NAMES, _IDS, max_size=3).flatmap(
        lambda town: st.dictionaries(
            TestAdd._RIGS, st.dictionaries(TestAdd._NAMES, TestAdd._IDS, max_size=3), max_size=3
        ).map(lambda rigs: {**town, **rigs})
    )

    @given(_FILES, st.sampled_from([None, 1, 4, "\t"]), _NAMES, st.none() | _RIGS, st.data())
    def test_any_file(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        value: dict[str, Any],
        indent: int | str | None,
        name: str,
        rig: str | None,
        data: st.DataObject,
    ) -> None:
        """What was there is there, at the same bytes but for the insertion; and so is the new one."""
        rigs = [key for key, inner in value.items() if isinstance(inner, dict)]
        if rig is not None and rigs and data.draw(st.booleans()):
            rig = data.draw(st.sampled_from(rigs))
        path = tmp_path_factory.mktemp("channels") / "x.json"
        before = json.dumps(value, indent=indent)
        path.write_text(before)
        inside = value if rig is None else value.get(rig, {})
        if name in inside:
            with pytest.raises(ChannelsError):
                add(path, name, 99, rig=rig)
            return
        add(path, name, 99, rig=rig)
        after = path.read_text()
        more = len(after) - len(before)
        assert any(before == after[:at] + after[at + more :] for at in range(len(before) + 1))
        known = {(each.rig, each.name): each.id for each in parse(before, PATH).channels}
        assert known | {(rig, name): 99} == {(each.rig, each.name): each.id for each in load(path).channels}
