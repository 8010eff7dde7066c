"""Clips: only the chosen frames are kept in memory."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL.Image import Image

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
_PROGRESSIVE = (0, 1)
"""FFmpeg's numbers: not told, and no fields."""
_VP8_SHOWN = 0x10
"""Of the first byte of a VP8 frame (RFC 6386, 9.1)."""
ANIMATION_WORK = 8
"""What a pixel of an animated picture costs, against one of a video."""

Frames = NDArray[np.uint8]


def decode_video(
    data: bytes, limits: MediaLimits, sampling: Sampling, recover: bool = False
) -> Clip:
    """Of the frames that a player shows those that are chosen. `recover`: one that cannot be
    decoded is replaced by the next good one. Raises RequestError."""
    if (animation := animation_of(data)) is not None:
        plan = plan_animation(animation, limits, sampling)
        return Clip(frames_of(animation, plan.chosen), plan.rate, tuple(plan.chosen), plan.total)
    plan = plan_of(data, limits, sampling, recover)
    chosen, rate, total = plan.chosen, plan.rate, plan.total
    for second in (False, True):
        # From the start again: GIF cannot seek.
        with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:
            stream = _stream(container)
            shown = Shown(chosen, limits)
            shown.take(_decoded(container, stream, recover))
            truth = chosen
            if not (shown.over or shown.lost):
                truth = _choose(shown.times, stream, sampling)
                # Here: where the file has been closed, the stream's memory is another's.
                rate, total = _rate(shown.times, stream), len(shown.times)
        if second or truth == chosen:
            break
        # Packets and frames are not the same: hidden frames, fields, lost references.
        chosen = truth
    return Clip(shown.frames(recover), rate, tuple(chosen), total)


class Plan(NamedTuple):
    """Of a clip, as its headers tell it; nothing of it has been decoded."""

    chosen: list[int]
    """Frames to keep, of those that are shown."""
    rate: float | None
    """Frames a second."""
    total: int
    width: int
    height: int
    """Before it is turned."""
    codec: str = ""
    whole_frames: bool = True
    """Every packet is one frame: no fields, and the first can be decoded by itself."""
    track: int = 0
    """Number of its stream in the file."""


def plan_of(data: bytes, limits: MediaLimits, sampling: Sampling, recover: bool) -> Plan:
    """Raises RequestError."""
    with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:
        stream = _stream(container)
        coded = stream.codec_context
        found = _expected(container, stream, limits)
        if not recover and (found.cut or cut_off(data)):
            raise undecodable(DAMAGED)
        chosen = _choose(found.times, stream, sampling)
        check_frames(len(chosen), coded.width, coded.height, limits)
        rate, total = _rate(found.times, stream), len(found.times)
        whole = found.begins_whole and coded.field_order in _PROGRESSIVE
        size, name = (coded.width, coded.height), coded.codec.canonical_name
        return Plan(chosen, rate, total, *size, name, whole, stream.id)


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
    pictures: Sequence[bytes],
    limits: MediaLimits,
    sampling: Sampling,
    rate: float | None,
    read: Callable[[bytes, MediaLimits], Image] = decode_image,
) -> tuple[Frames, list[int]]:
    """[T, H, W, 3] of encoded pictures, one a frame, of which only the chosen ones are read; and
    which they are."""
    chosen = choose(len(pictures), rate, sampling)
    kept: list[Frames] = []
    for index in chosen:
        frame = np.asarray(read(pictures[index], limits))
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


def plan_animation(animation: Animation, limits: MediaLimits, sampling: Sampling) -> Plan:
    """Raises RequestError."""
    _check_length(animation.seconds, limits)
    count = len(animation.durations)
    check_work(count * ANIMATION_WORK, animation.width, animation.height, limits)
    rate = count / animation.seconds
    chosen = choose(count, rate, sampling, animation.times)
    check_frames(len(chosen), animation.width, animation.height, limits)
    return Plan(chosen, rate, count, animation.width, animation.height)


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


class _Expected(NamedTuple):
    """What the packets tell."""

    times: list[int | None]
    """When frames will be shown, without those that an edit list or their encoder hides."""
    cut: bool
    """Packets are missing."""
    begins_whole: bool
    """The first needs none before it."""


def _expected(container: Any, stream: Any, limits: MediaLimits) -> _Expected:
    width, height = stream.codec_context.width, stream.codec_context.height
    shown, packets, begins_whole = [], 0, False
    may_hide = stream.codec_context.codec.canonical_name == "vp8"
    for packet in container.demux(stream):
        if packet.size:
            begins_whole |= not packets and packet.is_keyframe
            packets += 1
            check_work(packets, width, height, limits)
            hidden = may_hide and not memoryview(packet)[0] & _VP8_SHOWN
            if not packet.is_discard and not hidden:
                shown.append(packet.pts)
    times = shown if None in shown else sorted(shown)
    if len(times) > 1 and None not in shown:
        seconds = float((times[-1] - times[0]) * stream.time_base) * len(times) / (len(times) - 1)
    else:
        seconds = seconds_of(container, stream) or 0.0
    _check_length(seconds, limits)
    listed = len(stream.index_entries) if container.format.name.startswith("mov") else 0
    return _Expected(times, packets < listed, begins_whole)


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
