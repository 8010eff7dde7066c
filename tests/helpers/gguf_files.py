"""GGUF files of the zoo's checkpoints: by the gguf library's writer, names and layouts as
llama.cpp's converters make them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

Quant = gguf.GGMLQuantizationType
WORD = "he"
"""The one word that a file's vocabulary has beside letters, in the first row that the zoo's
tokenizer leaves free."""
_ARCHITECTURES = {
    "qwen3_moe": "qwen3moe",
    "qwen2_moe": "qwen2moe",
    "mistral": "llama",
    "gemma3_text": "gemma3",
}
_NORMAL, _UNKNOWN, _CONTROL, _USER, _UNUSED, _BYTE = range(1, 7)


def write_gguf(
    source: Path, path: Path, kind: Quant | Callable[[str], Quant], **fields: Any
) -> Path:
    """`source`: a zoo folder; `kind`: of its matrices, or by name; `fields`: further ones of the
    architecture, by key."""
    config = json.loads((source / "config.json").read_text())
    architecture = _ARCHITECTURES.get(config["model_type"], config["model_type"])
    writer: Any = gguf.GGUFWriter(path, architecture)
    _sizes(writer, config)
    for key, value in fields.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        (
            writer.add_string
            if isinstance(value, str)
            else writer.add_float32
            if isinstance(value, float)
            else writer.add_uint32
        )(name, value)
    _tokens(writer, source, config)
    for name, tensor in _tensors(source, config, architecture).items():
        wanted = kind(name) if callable(kind) else kind
        plain = tensor.ndim < 2 or "_norm" in name or "rope" in name or "gate_inp" in name
        wanted = (
            Quant.F32
            if plain
            else wanted
            if tensor.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0
            else Quant.F16
        )
        writer.add_tensor(
            name, gguf.quantize(tensor, wanted) if wanted != Quant.F32 else tensor, raw_dtype=wanted
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _sizes(writer: Any, config: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name("some tiny model")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(config.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "num_experts" in config:
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if config.get("sliding_window") and config["model_type"].startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(key):
            getattr(writer, f"add_{key}")(config[key])
    if config.get("rope_scaling") and "long_factor" in config["rope_scaling"]:
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])


def _tokens(writer: Any, source: Path, config: dict[str, Any]) -> None:
    read = json.loads((source / "tokenizer.json").read_text())
    added = {token["id"]: token for token in read["added_tokens"]}
    names = {index: token for token, index in read["model"]["vocab"].items()} | {
        i: token["content"] for i, token in added.items()
    }
    pieces = read["model"]["byte_fallback"]
    free = next(index for index in range(config["vocab_size"]) if index not in names)
    names[free] = WORD
    texts = [names.get(index, f"[PAD{index}]") for index in range(config["vocab_size"])]

    def kind(index: int) -> int:
        if index in added:
            return _CONTROL if added[index]["special"] else _USER
        byte = texts[index].startswith("<0x")
        return (_BYTE if byte else _NORMAL) if index in names else _UNUSED

    writer.add_tokenizer_model("llama" if pieces else "gpt2")
    writer.add_token_list(texts)
    writer.add_token_types([kind(index) for index in range(len(texts))])
    if pieces:
        writer.add_token_scores([0.0] * len(texts))
    else:
        writer.add_tokenizer_pre("default")
        writer.add_token_merges([" ".join(WORD)])
    writer.add_add_bos_token(bool(read.get("post_processor")))
    ends = config["eos_token_id"]
    writer.add_eos_token_id(ends[0] if isinstance(ends, list) else ends)
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])
    template = json.loads((source / "tokenizer_config.json").read_text()).get("chat_template")
    if template is not None:
        writer.add_chat_template(template)


def _tensors(source: Path, config: dict[str, Any], architecture: str) -> dict[str, Any]:
    """By the names of GGUF; queries and keys of Llama with the halves of each head laid into each
    other; experts stacked."""
    weights = {
        name: one.float()
        for file in sorted(source.glob("*.safetensors"))
        for name, one in load_file(file).items()
    }
    known = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names: Any = gguf.get_tensor_name_map(known, config["num_hidden_layers"])
    heads, kv_heads = (
        config["num_attention_heads"],
        config.get("num_key_value_heads", config["num_attention_heads"]),
    )
    made = {}
    for name, weight in _stacked(weights).items():
        if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            count = heads if "q_proj" in name else kv_heads
            weight = (
                weight.reshape(count, 2, weight.shape[0] // count // 2, -1)
                .transpose(1, 2)
                .reshape(weight.shape)
            )
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            weight = weight + 1
        made[names.get_name(name, (".weight", ".bias"))] = weight.numpy()
    scaling = config.get("rope_scaling") or {}
    if scaling.get("rope_type") == "llama3":
        made["rope_freqs.weight"] = llama3_divisors(config)
    for length in ("long", "short"):
        if f"{length}_factor" in scaling:
            made[f"rope_factors_{length}.weight"] = np.array(
                scaling[f"{length}_factor"], np.float32
            )
    return made


def _stacked(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Experts that are stored one by one become one tensor of each kind for a layer."""
    one_by_one = {name for name in weights if ".experts." in name}
    made = {name: weight for name, weight in weights.items() if name not in one_by_one}
    for first in sorted(name for name in one_by_one if ".experts.0." in name):
        count = sum(_without_number(name) == _without_number(first) for name in one_by_one)
        each = [
            weights[first.replace(".experts.0.", f".experts.{number}.")] for number in range(count)
        ]
        made[_without_number(first)] = torch.stack(each)
    return made


def _without_number(name: str) -> str:
    before, _, rest = name.partition(".experts.")
    return f"{before}.experts.{rest.partition('.')[2]}"


def llama3_divisors(config: dict[str, Any]) -> Any:
    """As transformers turns them: its own frequencies without scaling, by those with it."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    made: Any = LlamaConfig.from_dict(config)
    functions: Any = ROPE_INIT_FUNCTIONS
    scaled, _ = functions["llama3"](made, torch.device("cpu"))
    columns = torch.arange(0, config["head_dim"], 2).float() / config["head_dim"]
    return (1.0 / (config["rope_theta"] ** columns) / scaled).numpy()
