"""Gemma (`gemma`, `gemma2`, `gemma3_text`, `gemma3n_text`, `gemma3`).

The form: no prefix space, a BOS before every text, control tokens before all letters. The table is
scaled, and tied by the class's default alone. 2 caps scores and logits; 3 turns its windowed layers
by another base than its full ones, and was published with almost nothing in its text part; the
tokens of its pictures see each other both ways in every layer, and what stands for one in a prompt
is not what stands for its rows. 3n gives each layer inputs of its own, and the last layers read the
keys of earlier ones; its pictures and sounds need a library of towers that is not here.
"""

from ..forms import ends, listed_template, special_map
from ..kinds import HALF, Animal, Json
from ..tokens import Tokens

CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
TURNS = ["<start_of_turn>", "<end_of_turn>"]
PICTURES = ["<start_of_image>", "<end_of_image>"]
SIZES: Json = {
    "head_dim": 32,
    "hidden_size": 72,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
}
MARKS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def template(marks: dict[str, str] | None = None) -> str:
    turn = (
        "{{ bos_token if loop.first }}<start_of_turn>{{ 'model' if message['role'] == "
        "'assistant' else message['role'] }}\n"
    )
    return listed_template(turn, marks or {}, "<end_of_turn>\n", "<start_of_turn>model\n")


def said_template(turns: tuple[str, str]) -> str:
    """Contents are strings."""
    first, last = turns
    return (
        "{{ bos_token }}{% for message in messages %}" + first
        + "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ "
        "message['content'] | trim }}" + last
        + "\n{% endfor %}{% if add_generation_prompt %}" + first + "model\n{% endif %}"
    )  # fmt: skip


def tokenizer(**more: object) -> Json:
    return {
        **MARKS,
        "add_bos_token": True,
        "add_eos_token": False,
        "model_max_length": 1000000000000000019884624838656,
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "use_default_system_prompt": False,
        **more,
    }


def named(tokens: Tokens) -> Json:
    return {
        name: tokens[MARKS[f"{name.removesuffix('_id')}"]]
        for name in ("bos_token_id", "eos_token_id", "pad_token_id")
    }


def _text(
    kind: str, model: str, more: Json, generation: Json | None = None, **how: object
) -> Animal:
    tokens = Tokens([*CONTROL, *TURNS], pieces=True, leading=True, bos="<bos>")
    config: Json = {
        **SIZES,
        **named(tokens),
        "architectures": [model],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "model_type": kind,
        "rms_norm_eps": 1e-06,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": tokens.padded(),
        **more,
    }
    both = ends(tokens, "<eos>", "<end_of_turn>")
    return Animal(
        config=config,
        model=model,
        tokens=tokens,
        tokenizer=tokenizer(chat_template=said_template(("<start_of_turn>", "<end_of_turn>"))),
        files={
            "generation_config.json": {**named(tokens), "eos_token_id": both, **(generation or {})}
        },
        tied_spread=0.02,
        **how,  # type: ignore[arg-type]
    )


def gemma() -> Animal:
    """2B: one key head, and an activation that its class calls by another name."""
    more = {
        "hidden_act": "gelu",
        "hidden_activation": None,
        "max_position_embeddings": 8192,
        "num_key_value_heads": 1,
    }
    return _text("gemma", "GemmaForCausalLM", {**more, "rope_scaling": None, "rope_theta": 10000.0})


def gemma2() -> Animal:
    """9B, with a window that short prompts pass."""
    more = {
        "attn_logit_softcapping": 2.0,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": 30.0,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "query_pre_attn_scalar": 24,
        "rope_theta": 10000.0,
        "sliding_window": 16,
        "sliding_window_size": 16,
    }
    return _text("gemma2", "Gemma2ForCausalLM", more, shards=2)


def gemma3_text() -> Animal:
    """1B."""
    more = {
        "attn_logit_softcapping": None,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": None,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 32768,
        "num_key_value_heads": 1,
        "query_pre_attn_scalar": 24,
        "rope_local_base_freq": 10000,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
    }
    return _text("gemma3_text", "Gemma3ForCausalLM", more)


def gemma3n() -> Animal:
    """The text of E2B."""
    kinds = ["sliding_attention", "full_attention"] * 3
    more = {
        "activation_sparsity_pattern": [0.95, 0.95, 0.0, 0.0, 0.0, 0.0],
        "altup_active_idx": 0,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_num_inputs": 4,
        "final_logit_softcapping": 30.0,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size_per_layer_input": 16,
        "intermediate_size": [96] * 6,
        "laurel_rank": 8,
        "layer_types": kinds,
        "max_position_embeddings": 32768,
        "num_hidden_layers": 6,
        "num_kv_shared_layers": 2,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 16,
        "vocab_size_per_layer_input": Tokens(
            [*CONTROL, *TURNS], pieces=True, leading=True
        ).padded(),
    }
    return _text("gemma3n_text", "Gemma3nForCausalLM", more)


def gemma3() -> Animal:
    """4B: its text part leaves out heads, widths and vocabulary at their defaults; here it
    cannot."""
    tokens = Tokens(
        [*CONTROL, *TURNS, *PICTURES],
        ["<image_soft_token>"],
        pieces=True,
        leading=True,
        bos="<bos>",
    )
    both = ends(tokens, "<eos>", "<end_of_turn>")
    return Animal(
        config={
            "architectures": ["Gemma3ForConditionalGeneration"],
            "boi_token_index": tokens["<start_of_image>"],
            "eoi_token_index": tokens["<end_of_image>"],
            "eos_token_id": both,
            "image_token_index": tokens["<image_soft_token>"],
            "initializer_range": 0.02,
            "mm_tokens_per_image": 16,
            "model_type": "gemma3",
            "text_config": {
                **SIZES,
                "model_type": "gemma3_text",
                "num_hidden_layers": 6,
                "query_pre_attn_scalar": 24,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
                "sliding_window": 24,
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0.dev0",
            "vision_config": {
                "hidden_size": 32,
                "image_size": 112,
                "intermediate_size": 48,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "patch_size": 14,
                "vision_use_head": False,
            },
        },
        model="Gemma3ForConditionalGeneration",
        tokens=tokens,
        tokenizer=tokenizer(
            boi_token="<start_of_image>",
            eoi_token="<end_of_image>",
            image_token="<image_soft_token>",
            extra_special_tokens={
                "boi_token": "<start_of_image>",
                "eoi_token": "<end_of_image>",
                "image_token": "<image_soft_token>",
            },
            processor_class="Gemma3Processor",
        ),
        files={
            "added_tokens.json": {"<image_soft_token>": tokens["<image_soft_token>"]},
            "chat_template.json": {"chat_template": template({"image": "<start_of_image>"})},
            "generation_config.json": {
                "bos_token_id": tokens["<bos>"],
                "cache_implementation": "hybrid",
                "do_sample": True,
                "eos_token_id": both,
                "pad_token_id": tokens["<pad>"],
                "top_k": 64,
                "top_p": 0.95,
            },
            "preprocessor_config.json": {
                "do_convert_rgb": None,
                "do_normalize": True,
                "do_pan_and_scan": None,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": HALF,
                "image_processor_type": "Gemma3ImageProcessor",
                "image_seq_length": 16,
                "image_std": HALF,
                "pan_and_scan_max_num_crops": None,
                "pan_and_scan_min_crop_size": None,
                "pan_and_scan_min_ratio_to_activate": None,
                "processor_class": "Gemma3Processor",
                "resample": 2,
                "rescale_factor": 0.00392156862745098,
                "size": {"height": 112, "width": 112},
            },
            "processor_config.json": {"image_seq_length": 16, "processor_class": "Gemma3Processor"},
            "special_tokens_map.json": {
                **special_map(**MARKS),
                "boi_token": "<start_of_image>",
                "eoi_token": "<end_of_image>",
                "image_token": "<image_soft_token>",
            },
        },
        takes=("image",),
        tied_spread=0.02,
        shards=2,
    )


ANIMALS = {
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3_text,
    "gemma3n": gemma3n,
    "gemma3": gemma3,
}
