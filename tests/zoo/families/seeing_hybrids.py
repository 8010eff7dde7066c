"""Pictures and clips for texts with a state (`qwen3_5`, `qwen3_5_moe`, `minicpmv4_6`, `lfm2_vl`,
`lfm3_vl`).

The form: Qwen3.5 has Qwen3-VL's processor, names one end in its text part and ends turns with
another, and stores layers that guess tokens ahead, which nothing reads. MiniCPM-V 4.6 cuts pictures
into slices, which it numbers within a conversation. LFM2-VL cuts them into tiles with the names of
their places and states the cutting in config.json; LFM3-VL's pictures are Qwen's, and its text has
windows beside convolutions.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer
from ..kinds import HALF, Animal, Json
from ..tokens import Tokens
from .hybrids import LFM, lfm_text, lfm_tokenizer
from .qwen_vl import MARKS, _pixels3, marks

DELTA: Json = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_output_gate": True,
    "full_attention_interval": 4,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 96,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_value_head_dim": 16,
    "mamba_ssm_dtype": "float32",
    "max_position_embeddings": 262144,
    "mlp_only_layers": [],
    "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "use_cache": True,
}
EXTRA = {
    "mtp.fc.weight": (64, 128),
    "mtp.norm.weight": (64,),
    "mtp.pre_fc_norm_hidden.weight": (64,),
}


def _qwen(kind: str, model: str, tied: bool, text: Json) -> Animal:
    tokens = Tokens(CHATML, [*TOOLS, *THINKING])
    return Animal(
        config={
            "architectures": [model],
            **marks(tokens),
            "model_type": kind,
            "text_config": {
                **DELTA,
                "dtype": "bfloat16",
                "eos_token_id": tokens["<|endoftext|>"],
                "model_type": f"{kind}_text",
                "rope_parameters": {
                    "mrope_interleaved": True,
                    "mrope_section": [2, 1, 1],
                    "partial_rotary_factor": 0.25,
                    "rope_theta": 10000000,
                    "rope_type": "default",
                },
                "tie_word_embeddings": tied,
                "vocab_size": tokens.padded(),
                **text,
            },
            "tie_word_embeddings": tied,
            "transformers_version": "4.57.0.dev0",
            "vision_config": {
                "deepstack_visual_indexes": [],
                "depth": 2,
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 32,
                "in_channels": 3,
                "initializer_range": 0.02,
                "intermediate_size": 48,
                "model_type": kind,
                "num_heads": 2,
                "num_position_embeddings": 64,
                "out_hidden_size": 64,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        },
        model=model,
        tokens=tokens,
        tokenizer=chatml_tokenizer(262144, add_bos_token=False),
        files={
            "preprocessor_config.json": _pixels3(
                "image", "Qwen2VLImageProcessorFast", 65536 // 16, 16777216
            ),
            "video_preprocessor_config.json": _pixels3(
                "video", "Qwen3VLVideoProcessor", 4096, 25165824
            ),
            "chat_template.jinja": chatml_template(MARKS, ""),
        },
        takes=("image", "video"),
        extra=EXTRA,
    )


def qwen3_5() -> Animal:
    """0.8B: its folder has no generation_config.json."""
    return _qwen("qwen3_5", "Qwen3_5ForConditionalGeneration", True, {})


def qwen3_5_moe() -> Animal:
    """35B-A3B."""
    text = {
        "moe_intermediate_size": 24,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "shared_expert_intermediate_size": 24,
    }
    return _qwen("qwen3_5_moe", "Qwen3_5MoeForConditionalGeneration", False, text)


SLICES = ["<image>", "</image>", "<slice>", "</slice>", "<image_id>", "</image_id>"]


def minicpmv4_6() -> Animal:
    """Patches of half the published width: a slice of 56 pixels has four rows, so that a step may
    end in it."""
    tokens = Tokens([*CHATML, *SLICES], [*TOOLS, *THINKING])
    return Animal(
        config={
            "architectures": ["MiniCPMV4_6ForConditionalGeneration"],
            "bos_token_id": None,
            "drop_vision_last_layer": False,
            "eos_token_id": tokens["<|endoftext|>"],
            "image_size": 224,
            "image_token_id": tokens["<|image_pad|>"],
            "insert_layer_id": 0,
            "model_type": "minicpmv4_6",
            "pad_token_id": None,
            "text_config": {
                **DELTA,
                "model_type": "qwen3_5_text",
                "partial_rotary_factor": 0.25,
                "rope_parameters": {
                    "partial_rotary_factor": 0.25,
                    "rope_theta": 10000000,
                    "rope_type": "default",
                },
                "tie_word_embeddings": True,
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": True,
            "transformers_version": "5.7.0",
            "use_cache": True,
            "video_token_id": tokens["<|video_pad|>"],
            "vision_config": {
                "attention_dropout": 0.0,
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 32,
                "image_size": 224,
                "intermediate_size": 48,
                "layer_norm_eps": 1e-06,
                "model_type": "minicpmv4_6_vision",
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "patch_size": 7,
            },
        },
        model="MiniCPMV4_6ForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            262144,
            bos_token="<|im_start|>",
            extra_special_tokens={
                "image_end_token": "</image>",
                "image_id_end_token": "</image_id>",
                "image_id_start_token": "<image_id>",
                "image_start_token": "<image>",
                "image_token": "<|image_pad|>",
                "slice_end_token": "</slice>",
                "slice_start_token": "<slice>",
                "video_token": "<|video_pad|>",
            },
            processor_class="MiniCPMV4_6Processor",
        ),
        files={
            "preprocessor_config.json": {
                "image_mean": HALF,
                "image_processor_type": "MiniCPMV4_6ImageProcessor",
                "image_std": HALF,
                "max_slice_nums": 4,
                "patch_size": 7,
                "processor_class": "MiniCPMV4_6Processor",
                "scale_resolution": 56,
                "slice_mode": True,
                "use_image_id": True,
            },
            "generation_config.json": {
                "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]]
            },
            "chat_template.jinja": chatml_template(
                {"image": "<|image_pad|>\n", "video": "<|video_pad|>\n"}, ""
            ),
        },
        takes=("image", "video"),
    )


TILES = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]


def lfm2_vl() -> Animal:
    """LFM2.5-VL 1.6B."""
    tokens = Tokens(
        [*LFM, "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *TILES],
        bos="<|startoftext|>",
    )
    cutting: Json = {
        "do_image_splitting": True,
        "downsample_factor": 2,
        "encoder_patch_size": 16,
        "max_image_tokens": 16,
        "max_pixels_tolerance": 2.0,
        "max_tiles": 4,
        "min_image_tokens": 4,
        "min_tiles": 2,
        "tile_size": 64,
        "use_thumbnail": True,
    }
    return Animal(
        config={
            **cutting,
            "architectures": ["Lfm2VlForConditionalGeneration"],
            "dtype": "bfloat16",
            "image_token_id": tokens["<image>"],
            "model_type": "lfm2_vl",
            "projector_bias": True,
            "projector_hidden_act": "gelu",
            "projector_hidden_size": 64,
            "projector_use_layernorm": False,
            "text_config": {
                **{
                    name: value
                    for name, value in lfm_text(tokens).items()
                    if not name.startswith("block_ff")
                },
                "architectures": ["Lfm2ForCausalLM"],
                "block_ff_dim": 160,
                "block_ffn_dim_multiplier": 1.0,
                "dtype": "bfloat16",
                "intermediate_size": 160,
                "layer_types": ["conv", "full_attention", "conv", "full_attention"],
                "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
            },
            "transformers_version": "5.0.0.dev0",
            "use_image_special_tokens": True,
            "vision_config": {
                "attention_dropout": 0.0,
                "dtype": "bfloat16",
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": 32,
                "intermediate_size": 48,
                "layer_norm_eps": 1e-06,
                "model_type": "siglip2_vision_model",
                "num_attention_heads": 2,
                "num_channels": 3,
                "num_hidden_layers": 2,
                "num_patches": 16,
                "patch_size": 16,
                "vision_use_head": False,
            },
        },
        model="Lfm2VlForConditionalGeneration",
        tokens=tokens,
        tokenizer=lfm_tokenizer(
            extra_special_tokens={
                "image_end_token": "<|image_end|>",
                "image_start_token": "<|image_start|>",
                "image_thumbnail": "<|img_thumbnail|>",
                "image_token": "<image>",
            },
            processor_class="Lfm2VlProcessor",
        ),
        files={
            "processor_config.json": {
                "image_processor": {
                    **cutting,
                    "do_normalize": True,
                    "do_pad": True,
                    "do_rescale": True,
                    "do_resize": True,
                    "image_mean": HALF,
                    "image_processor_type": "Lfm2VlImageProcessorFast",
                    "image_std": HALF,
                    "max_num_patches": 64,
                    "resample": 2,
                    "return_row_col_info": True,
                    "size": {"height": 64, "width": 64},
                },
                "processor_class": "Lfm2VlProcessor",
            },
            "generation_config.json": {
                "eos_token_id": tokens["<|im_end|>"],
                "pad_token_id": tokens["<|pad|>"],
            },
            "chat_template.jinja": "{{ bos_token }}" + chatml_template({"image": "<image>"}, ""),
        },
        takes=("image",),
    )


def lfm3_vl() -> Animal:
    tokens = Tokens(
        [*LFM, "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>"],
        bos="<|startoftext|>",
    )
    return Animal(
        config={
            "architectures": ["Lfm3VlForConditionalGeneration"],
            "dtype": "bfloat16",
            **marks(tokens),
            "model_type": "lfm3_vl",
            "projector_bias": True,
            "projector_hidden_act": "gelu",
            "projector_hidden_size": 64,
            "text_config": {
                "bos_token_id": tokens["<|startoftext|>"],
                "conv_L_cache": 7,
                "conv_bias": False,
                "dtype": "bfloat16",
                "eos_token_id": tokens["<|im_end|>"],
                "head_dim": 16,
                "hidden_size": 64,
                "intermediate_size": 96,
                "layer_types": ["conv", "conv", "full_attention", "conv", "sliding_attention"],
                "max_position_embeddings": 128000,
                "model_type": "lfm3",
                "norm_eps": 1e-05,
                "num_attention_heads": 4,
                "num_hidden_layers": 5,
                "num_key_value_heads": 2,
                "pad_token_id": tokens["<|pad|>"],
                "rope_parameters": {
                    "full_attention": {
                        "partial_rotary_factor": 0.5,
                        "rope_theta": 1000000.0,
                        "rope_type": "proportional",
                    },
                    "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
                },
                "sliding_window": 16,
                "use_attention_gate": True,
                "use_sandwich_norm": True,
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": True,
            "vision_config": {
                "conv_kernel_size": 3,
                "hidden_size": 32,
                "in_channels": 3,
                "intermediate_size": 48,
                "layer_types": ["conv", "full_attention"],
                "model_type": "lfm3_vl_vision",
                "norm_eps": 1e-05,
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "num_key_value_heads": 1,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        },
        model="Lfm3VlForConditionalGeneration",
        tokens=tokens,
        tokenizer=lfm_tokenizer(processor_class="Lfm3VlProcessor"),
        files={
            "preprocessor_config.json": {
                **_pixels3("image", "Qwen2VLImageProcessorFast", 4096, 16777216),
                "processor_class": "Lfm3VlProcessor",
            },
            "video_preprocessor_config.json": {
                **_pixels3("video", "Qwen3VLVideoProcessor", 4096, 25165824),
                "processor_class": "Lfm3VlProcessor",
            },
            "generation_config.json": {
                "eos_token_id": tokens["<|im_end|>"],
                "pad_token_id": tokens["<|pad|>"],
            },
            "chat_template.jinja": "{{ bos_token }}"
            + chatml_template(
                {"image": "<|vision_start|><|image_pad|><|vision_end|>", "video": "<|video_pad|>"},
                "",
            ),
        },
        takes=("image", "video"),
    )


ANIMALS = {
    "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe,
    "minicpmv4_6": minicpmv4_6,
    "lfm2_vl": lfm2_vl,
    "lfm3_vl": lfm3_vl,
}
