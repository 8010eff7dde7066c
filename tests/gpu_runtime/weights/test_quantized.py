"""Checkpoints in few bits are the models that their own libraries unpack, number for number and
token for token."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.weights.checkpoint import Checkpoint
from thespis.gpu_runtime.weights.packed.awq import Awq
from thespis.gpu_runtime.weights.packed.compressed import CompressedTensors
from thespis.protocol.errors import EngineError

from ...helpers.quantizing import (
    BLOCK,
    Packed,
    Packing,
    awq,
    compressed,
    fp8_blocks,
    fp8_whole,
    gptq,
    mxfp4,
    pack,
)
from ...zoo.catalog import Zoo, animal
from ...zoo.composing import ask_all, run_all
from ...zoo.reference import Reference

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]
TOKENS = 8
GROUP = 32


class Case(NamedTuple):
    base: str
    """Of the zoo."""
    packing: Packing
    stated: Mapping[str, Any]


def of_compressed(base: str, form: str, **weights: Any) -> Case:
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }
    stated = {
        "config_groups": {"group_0": group},
        "format": form,
        "global_compression_ratio": None,
        "ignore": ["lm_head", "re:.*visual.*"],
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "sparsity_config": {},
        "transform_config": {},
        "version": "0.13.0",
    }
    return Case(base, compressed(weights, form), stated)


FP8 = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [BLOCK, BLOCK],
}
AWQ = {
    "bits": 4,
    "group_size": GROUP,
    "modules_to_not_convert": ["visual"],
    "quant_method": "awq",
    "version": "gemm",
    "zero_point": True,
}
FLOAT = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False}
INT = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "dynamic": False}
CASES = {
    "fp8-experts": Case("qwen3_moe", fp8_blocks, FP8),
    "fp8-fused-experts": Case("qwen3_vl_moe", fp8_blocks, FP8),
    "fp8-powers": Case(
        "qwen3", partial(fp8_blocks, scale_fmt="ue8m0"), {**FP8, "scale_fmt": "ue8m0"}
    ),
    "fp8-whole": Case(
        "llama", fp8_whole, {**FP8, "weight_block_size": None, "activation_scheme": "static"}
    ),
    "awq": Case("qwen2_5_vl", awq(GROUP), AWQ),
    "gptq": Case(
        "qwen2",
        gptq(GROUP),
        {"bits": 4, "desc_act": True, "group_size": GROUP, "quant_method": "gptq", "sym": False},
    ),
    "mxfp4": Case(
        "gpt_oss",
        mxfp4,
        {
            "modules_to_not_convert": ["lm_head", "model.layers.*.mlp.router"],
            "quant_method": "mxfp4",
        },
    ),
    "fp8-dynamic": of_compressed("qwen3", "float-quantized", **FLOAT, strategy="channel"),
    "fp8-tensor": of_compressed("llama", "float-quantized", **FLOAT, strategy="tensor"),
    "w4a16": of_compressed("qwen3", "pack-quantized", **INT, symmetric=True),
    "w4a16-zeros": of_compressed("llama", "pack-quantized", **INT, symmetric=False),
    "w8a8": of_compressed(
        "llama",
        "int-quantized",
        num_bits=8,
        type="int",
        symmetric=True,
        strategy="channel",
        dynamic=False,
    ),
}


@pytest.fixture(scope="module")
def packed(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Packed] = {}

    def of(name: str) -> Packed:
        case = CASES[name]
        if name not in made:
            made[name] = pack(
                zoo(case.base), tmp_path_factory.mktemp(name), case.packing, case.stated
            )
        return made[name]

    return of


@pytest.mark.parametrize("name", CASES)
def test_the_weights_are_those_that_the_library_unpacks(name: str, packed: Any) -> None:
    both = packed(name)
    model = build_on_meta(both.folder)
    found, wanted = Checkpoint(str(both.folder), model), Checkpoint(str(both.plain), model)
    assert not found.missing()
    found.check_shapes()
    for key, weight in model.state_dict().items():
        read = [
            one.read(key, weight.shape, torch.float32, torch.device("cpu"))
            for one in (found, wanted)
        ]
        assert torch.equal(*read), key


@pytest.mark.parametrize(
    "name",
    ["fp8-experts", "fp8-fused-experts", "awq", "gptq", "mxfp4", "fp8-dynamic", "w4a16-zeros"],
)
def test_greedy_tokens_are_transformers_from_the_unpacked_weights(name: str, packed: Any) -> None:
    """A text, and pictures and clips through towers that are not quantised, in one batch and in
    pieces."""
    both = packed(name)
    reference = Reference(animal(CASES[name].base), both.plain)
    asked = ask_all(both.folder, reference, TOKENS)
    for said, (_, answer) in zip(run_all(both.folder, asked, TOKENS), asked, strict=True):
        assert answer.safe >= 2, "draw another"
        assert said.token_ids[: answer.safe] == answer.token_ids[: answer.safe]


@pytest.mark.parametrize("name", ["gptq", "awq", "fp8-experts", "w4a16-zeros", "mxfp4"])
def test_held_in_eight_bits_they_are_what_the_unpacked_weights_are_so(
    name: str, packed: Any
) -> None:
    both = packed(name)
    reference = Reference(animal(CASES[name].base), both.plain)
    [text, *_] = ask_all(both.folder, reference, TOKENS)
    found, wanted = (run_all(folder, [text], TOKENS, quantization="int8") for folder in both)
    assert found == wanted != run_all(both.plain, [text], TOKENS)


def test_experts_that_a_tool_took_apart_are_joined(zoo: Zoo, tmp_path: Path) -> None:
    """The published form of this family has them all in one; tools that quantise store them one by
    one."""

    def apart(weights: dict[str, torch.Tensor]) -> Any:
        split = {name: tensor for name, tensor in weights.items() if ".mlp.experts." not in name}
        for name in weights.keys() - split.keys():
            layer, _, kind = name.rpartition(".experts.")
            for number, expert in enumerate(
                weights[name].mT
            ):  # the family's inputs come first, a linear layer's last
                halves = expert.chunk(2) if kind == "gate_up_proj" else (expert,)
                for part, half in zip(
                    ("gate", "up") if len(halves) == 2 else ("down",), halves, strict=True
                ):
                    split[f"{layer}.experts.{number}.{part}_proj.weight"] = half.contiguous()
        return case.packing(split)

    case = of_compressed("qwen3_vl_moe", "float-quantized", **FLOAT, strategy="channel")
    both = pack(zoo("qwen3_vl_moe"), tmp_path, apart, case.stated)
    model = build_on_meta(both.folder)
    found, wanted = Checkpoint(str(both.folder), model), Checkpoint(str(both.plain), model)
    name = "model.language_model.layers.1.mlp.experts.gate_up_proj"
    shape = model.state_dict()[name].shape
    read = found.read(name, shape, torch.float32, torch.device("cpu"))
    assert torch.equal(read, wanted.read(name, shape, torch.float32, torch.device("cpu")))
    whole = Checkpoint(str(zoo("qwen3_vl_moe")), model).read(
        name, shape, torch.float32, torch.device("cpu")
    )
    torch.testing.assert_close(read, whole, atol=0.05, rtol=0.1)


def test_awq_is_unpacked_as_compressed_tensors_converts_it(packed: Any) -> None:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter

    stored = load_file(packed("awq").folder / "model.safetensors")
    converter = AutoAWQConverter.from_autoawq_config(AWQ)
    [scheme] = converter._build_quant_config().config_groups.values()
    converted = converter.process(dict(stored))
    [module, *_] = sorted(
        name.removesuffix(".qweight")
        for name in stored
        if name.endswith("layers.0.mlp.up_proj.qweight")
    )
    parts = {
        name.removeprefix(f"{module}."): tensor
        for name, tensor in converted.items()
        if name.startswith(f"{module}.")
    }
    wanted: Any = BaseCompressor.get_value_from_registry("pack-quantized").decompress(
        parts, scheme
    )["weight"]
    checkpoint = Checkpoint(str(packed("awq").folder), build_on_meta(packed("awq").folder))
    read = checkpoint.read(
        "model.language_model.layers.0.mlp.up_proj.weight",
        wanted.shape,
        torch.float16,
        torch.device("cpu"),
    )
    assert torch.equal(read, wanted)


def test_awq_without_zeros_counts_from_the_middle() -> None:
    """As with a zero of eight for every group."""
    eights = torch.full((2, 1), -0x77777778, dtype=torch.int32)  # 0x88888888
    words = torch.arange(8, dtype=torch.int32)[:, None] * 0x01234567
    parts = {"qweight": words, "scales": torch.rand(2, 8)}
    form = Awq({"group_size": 4})
    made = form.unpack("w", parts, torch.float32)
    assert (
        list(made.shape)
        == form.shape("w", {name: list(part.shape) for name, part in parts.items()})
        == [8, 8]
    )
    assert torch.equal(made, form.unpack("w", {**parts, "qzeros": eights}, torch.float32))


def test_a_group_whose_pattern_is_none_is_told() -> None:
    (group,) = CASES["w8a8"].stated["config_groups"].values()
    stated = {**CASES["w8a8"].stated, "config_groups": {"group_0": {**group, "targets": ["re:("]}}}
    with pytest.raises(EngineError, match="is not understood by compressed-tensors"):
        CompressedTensors(stated)


def test_the_facts_say_so_and_count_numbers_in_memory(packed: Any) -> None:
    both = packed("awq")
    facts, plain = model_facts(both.folder), model_facts(both.plain)
    assert (facts.quantization, plain.quantization) == ("awq", None)
    assert (
        facts.parameters
        == plain.parameters
        > (both.folder / "model.safetensors").stat().st_size // 4
    )
    assert facts.dtype == "bfloat16"


def _edit(folder: Path, to: Path, name: str, tensor: torch.Tensor | None) -> Path:
    weights = load_file(folder / "model.safetensors")
    weights.pop(name)
    if tensor is not None:
        weights[name] = tensor
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).symlink_to(file)
    (to / "model.safetensors").unlink()
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    return to


def _read(folder: Path, model: Any, key: str) -> None:
    checkpoint = Checkpoint(str(folder), model)
    checkpoint.check_shapes()
    checkpoint.read(key, model.state_dict()[key].shape, torch.float32, torch.device("cpu"))


Q = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("case", "name", "tensor", "words"),
    [
        ("fp8-whole", f"{Q}.weight_scale_inv", None, "is quantised and has no scale beside it"),
        ("fp8-whole", f"{Q}.weight_scale_inv", torch.ones(3), r"its scales are \[3\]"),
        (
            "fp8-experts",
            f"{Q}.weight_scale_inv",
            torch.ones(1, 1),
            r"its scales are \[1, 1\] and should be",
        ),
        ("fp8-tensor", f"{Q}.weight_scale", torch.ones(5), "its scales are"),
        ("w4a16", f"{Q}.weight_scale", torch.ones(64, 7), "asks for|should be"),
        ("w4a16", f"{Q}.weight_scale", None, "do not fit together"),
        ("w4a16-zeros", f"{Q}.weight_zero_point", None, "do not fit together"),
        (
            "mxfp4",
            "model.layers.0.mlp.experts.down_proj_scales",
            torch.ones(4, 64, 1, dtype=torch.uint8),
            "its scales are",
        ),
        (
            "awq",
            "model.layers.0.self_attn.q_proj.qzeros",
            torch.ones(1, 1, dtype=torch.int32),
            "its qzeros are",
        ),
        (
            "gptq",
            "model.layers.0.self_attn.q_proj.g_idx",
            torch.ones(3, dtype=torch.int32),
            "its g_idx are",
        ),
        ("gptq", "model.layers.0.self_attn.q_proj.scales", torch.ones(3, 64), "its scales are"),
    ],
)
def test_parts_that_do_not_fit_are_named(
    case: str, name: str, tensor: torch.Tensor | None, words: str, packed: Any, tmp_path: Path
) -> None:
    folder = _edit(packed(case).folder, tmp_path / "broken", name, tensor)
    model = build_on_meta(folder)
    key = next(
        key for key in model.state_dict() if key.endswith("layers.0.self_attn.q_proj.weight")
    )
    with pytest.raises(EngineError, match=words) as caught:
        _read(folder, model, key)
    assert str(tmp_path) not in str(caught.value)
