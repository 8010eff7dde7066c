"""The Python of README.md and of the pages in docs/, and how it joins the engine that runs."""

import ast
import json
import re
from pathlib import Path

from ..helpers.serving import FOR_PAGES, Server

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


def beside(code: str, server: Server) -> str:
    """The code, with the engine that runs already in place of one that would be started; line by
    line the same."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for call in ast.walk(compile(code, "page", "exec", flags=flags)):
        match call:
            case ast.Call(func=ast.Name(id="LLM" | "AsyncLLM" as face), args=[], keywords=options):
                if {option.arg for option in options} <= FOR_PAGES.keys():
                    given = ast.get_source_segment(code, call) or ""
                    lines = "\n" * given.count("\n")
                    joined = f"{face}(run_dir={str(server.run_dir)!r}{lines})"
                    code = code.replace(given, joined)
    return code.replace(ADDRESS, server.url)


def readme() -> tuple[str, str]:
    """Its Python, which names the bundled picture from the checkout, and what that should print: it
    asks one of the bundled questions about its file."""
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found, "the README shows no Python"
    lines = found[1]
    examples = json.loads((ROOT / "demo_model/media/examples.json").read_text())
    (right,) = {str(e["answer"]) for e in examples if e["file"] in lines and e["question"] in lines}
    return lines, right
