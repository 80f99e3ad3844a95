"""The emulator's REST answers, looked at raw: status, headers, codes and shapes as Discord documents them."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from spoolbridge.emulator import permissions
from tests.support.raw import NOW, Api, Clock


class TestEdge:
    """What every request meets before any route looks at it."""

    @pytest.mark.parametrize("version", ["v9", "v10"])
    async def test_headers(self, api: Api, version: str) -> None:
        """JSON without a charset, `Via` and `Date`, for both versions in use."""
        raw = await api("GET", f"/api/{version}/users/@me", base=api.emulator.url)
        assert (200, "application/json", "1.1 google") == (
            raw.status,
            raw.headers["Content-Type"],
            raw.headers["Via"],
        )
        assert "Date" in raw.headers
        assert str(api.emulator.guild.bot.id) == raw.body["id"]

    async def test_old_version(self, api: Api) -> None:
        """A version that is gone is refused as such."""
        assert (400, 50041) == (await api("GET", "/api/v5/users/@me", base=api.emulator.url)).error

    async def test_user_agent(self, api: Api) -> None:
        """A User-Agent that does not begin as a bot's is turned away before the token is looked at."""
        raw = await api("GET", "/users/@me", headers={"User-Agent": "curl/8", "Authorization": "no"})
        assert (403, 40333) == raw.error

    @pytest.mark.parametrize("token", ["", "Bot wrong", "Bearer emulator-token", "emulator-token"])
    async def test_token(self, api: Api, token: str) -> None:
        """Anything but the exact token is 401 with code 0."""
        raw = await api("GET", "/users/@me", headers={"Authorization": token})
        assert (401, {"message": "401: Unauthorized", "code": 0}) == (raw.status, raw.body)

    async def test_unknown_route(self, api: Api) -> None:
        """A path that is none is 404 with code 0, a method that is none 405."""
        assert (404, {"message": "404: Not Found", "code": 0}) == (
            (raw := await api("GET", "/nonsense")).status,
            raw.body,
        )
        assert (405, {"message": "405: Method Not Allowed", "code": 0}) == (
            (raw := await api("PUT", "/users/@me")).status,
            raw.body,
        )

    async def test_foreign_host(self, api: Api) -> None:
        """A name that is not loopback's is not answered, neither by the API nor by the page."""
        for path in ("/", "/_emulator/state", "/api/v10/users/@me"):
            raw = await api("GET", path, base=api.emulator.url, headers={"Host": "evil.example"})
            assert 403 == raw.status

    async def test_foreign_origin(self, api: Api) -> None:
        """A page from elsewhere cannot write; the emulator's own can."""
        said = {"channel": "mayor-villa", "author": "nic", "text": "hello"}
        for origin, status in (("http://evil.example", 403), ("null", 403), (api.emulator.url, 200)):
            raw = await api(
                "POST", "/_emulator/say", base=api.emulator.url, json=said, headers={"Origin": origin}
            )
            assert status == raw.status
        assert 1 == len(api.emulator.messages("mayor-villa"))

    async def test_gzip(self, api: Api) -> None:
        """A long answer is compressed for a client that takes gzip, and not for one that does not."""
        api.emulator.say("mayor-villa", "x" * 2000)
        assert "gzip" == (await api.page()).headers["Content-Encoding"]
        plain = await api("GET", f"/channels/{api.channel}/messages", headers={"Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers

    async def test_requests_are_seen(self, api: Api) -> None:
        """Every request is listed with its template and its status."""
        await api.post(content="hello")
        await api("GET", "/nonsense")
        seen = [(one.method, one.route, one.status) for one in api.emulator.requests()]
        assert [("POST", "/channels/{channel}/messages", 200), ("GET", "", 404)] == seen


class TestCreateMessage:
    async def test_shape(self, api: Api) -> None:
        """Every key that Discord's schema requires is there, ids are text, the nonce is echoed."""
        raw = await api.post(content="  hello \n", nonce="n-1")
        required = (
            "type content mentions mention_roles attachments embeds timestamp edited_timestamp flags "
            "components id channel_id author pinned mention_everyone tts"
        )
        assert set(required.split()) | {"nonce"} == set(raw.body)
        assert ("hello", "n-1", str(api.channel)) == (
            raw.body["content"],
            raw.body["nonce"],
            raw.body["channel_id"],
        )
        assert "2026-11-18T11:06:40.000000+00:00" == raw.body["timestamp"]
        assert raw.body["author"]["bot"] is True

    async def test_nonce_is_not_stored(self, api: Api) -> None:
        """The nonce is in the answer to the POST and in no GET."""
        made = await api.post(content="hello", nonce="n-1")
        one = await api("GET", f"/channels/{api.channel}/messages/{made.body['id']}")
        assert "nonce" not in one.body
        assert "nonce" not in (await api.page()).body[0]

    async def test_same_nonce_again(self, api: Api, clock: Clock) -> None:
        """Within the window the same message comes back, beyond it a new one is made."""
        first = await api.post(content="hello", nonce="n-1", enforce_nonce=True)
        clock.now += 180
        again = await api.post(content="something else", nonce="n-1", enforce_nonce=True)
        assert first.body == again.body
        clock.now += 1
        late = await api.post(content="hello", nonce="n-1", enforce_nonce=True)
        assert first.body["id"] != late.body["id"]
        assert 2 == len(api.emulator.messages("mayor-villa"))

    async def test_nonce_without_enforcement(self, api: Api) -> None:
        """Without `enforce_nonce` the nonce is only echoed."""
        for _ in range(2):
            await api.post(content="hello", nonce="n-1")
        assert 2 == len(api.emulator.messages("mayor-villa"))

    async def test_nonce_of_a_deleted_message(self, api: Api) -> None:
        """A nonce whose message was deleted since answers 404/10008 and makes nothing."""
        made = await api.post(content="hello", nonce="n-1", enforce_nonce=True)
        assert 204 == (await api("DELETE", f"/channels/{api.channel}/messages/{made.body['id']}")).status
        assert (404, 10008) == (await api.post(content="hello", nonce="n-1", enforce_nonce=True)).error
        assert [] == api.emulator.messages("mayor-villa")

    @pytest.mark.parametrize("nonce", ["x" * 26, 1.5, True, [], 2**63])
    async def test_bad_nonce(self, api: Api, nonce: Any) -> None:
        """A nonce is a string of at most 25 characters or a 64-bit integer."""
        raw = await api.post(content="hello", nonce=nonce)
        assert (400, 50035) == raw.error
        assert ["nonce"] == list(raw.body["errors"])

    @pytest.mark.parametrize("nonce", ["x" * 25, 2**63 - 1, -(2**63), None])
    async def test_good_nonce(self, api: Api, nonce: Any) -> None:
        """The longest and the extreme ones are taken; null means none."""
        assert nonce == (await api.post(content="hello", nonce=nonce)).body.get("nonce")

    @pytest.mark.parametrize(("length", "sentence"), [(2001, 2000), (4000, 2000), (4001, 4000)])
    async def test_too_long(self, api: Api, length: int, sentence: int) -> None:
        """Length is counted in code points, and the schema's limit has a sentence of its own."""
        raw = await api.post(content="\N{GRINNING FACE}" * length)
        leaf = {"code": "BASE_TYPE_MAX_LENGTH", "message": f"Must be {sentence} or fewer in length."}
        assert {
            "message": "Invalid Form Body",
            "code": 50035,
            "errors": {"content": {"_errors": [leaf]}},
        } == raw.body
        assert 200 == (await api.post(content="\N{GRINNING FACE}" * 2000)).status

    @pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n\t "}, {"content": None}])
    async def test_empty(self, api: Api, body: dict[str, Any]) -> None:
        """Nothing, or nothing but white space, is 50006; a zero-width space is something."""
        assert (400, 50006) == (await api.post(**body)).error
        assert 200 == (await api.post(content="\u200b")).status

    async def test_broken_json(self, api: Api) -> None:
        """Broken JSON is 50109, another Content-Type 50035."""
        path = f"/channels/{api.channel}/messages"
        broken = await api("POST", path, data=b'{"content":', headers={"Content-Type": "application/json"})
        assert (400, 50109) == broken.error
        text = await api("POST", path, data=b"hello", headers={"Content-Type": "text/plain"})
        assert (400, 50035) == text.error

    async def test_wrong_places(self, api: Api) -> None:
        """No such channel, no channel id, a category, a forum: each has its own code."""
        category = api.emulator.add_channel("rigs", type=4)
        forum = api.emulator.add_channel("ideas", type=15)
        assert (404, 10003) == (await api.post(1, content="x")).error
        assert (400, 50008) == (await api.post(category, content="x")).error
        assert (400, 40058) == (await api.post(forum, content="x")).error
        raw = await api("POST", "/channels/mayor-villa/messages", json={"content": "x"})
        assert (400, 50035) == raw.error
        assert "NUMBER_TYPE_COERCE" == raw.body["errors"]["channel_id"]["_errors"][0]["code"]

    async def test_permissions(self, api: Api) -> None:
        """Unseen is 50001, not allowed to send 50013, and allowing again mends it."""
        api.emulator.deny("mayor-villa", permissions.SEND_MESSAGES)
        assert (403, 50013) == (await api.post(content="x")).error
        api.emulator.deny("mayor-villa", permissions.VIEW_CHANNEL)
        assert (403, 50001) == (await api.post(content="x")).error
        api.emulator.allow("mayor-villa", permissions.SEND_MESSAGES | permissions.VIEW_CHANNEL)
        assert 200 == (await api.post(content="x")).status

    async def test_reply(self, api: Api) -> None:
        """A reply is of type 19 and shows its original; a target that is gone has its own leaf code."""
        asked = api.emulator.say("mayor-villa", "are you there?")
        reply = await api.post(content="yes", message_reference={"message_id": str(asked)})
        assert (19, "are you there?") == (reply.body["type"], reply.body["referenced_message"]["content"])
        raw = await api.post(content="yes", message_reference={"message_id": "123456789012345678"})
        leaf = raw.body["errors"]["message_reference"]["_errors"][0]["code"]
        assert (400, 50035, "MESSAGE_REFERENCE_UNKNOWN_MESSAGE") == (*raw.error, leaf)
        lax = {"message_id": "123456789012345678", "fail_if_not_exists": False}
        assert 0 == (await api.post(content="yes", message_reference=lax)).body["type"]

    async def test_reply_to_a_deleted_message(self, api: Api) -> None:
        """The original of a reply is null once it is deleted."""
        asked = api.emulator.say("mayor-villa", "are you there?")
        await api.post(content="yes", message_reference={"message_id": str(asked)})
        guild = api.emulator.guild
        gone = guild.message(api.channel, asked)
        assert gone is not None
        guild.remove(gone)
        assert (await api.page()).body[0]["referenced_message"] is None

    async def test_reply_elsewhere(self, api: Api) -> None:
        """A message of another channel cannot be answered, nor one of a thread's parent from the thread."""
        elsewhere = api.emulator.add_channel("mayor-quarry")
        asked = api.emulator.say("mayor-villa", "are you there?")
        thread = api.emulator.start_thread("mayor-villa", "story", message=asked)
        for place in (elsewhere, thread):
            raw = await api.post(place, content="yes", message_reference={"message_id": str(asked)})
            leaf = raw.body["errors"]["message_reference"]["_errors"][0]["code"]
            assert (400, 50035, "MESSAGE_REFERENCE_UNKNOWN_MESSAGE") == (*raw.error, leaf)

    async def test_reply_to_a_system_message(self, api: Api) -> None:
        """What Discord itself wrote cannot be answered."""
        pinned = api.emulator.say("mayor-villa", "", author="discord", kind="system", type=6)
        raw = await api.post(content="yes", message_reference={"message_id": str(pinned)})
        leaf = raw.body["errors"]["message_reference"]["_errors"][0]["code"]
        assert (400, 50035, "REPLIES_CANNOT_REPLY_TO_SYSTEM_MESSAGE") == (*raw.error, leaf)

    async def test_poll(self, api: Api) -> None:
        """A poll gets numbers and an end; an answer that is too long is refused at its place."""
        poll = {"question": {"text": "Which?"}, "answers": [{"poll_media": {"text": "this"}}], "duration": 2}
        shown = (await api.post(poll=poll)).body["poll"]
        assert [{"answer_id": 1, "poll_media": {"text": "this"}}] == shown["answers"]
        assert "2026-11-18T13:06:40.000000+00:00" == shown["expiry"]
        poll["answers"] = [{"poll_media": {"text": "x" * 56}}]
        leaf = (await api.post(poll=poll)).body["errors"]["poll"]["answers"]["0"]["poll_media"]["text"]
        assert "BASE_TYPE_MAX_LENGTH" == leaf["_errors"][0]["code"]

    @pytest.mark.parametrize(
        ("embed", "path"),
        [
            ({"title": "x" * 257}, "title"),
            ({"description": "x" * 4097}, "description"),
            ({"footer": {"text": "x" * 2049}}, "footer.text"),
            ({"author": {"name": "x" * 257}}, "author.name"),
            ({"fields": [{"name": "n", "value": "v"}] * 26}, "fields"),
            ({"fields": [{"name": "", "value": "v"}]}, "fields.0.name"),
            ({"fields": [{"name": "n", "value": "x" * 1025}]}, "fields.0.value"),
        ],
    )
    async def test_embed_refused(self, api: Api, embed: dict[str, Any], path: str) -> None:
        """Each limit of an embed's is told at its own place; six thousand characters are enough for all."""
        raw = await api.post(embeds=[embed])
        found = raw.body["errors"]["embeds"]["0"]
        for key in path.split("."):
            found = found[key]
        assert (400, 50035) == raw.error
        assert ["_errors"] == list(found)
        much = [{"description": "x" * 3001}] * 2
        assert "MAX_EMBED_SIZE_EXCEEDED" in str((await api.post(embeds=much)).body)

    async def test_forward(self, api: Api) -> None:
        """A forward has no text of its own but a snapshot of the original, which names no author."""
        said = api.emulator.say("mayor-villa", "news")
        raw = await api.post(
            message_reference={"type": 1, "message_id": str(said), "channel_id": str(api.channel)}
        )
        snapshot = raw.body["message_snapshots"][0]["message"]
        assert (0, "", "news") == (raw.body["type"], raw.body["content"], snapshot["content"])
        assert "author" not in snapshot
        assert raw.body["flags"] & 1 << 14

    async def test_reply_without_history(self, api: Api) -> None:
        """Replying needs the permission to read history: 160002."""
        asked = api.emulator.say("mayor-villa", "are you there?")
        api.emulator.deny("mayor-villa", permissions.READ_MESSAGE_HISTORY)
        raw = await api.post(content="yes", message_reference={"message_id": str(asked)})
        assert (403, 160002) == raw.error

    async def test_mentions(self, api: Api) -> None:
        """Without a rule all users in the text are mentioned; @everyone needs its permission."""
        nic, ada = api.emulator.guild.humans
        text = f"<@{nic.id}> <@!{ada.id}> <@1> @everyone"
        raw = await api.post(content=text)
        assert ["nic", "ada"] == [user["username"] for user in raw.body["mentions"]]
        assert raw.body["mention_everyone"] is False
        quiet = await api.post(content=text, allowed_mentions={"parse": []})
        assert [] == quiet.body["mentions"]
        one = await api.post(content=text, allowed_mentions={"users": [str(ada.id)]})
        assert ["ada"] == [user["username"] for user in one.body["mentions"]]

    @pytest.mark.parametrize(
        "rule",
        [{"parse": ["all"]}, {"parse": ["users"], "users": ["1"]}, {"users": [str(n) for n in range(101)]}],
    )
    async def test_bad_mentions(self, api: Api, rule: dict[str, Any]) -> None:
        """An unknown type, a type named twice over, and more than a hundred ids are refused."""
        assert (400, 50035) == (await api.post(content="x", allowed_mentions=rule)).error

    async def test_flags(self, api: Api) -> None:
        """Flags that a caller may not set are dropped without a word."""
        assert 4096 | 4 == (await api.post(content="x", flags=4096 | 4 | 64 | 1)).body["flags"]

    async def test_files(self, api: Api) -> None:
        """Files keep name, type and bytes; their link is signed and expires."""
        form = aiohttp.FormData(quote_fields=False)
        described = '{"content":"here","attachments":[{"id":"0","description":"a log"}]}'
        form.add_field("payload_json", described, content_type="application/json")
        form.add_field("files[0]", b"one", filename="a b.txt", content_type="text/plain")
        form.add_field("files[1]", b"two", filename="c.bin")
        raw = await api("POST", f"/channels/{api.channel}/messages", data=form)
        first, second = raw.body["attachments"]
        assert ("a b.txt", 3, "a log") == (first["filename"], first["size"], first["description"])
        assert "c.bin" == second["filename"]
        async with api.session.get(first["url"]) as answer:
            assert (200, b"one") == (answer.status, await answer.read())
        async with api.session.get(first["url"].replace("hm=", "hm=0")) as answer:
            assert 404 == answer.status

    async def test_link_expires(self, api: Api, clock: Clock) -> None:
        """A link is good for a day; a fresh GET of the message gives a fresh one."""
        api.emulator.say("mayor-villa", "", files=[("a.txt", b"one")])
        old = (await api.page()).body[0]["attachments"][0]["url"]
        clock.now += 86_401
        fresh = (await api.page()).body[0]["attachments"][0]["url"]
        for url, status in ((old, 404), (fresh, 200)):
            async with api.session.get(url) as answer:
                assert status == answer.status

    async def test_too_large(self, api: Api) -> None:
        """A file above the limit is 413/40005, and so is a request above its own."""
        api.emulator.guild.max_file = 10
        for limit in (10, 1):
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("files[0]", b"x" * 11, filename="a.txt")
            raw = await api("POST", f"/channels/{api.channel}/messages", data=form)
            assert (413, 40005) == raw.error
            api.emulator.guild.max_request = limit
        assert [] == api.emulator.messages("mayor-villa")

    async def test_too_many_files(self, api: Api) -> None:
        """Ten files go, eleven are 30015."""
        for count, status in ((10, 200), (11, 400)):
            form = aiohttp.FormData(quote_fields=False)
            for index in range(count):
                form.add_field(f"files[{index}]", b"x", filename=f"{index}.txt")
            raw = await api("POST", f"/channels/{api.channel}/messages", data=form)
            assert status == raw.status
        assert 30015 == raw.body["code"]


class TestGetMessages:
    @pytest.fixture
    def ids(self, api: Api) -> list[int]:
        return [api.emulator.say("mayor-villa", f"message {number}") for number in range(10)]

    async def found(self, api: Api, **query: Any) -> list[int]:
        return [int(message["id"]) for message in (await api.page(**query)).body]

    async def test_pages(self, api: Api, ids: list[int]) -> None:
        """Every page is newest first and holds what is nearest to the cursor, the cursor excluded."""
        assert ids[::-1] == await self.found(api)
        assert ids[:-4:-1] == await self.found(api, limit=3)
        assert ids[5:2:-1] == await self.found(api, after=ids[2], limit=3)
        assert ids[7:4:-1] == await self.found(api, before=ids[8], limit=3)
        assert ids[6:3:-1] == await self.found(api, around=ids[5], limit=3)
        assert ids[::-1] == await self.found(api, after=0)

    @pytest.mark.parametrize(
        ("query", "leaf"),
        [
            ({"limit": "101"}, "NUMBER_TYPE_MAX"),
            ({"limit": "0"}, "NUMBER_TYPE_MIN"),
            ({"limit": "many"}, "NUMBER_TYPE_COERCE"),
        ],
    )
    async def test_limit(self, api: Api, query: dict[str, str], leaf: str) -> None:
        """A limit outside of 1 to 100 is refused, not clamped."""
        raw = await api.page(**query)
        assert (400, 50035, leaf) == (*raw.error, raw.body["errors"]["limit"]["_errors"][0]["code"])

    async def test_cursors(self, api: Api, ids: list[int]) -> None:
        """Two cursors, or one that is no id, are refused."""
        assert (400, 50035) == (await api.page(before=ids[3], after=ids[1])).error
        assert (400, 50035) == (await api.page(after="yesterday")).error

    async def test_without_history(self, api: Api, ids: list[int]) -> None:
        """Without the permission to read history a page is silently empty; one message is refused."""
        api.emulator.deny("mayor-villa", permissions.READ_MESSAGE_HISTORY)
        raw = await api.page()
        assert (200, []) == (raw.status, raw.body)
        assert (403, 50013) == (await api("GET", f"/channels/{api.channel}/messages/{ids[0]}")).error

    async def test_without_view(self, api: Api, ids: list[int]) -> None:
        """A channel that the bot cannot see is 50001, and is left out of the guild's list."""
        api.emulator.deny("mayor-villa", permissions.VIEW_CHANNEL)
        assert (403, 50001) == (await api.page()).error
        assert [] == (await api("GET", f"/guilds/{api.emulator.guild.id}/channels")).body

    async def test_without_content(self, api: Api) -> None:
        """Without the intent others' texts are blank, save those that mention the bot; the flags tell."""
        bot = api.emulator.guild.bot.id
        api.emulator.guild.message_content = False
        api.emulator.say("mayor-villa", "secret", files=[("a.txt", b"x")])
        api.emulator.say("mayor-villa", f"<@{bot}> hear me")
        await api.post(content="my own")
        page = (await api.page()).body
        assert ["my own", f"<@{bot}> hear me", ""] == [message["content"] for message in page]
        assert [] == page[2]["attachments"]
        assert 0 == (await api("GET", "/applications/@me")).body["flags"] & (3 << 18)

    async def test_late_message(self, api: Api, ids: list[int]) -> None:
        """A message with an older id can become visible after a younger one."""
        late = api.emulator.say("mayor-villa", "late", at=NOW - 5)
        assert late < ids[0]
        assert late == (await self.found(api))[-1]

    async def test_ties(self, api: Api, ids: list[int]) -> None:
        """Messages of one millisecond can page in the wrong order, and a limit then cuts the wrong one."""
        assert ids[::-1] == await self.found(api)
        api.emulator.guild.ties_reversed = True
        assert ids == await self.found(api)
        assert ids[9:7:-1] == (await self.found(api, after=ids[4], limit=2))[::-1]

    async def test_kinds_of_authors(self, api: Api) -> None:
        """Bots, webhooks and Discord itself are told apart as the API tells them apart."""
        api.emulator.say("mayor-villa", "beep", author="other", kind="bot")
        api.emulator.say("mayor-villa", "hook", author="ci", kind="webhook")
        api.emulator.say("mayor-villa", "pinned", author="discord", kind="system", type=6)
        system, webhook, bot = (await api.page()).body
        assert (True, True) == (bot["author"]["bot"], webhook["author"]["bot"])
        assert "webhook_id" in webhook
        assert "webhook_id" not in bot
        assert (6, True) == (system["type"], system["author"]["system"])


class TestGuild:
    async def test_channels(self, api: Api) -> None:
        """The list names each channel's last message; threads are not in it."""
        said = api.emulator.say("mayor-villa", "hello")
        listed = (await api("GET", f"/guilds/{api.emulator.guild.id}/channels")).body
        assert [("mayor-villa", str(said))] == [(one["name"], one["last_message_id"]) for one in listed]

    async def test_create(self, api: Api) -> None:
        """A new channel is 201, its name normalised, its category kept; two may have one name."""
        category = api.emulator.add_channel("Rigs", type=4)
        path = f"/guilds/{api.emulator.guild.id}/channels"
        body = {"name": "Mayor  Quarry", "topic": "stone", "parent_id": str(category)}
        raw = await api("POST", path, json=body)
        assert (201, "mayor-quarry", "stone", str(category)) == (
            raw.status,
            raw.body["name"],
            raw.body["topic"],
            raw.body["parent_id"],
        )
        assert 201 == (await api("POST", path, json=body)).status

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "x" * 101},
            {"name": "x", "parent_id": "1"},
            {"name": "x", "topic": "x" * 1025},
        ],
    )
    async def test_create_refused(self, api: Api, body: dict[str, Any]) -> None:
        """A name that is missing or too long, no such category, too long a topic: 50035."""
        assert (
            400,
            50035,
        ) == (await api("POST", f"/guilds/{api.emulator.guild.id}/channels", json=body)).error

    async def test_create_needs_permission(self, api: Api) -> None:
        """Without MANAGE_CHANNELS it is 50013."""
        guild = api.emulator.guild
        guild.set_role_permissions(guild.bot_role, permissions.VIEW_CHANNEL)
        raw = await api("POST", f"/guilds/{guild.id}/channels", json={"name": "x"})
        assert (403, 50013) == raw.error

    async def test_other_guild(self, api: Api) -> None:
        """Another guild's id is 10004 on each of its routes, an unknown member 10007."""
        for rest in ("", "/channels", "/roles", "/members/1", "/threads/active"):
            assert (404, 10004) == (await api("GET", f"/guilds/1{rest}")).error
        assert (404, 10007) == (await api("GET", f"/guilds/{api.emulator.guild.id}/members/1")).error

    async def test_roles_and_member(self, api: Api) -> None:
        """What is needed to compute permissions is there: @everyone, the bot's role, its member."""
        guild = api.emulator.guild
        roles = (await api("GET", f"/guilds/{guild.id}/roles")).body
        member = (await api("GET", f"/guilds/{guild.id}/members/{guild.bot.id}")).body
        assert {str(guild.id), str(guild.bot_role)} == {role["id"] for role in roles}
        assert [str(guild.bot_role)] == member["roles"]
        assert all(role["permissions"].isdecimal() for role in roles)


    async def test_member_left(self, api: Api) -> None:
        """Who left is no member any more, and still a user; a nickname is the member's."""
        guild = api.emulator.guild
        nic, ada = guild.humans
        guild.nicks[nic.id] = "Nicki"
        guild.leave(ada)
        assert "Nicki" == (await api("GET", f"/guilds/{guild.id}/members/{nic.id}")).body["nick"]
        assert (404, 10007) == (await api("GET", f"/guilds/{guild.id}/members/{ada.id}")).error
        assert 200 == (await api("GET", f"/users/{ada.id}")).status

    async def test_members_need_the_intent(self, api: Api) -> None:
        """All members are listed to a bot with the intent for it; one member to any."""
        guild = api.emulator.guild
        path = f"/guilds/{guild.id}/members"
        assert 3 == len((await api("GET", f"{path}?limit=10")).body)
        guild.members_intent = False
        assert (403, 50001) == (await api("GET", path)).error
        assert 200 == (await api("GET", f"{path}/{guild.bot.id}")).status
        assert 0 == (await api("GET", "/applications/@me")).body["flags"] & (3 << 14)

    async def test_a_role_opens_a_channel(self, api: Api) -> None:
        """A channel hidden from everybody is seen by who holds a role that may see it."""
        guild = api.emulator.guild
        villa = guild.channel(api.channel)
        role = guild.add_role("mayors")
        guild.overwrite(villa, deny=permissions.VIEW_CHANNEL, target=guild.id)
        guild.overwrite(guild.channel(api.channel), allow=permissions.VIEW_CHANNEL, target=role.id)
        assert (403, 50001) == (await api.page()).error
        guild.member_roles[guild.bot.id].add(role.id)
        assert 200 == (await api.page()).status
        assert str(role.id) in (await api("GET", f"/guilds/{guild.id}/members/@me")).body["roles"]


class TestReactions:
    async def test_codes(self, api: Api) -> None:
        """204 and idempotent; a word is no emoji; the first of a kind needs its permission."""
        said = api.emulator.say("mayor-villa", "hello")
        path = f"/channels/{api.channel}/messages/{said}/reactions"
        for _ in range(2):
            assert 204 == (await api("PUT", f"{path}/%F0%9F%91%80/@me")).status
        assert 1 == api.emulator.messages("mayor-villa")[0]["reactions"][0]["count"]
        assert ["spoolbridge"] == [u["username"] for u in (await api("GET", f"{path}/%F0%9F%91%80")).body]
        assert (404, 10014) == (await api("PUT", f"{path}/eyes/@me")).error
        api.emulator.deny("mayor-villa", permissions.ADD_REACTIONS)
        assert 204 == (await api("PUT", f"{path}/%F0%9F%91%80/@me")).status
        assert (403, 50013) == (await api("PUT", f"{path}/%E2%9C%85/@me")).error
        assert 204 == (await api("DELETE", f"{path}/%F0%9F%91%80/@me")).status
        assert "reactions" not in api.emulator.messages("mayor-villa")[0]

    async def test_own_emoji(self, api: Api) -> None:
        """An emoji of the guild's own is `name:id`; one of another guild's is none."""
        own = api.emulator.guild.add_emoji("mayor")
        path = f"/channels/{api.channel}/messages/{api.emulator.say('mayor-villa', 'hello')}/reactions"
        assert 204 == (await api("PUT", f"{path}/mayor%3A{own.id}/@me")).status
        shown = (await api.page()).body[0]["reactions"][0]["emoji"]
        assert {"id": str(own.id), "name": "mayor"} == shown
        assert (404, 10014) == (await api("PUT", f"{path}/mayor%3A123456789012345678/@me")).error

    async def test_who(self, api: Api) -> None:
        """Who reacted is paged by id, 25 at a time unless told otherwise; a burst is nobody's."""
        said = api.emulator.say("mayor-villa", "hello")
        for number in range(30):
            api.emulator.react("mayor-villa", said, "👍", author=f"person {number}")
        path = f"/channels/{api.channel}/messages/{said}/reactions/%F0%9F%91%8D"
        first = [int(user["id"]) for user in (await api("GET", path)).body]
        rest = [int(u["id"]) for u in (await api("GET", f"{path}?after={first[-1]}&limit=100")).body]
        assert (25, 5, sorted(first + rest)) == (len(first), len(rest), first + rest)
        assert [] == (await api("GET", f"{path}?type=1")).body
        assert (400, 50035) == (await api("GET", f"{path}?limit=101")).error

    async def test_too_many_kinds(self, api: Api) -> None:
        """The twenty-first emoji of a message is 30010; one that is there already goes on counting."""
        said = api.emulator.say("mayor-villa", "hello")
        for number in range(20):
            api.emulator.react("mayor-villa", said, chr(0x1F600 + number))
        path = f"/channels/{api.channel}/messages/{said}/reactions"
        assert (400, 30010) == (await api("PUT", f"{path}/%F0%9F%91%80/@me")).error
        assert 204 == (await api("PUT", f"{path}/%F0%9F%98%80/@me")).status

    async def test_anothers(self, api: Api) -> None:
        """Another's reaction is taken away by who manages messages only."""
        said = api.emulator.say("mayor-villa", "hello")
        api.emulator.react("mayor-villa", said, "👀")
        nic = api.emulator.guild.humans[0].id
        path = f"/channels/{api.channel}/messages/{said}/reactions/%F0%9F%91%80/{nic}"
        assert (403, 50013) == (await api("DELETE", path)).error
        api.emulator.allow("mayor-villa", permissions.MANAGE_MESSAGES)
        assert 204 == (await api("DELETE", path)).status
        assert "reactions" not in api.emulator.messages("mayor-villa")[0]

    async def test_typing(self, api: Api) -> None:
        """Typing is 204 without a body."""
        assert 204 == (await api("POST", f"/channels/{api.channel}/typing")).status


class TestEdit:
    async def test_others_text(self, api: Api) -> None:
        """Another's message can be neither edited nor, without MANAGE_MESSAGES, deleted."""
        said = f"/channels/{api.channel}/messages/{api.emulator.say('mayor-villa', 'mine')}"
        assert (403, 50005) == (await api("PATCH", said, json={"content": "yours"})).error
        assert (403, 50013) == (await api("DELETE", said)).error
