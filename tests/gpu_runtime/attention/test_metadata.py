"""Which decode rows are padded together."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thespis.gpu_runtime.attention.metadata import CHEAP, WASTE, group_rows


@given(st.lists(st.integers(1, 400), max_size=40), st.none() | st.integers(1, 2000))
def test_groups_cover_all_rows_in_order_and_waste_little(
    blocks: list[int], most: int | None
) -> None:
    falling = np.array(sorted(blocks, reverse=True), dtype=np.int64)
    runs = group_rows(falling, most)
    assert [row for first, last in runs for row in range(first, last)] == list(range(len(falling)))
    for first, last in runs:
        assert falling[first] <= max(CHEAP, WASTE * falling[last - 1])
        assert most is None or last == first + 1 or (last - first) * falling[first] <= most


def test_equal_rows_are_one_group() -> None:
    assert group_rows(np.full(32, 300)) == [(0, 32)]


def test_what_a_cache_cannot_hold_is_cut_into_equal_pieces() -> None:
    assert group_rows(np.full(32, 7), most=130) == [(0, 16), (16, 32)]


def test_a_long_row_does_not_make_short_ones_long() -> None:
    assert group_rows(np.array([256, 4, 4, 3])) == [(0, 1), (1, 4)]
