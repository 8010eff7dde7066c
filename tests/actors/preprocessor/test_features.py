"""A decode worker's features equal those of transformers' own processors, number for number."""

import json
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from thespis.actors.preprocessor.families.base import Clip
from thespis.protocol.errors import RequestError

from ...helpers.checkpoints import Checkpoints
from ...helpers.media import RATE, clip, clip_frames, picture, sound
from ...helpers.reference import ClipProcessor
from .parts import load

_hf: Any = transformers
CONTEXT = 2048


@pytest.mark.parametrize("size", [(56, 56), (30, 91), (200, 70), (113, 57)])
@pytest.mark.parametrize("family", ["qwen_vl", "qwen_omni", "llava"])
def test_pictures(checkpoints: Checkpoints, family: Any, size: tuple[int, int]) -> None:
    folder = checkpoints(family)
    image = picture(3, *size)
    kind = _hf.CLIPImageProcessorPil if family == "llava" else _hf.Qwen2VLImageProcessorPil
    expected = kind.from_pretrained(folder)([image], return_tensors="np")
    made = load(folder).family.features("image", image, {}, CONTEXT)
    assert made.tensors.keys() == expected.keys()
    for name, tensor in made.tensors.items():
        assert np.array_equal(tensor, expected[name]), name


@pytest.mark.parametrize("frames", [1, 5, 8])
@pytest.mark.parametrize("size", [(56, 56), (64, 90)])
def test_clips(checkpoints: Checkpoints, frames: int, size: tuple[int, int]) -> None:
    pixels = clip_frames(clip(1, frames, *size))
    folder = checkpoints("qwen_vl")
    expected = ClipProcessor(json.loads((folder / "video_preprocessor_config.json").read_text()))([pixels])
    made = load(folder).family.features("video", Clip(pixels), {}, CONTEXT)
    grid = expected["video_grid_thw"][0].tolist()
    assert made.grid == tuple(grid)
    assert made.rows == grid[0] * grid[1] * grid[2] // 4
    assert np.allclose(made.tensors["pixel_values_videos"], expected["pixel_values_videos"].numpy(), atol=2e-6, rtol=0)


def test_a_clips_time_follows_the_rate_that_was_asked_for(checkpoints: Checkpoints) -> None:
    features = load(checkpoints("qwen_omni")).family.features
    pixels = np.zeros((4, 56, 56, 3), np.uint8)
    assert features("video", Clip(pixels), {}, CONTEXT).seconds_per_grid == 1.0
    assert features("video", Clip(pixels, fps=8), {}, CONTEXT).seconds_per_grid == 0.25


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 1.7, 1.003])
def test_sounds(checkpoints: Checkpoints, seconds: float) -> None:
    folder = checkpoints("qwen_omni")
    samples = sound(2, seconds)
    extractor = _hf.AutoFeatureExtractor.from_pretrained(folder)
    expected = extractor(samples, sampling_rate=RATE, padding="max_length", return_attention_mask=True, return_tensors="np")
    made = load(folder).family.features("audio", samples, {}, CONTEXT)
    valid = int(expected["attention_mask"].sum())
    assert made.tensors["feature_attention_mask"].shape == (1, valid)
    assert made.tensors["feature_attention_mask"].all()
    assert np.allclose(made.tensors["input_features"], expected["input_features"][:, :, :valid], atol=1e-5, rtol=0)


def test_a_sound_that_fills_the_chunk_is_padded_as_there(checkpoints: Checkpoints) -> None:
    folder = checkpoints("qwen_omni")
    extractor = _hf.AutoFeatureExtractor.from_pretrained(folder)
    samples = sound(5, extractor.chunk_length)[:-100]
    expected = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_features"]
    made = load(folder).family.features("audio", samples, {}, CONTEXT).tensors["input_features"]
    assert np.allclose(made, expected[:, :, : made.shape[2]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("modality", ["image", "video"])
def test_pixel_bounds_of_a_request(checkpoints: Checkpoints, modality: Any) -> None:
    family = load(checkpoints("qwen_vl")).family
    image = picture(1, 112, 112)
    media = image if modality == "image" else Clip(np.asarray(image)[None])
    small = family.features(modality, media, {"max_pixels": 56 * 56, "min_pixels": 28 * 28}, CONTEXT)
    assert small.grid == (1, 4, 4)
    with pytest.raises(RequestError, match="more than max_pixels"):
        family.features(modality, media, {"max_pixels": 10, "min_pixels": 28 * 28}, CONTEXT)


def test_an_item_that_no_context_holds_is_refused_before_its_pixels_are_made(checkpoints: Checkpoints) -> None:
    family = load(checkpoints("qwen_vl")).family
    with pytest.raises(RequestError) as refused:
        family.features("image", picture(1, 640, 640), {"min_pixels": 10**9, "max_pixels": 10**9}, CONTEXT)
    assert refused.value.failure.code == "context_length_exceeded"


def test_a_strip_is_refused(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError, match="200 to 1"):
        load(checkpoints("qwen_vl")).family.features("image", Image.new("RGB", (3, 900)), {}, CONTEXT)
