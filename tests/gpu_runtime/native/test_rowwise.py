"""Norms, gates and rotary turns in one pass: torch's numbers, row by row, whatever is computed
beside them."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.activations import ACT2FN

from thespis.gpu_runtime.layers.activations import QuickGelu
from thespis.gpu_runtime.layers.rowwise import NativeRowwise, Rowwise, rowwise_for
from thespis.gpu_runtime.native.build import best_level, library_path
from thespis.gpu_runtime.native.library import Kernels

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]


@cache
def _native(wide: bool = False) -> NativeRowwise:
    return NativeRowwise(kernels(wide))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([16, 48, 128, 2048]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_rows_are_those_of_torch(rows: int, width: int, half: bool, wide: bool, seed: int) -> None:
    dice = torch.Generator().manual_seed(seed)
    dtype = torch.bfloat16 if half else torch.float32
    x, more, weight, both, heads = (
        (3 * torch.randn(shape, generator=dice)).to(dtype)
        for shape in ((rows, width), (rows, width), (width,), (rows, 2 * width), (rows, 3, width))
    )
    turn = torch.polar(
        torch.rand(rows, 1, width // 2, generator=dice),
        torch.randn(rows, 1, width // 2, generator=dice),
    )
    near = 2e-2 if half else 1e-5
    found: list[list[torch.Tensor]] = []
    for way in (Rowwise(), _native(wide)):
        turned = heads.clone()
        way.turn(turned, 2, turn)
        summed, normed = way.norm(way.begin(x), more, weight, 1e-6)
        found.append(
            [summed, normed, way.norm(summed, None, weight, 1e-6)[1], way.gated(both), turned]
        )
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=near, atol=near)
    assert torch.equal(found[1][0], x + more), "a sum is rounded once"
    assert torch.equal(found[1][4][:, 2], heads[:, 2]), "values are not turned"
    alone = _native(wide).norm(x[-1:].clone(), more[-1:], weight, 1e-6)[1]
    assert torch.equal(alone[0], found[1][1][-1]), "it depends on the rows beside it"


def test_gates_far_from_zero_stay_themselves_or_vanish_and_what_is_not_finite_stays_so() -> None:
    gate = torch.tensor([[-1e30, -200.0, -88.0, 0.0, 88.0, 1e30, torch.nan, torch.inf] * 2])
    found = _native().gated(torch.cat((gate, torch.ones_like(gate)), 1))[0, :8]
    torch.testing.assert_close(
        found[:6], torch.tensor([0.0, 0.0, 0.0, 0.0, 88.0, 1e30]), rtol=1e-6, atol=1e-6
    )
    assert found[6].isnan()
    assert found[7] == torch.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wide", [False, True])
def test_an_activation_is_that_of_transformers(dtype: torch.dtype, wide: bool) -> None:
    x = (4 * torch.randn(3, 5, 1600)).to(dtype)
    x[0, 0, :4] = torch.tensor([-1e30, -88.0, 88.0, 1e30])
    kept, near = x.clone(), 2e-2 if dtype == torch.bfloat16 else 1e-5
    for rows in (x, x.transpose(0, 1), x[:, :, ::2]):
        found = QuickGelu(kernels(wide))(rows)
        wanted = ACT2FN["quick_gelu"](rows.float())
        torch.testing.assert_close(found.float(), wanted, rtol=near, atol=near)
    assert torch.equal(x, kept)


def test_what_was_given_is_not_changed() -> None:
    given = torch.ones(2, 16)
    way = _native()
    way.norm(way.begin(given), torch.ones(2, 16), torch.ones(16), 1e-6)
    assert torch.equal(given, torch.ones(2, 16))


def test_they_are_used_where_they_fit_and_are_right(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kernels = Kernels(str(library_path(best_level())))
    like = torch.zeros(1)
    assert type(rowwise_for(kernels, like, (64, 32))) is NativeRowwise
    assert type(rowwise_for(kernels, like, (64, 40))) is Rowwise
    assert type(rowwise_for(kernels, like.half(), (64,))) is Rowwise
    assert type(rowwise_for(None, like, (64,))) is Rowwise
    wrong = Kernels(str(library_path(best_level())))
    monkeypatch.setattr(wrong, "turn", lambda *_: None)
    for _ in range(2):
        assert type(rowwise_for(wrong, like, (64,))) is Rowwise
    said = (
        "torch's own norms, gates and turns are used in place of native kernels: here these give "
        "other numbers"
    )
    assert caplog.messages == [said], "once"
