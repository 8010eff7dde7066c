"""What the kernel says of real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from thespis.actors.director.threads import children_of, is_stopped, threads_of
from thespis.actors.kernel.link import HEART


@contextmanager
def program(code: str) -> Iterator["subprocess.Popen[bytes]"]:
    """It runs `code`, then says so, and waits."""
    code = f"import os, sys, threading, time\n{code}\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_a_stopped_process_is_seen() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import signal, os; os.kill(os.getpid(), signal.SIGSTOP)"]
    ) as child:
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(child.pid)
        assert threads_of(child.pid)[child.pid].stopped
        child.kill()
    assert not is_stopped(child.pid)
    assert threads_of(child.pid) == {}


def test_the_time_of_a_thread_on_a_cpu_is_counted() -> None:
    with program("end = time.process_time() + 0.2\nwhile time.process_time() < end: pass") as child:
        assert threads_of(child.pid)[child.pid].ran > 0.1


def test_children_belong_to_their_parent() -> None:
    with program("import subprocess\nchild = subprocess.Popen(['/bin/sleep', '60'])") as parent:
        (child,) = children_of(parent.pid)
        threads = threads_of(parent.pid)
        assert threads[child].name == "sleep"
        os.kill(child, 9)


def test_who_looks_at_himself_does_not_wait_for_a_cpu() -> None:
    assert threads_of(os.getpid())[os.getpid()].state == "S"


def test_a_thread_whose_name_has_brackets_and_blanks_is_read_all_the_same() -> None:
    with program("open('/proc/self/comm', 'w').write('a) R (b')") as child:
        thread = threads_of(child.pid)[child.pid]
        assert thread.name == "a) R (b"
        assert thread.state in "RS"


def test_the_thread_that_speaks_is_known_by_its_name() -> None:
    code = (
        "import zmq\nfrom thespis.actors.kernel.link import DirectorLink\n"
        "DirectorLink(zmq.Context(), '/tmp', 'fetcher', 1).start_heartbeats()\n"
        "tasks = '/proc/self/task'\n"
        "while 'heartbeat\\n' not in [open(f'{tasks}/{tid}/comm').read() for tid in "
        "os.listdir(tasks)]: time.sleep(0.001)"
    )
    with program(code) as child:
        assert HEART in {thread.name for thread in threads_of(child.pid).values()}
