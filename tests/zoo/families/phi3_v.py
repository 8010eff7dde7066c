"""Phi-3.5-vision (`phi3_v`): transformers has no class for it, and its folder names code of its
own.

The form: flat; the tower is named and not described (here it is, for a tiny one);
`rope_scaling.type` is "su"; an embedding table is stored twice; a template that takes strings
alone, in which a picture is `<|image_1|>`.
"""

from ..forms import llama_tokenizer
from ..kinds import CLIP_MEAN, CLIP_STD, Animal
from ..tokens import Tokens
from .llama import SIZES

SPECIAL = [
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|system|>",
    "<|end|>",
    "<|user|>",
    "<|image|>",
]
TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + "
    "'<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{- '<|assistant|>\n' "
    "-}}{% endif %}"
)


def phi3_v() -> Animal:
    tokens = Tokens(SPECIAL, pieces=True, bos="<s>")
    ends = [tokens["<|end|>"], tokens["<|assistant|>"], tokens["<|endoftext|>"]]
    vision = {
        "hidden_size": 32,
        "image_size": 56,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "patch_size": 14,
    }
    config = {
        **SIZES,
        "num_attention_heads": 2,  # of 32, as recorded answers need
        "num_key_value_heads": 2,
        "_attn_implementation": "flash_attention_2",
        "architectures": ["Phi3VForCausalLM"],
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_phi3_v.Phi3VConfig",
            "AutoModelForCausalLM": "modeling_phi3_v.Phi3VForCausalLM",
        },
        "bos_token_id": tokens["<s>"],
        "embd_layer": {
            "embedding_cls": "image",
            "hd_transform_order": "sub_glb",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
        "eos_token_id": tokens["</s>"],
        "hidden_act": "silu",
        "img_processor": {
            "image_dim_out": 32,
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": 4,
        },
        "initializer_range": 0.02,
        "max_position_embeddings": 1024,
        "model_type": "phi3_v",
        "original_max_position_embeddings": 320,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": [
                1.1,
                1.2,
                1.4,
                1.7,
                2.0,
                2.5,
                3.0,
                4.0,
                5.0,
                7.0,
                9.0,
                13.0,
                17.0,
                25.0,
                33.0,
                49.0,
            ],
            "short_factor": [
                1.0,
                1.02,
                1.05,
                1.07,
                1.1,
                1.15,
                1.2,
                1.25,
                1.3,
                1.4,
                1.5,
                1.6,
                1.7,
                1.85,
                2.0,
                2.2,
            ],
            "type": "su",
        },
        "rope_theta": 10000.0,
        "sliding_window": 1024,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.38.1",
        "use_cache": True,
        "vision_config": vision,
        "vocab_size": tokens.padded(),
    }
    rope = {**config["rope_scaling"], "type": "longrope", "rope_type": "longrope"}
    said = {name: value for name, value in config.items() if name != "_attn_implementation"}
    return Animal(
        config=config,
        truth={**said, "rope_scaling": rope, "image_token": tokens["<|image|>"]},
        model="Model",
        own="phi3_v",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            chat_template=TEMPLATE,
            eos_token="<|endoftext|>",
            model_max_length=1024,
            pad_token="<|endoftext|>",
        ),
        files={
            "generation_config.json": {
                "bos_token_id": 1,
                "eos_token_id": ends,
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "preprocessor_config.json": {
                "auto_map": {
                    "AutoImageProcessor": "image_processing_phi3_v.Phi3VImageProcessor",
                    "AutoProcessor": "processing_phi3_v.Phi3VProcessor",
                },
                "image_mean": CLIP_MEAN,
                "image_processor_type": "Phi3VImageProcessor",
                "image_std": CLIP_STD,
                "num_crops": 4,
                "num_img_tokens": 4,
                "processor_class": "Phi3VProcessor",
            },
        },
        takes=("image",),
        twice={"model.vision_embed_tokens.wte.weight": "model.embed_tokens.weight"},
        shards=2,
    )


ANIMALS = {"phi3_v": phi3_v}
