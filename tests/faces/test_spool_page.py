"""The page for operators in a real browser, beside a real demo: what moves, findings, retries, a phone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.support.browser import NEEDED, chromium, complaints
from tests.support.programs import Demo, Running, ran
from tests.support.tree import contents
from tests.support.waiting import until

SOON = 15_000  # milliseconds, on a loaded machine
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 568}

pytestmark = NEEDED


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo("--spool", "spool", cwd=tmp_path_factory.mktemp("page")) as running:
        yield running
        assert 0 == running.end()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def opened(browser: Browser, address: str, **more: object) -> AsyncIterator[Page]:
    """A page that is live. Whatever the browser complains of fails the test, a breach of its policy too."""
    page = await browser.new_page(**more)  # type: ignore[arg-type]
    found = complaints(page)
    page.on("dialog", lambda dialog: found.append(dialog.message))
    await page.goto(address)
    await expect(page.locator("#health")).to_have_text("live", timeout=SOON)
    yield page
    await page.close()
    assert [] == found


@pytest.fixture
async def page(demo: Demo, browser: Browser) -> AsyncIterator[Page]:
    """On a desk, by the address that the demo printed."""
    async for made in opened(browser, demo.page, viewport=DESK):
        yield made


@pytest.fixture
async def phone(demo: Demo, browser: Browser) -> AsyncIterator[Page]:
    """On the narrowest phone, in the dark."""
    async for made in opened(browser, demo.page, viewport=PHONE, has_touch=True, color_scheme="dark"):
        yield made


def cell(page: Page, channel: str, state: str) -> Locator:
    """A channel's entries in one state."""
    return page.locator(".lane", has=page.get_by_text(channel, exact=True)).locator(f".cell.{state}")


def token(page: Page, channel: str, state: str, name: str) -> Locator:
    return cell(page, channel, state).get_by_text(name, exact=True)


def drop(demo: Demo, channel: str, name: str, text: str) -> Path:
    path = demo.spool / "outgoing" / channel / name
    path.write_text(text, "utf-8")
    return path


async def test_a_dropped_entry_moves(demo: Demo, page: Page) -> None:
    """It waits in outgoing/, goes when it may, and slides over to sent: the same element's way is seen."""
    hold = demo.spool / "outgoing" / "mayor-villa" / ".hold"
    hold.touch()
    drop(demo, "mayor-villa", "deploy-note", "deployed at noon\n")
    await expect(token(page, "mayor-villa", "outgoing", "deploy-note")).to_be_visible(timeout=SOON)
    await page.evaluate(
        """() => {
            window.moved = [];
            const animate = Element.prototype.animate;
            Element.prototype.animate = function (frames, how) {
                window.moved.push([this.textContent, frames[0].transform || ""]);
                return animate.call(this, frames, how);
            };
        }"""
    )
    hold.unlink()
    await expect(token(page, "mayor-villa", "sent", "deploy-note")).to_be_visible(timeout=SOON)
    await expect(token(page, "mayor-villa", "outgoing", "deploy-note")).to_have_count(0)
    moves = [move for name, move in await page.evaluate("window.moved") if name == "deploy-note"]
    assert moves
    assert all(move.startswith("translate(-") for move in moves), "to the right, from where it was"
    await expect(page.locator("#out").get_by_text("deployed at noon")).to_be_visible()


async def test_who_wants_no_motion_has_none(demo: Demo, browser: Browser) -> None:
    """An entry is simply where it is."""
    async for page in opened(browser, demo.page, viewport=DESK, reduced_motion="reduce"):
        await page.evaluate("() => { Element.prototype.animate = () => { throw new Error('moved'); }; }")
        drop(demo, "mayor-bridge", "calm", "no motion\n")
        await expect(token(page, "mayor-bridge", "sent", "calm")).to_be_visible(timeout=SOON)


async def test_a_broken_discord_is_a_finding_that_goes_away(demo: Demo, page: Page) -> None:
    """Said where a screen reader hears it, and in the channel's lane; mended, it is gone by itself."""
    drop(demo, "town-square", "closed", "!!403 closed for now\n")
    findings = page.locator("#findings[aria-live=polite] li")
    finding = findings.filter(has_text="#town-square is parked: Discord answered 403")
    await expect(finding).to_be_visible(timeout=SOON)
    lane = page.locator(".lane", has_text="town-square")
    await expect(lane.get_by_text("parked", exact=True)).to_be_visible()
    waiting = demo.spool / "outgoing" / "town-square"
    await until(lambda: [path for path in waiting.iterdir() if path.name.endswith(".closed")])
    await expect(token(page, "town-square", "outgoing", "closed")).to_be_visible(timeout=SOON)
    for path in waiting.glob("*.closed"):
        path.unlink(missing_ok=True)
    drop(demo, "town-square", "open", "open again\n")
    await expect(token(page, "town-square", "sent", "open")).to_be_visible(timeout=2 * SOON)
    await expect(finding).to_have_count(0, timeout=SOON)


async def test_a_discord_that_is_not_asked_turns_the_page_red(browser: Browser, tmp_path: Path) -> None:
    """The page itself answers all the time; that is not what its light stands for."""
    with Demo("--spool", "spool", cwd=tmp_path) as closed:
        async for page in opened(browser, closed.page, viewport=DESK):
            drop(closed, "mayor-villa", "blocked", "!!1015\n")
            await expect(page.locator("#health")).to_have_text("not well", timeout=SOON)
            ill = page.locator("#findings li.ill")
            await expect(ill).to_contain_text("Discord is not asked: Cloudflare", timeout=SOON)
            await expect(token(page, "mayor-villa", "sending", "blocked")).to_be_visible(timeout=SOON)
        assert 0 == closed.end()


async def test_a_failed_entry_is_retried_from_the_page(demo: Demo, page: Page) -> None:
    """By the keyboard alone: its reason is read, the button pressed, and what was mended is sent."""
    drop(demo, "mayor-villa", "typo", "Spoolbridge: 1\nRepy-To: 12\n\nmended by hand\n")
    failure = page.locator(".failures li", has_text="typo")
    await expect(failure.locator(".reason")).to_contain_text("line 2", timeout=SOON)
    [path] = (demo.spool / "failed" / "mayor-villa").glob("*.typo")
    path.write_text("mended by hand\n", "utf-8")
    button = page.get_by_role("button", name="Retry typo in mayor-villa")
    await button.focus()
    await page.keyboard.press("Enter")
    told = page.locator(".told[role=status]")
    await expect(told).to_have_text("typo: it is in outgoing/ again.", timeout=SOON)
    await expect(failure).to_have_count(0, timeout=SOON)
    await expect(token(page, "mayor-villa", "sent", "typo")).to_be_visible(timeout=SOON)
    await expect(page.locator("#out").get_by_text("mended by hand")).to_be_visible(timeout=SOON)
    assert b"mended by hand\n" in contents(demo.spool, "sent").values()


def entries_in(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.suffix != ".why"]


async def test_many_failures_leave_room_for_the_rest(demo: Demo, page: Page) -> None:
    """The newest are shown, and how many there are besides; what was said both ways is not below hundreds."""
    for number in range(30):
        drop(demo, "mayor-bridge", f"many-{number}", "Spoolbridge: 1\nRepy-To: 12\n\nx\n")
    await expect(page.locator("#failures-more")).to_contain_text(
        "older: spoolbridge failed list", timeout=SOON
    )
    failed = demo.spool / "failed"
    await until(lambda: len(entries_in(failed / "mayor-bridge")) == 30)  # a reason is there before its entry
    total = sum(len(entries_in(each)) for each in failed.iterdir() if each.is_dir())
    await expect(page.locator("[data-figure=failed]")).to_have_text(str(total), timeout=SOON)
    await expect(page.locator("#failures-more")).to_contain_text(f"and {total - 12} older: ", timeout=SOON)
    await expect(page.locator(".failures li")).to_have_count(12)


async def test_the_key_is_not_left_in_the_address(demo: Demo, page: Page) -> None:
    """Not in the address, nor in the history: only in this tab."""
    key = demo.page.partition("#key=")[2]
    assert demo.page.partition("#")[0] == page.url
    assert key == await page.evaluate("sessionStorage.getItem('key')")
    assert [None, 0] == await page.evaluate("[localStorage.getItem('key'), document.cookie.length]")


async def test_without_the_key_there_is_no_button(demo: Demo, browser: Browser) -> None:
    """But a field to type it into; a wrong key is refused, the right one retries."""
    drop(demo, "mayor-villa", "locked", "Spoolbridge: 1\nRepy-To: 12\n\nx\n")
    address, _, key = demo.page.partition("#key=")
    async for page in opened(browser, address, viewport=DESK):
        failure = page.locator(".failures li", has_text="locked")
        await expect(failure).to_be_visible(timeout=SOON)
        await expect(failure.get_by_role("button")).to_be_hidden()
        field = page.get_by_label("The key (SPOOLBRIDGE_HTTP_KEY)")
        await field.fill(key)
        await field.press("Enter")
        await expect(failure.get_by_role("button")).to_be_visible(timeout=SOON)


@pytest.mark.parametrize("direction", ["out", "in"])
async def test_markup_is_only_text(demo: Demo, page: Page, direction: str) -> None:
    """What a message says is shown as it is, and never runs, whoever wrote it and whatever it is called."""
    text = f"<script>alert(1)</script><img src=x onerror=alert(2)> {direction}"
    if direction == "out":
        drop(demo, "mayor-villa", "<img src=x onerror=alert(3)>", text)
    else:
        demo.say(text)
    await expect(page.locator(f"#{direction} .text", has_text=text)).to_be_visible(timeout=SOON)
    assert 0 == await page.locator("main img, main script").count()


async def test_a_tower_of_marks_stays_in_its_message(demo: Demo, page: Page) -> None:
    """2,000 combining characters: nothing is drawn over the neighbours, and the page does not grow wide."""
    drop(demo, "mayor-villa", "tower", "tower " + "a" + "\u0301" * 1990)
    shown = page.locator("#out .text", has_text="tower")
    await expect(shown.first).to_be_visible(timeout=SOON)
    assert "hidden" == await shown.first.evaluate("(each) => getComputedStyle(each).overflow")
    assert 300 > await shown.first.evaluate("(each) => each.getBoundingClientRect().height")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_phone(demo: Demo, phone: Page) -> None:
    """320 px: no sideways scroll, whatever names and messages; every button is large enough for a thumb."""
    drop(demo, "mayor-villa", "n" * 120, "w" * 1500)
    drop(demo, "mayor-villa", "thumb", "Spoolbridge: 1\nRepy-To: 12\n\nx\n")
    button = phone.get_by_role("button", name="Retry thumb in mayor-villa")
    await expect(button).to_be_visible(timeout=SOON)
    await expect(phone.locator("#out .text", has_text="wwww").first).to_be_visible(timeout=SOON)
    assert 320 == await phone.evaluate("document.documentElement.scrollWidth")
    box = await button.bounding_box()
    assert box
    assert 44 <= min(box["height"], box["width"])
    assert "rgb(23, 21, 19)" == await phone.evaluate("getComputedStyle(document.body).backgroundColor")


async def test_charts_have_words(demo: Demo, page: Page) -> None:
    """Who does not see them is told the same, and the axes have their units."""
    drop(demo, "mayor-villa", "counted", "one more\n")
    await expect(token(page, "mayor-villa", "sent", "counted")).to_be_visible(timeout=SOON)
    for name, words in (
        ("throughput", r"^In the last hour \d+ messages? sent, \d+ failed, \d+ received\.$"),
        ("latency", r"^Of the newest messages half were on Discord within \d"),
        ("backlog", r"^\d+ entr(y waits|ies wait) now; at most \d+ in the last hour\.$"),
    ):
        drawn = page.locator(f"#{name} svg[role=img]")
        label = await drawn.get_attribute("aria-label") or ""
        assert re.search(words, label), label
        await expect(drawn.get_by_text("now", exact=True)).to_be_visible()


async def test_a_service_without_a_key(demo: Demo, browser: Browser, tmp_path: Path) -> None:
    """`run --http`: the page shows, says what would let it retry, and is red once the service has ended."""
    channels = tmp_path / "channels.json"
    channels.write_text(f'{{"town-square": "{demo.channels()["town-square"]}"}}')
    env = demo.api | {"SPOOLBRIDGE_SPOOL": str(tmp_path / "spool"), "SPOOLBRIDGE_CHANNELS": str(channels)}
    with Running("run", "--http", "127.0.0.1:0", cwd=tmp_path, env=env) as running:
        running.logs("the page is at ")
        address = running.err.partition("the page is at ")[2].split()[0]
        page = await browser.new_page(viewport=DESK)  # type: ignore[arg-type]
        await page.goto(address)
        await expect(page.locator("#health")).to_have_text("live", timeout=SOON)
        await expect(page.locator("#retry-hint")).to_contain_text("SPOOLBRIDGE_HTTP_KEY")
        await expect(page.locator("#key")).to_be_hidden()
        assert 0 == running.end()
        await expect(page.locator("#health")).to_have_text("the service does not answer", timeout=SOON)
        await page.close()
    assert "Traceback" not in running.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("0.0.0.0:0",), 1, "say --http-anywhere as well if that is meant"),
        (("0.0.0.0:0", "--http-anywhere"), 1, "SPOOLBRIDGE_HTTP_KEY is not set; put SPOOLBRIDGE_HTTP_KEY=…"),
        (("nowhere",), 2, "write HOST:PORT, such as 127.0.0.1:8640"),
        (("8640", "--once"), 2, "leave out --once"),
    ],
)
def test_what_run_refuses(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Before anything is served: no other machine reaches the page by accident, or without a key."""
    ended = ran("run", "--http", *arguments, cwd=tmp_path, env={"DISCORD_BOT_TOKEN": "x"})
    assert (code, "") == (ended.code, ended.out)
    assert said in ended.err
    assert "Traceback" not in ended.err
