"""Memory and CPU time as the kernel counts them, against psutil."""

import os

import psutil
import pytest

from thespis.actors.director.usage import measured
from thespis.protocol.edges.view import Incarnation

ONE = Incarnation("ready", 3, 2)


def test_a_process_is_measured_as_psutil_does() -> None:
    while psutil.Process().cpu_times().user < 0.05:
        sum(range(10**5))
    used, memory = psutil.Process().cpu_times(), psutil.Process().memory_info()
    found = measured(ONE, os.getpid())
    assert (found.state, found.epoch, found.restarts, found.pid) == ("ready", 3, 2, os.getpid())
    assert found.cpu_seconds == pytest.approx(used.user + used.system, abs=0.1)
    assert found.own_bytes + found.shared_bytes == pytest.approx(memory.rss, rel=0.05)
    assert found.shared_bytes == pytest.approx(memory.shared, rel=0.05)


def test_who_is_not_there_is_not_measured() -> None:
    assert measured(ONE, None) is ONE
    gone = measured(ONE, 2**22 + 1)  # beyond any pid
    assert (gone.pid, gone.cpu_seconds, gone.own_bytes) == (2**22 + 1, 0.0, 0)
