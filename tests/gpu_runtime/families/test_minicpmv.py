"""MiniCPM-V 2.6: pictures of any shape against a processor in a straight line, clips, and what is
refused."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.video_utils import VideoMetadata

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.families.minicpmv import MiniCPMVVideoProcessor
from thespis.gpu_runtime.inspection.hf import build_on_meta, load_config
from thespis.gpu_runtime.processing import load
from thespis.protocol.errors import EngineError, RequestError
from thespis.tests.zoo.catalog import Zoo, build
from thespis.tests.zoo.own.minicpmv import Processor

from ..processing.conversations import clip, picture
from .rewriting import rewritten

LINES = Random(2)
SHAPES = [(LINES.randint(20, 300), LINES.randint(20, 300)) for _ in range(30)] + [
    (4, 250),
    (250, 4),
    (56, 56),
    (57, 56),
]


def pieces(tensors: dict[str, Any]) -> list[torch.Tensor]:
    """Of the slices, each [3, height, width] again."""
    found, start = [], 0
    for rows, columns in tensors["tgt_sizes"].tolist():
        part = torch.from_numpy(tensors["pixel_values"][start : start + rows * columns])
        found.append(
            part.view(rows, columns, 3, 14, 14)
            .permute(2, 0, 3, 1, 4)
            .reshape(3, rows * 14, columns * 14)
        )
        start += rows * columns
    assert start == len(tensors["pixel_values"])
    return found


@pytest.mark.parametrize(
    ("scale", "shapes"), [(56, SHAPES), (448, [(700, 900), (1300, 500), (300, 200)])]
)
def test_pictures_of_any_shape_become_the_same_slices(
    scale: int, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    folder = rewritten(
        build("minicpmv", tmp_path), "preprocessor_config.json", scale_resolution=scale
    )
    ours, theirs = load(folder), Processor(folder)
    for shape in shapes:
        image = picture(*shape)
        slices, columns = theirs.slices(image, 9)
        made = ours.item("image", image, {})
        written = theirs.text(len(slices), columns)
        assert made.text == written.replace("<unk>" * 4, "<unk>")
        assert (made.counts, made.number) == ((4,) * len(slices), "<image_id>{n}</image_id>")
        assert ours.size("image", shape, {}) == 4 * len(slices)
        for one, other in zip(pieces(made.parts[0].tensors), slices, strict=True):
            assert np.array_equal(one, other)


def test_a_caller_says_how_many_slices(zoo: Zoo) -> None:
    ours, image = load(zoo("minicpmv")), picture(200, 200)
    assert [
        ours.item("image", image, {"max_slice_nums": most}).rows // 4 for most in (1, 2, 4, 9)
    ] == [1, 3, 5, 10]
    with pytest.raises(RequestError, match="does not take this image"):
        ours.item("image", image, {"max_slice_nums": 0})


def test_a_clip_is_its_frames_without_numbers(zoo: Zoo) -> None:
    """Two slices at most, whatever pictures have."""
    ours, theirs, shown = load(zoo("minicpmv")), Processor(zoo("minicpmv")), clip(3, 200, 120)
    made = ours.item("video", shown, {})
    frames = [theirs.slices(Image.fromarray(frame), 2) for frame in shown.frames]
    assert made.text == "\n".join(
        theirs.text(len(slices), columns) for slices, columns in frames
    ).replace("<unk>" * 4, "<unk>")
    assert (made.number, made.parts[0].kind, made.rows) == ("", "image", 3 * 3 * 4)
    for one, other in zip(
        pieces(made.parts[0].tensors), [one for slices, _ in frames for one in slices], strict=True
    ):
        assert np.array_equal(one, other)
    assert ours.item("video", shown, {"max_slice_nums": 1}).rows == 3 * 4


@pytest.mark.parametrize(
    ("total", "fps", "expected"),
    [
        (100, 25.0, [0, 25, 50, 75]),
        (10, 0.5, list(range(10))),
        (6400, 10.0, list(range(50, 6400, 100))),
        (90, 29.97, [0, 30, 60]),
    ],
)
def test_one_frame_a_second_and_no_more_than_sixty_four(
    total: int, fps: float, expected: list[int]
) -> None:
    found = MiniCPMVVideoProcessor().sample_frames(VideoMetadata(total_num_frames=total, fps=fps))
    assert found == expected


def test_the_published_file_is_read(tmp_path: Path) -> None:
    folder = rewritten(
        build("minicpmv", tmp_path),
        "config.json",
        hidden_size=3584,
        num_attention_heads=28,
        query_num=64,
    )
    model: Any = build_on_meta(folder)
    resampler = model.model.resampler
    assert resampler.query.shape == (64, 3584)
    assert resampler.attn.num_heads == 28
    assert load_config(folder).vision_config.hidden_act == "gelu_pytorch_tanh"


@pytest.mark.parametrize("version", [2.5, "4.5"])
def test_another_version_is_refused_by_name(version: Any, tmp_path: Path) -> None:
    folder = rewritten(build("minicpmv", tmp_path), "config.json", version=version)
    with pytest.raises(EngineError, match=rf"MiniCPM-V {version} is not built, 2\.6 alone is"):
        model_facts(folder)


@pytest.mark.parametrize("field", ["slice_mode", "use_image_id"])
def test_pictures_that_would_be_shown_otherwise_are_refused(field: str, tmp_path: Path) -> None:
    folder = rewritten(build("minicpmv", tmp_path), "preprocessor_config.json", **{field: False})
    with pytest.raises(EngineError, match="are not built"):
        load(folder)
