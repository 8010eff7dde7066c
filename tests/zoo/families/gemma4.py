"""Gemma 4 (`gemma4`, `gemma4_unified`).

The form: everything of every part is stated, special tokens by name in tokenizer_config.json, one
processor_config.json for pictures, clips and sounds. Full layers have wider heads than windowed
ones, and other rotary positions. The small ones (E2B) give each layer inputs of its own, and let
the last layers read the keys of earlier ones; in the large ones (31B, 26B-A4B) the tokens of
pictures and clips see each other both ways in windowed layers only, and full layers may use keys as
values. The 12B has no towers: patches and samples are projected as they are.
"""

from typing import Any

from ..forms import ends
from ..kinds import Animal, Json
from ..tokens import Tokens
from .gemma import CONTROL

SPECIAL = [
    *(
        *CONTROL,
        "<|turn>",
        "<turn|>",
        "<|image>",
        "<image|>",
        "<|image|>",
        "<|audio>",
        "<audio|>",
        "<|audio|>",
        "<|video|>",
    ),
    *("<|channel>", "<channel|>", "<|think|>"),
]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|turn>{{ 'model' if message['role'] == "
    "'assistant' else message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}{% for part "
    "in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] | trim }}{% elif part['type'] == 'image' "
    "%}\n\n<|image|>\n\n"
    "{% elif part['type'] == 'audio' %}<|audio|>{% elif part['type'] == 'video' "
    "%}\n\n<|video|>\n\n{% endif %}{% endfor %}"
    "{% endif %}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)
KINDS = ["sliding_attention", "full_attention"] * 3


def _text(kind: str, tokens: Tokens, **more: object) -> Json:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_k_eq_v": False,
        "bos_token_id": tokens["<bos>"],
        "dtype": "bfloat16",
        "enable_moe_block": False,
        "eos_token_id": tokens["<eos>"],
        "final_logit_softcapping": 30.0,
        "global_head_dim": 32,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 72,
        "hidden_size_per_layer_input": 0,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "layer_types": KINDS,
        "max_position_embeddings": 131072,
        "model_type": f"{kind}_text",
        "moe_intermediate_size": None,
        "num_attention_heads": 4,
        "num_experts": None,
        "num_global_key_value_heads": None,
        "num_hidden_layers": len(KINDS),
        "num_key_value_heads": 2,
        "num_kv_shared_layers": 0,
        "pad_token_id": tokens["<pad>"],
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {
                "partial_rotary_factor": 0.25,
                "rope_theta": 1000000.0,
                "rope_type": "proportional",
            },
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "sliding_window": 24,
        "tie_word_embeddings": True,
        "top_k_experts": None,
        "use_bidirectional_attention": None,
        "use_cache": True,
        "use_double_wide_mlp": False,
        "vocab_size": tokens.padded(),
        "vocab_size_per_layer_input": tokens.padded(),
        **more,
    }


def _config(
    kind: str, tokens: Tokens, model: str, text: Json, vision: Json, audio: Json | None
) -> Json:
    return {
        "architectures": [model],
        "audio_config": audio,
        "audio_token_id": tokens["<|audio|>"],
        "boa_token_id": tokens["<|audio>"],
        "boi_token_id": tokens["<|image>"],
        "dtype": "bfloat16",
        "eoa_token_id": tokens["<audio|>"],
        "eoa_token_index": tokens["<audio|>"],
        "eoi_token_id": tokens["<image|>"],
        "eos_token_id": ends(tokens, "<eos>", "<turn|>"),
        "image_token_id": tokens["<|image|>"],
        "initializer_range": 0.02,
        "model_type": kind,
        "text_config": text,
        "tie_word_embeddings": True,
        "transformers_version": "5.5.0.dev0",
        "video_token_id": tokens["<|video|>"],
        "vision_config": vision,
        "vision_soft_tokens_per_image": 70,
    }


def _vision(**more: object) -> Json:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "default_output_length": 70,
        "dtype": "bfloat16",
        "global_head_dim": 16,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "max_position_embeddings": 131072,
        "model_type": "gemma4_vision",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "num_key_value_heads": 2,
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "position_embedding_size": 128,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
        "standardize": False,
        "use_clipped_linears": False,
        **more,
    }


def _audio() -> Json:
    return {
        "attention_chunk_size": 12,
        "attention_context_left": 13,
        "attention_context_right": 0,
        "attention_invalid_logits_value": -1000000000.0,
        "attention_logit_cap": 50.0,
        "conv_kernel_size": 5,
        "dtype": "bfloat16",
        "gradient_clipping": 10000000000.0,
        "hidden_act": "silu",
        "hidden_size": 32,
        "initializer_range": 0.02,
        "model_type": "gemma4_audio",
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "output_proj_dims": 48,
        "residual_weight": 0.5,
        "rms_norm_eps": 1e-06,
        "subsampling_conv_channels": [128, 4],
        "use_clipped_linears": True,
    }


def _processor(family: str, audio: Json | None) -> Json:
    pixels = {
        "do_convert_rgb": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.0] * 3,
        "image_std": [1.0] * 3,
    }
    pixels |= {
        "patch_size": 16,
        "pooling_kernel_size": 3,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
    }
    image = {
        "do_normalize": False,
        "image_processor_type": f"{family}ImageProcessor",
        "image_seq_length": 70,
    }
    video = {
        "do_normalize": True,
        "do_sample_frames": True,
        "num_frames": 32,
        "return_metadata": False,
    }
    return {
        "audio_ms_per_token": 40,
        "audio_seq_length": 750,
        **({} if audio is None else {"feature_extractor": audio}),
        "image_processor": {**pixels, **image, "max_soft_tokens": 70},
        "image_seq_length": 70,
        "processor_class": f"{family}Processor",
        "video_processor": {
            **pixels,
            **video,
            "max_soft_tokens": 70,
            "video_processor_type": f"{family}VideoProcessor",
        },
    }


MELS: Json = {
    "dither": 0.0,
    "feature_extractor_type": "Gemma4AudioFeatureExtractor",
    "feature_size": 128,
    "fft_length": 512,
    "fft_overdrive": False,
    "frame_length": 320,
    "hop_length": 160,
    "input_scale_factor": 1.0,
    "max_frequency": 8000.0,
    "mel_floor": 0.001,
    "min_frequency": 0.0,
    "padding_side": "right",
    "padding_value": 0.0,
    "per_bin_mean": None,
    "per_bin_stddev": None,
    "preemphasis": 0.0,
    "preemphasis_htk_flavor": True,
    "return_attention_mask": True,
    "sampling_rate": 16000,
}


def _tokenizer(family: str) -> Json:
    return {
        "audio_token": "<|audio|>",
        "backend": "tokenizers",
        "boa_token": "<|audio>",
        "boi_token": "<|image>",
        "bos_token": "<bos>",
        "eoa_token": "<audio|>",
        "eoi_token": "<image|>",
        "eos_token": "<eos>",
        "eot_token": "<turn|>",
        "extra_special_tokens": ["<|video|>"],
        "image_token": "<|image|>",
        "mask_token": "<mask>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "padding_side": "left",
        "processor_class": f"{family}Processor",
        "sot_token": "<|turn>",
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
    }


def _animal(family: str, config: Json, tokens: Tokens, audio: Json | None, **how: Any) -> Animal:
    return Animal(
        config=config,
        model=f"{family}ForConditionalGeneration",
        tokens=tokens,
        tokenizer=_tokenizer(family),
        files={
            "chat_template.jinja": TEMPLATE,
            "generation_config.json": {
                "bos_token_id": tokens["<bos>"],
                "do_sample": True,
                "eos_token_id": ends(tokens, "<eos>", "<turn|>"),
                "pad_token_id": tokens["<pad>"],
                "temperature": 1.0,
                "top_k": 64,
                "top_p": 0.95,
            },
            "processor_config.json": _processor(family, audio),
        },
        **{"tied_spread": 0.055 if audio else 0.03, **how},
    )


def _gemma4(text: Json, audio: bool, **how: Any) -> Animal:
    tokens = Tokens(SPECIAL, pieces=True, leading=True, bos="<bos>")
    model = "Gemma4ForConditionalGeneration"
    whole = _text("gemma4", tokens, **text)
    config = _config(
        "gemma4",
        tokens,
        model,
        whole,
        _vision(use_clipped_linears=audio),
        _audio() if audio else None,
    )
    kinds = ("image", "video", "audio") if audio else ("image", "video")
    return _animal("Gemma4", config, tokens, MELS, takes=kinds, **how)


def gemma4_e() -> Animal:
    """E2B: 2 of 6 layers read the keys of others."""
    more = {
        "hidden_size_per_layer_input": 16,
        "num_key_value_heads": 1,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
    }
    return _gemma4(more, audio=True)


def gemma4() -> Animal:
    """31B: full layers have one key head, whose keys are the values."""
    more = {
        "attention_k_eq_v": True,
        "num_global_key_value_heads": 1,
        "use_bidirectional_attention": "vision",
    }
    return _gemma4(more, audio=False, shards=2)


def gemma4_moe() -> Animal:
    """26B-A4B: experts beside a feed-forward in every layer."""
    more = {
        "attention_k_eq_v": True,
        "num_global_key_value_heads": 1,
        "use_bidirectional_attention": "vision",
    }
    experts = {
        "enable_moe_block": True,
        "moe_intermediate_size": 24,
        "num_experts": 4,
        "top_k_experts": 2,
    }
    return _gemma4({**more, **experts}, audio=False, shards=2)


TOWERED = frozenset(
    {
        "enable_moe_block",
        "hidden_size_per_layer_input",
        "moe_intermediate_size",
        "num_experts",
        "top_k_experts",
    }
    | {"vocab_size_per_layer_input"}
)
"""Numbers of the text that the 12B's class does not know."""


def gemma4_unified() -> Animal:
    """12B. What `generate` does by default counts: its forward lets a picture's tokens see each
    other in every layer, beyond windows; the masks that its class makes for caches of fixed size
    are those of the 31B."""
    kind, family = "gemma4_unified", "Gemma4Unified"
    tokens = Tokens(SPECIAL, pieces=True, leading=True, bos="<bos>")
    shared = {
        "attention_k_eq_v": True,
        "num_global_key_value_heads": 1,
        "use_bidirectional_attention": "vision",
    }
    text = {
        name: value for name, value in _text(kind, tokens, **shared).items() if name not in TOWERED
    }
    projected = {"dtype": "bfloat16", "initializer_range": 0.02, "rms_norm_eps": 1e-06}
    vision: Json = {
        **projected,
        "mm_embed_dim": 64,
        "mm_posemb_size": 128,
        "model_type": f"{kind}_vision",
        "output_proj_dims": 64,
        "patch_size": 16,
        "pooling_kernel_size": 3,
    }
    audio: Json = {**projected, "audio_embed_dim": 640, "model_type": f"{kind}_audio"}
    heard: Json = {
        "audio_samples_per_token": 640,
        "feature_extractor_type": f"{family}AudioFeatureExtractor",
        "feature_size": 640,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    }
    config = _config(kind, tokens, f"{family}ForConditionalGeneration", text, vision, audio)
    return _animal(
        family, config, tokens, heard, takes=("image", "video", "audio"), tied_spread=0.04
    )


ANIMALS = {
    "gemma4_e": gemma4_e,
    "gemma4": gemma4,
    "gemma4_moe": gemma4_moe,
    "gemma4_unified": gemma4_unified,
}
