"""In which few-bit form a checkpoint says that its weights are stored, and which forms are read."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .json_files import Json

PARTS = ("text_config", "thinker_config")
"""Of a configuration, which may say it in place of the whole."""
KEYS = ("quantization_config", "compression_config")
LIBRARIES = {"compressed-tensors": ("compressed_tensors", "quant"), "gguf": ("gguf", "gguf")}
"""By method: the library that unpacks it, and the extra that brings it."""
AWQ_VERSIONS = ("gemm",)
GPTQ_LAYOUTS, GPTQ_BITS = ("gptq", "gptq_v2"), (2, 4, 8)
COMPRESSED_FORMATS = (
    "naive-quantized",
    "float-quantized",
    "int-quantized",
    "pack-quantized",
    "mixed-precision",
)
COMPRESSED_STRATEGIES = ("tensor", "channel", "group", "block")
_READ = (
    "FP8 (quant_method fp8), compressed-tensors with FP8, INT8 or packed INT4 weights "
    "(FP8-dynamic, W8A8, W4A16), AWQ, GPTQ, MXFP4 experts, or GGUF"
)
_FILES = (("hf_quant_config.json", "modelopt"), ("quantize_config.json", "gptq"))
"""By a file of which some tools write nothing into config.json."""


def stated_quantization(config: Json) -> Json | None:
    """What a config.json states of the form of its weights, in whichever part it does; None: they
    are plain numbers."""
    for part in _parts(config):
        for key in KEYS:
            if part.get(key):
                return part[key] if isinstance(part[key], dict) else {}
    return None


def without_quantization(config: Json) -> Json:
    """The same model of plain numbers."""
    return {
        key: without_quantization(value) if key in PARTS and isinstance(value, dict) else value
        for key, value in config.items()
        if key not in KEYS
    }


def quantization_of(config: Json, name: str) -> str | None:
    """The method, checked: fp8, compressed-tensors, awq, gptq, mxfp4, or gguf of a folder that was
    made around such a file; None: plain numbers.

    Raises EngineError for a form that is not read, and where the library is missing that reads it.
    """
    stated = stated_quantization(config)
    if stated is None:
        return None
    unnamed = "compressed-tensors" if "config_groups" in stated else "unknown"
    method, weights = str(stated.get("quant_method") or unnamed), f"The weights of {name!r} are"
    try:
        reason = _REASONS.get(method, _unknown)(stated)
    except (TypeError, ValueError, AttributeError, LookupError):
        raise EngineError(
            f"The config.json of {name!r} is broken: what it says of its quantised weights cannot "
            "be read."
        ) from None
    if reason is not None:
        raise EngineError(
            f"{weights} quantised ({method}{reason}), which is not read: give the model "
            f"unquantised, or as {_READ}."
        )
    library, extra = LIBRARIES.get(method, ("", ""))
    if library and find_spec(library) is None:
        raise EngineError(
            f"{weights} quantised ({method}), for which a library is missing: pip install "
            f"'thespis[{extra}]'."
        )
    return method


def refuse_foreign(folder: Path, config: Json, name: str) -> None:
    """Raises EngineError where another file tells of quantised weights and config.json says nothing
    of them."""
    if stated_quantization(config) is not None:
        return
    for file, method in _FILES:
        if (folder / file).exists():
            raise EngineError(
                f"The weights of {name!r} are quantised ({method}, as its {file} says), which is "
                f"not read where config.json "
                f"states none: give the model unquantised, or as {_READ}."
            )


def _parts(config: Json) -> Iterator[Json]:
    yield config
    for key in PARTS:
        if isinstance(config.get(key), dict):
            yield from _parts(config[key])


def _fp8(stated: Json) -> str | None:
    block = stated.get("weight_block_size")
    if block is not None:
        rows, columns = block
        if not (isinstance(rows, int) and isinstance(columns, int) and rows > 0 and columns > 0):
            raise ValueError(block)
    kind = stated.get("fmt", "e4m3")
    return None if str(kind).removeprefix("float8_") in ("e4m3", "e4m3fn") else f", {kind}"


def _awq(stated: Json) -> str | None:
    version = str(stated.get("version", "gemm")).lower()
    bits = stated.get("bits", stated.get("w_bit", 4))
    _check_group(stated.get("group_size", stated.get("q_group_size", 128)))
    return None if version in AWQ_VERSIONS and bits == 4 else f", {bits} bits, version {version}"


def _check_group(size: Any) -> None:
    if not isinstance(size, int) or (size < 1 and size != -1):
        raise ValueError("group_size")


def _gptq(stated: Json) -> str | None:
    bits, layout = stated["bits"], str(stated.get("checkpoint_format", "gptq"))
    _check_group(stated.get("group_size", 128))
    if stated.get("is_marlin_format"):
        layout = "marlin"
    if layout not in GPTQ_LAYOUTS or bits not in GPTQ_BITS:
        return f", {bits} bits, layout {layout}"
    others = [rule for rule in stated.get("dynamic") or {} if not rule.startswith("-:")]
    return ", other bits in some modules" if others else None


def _compressed(stated: Json) -> str | None:
    if stated.get("quantization_status", "compressed") != "compressed":
        return f", {stated['quantization_status']}"
    if (stated.get("sparsity_config") or {}).get("format", "dense") != "dense":
        return f", {stated['sparsity_config']['format']}"
    if (stated.get("transform_config") or {}).get("config_groups"):
        return ", with transforms of its activations"
    for group in stated["config_groups"].values():
        stored = group.get("format") or stated.get("format")
        if stored not in COMPRESSED_FORMATS:
            return f", {stored}"
        reason = _compressed_weights(group.get("weights") or {})
        if reason is not None:
            return reason
    return None


def _compressed_weights(weights: Json) -> str | None:
    kind, bits = str(weights.get("type", "int")).lower(), weights.get("num_bits", 8)
    strategy = weights.get("strategy")
    if bits != 8 and not (kind == "int" and bits == 4):
        return f", {kind}{bits}"
    if strategy is not None and strategy not in COMPRESSED_STRATEGIES:
        return f", {strategy}"
    ordered = weights.get("actorder") in ("group", "dynamic", True)
    return ", in the order of its activations" if ordered else None


def _unknown(stated: Json) -> str | None:
    """What else its configuration says of a method that is not read: which of the method's forms it
    is."""
    said = [key for key in ("load_in_4bit", "load_in_8bit") if stated.get(key)]
    said.append(str(stated.get("quant_algo") or ""))
    return "".join(f", {word}" for word in said if word)


_REASONS: dict[str, Callable[[Json], str | None]] = {
    "gguf": lambda _: None,  # there is one form alone
    "mxfp4": lambda _: None,
    "fp8": _fp8,
    "awq": _awq,
    "gptq": _gptq,
    "compressed-tensors": _compressed,
}
"""Why a form of this method is not read, as it goes on in brackets; None: it is."""
