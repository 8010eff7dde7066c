"""The examples of docs/structured_output.md, run as they stand."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..helpers.serving import served

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/structured_output.md").read_text(), re.MULTILINE | re.DOTALL)


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_S51_the_example_in_python() -> None:
    said = json.loads("\n".join(run(BLOCKS[0])))
    assert said["colour"] in ("red", "green", "blue")
    assert isinstance(said["sure"], bool)


def test_S51_S52_the_example_over_http() -> None:
    with served() as server:
        clouds, *arguments = run(BLOCKS[1].replace("http://127.0.0.1:8000", server.url))
    assert 0 <= int(clouds) <= 9
    assert json.loads("\n".join(arguments))["what"] in ("rain", "sun")
