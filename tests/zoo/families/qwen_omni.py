"""Qwen2.5-Omni and Qwen3-Omni (`qwen2_5_omni`, `qwen3_omni_moe`).

The form: the whole folder, of which the thinker is what answers: numbers, marks and the only ends
stand in `thinker_config`, weights under `thinker.` beside those of the talker and of the waveform,
and generation_config.json says nothing. One file of settings for pictures, clips and sounds. The
architecture named in config.json is older than the class. Every sub-configuration repeats the
defaults of its base class, `torch_dtype` null among them.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens

OMNI = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
    "<|vision_pad|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
]
BASE: Json = {
    "_name_or_path": "",
    "architectures": None,
    "bos_token_id": None,
    "do_sample": False,
    "eos_token_id": None,
    "is_encoder_decoder": False,
    "max_length": 20,
    "num_beams": 1,
    "pad_token_id": None,
    "return_dict": True,
    "temperature": 1.0,
    "tie_word_embeddings": True,
    "torch_dtype": None,
}
"""Part of what a configuration of its time wrote of its base class."""
ROPE: Json = {"mrope_section": [2, 3, 3], "rope_type": "default", "type": "default"}
NAMES = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}


def sounds(length: int, processor: str) -> Json:
    """Whisper's settings, for sounds of at most `length` seconds."""
    return {
        "chunk_length": length,
        "dither": 0.0,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 128,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": length * 16000,
        "nb_max_frames": length * 100,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": processor,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    }


def _thinker(tokens: Tokens) -> Json:
    return {
        "architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"],
        "audio_config": {
            **BASE,
            "activation_function": "gelu",
            "d_model": 32,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "encoder_layers": 2,
            "max_source_positions": 1500,
            "model_type": "qwen2_5_omni_audio_encoder",
            "n_window": 100,
            "num_hidden_layers": 2,
            "num_mel_bins": 128,
            "output_dim": 64,
            "scale_embedding": False,
        },
        "audio_end_token_id": tokens["<|audio_eos|>"],
        "audio_start_token_id": tokens["<|audio_bos|>"],
        "audio_token_index": tokens["<|AUDIO|>"],
        "bos_token_id": tokens["<|im_start|>"],
        "eos_token_id": tokens["<|im_end|>"],
        "ignore_index": -100,
        "image_token_index": tokens["<|IMAGE|>"],
        "model_type": "qwen2_5_omni_thinker",
        "pad_token_id": tokens["<|endoftext|>"],
        "position_id_per_seconds": 25,
        "seconds_per_chunk": 2,
        "text_config": {
            "hidden_act": "silu",
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 32768,
            "max_window_layers": 3,
            "model_type": "qwen2_5_omni_text",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": ROPE,
            "rope_theta": 1000000.0,
            "sliding_window": 32768,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        "torch_dtype": "bfloat16",
        "user_token_id": 117,
        "video_token_index": tokens["<|VIDEO|>"],
        "vision_config": {
            **BASE,
            "depth": 2,
            "embed_dim": 32,
            "fullatt_block_indexes": [1],
            "hidden_act": "silu",
            "hidden_size": 32,
            "in_channels": 3,
            "in_chans": 3,
            "intermediate_size": 48,
            "model_type": "qwen2_5_omni_vision_encoder",
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
            "tokens_per_second": 25,
            "window_size": 56,
        },
        "vision_end_token_id": tokens["<|vision_eos|>"],
        "vision_start_token_id": tokens["<|vision_bos|>"],
        "vision_token_id": tokens["<|vision_pad|>"],
    }


def qwen2_5_omni() -> Animal:
    tokens = Tokens(OMNI, TOOLS)
    template = chatml_template(
        {
            "image": "<|vision_bos|><|IMAGE|><|vision_eos|>",
            "audio": "<|audio_bos|><|AUDIO|><|audio_eos|>",
            "video": "<|vision_bos|><|VIDEO|><|vision_eos|>",
        }
    )
    return Animal(
        config={
            "architectures": ["Qwen2_5OmniModel"],
            "enable_audio_output": True,
            "enable_talker": True,
            "model_type": "qwen2_5_omni",
            "talker_config": {
                "audio_token_index": tokens["<|AUDIO|>"],
                "embedding_size": 64,
                "head_dim": 16,
                "hidden_size": 32,
                "intermediate_size": 48,
                "model_type": "qwen2_5_omni_talker",
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "num_key_value_heads": 1,
                "rope_scaling": ROPE,
                "torch_dtype": "bfloat16",
                "vocab_size": 64,
            },
            "thinker_config": _thinker(tokens),
            "token2wav_config": {"model_type": "qwen2_5_omni_token2wav"},
            "torch_dtype": "bfloat16",
            "transformers_version": "4.50.0.dev0",
        },
        model="Qwen2_5OmniThinkerForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            **chatml_tokenizer(
                special=OMNI[1:], extra_special_tokens=NAMES, processor_class="Qwen2_5OmniProcessor"
            ),
            **NAMES,
        },
        files={
            "preprocessor_config.json": {
                **sounds(300, "Qwen2_5OmniProcessor"),
                "image_mean": CLIP_MEAN,
                "image_processor_type": "Qwen2VLImageProcessor",
                "image_std": CLIP_STD,
                "max_pixels": 12845056,
                "merge_size": 2,
                "min_pixels": 3136,
                "patch_size": 14,
                "temporal_patch_size": 2,
            },
            "generation_config.json": {
                "_from_model_config": True,
                "transformers_version": "4.50.0.dev0",
            },
            "added_tokens.json": {token: tokens[token] for token in [*OMNI, *TOOLS]},
            "chat_template.json": {"chat_template": template},
        },
        takes=("image", "video", "audio"),
        rename="thinker.{}".format,
        extra={
            "talker.codec_head.weight": (64, 32),
            "talker.model.norm.weight": (32,),
            "thinker.audio_tower.audio_bos_eos_token.weight": (2, 64),
            "token2wav.code2wav_dit_model.rotary_embed.inv_freq": (8,),
        },
        shards=5,
    )


SOUND_MARKS = ["<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>",
    "<tts_text_bos_single>",
               "<|audio_pad|>"]  # fmt: skip
NAMES3 = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}


def _thinker3(tokens: Tokens) -> Json:
    return {
        "audio_config": {
            **{name: value for name, value in BASE.items() if name != "torch_dtype"},
            "activation_function": "gelu",
            "conv_chunksize": 500,
            "d_model": 32,
            "downsample_hidden_size": 8,
            "dtype": None,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "encoder_layers": 2,
            "max_source_positions": 1500,
            "model_type": "qwen3_omni_moe_audio_encoder",
            "n_window": 50,
            "n_window_infer": 800,
            "num_hidden_layers": 2,
            "num_mel_bins": 128,
            "output_dim": 64,
            "scale_embedding": False,
        },
        "audio_end_token_id": tokens["<|audio_end|>"],
        "audio_start_token_id": tokens["<|audio_start|>"],
        "audio_token_id": tokens["<|audio_pad|>"],
        "dtype": "bfloat16",
        "image_token_id": tokens["<|image_pad|>"],
        "initializer_range": 0.02,
        "model_type": "qwen3_omni_moe_thinker",
        "position_id_per_seconds": 13,
        "seconds_per_chunk": 2,
        "text_config": {
            "attention_bias": False,
            "decoder_sparse_step": 1,
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 65536,
            "mlp_only_layers": [],
            "model_type": "qwen3_omni_moe_text",
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
            "num_attention_heads": 4,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {"interleaved": True, "mrope_interleaved": True,
                "mrope_section": [4, 2, 2], "rope_type": "default",
                             "type": "default"},
            "rope_theta": 1000000,
            "shared_expert_intermediate_size": 0,
            "sliding_window": None,
            "use_qk_norm": True,
            "use_sliding_window": False,
            "vocab_size": tokens.padded(),
        },
        "user_token_id": 117,
        "video_token_id": tokens["<|video_pad|>"],
        "vision_config": {
            "deepstack_visual_indexes": [0, 1],
            "depth": 3,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32,
            "image_size": 128,
            "in_channels": 3,
            "intermediate_size": 48,
            "model_type": "qwen3_omni_moe_vision_encoder",
            "num_heads": 2,
            "num_position_embeddings": 64,
            "out_hidden_size": 64,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "spatial_patch_size": 16,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
        },
        "vision_end_token_id": tokens["<|vision_end|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
    }  # fmt: skip


def qwen3_omni_moe() -> Animal:
    """Ends in generation_config.json are the talker's too; experts are stored one by one."""
    tokens = Tokens([*CHATML, *SOUND_MARKS], [*TOOLS, *THINKING])
    template = chatml_template(
        {
            "image": "<|vision_start|><|image_pad|><|vision_end|>",
            "audio": "<|audio_start|><|audio_pad|><|audio_end|>",
            "video": "<|vision_start|><|video_pad|><|vision_end|>",
        },
        "",
    )
    return Animal(
        config={
            "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
            "assistant_token_id": 97,
            "dtype": "bfloat16",
            "enable_audio_output": True,
            "im_end_token_id": tokens["<|im_end|>"],
            "im_start_token_id": tokens["<|im_start|>"],
            "model_type": "qwen3_omni_moe",
            "system_token_id": 115,
            "thinker_config": _thinker3(tokens),
            "transformers_version": "4.57.0.dev0",
            "user_token_id": 117,
        },
        model="Qwen3OmniMoeThinkerForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            131072,
            [*CHATML[1:], *SOUND_MARKS],
            extra_special_tokens=NAMES3,
            processor_class="Qwen3OmniMoeProcessor",
            **NAMES3,
        ),
        files={
            "preprocessor_config.json": {
                **sounds(30, "Qwen3OmniMoeProcessor"),
                "image_mean": HALF,
                "image_processor_type": "Qwen2VLImageProcessor",
                "image_std": HALF,
                "max_pixels": 12845056,
                "merge_size": 2,
                "min_pixels": 3136,
                "patch_size": 16,
                "temporal_patch_size": 2,
            },
            "generation_config.json": {
                "talker_max_new_tokens": 4096,
                "do_sample": True,
                "temperature": 0.9,
            },
            "chat_template.json": {"chat_template": template},
        },
        takes=("image", "video", "audio"),
        rename="thinker.{}".format,
        extra={"talker.codec_head.weight": (64, 32), "code2wav.code_embedding.weight": (16, 8)},
        shards=3,
    )


ANIMALS = {"qwen2_5_omni": qwen2_5_omni, "qwen3_omni_moe": qwen3_omni_moe}
