"""The operators' page in a browser, over an engine whose processes are killed."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from ....helpers.media import picture, png
from ....helpers.serving import Server, served
from ...pages.browsing import PHONE, PICTURES, Visit, visiting

pytestmark = pytest.mark.process
STREAMS, TOKENS = 4, 1600  # so many that all are under way still when the page shows the last one
WATCHED = """() => {
    window.states = [];
    const note = () => {
        const row = document.querySelector('#actors tr[data-key="gpu-runner"]');
        window.states.push(row.children[1].textContent);
    };
    note();
    const options = { subtree: true, childList: true, characterData: true };
    new MutationObserver(note).observe(document.querySelector("#actors tbody"), options);
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(api_key=("sesame", "sesame-too")) as server:
        yield server


def enter(visit: Visit, key: str = "sesame") -> Page:
    """By keys alone: the field has the focus."""
    page = visit.open("/live-view", "#ask, #board")
    expect(page.get_by_label("asks for a key")).to_be_focused()
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    return page


def pid_of(server: Server, role: str) -> int:
    lines = server.ask("/metrics").body.splitlines()
    (found,) = [
        line
        for line in lines
        if line.startswith("thespis_process_pid{") and f'role="{role}"' in line
    ]
    return int(float(found.split()[-1]))


def question(number: int) -> dict[str, Any]:
    image = base64.b64encode(png(picture(number, 56 + 28 * number))).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    text = {"type": "text", "text": f"What is there, and what is {number} times seven?"}
    content = [url, text] if number % 2 else [text]
    message = {"role": "user", "content": content}
    return {"messages": [message], "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}


def test_a_killed_runner_is_seen_to_die_and_return_and_its_streams_go_on(
    server: Server, browser: Browser
) -> None:
    with ThreadPoolExecutor(STREAMS) as callers, visiting(browser, server.url) as visit:
        page = enter(visit)
        expect(page.locator("#status")).to_have_text("Live")
        page.evaluate(WATCHED)
        runner_pid = pid_of(server, "gpu-runner")
        answers: list[Future[bytes]] = [
            callers.submit(server.stream, "/v1/chat/completions", question(number))
            for number in range(STREAMS)
        ]
        rows = page.locator("#requests li:not(.over)")
        expect(rows.filter(has_text="decode")).to_have_count(STREAMS)
        os.kill(runner_pid, signal.SIGKILL)
        death = page.locator("#events li.ended")
        expect(death).to_contain_text("gpu-runner.1died (signal 9: Killed)")
        expect(page.locator("#events li.ready")).to_contain_text("gpu-runner.2is back")
        runner = page.locator('#actors tr[data-key="gpu-runner"] td')
        expect(runner.nth(0)).to_have_text("ready")
        expect(runner.nth(1)).to_have_text("2")
        expect(death).to_contain_text(f"{STREAMS} requests under way, {STREAMS} went on")
        if PICTURES:
            page.get_by_label("Show").select_option("15")
            visit.shoot("live_view", 2500, whole=True)
        assert set(page.evaluate("window.states")) - {"ready"}, "it was not seen to be gone"
        for answer in answers:
            events = [line[6:] for line in answer.result(60).splitlines() if line[:6] == b"data: "]
            assert events.pop() == b"[DONE]"
            assert json.loads(events[-1])["choices"][0]["finish_reason"] == "length"
        expect(page.locator("#requests li.over").filter(has_text="done")).to_have_count(STREAMS)
        expect(page.locator("#requests")).to_contain_text("key 1")
        expect(page.locator("#items tbody tr")).to_have_count(STREAMS // 2)
        visit.assert_accessible()


def test_by_keys_alone_it_is_paused_and_goes_on_and_forgets_the_key(
    server: Server, browser: Browser
) -> None:
    with visiting(browser, server.url, reduced_motion="reduce") as visit:
        page = enter(visit, "sesame-too")
        status = page.locator("#status")
        expect(status).to_have_text("Live")
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        expect(page.get_by_label("Show")).to_be_focused()
        page.keyboard.press("ArrowDown")
        expect(page.get_by_label("Show")).to_have_value("120")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(status).to_have_text("Paused")
        expect(page.get_by_role("button", name="Pause", pressed=True)).to_be_visible()
        page.keyboard.press("Space")
        expect(status).to_have_text("Live")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(status).to_have_text("A key is needed")
        expect(page.locator("#board")).to_be_hidden()
        visit.assert_accessible()


def test_it_fits_a_phone_in_the_dark(server: Server, browser: Browser) -> None:
    with visiting(browser, server.url, PHONE, color_scheme="dark") as visit:
        page = enter(visit)
        expect(page.locator("#status")).to_have_text("Live")
        expect(page.locator("#actors tbody tr")).not_to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        visit.assert_accessible()


def test_a_wrong_key_is_said_to_be_wrong(server: Server, browser: Browser) -> None:
    with visiting(browser, server.url, errors=True) as visit:
        page = enter(visit, "open")
        expect(page.get_by_role("alert")).to_have_text("This is not a key of the server.")
        page.keyboard.type("sesame")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("Live")
        page.reload()
        expect(page.locator("#status")).to_have_text("Live")


def test_it_connects_again_by_itself_and_says_so(server: Server, browser: Browser) -> None:
    with visiting(browser, server.url, errors=True) as visit:
        page = enter(visit)
        expect(page.locator("#status")).to_have_text("Live")
        os.kill(pid_of(server, "http"), signal.SIGKILL)
        expect(page.locator("#status")).to_contain_text("trying again in")
        expect(page.locator("#status")).to_have_text("Live")
        row = page.locator('#actors tr[data-key="http"] td')
        expect(row.nth(1)).to_have_text("2")
        expect(page.locator("#events")).to_contain_text("http.1died")
        assert page.locator("#events strong").all_inner_texts()[:2] == ["http.2", "http.1"]
