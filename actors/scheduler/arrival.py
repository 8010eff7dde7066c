"""A request as it comes in: refused, where it could never run to its end, or opened."""

from ...protocol.config.roles import SchedulerConfig
from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.errors import Failure
from ...protocol.refusals import EMPTY_PROMPT
from ...protocol.requests.pooling import needs_every_state
from ...protocol.requests.prepared import Prepared
from .costs import constraining
from .prefix import HashChain
from .sequence import ScheduledRequest, Sequence, place_spans
from .windows import windows_of


def resolve_max_tokens(prepared: Prepared, config: SchedulerConfig) -> int:
    """Output tokens a choice may have; the preprocessor has clamped it, but None means what the
    context leaves. Vectors are none."""
    if prepared.pooling is not None:
        return 0
    wanted = prepared.sampling.max_tokens
    return wanted if wanted is not None else config.max_model_len - len(prepared.token_ids)


def refusal(prepared: Prepared, config: SchedulerConfig, longest: int | None) -> Failure | None:
    """Why this request can never fit, or None. `longest`: tokens of one sequence that the KV cache
    holds; None while the runner has not said."""
    prompt = len(prepared.token_ids)
    if not prompt:
        return EMPTY_PROMPT
    wanted = 0 if prepared.pooling is not None else max(1, resolve_max_tokens(prepared, config))
    if prompt + wanted > config.max_model_len:
        return _too_long(prompt, wanted, config.max_model_len, "the model's context")
    if longest is not None and prompt + max(0, wanted - 1) > longest:
        return _too_long(prompt, wanted, longest + 1, "the KV cache")
    rows = sum({item.key: item.rows for item in prepared.items}.values())
    if is_windowed(prepared):
        rows = windows_of(config).largest(prepared)
    if rows * config.hidden_bytes > config.store_bytes:
        return Failure(
            "invalid_request",
            f"The media of this request need {rows * config.hidden_bytes} bytes of embeddings, "
            f"but the encoder cache holds "
            f"{config.store_bytes}: send fewer or smaller items.",
            code="media_too_large",
        )
    whole = max((last - first for first, last in prepared.unbroken), default=0)
    if whole > config.max_batched_tokens:
        return Failure(
            "invalid_request",
            f"{whole} tokens of this prompt see each other both ways and must be computed in one "
            f"step, but a step holds "
            f"{config.max_batched_tokens}: send fewer or smaller items, or start with a larger "
            f"max_num_batched_tokens.",
            code="media_too_large" if prepared.items else "context_length_exceeded",
        )
    return None


def is_windowed(prepared: Prepared) -> bool:
    """Whether its items are there some at a time, or all at once."""
    return any(item.later for item in prepared.items)


def _too_long(prompt: int, wanted: int, limit: int, what: str) -> Failure:
    return Failure(
        "invalid_request",
        f"The prompt has {prompt} tokens and {wanted} more may be generated, {prompt + wanted} "
        f"together, but {what} holds "
        f"{limit}: shorten the prompt or lower max_tokens.",
        code="context_length_exceeded",
    )


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
    request.windowed = is_windowed(prepared)
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
    # the first choice's prefill brings them, before its first token
    told = bool(had and had[0].token_ids)
    request.scores_wanted = prepared.sampling.prompt_logprobs is not None and not told
    return request


def _resume(seq: Sequence, had: ChoiceSoFar) -> None:
    """The client has these tokens of it."""
    seq.output = list(had.token_ids)
    seq.resumed = len(seq.output)
    if seq.output:
        seq.finish_by_tokens()
    seq.ended = had.ended or seq.finish is not None
    if seq.ended and seq.finish is None:
        seq.finish = "stop"  # by a stop string: the detokenizer will find it again
