"""Ready-made embeddings: everything is checked before any other process may read them. numpy alone,
no torch."""

import numpy as np
from numpy.typing import NDArray

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import invalid, too_large
from ...protocol.memory.blobs import ITEM_SIZE


def check_embeds(
    dtype: str,
    shape: tuple[int, ...],
    data: bytes | memoryview,
    width: int,
    limits: MediaLimits,
    what: str = "the model's hidden size",
) -> int:
    """Rows of a valid embedding [rows, width]. `what`: the width's name. Raises RequestError with
    got and expected."""
    if dtype not in ("float32", "float16", "bfloat16"):
        raise invalid(f"Embeddings must be float32, float16 or bfloat16, got {dtype}.")
    if len(shape) != 2:
        raise invalid(f"Embeddings must be [rows, {width}], got shape {list(shape)}.")
    if shape[1] != width:
        raise invalid(f"Embeddings must have {what} {width}, got {shape[1]}.")
    if shape[0] < 1:
        raise invalid(f"Embeddings must have at least 1 rows, got {shape[0]}.")
    nbytes = shape[0] * shape[1] * ITEM_SIZE[dtype]
    if nbytes > limits.embeds_bytes:
        raise too_large(
            f"The embeddings take {nbytes} bytes; at most {limits.embeds_bytes} are taken."
        )
    if not _finite(dtype, data):
        raise invalid("The embeddings hold values that are no finite numbers.")
    return shape[0]


def _finite(dtype: str, data: bytes | memoryview) -> bool:
    if dtype == "bfloat16":  # numpy has no such type: infinite ones have all exponent bits set
        bits: NDArray[np.uint16] = np.frombuffer(data, np.uint16)
        return not bool(((bits & 0x7F80) == 0x7F80).any())
    return bool(np.isfinite(np.frombuffer(data, dtype)).all())
