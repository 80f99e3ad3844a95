"""Every request: its path, the key of its limit, and what an emoji may do to a path."""

from __future__ import annotations

import pytest
from yarl import URL

from spoolbridge import emoji
from spoolbridge.discord import routes
from spoolbridge.discord.routes import Route
from spoolbridge.errors import RefusedError

CHANNEL, GUILD, MESSAGE, USER = 1573850500300800000, 41771983423143937, 1573850500300800001, 80351110224678912


@pytest.mark.parametrize(
    ("route", "method", "path", "major"),
    [
        (routes.create_message(CHANNEL), "POST", f"/channels/{CHANNEL}/messages", CHANNEL),
        (routes.channel_messages(CHANNEL), "GET", f"/channels/{CHANNEL}/messages", CHANNEL),
        (routes.channel(CHANNEL), "GET", f"/channels/{CHANNEL}", CHANNEL),
        (
            routes.create_reaction(CHANNEL, MESSAGE, "👀"),
            "PUT",
            f"/channels/{CHANNEL}/messages/{MESSAGE}/reactions/%F0%9F%91%80/@me",
            CHANNEL,
        ),
        (routes.message(CHANNEL, MESSAGE), "GET", f"/channels/{CHANNEL}/messages/{MESSAGE}", CHANNEL),
        (
            routes.reactions(CHANNEL, MESSAGE, "👍"),
            "GET",
            f"/channels/{CHANNEL}/messages/{MESSAGE}/reactions/%F0%9F%91%8D",
            CHANNEL,
        ),
        (routes.current_user(), "GET", "/users/@me", 0),
        (routes.current_guilds(), "GET", "/users/@me/guilds", 0),
        (routes.current_application(), "GET", "/applications/@me", 0),
        (routes.guild(GUILD), "GET", f"/guilds/{GUILD}", GUILD),
        (routes.guild_channels(GUILD), "GET", f"/guilds/{GUILD}/channels", GUILD),
        (routes.create_guild_channel(GUILD), "POST", f"/guilds/{GUILD}/channels", GUILD),
        (routes.active_threads(GUILD), "GET", f"/guilds/{GUILD}/threads/active", GUILD),
        (routes.guild_roles(GUILD), "GET", f"/guilds/{GUILD}/roles", GUILD),
        (routes.guild_member(GUILD, USER), "GET", f"/guilds/{GUILD}/members/{USER}", GUILD),
    ],
)
def test_method_path_and_major(route: Route, method: str, path: str, major: int) -> None:
    """Each constructor gives Discord's path, and the channel or guild that its limit counts by."""
    assert (method, path, major) == (route.method, route.path, route.major)


def test_two_channels_have_two_keys() -> None:
    """The same route to another channel is another limit."""
    assert routes.create_message(1).key != routes.create_message(2).key


def test_two_methods_have_two_keys() -> None:
    """Reading and writing messages are limited apart."""
    assert routes.create_message(1).key != routes.channel_messages(1).key


def test_messages_and_members_do_not_count_into_the_key() -> None:
    """Only the channel or guild is counted apart, not what else the path names."""
    assert routes.create_reaction(1, 2, "👀").key == routes.create_reaction(1, 3, "✅").key


def test_what_goes_before_reads() -> None:
    """A post does; a reaction, of which a receipt is one, waits its turn like a page of messages."""
    made = (routes.create_message(1), routes.create_reaction(1, 2, "✅"), routes.channel_messages(1))
    assert (True, False, False) == tuple(route.writes for route in made)


def test_what_may_be_repeated() -> None:
    """A reaction put twice is there once; a message, a thread or a channel made twice is two."""
    made = (routes.create_reaction(1, 2, "✅"), routes.channel_messages(1))
    assert (True, True) == tuple(route.repeatable for route in made)
    made_twice = (routes.create_message(1), routes.start_thread(1), routes.create_guild_channel(1))
    assert (False, False, False) == tuple(route.repeatable for route in made_twice)


def test_only_the_pages_of_messages_pace_themselves() -> None:
    """The headers of GET messages are the ones that promise too much."""
    made = (routes.channel_messages(1), routes.create_message(1), routes.channel(1))
    assert (True, False, False) == tuple(route.self_paced for route in made)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("👀", "👀"),
        (" ✅ ", "✅"),
        ("1️⃣", "1️⃣"),
        ("👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"),
        ("villa:1573850500300800000", "villa:1573850500300800000"),
        ("<:villa:1573850500300800000>", "villa:1573850500300800000"),
        ("<a:villa:1573850500300800000>", "villa:1573850500300800000"),
    ],
)
def test_what_is_an_emoji(text: str, name: str) -> None:
    """A standard emoji, or the name and id of a guild's own in any form that people copy."""
    assert name == emoji.name(text)


@pytest.mark.parametrize(
    "text", ["", " ", ".", "..", "/", "../../5/messages", "eyes", ":eyes:", "1", "✅ ✅", "é" * 40]
)
def test_what_is_no_emoji(text: str) -> None:
    """Plain words, dots and slashes are refused before they come near a path."""
    with pytest.raises(RefusedError) as raised:
        routes.create_reaction(1, 2, text)
    assert routes.UNKNOWN_EMOJI == raised.value.code


def test_no_emoji_leaves_its_place_in_the_path() -> None:
    """Even one that holds slashes, question marks and dots stays one part of the path."""
    route = routes.create_reaction(1, 2, "é/../../x?y#z")
    parsed = URL("https://discord.com/api/v10" + route.path, encoded=True)
    assert "/api/v10/channels/1/messages/2/reactions/%C3%A9%2F..%2F..%2Fx%3Fy%23z/@me" == parsed.raw_path


def test_a_lone_surrogate_is_no_crash() -> None:
    """What a broken file name leaves in a text is replaced, not raised."""
    assert "%3F" in routes.create_reaction(1, 2, "é\udc80").path
