"""S75: what a real model says too seldom: markup, calls, thoughts, errors; and keys."""

import pytest
from playwright.sync_api import Browser, expect

from thespis.protocol.errors import Failure

from ..openai.fake import FakeClient, http_config
from .browsing import faked, visiting

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
