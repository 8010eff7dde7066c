"""What a detokenizer is told of a request: its beginning, its end, and all of it again where it
knows nothing of it."""

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
from .sequence import ScheduledRequest, Sequence


def opening(request: ScheduledRequest) -> Open:
    prepared = request.prepared
    want: Want = "token" if prepared.pooling is None else "vector"
    sampling, ids = prepared.sampling, prepared.token_ids
    return Open(
        prepared.id, prepared.attempt, prepared.client, sampling, ids, request.released, want
    )


SCORES_AT_ONCE = 256
"""Positions of a prompt that one message tells of, each with up to fifty alternatives: others'
tokens pass between messages."""


def prompt_scores(request: ScheduledRequest, begin: int = 0) -> list[SchedulerToDetokenizer]:
    """Of the positions from 1 + `begin` on that have been scored so far. The prompt's first has no
    score."""
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
    said: list[SchedulerToDetokenizer] = [opening(request)]
    if request.scores:
        said += prompt_scores(request)
    if outputs := tuple(output for seq in request.sequences for output in _outputs(seq)):
        said.append(Outputs(outputs))
    said += [vectors(request, seq.vectors) for seq in request.sequences if seq.vectors is not None]
    if request.closed:
        said.append(closing(request))
    return said


def _outputs(seq: Sequence) -> list[Output]:
    """First the tokens that came with a resume, which the client has; then those of this
    process."""
    prepared, had = seq.request.prepared, seq.resumed
    outputs: list[Output] = []
    parts = (
        (0, tuple(seq.output[:had]), (), True),
        (had, tuple(seq.output[had:]), tuple(seq.logprobs), False),
    )
    for position, token_ids, logprobs, replayed in parts:
        last = position + len(token_ids) == len(seq.output)
        if token_ids or (last and replayed and seq.finish):
            finish, stop = (seq.finish, seq.stop_token) if last else (None, None)
            outputs.append(
                Output(
                    prepared.id,
                    prepared.attempt,
                    seq.choice,
                    position,
                    token_ids,
                    logprobs,
                    finish,
                    stop,
                    replayed,
                )
            )
    return outputs
