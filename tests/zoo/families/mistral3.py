"""Mistral Small 3.x, LightOnOCR and Voxtral (`mistral3`, `lighton_ocr`, `voxtral`).

The form: special tokens have the lowest ids, before all letters: 10 is a picture's row, 24 a
sound's. The classes tie by default and the checkpoints store a head all the same, which is then the
one to take. LightOnOCR-2 says `mistral3` as its type and another class among its architectures.
Voxtral's published folder has no tokenizer file that transformers reads by itself; the one here is
what its conversions add.
"""

from ..forms import CHATML, chatml_template, chatml_tokenizer
from ..kinds import CLIP_MEAN, CLIP_STD, Animal, Json
from ..tokens import Tokens
from .qwen_omni import sounds

TEKKEN = [
    *(
        "<unk>",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "[AVAILABLE_TOOLS]",
        "[/AVAILABLE_TOOLS]",
        "[TOOL_RESULTS]",
    ),
    *(
        "[/TOOL_RESULTS]",
        "[TOOL_CALLS]",
        "[IMG]",
        "<pad>",
        "[IMG_BREAK]",
        "[IMG_END]",
        "[PREFIX]",
        "[MIDDLE]",
        "[SUFFIX]",
    ),
    *(
        "[SYSTEM_PROMPT]",
        "[/SYSTEM_PROMPT]",
        "[TOOL_CONTENT]",
        "<SPECIAL_20>",
        "<SPECIAL_21>",
        "<SPECIAL_22>",
    ),
    *("<SPECIAL_23>", "[AUDIO]", "[BEGIN_AUDIO]"),
]
TOKENIZER: Json = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "model_max_length": 1000000000000000019884624838656,
    "pad_token": "<pad>",
    "tokenizer_class": "LlamaTokenizer",
    "unk_token": "<unk>",
}
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST]"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in "
    "message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] in ['image', "
    "'image_url'] %}[IMG]"
    "{% elif part['type'] in ['audio', 'input_audio'] %}[BEGIN_AUDIO][AUDIO]{% endif %}{% endfor "
    "%}{% endif %}[/INST]"
    "{% elif message['role'] == 'system' %}[SYSTEM_PROMPT]"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{{ "
    "message['content'][0]['text'] }}{% endif %}"
    "[/SYSTEM_PROMPT]{% else %}{{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def tower(**more: object) -> Json:
    return {
        "attention_dropout": 0.0,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 32,
        "image_size": 112,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "model_type": "pixtral",
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "patch_size": 14,
        **more,
    }


def _pixels(edge: int) -> Json:
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_processor_type": "PixtralImageProcessorFast",
        "image_std": CLIP_STD,
        "patch_size": {"height": 14, "width": 14},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": edge},
    }


def mistral3() -> Animal:
    """Mistral Small 3.2: says nothing of ties and stores a head."""
    tokens = Tokens(TEKKEN, leading=True, bos="<s>")
    config: Json = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "dtype": "bfloat16",
        "image_token_index": tokens["[IMG]"],
        "model_type": "mistral3",
        "multimodal_projector_bias": False,
        "projector_hidden_act": "gelu",
        "spatial_merge_size": 2,
        "text_config": {
            "attention_dropout": 0.0,
            "dtype": "bfloat16",
            "head_dim": 24,
            "hidden_act": "silu",
            "hidden_size": 64,
            "initializer_range": 0.02,
            "intermediate_size": 96,
            "max_position_embeddings": 131072,
            "model_type": "mistral",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000000.0,
            "sliding_window": None,
            "use_cache": True,
            "vocab_size": tokens.padded(),
        },
        "transformers_version": "4.57.1",
        "vision_config": tower(dtype="bfloat16", rope_theta=10000.0),
        "vision_feature_layer": -1,
    }
    return Animal(
        config=config,
        truth={
            **config,
            "text_config": {**config["text_config"], "tie_word_embeddings": False},
            "tie_word_embeddings": False,
        },
        model="Mistral3ForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            **TOKENIZER,
            "processor_class": "PixtralProcessor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "preprocessor_config.json": {**_pixels(112), "processor_class": "PixtralProcessor"},
            "processor_config.json": {
                "image_break_token": "[IMG_BREAK]",
                "image_end_token": "[IMG_END]",
                "image_token": "[IMG]",
                "patch_size": 14,
                "processor_class": "PixtralProcessor",
                "spatial_merge_size": 2,
            },
            "generation_config.json": {
                "_from_model_config": True,
                "bos_token_id": 1,
                "eos_token_id": 2,
            },
            "chat_template.jinja": TEMPLATE,
        },
        takes=("image",),
        shards=2,
    )


def lighton_ocr() -> Animal:
    """LightOnOCR-2 1B."""
    tokens = Tokens(CHATML)
    return Animal(
        config={
            "architectures": ["LightOnOCRForConditionalGeneration"],
            "dtype": "bfloat16",
            "eos_token_id": tokens["<|im_end|>"],
            "image_token_id": tokens["<|image_pad|>"],
            "model_type": "mistral3",
            "multimodal_projector_bias": False,
            "pad_token_id": tokens["<|endoftext|>"],
            "projector_hidden_act": "gelu",
            "spatial_merge_size": 2,
            "text_config": {
                "architectures": ["Qwen3ForCausalLM"],
                "attention_bias": False,
                "attention_dropout": 0,
                "dtype": "bfloat16",
                "head_dim": 32,
                "hidden_act": "silu",
                "hidden_size": 64,
                "initializer_range": 0.02,
                "intermediate_size": 96,
                "layer_types": ["full_attention"] * 3,
                "max_position_embeddings": 16384,
                "max_window_layers": 3,
                "model_type": "qwen3",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-06,
                "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"},
                "rope_theta": 1000000,
                "sliding_window": None,
                "tie_word_embeddings": True,
                "use_cache": True,
                "use_qk_norm": True,
                "use_sliding_window": False,
                "vocab_size": tokens.padded(),
            },
            "transformers_version": "5.0.0.dev0",
            "use_cache": False,
            "vision_config": tower(
                dtype="bfloat16",
                rope_parameters={"rope_theta": 10000, "rope_type": "default"},
                rope_theta=10000,
            ),
            "vision_feature_layer": -1,
        },
        model="Mistral3ForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            131072,
            extra_special_tokens={
                "image_break_token": "<|vision_pad|>",
                "image_end_token": "<|vision_end|>",
                "image_token": "<|image_pad|>",
            },
            processor_class="LightOnOcrProcessor",
        ),
        files={
            "processor_config.json": {
                "image_processor": _pixels(112),
                "patch_size": 14,
                "processor_class": "LightOnOcrProcessor",
                "spatial_merge_size": 2,
            },
            "generation_config.json": {
                "eos_token_id": tokens["<|im_end|>"],
                "pad_token_id": tokens["<|endoftext|>"],
            },
            "chat_template.jinja": chatml_template({"image": "<|image_pad|>"}, ""),
        },
        takes=("image",),
    )


def voxtral() -> Animal:
    """Voxtral Mini 3B: sounds in pieces of thirty seconds, each 375 rows."""
    names = [*TEKKEN, *(f"<SPECIAL_{place}>" for place in range(26, 34)), "[TRANSCRIBE]"]
    tokens = Tokens(names, leading=True, bos="<s>")
    return Animal(
        config={
            "architectures": ["VoxtralForConditionalGeneration"],
            "audio_config": {
                "activation_dropout": 0.0,
                "activation_function": "gelu",
                "attention_dropout": 0.0,
                "dropout": 0.0,
                "head_dim": 16,
                "hidden_size": 32,
                "initializer_range": 0.02,
                "intermediate_size": 128,
                "layerdrop": 0.0,
                "max_source_positions": 1500,
                "model_type": "voxtral_encoder",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "num_key_value_heads": 2,
                "num_mel_bins": 128,
                "scale_embedding": False,
                "vocab_size": 51866,
            },
            "audio_token_id": tokens["[AUDIO]"],
            "hidden_size": 64,
            "model_type": "voxtral",
            "projector_hidden_act": "gelu",
            "text_config": {
                "attention_bias": False,
                "attention_dropout": 0.0,
                "head_dim": 24,
                "hidden_act": "silu",
                "hidden_size": 64,
                "initializer_range": 0.02,
                "intermediate_size": 96,
                "max_position_embeddings": 131072,
                "mlp_bias": False,
                "model_type": "llama",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "pretraining_tp": 1,
                "rms_norm_eps": 1e-05,
                "rope_scaling": None,
                "rope_theta": 100000000.0,
                "sliding_window": None,
                "use_cache": True,
                "vocab_size": tokens.padded(),
            },
            "torch_dtype": "bfloat16",
            "transformers_version": "4.54.0.dev0",
            "vocab_size": tokens.padded(),
        },
        model="VoxtralForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            **TOKENIZER,
            "processor_class": "VoxtralProcessor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "preprocessor_config.json": sounds(30, "VoxtralProcessor"),
            "generation_config.json": {
                "bos_token_id": 1,
                "eos_token_id": 2,
                "pad_token_id": tokens["<pad>"],
            },
            "chat_template.jinja": TEMPLATE,
        },
        takes=("audio",),
        shards=2,
    )


ANIMALS = {"mistral3": mistral3, "lighton_ocr": lighton_ocr, "voxtral": voxtral}
