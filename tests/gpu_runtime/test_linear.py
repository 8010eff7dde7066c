"""The one linear layer: packed or plain, the same product."""

import pytest
import torch

from thespis.gpu_runtime.layers import linear
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
    assert layer.weight.is_mkldnn is linear._can_pack(dtype)
    for rows in (1, 3, 40):
        x = torch.randn(rows, SHAPE[1]).to(dtype)
        right = x.double() @ weight.double().T + (0 if added is None else added.double())
        found = layer(x)
        assert found.dtype == dtype
        assert float((found.double() - right).abs().max() / right.abs().max()) < BOUNDS[dtype]


def test_float32_can_be_packed_on_every_cpu_that_is_tested() -> None:
    assert linear._can_pack(torch.float32)
    assert not Linear(torch.ones(8, 8), None).weight.is_mkldnn, "its call would cost more than it saves"


def test_what_the_library_refuses_is_left_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not on this CPU")

    monkeypatch.setattr(linear, "_packed", refuse)
    assert not linear._can_pack.__wrapped__(torch.bfloat16)
