"""The service as it is configured; of the rest `scripts/dev ray` is the test."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import thespis
from thespis.frontends.cli.main import main
from thespis.frontends.ray import installed
from thespis.frontends.ray.door import broken_off, refused, repeats
from thespis.frontends.ray.local import cpus_each
from thespis.frontends.ray.relay import CUT
from thespis.frontends.ray.replica import passed_on
from thespis.frontends.ray.router import __name__ as router
from thespis.frontends.ray.service import (
    ENGINE,
    ROUTER,
    ServiceConfig,
    at_once,
    build,
    scaling,
)
from thespis.protocol.config.engine import EngineConfig, configure
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import EngineError

EXAMPLE = Path(thespis.__file__).parent / "docs" / "ray_cluster.yaml"


def test_the_example_for_a_cluster_is_taken() -> None:
    (application,) = yaml.safe_load(EXAMPLE.read_text())["applications"]
    assert application["import_path"] == f"{build.__module__}:{build.__name__}"
    config = configure(ServiceConfig, application["args"])
    engine = configure(EngineConfig, config.engine)
    assert engine.max_num_seqs == 64
    assert configure(ServerConfig, config.server).api_key_file is not None
    (engines,) = application["deployments"]
    ours = ServiceConfig(replicas=2, max_replicas=8)
    assert engines == {"name": ENGINE, **scaling(ours, engine)}, "what it says is ours"


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 0},
        {"replicas": 3, "max_replicas": 2},
        {"doors": 0},
        {"replica": 2},
        {"upscale_delay_s": -1},
        {"downscale_delay_s": float("nan")},
        {"look_back_period_s": 10},
    ],
)
def test_a_wrong_configuration_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(next(iter(wrong)))):
        configure(ServiceConfig, wrong)


def test_without_more_replicas_their_number_is_fixed() -> None:
    assert scaling(ServiceConfig(replicas=3), EngineConfig()) == {"num_replicas": 3}
    assert [cpus_each(n, 8) for n in (1, 3, 16)] == [8, 2, 1]


def test_another_replica_is_wanted_as_soon_as_requests_wait() -> None:
    """Those that wait in an engine, and where an engine takes fewer than it runs, those outside."""
    assert at_once(EngineConfig(max_num_seqs=64)) == 64
    assert at_once(EngineConfig(max_num_seqs=64, max_requests=10)) == 10
    assert at_once(EngineConfig(max_num_seqs=64, max_requests=100)) == 64


def test_the_router_is_where_it_is_said_to_be() -> None:
    assert f"{router}:AffinityRouter" == ROUTER


def test_without_ray_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--replicas", "2"])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told == "thespis serve: --replicas needs Ray: pip install 'thespis[ray]'.\n"
    with pytest.raises(EngineError, match=r"thespis\[ray\]"):
        build({})


def test_a_model_that_is_not_there_is_said_before_ray_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--replicas", "2", "/nowhere/model"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("thespis serve: No model at '/nowhere/model': ")


@pytest.mark.parametrize("number", ["0", "-1", "two", ""])
def test_a_number_of_replicas_that_is_none_is_refused(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", f"--replicas={number}"])
    told = capsys.readouterr().err
    assert "replicas" in told
    assert "expected a whole number" in told or "must be at least 1" in told


def test_what_changes_something_is_not_sent_twice() -> None:
    assert repeats("POST", "/v1/chat/completions")
    assert repeats("GET", "/v1/files")
    assert not repeats("POST", "/v1/files")
    assert not repeats("POST", "/v1/batches/b/cancel")
    assert not repeats("DELETE", "/v1/responses/r")


def test_refusals_speak_the_callers_api() -> None:
    status, body = refused(CUT, "/v1/messages", {})
    assert (status, b'"type":"error"' in body) == (503, True) or status == 529
    assert b"replica_lost" in refused(CUT, "/v1/chat/completions", {})[1]
    assert broken_off(CUT, "text/event-stream; charset=utf-8").endswith(b"data: [DONE]\n\n")
    assert broken_off(CUT, "application/x-ndjson").startswith(b'{"error":')


def test_headers_of_one_connection_and_ours_are_not_passed_on() -> None:
    given = [
        ("Host", "x"),
        ("X-Thespis-Carried", "t"),
        ("Connection", "close"),
        ("content-length", "3"),
    ]
    assert passed_on(given) == [("Host", "x")]
