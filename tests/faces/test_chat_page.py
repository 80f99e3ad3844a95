"""The chat page in a real browser: what a person sees, types and hears of, on a desk and on a phone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, FilePayload, Page, Route, expect

from spoolbridge.emulator import Emulator
from tests.support.browser import NEEDED, chromium, complaints

HEADERS = {"Authorization": "Bot emulator-token", "User-Agent": "DiscordBot (https://example.org, 1)"}

pytestmark = NEEDED


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(limits=False).serve() as running:
        running.add_channel("mayor-villa")
        running.add_channel("mayor-quarry")
        yield running


@pytest.fixture
async def page(emulator: Emulator, browser: Browser) -> AsyncIterator[Page]:
    """The page, live, on a desk. Whatever the browser complains of fails the test."""
    async for made in _opened(emulator, browser, viewport={"width": 1100, "height": 760}):
        yield made


@pytest.fixture
async def phone(emulator: Emulator, browser: Browser) -> AsyncIterator[Page]:
    """The page on the narrowest phone, in the dark."""
    more = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "color_scheme": "dark"}
    async for made in _opened(emulator, browser, **more):
        yield made


async def _opened(emulator: Emulator, browser: Browser, **more: Any) -> AsyncIterator[Page]:
    context = await browser.new_context(**more)
    page = await context.new_page()
    found = complaints(page)
    await page.goto(emulator.url)
    await expect(page.locator("#live")).to_have_text("live")
    yield page
    await context.close()
    # That the network went away, or that the emulator refused, is what a test is about, not the page's fault.
    meant = ("net::ERR", "400 (Bad Request)")
    assert [] == [complaint for complaint in found if not any(word in complaint for word in meant)]


async def post(emulator: Emulator, channel: str, text: str, **more: Any) -> None:
    """The bot writes, over HTTP as a bridge does."""
    url = f"{emulator.api_url}/channels/{emulator.guild.channels[channel].id}/messages"
    async with (
        aiohttp.ClientSession(headers=HEADERS) as session,
        session.post(url, json={"content": text, **more}) as answer,
    ):
        assert 200 == answer.status


def log(page: Page) -> Any:
    return page.get_by_role("log", name="Messages")


def message(page: Page, text: str) -> Any:
    return log(page).get_by_role("article").filter(has_text=text)


async def test_channels(emulator: Emulator, page: Page) -> None:
    """Channels are listed in order; a new one appears without a reload."""
    emulator.add_channel("general")
    buttons = page.get_by_role("navigation", name="Channels").get_by_role("button")
    await expect(buttons).to_have_count(3)
    assert [
        "mayor-villa",
        "mayor-quarry",
        "general",
    ] == [(await button.inner_text()).split("\n")[-1] for button in await buttons.all()]


async def test_a_human_writes(emulator: Emulator, page: Page) -> None:
    """Enter sends what a human typed, as the chosen human; Shift and Enter begin a new line."""
    await page.get_by_label("Write as").select_option(label="Ada")
    box = page.get_by_role("textbox", name="Message")
    await box.fill("first line")
    await box.press("Shift+Enter")
    await box.press_sequentially("second line")
    await box.press("Enter")
    await expect(message(page, "first line")).to_be_visible()
    said = emulator.messages("mayor-villa")
    assert [("ada", "first line\nsecond line")] == [
        (one["author"]["username"], one["content"]) for one in said
    ]
    await expect(box).to_have_value("")


async def test_the_bot_writes(emulator: Emulator, page: Page) -> None:
    """What the bot posts over the API appears at once, with its badge."""
    await post(emulator, "mayor-villa", "the build is green")
    await expect(message(page, "the build is green")).to_be_visible()
    await expect(message(page, "the build is green").get_by_text("BOT", exact=True)).to_be_visible()


async def test_text_is_text(emulator: Emulator, page: Page) -> None:
    """Markup of HTML's is shown as it was typed, in texts, names, quotes and file names."""
    evil = "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
    asked = emulator.say("mayor-villa", evil, author="<b>eve</b>", files=[("<i>x.txt", b"x")])
    await post(emulator, "mayor-villa", f"`{evil}` **{evil}**", message_reference={"message_id": str(asked)})
    await expect(log(page).get_by_text(evil).first).to_be_visible()
    await expect(log(page).get_by_text("<b>eve</b>").first).to_be_visible()
    await expect(log(page).get_by_text("<i>x.txt")).to_be_visible()
    assert 0 == await log(page).locator("script, img, i").count()
    assert "broken" not in await page.title()


async def test_markdown(emulator: Emulator, page: Page) -> None:
    """Fences, code, bold, subtext and links are drawn; mentions have names."""
    bot = emulator.guild.bot.id
    await post(emulator, "mayor-villa", "**bold** `code` https://example.org/a.\n```py\nx = 1\n```\n-# small")
    emulator.say("mayor-villa", f"hello <@{bot}>")
    drawn = message(page, "bold")
    for tag, text in (
        ("strong", "bold"),
        ("pre", "x = 1"),
        ("small", "small"),
        ("a", "https://example.org/a"),
    ):
        await expect(drawn.locator(tag)).to_have_text(text)
    await expect(message(page, "hello")).to_contain_text("@spoolbridge")


async def test_replies_and_reactions(emulator: Emulator, page: Page) -> None:
    """A reply shows what it answers, both ways; a reaction is counted; an edit and a deletion follow."""
    asked = emulator.say("mayor-villa", "are you there?")
    await post(emulator, "mayor-villa", "yes I am", message_reference={"message_id": str(asked)})
    await expect(message(page, "yes I am").get_by_label("In reply to Nic: are you there?")).to_be_visible()
    await message(page, "yes I am").hover()
    await message(page, "yes I am").get_by_label("Reply to spoolbridge").click()
    await page.keyboard.type("good")
    await page.keyboard.press("Enter")
    await expect(message(page, "good").get_by_label("In reply to spoolbridge: yes I am")).to_be_visible()
    guild = emulator.guild
    found = guild.message(guild.channels["mayor-villa"].id, asked)
    assert found is not None
    guild.react(found, "👀", guild.bot)
    await expect(message(page, "are you there?").first.get_by_label("Reactions")).to_contain_text("👀")
    guild.remove(found)
    await expect(page.locator(f"#m{asked}")).to_have_count(0)


async def test_reacting(emulator: Emulator, page: Page) -> None:
    """A click puts an emoji there as the chosen human, another takes it back; each sees which is theirs."""
    asked = emulator.say("mayor-villa", "are you there?")
    here = message(page, "are you there?")
    await here.hover()
    await here.get_by_label("React to Nic").click()
    await here.get_by_role("group", name="React with").get_by_role("button", name="party").click()
    mine = here.get_by_role("button", name="🎉, 1: Nic")
    await expect(mine).to_have_attribute("aria-pressed", "true")
    await page.get_by_label("Write as").select_option(label="Ada")
    await expect(mine).to_have_attribute("aria-pressed", "false")
    await mine.click()
    await expect(here.get_by_role("button", name="🎉, 2: Nic, Ada")).to_have_attribute("aria-pressed", "true")
    await here.get_by_role("button", name="🎉, 2: Nic, Ada").click()
    await expect(mine).to_be_visible()
    found = emulator.guild.message(emulator.guild.channels["mayor-villa"].id, asked)
    assert found is not None
    assert {"🎉": (emulator.guild.humans[0].id,)} == found.reactions
    await page.get_by_label("Write as").select_option(label="Nic")
    await mine.click()
    await expect(here.get_by_label("Reactions")).to_have_count(0)


async def test_reacting_by_keyboard(emulator: Emulator, page: Page) -> None:
    """Arrows walk the emoji, Enter takes one, Escape none; the focus comes back to where it was."""
    emulator.say("mayor-villa", "are you there?")
    here = message(page, "are you there?")
    react = here.get_by_label("React to Nic")
    await react.focus()
    await page.keyboard.press("Enter")
    await expect(here.get_by_role("button", name="thumbs up")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(react).to_be_focused()
    await expect(page.get_by_label("React with")).to_have_count(0)
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowRight")
    await expect(here.get_by_role("button", name="done")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(here.get_by_role("button", name="✅, 1: Nic")).to_be_visible()
    await expect(here.get_by_label("React to Nic")).to_be_focused()
    await here.get_by_role("button", name="✅, 1: Nic").focus()
    emulator.react("mayor-villa", int(emulator.messages("mayor-villa")[0]["id"]), "✅", author="ada")
    await expect(here.get_by_role("button", name="✅, 2: Nic, Ada")).to_be_focused()


async def test_own_emoji(emulator: Emulator, page: Page) -> None:
    """An emoji of the guild's own has its name, and toggles like any other."""
    own = emulator.guild.add_emoji("mayor")
    said = emulator.say("mayor-villa", "hello")
    emulator.react("mayor-villa", said, own.key, author="ada")
    await message(page, "hello").get_by_text(":mayor:").click()
    await expect(message(page, "hello").get_by_role("button", name="mayor, 2: Ada, Nic")).to_be_visible()


async def test_a_thread_from_a_message(emulator: Emulator, page: Page) -> None:
    """A thread that a human starts from a message opens, is listed under its channel and counts messages."""
    asked = emulator.say("mayor-villa", "which **roof**?")
    await message(page, "which roof?").hover()
    await message(page, "which roof?").get_by_label("Start a thread from Nic").click()
    dialog = page.get_by_role("dialog", name="Start a thread")
    await expect(dialog.get_by_label("Name")).to_have_value("which roof?")
    await dialog.get_by_label("Name").fill("<b>The roof</b>")
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(dialog).to_be_hidden()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("<b>The roof</b>")
    await expect(message(page, "began this thread")).to_contain_text("Nicwhich roof?")
    await page.get_by_role("textbox", name="Message").fill("the flat one")
    await page.keyboard.press("Enter")
    await expect(message(page, "the flat one")).to_be_visible()
    names = [await one.inner_text() for one in await page.locator("#channels li").all()]
    listed = ["mayor-villa", "<b>The roof</b>", "mayor-quarry"]
    assert listed == [name.split("\n")[-1] for name in names]
    assert ["", "the flat one"] == [one["content"] for one in emulator.messages(asked)]
    await page.locator("#topic").get_by_role("button", name="#mayor-villa").click()
    chip = page.get_by_role("button", name="Open the thread <b>The roof</b>, 1 message")
    await expect(chip).to_be_visible()
    emulator.say(asked, "or the steep one", author="ada")
    await page.get_by_role("button", name="Open the thread <b>The roof</b>, 2 messages").click()
    await expect(message(page, "or the steep one")).to_be_visible()
    await page.get_by_label("Began with Nic: which roof?").click()
    await expect(page.locator(f"#m{asked}")).to_be_in_viewport()


async def test_a_thread_of_its_own(emulator: Emulator, page: Page) -> None:
    """Started from the head of the channel, which says so; an archived one stays listed, last."""
    archived = emulator.start_thread("mayor-villa", "old business")
    emulator.guild.change_channel(archived, archived=True)
    await page.get_by_role("button", name="Start a thread").click()
    await page.get_by_label("Name").fill("new business")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("new business")
    threads = page.locator("#channels .thread")
    await expect(threads).to_have_text(["↳new business", "↳old business"])
    await threads.last.get_by_role("button").click()
    await expect(page.locator("#topic")).to_have_text("a thread in #mayor-villa · archived")
    here = await page.locator("#channels button").filter(has_text="mayor-villa").first.element_handle()
    emulator.say(archived, "once more")
    await expect(page.locator("#topic")).to_have_text("a thread in #mayor-villa")
    assert here and await here.evaluate("button => button.isConnected")  # or a click meanwhile is lost
    # Not by its exact name, of which the count of what is unread there is a part.
    await page.locator("#channels button").filter(has_text="mayor-villa").first.click()
    await message(page, "started the thread").get_by_role("button", name="new business").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("new business")


async def test_a_thread_refused(emulator: Emulator, page: Page) -> None:
    """What the emulator refuses is said in the dialog, which stays."""
    asked = emulator.say("mayor-villa", "which roof?")
    await message(page, "which roof?").hover()
    await message(page, "which roof?").get_by_label("Start a thread from Nic").click()
    emulator.start_thread("mayor-villa", "faster", message=asked, author="ada")
    await page.get_by_role("button", name="Start", exact=True).click()
    dialog = page.get_by_role("dialog", name="Start a thread")
    await expect(dialog.get_by_role("alert")).to_contain_text("already been created for this message")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def test_the_bot_starts_a_thread(emulator: Emulator, page: Page) -> None:
    """A post that the bot makes appears at once and is written to, its forum is not."""
    forum = emulator.add_channel("ideas", type=15)
    url = f"{emulator.api_url}/channels/{forum}/threads"
    body = {"name": "a bigger roof", "message": {"content": "why not"}}
    async with aiohttp.ClientSession(headers=HEADERS) as session, session.post(url, json=body) as answer:
        assert 201 == answer.status
    await page.get_by_role("button", name="ideas").click()
    await expect(log(page)).to_contain_text("Posts only")
    await expect(page.get_by_role("textbox", name="Message")).to_be_hidden()
    await page.get_by_role("button", name="a bigger roof").click()
    await expect(message(page, "why not")).to_be_visible()
    await expect(page.get_by_role("textbox", name="Message")).to_be_visible()


async def test_somebody_new(emulator: Emulator, page: Page) -> None:
    """One can write as somebody who was not there before, whatever they are called."""
    await page.get_by_label("Write as").select_option(label="Somebody new…")
    await page.get_by_label("Name").fill('<i>"eve"')
    await page.keyboard.press("Enter")
    await page.get_by_role("textbox", name="Message").fill("hello all")
    await page.keyboard.press("Enter")
    await expect(message(page, "hello all")).to_contain_text('<i>"eve"')
    assert ['<i>"eve"'] == [one["author"]["username"] for one in emulator.messages("mayor-villa")]
    await page.get_by_label("Write as", exact=True).select_option(label="Somebody new…")
    await page.keyboard.press("Escape")
    await expect(page.get_by_label("Write as", exact=True)).to_have_value('<i>"eve"')


async def test_unread(emulator: Emulator, page: Page) -> None:
    """A message elsewhere marks its channel and the title until somebody looks."""
    emulator.say("mayor-quarry", "psst")
    marked = page.get_by_role("button", name="mayor-quarry unread")
    await expect(marked).to_be_visible()
    assert "(1)" in await page.title()
    await marked.click()
    await expect(message(page, "psst")).to_be_visible()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("mayor-quarry")
    await expect(page.get_by_text("unread")).to_have_count(0)


async def test_keyboard(emulator: Emulator, page: Page) -> None:
    """Arrows walk the channels, Enter opens one, Alt and an arrow change it from anywhere."""
    await page.get_by_role("button", name="mayor-villa").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("button", name="mayor-quarry")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("mayor-quarry")
    await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    await page.keyboard.press("Alt+ArrowUp")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("mayor-villa")


async def test_files(emulator: Emulator, page: Page) -> None:
    """A picture is shown inline; a file that a human attaches arrives byte for byte."""
    emulator.say("mayor-villa", "look", files=[("dot.png", _png())])
    picture = message(page, "look").get_by_role("img", name="dot.png")
    await expect(picture).to_be_visible()
    assert 2 == await picture.evaluate("image => image.naturalWidth")
    chosen: FilePayload = {"name": "a b.txt", "mimeType": "text/plain", "buffer": b"one"}
    await page.get_by_label("Attach files").set_input_files([chosen])
    await page.get_by_label("Send").click()
    await expect(log(page).get_by_role("link", name="a b.txt")).to_be_visible()
    kept = emulator.guild.history(emulator.guild.channels["mayor-villa"].id)[-1].attachments
    assert [("a b.txt", b"one")] == [(file.filename, file.data) for file in kept]


async def test_several_files(emulator: Emulator, page: Page) -> None:
    """Several files go with one message, ten at most; what is attached can be taken away again."""
    files: list[FilePayload] = [
        {"name": f"{number}.txt", "mimeType": "text/plain", "buffer": b"x"} for number in range(11)
    ]
    await page.get_by_label("Attach files").set_input_files(files[:2])
    await expect(page.get_by_text("0.txt · 1 bytes, 1.txt · 1 bytes")).to_be_visible()
    await page.get_by_role("button", name="Do not attach").click()
    await expect(page.get_by_text("0.txt")).to_be_hidden()
    await page.get_by_label("Attach files").set_input_files(files)
    await expect(page.get_by_text("A message takes 10 files")).to_be_visible()
    await page.get_by_label("Send").click()
    await expect(log(page).get_by_role("link")).to_have_count(10)
    (said,) = emulator.messages("mayor-villa")
    assert [file["name"] for file in files[:10]] == [file["filename"] for file in said["attachments"]]


async def test_a_sound(emulator: Emulator, page: Page) -> None:
    """A voice message can be played where it stands."""
    emulator.say("mayor-villa", "", files=[("voice.ogg", b"OggS")], voice=1.0)
    await expect(log(page).get_by_label("voice.ogg")).to_have_js_property("controls", True)


async def test_faults(emulator: Emulator, page: Page) -> None:
    """A fault is chosen from the list and armed; the page says so and nobody is told."""
    await page.get_by_text("Faults you can type").click()
    await page.get_by_role("button", name="!!drop-after").click()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("next message here meets !!drop-after")).to_be_visible()
    assert ([], 1) == (emulator.messages("mayor-villa"), emulator.faults.waiting)


async def test_comes_back(emulator: Emulator, page: Page) -> None:
    """When the emulator was away the page says so, and catches up by itself when it is back."""
    await emulator.down()
    await expect(page.get_by_text("reconnecting")).to_be_visible()
    emulator.say("mayor-villa", "said meanwhile")
    await emulator.up()
    await expect(message(page, "said meanwhile")).to_be_visible()


async def test_said_while_the_history_loads(emulator: Emulator, page: Page) -> None:
    """A message that comes while its channel's history is on its way is not lost under it."""
    emulator.say("mayor-quarry", "before")

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        emulator.say("mayor-quarry", "in between")
        emulator.say("mayor-villa", "after")
        await expect(page.get_by_role("button", name="mayor-villa unread")).to_be_visible()
        await route.fulfill(response=answer)

    await page.route("**/_emulator/messages/*", hold, times=1)
    await page.get_by_role("button", name="mayor-quarry").click()
    await expect(message(page, "before")).to_be_visible()
    await expect(message(page, "in between")).to_be_visible()


async def test_somebody_writes_while_the_page_loads(emulator: Emulator, page: Page) -> None:
    """Who writes before the page knows anybody can be written as all the same."""

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        emulator.say("mayor-villa", "first!", author="eve")
        await expect(page.get_by_label("Write as").get_by_role("option")).to_have_text(["eve"])
        await route.fulfill(response=answer)

    await page.route("**/_emulator/state", hold, times=1)
    await page.reload()
    await expect(page.get_by_label("Write as")).to_have_value("nic")
    options = page.get_by_label("Write as").get_by_role("option")
    await expect(options).to_have_text(["Nic", "Ada", "eve", "Somebody new…"])
    await expect(message(page, "first!")).to_be_visible()


async def test_phone(emulator: Emulator, phone: Page) -> None:
    """At 320 pixels nothing scrolls sideways, and the channels are one touch away."""
    emulator.say("mayor-villa", "x" * 300, files=[("a-very-long-name-" * 6 + ".bin", b"x")])
    emulator.say("mayor-villa", "```\n" + "wide " * 60 + "\n```")
    emulator.say("mayor-quarry", "psst")
    await expect(message(phone, "wide")).to_be_visible()
    assert 320 == await phone.evaluate("document.documentElement.scrollWidth")
    assert await log(phone).evaluate("log => log.scrollWidth <= log.clientWidth")
    await phone.get_by_role("button", name="Channels, 1 with unread messages").tap()
    await phone.get_by_role("button", name="mayor-quarry").tap()
    await expect(message(phone, "psst")).to_be_visible()
    await expect(phone.get_by_role("button", name="mayor-quarry")).to_be_hidden()


async def test_phone_tools(emulator: Emulator, phone: Page) -> None:
    """By touch one reacts, answers and starts a thread; nothing of that is wider than the screen."""
    for number in range(12):
        emulator.say("mayor-villa", f"message {number}")
    here = message(phone, "message 11")
    await here.get_by_label("What to do with Nic’s message").tap()
    await here.get_by_label("React to Nic").tap()
    box = await here.get_by_label("React with").bounding_box()
    assert box is not None
    assert 0 <= box["x"] and box["x"] + box["width"] <= 320
    assert 320 == await phone.evaluate("document.documentElement.scrollWidth")
    await here.get_by_role("button", name="heart").tap()
    await expect(here.get_by_role("button", name="❤️, 1: Nic")).to_be_visible()
    await here.get_by_label("What to do with Nic’s message").tap()
    await here.get_by_label("Reply to Nic").tap()
    await expect(phone.get_by_text("Replying to Nic: message 11")).to_be_visible()
    await expect(here.get_by_label("Reply to Nic")).to_be_hidden()
    await here.get_by_label("What to do with Nic’s message").tap()
    await here.get_by_label("Start a thread from Nic").tap()
    await phone.get_by_role("button", name="Start", exact=True).tap()
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("message 11")
    assert await log(phone).evaluate("log => log.scrollWidth <= log.clientWidth")


async def test_dark(emulator: Emulator, page: Page, phone: Page) -> None:
    """The page follows the colour scheme of its reader."""
    ground = "getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(ground) != await phone.evaluate(ground)


async def test_every_control_has_a_name(emulator: Emulator, page: Page) -> None:
    """Whatever can be operated says what it is."""
    said = emulator.say("mayor-villa", "hello", files=[("a.txt", b"x")])
    emulator.react("mayor-villa", said, "👀")
    emulator.start_thread("mayor-villa", "story", message=said)
    await expect(page.get_by_role("button", name="Open the thread")).to_be_visible()
    await page.get_by_text("Faults you can type").click()
    for role in ("button", "textbox", "combobox", "link"):
        for control in await page.get_by_role(role).all():
            name = await control.evaluate(
                "e => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent"
            )
            assert name.strip(), await control.evaluate("e => e.outerHTML")


def _png() -> bytes:
    """A picture of two by one dots."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0)
    dots = zlib.compress(b"\0" + b"\xff\0\0" + b"\0\0\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", dots) + chunk(b"IEND", b"")
