"""A convolution that takes every patch once, as a product: the same numbers, and every other one
stays."""

from typing import Any

import pytest
import torch
from torch import nn

from thespis.gpu_runtime.layers import linear
from thespis.gpu_runtime.layers.patches import PatchProduct, replace_patch_convolutions

CONVOLUTIONS: list[tuple[nn.Conv2d | nn.Conv3d, tuple[int, ...]]] = [
    (nn.Conv2d(3, 8, 14, 14), (2, 3, 42, 59)),  # ends that no patch takes are left out
    (nn.Conv2d(3, 8, (4, 6), (4, 6), bias=False, padding="valid"), (1, 3, 8, 12)),
    (nn.Conv3d(3, 8, (2, 14, 14), (2, 14, 14), bias=False), (5, 3, 2, 14, 14)),
    (nn.Conv3d(2, 8, (2, 4, 4), (2, 4, 4)), (1, 2, 4, 8, 12)),
]


@pytest.mark.parametrize("least", [1, 1 << 30], ids=["packed", "plain"])
@pytest.mark.parametrize("number", range(len(CONVOLUTIONS)))
def test_it_is_the_convolution(number: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "WORTH_PACKING", least)
    conv, shape = CONVOLUTIONS[number]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = PatchProduct(conv)(x), conv(x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    if not any(side // size > 1 for side, size in zip(shape[2:], conv.kernel_size, strict=True)):
        assert ours.view(-1, 8).shape == (5, 8), "as models go on with it"


def test_only_those_are_replaced_that_take_each_patch_once() -> None:
    kept: list[nn.Module] = [
        nn.Conv2d(3, 8, 3, 1), nn.Conv2d(3, 8, 4, 4, padding=1), nn.Conv2d(4, 8, 4, 4, groups=2),
        nn.Conv1d(3, 8, 2, 2),
        nn.Conv2d(3, 8, 4, 4, dilation=2), nn.Conv2d(3, 8, 1, 1),
    ]  # fmt: skip
    whole = nn.Sequential(*kept, nn.Sequential(nn.Conv2d(3, 8, 4, 4)))
    replace_patch_convolutions(whole)
    children: list[Any] = list(whole.children())
    assert children[:-1] == kept
    assert isinstance(children[-1][0], PatchProduct)
    assert children[-1][0].weight.dtype == torch.float32
