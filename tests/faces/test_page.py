"""The demo as a person sees it: files and the chat page, one next to the other, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import NEEDED, chromium, complaints
from tests.support.programs import Demo
from tests.support.tree import contents
from tests.support.waiting import until

SOON = 10_000  # milliseconds between a dropped file and its message, on a loaded machine

pytestmark = NEEDED


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """`spoolbridge demo`, as the README tells a newcomer to run it."""
    with Demo("--spool", "spool", cwd=tmp_path_factory.mktemp("page")) as running:
        yield running
        assert 0 == running.end()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def page(demo: Demo, browser: Browser) -> AsyncIterator[Page]:
    """The address that the demo printed, opened. Whatever the browser complains of fails the test."""
    page = await browser.new_page(viewport={"width": 1100, "height": 760})
    found = complaints(page)
    await page.goto(demo.url)
    await expect(page.get_by_role("status").first).to_have_text("live")
    yield page
    await page.close()
    assert [] == found


def message(page: Page, text: str) -> Locator:
    """The messages on the page that say this."""
    return page.get_by_role("log", name="Messages").get_by_role("article").filter(has_text=text)


async def test_the_first_message_is_there(page: Page) -> None:
    """Whoever opens the page sees at once that a file has become a message."""
    await expect(message(page, "This message was a file a moment ago.")).to_be_visible()


async def test_a_dropped_file_appears(demo: Demo, page: Page) -> None:
    """`echo … > outgoing/mayor-villa/note`: the page shows it, as the bot's, without a reload."""
    (demo.spool / "outgoing" / "mayor-villa" / "note").write_text("deployed at noon\n")
    shown = message(page, "deployed at noon")
    await expect(shown).to_be_visible(timeout=SOON)
    await expect(shown.get_by_text("BOT", exact=True)).to_be_visible()
    await until(lambda: b"deployed at noon\n" in contents(demo.spool, "sent").values())


async def test_what_a_human_writes_becomes_a_file(demo: Demo, page: Page) -> None:
    """Typed into the page, sent with Enter: it lies in incoming/, and an answer to it appears below it."""
    box = page.get_by_role("textbox", name="Message")
    await box.fill("how is the build?")
    await box.press("Enter")
    await expect(message(page, "how is the build?")).to_be_visible()
    new = demo.spool / "incoming" / "mayor-villa" / "new"
    await until(lambda: [path for path in new.iterdir() if "how is the build?" in path.read_text("utf-8")])
    [path] = [path for path in new.iterdir() if "how is the build?" in path.read_text("utf-8")]
    asked = path.name.partition(".D")[2].removesuffix(".discord")
    answer = f"Spoolbridge: 1\nReply-To: {asked}\n\ngreen again\n"
    (demo.spool / "outgoing" / "mayor-villa" / "answer").write_text(answer)
    await expect(message(page, "green again")).to_be_visible(timeout=SOON)
    await expect(
        message(page, "green again").get_by_label("In reply to Nic: how is the build?")
    ).to_be_visible()


async def test_a_message_that_discord_refuses(demo: Demo, page: Page) -> None:
    """Not on the page, but in failed/, with the reason beside it; the other channels go on."""
    (demo.spool / "outgoing" / "mayor-villa" / "bad").write_text("!!automod buy now\n")
    (demo.spool / "outgoing" / "mayor-bridge" / "good").write_text("all is well here\n")
    await page.get_by_role("button", name="mayor-bridge").click()
    await expect(message(page, "all is well here")).to_be_visible(timeout=SOON)
    await until(lambda: len(contents(demo.spool, "failed")) == 2)
    why = next(data for name, data in contents(demo.spool, "failed").items() if name.endswith(".bad.why"))
    assert b"code 200000" in why
    await page.get_by_role("button", name="mayor-villa").click()
    await expect(message(page, "This message was a file")).to_be_visible()
    await expect(message(page, "buy now")).to_have_count(0)
