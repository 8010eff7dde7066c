"""Frames as a player shows them: turned and mirrored by the display matrix of their file."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


def rgb(frame: Any) -> Frame:
    """[H, W, 3] of a PyAV frame."""
    pixels: Frame = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return pixels if matrix is None else _turned(pixels, bytes(matrix))


def _turned(pixels: Frame, matrix: bytes) -> Frame:
    """By the nearest of the eight ways; (x, y) is shown at (a x + c y, b x + d y)."""
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if max(abs(b), abs(c)) > max(abs(a), abs(d)):
        return np.swapaxes(pixels, 0, 1)[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
