"""The README's six lines in a script, which starts an engine and ends. In a REPL, in a notebook: docs/test_interactive.py."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..docs.pages import ROOT, readme
from ..helpers.leaks import left_behind, settle

pytestmark = pytest.mark.process


def test_they_are_about_six() -> None:
    lines, _ = readme()
    assert len([line for line in lines.splitlines() if line.strip()]) <= 8


def test_S11_in_a_script_without_a_main_guard_that_just_ends(tmp_path: Path) -> None:
    lines, answer = readme()
    script = tmp_path / "script.py"
    script.write_text(lines)
    began = time.time()
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
    assert done.stdout.splitlines()[-1] == answer
    assert not settle(lambda: left_behind(began, idle=True))
