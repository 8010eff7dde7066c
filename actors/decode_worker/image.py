"""Pictures: from encoded bytes or from pixels to RGB, by content, under limits."""

import io
import re
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, invalid, too_large, undecodable
from ..jobs.options import WHITE
from ..jobs.pictures import may_be_clear, upper_half, upright
from . import png
from .picture_cost import check_cost

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Decoders that may run. No formats that start programs, follow references or have a history of
faults."""
BAND = 1 << 20
"""Pixels of a picture that are laid over its background at a time."""
NOT_DECODABLE = (
    "The picture cannot be decoded: it is no PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC."
)
DAMAGED = "The picture cannot be decoded: its data is damaged or cut off."
NO_HEIF = (
    "The picture is HEIC, which this server does not read; install thespis[heif] there, or send "
    "JPEG, PNG or AVIF."
)
OTHERS = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "a PDF"),
    (b"<svg", "an SVG"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon"),
)
"""What people send that is not read, by its first bytes."""
_HEIF = re.compile(rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL)

Image.MAX_IMAGE_PIXELS = None  # our own limit is checked first, from the header
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a pool of workers shares the cores with the runner


def decode_image(
    data: bytes, limits: MediaLimits, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """RGB, upright. Raises RequestError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # PIL's, about damage that does not matter
            image = open_image(data, limits)
            image.load()
            image = upright(image)  # what it was goes: large pictures have no room for it
            return flatten(image, background)
    except (MemoryError, RequestError):
        raise
    except Exception as error:  # each of PIL's decoders raises its own
        raise undecodable(DAMAGED) from error


def open_image(data: bytes, limits: MediaLimits) -> Image.Image:
    """With its header read and checked, and nothing decoded. Raises RequestError."""
    image = _open(data)
    check_pixels(image.width, image.height, limits)
    check_cost(image.format, data, image.width * image.height, limits)
    return image


def _open(data: bytes) -> Image.Image:
    formats: tuple[str, ...] = FORMATS
    if _HEIF.match(data) and b"avif" not in data[8:64]:
        formats = (_register_heif(),)
    plain = png.plain(data) if data.startswith(png.MAGIC) else data
    try:
        return Image.open(io.BytesIO(plain), formats=formats)
    except UnidentifiedImageError as error:
        raise undecodable(_not_decodable(data)) from error


def _register_heif() -> str:
    """The name of the reader, which is an extra. Raises RequestError where it is not installed."""
    if find_spec("pillow_heif") is None:
        raise undecodable(NO_HEIF, code="heif_not_installed")
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.register_heif_opener(thumbnails=False)
    return "HEIF"


def _not_decodable(data: bytes) -> str:
    if data[4:11] == b"ftypavi":
        return DAMAGED
    start = data[:64].lstrip()
    name = next((name for magic, name in OTHERS if start.startswith(magic)), None)
    if name is None:
        return NOT_DECODABLE
    if name == "a PDF":
        return "The picture is a PDF, which is a document: send it in a part of type `file`."
    return f"The picture is {name}, which is not read; save it as PNG, JPEG, WebP or AVIF."


def image_of_pixels(
    pixels: NDArray[np.uint8], mode: str, limits: MediaLimits, background: tuple[int, int, int]
) -> Image.Image:
    """From [H, W] or [H, W, C] uint8 of PIL mode `mode`."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    channels = pixels.shape[2] if pixels.ndim == 3 else int(pixels.ndim == 2)
    if {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}.get(mode) != channels or not pixels.size:
        raise invalid(f"An image of shape {list(pixels.shape)} has not the layout of mode {mode}.")
    size = (pixels.shape[1], pixels.shape[0])
    check_pixels(*size, limits)
    return flatten(Image.frombytes(mode, size, np.ascontiguousarray(pixels).tobytes()), background)


def flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """To RGB; what is transparent shows the background."""
    if image.mode.startswith("I;16") and (clear := image.info.get("transparency")) is not None:
        values = np.asarray(image)
        levels = [_of_deep(values, image.mode), np.where(values == clear, 0, 255).astype(np.uint8)]
        image = Image.merge("LA", [Image.fromarray(level) for level in levels])
    if may_be_clear(image):
        return _over(image, background)
    if image.mode[0] in "IF":  # PIL would clip at 255
        image = Image.fromarray(_of_deep(np.asarray(image), image.mode))
    return image if image.mode == "RGB" else image.convert("RGB")


def _over(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """A few rows at a time: PIL makes four copies on the way, for which the largest pictures that
    are taken have no room."""
    made, rows = Image.new("RGB", image.size), max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        layer = image.crop(box).convert("RGBA")
        canvas = Image.new("RGBA", layer.size, (*background, 255))
        canvas.alpha_composite(layer)
        made.paste(canvas.convert("RGB"), box)
    return made


def _of_deep(values: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    """uint8 of one channel of more bits: 16 by their upper half; wider ones are 8 or 16 bits,
    floats 0 to 1 or 0 to 255."""
    if mode.startswith("I;16"):
        return upper_half(values)
    top = float(values.max(initial=0))
    if not np.isfinite(values).all() or top >= 1 << 16 or (mode == "F" and top > 256):
        raise undecodable(
            "The picture's values have no known range; save it with 8 or 16 bits a channel."
        )
    scale = 255.0 if mode == "F" and top <= 1 else 1 / 256 if top > 255 else 1.0
    rounded = values * scale + (0.5 if mode == "F" else 0.0)
    pixels: NDArray[np.uint8] = np.clip(rounded, 0, 255).astype(np.uint8)
    return pixels


def check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.pixels:
        raise too_large(
            f"The picture has {width}x{height} pixels; at most {limits.pixels} are taken."
        )
    if width < 1 or height < 1:
        raise undecodable("The picture has no pixels.")
