"""Dense text models (`llama`, `mistral`, `qwen2`, `qwen3`, `phi3`, `granite`, `olmo`, `olmo2`).

The form: flat. Llama 3.2 stretches its rotary positions and has three ends; Llama 2 stores the
rotary frequencies of every layer; Phi-3 fuses its projections and has two sets of frequencies, for
prompts shorter and longer than it was first trained on (`rope_scaling.type` was "su" before it was
"longrope"); Granite scales embeddings, residuals, attention and logits; OLMo's norms have no
weights. What is tied stores no head.
"""

from ..forms import (
    CHATML,
    THINKING,
    TOOLS,
    chatml_template,
    chatml_tokenizer,
    llama_tokenizer,
    special_map,
)
from ..kinds import Animal, Json
from ..tokens import Tokens

SIZES: Json = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "num_key_value_heads": 2,
}
LLAMA3 = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
]
LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] "
    "}}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
INST_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] {{ "
    "message['content'] }} [/INST]"
    "{% else %}{{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def llama() -> Animal:
    """3.2 1B: the tokenizer writes a BOS and so does the template: one is wanted."""
    tokens = Tokens(LLAMA3, bos="<|begin_of_text|>")
    ends = [tokens["<|end_of_text|>"], tokens["<|eom_id|>"], tokens["<|eot_id|>"]]
    return Animal(
        config={
            **SIZES,
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": tokens["<|begin_of_text|>"],
            "eos_token_id": ends,
            "head_dim": 16,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "llama",
            "pretraining_tp": 1,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 64,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.45.0.dev0",
            "use_cache": True,
            "vocab_size": tokens.padded(),
        },
        model="LlamaForCausalLM",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|begin_of_text|>",
            "chat_template": LLAMA3_TEMPLATE,
            "eos_token": "<|eot_id|>",
            "model_input_names": ["input_ids", "attention_mask"],
            "model_max_length": 131072,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<|begin_of_text|>"],
                "do_sample": True,
                "eos_token_id": ends,
                "temperature": 0.6,
                "top_p": 0.9,
            },
            "special_tokens_map.json": special_map(
                bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"
            ),
        },
    )


def llama_2() -> Animal:
    """2 7B: pieces, no key-value groups said, the frequencies stored."""
    tokens = Tokens([], pieces=True, bos="<s>")
    sizes = {name: value for name, value in SIZES.items() if name != "num_key_value_heads"}
    return Animal(
        config={
            **sizes,
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": tokens["<s>"],
            "eos_token_id": tokens["</s>"],
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "vocab_size": tokens.padded(),
        },
        model="LlamaForCausalLM",
        tokens=tokens,
        tokenizer=llama_tokenizer(chat_template=INST_TEMPLATE),
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<s>"],
                "eos_token_id": tokens["</s>"],
                "temperature": 0.6,
            },
        },
        dtype="float16",
        extra={f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": (8,) for layer in range(3)},
        shards=2,
    )


def mistral() -> Animal:
    """7B v0.2: no window, said by null; heads of their own width as in Nemo."""
    tokens = Tokens([], pieces=True, bos="<s>")
    return Animal(
        config={
            **SIZES,
            "architectures": ["MistralForCausalLM"],
            "bos_token_id": tokens["<s>"],
            "eos_token_id": tokens["</s>"],
            "head_dim": 24,
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "model_type": "mistral",
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="MistralForCausalLM",
        tokens=tokens,
        tokenizer=llama_tokenizer(chat_template=INST_TEMPLATE),
        files={
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": 1,
                "eos_token_id": 2,
            }
        },
        shards=2,
    )


def qwen2() -> Animal:
    tokens = Tokens(CHATML[:3], TOOLS)
    return Animal(
        config={
            **SIZES,
            "architectures": ["Qwen2ForCausalLM"],
            "bos_token_id": tokens["<|endoftext|>"],
            "eos_token_id": tokens["<|im_end|>"],
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "max_window_layers": 3,
            "model_type": "qwen2",
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        model="Qwen2ForCausalLM",
        tokens=tokens,
        tokenizer=chatml_tokenizer(131072, CHATML[1:3], chat_template=chatml_template({})),
        files={
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
                "do_sample": True,
            }
        },
    )


def qwen3() -> Animal:
    """4B: `rope_scaling` and `sliding_window` null, heads of their own width."""
    tokens = Tokens(CHATML, [*TOOLS, *THINKING])
    return Animal(
        config={
            **SIZES,
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": tokens["<|endoftext|>"],
            "eos_token_id": tokens["<|im_end|>"],
            "head_dim": 32,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "max_position_embeddings": 40960,
            "max_window_layers": 3,
            "model_type": "qwen3",
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.51.0",
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        model="Qwen3ForCausalLM",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            131072, add_bos_token=False, chat_template=chatml_template({}, "")
        ),
        files={
            "generation_config.json": {
                "bos_token_id": tokens["<|endoftext|>"],
                "do_sample": True,
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
                "pad_token_id": tokens["<|endoftext|>"],
                "temperature": 0.6,
            }
        },
    )


def phi3() -> Animal:
    """3.5 mini: frequencies for short and for long prompts; `auto_map` beside a native class; ends
    in the generation's file."""
    special = [
        "<|endoftext|>",
        "<|assistant|>",
        "<|placeholder1|>",
        "<|system|>",
        "<|end|>",
        "<|user|>",
    ]
    tokens = Tokens(special, pieces=True)
    return Animal(
        config={
            **SIZES,
            "num_key_value_heads": 4,
            "architectures": ["Phi3ForCausalLM"],
            "attention_bias": False,
            "auto_map": {
                "AutoConfig": "configuration_phi3.Phi3Config",
                "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
            },
            "bos_token_id": tokens["<s>"],
            "embd_pdrop": 0.0,
            "eos_token_id": tokens["<|endoftext|>"],
            "hidden_act": "silu",
            "max_position_embeddings": 1024,
            "model_type": "phi3",
            "original_max_position_embeddings": 256,
            "pad_token_id": tokens["<|endoftext|>"],
            "resid_pdrop": 0.0,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "long_factor": [1.1, 1.4, 2.0, 3.0, 5.0, 9.0, 17.0, 33.0],
                "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                "type": "longrope",
            },
            "rope_theta": 10000.0,
            "sliding_window": 262144,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="Phi3ForCausalLM",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            add_bos_token=False,
            chat_template="{% for message in messages %}<|{{ "
            "message['role'] }}|>\n{{ message['content'] "
            "}}<|end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token "
            "}}{% endif %}",
            eos_token="<|endoftext|>",
            model_max_length=1024,
            pad_token="<|endoftext|>",
        ),
        files={
            "generation_config.json": {
                "bos_token_id": 1,
                "eos_token_id": [
                    tokens["<|end|>"],
                    tokens["<|assistant|>"],
                    tokens["<|endoftext|>"],
                ],
                "pad_token_id": tokens["<|endoftext|>"],
            }
        },
        shards=2,
    )


GRANITE = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>"]
GRANITE_TEMPLATE = (
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>{{ "
    "message['content'] }}<|end_of_text|>"
    "\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% "
    "endif %}"
)
GRANITE_SCALES: Json = {
    "attention_multiplier": 0.125,
    "embedding_multiplier": 3.0,
    "logits_scaling": 2.0,
    "residual_multiplier": 0.22,
}


def granite_tokenizer(**more: object) -> Json:
    return {
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": "<|end_of_text|>",
        "eos_token": "<|end_of_text|>",
        "model_max_length": 9223372036854775807,
        "pad_token": "<|end_of_text|>",
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": "<|end_of_text|>",
        **more,
    }


def granite() -> Animal:
    tokens = Tokens(GRANITE)
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            **SIZES,
            **GRANITE_SCALES,
            "architectures": ["GraniteForCausalLM"],
            "attention_bias": False,
            "bos_token_id": end,
            "eos_token_id": end,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "model_type": "granite",
            "pad_token_id": end,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 5000000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "vocab_size": tokens.padded(),
        },
        model="GraniteForCausalLM",
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


OLMO_TEMPLATE = (
    "{{ eos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ "
    "message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def olmo_like(kind: str, model: str, **more: object) -> tuple[Tokens, Json]:
    """Tokens and configuration. There is no BOS."""
    tokens = Tokens(["<|padding|>", "<|endoftext|>"])
    return tokens, {
        **SIZES,
        "num_key_value_heads": 4,
        "architectures": [model],
        "attention_bias": False,
        "eos_token_id": tokens["<|endoftext|>"],
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "model_type": kind,
        "pad_token_id": tokens["<|padding|>"],
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": tokens.padded(),
        **more,
    }


def olmo_tokenizer() -> Json:
    return {
        "chat_template": OLMO_TEMPLATE,
        "eos_token": "<|endoftext|>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<|padding|>",
        "tokenizer_class": "GPTNeoXTokenizer",
    }


def olmo() -> Animal:
    tokens, config = olmo_like("olmo", "OlmoForCausalLM", clip_qkv=None)
    end = tokens["<|endoftext|>"]
    return Animal(
        config=config,
        model="OlmoForCausalLM",
        tokens=tokens,
        tokenizer=olmo_tokenizer(),
        files={
            "generation_config.json": {"eos_token_id": end, "pad_token_id": tokens["<|padding|>"]}
        },
        dtype="float32",
    )


def olmo2() -> Animal:
    """Norms behind attention and feed-forward, and over all queries and keys at once."""
    tokens, config = olmo_like("olmo2", "Olmo2ForCausalLM", rms_norm_eps=1e-06)
    end = tokens["<|endoftext|>"]
    return Animal(
        config=config,
        model="Olmo2ForCausalLM",
        tokens=tokens,
        tokenizer=olmo_tokenizer(),
        files={
            "generation_config.json": {"eos_token_id": end, "pad_token_id": tokens["<|padding|>"]}
        },
        dtype="float32",
        shards=2,
    )


ANIMALS = {
    "llama": llama,
    "llama_2": llama_2,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "phi3": phi3,
    "granite": granite,
    "olmo": olmo,
    "olmo2": olmo2,
}
