"""Which tokens each layer may see, in the words of the model's own masks: a window or chunk may be
in the mask alone.

A short prompt never reaches the edge of a window. So the masks are not looked at as numbers: the
functions that make them are asked about positions around those edges, and about the last one of the
context.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional
from transformers import masking_utils
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

NAME = "thespis_masks"
Sees = Callable[..., torch.Tensor]
"""(batch, head, query position, key position), broadcast, to bool: whether the one sees the
other."""

_made: list[Sees] = []
_told: dict[int, tuple[int | None, int | None]] = {}
"""By layer: index into `_made`, or None where it gets no mask; and the window of which its
attention is told."""


def wrong_layer(forward: Callable[[], Any], context: int, ahead: bool = False) -> int | None:
    """The first layer whose mask is not the causal one of the window that its attention gets, or
    with `ahead` that of all tokens as far as this window reaches on both sides; None: all are.

    `forward` calls the model, whose attention implementation is `NAME`.
    """
    _made.clear()
    _told.clear()
    with _spans_that_end():
        forward()
    found: dict[tuple[int, int | None], bool] = {}
    for layer, (mask, window) in sorted(_told.items()):
        if mask is None:
            continue
        if (mask, window) not in found:
            found[mask, window] = _is_window(_made[mask], window, context, ahead)
        if not found[mask, window]:
            return layer
    return None


@contextmanager
def _spans_that_end() -> Iterator[None]:
    """A mask's function knows spans of the tokens that it was made for; it is asked of places
    beyond, where there are none."""
    patched: Any = masking_utils
    own = patched.blockwise_overlay

    def overlay(block_sequence_ids: torch.Tensor) -> Sees:
        last = block_sequence_ids.shape[-1]
        sees = own(functional.pad(block_sequence_ids, (0, 1), value=-1))
        return lambda batch, head, query, key: sees(
            batch, head, query.clamp(max=last), key.clamp(max=last)
        )

    patched.blockwise_overlay = overlay
    try:
        yield
    finally:
        patched.blockwise_overlay = own


def _is_window(sees: Sees, window: int | None, context: int, ahead: bool) -> bool:
    edges = {0, 1, 2, 3, 7, context // 2, context - 2, context - 1}
    for size in (2**power for power in range(3, 20)):
        edges |= {size - 1, size, size + 1}
    if window is not None:
        edges |= {window - 2, window - 1, window, window + 1, 2 * window, 2 * window + 1}
    places = torch.tensor(sorted(place for place in edges if 0 <= place < context))
    query, key = places[:, None], places[None]
    expected = (key <= query) | ahead
    if window is not None:
        expected = expected & (key > query - window) & (key < query + window)
    none = torch.zeros((), dtype=torch.int64)
    return bool((sees(none, none, query, key).expand_as(expected) == expected).all())


def _mask(*_: Any, mask_function: Sees, device: Any = None, **__: Any) -> torch.Tensor:
    """Stands for the mask: its one number says which function would make it."""
    _made.append(mask_function)
    return torch.full((1, 1, 1, 1), float(len(_made) - 1), device=device)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attends to nothing. `query` [1, heads, tokens, dim]; an answer of the right shape [1, tokens,
    heads, value_dim]."""
    mask = None if attention_mask is None else int(attention_mask.reshape(-1)[0])
    _told[module.layer_idx] = (mask, given.get("sliding_window"))
    return query.new_zeros((1, query.shape[2], query.shape[1], value.shape[3])), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _mask)
