"""Pictures by their headers: how large they are shown. Nothing is decoded."""

import io
import warnings
from typing import Any

from PIL import Image

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, undecodable
from ..jobs.options import WHITE
from ..jobs.pictures import ORIENTATION
from . import png
from .container import ends_behind_file
from .image import DAMAGED, open_image

_LYING = (5, 6, 7, 8)
"""Orientations of pictures that are shown on their side."""
_TIFF_PIECES = ((273, 279), (324, 325))
"""Tags of where strips and tiles begin, and of their bytes."""


def look_image(
    data: bytes, limits: MediaLimits, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """Without content, RGB, of the size that the picture has when it is upright. Raises
    RequestError as decoding would, for what its structure shows."""
    try:
        with warnings.catch_warnings(action="ignore"):  # PIL's, about damage that does not matter
            image = open_image(data, limits)
            if _cut_off(image, data):
                raise undecodable(DAMAGED)
            width, height = image.size
            if _orientation(image, data) in _LYING:
                width, height = height, width
    except (MemoryError, RequestError):
        raise
    except Exception as error:  # each of PIL's readers raises its own
        raise undecodable(DAMAGED) from error
    return Image.new("RGB", (width, height), None)  # whose memory nobody has touched


def _orientation(image: Image.Image, data: bytes) -> int:
    """1 where none is told, or what tells it is damaged."""
    if image.format == "TIFF":  # PIL turns it, and tells the size of what it turned
        return 1
    try:
        if image.format == "PNG":  # PIL would decode it to see what stands behind its pixels
            with Image.open(io.BytesIO(png.one_pixel(png.plain(data))), formats=("PNG",)) as one:
                one.load()
                return int(one.getexif().get(ORIENTATION, 1))
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # each of its readers raises its own
        return 1


def _cut_off(image: Any, data: bytes) -> bool:
    """Whether the file says that it is longer than what has come."""
    match image.format:
        case "PNG":
            pieces = list(png.chunks(data))
            drawn = [end for kind, _, end in pieces if kind == b"IDAT"]
            return not drawn or drawn[-1] > len(data) or pieces[-1][0] != b"IEND"
        case "JPEG" | "MPO":
            return not 0 <= data.rfind(b"\xff\xda") < data.rfind(b"\xff\xd9")
        case "WEBP":
            return 8 + int.from_bytes(data[4:8], "little") > len(data) + 1
        case "GIF":
            return _cut_gif(data, image.tile[0][2])
        case "TIFF":
            return _cut_tiff(image, len(data))
        case "BMP":
            return any(_raw_end(tile) > len(data) for tile in image.tile if tile[0] == "raw")
        case _:  # AVIF, HEIF
            return ends_behind_file(data)


def _cut_gif(data: bytes, at: int) -> bool:
    """`at`: where the first picture's blocks begin."""
    while at < len(data):
        if not data[at]:
            return False
        at += 1 + data[at]
    return True


def _cut_tiff(image: Image.Image, length: int) -> bool:
    tags = getattr(image, "tag_v2", {})
    for places, sizes in _TIFF_PIECES:
        ends = map(sum, zip(tags.get(places, ()), tags.get(sizes, ()), strict=False))
        if max(ends, default=0) > length:
            return True
    return False


def _raw_end(tile: Any) -> int:
    """Where a picture's plain rows end in its file."""
    _, (_, top, _, bottom), offset, (_, stride, *_) = tile
    return int(offset + (bottom - top) * stride)
