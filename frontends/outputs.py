"""What the offline faces give back. Names and shapes are those that users of such engines know."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from ..protocol.edges.detokenizer_to_client import Finished, PositionLogprobs
from ..protocol.prepared import EffectiveOptions, Timing
from .stream import Update


class Logprob(msgspec.Struct):
    logprob: float
    rank: int
    """1 is the most likely."""
    decoded_token: str


class CompletionOutput(msgspec.Struct):
    """One choice."""

    index: int
    text: str = ""
    token_ids: list[int] = []
    cumulative_logprob: float | None = None
    logprobs: list[dict[int, Logprob]] | None = None
    """Per token: the chosen one's and the alternatives' log-probabilities, by token id."""
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None


class RequestMetrics(msgspec.Struct):
    """Where the time went; times in seconds, moments in unix seconds."""

    arrival: float
    first_token: float | None = None
    finished: float | None = None
    timings: tuple[Timing, ...] = ()
    cached_tokens: int = 0
    preemptions: int = 0
    media_tokens: dict[str, int] = {}
    """By modality."""
    media_options: EffectiveOptions = {}
    """What the request's own came to under the operator's ceilings, by kind and modality."""

    @property
    def ttft(self) -> float | None:
        """Seconds to the first token."""
        return None if self.first_token is None else self.first_token - self.arrival


class RequestOutput(msgspec.Struct):
    """The answer to one prompt."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    metrics: RequestMetrics
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None
    """One entry per prompt token; the first has none."""
    finished: bool = False


class StreamDelta(msgspec.Struct):
    """What one choice grew by, as `AsyncLLM.stream` yields it."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None = None
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None


class Collector:
    """Folds the updates of one request into its `RequestOutput`."""

    def __init__(self, request_id: str, prompt: str | None, choices: int, arrival: float) -> None:
        outputs = [CompletionOutput(index) for index in range(choices)]
        self.output = RequestOutput(request_id, prompt, [], outputs, RequestMetrics(arrival))

    def add(self, update: Update, now: float) -> None:
        if self.output.metrics.first_token is None:
            self.output.metrics.first_token = now
        if update.prompt_logprobs is not None:
            self.output.prompt_logprobs = [None, *by_token(update.prompt_logprobs)]
        for choice in update.choices:
            output = self.output.outputs[choice.index]
            output.text += choice.text
            output.token_ids.extend(choice.token_ids)
            if choice.logprobs:
                output.logprobs = (output.logprobs or []) + by_token(choice.logprobs)
                output.cumulative_logprob = (output.cumulative_logprob or 0.0) + sum(p.chosen.logprob for p in choice.logprobs)
            if choice.finish_reason is not None:
                output.finish_reason, output.stop_reason = choice.finish_reason, choice.stop_reason
        if update.finished is not None:
            self._close(update.finished, now)

    def _close(self, finished: Finished, now: float) -> None:
        metrics = self.output.metrics
        metrics.finished, metrics.timings = now, finished.timings
        metrics.cached_tokens, metrics.preemptions = finished.usage.cached_tokens, finished.usage.preemptions
        metrics.media_tokens, metrics.media_options = finished.usage.media_tokens, finished.usage.media_options
        self.output.finished = True


def by_token(positions: Sequence[PositionLogprobs]) -> list[dict[int, Logprob]]:
    """Per position, the alternatives and the chosen token by id."""
    return [{e.token_id: Logprob(e.logprob, e.rank, e.token) for e in (*p.top, p.chosen)} for p in positions]
