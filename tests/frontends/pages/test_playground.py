"""S75: the page at `/`, as somebody uses it, on the bundled model."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from thespis.protocol.checkpoint.folder import demo_model

from ...helpers.pdfs import of_pictures
from ...helpers.serving import Server
from .browsing import DROP, PASTE, PHONE, visiting

pytestmark = pytest.mark.process

PICTURE = (demo_model() / "media" / "picture.png").read_bytes()
QUESTION, ANSWER = "Where is the red circle?", "left of the blue square"


def test_a_picture_is_dropped_costed_asked_about_and_answered(
    browser: Browser, server: Server
) -> None:
    with visiting(browser, server.url, color_scheme="light") as visit:
        page = visit.open()
        expect(page.get_by_role("heading", name="Ask, show or play")).to_be_visible()
        expect(page.get_by_text("how many, rising or falling")).to_be_visible()
        visit.assert_accessible()
        visit.give(DROP, "picture.png", "image/png", PICTURE)
        expect(page.locator("#tray img")).to_be_visible()
        expect(page.locator("#tray .item-cost")).to_contain_text("tokens")
        expect(page.locator("#cost")).to_contain_text("of 4,096 tokens")
        page.get_by_label("Options", exact=True).first.click()
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Message", exact=True).fill(QUESTION)
        page.get_by_role("button", name="Send").click()
        answer = page.get_by_role("article", name="Answer")
        expect(answer.locator(".prose")).to_have_text(ANSWER)
        answer.locator(".timeline summary").click()
        expect(answer.locator(".bars")).to_contain_text("prefill")
        expect(answer.locator(".figures")).to_contain_text("first token")
        expect(answer.locator(".figures")).to_contain_text("tokens/s")
        visit.give(DROP, "another.png", "image/png", PICTURE)
        page.locator("#prompt").fill("And here?")
        expect(page.locator("#tray .item-cost")).to_contain_text("tokens")
        visit.shoot("playground")
        visit.assert_accessible()
        page.get_by_role("button", name="Take out another.png").click()
        expect(page.locator("#tray")).to_be_hidden()
        answer.get_by_role("button", name="Regenerate").click()
        expect(page.get_by_role("article", name="Answer")).to_have_count(1)
        expect(answer.locator(".prose")).to_have_text(ANSWER)
        expect(answer.locator(".deeds")).to_be_visible()
        page.reload()  # it is kept, picture and all
        expect(answer.locator(".prose")).to_have_text(ANSWER)
        expect(page.locator(".shelf img")).to_be_visible()


def test_what_an_item_costs_is_asked_with_its_bytes_once(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url, errors=True) as visit:
        page = visit.open()
        asked: list[dict[str, Any]] = []
        forgotten = {"error": {"message": "Cache miss.", "code": "cache_miss"}}

        def noted(route: Route) -> None:
            body: Any = route.request.post_data_json
            asked.append(body)
            if "forget" in str(asked[-1]) and not uploaded(asked[-1]):
                route.fulfill(status=400, json=forgotten)
            else:
                route.continue_()

        page.route("**/v1/media/preview", noted)
        told: list[str] = []
        for text in ("Where is it?", "Where is it, and what?", "Please forget", "And now?"):
            if not told:
                visit.give(DROP, "picture.png", "image/png", PICTURE)
            page.locator("#prompt").fill(text)
            with page.expect_response("**/v1/media/preview"):
                pass
            expect(page.locator("#cost")).to_contain_text("tokens")
            expect(page.locator("#tray .item-cost")).to_contain_text("tokens")
            told.append(page.locator("#tray .item-cost").inner_text())
        assert len(set(told)) == 1
        texts = [body["messages"][-1]["content"][-1].get("text", "") for body in asked]
        bytes_of: dict[str, list[bool]] = {text: [] for text in texts}
        for text, body in zip(texts, asked, strict=True):
            bytes_of[text].append(uploaded(body))
        assert bytes_of["Where is it, and what?"] == bytes_of["And now?"] == [False]
        assert bytes_of["Please forget"] == [False, True]
        assert sum(map(uploaded, asked)) == 2


def uploaded(body: dict[str, Any]) -> bool:
    return "data:image" in str(body)


def test_the_examples_of_the_bundled_model_are_offered(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url) as visit:
        page = visit.open()
        told = "Ask something, or drop a picture, clip, sound or document"
        expect(page.get_by_placeholder(told)).to_be_visible()
        for question, answer in (
            ("How many things are there?", "two"),
            ("What moves, and where?", "the blue cross moves down"),
            ("What do you hear?", "three beeps, rising"),
        ):
            page.get_by_role("button", name=question).click()
            expect(page.locator(".answer .prose")).to_have_text(answer)
            page.get_by_role("button", name="New conversation").click()


def test_a_sound_a_picture_and_a_clip_are_recorded_and_heard(
    browser: Browser, server: Server
) -> None:
    with visiting(browser, server.url) as visit:
        page = visit.open()
        page.get_by_role("button", name="Record a sound").click()
        expect(page.get_by_role("timer")).to_contain_text("1.", timeout=5000)
        page.get_by_role("button", name="Done").click()
        expect(page.locator("#tray audio")).to_be_visible()
        page.get_by_role("button", name="Take a picture").click()
        page.get_by_role("button", name="Take it").click()
        expect(page.locator("#tray img")).to_be_visible()
        page.get_by_role("button", name="Record a clip").click()
        expect(page.get_by_role("timer")).to_contain_text("1.", timeout=5000)
        page.get_by_role("button", name="Done").click()
        expect(page.locator("#tray video")).to_be_visible()
        page.get_by_label("Message", exact=True).fill("What do you hear?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .figures")).to_contain_text("tokens")
        expect(page.locator(".answer .error")).to_have_count(0)
        sent = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
        assert f"{server.url}/v1/chat/completions" in sent


def test_a_document_is_dropped_costed_by_pages_and_asked_about(
    browser: Browser, server: Server
) -> None:
    page_of_it = Image.open(io.BytesIO(PICTURE)).convert("RGB")
    with visiting(browser, server.url) as visit:
        page = visit.open()
        visit.give(DROP, "two.pdf", "application/pdf", of_pictures([page_of_it, page_of_it]))
        expect(page.locator("#tray .item-cost")).to_contain_text("· 2 pages")
        visit.give(PASTE, "notes.txt", "text/plain", b"red, blue and green")
        expect(page.locator("#tray figure, #tray .media")).to_have_count(2)
        visit.assert_accessible()
        page.get_by_role("button", name="Take out notes.txt").click()
        page.get_by_label("Message", exact=True).fill(QUESTION)
        page.keyboard.press("Enter")
        expect(page.locator(".answer .figures")).to_contain_text("tokens")
        expect(page.locator(".answer .error")).to_have_count(0)
        expect(page.locator(".shelf")).to_contain_text("two.pdf")
        page.reload()
        expect(page.locator(".shelf")).to_contain_text("two.pdf")


def test_by_keyboard_alone(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url) as visit:
        page = visit.open()
        expect(page.get_by_role("heading", name="Ask, show or play")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#prompt")).to_be_focused()
        page.keyboard.type("Who are you?")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("Hello")
        expect(page.locator("#prompt")).to_have_value("Who are you?\nHello")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_be_visible()
        expect(page.locator("#prompt")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.locator("#prompt")).to_have_value("Who are you?\nHello")
        expect(page.locator("#editing")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#editing")).to_be_hidden()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Control+A")
        page.keyboard.type("Hi!")
        page.keyboard.press("Enter")
        expect(page.locator(".bubble")).to_have_text(["Hi!"])
        expect(page.locator(".answer .deeds")).to_be_visible()
        walked = []
        for _ in range(40):
            page.keyboard.press("Tab")
            walked.append(
                page.evaluate(
                    "document.activeElement.ariaLabel ?? document.activeElement.textContent"
                )
            )
            ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert ring != "none" or page.evaluate("document.activeElement.id") in ("prompt", "")
        assert {"Regenerate", "Send", "Options", "Add a file"} <= {
            str(name).strip() for name in walked
        }


def test_on_a_phone(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url, PHONE, has_touch=True, color_scheme="dark") as visit:
        page = visit.open()
        prompt = page.get_by_label("Message", exact=True)
        expect(prompt).to_have_attribute("placeholder", re.compile("document"))
        assert prompt.evaluate("field => field.scrollHeight <= field.clientHeight + 1")
        page.get_by_role("button", name=QUESTION).click()
        expect(page.locator(".answer .prose")).to_have_text(ANSWER)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE[0]
        expect(page.locator("#side")).to_be_hidden()
        visit.shoot("playground-phone")
        visit.assert_accessible()
        page.get_by_role("button", name="Conversations").click()
        expect(page.locator("#side")).to_be_visible()
        visit.assert_accessible()
        page.keyboard.press("Escape")
        expect(page.locator("#side")).to_be_hidden()
        page.get_by_role("button", name="Options").first.click()
        expect(page.get_by_label("Temperature")).to_be_visible()
        visit.assert_accessible()


def test_conversations_are_named_exported_and_deleted(browser: Browser, server: Server) -> None:
    with visiting(browser, server.url, color_scheme="dark") as visit:
        page = visit.open()
        page.get_by_role("button", name=QUESTION).click()
        expect(page.locator(".answer .deeds")).to_be_visible()
        page.get_by_role("button", name="New conversation").click()
        page.get_by_label("Message", exact=True).fill("Hello")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_be_visible()
        expect(page.locator("#list .open")).to_have_text(["Hello", QUESTION])
        page.locator("#list .open", has_text=QUESTION).click()
        expect(page.locator(".shelf img")).to_be_visible()
        page.get_by_role("button", name=f"Rename {QUESTION}").click()
        page.keyboard.type("Circles")
        page.keyboard.press("Enter")
        expect(page.locator("#title")).to_have_text("Circles")
        with page.expect_download() as coming:
            page.get_by_role("button", name="Export Circles").click()
        kept = json.loads(Path(coming.value.path()).read_text())
        assert coming.value.suggested_filename == "Circles.json"
        assert [turn["text"] for turn in kept["turns"]] == [QUESTION, ANSWER]
        assert kept["turns"][0]["media"][0]["url"].startswith("data:image/png;base64,")
        visit.shoot("playground-dark")
        visit.assert_accessible()
        page.get_by_role("button", name="Delete Circles").click()
        visit.assert_accessible()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.locator("#list .open")).to_have_text(["Hello"])
        page.reload()
        expect(page.locator("#list .open")).to_have_text(["Hello"])


def test_the_request_is_copied_as_code_that_runs(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    permissions = ["clipboard-read", "clipboard-write"]
    with visiting(browser, server.url, permissions=permissions) as visit:
        page = visit.open()
        page.get_by_role("button", name=QUESTION).click()
        page.get_by_role("button", name="As code").click()
        copied = {}
        for form in ("curl", "Python", "JSON"):
            page.get_by_role("tab", name=form).click()
            page.locator("dialog").get_by_role("button", name="Copy").click()
            expect(page.locator("dialog").get_by_role("button", name="Copied")).to_be_visible()
            copied[form] = page.evaluate("navigator.clipboard.readText()")
        visit.assert_accessible()
        page.keyboard.press("Escape")
    assert server.ask("/v1/chat/completions", json.loads(copied["JSON"])).body["choices"][0][
        "message"
    ]["content"] == ANSWER  # fmt: skip
    done = subprocess.run(
        ["bash", "-c", copied["curl"]], capture_output=True, text=True, timeout=60
    )
    words = re.findall(r'"delta":{"content":"([^"]*)"', done.stdout)
    assert "".join(words) == ANSWER
    script = tmp_path / "asked.py"
    script.write_text(copied["Python"])
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == ANSWER, done.stderr


def test_options_are_sent_and_wrong_ones_are_told_at_their_field(
    browser: Browser, server: Server
) -> None:
    with visiting(browser, server.url) as visit:
        page = visit.open()
        page.get_by_label("Options", exact=True).first.click()
        expect(page.get_by_label("Temperature")).to_have_attribute("placeholder", "1")
        page.get_by_label("JSON schema").fill("{nothing")
        expect(page.get_by_text("This is not JSON yet.")).to_be_visible()
        page.get_by_label("JSON schema").fill('{"enum": ["yes", "no"]}')
        expect(page.get_by_text("This is not JSON yet.")).to_be_hidden()
        page.get_by_label("Seed").fill("7")
        page.get_by_label("Pixels").fill("7000")
        visit.give(PASTE, "pasted.png", "image/png", PICTURE)
        expect(page.locator("#tray img")).to_be_visible()
        with page.expect_file_chooser() as choosing:
            page.get_by_role("button", name="Add a file").click()
        choosing.value.set_files(demo_model() / "media" / "clip.mp4")
        expect(page.locator("#tray video")).to_be_visible()
        page.get_by_role("button", name="Take out clip.mp4").click()
        expect(page.locator("#tray video")).to_have_count(0)
        page.get_by_label("Message", exact=True).fill(QUESTION)
        with page.expect_request("**/v1/chat/completions") as coming:
            page.keyboard.press("Enter")
        asked = json.loads(coming.value.post_data or "")
        assert (asked["seed"], asked["mm_processor_kwargs"]) == (7, {"max_pixels": 7000})
        assert asked["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png")
        expect(page.locator(".answer .prose")).to_have_text(re.compile('"(yes|no)"'))
