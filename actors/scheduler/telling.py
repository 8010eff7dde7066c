"""What the detokenizer is told of requests, and told again where it knows nothing."""

from collections.abc import Mapping

from ...protocol.edges.gpu_runner_to_scheduler import Pooled
from ...protocol.edges.scheduler_to_detokenizer import (
    Close,
    Open,
    Output,
    Outputs,
    PromptLogprobs,
    SchedulerToDetokenizer,
    Vectors,
)
from ...protocol.requests.request import Want
from .blame import Blame
from .outbox import Outbox
from .sequence import ScheduledRequest, Sequence

SCORES_AT_ONCE = 256
"""Positions of a prompt, with up to fifty alternatives, in a message; others pass between."""


class Telling:
    """Which requests the detokenizer may hear of: all, or, after it has died of one, the suspects
    one at a time. What goes to it lies in the outbox; here is what of it leaves."""

    def __init__(
        self, outbox: Outbox, blame: Blame, requests: Mapping[str, ScheduledRequest]
    ) -> None:
        self._outbox, self._blame, self._requests = outbox, blame, requests
        self._only: str | None = None
        """The one request that it may hear of, because it is suspected to end it."""

    @property
    def told(self) -> list[ScheduledRequest]:
        """Of whom it has heard."""
        return [request for request in self._requests.values() if self._only in (None, request.id)]

    def begin(self) -> None:
        """A new detokenizer is told again what no client has acknowledged; of a suspect, alone."""
        # what it holds was meant for the one before, and is in the replay
        self._outbox.detokenizer.clear()
        self._only = self._blame.texts.first(lambda id: id in self._requests)
        for request in self.told:
            self._outbox.detokenizer += replay(request)

    def go_on(self) -> None:
        """Where the one it hears of is over: tell of the next suspect, or of everything."""
        if self._only is not None and self._only not in self._requests:
            self.begin()

    def take(self) -> list[SchedulerToDetokenizer]:
        """While it is told of one suspect the rest is dropped, and replayed when its turn comes."""
        said, self._outbox.detokenizer = self._outbox.detokenizer, []
        return said if self._only is None else _about(self._only, said)


def _opening(request: ScheduledRequest) -> Open:
    prepared = request.prepared
    want: Want = "token" if prepared.pooling is None else "vector"
    sampling, ids = prepared.sampling, prepared.token_ids
    return Open(
        prepared.id, prepared.attempt, prepared.client, sampling, ids, request.released, want
    )


def prompt_scores(request: ScheduledRequest, begin: int = 0) -> list[SchedulerToDetokenizer]:
    """Of positions from 1 + `begin` on, as far as scored. The prompt's first has no score."""
    id, attempt, scores = request.id, request.prepared.attempt, request.scores
    return [
        PromptLogprobs(id, attempt, 1 + first, tuple(scores[first : first + SCORES_AT_ONCE]))
        for first in range(begin, max(len(scores), begin + 1), SCORES_AT_ONCE)
    ]


def vectors(request: ScheduledRequest, pooled: Pooled) -> Vectors:
    return Vectors(request.id, request.prepared.attempt, pooled.rows, pooled.data)


def closing(request: ScheduledRequest) -> Close:
    return Close(request.id, request.prepared.attempt, request.usage(), request.stages())


def replay(request: ScheduledRequest) -> list[SchedulerToDetokenizer]:
    """Everything that has been said of it so far."""
    said: list[SchedulerToDetokenizer] = [_opening(request)]
    if request.scores:
        said += prompt_scores(request)
    if outputs := tuple(output for seq in request.sequences for output in _outputs(seq)):
        said.append(Outputs(outputs))
    said += [vectors(request, seq.vectors) for seq in request.sequences if seq.vectors is not None]
    if request.closed:
        said.append(closing(request))
    return said


def _outputs(seq: Sequence) -> list[Output]:
    """First the tokens of a resume, which the client has; then those of this process."""
    end = len(seq.output)
    had = min(seq.resumed, end)
    outputs = [output_of(seq, 0, had, replayed=True)] if had or (seq.finish and not end) else []
    return outputs + ([output_of(seq, had, end)] if end > had else [])


def output_of(seq: Sequence, first: int, last: int, replayed: bool = False) -> Output:
    """Its tokens at output positions [first, last)."""
    prepared, had = seq.request.prepared, seq.resumed
    finish, stop = (seq.finish, seq.stop_token) if last == len(seq.output) else (None, None)
    tokens = tuple(seq.output[first:last])
    logprobs = () if replayed else tuple(seq.logprobs[first - had : last - had])
    name = prepared.id, prepared.attempt, seq.choice
    return Output(*name, first, tokens, logprobs, finish, stop, replayed)


def _about(id: str, messages: list[SchedulerToDetokenizer]) -> list[SchedulerToDetokenizer]:
    """Of these messages, what is about one request."""
    found: list[SchedulerToDetokenizer] = []
    for message in messages:
        if not isinstance(message, Outputs):
            found += [message] if message.id == id else []
        elif own := tuple(output for output in message.outputs if output.id == id):
            found.append(Outputs(own))
    return found
