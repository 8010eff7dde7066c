"""How pixels travel from a processor to a tower: as bytes, each once, and not as the numbers that a
tower takes."""

from typing import Literal

import msgspec


class PixelForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a tower takes is `(byte - mean) / std` of its channel. Of one kind of features, one
    tensor."""

    name: str
    """Of the tensor, as `get_<kind>_features` takes it."""
    axis: int
    """Where the channels are, from the end: -3 of [..., channels, height, width], -1 of patches."""
    order: Literal["planes", "pixels"]
    """Along that axis: all of one channel, then all of the next; or the channels of one pixel, then
    of the next."""
    mean: tuple[float, ...]
    """Of each channel, in bytes."""
    std: tuple[float, ...]
    repeats: int = 1
    """Times that a tower takes the pixels of each channel, one after the other: a still picture of
    a model whose patches span several frames."""
