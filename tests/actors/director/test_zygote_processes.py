"""The real zygote, with a tiny module in the place of torch."""

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from thespis.frontends.engine import EngineHandle
from thespis.protocol.edges.control import Peers

from ...helpers.engines import Spectator, processes_of, without_files

StartEngine = Callable[..., EngineHandle]
pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
FORKED = {"gpu-runner": "forked", "encoder-cache": "forked"}


@pytest.fixture
def engine(start: StartEngine) -> EngineHandle:
    return start(FORKED, preload=("no_such_module", "ahead", "plain"))


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def test_forked_processes_share_the_imports_and_belong_to_the_director(
    engine: EngineHandle,
) -> None:
    with Spectator(engine.run_dir) as spectator:
        peers = spectator.peers(gpu_runner=1, encoder_cache=1).peers
        pids = spectator.status().pids
    runner, encoder = peers["gpu-runner"], peers["encoder-cache"]
    assert runner.notes["zygote"] == encoder.notes["zygote"] == pids["zygote"], (
        "the module was loaded once, ahead"
    )
    assert parent_of(runner.pid) == parent_of(encoder.pid) == engine.process.pid
    assert runner.notes["draw"] != encoder.notes["draw"], "each has random numbers of its own"
    assert runner.notes["stdin_is_null"]
    titles = processes_of(engine.process.pid)
    assert titles[runner.pid] == "thespis gpu-runner"
    assert titles[pids["zygote"]] == "thespis zygote"


def test_where_processors_are_few_the_others_leave_one_to_the_zygote(start: StartEngine) -> None:
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_of_them)})
    try:
        engine = start(FORKED, forked=("gpu-runner", "encoder-cache"), preload=("ahead",))
    finally:
        os.sched_setaffinity(0, all_of_them)
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
    own = ("fetcher", "preprocessor", "scheduler", "detokenizer")
    first, second, *_ = sorted(psutil.Process(pids[role]).create_time() for role in own)
    assert second - first >= 0.05, "somebody has imported all before the second one is made"


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def told(spectator: Spectator, role: str) -> list[tuple[int, str, str]]:
    """What those who watch hear of it."""
    return [(one.epoch, one.what, one.why) for one in spectator.live().happened if one.role == role]


def standby_of(engine: EngineHandle, other_than: int = 0) -> int:
    """Its pid, once it is there."""
    while True:
        for pid, title in processes_of(engine.process.pid).items():
            if title == "thespis zygote-standby" and pid != other_than:
                return pid
        time.sleep(0.01)


def test_a_standby_takes_over_and_nothing_is_imported_anew(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        first = spectator.status()
        before = first
        for round in range(1, 4):
            standby = standby_of(engine)
            for role in ("zygote", "gpu-runner"):
                os.kill(before.pids[role], signal.SIGKILL)
            runner = spectator.peers(gpu_runner=round + 1).peers["gpu-runner"]
            after = spectator.status()
            assert after.pids["zygote"] == standby
            assert after.pids["encoder-cache"] == before.pids["encoder-cache"]
            assert runner.notes["zygote"] == first.pids["zygote"], "what the first has imported"
            assert parent_of(runner.pid) == parent_of(standby) == engine.process.pid
            before = after
        assert before.restarts["zygote"] == 3
        wait_until(lambda: told(spectator, "zygote-standby")[-1:] == [(4, "ready", "")])
        killed = "signal 9: Killed"
        ends = [(number, "ended", killed) for number in (1, 2, 3)]
        returns = [(number, "ready", "") for number in (2, 3, 4)]
        assert told(spectator, "zygote") == [
            one for pair in zip(ends, returns, strict=True) for one in pair
        ]


def test_a_standby_that_dies_is_replaced(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        before = spectator.status()
        standby = standby_of(engine)
        os.kill(standby, signal.SIGKILL)
        assert standby_of(engine, other_than=standby) != before.pids["zygote"]
        assert spectator.status().restarts == before.restarts
        wait_until(lambda: len(told(spectator, "zygote-standby")) >= 2)
        ended, back = told(spectator, "zygote-standby")[-2:]
        assert ended[1:] == ("ended", "signal 9: Killed")
        assert back == (ended[0] + 1, "ready", "")


def test_zygote_standby_and_children_may_die_together(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        standby = standby_of(engine)
        os.kill(pids["zygote"], signal.SIGSTOP)  # or it might make another standby in between
        for pid in (standby, pids["zygote"], pids["gpu-runner"], pids["encoder-cache"]):
            os.kill(pid, signal.SIGKILL)
        runner = spectator.peers(gpu_runner=2, encoder_cache=2).peers["gpu-runner"]
        assert runner.notes["zygote"] == spectator.status().pids["zygote"] != pids["zygote"], (
            "a new one"
        )


def test_who_cannot_be_watched_for_want_of_files_is_made_again_later(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        with without_files(engine.process.pid):
            for role in FORKED:
                os.kill(pids[role], signal.SIGKILL)
            wait_until(lambda: {spectator.status().roles[role] for role in FORKED} == {"gone"})
        spectator.wait(
            lambda message: isinstance(message, Peers) and set(FORKED) <= set(message.peers)
        )
        after = spectator.status()
        assert after.ready
        assert after.pids["zygote"] == pids["zygote"]


def test_a_zygote_that_cannot_be_replaced_for_want_of_files_is_replaced_later(
    engine: EngineHandle,
) -> None:
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        standby = standby_of(engine)
        with without_files(engine.process.pid):
            for pid in (standby, pids["zygote"], pids["gpu-runner"]):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: "zygote" not in spectator.status().pids)
        spectator.wait(lambda message: isinstance(message, Peers) and "gpu-runner" in message.peers)
        assert spectator.status().ready
        assert standby_of(engine, other_than=standby)


def test_a_standby_that_cannot_be_watched_for_want_of_files_is_made_again_later(
    engine: EngineHandle,
) -> None:
    with Spectator(engine.run_dir) as spectator:
        first, second = spectator.status().pids["zygote"], standby_of(engine)
        with without_files(engine.process.pid):
            os.kill(first, signal.SIGKILL)
            wait_until(lambda: spectator.status().pids["zygote"] == second)
        standby_of(engine, other_than=second)
        os.kill(second, signal.SIGKILL)
        wait_until(lambda: spectator.status().pids["zygote"] != second)
        os.kill(spectator.status().pids["gpu-runner"], signal.SIGKILL)
        assert spectator.peers(gpu_runner=2).peers["gpu-runner"].notes["zygote"] == first, (
            "nothing was imported anew"
        )


def test_a_stopped_zygote_is_replaced_when_it_is_needed(start: StartEngine) -> None:
    engine = start(FORKED, preload=("ahead", "plain"), lease_seconds=2.0)
    with Spectator(engine.run_dir) as spectator:
        pids = spectator.status().pids
        standby = standby_of(engine)
        os.kill(pids["zygote"], signal.SIGSTOP)
        os.kill(pids["gpu-runner"], signal.SIGKILL)
        spectator.peers(gpu_runner=2)
        assert spectator.status().pids["zygote"] == standby


def test_a_killed_director_takes_forked_processes_with_it(engine: EngineHandle) -> None:
    engine.process.kill()  # the fixture looks for what is left


def test_a_zygote_that_dies_again_and_again_ends_the_engine(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir) as spectator:
        for round in range(6):
            pid = spectator.status().pids["zygote"]
            standby = standby_of(engine)
            os.kill(pid, signal.SIGKILL)
            if round < 5:
                while spectator.status().pids["zygote"] != standby:
                    time.sleep(0.01)
        assert engine.process.wait(15) == 1
