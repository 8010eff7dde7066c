"""What /metrics says: by Prometheus' own parsers, with the series that dashboards for vLLM ask for,
and with every one that our dashboard asks for."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from thespis.actors.scheduler.outbox import StepSizes, Tally
from thespis.frontends.openai.metrics import stage_seconds
from thespis.protocol.edges.control import Status
from thespis.protocol.errors import Failure
from thespis.protocol.requests.prepared import Timing

from .fake import FakeClient, http_config, post, served, stream_bytes

DASHBOARD = Path(__file__).parents[3] / "docs/operations/grafana.json"
HELLO = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
CHAT = "/v1/chat/completions"
OF_VLLM = [
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "gpu_cache_usage_perc",
    "prompt_tokens_total",
    "generation_tokens_total",
    "num_preemptions_total",
    "request_success_total",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "mm_cache_queries_total",
    "mm_cache_hits_total",
    "time_to_first_token_seconds_bucket",
    "inter_token_latency_seconds_bucket",
    "time_per_output_token_seconds_bucket",
    "e2e_request_latency_seconds_bucket",
    "e2e_request_latency_seconds_sum",
    "e2e_request_latency_seconds_count",
    "request_queue_time_seconds_sum",
    "request_prefill_time_seconds_sum",
    "request_decode_time_seconds_sum",
    "request_inference_time_seconds_bucket",
    "request_prompt_tokens_bucket",
    "request_generation_tokens_bucket",
    "request_max_num_generation_tokens_sum",
    "request_params_max_tokens_bucket",
    "request_params_n_bucket",
    "iteration_tokens_total_bucket",
    "iteration_tokens_total_sum",
    "iteration_tokens_total_count",
    "cache_config_info",
    "spec_decode_num_draft_tokens_total",
    "spec_decode_num_accepted_tokens_total",
    "num_requests_waiting_by_reason",
    "prompt_tokens_by_source_total",
    "prompt_tokens_cached_total",
    "request_time_per_output_token_seconds_bucket",
    "request_prefill_kv_computed_tokens_sum",
    "engine_sleep_state",
]
"""Of its published dashboards (those of 2026, too, but for what is of connectors, adapters, sleep
and estimates of the hardware) and of its documentation."""
BESIDE = [
    "http_requests_total",
    "http_request_duration_seconds_sum",
    "http_request_duration_seconds_count",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
]
"""What they ask for under no prefix."""
HISTOGRAM_OF_VLLM = "vllm:iteration_tokens_total"
"""As the reference spells it: a name for a counter."""


class Engine(FakeClient):
    """With counters as actors tell them."""

    async def status(self) -> Status:
        sizes = StepSizes()
        for tokens in (1, 9, 40_000):
            sizes.note(tokens)
        scheduler = {
            **dict.fromkeys(asdict(Tally()), 3.0),
            **sizes.counters(),
            "prefix_query_tokens": 40.0,
            "prefix_hit_tokens": 30.0,
            "running": 2.0,
            "waiting": 1.0,
            "kv_blocks": 10.0,
            "kv_blocks_used": 5.0,
        }
        preprocessor = {"decoded": 4.0, "decode_hits": 6.0, "failed": 1.0, "cache_bytes": 9.0}
        workers = {"failed": 2.0, "arena_bytes_used": 1.0}
        stats = {
            "scheduler": scheduler, "preprocessor": preprocessor, "decode-worker-0": workers,
            "gpu-runner": {"steps": 7.0},
        }  # fmt: skip
        return Status(True, {}, stats, {"scheduler": 11}, {"scheduler": 2})


async def told(client: FakeClient, **server: Any) -> str:
    """After a whole answer, a stream, one that failed, and a refusal."""
    async with served(client, http_config(**server)) as url:
        await post(url, CHAT, {**HELLO, "n": 2})
        await stream_bytes(url, CHAT, HELLO)
        client.fail_after = 1
        await stream_bytes(url, CHAT, HELLO)
        client.refusal = Failure("overloaded", "Full.", code="overloaded")
        await post(url, CHAT, HELLO)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as response:
            return await response.text()


def values(text: str) -> dict[tuple[str, str], float]:
    """By name, and by what its labels say beside the model."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            ours = not sample.name.startswith("process_")
            assert sample.labels.get("model_name") == ("fake-model" if ours else None)
            labels = {n: v for n, v in sample.labels.items() if n not in ("model_name", "engine")}
            assert sample.labels.get("engine") == ("0" if sample.name.startswith("vllm:") else None)
            key = sample.name, ",".join(labels.values())
            assert key not in found
            found[key] = sample.value
    return found


async def test_what_is_counted() -> None:
    found = values(await told(Engine()))
    for name, label, value in (
        ("requests_total", f"{CHAT},200", 3),
        ("requests_total", f"{CHAT},429", 1),
        ("answers_total", "stop", 3),
        ("answers_total", "error", 1),
        ("prompt_tokens_total", "", 6),
        ("output_tokens_total", "", 15),
        ("prompt_length_tokens_count", "", 2),
        ("answer_length_tokens_sum", "", 15),
        ("choice_length_tokens_sum", "", 10),
        ("wanted_length_tokens_sum", "", 300),
        ("wanted_choices_sum", "", 4),
        ("stage_seconds_count", "prefill", 2),
        ("requests_running", "", 2),
        ("requests_waiting", "", 1),
        ("kv_cache_usage_ratio", "", 0.5),
        ("prefix_cache_queries_total", "", 40),
        ("prefix_cache_hits_total", "", 30),
        ("preemptions_total", "", 3),
        ("step_tokens_bucket", "1.0", 1),
        ("step_tokens_bucket", "8.0", 1),
        ("step_tokens_bucket", "16.0", 2),
        ("step_tokens_bucket", "16384.0", 2),
        ("step_tokens_bucket", "+Inf", 3),
        ("step_tokens_sum", "", 40_010),
        ("actor_failed_total", "preprocessor", 1),
        ("actor_failed_total", "decode-worker-0", 2),
        ("actor_cache_bytes", "preprocessor", 9),
        ("restarts_total", "scheduler", 2),
    ):
        assert found[f"thespis_{name}", label] == value, name


@pytest.mark.parametrize("aliases", ["none", "vllm"])
async def test_counters_are_counters_and_everything_has_a_text(aliases: str) -> None:
    for family in text_string_to_metric_families(await told(Engine(), metrics_aliases=aliases)):
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram", "summary")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        else:
            assert not family.name.endswith("_total") or family.name == HISTOGRAM_OF_VLLM


async def test_the_series_of_dashboards_for_vllm_are_there() -> None:
    text = await told(Engine(), metrics_aliases="vllm")
    found = values(text)
    assert {*(f"vllm:{name}" for name in OF_VLLM), *BESIDE} <= {name for name, _ in found}
    for theirs, ours in (
        ("generation_tokens_total", "output_tokens_total"),
        ("e2e_request_latency_seconds_count", "request_seconds_count"),
        ("kv_cache_usage_perc", "kv_cache_usage_ratio"),
        ("prefix_cache_hits_total", "prefix_cache_hits_total"),
        ("num_requests_waiting", "requests_waiting"),
        ("iteration_tokens_total_sum", "step_tokens_sum"),
    ):
        assert found[f"vllm:{theirs}", ""] == found[f"thespis_{ours}", ""]
    assert found["vllm:request_success_total", "stop"] == 3
    assert found["vllm:num_requests_waiting_by_reason", "capacity"] == 1
    assert found["vllm:engine_sleep_state", "awake"] == 1
    sources = ("local_compute", "local_cache_hit", "external_kv_transfer")
    told_of = [found["vllm:prompt_tokens_by_source_total", source] for source in sources]
    assert (sum(told_of), told_of[1]) == (
        found["vllm:prompt_tokens_total", ""],
        found["vllm:prompt_tokens_cached_total", ""],
    )
    assert found["vllm:request_time_per_output_token_seconds_count", ""] == 2
    assert found["http_requests_total", f"{CHAT},2xx"] == 3
    assert found["http_requests_total", f"{CHAT},4xx"] == 1
    assert found["http_request_duration_seconds_count", CHAT] == 4
    assert found["vllm:mm_cache_queries_total", ""] == 10
    assert found["vllm:cache_config_info", "16,float32,True,0.9,10"] == 1
    assert "vllm:" not in await told(Engine())


async def test_without_the_engine_there_is_still_what_is_ours() -> None:
    client = Engine()
    client.status = _nobody  # type: ignore[method-assign]
    names = {name for name, _ in values(await told(client, metrics_aliases="vllm"))}
    assert {"thespis_requests_total", "vllm:generation_tokens_total"} <= names
    assert "thespis_ready" not in names


async def _nobody() -> Status:
    from thespis.protocol.errors import EngineError

    raise EngineError("nobody answers")


def linted(text: str) -> list[str]:
    words = ["promtool", "check", "metrics"]
    checked = subprocess.run(words, input=text, capture_output=True, text=True, timeout=20)
    assert not checked.stdout
    assert (checked.returncode == 0) == (not checked.stderr)
    return checked.stderr.splitlines()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus has it")
async def test_promtool_has_nothing_to_say_but_of_the_names_that_are_vllms() -> None:
    assert linted(await told(Engine())) == []
    said = linted(await told(Engine(), metrics_aliases="vllm"))
    colon = "metric names should not contain ':'"
    others = [line for line in said if not line.startswith("vllm:") or not line.endswith(colon)]
    assert others == [f'{HISTOGRAM_OF_VLLM} non-counter metrics should not have "_total" suffix']


async def test_the_dashboard_asks_for_what_there_is() -> None:
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    found = {name for name, _ in values(await told(Engine()))}
    named = {name for expr in asked for name in re.findall(r"\bthespis_\w+", expr)}
    assert len(named) > 20
    assert named <= found
    assert all("model_name" in expr for expr in asked)


def test_the_stages_of_an_item_are_not_those_of_a_request() -> None:
    timings = (
        Timing("decode", 0.0, 5.0, "video"),
        Timing("queue", 5.0, 6.0),
        Timing("prefill", 6.0, 6.5),
        Timing("decode", 6.5, 8.5),
        Timing("preprocess", 0.0, 5.0),
    )
    assert stage_seconds(timings) == {"queue": 1.0, "prefill": 0.5, "decode": 2.0}
