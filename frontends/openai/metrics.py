"""Prometheus metrics: what this frontend measures, and what every actor tells."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ...protocol.edges.control import Status


def _seconds(milliseconds: str) -> tuple[float, ...]:
    return tuple(float(word) / 1000 for word in milliseconds.split())


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REFUSAL_SECONDS = _seconds("1 2 3 5 7.5 10 15 20 30 50 100 200 500 1000")
SECONDS = _seconds("1 2.5 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 120000")
COUNTS = frozenset({
    "steps", "steps_with_8_or_more", "preemptions", "prefix_queries", "prefix_hit_tokens",
    "recompute_hit_tokens",
    "snapshots_taken", "snapshot_hits", "split_spans", "prompt_tokens_computed", "generated_tokens",
    "drafted_tokens",
    "accepted_tokens", "requests", "rejected", "aborted", "faults", "poison", "downloads", "shared",
    "bytes", "refused",
    "failed", "cache_hits", "prepared", "decoded", "decode_hits", "worker_kills", "worker_deaths",
    "encoded_items",
    "encoded_batches", "encoder_hits", "joined", "evicted", "lost", "tokens", "sampled",
    "step_seconds",
    "beside_steps_cpu_seconds", "stopped", "finished", "orphans", "messages_dropped",
})  # fmt: skip
"""Of what actors tell: what only grows while they live. All else is a gauge."""


class Histogram(Collector):
    """Written by the server's loop alone, at every token: without the library's locks."""

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...], registry: CollectorRegistry
    ) -> None:
        """`bounds`: the largest value of each bucket, rising; what is larger has one of its own."""
        self._name, self._text, self._bounds = name, text, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = (*map(str, self._bounds), "+Inf")
        buckets = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class Metrics:
    """One per app, on a registry of its own."""

    def __init__(self) -> None:
        self._registry = on = CollectorRegistry()
        counter = partial(Counter, registry=on)
        self.requests = counter("thespis_requests", "Answered requests.", ("path", "status"))
        self.in_flight = Gauge(
            "thespis_requests_in_flight", "Generations being answered.", registry=on
        )
        text = "tokens of finished requests."
        self.prompt_tokens = counter("thespis_prompt_tokens", f"Prompt {text}")
        self.output_tokens = counter("thespis_output_tokens", f"Output {text}")
        self.first_token = Histogram(
            "thespis_time_to_first_token_seconds", "From arrival to the first update.", SECONDS, on
        )
        text = "Between two updates of one stream, per token."
        self.inter_token = Histogram("thespis_inter_token_seconds", text, SECONDS, on)
        self.whole = Histogram("thespis_request_seconds", "From arrival to the end.", SECONDS, on)
        text = "From the head of a request to its written 429 or 503, where its body was not read."
        self.refusal = Histogram("thespis_refusal_seconds", text, REFUSAL_SECONDS, on)

    def text(self, status: Status | None) -> bytes:
        """As text. `status` None: the engine did not answer, and only our own lines are there."""
        own: bytes = generate_latest(self._registry)
        if status is None:
            return own
        registry = CollectorRegistry()
        registry.register(_Engine(status))
        theirs: bytes = generate_latest(registry)
        return own + theirs


class _Engine(Collector):
    """A `Status`, as families `thespis_<role>_<name>`; those of counts end with `_total`."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        status = self._status
        yield GaugeMetricFamily(
            "thespis_ready", "1 when every role is ready.", value=float(status.ready)
        )
        restarts = CounterMetricFamily(
            "thespis_restarts", "Restarts of a role since the start.", labels=("role",)
        )
        for role, count in sorted(status.restarts.items()):
            restarts.add_metric((role,), float(count))
        yield restarts
        pids = GaugeMetricFamily("thespis_process_pid", "Process id of a role.", labels=("role",))
        for role, pid in sorted(status.pids.items()):
            pids.add_metric((role,), float(pid))
        yield pids
        for role, counters in sorted(status.stats.items()):
            for name, value in sorted(counters.items()):
                family = re.sub(r"[^a-zA-Z0-9_]", "_", f"thespis_{role}_{name}")
                kind = CounterMetricFamily if name in COUNTS else GaugeMetricFamily
                yield kind(family, f"{name} of {role}.", value=float(value))
