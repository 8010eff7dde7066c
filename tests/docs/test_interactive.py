"""The README's six lines pasted into a REPL and in a notebook, beside the engine that runs."""

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


def test_pasted_into_a_repl(server: Server) -> None:
    lines, answer = readme()
    typed = beside(lines, server)
    done = subprocess.run([sys.executable, "-i", "-q"], input=typed, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert "Error" not in done.stderr, done.stderr
    assert answer in done.stdout.splitlines(), done


@pytest.mark.filterwarnings("default")  # the notebook machinery's own
def test_in_a_notebook(server: Server) -> None:
    """Where a loop of asyncio runs already."""
    lines, answer = readme()
    make: Any = nbformat.v4
    notebook = make.new_notebook(cells=[make.new_code_cell(beside(lines, server))])
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    asyncio.run(client.async_execute())
    shown = "".join(part.get("text", "") for part in notebook.cells[0].outputs if part.get("name") == "stdout")
    assert answer in shown.splitlines()
