"""The README's six lines, as a reader would use them: pasted into a REPL and in a notebook, beside
the engine that runs. In a script, which starts one: `tests/reliability/test_leaks.py`."""

import asyncio
import subprocess
import sys
from typing import Any

import nbclient
import nbformat
import pytest

from ..helpers.serving import Server
from .pages import ROOT, beside, readme

pytestmark = pytest.mark.process

LINES, ANSWER = readme()


def test_they_are_about_six() -> None:
    assert len([line for line in LINES.splitlines() if line.strip()]) <= 8


def test_pasted_into_a_repl(demo: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=beside(LINES, demo),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert "Error" not in done.stderr, done.stderr
    assert ANSWER in done.stdout.splitlines(), done


@pytest.mark.filterwarnings("default")  # the notebook machinery's own
def test_in_a_notebook(demo: Server) -> None:
    """Where a loop of asyncio runs already."""
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(beside(LINES, demo))])
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    asyncio.run(client.async_execute())
    shown = "".join(
        part.get("text", "") for part in notebook.cells[0].outputs if part.get("name") == "stdout"
    )
    assert ANSWER in shown.splitlines()
