"""Items' embeddings laid over those of a step's tokens."""

from typing import NamedTuple

import torch

from .batch import Batch

Rows = dict[int, list[tuple[int, torch.Tensor]]]
"""By sequence: (prompt position, embedding rows [n, embed_width]) to lay over the token embeddings."""


class Items(NamedTuple):
    """Which tokens of a step are rows of items."""

    mask: torch.Tensor
    """bool [tokens]"""
    deep: torch.Tensor | None
    """[levels, rows, hidden]: what further layers add to them; None: nothing."""


def lay_over(embeds: torch.Tensor, batch: Batch, rows: Rows) -> Items | None:
    """Write the first columns of `rows` into `embeds` [tokens, hidden]; what lies beside them is answered, level by level."""
    hidden = embeds.shape[1]
    found: list[tuple[int, torch.Tensor]] = []
    for index, work in enumerate(batch.works):
        for start, given in rows.get(work.seq, ()):
            first = max(start, work.start)
            last = min(start + len(given), work.start + work.count)
            if first < last:
                at = int(batch.offsets[index]) + first - work.start
                found.append((at, given[first - start : last - start]))
    if not found:
        return None
    found.sort(key=lambda one: one[0])
    mask = torch.zeros(len(embeds), dtype=torch.bool, device=embeds.device)
    for at, part in found:
        embeds[at : at + len(part)] = part[:, :hidden]
        mask[at : at + len(part)] = True
    deep = torch.cat([part[:, hidden:] for _, part in found])
    return Items(mask, deep.view(len(deep), -1, hidden).transpose(0, 1) if deep.shape[1] else None)
