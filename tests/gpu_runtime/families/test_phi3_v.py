"""Phi-3.5-vision: the published sizes, and pictures of any shape against a processor in a straight
line."""

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.processing import load
from thespis.protocol.errors import EngineError, RequestError
from thespis.tests.zoo.catalog import Zoo, build
from thespis.tests.zoo.own.phi3_v import Processor

from ..processing.conversations import picture
from .rewriting import rewritten


@pytest.mark.parametrize(("tile_rows", "count"), [(4, 40), (144, 3)])
def test_pictures_of_any_shape_become_the_same_tiles(
    tile_rows: int, count: int, tmp_path: Path
) -> None:
    folder = rewritten(
        build("phi3_v", tmp_path), "preprocessor_config.json", num_img_tokens=tile_rows, num_crops=7
    )
    ours, theirs, random = load(folder), Processor(folder), Random(tile_rows)
    for _ in range(count):
        image = picture(random.randint(40, 400), random.randint(40, 400))
        tiles, size = theirs.tiles(image)
        rows = theirs.rows(size[0] // theirs.tile, size[1] // theirs.tile)
        made = ours.item("image", image, {})
        assert (made.text, made.counts) == ("<|image|>", (rows,))
        assert ours.size("image", (image.height, image.width), {}) == rows
        tensors = made.parts[0].tensors
        assert tensors["image_sizes"].tolist() == [list(size)]
        assert np.array_equal(tensors["pixel_values"][0], tiles.numpy())


def test_a_caller_says_how_many_tiles(zoo: Zoo) -> None:
    ours, image = load(zoo("phi3_v")), picture(300, 300)
    assert [ours.item("image", image, {"num_crops": most}).rows for most in (1, 4, 9)] == [
        13,
        27,
        49,
    ]
    with pytest.raises(RequestError, match="num_crops must be at most 64"):
        ours.item("image", image, {"num_crops": 65})
    with pytest.raises(RequestError, match="does not take this image"):
        ours.item("image", image, {"num_crops": 0})


def test_a_picture_of_which_nothing_would_be_left_is_refused(zoo: Zoo) -> None:
    with pytest.raises(RequestError, match="does not take this image"):
        load(zoo("phi3_v")).item("image", picture(1, 900), {})


def test_published_files_do_not_describe_the_tower(tmp_path: Path) -> None:
    """ViT-L/14 at 336 pixels, of whose layers the last is not run."""
    model: Any = build_on_meta(
        rewritten(build("phi3_v", tmp_path), "config.json", vision_config=None)
    )
    tower = model.model.vision_embed_tokens
    assert len(tower.img_processor.encoder.layers) == 23
    assert tower.img_processor.embeddings.position_embedding.weight.shape == (577, 1024)
    assert tower.img_projection[0].weight.shape == (64, 4096)
    assert tower.img_processor.config.num_attention_heads == 16
    assert {parameter.device for parameter in model.parameters()} == {torch.device("meta")}


@pytest.mark.parametrize(
    "changes",
    [{"hd_transform_order": "glb_sub"}, {"use_hd_transform": False}, {"projection_cls": "linear"}],
)
def test_another_kind_of_rows_is_refused_by_name(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = build("phi3_v", tmp_path)
    layer = {**json.loads((folder / "config.json").read_text())["embd_layer"], **changes}
    with pytest.raises(EngineError, match=next(iter(changes))):
        build_on_meta(rewritten(folder, "config.json", embd_layer=layer))
