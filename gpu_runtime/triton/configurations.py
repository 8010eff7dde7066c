"""How the kernels are launched: a plain table, and what is fixed when a kernel is compiled.

What the table must hold to is counted by the compiler (the tests read it from there): no register
is spilled, and shared memory fits the smallest processors from compute capability 8.0 on. Speed was
not measured.
"""

from typing import Any

from ...protocol.facts import SpanWindows
from ..layers.how import How

PIECE = 256
"""Tokens of a context that one program of the decode kernel reads. Cuts lie at fixed positions, so
a row's result is the same in every company."""
WIDEST = 512
"""Columns of a head; beyond it a tile does not fit."""
SHARED_BYTES = 99 << 10
"""Of compute capability 8.6 and 8.9; others have more."""
FEWEST = 16
"""Rows and columns that tensor cores take."""
CUTS: dict[SpanWindows | None, int] = {None: 0, "behind": 1, "both": 2, "none": 3}
"""How the kernels call what a window cuts of a span; None: no token sees those behind it."""


def decode_form(heads: int, kv_heads: int, width: int, how: How) -> dict[str, Any]:
    """Of `decode_kernel` for one layer."""
    group = heads // kv_heads
    rows = max(FEWEST, padded(group))
    tile = 64 if width <= 64 else 32 if width <= 256 else 16
    fixed = _fixed(heads, kv_heads, width, how) | {"GROUP_P": rows, "PIECE": PIECE, "TILE": tile}
    return fixed | {"num_warps": 8 if rows > 32 or width > 256 else 4, "num_stages": 2}


def merge_form(heads: int, width: int, how: How) -> dict[str, Any]:
    """Of `merge_kernel`."""
    shape = {"HEADS": heads, "WIDTH": width, "WIDTH_P": columns(width)}
    return shape | {"WINDOW": how.window or 0, "PIECE": PIECE, "num_warps": 4}


def prefill_form(
    heads: int, kv_heads: int, width: int, how: How, spans: SpanWindows | None
) -> dict[str, Any]:
    """Of `prefill_kernel`."""
    rows = max(128 if width <= 128 else 64 if width <= 256 else 32, padded(heads // kv_heads))
    tile = 64 if 32 < width <= 64 else 32
    fixed = _fixed(heads, kv_heads, width, how) | {"SPANS": CUTS[spans], "ROWS": rows, "TILE": tile}
    return fixed | {"num_warps": 8, "num_stages": 2}


def _fixed(heads: int, kv_heads: int, width: int, how: How) -> dict[str, Any]:
    shape = {"GROUP": heads // kv_heads, "KV_HEADS": kv_heads}
    shape |= {"WIDTH": width, "WIDTH_P": columns(width)}
    asked = {"WINDOW": how.window or 0, "CAP": how.softcap or 0.0, "SINKS": how.sinks is not None}
    return shape | asked


def columns(width: int) -> int:
    return max(FEWEST, padded(width))


def padded(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
