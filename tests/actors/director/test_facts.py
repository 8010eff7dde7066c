"""At a start one process finds out what the model is; everybody else waits for its part, and nobody
for that process later."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from thespis.actors.director.config import DirectorConfig
from thespis.actors.director.parts import Parts
from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import FactsConfig, RunnerConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import EngineError

from ...helpers.engines import (
    ROLES,
    Spectator,
    cast_of,
    fake_engine,
    forked_together,
    processes_of,
)
from ...helpers.facts import DEMO

StartEngine = Callable[..., EngineHandle]
FACTS = {"facts": "fake_facts"}


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["tells", "killed", "overtaken"])
def test_everybody_gets_a_part_of_what_it_tells(
    start: StartEngine,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """`killed`: from outside, when it had told nothing yet; then it is made again. Only that is
    worth a warning."""
    monkeypatch.setenv("FAKE_FACTS", how)
    engine = start(FACTS, facts=None)
    with Spectator(engine.run_dir) as spectator:
        peers = spectator.peers(gpu_runner=1).peers
        status = spectator.status()
    assert all(peers[role].notes["config_bytes"] > 100 for role in ROLES if role in peers)
    assert "facts" not in status.roles
    assert status.ready
    assert "thespis facts" not in processes_of(engine.process.pid).values()
    log = (engine.run_dir / "engine.log").read_text()
    assert ("WARNING director facts.1 has ended" in log) == (how == "killed"), log


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("refuses", r"^The model in .* is of no use\.$"),
        ("dies", r"^The process facts ended while it was loading .*no such luck"),
    ],
)
def test_its_refusal_or_death_is_the_sentence_of_the_start(
    monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    monkeypatch.setenv("FAKE_FACTS", how)
    with pytest.raises(EngineError) as caught:
        fake_engine(FACTS, facts=None)
    assert re.search(words, str(caught.value)), caught.value


@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_setting_that_contradicts_the_model_is_the_sentence_of_the_start(tmp_path: Path) -> None:
    modules = dict.fromkeys(ROLES, "plain") | FACTS
    for facts in (None, DEMO):
        cast = cast_of(modules, facts, **forked_together(modules))
        with pytest.raises(
            EngineError,
            match=r"^max_model_len=9999999 is more than the model's context of 4096 tokens\.$",
        ):
            start_engine(
                EngineConfig(max_model_len=9_999_999), cast=cast, log_path=tmp_path / "log"
            )
    log = (tmp_path / "log").read_text()
    assert log.count("ERROR director max_model_len") == 2
    assert "signal 9" not in log, "who is killed for it is no news"


def parts(**settings: object) -> Parts:
    return Parts(DirectorConfig(engine=EngineConfig(**settings), server=ServerConfig()))  # type: ignore[arg-type]


def test_the_roles_are_known_before_the_model_is() -> None:
    known = parts(decode_workers=2)
    assert known.members[0] == "facts"
    assert {"http", "decode-worker-0", "decode-worker-1", "gpu-runner"} < set(known.members)
    assert not known.known
    first = msgspec.json.decode(known.of("facts"), type=FactsConfig)
    assert first.model == EngineConfig().model
    known.divide(DEMO, None)
    assert known.known
    assert msgspec.json.decode(known.of("gpu-runner"), type=RunnerConfig).max_model_len == 4096


def test_the_log_says_on_how_many_threads_weights_are_computed_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        parts(runner_threads=3, dtype="float32").divide(DEMO, None)
    assert any("by 3 threads (3 while" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"deterministic": True, "native_kernels": False},
            ["deterministic, every", "no native kernels"],
        ),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
            ["speculative decoding, at most 3 tokens"],
        ),
        ({}, []),
    ],
)
def test_one_line_of_the_log_says_what_is_not_as_usual(
    settings: dict[str, Any], words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        parts(**settings).divide(DEMO, None)
    said = [
        record.getMessage()
        for record in caplog.records
        if record.getMessage().startswith("not as usual: ")
    ]
    assert len(said) == bool(words)
    assert all(word in said[0] for word in words)


def test_a_gpu_bounds_a_context_that_nobody_has_set(caplog: pytest.LogCaptureFixture) -> None:
    long = msgspec.structs.replace(DEMO, context=262_144)
    one = parts(device="cpu", gpu_memory_utilization=0.5)
    with caplog.at_level("INFO"):
        one.divide(
            long, 256 << 20
        )  # half of it, less the weights, for two sequences of 2 KiB a token
    length = msgspec.json.decode(one.of("gpu-runner"), type=RunnerConfig).max_model_len
    assert 25_000 < length < 33_000
    assert f"max_model_len is {length} of the model's 262144 tokens" in caplog.text


def test_the_log_says_that_a_prompt_without_direction_overrules_the_length_of_a_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    undirected = msgspec.structs.replace(DEMO, span_scope="text")
    one = parts(max_num_batched_tokens=32, max_model_len=300)
    with caplog.at_level("INFO"):
        one.divide(undirected, None)
    assert msgspec.json.decode(one.of("gpu-runner"), type=RunnerConfig).max_batched_tokens == 300
    assert "max_model_len=300 tokens and not max_num_batched_tokens=32" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        parts(max_num_batched_tokens=32, max_model_len=300).divide(DEMO, None)
    assert "max_num_batched_tokens" not in caplog.text
