"""The README's six lines, as a reader would use them: pasted into a REPL, in a script, in a
notebook."""

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from ..helpers.leaks import left_behind, settle

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]
"""The reader's working directory: the lines name the bundled picture from there."""
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def lines() -> str:
    found = PYTHON_BLOCK.search((ROOT / "README.md").read_text())
    assert found, "the README shows no Python"
    return found[1]


@pytest.fixture(scope="module")
def answer(lines: str) -> str:
    """What is right: the README asks one of the bundled questions about its file."""
    examples = json.loads((ROOT / "demo_model/media/examples.json").read_text())
    (right,) = {e["answer"] for e in examples if e["file"] in lines and e["question"] in lines}
    return str(right)


def run(arguments: list[str], typed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )


def test_they_are_about_six(lines: str) -> None:
    assert len([line for line in lines.splitlines() if line.strip()]) <= 8


def test_pasted_into_a_repl(lines: str, answer: str) -> None:
    done = run(["-i", "-q"], lines)
    assert "Error" not in done.stderr, done.stderr
    assert answer in done.stdout.splitlines(), done


def test_S11_in_a_script_without_a_main_guard_that_just_ends(
    lines: str, answer: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(lines)
    began = time.time()
    done = run([str(script)])
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
    assert done.stdout.splitlines()[-1] == answer
    assert not settle(lambda: left_behind(began, idle=True))


@pytest.mark.filterwarnings("default")  # the notebook machinery's own
def test_in_a_notebook(lines: str, answer: str) -> None:
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(lines)])
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    asyncio.run(client.async_execute())
    shown = "".join(
        part.get("text", "") for part in notebook.cells[0].outputs if part.get("name") == "stdout"
    )
    assert answer in shown.splitlines()
