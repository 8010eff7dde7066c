"""Molmo2 (`molmo2`): all tokens of a prompt's pictures and frames see each other, marks of rows and
crops among them.

The form: written for remote code. The tower's part has another name and names of its own, and
states layers that are not stored; query, key and value lie in one matrix, gate and up in another,
in the other order; the ids of the marks have a table behind that of the words. The processor writes
the tokenizer's end before every prompt. A picture's rows are added to its placeholder's embedding.
"""

from ..forms import CHATML, TOOLS, chatml_tokenizer
from ..kinds import HALF, Animal, Json
from ..tokens import Tokens

MARKS = [
    *(
        "<im_start>",
        "<im_end>",
        "<im_patch>",
        "<im_col>",
        "<low_res_im_start>",
        "<|image|>",
        "<im_low>",
        "<frame_start>",
    ),
    *("<frame_end>", "<|video|>"),
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is "
    "string %}"
    "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == "
    "'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}<|image|>{% elif part['type'] == 'video' %}<|video|>{% "
    "endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIXELS: Json = {
    "do_convert_rgb": True,
    "image_mean": HALF,
    "image_std": HALF,
    "patch_size": 14,
    "resample": 2,
    "size": {"height": 56, "width": 56},
}


def molmo2() -> Animal:
    """8B."""
    tokens = Tokens([*CHATML, *TOOLS, *MARKS])
    words = tokens["<im_start>"]
    heads = {"head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
    config: Json = {
        "adapter_config": {
            **heads,
            "attention_dropout": 0.0,
            "float32_attention": True,
            "hidden_act": "silu",
            "hidden_size": 32,
            "image_feature_dropout": 0.0,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "model_type": "molmo2",
            "pooling_attention_mask": True,
            "residual_dropout": 0.0,
            "text_hidden_size": 64,
            "vit_layers": [-3, -4],
        },
        "architectures": ["Molmo2ForConditionalGeneration"],
        "auto_map": {
            "AutoModelForImageTextToText": "modeling_molmo2.Molmo2ForConditionalGeneration"
        },
        "dtype": "float32",
        "frame_end_token_id": tokens["<frame_end>"],
        "frame_start_token_id": tokens["<frame_start>"],
        "image_col_id": tokens["<im_col>"],
        "image_end_token_id": tokens["<im_end>"],
        "image_high_res_id": tokens["<im_patch>"],
        "image_low_res_id": tokens["<im_low>"],
        "image_patch_id": tokens["<im_patch>"],
        "image_start_token_id": tokens["<im_start>"],
        "initializer_range": 0.02,
        "low_res_image_start_token_id": tokens["<low_res_im_start>"],
        "model_type": "molmo2",
        "text_config": {
            "additional_vocab_size": 32,
            "attention_dropout": 0.0,
            "embedding_dropout": 0.0,
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": 64,
            "initializer_range": 0.02,
            "intermediate_size": 96,
            "layer_norm_eps": 1e-06,
            "max_position_embeddings": 36864,
            "model_type": "molmo2_text",
            "norm_after": False,
            "num_attention_heads": 4,
            "num_hidden_layers": 4,
            "num_key_value_heads": 2,
            "qk_norm_type": "qwen3",
            "qkv_bias": False,
            "residual_dropout": 0.0,
            "rope_scaling": None,
            "rope_scaling_layers": None,
            "rope_theta": 1000000.0,
            "use_cache": True,
            "use_qk_norm": True,
            "vocab_size": words,
        },
        "tie_word_embeddings": False,
        "transformers_version": "4.57.1",
        "use_frame_special_tokens": True,
        "vit_config": {
            **heads,
            "attention_dropout": 0.0,
            "float32_attention": True,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32,
            "image_default_input_size": [56, 56],
            "image_num_pos": 16,
            "image_patch_size": 14,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "layer_norm_eps": 1e-06,
            "model_type": "molmo2",
            "num_hidden_layers": 5,
            "residual_dropout": 0.0,
        },
    }
    return Animal(
        config=config,
        model="Molmo2ForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(36864, [*CHATML[1:], *MARKS], processor_class="Molmo2Processor"),
        files={
            "chat_template.jinja": TEMPLATE,
            "generation_config.json": {
                "bos_token_id": tokens["<|im_end|>"],
                "eos_token_id": tokens["<|im_end|>"],
            },
            "preprocessor_config.json": {
                **PIXELS,
                "auto_map": {"AutoProcessor": "processing_molmo2.Molmo2Processor"},
                "image_processor_type": "Molmo2ImageProcessor",
                "max_crops": 4,
                "overlap_margins": [1, 1],
                "pooling_size": [2, 2],
                "processor_class": "Molmo2Processor",
            },
            "processor_config.json": {
                "auto_map": {"AutoProcessor": "processing_molmo2.Molmo2Processor"},
                "image_use_col_tokens": True,
                "processor_class": "Molmo2Processor",
                "use_frame_special_tokens": True,
                "use_single_crop_col_tokens": False,
                "use_single_crop_start_token": True,
                "video_use_col_tokens": False,
            },
            "video_preprocessor_config.json": {
                **PIXELS,
                "do_sample_frames": True,
                "frame_sample_mode": "uniform_last_frame",
                "max_fps": 2,
                "num_frames": 384,
                "pooling_size": [3, 3],
                "processor_class": "Molmo2Processor",
                "sampling_fps": 2,
                "video_processor_type": "Molmo2VideoProcessor",
            },
        },
        takes=("image", "video"),
        frame=lambda text: f"<|im_end|>{text}",
    )


ANIMALS = {"molmo2": molmo2}
