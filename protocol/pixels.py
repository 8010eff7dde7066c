"""How pixels travel to a tower: as bytes, each once, and not as the numbers that it takes."""

from typing import Literal

import msgspec


class PixelForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a tower takes is `(byte - mean) / std` of its channel. One kind of features."""

    name: str
    """Of the tensor, as `get_<kind>_features` takes it."""
    axis: int
    """Where the channels are, from the end: -3 of [..., channels, height, width], -1 of patches."""
    order: Literal["planes", "pixels"]
    """Along that axis: all of one channel, then of the next; or all channels of a pixel."""
    mean: tuple[float, ...]
    """Of each channel, in bytes."""
    std: tuple[float, ...]
    repeats: int = 1
    """Times that a tower takes the pixels of each channel, one after the other: a still picture of
    a model whose patches span several frames."""
