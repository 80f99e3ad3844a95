"""The imaginary guild's own rules, without HTTP: ids, permissions, messages, forms."""

from __future__ import annotations

import ast
import inspect
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spoolbridge.emulator
from spoolbridge.emulator import permissions
from spoolbridge.emulator.form import read
from spoolbridge.emulator.guild import Guild
from spoolbridge.emulator.mentions import Mentions, allowed, everything
from spoolbridge.emulator.objects import User
from spoolbridge.emulator.permissions import Overwrite, effective
from spoolbridge.emulator.picture import dots
from spoolbridge.emulator.refusals import RefusalError
from spoolbridge.emulator.rest_messages import nearest
from spoolbridge.emulator.snowflake import Snowflakes, iso, moment, seconds_of
from tests.support.clock import FakeClock

NOW = 1_795_000_000.0  # seconds since 1970


def guild() -> Guild:
    return Guild(lambda: NOW)


def test_imports_nothing_of_ours() -> None:
    """The emulator imports nothing of the package but itself, so neither blesses the other's mistakes."""
    place = Path(inspect.getfile(spoolbridge.emulator)).parent
    for file in sorted(place.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not isinstance(node, ast.ImportFrom) or 0 == node.level, file.name
            foreign = [
                n for n in names if n.startswith("spoolbridge") and not n.startswith("spoolbridge.emulator")
            ]
            assert [] == foreign, file.name


class TestSnowflakes:
    def test_known_id(self) -> None:
        """Discord's own example: the time is the upper 42 bits after 2015."""
        assert "2016-04-30T11:18:25.796000+00:00" == iso(seconds_of(175928847299117063))

    @given(st.floats(min_value=NOW, max_value=NOW + 1e6))
    def test_a_cursor_is_its_own_moment(self, seconds: float) -> None:
        """A time that a client sends back is the one that it was told, whatever a float makes of it."""
        assert moment(seconds) == datetime.fromisoformat(iso(seconds, digits=6))

    def test_clock_stands_still(self) -> None:
        """Ids grow where the clock does not, also beyond the 4,096 of a millisecond."""
        make = Snowflakes(lambda: NOW)
        ids = [make.next() for _ in range(10_000)]
        assert sorted(set(ids)) == ids
        assert NOW + 0.002 == seconds_of(ids[-1])

    def test_clock_goes_back(self) -> None:
        """A clock that goes back does not take the ids with it."""
        times = iter([NOW, NOW - 60])
        make = Snowflakes(lambda: next(times))
        assert make.next() < make.next()

    def test_another_moment(self) -> None:
        """Ids of another moment are of that moment, never twice the same, and do not hold up the line."""
        make = Snowflakes(lambda: NOW)
        first = make.next()
        late = {make.at(NOW - 5) for _ in range(100)}
        assert 100 == len(late)
        assert {NOW - 5} == {seconds_of(one) for one in late}
        assert NOW == seconds_of(make.next())
        assert first not in {make.at(NOW) for _ in range(100)}

    def test_before_discord(self) -> None:
        """A clock that counts from its own start is refused with a sentence."""
        with pytest.raises(ValueError, match="2015"):
            Snowflakes(lambda: 12.5).next()


class TestPermissions:
    VIEW, SEND = permissions.VIEW_CHANNEL, permissions.SEND_MESSAGES

    def bits(self, *overwrites: Overwrite, base: int = 0) -> int:
        of_role = {1: base or self.VIEW, 2: self.SEND, 3: 0}
        return effective(9, {2, 3}, 1, of_role, overwrites=overwrites)

    def test_roles_add_up(self) -> None:
        """A member has what any of its roles has."""
        assert self.VIEW | self.SEND == self.bits()

    def test_order(self) -> None:
        """@everyone first, then all roles with allow over deny, then the member."""
        everyone = Overwrite(1, 0, deny=self.VIEW | self.SEND)
        assert 0 == self.bits(everyone)
        role_allows, role_denies = Overwrite(2, 0, allow=self.SEND), Overwrite(3, 0, deny=self.SEND)
        assert self.SEND == self.bits(everyone, role_denies, role_allows)
        assert 0 == self.bits(everyone, role_allows, Overwrite(9, 1, deny=self.SEND))

    def test_administrator(self) -> None:
        """ADMINISTRATOR passes every overwrite."""
        bits = self.bits(Overwrite(9, 1, deny=self.VIEW), base=permissions.ADMINISTRATOR)
        assert bits & self.VIEW

    def test_last_word(self) -> None:
        """Allowing what was denied takes the denial back, and the reverse."""
        once = Overwrite(9, 1).but(deny=self.VIEW | self.SEND).but(allow=self.SEND)
        assert (self.SEND, self.VIEW) == (once.allow, once.deny)

    def test_bridge(self) -> None:
        """The bot's role asks for what the invitation of a bridge asks for."""
        assert 309774634064 == permissions.BRIDGE

    def test_private_thread(self) -> None:
        """A private thread is seen by its members only."""
        here = guild()
        parent = here.add_channel("mayor-villa")
        thread = here.add_thread(parent, "secret", 12, owner_id=here.humans[1].id)
        assert here.may(permissions.VIEW_CHANNEL, parent)
        assert not here.may(permissions.VIEW_CHANNEL, thread)


class TestGuild:
    def test_names(self) -> None:
        """Of two channels with one name the older is found by name, both by id."""
        here = guild()
        first, second = here.add_channel("a"), here.add_channel("a")
        assert first == here.channel("a")
        assert second == here.channel(second.id)
        with pytest.raises(KeyError, match="there are: a"):
            here.channel("b")

    def test_last_message(self) -> None:
        """`last_message_id` follows the greatest id, not the last writer, and survives a deletion."""
        here = guild()
        channel = here.add_channel("a")
        made = here.write(channel.id, here.bot, "x")
        here.write(channel.id, here.bot, "late", at=NOW - 60)
        here.remove(made)
        assert made.id == here.channel("a").last_message_id

    def test_remove_channel(self) -> None:
        """A channel goes with its threads."""
        here = guild()
        channel = here.add_channel("a")
        here.add_thread(channel, "t", 11)
        here.remove_channel(channel.id)
        assert {} == here.by_id

    def test_listeners(self) -> None:
        """Listeners hear of all that happens, in order."""
        here = guild()
        heard: list[str] = []
        here.listeners.append(lambda what, about: heard.append(what))
        channel = here.add_channel("a")
        made = here.write(channel.id, here.bot, "x")
        here.react(made, "👀", here.bot)
        here.remove(made)
        here.remove_channel(channel.id)
        assert ["added", "created", "changed", "deleted", "removed"] == heard


class TestMentions:
    def test_named(self) -> None:
        """Each id counts once, and only where the guild holds it."""
        text = (
            "<@100000000000000001> <@!100000000000000001> <@100000000000000002> <@&100000000000000003> @here"
        )
        found = everything(text, users={100000000000000001}, roles={100000000000000003})
        assert Mentions((100000000000000001,), (100000000000000003,), everyone=True) == found

    def test_rules(self) -> None:
        """A rule narrows, it never adds."""
        found = Mentions((1, 2), (3,), everyone=True)
        assert found == allowed(found, None)
        assert Mentions() == allowed(found, {})
        assert Mentions((1, 2)) == allowed(found, {"parse": ["users"]})
        assert Mentions((2,), (3,)) == allowed(found, {"users": ["2", "9"], "roles": ["3"]})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "content", "nonce", "enforce_nonce", "tts", "flags", "embeds", "allowed_mentions", "message_reference",
    "attachments",
)  # fmt: skip
NESTED = st.fixed_dictionaries(
    {},
    optional={
        "allowed_mentions": st.dictionaries(
            st.sampled_from(["parse", "users", "roles", "replied_user"]), JSON_VALUES
        ),
        "embeds": st.lists(
            st.dictionaries(st.sampled_from(["title", "description"]), JSON_VALUES), max_size=12
        ),
        "attachments": st.lists(
            st.dictionaries(st.sampled_from(["id", "filename", "description"]), JSON_VALUES)
        ),
    },
)


class TestForm:
    @given(st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES) | NESTED)
    def test_any_json(self, body: dict[str, Any]) -> None:
        """Whatever JSON comes is a form or a refusal with status 400, never a crash."""
        try:
            form = read(body)
        except RefusalError as refusal:
            assert 400 == refusal.status
        else:
            assert len(form.content) <= 2000

    def test_embed_limits(self) -> None:
        """Embeds are limited one by one and together."""
        with pytest.raises(RefusalError) as one:
            read({"embeds": [{"title": "x" * 257}]})
        assert "0" in one.value.body["errors"]["embeds"]
        with pytest.raises(RefusalError):
            read({"embeds": [{"description": "x" * 3001}, {"description": "x" * 3000}]})
        assert 2 == len(read({"embeds": [{"description": "x" * 3000}, {"description": "x" * 3000}]}).embeds)


@given(
    count=st.integers(0, 30),
    limit=st.integers(1, 12),
    cursor=st.sampled_from(["before", "after", "around"]),
    where=st.integers(0, 30),
)
def test_pages_against_their_definition(count: int, limit: int, cursor: str, where: int) -> None:
    """A page never exceeds its limit, is in order, and nothing left out is nearer to the cursor."""
    here = guild()
    channel = here.add_channel("a")
    history = [here.write(channel.id, here.bot, str(number)) for number in range(count)]
    at = history[min(where, count - 1)].id if history else 1
    page = [message.id for message in nearest(history, limit, **{cursor: at})]
    assert sorted(page) == page
    ids = [message.id for message in history]
    eligible = {"before": [i for i in ids if i < at], "after": [i for i in ids if i > at], "around": ids}[
        cursor
    ]
    assert min(limit, len(eligible)) >= len(page)
    if cursor != "around":
        assert sorted(sorted(eligible, key=lambda i: abs(i - at))[:limit]) == page
    elif history:
        assert at in page


class TestPictures:
    @pytest.mark.parametrize(
        ("data", "size"),
        [
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0\0\0\0\x02", (256, 2)),
            (b"GIF89a\x03\0\x04\0", (3, 4)),
            # An application's segment and a comment before the frame.
            (
                b"\xff\xd8\xff\xe0\0\x04ab\xff\xfe\0\x03c\xff\xc2\0\x11\x08\0\x05\0\x06" + b"\0" * 8,
                (6, 5),
            ),
            (b"\xff\xd8\xff\xc4\0\x08\0\0\0\0\0\0", None),
            (b"\xff\xd8\xff\xe0\0\x00", None),
            (b"\x89PNG\r\n\x1a\n", None),
            (b"GIF89a", None),
            (b"text", None),
            (b"", None),
        ],
    )
    def test_dots(self, data: bytes, size: tuple[int, int] | None) -> None:
        """Width and height are read from where each format has them, and from nothing that ends before."""
        assert size == dots(data)

    @given(st.binary(max_size=64), st.sampled_from([b"", b"\xff\xd8", b"GIF87a", b"\x89PNG\r\n\x1a\n"]))
    def test_any_bytes(self, data: bytes, begin: bytes) -> None:
        """No bytes make it fail or go on for ever."""
        dots(begin + data)


class TestThreads:
    def test_writers_are_members(self) -> None:
        """Who writes in a thread is in it; a webhook's name is nobody's."""
        made = guild()
        thread = made.start_thread(made.add_channel("mayor-villa"), "story", made.humans[0])
        made.write(thread.id, made.humans[1], "hello")
        made.write(thread.id, User(1, "hook", bot=True), "beep")
        assert {human.id for human in made.humans} == made.by_id[thread.id].members

    def test_listeners_hear_what_people_see(self) -> None:
        """A channel's change is told where somebody could see it, and only there."""
        made = guild()
        channel = made.add_channel("mayor-villa")
        heard: list[str] = []
        made.listeners.append(lambda what, about: heard.append(what))
        made.change_channel(channel.id, position=3)
        made.change_channel(channel.id, topic="stone")
        assert ["updated"] == heard


def test_nonces_are_forgotten() -> None:
    """A demo that runs for days keeps those of its window."""
    clock = FakeClock(1_800_000_000.0)
    guild = Guild(clock, nonce_window=180.0)
    channel = guild.add_channel("mayor-villa")
    for number in range(5):
        guild.remember(guild.bot, f"{number}", guild.write(channel.id, guild.bot, "once"))
        clock.advance(100.0)
    assert [None, None, None] == [guild.recall(guild.bot, f"{number}") for number in range(3)]
    assert 2 == len(guild._nonces)
