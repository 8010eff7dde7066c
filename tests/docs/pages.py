"""The pages, and how their code joins the engine that runs."""

import json
import re
from pathlib import Path

from ..helpers.serving import Server

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"
STARTS = (
    "LLM()",
    "LLM(enable_mm_embeds=True, enable_prompt_embeds=True)",
    "LLM(enforce_eager=True, trust_remote_code=True)",
    "LLM(allowed_local_media_path=str(media))",
)
"""Of engines that the running one is like."""


def beside(code: str, server: Server) -> str:
    """The code, with the engine that runs already in place of one that would be started."""
    for start in STARTS:
        code = code.replace(start, f"LLM(run_dir={str(server.run_dir)!r})")
    return code.replace(ADDRESS, server.url)


def readme() -> tuple[str, str]:
    """Its Python, which names the bundled picture from the checkout, and what that should print: it asks a bundled question."""
    found = BLOCK.search((ROOT / "README.md").read_text())
    assert found, "the README shows no Python"
    lines = found[1]
    examples = json.loads((ROOT / "demo_model/media/examples.json").read_text())
    (right,) = {str(e["answer"]) for e in examples if e["file"] in lines and e["question"] in lines}
    return lines, right
