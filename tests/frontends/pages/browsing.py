"""A browser for tests, and what each of its pages must not do: err, call another host, or run what
the server has not sent."""

import asyncio
import base64
import os
import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
)

from thespis.protocol.config.roles import HttpConfig

from ..openai.fake import FakeClient, served

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DOCS = Path(__file__).parents[3] / "docs"
PICTURES = bool(os.environ.get("THESPIS_SCREENSHOTS"))
"""Pictures for the documents are wanted: THESPIS_SCREENSHOTS=1."""
DESK, PHONE = (1280, 860), (390, 844)
expect.set_options(timeout=30_000)  # milliseconds: an answer takes as long as the machine is busy

DROP = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    const told = { dataTransfer: carried, bubbles: true, cancelable: true };
    for (const event of ["dragenter", "dragover", "drop"])
        document.getElementById("log").dispatchEvent(new DragEvent(event, told));
}"""
PASTE = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], name, { type }));
    const told = { clipboardData: carried, bubbles: true, cancelable: true };
    document.getElementById("prompt").dispatchEvent(new ClipboardEvent("paste", told));
}"""


def launch(playwright: Playwright) -> Browser:
    """With a microphone and a camera that are none."""
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=flags)


class Visit:
    """One page of one visitor, who has been nowhere before."""

    def __init__(self, context: BrowserContext, url: str, *, errors: bool = False) -> None:
        """`errors`: the server refuses something on purpose, which a browser tells its console."""
        self.page: Page = context.new_page()
        self.url = url
        self._context, self._errors = context, errors
        self._said: list[str] = []
        self._asked: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._said.append(f"uncaught: {error}"))
        self.page.on("request", self._note)
        self.page.set_default_timeout(20_000)

    def _hear(self, message: ConsoleMessage) -> None:
        refused = self._errors and "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not refused:
            self._said.append(message.text)

    def _note(self, request: Request) -> None:
        self._asked.append(request.url)

    def open(self, path: str = "/", ready: str = ".welcome, .turn, dialog") -> Page:
        """`ready`: what is there once the page has begun."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector(ready)
        return self.page

    def give(self, how: str, name: str, media_type: str, data: bytes) -> None:
        """`how`: DROP or PASTE."""
        self.page.evaluate(how, [name, media_type, base64.b64encode(data).decode()])

    def assert_accessible(self) -> None:
        """What axe finds is none that keeps somebody out."""
        found = Axe().run(self.page).response["violations"]
        grave = [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
        assert grave == []

    def shoot(self, name: str, settle: int = 300, whole: bool = False) -> None:
        """A picture for the documents, where they are wanted. `settle`: milliseconds; `whole`: also
        of what lies below."""
        if PICTURES:
            self.page.wait_for_timeout(settle)
            self.page.screenshot(path=DOCS / f"{name}.png", full_page=whole)

    def leave(self) -> None:
        self._context.close()
        strangers = [url for url in self._asked if not url.startswith((self.url, "blob:", "data:"))]
        assert strangers == [], "the page has called another host"
        assert [url for url in self._asked if "sesame" in url] == [], "a key was in an address"
        assert self._said == [], "the page has erred"


@contextmanager
def visiting(
    browser: Browser,
    url: str,
    size: tuple[int, int] = DESK,
    *,
    errors: bool = False,
    **options: Any,
) -> Iterator[Visit]:
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    visit = Visit(context, url, errors=errors)
    try:
        yield visit
    except BaseException:
        context.close()
        raise
    visit.leave()


@contextmanager
def faked(client: FakeClient, config: HttpConfig | None = None) -> Iterator[str]:
    """The HTTP face over a fake engine, in a loop of its own: a browser is driven without one."""
    found: queue.Queue[str] = queue.Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with served(client, config) as url:
            found.put(url)
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found.get(timeout=10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
