"""Log-probabilities in the shapes of the two APIs. A position is written as soon as it comes: those
of 128 choices are millions of objects, to write which at the end would take seconds. Pure."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from ....protocol.edges.detokenizer_to_client import Logprob, PositionLogprobs

LOWEST = -9999.0
"""In place of minus infinity, which JSON does not have."""

NULL = msgspec.Raw(b"null")
"""Of a prompt's first token, which has no probability."""
_json = msgspec.json.Encoder()


def chat_logprobs(
    positions: Sequence[PositionLogprobs], top: int, as_ids: bool = False
) -> dict[str, Any]:
    """`choices[].logprobs` of a chat answer."""
    return {"content": chat_positions(positions, top, as_ids), "refusal": None}


def chat_positions(
    positions: Iterable[PositionLogprobs], top: int, as_ids: bool = False
) -> list[msgspec.Raw]:
    """The entries of `content`."""
    written = []
    for position in positions:
        tops = [_entry(alternative, as_ids) for alternative in position.top[:top]]
        written.append(_written({**_entry(position.chosen, as_ids), "top_logprobs": tops}))
    return written


def _entry(logprob: Logprob, as_ids: bool) -> dict[str, Any]:
    return {"token": _name(logprob, as_ids), "logprob": _value(logprob), "bytes": list(logprob.raw)}


def _name(logprob: Logprob, as_ids: bool) -> str:
    return token_name(logprob.token_id) if as_ids else logprob.decoded_token


def token_name(token_id: int) -> str:
    """How a token is named that is not told by its text."""
    return f"token_id:{token_id}"


class CompletionScores:
    """Consecutive positions of a text in the shape of plain completions."""

    def __init__(self, top: int, as_ids: bool = False) -> None:
        self._top, self._as_ids = top, as_ids
        self._tokens: list[str] = []
        self._values: list[float | None] = []
        self._tops: list[msgspec.Raw | None] = []
        self._lengths: list[int] = []

    def begin(self, text: str, token_id: int) -> None:
        """A prompt's first token, which has no probability."""
        self._tokens.append(token_name(token_id) if self._as_ids else text)
        self._values.append(None)
        self._tops.append(None)
        self._lengths.append(len(text))

    def add(self, positions: Iterable[PositionLogprobs]) -> int:
        """Returns the bytes of their alternatives."""
        written = 0
        for position in positions:
            chosen = position.chosen
            self._tokens.append(_name(chosen, self._as_ids))
            self._values.append(_value(chosen))
            names = {
                _name(p, self._as_ids): _value(p) for p in (*position.top[: self._top], chosen)
            }
            self._tops.append(top := _written(names))
            written += len(top)
            self._lengths.append(len(chosen.decoded_token))
        return written

    @property
    def characters(self) -> int:
        return sum(self._lengths)

    def shown(self, offset: int = 0) -> dict[str, list[Any]]:
        """`choices[].logprobs`. `offset`: characters of the text before the first position."""
        offsets = list(accumulate(self._lengths, initial=offset))[:-1]
        return {
            "tokens": self._tokens, "token_logprobs": self._values, "top_logprobs": self._tops,
            "text_offset": offsets
        }  # fmt: skip


def prompt_logprobs(positions: Iterable[PositionLogprobs]) -> list[msgspec.Raw]:
    """Entries of `prompt_logprobs` in vLLM's form: per token behind the first a table by id."""
    written = []
    for position in positions:
        table = {
            str(p.token_id): {
                "logprob": _value(p),
                "rank": p.rank,
                "decoded_token": p.decoded_token,
            }
            for p in (position.chosen, *position.top)
        }
        written.append(_written(table))
    return written


def _value(logprob: Logprob) -> float:
    return max(logprob.logprob, LOWEST)


def _written(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_json.encode(value))
