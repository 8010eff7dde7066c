"""Which frames of a clip are looked at: those that transformers' own processor takes when it
samples by itself."""

from typing import Any

import numpy as np
import pytest
import torch

from thespis.gpu_runtime.processing.clips import choose_frames
from thespis.gpu_runtime.processing.stand_in import find_class

SAMPLES: dict[str, dict[str, Any]] = {
    "Qwen2VLVideoProcessor": {"do_sample_frames": True, "fps": 2.0},
    "Qwen3VLVideoProcessor": {"do_sample_frames": True},
    "Glm4vVideoProcessor": {"do_sample_frames": True},
    "Glm46VVideoProcessor": {"do_sample_frames": True},
    "SmolVLMVideoProcessor": {"do_sample_frames": True, "num_frames": 8, "fps": 1},
    "InternVLVideoProcessor": {"do_sample_frames": True, "num_frames": 4},
    "LlavaOnevisionVideoProcessor": {"do_sample_frames": True, "num_frames": 4},
}
LENGTHS = ((5, 10.0), (38, 24.0), (100, 24.0), (240, 29.97), (2000, 25.0))
"""(frames, frames a second)."""


def made(name: str, **more: Any) -> Any:
    kind = find_class(name)
    assert kind is not None
    return kind(**SAMPLES[name], **more)


def taken(processor: Any, total: int, fps: float, asked: dict[str, Any] | None = None) -> list[int]:
    """What the processor itself takes of a clip whose frames are numbered in their pixels."""
    frames = np.broadcast_to(
        np.arange(total, dtype=np.uint16).astype(">u2").view(np.uint8).reshape(total, 2),
        (3, total, 2),
    )
    clip = np.ascontiguousarray(
        np.moveaxis(np.pad(frames, ((0, 0), (0, 0), (0, 6))), 0, -1)[:, None].repeat(8, axis=1)
    )
    metadata = {"total_num_frames": total, "fps": fps, "duration": total / fps}
    kept: list[Any] = []

    def keep(videos: list[Any], **_: Any) -> dict[str, Any]:
        kept.extend(videos)
        return {}

    processor._preprocess = keep
    processor(videos=[clip], video_metadata=[metadata], **(asked or {}))
    (video,) = kept
    high, low = video[:, 0, 0, 0].to(torch.int64), video[:, 0, 0, 1].to(torch.int64)
    return (high * 256 + low).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("total", "fps"), LENGTHS)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_frames_are_those_that_the_class_takes(name: str, total: int, fps: float) -> None:
    assert choose_frames(made(name), total, fps, {}) == taken(made(name), total, fps)


@pytest.mark.parametrize(
    "asked", [{"max_frames": 3}, {"min_frames": 30}, {"max_frames": 10**12, "min_frames": 10**12}]
)
@pytest.mark.parametrize("name", ["Qwen2VLVideoProcessor", "Qwen3VLVideoProcessor"])
def test_bounds_that_a_caller_asks_are_as_if_the_checkpoint_said_them(
    name: str, asked: dict[str, Any]
) -> None:
    processor = made(name)
    assert choose_frames(processor, 100, 24.0, asked) == taken(made(name, **asked), 100, 24.0)
    assert choose_frames(processor, 100, 24.0, {}) == taken(made(name), 100, 24.0), (
        "nothing of it stays"
    )


@pytest.mark.parametrize("asked", [{"fps": 1.0}, {"fps": 4}, {"num_frames": 6}])
@pytest.mark.parametrize("name", ["Qwen3VLVideoProcessor", "InternVLVideoProcessor"])
def test_what_a_caller_asks_goes_before_what_the_checkpoint_says(
    name: str, asked: dict[str, Any]
) -> None:
    try:
        wanted = taken(made(name), 100, 24.0, asked)
    except ValueError:  # transformers takes one of the two, and the checkpoint says the other
        processor = made(name)
        setattr(processor, "num_frames" if "fps" in asked else "fps", None)
        wanted = taken(processor, 100, 24.0, asked)
    assert choose_frames(made(name), 100, 24.0, asked) == wanted


def test_all_frames_may_be_asked_for_and_more_than_all_are_all() -> None:
    assert choose_frames(made("InternVLVideoProcessor"), 5, 10.0, {"num_frames": -1}) == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert choose_frames(made("InternVLVideoProcessor"), 5, 10.0, {"num_frames": 64}) == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_a_class_that_does_not_choose_or_cannot_leaves_it_to_the_engine() -> None:
    kind = find_class("Qwen2VLVideoProcessor")
    assert kind is not None
    assert choose_frames(kind(), 100, 24.0, {"fps": 2.0}) is None
    assert choose_frames(made("Qwen2VLVideoProcessor"), 100, None, {}) is None
    assert choose_frames(made("Qwen2VLVideoProcessor"), 1, 24.0, {}) is None


def test_a_rate_beyond_all_measure_costs_no_more_than_every_frame() -> None:
    assert choose_frames(made("Glm4vVideoProcessor"), 48, 24.0, {"fps": 999_999.0}) == list(
        range(48)
    )
