"""`thespis serve`: comes up on the bundled model, shows its roles, goes in order. The figures:
`thespis bench start`.

How it goes needs no torch.
"""

import signal
import time
from collections.abc import Iterator

import pytest

from thespis.frontends.cli.bench.start import measure

from ..helpers.commands import ServeCommand, command
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
def server() -> Iterator[ServeCommand]:
    started = ServeCommand(torchless=True)
    yield started
    if started.process.poll() is None:
        started.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_ends_it_and_all_of_its_engine(
    server: ServeCommand, number: signal.Signals, code: int
) -> None:
    assert server.end(number) == code
    assert not settle(lambda: left_behind(time.time() - 60, idle=True))


def test_its_start_is_measured_and_every_role_is_a_process_that_says_what_it_is() -> None:
    """A bound of function, far from the target: the machine may be busy."""
    start = measure(command("serve", "--port", "0", torchless=True))
    assert start.seconds < 60
    assert 0 < start.pss_mb < 2000
    assert {title for title, held in start.processes.items() if held > 0} >= TITLES
