"""LLaVA-NeXT (`llava_next`) and LLaVA-OneVision (`llava_onevision`).

The form: as LLaVA 1.5, and a list of grids that pictures are cut into (`image_grid_pinpoints`), a
learned line end (`image_newline`, a tensor at the top) and, of OneVision, clips under `<video>`.
OneVision says untied at the top and tied in its text: tied.
"""

from ..forms import chatml_tokenizer, listed_template, llama_tokenizer, special_map
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens
from .llava import CLIP, INST, SIGLIP, TEXT, old_tower

GRIDS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
SQUARES = [[56 * down, 56 * across] for down in range(1, 4) for across in range(1, 4)]


def llava_next() -> Animal:
    """1.6 on Mistral: no ties said, `sliding_window` null, `dtype` by its old name in both
    places."""
    tokens = Tokens(["<image>", "<pad>"], pieces=True, bos="<s>")
    return Animal(
        config={
            "architectures": ["LlavaNextForConditionalGeneration"],
            "ignore_index": -100,
            "image_grid_pinpoints": GRIDS,
            "image_token_index": tokens["<image>"],
            "model_type": "llava_next",
            "projector_hidden_act": "gelu",
            "text_config": {
                **TEXT,
                "_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2",
                "architectures": ["MistralForCausalLM"],
                "max_position_embeddings": 32768,
                "model_type": "mistral",
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-05,
                "rope_theta": 1000000.0,
                "sliding_window": None,
                "torch_dtype": "bfloat16",
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "float16",
            "transformers_version": "4.39.0.dev0",
            "use_image_newline_parameter": True,
            "vision_config": CLIP,
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            "vocab_size": tokens.padded(),
        },
        model="LlavaNextForConditionalGeneration",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            pad_token="<pad>", padding_side="left", processor_class="LlavaNextProcessor"
        ),
        files={
            "preprocessor_config.json": {
                "crop_size": {"height": 56, "width": 56},
                "do_center_crop": True,
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_pad": True,
                "do_rescale": True,
                "do_resize": True,
                "image_grid_pinpoints": GRIDS,
                "image_mean": CLIP_MEAN,
                "image_processor_type": "LlavaNextImageProcessor",
                "image_std": CLIP_STD,
                "processor_class": "LlavaNextProcessor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"shortest_edge": 56},
            },
            "processor_config.json": _settings(
                "LlavaNextProcessor", "default", num_additional_image_tokens=1
            ),
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": tokens["<s>"],
                "eos_token_id": tokens["</s>"],
            },
            "special_tokens_map.json": special_map(
                bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
            ),
            "chat_template.json": {"chat_template": INST},
        },
        takes=("image",),
        rename=old_tower,
        dtype="float16",
        shards=2,
    )


def llava_onevision() -> Animal:
    tokens = Tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"])
    pixels: Json = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "processor_class": "LlavaOnevisionProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": 56, "width": 56},
    }
    return Animal(
        config={
            "architectures": ["LlavaOnevisionForConditionalGeneration"],
            "ignore_index": -100,
            "image_grid_pinpoints": SQUARES,
            "image_token_index": tokens["<image>"],
            "model_type": "llava_onevision",
            "projector_hidden_act": "gelu",
            "text_config": {
                **TEXT,
                "_name_or_path": "Qwen/Qwen2-0.5B-Instruct",
                "architectures": ["Qwen2ForCausalLM"],
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
                "max_position_embeddings": 32768,
                "max_window_layers": 3,
                "model_type": "qwen2",
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-06,
                "rope_theta": 1000000.0,
                "tie_word_embeddings": True,
                "torch_dtype": "bfloat16",
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "use_image_newline_parameter": True,
            "video_token_index": tokens["<video>"],
            "vision_aspect_ratio": "anyres_max_9",
            "vision_config": SIGLIP,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        model="LlavaOnevisionForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(special=["<|im_start|>", "<|im_end|>"],
            processor_class="LlavaOnevisionProcessor"),
        files={
            "preprocessor_config.json": {
                **pixels,
                "do_pad": True,
                "image_grid_pinpoints": SQUARES,
                "image_processor_type": "LlavaOnevisionImageProcessor",
            },
            "video_preprocessor_config.json": {**pixels,
                "video_processor_type": "LlavaOnevisionVideoProcessor"},
            "processor_config.json": _settings(
                "LlavaOnevisionProcessor",
                "full",
                num_image_tokens=16,
                video_token="<video>",
                vision_aspect_ratio="anyres_max_9",
            ),
            "generation_config.json": {
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "chat_template.json": {
                "chat_template": listed_template(
                    "<|im_start|>{{ message['role'] }}\n",
                    {"image": "<image>\n", "video": "<video>\n"}, "<|im_end|>\n",
                    "<|im_start|>assistant\n",
                )
            },
        },
        takes=("image", "video"),
        rename=old_tower,
        dtype="float16",
        company=True,
    )  # fmt: skip


def _settings(processor: str, strategy: str, **more: object) -> Json:
    """processor_config.json of the family."""
    own = {"patch_size": 14} if processor == "LlavaNextProcessor" else {}
    return {
        "image_token": "<image>",
        "processor_class": processor,
        "vision_feature_select_strategy": strategy,
        **own,
        **more,
    }


ANIMALS = {"llava_next": llava_next, "llava_onevision": llava_onevision}
