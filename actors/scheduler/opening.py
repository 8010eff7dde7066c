"""A request as it comes in: its choices, each with what its client has of it."""

from ...protocol.config.roles import SchedulerConfig
from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.requests.pooling import needs_every_state
from ...protocol.requests.prepared import Prepared
from .costs import constraining
from .finishing import ending
from .limits import resolve_max_tokens
from .prefix import HashChain
from .sequence import ScheduledRequest, Sequence, place_spans


def opened(
    prepared: Prepared,
    had: tuple[ChoiceSoFar, ...],
    now: float,
    config: SchedulerConfig,
    number: int,
) -> ScheduledRequest:
    """`had`: by choice, of one that is resumed. `number`: how many came before it, and itself."""
    spans = place_spans(prepared)
    longest = max(1, resolve_max_tokens(prepared, config))
    request = ScheduledRequest(prepared, longest, spans, now, constraining(prepared.sampling))
    pooler = config.pooler
    request.whole = (
        prepared.pooling is not None
        and pooler is not None
        and needs_every_state(prepared.pooling, pooler)
    )
    placements = tuple((p.start, p.end, p.offset, p.item.key) for p in spans)
    share = config.prefix_caching and prepared.sampling.prompt_logprobs is None
    for choice in range(prepared.sampling.n):
        order = (prepared.priority, prepared.arrival, number, choice)
        chain = HashChain(
            prepared, placements, config.block_size, config.rope_bound, config.answers_apart
        )
        leader = request.sequences[0] if choice and share else None
        request.sequences.append(Sequence(request, choice, order, chain, leader))
    for seq, choice_had in zip(request.sequences, had, strict=False):
        _resume(seq, choice_had)
    request.released = tuple(choice_had.released for choice_had in had)
    told = bool(
        had and had[0].token_ids
    )  # the first choice's prefill brings them, before its first token
    request.scores_wanted = prepared.sampling.prompt_logprobs is not None and not told
    return request


def _resume(seq: Sequence, had: ChoiceSoFar) -> None:
    """The client has these tokens of it."""
    seq.output = list(had.token_ids)
    seq.resumed = len(seq.output)
    if seq.output:
        seq.finish, seq.stop_token = ending(
            seq.request.prepared, seq.request.max_tokens, seq.output
        )
    seq.ended = had.ended or seq.finish is not None
    if seq.ended and seq.finish is None:
        seq.finish = "stop"  # by a stop string: the detokenizer will find it again
