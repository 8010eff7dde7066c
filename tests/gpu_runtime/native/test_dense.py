"""Native attention of towers: that of float64, whatever its strides, and each query's the same to
the bit in every company."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from thespis.gpu_runtime.attention.dense import WIDEST, Dense, dense_is_right, usable_dense
from thespis.gpu_runtime.native.library import allow_kernels

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 2),
    st.sampled_from([(1, 1), (4, 4), (4, 2), (3, 1)]),
    st.integers(1, 450),
    st.integers(1, 300),
    st.integers(1, WIDEST),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 1 << 20),
)
def test_it_is_that_of_float64_and_of_each_query_alone(
    items: int,
    heads: tuple[int, int],
    queries: int,
    keys: int,
    width: int,
    wide: bool,
    threads: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    query = 2 * torch.randn(items, queries, heads[0], width).transpose(1, 2)
    both = 2 * torch.randn(items, keys, 2, heads[1], width).permute(
        2, 0, 3, 1, 4
    )  # as one product gives them
    attend, scale = Dense(kernels(wide)), width**-0.5
    assert attend.takes(query, both[0], both[1])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = attend(query, both[0], both[1], scale)
    finally:
        torch.set_num_threads(before)
    asked, seen, valued = query.double(), both[0].double(), both[1].double()
    right = F.scaled_dot_product_attention(
        asked, seen, valued, scale=scale, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=2e-5)
    last = attend(query[:, :, -1:], both[0], both[1], scale)
    assert torch.equal(last[:, 0], found[:, -1]), "it depends on the queries beside it"


def test_scores_may_be_of_any_size_and_what_is_no_number_shows() -> None:
    attend = Dense(kernels())
    query, key, value = torch.randn(3, 1, 2, 300, 16, generator=torch.Generator().manual_seed(0))
    for factor in (1e-20, 1e4, 1e15):
        found = attend(query * factor, key, value, 1.0).transpose(1, 2)
        right = F.scaled_dot_product_attention(
            (query * factor).double(), key.double(), value.double(), scale=1.0
        )
        assert (found - right).abs().mean() < 1e-3, factor
    key[0, 1, 200] = torch.nan
    found = attend(query, key, value, 1.0)
    assert torch.isnan(found[:, :, 1]).all()
    assert torch.isfinite(found[:, :, 0]).all()


def test_what_it_does_not_take_is_told() -> None:
    attend = Dense(kernels())
    query, key = torch.zeros(1, 4, 9, 16), torch.zeros(1, 4, 7, 16)
    assert attend.takes(query, key, key)
    wider = torch.zeros(1, 4, 9, WIDEST + 1)
    refused = [
        (query.half(), key.half(), key.half()),
        (query, key[:, :3], key[:, :3]),
        (query, key, key[:, :, :6]),
        (query, key[:, :, :0], key[:, :, :0]),
        (query.transpose(2, 3), torch.zeros(1, 4, 7, 9), torch.zeros(1, 4, 7, 9)),
        (wider, wider, wider),
        (query.to("meta"), key.to("meta"), key.to("meta")),
    ]
    for given_ in refused:
        assert not attend.takes(*given_)


def test_only_kernels_that_are_right_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dense_is_right(kernels())
    with allow_kernels(False):
        assert usable_dense() is None
    wrong = kernels(True)
    monkeypatch.setattr(wrong, "attend_dense", lambda _: None)
    assert not dense_is_right(wrong)
