"""Pixels of any type and layout into bytes, as the same picture would come out of a file. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...actors.jobs.pictures import upper_half
from ...protocol.errors import invalid

Array = NDArray[Any]

OVERSHOOT = 0.25
"""How far floats from 0 to 1 may lie beyond either end: bicubic resizing does that."""
BYTES_OVERSHOOT = 64
"""The same for floats from 0 to 255."""
NEVER_BYTES = 8
"""Floats that are negative and nowhere above this are normalised values, not bytes."""


def channels_last(array: Array, where: str) -> Array:
    """[H, W, C] from [H, W] (grey), [H, W, C] or [C, H, W]; the same with a leading time axis."""
    if array.ndim == 2:
        return array[..., None]
    if array.shape[-1] in (1, 3, 4):
        return array
    if array.shape[-3] in (1, 3, 4):
        return np.moveaxis(array, -3, -1)
    raise invalid(
        f"Pixels have 1, 3 or 4 channels, got an array of shape {list(array.shape)}.", where
    )


def to_bytes(array: Array, where: str) -> Array:
    """uint8: bytes stay, 16 bits keep their upper half as a PNG's do, floats are 0 to 1 or 0 to
    255. Raises RequestError for what has no range of its own and does not fit."""
    match array.dtype.kind, array.dtype.itemsize:
        case "u", 1:
            return array
        case "u", 2:
            return upper_half(array)
        case "b", _:
            return array.astype(np.uint8) * np.uint8(255)
        case (("i" | "u"), _):
            return _of_integers(array, where)
        case "f", _:
            return _of_floats(array, where)
    raise invalid("Pixels must be numbers.", where)


def _of_integers(array: Array, where: str) -> Array:
    low, high = _range(array)
    if low < 0 or high > 255:
        text = (
            f"Pixels of type {array.dtype.name} must be 0 to 255, got {low:g} to {high:g}; give "
            f"16-bit values as uint16."
        )
        raise invalid(text, where)
    return array.astype(np.uint8)


def _of_floats(array: Array, where: str) -> Array:
    low, high = _range(array)
    if not np.isfinite([low, high]).all():
        raise invalid("Pixels must be finite numbers.", where)
    unit = low >= -OVERSHOOT and high <= 1 + OVERSHOOT
    normalised = low < -OVERSHOOT and high <= NEVER_BYTES
    if not unit and (normalised or low < -BYTES_OVERSHOOT or high > 255 + BYTES_OVERSHOOT):
        text = (
            f"Pixels as floats must be 0 to 1 or 0 to 255, got {low:g} to {high:g}; a normalised "
            f"picture must be undone first."
        )
        raise invalid(text, where)
    pixels: Array = np.clip(np.rint(array * 255.0 if unit else array), 0, 255).astype(np.uint8)
    return pixels


def _range(array: Array) -> tuple[float, float]:
    """Smallest and largest; not finite where any value is not."""
    return (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
