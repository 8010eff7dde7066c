"""Pictures: from encoded bytes or from pixels to RGB, by content, under limits."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ....protocol.errors import refuse
from ....protocol.roles import MediaLimits
from .options import WHITE

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Decoders that may run. No formats that start programs, follow references or have a history of faults."""
NOT_DECODABLE = "The picture cannot be decoded: it is no PNG, JPEG, WebP, GIF, BMP or TIFF."
DAMAGED = "The picture cannot be decoded: its data is damaged or cut off."

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked first, from the header


def decode_image(data: bytes, limits: MediaLimits, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """RGB, upright. Raises RequestError."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise refuse("unprocessable_media", NOT_DECODABLE) from error
    except MemoryError:
        raise
    except Exception as error:  # of a header that is right so far
        raise refuse("unprocessable_media", DAMAGED) from error
    check_pixels(image.width, image.height, limits)
    try:
        image.load()
        return flatten(ImageOps.exif_transpose(image), background)
    except MemoryError:
        raise
    except Exception as error:  # each of PIL's decoders raises its own
        raise refuse("unprocessable_media", DAMAGED) from error


def image_of_pixels(pixels: NDArray[np.uint8], mode: str, limits: MediaLimits, background: tuple[int, int, int]) -> Image.Image:
    """From [H, W] or [H, W, C] uint8 of PIL mode `mode`."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode)
    if (
        channels is None
        or pixels.ndim not in (2, 3)
        or (pixels.shape[2] if pixels.ndim == 3 else 1) != channels
        or not pixels.size
    ):
        raise refuse("invalid_request", f"An image of shape {list(pixels.shape)} has not the layout of mode {mode}.")
    check_pixels(pixels.shape[1], pixels.shape[0], limits)
    size = (pixels.shape[1], pixels.shape[0])
    return flatten(Image.frombytes(mode, size, np.ascontiguousarray(pixels).tobytes()), background)


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """To RGB; what is transparent shows the background."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*background, 255))
        canvas.alpha_composite(layer)
        return canvas.convert("RGB")
    if image.mode.startswith("I;16"):  # PIL would clip at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.pixels:
        raise refuse("too_large", f"The picture has {width}x{height} pixels; at most {limits.pixels} are taken.")
    if width < 1 or height < 1:
        raise refuse("unprocessable_media", "The picture has no pixels.")
