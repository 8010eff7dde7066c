"""The configuration that a GGUF file's metadata stand for.

transformers makes it; what it leaves to a class's defaults and the file states otherwise is set
here. Metadata that change what is computed and that nobody reads are refused.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...protocol.checkpoint.gguf_file import F16, F32, GgufFile
from ...protocol.checkpoint.json_files import Json
from ...protocol.errors import EngineError
from .tensors import floats

ARCHITECTURES = ("llama", "qwen2", "qwen3", "qwen3moe", "phi3", "gemma2", "gemma3")
"""As llama.cpp calls them: those whose answers were compared with transformers'."""
FREQUENCIES = "rope_freqs.weight"
"""By which each rotary frequency is divided."""
LONG, SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
"""Of all that llama.cpp writes frequencies for; what it does not write is the factor."""
_UNREAD = (
    "logit_scale",
    "embedding_scale",
    "residual_scale",
    "attention.scale",
    "attention.clamp_kqv",
    "attention.temperature_length",
    "leading_dense_block_count",
    "expert_group_count",
    "expert_weights_scale",
    "interleave_moe_layer_step",
)
_PROJECTOR = "clip"
"""What llama.cpp calls the architecture of a model's tower."""
_LARGEST = {"gemma2": 46, "gemma3": 62}
"""Layers of the one model of each family whose scores are scaled by the width of the model over its
heads: no field says it."""
_LOCAL_BASE = 10_000.0
"""By which Gemma 3's windowed layers are turned, where the file does not say it."""
_ENDS = ("eos", "eot", "eom")
_END_TEXTS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
)
"""Which llama.cpp takes for ends wherever a vocabulary has them."""


def described(path: Path, file: GgufFile) -> Json:
    """As config.json has it. Raises EngineError for an architecture or a form that is not read."""
    _refuse_unread(path, file)
    from transformers import AutoConfig

    library: Any = AutoConfig  # untyped
    try:
        found: Json = library.from_pretrained(path.parent, gguf_file=path.name).to_dict()
    except (KeyError, ValueError, TypeError, IndexError, OSError) as error:
        raise EngineError(
            f"transformers cannot make a configuration of {path.name}'s metadata "
            f"({type(error).__name__})."
        ) from error
    found = {key: value for key, value in found.items() if value is not None}
    found.pop("transformers_version", None)
    found |= _sizes(file) | _rope(path, file, found) | _gemma(path, file)
    return found | {"dtype": dtype_of(file), "quantization_config": {"quant_method": "gguf"}}


def dtype_of(file: GgufFile) -> str:
    """Of the numbers that the file was made from, as far as it shows: its own, where all of its
    matrices are plain."""
    kinds = {tensor.kind for tensor in file.tensors.values() if len(tensor.shape) > 1}
    return "float16" if kinds == {F16} else "bfloat16" if kinds - {F32} else "float32"


def ends_of(file: GgufFile, vocabulary: dict[str, int]) -> list[int]:
    """Tokens that end an answer: those that the file names, and those that always do."""
    named = [file.fields.get(f"tokenizer.ggml.{name}_token_id") for name in _ENDS]
    known = [vocabulary.get(text) for text in _END_TEXTS]
    return list(dict.fromkeys(id for id in (*named, *known) if isinstance(id, int)))


def _refuse_unread(path: Path, file: GgufFile) -> None:
    if file.architecture == _PROJECTOR:
        raise EngineError(
            f"{path.name} is the tower of a model that sees or hears (mmproj), and no model: give "
            "the model's own file, which then reads text alone, or its checkpoint in the format "
            "of transformers, which has both."
        )
    if file.architecture not in ARCHITECTURES:
        raise EngineError(
            f"{path.name} is of GGUF's architecture {file.architecture!r}, which is not read; "
            f"these are: {', '.join(ARCHITECTURES)}. Choose the model's checkpoint in the format "
            "of transformers."
        )
    for key in _UNREAD:
        if file.own(key) not in (None, 0, 0.0):
            raise EngineError(
                f"{path.name} states {file.architecture}.{key}={file.own(key)}, which is not read."
            )
    if file.own("expert_count") and not file.architecture.endswith("moe"):
        raise EngineError(
            f"{path.name} is a {file.architecture} with experts, which is not read from GGUF files."
        )


def _sizes(file: GgufFile) -> Json:
    """Numbers that transformers leaves at its classes' defaults."""
    table = file.tensors.get("token_embd.weight")
    stated = {
        "vocab_size": table.shape[0] if table is not None else None,
        "head_dim": file.own("attention.key_length"),
        "moe_intermediate_size": file.own("expert_feed_forward_length"),
        "shared_expert_intermediate_size": file.own("expert_shared_feed_forward_length"),
        "sliding_window": file.own("attention.sliding_window"),
        "attn_logit_softcapping": file.own("attn_logit_softcapping"),
        "final_logit_softcapping": file.own("final_logit_softcapping"),
    }
    known = {key: value for key, value in stated.items() if value}
    if file.architecture == "llama" and "blk.0.attn_q.bias" in file.tensors:
        known["attention_bias"] = True
    # None of it, where a class has one of its own.
    return known | {"pad_token_id": file.fields.get("tokenizer.ggml.padding_token_id")}


def _rope(path: Path, file: GgufFile, found: Json) -> Json:
    if file.architecture == "gemma3":
        return {"rope_parameters": _two_ropes(path, file)}
    theta = file.own("rope.freq_base")
    kind, factor = file.own("rope.scaling.type"), file.own("rope.scaling.factor")
    original = file.own("rope.scaling.original_context_length")
    rope: Json = {"rope_theta": float(theta)} if theta else {}
    within = {"original_max_position_embeddings": original}
    if FREQUENCIES in file.tensors:
        return {"rope_parameters": rope | _llama3(path, file, found, float(theta or 10000.0))}
    if SHORT in file.tensors:
        short, long = (floats(path, file, name).tolist() for name in (SHORT, LONG))
        rope |= {"rope_type": "longrope", "long_factor": long, "short_factor": short}
        return {"rope_parameters": rope} | within
    if kind in (None, "none") and not factor:
        return {}
    if kind == "yarn" and factor and original:
        return {"rope_parameters": rope | {"rope_type": "yarn", "factor": factor} | within}
    if kind in (None, "linear") and factor:
        return {"rope_parameters": rope | {"rope_type": "linear", "factor": factor}}
    raise EngineError(f"{path.name} scales its positions by {kind!r}, which is not read.")


def _two_ropes(path: Path, file: GgufFile) -> Json:
    """Of layers that see everything, and of those with a window, which nothing stretches."""
    kind, factor = file.own("rope.scaling.type"), file.own("rope.scaling.factor")
    if kind not in (None, "none", "linear") or (kind == "linear") != bool(factor):
        raise EngineError(f"{path.name} scales its positions by {kind!r}, which is not read.")
    stretched = {"rope_type": "linear", "factor": factor} if factor else {"rope_type": "default"}
    whole = float(file.own("rope.freq_base", 1_000_000.0))
    local = float(file.own("rope.freq_base_swa", _LOCAL_BASE))
    return {
        "full_attention": {**stretched, "rope_theta": whole},
        "sliding_attention": {"rope_type": "default", "rope_theta": local},
    }


def _gemma(path: Path, file: GgufFile) -> Json:
    """What Gemma 2 and 3 leave to the number of their layers. Which of these have windows is the
    class's default."""
    if file.architecture not in _LARGEST:
        return {}
    if file.own("attention.sliding_window_pattern") is not None:
        raise EngineError(f"{path.name} says which of its layers have windows, which is not read.")
    head = file.own("attention.key_length")
    if file.own("block_count") == _LARGEST[file.architecture]:
        head = file.own("embedding_length") / file.own("attention.head_count")
    return {"query_pre_attn_scalar": head}


def _llama3(path: Path, file: GgufFile, found: Json, theta: float) -> Json:
    """The one scaling that gives the divisors that the file holds."""
    divisors = floats(path, file, FREQUENCIES)
    scaling = {**_LLAMA3, "factor": float(divisors.max())}
    columns = file.own("rope.dimension_count") or found["head_dim"]
    expected = _divisors(theta, int(columns), scaling)
    if expected.shape != divisors.shape or not np.allclose(expected, divisors, rtol=1e-3):
        text = f"{path.name} scales its positions by divisors of its own, which are not read."
        raise EngineError(text)
    return scaling


def _divisors(theta: float, columns: int, scaling: Json) -> Any:
    """Llama 3's: long waves by the factor, short ones by 1, those between by something between."""
    waves = 2 * math.pi * theta ** (np.arange(0, columns, 2) / columns)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] / waves
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / scaling["factor"] + smooth)
