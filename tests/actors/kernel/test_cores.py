"""Who has the cores: all for one alone, parts for two, and nothing kept by the dead or the
stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from thespis.actors.kernel.cores import LOOK_SECONDS, PAUSE_SECONDS, Cores, threads_among
from thespis.protocol.config.roles import Threads
from thespis.protocol.topology import ENCODER_CACHE, GPU_RUNNER

ALL, PART = 4, 2
TAKE = """
import sys
from pathlib import Path
from thespis.actors.kernel.cores import Cores
from thespis.protocol.config.roles import Threads
cores = Cores(Path(sys.argv[1]), sys.argv[2], Threads(4, 2, 4), [sys.argv[3]])
print(cores.take(), flush=True)
sys.stdin.read()
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float = PAUSE_SECONDS) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


PAIR = (GPU_RUNNER, ENCODER_CACHE)
SEVERAL = (*PAIR, "encode-worker-1", "encode-worker-2")


@contextmanager
def cores(
    run_dir: Path, role: str, clock: Clock, all_roles: Sequence[str] = PAIR
) -> Iterator[Cores]:
    others = [other for other in all_roles if other != role]
    made = Cores(run_dir, role, Threads(ALL, PART, ALL), others, clock, ALL)
    yield made
    made.close()


def test_all_of_them_are_for_one_that_computes_alone_and_parts_for_two(
    tmp_path: Path, clock: Clock
) -> None:
    with (
        cores(tmp_path, GPU_RUNNER, clock) as runner,
        cores(tmp_path, ENCODER_CACHE, clock) as encoder,
    ):
        assert runner.take() == ALL
        assert encoder.take() == PART
        assert runner.take() == PART, "it has seen the other"
        runner.rest()
        runner.rest()
        clock.pause(PAUSE_SECONDS / 2)
        assert encoder.take() == PART, "it may be between two steps"
        clock.pause()
        assert encoder.take() == ALL
        assert runner.take() == PART


def test_who_is_in_the_middle_of_something_looks_now_and_then(tmp_path: Path, clock: Clock) -> None:
    with (
        cores(tmp_path, GPU_RUNNER, clock) as runner,
        cores(tmp_path, ENCODER_CACHE, clock) as encoder,
    ):
        assert runner.again() == ALL
        encoder.take()
        assert runner.again() is None
        clock.pause(LOOK_SECONDS)
        assert runner.again() == PART
        encoder.rest()
        clock.pause(2 * PAUSE_SECONDS)
        assert runner.again() == ALL


def test_one_that_closes_has_given_its_own_back(tmp_path: Path, clock: Clock) -> None:
    with cores(tmp_path, GPU_RUNNER, clock) as runner:
        with cores(tmp_path, ENCODER_CACHE, clock) as encoder:
            encoder.take()
            assert runner.take() == PART
        clock.pause()
        assert runner.take() == ALL


def test_the_dead_hold_nothing_and_nobody_waits_for_the_stopped(
    tmp_path: Path, clock: Clock
) -> None:
    command = [sys.executable, "-P", "-c", TAKE, str(tmp_path), ENCODER_CACHE, GPU_RUNNER]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
        cores(tmp_path, GPU_RUNNER, clock) as runner,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == f"{ALL}\n"
        os.kill(other.pid, signal.SIGSTOP)
        assert runner.take() == PART
        other.kill()
        other.wait()
        clock.pause()
        assert runner.take() == ALL


def test_one_that_takes_as_many_anyway_is_seen_by_the_other(tmp_path: Path, clock: Clock) -> None:
    small = Cores(tmp_path, GPU_RUNNER, Threads(1, 1, 1), [ENCODER_CACHE])
    with cores(tmp_path, ENCODER_CACHE, clock) as encoder:
        assert small.take() == 1
        assert encoder.take() == PART
        assert small.take() == 1
        small.rest()
        clock.pause()
        assert encoder.take() == ALL
    small.close()


def test_a_long_step_of_a_small_model_has_all_of_them(tmp_path: Path, clock: Clock) -> None:
    runner = Cores(tmp_path, GPU_RUNNER, Threads(1, 1, ALL), [ENCODER_CACHE])
    with cores(tmp_path, ENCODER_CACHE, clock) as encoder:
        assert (runner.take(), runner.take(long=True)) == (1, ALL)
        encoder.take()
        assert (runner.take(long=True), runner.shared) == (1, True)
        assert (runner.take(), runner.shared) == (1, False), "it has as many, whoever computes"
    runner.close()


@pytest.mark.parametrize(
    ("computing", "runner", "encoder"),
    [
        ((), 16, 12),
        ((GPU_RUNNER,), None, 6),
        ((ENCODER_CACHE,), 5, 8),
        ((ENCODER_CACHE, "encode-worker-1"), 5, 5),
        ((GPU_RUNNER, ENCODER_CACHE), None, 4),
        ((GPU_RUNNER, *(f"encode-worker-{number}" for number in range(1, 20))), None, 1),
    ],
)
def test_threads_on_sixteen_cores(
    computing: tuple[str, ...], runner: int | None, encoder: int
) -> None:
    """The runner keeps all busy alone, and has five beside others; an encoder twelve, and six."""
    if runner is not None:
        assert threads_among(computing, False, 16, 5, 16) == runner
    assert threads_among(computing, True, 12, 6, 16) == encoder


def test_encoders_divide_their_part_of_the_cores(tmp_path: Path, clock: Clock) -> None:
    with ExitStack() as stack:
        runner, first, second, third = (
            stack.enter_context(cores(tmp_path, role, clock, SEVERAL)) for role in SEVERAL
        )
        assert first.take() == ALL
        assert second.take() == ALL // 2
        assert first.take() == ALL // 2
        assert third.take() == ALL // 3 == 1
        assert runner.take() == PART, "as beside one"
        assert first.take() == 1, "a third of half of them, and never none"
        second.rest()
        third.rest()
        clock.pause()
        assert first.take() == PART, "the runner computes still"
        runner.rest()
        clock.pause()
        assert first.take() == ALL


def test_encoders_that_have_as_many_anyway_divide_what_there_is(
    tmp_path: Path, clock: Clock
) -> None:
    """A small model's, which keeps no more busy: on many cores each has that, on few its part."""
    few = Threads(2, 2, 2)
    with ExitStack() as stack:
        for there, each in ((ALL, 2), (2, 1)):
            run_dir = tmp_path / str(there)
            run_dir.mkdir()
            one, other = (
                Cores(run_dir, role, few, [GPU_RUNNER, beside], clock, there)
                for role, beside in (SEVERAL[1:3], SEVERAL[2:0:-1])
            )
            stack.callback(one.close)
            stack.callback(other.close)
            assert one.take() == 2
            assert (other.take(), one.take()) == (each, each)
