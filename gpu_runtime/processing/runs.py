"""The run of one item: which of its tokens stand for rows of the embedding, and its text with those
squeezed."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .types import Kind

_FIELDS = ("token_id", "token_index", "patch_id")
"""What configurations call the token that stands for a row, behind `image_` and its like."""
_KINDS: tuple[Kind, ...] = ("image", "video", "audio")


class Run(NamedTuple):
    """An item's replacement text, taken apart."""

    text: str
    """Each stretch of one embedding token is one token."""
    counts: tuple[int, ...]
    """Tokens of each stretch."""
    stretches: tuple[int, ...]
    """Token id of each stretch."""
    token_ids: tuple[int, ...]
    """Of the whole run, nothing squeezed."""

    def rows(self, *token_ids: int) -> int:
        pairs = zip(self.counts, self.stretches, strict=True)
        return sum(count for count, found in pairs if found in token_ids)


def embedding_ids(config: Any, processor: Any) -> dict[Kind, int]:
    """By kind, the token that the model's configuration gives it; else the processor's own."""
    found: dict[Kind, int] = {}
    for kind in _KINDS:
        values = [getattr(config, f"{kind}_{name}", None) for name in _FIELDS]
        values.append(getattr(processor, f"{kind}_token_id", None))
        ids = [value for value in values if isinstance(value, int) and 0 <= value < 2**31]
        if ids:
            found[kind] = ids[0]
    return found


def row_marks(config: Any) -> tuple[int, ...]:
    """Tokens between the rows of an item that are rows, too: the tower has an embedding for
    each."""
    return tuple(getattr(config, "visual_indicator_token_ids", None) or ())


def read_run(replacement: str, tokenizer: Any, ids: Iterable[int]) -> Run:
    """Tokenised as a text of its own: what stands around it may merge with its ends."""
    named = [(tokenizer.convert_ids_to_tokens(number), number) for number in ids]
    words = {token: number for token, number in named if isinstance(token, str)}
    counts: list[int] = []
    stretches: list[int] = []

    def one(match: re.Match[str]) -> str:
        token = next(token for token in words if match.group().startswith(token))
        counts.append(len(match.group()) // len(token))
        stretches.append(words[token])
        return token

    longest_first = sorted(words, key=len, reverse=True)
    pattern = "|".join(f"(?:{re.escape(token)})+" for token in longest_first)
    text = re.sub(pattern, one, replacement) if pattern else replacement
    squeezed = tokenizer(text, add_special_tokens=False)["input_ids"]
    token_ids = _expanded(squeezed, set(words.values()), iter(counts))
    return Run(text, tuple(counts), tuple(stretches), tuple(token_ids))


def _expanded(squeezed: Iterable[int], ids: set[int], counts: Iterator[int]) -> Iterator[int]:
    for number in squeezed:
        yield from [number] * (next(counts) if number in ids else 1)
