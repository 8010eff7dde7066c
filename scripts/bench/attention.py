"""Attention in place against gathered copies: `scripts/dev bench attention [--chunks]`

Milliseconds per layer, both ways in turn over pools larger than the caches. With one thread CPU
time is counted, which other load on the machine hardly changes; with several, wall clock.
`--chunks`: of prompts; without it, of decode rows. `read_once_ms`: how long as many threads take to
read the keys and values once, in order; `of_reading`: how many times that attention in place takes.
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch

from thespis.gpu_runtime.attention.metadata import CPU_CACHE_BYTES, build_metadata
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import KvPool
from thespis.gpu_runtime.native.library import Kernels, load_kernels
from thespis.protocol.facts import KvGroup, KvTable

from . import parser_of

CPU = torch.device("cpu")
BLOCK = 16
SHAPES = ((4, 2, 32), (14, 2, 64))
"""Query heads, key heads, width."""
POOL_BYTES = 64 << 20
ROUNDS = 5


def main() -> None:
    parser = parser_of("attention", __doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chunks", action="store_true")
    parser.add_argument("--contexts", type=int, nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kernels = load_kernels()
    if kernels is None:
        sys.exit("There are no kernels on this machine.")
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    contexts = options.contexts or ((512, 1400, 8192) if options.chunks else (64, 1024, 8192))
    works = ((1, 512), (4, 128), (1, 32)) if options.chunks else ((1, 1), (8, 1), (32, 1))
    cases = product(SHAPES, (torch.float32, torch.bfloat16), works, contexts)
    with torch.inference_mode():
        rows = [_measure(kernels, clock, *case) for case in cases]
    json.dump({"threads": options.threads, "layers": rows}, sys.stdout, indent=2)
    print()


def _measure(
    kernels: Kernels,
    clock: Callable[[], float],
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    works: tuple[int, int],
    context: int,
) -> dict[str, Any]:
    """`works`: sequences, and the last tokens of each that are computed. `context`: with these."""
    heads, kv_heads, width = shape
    rows, count = works
    per = -(-context // BLOCK)
    nbytes = rows * per * BLOCK * 2 * kv_heads * width * dtype.itemsize
    layers = min(24 if count == 1 else 2, max(1, POOL_BYTES // nbytes))
    group = KvGroup(layers=tuple(range(layers)), kv_heads=kv_heads, key_dim=width, value_dim=width)
    pool = KvPool([KvTable(None, (group,))], [rows * per + 1], BLOCK, dtype, CPU)
    for blocks in pool.blocks.values():
        blocks[1:] = torch.randn(blocks.shape[1:])
    tables = (
        (1 + np.random.default_rng(0).permutation(rows * per)).astype(np.int32).reshape(rows, per)
    )
    starts, counts = np.full(rows, context - count), np.full(rows, count)
    positions = np.arange(context - count, context)
    slots = (tables[:, positions // BLOCK].astype(np.int64) * BLOCK + positions % BLOCK).ravel()
    qkv = torch.randn(rows * count, heads + 2 * kv_heads, width).to(dtype)
    query, kv = qkv[:, :heads], qkv[:, heads:].view(rows * count, 2, kv_heads, width)
    taken: dict[bool, list[float]] = {False: [], True: []}
    ways = {False: PagedAttention(pool), True: PagedAttention(pool, kernels=kernels)}
    roof: list[float] = []
    for turn in range(2 + 2 * ROUNDS):
        in_place = turn % 2 == 1
        most = pool.blocks_in(CPU_CACHE_BYTES)[0]
        ways[in_place].begin(
            [build_metadata(starts, counts, tables, slots, BLOCK, CPU, most, in_place=in_place)]
        )
        began = clock()
        for layer in range(layers):
            ways[in_place](layer, query, kv, How(width**-0.5))
        taken[in_place].append((clock() - began) * 1000 / layers)
        began = clock()
        for blocks in pool.blocks.values():
            blocks.view(torch.float32).sum()
        roof.append((clock() - began) * 1000 / layers)
    gathered, read, once = (
        sorted(each[1:])[len(each) // 2] for each in (taken[False], taken[True], roof)
    )
    pairs = rows * count * (context - (count - 1) / 2)
    return {
        "shape": f"{heads}/{kv_heads}x{width}", "dtype": str(dtype)[6:], "rows": rows,
        "tokens": count, "context": context,
        "gathered_ms": round(gathered, 3), "in_place_ms": round(read, 3),
        "ratio": round(gathered / read, 2),
        "gb_per_s": round(nbytes / read / 1e6, 1),
        "gflops": round(4 * pairs * heads * width / read / 1e6, 1),
        "read_once_ms": round(once, 3), "of_reading": round(read / once, 2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
