"""How far a start is, read from the log's lines and shown at a terminal alone."""

import io
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thespis.actors.kernel.logs import formatter_of
from thespis.frontends.cli.bench.report import progress
from thespis.frontends.hub.choice import HubFile
from thespis.frontends.hub.meter import Meter
from thespis.frontends.python.progress import ProgressBar
from thespis.frontends.start_bar import Weights, start_bar
from thespis.gpu_runtime.weights.progress import EVERY_SECONDS, MIB, Progress
from thespis.protocol.config.logs import LogFormat

RUNNER = "2026-11-29 23:49:20,000 INFO gpu-runner.1 "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_lines_of_those_who_read_weights_add_up() -> None:
    weights = Weights()
    weights.read(f"{RUNNER}weights: 25 %, 10 of 40 MiB, after 3 s\n{RUNNER}weights: 50 %, 20 o")
    assert (weights.done, weights.total) == (10, 40)
    weights.read("f 40 MiB, after 6 s\nx INFO encoder-cache.1 weights: 10 %, 1 of 10 MiB, after\n")
    assert (weights.done, weights.total) == (21, 50)
    weights.read(f"{RUNNER}weights: all are read, 40.0 MiB in 9.0 s\n")
    assert (weights.done, weights.total) == (41, 50)


def test_small_weights_and_other_lines_are_no_part() -> None:
    weights = Weights()
    weights.read(f"{RUNNER}weights: all are read, 3.5 MiB in 0.1 s\nanything: 5 %\n" + "x" * 10_000)
    assert (weights.done, weights.total) == (0, 0)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_the_runner_says_is_understood(
    form: LogFormat, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    progress = Progress(40 * MIB, lambda: now)
    with caplog.at_level(logging.INFO):
        now = EVERY_SECONDS
        progress.add(10 * MIB)
    (record,) = caplog.records
    weights = Weights()
    weights.read(formatter_of(form, "gpu-runner", 1).format(record) + "\n")
    assert (weights.done, weights.total) == (10, 40)


def test_a_terminal_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, log = Terminal(), tmp_path / "engine.log"
    log.write_text(f"{RUNNER}weights: 25 %, 10 of 40 MiB, after 3 s\n")
    monkeypatch.setattr(sys, "stderr", terminal)
    with start_bar(log):
        deadline = time.monotonic() + 10
        while "10/40 MiB" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert " 25%|" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")  # nothing of it stays


def test_others_see_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with start_bar(tmp_path / "is not even opened"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with start_bar(None):  # the log itself is at the terminal
        pass
    assert terminal.getvalue() == ""


def a_benchmark() -> None:
    with progress(2, "rounds") as bar:
        bar.update()


def a_batch() -> None:
    with ProgressBar(2, shown=True) as bar:
        bar.add(tokens=7)


def a_fetch() -> None:
    with Meter("a/model", "/cache", [HubFile("config.json", 2, "")]) as meter:
        meter.add(2)


@pytest.mark.parametrize("wait", [a_benchmark, a_batch, a_fetch])
def test_whatever_is_waited_for_has_a_bar_at_a_terminal_and_none_in_a_log(
    wait: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wait()
    assert not set(capsys.readouterr().err) & set("\r|%")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    wait()
    assert "%|" in terminal.getvalue()
