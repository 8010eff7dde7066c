"""Checkpoints of the zoo in few bits, each by the library of its form where there is one, and the
same as plain numbers."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import max_pool2d

Weights = dict[str, torch.Tensor]
Packing = Callable[[Weights], tuple[Weights, Weights]]
"""From plain weights to (stored tensors, the same as that form's library unpacks them)."""
_KEPT = (
    "visual",
    "vision",
    "lm_head",
    "embed_tokens",
    "norm",
    "mlp.gate.",
    "router",
    "patch_embed",
)
BLOCK = 16


class Packed(NamedTuple):
    """One model in two folders."""

    folder: Path
    plain: Path


def pack(source: Path, to: Path, packing: Packing, stated: Mapping[str, Any]) -> Packed:
    """`source`: a folder of plain safetensors; `stated`: what the packed one's config.json says of
    its weights."""
    weights = {
        name: tensor.float()
        for file in sorted(source.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }
    stored, plain = packing(weights)
    for folder, tensors, said in (
        (to / "packed", stored, {"quantization_config": dict(stated)}),
        (to / "plain", plain, {}),
    ):
        shutil.copytree(
            source, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json")
        )
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            folder / "model.safetensors",
            {"format": "pt"},
        )
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | said))
    return Packed(to / "packed", to / "plain")


def is_packed(name: str, tensor: torch.Tensor) -> bool:
    """As the tools do it: matrices of the language model, its table, head and router excepted."""
    return tensor.ndim > 1 and not any(kept in name for kept in _KEPT)


def fp8_blocks(weights: Weights, scale_fmt: str | None = None) -> tuple[Weights, Weights]:
    """As Qwen and DeepSeek publish it, unpacked by transformers. It packs, too, where blocks of
    `BLOCK` by `BLOCK` divide the weight; where the last ones are cut, compressed-tensors does.
    Experts may be one tensor."""
    from transformers.integrations import finegrained_fp8

    library: Any = finegrained_fp8  # untyped
    how = SimpleNamespace(weight_block_size=(BLOCK, BLOCK), scale_fmt=scale_fmt)
    packer = library.Fp8Quantize(SimpleNamespace(quantization_config=how))
    stored, plain = dict(weights), dict(weights)
    for name, weight in weights.items():
        if not is_packed(name, weight):
            continue
        if all(size % BLOCK == 0 for size in weight.shape[-2:]):
            stored |= packer.convert({name: weight})
        else:
            numbers, scale = zip(
                *map(_cut_blocks, weight.reshape(-1, *weight.shape[-2:])), strict=True
            )
            stored[name] = torch.stack(numbers).reshape(weight.shape)
            stored[f"{name}_scale_inv"] = torch.stack(scale).reshape(
                *weight.shape[:-2], *scale[0].shape
            )
        given = stored[name], stored[f"{name}_scale_inv"]
        plain[name] = library._dequantize_fp8_weight(*given, [BLOCK, BLOCK], torch.float32)
    return stored, plain


def _cut_blocks(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight-bit numbers of one matrix, and the scale of each block."""
    how = {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [BLOCK, BLOCK]}
    made = CompressedTensors(how, "float-quantized").compress(matrix)
    return made["weight"], made["weight_scale"]


def fp8_whole(weights: Weights) -> tuple[Weights, Weights]:
    """One scale for a weight, and one for what it is multiplied with."""
    stored, plain = dict(weights), dict(weights)
    for name, weight in weights.items():
        if is_packed(name, weight):
            scale = weight.abs().max() / 448
            stored[name] = (weight / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale.to(torch.bfloat16)
            stored[name.replace(".weight", ".activation_scale")] = torch.ones(())
            plain[name] = stored[name].float() * scale.to(torch.bfloat16).float()
    return stored, plain


class CompressedTensors:
    """What that library makes of matrices; `args`: how, as under `weights` in its config_groups."""

    def __init__(self, args: Mapping[str, Any], form: str) -> None:
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationScheme

        how = {"symmetric": True, "dynamic": False, **args}
        self._scheme: Any = QuantizationScheme.model_validate(
            {"targets": ["Linear"], "format": form, "weights": how}
        )
        self._compressor: Any = BaseCompressor.get_value_from_registry(form)

    def compress(self, weight: torch.Tensor) -> Weights:
        from compressed_tensors.quantization.utils import calculate_qparams

        scale, zero = calculate_qparams(*self._ranges(weight), self._scheme.weights)
        parts = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
        made: Weights = self._compressor.compress(parts, self._scheme)
        return made

    def decompress(self, parts: Weights) -> torch.Tensor:
        """In float32, as a model of transformers that is loaded so."""
        wide = {**parts, "weight_scale": parts["weight_scale"].float()}
        made: torch.Tensor = self._compressor.decompress(wide, self._scheme)["weight"]
        return made.float()

    def _ranges(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Least and largest of what shares a scale."""
        args = self._scheme.weights
        if args.strategy == "tensor":
            return weight.min().reshape(1), weight.max().reshape(1)
        if args.strategy == "block":
            least, most = (
                max_pool2d(one[None], args.block_structure, ceil_mode=True)[0]
                for one in (-weight, weight)
            )
            return -least, most
        grouped = weight.reshape(len(weight), -1, args.group_size or weight.shape[1])
        return grouped.amin(-1), grouped.amax(-1)


def compressed(args: Mapping[str, Any], form: str) -> Packing:
    """By compressed-tensors itself."""
    library = CompressedTensors(args, form)

    def packing(weights: Weights) -> tuple[Weights, Weights]:
        stored, plain = dict(weights), dict(weights)
        for name, weight in weights.items():
            if not is_packed(name, weight):
                continue
            module = name.removesuffix(".weight")
            made = library.compress(weight.bfloat16())
            del stored[name]
            stored |= {f"{module}.{part}": tensor for part, tensor in made.items()}
            plain[name] = library.decompress(made)
        return stored, plain

    return packing


def mxfp4(weights: Weights) -> tuple[Weights, Weights]:
    """Experts alone, as gpt-oss has them: compressed-tensors packs their rows, and transformers
    unpacks them."""
    from transformers.integrations import mxfp4 as integration

    library: Any = integration  # untyped
    how = {
        "num_bits": 4,
        "type": "float",
        "strategy": "group",
        "group_size": 32,
        "scale_dtype": "torch.uint8",
    }
    packer = CompressedTensors(how, "mxfp4-pack-quantized")
    stored, plain = dict(weights), dict(weights)
    for name, weight in weights.items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            rows = weight.mT  # [experts, outputs, inputs]
            made = packer.compress(rows.flatten(0, 1))
            blocks = made["weight_packed"].reshape(*rows.shape[:2], -1, 16)
            scales = made["weight_scale"].reshape(blocks.shape[:-1])
            stored |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
            plain[name] = library.convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
            del stored[name]
    return stored, plain


def awq(group: int) -> Packing:
    """The GEMM layout, written out: AutoAWQ itself needs older versions of transformers."""

    def parts(numbers: torch.Tensor, zeros: torch.Tensor) -> Weights:
        order = (0, 2, 4, 6, 1, 3, 5, 7)
        along = [one.reshape(len(one), -1, 8)[..., order] for one in (numbers, zeros)]
        return {"qweight": _words(along[0], 4), "qzeros": _words(along[1], 4)}

    return _by_groups(group, parts)


def gptq(group: int) -> Packing:
    """Four bits, its zeros less one. Inputs in the order of activations, of which the last come
    first here."""

    def parts(numbers: torch.Tensor, zeros: torch.Tensor) -> Weights:
        along = numbers.reshape(-1, 8, numbers.shape[1]).mT, (zeros - 1).reshape(len(zeros), -1, 8)
        owners = (torch.arange(len(numbers)) // group).to(torch.int32)
        return {
            "qweight": _words(along[0], 4),
            "qzeros": _words(along[1], 4),
            "g_idx": owners.flip(0),
        }

    return _by_groups(group, parts, backwards=True)


def _by_groups(
    group: int, parts: Callable[[torch.Tensor, torch.Tensor], Weights], backwards: bool = False
) -> Packing:
    """`parts`: of numbers [inputs, outputs] and zeros [groups, outputs]. `backwards`: the first
    group has the last inputs."""

    def packing(weights: Weights) -> tuple[Weights, Weights]:
        stored, plain = dict(weights), dict(weights)
        for name, weight in weights.items():
            if not is_packed(name, weight):
                continue
            inputs = weight.T.flip(0) if backwards else weight.T
            turned = inputs.reshape(
                weight.shape[1] // group, group, weight.shape[0]
            )  # [groups, inputs, outputs]
            least, most = turned.amin(1), turned.amax(1)
            scales = ((most - least) / 15).half()
            zeros = (-least / scales.float()).round().clamp(1, 15)
            numbers = (turned / scales.float()[:, None] + zeros[:, None]).round().clamp(0, 15)
            made = ((numbers - zeros[:, None]) * scales.float()[:, None]).reshape(
                -1, weight.shape[0]
            )
            numbers = numbers.reshape(made.shape)
            if backwards:
                made, numbers = made.flip(0), numbers.flip(0)
            module = name.removesuffix(".weight")
            del stored[name]
            stored |= {f"{module}.{part}": tensor for part, tensor in parts(numbers, zeros).items()}
            stored[f"{module}.scales"] = scales
            plain[name] = made.T
        return stored, plain

    return packing


def _words(fields: torch.Tensor, bits: int) -> torch.Tensor:
    """int32 of fields [..., numbers in a word], the first lowest."""
    places = torch.arange(fields.shape[-1]) * bits
    packed = (fields.long() << places).sum(-1)
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)
