"""The forms of compressed-tensors, unpacked by that library: FP8, INT8, and INT4 packed into
words."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ....protocol.errors import EngineError
from .form import WEIGHT, BrokenParts, split_name

PACKED, SCALE, ZERO, SHAPE = "weight_packed", "weight_scale", "weight_zero_point", "weight_shape"
_PARTS = (PACKED, SCALE, ZERO, SHAPE, "weight_g_idx")
_ACTIVATIONS = re.compile(r"\.(input|output|k|v|q)_(scale|zero_point|global_scale)$")
"""Scales of what is computed, which is computed in full here."""
_PACKED_FORMAT = "pack-quantized"
_WORD_BITS = 32


class CompressedTensors:
    """`stated`: the quantization_config of config.json."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        from compressed_tensors.quantization import QuantizationConfig

        try:
            self._config: Any = QuantizationConfig.model_validate(dict(stated))
            _check_patterns(self._config)
        except (ValueError, re.error) as error:
            raise EngineError(
                "What config.json says of its quantised weights is not understood by "
                "compressed-tensors."
            ) from error

    def part_of(self, name: str) -> tuple[str, str] | None:
        if _ACTIVATIONS.search(name):
            return None
        return split_name(name, _PARTS)

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        args = self._scheme(weight, parts).weights
        made = parts[WEIGHT] if PACKED not in parts else [parts[PACKED][0], _columns(parts, args)]
        wanted = _scales(made, args)
        known = [wanted, [*wanted, 1], *([[], [1]] if wanted == [1, 1] else [])]
        if parts[SCALE] not in known:
            raise BrokenParts(f"its scales are {parts[SCALE]} and should be {wanted}")
        return made

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        """In `dtype`, as transformers does it: the library computes in the type of the scales,
        which is then the model's."""
        from compressed_tensors.compressors import BaseCompressor

        scheme = self._scheme(weight, parts)
        kind: Any = BaseCompressor.get_value_from_registry(scheme.format or self._config.format)
        made = kind.decompress({**parts, SCALE: parts[SCALE].to(dtype)}, scheme)
        found: torch.Tensor = made[WEIGHT]
        return found.to(dtype)

    def _scheme(self, weight: str, parts: Mapping[str, Any]) -> Any:
        """Of the groups that fit what is stored, the one that names the module; else the one for
        all modules of a class."""
        from compressed_tensors.utils.match import match_name

        module = weight.removesuffix(f".{WEIGHT}")
        fitting = []
        for scheme in self._config.config_groups.values():
            is_packed = (scheme.format or self._config.format) == _PACKED_FORMAT
            if is_packed == (PACKED in parts) and scheme.weights is not None:
                fitting.append(scheme)
        if not fitting:
            raise BrokenParts("no group of config.json is stored like that")

        def first(wanted: Callable[[str], bool]) -> Any:
            return next((one for one in fitting if any(map(wanted, one.targets))), None)

        named = first(lambda target: match_name(module, target))
        return named or first(lambda target: not target.startswith("re:")) or fitting[0]


def _check_patterns(config: Any) -> None:
    """Raises re.error for a target whose pattern is none: the library compiles it at the first
    weight."""
    targets = [target for scheme in config.config_groups.values() for target in scheme.targets]
    for target in targets:
        re.compile(target.removeprefix("re:") if target.startswith("re:") else "")


def _columns(parts: Mapping[str, list[int]], args: Any) -> int:
    if args.group_size and args.group_size > 0:
        return int(parts[SCALE][-1] * args.group_size)
    return int(parts[PACKED][1] * _WORD_BITS // args.num_bits)


def _scales(weight: list[int], args: Any) -> list[int]:
    """The shape of the scales of a weight [outputs, inputs]."""
    rows, columns = weight
    if args.strategy == "block":
        return [-(-size // block) for size, block in zip(weight, args.block_structure, strict=True)]
    if args.strategy == "group":
        return [rows, -(-columns // args.group_size)]
    return [rows, 1] if args.strategy == "channel" else [1, 1]
