"""Idefics3, SmolVLM2 and granite-docling's two forms (`idefics3`, `smolvlm`, `granite_docling`).

The form: a picture becomes tiles with rows and columns named by tokens of their own, and one tile
of the whole. SmolVLM2 says float32 at the top and bfloat16 in its text, and a padding token outside
of its vocabulary; its folder's settings for clips stand in the file for pictures. The published
docling model is an `idefics3` that ties its table in both places.
"""

from ..forms import special_map
from ..kinds import HALF, Animal, Json
from ..tokens import Tokens

GRID = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
SMOL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>",
    "<end_of_utterance>",
        "<global-img>", *GRID]  # fmt: skip


def _pixels(kind: str, owner: str, **more: object) -> Json:
    return {
        "do_convert_rgb": True,
        "do_image_splitting": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_processor_type": kind,
        "image_std": HALF,
        "max_image_size": {"longest_edge": 64},
        "processor_class": owner,
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": 128},
        **more,
    }


def _template(start: str, end: str, after: str, prompt: str) -> str:
    return (
        "{% for message in messages %}" + start + "{% if message['content'] is string %}{{ "
        "message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
        "{% elif part['type'] == 'image' %}<image>{% elif part['type'] == 'video' %}<video>{% "
        "endif %}{% endfor %}{% endif %}"
        + end + after + "{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}"
    )  # fmt: skip


SMOL_TEMPLATE = "<|im_start|>" + _template(
    "{{ message['role'] | capitalize }}: ", "<end_of_utterance>", "\n", "Assistant:"
)


def _smol_names(**more: str) -> Json:
    names = {
        "end_of_utterance_token": "<end_of_utterance>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "image_token": "<image>",
    }
    return {"extra_special_tokens": names, **names, **more}


def _text(tokens: Tokens, **more: object) -> Json:
    return {
        "head_dim": 16,
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "vocab_size": tokens.padded(),
        **more,
    }


def _vision(kind: str, **more: object) -> Json:
    return {
        "hidden_size": 32,
        "image_size": 64,
        "intermediate_size": 48,
        "max_image_size": {"longest_edge": 64},
        "model_type": kind,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "patch_size": 16,
        **more,
    }


def smolvlm() -> Animal:
    """SmolVLM2 500M."""
    tokens = Tokens(SMOL, ["<video>"])
    return Animal(
        config={
            "architectures": ["SmolVLMForConditionalGeneration"],
            "image_token_id": tokens["<image>"],
            "model_type": "smolvlm",
            "pad_token_id": tokens["<|im_end|>"],
            "scale_factor": 2,
            "text_config": _text(
                tokens,
                architectures=["VLlama3ForCausalLM"],
                is_llama_config=True,
                neftune_noise_alpha=0.0,
                pad_token_id=tokens["<|im_end|>"],
                pixel_shuffle_factor=2,
                qk_layer_norms=False,
                rope_interleaved=False,
                rope_theta=100000,
                torch_dtype="bfloat16",
                use_resampler=False,
            ),
            "tie_word_embeddings": False,
            "torch_dtype": "float32",
            "transformers_version": "4.47.1",
            "use_cache": False,
            "use_reentrant_checkpointing": False,
            "vision_config": _vision(
                "smolvlm_vision",
                size={"longest_edge": 128},
                tie_word_embeddings=False,
                use_base_siglip=False,
            ),
            "vocab_size": tokens.padded(),
        },
        model="SmolVLMForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "additional_special_tokens": [
                "<fake_token_around_image>",
                "<image>",
                "<end_of_utterance>",
            ],
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            **_smol_names(),
            "model_max_length": 8192,
            "pad_token": "<|im_end|>",
            "processor_class": "SmolVLMProcessor",
            "tokenizer_class": "PreTrainedTokenizerFast",
            "truncation_side": "left",
            "unk_token": "<|endoftext|>",
        },
        files={
            "preprocessor_config.json": _pixels(
                "SmolVLMImageProcessor",
                "SmolVLMProcessor",
                video_sampling={"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 64}},
            ),
            "processor_config.json": {"image_seq_len": 4, "processor_class": "SmolVLMProcessor"},
            "generation_config.json": {
                "bos_token_id": tokens["<|im_start|>"],
                "eos_token_id": tokens["<end_of_utterance>"],
                "pad_token_id": tokens["<|im_end|>"],
            },
            "chat_template.json": {"chat_template": SMOL_TEMPLATE},
        },
        takes=("image", "video"),
        dtype="float32",
    )


def idefics3() -> Animal:
    """Idefics3 8B on Llama 3."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<fake_token_around_image>",
        "<image>",
               "<end_of_utterance>", "<global-img>", *GRID]  # fmt: skip
    tokens = Tokens(special, bos="<|begin_of_text|>")
    return Animal(
        config={
            "architectures": ["Idefics3ForConditionalGeneration"],
            "image_token_id": tokens["<image>"],
            "model_type": "idefics3",
            "pad_token_id": tokens["<|eot_id|>"],
            "scale_factor": 2,
            "text_config": {
                name: value
                for name, value in _text(
                    tokens,
                    bos_token_id=tokens["<|begin_of_text|>"],
                    eos_token_id=[tokens["<|end_of_text|>"], tokens["<|eot_id|>"]],
                    pad_token_id=tokens["<|eot_id|>"],
                    rope_theta=500000.0,
                    torch_dtype="bfloat16",
                ).items()
                if name != "head_dim"
            },
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.46.0.dev0",
            "use_cache": True,
            "vision_config": _vision("idefics3_vision"),
        },
        model="Idefics3ForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|end_of_text|>",
            "model_max_length": 131072,
            "pad_token": "<|eot_id|>",
            "processor_class": "Idefics3Processor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "preprocessor_config.json": _pixels("Idefics3ImageProcessor", "Idefics3Processor"),
            "processor_config.json": {"image_seq_len": 4, "processor_class": "Idefics3Processor"},
            "generation_config.json": {
                "bos_token_id": tokens["<|begin_of_text|>"],
                "eos_token_id": [tokens["<|eot_id|>"], tokens["<end_of_utterance>"]],
                "pad_token_id": tokens["<|eot_id|>"],
            },
            "chat_template.json": {
                "chat_template": _template(
                    "{% if loop.first %}<|begin_of_text|>{% endif %}{{ message['role'] | "
                    "capitalize }}: ",
                    "<end_of_utterance>", "\n", "Assistant:",
                )
            },
        },
        takes=("image",),
        shards=2,
    )  # fmt: skip


DOCLING = ["<|pad|>", "<|end_of_text|>", *GRID[:3], "<|start_of_role|>", "<|end_of_role|>",
    "<image>", "<|unk|>",
           "<fake_token_around_image>", "<global-img>", *GRID[3:]]  # fmt: skip
DOCLING_TEMPLATE = _template(
    "<|start_of_role|>{{ message['role'] }}<|end_of_role|>",
    "<|end_of_text|>",
    "\n",
    "<|start_of_role|>assistant<|end_of_role|>",
)


def docling() -> Animal:
    """granite-docling 258M as it is published: an `idefics3` on a small Llama, tied in both
    places."""
    tokens = Tokens(DOCLING)
    end, begin = tokens["<|end_of_text|>"], tokens["<|start_of_role|>"]
    return Animal(
        config={
            "architectures": ["Idefics3ForConditionalGeneration"],
            "bos_token_id": begin,
            "dtype": "bfloat16",
            "eos_token_id": end,
            "image_token_id": tokens["<image>"],
            "model_type": "idefics3",
            "pad_token_id": end,
            "scale_factor": 2,
            "text_config": _text(
                tokens,
                architectures=["LlamaForCausalLM"],
                attention_bias=False,
                bos_token_id=begin,
                dtype="bfloat16",
                eos_token_id=end,
                hidden_act="silu",
                mlp_bias=False,
                pad_token_id=end,
                pretraining_tp=1,
                rope_scaling=None,
                rope_theta=100000.0,
                tie_word_embeddings=True,
                use_cache=False,
            ),
            "tie_word_embeddings": True,
            "transformers_version": "4.56.1",
            "use_cache": True,
            "vision_config": _vision(
                "idefics3_vision",
                hidden_act="gelu_pytorch_tanh",
                num_channels=3,
                size={"longest_edge": 64},
            ),
            "vocab_size": tokens.padded(),
        },
        model="Idefics3ForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "add_bos_token": False,
            "add_prefix_space": False,
            "additional_special_tokens": ["<fake_token_around_image>", "<image>"],
            "bos_token": "<|start_of_role|>",
            "eos_token": "<|end_of_text|>",
            "errors": "replace",
            "extra_special_tokens": {},
            "model_max_length": 8192,
            "pad_token": "<|end_of_text|>",
            "padding_side": "left",
            "processor_class": "Idefics3Processor",
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": "<|unk|>",
        },
        files={
            "preprocessor_config.json": _pixels("Idefics3ImageProcessor", "Idefics3Processor"),
            "processor_config.json": {"image_seq_len": 4, "processor_class": "Idefics3Processor"},
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": begin,
                "eos_token_id": end,
                "pad_token_id": end,
                "use_cache": False,
            },
            "special_tokens_map.json": special_map(
                bos_token="<|start_of_role|>", eos_token="<|end_of_text|>"
            ),
            "added_tokens.json": {"<fake_token_around_image>": tokens["<fake_token_around_image>"]},
            "chat_template.jinja": DOCLING_TEMPLATE,
        },
        takes=("image",),
    )


def granite_docling() -> Animal:
    """Its successor under a type of its own: further rows of a picture go into deeper layers, and
    Granite's scales."""
    tokens = Tokens(DOCLING)
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            "architectures": ["GraniteDoclingForConditionalGeneration"],
            "image_token_id": tokens["<image>"],
            "model_type": "granite_docling",
            "pad_token_id": end,
            "dtype": "bfloat16",
            "text_config": {
                "attention_multiplier": 0.125,
                "bos_token_id": end,
                "eos_token_id": end,
                "hidden_size": 64,
                "intermediate_size": 96,
                "logits_scaling": 4.0,
                "max_position_embeddings": 32768,
                "model_type": "granite_docling_text",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "pad_token_id": end,
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": True,
            "vision_config": {
                "deepstack_visual_indexes": [0, 1],
                "hidden_size": 32,
                "image_size": 64,
                "intermediate_size": 48,
                "model_type": "granite_docling_vision",
                "num_attention_heads": 2,
                "num_hidden_layers": 3,
                "out_hidden_size": 64,
                "patch_size": 16,
                "scale_factor": 2,
            },
        },
        model="GraniteDoclingForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|end_of_text|>",
            "eos_token": "<|end_of_text|>",
            "model_max_length": 32768,
            "pad_token": "<|end_of_text|>",
            "processor_class": "GraniteDoclingProcessor",
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": "<|unk|>",
        },
        files={
            "preprocessor_config.json": {
                "crop_to_patches": True,
                "image_processor_type": "GraniteDoclingImageProcessor",
                "max_patches": 8,
                "min_patches": 1,
                "processor_class": "GraniteDoclingProcessor",
                "size": {"height": 64, "width": 64},
            },
            "processor_config.json": {
                "image_seq_len": 4,
                "processor_class": "GraniteDoclingProcessor",
            },
            "generation_config.json": {
                "bos_token_id": end,
                "eos_token_id": end,
                "pad_token_id": end,
            },
            "chat_template.jinja": DOCLING_TEMPLATE,
        },
        takes=("image",),
        tied_spread=0.06,
        spread=0.5,
    )


ANIMALS = {
    "smolvlm": smolvlm,
    "idefics3": idefics3,
    "docling": docling,
    "granite_docling": granite_docling,
}
