"""However a program with an engine ends, nothing of the engine stays: no process, no run directory,
no shared memory."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from ..docs.pages import ROOT, readme
from ..helpers.checkpoints import Checkpoints
from ..helpers.leaks import left_behind, settle
from ..helpers.torchless import PRELUDE

pytestmark = pytest.mark.process

PROGRAM = """
import sys
from PIL import Image
from thespis import LLM, SamplingParams
picture = Image.new("RGB", (56, 56), "red")
prompt = {"prompt": "<image> what?", "multi_modal_data": {"image": [picture]}}
prompt = prompt if sys.argv[1] else "what?"
llm = LLM(sys.argv[1], max_model_len=512)
llm.generate(prompt, SamplingParams(max_tokens=2), use_tqdm=False)
print("answered", flush=True)
"""
GO_ON = (
    "llm.generate([prompt] * 2000, SamplingParams(max_tokens=400, ignore_eos=True), "
    "use_tqdm=False)\n"
)


@pytest.fixture
def program(checkpoints: Checkpoints) -> Iterator["Program"]:
    running = Program(str(checkpoints("llava")))
    yield running
    running.end()


@pytest.fixture
def light_program() -> Iterator["Program"]:
    """Its engine has no torch."""
    running = Program("", PRELUDE)
    yield running
    running.end()


class Program:
    """A user's program in a process of its own, up to the line it prints when its engine has
    answered once."""

    def __init__(self, model: str, prelude: str = "") -> None:
        self._model, self._prelude = model, prelude
        self.began = time.time()
        self._process: subprocess.Popen[str] | None = None

    def run(self, rest: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-P", "-c", self._prelude + PROGRAM + rest, self._model]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise AssertionError(_text(self._process.stderr))
        return self._process

    def assert_nothing_left(self) -> None:
        left = settle(lambda: left_behind(self.began, idle=True))
        assert not left

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


def director_of(process: "subprocess.Popen[str]") -> psutil.Process:
    (director,) = [
        c for c in psutil.Process(process.pid).children() if "director" in " ".join(c.cmdline())
    ]
    return director


def test_S11_a_script_without_a_main_guard_that_just_ends(tmp_path: Path) -> None:
    """The README's six lines."""
    lines, answer = readme()
    script = tmp_path / "script.py"
    script.write_text(lines)
    began = time.time()
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr
    assert done.stdout.splitlines()[-1] == answer
    assert not settle(lambda: left_behind(began, idle=True))


def test_a_program_that_raises(light_program: Program) -> None:
    process = light_program.run("raise KeyError('its own fault')")
    assert process.wait(30) == 1
    assert "its own fault" in _text(process.stderr)
    light_program.assert_nothing_left()


def test_ctrl_c_in_the_middle_of_the_work(light_program: Program) -> None:
    process = light_program.run(GO_ON)
    time.sleep(0.5)  # let the work begin; whether it has is no condition
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (1, -signal.SIGINT)
    assert "KeyboardInterrupt" in _text(process.stderr)
    light_program.assert_nothing_left()


def test_kill_9_of_the_program(program: Program) -> None:
    process = program.run(GO_ON)
    process.kill()
    process.wait(30)
    program.assert_nothing_left()


def test_kill_9_of_the_director(light_program: Program) -> None:
    process = light_program.run(GO_ON)
    director_of(process).kill()
    assert process.wait(30) == 1
    assert _text(process.stderr).rstrip().endswith("The engine has ended.")
    light_program.assert_nothing_left()


def test_os_exit_of_the_program(light_program: Program) -> None:
    process = light_program.run("import os; os._exit(7)")
    assert process.wait(30) == 7
    light_program.assert_nothing_left()


def _text(stream: IO[str] | None) -> str:
    assert stream is not None
    os.set_blocking(stream.fileno(), True)
    return stream.read()
