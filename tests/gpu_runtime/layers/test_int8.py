"""Weights in eight bits: the same numbers by every way of computing, a row alone as in company,
close to the model."""

import gc
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from thespis.gpu_runtime.adapter.file_embedding import FileEmbedding
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.layers import linear, product
from thespis.gpu_runtime.layers.int8 import (
    LARGEST,
    NARROW,
    Int8,
    Int8Linear,
    Int8Weights,
    quantised,
    served,
)
from thespis.gpu_runtime.layers.product import (
    MOST_SUM,
    Product,
    int8_products_are_right,
    largest_step,
    usable_product,
)
from thespis.gpu_runtime.layers.serving import join
from thespis.gpu_runtime.layers.stand_in import StandIn
from thespis.gpu_runtime.native.build import best_level, library_path
from thespis.gpu_runtime.native.library import Kernels
from thespis.gpu_runtime.runner import runner as runner_module
from thespis.gpu_runtime.runner.runner import Runner
from thespis.gpu_runtime.weights.checkpoint import Checkpoint
from thespis.gpu_runtime.weights.filling import fill
from thespis.protocol.requests.sampling import SamplingParams

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels
from ...zoo.catalog import Zoo
from ..driving import Driver, Prompt, runner_config

pytestmark = asks_the_compiler
CLOSE = {torch.float32: 3e-5, torch.bfloat16: 8e-3, torch.float16: 1e-3}
"""Of the greatest error in the greatest sum: what rows lose as whole numbers, and the type of the
result."""


@cache
def _product(wide: bool = False) -> Product:
    """`wide`: the body for vectors of 16 numbers, in the instructions of a processor that may have
    only those of 8."""
    return Product(kernels(wide))


def _layer(
    outputs: int, inputs: int, dtype: torch.dtype, seed: int, bias: bool = True
) -> Int8Weights:
    dice = torch.Generator().manual_seed(seed)
    weight, added = (
        torch.randn(outputs, inputs, generator=dice),
        torch.randn(outputs, generator=dice),
    )
    return Int8(None)(weight.to(dtype), added.to(dtype) if bias else None)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 130), st.integers(1, 15), st.sampled_from(list(CLOSE)),
    st.booleans(), st.booleans(),
    st.sampled_from([1, 2]), st.integers(0, 1 << 20),
)  # fmt: skip
@example(66, 66, 1, torch.bfloat16, True, False, 1, 66).via(
    "a bias above all that the row sums up to"
)
@needs_kernels
def test_the_native_product_is_torchs_and_a_row_is_the_same_to_the_bit_alone_and_in_company(
    outputs: int,
    inputs: int,
    rows: int,
    dtype: torch.dtype,
    bias: bool,
    wide: bool,
    threads: int,
    seed: int,
) -> None:
    plain = _layer(outputs, inputs, dtype, seed, bias)
    layer = Int8Linear(plain, _product(wide))
    torch.manual_seed(seed)
    x = (torch.randn(rows, inputs) * torch.logspace(-2, 1, rows)[:, None]).to(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = layer(x)
    finally:
        torch.set_num_threads(before)
    weight = (plain.numbers * plain.scales[:, None]).double()
    added = torch.zeros(outputs).double() if plain.bias is None else plain.bias.double()
    right = x.double() @ weight.T + added
    top = (x.double().abs() @ weight.abs().T + added.abs() + 1).amax(dim=1, keepdim=True)
    assert found.dtype == dtype
    for made in (found, plain(x)):
        assert bool(((made.double() - right).abs() <= CLOSE[dtype] * top).all()), (
            "each row by its own measure"
        )
    for row in range(rows):
        assert torch.equal(layer(x[row : row + 1])[0], found[row]), (
            "it depends on the rows beside it"
        )
    if not bias:
        assert torch.equal(Int8Linear(plain, _product(not wide))(x), found), "and on the body"


@needs_kernels
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(150, 2304, 640), (3, 640, 4100)])
def test_large_products_cut_into_blocks_for_the_cache_and_tasks_for_threads(
    rows: int, inputs: int, outputs: int
) -> None:
    plain = _layer(outputs, inputs, torch.float32, 3, bias=False)
    layer, x = Int8Linear(plain, _product()), torch.randn(rows, inputs)
    found = layer(x)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(layer(x), found)
    finally:
        torch.set_num_threads(before)
    right = plain(x)
    assert float((found - right).abs().max() / right.abs().max()) < 2e-4
    assert torch.equal(layer(x[-1:])[0], found[-1])
    apart = x.repeat(1, 2)[
        :, inputs // 2 : inputs // 2 + inputs
    ]  # a view: its rows do not follow each other
    assert torch.equal(layer(apart), layer(apart.contiguous()))
    assert torch.equal(layer(x.T.contiguous().T), found)
    assert torch.equal(layer(x.view(1, rows, inputs)), found[None])


@needs_kernels
def test_sums_use_all_of_32_bits_and_do_not_overflow() -> None:
    numbers = torch.full((16, 3000), LARGEST, dtype=torch.int8)
    step = largest_step(numbers)
    assert MOST_SUM - 3000 * LARGEST < step * 3000 * LARGEST <= MOST_SUM
    assert largest_step(numbers[:, :10]) == 32767
    assert largest_step(torch.zeros(4, 4, dtype=torch.int8)) == 32767
    layer = Int8Linear(Int8Weights(numbers, torch.ones(16), None, torch.float32), _product())
    assert bool((layer(torch.ones(1, 3000)) - 3000 * LARGEST).abs().max() < 1)


@needs_kernels
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_so_in_its_own_row(bad: float) -> None:
    layer = Int8Linear(_layer(40, 50, torch.float32, 1), _product())
    x = torch.randn(4, 50)
    x[1, 7] = bad
    assert layer(x).isfinite().all(dim=1).tolist() == [True, False, True, True]


@needs_kernels
def test_rows_of_nothing_and_of_next_to_nothing_are_the_bias() -> None:
    plain = _layer(40, 50, torch.float32, 1)
    x = torch.tensor([[0.0] * 50, [1e-38] * 50, [1e-42] * 50])
    assert plain.bias is not None
    torch.testing.assert_close(Int8Linear(plain, _product())(x), plain.bias.expand(3, 40))
    assert Int8Linear(plain, _product())(x[:0]).shape == (0, 40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_is_off_by_at_most_half_a_step_of_its_own_output(dtype: torch.dtype) -> None:
    weight = (torch.randn(70, 90) * torch.logspace(-4, 2, 70)[:, None]).to(dtype)
    weight[5], weight[6] = 0, 1e-41
    numbers, scales = quantised(weight)
    off = (numbers * scales[:, None] - weight.float()).abs()
    assert bool((off <= scales[:, None] * 0.5001 + 1e-38).all())
    assert int(numbers.abs().max()) == LARGEST
    assert not numbers[5].any()


def test_layers_side_by_side_have_each_its_own_outputs() -> None:
    first, second = (_layer(40, 50, torch.float32, seed) for seed in (1, 2))
    x = torch.randn(3, 50)
    joined = join((first, second), (lambda outputs: outputs.flip(0),))
    torch.testing.assert_close(joined(x), torch.cat((first(x).flip(1), second(x)), dim=1))


@needs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows_of_another_width_are_refused_before_memory_is_read(dtype: torch.dtype) -> None:
    weights = _layer(40, 33, torch.float32, 0)
    matrix = _product().pack(weights.numbers, weights.scales, weights.bias)
    with pytest.raises(RuntimeError, match="is multiplied"):
        _product()(torch.zeros(2, 32, dtype=dtype), matrix)


@needs_kernels
@pytest.mark.parametrize("wide", [False, True])
def test_products_are_tried_before_they_are_used(
    wide: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert int8_products_are_right(kernels(wide))
    wrong = Kernels(str(library_path(best_level())))
    monkeypatch.setattr(wrong, "multiply", lambda call: None)
    monkeypatch.setattr(product, "load_kernels", lambda: wrong)
    assert usable_product() is None
    assert caplog.messages == [
        "torch's own products of int8 weights are used in place of native kernels: here these "
        "give other numbers"
    ]
    monkeypatch.setattr(product, "load_kernels", lambda: None)
    assert usable_product() is None
    assert isinstance(served(Int8(None)(torch.randn(32, 32), None)), Int8Weights)


@pytest.mark.parametrize("native_kernels", [True, False])
@pytest.mark.parametrize("family", ["qwen2", "gemma3_text", "qwen3_vl", "mamba"])
def test_a_model_says_what_it_says_of_the_rounded_weights_in_float32(
    family: str, native_kernels: bool, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities, by their own spread."""

    class Rounded(Int8):
        def __call__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
            numbers, scales = quantised(weight)
            outputs, inputs = weight.shape
            made: Any = nn.Linear(inputs, outputs, bias is not None, "meta")
            made.weight = nn.Parameter(numbers * scales[:, None], requires_grad=False)
            made.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
            return made

    config = runner_config(zoo(family), native_kernels=native_kernels, quantization="int8")
    held = Runner(config)
    monkeypatch.setattr(runner_module, "Int8", Rounded)
    wanted = _scores(Runner(config))
    kind = Int8Linear if native_kernels and usable_product() is not None else Int8Weights
    assert any(isinstance(module, kind) for module in _modules(held)), (
        "nothing is held in eight bits"
    )
    assert float((_scores(held) - wanted).abs().mean() / wanted.std()) < 5e-3


def _modules(runner: Runner) -> list[object]:
    """Of the head, and of transformers' own decoder."""
    model: Any = runner._model
    decoder = getattr(model.decoder, "_decoder", None)
    return [model._head._plain, *(() if decoder is None else decoder.modules())]


def _scores(runner: Runner) -> torch.Tensor:
    """Log-probabilities of a prompt in two pieces."""
    driver = Driver(runner)
    one = driver.start(Prompt([(7 * i * i + 3) % 250 for i in range(30)]))
    parts = [
        driver.step([(one, count)], SamplingParams(prompt_logprobs=0)).prompt_logprobs
        for count in (17, 13)
    ]
    return torch.tensor([entry.logprob for part in parts for entry in part[0].entries])


def test_weights_are_held_one_by_one_as_they_are_read(zoo: Zoo) -> None:
    """At no time is more of them there as floating numbers than the table of tokens and the one
    that was just read."""
    folder = zoo("qwen2")
    model: Any = build_on_meta(folder)
    others = {id(tensor) for tensor in _matrices()}
    most = 0

    class Watching(Int8):
        def __call__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Int8Weights:
            nonlocal most
            places = {tensor.data_ptr() for tensor in _matrices() if id(tensor) not in others}
            most = max(most, len(places))
            return super().__call__(weight, bias)

    held = {*model.model.modules(), model.lm_head}
    fill(
        model,
        [""],
        Checkpoint(str(folder), model),
        torch.float32,
        torch.device("cpu"),
        held=held,
        hold=Watching(None),
    )
    assert most == 2
    kept = {
        type(module)
        for name, module in model.named_modules()
        if name.endswith("_proj") or name == "lm_head"
    }
    assert kept == {Int8Weights}
    assert {name for name, weight in model.named_parameters() if weight.ndim > 1} == {
        "model.embed_tokens.weight"
    }


def _matrices() -> list[torch.Tensor]:
    """Those in memory; who is asked for its type alone may be a proxy of what is gone."""
    found = [
        one
        for one in gc.get_objects()
        if issubclass(type(one), torch.Tensor) and type(one) is not StandIn
    ]
    return [
        one
        for one in found
        if one.ndim == 2
        and one.is_floating_point()
        and one.device.type == "cpu"
        and min(one.shape) > 1
    ]


def test_a_table_of_tokens_is_left_in_its_file_also_where_the_head_is_another(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "WORTH_PACKING", 1)
    for family in ("qwen2", "llama"):
        held = Runner(runner_config(zoo(family), quantization="int8"))
        assert isinstance(held._model._embedding, FileEmbedding)


def test_gates_and_what_a_model_asks_for_in_float32_are_left_as_they_are() -> None:
    hold = Int8(None)
    assert hold.wants(nn.Linear(NARROW, NARROW), torch.float32)
    assert not hold.wants(nn.Linear(64, NARROW - 1), torch.float32)
    assert not hold.wants(nn.Linear(NARROW - 1, 64), torch.float32)
    assert not hold.wants(nn.Linear(64, 64), torch.bfloat16)
    assert not hold.wants(nn.Embedding(64, 64), torch.float32)


def test_a_weight_that_is_stored_in_eight_bits_is_held_as_it_is_stored() -> None:
    """By channels, as W8A8 has it: what was unpacked comes out as it went in."""
    stored = torch.randint(-127, 128, (40, 64), dtype=torch.int8)
    stored[:, 0] = 127
    scales = torch.rand(40) + 0.1
    numbers, found = quantised(stored.float() * scales[:, None])
    assert torch.equal(numbers, stored)
    torch.testing.assert_close(found, scales)
