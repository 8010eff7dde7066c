"""The series that dashboards for vLLM ask for, under its names, of what is measured here
(`--metrics-aliases vllm`). Names only: what each means there and here is in docs/operations.md."""

from collections.abc import Iterator, Mapping

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
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
ENGINE = {"engine": "0"}
"""A label of all: which of a server's engines. Here there is one."""
ASLEEP = ("awake", "weights_offloaded", "discard_all")
"""States, of which an engine that answers has the first."""


class VllmAliases(Collector):
    """`status` None: the engine did not answer."""

    def __init__(self, metrics: Metrics, config: HttpConfig, status: Status | None) -> None:
        self._metrics, self._config, self._status = metrics, config, status

    def collect(self) -> Iterator[Metric]:
        for name, histogram in _histograms(self._metrics).items():
            yield histogram.family(PREFIX + name, **ENGINE)
        metrics, cached = self._metrics, self._metrics.cached_tokens
        yield self._counter("prompt_tokens", metrics.prompt_tokens)
        yield self._counter("generation_tokens", metrics.output_tokens)
        yield self._counter("prompt_tokens_cached", cached)
        computed = metrics.prompt_tokens - cached
        sources = {"local_compute": computed, "local_cache_hit": cached, "external_kv_transfer": 0}
        yield self._counters("prompt_tokens_by_source", "source", sources)
        yield self._counters("request_success", "finished_reason", metrics.ends)
        yield from self._http()
        if self._status is not None:
            yield from self._engine(self._status)

    def _http(self) -> Iterator[Metric]:
        """What libraries for servers tell, and is asked for beside it."""
        model = self._metrics.model
        classes: dict[tuple[str, str], int] = {}
        paths: dict[str, int] = {}
        for (path, status), count in self._metrics.answers.items():
            key = path, f"{status // 100}xx"
            classes[key] = classes.get(key, 0) + count
            paths[path] = paths.get(path, 0) + count
        requests = CounterMetricFamily(
            "http_requests", "Answered requests.", labels=(LABEL, "handler", "status")
        )
        for (path, answered), count in sorted(classes.items()):
            requests.add_metric((model, path, answered), count)
        yield requests
        took = SummaryMetricFamily(
            "http_request_duration_seconds",
            "From the head of a request to the end of its answer.",
            labels=(LABEL, "handler"),
        )
        for path, count in sorted(paths.items()):
            seconds = self._metrics.answer_seconds.get(path, 0.0)
            took.add_metric((model, path), count, seconds)
        yield took
        yield from ProcessCollector(registry=None).collect()

    def _engine(self, status: Status) -> Iterator[Metric]:
        scheduler = status.stats.get(SCHEDULER, {})
        for name, own in GAUGES.items():
            yield self._gauge(name, scheduler.get(own, 0.0))
        for name, own in COUNTERS.items():
            yield self._counter(name, scheduler.get(own, 0.0))
        for name in KV_USAGE:
            yield self._gauge(name, kv_usage(scheduler) or 0.0)
        waiting = {"capacity": scheduler.get("waiting", 0.0), "deferred": 0.0}
        yield self._gauges("num_requests_waiting_by_reason", "reason", waiting)
        states = {state: float(state == ASLEEP[0]) for state in ASLEEP}
        yield self._gauges("engine_sleep_state", "sleep_state", states)
        yield step_tokens(scheduler, PREFIX + STEP_TOKENS, self._metrics.model, **ENGINE)
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
            **ENGINE,
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
        family = GaugeMetricFamily(PREFIX + name, _text(name), labels=(LABEL, *ENGINE))
        family.add_metric((self._metrics.model, *ENGINE.values()), value)
        return family

    def _gauges(self, name: str, label: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(PREFIX + name, _text(name), labels=(LABEL, *ENGINE, label))
        for what, value in values.items():
            family.add_metric((self._metrics.model, *ENGINE.values(), what), value)
        return family

    def _counter(self, name: str, value: float) -> Metric:
        family = CounterMetricFamily(PREFIX + name, _text(name), labels=(LABEL, *ENGINE))
        family.add_metric((self._metrics.model, *ENGINE.values()), value)
        return family

    def _counters(self, name: str, label: str, values: Mapping[str, float]) -> Metric:
        family = CounterMetricFamily(PREFIX + name, _text(name), labels=(LABEL, *ENGINE, label))
        for what, value in sorted(values.items()):
            family.add_metric((self._metrics.model, *ENGINE.values(), what), value)
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
        "request_time_per_output_token_seconds": own.mean_token,
        "request_prompt_tokens": own.prompt_length,
        "request_prefill_kv_computed_tokens": own.computed_length,
        "request_generation_tokens": own.answer_length,
        "request_max_num_generation_tokens": own.choice_length,
        "request_params_max_tokens": own.wanted_tokens,
        "request_params_n": own.wanted_choices,
    }
