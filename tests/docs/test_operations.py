"""The examples for operators: what of them can be tried without a cluster, a daemon or a root."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from thespis.frontends.cli.main import parse
from thespis.frontends.cli.settling import Settled, settle
from thespis.frontends.openai.app import QUESTIONS
from thespis.frontends.openai.gate.auth import OPEN_PATHS
from thespis.frontends.openai.metrics_aliases import PREFIX

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/operations"
PAGE = (ROOT / "docs/operations.md").read_text()


def settled(words: list[str], environ: dict[str, str] | None = None) -> Settled:
    return settle(vars(parse(words)[1]), environ or {})


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_every_example_is_told_of() -> None:
    told = set(re.findall(r"\(operations/([^)]+)\)", PAGE))
    assert told == {file.name for file in FOLDER.iterdir()}


def test_the_settings_are_settings() -> None:
    engine, server, *_ = settled(["serve", "--config", str(FOLDER / "thespis.yaml")])
    assert (engine.name, server.host, server.log_format) == ("qwen", "0.0.0.0", "json")


def test_the_unit_waits_for_longer_than_the_server(tmp_path: Path) -> None:
    unit = (FOLDER / "thespis.service").read_text()
    (command,) = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    assert parse(command.split())[1].config == "/etc/thespis/thespis.yaml"
    (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    server = settled(["serve", "--config", str(FOLDER / "thespis.yaml")]).server
    assert int(patience) > server.drain_timeout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="it is systemd's")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = (FOLDER / "thespis.service").read_text()
    file = tmp_path / "thespis.service"
    file.write_text(unit.replace("/opt/thespis/bin/thespis", sys.executable))
    words = ["systemd-analyze", "verify", str(file)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    documents = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


def test_the_pod_serves_what_its_settings_say(parts: dict[str, Any], tmp_path: Path) -> None:
    (container,) = parts["Deployment"]["spec"]["template"]["spec"]["containers"]
    file = tmp_path / "thespis.yaml"
    file.write_text(parts["ConfigMap"]["data"]["thespis.yaml"])
    words = [str(file) if word.endswith(".yaml") else word for word in container["args"]]
    server = settled(words).server
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > server.drain_timeout
    (port,) = container["ports"]
    assert port["containerPort"] == server.port
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert server.api_key_file is not None
    assert str(Path(server.api_key_file).parent) in mounts
    assert "/dev/shm" in mounts
    named = {mount["name"] for mount in container["volumeMounts"]}
    assert named == {volume["name"] for volume in pod["volumes"]}


def test_probes_ask_for_paths_that_need_no_key(parts: dict[str, Any]) -> None:
    (container,) = parts["Deployment"]["spec"]["template"]["spec"]["containers"]
    names = ("startupProbe", "readinessProbe", "livenessProbe")
    paths = [container[name]["httpGet"]["path"] for name in names]
    assert paths == ["/health", "/health", "/live"]
    assert set(paths) <= OPEN_PATHS & QUESTIONS.keys()


def test_the_service_finds_its_pods(parts: dict[str, Any]) -> None:
    spec = parts["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels == parts["Service"]["spec"]["selector"]
    assert spec["template"]["spec"]["enableServiceLinks"] is False


def test_compose_starts_a_server() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    one = services["thespis"]
    engine, server, _, remarks = settled(one["command"], one["environment"])
    assert (engine.name, server.log_format, remarks) == ("qwen", "json", [])
    assert seconds(one["stop_grace_period"]) > server.drain_timeout
    assert server.api_key_file == "/run/secrets/keys"
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs[0]["static_configs"][0]["targets"] == [f"thespis:{server.port}"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
def test_prometheus_takes_its_settings_and_what_the_dashboard_asks(tmp_path: Path) -> None:
    """Grafana's own variables are filled in, as it does before it asks."""
    board = json.loads((FOLDER / "grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    filled = [one.replace("$__rate_interval", "1m").replace("$model_name", ".*") for one in asked]
    rules = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(filled)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    for words in (["rules", str(file)], ["config", str(FOLDER / "prometheus.yml")]):
        found = subprocess.run(
            ["promtool", "check", *words], capture_output=True, text=True, timeout=20
        )
        assert (found.returncode, found.stderr) == (0, "")
    assert len(rules) > 40
    assert not [expr for expr in filled if "$" in expr]


def test_the_page_names_aliases_that_there_are() -> None:
    source = (ROOT / "frontends/openai/metrics_aliases.py").read_text()
    told = set(re.findall(rf"`{PREFIX}(\w+)`", PAGE))
    assert told
    for name in told:
        spelt = name, name.removesuffix("_total")
        assert any(f'"{one}"' in source or f"}}{one}" in source for one in spelt), name
