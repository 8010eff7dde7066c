"""A `Status` of the engine as Prometheus metrics: roles are labels, and what only grows is a
counter."""

import re
from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ...protocol.edges.control import Status
from ...protocol.topology import SCHEDULER

COUNTS = frozenset({
    "steps", "steps_with_8_or_more", "preemptions", "prefix_queries", "prefix_query_tokens",
    "prefix_hit_tokens", "recompute_hit_tokens", "snapshots_taken", "snapshot_hits",
    "split_spans", "prompt_tokens_computed", "generated_tokens", "drafted_tokens",
    "accepted_tokens", "requests", "rejected", "aborted", "faults", "poison", "downloads",
    "shared", "bytes", "refused", "failed", "cache_hits", "prepared", "previewed", "decoded",
    "looked", "decode_hits", "worker_kills", "worker_deaths", "encoded_items",
    "encoded_batches", "encoder_hits", "joined", "evicted", "lost", "tokens", "sampled",
    "step_seconds", "beside_steps_cpu_seconds", "stopped", "finished", "orphans",
    "messages_dropped", "disk_hits", "disk_misses", "disk_written", "disk_dropped", "disk_damaged",
    "recalled",
})  # fmt: skip
"""Of what actors tell: what only grows while they live. All else is a gauge."""
LABELS = ("model_name", "role")
GAUGES = {
    "thespis_requests_running": ("running", "Sequences that are computed."),
    "thespis_requests_waiting": ("waiting", "Sequences that wait to be computed."),
}
COUNTERS = {
    "thespis_preemptions": ("preemptions", "Sequences that lost their blocks to others."),
    "thespis_prefix_cache_queries": (
        "prefix_query_tokens",
        "Tokens that were looked for in the prefix cache.",
    ),
    "thespis_prefix_cache_hits": (
        "prefix_hit_tokens",
        "Tokens that were found in the prefix cache.",
    ),
}
"""What dashboards want first: by name, the scheduler's."""
KV_USAGE = "thespis_kv_cache_usage_ratio"
STEP_TOKENS = "step_tokens"
_UPTO = "steps_upto_"
"""What the scheduler tells of the sizes of its steps: the sum, and how many up to each bound."""


def kv_usage(scheduler: dict[str, float]) -> float | None:
    """The share of the KV cache that is taken; None where there is none, or nobody says."""
    blocks = scheduler.get("kv_blocks", 0.0)
    return scheduler.get("kv_blocks_used", 0.0) / blocks if blocks else None


def step_tokens(
    scheduler: dict[str, float], name: str, model: str, **more: str
) -> HistogramMetricFamily:
    """Tokens of each step, under a name; `more`: further labels."""
    bounds = {
        float(told.removeprefix(_UPTO)): count
        for told, count in scheduler.items()
        if told.startswith(_UPTO)
    }
    buckets = [(str(bound), bounds[bound]) for bound in sorted(bounds)]
    buckets.append(("+Inf", scheduler.get("steps", 0.0)))
    text, labels = "Tokens of a step of the model.", (*LABELS[:1], *more)
    family = HistogramMetricFamily(name, text, labels=labels)
    family.add_metric((model, *more.values()), buckets, scheduler.get(STEP_TOKENS, 0.0))
    return family


class EngineCollector(Collector):
    """`thespis_actor_<name>` of each role, and what of it stands for the whole engine."""

    def __init__(self, status: Status, model: str) -> None:
        self._status, self._model = status, model

    def collect(self) -> Iterator[Metric]:
        status = self._status
        text = "1 when every role is ready."
        yield self._one(GaugeMetricFamily, "thespis_ready", text, float(status.ready))
        yield self._by_role(
            CounterMetricFamily("thespis_restarts", "Restarts since the start.", labels=LABELS),
            status.restarts,
        )
        yield self._by_role(
            GaugeMetricFamily("thespis_process_pid", "Process id.", labels=LABELS), status.pids
        )
        yield from self._summary(status.stats.get(SCHEDULER, {}))
        yield from self._actors()

    def _summary(self, scheduler: dict[str, float]) -> Iterator[Metric]:
        for name, (own, text) in GAUGES.items():
            if own in scheduler:
                yield self._one(GaugeMetricFamily, name, text, scheduler[own])
        for name, (own, text) in COUNTERS.items():
            if own in scheduler:
                yield self._one(CounterMetricFamily, name, text, scheduler[own])
        if (share := kv_usage(scheduler)) is not None:
            text = "Share of the KV cache that is taken."
            yield self._one(GaugeMetricFamily, KV_USAGE, text, share)
        if STEP_TOKENS in scheduler:
            yield step_tokens(scheduler, f"thespis_{STEP_TOKENS}", self._model)

    def _actors(self) -> Iterator[Metric]:
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for role, counters in self._status.stats.items():
            for name, value in counters.items():
                if name != STEP_TOKENS and not name.startswith(_UPTO):
                    found[name][role] = value
        for name, values in sorted(found.items()):
            family = "thespis_actor_" + re.sub(r"[^a-zA-Z0-9_]", "_", name)
            kind = CounterMetricFamily if name in COUNTS else GaugeMetricFamily
            text = f"{name.replace('_', ' ').capitalize()} of a role."
            yield self._by_role(kind(family, text, labels=LABELS), values)

    def _one(
        self,
        kind: type[CounterMetricFamily | GaugeMetricFamily],
        name: str,
        text: str,
        value: float,
    ) -> Metric:
        family = kind(name, text, labels=LABELS[:1])
        family.add_metric((self._model,), value)
        return family

    def _by_role(
        self,
        family: CounterMetricFamily | GaugeMetricFamily,
        values: "dict[str, float] | dict[str, int]",
    ) -> Metric:
        for role, value in sorted(values.items()):
            family.add_metric((self._model, role), float(value))
        return family
