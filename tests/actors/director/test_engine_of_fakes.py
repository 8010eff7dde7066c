"""Start, death and end of whole engines whose actors are fakes: forked together, but where a test
is about who starts alone."""

import gc
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from thespis.frontends.engine import EngineHandle, find_engine
from thespis.protocol import VERSION
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.edges.control import (
    Drain,
    Drained,
    Gone,
    Hello,
    Kill,
    Leave,
    Peers,
    Refused,
    Reshare,
    Stalled,
    Status,
    Welcome,
)
from thespis.protocol.errors import EngineError

from ...helpers.engines import (
    FAKES,
    ROLES,
    STARTED_ALONE,
    Spectator,
    assert_nothing_left,
    fake_engine,
    processes_of,
    segments_of,
    without_files,
)

StartEngine = Callable[..., EngineHandle]
pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
RANKS = {"gpu-runner", "gpu-runner-1", "gpu-runner-2"}
ACTORS = tuple("decode-worker-0" if role == "decode-worker" else role for role in ROLES)


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineHandle]:
    """For clients that harm no actor. Each has a name of its own: the one before may not have left
    yet."""
    handle = fake_engine()
    yield handle
    handle.terminate()
    assert_nothing_left(handle.process.pid, handle.run_dir)


def test_every_role_is_a_process_with_its_name_and_answers_for_itself(start: StartEngine) -> None:
    engine = start(**STARTED_ALONE)
    assert find_engine(engine.run_dir) == engine.run_dir
    with Spectator(engine.run_dir) as spectator:
        status = spectator.status()
        titles = processes_of(engine.process.pid)
    assert status.ready
    assert status.roles == dict.fromkeys(ACTORS, "ready")
    assert {role: counters["epoch"] for role, counters in status.stats.items()} == dict.fromkeys(
        ACTORS, 1.0
    )
    for role in ACTORS:
        assert (
            titles[status.pids[role]]
            == f"thespis {'decode-worker' if role == 'decode-worker-0' else role}"
        )
    assert titles[status.pids["director"]] == "thespis director"
    assert sorted(titles.values()).count("thespis janitor") == 1


def test_a_killed_process_is_announced_cleaned_up_and_replaced(start: StartEngine) -> None:
    engine = start(**STARTED_ALONE)
    with Spectator(engine.run_dir) as spectator:
        for role in ACTORS:
            before = spectator.status()
            os.kill(before.pids[role], signal.SIGKILL)
            gone = spectator.wait(lambda message: isinstance(message, Gone))
            assert gone == Gone(role, 1, True)
            table = spectator.peers(**{role.replace("-", "_"): 2})
            assert table.peers[role].pid != before.pids[role]
            held = [name for name in segments_of(engine.run_dir) if f"-{role}." in name]
            assert all(f"-{role}.2-" in name for name in held)
        after = spectator.status()
        assert after.restarts == dict.fromkeys(ACTORS, 1) | {"zygote": 0}
        assert after.ready


def test_a_role_that_dies_again_and_again_ends_the_engine(start: StartEngine) -> None:
    engine = start()
    spectator = Spectator(engine.run_dir)
    for epoch in range(1, 7):
        table = spectator.peers(scheduler=epoch)
        os.kill(table.peers["scheduler"].pid, signal.SIGKILL)
    status = spectator.wait(lambda message: isinstance(message, Status))
    assert "scheduler" in status.fatal
    assert engine.process.wait(15) == 1
    spectator.close()


def test_a_stopped_process_is_replaced_when_its_lease_ends(start: StartEngine) -> None:
    engine = start(lease_seconds=2.0)
    with Spectator(engine.run_dir) as spectator:
        os.kill(spectator.status().pids["gpu-runner"], signal.SIGSTOP)
        spectator.wait(lambda message: message == Gone("gpu-runner", 1, True))
        spectator.peers(gpu_runner=2)


def test_a_kill_that_was_asked_for_costs_no_budget(start: StartEngine) -> None:
    engine = start()
    with Spectator(engine.run_dir) as spectator:
        for epoch in range(1, 8):
            spectator.peers(decode_worker_0=epoch)
            spectator.send(Kill("decode-worker-0", epoch))
        assert spectator.peers(decode_worker_0=8).peers["decode-worker-0"].epoch == 8


def test_who_cannot_be_replaced_for_want_of_files_is_replaced_later(start: StartEngine) -> None:
    engine = start(**STARTED_ALONE)
    with Spectator(engine.run_dir) as spectator:
        with without_files(engine.process.pid):
            os.kill(spectator.status().pids["scheduler"], signal.SIGKILL)
            spectator.wait(lambda message: message == Gone("scheduler", 1, True))
            assert spectator.status().roles["scheduler"] == "gone"
        spectator.wait(lambda message: isinstance(message, Peers) and "scheduler" in message.peers)
        assert spectator.status().ready


def test_a_client_that_cannot_be_watched_for_want_of_files_is_refused(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir, "watcher") as spectator:
        late = Hello("client-late", 0, os.getpid(), VERSION)
        with without_files(engine.process.pid):
            spectator.send(late)
            refused = spectator.wait(lambda message: isinstance(message, Refused))
            assert "Too many open files" in refused.text
        spectator.send(late)
        assert spectator.wait(lambda message: isinstance(message, Welcome))


def test_an_actor_that_does_not_read_is_replaced(start: StartEngine) -> None:
    engine = start()
    with Spectator(engine.run_dir) as spectator:
        spectator.send(Stalled("scheduler", 1))
        spectator.wait(lambda message: message == Gone("scheduler", 1, False))
        assert spectator.peers(scheduler=2).peers["scheduler"].epoch == 2
        spectator.send(Stalled("scheduler", 1))  # late: its successor lives on
        assert spectator.status().roles["scheduler"] == "ready"


def test_a_client_that_does_not_read_is_given_up_and_told(engine: EngineHandle) -> None:
    with (
        Spectator(engine.run_dir, "hearer") as spectator,
        Spectator(engine.run_dir, "deaf") as deaf,
    ):
        spectator.send(Stalled("client-deaf", 0))
        spectator.wait(lambda message: message == Gone("client-deaf", 0, True))
        refused = deaf.wait(lambda message: isinstance(message, Refused))
        assert "connect again" in refused.text


def test_clients_divide_the_admission_and_their_death_is_told(start: StartEngine) -> None:
    engine = start()
    with Spectator(engine.run_dir) as spectator:
        assert isinstance(spectator.welcome, Welcome)
        assert spectator.welcome.share is not None
        whole = spectator.welcome.share.requests
        other = subprocess.Popen(
            [sys.executable, "-c", OTHER_CLIENT, str(engine.run_dir)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
        )
        spectator.wait(
            lambda message: isinstance(message, Reshare) and message.share.requests == whole // 2
        )
        with other:
            assert other.stdout is not None
            assert int(other.stdout.readline()) == whole // 2
            other.kill()
        spectator.wait(lambda message: message == Gone("client-other", 0, True))
        spectator.wait(
            lambda message: isinstance(message, Reshare) and message.share.requests == whole
        )


OTHER_CLIENT = """
import sys, zmq
from thespis.actors.kernel.link import DirectorLink
link = DirectorLink(zmq.Context(), sys.argv[1], "client-other", 0)
print(link.hello().share.requests, flush=True)
sys.stdin.read()
"""


def test_a_name_is_taken_once(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir, "twin"), Spectator(engine.run_dir, "twin") as second:
        assert isinstance(second.welcome, Refused)


def test_whoever_is_refused_takes_nothing_from_the_first_of_its_name(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir, "double") as first:
        with Spectator(engine.run_dir, "double") as second:
            second.send(Leave("client-double", 0))
        assert first.status().ready
        with Spectator(engine.run_dir, "double") as third:
            assert isinstance(third.welcome, Refused)


def test_another_protocol_version_is_refused_with_both_versions_and_the_mend(
    engine: EngineHandle,
) -> None:
    with Spectator(engine.run_dir, "newer") as spectator:
        spectator.send(Hello("client-old", 0, os.getpid(), 999))
        refused = spectator.wait(lambda message: isinstance(message, Refused))
    assert "version 999" in refused.text
    assert "version 1" in refused.text
    assert "Install the same version" in refused.text


def test_noise_is_refused_and_harms_nobody(engine: EngineHandle) -> None:
    with Spectator(engine.run_dir, "noisy") as spectator:
        spectator.send_raw(b"\xc1 no message")
        assert (
            "Install the same version"
            in spectator.wait(lambda message: isinstance(message, Refused)).text
        )
        assert spectator.status().restarts == dict.fromkeys([*ACTORS, "zygote"], 0)


def test_the_engine_ends_with_its_last_face(start: StartEngine) -> None:
    engine = start()
    spectator = Spectator(engine.run_dir)
    assert engine.stop() is False, "another face still uses it"
    assert spectator.status().ready
    spectator.close()
    assert_nothing_left(engine.process.pid, engine.run_dir)


def test_a_handle_may_be_forgotten_in_any_order_while_the_engine_stays() -> None:
    engine = fake_engine()
    director = psutil.Process(engine.process.pid)
    with Spectator(engine.run_dir):
        assert engine.stop() is False
        engine.process.owner = engine  # type: ignore[attr-defined]  # a cycle, whose finalizers run in any order
        del engine
        with warnings.catch_warnings(record=True) as said:
            gc.collect()
        assert said == []
        assert director.is_running()
    director.wait(30)  # until it is gone from the table of processes: it was waited for


def test_an_ordered_stop_leaves_nothing_and_is_no_error(start: StartEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    engine = start(log_path=log)
    assert segments_of(engine.run_dir)
    assert engine.stop() is True
    assert log.read_text().count("the last face has gone") == 1
    assert engine.process.returncode == 0
    assert_nothing_left(engine.process.pid, engine.run_dir, seconds=0)
    with pytest.raises(EngineError, match="No engine runs"):
        find_engine(engine.run_dir)


def test_the_second_signal_waits_for_nobody(start: StartEngine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    engine = start({"scheduler": "stubborn"}, log_path=log)
    with Spectator(engine.run_dir) as spectator:
        engine.process.terminate()
        assert (
            spectator.wait(lambda message: isinstance(message, Status)).fatal
            == "The engine was stopped."
        )
        while engine.process.poll() is None:
            engine.process.terminate()  # at any moment of its end
            time.sleep(0.001)
        assert engine.process.returncode == 0
    said = log.read_text()
    first, second = (
        _logged(said, "asked " + what) for what in ("to stop (SIGTERM)", "again to stop (SIGTERM)")
    )
    assert second - first >= 1.0
    assert _logged(said, "scheduler did not stop and is killed") - second < 1.0


def _logged(log: str, event: str) -> float:
    """Unix seconds of the line that tells of it."""
    (line,) = (line for line in log.splitlines() if event in line)
    return datetime.strptime(" ".join(line.split()[:2]), "%Y-%m-%d %H:%M:%S,%f").timestamp()


def test_the_http_frontend_ends_first_while_the_others_work(
    start: StartEngine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    engine = start({"http": "lingering"}, server=ServerConfig(drain_timeout=10.0), log_path=log)
    with Spectator(engine.run_dir) as spectator:
        assert spectator.status().roles["http"] == "ready"
        engine.process.terminate()
        spectator.wait(lambda message: isinstance(message, Drain))
        spectator.send(Drained(spectator.role, 0))
        assert spectator.wait(lambda message: isinstance(message, Gone)) == Gone("http", 1)
        ended = spectator.wait(lambda message: isinstance(message, Status))
        assert {state for role, state in ended.roles.items() if role != "http"} == {"ready"}
        assert engine.process.wait(10) == 0
    said = log.read_text()
    assert "INFO director http.1 has ended" in said, "what was asked for warns nobody"
    assert "Traceback" not in said


def test_a_server_does_not_end_with_its_clients(start: StartEngine) -> None:
    # A face that only lives does not say that it is drained, which the end would wait for.
    engine = start({"http": "plain"}, server=ServerConfig(drain_timeout=0.0))
    Spectator(engine.run_dir, "one").close()
    with Spectator(engine.run_dir, "two") as spectator:
        assert spectator.status().ready


@pytest.mark.parametrize("killed", ["director", "janitor and director"])
def test_a_killed_director_takes_everything_with_it(start: StartEngine, killed: str) -> None:
    engine = start(**STARTED_ALONE)
    titles = processes_of(engine.process.pid)
    if killed == "director":
        engine.process.kill()
        assert_nothing_left(engine.process.pid, engine.run_dir)
        return
    engine.process.send_signal(signal.SIGSTOP)  # or it makes another janitor
    for pid, title in titles.items():
        if title == "thespis janitor":
            os.kill(pid, signal.SIGKILL)
    engine.process.kill()
    engine.process.wait()
    assert segments_of(engine.run_dir), "nobody was there to remove them"
    successor = start()  # whoever starts next in the same place sweeps
    assert not segments_of(engine.run_dir)
    assert successor.stop()


def test_an_engine_ends_with_the_face_that_was_killed() -> None:
    code = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "from thespis.actors.director.config import Cast\n"
        "from thespis.frontends.engine import start_engine\nfrom thespis.protocol.config.engine "
        "import EngineConfig\n"
        "from thespis.tests.helpers.facts import DEMO\nmodules = dict.fromkeys(sys.argv[2:], "
        "'plain')\n"
        "cast = Cast(modules=modules, facts=DEMO, python_path=(sys.argv[1],))\n"
        "engine = start_engine(EngineConfig(), cast=cast)\n"
        "print(engine.process.pid, engine.run_dir, flush=True)\nsys.stdin.read()\n"
    )
    face = subprocess.Popen(
        [sys.executable, "-c", code, str(FAKES), *ROLES],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    with face:
        assert face.stdout is not None
        director, run_dir = face.stdout.readline().split()
        face.kill()
    assert_nothing_left(int(director), Path(run_dir))


def test_the_reason_of_a_failed_start_is_told_word_for_word() -> None:
    with pytest.raises(EngineError, match=r"^The weights are torn: download them again\.$"):
        fake_engine({"gpu-runner": "torn"})


@pytest.mark.parametrize(
    ("module", "forked", "reason"),
    [
        ("crashing", (), "exit code 3"),
        (
            "no_such_module",
            (),
            "exit code 1: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("aborting", ("detokenizer",), "signal 6: Aborted: terminate called: the device is lost"),
    ],
)
def test_a_process_that_dies_while_it_loads_ends_the_start_at_once_with_its_last_line(
    module: str, forked: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    log = tmp_path / "engine.log"
    others = tuple(role for role in ROLES if role != "detokenizer")
    with pytest.raises(EngineError) as refused:
        fake_engine(
            {"detokenizer": module}, forked=others + forked, preload=("plain",), log_path=log
        )
    assert str(refused.value) == f"The process detokenizer ended while it was loading ({reason})."
    assert log.read_text().count("detokenizer.1 has ended") == 1
    assert "detokenizer.2" not in log.read_text()
    assert log.read_text().count(reason.partition(": ")[2].removeprefix("Aborted: ")) >= 1, (
        "all that it said is in the log"
    )


def test_who_is_killed_from_outside_while_it_loads_is_replaced(start: StartEngine) -> None:
    engine = start({"detokenizer": "killed_once"})
    with Spectator(engine.run_dir) as spectator:
        assert spectator.status().restarts["detokenizer"] == 1


def test_ranks_end_and_begin_together() -> None:
    """Whichever ends first, and in one epoch; what ended it is what counts for all."""
    engine = fake_engine(ranks=3)
    spectator = Spectator(engine.run_dir)
    try:
        for epoch, role, number in (
            (1, "gpu-runner-1", signal.SIGABRT),
            (2, "gpu-runner", signal.SIGKILL),
        ):
            before = spectator.status()
            os.kill(before.pids[role], number)
            gone = spectator.wait(lambda m: isinstance(m, Gone) and m.role == "gpu-runner")
            assert (gone.epoch, gone.outside) == (epoch, number == signal.SIGKILL)
            after = epoch + 1
            table = spectator.peers(gpu_runner=after, gpu_runner_1=after, gpu_runner_2=after)
            assert {table.peers[one].epoch for one in RANKS} == {after}
            now = spectator.status()
            assert {one for one, pid in now.pids.items() if pid != before.pids[one]} == RANKS
            assert {now.restarts[one] for one in RANKS} == {epoch}
    finally:
        spectator.close()
        engine.terminate()
    assert_nothing_left(engine.process.pid, engine.run_dir)
