"""Attention over block tables with windows: equal to attention over everything with a mask, and no
block behind is read."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.gpu_runtime.attention.metadata import DecodeGroup, build_metadata
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import PADDING, KvPool
from thespis.protocol.facts import KvGroup, KvTable

CPU = torch.device("cpu")
HEADS, WIDTH = 2, 4


def _expected(
    query: torch.Tensor, kv: torch.Tensor, start: int, window: int | None
) -> torch.Tensor:
    """`query` [tokens, HEADS, WIDTH] at positions from `start`, `kv` [positions, 2, 1, WIDTH]: by a
    mask over everything."""
    rows, columns = torch.arange(start, start + len(query))[:, None], torch.arange(len(kv))
    seen = (columns <= rows) & (columns > rows - (window or 1 << 30))
    scores = torch.einsum("thd,pd->htp", query, kv[:, 0, 0]) * 0.5
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("htp,pd->thd", weights, kv[:, 1, 0]).reshape(len(query), -1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([1, 1, 1, 2, 7, 20])), min_size=1, max_size=7
    ),
    st.integers(1, 30),
    st.sampled_from([2, 3, 16]),
    st.none() | st.integers(1, 20),
    st.integers(0, 1 << 20),
)
def test_a_window_is_a_mask_and_reads_its_own_blocks(
    works: list[tuple[int, int]], window: int, size: int, most: int | None, seed: int
) -> None:
    works.sort(key=lambda work: (work[1] > 1, -work[0]))
    starts, counts = (np.array(each, dtype=np.int64) for each in zip(*works, strict=True))
    dice = np.random.default_rng(seed)
    torch.manual_seed(seed)
    whole = [torch.randn(start + count, 2, 1, WIDTH) for start, count in works]
    needed = [-(-(start + count) // size) for start, count in works]
    tables = [KvTable(None, (KvGroup(layers=(0,), kv_heads=1, key_dim=WIDTH, value_dim=WIDTH),))]
    tables += [
        KvTable(
            window,
            (KvGroup(layers=(1,), kv_heads=1, key_dim=WIDTH, value_dim=WIDTH, window=window),),
        )
    ]
    pool = KvPool(tables, [1 + sum(needed)] * 2, size, torch.float32, CPU)
    attention = PagedAttention(pool)
    layouts = []
    for number, table in enumerate(tables):
        free = iter(dice.permutation(np.arange(1, 1 + sum(needed))))
        blocks = np.zeros((len(works), max(needed)), dtype=np.int32)
        for row, (start, _) in enumerate(works):
            blocks[row, : needed[row]] = [next(free) for _ in range(needed[row])]
            for position in range(start):
                pool.slots[number][blocks[row, position // size] * size + position % size] = whole[
                    row
                ][position]
            if table.window is not None:  # behind it other sequences' numbers lie by now
                blocks[row, : max(0, start - window + 1) // size] = PADDING
        index = np.concatenate([np.arange(start, start + count) for start, count in works])
        owner = np.repeat(np.arange(len(works)), counts)
        slots = blocks[owner, index // size].astype(np.int64) * size + index % size
        layouts.append(build_metadata(starts, counts, blocks, slots, size, CPU, most, table.window))
    for group in layouts[1].groups:
        assert isinstance(group, DecodeGroup)
        read = len(group.blocks) // (group.last - group.first)
        assert read <= -(-(window - 1) // size) + 1, "more blocks than a window can touch"
    for chunk in layouts[1].chunks:
        assert len(chunk.blocks) <= -(-(window - 1 + chunk.last - chunk.first) // size) + 1
    attention.begin(layouts)
    query = torch.randn(int(counts.sum()), HEADS, WIDTH)
    new = torch.cat([kv[start:] for kv, (start, _) in zip(whole, works, strict=True)])
    for layer, table in enumerate(tables):
        found = attention(layer, query, new, How(0.5, table.window))
        edges = pairwise(np.concatenate(([0], counts.cumsum())))
        for kv, (start, _), (first, last) in zip(whole, works, edges, strict=True):
            wanted = _expected(query[first:last], kv, start, table.window)
            torch.testing.assert_close(found[first:last], wanted, rtol=1e-4, atol=1e-5)


def test_a_layer_that_reads_anothers_keys_has_no_memory_and_writes_none() -> None:
    group = KvGroup(layers=(0, 1), readers={2: 1}, kv_heads=1, key_dim=WIDTH, value_dim=WIDTH)
    pool = KvPool([KvTable(None, (group,))], [4], 2, torch.float32, CPU)
    assert pool.blocks[2].data_ptr() == pool.blocks[1].data_ptr() != pool.blocks[0].data_ptr()
    one = np.zeros(1, dtype=np.int64)
    layout = build_metadata(
        one, one + 3, np.array([[3, 1]], dtype=np.int32), np.array([6, 7, 2]), 2, CPU
    )
    attention = PagedAttention(pool)
    attention.begin([layout])
    query, new = torch.randn(3, HEADS, WIDTH), torch.randn(3, 2, 1, WIDTH)
    owner = attention(1, query, new, How(0.5))
    kept = pool.blocks[1].clone()
    torch.testing.assert_close(attention(2, query, new, How(0.5)), owner)
    attention(2, query, new + 1, How(0.5))
    assert torch.equal(pool.blocks[1], kept)
