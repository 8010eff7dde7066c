"""InternVL, Command A Vision, Aya Vision and Ovis2 (`internvl`, `cohere2_vision`, `aya_vision`,
`ovis2`).

The form: a picture becomes tiles of one size and one of the whole. InternVL's text is a Qwen of
either kind, with a rope that would stretch beyond its context; edges and patches are pairs;
`rope_type` and `type` stand side by side. Cohere's text has layers with a window and layers without
positions, scales its logits and ties by default. Aya names its tiles in plain words. Ovis2 has
marks of its own between the tiles, whose rows come from the tower's table and not from the text's.
"""

from ..forms import CHATML, TOOLS, chatml_template, chatml_tokenizer
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens
from .llava import SIGLIP, old_tower

INTERN = [
    "<img>",
    "</img>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<IMG_CONTEXT>",
    "<video>",
]


def _squares(kind: str, owner: str, edge: int, **more: object) -> Json:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_processor_type": kind,
        "processor_class": owner,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": edge, "width": edge},
        **more,
    }


def internvl() -> Animal:
    """InternVL3 1B."""
    tokens = Tokens(CHATML[:3], [*TOOLS, *INTERN])
    names = {
        "context_image_token": "<IMG_CONTEXT>",
        "end_image_token": "</img>",
        "start_image_token": "<img>",
        "video_token": "<video>",
    }
    return Animal(
        config={
            "architectures": ["InternVLForConditionalGeneration"],
            "downsample_ratio": 0.5,
            "image_seq_length": 4,
            "image_token_id": tokens["<IMG_CONTEXT>"],
            "model_type": "internvl",
            "projector_hidden_act": "gelu",
            "text_config": {
                "architectures": ["Qwen2ForCausalLM"],
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 32768,
                "max_window_layers": 2,
                "model_type": "qwen2",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-06,
                "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
                "rope_theta": 1000000.0,
                "tie_word_embeddings": False,
                "torch_dtype": "bfloat16",
                "use_cache": True,
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "vision_config": {
                "architectures": ["InternVisionModel"],
                "attention_bias": True,
                "attention_dropout": 0.0,
                "hidden_size": 32,
                "image_size": [56, 56],
                "intermediate_size": 48,
                "model_type": "internvl_vision",
                "norm_type": "layer_norm",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "patch_size": [14, 14],
                "projection_dropout": 0.0,
                "use_absolute_position_embeddings": True,
                "use_mask_token": False,
                "use_mean_pooling": True,
                "use_qk_norm": False,
            },
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
        },
        model="InternVLForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            special=CHATML[1:3], extra_special_tokens=names, processor_class="InternVLProcessor"
        ),
        files={
            "preprocessor_config.json": _squares(
                "GotOcr2ImageProcessorFast",
                "InternVLProcessor",
                56,
                crop_to_patches=True,
                image_mean=[0.485, 0.456, 0.406],
                image_std=[0.229, 0.224, 0.225],
                max_patches=12,
                min_patches=1,
            ),
            "processor_config.json": {
                "image_seq_length": 4,
                "processor_class": "InternVLProcessor",
            },
            "video_preprocessor_config.json": {
                **_squares(
                    "",
                    "InternVLProcessor",
                    56,
                    image_mean=[0.485, 0.456, 0.406],
                    image_std=[0.229, 0.224, 0.225],
                ),
                "do_sample_frames": False,
                "image_processor_type": "GotOcr2ImageProcessorFast",
                "video_processor_type": "InternVLVideoProcessor",
            },
            "generation_config.json": {"eos_token_id": tokens["<|im_end|>"]},
            "chat_template.jinja": chatml_template(
                {"image": "<IMG_CONTEXT>\n", "video": "<video>\n"}, ""
            ),
        },
        takes=("image", "video"),
    )


COHERE = [
    *(
        "<PAD>",
        "<UNK>",
        "<CLS>",
        "<SEP>",
        "<MASK_TOKEN>",
        "<BOS_TOKEN>",
        "<EOS_TOKEN>",
        "<EOP_TOKEN>",
    ),
    *(
        "<|START_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|USER_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
        "<|SYSTEM_TOKEN|>",
    ),
    *("<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_LINE_BREAK|>", "<|IMG_PATCH|>"),
]


def _cohere_template(picture: str) -> str:
    return (
        "<BOS_TOKEN>{% for message in messages %}<|START_OF_TURN_TOKEN|>"
        "{% if message['role'] == 'user' %}<|USER_TOKEN|>{% elif message['role'] == 'system' "
        "%}<|SYSTEM_TOKEN|>"
        "{% else %}<|CHATBOT_TOKEN|>{% endif %}{% if message['content'] is string %}{{ "
        "message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        "{% elif part['type'] == 'image' %}"
        + picture
        + "{% endif %}{% endfor %}{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}"
        "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
    )


def _cohere_tokenizer(owner: str, **more: object) -> Json:
    return {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": False,
        "bos_token": "<BOS_TOKEN>",
        "eos_token": "<|END_OF_TURN_TOKEN|>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<PAD>",
        "processor_class": owner,
        "tokenizer_class": "CohereTokenizer",
        "unk_token": "<UNK>",
        **more,
    }


def _cohere_text(tokens: Tokens, **more: object) -> Json:
    return {
        "bos_token_id": tokens["<BOS_TOKEN>"],
        "eos_token_id": tokens["<|END_OF_TURN_TOKEN|>"],
        "hidden_size": 64,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-05,
        "logit_scale": 0.25,
        "model_type": "cohere2",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "pad_token_id": tokens["<PAD>"],
        "sliding_window": 32,
        "vocab_size": tokens.padded(),
        **more,
    }


def cohere2_vision() -> Animal:
    """Command A Vision: three layers look back a window, the fourth at everything and without
    positions."""
    tokens = Tokens(COHERE, bos="<BOS_TOKEN>", leading=True)
    return Animal(
        config={
            "alignment_intermediate_size": 64,
            "architectures": ["Cohere2VisionForConditionalGeneration"],
            "downsample_factor": 2,
            "image_token_id": tokens["<|IMG_PATCH|>"],
            "model_type": "cohere2_vision",
            "text_config": _cohere_text(
                tokens,
                layer_types=[
                    "sliding_attention",
                    "sliding_attention",
                    "sliding_attention",
                    "full_attention",
                ],
                head_dim=16,
                max_position_embeddings=500000,
                rope_theta=50000,
                torch_dtype="bfloat16",
            ),
            "torch_dtype": "bfloat16",
            "transformers_version": "4.55.0.dev0",
            "vision_config": {**SIGLIP, "image_size": 56},
        },
        model="Cohere2VisionForConditionalGeneration",
        tokens=tokens,
        tokenizer=_cohere_tokenizer(
            "Cohere2VisionProcessor",
            boi_token="<|START_OF_IMG|>",
            eoi_token="<|END_OF_IMG|>",
            extra_special_tokens={
                "boi_token": "<|START_OF_IMG|>",
                "eoi_token": "<|END_OF_IMG|>",
                "image_token": "<|IMG_PATCH|>",
                "img_line_break_token": "<|IMG_LINE_BREAK|>",
            },
            image_token="<|IMG_PATCH|>",
            img_line_break_token="<|IMG_LINE_BREAK|>",
        ),
        files={
            "preprocessor_config.json": _squares(
                "Cohere2VisionImageProcessorFast",
                "Cohere2VisionProcessor",
                56,
                crop_to_patches=True,
                image_mean=HALF,
                image_std=HALF,
                max_patches=4,
                min_patches=1,
                patch_size=2,
            ),
            "processor_config.json": {"processor_class": "Cohere2VisionProcessor"},
            "generation_config.json": {
                "bos_token_id": tokens["<BOS_TOKEN>"],
                "eos_token_id": tokens["<|END_OF_TURN_TOKEN|>"],
                "pad_token_id": tokens["<PAD>"],
            },
            "chat_template.jinja": _cohere_template("<|IMG_PATCH|>"),
        },
        takes=("image",),
        tied_spread=0.3,
        spread=0.3,
    )


def aya_vision() -> Animal:
    """Aya Vision 8B."""
    tiles = [f"TILE_{tile}" for tile in range(1, 13)]
    tokens = Tokens([*COHERE, "<image>", "TILE_GLOBAL", *tiles], bos="<BOS_TOKEN>", leading=True)
    return Animal(
        config={
            "adapter_layer_norm_eps": 1e-06,
            "architectures": ["AyaVisionForConditionalGeneration"],
            "downsample_factor": 2,
            "image_token_index": tokens["<|IMG_PATCH|>"],
            "model_type": "aya_vision",
            "text_config": _cohere_text(
                tokens, max_position_embeddings=8192, sliding_window=64, torch_dtype="float16"
            ),
            "torch_dtype": "float16",
            "transformers_version": "4.50.0.dev0",
            "vision_config": {**SIGLIP, "image_size": 56},
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        model="AyaVisionForConditionalGeneration",
        tokens=tokens,
        tokenizer=_cohere_tokenizer("AyaVisionProcessor"),
        files={
            "preprocessor_config.json": _squares(
                "GotOcr2ImageProcessor",
                "AyaVisionProcessor",
                56,
                crop_to_patches=True,
                image_mean=HALF,
                image_std=HALF,
                max_patches=12,
                min_patches=1,
            ),
            "processor_config.json": {
                "downsample_factor": 2,
                "end_of_img_token": "<|END_OF_IMG|>",
                "image_token": "<image>",
                "img_line_break_token": "<|IMG_LINE_BREAK|>",
                "img_patch_token": "<|IMG_PATCH|>",
                "img_size": 56,
                "patch_size": 14,
                "processor_class": "AyaVisionProcessor",
                "start_of_img_token": "<|START_OF_IMG|>",
                "tile_global_token": "TILE_GLOBAL",
                "tile_token": "TILE",
                "vision_feature_select_strategy": "full",
            },
            "generation_config.json": {
                "bos_token_id": tokens["<BOS_TOKEN>"],
                "eos_token_id": tokens["<|END_OF_TURN_TOKEN|>"],
                "pad_token_id": tokens["<PAD>"],
            },
            "chat_template.json": {"chat_template": _cohere_template("<image>")},
        },
        takes=("image",),
        rename=old_tower,
        dtype="float16",
        tied_spread=0.3,
        spread=0.3,
    )


def ovis2() -> Animal:
    """Ovis2 1B."""
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokens = Tokens([*CHATML[:3], "<IMG_ATOM>", *marks, "<image>"], TOOLS)
    return Animal(
        config={
            "architectures": ["Ovis2ForConditionalGeneration"],
            "hidden_size": 64,
            "image_token_id": tokens["<IMG_ATOM>"],
            "model_type": "ovis2",
            "text_config": {
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 32768,
                "model_type": "qwen2",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "rope_theta": 1000000.0,
                "tie_word_embeddings": True,
                "torch_dtype": "bfloat16",
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.56.0.dev0",
            "vision_config": {
                "hidden_size": 32,
                "hidden_stride": 2,
                "image_size": 56,
                "intermediate_size": 48,
                "model_type": "ovis2_vision",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "num_visual_indicator_tokens": 5,
                "patch_size": 14,
                "vocab_size": 64,
            },
            "visual_indicator_token_ids": [tokens[mark] for mark in marks],
            "vocab_size": tokens.padded(),
        },
        model="Ovis2ForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(special=CHATML[1:3], processor_class="Ovis2Processor"),
        files={
            "preprocessor_config.json": _squares(
                "Ovis2ImageProcessor",
                "Ovis2Processor",
                56,
                crop_to_patches=True,
                image_mean=CLIP_MEAN,
                image_std=CLIP_STD,
                max_patches=9,
                min_patches=1,
                use_covering_area_grid=True,
            ),
            "processor_config.json": {
                "image_seq_length": 4,
                "image_token": "<image>",
                "processor_class": "Ovis2Processor",
            },
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]]
            },
            "chat_template.jinja": chatml_template({"image": "<image>\n"}),
        },
        takes=("image",),
    )


ANIMALS = {
    "internvl": internvl,
    "cohere2_vision": cohere2_vision,
    "aya_vision": aya_vision,
    "ovis2": ovis2,
}
