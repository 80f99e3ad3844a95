"""What the chat page asks of the emulator for its people, looked at raw: say, react, start a thread."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Api, Raw

UNKNOWN = "123456789012345678"


async def act(api: Api, what: str, **body: Any) -> Raw:
    said = {"channel": "mayor-villa", "author": "ada", **body}
    return await api("POST", f"/_emulator/{what}", base=api.emulator.url, json=said)


async def test_react(api: Api) -> None:
    """The first time it is put there, the second time taken back, and the bot's is left alone."""
    said = api.emulator.say("mayor-villa", "hello")
    guild = api.emulator.guild
    found = guild.message(api.channel, said)
    assert found is not None
    guild.react(found, "👀", guild.bot)
    answers = [(await act(api, "react", message=str(said), emoji="👀")).body for _ in range(3)]
    assert [{"reacted": True}, {"reacted": False}, {"reacted": True}] == answers
    (shown,) = (await api("GET", f"/_emulator/messages/{api.channel}", base=api.emulator.url)).body
    assert ["spoolbridge", "ada"] == [user["username"] for user in shown["reactors"]["👀"]]
    assert "reactors" not in (await api.page()).body[0]


@pytest.mark.parametrize(
    ("emoji", "error"), [("eyes", (404, 10014)), ("", (404, 10014)), (f"mayor:{UNKNOWN}", (404, 10014))]
)
async def test_react_refused(api: Api, emoji: str, error: tuple[int, int]) -> None:
    """A word is no emoji; a message that is gone has no reactions; nobody joins the guild by trying."""
    said = api.emulator.say("mayor-villa", "hello")
    assert error == (await act(api, "react", message=str(said), emoji=emoji, author="eve")).error
    gone = await act(api, "react", message=UNKNOWN, emoji="👀", author="eve")
    assert (404, 10008) == gone.error
    assert ["nic", "ada"] == [human.username for human in api.emulator.guild.humans]


async def test_thread(api: Api) -> None:
    """From a message it has that message's id and its writer for an owner; by itself the channel says so."""
    said = api.emulator.say("mayor-villa", "a long story")
    from_message = await act(api, "thread", message=str(said), name=" story ")
    assert str(said) == from_message.body["id"]
    own = await act(api, "thread", name="another")
    ada = api.emulator.guild.humans[1].id
    for thread, name in ((said, "story"), (int(own.body["id"]), "another")):
        shown = (await api("GET", f"/channels/{thread}")).body
        assert (name, 11, str(ada)) == (shown["name"], shown["type"], shown["owner_id"])
    first, second = api.emulator.messages("mayor-villa")
    assert (1 << 5, "story") == (first["flags"], first["thread"]["name"])
    assert (18, "another") == (second["type"], second["content"])


async def test_thread_refused(api: Api) -> None:
    """No name, a second one for a message, one inside of a thread, one in a forum."""
    said = api.emulator.say("mayor-villa", "a long story")
    forum = api.emulator.add_channel("ideas", type=15)
    assert (400, 50035) == (await act(api, "thread", name=" ")).error
    assert (404, 10008) == (await act(api, "thread", name="x", message=UNKNOWN)).error
    assert 200 == (await act(api, "thread", name="x", message=str(said))).status
    assert (400, 160004) == (await act(api, "thread", name="x", message=str(said))).error
    for place in (said, forum):
        assert (400, 50024) == (await act(api, "thread", name="x", channel=str(place))).error
    assert (400, 50008) == (await act(api, "say", text="x", channel=str(forum))).error


async def test_feed(api: Api) -> None:
    """Whoever looks on hears of a thread, of what is written in it, and of its end."""
    said = api.emulator.say("mayor-villa", "a long story")
    async with api.session.get(f"{api.emulator.url}/_emulator/events") as feed:
        await feed.content.readuntil(b"\n\n")
        api.emulator.start_thread("mayor-villa", "story", message=said)
        api.emulator.guild.change_channel(said, archived=True)
        events = [(await feed.content.readuntil(b"\n\n")).decode() for _ in range(5)]
    told = [event.partition('"what": "')[2].partition('"')[0] for event in events]
    # The message with its flag, the thread's first line, and the message again for its thread's count.
    assert ["added", "changed", "created", "changed", "updated"] == told
