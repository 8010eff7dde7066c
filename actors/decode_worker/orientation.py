"""Which way up a picture is, by its EXIF data, which may be damaged: then it stays as it is."""

from PIL import Image

ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """As PIL's `exif_transpose`, which writes the rest of the EXIF data anew and fails where that
    cannot be read."""
    try:
        turn = _TURNS.get(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # each of its readers raises its own
        return image
    return image if turn is None else image.transpose(turn)
