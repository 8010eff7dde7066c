"""Ready-made embeddings as callers of every face give them. Whether they fit the model is checked
in a decode worker, where a bad file can do no harm, before anything else reads them."""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...protocol.errors import RequestError, invalid
from ...protocol.requests.request import Embeds, Modality, PackedEmbeds
from .media import Pending, Raw, read_encoded
from .pixels import Array
from .unread import Unread

Grid = tuple[int, int, int]
MOST_GRID_NUMBERS = 1 << 16
"""Three per item; a longer list is a mistake."""
MOST_CHANNELS = 8
"""Of a sound: an array that is longer on both axes is not one."""


def encode_embeds(embeds: Any, grid: Any = None) -> str:
    """For `prompt_embeds`, and for parts of embeddings: base64 of a safetensors file. `embeds`:
    array or tensor [rows, hidden], floating point. `grid`: (t, h, w) in patches, for models that
    need it."""
    from safetensors.numpy import save

    array = to_numpy(embeds)
    tensors: dict[str, Array] = {"embeds": np.ascontiguousarray(array)}
    if grid is not None:
        tensors["grid_thw"] = np.asarray(
            to_numpy(grid) if is_array(grid) else grid, np.int64
        ).reshape(-1)
    return base64.b64encode(save(tensors)).decode()


def is_array(value: Any) -> bool:
    """Whether it is a numpy array or a tensor; torch itself is not imported."""
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "numpy"))


def to_numpy(value: Any) -> Array:
    """From an array, or a tensor on any device; floats that numpy does not have become float32."""
    if isinstance(value, np.ndarray):
        return value
    tensor = value.detach().cpu()
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def looks_like_embeds(modality: Modality, value: Any) -> bool:
    """Whether values or shape of a bare array are those of no picture, clip or sound."""
    if not is_array(value) or value.ndim not in (2, 3):
        return False
    if modality == "audio" and value.ndim == 2 and min(value.shape) <= MOST_CHANNELS:
        return False
    array = to_numpy(value)
    if array.dtype.kind != "f" or not array.size:
        return False
    return modality == "audio" or (array.shape[-1] not in (1, 3, 4) and bool(array.min() < 0))


def split_embeds(modality: Modality, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A dict per item, of `(N, F, H)`, a list of `(F_i, H)`, or `(total, H)` with a grid `(N,
    3)`."""
    name, where = f"{modality}_embeds", f"multi_modal_data['{modality}']"
    value = given.get(name)
    if isinstance(value, str):
        return [dict(given)]
    if name in given:
        Unread(strict=True).check(given, embeds_keys(modality), where)
    grids = _grids(given.get(f"{modality}_grid_thw"), modality, where)
    if isinstance(value, list | tuple) and all(is_array(entry) for entry in value):
        items = [to_numpy(entry) for entry in value]
    elif is_array(value):
        items = _split_array(to_numpy(value), grids, name, where)
    else:
        raise invalid(f"A dict of embeddings needs '{name}', an array or tensor.", where)
    if grids is not None and len(grids) != len(items):
        raise invalid(f"There are {len(items)} items in {name}, but {len(grids)} grids.", where)
    if grids is None:
        return [{name: item} for item in items]
    grid_name = f"{modality}_grid_thw"
    return [{name: item, grid_name: grid} for item, grid in zip(items, grids, strict=True)]


def _split_array(array: Array, grids: list[Grid] | None, name: str, where: str) -> list[Array]:
    if array.ndim == 3:
        return list(array)
    if array.ndim != 2 or grids is None or len(grids) < 2:
        return [array]
    cells = [math.prod(grid) for grid in grids]
    # A patch has equally many rows in all items.
    rows = [len(array) * count / max(1, sum(cells)) for count in cells]
    if min(cells) < 1 or any(row != int(row) for row in rows):
        text = (
            f"The {len(array)} rows of {name} cannot be divided over grids of "
            f"{', '.join(map(str, cells))} patches."
        )
        raise invalid(text, where)
    return np.split(array, np.cumsum([int(row) for row in rows])[:-1])


def embeds_keys(modality: Modality) -> tuple[str, ...]:
    """Of a dict of ready-made embeddings."""
    grid = () if modality in ("audio", "prompt") else (f"{modality}_grid_thw",)
    return (f"{modality}_embeds", *grid)


def read_embeds(
    modality: Modality, entry: Mapping[str, Any], where: str, strict: bool = False
) -> Raw:
    """One item, `{"image_embeds": ...}`: array, tensor or base64 of a file, perhaps with a grid."""
    name = f"{modality}_embeds"
    value, grid = entry.get(name), entry.get(f"{modality}_grid_thw")
    if strict and name in entry:
        Unread(strict).check(entry, embeds_keys(modality), where)
    if isinstance(value, str):
        return _packed(value, grid, modality, where)
    if not is_array(value):
        raise invalid(f"A dict of embeddings needs '{name}', an array or tensor.", where)
    array = to_numpy(value)
    if array.ndim == 3 and len(array) == 1:
        array = array[0]
    # Other floats are converted, the rest is refused below.
    if array.dtype.name not in ("float16", "float32"):
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
    if array.dtype.name not in ("float16", "float32"):
        raise invalid(f"Embeddings must be floating point, got {array.dtype.name}.", where)
    thw = _grid(grid, modality, where)
    whole = np.ascontiguousarray(array)
    data: Any = whole.data.cast("B") if whole.size else b""
    return Raw(data, array.dtype.name, array.shape, lambda blob: Embeds(blob, thw))


def read_prompt_embeds(value: Any, where: str) -> Pending:
    """The one item of a prompt of embeddings. Raises RequestError."""
    return Pending("prompt", read_embeds("prompt", {"prompt_embeds": value}, where), where)


def _packed(text: str, grid: Any, modality: Modality, where: str) -> Raw:
    data = read_encoded(text, modality, where)
    tail = read_encoded(grid, modality, where) if isinstance(grid, str) else b""
    thw = None if isinstance(grid, str) else _grid(grid, modality, where)
    whole = data + tail
    return Raw(whole, "uint8", (len(whole),), lambda blob: PackedEmbeds(blob, thw, len(tail)))


def _grid(grid: Any, modality: Modality, where: str) -> Grid | None:
    grids = _grids(grid, modality, where)
    if grids is not None and len(grids) != 1:
        raise invalid(
            f"{modality}_grid_thw has one row (t, h, w) per item, got {len(grids)}.", where
        )
    return grids[0] if grids else None


def _grids(grid: Any, modality: Modality, where: str) -> list[Grid] | None:
    """The rows of a grid (3,) or (N, 3)."""
    if grid is None:
        return None
    try:
        array = np.asarray(to_numpy(grid) if is_array(grid) else grid)
    except ValueError:
        raise _no_grid(modality, where) from None
    if (
        array.ndim not in (1, 2)
        or array.shape[-1] != 3
        or array.dtype.kind not in "iu"
        or array.size > MOST_GRID_NUMBERS
    ):
        raise _no_grid(modality, where)
    return [(int(t), int(h), int(w)) for t, h, w in array.reshape(-1, 3)]


def _no_grid(modality: Modality, where: str) -> RequestError:
    return invalid(f"{modality}_grid_thw must be whole numbers (t, h, w), one row per item.", where)
