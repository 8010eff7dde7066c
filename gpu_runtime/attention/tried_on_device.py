"""The kernels are tried against torch's own operations on the device that they will serve on,
before they are believed."""

import logging

import numpy as np
import torch

from ...protocol.facts import KvGroup, KvTable
from ..layers.how import How
from ..memory.kv_pool import KvPool
from ..native.build import Unavailable
from ..triton.attention import TritonKernels
from ..triton.configurations import PIECE
from ..triton.library import is_made_for, load_triton_kernels
from .metadata import build_metadata
from .paged import PagedAttention

log = logging.getLogger(__name__)
UNUSED = "torch's own operations are used in place of Triton's kernels: %s"
STARTS, COUNTS = np.array([PIECE + 44, 39, 0, 30, 0]), np.array([1, 1, 1, 21, 37])
"""Three decode rows, of which one is cut, and two chunks, of which one has something before it."""
HEADS, KV_HEADS, WIDTH, SIZE = 6, 2, 64, 16
CLOSE = {torch.bfloat16: 3e-2, torch.float16: 1e-2, torch.float32: 1e-4}
"""Largest distance of what is a mean of numbers drawn from a normal distribution."""


def usable_triton_kernels(dtype: torch.dtype, device: torch.device) -> TritonKernels | None:
    """None, after one line in the log, where a GPU that they are made for cannot run them, or has
    other numbers of them."""
    if not is_made_for(dtype, device):
        return None
    try:
        kernels = load_triton_kernels()
        if triton_kernels_are_right(kernels, dtype, device):
            return kernels
        log.warning(UNUSED, "here they give other numbers")
    except Unavailable as error:
        log.warning(UNUSED, error)
    except ImportError:
        log.warning(UNUSED, "it is not installed")
    except Exception:  # of a compiler, a driver and a linker, in dozens of classes
        log.warning(UNUSED, "they cannot be run", exc_info=True)
    return None


@torch.inference_mode()
def triton_kernels_are_right(
    kernels: TritonKernels, dtype: torch.dtype, device: torch.device
) -> bool:
    """Whether they give what torch gives of one step."""
    windows = (None, 20)
    groups = [
        KvGroup(layers=(n,), kv_heads=KV_HEADS, key_dim=WIDTH, value_dim=WIDTH, window=w)
        for n, w in enumerate(windows)
    ]
    per = (PIECE + 45) // SIZE + 1
    tables = [KvTable(group.window, (group,)) for group in groups]
    pool = KvPool(tables, [1 + len(COUNTS) * per] * len(groups), SIZE, dtype, device)
    dice = torch.Generator().manual_seed(0)
    tokens = int(COUNTS.sum())
    for blocks in pool.blocks.values():
        blocks.copy_(torch.randn(blocks.shape, generator=dice))
    qkv = torch.randn(tokens, HEADS + 2 * KV_HEADS, WIDTH, generator=dice).to(device, dtype)
    sinks = torch.linspace(-1, 1, HEADS, device=device)
    hows = How(0.125), How(0.2, windows[1], softcap=5.0, sinks=sinks)
    right, found = (
        _attend(PagedAttention(pool, kernels=each), pool, qkv, hows) for each in (None, kernels)
    )
    return all(
        bool(((one.float() - other.float()).abs() <= CLOSE[dtype]).all())
        for one, other in zip(right, found, strict=True)
    )


def _attend(
    attention: PagedAttention, pool: KvPool, qkv: torch.Tensor, hows: tuple[How, ...]
) -> list[torch.Tensor]:
    """Of each layer."""
    works, size = len(COUNTS), pool.block_size
    blocks = 1 + np.arange(works * ((PIECE + 45) // size + 1), dtype=np.int32).reshape(works, -1)
    index = np.concatenate(
        [start + np.arange(count) for start, count in zip(STARTS, COUNTS, strict=True)]
    )
    slot_mapping = (
        blocks[np.repeat(np.arange(works), COUNTS), index // size].astype(np.int64) * size
        + index % size
    )
    metadata = [
        build_metadata(
            STARTS,
            COUNTS,
            blocks,
            slot_mapping,
            size,
            qkv.device,
            window=table.window,
            on_device=on_device,
        )
        for table, on_device in zip(pool.tables, attention.on_device, strict=True)
    ]
    attention.begin(metadata)
    kv = qkv[:, HEADS:].view(len(qkv), 2, KV_HEADS, WIDTH)
    return [attention(layer, qkv[:, :HEADS], kv, how) for layer, how in enumerate(hows)]
