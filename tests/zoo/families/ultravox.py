"""Ultravox (`ultravox`, `ultravox_whole`): transformers has no class for it, and its folder names
code of its own.

The form of v0.5 and v0.6: a projector and an encoder; the text model and its configuration are
another model's, named by `text_model_id` (here a folder beside the files), tied as Llama 3.2 1B is.
A sound's mark lies behind the text model's table, no file tells of features, and the tokenizer's
class is one that reads no file. The second has all weights in one folder.
"""

from typing import Any

from ..forms import special_map
from ..kinds import Animal, Json
from ..tokens import Tokens
from .llama import LLAMA3, LLAMA3_TEMPLATE, llama

TEXT = "text"
AUDIO: Json = {
    "_name_or_path": "openai/whisper-large-v3-turbo",
    "activation_dropout": 0.0,
    "activation_function": "gelu",
    "architectures": ["WhisperForConditionalGeneration"],
    "attention_dropout": 0.0,
    "d_model": 32,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "decoder_layers": 1,
    "dropout": 0.0,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "encoder_layers": 2,
    "max_source_positions": 1500,
    "model_type": "whisper",
    "num_hidden_layers": 2,
    "num_mel_bins": 16,
    "pad_token_id": 257,
    "scale_embedding": False,
    "torch_dtype": "float16",
    "vocab_size": 300,
}


def ultravox_of(**more: Any) -> Animal:
    text = llama()
    tokens = Tokens(LLAMA3, ["<|reserved|>", "<|audio|>"], bos="<|begin_of_text|>")
    rows = tokens["<|audio|>"]
    part = {**text.config, "head_dim": 32, "vocab_size": rows}
    config = {
        "architectures": ["UltravoxModel"],
        "audio_config": AUDIO,
        "audio_latency_block_size": None,
        "audio_model_id": None,
        "audio_token_index": rows,
        "auto_map": {
            "AutoConfig": "ultravox_config.UltravoxConfig",
            "AutoModel": "ultravox_model.UltravoxModel",
            "AutoProcessor": "ultravox_processing.UltravoxProcessor",
        },
        "hidden_size": 48,
        "ignore_index": -100,
        "initializer_range": 0.02,
        "model_type": "ultravox",
        "norm_init": 0.4,
        "pad_token_id": tokens["<|eot_id|>"],
        "projector_act": "swiglu",
        "projector_ln_mid": True,
        "stack_factor": 2,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "vocab_size": rows,
    }
    return Animal(
        config={**config, "text_model_id": None, "text_config": part, **more.pop("config", {})},
        truth={**config, "text_config": part},
        model="Model",
        own="ultravox",
        tokens=tokens,
        tokenizer={
            "additional_special_tokens": ["<|audio|>"],
            "auto_map": {"AutoProcessor": "ultravox_processing.UltravoxProcessor"},
            "bos_token": "<|begin_of_text|>",
            "chat_template": LLAMA3_TEMPLATE,
            "eos_token": "<|eot_id|>",
            "extra_special_tokens": {},
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 131072,
            "pad_token": "<|eot_id|>",
            "processor_class": "UltravoxProcessor",
            "tokenizer_class": "PreTrainedTokenizer",
        },
        files={
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": tokens["<|begin_of_text|>"],
                "eos_token_id": text.config["eos_token_id"],
                "pad_token_id": tokens["<|eot_id|>"],
            },
            "processor_config.json": {
                "audio_context_size": 3000,
                "audio_padding": "longest",
                "audio_placeholder": "<|audio|>",
                "auto_map": {"AutoProcessor": "ultravox_processing.UltravoxProcessor"},
                "encoder_ds_factor": 2,
                "processor_class": "UltravoxProcessor",
                "stack_factor": 2,
            },
            "special_tokens_map.json": special_map(
                bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
            ),
            **more.pop("files", {}),
        },
        takes=("audio",),
        **more,
    )


def ultravox() -> Animal:
    whole = ultravox_of()
    return ultravox_of(
        config={"text_config": None, "text_model_id": TEXT},
        files={f"{TEXT}/config.json": whole.config["text_config"]},
        beside={"language_model.": TEXT},
        twin="ultravox_whole",
    )


ANIMALS = {"ultravox": ultravox, "ultravox_whole": ultravox_of}
