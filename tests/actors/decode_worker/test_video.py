"""Clips from every container, which frames are looked at, and what is refused."""

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from thespis.actors.decode_worker.sampling import Sampling, choose, sampling_of
from thespis.actors.decode_worker.video import decode_video, frames_of_array
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

LIMITS = MediaLimits()
ALL = Sampling(None, None, None, 300)


def film(
    form: str, codec: str, frames: int = 10, rate: int = 10, size: int = 64, noise: int = 0
) -> bytes:
    """Frame k is a grey of 20 * k, with some noise on it."""
    draw = np.random.default_rng(0)
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width = stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        stream.time_base = Fraction(1, rate)
        for index in range(frames):
            frame: Any = av.VideoFrame.from_ndarray(
                20 * index + draw.integers(0, noise + 1, (size, size, 3), np.uint8), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def greys(frames: Any) -> list[int]:
    return [round(float(frame.mean()) / 20) for frame in frames]


CONTAINERS = [
    ("mp4", "libx264"),
    ("webm", "libvpx-vp9"),
    ("matroska", "libx264"),
    ("mov", "libx264"),
    ("avi", "mpeg4"),
]


@pytest.mark.parametrize(("form", "codec"), CONTAINERS)
def test_S30_containers(form: str, codec: str) -> None:
    made = decode_video(film(form, codec), LIMITS, ALL).frames
    assert made.shape == (10, 64, 64, 3)
    assert greys(made) == list(range(10))


def test_S30_gif() -> None:
    file = io.BytesIO()
    pictures = [Image.new("RGB", (20, 10), (20 * k, 20 * k, 20 * k)) for k in range(6)]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=100)
    made = decode_video(file.getvalue(), LIMITS, ALL).frames
    assert greys(made) == list(range(6))


def test_only_the_chosen_frames_come_back() -> None:
    made = decode_video(film("mp4", "libx264", 12), LIMITS, Sampling(4, None, None, 300)).frames
    assert greys(made) == [0, 3, 7, 11]


@pytest.mark.parametrize(
    ("total", "rate", "sampling", "chosen"),
    [
        (5, 10.0, Sampling(32, None, None, 300), [0, 1, 2, 3, 4]),
        (100, 10.0, Sampling(5, None, None, 300), [0, 24, 49, 74, 99]),
        (100, 10.0, Sampling(None, 2, None, 300), [int(k * 99 / 19) for k in range(20)]),
        (100, 10.0, Sampling(5, 2, None, 300), [0, 24, 49, 74, 99]),
        (100, 10.0, Sampling(50, 0.3, None, 300), [0, 49, 99]),
        (100, 10.0, Sampling(50, None, 2, 300), [0, 99]),
        (100, 10.0, Sampling(1, None, None, 300), [0]),
        (100, 10.0, Sampling(None, 1, None, 4), [0, 33, 66, 99]),
    ],
)
def test_S30_which_frames(total: int, rate: float, sampling: Sampling, chosen: list[int]) -> None:
    assert choose(total, rate, sampling) == chosen


@pytest.mark.parametrize(
    ("processor", "io_options", "by_itself", "chosen"),
    [
        ({}, {}, False, [index * 99 // 31 for index in range(32)]),
        ({}, {}, True, [1, 2, 3]),
        ({"num_frames": 4}, {"num_frames": 8}, False, [0, 33, 66, 99]),
        ({"num_frames": 4}, {}, True, [1, 2, 3]),
        ({"num_frames": 4, "fps": 1}, {}, True, [0, 33, 66, 99]),
        ({}, {"num_frames": 4}, True, [0, 33, 66, 99]),
        ({}, {"num_frames": -1}, True, list(range(100))),
        ({}, {"num_frames": -1}, False, list(range(100))),
        ({"fps": 0.4}, {}, False, [0, 33, 66, 99]),
        ({}, {"fps": 5}, True, [index * 99 // 49 for index in range(50)]),
        ({}, {"fps": 5}, False, [index * 99 // 31 for index in range(32)]),
        ({}, {"most_frames": 2}, True, [0, 99]),
        ({}, {"most_fps": 0.2}, True, [0, 99]),
        ({}, {"max_duration": 1}, True, [0]),
    ],
)
def test_whose_sampling_counts(
    processor: Any, io_options: Any, by_itself: bool, chosen: list[int]
) -> None:
    """Of a hundred frames in ten seconds, of which a model that chooses by itself looks at three,
    and at one of a second."""

    def model(total: int, rate: float) -> list[int] | None:
        assert rate == 10.0
        return ([1, 2, 3] if total == 100 else [0]) if by_itself else None

    assert choose(100, 10.0, sampling_of(processor, io_options, 32, model, 300)) == chosen


def test_a_damaged_clip_is_an_error_unless_recovery_is_asked_for() -> None:
    data = bytearray(film("mp4", "libx264", 10, noise=60))
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 2000] = (
        np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes()
    )
    with pytest.raises(RequestError) as refused:
        decode_video(bytes(data), LIMITS, ALL)
    assert refused.value.failure.kind == "unprocessable_media"
    assert len(decode_video(bytes(data), LIMITS, ALL, recover=True).frames) == 10


@pytest.mark.parametrize(
    "data",
    [b"", b"junk", b"#EXTM3U\nfile:///etc/passwd", b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 64],
)
def test_what_is_no_clip(data: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        decode_video(data, LIMITS, ALL)
    assert refused.value.failure.text.startswith("The video cannot be decoded: it is no MP4")


def test_a_clip_of_no_known_kind() -> None:
    with pytest.raises(RequestError, match="The video cannot be decoded"):
        decode_video(film("mp4", "libx264").replace(b"avc1", b"zzzz"), LIMITS, ALL)


def test_a_clip_that_lasts_too_long() -> None:
    with pytest.raises(RequestError, match=r"lasts 5 s; at most 2 s"):
        decode_video(film("mp4", "libx264", 10, rate=2), MediaLimits(video_seconds=2), ALL)


def test_frames_that_take_too_much_memory_are_not_made() -> None:
    with pytest.raises(RequestError, match="ask for fewer"):
        decode_video(film("mp4", "libx264"), MediaLimits(memory=200_000), ALL)


def test_frames_as_they_are_and_sampled() -> None:
    frames = np.arange(10, dtype=np.uint8).repeat(4 * 4 * 3).reshape(10, 4, 4, 3)
    assert frames_of_array(frames, None, LIMITS, None)[0] is frames
    assert frames_of_array(frames, 2.0, LIMITS, Sampling(2, None, None, 300))[1] == [0, 9]
    with pytest.raises(RequestError, match=r"\[T, H, W, 3\]"):
        frames_of_array(frames[0], None, LIMITS, None)
