"""Prometheus metrics: what this frontend measures. What the actors tell is in engine_metrics.py,
the names that dashboards for vLLM ask for in metrics_aliases.py."""

from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from ...protocol.edges.control import Status
from ...protocol.edges.detokenizer_to_client import Finished
from ...protocol.requests.prepared import Timing
from ..client.timeline import durations
from .access import Told
from .engine_metrics import EngineCollector


def _seconds(milliseconds: str) -> tuple[float, ...]:
    return tuple(float(word) / 1000 for word in milliseconds.split())


CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REFUSAL_SECONDS = _seconds("1 2 3 5 7.5 10 15 20 30 50 100 200 500 1000")
SECONDS = _seconds("1 2.5 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 120000")
TOKENS = tuple(float(digit * 10**power) for power in range(6) for digit in (1, 2, 5))
CHOICES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
LABEL = "model_name"
STAGES = ("queue", "prefill", "decode")
"""Of the engine, each with a histogram of its own."""
FAILED = "error"
"""Why an answer ended, beside how the model's end is called and `ABORTED`."""


class Histogram(Collector):
    """Written by the server's loop alone, at every token: without the library's locks."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        registry: CollectorRegistry | None,
        model: str,
    ) -> None:
        """`bounds`: the largest value of each bucket, rising; what is larger has one of its own.
        `registry` None: it is a part of another collector."""
        self.name, self.text, self._bounds, self._model = name, text, bounds, model
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        if registry is not None:
            registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        yield self.family(self.name)

    def family(self, name: str, **more: str) -> HistogramMetricFamily:
        """What it holds, under a name; `more`: further labels."""
        found = HistogramMetricFamily(name, self.text, labels=(LABEL, *more))
        found.add_metric((self._model, *more.values()), *self.read())
        return found

    def read(self) -> tuple[list[tuple[str, int]], float]:
        """How many there are up to each bound, and their sum."""
        bounds = (*map(str, self._bounds), "+Inf")
        return list(zip(bounds, accumulate(self._counts), strict=True)), self._sum


class StageHistogram(Collector):
    """One histogram for each stage of a request."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry, model: str) -> None:
        self._name, self._text, self._model = name, text, model
        self._of: dict[str, Histogram] = {}
        for stage in STAGES:
            self.of(stage)
        registry.register(self)

    def of(self, stage: str) -> Histogram:
        if stage not in self._of:
            self._of[stage] = Histogram("", self._text, SECONDS, None, self._model)
        return self._of[stage]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text, labels=(LABEL, "stage"))
        for stage, histogram in sorted(self._of.items()):
            family.add_metric((self._model, stage), *histogram.read())
        yield family


class Metrics:
    """One per app, on a registry of its own; `model` is the label of everything."""

    def __init__(self, model: str = "") -> None:
        self.model = model
        self._registry = on = CollectorRegistry()
        counter, one = partial(Counter, registry=on), (LABEL,)
        self._requests = counter(
            "thespis_requests", "Answered requests.", (LABEL, "path", "status")
        )
        self.in_flight = Gauge(
            "thespis_requests_in_flight", "Generations being answered.", one, registry=on
        ).labels(model)
        text = "tokens of finished requests."
        self._prompt = counter("thespis_prompt_tokens", f"Prompt {text}", one).labels(model)
        self._output = counter("thespis_output_tokens", f"Output {text}", one).labels(model)
        self.prompt_tokens = self.output_tokens = 0
        """As the two above."""
        self.cached_tokens = 0
        """Of those of prompts."""
        self.answers: Counted[tuple[str, int]] = Counted()
        """Requests by path and status, as above."""
        self.answer_seconds: dict[str, float] = {}
        """What they have taken, by path."""
        self.ends: Counted[str] = Counted()
        """As the next."""
        self._ends = counter(
            "thespis_answers",
            "Choices by their end: stop, length, or abort and error of a whole call.",
            (LABEL, "finished_reason"),
        )
        gauge, of_kind = partial(Gauge, registry=on), (LABEL, "kind")
        self._entries = gauge("thespis_stored_entries", "What is stored, of each kind.", of_kind)
        self._bytes = gauge("thespis_stored_bytes", "What it takes, of each kind.", of_kind)
        self._batches = gauge("thespis_batches", "Batches under way here.", (LABEL, "status"))
        self._batches_ended = counter(
            "thespis_batches_ended", "Batches that ended here.", (LABEL, "status")
        )
        made = partial(Histogram, registry=on, model=model)
        text = "From arrival to the first update."
        self.first_token = made("thespis_time_to_first_token_seconds", text, SECONDS)
        text = "Between two updates of one stream, per token."
        self.inter_token = made("thespis_inter_token_seconds", text, SECONDS)
        self.whole = made("thespis_request_seconds", "From arrival to the end.", SECONDS)
        text = "From the head of a request to its written 429 or 503, where its body was not read."
        self.refusal = made("thespis_refusal_seconds", text, REFUSAL_SECONDS)
        text = "Of a request in each stage; of fetching, decoding and encoding, for each item."
        self.stages = StageHistogram("thespis_stage_seconds", text, on, model)
        text = "Time of prefill and decode together."
        self.inference = made("thespis_request_inference_seconds", text, SECONDS)
        text = "Of decode, for each token of a choice after its first; 0 where there is no other."
        self.mean_token = made("thespis_request_mean_token_seconds", text, SECONDS)
        self._make_lengths(made)

    def _make_lengths(self, made: Callable[..., Histogram]) -> None:
        self.prompt_length = made("thespis_prompt_length_tokens", "Tokens of a prompt.", TOKENS)
        self.answer_length = made("thespis_answer_length_tokens", "Tokens of an answer.", TOKENS)
        text = "Tokens of a prompt that were computed: no prefix had them."
        self.computed_length = made("thespis_computed_length_tokens", text, TOKENS)
        text = "Tokens of a choice; of several choices of a prompt their mean."
        self.choice_length = made("thespis_choice_length_tokens", text, TOKENS)
        text = "Most tokens that a request asked for."
        self.wanted_tokens = made("thespis_wanted_length_tokens", text, TOKENS)
        text = "Choices that a request asked for."
        self.wanted_choices = made("thespis_wanted_choices", text, CHOICES)

    def answered(self, path: str, status: int, seconds: float) -> None:
        self._requests.labels(self.model, path, str(status)).inc()
        self.answers[path, status] += 1
        self.answer_seconds[path] = self.answer_seconds.get(path, 0.0) + seconds

    def stored(self, sums: Mapping[str, tuple[int, int]]) -> None:
        """Entries and bytes by kind, as they are now."""
        for kind, (entries, nbytes) in sums.items():
            self._entries.labels(self.model, kind).set(entries)
            self._bytes.labels(self.model, kind).set(nbytes)

    def count_batches(self, status: str, count: Callable[[], int]) -> None:
        """Have `count` asked for those in a status, whenever somebody wants to know."""
        self._batches.labels(self.model, status).set_function(count)

    def batch_ended(self, status: str) -> None:
        self._batches_ended.labels(self.model, status).inc()

    def wanted(self, choices: int, tokens: int | None) -> None:
        """By one prompt of a call; `tokens` None: as many as there is room for."""
        self.wanted_choices.observe(choices)
        if tokens is not None:
            self.wanted_tokens.observe(tokens)

    def finished(self, one: Finished, choices: int) -> None:
        """One prompt of a call has been answered well."""
        prompt, output = one.usage.prompt_tokens, one.completion_tokens
        self._prompt.inc(prompt)
        self._output.inc(output)
        self.prompt_tokens += prompt
        self.output_tokens += output
        self.cached_tokens += one.usage.cached_tokens
        self.prompt_length.observe(prompt)
        self.computed_length.observe(prompt - one.usage.cached_tokens)
        if choices:  # else it wanted vectors
            self.answer_length.observe(output)
            self.choice_length.observe(output / choices)
        spent = stage_seconds(one.timings)
        apart = durations([timing for timing in one.timings if not _of_engine(timing)])
        for stage, seconds in (*spent.items(), *apart):
            self.stages.of(stage).observe(seconds)
        if "prefill" in spent:
            self.inference.observe(spent["prefill"] + spent.get("decode", 0.0))
        if choices:
            rest = output / choices - 1
            self.mean_token.observe(spent.get("decode", 0.0) / rest if rest > 0 else 0.0)

    def over(self, told: Told) -> None:
        """A call that was in the engine has ended, however."""
        for reason in [*told.reasons, *([] if told.error is None else [FAILED])]:
            self._ends.labels(self.model, reason).inc()
            self.ends[reason] += 1

    def text(self, status: Status | None, aliases: Collector | None = None) -> bytes:
        """As text. `status` None: the engine did not answer, and only our own lines are there."""
        own: bytes = generate_latest(self._registry)
        more = [] if status is None else [EngineCollector(status, self.model)]
        for collector in (*more, aliases):
            if collector is not None:
                registry = CollectorRegistry()
                registry.register(collector)
                own += generate_latest(registry)
        return own


def stage_seconds(timings: Sequence[Timing]) -> dict[str, float]:
    """How long a request was in each of the engine's stages."""
    spent: dict[str, float] = {}
    for timing in timings:
        if _of_engine(timing):
            spent[timing.stage] = spent.get(timing.stage, 0.0) + timing.end - timing.start
    return spent


def _of_engine(timing: Timing) -> bool:
    """Work on an item has a `detail`, under a name that may be the same."""
    return timing.stage in STAGES and not timing.detail
