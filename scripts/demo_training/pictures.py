"""Draws pictures of coloured shapes and of digits, anti-aliased, on light backgrounds of any
size."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .words import COLOURS, RGB, SHAPES, thing_name

Pixels = NDArray[np.uint8]  # [height, width, 3]

OVERSAMPLING = 3  # drawn this much larger, then averaged down: that is the anti-aliasing


@dataclass(frozen=True)
class Thing:
    """One shape on a canvas; lengths in pixels of the finished picture."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    turn: float = 0.0  # radians

    @property
    def name(self) -> str:
        return thing_name(self.colour, self.shape)


def random_thing(rng: np.random.Generator, x: float, y: float, radius: float) -> Thing:
    colour = str(rng.choice(list(COLOURS)))
    return Thing(colour, str(rng.choice(SHAPES)), x, y, radius, float(rng.uniform(-0.25, 0.25)))


def place(
    rng: np.random.Generator, width: int, height: int, radii: list[float]
) -> list[tuple[float, float]]:
    """Centres for discs of these radii that neither touch each other nor the border."""
    while True:
        centres: list[tuple[float, float]] = []
        for radius in radii:
            for _ in range(30):
                x = float(rng.uniform(radius + 1, width - radius - 1))
                y = float(rng.uniform(radius + 1, height - radius - 1))
                distances = (
                    math.hypot(x - a, y - b) - radius - other
                    for (a, b), other in zip(centres, radii, strict=False)
                )
                if all(distance > 2 + 0.1 * radius for distance in distances):
                    centres.append((x, y))
                    break
        if len(centres) == len(radii):
            return centres


def draw_things(background: RGB, width: int, height: int, things: list[Thing]) -> Pixels:
    image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), background)
    pen = ImageDraw.Draw(image)
    for thing in things:
        _draw_shape(pen, thing)
    return np.asarray(image.reduce(OVERSAMPLING))


def _draw_shape(pen: ImageDraw.ImageDraw, thing: Thing) -> None:
    fill = COLOURS[thing.colour]
    x, y, radius = (OVERSAMPLING * value for value in (thing.x, thing.y, thing.radius))
    if thing.shape == "circle":
        side = radius * 0.92
        pen.ellipse((x - side, y - side, x + side, y + side), fill=fill)
        return
    corners = [
        (
            x + radius * r * math.cos(angle + thing.turn - math.pi / 2),
            y + radius * r * math.sin(angle + thing.turn - math.pi / 2),
        )
        for angle, r in OUTLINES[thing.shape]
    ]
    pen.polygon(corners, fill=fill)


def _cross_outline() -> list[tuple[float, float]]:
    arm = 0.3
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    points = [
        (px * math.cos(k * math.pi / 2) - py * math.sin(k * math.pi / 2),
         px * math.sin(k * math.pi / 2) + py * math.cos(k * math.pi / 2))
        for k in range(4)
        for px, py in quarter
    ]  # fmt: skip
    return [(math.atan2(py, px) + math.pi / 2, math.hypot(px, py)) for px, py in points]


# Corners of each shape as (angle from the top, share of the radius).
OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(math.pi * (0.25 + 0.5 * k), 1.1) for k in range(4)],
    "triangle": [(math.tau * k / 3, 1.1) for k in range(3)],
    "star": [(math.pi * k / 5, 1.12 if k % 2 == 0 else 0.46) for k in range(10)],
    "cross": _cross_outline(),
}


def random_background(rng: np.random.Generator) -> RGB:
    """White to light grey, sometimes with a slight tint."""
    level = float(rng.uniform(215, 255))
    tint = rng.uniform(-8, 8, 3) * (rng.random() < 0.5)
    red, green, blue = (int(value) for value in np.clip(level + tint, 200, 255))
    return red, green, blue


def draw_digits(
    rng: np.random.Generator, digits: str, width: int, height: int
) -> tuple[Pixels, list[tuple[float, float]]]:
    """The digits from left to right, slightly turned and shifted; also the centre of each."""
    scale = OVERSAMPLING
    colour = COLOURS[str(rng.choice(list(COLOURS)))] if rng.random() < 0.5 else (30, 30, 30)
    if colour == COLOURS["yellow"]:  # yellow ink on white paper is hard to read for anybody
        colour = COLOURS["blue"]
    image = Image.new("RGB", (width * scale, height * scale), random_background(rng))
    tallest = min(height * 0.78, width / len(digits) * 1.45)
    size = float(rng.uniform(max(0.72 * tallest, min(20.0, tallest)), tallest))
    advance = size * 0.62 * float(rng.uniform(1.0, 1.12))
    advance = min(advance, width / len(digits))
    left = float(rng.uniform(0.0, max(0.01, width - advance * len(digits))))
    middle = float(rng.uniform(0.5 * size * 0.85, height - 0.5 * size * 0.85))
    centres: list[tuple[float, float]] = []
    for index, digit in enumerate(digits):
        x = left + advance * (index + 0.5)
        y = middle + float(rng.uniform(-0.04, 0.04)) * size
        _stamp_digit(
            image, digit, x * scale, y * scale, size * scale, float(rng.uniform(-5, 5)), colour
        )
        centres.append((x, y))
    return np.asarray(image.reduce(scale)), centres


def _stamp_digit(
    image: Image.Image, digit: str, x: float, y: float, size: float, degrees: float, colour: RGB
) -> None:
    side = int(size * 1.5)
    mask = Image.new("L", (side, side), 0)
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(mask).text(
        (side / 2, side / 2), digit, fill=255, font=font, anchor="mm", stroke_width=size * 0.02
    )
    mask = mask.rotate(degrees, resample=Image.Resampling.BILINEAR)
    image.paste(colour, (int(x - side / 2), int(y - side / 2)), mask)


def weather(rng: np.random.Generator, pixels: Pixels, strength: float = 1.0) -> Pixels:
    """What cameras and codecs do to a picture: a little blur, JPEG loss, noise."""
    if rng.random() < 0.2 * strength:
        image = Image.fromarray(pixels).filter(
            ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.8)))
        )
        pixels = np.asarray(image)
    if rng.random() < 0.35 * strength:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(50, 96)))
        pixels = np.asarray(Image.open(buffer))
    if rng.random() < 0.6 * strength:
        noise = rng.standard_normal(pixels.shape, dtype=np.float32) * float(rng.uniform(0.5, 6.0))
        pixels = np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8)
    return pixels
