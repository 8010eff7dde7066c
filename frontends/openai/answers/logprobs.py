"""Log-probabilities in the shapes of the two APIs. Pure."""

from collections.abc import Sequence
from typing import Any

from ....protocol.edges.detokenizer_to_client import Logprob, PositionLogprobs

LOWEST = -9999.0
"""In place of minus infinity, which JSON does not have."""


def chat_logprobs(positions: Sequence[PositionLogprobs], top: int, as_ids: bool = False) -> dict[str, Any]:
    """`choices[].logprobs` of a chat answer."""
    return {
        "content": [
            {**_entry(p.chosen, as_ids), "top_logprobs": [_entry(alternative, as_ids) for alternative in p.top[:top]]}
            for p in positions
        ],
        "refusal": None,
    }


def _entry(logprob: Logprob, as_ids: bool) -> dict[str, Any]:
    return {"token": _name(logprob, as_ids), "logprob": _value(logprob), "bytes": list(logprob.raw)}


def _name(logprob: Logprob, as_ids: bool) -> str:
    return token_name(logprob.token_id) if as_ids else logprob.decoded_token


def token_name(token_id: int) -> str:
    """How a token is named that is not told by its text."""
    return f"token_id:{token_id}"


def completion_logprobs(positions: Sequence[PositionLogprobs], top: int, offset: int, as_ids: bool = False) -> dict[str, Any]:
    """`choices[].logprobs` of a plain completion. `offset`: characters of the text before the first position."""
    tokens, values, tops, offsets = [], [], [], []
    for position in positions:
        offsets.append(offset)
        chosen = position.chosen
        offset += len(chosen.decoded_token)
        tokens.append(_name(chosen, as_ids))
        values.append(_value(chosen))
        tops.append({_name(p, as_ids): _value(p) for p in (*position.top[:top], chosen)})
    return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets}


def echoed_logprobs(first: str, positions: Sequence[PositionLogprobs], top: int, first_id: int | None = None) -> dict[str, Any]:
    """The part for an echoed prompt. `first` is the text of its first token, which has no probability; with `first_id`, its
    id, tokens are named by their ids."""
    rest = completion_logprobs(positions, top, len(first), first_id is not None)
    return {
        "tokens": [first if first_id is None else token_name(first_id), *rest["tokens"]],
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
                str(p.token_id): {"logprob": _value(p), "rank": p.rank, "decoded_token": p.decoded_token}
                for p in (position.chosen, *position.top)
            }
        )
    return table


def _value(logprob: Logprob) -> float:
    return max(logprob.logprob, LOWEST)
