"""The examples of README.md and of the pages in docs/ run: the Python of a page in order, in one
namespace, beside one running engine, and the shell commands by themselves.

`LLM()` and `AsyncLLM()` join that engine instead of starting their own, also with options that it
was started with, and the address of the pages' server is that engine's. Everything else runs as it
stands, in a folder that holds the bundled model.
"""

import ast
import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from thespis import LLM

from ..helpers.serving import Server
from .pages import ADDRESS, BLOCK, ROOT, beside

pytestmark = [
    pytest.mark.process,
    # Of litellm's own types, when its first call reads them.
    pytest.mark.filterwarnings(
        "ignore:Items? .* on TypedDict class .* using the `ReadOnly` qualifier:UserWarning"
    ),
]

SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [str(page.relative_to(ROOT)) for page in FILES if BLOCK.search(page.read_text())]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader stands: in a checkout, as far as the examples look at it."""
    (tmp_path / "demo_model").symlink_to(ROOT / "demo_model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_pages() -> None:
    assert {"README.md", "docs/offline.md", "docs/images.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(
    page: str, demo: Server, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    said: list[str] = []
    text = (ROOT / page).read_text()
    with asyncio.Runner() as runner:
        try:
            for found in BLOCK.finditer(text):
                line = text[: found.start(1)].count("\n")
                run_block("\n" * line + beside(found[1], demo), page, names, runner)
                said.append(capsys.readouterr().out)
        finally:
            for value in names.values():
                if isinstance(value, LLM | openai.OpenAI | anthropic.Anthropic):
                    value.close()
                if isinstance(value, ollama.Client):
                    value._client.close()
            if "litellm" in names:  # it keeps its clients for later calls
                for client in names["litellm"].in_memory_llm_clients_cache.cache_dict.values():
                    if isinstance(client, openai.OpenAI):
                        client.close()
    if page == "docs/structured_output.md":
        assert_guided(*said)


def assert_guided(in_python: str, over_http: str) -> None:
    """S51 and S52: what is printed is what the page's schemas allow."""
    sky = json.loads(in_python)
    assert sky["colour"] in ("red", "green", "blue")
    assert isinstance(sky["sure"], bool)
    clouds, arguments = over_http.split("\n", 1)
    assert 0 <= int(clouds) <= 9
    assert json.loads(arguments)["what"] in ("rain", "sun")


def test_the_readmes_request_is_answered(demo: Server, folder: Path) -> None:
    (command,) = SHELL.findall((ROOT / "README.md").read_text())
    done = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, demo.url)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "left of the blue square"


def run_block(code: str, page: str, names: dict[str, Any], runner: asyncio.Runner) -> None:
    """Line numbers in a traceback are the page's. `await` may stand outside a function, as in a
    notebook."""
    compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    outcome = eval(compiled, names)
    if outcome is not None:
        runner.run(outcome)
