"""Log-probabilities in the shapes of the two APIs. Pure."""

from collections.abc import Sequence
from typing import Any

from ...protocol.edges.detokenizer_to_client import Logprob, PositionLogprobs

LOWEST = -9999.0
"""In place of minus infinity, which JSON does not have."""


def chat_logprobs(positions: Sequence[PositionLogprobs], top: int) -> dict[str, Any]:
    """`choices[].logprobs` of a chat answer."""
    return {
        "content": [
            {**_entry(p.chosen), "top_logprobs": [_entry(alternative) for alternative in p.top[:top]]} for p in positions
        ],
        "refusal": None,
    }


def _entry(logprob: Logprob) -> dict[str, Any]:
    return {"token": logprob.token, "logprob": _value(logprob), "bytes": list(logprob.raw)}


def completion_logprobs(positions: Sequence[PositionLogprobs], top: int, offset: int) -> dict[str, Any]:
    """`choices[].logprobs` of a plain completion. `offset`: characters of the text before the first position."""
    tokens, values, tops, offsets = [], [], [], []
    for position in positions:
        offsets.append(offset)
        chosen = position.chosen
        offset += len(chosen.token)
        tokens.append(chosen.token)
        values.append(_value(chosen))
        tops.append({p.token: _value(p) for p in position.top[:top]} | {chosen.token: _value(chosen)})
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def echoed_logprobs(first: str, positions: Sequence[PositionLogprobs], top: int) -> dict[str, Any]:
    """The part for an echoed prompt. `first` is the text of its first token, which has no probability."""
    rest = completion_logprobs(positions, top, len(first))
    return {
        "tokens": [first, *rest["tokens"]],
        "token_logprobs": [None, *rest["token_logprobs"]],
        "top_logprobs": [None, *rest["top_logprobs"]],
        "text_offset": [0, *rest["text_offset"]],
    }


def prompt_logprobs(positions: Sequence[PositionLogprobs]) -> list[dict[str, Any] | None]:
    """`prompt_logprobs` in vLLM's form: per token a table by id, None for the first."""
    table: list[dict[str, Any] | None] = [None]
    for position in positions:
        table.append(
            {
                str(p.token_id): {"logprob": _value(p), "rank": p.rank, "decoded_token": p.token}
                for p in (position.chosen, *position.top)
            }
        )
    return table


def _value(logprob: Logprob) -> float:
    return max(logprob.logprob, LOWEST)
