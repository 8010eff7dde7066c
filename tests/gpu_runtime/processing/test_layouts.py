"""A picture of a size that has been seen is what it would be had nothing been asked before."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.gpu_runtime.processing import load
from thespis.gpu_runtime.processing.byte_patches import cut, cut_bytes
from thespis.gpu_runtime.processing.layouts import MOST
from thespis.gpu_runtime.processing.types import ProcessedItem
from thespis.tests.zoo.catalog import Zoo

from .conversations import picture

FAMILIES = (
    "gemma3",
    "glm4v",
    "internvl",
    "llava_next",
    "lfm2_vl",
    "molmo2",
    "phi3_v",
    "pixtral",
    "qwen2_vl",
    "qwen3_vl",
)
"""Patches, tiles, pictures as they are; with and without pixels as bytes, and classes that make
their text themselves."""
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def other(shown: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(shown))


def check_same(ours: ProcessedItem, theirs: ProcessedItem) -> None:
    assert (ours.text, ours.counts, ours.advance, ours.number) == (
        theirs.text,
        theirs.counts,
        theirs.advance,
        theirs.number,
    )
    np.testing.assert_equal((ours.planes, ours.anchors), (theirs.planes, theirs.anchors))
    for one, another in zip(ours.parts, theirs.parts, strict=True):
        assert (one.kind, one.rows, one.embed_token_id) == (
            another.kind,
            another.rows,
            another.embed_token_id,
        )
        assert list(one.tensors) == list(another.tensors)
        for name, values in another.tensors.items():
            assert one.tensors[name].dtype == values.dtype
            assert np.array_equal(one.tensors[name], values)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_second_picture_of_a_size_is_what_it_is_alone(name: str, zoo: Zoo) -> None:
    forms = load(zoo(name)).pixels()
    seen, fresh = load(zoo(name), forms), load(zoo(name), forms)
    for shown in (picture(97, 131), picture(60, 45)):
        seen.item("image", shown, {})
        fresh._layouts._known.clear()
        check_same(seen.item("image", other(shown), {}), fresh.item("image", other(shown), {}))


def test_a_picture_without_content_proves_nothing_of_how_pixels_are_made(zoo: Zoo) -> None:
    processor = load(zoo("qwen2_vl"), load(zoo("qwen2_vl")).pixels())
    shown = picture(97, 131)
    blank = processor.item("image", Image.new("RGB", shown.size), {}, hollow=True)
    assert not processor._layouts._known
    assert processor.item("image", shown, {}, hollow=True).parts[0].rows == blank.parts[0].rows
    made = processor.item("image", shown, {})
    assert processor._layouts._known
    check_same(made, load(zoo("qwen2_vl"), load(zoo("qwen2_vl")).pixels()).item("image", shown, {}))


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl"])
def test_pictures_that_are_only_resized_and_cut_go_past_the_processor(
    name: str, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = load(zoo(name)).pixels()
    seen, fresh = load(zoo(name), forms), load(zoo(name), forms)
    few: dict[str, Any] = {"max_pixels": 64 * 64}
    shown = picture(97, 131)
    expected = [fresh.item("image", other(shown), options) for options in ({}, few)]
    for options in ({}, few):
        seen.item("image", shown, options)
    monkeypatch.setattr(type(seen._processor.image_processor), "_preprocess", None)
    for options, whole in zip(({}, few), expected, strict=True):
        check_same(seen.item("image", other(shown), options), whole)


def test_one_that_does_more_is_called_for_every_picture(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = load(zoo("qwen2_vl"), load(zoo("qwen2_vl")).pixels())
    part = seen._processor.image_processor
    resize = part.resize
    monkeypatch.setattr(part, "resize", lambda image, **how: np.minimum(resize(image, **how), 200))
    dark = Image.new("RGB", (112, 84), (9, 9, 9))
    for shown in (dark, other(dark)):
        (made,) = seen.item("image", shown, {}).parts
        assert int(made.tensors["pixel_values"].max()) == (9 if shown is dark else 200)


def test_it_is_known_from_its_size_and_options_together(zoo: Zoo) -> None:
    seen = load(zoo("qwen2_vl"))
    few: dict[str, Any] = {"max_pixels": 56 * 56}
    whole, small = (
        seen.item("image", picture(112, 84), {}),
        seen.item("image", picture(112, 84), few),
    )
    assert small.rows < whole.rows
    assert seen.item("image", other(picture(112, 84)), few).rows == small.rows
    assert seen.item("image", other(picture(112, 84)), {}).rows == whole.rows


def test_a_processor_that_changes_its_mind_is_asked_everything(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, shown = load(zoo("qwen2_vl")), picture(112, 84)
    before = seen.item("image", shown, {})
    monkeypatch.setattr(
        seen._processor.image_processor, "size", {"shortest_edge": 56 * 56, "longest_edge": 56 * 56}
    )
    layout = next(iter(seen._layouts._known.values()))
    layout.options["size"] = seen._processor.image_processor.size
    assert seen.item("image", other(shown), {}).rows < before.rows


def test_few_sizes_are_kept_and_none_of_their_pixels(zoo: Zoo) -> None:
    seen = load(zoo("llava"))
    for width in range(30, 31 + MOST):
        seen.item("image", Image.new("RGB", (width, 40)), {})
    layouts = seen._layouts._known
    assert len(layouts) == MOST
    assert all(
        layout.item.parts[0].tensors["pixel_values"].strides == (0, 0, 0, 0)
        for layout in layouts.values()
    )


def test_patches_are_cut_of_bytes_where_transformers_class_cuts_alike(zoo: Zoo) -> None:
    part = load(zoo("qwen2_vl"))._processor.image_processor
    own = part.patchify
    assert cut_bytes(part)
    image = np.random.default_rng(0).integers(0, 256, (3, 112, 168), dtype=np.uint8)
    ours, theirs = part.patchify(image, 14, 2, 2), own(image.astype(np.float32), 14, 2, 1)
    assert ours[0].dtype == np.uint8
    assert np.array_equal(ours[0], theirs[0])
    assert ours[1:] == theirs[1:]
    scaled = image / np.float32(255)
    assert np.array_equal(part.patchify(scaled, 14, 2, 2)[0], own(scaled, 14, 2, 2)[0]), (
        "floats are cut as ever"
    )


def test_a_class_that_cuts_otherwise_goes_on_doing_so() -> None:
    class Other:
        patch_size, merge_size, temporal_patch_size = 14, 2, 2

        def patchify(
            self, image: Any, patch_size: int, merge_size: int, temporal_patch_size: int
        ) -> Any:
            made, down, across = cut(image, patch_size, 1)
            return np.repeat(made, temporal_patch_size, axis=1), down, across

    assert not cut_bytes(Other())
    assert not cut_bytes(object())
