"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL (`qwen2_vl`, `qwen2_5_vl`, `qwen3_vl`, `qwen3_vl_moe`).

The form: 2 and 2.5 are flat, with everything of the text at the top, `rope_scaling.type` "mrope",
`in_chans`, a window that is set and not used, and weights under `visual.` and `model.`; their
folders have one file of pixel bounds, for pictures and clips. The 2B and 3B tie their table by the
top's word and store no head. 3 is nested, names its head's width, states its dtype in the text
alone, has a file of its own for clips, and names its picture processor with "Fast". The experts of
its sparse sibling are stored fused and transposed. Templates stand in chat_template.json.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer, special_map
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens

MARKS = {
    "image": "<|vision_start|><|image_pad|><|vision_end|>",
    "video": "<|vision_start|><|video_pad|><|vision_end|>",
}


def marks(tokens: Tokens) -> Json:
    return {
        "image_token_id": tokens["<|image_pad|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "vision_end_token_id": tokens["<|vision_end|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
    }


def generation(tokens: Tokens, **more: object) -> Json:
    """Both ends; the sampling settings of the published file say greedy in their own way, or
    not."""
    return {
        "bos_token_id": tokens["<|endoftext|>"],
        "do_sample": True,
        "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
        "pad_token_id": tokens["<|endoftext|>"],
        **more,
    }


def _flat(tokens: Tokens, model: str, kind: str, **more: object) -> Json:
    """config.json of 2 and 2.5."""
    return {
        "architectures": [model],
        "attention_dropout": 0.0,
        "bos_token_id": tokens["<|endoftext|>"],
        "eos_token_id": tokens["<|im_end|>"],
        **marks(tokens),
        "vision_token_id": tokens["<|vision_pad|>"],
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_window_layers": 3,
        "model_type": kind,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": tokens.padded(),
        **more,
    }


def qwen2_vl() -> Animal:
    """The 2B: tied by the top alone, two shards."""
    model = "Qwen2VLForConditionalGeneration"
    tokens = Tokens(CHATML)
    return Animal(
        config=_flat(
            tokens,
            model,
            "qwen2_vl",
            _attn_implementation="eager",
            max_position_embeddings=32768,
            tie_word_embeddings=True,
            vision_config={
                "depth": 2,
                "embed_dim": 32,
                "hidden_size": 64,
                "in_chans": 3,
                "mlp_ratio": 2,
                "num_heads": 2,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "spatial_patch_size": 14,
                "temporal_patch_size": 2,
            },
        ),
        model=model,
        tokens=tokens,
        tokenizer=chatml_tokenizer(),
        files={
            "preprocessor_config.json": {
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": CLIP_MEAN,
                "image_processor_type": "Qwen2VLImageProcessor",
                "image_std": CLIP_STD,
                "max_pixels": 1003520,
                "merge_size": 2,
                "min_pixels": 3136,
                "patch_size": 14,
                "processor_class": "Qwen2VLProcessor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"max_pixels": 1003520, "min_pixels": 3136},
                "temporal_patch_size": 2,
                "vision_token_id": tokens["<|vision_pad|>"],
            },
            "generation_config.json": generation(
                tokens, temperature=0.01, top_k=1, top_p=0.001, repetition_penalty=1.0
            ),
            "special_tokens_map.json": {
                "additional_special_tokens": CHATML[1:],
                **special_map(eos_token="<|im_end|>", pad_token="<|endoftext|>"),
            },
            "added_tokens.json": {token: tokens[token] for token in CHATML},
            "chat_template.json": {"chat_template": chatml_template(MARKS)},
        },
        takes=("image", "video"),
        shards=2,
    )


def qwen2_5_vl() -> Animal:
    """The 7B: a head of its own; a window of the tower; `hidden_size` of the tower means another
    thing than in 2."""
    model = "Qwen2_5_VLForConditionalGeneration"
    tokens = Tokens(CHATML, TOOLS)
    return Animal(
        config=_flat(
            tokens,
            model,
            "qwen2_5_vl",
            max_position_embeddings=128000,
            tie_word_embeddings=False,
            vision_config={
                "depth": 2,
                "fullatt_block_indexes": [1],
                "hidden_act": "silu",
                "hidden_size": 32,
                "in_chans": 3,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 64,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "spatial_patch_size": 14,
                "temporal_patch_size": 2,
                "tokens_per_second": 2,
                "window_size": 56,
            },
        ),
        model=model,
        tokens=tokens,
        tokenizer=chatml_tokenizer(131072, add_bos_token=False),
        files={
            "preprocessor_config.json": {
                "image_mean": CLIP_MEAN,
                "image_processor_type": "Qwen2VLImageProcessor",
                "image_std": CLIP_STD,
                "max_pixels": 12845056,
                "merge_size": 2,
                "min_pixels": 3136,
                "patch_size": 14,
                "processor_class": "Qwen2_5_VLProcessor",
                "temporal_patch_size": 2,
            },
            "generation_config.json": generation(
                tokens, temperature=1e-06, repetition_penalty=1.05
            ),
            "chat_template.json": {"chat_template": chatml_template(MARKS)},
        },
        takes=("image", "video"),
        shards=2,
    )


def _pixels3(kind: str, processor: str, least: int, most: int) -> Json:
    return {
        "image_mean": HALF,
        "image_std": HALF,
        f"{kind}_processor_type": processor,
        "merge_size": 2,
        "patch_size": 16,
        "processor_class": "Qwen3VLProcessor",
        "size": {"longest_edge": most, "shortest_edge": least},
        "temporal_patch_size": 2,
    }


def _third(
    kind: str, model: str, tied: bool, text: Json, **more: object
) -> tuple[Tokens, Json, Json]:
    """Tokens, config.json and the other files of 3."""
    tokens = Tokens(CHATML, [*TOOLS, *THINKING])
    config = {
        "architectures": [model],
        **marks(tokens),
        "model_type": kind,
        "text_config": {
            "attention_bias": False,
            "head_dim": 24,
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 262144,
            "model_type": f"{kind}_text",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": [4, 4, 4],
                "rope_type": "default",
            },
            "rope_theta": 5000000,
            "vocab_size": tokens.padded(),
            **text,
        },
        "tie_word_embeddings": tied,
        "transformers_version": "4.57.0.dev0",
        "vision_config": {
            "deepstack_visual_indexes": [0, 1],
            "depth": 3,
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
    }
    files = {
        "preprocessor_config.json": _pixels3(
            "image", "Qwen2VLImageProcessorFast", 65536 // 16, 16777216
        ),
        "video_preprocessor_config.json": _pixels3(
            "video", "Qwen3VLVideoProcessor", 4096, 25165824
        ),
        "generation_config.json": generation(
            tokens, temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.0
        ),
        "chat_template.json": {"chat_template": chatml_template(MARKS, "")},
    }
    return tokens, config, files


def qwen3_vl() -> Animal:
    """The 4B: tied in both places."""
    own: Json = {
        "bos_token_id": 256,
        "dtype": "bfloat16",
        "eos_token_id": 258,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "use_cache": True,
    }
    tokens, config, files = _third("qwen3_vl", "Qwen3VLForConditionalGeneration", True, own)
    return Animal(
        config=config,
        model="Qwen3VLForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(262144, add_bos_token=False),
        files=files,
        takes=("image", "video"),
        shards=2,
    )


def qwen3_vl_moe() -> Animal:
    """Its configuration names no end and no dtype; inputs come before outputs in its experts, each
    of which was published in one tensor with all others."""
    own: Json = {
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 24,
        "norm_topk_prob": True,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    }
    tokens, config, files = _third("qwen3_vl_moe", "Qwen3VLMoeForConditionalGeneration", False, own)
    return Animal(
        config=config,
        model="Qwen3VLMoeForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(262144, add_bos_token=False),
        files=files,
        takes=("image", "video"),
        turned=(".experts.gate_up_proj", ".experts.down_proj"),
        shards=2,
    )


ANIMALS = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl_moe,
}
