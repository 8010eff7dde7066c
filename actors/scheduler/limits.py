"""What is refused on arrival: requests that could never run to their end."""

from ...protocol.config.roles import SchedulerConfig
from ...protocol.errors import Failure
from ...protocol.requests.prepared import Prepared


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
        return Failure("invalid_request", "The prompt is empty.")
    wanted = 0 if prepared.pooling is not None else max(1, resolve_max_tokens(prepared, config))
    if prompt + wanted > config.max_model_len:
        return _too_long(prompt, wanted, config.max_model_len, "the model's context")
    if longest is not None and prompt + max(0, wanted - 1) > longest:
        return _too_long(prompt, wanted, longest + 1, "the KV cache")
    rows = sum({item.key: item.rows for item in prepared.items}.values())
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


def _too_long(prompt: int, wanted: int, limit: int, what: str) -> Failure:
    return Failure(
        "invalid_request",
        f"The prompt has {prompt} tokens and {wanted} more may be generated, {prompt + wanted} "
        f"together, but {what} holds "
        f"{limit}: shorten the prompt or lower max_tokens.",
        code="context_length_exceeded",
    )
