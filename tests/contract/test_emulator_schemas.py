"""The schemas that every answer is held against: each route has one, each kind of object was looked at,
and what breaks one is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from spoolbridge.emulator import permissions
from spoolbridge.emulator.app import ROUTES
from tests.support import schemas
from tests.support.raw import Api, Checked

EYES = "%F0%9F%91%80"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x01"  # as much of one as tells its size
EMBED = {
    "title": "Build", "description": "green", "url": "https://example.org", "color": 1,
    "footer": {"text": "ci"}, "author": {"name": "ci"}, "fields": [{"name": "took", "value": "2 s"}],
}  # fmt: skip
POLL = {
    "question": {"text": "Which?"}, "duration": 2,
    "answers": [{"poll_media": {"text": "this"}}, {"poll_media": {"text": "that"}}],
}  # fmt: skip


def test_every_route_has_one() -> None:
    """A route that somebody adds without saying how it answers is noticed."""
    assert {(route.method, route.template) for route in ROUTES} == set(schemas.ANSWERS)


async def _everything(api: Api) -> None:
    """A guild with one of each kind of message, channel and thread in it."""
    emulator, guild = api.emulator, api.emulator.guild
    guild.overwrite(guild.channel(api.channel), allow=permissions.ALL)
    for number in (2, 4, 5, 13, 15, 16):
        emulator.add_channel(f"kind-{number}", type=number)
    guild.nicks[guild.humans[0].id] = "Nicki"
    own = guild.add_emoji("mayor")
    asked = emulator.say("mayor-villa", f"hello <@{guild.bot.id}>", files=[("a.png", PNG)])
    answer = emulator.say("mayor-villa", "yes", author="ada", reply_to=asked)
    await api.post(content="a reply to a reply", message_reference={"message_id": str(answer)})
    await api.post(message_reference={"type": 1, "message_id": str(asked), "channel_id": str(api.channel)})
    await api.post(content="look", embeds=[EMBED], nonce="n-1", enforce_nonce=True, poll=POLL)
    emulator.say("mayor-villa", "", files=[("voice.ogg", b"x")], voice=2.5)
    sticker = {"id": "749054660769218631", "name": "Wave", "format_type": 1}
    emulator.say("mayor-villa", "", sticker_items=[sticker])
    for author, kind, number in (("ci", "webhook", 0), ("other", "bot", 0), ("discord", "system", 6)):
        emulator.say("mayor-villa", "beep", author=author, kind=kind, type=number)
    emulator.react("mayor-villa", asked, own.key)
    gone = emulator.say("mayor-villa", "soon gone")
    await api.post(content="to nobody", message_reference={"message_id": str(gone)})
    found = guild.message(api.channel, gone)
    assert found is not None
    guild.remove(found)


async def _messages(api: Api) -> None:
    """Every route about messages and reactions."""
    asked = api.emulator.messages("mayor-villa")[0]["id"]
    own = (await api.post(content="mine")).body["id"]
    await api.page()
    await api("GET", f"/channels/{api.channel}/messages/{asked}")
    await api("PATCH", f"/channels/{api.channel}/messages/{own}", json={"content": "edited"})
    reactions = f"/channels/{api.channel}/messages/{asked}/reactions/{EYES}"
    await api("PUT", f"{reactions}/@me")
    await api("GET", reactions)
    await api("DELETE", f"{reactions}/@me")
    await api("DELETE", f"{reactions}/{api.emulator.guild.bot.id}")
    await api("DELETE", f"/channels/{api.channel}/messages/{own}")
    await api("POST", f"/channels/{api.channel}/typing")


async def _threads(api: Api) -> None:
    """Every route about channels and threads."""
    guild = api.emulator.guild
    asked = api.emulator.messages("mayor-villa")[0]["id"]
    await api("POST", f"/channels/{api.channel}/messages/{asked}/threads", json={"name": "story"})
    await api("POST", f"/channels/{api.channel}/threads", json={"name": "hidden"})
    post = {"name": "idea", "message": {"content": "first"}}
    await api("POST", f"/channels/{guild.channels['kind-15'].id}/threads", json=post)
    await api("GET", f"/guilds/{guild.id}/threads/active")
    for name in ("story", "hidden"):
        await api("PATCH", f"/channels/{guild.channels[name].id}", json={"archived": True})
    archived = "threads/archived"
    for listed in (f"{archived}/public", f"{archived}/private", f"users/@me/{archived}/private"):
        assert 1 == len((await api("GET", f"/channels/{api.channel}/{listed}")).body["threads"])
    await api("GET", f"/channels/{guild.channels['story'].id}")
    made = await api("POST", f"/guilds/{guild.id}/channels", json={"name": "new"})
    await api("DELETE", f"/channels/{made.body['id']}")


async def _guild(api: Api) -> None:
    """Every route about who and where."""
    guild = api.emulator.guild
    me = ["/users/@me", "/users/@me/guilds", f"/users/@me/guilds/{guild.id}/member", f"/users/{guild.bot.id}"]
    me += ["/applications/@me", "/oauth2/applications/@me", f"/guilds/{guild.id}?with_counts=true"]
    of_guild = ("roles", "emojis", "members", "members/@me", f"members/{guild.humans[0].id}", "channels")
    for path in me:
        await api("GET", path)
    for rest in of_guild:
        await api("GET", f"/guilds/{guild.id}/{rest}")


async def test_every_route_is_looked_at(api: Api, checked: Checked) -> None:
    """Each route answers its success at least once, in a guild that has one of everything."""
    await _everything(api)
    await _messages(api)
    await _threads(api)
    await _guild(api)
    succeeded = {(method, route) for method, route, status in checked.seen if status < 300}
    assert set(schemas.ANSWERS) == succeeded


async def test_every_kind_is_looked_at(api: Api) -> None:
    """The page that is held against the schemas holds each kind of message that a bridge can meet."""
    await _everything(api)
    page = (await api.page(limit=100)).body
    keys = {key for message in page for key in message}
    wanted = "referenced_message message_snapshots sticker_items poll reactions webhook_id message_reference"
    assert set() == set(wanted.split()) - keys
    attached = {key for message in page for file in message["attachments"] for key in file}
    assert {"width", "height", "duration_secs", "waveform"} <= attached
    assert any(message["embeds"] for message in page)
    assert any(message.get("referenced_message", 0) is None for message in page)


async def test_refusals(api: Api, checked: Checked) -> None:
    """Errors of each shape are looked at: bare, with a leaf, nested under an index, and a 429."""
    await api("GET", "/nonsense")
    await api.post(content="x" * 2001)
    nested = await api.post(embeds=[{"fields": [{"name": "x", "value": "y" * 1025}]}])
    leaves = nested.body["errors"]["embeds"]["0"]["fields"]["0"]["value"]["_errors"]
    assert ["BASE_TYPE_MAX_LENGTH"] == [leaf["code"] for leaf in leaves]
    api.emulator.limits.enabled = True
    api.emulator.limits.set("GET", "/users/@me", limit=1, window=60.0)
    assert [200, 429] == [(await api("GET", "/users/@me")).status for _ in range(2)]
    assert {400, 404, 429} <= {status for _, _, status in checked.seen}


def _set(key: str, value: Any) -> Callable[[Any], None]:
    return lambda body: body.__setitem__(key, value)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_set("id", 123456789012345678), "$.id"),
        (_set("channel_id", "villa"), "$.channel_id"),
        (_set("timestamp", "2026-01-01 00:00:00"), "$.timestamp"),
        (_set("edited_timestamp", 0), "$.edited_timestamp"),
        (_set("mention_roles", [1]), "$.mention_roles[0]"),
        (_set("invented", 1), "'invented' was unexpected"),
        (_set("type", 19), "'message_reference' is a required property"),
        (lambda body: body.pop("tts"), "'tts' is a required property"),
        (lambda body: body["author"].pop("global_name"), "'global_name' is a required property"),
        (lambda body: body["author"].update(bot=False), "$.author.bot"),
        (lambda body: body["attachments"][0].pop("height"), "'height' is a dependency of 'width'"),
        (lambda body: body["attachments"][0].update(size="68"), "$.attachments[0].size"),
    ],
)
async def test_what_breaks_one_is_found(api: Api, spoil: Callable[[Any], None], complaint: str) -> None:
    """An id as a number, a key too few, one too many, a wrong time: a message with any of them fails."""
    api.emulator.say("mayor-villa", "hello", files=[("a.png", PNG)])
    good = (await api.page()).body[0]
    spoilt = copy.deepcopy(good)
    spoil(spoilt)
    assert [] == schemas.problems(schemas.ref("message"), good)
    assert complaint in "\n".join(schemas.problems(schemas.ref("message"), spoilt))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"code": "10003"},
        {"code": 50035, "errors": {}},
        {"code": 50035, "errors": {"content": {"_errors": []}}},
        {"code": 50035, "errors": {"content": {"_errors": [{"code": "lower", "message": ""}]}}},
        {"code": 50035, "errors": {"content": "too long"}},
    ],
)
def test_broken_errors_are_found(more: dict[str, Any]) -> None:
    """An error without its code, or whose `errors` do not end in leaves, fails."""
    assert schemas.problems(schemas.ERROR, {"message": "no", **more})


async def test_answers_are_held_against_them(
    api: Api, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every contract test does look: a route without a schema, and an answer that breaks one, are told."""
    monkeypatch.setattr(schemas, "ANSWERS", {("GET", "/users/@me"): (200, schemas.ref("role"))})
    await api("GET", "/users/@me/guilds")
    await api("GET", "/users/@me")
    unknown, *wrong = checked.broken
    checked.broken.clear()
    assert "no schema: ('GET', '/users/@me/guilds')" == unknown
    assert "GET /users/@me 200 $: 'permissions' is a required property" in wrong


async def test_picture_and_form(api: Api) -> None:
    """A picture that comes in a form has its size in dots, a text has none."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("files[0]", PNG, filename="a.png", content_type="image/png")
    form.add_field("files[1]", b"text", filename="a.txt", content_type="text/plain")
    raw = await api("POST", f"/channels/{api.channel}/messages", data=form)
    assert [(2, 1), (None, None)] == [(f.get("width"), f.get("height")) for f in raw.body["attachments"]]
