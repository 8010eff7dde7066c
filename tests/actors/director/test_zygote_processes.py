"""The real zygote, with a tiny module in the place of torch."""

import os
import signal
from collections.abc import Callable

import pytest

from thespis.frontends.engine import EngineHandle
from thespis.protocol.edges.control import Gone, Status

from ...helpers.engines import Spectator, processes_of

StartEngine = Callable[..., EngineHandle]
pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
FORKED = {"gpu-runner": "forked", "encoder-cache": "forked"}


@pytest.fixture
def engine(start: StartEngine) -> EngineHandle:
    return start(FORKED, forked=("gpu-runner", "encoder-cache"), preload=("no_such_module", "ahead"))


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def test_forked_processes_share_the_imports_and_belong_to_the_director(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        peers = spectator.peers(gpu_runner=1, encoder_cache=1).peers
        pids = spectator.status().pids
    runner, encoder = peers["gpu-runner"], peers["encoder-cache"]
    assert runner.notes["zygote"] == encoder.notes["zygote"] == pids["zygote"], "the module was loaded once, ahead"
    assert parent_of(runner.pid) == parent_of(encoder.pid) == engine.process.pid
    assert runner.notes["draw"] != encoder.notes["draw"], "each has random numbers of its own"
    assert runner.notes["stdin_is_null"]
    titles = processes_of(engine.process.pid)
    assert titles[runner.pid] == "thespis gpu-runner"
    assert titles[pids["zygote"]] == "thespis zygote"


def test_the_zygote_may_die_without_its_children(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        before = spectator.status()
        os.kill(before.pids["zygote"], signal.SIGKILL)
        after = before
        while after.restarts["zygote"] == 0:
            after = spectator.status()
        assert after.pids["gpu-runner"] == before.pids["gpu-runner"]
        os.kill(after.pids["gpu-runner"], signal.SIGKILL)
        spectator.wait(lambda message: message == Gone("gpu-runner", 1, True))
        runner = spectator.peers(gpu_runner=2).peers["gpu-runner"]
        assert runner.notes["zygote"] == spectator.status().pids["zygote"] != before.pids["zygote"]


def test_zygote_and_child_may_die_together(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        for role in ("zygote", "gpu-runner", "encoder-cache"):
            os.kill(pids[role], signal.SIGKILL)
        spectator.peers(gpu_runner=2, encoder_cache=2)
        assert isinstance(spectator.status(), Status)


def test_a_stopped_zygote_is_replaced_when_it_is_needed(start: StartEngine) -> None:
    engine = start(FORKED, forked=("gpu-runner",), preload=("ahead",), lease_seconds=2.0)
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        os.kill(pids["zygote"], signal.SIGSTOP)
        os.kill(pids["gpu-runner"], signal.SIGKILL)
        runner = spectator.peers(gpu_runner=2).peers["gpu-runner"]
        assert runner.notes["zygote"] != pids["zygote"]


def test_a_killed_director_takes_forked_processes_with_it(engine: EngineHandle) -> None:
    engine.process.kill()  # the fixture looks for what is left
