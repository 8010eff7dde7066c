"""Clips: only the chosen frames are kept in memory."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from ...gpu_runtime.processing import Clip
from ...protocol.config.roles import MediaLimits
from ...protocol.errors import invalid, too_large, undecodable
from .animation import Animation, animation_of, frames_of
from .container import cut_off, open_container, seconds_of
from .display import rgb
from .image import decode_image
from .sampling import Sampling, choose, rate_of
from .sniff import VIDEO_FORMATS

NOT_DECODABLE = (
    "The video cannot be decoded: it is no MP4, MOV, WebM, Matroska, AVI, GIF, TS, MPG, FLV, WMV, "
    "OGV, APNG or animated WebP, or its data is damaged."
)
DAMAGED = "The video is damaged: frames are missing or cannot be decoded."
BROADCAST = ("mpegts", "mpeg", "mpegvideo")
_COVER = Disposition.attached_pic
ANIMATION_WORK = 8
"""What a pixel of an animated picture costs, against one of a video."""

Frames = NDArray[np.uint8]


def decode_video(
    data: bytes, limits: MediaLimits, sampling: Sampling, recover: bool = False
) -> Clip:
    """Of the frames that a player shows those that are chosen. `recover`: one that cannot be
    decoded is replaced by the next good one. Raises RequestError."""
    if (animation := animation_of(data)) is not None:
        return _animated(animation, limits, sampling)
    with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:
        stream = _stream(container)
        size = stream.codec_context.width, stream.codec_context.height
        times, cut = _expected(container, stream, limits)
        if not recover and (cut or cut_off(data)):
            raise undecodable(DAMAGED)
        chosen = _choose(times, stream, sampling)
        check_frames(len(chosen), *size, limits)
    for second in (False, True):
        # From the start again: GIF cannot seek.
        with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:
            stream = _stream(container)
            shown = Shown(chosen, limits)
            shown.take(_decoded(container, stream, recover))
            truth = chosen
            if not (shown.over or shown.lost):
                times, truth = shown.times, _choose(shown.times, stream, sampling)
            # Here: where the file has been closed, the stream's memory is another's.
            rate = _rate(times, stream)
        if second or truth == chosen:
            break
        # Packets and frames are not the same: hidden frames, fields, lost references.
        chosen = truth
    return Clip(shown.frames(recover), rate, tuple(chosen), len(times))


def frames_of_array(
    frames: Frames, rate: float | None, limits: MediaLimits, sampling: Sampling | None
) -> tuple[Frames, list[int]]:
    """Those of [T, H, W, 3] that are chosen, and which they are; `sampling` None takes all."""
    if frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise invalid(f"A video must be frames [T, H, W, 3], got shape {list(frames.shape)}.")
    chosen = list(range(len(frames)))
    if sampling is not None:
        chosen = choose(len(frames), rate, sampling)
    check_frames(len(chosen), frames.shape[2], frames.shape[1], limits)
    return frames if len(chosen) == len(frames) else frames[chosen], chosen


def frames_of_pictures(
    pictures: Sequence[bytes], limits: MediaLimits, sampling: Sampling, rate: float | None
) -> tuple[Frames, list[int]]:
    """[T, H, W, 3] of encoded pictures, one a frame, of which only the chosen ones are decoded; and
    which they are."""
    chosen = choose(len(pictures), rate, sampling)
    kept: list[Frames] = []
    for index in chosen:
        frame = np.asarray(decode_image(pictures[index], limits))
        check_frames(len(chosen), frame.shape[1], frame.shape[0], limits)
        if kept and frame.shape != kept[0].shape:
            raise undecodable("All frames of a clip must have one size.")
        kept.append(frame)
    return np.stack(kept), chosen


def check_frames(count: int, width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.pixels:
        raise too_large(
            f"The video has {width}x{height} pixels a frame; at most {limits.pixels} are taken."
        )
    if count * width * height * 3 > limits.memory // 2:
        raise too_large(
            f"{count} frames of {width}x{height} pixels are more than a request may hold; ask "
            f"for fewer."
        )
    if width < 1 or height < 1:
        raise undecodable(NOT_DECODABLE)


def check_work(frames: int, width: int, height: int, limits: MediaLimits) -> None:
    """All frames up to the last that is chosen are decoded, each from the one before."""
    if frames * width * height > limits.video_pixels:
        raise too_large(
            f"The video has {frames} frames of {width}x{height} pixels, more work than a video "
            f"may make; send fewer or smaller.",
            code="media_cost",
        )


class Shown:
    """What came out of one decode: the frames that were chosen, and when all of them were shown."""

    def __init__(self, chosen: list[int], limits: MediaLimits) -> None:
        self._chosen = chosen
        self._limits = limits
        self._kept: list[Frames] = []
        self.times: list[int | None] = []
        self.lost = False
        """Frames could not be decoded."""
        self.over = False
        """The last frame that was chosen is there, and none after it matters."""

    def take(self, frames: Iterator[Any]) -> None:
        """Convert the chosen ones alone; one that is lost (None) is replaced by the next."""
        chosen, kept = self._chosen, self._kept
        for index, frame in enumerate(frames):
            self.times.append(None if frame is None else frame.pts)
            self.lost |= frame is None
            due = bisect_right(chosen, index) - len(kept)
            if frame is not None and due > 0:
                check_frames(len(chosen), frame.width, frame.height, self._limits)
                kept += [rgb(frame)] * due
            if chosen == [0] and kept:
                self.over = True
                return

    def frames(self, recover: bool) -> Frames:
        kept = self._kept
        if not kept:
            raise undecodable(NOT_DECODABLE)
        if len(kept) < len(self._chosen):
            if not recover:
                raise undecodable(DAMAGED)
            kept += [kept[-1]] * (len(self._chosen) - len(kept))
        if len({frame.shape for frame in kept}) > 1:
            raise undecodable("The video changes its size while it runs.")
        return np.stack(kept)


def _animated(animation: Animation, limits: MediaLimits, sampling: Sampling) -> Clip:
    _check_length(animation.seconds, limits)
    count = len(animation.durations)
    check_work(count * ANIMATION_WORK, animation.width, animation.height, limits)
    rate = count / animation.seconds
    chosen = choose(count, rate, sampling, animation.times)
    check_frames(len(chosen), animation.width, animation.height, limits)
    return Clip(frames_of(animation, chosen), rate, tuple(chosen), count)


def _stream(container: Any) -> Any:
    """The first that moves: pictures on covers are streams too."""
    moving = (one for one in container.streams.video if not one.disposition & _COVER)
    stream = next(moving, None)
    if stream is None:
        raise undecodable("The file holds no video.")
    if stream.codec_context is None:
        raise undecodable(NOT_DECODABLE)
    stream.thread_type = "SLICE"  # whole frames in flight would each cost memory
    return stream


def _expected(container: Any, stream: Any, limits: MediaLimits) -> tuple[list[int | None], bool]:
    """When frames will be shown as packets tell, without those that an edit list hides; and whether
    packets are missing."""
    width, height = stream.codec_context.width, stream.codec_context.height
    shown, packets = [], 0
    for packet in container.demux(stream):
        if packet.size:
            packets += 1
            check_work(packets, width, height, limits)
            if not packet.is_discard:
                shown.append(packet.pts)
    times = shown if None in shown else sorted(shown)
    if len(times) > 1 and None not in shown:
        seconds = float((times[-1] - times[0]) * stream.time_base) * len(times) / (len(times) - 1)
    else:
        seconds = seconds_of(container, stream) or 0.0
    _check_length(seconds, limits)
    listed = len(stream.index_entries) if container.format.name.startswith("mov") else 0
    return times, packets < listed


def _check_length(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.video_seconds:
        raise too_large(
            f"The video lasts {round(seconds, 1):g} s; at most {limits.video_seconds:g} s are "
            f"taken."
        )


def _choose(times: Sequence[int | None], stream: Any, sampling: Sampling) -> list[int]:
    """Of frames shown at `times`."""
    return choose(len(times), _rate(times, stream), sampling, _rising(times))


def _rate(times: Sequence[int | None], stream: Any) -> float | None:
    stated = float(stream.average_rate) if stream.average_rate else None
    rising = _rising(times)
    return stated if rising is None else rate_of(rising, stream.time_base, stated)


def _rising(times: Sequence[int | None]) -> list[int] | None:
    """Those same, where they are known and rise."""
    known = [time for time in times if time is not None]
    whole = len(known) == len(times) and all(a <= b for a, b in pairwise(known))
    return known if whole else None


def _decoded(container: Any, stream: Any, recover: bool) -> Iterator[Any]:
    """Each PyAV frame in order of display; None where it is lost. A broadcast may begin in the
    middle: what cannot be decoded before its first frame is no damage."""
    started = container.format.name not in BROADCAST
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            if not started:
                continue
            if not recover:
                raise undecodable(DAMAGED) from error
            yield None
            continue
        for frame in frames:
            if frame.is_corrupt and not started:
                continue
            started = True
            if frame.is_corrupt and not recover:
                raise undecodable(DAMAGED)
            yield None if frame.is_corrupt else frame
