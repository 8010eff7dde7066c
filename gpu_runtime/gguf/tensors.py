"""The numbers of a GGUF file's tensors, unpacked by the gguf library piece by piece."""

from pathlib import Path
from typing import Any

import numpy as np

from ...protocol.checkpoint.gguf_file import GgufFile

PIECE = 32 << 20
"""Bytes of numbers that are unpacked at once: the library takes several times as much beside
them."""


def floats(path: Path, file: GgufFile, name: str) -> Any:
    """float32 [rows, ...]: the tensor of this name, as a numpy array of its own."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    tensor = file.tensors[name]
    packed = np.memmap(
        path, np.uint8, "r", tensor.start, (tensor.size // tensor.row_bytes, tensor.row_bytes)
    )
    made = np.empty((len(packed), tensor.shape[-1]), np.float32)
    rows = max(1, PIECE // made.strides[0])
    for begin in range(0, len(packed), rows):
        part = slice(begin, begin + rows)
        made[part] = dequantize(packed[part], GGMLQuantizationType(tensor.kind))
    return made.reshape(tensor.shape)
