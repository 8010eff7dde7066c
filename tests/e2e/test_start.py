"""`thespis serve`: comes up on the bundled model, shows its roles, goes in order. The figures: `thespis bench start`."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from thespis.frontends.cli.bench.start import measure

from ..helpers.leaks import left_behind, settle

pytestmark = pytest.mark.process

TITLES = {
    "thespis director",
    "thespis zygote",
    "thespis fetcher",
    "thespis preprocessor",
    "thespis decode-worker",
    "thespis encoder-cache",
    "thespis scheduler",
    "thespis gpu-runner",
    "thespis detokenizer",
    "thespis http",
}


@pytest.fixture
def server() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-P", "-m", "thespis", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    announced = process.stdout.readline()
    assert re.search(r"http://127\.0\.0\.1:\d+/v1", announced), process.communicate()
    yield process
    process.kill()
    process.communicate()


def test_every_role_is_a_process_that_says_what_it_is(server: "subprocess.Popen[str]") -> None:
    titles = {" ".join(child.cmdline()).strip() for child in psutil.Process(server.pid).children(recursive=True)}
    assert titles >= TITLES, TITLES - titles


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(server: "subprocess.Popen[str]", number: signal.Signals) -> None:
    server.send_signal(number)
    assert server.wait(30) == 0
    assert not settle(lambda: left_behind(time.time() - 60, idle=True))


def test_kill_9_ends_it_too(server: "subprocess.Popen[str]") -> None:
    server.kill()
    server.wait(30)
    assert not settle(lambda: left_behind(time.time() - 60, idle=True))


def test_its_start_is_measured() -> None:
    """A bound of function, far from the target: the machine may be busy."""
    start = measure(["--port", "0"])
    assert start.seconds < 60
    assert 0 < start.pss_mb < 2000
    assert {title for title, held in start.processes.items() if held > 0} >= TITLES
