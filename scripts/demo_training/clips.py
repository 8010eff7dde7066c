"""Clips in which one thing moves, and their mp4 encoding."""

import io
import math
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from .pictures import Thing, draw_things, random_background, random_thing, weather
from .words import DIRECTIONS

Clip = NDArray[np.uint8]  # [frames, height, width, 3]

STEPS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}


def draw_motion(
    rng: np.random.Generator, width: int, height: int, frames: int
) -> tuple[Clip, list[list[Thing]], str]:
    """A clip, the things in each of its frames (the moving one first) and the direction of the
    motion."""
    direction = str(rng.choice(DIRECTIONS))
    track, still = _tracks(rng, width, height, direction, frames)
    background = random_background(rng)
    scenes = [[thing, *still] for thing in track]
    clip = np.stack([draw_things(background, width, height, scene) for scene in scenes])
    if rng.random() < 0.7:
        clip = _weathered(rng, clip)
    return clip, scenes, direction


def _tracks(
    rng: np.random.Generator, width: int, height: int, direction: str, frames: int
) -> tuple[list[Thing], list[Thing]]:
    """The moving thing in each frame, and the thing that stands still, if there is one."""
    unit = min(width, height)
    along_x, along_y = STEPS[direction]
    while True:
        radius = float(rng.uniform(0.14, 0.22)) * unit
        room = (width if along_x else height) - 2 * radius - 2
        distance = float(rng.uniform(0.45, 1.0)) * room
        drift = float(rng.uniform(-0.06, 0.06)) * unit
        shift_x = along_x * distance + (drift if along_y else 0.0)
        shift_y = along_y * distance + (drift if along_x else 0.0)
        x = float(rng.uniform(radius + 1, width - radius - 1))
        y = float(rng.uniform(radius + 1, height - radius - 1))
        if not _inside(x + shift_x, y + shift_y, radius, width, height):
            continue
        first = random_thing(rng, x, y, radius)
        parts = [step / (frames - 1) for step in range(frames)]
        track = [replace(first, x=x + shift_x * part, y=y + shift_y * part) for part in parts]
        if rng.random() < 0.4:
            return track, []
        for _ in range(8):
            size = float(rng.uniform(0.13, 0.2)) * unit
            other = random_thing(
                rng,
                float(rng.uniform(size + 1, width - size - 1)),
                float(rng.uniform(size + 1, height - size - 1)),
                size,
            )
            clear = all(
                math.hypot(other.x - at.x, other.y - at.y) > size + radius + 2 for at in track
            )
            if clear and other.name != first.name:
                return track, [other]


def _inside(x: float, y: float, radius: float, width: int, height: int) -> bool:
    return radius + 1 <= x <= width - radius - 1 and radius + 1 <= y <= height - radius - 1


def _weathered(rng: np.random.Generator, clip: Clip) -> Clip:
    """The same loss on every frame: the frames are treated as one tall picture."""
    frames, height, width, _ = clip.shape
    return weather(rng, clip.reshape(frames * height, width, 3)).reshape(clip.shape)


def mp4_bytes(clip: Clip, rate: int = 4) -> bytes:
    """H.264 in mp4, as a phone would send it; `rate` in frames a second."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, rate)
        stream.options = {"crf": "16", "preset": "veryfast"}
        for pixels in clip:
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            ):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()


def mp4_frames(data: bytes) -> Clip:
    with av.open(io.BytesIO(data), "r") as container:
        frames = [
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)
