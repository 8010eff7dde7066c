"""A browser for each module that asks for one: what drives it keeps a loop running in this thread,
in which no other test could have one."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from .pages.browsing import CHROMIUM, launch


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: `apt-get install chromium` lets these tests run")
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()
