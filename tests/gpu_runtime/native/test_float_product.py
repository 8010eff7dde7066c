"""Native products of float32: those of float64, from weights in whatever type holds them; in
company the same to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.gpu_runtime.layers import float_product
from thespis.gpu_runtime.layers.float_product import (
    TYPES,
    FloatMatrix,
    float_products_are_right,
    narrowest,
    usable_float_kernels,
)
from thespis.gpu_runtime.native.build import best_level, library_path
from thespis.gpu_runtime.native.library import Kernels, allow_kernels

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(TYPES),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 1 << 20),
)
def test_products_are_those_of_float64_and_of_each_row_alone(
    rows: int,
    inputs: int,
    outputs: int,
    stored: torch.dtype,
    has_bias: bool,
    wide: bool,
    threads: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(outputs, inputs).to(stored).float()
    bias = torch.randn(outputs) if has_bias else None
    matrix = FloatMatrix(kernels(wide), weight, bias)
    assert torch.equal(matrix.unpacked(), weight)
    x = torch.randn(rows, inputs)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = matrix(x)
    finally:
        torch.set_num_threads(before)
    right = x.double() @ weight.double().T + (0 if bias is None else bias.double())
    torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-5 * inputs**0.5)
    for row in range(rows):
        assert torch.equal(matrix(x[row : row + 1])[0], found[row]), (
            "it depends on the rows beside it"
        )


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [
        ([1.0, -2.5, 3e38, 1e-30], torch.bfloat16),
        ([1.0, 0.1], torch.float32),
        ([1.0 + 2**-10, 65504.0, 2**-24], torch.float16),
        ([1.0 + 2**-10, 1e-30], torch.float32),
        ([torch.inf, -torch.inf, -0.0], torch.bfloat16),
        ([torch.nan], torch.float32),
    ],
)
def test_a_matrix_is_held_in_the_narrowest_type_that_keeps_its_numbers(
    numbers: list[float], kept: torch.dtype
) -> None:
    weight = torch.tensor([numbers]).to(kept).float()
    assert narrowest(weight) == kept
    matrix = FloatMatrix(kernels(), weight, None)
    assert matrix.dtype == kept
    for index in range(len(numbers)):
        one = torch.zeros(1, len(numbers))
        one[0, index] = 1
        if weight.isfinite().all():
            assert torch.equal(matrix(one)[0], weight[:, index])


def test_rows_may_lie_apart_and_have_any_shape_in_front() -> None:
    torch.manual_seed(3)
    weight, x = torch.randn(40, 33), torch.randn(2, 5, 66)
    matrix = FloatMatrix(kernels(), weight, None)
    for laid in (x[..., :33], x[..., ::2], x.transpose(0, 1)[..., 33:], x[:, :0, :33]):
        found = matrix(laid)
        assert found.shape == (*laid.shape[:-1], 40)
        torch.testing.assert_close(found, laid @ weight.T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "x", [torch.zeros(2, 32), torch.zeros(2, 33, dtype=torch.bfloat16)], ids=["width", "type"]
)
def test_what_it_is_not_made_for_is_refused_before_memory_is_read(x: torch.Tensor) -> None:
    with pytest.raises(RuntimeError, match="is multiplied"):
        FloatMatrix(kernels(), torch.randn(40, 33), None)(x)


@pytest.mark.parametrize("wide", [False, True])
def test_kernels_are_tried_before_they_are_used(wide: bool) -> None:
    assert float_products_are_right(kernels(wide))


def test_kernels_that_give_other_numbers_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Kernels(str(library_path(best_level())))
    monkeypatch.setattr(wrong, "multiply_floats", lambda call: None)
    monkeypatch.setattr(float_product, "load_kernels", lambda: wrong)
    assert usable_float_kernels() is None
    assert caplog.messages == [
        "torch's own products are used in place of native kernels: here these give other numbers"
    ]


def test_an_engine_without_native_kernels_has_none_of_these() -> None:
    with allow_kernels(False):
        assert usable_float_kernels() is None
    assert usable_float_kernels() is not None
