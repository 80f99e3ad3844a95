"""Debian's Chromium without a window, and what is skipped where it is missing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

#: The shell has no windows that it would have to draw for nobody: a page takes it a third of the time.
_SHELL, _WHOLE = Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")
CHROMIUM = _SHELL if _SHELL.exists() else _WHOLE
_INSTALL = "apt-get install -y chromium-headless-shell"
_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")

#: For `pytestmark`.
NEEDED = [
    pytest.mark.browser,
    # With CI set the browser must be there: a page that nobody looked at is not tested.
    pytest.mark.skipif(
        not CHROMIUM.exists() and not os.environ.get("CI"), reason=f"needs {_SHELL}: {_INSTALL}"
    ),
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser of its own, closed at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(_FLAGS))
        yield browser
        await browser.close()


def complaints(page: Page) -> list[str]:
    """What the browser complains of from now on: errors of scripts and of the console."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    return found
