"""Readers of documents (`paddleocr_vl`, `hunyuan_vl`, `deepseek_ocr2`) and Phi-4 multimodal
(`phi4_multimodal`).

The form: PaddleOCR-VL and HunyuanOCR are flat; the one has an `auto_map` beside a native class, a
tower under `visual` whose published weights have a pooling head that nobody wants, and a projector
called `mlp_AR`; the other names its rope "xdrope", with four sections, and its head width twice,
and makes rows of the marks inside a picture. DeepSeek-OCR 2 sees every picture at 1024 pixels and
larger ones in tiles of 768 too, and answers by experts beside a shared one; its first layer is
dense. Phi-4 is flat, has two sets of rotary frequencies, and adapters in its projections.
"""

from ..forms import llama_tokenizer
from ..kinds import CLIP_MEAN, CLIP_STD, HALF, Animal, Json
from ..tokens import Tokens

PADDLE = ["<|begin_of_sentence|>", "<|end_of_sentence|>", "<|IMAGE_PLACEHOLDER|>",
    "<|IMAGE_START|>", "<|IMAGE_END|>",
          "<|video_pad|>"]  # fmt: skip


def paddleocr_vl() -> Animal:
    """PaddleOCR-VL 1.5: stores a head, says so by an untied top, and its own class ties all the
    same."""
    tokens = Tokens(PADDLE, pieces=True)
    tower = "visual.vision_model"
    text: Json = {
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "max_position_embeddings": 131072,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {"mrope_section": [4, 6, 6], "rope_type": "default", "type": "default"},
        "rope_theta": 500000,
        "tie_word_embeddings": False,
        "vocab_size": tokens.padded(),
    }
    marks: Json = {
        "image_token_id": tokens["<|IMAGE_PLACEHOLDER|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "vision_end_token_id": tokens["<|IMAGE_END|>"],
        "vision_start_token_id": tokens["<|IMAGE_START|>"],
    }
    vision: Json = {
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "image_size": 56,
        "intermediate_size": 48,
        "layer_norm_eps": 1e-06,
        "num_attention_heads": 2,
        "num_channels": 3,
        "num_hidden_layers": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
    }
    return Animal(
        config={
            **text,
            **marks,
            "architectures": ["PaddleOCRVLForConditionalGeneration"],
            "auto_map": {
                "AutoConfig": "configuration_paddleocr_vl.PaddleOCRVLConfig",
                "AutoModel": "modeling_paddleocr_vl.PaddleOCRVLForConditionalGeneration",
            },
            "model_type": "paddleocr_vl",
            "sliding_window": None,
            "torch_dtype": "bfloat16",
            "vision_config": vision,
        },
        truth={
            **marks,
            "model_type": "paddleocr_vl",
            "text_config": text,
            "tie_word_embeddings": False,
            "vision_config": vision,
        },
        model="PaddleOCRVLForConditionalGeneration",
        tokens=tokens,
        tokenizer=llama_tokenizer(
            add_bos_token=False,
            bos_token="<s>",
            cls_token="<|begin_of_sentence|>",
            extra_special_tokens={"image_token": "<|IMAGE_PLACEHOLDER|>"},
            image_token="<|IMAGE_PLACEHOLDER|>",
            model_max_length=131072,
            pad_token="<unk>",
            processor_class="PaddleOCRVLProcessor",
            sep_token="<|end_of_sentence|>",
        ),
        files={
            "preprocessor_config.json": {
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": HALF,
                "image_processor_type": "PaddleOCRVLImageProcessor",
                "image_std": HALF,
                "max_pixels": 2822400,
                "merge_size": 2,
                "min_pixels": 3136,
                "patch_size": 14,
                "processor_class": "PaddleOCRVLProcessor",
                "resample": 3,
                "rescale_factor": 1 / 255,
                "temporal_patch_size": 1,
            },
            "processor_config.json": {"processor_class": "PaddleOCRVLProcessor"},
            "generation_config.json": {
                "_from_model_config": True,
                "eos_token_id": tokens["</s>"],
                "use_cache": False,
            },
            "chat_template.jinja": (
                "<|begin_of_sentence|>{% for message in messages %}{% if message['role'] == "
                "'user' %}User: "
                "{% elif message['role'] == 'assistant' %}Assistant: {% endif %}"
                "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
                "{% for part in message['content'] if part['type'] == 'image' %}"
                "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>{% endfor %}"
                "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] "
                "}}{% endfor %}{% endif %}\n"
                "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
            ),
        },
        takes=("image",),
        extra={
            f"{tower}.embeddings.packing_position_embedding.weight": (16, 32),
            f"{tower}.head.probe": (1, 1, 32),
            f"{tower}.head.mlp.fc1.weight": (48, 32),
        },
    )


def hunyuan_vl() -> Animal:
    """HunyuanOCR 1B: four position planes, of which one counts the pictures of a prompt."""
    special = ["<|startoftext|>", "<|endoftext|>", "<|eos|>", "<|pad|>", "<|User|>",
        "<|Assistant|>", "<img_s>", "<img_e>",
               "<img>", "<img_n>"]  # fmt: skip
    tokens = Tokens(special)
    return Animal(
        config={
            "architectures": ["HunYuanVLForConditionalGeneration"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "attention_head_dim": 16,
            "bos_token_id": tokens["<|startoftext|>"],
            "dtype": "bfloat16",
            "eod_token_id": tokens["<|endoftext|>"],
            "eos_token_id": tokens["<|eos|>"],
            "head_dim": 16,
            "hidden_act": "silu",
            "hidden_size": 64,
            "im_end_id": tokens["<img_e>"],
            "im_newline_id": tokens["<img_n>"],
            "im_start_id": tokens["<img_s>"],
            "image_token_id": tokens["<img>"],
            "initializer_range": 0.02,
            "intermediate_size": 96,
            "max_position_embeddings": 32768,
            "model_type": "hunyuan_vl",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "org_vocab_size": tokens.padded(),
            "pad_id": tokens["<|pad|>"],
            "rms_norm_eps": 1e-05,
            "rope_scaling": {
                "alpha": 1000.0,
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "type": "xdrope",
                "xdrope_section": [2, 2, 2, 2],
            },
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "transformers_version": "4.57.0",
            "use_cache": True,
            "vision_config": {
                "hidden_act": "gelu",
                "hidden_size": 32,
                "img_max_token_num": 4096,
                "intermediate_size": 48,
                "max_image_size": 128,
                "max_vit_seq_len": 16384,
                "num_attention_heads": 2,
                "num_channels": 3,
                "num_hidden_layers": 2,
                "out_hidden_size": 64,
                "patch_size": 16,
                "rms_norm_eps": 1e-05,
                "spatial_merge_size": 2,
                "temporal_patch_size": 1,
                "text_hidden_size": 64,
            },
            "vocab_size": tokens.padded(),
        },
        model="HunYuanVLForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|startoftext|>",
            "eos_token": "<|eos|>",
            "extra_special_tokens": {
                "image_end_token": "<img_e>",
                "image_start_token": "<img_s>",
                "image_token": "<img>",
            },
            "model_max_length": 32768,
            "pad_token": "<|pad|>",
            "processor_class": "HunYuanVLProcessor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "preprocessor_config.json": {
                "do_convert_rgb": True,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": CLIP_MEAN,
                "image_processor_type": "HunYuanVLImageProcessor",
                "image_std": CLIP_STD,
                "max_pixels": 4194304,
                "merge_size": 2,
                "min_pixels": 4096,
                "patch_size": 16,
                "processor_class": "HunYuanVLProcessor",
                "resample": 1,
                "rescale_factor": 1 / 255,
                "temporal_patch_size": 1,
            },
            "generation_config.json": {
                "bos_token_id": tokens["<|startoftext|>"],
                "do_sample": False,
                "eos_token_id": [tokens["<|eos|>"], tokens["<|endoftext|>"]],
                "pad_token_id": tokens["<|pad|>"],
                "repetition_penalty": 1.03,
            },
            "chat_template.jinja": (
                "<|startoftext|>{% for message in messages %}{% if message['role'] == "
                "'assistant' %}<|Assistant|>{% endif %}"
                "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for "
                "part in message['content'] %}"
                "{% if part['type'] == 'image' %}<img_s><img><img_e>{% elif part['type'] == "
                "'text' %}{{ part['text'] }}"
                "{% endif %}{% endfor %}{% endif %}{% if message['role'] == 'user' %}<|User|>{% "
                "endif %}{% endfor %}"
            ),
        },
        takes=("image",),
    )


def deepseek_ocr2() -> Animal:
    """DeepSeek-OCR 2 in the form that its native class reads."""
    special = [
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        "<｜▁pad▁｜>",
        "<|User|>",
        "<|Assistant|>",
        "<image>",
    ]
    tokens = Tokens(special)
    begin, end = tokens[special[0]], tokens[special[1]]
    return Animal(
        config={
            "architectures": ["DeepseekOcr2ForConditionalGeneration"],
            "dtype": "bfloat16",
            "image_token_id": tokens["<image>"],
            "model_type": "deepseek_ocr2",
            "text_config": {
                "attention_bias": False,
                "bos_token_id": begin,
                "eos_token_id": end,
                "hidden_size": 64,
                "intermediate_size": 96,
                "max_position_embeddings": 8192,
                "mlp_layer_types": ["dense", "sparse", "sparse"],
                "model_type": "deepseek_ocr2_text",
                "moe_intermediate_size": 24,
                "n_routed_experts": 4,
                "n_shared_experts": 2,
                "num_attention_heads": 4,
                "num_experts_per_tok": 2,
                "num_hidden_layers": 3,
                "num_key_value_heads": 4,
                "rms_norm_eps": 1e-06,
                "routed_scaling_factor": 1.0,
                "tie_word_embeddings": False,
                "topk_method": "greedy",
                "vocab_size": tokens.padded(),
            },
            "tie_word_embeddings": False,
            "vision_config": {
                "encoder_config": {
                    "hidden_size": 32,
                    "intermediate_size": 48,
                    "max_position_embeddings": 32768,
                    "model_type": "deepseek_ocr2_encoder",
                    "num_attention_heads": 2,
                    "num_hidden_layers": 2,
                    "num_key_value_heads": 1,
                    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"},
                    "vocab_size": 4,
                },
                "model_type": "deepseek_ocr2_vision",
                "sam_config": {
                    "downsample_channels": [16, 32],
                    "global_attn_indexes": [1],
                    "hidden_size": 16,
                    "image_size": 1024,
                    "mlp_ratio": 2.0,
                    "model_type": "deepseek_ocr2_sam_vision_model",
                    "num_attention_heads": 2,
                    "num_hidden_layers": 2,
                    "output_channels": 8,
                    "patch_size": 16,
                    "window_size": 14,
                },
            },
        },
        model="DeepseekOcr2ForConditionalGeneration",
        tokens=tokens,
        tokenizer={
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": special[0],
            "eos_token": special[1],
            "model_max_length": 8192,
            "pad_token": special[2],
            "processor_class": "DeepseekOcr2Processor",
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
        files={
            "processor_config.json": {
                "downsample_ratio": 4,
                "image_processor": {
                    "background_color": [127, 127, 127],
                    "crop_to_patches": True,
                    "image_mean": HALF,
                    "image_processor_type": "DeepseekOcr2ImageProcessor",
                    "image_std": HALF,
                    "max_patches": 6,
                    "min_patches": 2,
                    "size": {"height": 1024, "width": 1024},
                    "tile_size": 768,
                },
                "patch_size": 16,
                "processor_class": "DeepseekOcr2Processor",
            },
            "generation_config.json": {"bos_token_id": begin, "eos_token_id": end},
            "chat_template.jinja": (
                "{{ bos_token }}{% for message in messages %}{% if message['content'] is string "
                "%}{{ message['content'] }}"
                "{% else %}{% for part in message['content'] %}{% if part['type'] == 'image' "
                "%}<image>\n"
                "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% "
                "endif %}{% endfor %}"
            ),
        },
        takes=("image",),
    )


def phi4_multimodal() -> Animal:
    """Phi-4 multimodal in the form that its native class reads; a tile of 448 pixels is wired in,
    so every picture is large."""
    special = [
        "<|endoftext|>",
        "<|image|>",
        "<|audio|>",
        "<|assistant|>",
        "<|end|>",
        "<|user|>",
        "<|system|>",
    ]
    tokens = Tokens(special)
    end = tokens["<|endoftext|>"]
    return Animal(
        config={
            "architectures": ["Phi4MultimodalForCausalLM"],
            "audio_config": {
                "audio_token_id": tokens["<|audio|>"],
                "depthwise_separable_out_channel": 32,
                "ext_pw_out_channel": 32,
                "hidden_size": 32,
                "intermediate_size": 48,
                "model_type": "phi4_multimodal_audio",
                "nemo_conv_channels": 16,
                "num_attention_heads": 2,
                "num_blocks": 2,
            },
            "bos_token_id": end,
            "dtype": "bfloat16",
            "eos_token_id": [end, tokens["<|end|>"]],
            "hidden_size": 64,
            "intermediate_size": 96,
            "max_position_embeddings": 131072,
            "model_type": "phi4_multimodal",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "original_max_position_embeddings": 4096,
            "pad_token_id": end,
            "rms_norm_eps": 1e-05,
            "rope_parameters": {
                "long_factor": [1.0, 1.2, 1.5, 2.0, 4.0, 8.0],
                "partial_rotary_factor": 0.75,
                "rope_theta": 10000.0,
                "rope_type": "longrope",
                "short_factor": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            },
            "sliding_window": None,
            "tie_word_embeddings": True,
            "vision_config": {
                "crop_size": 448,
                "hidden_size": 32,
                "image_size": 448,
                "image_token_id": tokens["<|image|>"],
                "intermediate_size": 48,
                "model_type": "phi4_multimodal_vision",
                "num_attention_heads": 2,
                "num_hidden_layers": 3,
                "patch_size": 14,
            },
            "vocab_size": tokens.padded(),
        },
        model="Phi4MultimodalForCausalLM",
        tokens=tokens,
        tokenizer={
            "bos_token": "<|endoftext|>",
            "eos_token": "<|endoftext|>",
            "extra_special_tokens": {"audio_token": "<|audio|>", "image_token": "<|image|>"},
            "model_max_length": 131072,
            "pad_token": "<|endoftext|>",
            "processor_class": "Phi4MultimodalProcessor",
            "tokenizer_class": "GPT2Tokenizer",
        },
        files={
            "processor_config.json": {
                "audio_processor": {
                    "feature_extractor_type": "Phi4MultimodalFeatureExtractor",
                    "sampling_rate": 16000,
                },
                "image_processor": {
                    "dynamic_hd": 4,
                    "image_processor_type": "Phi4MultimodalImageProcessorFast",
                    "patch_size": 14,
                    "size": {"height": 448, "width": 448},
                },
                "processor_class": "Phi4MultimodalProcessor",
            },
            "generation_config.json": {
                "bos_token_id": end,
                "eos_token_id": [end, tokens["<|end|>"]],
            },
            "chat_template.jinja": (
                "{% for message in messages %}<|{{ message['role'] }}|>{% if message['content'] "
                "is string %}"
                "{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if "
                "part['type'] == 'image' %}"
                "<|image|>{% elif part['type'] == 'audio' %}<|audio|>{% elif part['type'] == "
                "'text' %}{{ part['text'] }}"
                "{% endif %}"
                "{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt "
                "%}<|assistant|>{% endif %}"
            ),
        },
        takes=("image", "audio"),
        # SDPA makes the picture tower causal where no picture of the prompt is padded
        attention="eager",
    )


ANIMALS = {
    "paddleocr_vl": paddleocr_vl,
    "hunyuan_vl": hunyuan_vl,
    "deepseek_ocr2": deepseek_ocr2,
    "phi4_multimodal": phi4_multimodal,
}
