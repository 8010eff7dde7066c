"""Items' embeddings laid over those of a step's tokens."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...protocol.edges.scheduler_to_gpu_runner import Embed
from ...protocol.facts import ModelFacts
from ...protocol.memory.blobs import BlobError, BlobRef
from ..memory.pieces import Ints
from .batch import Batch

Read = Callable[[BlobRef], memoryview]
"""The bytes of a blob. Raises BlobError."""
EmbeddingRows = dict[int, list[tuple[int, torch.Tensor]]]
"""By sequence: (prompt position, embedding rows [n, embed_width]) to lay over the token
embeddings."""
Placed = list[tuple[int, torch.Tensor]]
"""Rows by where they begin in a flat step, in its order."""


class Items(NamedTuple):
    """Which tokens of a step are rows of items."""

    mask: torch.Tensor
    """bool [tokens]"""
    deep: torch.Tensor | None
    """[levels, rows, hidden]: what further layers add to them; None: nothing."""


def read_rows(
    embeds: Sequence[Embed], read: Read, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[EmbeddingRows, list[int]]:
    """What a plan says lies in blobs, and the sequences of which something could not be read."""
    rows: EmbeddingRows = {}
    unread = []
    for embed in embeds:
        try:
            found = _read(embed, read, width).to(device, dtype)
            rows.setdefault(embed.seq, []).append((embed.start, found))
        except (BlobError, ValueError):
            unread.append(embed.seq)
    return rows, unread


def _read(embed: Embed, read: Read, width: int) -> torch.Tensor:
    """[count, embed_width] as stored. The bytes are copied: the blob may be freed once the step is
    answered. Raises BlobError, ValueError for what is no embedding of this model.
    """
    blob = embed.blob
    dtype = getattr(torch, blob.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError("no floating numbers")
    if len(blob.shape) != 2 or blob.shape[1] != width:
        raise ValueError("no embedding of this model")
    if embed.row < 0 or embed.count < 1 or embed.row + embed.count > blob.shape[0]:
        raise ValueError("rows past the end")
    stride = width * dtype.itemsize
    data = bytearray(read(blob)[embed.row * stride : (embed.row + embed.count) * stride])
    return torch.frombuffer(data, dtype=dtype).view(embed.count, width)


def place(batch: Batch, rows: EmbeddingRows) -> Placed:
    """Those of `rows` that belong to tokens of this step."""
    found: Placed = []
    for index, work in enumerate(batch.works):
        for start, given in rows.get(work.seq, ()):
            first = max(start, work.start)
            last = min(start + len(given), work.start + work.count)
            if first < last:
                at = int(batch.offsets[index]) + first - work.start
                found.append((at, given[first - start : last - start]))
    return sorted(found, key=lambda one: one[0])


def lay_over(
    embeds: torch.Tensor, placed: Placed, added: torch.Tensor | None = None
) -> Items | None:
    """Write the rows' first columns into `embeds` [tokens, hidden]; what lies beside them is
    answered, level by level.

    `added`, bool [tokens]: to whose embedding a row is added.
    """
    if not placed:
        return None
    hidden = embeds.shape[1]
    mask = torch.zeros(len(embeds), dtype=torch.bool, device=embeds.device)
    for at, part in placed:
        here = slice(at, at + len(part))
        rows = part[:, :hidden]
        if added is not None:
            rows = torch.where(added[here, None], embeds[here] + rows, rows)
        embeds[here] = rows
        mask[here] = True
    deep = torch.cat([part[:, hidden:] for _, part in placed])
    return Items(mask, deep.view(len(deep), -1, hidden).transpose(0, 1) if deep.shape[1] else None)


def find_spans(batch: Batch, model: ModelFacts) -> Ints | None:
    """Of each token of a step the span of its prompt in which it is, -1 where it is in none; None:
    no token is in one."""
    if not model.span_layers:
        return None
    index = np.arange(len(batch.tokens)) + (batch.starts - batch.offsets[:-1]).repeat(batch.counts)
    prompts = np.array([sequence.prompt_tokens for sequence in batch.sequences])
    inside = index < prompts.repeat(batch.counts)
    if model.span_scope in ("item", "items"):
        inside &= np.isin(batch.tokens, model.span_token_ids)
    if not inside.any():
        return None
    starts = inside & ~np.concatenate(([False], inside[:-1]))
    spans = starts.cumsum() if model.span_scope == "item" else np.zeros(len(inside), dtype=np.int64)
    return np.where(inside, spans, -1)
