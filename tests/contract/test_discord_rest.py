"""The client against the emulator, over a real socket: what it asks, and what it makes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spoolbridge.discord import breaker, permissions
from spoolbridge.discord.client import PAGE, DiscordClient, Upload
from spoolbridge.discord.connection import TIMES_ASKED
from spoolbridge.emulator import Emulator
from spoolbridge.errors import ChannelClosedError, RefusedError, TokenRefusedError, UnreachableError
from spoolbridge.outcome import Closed, NotSent, Refused, Sent, Unknown

MESSAGES = "/channels/{channel}/messages"
NONCE = "k3f9q2x7k3f9q2x7k3f9q2x7"


class LeapingClock:
    """Whoever sleeps on it is there at once; `slept` says for how long."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> LeapingClock:
    return LeapingClock()


@pytest.fixture
async def emulator(clock: LeapingClock) -> AsyncIterator[Emulator]:
    async with Emulator(clock=clock).serve() as running:
        running.add_channel("mayor-villa")
        yield running


@pytest.fixture
async def client(emulator: Emulator, clock: LeapingClock) -> AsyncIterator[DiscordClient]:
    made = DiscordClient(emulator.token, api_url=emulator.api_url, clock=clock, sleep=clock.sleep)
    async with made:
        yield made


@pytest.fixture
def villa(emulator: Emulator) -> int:
    return emulator.guild.channel("mayor-villa").id


def payload(content: str, *, nonce: str = NONCE) -> dict[str, Any]:
    return {"content": content, "nonce": nonce, "enforce_nonce": True, "allowed_mentions": {"parse": []}}


def contents(emulator: Emulator) -> list[str]:
    return [message["content"] for message in emulator.messages("mayor-villa")]


def statuses(emulator: Emulator) -> list[int]:
    return [seen.status for seen in emulator.requests()]


# -- posting ---------------------------------------------------------------------------------------------


async def test_a_post_is_a_message(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """The outcome names the message that the channel now holds."""
    outcome = await client.post(villa, payload("hello ✅"))
    (message,) = emulator.messages("mayor-villa")
    assert (Sent(int(message["id"])), "hello ✅") == (outcome, message["content"])


async def test_the_same_nonce_twice_is_one_message(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Discord gives the first one back."""
    first = await client.post(villa, payload("hello"))
    second = await client.post(villa, payload("hello"), retrying=True)
    assert (first, ["hello"]) == (second, contents(emulator))


async def test_a_post_that_somebody_deleted_was_sent(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Its nonce is still known, so that asking again neither posts it twice nor fails."""
    first = await client.post(villa, payload("hello"))
    assert isinstance(first, Sent)
    (message,) = emulator.guild.history(villa)
    emulator.guild.remove(message)
    again = await client.post(villa, payload("hello"), retrying=True)
    assert (Sent(0), []) == (again, contents(emulator))


@pytest.mark.parametrize(
    ("kind", "details", "posted"),
    [
        ("drop_before", {}, 0),
        ("drop_before", {"reset": True}, 0),
        ("drop_after", {}, 1),
        ("drop_after", {"reset": True}, 1),
        ("truncated", {}, 1),
        ("status", {"status": 502}, 0),
        ("status", {"status": 503, "commit": True}, 1),
        ("status", {"status": 500, "html": False}, 0),
        ("status", {"status": 524}, 0),
    ],
)
async def test_an_unknown_outcome_is_settled_by_the_nonce(
    emulator: Emulator, client: DiscordClient, villa: int, kind: str, details: dict[str, Any], posted: int
) -> None:
    """Whether it was carried out cannot be told; asking again with the same nonce makes it one message."""
    emulator.fail(method="POST", route=MESSAGES, kind=kind, **details)
    first = await client.post(villa, payload("hello"))
    assert (Unknown, posted) == (type(first), len(contents(emulator)))
    assert 1 == len(emulator.requests()), "a post was repeated by itself"
    again = await client.post(villa, payload("hello"), retrying=True)
    assert (Sent, ["hello"]) == (type(again), contents(emulator))


async def test_no_answer_in_time_is_unknown(emulator: Emulator, clock: LeapingClock, villa: int) -> None:
    """The message may be there, and here it is."""
    emulator.fail(method="POST", route=MESSAGES, kind="delay", seconds=30.0)
    async with DiscordClient(emulator.token, api_url=emulator.api_url, clock=clock, timeout=0.3) as impatient:
        outcome = await impatient.post(villa, payload("hello"))
    assert (Unknown("Discord did not answer in time"), ["hello"]) == (outcome, contents(emulator))


async def test_a_refused_connection_is_not_sent(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Nobody listened, so nothing was posted; when somebody listens again, it is."""
    await emulator.down()
    outcome = await client.post(villa, payload("hello"))
    assert isinstance(outcome, NotSent)
    assert "no connection to Discord" in outcome.reason
    await emulator.up()
    assert Sent is type(await client.post(villa, payload("hello")))


@pytest.mark.parametrize("content", ["x" * 2001, "x" * 4001])
async def test_a_text_too_long_is_refused(
    emulator: Emulator, client: DiscordClient, villa: int, content: str
) -> None:
    """The reason says which part and how long it may be, without the text."""
    outcome = await client.post(villa, payload(content))
    assert isinstance(outcome, Refused)
    assert (50035, 400) == (outcome.code, outcome.status)
    assert "content: BASE_TYPE_MAX_LENGTH" in outcome.reason
    assert "xxx" not in outcome.reason


async def test_an_empty_text_is_refused(client: DiscordClient, villa: int) -> None:
    """Blank space is stripped before Discord looks."""
    outcome = await client.post(villa, payload(" \n"))
    assert isinstance(outcome, Refused)
    assert 50006 == outcome.code


@pytest.mark.parametrize(
    ("bits", "code"), [(permissions.VIEW_CHANNEL, 50001), (permissions.SEND_MESSAGES, 50013)]
)
async def test_a_closed_channel(
    emulator: Emulator, client: DiscordClient, villa: int, bits: int, code: int
) -> None:
    """It is the channel's trouble, not the message's."""
    emulator.deny(villa, bits)
    outcome = await client.post(villa, payload("hello"))
    assert isinstance(outcome, Closed)
    assert code == outcome.code


async def test_an_unknown_channel_is_closed(client: DiscordClient) -> None:
    """Wrong id or deleted: nothing can be posted there."""
    outcome = await client.post(5, payload("hello"))
    assert isinstance(outcome, Closed)
    assert 10003 == outcome.code


async def test_files_and_text_are_one_message(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Names arrive as they are, also with spaces and accents, and without their path."""
    files = [
        Upload("../naïve résumé.md", b"# hi", "text/markdown"),
        Upload("big.bin", bytes(2 * 1024 * 1024)),
    ]
    outcome = await client.post(villa, payload("see"), files=files)
    (message,) = emulator.messages("mayor-villa")
    arrived = [(each["filename"], each["size"]) for each in message["attachments"]]
    assert (Sent(int(message["id"])), "see") == (outcome, message["content"])
    assert [("naïve résumé.md", 4), ("big.bin", 2 * 1024 * 1024)] == arrived


async def test_too_many_files_are_refused(client: DiscordClient, villa: int) -> None:
    """Ten is the most."""
    outcome = await client.post(villa, payload("see"), files=[Upload(f"{n}.txt", b"x") for n in range(11)])
    assert isinstance(outcome, Refused)
    assert 30015 == outcome.code


# -- limits ----------------------------------------------------------------------------------------------


async def test_a_burst_earns_no_429(
    emulator: Emulator, client: DiscordClient, clock: LeapingClock, villa: int
) -> None:
    """Twenty posts at once go out in order, as fast as the limit lets them, and none is refused."""
    began = clock.now
    made = (client.post(villa, payload(str(number), nonce=f"n{number}")) for number in range(20))
    outcomes = await asyncio.gather(*made)
    assert {Sent} == {type(outcome) for outcome in outcomes}
    assert [str(number) for number in range(20)] == contents(emulator)
    assert {200} == set(statuses(emulator))
    assert 15 <= clock.now - began <= 15 * 1.1


async def test_pages_of_one_channel_earn_no_429(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Though the headers of each promise hundreds more."""
    for _ in range(12):
        await client.messages(villa, after=0)
    assert [200] * 12 == statuses(emulator)


async def test_reactions_earn_no_429(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Their limit is one in a quarter of a second."""
    said = [emulator.say(villa, str(number)) for number in range(10)]
    await asyncio.gather(*(client.react(villa, message, "👀") for message in said))
    assert [204] * 10 == statuses(emulator)


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
async def test_a_429_is_not_sent_and_the_next_post_waits(
    emulator: Emulator, client: DiscordClient, clock: LeapingClock, villa: int, scope: str
) -> None:
    """For as long as it says."""
    emulator.fail(method="POST", route=MESSAGES, kind="ratelimit", retry_after=2.5, scope=scope)
    outcome = await client.post(villa, payload("hello"))
    assert isinstance(outcome, NotSent)
    assert 2.5 == outcome.retry_after
    began = clock.now
    assert Sent is type(await client.post(villa, payload("hello")))
    assert pytest.approx(2.5, abs=0.2) == clock.now - began


async def test_a_read_waits_out_a_429(
    emulator: Emulator, client: DiscordClient, clock: LeapingClock, villa: int
) -> None:
    """It is waiting, not a failure."""
    said = emulator.say(villa, "hi")
    emulator.fail(method="GET", route=MESSAGES, kind="ratelimit", times=3, retry_after=4.0)
    (message,) = await client.messages(villa, after=0)
    assert (str(said), [429, 429, 429, 200]) == (message["id"], statuses(emulator))
    assert 12.0 <= sum(clock.slept)


async def test_a_read_does_not_wait_for_ever(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """After a few 429s the caller hears of it, with the seconds."""
    emulator.fail(method="GET", route=MESSAGES, kind="ratelimit", times=0, retry_after=4.0)
    with pytest.raises(UnreachableError) as raised:
        await client.messages(villa, after=0)
    assert (4.0, 429, TIMES_ASKED) == (
        raised.value.retry_after,
        raised.value.status,
        len(emulator.requests()),
    )


async def test_a_long_wait_is_told_instead_of_waited(
    emulator: Emulator, client: DiscordClient, clock: LeapingClock, villa: int
) -> None:
    """Nothing is asked, and nobody sleeps for a quarter of an hour inside a call."""
    emulator.fail(method="*", route=MESSAGES, kind="ratelimit", times=2, retry_after=900.0, scope="shared")
    await client.post(villa, payload("hello"))
    second = await client.post(villa, payload("hello"))
    assert isinstance(second, NotSent)
    assert second.retry_after == pytest.approx(900, abs=1)
    assert (1, []) == (len(emulator.requests()), clock.slept)
    with pytest.raises(UnreachableError):
        await client.messages(villa, after=0)


@pytest.mark.parametrize("shape", ["html", "text", "json"])
async def test_cloudflare_closes_everything(
    emulator: Emulator, client: DiscordClient, clock: LeapingClock, villa: int, shape: str
) -> None:
    """One breaker for all routes: while it is open nothing is asked, then one request tries."""
    emulator.fail(method="POST", route=MESSAGES, kind="cloudflare", shape=shape, retry_after=600)
    first = await client.post(villa, payload("hello"))
    assert isinstance(first, NotSent)
    assert (600.0, 600.0, breaker.TURNED_AWAY) == (
        first.retry_after,
        client.paused_for,
        client.paused_because,
    )
    with pytest.raises(UnreachableError) as raised:
        await client.me()
    assert (600.0, 1) == (raised.value.retry_after, len(emulator.requests()))
    assert client.answered_at is None
    clock.now += 600
    assert Sent is type(await client.post(villa, payload("hello")))
    assert [0.0, "", clock.now] == [client.paused_for, client.paused_because, client.answered_at]


async def test_refused_requests_are_counted(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """A status page can show how near the bot is to a ban."""
    emulator.deny(villa, permissions.SEND_MESSAGES)
    await client.post(villa, payload("hello"))
    assert 1 == client.invalid_requests


async def test_a_refused_token_ends_all_asking(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """One 401 is enough; what waits for its turn does not ask for another."""
    emulator.fail(method="*", route=MESSAGES, kind="unauthorized")
    waiting = [client.post(villa, payload("hello", nonce=f"n{number}")) for number in range(5)]
    found = await asyncio.gather(*waiting, client.messages(villa + 1, after=0), return_exceptions=True)
    with pytest.raises(TokenRefusedError) as raised:
        await client.me()
    assert {TokenRefusedError} == {type(error) for error in found}
    assert len(emulator.requests()) <= 2, "only what was under way already may have been asked"
    assert emulator.token not in f"{found} {raised.value}"


# -- reading ---------------------------------------------------------------------------------------------


def say_many(emulator: Emulator, count: int) -> list[int]:
    return [emulator.say("mayor-villa", f"line {number}") for number in range(count)]


async def test_a_page_is_ascending(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Discord's is newest first; ours are the ones next above the cursor, oldest first."""
    said = say_many(emulator, 7)
    page = await client.messages(villa, after=said[1], limit=3)
    assert [str(each) for each in said[2:5]] == [message["id"] for message in page]


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 250])
async def test_all_pages_are_read(emulator: Emulator, client: DiscordClient, villa: int, count: int) -> None:
    """Every message once, ascending over all pages, and an end at each boundary."""
    said = say_many(emulator, count)
    pages = [page async for page in client.messages_since(villa, 0)]
    assert said == [int(message["id"]) for page in pages for message in page]
    assert count // PAGE + 1 == len(emulator.requests())


async def test_a_failed_page_is_an_error_and_no_end(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Else a cursor would pass what was never read."""
    say_many(emulator, 150)
    emulator.fail(method="GET", route=MESSAGES, kind="status", after=1, times=0, status=503)
    pages = client.messages_since(villa, 0)
    assert PAGE == len(await anext(pages))
    with pytest.raises(UnreachableError):
        await anext(pages)


async def test_a_channel_that_cannot_be_seen(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Raises the error that parks a channel."""
    emulator.deny(villa, permissions.VIEW_CHANNEL)
    with pytest.raises(ChannelClosedError) as raised:
        await client.messages(villa, after=0)
    assert (50001, 403) == (raised.value.code, raised.value.status)


async def test_a_history_that_cannot_be_read_is_empty(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Discord says nothing of it; only permissions tell."""
    emulator.say(villa, "hi")
    emulator.deny(villa, permissions.READ_MESSAGE_HISTORY)
    assert [] == await client.messages(villa, after=0)


async def test_a_read_survives_one_broken_connection(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """It changes nothing to ask again, after a cut answer too."""
    emulator.say(villa, "hi")
    emulator.fail(method="GET", route=MESSAGES, kind="truncated")
    assert 1 == len(await client.messages(villa, after=0))


async def test_a_read_gives_up_when_nobody_listens(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """The poller comes again by itself."""
    await emulator.down()
    with pytest.raises(UnreachableError) as raised:
        await client.messages(villa, after=0)
    assert "no connection to Discord" in raised.value.what
    assert 0 == raised.value.status


# -- who and where ---------------------------------------------------------------------------------------


async def test_who_the_bot_is(emulator: Emulator, client: DiscordClient) -> None:
    """The token's own user, application and guild."""
    me, application = await client.me(), await client.application()
    (guild,) = await client.guilds()
    whole = await client.guild(int(guild["id"]))
    ids = (me["id"], guild["id"], whole["id"])
    assert (str(emulator.guild.bot.id), str(emulator.guild.id), str(emulator.guild.id)) == ids
    assert int(application["flags"]) & (1 << 18 | 1 << 19), "the message content intent is on"


async def test_a_channel_is_made_and_listed(emulator: Emulator, client: DiscordClient) -> None:
    """Under the name that Discord makes of it, below its category."""
    category = emulator.add_channel("Gas Town", type=4)
    made = await client.create_channel(emulator.guild.id, "Mayor Ada", parent_id=category, topic="ada's rig")
    listed = {channel["id"]: channel for channel in await client.guild_channels(emulator.guild.id)}
    one = await client.channel(int(made["id"]))
    assert ("mayor-ada", str(category), "ada's rig") == (one["name"], one["parent_id"], one["topic"])
    assert one["name"] == listed[made["id"]]["name"]


async def test_there_are_no_threads_yet(emulator: Emulator, client: DiscordClient) -> None:
    """The list is inside an object."""
    assert [] == await client.active_threads(emulator.guild.id)


async def test_a_reaction_is_on_the_message(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Twice is once."""
    said = emulator.say(villa, "hi")
    await client.react(villa, said, "👀")
    await client.react(villa, said, "👀")
    (message,) = emulator.messages(villa)
    assert [("👀", 1)] == [(each["emoji"]["name"], each["count"]) for each in message["reactions"]]


async def test_a_reaction_survives_one_broken_connection(
    emulator: Emulator, client: DiscordClient, villa: int
) -> None:
    """Whether or not it was put the first time, asking again puts it once."""
    said = emulator.say(villa, "hi")
    route = f"{MESSAGES}/{{message}}/reactions/{{emoji}}/@me"
    for kind in ("drop_before", "drop_after"):
        emulator.fail(method="PUT", route=route, kind=kind, reset=True)
        await client.react(villa, said, "👀")
    (message,) = emulator.messages(villa)
    assert [("👀", 1)] == [(each["emoji"]["name"], each["count"]) for each in message["reactions"]]


async def test_a_reaction_on_nothing_is_refused(client: DiscordClient, villa: int) -> None:
    """Permanent, and no reason to park the channel."""
    with pytest.raises(RefusedError) as raised:
        await client.react(villa, 5, "👀")
    assert 10008 == raised.value.code


@pytest.mark.parametrize("denied", [0, permissions.READ_MESSAGE_HISTORY, permissions.SEND_MESSAGES])
async def test_permissions_are_reckoned_from_the_answers(
    emulator: Emulator, client: DiscordClient, villa: int, denied: int
) -> None:
    """Roles, member and overwrites as they come over the wire give what the channel really allows."""
    emulator.deny(villa, denied)
    guild, me = emulator.guild.id, emulator.guild.bot.id
    member, channel = await client.member(guild, me), await client.channel(villa)
    granted = permissions.channel_permissions(
        guild,
        {int(role) for role in member["roles"]},
        await client.roles(guild),
        channel["permission_overwrites"],
        me,
    )
    wanted = permissions.TO_POLL | permissions.TO_SEND
    assert permissions.missing(wanted & ~denied, wanted) == permissions.missing(granted, wanted)


async def test_one_message(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """With its reactions; once it is gone, or the history closed, that is said and not an empty answer."""
    said = emulator.say("mayor-villa", "done")
    await client.react(villa, said, "👀")
    found = await client.message(villa, said)
    assert ("done", ["👀"]) == (found["content"], [each["emoji"]["name"] for each in found["reactions"]])
    with pytest.raises(RefusedError) as gone:
        await client.message(villa, 1)
    assert 10008 == gone.value.code
    emulator.deny("mayor-villa", 1 << 16)
    with pytest.raises(RefusedError) as closed:
        await client.message(villa, said)
    assert 50013 == closed.value.code


async def test_who_reacted(emulator: Emulator, client: DiscordClient, villa: int) -> None:
    """Everybody, each once, however many pages that takes."""
    said = emulator.say("mayor-villa", "done")
    message = emulator.guild.message(villa, said)
    assert message is not None
    for number in range(PAGE + 30):
        emulator.guild.react(message, "👍", emulator.guild.person(f"user{number}"))
        message = emulator.guild.message(villa, said)
        assert message is not None
    found = await client.reactions(villa, said, "👍")
    assert PAGE + 30 == len({each["id"] for each in found}) == len(found)
    assert [] == await client.reactions(villa, said, "👎")
    with pytest.raises(RefusedError):
        await client.reactions(villa, said, "..")
