"""What `LLM` and `AsyncLLM` return. Names and shapes are those that users of vLLM know."""

import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from ...protocol.edges.detokenizer_to_client import Finished, Logprob, PositionLogprobs
from ...protocol.requests.prepared import EffectiveOptions, ItemSource, Timing
from ..client.answer import Answer
from ..client.stream import Choice, Stream
from ..client.timeline import Timeline, timeline_of
from .moment import Moment


class CompletionOutput(msgspec.Struct):
    """One choice; from `AsyncLLM.stream`, what it grew by."""

    index: int
    text: str = ""
    token_ids: list[int] = []
    cumulative_logprob: float | None = None
    logprobs: list[dict[int, Logprob]] | None = None
    """Per token: the log-probabilities of the chosen token and of the alternatives, by token id."""
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None


class RequestMetrics(msgspec.Struct):
    """Where the time went: durations in seconds, moments in unix seconds, which a step of the wall
    clock does not move."""

    arrival: float
    first_token: float | None = None
    finished: float | None = None
    timings: tuple[Timing, ...] = ()
    sources: tuple[ItemSource, ...] = ()
    """What the items of the prompt were as they came in."""
    cached_tokens: int = 0
    preemptions: int = 0
    media_tokens: dict[str, int] = {}
    """By modality."""
    media_options: EffectiveOptions = {}
    """The media options that took effect under the operator's limits, by kind and modality."""

    @property
    def ttft(self) -> float | None:
        """Seconds to the first token."""
        return None if self.first_token is None else self.first_token - self.arrival

    @property
    def timeline(self) -> Timeline:
        """The timings by stage and by item, as the server has them in `timeline`."""
        return timeline_of(self.timings, self.sources, self.arrival)


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

    @property
    def num_cached_tokens(self) -> int:
        """Tokens of the prompt that were found in the prefix cache."""
        return self.metrics.cached_tokens


async def collect(stream: Stream, prompt: str | None, n: int, arrival: Moment) -> RequestOutput:
    """Read the stream to its end. `prompt`: as the caller wrote it; `arrival`: of the call."""
    answer, metrics = Answer(n), RequestMetrics(arrival.unix)
    async for update in stream:
        now = arrival.unix_at(time.monotonic())
        answer.add(update)
        if metrics.first_token is None and (update.choices or update.finished):
            metrics.first_token = now
        if update.finished is not None:
            metrics.finished = now
    measure(metrics, answer.finished, arrival)
    metrics.sources = stream.sources
    return RequestOutput(
        stream.id,
        stream.prompt_text if prompt is None else prompt,
        list(stream.prompt_token_ids),
        [output_of(choice) for choice in answer.choices],
        metrics,
        None if answer.prompt_logprobs is None else [None, *by_token(answer.prompt_logprobs)],
        answer.finished is not None,
    )


def measure(metrics: RequestMetrics, finished: Finished | None, arrival: Moment) -> None:
    """Note what the end of the request told; nothing where it did not end well."""
    if finished is None:
        return
    metrics.timings = tuple(
        Timing(t.stage, arrival.unix_at(t.start), arrival.unix_at(t.end), t.detail, t.item)
        for t in finished.timings
    )
    for name in ("cached_tokens", "preemptions", "media_tokens", "media_options"):
        setattr(metrics, name, getattr(finished.usage, name))


def output_of(choice: Choice) -> CompletionOutput:
    return CompletionOutput(
        choice.index,
        choice.text,
        choice.token_ids,
        sum(position.chosen.logprob for position in choice.logprobs) if choice.logprobs else None,
        by_token(choice.logprobs) if choice.logprobs else None,
        choice.finish_reason,
        choice.stop_reason,
    )


def by_token(positions: Sequence[PositionLogprobs]) -> list[dict[int, Logprob]]:
    """Per position, the alternatives and the chosen token by id."""
    return [
        {entry.token_id: entry for entry in (*position.top, position.chosen)}
        for position in positions
    ]
