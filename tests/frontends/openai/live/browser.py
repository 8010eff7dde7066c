"""A browser for the page's tests, and what the page must not do: err, or call another host."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DOCS = Path(__file__).resolve().parents[4] / "docs"
PICTURES = "THESPIS_SCREENSHOTS"
"""In the environment: pictures for the documents are wanted."""
DESK, PHONE = (1280, 900), (390, 844)


def launch(playwright: Playwright) -> Browser:
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


@contextmanager
def visit(
    browser: Browser, url: str, size: tuple[int, int] = DESK, refused: bool = False, **options: Any
) -> Iterator[Page]:
    """The page in a tab that has never been there. `refused`: the server refuses something on
    purpose, or is not there, which a browser tells its console."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page, said, asked = context.new_page(), list[str](), list[str]()

    def hear(message: ConsoleMessage) -> None:
        expected = refused and "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not expected:
            said.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(20_000)
    try:
        page.goto(f"{url}/live-view")
        yield page
    finally:
        context.close()
    assert [one for one in asked if not one.startswith(url)] == [], "it has called another host"
    assert [one for one in asked if "sesame" in one] == [], "a key was in a URL"
    assert said == [], "it has erred"


def grave(page: Page) -> list[str]:
    """What axe finds that keeps somebody out."""
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def shoot(page: Page, name: str) -> None:
    """A picture for the documents, where they are wanted."""
    if os.environ.get(PICTURES):
        page.get_by_label("Show").select_option("15")
        page.wait_for_timeout(2500)
        page.screenshot(path=DOCS / f"{name}.png", full_page=True)
