"""The emulator's threads, looked at raw: started, written to, archived, locked, listed, in forums."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from spoolbridge.emulator import permissions
from tests.support.raw import Api, Clock, Raw

DAY = 86_400.0  # seconds


class TestThreads:
    async def start(self, api: Api) -> Raw:
        said = api.emulator.say("mayor-villa", "a long story")
        return await api("POST", f"/channels/{api.channel}/messages/{said}/threads", json={"name": "story"})

    async def test_from_message(self, api: Api) -> None:
        """201, the message's id, and at most one a message."""
        raw = await self.start(api)
        said = raw.body["id"]
        assert (201, said, 11) == (
            raw.status,
            api.emulator.messages("mayor-villa")[0]["id"],
            raw.body["type"],
        )
        again = await api("POST", f"/channels/{api.channel}/messages/{said}/threads", json={"name": "story"})
        assert (400, 160004) == again.error
        active = (await api("GET", f"/guilds/{api.emulator.guild.id}/threads/active")).body
        assert [said] == [thread["id"] for thread in active["threads"]]
        assert [said] == [member["id"] for member in active["members"]]

    async def test_own_permission(self, api: Api) -> None:
        """In a thread SEND_MESSAGES_IN_THREADS counts and SEND_MESSAGES does not."""
        thread = int((await self.start(api)).body["id"])
        api.emulator.deny("mayor-villa", permissions.SEND_MESSAGES)
        assert 200 == (await api.post(thread, content="x")).status
        api.emulator.deny("mayor-villa", permissions.SEND_MESSAGES_IN_THREADS)
        assert (403, 50013) == (await api.post(thread, content="x")).error

    async def test_archived_and_locked(self, api: Api) -> None:
        """Posting wakes an archived thread; other changes there are 50083; a locked one is 160005."""
        thread = int((await self.start(api)).body["id"])
        made = await api.post(thread, content="x")
        api.emulator.guild.change_channel(thread, archived=True)
        archived = (await api("GET", f"/channels/{api.channel}/threads/archived/public")).body
        assert [str(thread)] == [one["id"] for one in archived["threads"]]
        one = f"/channels/{thread}/messages/{made.body['id']}"
        assert (400, 50083) == (await api("PATCH", one, json={"content": "y"})).error
        assert 200 == (await api.post(thread, content="x")).status
        assert not api.emulator.guild.channel(thread).archived
        api.emulator.guild.change_channel(thread, locked=True)
        assert (403, 160005) == (await api.post(thread, content="x")).error

    async def test_private_by_default(self, api: Api) -> None:
        """A thread without a message is private unless told otherwise, which needs another permission."""
        path = f"/channels/{api.channel}/threads"
        assert (403, 50013) == (await api("POST", path, json={"name": "x"})).error
        raw = await api("POST", path, json={"name": "x", "type": 11})
        assert (201, 11) == (raw.status, raw.body["type"])
        assert 18 == api.emulator.messages("mayor-villa")[0]["type"]

    async def test_forum(self, api: Api) -> None:
        """A post in a forum carries its first message, whose id is the thread's."""
        forum = api.emulator.add_channel("ideas", type=15)
        path = f"/channels/{forum}/threads"
        assert (400, 50035) == (await api("POST", path, json={"name": "x"})).error
        raw = await api("POST", path, json={"name": "x", "message": {"content": "first"}})
        assert (201, raw.body["id"], "first") == (
            raw.status,
            raw.body["message"]["id"],
            raw.body["message"]["content"],
        )
        api.emulator.guild.change_channel(forum, require_tag=True)
        bare = await api("POST", path, json={"name": "x", "message": {"content": "first"}})
        assert (400, 40067) == bare.error

    async def test_uploads_in_a_forum(self, api: Api) -> None:
        """A post's first message may have files, and one that is too large is 413 there too."""
        forum = api.emulator.add_channel("ideas", type=15)
        for size, error in ((3, None), (11, (413, 40005))):
            api.emulator.guild.max_file = 10
            form = aiohttp.FormData(quote_fields=False)
            body = '{"name":"x","message":{"content":"first"}}'
            form.add_field("payload_json", body, content_type="application/json")
            form.add_field("files[0]", b"x" * size, filename="a.txt")
            raw = await api("POST", f"/channels/{forum}/threads", data=form)
            assert error == (raw.error if raw.status >= 400 else None)

    async def test_counts(self, api: Api) -> None:
        """The message that a thread began from does not count among its messages; writers are members."""
        thread = int((await self.start(api)).body["id"])
        api.emulator.say(thread, "and then?", author="ada")
        shown = (await api("GET", f"/channels/{thread}")).body
        assert (1, 2) == (shown["message_count"], shown["member_count"])


class TestChange:
    """Modify Channel of a thread."""

    @pytest.fixture
    def others(self, api: Api) -> int:
        """A thread that a human started."""
        return api.emulator.start_thread("mayor-villa", "story", author="ada")

    async def change(self, api: Api, thread: int, **body: Any) -> Raw:
        return await api("PATCH", f"/channels/{thread}", json=body)

    async def test_own(self, api: Api, clock: Clock) -> None:
        """The bot names, archives and wakes its own; while archived nothing but waking is taken."""
        path = f"/channels/{api.channel}/threads"
        thread = int((await api("POST", path, json={"name": "x", "type": 11})).body["id"])
        assert "y" == (await self.change(api, thread, name="y")).body["name"]
        clock.now += 60
        metadata = (await self.change(api, thread, archived=True)).body["thread_metadata"]
        assert (True, "2026-11-18T11:07:40.000000+00:00") == (
            metadata["archived"],
            metadata["archive_timestamp"],
        )
        assert (400, 50083) == (await self.change(api, thread, name="z")).error
        woken = await self.change(api, thread, archived=False, name="z")
        assert ("z", False) == (woken.body["name"], woken.body["thread_metadata"]["archived"])
        assert (400, 50035) == (await self.change(api, thread, auto_archive_duration=61)).error

    async def test_others(self, api: Api, others: int) -> None:
        """Another's thread can only be woken, and needs a permission for the rest."""
        assert (403, 50013) == (await self.change(api, others, archived=True)).error
        api.emulator.guild.change_channel(others, archived=True)
        assert 200 == (await self.change(api, others, archived=False)).status
        api.emulator.allow("mayor-villa", permissions.MANAGE_THREADS)
        locked = await self.change(api, others, archived=True, locked=True)
        assert locked.body["thread_metadata"]["locked"]

    async def test_locked(self, api: Api, others: int) -> None:
        """A locked thread is neither woken, nor written to, nor deleted by who may not manage threads."""
        api.emulator.guild.change_channel(others, archived=True, locked=True)
        assert (403, 160005) == (await self.change(api, others, archived=False)).error
        assert (403, 160005) == (await api.post(others, content="x")).error
        assert (403, 50013) == (await api("DELETE", f"/channels/{others}")).error
        api.emulator.allow("mayor-villa", permissions.MANAGE_THREADS)
        assert 200 == (await api.post(others, content="x")).status
        assert not api.emulator.guild.channel(others).archived

    async def test_reactions_in_an_archived_one(self, api: Api, others: int) -> None:
        """In an archived thread nothing is reacted to nor taken back: 50083."""
        said = api.emulator.say(others, "hello")
        path = f"/channels/{others}/messages/{said}/reactions/%F0%9F%91%80/@me"
        assert 204 == (await api("PUT", path)).status
        api.emulator.guild.change_channel(others, archived=True)
        for method in ("PUT", "DELETE"):
            assert (400, 50083) == (await api(method, path)).error

    async def test_by_itself(self, api: Api, others: int, clock: Clock) -> None:
        """A thread in which nobody writes for its time is archived, as of the moment when it was due."""
        clock.now += DAY / 2
        api.emulator.say(others, "still here")
        clock.now += DAY - 1
        assert not (await api("GET", f"/channels/{others}")).body["thread_metadata"]["archived"]
        clock.now += 3600
        metadata = (await api("GET", f"/channels/{others}")).body["thread_metadata"]
        assert (True, "2026-11-19T23:06:40.000000+00:00") == (
            metadata["archived"],
            metadata["archive_timestamp"],
        )
        assert [] == (await api("GET", f"/guilds/{api.emulator.guild.id}/threads/active")).body["threads"]
        assert 200 == (await api.post(others, content="awake")).status
        assert not api.emulator.guild.channel(others).archived


class TestArchived:
    """The lists of archived threads."""

    @pytest.fixture
    def threads(self, api: Api, clock: Clock) -> list[int]:
        """Five public ones, archived an hour apart in the order of their making."""
        made = [api.emulator.start_thread("mayor-villa", f"story {number}") for number in range(5)]
        for thread in made:
            clock.now += 3600
            api.emulator.guild.change_channel(thread, archived=True)
        return made

    async def listed(self, api: Api, path: str = "threads/archived/public", **query: Any) -> Any:
        return (await api("GET", f"/channels/{api.channel}/{path}", params=query)).body

    async def test_pages(self, api: Api, threads: list[int]) -> None:
        """The last archived comes first; `before` is the moment of the last one's, and `has_more` ends it."""
        found: list[int] = []
        query: dict[str, str] = {}
        more: list[bool] = []
        while not more or more[-1]:
            page = await self.listed(api, limit="2", **query)
            found += [int(thread["id"]) for thread in page["threads"]]
            query = {"before": page["threads"][-1]["thread_metadata"]["archive_timestamp"]}
            more.append(page["has_more"])
        assert threads[::-1] == found
        assert [True, True, False] == more

    @pytest.mark.parametrize(
        "before", ["2026-11-18T13:06:40Z", "2026-11-18T15:06:40+02:00", "2026-11-18T13:06:40"]
    )
    async def test_before(self, api: Api, threads: list[int], before: str) -> None:
        """`before` excludes its own moment and takes any offset; what is no time is refused."""
        assert [str(threads[0])] == [one["id"] for one in (await self.listed(api, before=before))["threads"]]
        assert 50035 == (await self.listed(api, before="yesterday"))["code"]
        assert 50035 == (await self.listed(api, limit="1"))["code"]

    async def test_private(self, api: Api) -> None:
        """Private ones are listed apart: all to who manages threads, else those that the bot is in."""
        bot = api.emulator.guild.bot
        mine, others = [
            api.emulator.start_thread(
                "mayor-villa", "hidden", type=12, author=author, members=members, archived=True
            )
            for author, members in (("ada", {bot.id}), ("ada", set()))
        ]
        assert [] == (await self.listed(api))["threads"]
        assert 50013 == (await self.listed(api, "threads/archived/private"))["code"]
        joined = await self.listed(api, "users/@me/threads/archived/private")
        assert [str(mine)] == [one["id"] for one in joined["threads"]]
        assert [str(mine)] == [one["id"] for one in joined["members"]]
        assert (403, 50001) == (await api("GET", f"/channels/{others}")).error
        api.emulator.allow("mayor-villa", permissions.MANAGE_THREADS)
        everything = await self.listed(api, "threads/archived/private")
        assert [str(others), str(mine)] == [one["id"] for one in everything["threads"]]

    async def test_needs_history(self, api: Api, threads: list[int]) -> None:
        """Without the permission to read history the list is refused, not empty."""
        api.emulator.deny("mayor-villa", permissions.READ_MESSAGE_HISTORY)
        assert 50013 == (await self.listed(api))["code"]
