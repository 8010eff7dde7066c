"""Refusals that several processes give: one text and one code, wherever it is found out."""

from collections.abc import Collection

from .errors import Failure, RequestError, refuse

NO_FOLDER = Failure(
    "unsupported",
    "Nothing is kept on disk here, so nothing can be pinned: the server must be started with "
    "--encoder-cache-dir.",
    "pin",
    "pin_disabled",
)
NOT_KEPT = Failure(
    "unavailable",
    "What was made of it is not on disk, because the disk is full or too slow; try again later.",
    "pin",
    "not_kept",
)
EMPTY_PROMPT = Failure(
    "invalid_request",
    "The prompt is empty; give it a text, token ids or media.",
    code="empty_prompt",
)


def beyond_context(what: str, context: int) -> RequestError:
    """`what`: how long something is, in its own unit, as in "The prompt has 9 tokens"."""
    text = f"{what}, the model's context is {context} tokens."
    return refuse("invalid_request", text, code="context_length_exceeded")


def check_token_ids(
    ids: Collection[int],
    vocabulary: int,
    part: str | None = None,
    beside: frozenset[int] = frozenset(),
) -> None:
    """`beside`: ids that may lie outside. Raises RequestError that names the first other one."""
    if ids and not 0 <= min(ids) <= max(ids) < vocabulary:
        strange = next((id for id in ids if not 0 <= id < vocabulary and id not in beside), None)
        if strange is not None:
            text = f"Token id {strange} is not in the vocabulary of {vocabulary} tokens."
            raise refuse("invalid_request", text, part, "out_of_range")


def embeds_disabled(field: str, where: str) -> RequestError:
    """Ready-made embeddings in `field`, to an engine that has been started without."""
    flag = "--enable-prompt-embeds" if field == "prompt_embeds" else "--enable-mm-embeds"
    return refuse("unsupported", f"You must set {flag} to input {field}", where, "embeds_disabled")
