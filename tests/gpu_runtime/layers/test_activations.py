"""transformers' activations by fewer passes: the same numbers."""

import pytest
import torch
from torch import nn
from transformers.activations import ACT2FN

from thespis.gpu_runtime.layers import activations
from thespis.gpu_runtime.layers.activations import QuickGelu, replace_activations


@pytest.mark.parametrize("bytes_", [1, 1 << 18])
def test_quick_gelu(bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "ROWS_BYTES", bytes_)
    for x in (torch.randn(2, 7, 33), torch.randn(5, 6).T, torch.randn(0, 4)):
        kept = x.clone()
        torch.testing.assert_close(QuickGelu()(x), ACT2FN["quick_gelu"](x), atol=1e-6, rtol=1e-6)
        assert torch.equal(x, kept)


def test_only_those_are_replaced() -> None:
    inner = nn.Sequential(ACT2FN["quick_gelu"])
    whole = nn.Sequential(inner, ACT2FN["gelu"])
    replace_activations(whole)
    assert isinstance(inner[0], QuickGelu)
    assert whole[1] is not None
    assert not isinstance(whole[1], QuickGelu)
