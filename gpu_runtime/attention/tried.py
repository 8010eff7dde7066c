"""The native kernels of attention, tried against torch before they are used."""

import numpy as np
import torch

from ...protocol.facts import KvGroup, KvTable
from ..layers.how import How
from ..memory.kv_pool import KvPool
from ..native.belief import believed
from ..native.library import Kernels, load_kernels
from .in_place import KNOWN, InPlace
from .scores import attend
from .seen import PIECE, InPlaceChunks, InPlaceRows


def usable_native_kernels(dtype: torch.dtype) -> Kernels | None:
    """Those of this machine; None, after one line in the log, where there are none or they are not
    right."""
    kernels = load_kernels()
    return (
        believed(kernels, native_kernels_are_right, "operations", dtype)
        if dtype in KNOWN
        else kernels
    )


def native_kernels_are_right(kernels: Kernels, dtype: torch.dtype) -> bool:
    """Whether they give what torch gives: three rows, of which one is cut, and two chunks."""
    lengths, counts, size, width = np.array([1, 40, PIECE + 45]), np.array([40, 70]), 16, 64
    per = (PIECE + 45) // 16 + 1
    group = KvGroup(layers=(0,), kv_heads=2, key_dim=width, value_dim=width)
    pool = KvPool(
        [KvTable(None, (group,))], [1 + len(lengths) * per], size, dtype, torch.device("cpu")
    )
    dice = torch.Generator().manual_seed(0)
    pool.blocks[0].copy_(torch.randn(pool.blocks[0].shape, generator=dice))
    tables = 1 + np.arange(len(lengths) * per, dtype=np.int32).reshape(len(lengths), per)
    query = torch.randn(len(lengths) + int(counts.sum()), 6, width, generator=dice).to(dtype)
    native, close = InPlace(kernels, pool), 1e-4 if dtype == torch.float32 else 3e-2
    own = [
        np.array([length]) for length in lengths
    ]  # of each sequence, how much each of its queries sees
    for row, count in enumerate(counts.tolist(), start=1):
        own[row] = np.append(own[row], np.arange(lengths[row] - count, lengths[row]) + 1)
    places = [np.array([0]), np.append(1, np.arange(3, 43)), np.append(2, np.arange(43, 113))]
    for how in (
        How(0.125),
        How(0.125, window=20),
        How(0.2, softcap=5.0, sinks=torch.linspace(-1, 1, 6)),
    ):
        found = torch.full((len(query), 6 * width), torch.nan, dtype=dtype)
        native.rows(0, query, InPlaceRows(tables, lengths, how.window), how, found)
        chunks = InPlaceChunks(len(lengths), lengths[1:] - counts, counts, tables[1:], how.window)
        seen = chunks.seen(both_ways=False, windows="behind")
        assert seen is not None, "nothing is seen both ways"
        native.chunks(0, query, seen, how, found)
        sinks = None if how.sinks is None else how.sinks.view(1, -1, 1, 1)
        for row, (ends, place) in enumerate(zip(own, places, strict=True)):
            keys, values = (
                pool.blocks[0][tables[row].tolist()]
                .flatten(0, 1)
                .float()
                .permute(1, 2, 0, 3)[:, None]
            )
            at, highs = torch.arange(keys.shape[2]), torch.from_numpy(ends)[:, None]
            hidden = (at >= highs) | (at < highs - (how.window or keys.shape[2]))
            mask = torch.zeros(hidden.shape).masked_fill(hidden, -torch.inf)
            asked = query[place].float().transpose(0, 1)[None]
            right = (
                attend(asked, keys, values, mask, how.scale, softcap=how.softcap, sinks=sinks)[0]
                .transpose(0, 1)
                .flatten(1)
            )
            if not bool(((found[place].float() - right).abs() <= close).all()):
                return False
    return True
