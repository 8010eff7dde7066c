"""How a face gets an engine, and what it is told when it gets none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thespis.frontends.engine import _environment, find_engine, start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.environment import KEYS
from thespis.protocol.config.logs import told
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import EngineError

from ..helpers.engines import FAKES, ROLES, assert_nothing_left, fake_engine


def test_a_model_that_is_not_there_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="No model at"):
        start_engine(EngineConfig(model=str(tmp_path / "nowhere")))


def test_a_setting_that_nothing_here_could_follow_is_refused_before_anything_starts() -> None:
    with pytest.raises(EngineError, match="allowed_local_media_path"):
        start_engine(EngineConfig(allowed_local_media_path="/no/such/folder"))


def test_no_process_of_an_engine_has_a_key_or_asks_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    given = _environment(None)
    assert "secret" not in given.values()
    assert given["HF_HUB_OFFLINE"] == "1"
    assert given["PATH"] == os.environ["PATH"]


def test_every_process_writes_its_log_as_the_server_is_told() -> None:
    given = _environment(ServerConfig(log_level="debug", log_format="json"))
    assert told(given) == ("debug", "json")


def test_an_engine_is_looked_for_in_vain(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such directory"):
        find_engine(tmp_path / "nowhere")
    with pytest.raises(EngineError, match="never was a run directory"):
        find_engine(tmp_path)
    (tmp_path / "lock").write_text("1")
    with pytest.raises(EngineError, match="its director has ended"):
        find_engine(tmp_path)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_the_log_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    with fake_engine(log_path=tmp_path / "engine.log") as engine:
        assert "every process is ready" in (tmp_path / "engine.log").read_text()
        assert not (engine.run_dir / "engine.log").exists()
    assert_nothing_left(engine.process.pid, engine.run_dir, seconds=0)


SCRIPT = """
import sys
from thespis.actors.director.config import Cast
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.environment import KEYS
from thespis.protocol.config.logs import told
from thespis.protocol.config.server import ServerConfig
from thespis.tests.helpers.facts import DEMO
modules = dict.fromkeys(sys.argv[2:], "plain")
cast = Cast(modules=modules, facts=DEMO, python_path=(sys.argv[1],))
engine = start_engine(EngineConfig(), cast=cast)
print(engine.process.pid, engine.run_dir)
"""


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_script_without_a_main_guard_that_just_ends_ends_its_engine(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue')\n")
    script = tmp_path / "script.py"
    script.write_text("import sys; sys.path.pop(0)\n" + SCRIPT)
    result = subprocess.run(
        [sys.executable, str(script), str(FAKES), *ROLES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert result.returncode == 0, result.stderr
    director, run_dir = result.stdout.split()
    assert_nothing_left(int(director), Path(run_dir), seconds=0)
