"""Models of sounds (`qwen2_audio`, `qwen3_asr`, `granite_speech`).

The form: Qwen2-Audio leaves out every size of its text that is its class's default and has stored
positions in its tower. Qwen3-ASR puts everything under `thinker_config`, which transformers' own
class does not read, and its weights under `thinker.`; it takes one sound. Granite speech reads mel
frames in pairs and answers as a Granite.
"""

from ..forms import CHATML, THINKING, TOOLS, chatml_template, chatml_tokenizer
from ..kinds import Animal, Json
from ..tokens import Tokens
from .llama import GRANITE, GRANITE_SCALES, granite_tokenizer
from .qwen_omni import SOUND_MARKS, sounds


def qwen2_audio() -> Animal:
    """Qwen2-Audio 7B: no dtype but the text's, no ties said, a window set and not used."""
    special = [
        *CHATML[:3],
        "<|AUDIO|>",
        "<|audio_bos|>",
        "<|audio_eos|>",
        "<|sil|>",
        "<|0.00|>",
        "<|0.01|>",
    ]
    tokens = Tokens(special)
    return Animal(
        config={
            "architectures": ["Qwen2AudioForConditionalGeneration"],
            "audio_config": {
                "activation_function": "gelu",
                "d_model": 32,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": 48,
                "encoder_layers": 2,
                "max_source_positions": 1500,
                "model_type": "qwen2_audio_encoder",
                "num_mel_bins": 128,
                "scale_embedding": False,
            },
            "audio_token_index": tokens["<|AUDIO|>"],
            "ignore_index": -100,
            "model_type": "qwen2_audio",
            "text_config": {
                "bos_token_id": tokens["<|endoftext|>"],
                "eos_token_id": tokens["<|im_end|>"],
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 8192,
                "model_type": "qwen2",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 4,
                "rms_norm_eps": 1e-05,
                "rope_theta": 10000,
                "sliding_window": 32768,
                "torch_dtype": "bfloat16",
                "use_mrope": False,
                "vocab_size": tokens.padded(),
            },
            "transformers_version": "4.38.1",
            "vocab_size": tokens.padded(),
        },
        model="Qwen2AudioForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(8192, special[1:6], chat_template=_audio_template()),
        files={
            "preprocessor_config.json": {
                name: value
                for name, value in sounds(30, "Qwen2AudioProcessor").items()
                if name != "dither"
            },
            "generation_config.json": {
                "chat_format": "chatml",
                "do_sample": True,
                "eos_token_id": [tokens["<|endoftext|>"], tokens["<|im_end|>"]],
                "pad_token_id": tokens["<|endoftext|>"],
                "repetition_penalty": 1.1,
                "temperature": 0.7,
            },
        },
        takes=("audio",),
        shards=3,
    )


def _audio_template() -> str:
    return chatml_template({"audio": "Audio: <|audio_bos|><|AUDIO|><|audio_eos|>\n"})


def _asr_text(tokens: Tokens) -> Json:
    return {
        "attention_bias": False,
        "head_dim": 16,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 65536,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000,
        "tie_word_embeddings": True,
        "vocab_size": tokens.padded(),
    }


ASR_TOWER: Json = {
    "activation_function": "gelu",
    "conv_chunksize": 500,
    "d_model": 32,
    "downsample_hidden_size": 8,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "encoder_layers": 2,
    "max_source_positions": 1500,
    "n_window": 50,
    "n_window_infer": 800,
    "num_mel_bins": 128,
    "output_dim": 64,
    "scale_embedding": False,
}


def _asr_native(tokens: Tokens) -> Json:
    """config.json as transformers' own class writes it."""
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "audio_config": {**ASR_TOWER, "model_type": "qwen3_asr_encoder"},
        "audio_token_id": tokens["<|audio_pad|>"],
        "dtype": "bfloat16",
        "eos_token_id": _asr_ends(tokens),
        "model_type": "qwen3_asr",
        "pad_token_id": tokens["<|endoftext|>"],
        "text_config": {**_asr_text(tokens), "model_type": "qwen3"},
        "tie_word_embeddings": True,
    }


def _asr_ends(tokens: Tokens) -> list[int]:
    return [tokens["<|endoftext|>"], tokens["<|im_end|>"]]


def _asr_published(tokens: Tokens) -> Json:
    """config.json of the first release: all under `thinker_config`, none of which transformers' own
    class reads."""
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "model_type": "qwen3_asr",
        "support_languages": ["Chinese", "English"],
        "thinker_config": {
            "architectures": ["Qwen3ASRForConditionalGeneration"],
            "audio_config": {
                **ASR_TOWER,
                "dtype": None,
                "model_type": "qwen3_asr_audio_encoder",
                "num_hidden_layers": 2,
            },
            "audio_end_token_id": tokens["<|audio_end|>"],
            "audio_start_token_id": tokens["<|audio_start|>"],
            "audio_token_id": tokens["<|audio_pad|>"],
            "dtype": "bfloat16",
            "initializer_range": 0.02,
            "model_type": "qwen3_asr_thinker",
            "text_config": {
                **_asr_text(tokens),
                "dtype": None,
                "eos_token_id": None,
                "model_type": "qwen3_asr_text",
                "rope_scaling": {
                    "interleaved": True,
                    "mrope_interleaved": True,
                    "mrope_section": [4, 2, 2],
                    "rope_type": "default",
                    "type": "default",
                },
            },
            "user_token_id": 117,
        },
        "transformers_version": "4.57.6",
    }


def qwen3_asr() -> Animal:
    """Qwen3-ASR 0.6B in the form that its native class reads and writes."""
    return _asr(native=True)


def qwen3_asr_thinker() -> Animal:
    """The same as first published."""
    return _asr(native=False)


def _asr_name(name: str) -> str:
    if name.startswith("model.multi_modal_projector.linear_"):
        return name.replace("model.multi_modal_projector.linear_", "thinker.audio_tower.proj")
    return "thinker." + name.removeprefix("model.").replace("language_model.", "model.")


def _asr(native: bool) -> Animal:
    tokens = Tokens([*CHATML, *SOUND_MARKS], [*TOOLS, *THINKING, "<asr_text>"])
    names = {
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
        "audio_token": "<|audio_pad|>",
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    extractor: Json = {} if not native else {"feature_extractor_type": "Qwen3ASRFeatureExtractor"}
    return Animal(
        config=_asr_native(tokens) if native else _asr_published(tokens),
        truth=_asr_native(tokens),
        twin="" if native else "qwen3_asr",
        model="Qwen3ASRForConditionalGeneration",
        tokens=tokens,
        tokenizer=chatml_tokenizer(
            131072,
            [*CHATML[1:], *SOUND_MARKS],
            extra_special_tokens=names,
            processor_class="Qwen3ASRProcessor",
            **names,
        ),
        files={
            "preprocessor_config.json": {
                **{
                    name: value
                    for name, value in sounds(30, "Qwen3ASRProcessor").items()
                    if name != "sampling_rate"
                },
                **extractor,
            },
            "generation_config.json": {
                "_from_model_config": True,
                "do_sample": False,
                "eos_token_id": _asr_ends(tokens),
                "pad_token_id": tokens["<|endoftext|>"],
                "temperature": 0.000001,
            },
            "chat_template.json": {"chat_template": _one_sound()},
        },
        takes=("audio",),
        rename=str if native else _asr_name,
        sounds_a_prompt=1,
        tied_spread=0.08,
        spread=0.3,
    )


def _one_sound() -> str:
    """The template leaves out every word of the user."""
    return (
        "<|im_start|>system\n{% for message in messages if message['role'] == 'system' %}"
        "{% if message['content'] is string %}{{ message['content'] }}{% endif %}{% endfor "
        "%}<|im_end|>\n<|im_start|>user\n"
        "{% for message in messages if message['content'] is not string %}{% for part in "
        "message['content'] %}"
        "{% if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part "
        "%}<|audio_start|><|audio_pad|><|audio_end|>"
        "{% endif %}{% endfor %}{% endfor %}<|im_end|>\n"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def granite_speech() -> Animal:
    """Granite speech 3.3 without its adapter."""
    tokens = Tokens([*GRANITE, "<|audio|>"])
    end = tokens["<|end_of_text|>"]
    return Animal(
        config={
            "architectures": ["GraniteSpeechForConditionalGeneration"],
            "audio_token_index": tokens["<|audio|>"],
            "downsample_rate": 5,
            "encoder_config": {
                "context_size": 20,
                "conv_expansion_factor": 2,
                "conv_kernel_size": 15,
                "dim_head": 16,
                "dropout": 0.1,
                "feedforward_mult": 2,
                "hidden_dim": 32,
                "input_dim": 160,
                "max_pos_emb": 32,
                "model_type": "granite_speech_encoder",
                "num_heads": 2,
                "num_layers": 2,
                "output_dim": 8,
            },
            "has_lora_adapter": False,
            "initializer_range": 0.02,
            "model_type": "granite_speech",
            "projector_config": {
                "attention_probs_dropout_prob": 0.1,
                "cross_attention_frequency": 1,
                "encoder_hidden_size": 32,
                "hidden_size": 32,
                "intermediate_size": 48,
                "max_position_embeddings": 2048,
                "model_type": "blip_2_qformer",
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "use_qformer_text_input": False,
                "vocab_size": 8,
            },
            "text_config": {
                **GRANITE_SCALES,
                "bos_token_id": end,
                "eos_token_id": end,
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 131072,
                "model_type": "granite",
                "num_attention_heads": 4,
                "num_hidden_layers": 3,
                "num_key_value_heads": 2,
                "pad_token_id": end,
                "rms_norm_eps": 1e-05,
                "rope_theta": 10000000.0,
                "tie_word_embeddings": True,
                "torch_dtype": "bfloat16",
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.52.0.dev0",
            "window_size": 15,
        },
        model="GraniteSpeechForConditionalGeneration",
        tokens=tokens,
        tokenizer=granite_tokenizer(
            processor_class="GraniteSpeechProcessor", audio_token="<|audio|>"
        ),
        files={
            "preprocessor_config.json": {
                "feature_extractor_type": "GraniteSpeechFeatureExtractor",
                "melspec_kwargs": {
                    "hop_length": 160,
                    "n_fft": 512,
                    "n_mels": 80,
                    "sample_rate": 16000,
                    "win_length": 400,
                },
                "processor_class": "GraniteSpeechProcessor",
                "projector_downsample_rate": 5,
                "projector_window_size": 15,
                "sampling_rate": 16000,
            },
            "processor_config.json": {
                "audio_token": "<|audio|>",
                "processor_class": "GraniteSpeechProcessor",
            },
            "generation_config.json": {
                "bos_token_id": end,
                "eos_token_id": end,
                "pad_token_id": end,
            },
            "chat_template.jinja": (
                "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>"
                "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for "
                "part in message['content'] %}"
                "{% if part['type'] == 'audio' %}<|audio|>{% elif part['type'] == 'text' %}{{ "
                "part['text'] }}{% endif %}"
                "{% endfor %}{% endif %}<|end_of_text|>\n{% endfor %}"
                "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
            ),
        },
        takes=("audio",),
        spread=0.5,
    )


ANIMALS = {
    "qwen2_audio": qwen2_audio,
    "qwen3_asr": qwen3_asr,
    "qwen3_asr_thinker": qwen3_asr_thinker,
    "granite_speech": granite_speech,
}
