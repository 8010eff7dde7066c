"""What was answered of a choice, as messages for a detokenizer that knows nothing of it."""

from ...protocol.edges.scheduler_to_detokenizer import Output
from .sequence import Sequence


def so_far(seq: Sequence) -> list[Output]:
    """First the tokens that came with a resume, which the client has; then those of this process."""
    prepared, had = seq.request.prepared, seq.resumed
    outputs: list[Output] = []
    parts = ((0, tuple(seq.output[:had]), (), True), (had, tuple(seq.output[had:]), tuple(seq.logprobs), False))
    for position, token_ids, logprobs, replayed in parts:
        last = position + len(token_ids) == len(seq.output)
        if token_ids or (last and replayed and seq.finish):
            finish, stop = (seq.finish, seq.stop_token) if last else (None, None)
            outputs.append(
                Output(prepared.id, prepared.attempt, seq.choice, position, token_ids, logprobs, finish, stop, replayed)
            )
    return outputs
