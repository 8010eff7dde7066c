"""Which frames of a clip are looked at: pure arithmetic."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ...protocol.errors import undecodable
from ..jobs.options import MOST_FPS, MOST_FRAMES

ModelChoice = Callable[[int, float], list[int] | None]
"""Which frames the model itself would look at, of so many at so many a second; None: it leaves that
to others."""


class Sampling(NamedTuple):
    """How a caller and a model want a clip's frames chosen."""

    num_frames: int | None
    """Uniformly over the clip; None: nobody says how many."""
    fps: float | None
    """Frames per second; with `num_frames`, whichever gives fewer."""
    max_frames: int | None
    """The operator's bound."""
    max_duration: float
    max_fps: float | None = None
    """The operator's bound of a rate that the model chose."""
    default: int | None = None
    """How many where neither caller nor model says it."""
    model: ModelChoice | None = None
    told: bool = False
    """Decoding was told what to do: what the model would look at is not asked for."""


def sampling_of(
    processor: dict[str, Any],
    io: dict[str, Any],
    default: int | None,
    model: ModelChoice,
    max_duration: float,
) -> Sampling:
    """Options of the request before the operator's before the model's. -1 frames: all."""
    asked = processor.get("num_frames", io.get("num_frames"))
    fps = processor.get("fps", io.get("fps"))
    most = io.get(MOST_FPS)
    two = processor.keys() >= {"num_frames", "fps"}  # which the model's own processor would refuse
    return Sampling(
        None if asked == -1 else asked,
        fps if fps is None or most is None else min(fps, most),
        io.get(MOST_FRAMES),
        min(max_duration, io.get("max_duration", max_duration)),
        most,
        None if asked == -1 else default,
        model,
        bool(io.keys() & {"num_frames", "fps"}) or asked == -1 or two,
    )


def rate_of(times: Sequence[int], tick: Fraction, stated: float | None) -> float | None:
    """Frames a second on average, of frames shown at `times`, `tick` seconds each. What the header
    states counts where it is near: it is exact where times are rounded."""
    if len(times) < 2 or times[-1] <= times[0]:
        return stated
    measured = float((len(times) - 1) / ((times[-1] - times[0]) * tick))
    return stated if stated is not None and abs(stated - measured) <= 0.02 * measured else measured


def choose(
    total: int, rate: float | None, sampling: Sampling, times: Sequence[int] | None = None
) -> list[int]:
    """Indices of the frames to keep, rising, of `total` frames at `rate` per second on average.

    `times` are when each is shown: then the frames seen at evenly spaced moments are kept, which at
    a constant rate are evenly spaced frames. A clip that lasts longer than `max_duration` is looked
    at as often as one that lasts so long.
    """
    if total < 1:
        raise undecodable("The clip holds no frames.")
    own = sampling.model(total, rate) if sampling.model is not None and rate else None
    if own is None or sampling.told:
        count = _asked(total, rate, sampling, own is not None)
    else:
        count = _bounded(len(own), total, rate or 0.0, sampling)
        if count == len(own):
            return own
    if count >= total:
        return list(range(total))
    if count == 1:
        return [0]
    if times is None:
        times = range(total)
    first, last = times[0], times[-1]
    moments = (first + index * (last - first) // (count - 1) for index in range(count))
    return [bisect_right(times, moment) - 1 for moment in moments]


def _asked(total: int, rate: float | None, sampling: Sampling, by_rate: bool) -> int:
    """How many frames who asks for some comes to. `by_rate`: the model looks at as many as a rate
    gives."""
    counts = [total, sampling.num_frames, sampling.max_frames]
    if sampling.num_frames is None and not (by_rate and sampling.fps is not None):
        counts.append(sampling.default)
    if sampling.fps is not None and rate:
        counts.append(max(1, int(min(total / rate, sampling.max_duration) * sampling.fps)))
    return min(count for count in counts if count is not None)


def _bounded(own: int, total: int, rate: float, sampling: Sampling) -> int:
    """How many of the frames that the model would look at the operator lets it."""
    seconds = min(total / rate, sampling.max_duration)
    counts = [own, sampling.max_frames]
    if seconds < total / rate and sampling.model is not None:
        counts.append(len(sampling.model(max(1, int(seconds * rate)), rate) or ()) or None)
    if sampling.max_fps is not None:
        counts.append(max(1, int(seconds * sampling.max_fps)))
    return min(count for count in counts if count is not None)
