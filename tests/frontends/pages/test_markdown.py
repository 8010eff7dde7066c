"""The playground's Markdown: what it costs grows as the text does, whatever stands in it, and long
texts look as short ones do."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from ..openai.fake import FakeClient
from .browsing import faked, visiting

pytestmark = pytest.mark.process

HOSTILE = {
    "blanks": '" ".repeat(n)',
    "blanks within": '"x" + " ".repeat(n) + "x"',
    "lines of blanks": '(" ".repeat(99) + "\\n").repeat(n / 100)',
    "underscores": '"_a".repeat(n / 2)',
    "closing underscores": '"._".repeat(n / 2)',
    "asterisks": '"*a **b ".repeat(n / 7)',
    "open asterisks": '"**a".repeat(n / 3)',
    "brackets": '"[".repeat(n)',
    "closed brackets": '"[]".repeat(n / 2)',
    "open links": '"[a](".repeat(n / 4)',
    "a link of blanks": '"[a](" + " ".repeat(n)',
    "definitions": '"[a]: " + " ".repeat(n)',
    "pictures": '"![".repeat(n / 2)',
    "backticks": 'Array.from({length: Math.sqrt(2 * n)}, (_, i) => "`".repeat(i)).join(" ")',
    "code that ends early": '"```\\n```~\\n" + "_a".repeat(n / 2)',
    "code of a list": '"- ```\\n" + "_a".repeat(n / 2)',
    "pipes": '"|".repeat(n)',
    "rows that are no table": '"|_a_a_a_a_a\\n".repeat(n / 12)',
    "a table": '"|a|b|\\n|-|-|\\n" + "|_x|y|\\n".repeat(n / 7)',
    "a wide table": '"|a".repeat(n / 4) + "|\\n" + "|-".repeat(n / 4) + "|\\n"',
    "quotes": '">".repeat(n)',
    "nested quotes": """
        Array.from({length: Math.sqrt(2 * n)}, (_, i) => ">".repeat(i) + "a").join("\\n")""",
    "lists": '"- ".repeat(n / 2)',
    "a list": '"- _a\\n".repeat(n / 5)',
    "addresses": '"a@".repeat(n / 2)',
    "a long word": '"a".repeat(n) + "@"',
    "tags": '"<a " + " ".repeat(n)',
    "tildes": '"~~a ".repeat(n / 4)',
}
"""Expressions of JavaScript: texts of `n` characters."""
SIZES = (6_000, 48_000)
TIME = """async (n) => {
    const { rendered } = await import("/playground/markdown.js");
    const text = %s;
    let best = Infinity;
    for (let turn = 0; turn < 2; turn += 1) {
        const began = performance.now();
        rendered(text);
        best = Math.min(best, performance.now() - began);
        if (best > 1000) break;
    }
    return best;
}"""
SHAPE = """async (text) => {
    const { rendered } = await import("/playground/markdown.js");
    const node = document.createElement("div");
    node.append(...rendered(text));
    const tags = ["h3", "strong", "em", "a", "li", "pre", "td", "th", "blockquote"];
    const count = (tag) => [tag, node.querySelectorAll(tag).length];
    const codes = [...node.querySelectorAll("pre")].map((one) => one.textContent);
    return [Object.fromEntries(tags.map(count)), node.textContent, codes];
}"""
PART = """\
# Of masks

Some **bold** words, *slanted* ones and [a link](https://example.org), a line
that goes on.

1. one **thing**
   - within it

   and its own paragraph:
   ```python
   def f():

       return "*not slanted*"
   ```
2. another

> quoted *words*

| left | right |
| --- | --- |
| *a* | b |

"""
CODE = "\n\n".join(["no *mark* here"] * 300)


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with faked(FakeClient()) as url, visiting(browser, url) as visit:
        yield visit.open()


def test_what_a_text_costs_grows_as_it_does(page: Page) -> None:
    """A length eight times as large would cost 64 times as much; a busy machine is asked again."""
    costly = {}
    for name, text in HOSTILE.items():
        small = large = float("inf")
        for _ in range(20):
            small, large = (
                min(before, page.evaluate(TIME % text, size))
                for before, size in zip((small, large), SIZES, strict=True)
            )
            if large <= 32 * max(small, 5.0):
                break
        else:
            costly[name] = (round(small), round(large))
    assert costly == {}


def test_a_long_text_looks_as_its_parts_do(page: Page) -> None:
    counts, text, codes = page.evaluate(SHAPE, PART)
    many, whole, all_codes = page.evaluate(SHAPE, PART * 40)
    assert many == {tag: 40 * count for tag, count in counts.items()}
    assert "".join(whole.split()) == "".join(text.split()) * 40
    assert all_codes == codes * 40
    assert counts["pre"] == 1


def test_long_code_is_code_to_its_end(page: Page) -> None:
    counts, _, codes = page.evaluate(SHAPE, f"Look:\n```text\n{CODE}\n```\nAnd **then**.\n")
    assert (counts["pre"], counts["strong"], counts["em"]) == (1, 1, 0)
    assert codes == [CODE]


def test_a_long_table_has_its_head_and_every_row(page: Page) -> None:
    rows = "".join(f"| {number} | *x* |\n" for number in range(500))
    counts, text, _ = page.evaluate(SHAPE, f"| number | what |\n| --- | --- |\n{rows}")
    assert (counts["td"], counts["em"]) == (1000, 500)
    assert "499" in text


def test_nothing_of_a_text_is_lost(page: Page) -> None:
    words = [f"word{number}" for number in range(20_000)]
    for between in (" ", "\n", "\n\n"):
        shown = page.evaluate(SHAPE, between.join(words))[1]
        assert "".join(shown.split()) == "".join(words)
