"""The series that dashboards for vLLM ask for, under its names, of what is measured here
(`--metrics-aliases vllm`). Names only: what each means there and here is in docs/operations.md."""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ...protocol.config.roles import HttpConfig
from ...protocol.edges.control import Status
from ...protocol.topology import PREPROCESSOR, SCHEDULER
from .engine_metrics import kv_usage, step_tokens
from .metrics import LABEL, Histogram, Metrics

PREFIX = "vllm:"
GAUGES = {"num_requests_running": "running", "num_requests_waiting": "waiting"}
COUNTERS = {
    "num_preemptions": "preemptions",
    "prefix_cache_queries": "prefix_query_tokens",
    "prefix_cache_hits": "prefix_hit_tokens",
    "spec_decode_num_draft_tokens": "drafted_tokens",
    "spec_decode_num_accepted_tokens": "accepted_tokens",
}
"""Of the scheduler."""
KV_USAGE = ("kv_cache_usage_perc", "gpu_cache_usage_perc")
"""Newer and older; a share, whatever their names say."""
STEP_TOKENS = "iteration_tokens_total"
"""A histogram, whatever its name says."""
CACHE_CONFIG = "cache_config_info"


class VllmAliases(Collector):
    """`status` None: the engine did not answer."""

    def __init__(self, metrics: Metrics, config: HttpConfig, status: Status | None) -> None:
        self._metrics, self._config, self._status = metrics, config, status

    def collect(self) -> Iterator[Metric]:
        for name, histogram in _histograms(self._metrics).items():
            yield histogram.family(PREFIX + name)
        metrics = self._metrics
        yield self._counter("prompt_tokens", metrics.prompt_tokens)
        yield self._counter("generation_tokens", metrics.output_tokens)
        text = "Answers by their end."
        ends = CounterMetricFamily(
            f"{PREFIX}request_success", text, labels=(LABEL, "finished_reason")
        )
        for reason, count in sorted(metrics.ends.items()):
            ends.add_metric((metrics.model, reason), count)
        yield ends
        if self._status is not None:
            yield from self._engine(self._status)

    def _engine(self, status: Status) -> Iterator[Metric]:
        scheduler = status.stats.get(SCHEDULER, {})
        for name, own in GAUGES.items():
            yield self._gauge(name, scheduler.get(own, 0.0))
        for name, own in COUNTERS.items():
            yield self._counter(name, scheduler.get(own, 0.0))
        for name in KV_USAGE:
            yield self._gauge(name, kv_usage(scheduler) or 0.0)
        yield step_tokens(scheduler, PREFIX + STEP_TOKENS, self._metrics.model)
        yield self._cache_config(int(scheduler.get("kv_blocks", 0.0)))
        media = status.stats.get(PREPROCESSOR, {})
        hits = media.get("decode_hits", 0.0)
        yield self._counter("mm_cache_queries", hits + media.get("decoded", 0.0))
        yield self._counter("mm_cache_hits", hits)

    def _cache_config(self, blocks: int) -> Metric:
        """Always 1; what it tells are its labels."""
        engine = self._config.engine
        told = {
            LABEL: self._metrics.model,
            "block_size": str(engine.block_size),
            "cache_dtype": self._config.dtype,
            "enable_prefix_caching": str(engine.enable_prefix_caching),
            "gpu_memory_utilization": str(engine.gpu_memory_utilization),
            "num_gpu_blocks": str(blocks),
        }
        text = "How the KV cache is made."
        family = GaugeMetricFamily(PREFIX + CACHE_CONFIG, text, labels=tuple(told))
        family.add_metric(tuple(told.values()), 1.0)
        return family

    def _gauge(self, name: str, value: float) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, _text(name), labels=(LABEL,))
        family.add_metric((self._metrics.model,), value)
        return family

    def _counter(self, name: str, value: float) -> Metric:
        family = CounterMetricFamily(PREFIX + name, _text(name), labels=(LABEL,))
        family.add_metric((self._metrics.model,), value)
        return family


def _text(name: str) -> str:
    return f"{name.replace('_', ' ').capitalize()}."


def _histograms(own: Metrics) -> dict[str, Histogram]:
    return {
        "time_to_first_token_seconds": own.first_token,
        "inter_token_latency_seconds": own.inter_token,
        "time_per_output_token_seconds": own.inter_token,
        "e2e_request_latency_seconds": own.whole,
        "request_queue_time_seconds": own.stages.of("queue"),
        "request_prefill_time_seconds": own.stages.of("prefill"),
        "request_decode_time_seconds": own.stages.of("decode"),
        "request_inference_time_seconds": own.inference,
        "request_prompt_tokens": own.prompt_length,
        "request_generation_tokens": own.answer_length,
        "request_max_num_generation_tokens": own.choice_length,
        "request_params_max_tokens": own.wanted_tokens,
        "request_params_n": own.wanted_choices,
    }
