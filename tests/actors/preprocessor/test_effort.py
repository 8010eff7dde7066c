"""What the kernel says of a worker's time."""

import os
import subprocess
import sys
import time

from thespis.actors.preprocessor.effort import Effort, effort_of


def test_a_process_that_computes_runs_and_one_that_sleeps_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as asleep:
        time.sleep(0.5)
        before, slept = effort_of(os.getpid(), 1.0), effort_of(asleep.pid, 1.0)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        done = effort_of(os.getpid(), 3.0).since(before)
        dozed = effort_of(asleep.pid, 3.0).since(slept)
        asleep.kill()
    assert done.ran >= 0.15
    assert dozed.ran <= 0.05
    assert (done.at, dozed.at) == (2.0, 2.0)
    assert dozed.could_run >= 1.9


def test_waits_for_a_processor_do_not_count_up_to_half_of_the_time() -> None:
    assert [Effort(8.0, 0.5, queued).could_run for queued in (0.0, 3.0, 7.5)] == [8.0, 5.0, 4.0]


def test_of_a_process_that_has_gone_time_passes_as_it_does() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert effort_of(gone.pid, 7.0) == Effort(7.0, 7.0, 0.0)
