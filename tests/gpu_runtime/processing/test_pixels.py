"""Pixels as bytes: what a tower gets of them is what the checkpoint's own processor makes, bit by
bit or nearly."""

from typing import Any

import numpy as np
import pytest
import torch

from thespis.gpu_runtime.layers.pixels import expand
from thespis.gpu_runtime.processing import Clip, load
from thespis.gpu_runtime.processing.pixels import pack, pack_item
from thespis.protocol.pixels import PixelForm
from thespis.tests.zoo.catalog import Zoo

from .conversations import clip, media_of, picture

WITH_PIXELS = (
    "gemma3", "gemma4", "glm4v", "idefics3", "internvl", "lfm3_vl", "llava", "llava_next",
    "llava_onevision", "pixtral",
    "qwen2_vl", "qwen3_omni_moe", "smolvlm",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.mark.parametrize("name", WITH_PIXELS)
def test_bytes_become_what_transformers_makes(name: str, zoo: Zoo) -> None:
    plain = load(zoo(name))
    forms = plain.pixels()
    packing = load(zoo(name), forms)
    assert "image" in forms
    for modality, form in forms.items():
        for media in [
            *media_of(modality)[:2],
            *([picture(900, 640)] if modality == "image" else []),
        ]:
            ours, theirs = packing.item(modality, media, {}), plain.item(modality, media, {})
            assert (ours.text, ours.counts) == (theirs.text, theirs.counts)
            np.testing.assert_equal(ours.planes, theirs.planes)
            (packed,), (whole,) = ours.parts, theirs.parts
            assert packed.tensors[form.name].dtype == np.uint8
            assert packed.tensors.keys() == whole.tensors.keys()
            expanded = expand(torch.from_numpy(packed.tensors[form.name]), form)
            np.testing.assert_allclose(expanded, whole.tensors[form.name], rtol=0, atol=1e-6)
            for other in whole.tensors.keys() - {form.name}:
                assert np.array_equal(packed.tensors[other], whole.tensors[other])


def test_a_still_picture_is_kept_once_and_not_for_every_frame_of_a_patch(zoo: Zoo) -> None:
    plain = load(zoo("qwen2_vl"))
    forms = plain.pixels()
    assert forms["image"].repeats == 2
    assert forms["video"].repeats == 1
    shown = picture(112, 84)
    (packed,), (whole,) = (
        load(zoo("qwen2_vl"), forms).item("image", shown, {}).parts,
        plain.item("image", shown, {}).parts,
    )
    assert whole.tensors["pixel_values"].nbytes == 8 * packed.tensors["pixel_values"].nbytes


@pytest.mark.parametrize(
    "name", ["phi3_v", "lfm2_vl", "qwen2_audio", "deepseek_ocr2", "phi4_multimodal"]
)
def test_what_is_no_bytes_stays_as_it_is(name: str, zoo: Zoo) -> None:
    """Of Phi-3.5 the processor has no such options, LFM2 fills up behind its scaling, a spectrogram
    has no pixels. Of a picture that is cut up, DeepSeek-OCR 2 makes a second tensor of pixels, and
    Phi-4 makes the whole smaller behind its scaling."""
    assert load(zoo(name)).pixels() == {}


def test_an_item_that_is_no_bytes_after_all_is_made_as_ever(zoo: Zoo) -> None:
    form = load(zoo("llava")).pixels()["image"]
    packing = load(zoo("llava"), {"image": form})
    assert pack_item(form, packing.item("image", picture(60, 60), {})) is not None
    plain = load(zoo("llava")).item("image", picture(60, 60), {})
    assert pack_item(form, plain) is None


def test_pixels_of_a_still_that_differ_between_frames_are_not_kept_once() -> None:
    form = PixelForm("x", -1, "planes", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 2)
    twice = np.tile(np.arange(3, dtype=np.uint8)[:, None, None], (1, 2, 4)).reshape(1, -1)
    packed = pack(form, {"x": twice})
    assert packed is not None
    assert packed["x"].shape == (1, 12)
    assert torch.equal(
        expand(torch.from_numpy(packed["x"]), form), torch.from_numpy(twice.astype(np.float32))
    )
    twice[0, 5] = 9
    assert pack(form, {"x": twice}) is None


@pytest.mark.parametrize(
    ("axis", "order", "shape"),
    [
        (-3, "planes", (2, 3, 4, 5)),
        (-1, "pixels", (7, 12)),
        (-1, "planes", (7, 12)),
        (-1, "pixels", (4, 5, 3)),
    ],
)
def test_each_channel_has_its_own_scale(axis: int, order: Any, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    mean, std = np.array([10, 20, 30], np.float32), np.array([2, 4, 8], np.float32)
    if axis == -3:
        wanted = (pixels - mean[:, None, None]) / std[:, None, None]
    elif order == "pixels":
        wanted = ((pixels.reshape(-1, 3) - mean) / std).reshape(shape)
    else:
        wanted = ((pixels.reshape(7, 3, 4) - mean[:, None]) / std[:, None]).reshape(shape)
    form = PixelForm("x", axis, order, tuple(mean.tolist()), tuple(std.tolist()))
    np.testing.assert_allclose(expand(torch.from_numpy(pixels), form), wanted, rtol=1e-6)


def test_a_clip_keeps_all_its_frames(zoo: Zoo) -> None:
    plain = load(zoo("qwen2_vl"))
    film = clip(4, 60, 56)
    still = Clip(
        np.repeat(film.frames[:1], 4, axis=0), film.fps, film.indices, film.total_num_frames
    )
    forms = plain.pixels()
    for one in (film, still):
        (packed,), (whole,) = (
            load(zoo("qwen2_vl"), forms).item("video", one, {}).parts,
            plain.item("video", one, {}).parts,
        )
        expanded = expand(torch.from_numpy(packed.tensors["pixel_values_videos"]), forms["video"])
        np.testing.assert_allclose(
            expanded, whole.tensors["pixel_values_videos"], rtol=0, atol=1e-6
        )


def test_facts_say_it(zoo: Zoo) -> None:
    from thespis.gpu_runtime.facts.model import model_facts

    assert model_facts(zoo("llava")).pixels == {"image": load(zoo("llava")).pixels()["image"]}
