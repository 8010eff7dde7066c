"""Clips: only the chosen frames are kept in memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ....protocol.errors import refuse
from ....protocol.roles import MediaLimits
from .container import VIDEO_FORMATS, cut_off, open_container, seconds_of
from .image import decode_image
from .sampling import Sampling, choose

NOT_DECODABLE = "The video cannot be decoded: it is no MP4, WebM, Matroska, MOV, AVI or GIF, or its data is damaged."
DAMAGED = "The video is damaged: frames are missing or cannot be decoded."

Frames = NDArray[np.uint8]


def decode_video(data: bytes, limits: MediaLimits, sampling: Sampling, recover: bool = False) -> Frames:
    """[T, H, W, 3] uint8. `recover`: a chosen frame that cannot be decoded is replaced by the next good one."""
    with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:
        stream = _stream(container)
        width, height = stream.codec_context.width, stream.codec_context.height
        seconds = seconds_of(container, stream)
        if seconds is not None and seconds > limits.video_seconds:
            raise refuse("too_large", f"The video lasts {round(seconds, 1):g} s; at most {limits.video_seconds:g} s are taken.")
        shown = [packet.pts for packet in container.demux(stream) if packet.size]
        packets = len(shown)
        if not recover and (stream.frames > packets or cut_off(data)):
            raise refuse("unprocessable_media", DAMAGED)
        rate = float(stream.average_rate) if stream.average_rate else None
        times = sorted(shown) if packets and None not in shown else None
        chosen = choose(packets, rate, sampling, times)
        check_frames(len(chosen), width, height, limits)
    with open_container(data, VIDEO_FORMATS, NOT_DECODABLE) as container:  # from the start again: GIF cannot seek
        return _collect(_decoded(container, _stream(container), recover), chosen, recover)


def frames_of_array(frames: Frames, rate: float | None, limits: MediaLimits, sampling: Sampling | None) -> Frames:
    """From [T, H, W, 3]; `sampling` None takes them as they are."""
    if frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise refuse("invalid_request", f"A video must be frames [T, H, W, 3], got shape {list(frames.shape)}.")
    chosen = choose(len(frames), rate, sampling) if sampling is not None else range(len(frames))
    check_frames(len(chosen), frames.shape[2], frames.shape[1], limits)
    return frames if len(chosen) == len(frames) else frames[list(chosen)]


def frames_of_pictures(pictures: Sequence[bytes], limits: MediaLimits, sampling: Sampling, rate: float | None) -> Frames:
    """[T, H, W, 3] of encoded pictures, one a frame; only the chosen ones are decoded."""
    chosen = choose(len(pictures), rate, sampling)
    kept: list[Frames] = []
    for index in chosen:
        frame = np.asarray(decode_image(pictures[index], limits))
        check_frames(len(chosen), frame.shape[1], frame.shape[0], limits)
        if kept and frame.shape != kept[0].shape:
            raise refuse("unprocessable_media", "All frames of a clip must have one size.")
        kept.append(frame)
    return np.stack(kept)


def check_frames(count: int, width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.pixels:
        raise refuse("too_large", f"The video has {width}x{height} pixels a frame; at most {limits.pixels} are taken.")
    if count * width * height * 3 > limits.memory // 2:
        raise refuse("too_large", f"{count} frames of {width}x{height} pixels are more than a request may hold; ask for fewer.")
    if width < 1 or height < 1:
        raise refuse("unprocessable_media", NOT_DECODABLE)


def _stream(container: Any) -> Any:
    if not container.streams.video:
        raise refuse("unprocessable_media", "The file holds no video.")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise refuse("unprocessable_media", NOT_DECODABLE)
    stream.thread_type = "SLICE"  # whole frames in flight would each cost memory
    return stream


def _decoded(container: Any, stream: Any, recover: bool) -> Iterator[Any]:
    """Each PyAV frame in order of display; None where it is lost."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            if not recover:
                raise refuse("unprocessable_media", DAMAGED) from error
            yield None
            continue
        for frame in frames:
            if frame.is_corrupt and not recover:
                raise refuse("unprocessable_media", DAMAGED)
            yield None if frame.is_corrupt else frame


def _rgb(frame: Any) -> Frames:
    pixels: Frames = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.rot90(pixels, turns) if turns else pixels


def _collect(frames: Iterator[Any], chosen: list[int], recover: bool) -> Frames:
    """Convert the chosen ones alone."""
    kept: list[Frames] = []
    for index, frame in enumerate(frames):
        if frame is not None and len(kept) < len(chosen) and chosen[len(kept)] <= index:
            pixels = _rgb(frame)
            while len(kept) < len(chosen) and chosen[len(kept)] <= index:
                kept.append(pixels)
        if len(kept) == len(chosen):
            break
    if not kept:
        raise refuse("unprocessable_media", NOT_DECODABLE)
    if len(kept) < len(chosen):
        # A packet or two may show nothing (edit lists); more missing frames are damage.
        if not recover and len(chosen) - len(kept) > 1:
            raise refuse("unprocessable_media", DAMAGED)
        kept += [kept[-1]] * (len(chosen) - len(kept))
    if len({frame.shape for frame in kept}) > 1:
        raise refuse("unprocessable_media", "The video changes its size while it runs.")
    return np.stack(kept)
