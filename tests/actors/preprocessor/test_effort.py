"""What the kernel says of a worker's time."""

import subprocess
import sys
import time

from thespis.actors.preprocessor.effort import Effort, effort_of


def test_a_process_that_sleeps_does_not_queue() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as asleep:
        time.sleep(0.5)
        before = effort_of(asleep.pid, 1.0)
        time.sleep(0.2)
        dozed = effort_of(asleep.pid, 3.0).since(before)
        asleep.kill()
    assert dozed.at == 2.0
    assert dozed.own >= 1.9


def test_two_processes_on_one_processor_queue_for_it() -> None:
    spin = (
        "import os, time; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "print(flush=True)\nwhile True: pass"
    )
    spinners = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for one in spinners:
            assert one.stdout is not None
            one.stdout.readline()
        before = [effort_of(one.pid, 0.0) for one in spinners]
        time.sleep(0.4)
        spent = [
            effort_of(one.pid, 0.4).since(earlier)
            for one, earlier in zip(spinners, before, strict=True)
        ]
    finally:
        for one in spinners:
            one.kill()
            one.communicate()
    assert sum(one.queued for one in spent) >= 0.2


def test_waits_for_a_processor_do_not_count_up_to_a_third_of_the_time() -> None:
    assert [Effort(9.0, queued).could_run for queued in (0.0, 2.0, 8.5)] == [9.0, 7.0, 6.0]


def test_of_a_process_that_has_gone_time_passes_as_it_does() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert effort_of(gone.pid, 7.0) == Effort(7.0, 0.0)
