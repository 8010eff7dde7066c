"""S75: what a real model says too seldom: markup, calls, thoughts, errors; and keys."""

import io
import json
from typing import Any

import msgspec
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from thespis.protocol.errors import Failure
from thespis.protocol.facts import PlaceholderFacts

from ..openai.fake import MODEL, FakeClient, http_config
from .browsing import DROP, faked, visiting

pytestmark = pytest.mark.process

OWNED = 'document.title="owned"'
HTML = f"<img src='http://127.0.0.1:9/x' onerror='{OWNED}'><script>{OWNED}</script>"
MARKDOWN = f"""\
# A heading

Some **bold**, *slanted* and `coded` text, [a link](https://example.org/a) and
[none](javascript:{OWNED}).

![a picture](http://127.0.0.1:9/y.png)

1. one
2. two
   - inner

| left | right |
| --- | ---: |
| a | 1 |

{HTML}

```python
print("<b>hi</b>")
```
"""


def test_an_answer_streams_and_is_stopped(browser: Browser) -> None:
    client = FakeClient()
    client.words, client.pace = [f"word{n} " for n in range(500)], 0.02
    with faked(client) as url, visiting(browser, url) as visit:
        page = visit.open()
        page.locator("#prompt").fill("Go on")
        page.keyboard.press("Enter")
        prose = page.locator(".answer .prose")
        expect(prose).to_contain_text("word3")
        seen = prose.inner_text()
        expect(prose).to_contain_text("word20")  # it grows while one looks
        assert prose.inner_text().startswith(seen.strip())
        expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
        expect(page.get_by_role("button", name="Stop")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_text("Stopped.")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        assert "word499" not in prose.inner_text()
        page.wait_for_timeout(300)
        assert client.cancelled == ["r1"]  # and costs no more
        page.get_by_role("button", name="Regenerate").click()
        expect(prose).to_contain_text("word3")
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped.")).to_be_visible()


def test_each_conversation_has_its_answer_and_its_message_in_hand(browser: Browser) -> None:
    """One is asked while another is answered, and what was begun in one is there afterwards."""
    client = FakeClient()
    client.words, client.pace = [f"word{n} " for n in range(500)], 0.02
    with faked(client) as url, visiting(browser, url) as visit:
        page = visit.open()
        prompt, prose = page.locator("#prompt"), page.locator(".answer .prose")
        prompt.fill("First")
        page.keyboard.press("Enter")
        expect(prose).to_contain_text("word3")
        prompt.fill("begun here")
        page.get_by_role("button", name="New conversation").click()
        expect(prompt).to_have_value("")
        expect(page.locator("#list .coming")).to_have_text("First")
        prompt.fill("Second")
        page.keyboard.press("Enter")
        expect(prose).to_contain_text("word3")
        page.keyboard.press("Escape")
        expect(page.get_by_text("Stopped.")).to_be_visible()
        page.locator("#list .open", has_text="First").click()
        expect(prompt).to_have_value("begun here")
        expect(page.locator(".answer")).to_have_attribute("aria-busy", "true")
        expect(page.get_by_text("Stopped.")).to_be_hidden()
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("Stopped.")).to_be_visible()
        expect(page.locator("#list .coming")).to_have_count(0)
        page.locator("#list .open", has_text="Second").click()
        expect(prompt).to_have_value("")
        with page.context.expect_page() as coming:
            page.get_by_role("link", name="Live view").click()
        expect(coming.value.locator("#model")).to_have_text("fake-model")


def test_a_server_that_is_not_there_yet_is_waited_for(browser: Browser) -> None:
    with faked(FakeClient()) as url, visiting(browser, url, errors=True) as visit:
        visit.page.route("**/playground/about", lambda route: route.abort())
        page = visit.open(ready=".note")
        expect(page.locator("#log")).to_contain_text("cannot be reached. It is asked again")
        page.unroute("**/playground/about")
        expect(page.locator("#model")).to_have_text("fake-model")
        expect(page.locator(".welcome")).to_be_visible()


def test_after_a_new_start_with_another_model_that_one_is_asked(browser: Browser) -> None:
    with faked(FakeClient()) as url, visiting(browser, url, errors=True) as visit:
        told: dict[str, Any] = {}

        def of_the_one_before(route: Route) -> None:
            told.update(route.fetch().json())
            route.fulfill(json=told | {"model": "before"})

        visit.page.route("**/playground/about", of_the_one_before, times=1)
        page = visit.open()
        expect(page.locator("#model")).to_have_text("before")
        page.locator("#prompt").fill("Look")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .prose")).to_have_text("a red circle é!")
        expect(page.locator("#model")).to_have_text("fake-model")
        expect(page.get_by_role("article", name="Answer")).to_have_count(1)


BRING = """([type, given, files]) => {
    const carried = new DataTransfer();
    for (const [kind, text] of given) carried.setData(kind, text);
    for (const [name, text] of files) carried.items.add(new File([text], name));
    const told = { bubbles: true, cancelable: true };
    const event = type === "paste"
        ? new ClipboardEvent(type, { ...told, clipboardData: carried })
        : new DragEvent(type, { ...told, dataTransfer: carried });
    document.getElementById("prompt").dispatchEvent(event);
    return event.defaultPrevented;
}"""


def test_words_are_left_to_the_browser_and_files_of_text_are_documents(browser: Browser) -> None:
    """Cells of a table come with a picture of themselves; code and settings have many names."""
    cells = [["text/plain", "1\t2"], ["text/html", "<table></table>"]]
    with faked(FakeClient()) as url, visiting(browser, url) as visit:
        page = visit.open()
        for type_, given, files, taken in (
            ("paste", cells, [["cells.png", "x"]], False),
            ("drop", [["text/plain", "dragged words"]], [], False),
            ("dragover", [["text/plain", "dragged words"]], [], False),
            ("paste", [["text/plain", "settings.yaml"]], [["settings.yaml", "port: 80"]], True),
            ("drop", [], [["main.rs", "fn main() {} // é"]], True),
        ):
            assert page.evaluate(BRING, [type_, given, files]) is taken, (type_, given)
        expect(page.locator("#tray .item-name")).to_have_text(["settings.yaml", "main.rs"])
        expect(page.locator("#attach")).to_have_attribute("title", "Add a document")
        page.evaluate(BRING, ["drop", [], [["odd.bin", "a\0b"]]])
        expect(page.locator("#toast")).to_contain_text("odd.bin is no picture, clip, sound or doc")
        with page.expect_request("**/v1/chat/completions") as coming:
            page.keyboard.press("Enter")
        parts = json.loads(coming.value.post_data or "")["messages"][0]["content"]
        assert [part["text"] for part in parts] == ["only", "only"], "this model sees no pages"


def test_an_answer_is_markdown_and_never_html(browser: Browser) -> None:
    client = FakeClient()
    client.words = [MARKDOWN[i : i + 7] for i in range(0, len(MARKDOWN), 7)]
    with faked(client) as url, visiting(browser, url) as visit:
        page = visit.open()
        page.locator("#prompt").fill(HTML)
        page.keyboard.press("Enter")
        prose = page.locator(".answer .prose")
        expect(page.locator(".answer .deeds")).to_be_visible()
        expect(prose.get_by_role("heading", name="A heading")).to_be_visible()
        expect(prose.locator("strong")).to_have_text("bold")
        expect(prose.locator("ol > li")).to_have_count(2)
        expect(prose.locator("ol ul li")).to_have_text("inner")
        expect(prose.locator("td")).to_have_text(["a", "1"])
        expect(prose.locator("pre code")).to_have_text('print("<b>hi</b>")')
        assert [one.get_attribute("href") for one in prose.locator("a").all()] == [
            "https://example.org/a",
            "http://127.0.0.1:9/y.png",
        ]
        expect(prose).to_contain_text("onerror=")
        expect(page.locator(".bubble")).to_have_text(HTML)
        assert page.locator("#log img, #log script").count() == 0
        assert page.title() != "owned"
        visit.assert_accessible()


def test_calls_and_thoughts_are_folded(browser: Browser) -> None:
    client = FakeClient()
    call = '<tool_call>{"name": "weather", "arguments": {"place": "Athens"}}</tool_call>'
    client.words = ["<think>", "The masks ", "laugh.", "</think>", "Let me see. ", call]
    tools = '[{"type": "function", "function": {"name": "weather", "parameters": {}}}]'
    config = http_config(tool_call_parser="hermes")
    with faked(client, config) as url, visiting(browser, url) as visit:
        page = visit.open()
        page.get_by_label("Options", exact=True).first.click()
        page.get_by_label("Tools").fill(tools)
        page.locator("#prompt").fill("How is the weather?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_be_visible()
        expect(page.locator(".answer > .prose")).to_have_text("Let me see.")
        expect(page.get_by_text("The masks laugh.", exact=True)).to_be_hidden()
        page.get_by_text("Reasoning", exact=True).click()
        expect(page.get_by_text("The masks laugh.", exact=True)).to_be_visible()
        page.get_by_text("Calls weather").click()
        expect(page.locator(".fold pre")).to_contain_text('"place": "Athens"')
        visit.assert_accessible()


def test_an_error_is_shown_with_its_part(browser: Browser) -> None:
    client = FakeClient()
    client.refusal = Failure(
        "invalid_request", "The picture is upside down.", part="messages[0].content[0]", code="odd"
    )
    with faked(client) as url, visiting(browser, url, errors=True) as visit:
        page = visit.open()
        page.locator("#prompt").fill("Look")
        page.keyboard.press("Enter")
        error = page.locator(".answer .error")
        expect(error).to_contain_text("The picture is upside down.")
        expect(error).to_contain_text("messages[0].content[0]")
        expect(error).to_contain_text("odd · status 400")
        visit.assert_accessible()
        client.refusal, client.fail_after = None, 2
        page.get_by_role("button", name="Regenerate").click()
        expect(error).to_contain_text("A part was restarted.")  # and what came before stays
        expect(page.locator(".answer .prose")).to_have_text("a red")


def test_a_key_is_asked_for_and_kept_in_the_tab_alone(browser: Browser) -> None:
    config = http_config(api_key=("secret",))
    with faked(FakeClient(), config) as url, visiting(browser, url, errors=True) as visit:
        page = visit.open()
        expect(page.get_by_text("This server asks for an API key.")).to_be_visible()
        visit.assert_accessible()
        page.get_by_label("API key").last.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That key was not accepted.")).to_be_visible()
        page.get_by_label("API key").last.fill("secret")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_text("fake-model")
        page.locator("#prompt").fill("Look")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .prose")).to_have_text("a red circle é!")
        page.get_by_role("button", name="As code").click()
        expect(page.locator("#snippet")).to_contain_text("Bearer $THESPIS_API_KEY")
        page.keyboard.press("Escape")
        page.reload()
        expect(page.locator(".answer .prose")).to_have_text("a red circle é!")
        assert page.evaluate("JSON.stringify(localStorage)").count("secret") == 0
        assert page.evaluate("JSON.stringify(sessionStorage)").count("secret") == 1
        assert page.context.cookies() == []


KEPT = """async () => {
    const db = await new Promise((resolve) => {
        const asked = indexedDB.open("thespis-playground", 1);
        asked.onsuccess = () => resolve(asked.result);
    });
    const count = (store) => new Promise((resolve) => {
        const asked = db.transaction(store).objectStore(store).count();
        asked.onsuccess = () => resolve(asked.result);
    });
    const told = [await count("conversations"), await count("media")];
    db.close();
    return told;
}"""


def kept(page: Page) -> Any:
    """Conversations and media in the browser."""
    page.wait_for_timeout(200)
    return page.evaluate(KEPT)


def test_what_is_deleted_while_its_answer_comes_is_gone(browser: Browser) -> None:
    client = FakeClient()
    client.words, client.pace = [f"word{n} " for n in range(500)], 0.02
    with faked(client) as url, visiting(browser, url) as visit:
        page = visit.open()
        page.locator("#prompt").fill("A secret")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .prose")).to_contain_text("word3")
        page.get_by_role("button", name="Delete A secret").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(page.locator(".welcome")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        for _ in range(200):  # the server hears of it a moment later
            if client.cancelled:
                break
            page.wait_for_timeout(50)
        assert client.cancelled == ["r1"]
        assert kept(page) == [0, 0]
        page.reload()
        expect(page.locator(".welcome")).to_be_visible()


def test_media_go_with_the_turns_that_had_them(browser: Browser) -> None:
    file = io.BytesIO()
    Image.new("RGB", (40, 30)).save(file, "PNG")
    images = PlaceholderFacts(token="<i>", text="<i>", embed_token="<i>", embed_token_id=9)
    config = http_config(msgspec.structs.replace(MODEL, placeholders={"image": images}))
    with faked(FakeClient(), config) as url, visiting(browser, url, errors=True) as visit:
        page = visit.open()
        for number in (1, 2):
            visit.give(DROP, f"{number}.png", "image/png", file.getvalue())
            expect(page.locator("#tray li")).to_have_count(1)
            page.locator("#prompt").fill(f"What is that, {number}?")
            page.keyboard.press("Enter")
            expect(page.locator(".answer .deeds")).to_have_count(number)
        assert kept(page) == [1, 2]
        page.get_by_role("button", name="Edit").last.click()
        page.get_by_role("button", name="Regenerate").first.click()
        expect(page.locator(".answer .deeds")).to_have_count(1)
        expect(page.locator("#editing")).to_be_hidden()  # what was edited is no longer there
        assert kept(page) == [1, 1]
        page.locator("#prompt").fill("And now?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_have_count(2)
        page.get_by_role("button", name="Edit").first.click()
        page.get_by_role("button", name="Take out 1.png").click()
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_have_count(1)
        assert kept(page) == [1, 0]


@pytest.mark.parametrize("text", [">" * 3000, "- " * 3000, "*a **b " * 2000, "[" * 5000])
def test_an_answer_that_goes_deep_is_shown_and_ends(browser: Browser, text: str) -> None:
    client = FakeClient()
    client.words = ["Look: \n\n", text]
    with faked(client) as url, visiting(browser, url) as visit:
        page = visit.open()
        page.locator("#prompt").fill("Go on")
        page.keyboard.press("Enter")
        expect(page.locator(".answer .deeds")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        page.reload()
        expect(page.locator(".answer .prose")).to_contain_text("Look:")


def test_a_key_may_have_any_letters(browser: Browser) -> None:
    config = http_config(api_key=("κλειδί é",))
    with faked(FakeClient(), config) as url, visiting(browser, url, errors=True) as visit:
        page = visit.open()
        page.get_by_label("API key").last.fill("κλειδί é")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_text("fake-model")
        page.goto(f"{url}/live-view")
        expect(page.get_by_label("asks for a key")).to_be_focused()
        page.keyboard.type("κλειδί é")
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_text("fake-model")


def test_a_list_that_was_told_of_one_thing_twice_keeps_no_ghost(browser: Browser) -> None:
    told = """async () => {
        const { element, keep } = await import("/live-view/dom.js");
        const list = element("ul");
        const counts = [["a"], ["a", "a", "b"], ["b", "a"], []].map((data) => {
            keep(list, data, (one) => one, () => element("li"), () => {});
            return list.children.length;
        });
        return counts;
    }"""
    with faked(FakeClient()) as url, visiting(browser, url) as visit:
        assert visit.open().evaluate(told) == [1, 3, 2, 0]


@pytest.mark.parametrize("path", ["/", "/live-view"])
def test_below_the_path_of_a_proxy_the_pages_ask_for_nothing_beside_it(
    browser: Browser, path: str
) -> None:
    config = http_config(root_path="/llm")
    with faked(FakeClient(), config) as url, visiting(browser, f"{url}/llm") as visit:
        visit.page.goto(f"{url}/llm{path}")
        expect(visit.page.locator("#model")).to_have_text("fake-model")
