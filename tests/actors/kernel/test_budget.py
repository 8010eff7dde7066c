"""Limits of CPU time end the work that they are for, whenever it is over, and nothing after it."""

import gc
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from thespis.actors.kernel.budget import CpuSpent, within_cpu
from thespis.actors.prompting import template as templates
from thespis.actors.prompting.template import ChatTemplate, TemplateTooSlow


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Nothing is left of a limit, and a signal that a test leaves behind ends no other."""
    before = signal.getsignal(signal.SIGPROF)
    gc.collect()
    gc.disable()  # in a finalizer of others' nothing would be raised
    yield
    gc.enable()
    left = signal.getitimer(signal.ITIMER_PROF), signal.getsignal(signal.SIGPROF)
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    signal.signal(signal.SIGPROF, before)
    assert left == ((0.0, 0.0), before)


def over_at(moment: int, run: Callable[[], Any]) -> tuple[bool, BaseException | None]:
    """Run it; at the moment of this number at which time is counted and Python looks for signals (a
    function of Python begins, or one of C has ended) the time is over. Whether there was one, and
    what was raised, which is kept as long as the answer."""
    passed, raised, counting = 0, None, False

    def look(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal passed, counting
        if event in ("call", "c_return"):
            before, counting = counting, signal.getitimer(signal.ITIMER_PROF)[0] > 0
            passed += counting or before  # a signal may have come just before the timer was stopped
            if passed == moment:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGPROF)

    sys.setprofile(look)
    try:
        run()
    except (CpuSpent, TemplateTooSlow) as error:
        raised = error
    finally:
        sys.setprofile(None)
    return passed >= moment, raised


def test_time_that_is_over_at_any_moment_leaves_no_timer_behind() -> None:
    """As long as its exception is held, too: a frame that is alive keeps what it has not
    finished."""
    for moment in range(1, 1000):
        there, raised = over_at(moment, lambda: within_cpu(60.0, lambda: len(str(3))))
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0), f"after {moment} moments"
        assert signal.getsignal(signal.SIGPROF) is signal.SIG_DFL, f"after {moment} moments"
        if not there:
            assert raised is None
            break
    assert 4 < moment < 999


def test_a_template_that_is_over_at_any_moment_leaves_no_timer_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(templates, "CPU_SECONDS", 60.0)
    made = ChatTemplate("{{ messages | length }}")
    for moment in range(1, 1000):
        there, raised = over_at(moment, lambda: made.render(messages=[1]))
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0), f"after {moment} moments"
        if not there:
            assert raised is None
            break
    assert 4 < moment < 999


def test_work_that_takes_no_notice_is_told_again() -> None:
    told = 0

    def deaf() -> int:
        nonlocal told
        while told < 3:
            try:
                while True:
                    sum(range(1000))
            except CpuSpent:  # as in a finalizer, whose exceptions Python drops
                told += 1
        return told

    assert within_cpu(0.02, deaf) == 3


def test_what_is_made_in_time_is_answered_and_what_it_raises_is_raised() -> None:
    assert within_cpu(60.0, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within_cpu(60.0, lambda: 1 // 0)


GARBAGE = """
import gc
from thespis.actors.kernel.budget import BudgetError, memory_budget
for _ in range(2):
    cycle = [bytearray(96 << 20)]
    cycle.append(cycle)
    del cycle
try:
    with memory_budget(64 << 20):
        gc.collect()
        bytearray(128 << 20)
except BudgetError:
    print("beyond")
"""


FIRST = """
import threading
from thespis.actors.kernel.budget import BudgetError, memory_budget

def fits(megabytes):
    def work():
        bytearray(megabytes << 20)
    try:
        with memory_budget(256 << 20):
            threads = [threading.Thread(target=lambda: bytearray(1 << 16)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            work()
    except BudgetError:
        return False
    return True

print([fits(160) for _ in range(3)], [fits(300) for _ in range(3)], fits(160))
"""


def test_the_first_work_of_a_process_has_as_much_room_as_the_same_work_later() -> None:
    """Threads that allocate reserve 64 MiB of address space each, and touch next to nothing of
    it; and what has failed takes no room from what comes next."""
    program = [sys.executable, "-P", "-c", FIRST]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[True, True, True] [False, False, False] True\n", ran.stderr


def test_the_garbage_of_one_work_is_no_room_for_the_next() -> None:
    """It may be freed at any moment; there is as little room as if it had never been. In a process
    of its own: in this one, other tests may have told the allocator to keep what is freed."""
    program = [sys.executable, "-P", "-c", GARBAGE]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "beyond\n"
