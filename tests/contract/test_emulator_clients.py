"""Two Discord libraries that nobody here wrote find in the emulator what they expect of Discord.

Both run unchanged over a real loopback socket; only the address of the API is theirs to be told.
"""

from __future__ import annotations

import datetime
import io
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hikari
import pytest

from spoolbridge.emulator import Emulator, permissions

with warnings.catch_warnings():
    # Its voice side, which is not used here, imports a module that Python 3.13 drops.
    warnings.simplefilter("ignore", DeprecationWarning)
    import discord


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator().serve() as running:
        running.add_channel("mayor-villa")
        yield running


@pytest.fixture
async def pages(emulator: Emulator) -> Emulator:
    """The same with 230 messages of a human's in the channel, numbered from 0."""
    # Paging is the subject here, not waiting for buckets to refill.
    emulator.limits.enabled = False
    for number in range(230):
        emulator.say("mayor-villa", f"message {number}")
    return emulator


NUMBERED = [f"message {number}" for number in range(230)]


class TestDiscordPy:
    """discord.py logs in by its own sequence of requests and parses every answer into its models."""

    @pytest.fixture
    async def client(
        self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[discord.Client]:
        monkeypatch.setattr(discord.http.Route, "BASE", emulator.api_url)
        # Without the members' intent the library does not even ask for the list.
        client = discord.Client(intents=discord.Intents(members=True))
        async with client:
            await client.login(emulator.token)
            yield client

    @pytest.fixture
    async def channel(self, emulator: Emulator, client: discord.Client) -> discord.TextChannel:
        found = await client.fetch_channel(emulator.guild.channels["mayor-villa"].id)
        assert isinstance(found, discord.TextChannel)
        return found

    async def test_login(self, emulator: Emulator, client: discord.Client) -> None:
        """Logging in tells the client who it is and which application it belongs to."""
        assert client.user is not None
        application = await client.application_info()
        assert (emulator.guild.bot.id, emulator.guild.bot.id) == (client.user.id, application.id)
        assert application.flags.gateway_message_content_limited

    async def test_same_nonce(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A nonce that is used twice makes one message, and both answers are that message."""
        first = await channel.send("hello", nonce="one-and-the-same")
        second = await channel.send("hello", nonce="one-and-the-same")
        assert first.id == second.id
        assert ["hello"] == [message["content"] for message in emulator.messages("mayor-villa")]

    async def test_history(self, pages: Emulator, channel: discord.TextChannel) -> None:
        """History pages to its end in both directions without a gap or a double."""
        assert pages.requests()
        forward = [message.content async for message in channel.history(limit=None, oldest_first=True)]
        back = [message.content async for message in channel.history(limit=None)]
        assert NUMBERED == forward
        assert NUMBERED[::-1] == back

    async def test_reply_and_react(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A reply names its original, and a reaction is the bot's own."""
        asked = await channel.fetch_message(emulator.say("mayor-villa", "are you there?"))
        reply = await asked.reply("yes")
        await asked.add_reaction("👀")
        again = await channel.fetch_message(asked.id)
        assert reply.reference is not None
        assert isinstance(reply.reference.resolved, discord.Message)
        assert "are you there?" == reply.reference.resolved.content
        assert [("👀", 1, True)] == [(str(one.emoji), one.count, one.me) for one in again.reactions]

    async def test_reply_to_nothing(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A reply to a message that is gone is refused by name, or posted without it where asked for."""
        gone = await channel.send("soon gone")
        await gone.delete()
        with pytest.raises(discord.HTTPException) as caught:
            await gone.reply("yes")
        assert (400, 50035) == (caught.value.status, caught.value.code)
        assert "Unknown message" in caught.value.text
        lax = await channel.send("yes", reference=gone.to_reference(fail_if_not_exists=False))
        assert discord.MessageType.default == lax.type

    async def test_reactions(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """Who reacted pages to its end, the bot's own is taken back, and a guild's own emoji is one."""
        asked = await channel.fetch_message(emulator.say("mayor-villa", "all for it?"))
        for number in range(105):
            emulator.react("mayor-villa", asked.id, "👍", author=f"person {number}")
        await asked.add_reaction("👍")
        again = await channel.fetch_message(asked.id)
        assert 106 == len([user async for user in again.reactions[0].users()])
        await asked.remove_reaction("👍", discord.Object(emulator.guild.bot.id))
        assert [("👍", 105, False)] == [
            (str(one.emoji), one.count, one.me) for one in (await channel.fetch_message(asked.id)).reactions
        ]
        own = emulator.guild.add_emoji("mayor")
        await asked.add_reaction(f"<:{own.key}>")
        last = (await channel.fetch_message(asked.id)).reactions[-1].emoji
        assert isinstance(last, discord.PartialEmoji)
        assert (own.id, "mayor") == (last.id, last.name)

    async def test_edit_and_delete(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """An edit keeps the id and says when; a deleted message is not found."""
        sent = await channel.send("helo")
        edited = await sent.edit(content="hello")
        assert (sent.id, "hello") == (edited.id, edited.content)
        assert edited.edited_at is not None
        await sent.delete()
        with pytest.raises(discord.NotFound) as caught:
            await channel.fetch_message(sent.id)
        assert 10008 == caught.value.code

    async def test_files(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A file goes up with its name and description and comes down byte for byte."""
        data = bytes(range(256)) * 40
        sent = await channel.send(
            file=discord.File(io.BytesIO(data), "rapport é.bin", description="all bytes")
        )
        attachment = sent.attachments[0]
        assert (len(data), "all bytes") == (attachment.size, attachment.description)
        assert data == await attachment.read()

    async def test_guild(self, emulator: Emulator, client: discord.Client) -> None:
        """The guild, its channels, a new channel, its roles and its members all parse."""
        guild = await client.fetch_guild(emulator.guild.id)
        made = await guild.create_text_channel("Mayor Quarry", topic="stone")
        assert ["mayor-villa", "mayor-quarry"] == [channel.name for channel in await guild.fetch_channels()]
        assert ("mayor-quarry", "stone") == (made.name, made.topic)
        assert ["@everyone", "spoolbridge"] == [role.name for role in await guild.fetch_roles()]
        member = await guild.fetch_member(emulator.guild.bot.id)
        assert member.bot

    async def test_threads(
        self, emulator: Emulator, client: discord.Client, channel: discord.TextChannel
    ) -> None:
        """A thread started from a message has its id; it is listed while active and can be written to."""
        asked = await channel.fetch_message(emulator.say("mayor-villa", "a long story"))
        thread = await asked.create_thread(name="the story")
        await thread.send("once upon a time")
        assert asked.id == thread.id
        guild = await client.fetch_guild(emulator.guild.id)
        assert [thread.id] == [one.id for one in await guild.active_threads()]
        assert "once upon a time" == emulator.messages(thread.id)[-1]["content"]

    async def test_archived_threads(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """Threads are archived, listed page by page, woken by a message, and closed to it when locked."""
        emulator.limits.enabled = False
        for number in range(103):
            emulator.start_thread("mayor-villa", f"story {number}", archived=True)
        own = await channel.create_thread(name="my own", type=discord.ChannelType.public_thread)
        assert (await own.edit(archived=True)).archived
        listed = [thread async for thread in channel.archived_threads(limit=None)]
        assert (104, own.id, "story 0") == (len(listed), listed[0].id, listed[-1].name)
        await own.send("awake")
        assert 103 == len([thread async for thread in channel.archived_threads(limit=None)])
        emulator.guild.change_channel(own.id, locked=True)
        with pytest.raises(discord.Forbidden) as caught:
            await own.send("too late")
        assert 160005 == caught.value.code

    async def test_forum(self, emulator: Emulator, client: discord.Client) -> None:
        """A post in a forum comes with its first message, under the thread's id, and its file."""
        forum = await client.fetch_channel(emulator.add_channel("ideas", type=15))
        assert isinstance(forum, discord.ForumChannel)
        data = discord.File(io.BytesIO(b"dots"), "plan.png")
        made = await forum.create_thread(name="a bigger roof", content="why not", file=data)
        assert (made.thread.id, "why not") == (made.message.id, made.message.content)
        assert b"dots" == await made.message.attachments[0].read()

    async def test_refused_files(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A file that is too large is refused with its code, and the text is not posted either."""
        emulator.guild.max_file = 10
        with pytest.raises(discord.HTTPException) as caught:
            await channel.send("look", file=discord.File(io.BytesIO(b"x" * 11), "a.txt"))
        assert (413, 40005) == (caught.value.status, caught.value.code)
        assert [] == emulator.messages("mayor-villa")

    async def test_members_and_roles(self, emulator: Emulator, client: discord.Client) -> None:
        """Members page by id; a member has nickname and roles, which give rights in a channel."""
        mayors = emulator.guild.add_role("mayors", permissions=permissions.MANAGE_MESSAGES)
        nic = emulator.guild.humans[0]
        emulator.guild.member_roles[nic.id].add(mayors.id)
        emulator.guild.nicks[nic.id] = "Nicki"
        guild = await client.fetch_guild(emulator.guild.id)
        everybody = [member async for member in guild.fetch_members(limit=None)]
        assert {"nic", "ada", "spoolbridge"} == {member.name for member in everybody}
        member = await guild.fetch_member(nic.id)
        assert ("Nicki", ["@everyone", "mayors"]) == (member.nick, [role.name for role in member.roles])
        assert member.guild_permissions.manage_messages

    async def test_poll_and_embed(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """A poll and an embed come back as they were sent."""
        poll = discord.Poll("Which roof?", datetime.timedelta(hours=2)).add_answer(text="flat")
        embed = discord.Embed(title="Roofs").add_field(name="a", value="b")
        sent = await channel.send(poll=poll, embed=embed)
        again = await channel.fetch_message(sent.id)
        assert again.poll is not None
        assert ("Which roof?", ["flat"]) == (again.poll.question, [one.text for one in again.poll.answers])
        assert ("Roofs", 1) == (again.embeds[0].title, len(again.embeds[0].fields))

    async def test_rate_limit(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """Seven messages to one channel arrive although the bucket holds five: headers are obeyed."""
        emulator.limits.set("POST", "/channels/{channel}/messages", limit=5, window=0.5)
        for number in range(7):
            await channel.send(f"message {number}")
        assert NUMBERED[:7] == [message["content"] for message in emulator.messages("mayor-villa")]

    async def test_cloudflare(self, emulator: Emulator, channel: discord.TextChannel) -> None:
        """An answer without `Via` is taken for Cloudflare's, and not retried."""
        emulator.fail(method="POST", route="/channels/{channel}/messages", kind="cloudflare", shape="text")
        with pytest.raises(discord.HTTPException) as caught:
            await channel.send("hello")
        assert 429 == caught.value.status
        assert [] == emulator.messages("mayor-villa")


class TestHikari:
    """hikari is strict about the shape of what it reads."""

    @asynccontextmanager
    async def rest(self, emulator: Emulator) -> AsyncIterator[hikari.impl.RESTClientImpl]:
        app = hikari.RESTApp(url=emulator.api_url, max_retries=0)
        await app.start()
        try:
            async with app.acquire(emulator.token, hikari.TokenType.BOT) as rest:
                yield rest
        finally:
            await app.close()

    async def test_login(self, emulator: Emulator) -> None:
        """The bot's own user and application are read."""
        async with self.rest(emulator) as rest:
            me = await rest.fetch_my_user()
            application = await rest.fetch_application()
        assert (emulator.guild.bot.id, "spoolbridge") == (me.id, application.name)

    async def test_same_nonce(self, emulator: Emulator) -> None:
        """A nonce that is used twice makes one message."""
        channel = emulator.guild.channels["mayor-villa"].id
        async with self.rest(emulator) as rest:
            first = await rest.create_message(channel, "hello", nonce="one-and-the-same")
            second = await rest.create_message(channel, "hello", nonce="one-and-the-same")
        assert first.id == second.id
        assert 1 == len(emulator.messages("mayor-villa"))

    async def test_history(self, pages: Emulator) -> None:
        """History pages to its end in both directions without a gap or a double."""
        channel = pages.guild.channels["mayor-villa"].id
        async with self.rest(pages) as rest:
            forward = [m.content async for m in rest.fetch_messages(channel, after=hikari.Snowflake(0))]
            back = [m.content async for m in rest.fetch_messages(channel)]
        assert NUMBERED == forward
        assert NUMBERED[::-1] == back

    async def test_reply_and_react(self, emulator: Emulator) -> None:
        """A reply carries its original, and a reaction is counted."""
        channel = emulator.guild.channels["mayor-villa"].id
        asked = emulator.say("mayor-villa", "are you there?")
        async with self.rest(emulator) as rest:
            reply = await rest.create_message(channel, "yes", reply=asked)
            await rest.add_reaction(channel, asked, "👀")
            again = await rest.fetch_message(channel, asked)
        assert reply.referenced_message is not None
        assert "are you there?" == reply.referenced_message.content
        assert [("👀", 1, True)] == [(str(one.emoji), one.count, one.is_me) for one in again.reactions]

    async def test_reply_to_nothing(self, emulator: Emulator) -> None:
        """A reply to a message that is gone names the leaf of Discord's refusal."""
        channel = emulator.guild.channels["mayor-villa"].id
        async with self.rest(emulator) as rest:
            gone = await rest.create_message(channel, "soon gone")
            await rest.delete_message(channel, gone)
            with pytest.raises(hikari.BadRequestError) as caught:
                await rest.create_message(channel, "yes", reply=gone, reply_must_exist=True)
            lax = await rest.create_message(channel, "yes", reply=gone, reply_must_exist=False)
        assert caught.value.errors is not None
        assert "MESSAGE_REFERENCE_UNKNOWN_MESSAGE" in str(caught.value.errors)
        assert hikari.MessageType.DEFAULT == lax.type

    async def test_reactions(self, emulator: Emulator) -> None:
        """Who reacted pages to its end; the bot's own is taken back; a guild's own emoji is one."""
        emulator.limits.enabled = False
        channel = emulator.guild.channels["mayor-villa"].id
        asked = emulator.say("mayor-villa", "all for it?")
        for number in range(105):
            emulator.react("mayor-villa", asked, "👍", author=f"person {number}")
        own = emulator.guild.add_emoji("mayor")
        async with self.rest(emulator) as rest:
            assert 105 == await rest.fetch_reactions_for_emoji(channel, asked, "👍").count()
            await rest.add_reaction(channel, asked, "👍")
            await rest.add_reaction(channel, asked, "mayor", own.id)
            await rest.delete_my_reaction(channel, asked, "👍")
            again = await rest.fetch_message(channel, asked)
        assert [("👍", 105, False), ("mayor", 1, True)] == [
            (one.emoji.name, one.count, one.is_me) for one in again.reactions
        ]

    async def test_edit_and_delete(self, emulator: Emulator) -> None:
        """An edit keeps the id and says when; a deleted message is not found."""
        channel = emulator.guild.channels["mayor-villa"].id
        async with self.rest(emulator) as rest:
            sent = await rest.create_message(channel, "helo")
            edited = await rest.edit_message(channel, sent, "hello")
            await rest.delete_message(channel, sent)
            with pytest.raises(hikari.NotFoundError) as caught:
                await rest.fetch_message(channel, sent)
        assert (sent.id, "hello") == (edited.id, edited.content)
        assert edited.edited_timestamp is not None
        assert 10008 == caught.value.code

    async def test_files(self, emulator: Emulator) -> None:
        """Files go up with their names and come down byte for byte; one that is too large is refused."""
        channel = emulator.guild.channels["mayor-villa"].id
        data = bytes(range(256)) * 40
        async with self.rest(emulator) as rest:
            attached = [hikari.Bytes(data, "rapport é.bin"), hikari.Bytes(b"two", "b.txt")]
            sent = await rest.create_message(channel, "here", attachments=attached)
            again = await rest.fetch_message(channel, sent)
            assert ["rapport é.bin", "b.txt"] == [one.filename for one in again.attachments]
            assert data == await again.attachments[0].read()
            emulator.guild.max_file = 10
            with pytest.raises(hikari.ClientHTTPResponseError) as caught:
                await rest.create_message(channel, "here", attachment=hikari.Bytes(data, "a.bin"))
        # The library has no code for this status; what Discord said is in the body.
        assert (413, True) == (caught.value.status, b"40005" in bytes(caught.value.raw_body or b""))

    async def test_threads(self, emulator: Emulator) -> None:
        """Threads are started both ways, written to, listed while active and when archived, and woken."""
        emulator.limits.enabled = False
        channel, guild_id = emulator.guild.channels["mayor-villa"].id, emulator.guild.id
        asked = emulator.say("mayor-villa", "a long story")
        for number in range(103):
            emulator.start_thread("mayor-villa", f"story {number}", archived=True)
        async with self.rest(emulator) as rest:
            story = await rest.create_message_thread(channel, asked, "the story")
            own = await rest.create_thread(channel, hikari.ChannelType.GUILD_PUBLIC_THREAD, "my own")
            await rest.create_message(story, "once upon a time")
            assert {story.id, own.id} == {one.id for one in await rest.fetch_active_threads(guild_id)}
            closed = await rest.edit_channel(own, archived=True)
            assert isinstance(closed, hikari.GuildThreadChannel)
            assert closed.is_archived
            listed = await rest.fetch_public_archived_threads(channel)
            await rest.edit_channel(own, archived=False)
            assert 2 == len(await rest.fetch_active_threads(guild_id))
        assert (asked, 104, own.id, "story 0") == (story.id, len(listed), listed[0].id, listed[-1].name)
        assert "once upon a time" == emulator.messages(story.id)[-1]["content"]

    async def test_forum(self, emulator: Emulator) -> None:
        """A post in a forum has its first message, under its own id."""
        forum = emulator.add_channel("ideas", type=15)
        async with self.rest(emulator) as rest:
            post = await rest.create_forum_post(forum, "a bigger roof", "why not")
            first = await rest.fetch_message(post, post.id)
        assert ("a bigger roof", "why not") == (post.name, first.content)

    async def test_members_and_roles(self, emulator: Emulator) -> None:
        """Members and roles are read, with nickname, permissions and who holds which."""
        mayors = emulator.guild.add_role("mayors", permissions=permissions.MANAGE_MESSAGES)
        nic = emulator.guild.humans[0]
        emulator.guild.member_roles[nic.id].add(mayors.id)
        emulator.guild.nicks[nic.id] = "Nicki"
        async with self.rest(emulator) as rest:
            names = [member.username async for member in rest.fetch_members(emulator.guild.id)]
            member = await rest.fetch_member(emulator.guild.id, nic.id)
            held = {role.id: role for role in await rest.fetch_roles(emulator.guild.id)}
        assert {"nic", "ada", "spoolbridge"} == set(names)
        assert ("Nicki", True) == (member.nickname, mayors.id in member.role_ids)
        assert held[hikari.Snowflake(mayors.id)].permissions & hikari.Permissions.MANAGE_MESSAGES

    async def test_guild(self, emulator: Emulator) -> None:
        """The guild, its channels, a new channel, its roles and a member are read."""
        guild_id = emulator.guild.id
        async with self.rest(emulator) as rest:
            guild = await rest.fetch_guild(guild_id)
            made = await rest.create_guild_text_channel(guild_id, "Mayor Quarry")
            names = [channel.name for channel in await rest.fetch_guild_channels(guild_id)]
            member = await rest.fetch_member(guild_id, emulator.guild.bot.id)
        assert ("Gas Town", "mayor-quarry") == (guild.name, made.name)
        assert ["mayor-villa", "mayor-quarry"] == names
        assert 2 == len(member.role_ids)

    async def test_errors(self, emulator: Emulator) -> None:
        """Refusals come as the library's own exceptions, with Discord's codes."""
        async with self.rest(emulator) as rest:
            with pytest.raises(hikari.NotFoundError) as missing:
                await rest.fetch_channel(1)
            with pytest.raises(hikari.BadRequestError) as empty:
                await rest.create_message(emulator.guild.channels["mayor-villa"].id, " ")
        assert (10003, 50006) == (missing.value.code, empty.value.code)

    async def test_server_error(self, emulator: Emulator) -> None:
        """An HTML page with status 503 is an internal server error to the library."""
        emulator.fail(method="GET", route="/users/@me", kind="status", status=503)
        async with self.rest(emulator) as rest:
            with pytest.raises(hikari.InternalServerError):
                await rest.fetch_my_user()
