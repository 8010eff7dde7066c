"""S38: an embedding that is wrong in any way is refused with what was got and what was expected."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thespis.actors.decode_worker.embeds import check_embeds
from thespis.actors.decode_worker.item import ItemDecoder, Made
from thespis.frontends.inputs.embeds import read_embeds
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Embeds, Modality

from ...helpers.checkpoints import Checkpoints, Family
from ..preprocessor.parts import chat, load, prepared, processor

loaded = cache(load)


def embedded(folder: Path, modality: Modality, rows: int, grid: Any) -> Made:
    """What becomes of so many rows."""
    decoder = ItemDecoder(processor(folder), 64, MediaLimits(), 1000)
    values = np.ones((rows, 64), np.float32)
    return decoder.features(
        modality,
        Embeds(BlobRef("none", 0, "float32", values.shape), grid),
        values.tobytes(),
        {},
        {},
    )


LIMITS = MediaLimits(embeds_bytes=4096)


@pytest.mark.parametrize(
    ("dtype", "kind"), [("float32", "<f4"), ("float16", "<f2"), ("bfloat16", "<u2")]
)
def test_good_ones(dtype: str, kind: str) -> None:
    assert check_embeds(dtype, (3, 8), np.ones((3, 8), kind).tobytes(), 8, LIMITS) == 3


@pytest.mark.parametrize(
    ("dtype", "shape", "said"),
    [
        ("int64", (3, 8), "must be float32, float16 or bfloat16, got int64"),
        ("float32", (3, 8, 1), r"must be \[rows, 8\], got shape \[3, 8, 1\]"),
        ("float32", (3, 9), "hidden size 8, got 9"),
        ("float32", (0, 8), "at least 1 rows, got 0"),
        ("float32", (999, 8), "at most 4096 are taken"),
    ],
)
def test_wrong_ones(dtype: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check_embeds(dtype, shape, b"", 8, LIMITS)


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("float32", np.array([1, np.nan], "<f4").tobytes()),
        ("float16", np.array([np.inf, 1], "<f2").tobytes()),
        ("bfloat16", np.array([0x3F80, 0xFF80], "<u2").tobytes()),
        ("bfloat16", np.array([0x7FC0, 0], "<u2").tobytes()),
    ],
)
def test_values_that_are_no_numbers(dtype: str, data: bytes) -> None:
    with pytest.raises(RequestError, match="no finite numbers"):
        check_embeds(dtype, (1, 2), data, 2, LIMITS)


def test_items_that_are_wider_than_a_token_are_called_so(checkpoints: Checkpoints) -> None:
    """Models whose further layers add rows of their own (deepstack) take those beside the
    embedding."""
    decoder = ItemDecoder(processor(checkpoints("qwen_vl")), 192, MediaLimits(), 1000, 64)
    values = np.ones((4, 64), np.float32)
    with pytest.raises(
        RequestError,
        match=r"^Embeddings must have the width of this model's image items, 192, got 64\.$",
    ):
        decoder.features(
            "image",
            Embeds(BlobRef("none", 0, "float32", values.shape), (1, 4, 4)),
            values.tobytes(),
            {},
            {},
        )
    wide = np.ones((4, 192), np.float32)
    with pytest.raises(
        RequestError, match=r"^Embeddings must have the model's hidden size 64, got 192\.$"
    ):
        decoder.features(
            "prompt", Embeds(BlobRef("none", 0, "float32", wide.shape)), wide.tobytes(), {}, {}
        )


# grids


numbers = st.integers(-3, 6) | st.sampled_from([16, 1 << 31, 1 << 62, (1 << 64) - 1])


@pytest.mark.parametrize(
    ("family", "modality"), [("qwen_omni", "image"), ("qwen_omni", "video"), ("qwen_vl", "video")]
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=st.tuples(numbers, numbers, numbers))
def test_a_grid_has_a_place_for_each_row_or_is_refused(
    checkpoints: Checkpoints, family: Family, modality: Modality, grid: tuple[int, int, int]
) -> None:
    """B3: [1, 16, 1] with four rows has none."""
    folder = checkpoints(family)
    rows = max(1, grid[0] * grid[1] * grid[2] // 4)
    if min(grid) < 1 or grid[1] % 2 or grid[2] % 2 or rows > 1000:
        with pytest.raises(
            RequestError, match=re.escape(str(list(grid))) if rows <= 1000 else None
        ):
            embedded(folder, modality, min(rows, 1000), grid)
        return
    if modality == "image" and grid[0] > 1:  # no tower makes such a picture
        with pytest.raises(RequestError, match=r"must have \d+ rows, got"):
            embedded(folder, modality, rows, grid)
        return
    made = embedded(folder, modality, rows, grid)
    assert (made.item.rows, made.item.counts) == (rows, (rows,))
    whole = prepared(loaded(folder), chat(0, "?"), (modality, made.item))
    assert [(item.rows, item.spans[0].length) for item in whole.items] == [(rows, rows)]
    assert whole.positions is None or len(whole.positions) == 3 * 4 * len(whole.token_ids)
    with pytest.raises(RequestError, match=rf"rows, got {rows + 1}\."):
        embedded(folder, modality, rows + 1, grid)


def test_the_case_of_the_list(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError, match=r"must be multiples of 2, got \[1, 16, 1\]"):
        embedded(checkpoints("qwen_omni"), "image", 4, (1, 16, 1))


@pytest.mark.parametrize(("family", "modality"), [("qwen_omni", "audio"), ("llava", "image")])
def test_a_grid_that_means_nothing_is_refused(
    checkpoints: Checkpoints, family: Family, modality: Modality
) -> None:
    made = embedded(checkpoints(family), modality, 16, None)
    assert (made.item.rows, made.dtype) == (16, "float32")
    with pytest.raises(RequestError, match="have no grid with this model"):
        embedded(checkpoints(family), modality, 16, (1, 2, 2))


def test_pictures_of_one_size_have_one_number_of_rows(checkpoints: Checkpoints) -> None:
    with pytest.raises(RequestError, match="must have 16 rows, got 15"):
        embedded(checkpoints("llava"), "image", 15, None)


def test_sounds_have_any_number_of_rows(checkpoints: Checkpoints) -> None:
    made = embedded(checkpoints("qwen_omni"), "audio", 7, None)
    assert prepared(
        loaded(checkpoints("qwen_omni")), chat(0, "?"), ("audio", made.item)
    ).media_tokens == {"audio": 7}


@pytest.mark.parametrize(
    "grid",
    [
        5,
        "x" * 8 + "!",
        [1.0, 2.0, 2.0],
        [[[1, 2, 2]]],
        [1, 2],
        [],
        [True, True, True],
        [1 << 70, 2, 2],
        [None] * 3,
        {},
        [[1, 2], [3]],
    ],
)
def test_what_is_no_grid_is_refused_where_it_is_read(grid: object) -> None:
    with pytest.raises(RequestError) as raised:
        read_embeds(
            "image", {"image_embeds": np.ones((4, 8), np.float32), "image_grid_thw": grid}, "here"
        )
    assert raised.value.failure.part == "here"
