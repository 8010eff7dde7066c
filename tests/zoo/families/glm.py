"""GLM-4.1V, GLM-4.6V and GLM-OCR (`glm4v`, `glm46v`, `glm_ocr`).

The form: 4.1V is flat, its rotary facts lie beside each other at the top (`partial_rotary_factor`,
`rope_scaling.type` default with sections), and its four ends stand in config.json alone. GLM-OCR is
nested and stores one layer more than it has, with a head of that layer's own. The template begins
with two marks and no BOS is written. A clip's run is made of picture tokens.
"""

from ..kinds import CLIP_MEAN, CLIP_STD, Animal, Json
from ..tokens import Tokens

SPECIAL = [
    *(
        "<|endoftext|>",
        "[MASK]",
        "[gMASK]",
        "[sMASK]",
        "<sop>",
        "<eop>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
    ),
    *(
        "<|observation|>",
        "<|begin_of_image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
        "<|image|>",
    ),
    "<|video|>",
]
PLAIN = ["<think>", "</think>", "<answer>", "</answer>", "<|begin_of_box|>", "<|end_of_box|>"]
TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in "
    "message['content'] %}"
    "{% if part['type'] == 'video' or 'video' in part %}<|begin_of_video|><|video|><|end_of_video|>"
    "{% elif part['type'] == 'image' or 'image' in part "
    "%}<|begin_of_image|><|image|><|end_of_image|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% "
    "endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def _tokenizer() -> Json:
    return {
        "additional_special_tokens": SPECIAL,
        "do_lower_case": False,
        "eos_token": "<|endoftext|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 65536,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "remove_space": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _marks(tokens: Tokens) -> Json:
    return {
        "image_end_token_id": tokens["<|end_of_image|>"],
        "image_start_token_id": tokens["<|begin_of_image|>"],
        "image_token_id": tokens["<|image|>"],
        "video_end_token_id": tokens["<|end_of_video|>"],
        "video_start_token_id": tokens["<|begin_of_video|>"],
        "video_token_id": tokens["<|video|>"],
    }


def _vision(**more: object) -> Json:
    return {
        "attention_bias": False,
        "depth": 2,
        "hidden_act": "silu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": 32,
        "image_size": 56,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 14,
        "rms_norm_eps": 1e-05,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        **more,
    }


def _pixels(kind: str, processor: str, most: int, owner: str) -> Json:
    return {
        "do_rescale": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        f"{kind}_processor_type": processor,
        "merge_size": 2,
        "patch_size": 14,
        "processor_class": owner,
        "size": {"longest_edge": most, "shortest_edge": 12544},
        "temporal_patch_size": 2,
    }


def _ends(tokens: Tokens) -> list[int]:
    return [tokens[name] for name in ("<|endoftext|>", "<|user|>", "<|observation|>", "</think>")]


def glm4v() -> Animal:
    """4.1V 9B: flat, of which transformers' own class reads nothing but the tower; half of each
    head turns."""
    tokens = Tokens(SPECIAL, PLAIN)
    text: Json = {
        "attention_bias": True,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 65536,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "use_cache": True,
        "vocab_size": tokens.padded(),
    }
    rope: Json = {
        "mrope_section": [1, 1, 2],
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "rope_type": "default",
    }
    model = {
        "architectures": ["Glm4vForConditionalGeneration"],
        "model_type": "glm4v",
        "tie_word_embeddings": False,
    }
    ends: Json = {"eos_token_id": _ends(tokens), "pad_token_id": tokens["<|endoftext|>"]}
    return Animal(
        config={
            **model,
            **text,
            **ends,
            **_marks(tokens),
            "partial_rotary_factor": 0.5,
            "rope_scaling": {"mrope_section": [1, 1, 2], "type": "default"},
            "rope_theta": 10000.0,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.53.0dev",
            "vision_config": _vision(),
        },
        truth={
            **model,
            **_marks(tokens),
            "text_config": {**text, **ends, "rope_parameters": rope},
            "vision_config": _vision(),
        },
        model="Glm4vForConditionalGeneration",
        tokens=tokens,
        tokenizer=_tokenizer(),
        files={
            "preprocessor_config.json": _pixels(
                "image", "Glm4vImageProcessor", 9633792, "Glm4vProcessor"
            ),
            "video_preprocessor_config.json": _pixels(
                "video", "Glm4vVideoProcessor", 47040000, "Glm4vProcessor"
            ),
            "chat_template.jinja": TEMPLATE,
        },
        takes=("image", "video"),
        shards=2,
    )


def glm46v() -> Animal:
    """4.6V Flash: nested, `dtype` and `rope_parameters` by their new names in the text."""
    tokens = Tokens(SPECIAL, PLAIN)
    return Animal(
        config={
            "architectures": ["Glm46VForConditionalGeneration"],
            **_marks(tokens),
            "model_type": "glm46v",
            "text_config": {
                "attention_bias": True,
                "attention_dropout": 0.0,
                "dtype": "bfloat16",
                "eos_token_id": _ends(tokens),
                "hidden_act": "silu",
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 131072,
                "model_type": "glm4v_text",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "pad_token_id": tokens["<|endoftext|>"],
                "rms_norm_eps": 1e-05,
                "rope_parameters": {
                    "mrope_section": [1, 1, 2],
                    "partial_rotary_factor": 0.5,
                    "rope_theta": 500000,
                    "rope_type": "default",
                },
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": False,
            "transformers_version": "5.0.0rc0",
            "vision_config": _vision(model_type="glm4v_vision"),
        },
        model="Glm46VForConditionalGeneration",
        tokens=tokens,
        tokenizer=_tokenizer(),
        files={
            "preprocessor_config.json": _pixels(
                "image", "Glm46VImageProcessor", 9633792, "Glm46VProcessor"
            ),
            "video_preprocessor_config.json": _pixels(
                "video", "Glm46VVideoProcessor", 100352000, "Glm46VProcessor"
            ),
            "generation_config.json": {
                "eos_token_id": _ends(tokens)[:3],
                "do_sample": True,
                "temperature": 0.8,
            },
            "chat_template.jinja": TEMPLATE,
        },
        takes=("image", "video"),
        shards=2,
    )


def glm_ocr() -> Animal:
    tokens = Tokens(SPECIAL, PLAIN)
    last = "model.language_model.layers.3"
    return Animal(
        config={
            "architectures": ["GlmOcrForConditionalGeneration"],
            **_marks(tokens),
            "model_type": "glm_ocr",
            "text_config": {
                "attention_bias": False,
                "attention_dropout": 0.0,
                "dtype": "bfloat16",
                "eos_token_id": _ends(tokens)[:2],
                "head_dim": 32,
                "hidden_act": "silu",
                "hidden_size": 64,
                "initializer_range": 0.02,
                "intermediate_size": 96,
                "max_position_embeddings": 131072,
                "model_type": "glm_ocr_text",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "num_nextn_predict_layers": 1,
                "pad_token_id": tokens["<|endoftext|>"],
                "rms_norm_eps": 1e-05,
                "rope_parameters": {
                    "mrope_section": [4, 6, 6],
                    "partial_rotary_factor": 1.0,
                    "rope_theta": 10000,
                    "rope_type": "default",
                },
                "tie_word_embeddings": False,
                "use_cache": True,
                "vocab_size": tokens.padded(),
            },
            "vision_config": _vision(attention_bias=True, model_type="glm_ocr_vision"),
        },
        model="GlmOcrForConditionalGeneration",
        tokens=tokens,
        tokenizer=_tokenizer(),
        files={
            "preprocessor_config.json": _pixels(
                "image", "Glm46VImageProcessor", 9633792, "Glm46VProcessor"
            ),
            "generation_config.json": {
                "eos_token_id": _ends(tokens)[:2],
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "chat_template.jinja": TEMPLATE,
        },
        takes=("image", "video"),
        extra={
            f"{last}.eh_proj.weight": (64, 128),
            f"{last}.enorm.weight": (64,),
            f"{last}.mlp.down_proj.weight": (64, 96),
            f"{last}.shared_head.head.weight": (tokens.padded(), 64),
            f"{last}.embed_tokens.weight": (tokens.padded(), 64),
        },
    )


ANIMALS = {"glm4v": glm4v, "glm46v": glm46v, "glm_ocr": glm_ocr}
