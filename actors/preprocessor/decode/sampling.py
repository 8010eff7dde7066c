"""Which frames of a clip are looked at: pure arithmetic."""

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ....protocol.errors import refuse
from .options import MOST_FPS, MOST_FRAMES


class Sampling(NamedTuple):
    """How a caller and a model want a clip's frames chosen."""

    num_frames: int | None
    """Uniformly over the clip; None: all."""
    fps: float | None
    """Frames per second; with `num_frames`, whichever gives fewer."""
    max_frames: int | None
    """The model's own bound, where it samples by rate and nobody asks for a number, and the operator's."""
    max_duration: float


def sampling_of(
    processor: dict[str, Any], io: dict[str, Any], default_frames: int | None, model_fps: float | None, model_max: int | None,
    max_duration: float,
) -> Sampling:  # fmt: skip
    """Options of the request before the operator's before the model's. -1 frames: all."""
    asked = processor.get("num_frames", io.get("num_frames"))
    fps = processor.get("fps", io.get("fps"))
    if asked is None and fps is None:
        fps = model_fps
    by_rate = asked is None and model_fps is not None
    num = asked if asked is not None else (None if fps is not None and model_fps is not None else default_frames)
    if fps is not None:
        fps = min(fps, io.get(MOST_FPS, fps))
    bounds = [bound for bound in (model_max if by_rate else None, io.get(MOST_FRAMES)) if bound is not None]
    return Sampling(
        None if num == -1 else num,
        fps,
        min(bounds, default=None),
        min(max_duration, io.get("max_duration", max_duration)),
    )


def rate_of(times: Sequence[int], tick: Fraction, stated: float | None) -> float | None:
    """Frames a second on average, of frames shown at `times`, `tick` seconds each. What the header states counts where it
    is near: it is exact where times are rounded."""
    if len(times) < 2 or times[-1] <= times[0]:
        return stated
    measured = float((len(times) - 1) / ((times[-1] - times[0]) * tick))
    return stated if stated is not None and abs(stated - measured) <= 0.02 * measured else measured


def choose(total: int, rate: float | None, sampling: Sampling, times: Sequence[int] | None = None) -> list[int]:
    """Indices of the frames to keep, rising, of `total` frames at `rate` per second on average.

    `times` are when each is shown: then the frames seen at evenly spaced moments are kept, which at a constant rate are
    evenly spaced frames. A clip that lasts longer than `max_duration` is looked at as often as one that lasts so long.
    """
    if total < 1:
        raise refuse("unprocessable_media", "The clip holds no frames.")
    count = total
    if sampling.num_frames is not None:
        count = min(count, sampling.num_frames)
    if sampling.fps is not None and rate:
        seconds = min(total / rate, sampling.max_duration)
        count = min(count, max(1, int(seconds * sampling.fps)))
    if sampling.max_frames is not None:
        count = min(count, sampling.max_frames)
    if count >= total:
        return list(range(total))
    if count == 1:
        return [0]
    if times is None:
        times = range(total)
    first, last = times[0], times[-1]
    moments = (first + index * (last - first) // (count - 1) for index in range(count))
    return [bisect_right(times, moment) - 1 for moment in moments]
