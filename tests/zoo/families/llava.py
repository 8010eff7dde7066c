"""LLaVA 1.5 and its kin (`llava`).

The form: `text_config` names a model type and states little else, so hidden size, layers and heads
are the class's own; the sizes below are therefore stated although 1.5 leaves them out, except those
that its class's defaults allow. Weights carry the oldest prefixes (`language_model.model`,
`vision_tower.vision_model`, `multi_modal_projector`). Two files of settings for pictures. Templates
take lists only. A BOS before every text. The embedding table has more rows than the tokenizer
names.
"""

from ..forms import chatml_template, chatml_tokenizer, listed_template, llama_tokenizer, special_map
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens

CLIP: Json = {
    "hidden_size": 32,
    "image_size": 56,
    "intermediate_size": 64,
    "model_type": "clip_vision_model",
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "patch_size": 14,
    "projection_dim": 32,
    "vocab_size": 32000,
}
SIGLIP: Json = {
    "hidden_size": 32,
    "image_size": 56,
    "intermediate_size": 48,
    "model_type": "siglip_vision_model",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "patch_size": 14,
    "vision_use_head": False,
}
TEXT: Json = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
}
"""As few as there can be: `num_key_value_heads`, `head_dim`, `rope_theta`, `hidden_act` are the
classes' own."""


def old_tower(name: str) -> str:
    """CLIP and SigLIP towers were stored as the whole model that had them."""
    return name.replace("vision_tower.", "vision_tower.vision_model.")


def clip_pixels(processor: str, kind: str = "CLIPImageProcessor", edge: int = 56) -> Json:
    return {
        "crop_size": {"height": edge, "width": edge},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_processor_type": kind,
        "image_std": CLIP_STD,
        "processor_class": processor,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": edge},
    }


def siglip_pixels(processor: str, kind: str = "SiglipImageProcessor", edge: int = 56) -> Json:
    return {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_processor_type": kind,
        "image_std": HALF,
        "processor_class": processor,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": edge, "width": edge},
    }


def settings(strategy: str, more: int) -> Json:
    """processor_config.json. `more`: tokens of the tower beside its patches."""
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": more,
        "patch_size": 14,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": strategy,
    }


VICUNA = listed_template("{% if message['role'] != 'system' %}{{ "
"message['role'].upper() + ': ' }}{% endif %}",
                         {"image": "{{ '<image>\n' }}"}, "{{ ' ' }}",
                         "{{ 'ASSISTANT:' }}")  # fmt: skip
INST = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST] {% for part in "
    "message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% elif part['type'] == 'text' %}{{ part['text'] "
    "}}{% endif %}{% endfor %}"
    " [/INST]"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ "
    "part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{% endfor %}"
)


def _pieces() -> tuple[Tokens, Json]:
    tokens = Tokens(["<image>", "<pad>"], pieces=True, bos="<s>")
    return tokens, llama_tokenizer(
        extra_special_tokens={"image_token": "<image>"},
        image_token="<image>",
        pad_token="<pad>",
        padding_side="left",
        processor_class="LlavaProcessor",
    )


def llava() -> Animal:
    """1.5 on Vicuna: float16 with `torch_dtype` top and nested, three shards, ends in
    generation_config.json only."""
    tokens, tokenizer = _pieces()
    return Animal(
        config={
            "architectures": ["LlavaForConditionalGeneration"],
            "ignore_index": -100,
            "image_token_index": tokens["<image>"],
            "model_type": "llava",
            "pad_token_id": tokens["<pad>"],
            "projector_hidden_act": "gelu",
            "text_config": {
                **TEXT,
                "_name_or_path": "lmsys/vicuna-7b-v1.5",
                "architectures": ["LlamaForCausalLM"],
                "max_position_embeddings": 4096,
                "model_type": "llama",
                "rms_norm_eps": 1e-05,
                "torch_dtype": "float16",
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
            "transformers_version": "4.36.0.dev0",
            "vision_config": CLIP,
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            "vocab_size": tokens.padded(),
        },
        model="LlavaForConditionalGeneration",
        tokens=tokens,
        tokenizer=tokenizer,
        files={
            "preprocessor_config.json": clip_pixels("LlavaProcessor"),
            "processor_config.json": settings("default", 1),
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": tokens["<s>"],
                "eos_token_id": tokens["</s>"],
                "pad_token_id": tokens["<pad>"],
                "transformers_version": "4.36.0.dev0",
            },
            "special_tokens_map.json": special_map(
                bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
            ),
            "added_tokens.json": {"<image>": tokens["<image>"], "<pad>": tokens["<pad>"]},
            "chat_template.json": {"chat_template": VICUNA},
            "chat_template.jinja": VICUNA,
        },
        takes=("image",),
        rename=old_tower,
        dtype="float16",
        shards=3,
    )


def llava_siglip() -> Animal:
    """A SigLIP tower, which has no class token, before a Mistral text without window."""
    tokens, tokenizer = _pieces()
    return Animal(
        config={
            "architectures": ["LlavaForConditionalGeneration"],
            "image_token_index": tokens["<image>"],
            "model_type": "llava",
            "text_config": {**TEXT, "model_type": "mistral", "num_key_value_heads": 2,
                "rope_theta": 1000000.0,
                            "sliding_window": None, "vocab_size": tokens.padded()},
            "torch_dtype": "bfloat16",
            "vision_config": SIGLIP,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        model="LlavaForConditionalGeneration",
        tokens=tokens,
        tokenizer=tokenizer,
        files={
            "preprocessor_config.json": siglip_pixels("LlavaProcessor"),
            "processor_config.json": settings("full", 0),
            "generation_config.json": {"bos_token_id": tokens["<s>"],
                "eos_token_id": tokens["</s>"]},
            "chat_template.json": {"chat_template": INST},
        },
        takes=("image",),
        rename=old_tower,
    )  # fmt: skip


def llava_interleave() -> Animal:
    """SigLIP and Qwen 1.5: tied by the text's word alone, ends in the text's configuration,
    `<image>` outside the tokens of the text model that came before it."""
    tokens = Tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"])
    return Animal(
        config={
            "architectures": ["LlavaForConditionalGeneration"],
            "ignore_index": -100,
            "image_token_index": tokens["<image>"],
            "model_type": "llava",
            "projector_hidden_act": "gelu",
            "text_config": {
                **TEXT,
                "_name_or_path": "Qwen/Qwen1.5-0.5B-Chat",
                "architectures": ["Qwen2ForCausalLM"],
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
                "max_position_embeddings": 32768,
                "max_window_layers": 2,
                "model_type": "qwen2",
                "num_key_value_heads": 4,
                "rms_norm_eps": 1e-06,
                "rope_theta": 1000000.0,
                "tie_word_embeddings": True,
                "torch_dtype": "bfloat16",
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "float16",
            "vision_config": SIGLIP,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        model="LlavaForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            special=["<|im_start|>", "<|im_end|>", "<image>"], processor_class="LlavaProcessor"
        ),
        files={
            "preprocessor_config.json": siglip_pixels("LlavaProcessor"),
            "processor_config.json": settings("full", 0),
            "generation_config.json": {
                "_from_model_config": True,
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "chat_template.json": {"chat_template": chatml_template({"image": "<image>\n"}, "")},
        },
        takes=("image",),
        rename=old_tower,
        dtype="float16",
    )


def llava_gemma() -> Animal:
    """A Gemma text: its embedding module scales by the root of the width, and the table is tied by
    the class's default."""
    tokens = Tokens(
        ["<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<image>"],
        pieces=True,
        bos="<bos>",
    )
    return Animal(
        config={
            "architectures": ["LlavaForConditionalGeneration"],
            "image_token_index": tokens["<image>"],
            "model_type": "llava",
            "pad_token_id": tokens["<pad>"],
            "text_config": {
                **TEXT,
                "bos_token_id": tokens["<bos>"],
                "eos_token_id": tokens["<eos>"],
                "head_dim": 32,
                "model_type": "gemma",
                "num_key_value_heads": 1,
                "pad_token_id": tokens["<pad>"],
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "bfloat16",
            "vision_config": CLIP,
        },
        model="LlavaForConditionalGeneration",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
            tokenizer_class="GemmaTokenizer", image_token="<image>"
        ),
        files={
            "preprocessor_config.json": clip_pixels("LlavaProcessor"),
            "processor_config.json": settings("default", 1),
            "generation_config.json": {"eos_token_id": [tokens["<eos>"], tokens["<end_of_turn>"]]},
            "chat_template.jinja": listed_template(
                "{{ bos_token if loop.first }}<start_of_turn>{{ message['role'] }}\n",
                {"image": "<image>"},
                "<end_of_turn>\n", "<start_of_turn>model\n",
            ),
        },
        takes=("image",),
        rename=old_tower,
        tied_spread=0.02,
    )  # fmt: skip


def pixtral() -> Animal:
    """Pixtral 12B: `llava` by its type, with a tower that takes pictures of any size, one row of
    tokens after the other."""
    tokens = Tokens(
        ["[INST]", "[/INST]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]"], pieces=True, bos="<s>"
    )
    return Animal(
        config={
            "architectures": ["LlavaForConditionalGeneration"],
            "ignore_index": -100,
            "image_seq_length": 1,
            "image_token_index": tokens["[IMG]"],
            "model_type": "llava",
            "projector_hidden_act": "gelu",
            "text_config": {
                **TEXT,
                "head_dim": 24,
                "is_composition": True,
                "max_position_embeddings": 1024000,
                "model_type": "mistral",
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-05,
                "rope_theta": 1000000000.0,
                "sliding_window": None,
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.45.0.dev0",
            "vision_config": {
                "head_dim": 16,
                "hidden_size": 32,
                "image_size": 128,
                "intermediate_size": 48,
                "is_composition": True,
                "model_type": "pixtral",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "patch_size": 16,
                "rope_theta": 10000.0,
                "tie_word_embeddings": False,
            },
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        model="LlavaForConditionalGeneration",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            tokenizer_class="PreTrainedTokenizerFast",
            pad_token="<pad>",
            processor_class="PixtralProcessor",
        ),
        files={
            "preprocessor_config.json": {
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": CLIP_MEAN,
                "image_processor_type": "PixtralImageProcessor",
                "image_std": CLIP_STD,
                "patch_size": {"height": 16, "width": 16},
                "processor_class": "PixtralProcessor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"longest_edge": 128},
            },
            "processor_config.json": {
                "image_break_token": "[IMG_BREAK]",
                "image_end_token": "[IMG_END]",
                "image_token": "[IMG]",
                "patch_size": 16,
                "processor_class": "PixtralProcessor",
            },
            "generation_config.json": {
                "bos_token_id": tokens["<s>"],
                "eos_token_id": tokens["</s>"],
            },
            "chat_template.json": {
                "chat_template": INST.replace("<image>\\n", "[IMG]").replace("<image>\n", "[IMG]")
            },
        },
        takes=("image",),
    )


ANIMALS = {
    "llava": llava,
    "llava_siglip": llava_siglip,
    "llava_interleave": llava_interleave,
    "llava_gemma": llava_gemma,
    "pixtral": pixtral,
}
