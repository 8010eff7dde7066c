"""Processes that work on what one caller sent leave the processor to those that every stream
passes."""

import os
import subprocess
import sys


def test_they_are_nicer_than_the_process_that_made_them() -> None:
    code = (
        "import os; from thespis.actors.kernel.launch import give_way; give_way(); "
        "print(os.nice(0))"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert int(said) == min(19, os.nice(0) + 10)
