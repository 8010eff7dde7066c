"""Positions of any mix of text and items equal transformers' `get_rope_index`."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thespis.actors.preprocessor.families.base import PlacedItem, Placeholder, Sized, expand
from thespis.protocol.errors import RequestError
from thespis.protocol.prepared import Span

from ...helpers.checkpoints import Checkpoints
from ...helpers.reference import rope_owner
from .parts import Parts, load

_hf: Any = transformers
_load = functools.cache(load)

grids = st.tuples(st.integers(1, 4), st.integers(1, 4).map(lambda n: 2 * n), st.integers(1, 4).map(lambda n: 2 * n))
texts = st.lists(st.integers(1, 40), max_size=6)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@functools.cache
def _model(folder: Path) -> Any:
    """What has `get_rope_index`, on meta: positions need the configuration alone."""
    config = _hf.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        return rope_owner(_hf.AutoModelForImageTextToText.from_config(config))


def _lay_out(parts: Parts, layout: list[Any]) -> tuple[list[int], list[PlacedItem]]:
    """Token ids of texts and items in a row, items between the marks that their family puts there."""
    ids: list[int] = []
    placed: list[PlacedItem] = []
    config = parts.checkpoint.config
    for text, modality, grid, frames in layout:
        ids += text
        if modality == "audio":
            rows, size, before, after = frames, None, config["audio_start_token_id"], config["audio_end_token_id"]
        else:
            size = (1, *grid[1:]) if modality == "image" else grid
            rows, before, after = (
                size[0] * size[1] * size[2] // 4,
                config["vision_start_token_id"],
                config["vision_end_token_id"],
            )
        ids.append(before)
        placed.append(PlacedItem(modality, len(ids), rows, size, 0.5 if modality == "video" else 0.0))
        ids += [parts.family.placeholders[modality].token_id] * rows + [after]
    return [*ids, 7, 8], placed


def _grids(placed: list[PlacedItem], modality: str) -> torch.Tensor | None:
    rows = [item.grid for item in placed if item.modality == modality]
    return torch.tensor(rows) if rows else None


def _equal(made: tuple[bytes | None, int], expected: tuple[torch.Tensor, torch.Tensor], length: int) -> None:
    positions, delta = made
    ours = np.tile(np.arange(length), (3, 1)) if positions is None else np.frombuffer(positions, "<i4").reshape(3, length)
    assert np.array_equal(ours, expected[0][:, 0].numpy())
    assert delta == int(expected[1][0, 0])


@MANY
@given(layout=st.lists(st.tuples(texts, st.sampled_from(["image", "video"]), grids, st.none()), max_size=5))
def test_qwen_vl(checkpoints: Checkpoints, layout: list[Any]) -> None:
    folder = checkpoints("qwen_vl")
    parts = _load(folder)
    ids, placed = _lay_out(parts, layout)
    kinds = torch.zeros(1, len(ids), dtype=torch.int)
    for item in placed:
        kinds[0, item.start : item.start + item.rows] = 1 if item.modality == "image" else 2
    expected = _model(folder).get_rope_index(
        torch.tensor([ids]), kinds, _grids(placed, "image"), _grids(placed, "video"), torch.ones(1, len(ids), dtype=torch.int)
    )
    _equal(parts.family.positions(len(ids), ids, placed), expected, len(ids))


@MANY
@given(layout=st.lists(st.tuples(texts, st.sampled_from(["image", "video", "audio"]), grids, st.integers(1, 60)), max_size=5))
def test_qwen_omni(checkpoints: Checkpoints, layout: list[Any]) -> None:
    folder = checkpoints("qwen_omni")
    parts = _load(folder)
    ids, placed = _lay_out(parts, layout)
    sounds = [4 * item.rows + 2 for item in placed if item.modality == "audio"]  # mel frames that make so many rows
    expected = _model(folder).get_rope_index(
        torch.tensor([ids]),
        _grids(placed, "image"),
        _grids(placed, "video"),
        torch.ones(1, len(ids), dtype=torch.int),
        False,
        torch.tensor(sounds),
        torch.tensor([item.seconds_per_grid for item in placed if item.modality == "video"]),
    )
    _equal(parts.family.positions(len(ids), ids, placed), expected, len(ids))


def test_llava_counts_plainly(checkpoints: Checkpoints) -> None:
    assert _load(checkpoints("llava")).family.positions(5, [1] * 5, [PlacedItem("image", 1, 3)]) == (None, 0)


IMAGE, SOUND = Placeholder("<i>", 90, "<i>"), Placeholder("<a>", 91, "<a>")


def test_items_of_two_kinds_expand_in_place() -> None:
    ids, spans = expand(
        [1, 90, 2, 91, 90], {"image": IMAGE, "audio": SOUND}, {"image": [Sized(2), Sized(1)], "audio": [Sized(3)]}
    )
    assert ids == [1, 90, 90, 2, 91, 91, 91, 90]
    assert spans == {"image": [Span(1, 2), Span(7, 1)], "audio": [Span(4, 3)]}


def test_whole_runs_are_taken_as_they_are() -> None:
    ids, spans = expand([1, 90, 90, 90, 2], {"image": IMAGE}, {"image": [Sized(2), Sized(1)]})
    assert ids == [1, 90, 90, 90, 2]
    assert spans["image"] == [Span(1, 2), Span(3, 1)]


@pytest.mark.parametrize("ids", [[90, 90, 90, 90], [90, 90, 5, 90]])
def test_runs_of_other_lengths_are_refused(ids: list[int]) -> None:
    with pytest.raises(RequestError):
        expand(ids, {"image": IMAGE}, {"image": [Sized(3)]})


@MANY
@given(
    before=texts,
    after=texts,
    grid=grids,
    sound=st.integers(1, 140),
    seconds=st.sampled_from([0.5, 1.0, 1.25, 2.0]),
    still=st.none() | grids,
)
def test_S33_a_clip_with_its_sound(
    checkpoints: Checkpoints, before: list[int], after: list[int], grid: Any, sound: int, seconds: float, still: Any
) -> None:
    """Also between pictures; whichever of picture and sound lasts longer."""
    folder = checkpoints("qwen_omni")
    parts = _load(folder)
    family, config = parts.family, parts.checkpoint.config
    ids, placed = [*before, config["vision_start_token_id"]], []
    size = Sized(grid[0] * grid[1] * grid[2] // 4, grid, seconds)
    placed.append(PlacedItem("video", len(ids), size.rows, grid, seconds, sound))
    for piece in family.interleaved(size, sound):
        ids += [piece.token_id] * piece.length
    ids += [config["vision_end_token_id"], *after]
    if still is not None:
        layout, more = _lay_out(parts, [([], "image", still, None)])
        placed += [PlacedItem(item.modality, item.start + len(ids), item.rows, item.grid) for item in more]
        ids += layout
    expected = _model(folder).get_rope_index(
        torch.tensor([ids]),
        _grids(placed, "image"),
        _grids(placed, "video"),
        torch.ones(1, len(ids), dtype=torch.int),
        True,
        torch.tensor([4 * sound + 2]),
        torch.tensor([seconds]),
    )
    _equal(family.positions(len(ids), ids, placed), expected, len(ids))
