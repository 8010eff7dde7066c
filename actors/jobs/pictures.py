"""What is done to every picture, whether it came as a file or as an object: its way up by its EXIF
data, 16 bits as eight, and whether it may be transparent."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def upright(image: "Image.Image") -> "Image.Image":
    """As PIL's `exif_transpose`, which writes the rest of the EXIF data anew and fails where that
    cannot be read: a picture whose data is damaged stays as it is."""
    from PIL.Image import Transpose

    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # each of its readers raises its own
        return image
    return image if turn is None else image.transpose(Transpose[turn])


def may_be_clear(image: "Image.Image") -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def upper_half(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Of values of 16 bits, as a PNG's are shown."""
    return (values >> 8).astype(np.uint8)
