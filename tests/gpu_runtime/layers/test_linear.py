"""The one linear layer: packed or plain, the same product."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from thespis.gpu_runtime.layers import int8, linear
from thespis.gpu_runtime.layers.float_product import FloatMatrix, usable_float_kernels
from thespis.gpu_runtime.layers.int8 import Int8, Int8Linear, Int8Weights
from thespis.gpu_runtime.layers.linear import Linear
from thespis.gpu_runtime.layers.product import usable_product
from thespis.gpu_runtime.layers.stand_in import StandIn
from thespis.gpu_runtime.runner.runner import Runner

from ...zoo.catalog import Zoo
from ..driving import runner_config

SHAPE = (640, 520)
"""Beyond what is worth packing; no multiple of the widths of vectors."""
BOUNDS = {torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}
"""Of the greatest error, in the greatest value."""


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_it_is_the_product_in_every_precision_and_packed_wherever_that_can_be(
    dtype: torch.dtype, bias: bool
) -> None:
    torch.manual_seed(1)
    weight = torch.randn(SHAPE).to(dtype)
    added = torch.randn(SHAPE[0]).to(dtype) if bias else None
    layer = Linear(weight, added)
    native = dtype == torch.float32 and usable_float_kernels() is not None
    assert (layer._packed is not None) is (linear._can_pack(dtype) and not native)
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
    assert layer._packed is not None
    torch.testing.assert_close(layer(x), x @ weight.T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("native", [True, False])
@torch.inference_mode()
def test_code_that_computes_with_a_packed_weight_finds_its_numbers(
    stored: torch.dtype, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(linear, "usable_float_kernels", lambda: None)
    weight, x = torch.randn(SHAPE[0] + 1, SHAPE[1]).to(stored).float(), torch.randn(2, SHAPE[1], 3)
    found = Linear(weight, None).weight
    assert isinstance(found, StandIn)
    assert found._numbers is None, "memory only for what is read"
    assert torch.equal(found + 0, weight)
    assert torch.equal(found @ x, weight @ x)
    assert torch.equal(F.linear(x.mT, found), F.linear(x.mT, weight))
    assert torch.equal(found[3:5], weight[3:5])


@pytest.mark.parametrize("dtype", BOUNDS)
@torch.inference_mode()
def test_and_of_one_in_eight_bits_the_rounded_ones(dtype: torch.dtype) -> None:
    held = Int8(None)(torch.randn(45, 67).to(dtype), None)
    right = (held.numbers * held.scales[:, None]).to(dtype)
    product = usable_product()
    layers: list[Int8Weights | Int8Linear] = [held]
    if product is not None:
        layers.append(Int8Linear(held, product))
    for layer in layers:
        assert layer.weight.dtype == dtype
        assert layer.weight.shape == right.shape
        assert torch.equal(layer.weight @ right.T, right @ right.T)


@pytest.mark.parametrize(
    "settings", [{}, {"quantization": "int8"}, {"quantization": "int8", "native_kernels": False}]
)
@pytest.mark.parametrize("name", ["mamba", "falcon_mamba"])
def test_models_that_compute_with_the_weight_of_a_layer_run(
    name: str, settings: dict[str, Any], zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such layers are packed in the published sizes: the start asks for the model's own logits."""
    monkeypatch.setattr(linear, "WORTH_NATIVE", 1)
    monkeypatch.setattr(int8, "NARROW", 1)
    Runner(runner_config(zoo(name), max_model_len=64, **settings))


def test_and_unpack_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Int8(None)(torch.randn(45, 67), None)
    assert (held.weight @ torch.ones(67)).equal(held.weight @ torch.ones(67))
    monkeypatch.setattr(int8, "_unpacked", lambda numbers, scales: pytest.fail("unpacked again"))
    assert (held.weight + 0).shape == (45, 67)


@pytest.mark.parametrize("shape", [(48, 0), (0, 48)])
def test_weights_of_no_numbers_are_left_plain(shape: tuple[int, int]) -> None:
    bias = torch.arange(float(shape[0]))
    assert torch.equal(Linear(torch.ones(shape), bias)(torch.ones(3, shape[1])), bias.expand(3, -1))
    if (kernels := usable_float_kernels()) is not None:
        with pytest.raises(ValueError, match="has no numbers"):
            FloatMatrix(kernels, torch.ones(shape), bias)


def test_small_weights_are_left_plain() -> None:
    small = torch.ones(8, 8)
    assert Linear(small, None).weight.data_ptr() == small.data_ptr(), (
        "a packed one's call would cost more than it saves"
    )


def test_what_the_library_refuses_is_left_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not on this CPU")

    monkeypatch.setattr(linear, "_packed", refuse)
    assert not linear._can_pack.__wrapped__(torch.bfloat16)
