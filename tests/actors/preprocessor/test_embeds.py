"""S38: an embedding that is wrong in any way is refused with what was got and what was expected."""

import numpy as np
import pytest

from thespis.actors.preprocessor.decode.embeds import check_embeds
from thespis.protocol.errors import RequestError
from thespis.protocol.roles import MediaLimits

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
