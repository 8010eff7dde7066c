"""Texts with nothing but states (`mamba`, `mamba2`, `falcon_mamba`), and with a state beside keys
and values in every layer (`falcon_h1`).

The form: none of the first three states how many positions it was made for. Mamba's file brings
what its first code named (`d_model`, `n_layer`, `ssm_cfg`) beside what is read. Falcon Mamba states
a width that does not follow from its `expand`. Falcon H1 scales everything by a multiplier of its
own.
"""

from ..forms import CHATML, chatml_template
from ..kinds import Animal, Json
from ..tokens import Tokens
from .hybrids import STARTED, _plain
from .llama import SIZES

STEPS: Json = {"time_step_floor": 0.0001, "time_step_max": 0.1, "time_step_min": 0.001}
ALONE: Json = {
    **STEPS,
    "conv_kernel": 4,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.1,
    "intermediate_size": 128,
    "layer_norm_epsilon": 1e-05,
    "num_hidden_layers": 3,
    "rescale_prenorm_residual": False,
    "residual_in_fp32": True,
    "state_size": 16,
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
}
"""What all three state."""
SCALES: Json = {
    "attention_in_multiplier": 1.2,
    "attention_out_multiplier": 0.75,
    "embedding_multiplier": 5.656854249492381,
    "key_multiplier": 0.5,
    "lm_head_multiplier": 0.25,
    "mlp_multipliers": [0.8838834764831844, 0.5859375],
    "ssm_in_multiplier": 1.25,
    "ssm_multipliers": [0.7, 0.5, 0.6, 0.9, 0.8],
    "ssm_out_multiplier": 0.6,
}


def mamba() -> Animal:
    """2.8B."""
    tokens = Tokens(["<|endoftext|>", "<|padding|>"])
    end = tokens["<|endoftext|>"]
    return Animal(
        config={
            **ALONE,
            "architectures": ["MambaForCausalLM"],
            "bos_token_id": end,
            "d_inner": 128,
            "d_model": 64,
            "eos_token_id": end,
            "expand": 2,
            "fused_add_norm": True,
            "model_type": "mamba",
            "n_layer": 3,
            "pad_token_id": end,
            "pad_vocab_size_multiple": 8,
            "rms_norm": True,
            "ssm_cfg": {},
            "time_step_init_scheme": "random",
            "time_step_rank": 4,
            "time_step_scale": 1.0,
            "torch_dtype": "float32",
            "vocab_size": tokens.padded(8),
        },
        model="MambaForCausalLM",
        tokens=tokens,
        tokenizer={
            "add_prefix_space": False,
            "bos_token": "<|endoftext|>",
            "chat_template": chatml_template({}, ""),
            "eos_token": "<|endoftext|>",
            "model_max_length": 1000000000000000019884624838656,
            "tokenizer_class": "GPTNeoXTokenizer",
            "unk_token": "<|endoftext|>",
        },
        files={
            "generation_config.json": {
                "bos_token_id": end,
                "eos_token_id": end,
                "pad_token_id": end,
            }
        },
        dtype="float32",
    )


def mamba2() -> Animal:
    """Codestral 7B."""
    config = {
        **ALONE,
        "chunk_size": 8,
        "expand": 2,
        "head_dim": 16,
        "n_groups": 2,
        "norm_before_gate": True,
        "num_heads": 8,
        "rms_norm": True,
        "tie_word_embeddings": False,
        "time_step_init_scheme": "random",
        "time_step_limit": [0.0, float("inf")],
        "time_step_rank": 4,
        "time_step_scale": 1.0,
    }
    return _plain("mamba2", "Mamba2ForCausalLM", config, shards=3)


def falcon_mamba() -> Animal:
    """7B."""
    tokens = Tokens(["<|endoftext|>", *CHATML[1:3]])
    end = tokens["<|im_end|>"]
    return Animal(
        config={
            **ALONE,
            "architectures": ["FalconMambaForCausalLM"],
            "bos_token_id": tokens["<|endoftext|>"],
            "eos_token_id": end,
            "expand": 16,
            "mixer_rms_eps": 1e-06,
            "model_type": "falcon_mamba",
            "pad_token_id": tokens["<|endoftext|>"],
            "tie_word_embeddings": False,
            "time_step_init_scheme": "random",
            "time_step_rank": 4,
            "time_step_scale": 1.0,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="FalconMambaForCausalLM",
        tokens=tokens,
        tokenizer={
            "chat_template": chatml_template({}, ""),
            "eos_token": "<|im_end|>",
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 8192,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": [end, tokens["<|endoftext|>"]],
            }
        },
        shards=2,
    )


def falcon_h1() -> Animal:
    """1.5B."""
    tokens = Tokens(
        ["<|pad|>", "<|begin_of_text|>", "<|end_of_text|>", *CHATML[1:3]], bos="<|begin_of_text|>"
    )
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            **SIZES,
            **SCALES,
            "architectures": ["FalconH1ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "attn_layer_indices": None,
            "bos_token_id": tokens["<|begin_of_text|>"],
            "eos_token_id": end,
            "head_dim": 24,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "mamba_chunk_size": 8,
            "mamba_conv_bias": True,
            "mamba_d_conv": 4,
            "mamba_d_head": 16,
            "mamba_d_ssm": 96,
            "mamba_d_state": 32,
            "mamba_expand": 2,
            "mamba_n_groups": 1,
            "mamba_n_heads": 6,
            "mamba_norm_before_gate": False,
            "mamba_proj_bias": False,
            "mamba_rms_norm": False,
            "mamba_use_mlp": True,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "mlp_expansion_factor": 8,
            "model_type": "falcon_h1",
            "num_logits_to_keep": 1,
            "pad_token_id": tokens["<|pad|>"],
            "projectors_bias": False,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 100000000000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": tokens.padded(),
        },
        model="FalconH1ForCausalLM",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|begin_of_text|>",
            "chat_template": STARTED,
            "eos_token": "<|end_of_text|>",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<|pad|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<|begin_of_text|>"],
                "eos_token_id": [end, tokens["<|im_end|>"]],
                "pad_token_id": tokens["<|pad|>"],
            }
        },
        shards=2,
    )


ANIMALS = {"mamba": mamba, "mamba2": mamba2, "falcon_mamba": falcon_mamba, "falcon_h1": falcon_h1}
