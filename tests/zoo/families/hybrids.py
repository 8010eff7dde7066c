"""Texts with a state in place of keys and values, in all layers or most (`lfm2`, `lfm2_moe`,
`qwen3_next`, `bamba`, `granitemoehybrid`, `nemotron_h`, `zamba2`).

The form: LFM2 names its layers' kinds, or once the numbers of those that attend, and its
feed-forward's width is rounded when it is built. Mamba's descendants each name the same things in
their own way: a pattern of letters, indices, lists of kinds. Zamba 2 shares one attention among its
layers.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer
from ..kinds import Animal, Json
from ..tokens import Tokens
from .llama import GRANITE, GRANITE_SCALES, GRANITE_TEMPLATE, SIZES, granite_tokenizer

LFM = ["<|pad|>", "<|startoftext|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
STARTED = "{{ bos_token }}" + chatml_template({}, "")
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] "
    "}}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
MAMBA: Json = {
    "mamba_chunk_size": 8,
    "mamba_conv_bias": True,
    "mamba_d_conv": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_n_heads": 8,
    "mamba_proj_bias": False,
}


def lfm_tokenizer(**more: object) -> Json:
    return {
        "add_bos_token": True,
        "bos_token": "<|startoftext|>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<|pad|>",
        "tokenizer_class": "PreTrainedTokenizerFast",
        **more,
    }


def lfm_text(tokens: Tokens, **more: object) -> Json:
    """What the text of LFM2 states of itself, alone or within another model."""
    return {
        "block_auto_adjust_ff_dim": True,
        "block_dim": 64,
        "block_ff_dim": 160,
        "block_ffn_dim_multiplier": 1.0,
        "block_mlp_init_scale": 1.0,
        "block_multiple_of": 32,
        "block_norm_eps": 1e-05,
        "block_use_swiglu": True,
        "conv_L_cache": 3,
        "conv_bias": False,
        "conv_dim": 64,
        "conv_dim_out": 64,
        "eos_token_id": tokens["<|im_end|>"],
        "hidden_size": 64,
        "max_position_embeddings": 128000,
        "model_type": "lfm2",
        "norm_eps": 1e-05,
        "num_attention_heads": 4,
        "num_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "use_cache": True,
        "use_pos_enc": True,
        "vocab_size": tokens.padded(),
        **more,
    }


def lfm2() -> Animal:
    """1.2B."""
    tokens = Tokens(LFM, bos="<|startoftext|>")
    return Animal(
        config={
            **lfm_text(tokens, full_attn_idxs=[1, 3], rope_theta=1000000.0),
            "architectures": ["Lfm2ForCausalLM"],
            "bos_token_id": tokens["<|startoftext|>"],
            "pad_token_id": tokens["<|pad|>"],
            "tie_embedding": True,
            "torch_dtype": "bfloat16",
        },
        model="Lfm2ForCausalLM",
        tokens=tokens,
        tokenizer=lfm_tokenizer(chat_template=STARTED),
        files={
            "generation_config.json": {
                "eos_token_id": tokens["<|im_end|>"],
                "pad_token_id": tokens["<|pad|>"],
            }
        },
    )


def lfm2_moe() -> Animal:
    """8B-A1B."""
    tokens = Tokens(LFM, bos="<|startoftext|>")
    return Animal(
        config={
            **SIZES,
            "architectures": ["Lfm2MoeForCausalLM"],
            "bos_token_id": tokens["<|startoftext|>"],
            "conv_L_cache": 3,
            "conv_bias": False,
            "dtype": "bfloat16",
            "eos_token_id": tokens["<|im_end|>"],
            "layer_types": ["conv", "conv", "full_attention", "conv"],
            "max_position_embeddings": 128000,
            "model_type": "lfm2_moe",
            "moe_intermediate_size": 24,
            "norm_eps": 1e-05,
            "norm_topk_prob": True,
            "num_dense_layers": 1,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "num_hidden_layers": 4,
            "pad_token_id": tokens["<|pad|>"],
            "rope_theta": 1000000.0,
            "routed_scaling_factor": 1.0,
            "tie_word_embeddings": True,
            "use_cache": True,
            "use_expert_bias": True,
            "vocab_size": tokens.padded(),
        },
        model="Lfm2MoeForCausalLM",
        tokens=tokens,
        tokenizer=lfm_tokenizer(chat_template=STARTED),
        files={
            "generation_config.json": {
                "eos_token_id": tokens["<|im_end|>"],
                "pad_token_id": tokens["<|pad|>"],
            }
        },
        shards=2,
    )


def qwen3_next() -> Animal:
    """80B-A3B."""
    tokens = Tokens(CHATML, [*TOOLS, *THINKING])
    return Animal(
        config={
            **SIZES,
            "architectures": ["Qwen3NextForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": tokens["<|endoftext|>"],
            "decoder_sparse_step": 1,
            "eos_token_id": tokens["<|im_end|>"],
            "full_attention_interval": 4,
            "head_dim": 32,
            "hidden_act": "silu",
            "linear_conv_kernel_dim": 4,
            "linear_key_head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_value_head_dim": 16,
            "max_position_embeddings": 262144,
            "mlp_only_layers": [],
            "model_type": "qwen3_next",
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "num_hidden_layers": 4,
            "output_router_logits": False,
            "partial_rotary_factor": 0.25,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 10000000,
            "router_aux_loss_coef": 0.001,
            "shared_expert_intermediate_size": 24,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        model="Qwen3NextForCausalLM",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            1010000, add_bos_token=False, chat_template=chatml_template({}, "")
        ),
        files={
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
                "do_sample": True,
            }
        },
        shards=3,
    )


def _plain(kind: str, model: str, config: Json, **how: object) -> Animal:
    """With a tokenizer of bytes, a BOS and an end."""
    tokens = Tokens(["<|pad|>", "<|begin|>", "<|end|>"], bos="<|begin|>")
    end = tokens["<|end|>"]
    return Animal(
        config={
            "architectures": [model],
            "bos_token_id": tokens["<|begin|>"],
            "eos_token_id": end,
            "model_type": kind,
            "pad_token_id": tokens["<|pad|>"],
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
            **config,
        },
        model=model,
        tokens=tokens,
        tokenizer={
            "bos_token": "<|begin|>",
            "chat_template": PLAIN_TEMPLATE,
            "eos_token": "<|end|>",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<|pad|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={"generation_config.json": {"eos_token_id": end}},
        **how,  # type: ignore[arg-type]
    )


def bamba() -> Animal:
    """9B: one layer of many attends."""
    config = {
        **SIZES,
        **MAMBA,
        "attention_bias": False,
        "attn_layer_indices": [1],
        "attn_rotary_emb": 16,
        "hidden_act": "silu",
        "max_position_embeddings": 262144,
        "num_logits_to_keep": 1,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
    }
    return _plain("bamba", "BambaForCausalLM", config, shards=2)


def granitemoehybrid() -> Animal:
    """4.0 tiny."""
    tokens = Tokens(GRANITE)
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            **SIZES,
            **GRANITE_SCALES,
            **MAMBA,
            "architectures": ["GraniteMoeHybridForCausalLM"],
            "attention_bias": False,
            "bos_token_id": end,
            "eos_token_id": end,
            "hidden_act": "silu",
            "intermediate_size": 24,
            "layer_types": ["mamba", "attention", "mamba"],
            "max_position_embeddings": 131072,
            "model_type": "granitemoehybrid",
            "normalization_function": "rmsnorm",
            "num_experts_per_tok": 2,
            "num_local_experts": 4,
            "pad_token_id": end,
            "position_embedding_type": "nope",
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 10000,
            "shared_intermediate_size": 48,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="GraniteMoeHybridForCausalLM",
        tokens=tokens,
        tokenizer=granite_tokenizer(chat_template=GRANITE_TEMPLATE),
        files={
            "generation_config.json": {
                "bos_token_id": end,
                "eos_token_id": end,
                "pad_token_id": end,
            }
        },
        spread=0.5,
    )


def nemotron_h() -> Animal:
    """Nano 2: a letter for each layer, some of which are feed-forwards alone."""
    config = {
        "attention_bias": False,
        "attention_head_dim": 16,
        "chunk_size": 8,
        "conv_kernel": 4,
        "expand": 2,
        "head_dim": 16,
        "hidden_size": 64,
        "hybrid_override_pattern": "M-M*-",
        "intermediate_size": 96,
        "layer_norm_epsilon": 1e-05,
        "mamba_head_dim": 16,
        "mamba_hidden_act": "silu",
        "mamba_num_heads": 8,
        "mamba_proj_bias": False,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "mlp_hidden_act": "relu2",
        "n_groups": 2,
        "num_attention_heads": 4,
        "num_hidden_layers": 5,
        "num_key_value_heads": 2,
        "num_logits_to_keep": 1,
        "rescale_prenorm_residual": True,
        "residual_in_fp32": False,
        "rms_norm_eps": 1e-05,
        "sliding_window": None,
        "ssm_state_size": 16,
        "tie_word_embeddings": False,
        "time_step_floor": 0.0001,
        "time_step_limit": [0.0, float("inf")],
        "time_step_max": 0.1,
        "time_step_min": 0.001,
        "use_bias": False,
        "use_conv_bias": True,
    }
    return _plain("nemotron_h", "NemotronHForCausalLM", config, shards=2)


def zamba2() -> Animal:
    """1.2B."""
    config = {
        "add_bias_linear": False,
        "adapter_rank": 8,
        "attention_head_dim": 32,
        "attention_hidden_size": 128,
        "chunk_size": 8,
        "hidden_act": "gelu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "mamba_d_conv": 4,
        "mamba_d_state": 16,
        "mamba_expand": 2,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "max_position_embeddings": 4096,
        "n_mamba_heads": 8,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 4,
        "num_logits_to_keep": 1,
        "num_mem_blocks": 1,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000,
        "time_step_floor": 0.0001,
        "time_step_limit": None,
        "time_step_max": 0.1,
        "time_step_min": 0.001,
        "use_conv_bias": True,
        "use_long_context": False,
        "use_mem_eff_path": False,
        "use_mem_rope": True,
        "use_shared_attention_adapter": False,
        "use_shared_mlp_adapter": True,
    }
    return _plain("zamba2", "Zamba2ForCausalLM", config, spread=0.12)


ANIMALS = {
    "lfm2": lfm2,
    "lfm2_moe": lfm2_moe,
    "qwen3_next": qwen3_next,
    "bamba": bamba,
    "granitemoehybrid": granitemoehybrid,
    "nemotron_h": nemotron_h,
    "zamba2": zamba2,
}
