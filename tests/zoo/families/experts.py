"""Sparse text models (`qwen3_moe`, `mixtral`, `olmoe`, `granitemoe`, `gpt_oss`).

The form: as their dense siblings, and one by one stored experts under the names of their time
(`block_sparse_moe.experts.N.w1`, `mlp.experts.N.gate_proj`); Granite's are stored fused under
`input_linear` and `output_linear`. gpt-oss has sinks, a column of each head that takes a part of
every row's weights, and a window in every other layer.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer, llama_tokenizer
from ..kinds import Animal
from ..tokens import Tokens
from .llama import (
    GRANITE,
    GRANITE_SCALES,
    GRANITE_TEMPLATE,
    INST_TEMPLATE,
    SIZES,
    granite_tokenizer,
    olmo_like,
    olmo_tokenizer,
)

HARMONY = [
    "<|startoftext|>",
    "<|endoftext|>",
    "<|return|>",
    "<|channel|>",
    "<|start|>",
    "<|end|>",
    "<|message|>",
    "<|call|>",
]


def qwen3_moe() -> Animal:
    """30B-A3B."""
    tokens = Tokens(CHATML, [*TOOLS, *THINKING])
    return Animal(
        config={
            **SIZES,
            "architectures": ["Qwen3MoeForCausalLM"],
            "bos_token_id": tokens["<|endoftext|>"],
            "decoder_sparse_step": 1,
            "eos_token_id": tokens["<|im_end|>"],
            "head_dim": 16,
            "max_position_embeddings": 40960,
            "max_window_layers": 3,
            "mlp_only_layers": [],
            "model_type": "qwen3_moe",
            "moe_intermediate_size": 24,
            "norm_topk_prob": True,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        model="Qwen3MoeForCausalLM",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            131072, add_bos_token=False, chat_template=chatml_template({}, "")
        ),
        files={
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
                "do_sample": True,
            }
        },
        shards=3,
    )


def mixtral() -> Animal:
    """8x7B."""
    tokens = Tokens([], pieces=True, bos="<s>")
    return Animal(
        config={
            **SIZES,
            "architectures": ["MixtralForCausalLM"],
            "bos_token_id": 1,
            "eos_token_id": 2,
            "max_position_embeddings": 32768,
            "model_type": "mixtral",
            "num_experts_per_tok": 2,
            "num_local_experts": 4,
            "output_router_logits": False,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="MixtralForCausalLM",
        tokens=tokens,
        tokenizer=llama_tokenizer(chat_template=INST_TEMPLATE),
        files={
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": 1,
                "eos_token_id": 2,
            }
        },
        shards=3,
    )


def olmoe() -> Animal:
    tokens, config = olmo_like(
        "olmoe",
        "OlmoeForCausalLM",
        clip_qkv=None,
        norm_topk_prob=False,
        num_experts=4,
        num_experts_per_tok=2,
        rms_norm_eps=1e-05,
        torch_dtype="bfloat16",
    )
    return Animal(
        config=config,
        model="OlmoeForCausalLM",
        tokens=tokens,
        tokenizer=olmo_tokenizer(),
        files={"generation_config.json": {"eos_token_id": tokens["<|endoftext|>"]}},
        shards=2,
    )


def granitemoe() -> Animal:
    tokens = Tokens(GRANITE)
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            **SIZES,
            **GRANITE_SCALES,
            "architectures": ["GraniteMoeForCausalLM"],
            "bos_token_id": end,
            "eos_token_id": end,
            "max_position_embeddings": 131072,
            "model_type": "granitemoe",
            "num_experts_per_tok": 2,
            "num_local_experts": 4,
            "pad_token_id": end,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1500000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="GraniteMoeForCausalLM",
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


def gpt_oss() -> Animal:
    """20B, with its experts in bfloat16."""
    tokens = Tokens(HARMONY)
    end = tokens["<|return|>"]
    return Animal(
        config={
            **SIZES,
            "architectures": ["GptOssForCausalLM"],
            "attention_bias": True,
            "attention_dropout": 0.0,
            "eos_token_id": end,
            "experts_per_token": 2,
            "head_dim": 16,
            "hidden_act": "silu",
            "initial_context_length": 4096,
            "initializer_range": 0.02,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "max_position_embeddings": 131072,
            "model_type": "gpt_oss",
            "num_experts_per_tok": 2,
            "num_local_experts": 4,
            "output_router_logits": False,
            "pad_token_id": tokens["<|endoftext|>"],
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "factor": 32.0,
                "original_max_position_embeddings": 4096,
                "rope_type": "yarn",
                "truncate": False,
            },
            "rope_theta": 150000,
            "router_aux_loss_coef": 0.9,
            "sliding_window": 16,
            "swiglu_limit": 7.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": tokens.padded(),
        },
        model="GptOssForCausalLM",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|startoftext|>",
            "eos_token": "<|return|>",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<|endoftext|>",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<|startoftext|>"],
                "do_sample": True,
                "eos_token_id": [end, tokens["<|endoftext|>"], tokens["<|call|>"]],
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "chat_template.jinja": (
                "<|start|>system<|message|>You help.<|end|>{% for message in messages "
                "%}<|start|>{{ message['role'] }}"
                "<|message|>{{ message['content'] }}<|end|>{% endfor %}"
                "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
            ),
        },
        shards=2,
    )


ANIMALS = {
    "qwen3_moe": qwen3_moe,
    "mixtral": mixtral,
    "olmoe": olmoe,
    "granitemoe": granitemoe,
    "gpt_oss": gpt_oss,
}
