"""Items' embeddings laid over those of a step's tokens."""

from typing import NamedTuple

import torch

from .batch import Batch

Rows = dict[int, list[tuple[int, torch.Tensor]]]
"""By sequence: (prompt position, embedding rows [n, embed_width]) to lay over the token embeddings."""


class Deep(NamedTuple):
    """What further layers add to the tokens of items."""

    mask: torch.Tensor
    """bool [tokens]: which tokens."""
    rows: torch.Tensor
    """[levels, tokens of items, hidden]"""


def lay_over(embeds: torch.Tensor, batch: Batch, rows: Rows) -> Deep | None:
    """Write the first columns of `rows` into `embeds` [tokens, hidden]; what lies beside them is answered, level by level."""
    hidden = embeds.shape[1]
    wide: list[tuple[int, torch.Tensor]] = []
    for index, work in enumerate(batch.works):
        for start, given in rows.get(work.seq, ()):
            first = max(start, work.start)
            last = min(start + len(given), work.start + work.count)
            if first < last:
                at = int(batch.offsets[index]) + first - work.start
                part = given[first - start : last - start]
                embeds[at : at + last - first] = part[:, :hidden]
                wide.append((at, part[:, hidden:]))
    if not wide or not wide[0][1].shape[1]:
        return None
    wide.sort(key=lambda one: one[0])
    mask = torch.zeros(len(embeds), dtype=torch.bool, device=embeds.device)
    for at, part in wide:
        mask[at : at + len(part)] = True
    deep = torch.cat([part for _, part in wide])
    return Deep(mask, deep.view(len(deep), -1, hidden).transpose(0, 1))
