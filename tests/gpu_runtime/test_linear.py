"""The one linear layer: packed or plain, the same product."""

import pytest
import torch

from thespis.gpu_runtime.layers import linear
from thespis.gpu_runtime.layers.float_product import usable_float_kernels
from thespis.gpu_runtime.layers.linear import Linear

SHAPE = (640, 520)
"""Beyond what is worth packing; no multiple of the widths of vectors."""
BOUNDS = {torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Of the greatest error, in the greatest value."""


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_it_is_the_product_in_every_precision_and_packed_wherever_that_can_be(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(1)
    weight = torch.randn(SHAPE).to(dtype)
    added = torch.randn(SHAPE[0]).to(dtype) if bias else None
    layer = Linear(weight, added)
    native = dtype == torch.float32 and usable_float_kernels() is not None
    assert layer.weight.is_mkldnn is (linear._can_pack(dtype) and not native)
    assert layer.weight.shape == SHAPE
    assert layer.weight.dtype == dtype
    for rows in (1, 3, 40):
        x = torch.randn(rows, SHAPE[1]).to(dtype)
        right = x.double() @ weight.double().T + (0 if added is None else added.double())
        found = layer(x)
        assert found.dtype == dtype
        assert float((found.double() - right).abs().max() / right.abs().max()) < BOUNDS[dtype]


def test_float32_can_be_packed_on_every_cpu_that_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "usable_float_kernels", lambda: None)
    weight, x = torch.randn(SHAPE), torch.randn(3, SHAPE[1])
    layer = Linear(weight, None)
    assert layer.weight.is_mkldnn
    torch.testing.assert_close(layer(x), x @ weight.T, rtol=1e-5, atol=1e-4)


def test_small_weights_are_left_plain() -> None:
    small = torch.ones(8, 8)
    assert Linear(small, None).weight.data_ptr() == small.data_ptr(), "a packed one's call would cost more than it saves"


def test_what_the_library_refuses_is_left_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not on this CPU")

    monkeypatch.setattr(linear, "_packed", refuse)
    assert not linear._can_pack.__wrapped__(torch.bfloat16)
