"""S38: an embedding that is wrong in any way is refused with what was got and what was expected."""

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thespis.actors.preprocessor.decode.embeds import check_embeds
from thespis.actors.preprocessor.decode.item import ItemDecoder
from thespis.actors.preprocessor.families.base import PlacedItem
from thespis.frontends.embeds import read_embeds
from thespis.protocol.blobs import BlobRef
from thespis.protocol.errors import RequestError
from thespis.protocol.request import Embeds, Modality
from thespis.protocol.roles import MediaLimits

from ...helpers.checkpoints import Checkpoints, Family
from .parts import load

loaded = cache(load)

LIMITS = MediaLimits(embeds_bytes=4096)


@pytest.mark.parametrize(("dtype", "kind"), [("float32", "<f4"), ("float16", "<f2"), ("bfloat16", "<u2")])
def test_good_ones(dtype: str, kind: str) -> None:
    assert check_embeds(dtype, (3, 8), np.ones((3, 8), kind).tobytes(), 8, 3, LIMITS) == 3
    assert check_embeds(dtype, (5, 8), np.ones((5, 8), kind).tobytes(), 8, None, LIMITS) == 5


@pytest.mark.parametrize(
    ("dtype", "shape", "rows", "said"),
    [
        ("int64", (3, 8), 3, "must be float32, float16 or bfloat16, got int64"),
        ("float32", (3, 8, 1), 3, r"must be \[rows, 8\], got shape \[3, 8, 1\]"),
        ("float32", (3, 9), 3, "hidden size 8, got 9"),
        ("float32", (4, 8), 3, "must have 3 rows, got 4"),
        ("float32", (0, 8), None, "at least 1 rows, got 0"),
        ("float32", (999, 8), None, "at most 4096 are taken"),
    ],
)
def test_wrong_ones(dtype: str, shape: tuple[int, ...], rows: int | None, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        check_embeds(dtype, shape, b"", 8, rows, LIMITS)


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
        check_embeds(dtype, (1, 2), data, 2, 1, LIMITS)


# grids


numbers = st.integers(-3, 6) | st.sampled_from([16, 1 << 31, 1 << 62, (1 << 64) - 1])


@pytest.mark.parametrize(("family", "modality"), [("qwen_omni", "image"), ("qwen_omni", "video"), ("qwen_vl", "video")])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=st.tuples(numbers, numbers, numbers))
def test_a_grid_has_a_place_for_each_row_or_is_refused(
    checkpoints: Checkpoints, family: Family, modality: Modality, grid: tuple[int, int, int]
) -> None:
    """B3: [1, 16, 1] with four rows has none."""
    made = loaded(checkpoints(family)).family
    if min(grid) < 1 or grid[1] % 2 or grid[2] % 2:
        with pytest.raises(RequestError, match=re.escape(str(list(grid)))):
            made.rows_of(modality, grid)
        return
    rows = grid[0] * grid[1] * grid[2] // 4
    assert made.rows_of(modality, grid) == rows
    if rows <= 1000:
        start = made.checkpoint.config["vision_start_token_id"]
        token = made.placeholders[modality].token_id
        ids = [start, *[token] * rows, 7]
        placed = [PlacedItem(modality, 1, rows, grid, 0.5)]
        positions, _ = made.positions(len(ids), ids, placed)
        assert positions is not None
        assert len(positions) == 3 * 4 * len(ids)


def test_the_case_of_the_list(checkpoints: Checkpoints) -> None:
    decoder = ItemDecoder(loaded(checkpoints("qwen_omni")).family, MediaLimits(), 1000)
    four = np.ones((4, 64), np.float32)
    source = Embeds(BlobRef("none", 0, "float32", four.shape), (1, 16, 1))
    with pytest.raises(RequestError, match=r"must be multiples of 2, got \[1, 16, 1\]"):
        decoder.features("image", source, four.tobytes(), {}, {})


@pytest.mark.parametrize(("family", "modality"), [("qwen_omni", "audio"), ("llava", "image")])
def test_a_grid_that_means_nothing_is_refused(checkpoints: Checkpoints, family: Family, modality: Modality) -> None:
    made = loaded(checkpoints(family)).family
    made.rows_of(modality, None)
    with pytest.raises(RequestError, match="have no grid with this model"):
        made.rows_of(modality, (1, 2, 2))


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
        read_embeds("image", {"image_embeds": np.ones((4, 8), np.float32), "image_grid_thw": grid}, "here")
    assert raised.value.failure.part == "here"
