"""The janitor of a real director: killed, stopped, deaf; alone, and before whatever else."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from thespis.actors.director import janitor_keeper
from thespis.actors.director.janitor_keeper import JanitorKeeper
from thespis.actors.director.processes import ProcessWatcher
from thespis.actors.director.threads import children_of
from thespis.frontends.engine import EngineHandle

from ...helpers.engines import Spectator, assert_nothing_left, processes_of

StartEngine = Callable[..., EngineHandle]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def janitor_of(engine: EngineHandle, other_than: int = 0) -> int:
    """Its pid, once it is there."""
    while True:
        for pid, title in processes_of(engine.process.pid).items():
            if title == "thespis janitor" and pid != other_than:
                return pid
        time.sleep(0.01)


@pytest.mark.process
@pytest.mark.timeout(90)
def test_a_janitor_is_replaced_whatever_befalls_it_and_roles_come_back_meanwhile(
    start: StartEngine,
) -> None:
    engine = start()
    janitor = janitor_of(engine)
    with Spectator(engine.run_dir) as spectator:
        for round, number in enumerate((signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV), 2):
            os.kill(janitor, number)
            os.kill(spectator.status().pids["scheduler"], signal.SIGKILL)
            spectator.peers(scheduler=round)
            janitor = janitor_of(engine, other_than=janitor)
        assert spectator.status().restarts["scheduler"] == 3
    engine.process.kill()  # what the last one knows of, it has been told of by heart
    assert_nothing_left(engine.process.pid, engine.run_dir)


@pytest.mark.process
@pytest.mark.timeout(90)
def test_a_stop_needs_no_janitor(start: StartEngine) -> None:
    engine = start({"scheduler": "stubborn"})
    janitor = janitor_of(engine)
    with Spectator(engine.run_dir):
        engine.process.terminate()
        os.kill(janitor, signal.SIGKILL)
        os.kill(janitor_of(engine, other_than=janitor), signal.SIGSTOP)
        assert engine.process.wait(30) == 0
    assert_nothing_left(engine.process.pid, engine.run_dir, seconds=0)


def test_the_run_is_tidied_up_where_the_janitor_is_gone(tmp_path: Path) -> None:
    """In a process of its own: the end kills all children."""
    code = (
        "import os, signal, subprocess, sys\nfrom pathlib import Path\n"
        "from thespis.actors.director.janitor_keeper import JanitorKeeper\n"
        "from thespis.actors.director.threads import children_of\n"
        "keeper = JanitorKeeper(Path(sys.argv[1]))\n"
        "(janitor,) = children_of(os.getpid())\n"
        "child = subprocess.Popen(sys.argv[3:])\n"
        "keeper.tell(child.pid)\n"
        "os.kill(janitor, signal.Signals[sys.argv[2]])\n"
        "if sys.argv[2] == 'SIGKILL': os.waitid(os.P_PID, janitor, os.WEXITED | os.WNOWAIT)\n"
        "keeper.tell(child.pid)\n"
        "keeper.finish()\n"
        "child.wait()\n"  # the end may have reaped it already
        "print(os.path.exists(f'/proc/{child.pid}'))"
    )
    for fate in ("SIGKILL", "SIGSTOP"):
        run_dir = tmp_path / fate
        run_dir.mkdir()
        command = [sys.executable, "-P", "-c", code, str(run_dir), fate, *SLEEPER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "False\n"
        assert not run_dir.exists()


async def test_a_janitor_that_does_not_read_is_replaced_and_its_successor_told_of_who_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor_keeper, "RETRY_SECONDS", 0.0)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    before = set(children_of(os.getpid()))
    keeper, watcher = JanitorKeeper(run_dir), ProcessWatcher()
    (first,) = set(children_of(os.getpid())) - before
    sleeper = subprocess.Popen(SLEEPER)
    notes: list[tuple[str, int, str, str]] = []
    keeper.keep(watcher, lambda: [sleeper.pid], lambda *note: notes.append(note))
    os.kill(first, signal.SIGSTOP)
    while first in watcher.children:
        for _ in range(1000):
            keeper.tell(sleeper.pid)  # until the pipe is full
        await asyncio.sleep(0.01)
    while not (second := set(children_of(os.getpid())) - before - {sleeper.pid, first}):
        await asyncio.sleep(0.01)
    assert len(second) == 1
    killed = "signal 9: Killed"
    assert notes == [("janitor", 1, "ended", killed), ("janitor", 2, "ready", "")]
    keeper.finish()
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not run_dir.exists()
