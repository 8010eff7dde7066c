"""MiniCPM-V 2.6 (`minicpmv`): transformers has no class for it, and its folder names code of its
own, for the tokenizer too.

The form: flat; the text model's names behind `llm.`; every number of a picture's slices in
preprocessor_config.json; rows are `<unk>`; a template that takes strings alone.
"""

from ..forms import TOOLS
from ..kinds import HALF, Animal
from ..tokens import Tokens

MARKS = [
    "<image>",
    "</image>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<quad>",
    "</quad>",
    "<point>",
    "</point>",
]
MARKS += ["<slice>", "</slice>", "<image_id>", "</image_id>"]
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def minicpmv() -> Animal:
    """Two heads in the resampler, whose are 128 wide each."""
    tokens = Tokens(["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", *MARKS], TOOLS)
    config = {
        "_name_or_path": "openbmb/MiniCPM-V-2_6",
        "architectures": ["MiniCPMV"],
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_minicpm.MiniCPMVConfig",
            "AutoModel": "modeling_minicpmv.MiniCPMV",
            "AutoModelForCausalLM": "modeling_minicpmv.MiniCPMV",
        },
        "batch_vision_input": True,
        "bos_token_id": tokens["<|endoftext|>"],
        "drop_vision_last_layer": False,
        "eos_token_id": tokens["<|im_end|>"],
        "hidden_act": "silu",
        "hidden_size": 256,
        "image_size": 56,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 32768,
        "max_window_layers": 2,
        "model_type": "minicpmv",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "patch_size": 14,
        "query_num": 4,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "slice_config": {"max_slice_nums": 9, "model_type": "minicpmv", "patch_size": 14},
        "slice_mode": True,
        "sliding_window": 131072,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.0",
        "use_cache": True,
        "use_sliding_window": False,
        "version": 2.6,
        "vision_config": {
            "hidden_size": 32,
            "image_size": 140,
            "intermediate_size": 48,
            "model_type": "siglip",
            "num_attention_heads": 2,
            "num_hidden_layers": 2,
            "patch_size": 14,
        },
        "vocab_size": tokens.padded(),
    }
    return Animal(
        config=config,
        truth={**config, "row_token": tokens["<unk>"]},
        model="Model",
        own="minicpmv",
        tokens=tokens,
        tokenizer={
            "add_prefix_space": False,
            "additional_special_tokens": MARKS,
            "auto_map": {
                "AutoTokenizer": ["tokenization_minicpmv_fast.MiniCPMVTokenizerFast", None]
            },
            "bos_token": "<|im_start|>",
            "chat_template": TEMPLATE,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 1000000000000000019884624838656,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "MiniCPMVTokenizerFast",
            "unk_token": "<unk>",
        },
        files={
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]]
            },
            "preprocessor_config.json": {
                "auto_map": {
                    "AutoImageProcessor": "image_processing_minicpmv.MiniCPMVImageProcessor",
                    "AutoProcessor": "processing_minicpmv.MiniCPMVProcessor",
                },
                "im_end": "</image>",
                "im_id_end": "</image_id>",
                "im_id_start": "<image_id>",
                "im_start": "<image>",
                "image_feature_size": 4,
                "image_processor_type": "MiniCPMVImageProcessor",
                "max_slice_nums": 9,
                "norm_mean": HALF,
                "norm_std": HALF,
                "patch_size": 14,
                "processor_class": "MiniCPMVProcessor",
                "scale_resolution": 56,
                "slice_end": "</slice>",
                "slice_mode": True,
                "slice_start": "<slice>",
                "unk": "<unk>",
                "use_image_id": True,
                "version": 2.6,
            },
        },
        takes=("image", "video"),
        shards=2,
    )


ANIMALS = {"minicpmv": minicpmv}
