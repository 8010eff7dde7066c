"""Embeddings that a caller made: their run is that of an item which its own encoder would have
given as many rows."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing import Clip, Processor, load
from thespis.gpu_runtime.processing.loading import load_processor
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.request import Modality
from thespis.tests.zoo.catalog import Zoo


@pytest.fixture(scope="module")
def qwen(zoo: Zoo) -> Processor:
    return load(zoo("qwen2_vl"))


def test_a_grid_gives_the_run_of_a_picture_that_is_seen_so(qwen: Processor) -> None:
    seen = qwen.item("image", Image.new("RGB", (168, 112)), {})
    assert seen.parts[0].tensors["image_grid_thw"].tolist() == [[1, 8, 12]]
    ready = qwen.ready("image", 24, (1, 8, 12), {})
    assert (ready.text, ready.counts, ready.rows, ready.advance) == (
        seen.text,
        seen.counts,
        seen.rows,
        seen.advance,
    )
    assert ready.planes is not None
    assert seen.planes is not None
    assert np.array_equal(ready.planes, seen.planes)
    assert ready.parts[0].tensors == {}


def test_of_a_checkpoint_whose_pixels_are_bytes_it_is_the_same(qwen: Processor, zoo: Zoo) -> None:
    """Its pictures are tried on noise, of which not every option takes every size."""
    packing = load(zoo("qwen2_vl"), qwen.pixels())
    ready, same = (one.ready("image", 24, (1, 8, 12), {}) for one in (packing, qwen))
    assert (ready.text, ready.counts, ready.rows) == (same.text, same.counts, same.rows)


def test_a_clips_grid_counts_pairs_of_frames(qwen: Processor) -> None:
    clip = Clip(np.zeros((4, 112, 168, 3), np.uint8), 2.0)
    seen, ready = qwen.item("video", clip, {}), qwen.ready("video", 48, (2, 8, 12), {})
    assert (ready.counts, ready.advance) == (seen.counts, seen.advance)
    assert ready.planes is not None
    assert seen.planes is not None
    assert np.array_equal(ready.planes, seen.planes)


def test_bounds_of_pixels_do_not_change_a_grid(qwen: Processor) -> None:
    assert qwen.ready("image", 1, (1, 2, 2), {"min_pixels": 50_000}).counts == (1,)


def test_sounds_have_as_many_rows_as_they_are_given(zoo: Zoo) -> None:
    ready = load(zoo("qwen2_5_omni")).ready("audio", 77, None, {})
    assert (ready.counts, ready.rows, ready.planes, ready.advance) == ((77,), 77, None, 77)


def test_pictures_that_are_all_equally_long_have_that_many_rows(zoo: Zoo) -> None:
    """What the caller gives is compared with it where its embedding is checked."""
    assert load(zoo("llava")).ready("image", 5, None, {}).rows == 16


def test_pictures_of_many_lengths_have_as_many_rows_as_they_are_given(zoo: Zoo) -> None:
    assert load(zoo("llava_next")).ready("image", 41, None, {}).counts == (41,)


@pytest.mark.parametrize(
    ("name", "modality"),
    [("idefics3", "image"), ("mistral3", "image"), ("pixtral", "image"), ("internvl", "video")],
)
def test_rows_that_do_not_tell_how_an_item_was_divided_are_refused(
    zoo: Zoo, name: str, modality: Modality
) -> None:
    """A layout that is guessed gave answers other than transformers'."""
    with pytest.raises(RequestError, match=f"divides {modality} items by their size"):
        load(zoo(name)).ready(modality, 12, None, {})


@pytest.mark.parametrize(
    ("grid", "rows", "told"),
    [
        (None, 24, "need their grid"),
        ((1, 0, 12), 24, "three positive numbers"),
        ((1, 7, 12), 24, "multiples of 2"),
        ((1, 8000, 12000), 24, "must have 24000000 rows, got 24"),
    ],
)
def test_a_grid_that_means_nothing_is_refused(
    qwen: Processor, grid: Any, rows: int, told: str
) -> None:
    with pytest.raises(RequestError, match=told):
        qwen.ready("image", rows, grid, {})


def test_a_grid_that_is_not_asked_for_is_refused(zoo: Zoo) -> None:
    with pytest.raises(RequestError, match="leave it out"):
        load(zoo("llava")).ready("image", 16, (1, 4, 4), {})


def test_bounds_change_what_an_item_costs_and_what_it_is(qwen: Processor) -> None:
    picture = Image.new("RGB", (131, 97))
    bounds = {"min_pixels": 200_000, "max_pixels": 300_000}
    assert qwen.size("image", (97, 131), bounds) == qwen.item("image", picture, bounds).rows
    assert qwen.item("image", picture, bounds).rows > qwen.item("image", picture, {}).rows


@pytest.mark.parametrize("name", ["qwen3_vl", "glm4v", "glm46v"])
def test_pixels_of_a_frame_are_bounded_where_a_class_bounds_those_of_all_frames(
    name: str, zoo: Zoo
) -> None:
    """The operator's ceiling is of a frame in every family."""
    ours = load(zoo(name))
    frames = np.random.default_rng(3).integers(0, 256, (8, 160, 224, 3), dtype=np.uint8)
    clip = Clip(frames, 2.0)
    edge = 2 * 16 * 2
    own = load_processor(zoo(name), hf.load_config(zoo(name))).video_processor
    made = ours.item("video", clip, {"max_pixels": edge * edge})
    bounds = {
        "shortest_edge": min(own.size["shortest_edge"], 8 * edge * edge),
        "longest_edge": 8 * edge * edge,
    }
    truth = own(videos=[frames], size=bounds, do_sample_frames=False, return_tensors="pt")
    (part,) = made.parts
    assert np.array_equal(part.tensors["pixel_values_videos"], truth["pixel_values_videos"].numpy())
    whole = ours.item("video", clip, {})
    assert made.rows < whole.rows
    assert {"min_pixels", "max_pixels"} <= ours.options("video")
    least, most = ours.pixel_range("video") or (0, 0)
    assert (least, most) == (1, own.size["longest_edge"])


def test_bounds_that_contradict_each_other_are_refused(qwen: Processor) -> None:
    with pytest.raises(RequestError, match="more than max_pixels"):
        qwen.item("image", Image.new("RGB", (64, 64)), {"min_pixels": 9000, "max_pixels": 4000})


def test_a_picture_that_the_processor_cannot_take_is_refused_in_words_of_ours(
    qwen: Processor,
) -> None:
    with pytest.raises(RequestError) as refused:
        qwen.item("image", Image.new("RGB", (2000, 2)), {})
    assert refused.value.failure.text == "The model's processor does not take this image."


def test_a_modality_that_the_model_has_not_is_refused(qwen: Processor) -> None:
    with pytest.raises(RequestError, match="takes no audio"):
        qwen.item("audio", np.zeros(16000, np.float32), {})


@pytest.mark.parametrize(
    ("name", "option"), [("internvl", "max_patches"), ("ovis2", "max_patches")]
)
def test_a_number_of_pieces_beyond_all_measure_is_refused(name: str, option: str, zoo: Zoo) -> None:
    ours, picture = load(zoo(name)), Image.new("RGB", (100, 60))
    assert ours.item("image", picture, {option: 2}).rows
    with pytest.raises(RequestError, match=option):
        ours.item("image", picture, {option: 100_000})


def test_an_area_beyond_all_measure_is_known_before_it_is_made(zoo: Zoo) -> None:
    """Also of a class that does not say what an item costs."""
    ours, bounds = load(zoo("paddleocr_vl")), {"min_pixels": 10**9, "max_pixels": 10**9}
    cost = ours.size("image", (60, 60), bounds)
    assert cost is not None
    assert cost > 10**6
