"""Tensors in files of other programs: torch.save, .npy, safetensors. Opened here and nowhere else,
in a process that may be killed, under its memory limit, and never by a reader that could run what
is in the file.
"""

import io
import math
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ...protocol.errors import RequestError, invalid, too_large
from ...protocol.memory.shortage import shortage

NOT_READABLE = (
    "The embeddings cannot be read: they are no torch.save file of one tensor, no .npy and no "
    "safetensors."
)
_GRIDS = ("grid_thw", "image_grid_thw", "video_grid_thw")


class Packed(NamedTuple):
    values: NDArray[Any]
    """bfloat16 as its bits."""
    dtype: str
    grid: tuple[int, int, int] | None = None


def unpack(data: bytes, limit: int) -> Packed:
    """One tensor of at most `limit` bytes, and its grid where a safetensors file has one beside it.
    Raises RequestError."""
    try:
        if data[:6] == b"\x93NUMPY":
            return _npy(data, limit)
        if data[:4] == b"PK\x03\x04":
            return _torch(data, limit)
        if data[8:9] == b"{":
            return _safetensors(data, limit)
    except (RequestError, MemoryError):
        raise
    except Exception as error:  # whatever the readers raise on hostile bytes
        if shortage(error) is not None:
            raise
        raise invalid(NOT_READABLE) from error
    raise invalid(NOT_READABLE)


def grid_of(values: NDArray[Any]) -> tuple[int, int, int]:
    """(t, h, w) of a tensor (3,) or (1, 3)."""
    flat = values.reshape(-1)
    if flat.size != 3 or values.dtype.kind not in "iu":
        raise invalid(f"A grid must be three whole numbers, got shape {list(values.shape)}.")
    return int(flat[0]), int(flat[1]), int(flat[2])


def _npy(data: bytes, limit: int) -> Packed:
    file, form = io.BytesIO(data), np.lib.format
    first = form.read_magic(file) == (1, 0)
    read = form.read_array_header_1_0 if first else form.read_array_header_2_0
    shape, _, dtype = read(file)
    _check_size(shape, dtype.itemsize, limit)
    if dtype.hasobject or len(data) - file.tell() != math.prod(shape) * dtype.itemsize:
        raise invalid(NOT_READABLE)
    array = np.load(io.BytesIO(data), allow_pickle=False)
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return Packed(native, native.dtype.name)


def _torch(data: bytes, limit: int) -> Packed:
    import torch

    with ZipFile(io.BytesIO(data)) as archive:
        # torch.save packs nothing tighter: what would be inflated is none of its files.
        if sum(member.file_size for member in archive.infolist()) > len(data):
            raise invalid(NOT_READABLE)
    tensor: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return _plain(tensor, limit)


def _safetensors(data: bytes, limit: int) -> Packed:
    from safetensors.torch import load

    tensors = load(data)
    grids = [tensors.pop(name) for name in _GRIDS if name in tensors]
    if len(tensors) != 1:
        raise invalid(
            f"A safetensors file must hold one tensor beside its grid, got {len(tensors)}."
        )
    packed = _plain(next(iter(tensors.values())), limit)
    return packed._replace(grid=grid_of(grids[0].numpy())) if grids else packed


def _plain(tensor: Any, limit: int) -> Packed:
    """Of a dense tensor. What is sparse, quantised, nested or without memory of its own is refused
    before it is touched."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise invalid("The file must hold one tensor.")
    special = tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested
    if special or tensor.device.type != "cpu":
        raise invalid(
            "Embeddings must be a dense tensor: sparse, quantised and nested ones are refused."
        )
    _check_size(tuple(tensor.shape), tensor.element_size(), limit)
    if not tensor.is_contiguous():
        raise invalid("Embeddings must be a contiguous tensor; save tensor.contiguous().")
    dtype, bare = str(tensor.dtype).removeprefix("torch."), tensor.detach()
    if dtype == "bfloat16":
        return Packed(bare.view(torch.int16).numpy().view(np.uint16), dtype)
    return Packed(bare.numpy(), dtype)


def _check_size(shape: tuple[int, ...], item: int, limit: int) -> None:
    nbytes = math.prod(shape) * item
    if nbytes > limit:
        raise too_large(f"The embeddings take {nbytes} bytes; at most {limit} are taken.")
