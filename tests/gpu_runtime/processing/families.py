"""Processors of many families over one small tokenizer, with sizes as published: written by
transformers itself.

Every text is lossless over the tokenizer, and some letters merge, as blanks and line ends do in
published vocabularies, so that a run cut out of its text is not always the run in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from thespis.gpu_runtime.processing.stand_in import find_class

Json = dict[str, Any]
_hf: Any = transformers

VISION = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
OMNI = {
    **VISION,
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
VISION_IDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
AUDIO_IDS = {
    "audio_token_id": "<|audio_pad|>",
    "audio_start_token_id": "<|audio_start|>",
    "audio_end_token_id": "<|audio_end|>",
}
GLM = [
    "<|begin_of_image|>",
    "<|image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|video|>",
    "<|end_of_video|>",
]
GLM_IDS = {
    "image_token_id": "<|image|>",
    "video_token_id": "<|video|>",
    "image_start_token_id": "<|begin_of_image|>",
    "image_end_token_id": "<|end_of_image|>",
    "video_start_token_id": "<|begin_of_video|>",
    "video_end_token_id": "<|end_of_video|>",
}
PIXTRAL = ["[IMG]", "[IMG_BREAK]", "[IMG_END]"]
ROWS = [f"<row_{row + 1}_col_{col + 1}>" for row in range(6) for col in range(6)]
IDEFICS = [
    "<image>",
    "<video>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    *ROWS,
]
TILES = [f"<|img_row_{row + 1}_col_{col + 1}|>" for row in range(10) for col in range(10)]
SOUND_MARKS = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}


@dataclass(frozen=True)
class Family:
    """How one is made; classes by their names in transformers."""

    config: str
    processor: str
    image: tuple[str, Json] | None = None
    video: tuple[str, Json] | None = None
    audio: tuple[str, Json] | None = None
    more: Json = field(default_factory=dict)
    """Further arguments of the processor."""
    named: Mapping[str, str] = field(default_factory=dict)
    """Special tokens that the tokenizer has as attributes."""
    plain: tuple[str, ...] = ()
    """Special tokens that it has not."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """Fields of the configuration that are token ids."""
    said: Json = field(default_factory=dict)
    """Further fields of the configuration."""
    around: Mapping[str, str] = field(default_factory=dict)
    """What the template writes for an item, by modality."""
    begin: str = ""
    """What it begins with."""


def _marked(start: str, token: str, end: str) -> str:
    return f"{start}{token}{end}"


_IMAGE = _marked("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
_VIDEO = _marked("<|vision_start|>", "<|video_pad|>", "<|vision_end|>")
_AUDIO = _marked("<|audio_start|>", "<|audio_pad|>", "<|audio_end|>")
_SEEN = {"image": _IMAGE, "video": _VIDEO}
_GLM_SEEN = {"image": "".join(GLM[:3]), "video": "".join(GLM[3:])}
_SMALL: Json = {"text_config": {"num_hidden_layers": 1}}


def _qwen(config: str, processor: str, image: Json, video: tuple[str, Json]) -> Family:
    return Family(
        config,
        processor,
        ("Qwen2VLImageProcessorPil", image),
        video,
        named=VISION,
        ids=VISION_IDS,
        said=_SMALL,
        around=_SEEN,
    )


def _edge(kind: str, edge: int, **more: Any) -> tuple[str, Json]:
    return kind, {"size": {"height": edge, "width": edge}, **more}


FAMILIES: dict[str, Family] = {
    "qwen2_vl": _qwen(
        "Qwen2VLConfig", "Qwen2VLProcessor", {"min_pixels": 3136, "max_pixels": 1003520},
        ("Qwen2VLVideoProcessor", {})
    ),
    "qwen2_5_vl": _qwen("Qwen2_5_VLConfig", "Qwen2_5_VLProcessor", {},
        ("Qwen2VLVideoProcessor", {})),
    "qwen3_vl": _qwen(
        "Qwen3VLConfig", "Qwen3VLProcessor",
        {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        ("Qwen3VLVideoProcessor", {}),
    ),
    "qwen3_5": _qwen(
        "Qwen3_5Config", "Qwen3VLProcessor",
        {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        ("Qwen3VLVideoProcessor", {}),
    ),
    "qwen2_5_omni": Family(
        "Qwen2_5OmniThinkerConfig", "Qwen2_5OmniProcessor", ("Qwen2VLImageProcessorPil", {}),
        ("Qwen2VLVideoProcessor", {}),
        ("WhisperFeatureExtractor", {"feature_size": 128, "chunk_length": 300}), named=OMNI,
        ids={**VISION_IDS, **AUDIO_IDS}, said=_SMALL, around={**_SEEN, "audio": _AUDIO},
    ),
    "qwen3_omni_moe": Family(
        "Qwen3OmniMoeThinkerConfig", "Qwen3OmniMoeProcessor",
        ("Qwen2VLImageProcessorPil", {"patch_size": 16}),
        ("Qwen2VLVideoProcessor", {"patch_size": 16}),
        ("WhisperFeatureExtractor", {"feature_size": 128}), named=OMNI,
        ids={**VISION_IDS, **AUDIO_IDS}, said=_SMALL, around={**_SEEN, "audio": _AUDIO},
    ),
    "llava": Family(
        "LlavaConfig", "LlavaProcessor",
        ("CLIPImageProcessorPil",
            {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}),
        more={"patch_size": 14, "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1},
        plain=("<image>",), ids={"image_token_index": "<image>"}, around={"image": "<image>"},
    ),
    "llava_next": Family(
        "LlavaNextConfig", "LlavaNextProcessor",
        ("LlavaNextImageProcessorPil", {
            "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336},
            "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
        }),
        more={"patch_size": 14, "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1},
        plain=("<image>",), ids={"image_token_index": "<image>"}, around={"image": "<image>"},
    ),
    "llava_onevision": Family(
        "LlavaOnevisionConfig", "LlavaOnevisionProcessor",
        _edge("LlavaOnevisionImageProcessorPil", 384),
        _edge("LlavaOnevisionVideoProcessor", 384),
        more={"num_image_tokens": 729, "vision_feature_select_strategy": "full"},
        plain=("<image>", "<video>"),
        ids={"image_token_index": "<image>", "video_token_index": "<video>"},
        around={"image": "<image>", "video": "<video>"},
    ),
    "gemma3": Family(
        "Gemma3Config", "Gemma3Processor", _edge("Gemma3ImageProcessorPil", 896),
        more={"image_seq_length": 256},
        named={"image_token": "<image_soft_token>", "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>"},
        ids={
            "image_token_index": "<image_soft_token>", "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>",
        },
        around={"image": "<start_of_image>"},
    ),
    "gemma4": Family(
        "Gemma4Config", "Gemma4Processor", ("Gemma4ImageProcessorPil", {}),
        ("Gemma4VideoProcessor", {}),
        ("Gemma4AudioFeatureExtractor", {}),
        named={
            "image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>",
            "audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>",
        },
        plain=("<|video|>",),
        ids={"image_token_id": "<|image|>", "video_token_id": "<|video|>",
            "audio_token_id": "<|audio|>"},
        around={"image": "<|image|>", "video": "<|video|>", "audio": "<|audio|>"},
    ),
    "idefics3": Family(
        "Idefics3Config", "Idefics3Processor", ("Idefics3ImageProcessorPil", {}),
        more={"image_seq_len": 169},
        plain=tuple(IDEFICS), ids={"image_token_id": "<image>"}, around={"image": "<image>"},
    ),
    "smolvlm": Family(
        "SmolVLMConfig", "SmolVLMProcessor", ("SmolVLMImageProcessorPil", {}),
        ("SmolVLMVideoProcessor", {}),
        more={"image_seq_len": 64}, plain=tuple(IDEFICS), ids={"image_token_id": "<image>"},
        around={"image": "<image>", "video": "<video>"},
    ),
    "granite_docling": Family(
        "GraniteDoclingConfig", "GraniteDoclingProcessor", ("GraniteDoclingImageProcessorPil", {}),
        more={"image_seq_len": 64},
        plain=tuple(IDEFICS), ids={"image_token_id": "<image>"}, around={"image": "<image>"},
    ),
    "internvl": Family(
        "InternVLConfig", "InternVLProcessor",
        _edge("GotOcr2ImageProcessorPil", 448, min_patches=1, max_patches=12),
        _edge("InternVLVideoProcessor", 448), more={"image_seq_length": 256},
        named={
            "start_image_token": "<img>", "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
        ids={"image_token_id": "<IMG_CONTEXT>"},
        around={"image": "<IMG_CONTEXT>", "video": "<video>"},
    ),
    "mistral3": Family(
        "Mistral3Config", "PixtralProcessor",
        ("PixtralImageProcessorPil",
            {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}}),
        more={"patch_size": 14, "spatial_merge_size": 2}, plain=tuple(PIXTRAL),
        ids={"image_token_index": "[IMG]"},
        around={"image": "[IMG]"},
    ),
    "lighton_ocr": Family(
        "LightOnOcrConfig", "LightOnOcrProcessor",
        ("PixtralImageProcessorPil",
            {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}}),
        more={"patch_size": 14, "spatial_merge_size": 2},
        named={
            "image_token": "<|image_pad|>", "image_break_token": "<|vision_pad|>",
            "image_end_token": "<|vision_end|>",
        },
        ids={"image_token_id": "<|image_pad|>"}, around={"image": "<|image_pad|>"},
    ),
    "glm4v": Family(
        "Glm4vConfig", "Glm4vProcessor", ("Glm4vImageProcessorPil", {}),
        ("Glm4vVideoProcessor", {}), plain=tuple(GLM),
        ids=GLM_IDS, said=_SMALL, around=_GLM_SEEN,
    ),
    "glm46v": Family(
        "Glm46VConfig", "Glm46VProcessor", ("Glm46VImageProcessorPil", {}),
        ("Glm46VVideoProcessor", {}), plain=tuple(GLM),
        ids=GLM_IDS, said=_SMALL, around=_GLM_SEEN,
    ),
    "glm_ocr": Family(
        "GlmOcrConfig", "Glm46VProcessor", ("Glm46VImageProcessorPil", {}),
        ("Glm46VVideoProcessor", {}), plain=tuple(GLM),
        ids=GLM_IDS, said=_SMALL, around=_GLM_SEEN,
    ),
    "paddleocr_vl": Family(
        "PaddleOCRVLConfig", "PaddleOCRVLProcessor", ("PaddleOCRVLImageProcessorPil", {}),
        named={"image_token": "<|IMAGE_PLACEHOLDER|>"}, plain=("<|IMAGE_START|>", "<|IMAGE_END|>"),
        ids={
            "image_token_id": "<|IMAGE_PLACEHOLDER|>", "vision_start_token_id": "<|IMAGE_START|>",
            "vision_end_token_id": "<|IMAGE_END|>",
        },
        said=_SMALL,
        around={"image": _marked("<|IMAGE_START|>", "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_END|>")},
    ),
    "hunyuan_vl": Family(
        "HunYuanVLConfig", "HunYuanVLProcessor", ("HunYuanVLImageProcessorPil", {}),
        named={"image_token": "<img>", "image_start_token": "<img_s>",
            "image_end_token": "<img_e>"},
        ids={"image_token_id": "<img>", "image_start_token_id": "<img_s>",
            "image_end_token_id": "<img_e>"},
        said={"text_config": {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 4,
            "num_key_value_heads": 2,
              "head_dim": 16, "rope_parameters": {
                  "rope_type": "dynamic", "factor": 1.0, "alpha": 1000.0, "rope_theta": 10000.0,
                  "xdrope_section": [2, 2, 2, 2], "mrope_section": [2, 2, 2, 2]}}},
        around={"image": _marked("<img_s>", "<img>", "<img_e>")},
    ),
    "deepseek_ocr2": Family(
        "DeepseekOcr2Config", "DeepseekOcr2Processor", ("DeepseekOcr2ImageProcessorPil", {}),
        plain=("<image>",),
        ids={"image_token_id": "<image>"}, around={"image": "<image>"},
        said={"text_config": {"num_hidden_layers": 1, "mlp_layer_types": ["dense"]}},
    ),
    "minicpmv4_6": Family(
        "MiniCPMV4_6Config", "MiniCPMV4_6Processor", ("MiniCPMV4_6ImageProcessorPil", {}),
        ("MiniCPMV4_6VideoProcessor", {}),
        named={
            "image_token": "<|image_pad|>", "video_token": "<|video_pad|>",
            "image_start_token": "<image>",
            "image_end_token": "</image>", "slice_start_token": "<slice>",
            "slice_end_token": "</slice>",
            "image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>",
        },
        ids={"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"},
        around={"image": "<|image_pad|>", "video": "<|video_pad|>"},
    ),
    "lfm2_vl": Family(
        "Lfm2VlConfig", "Lfm2VlProcessor", ("Lfm2VlImageProcessor", {}),
        named={
            "image_token": "<image>", "image_start_token": "<|image_start|>",
            "image_end_token": "<|image_end|>",
            "image_thumbnail_token": "<|img_thumbnail|>",
        },
        plain=tuple(TILES), ids={"image_token_id": "<image>"}, around={"image": "<image>"},
    ),
    "cohere2_vision": Family(
        "Cohere2VisionConfig", "Cohere2VisionProcessor", ("Cohere2VisionImageProcessor", {}),
        named={
            "image_token": "<|IMG_PATCH|>", "boi_token": "<|START_OF_IMG|>",
            "eoi_token": "<|END_OF_IMG|>",
            "img_line_break_token": "<|IMG_LINE_BREAK|>",
        },
        ids={"image_token_id": "<|IMG_PATCH|>"}, around={"image": "<|IMG_PATCH|>"},
    ),
    "aya_vision": Family(
        "AyaVisionConfig", "AyaVisionProcessor",
        _edge("GotOcr2ImageProcessorPil", 364, min_patches=1, max_patches=12),
        more={"patch_size": 14, "img_size": 364, "downsample_factor": 2},
        plain=(
            "<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>",
            "TILE", "TILE_GLOBAL",
        ),
        ids={"image_token_index": "<|IMG_PATCH|>"}, around={"image": "<image>"},
        said={"vision_config": {"num_attention_heads": 16}},
    ),
    "ovis2": Family(
        "Ovis2Config", "Ovis2Processor", _edge("Ovis2ImageProcessorPil", 448),
        more={"image_seq_length": 256},
        plain=("<image>", "<IMG_START>", "<IMG_ATOM>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>",
            "<IMG_END>"),
        ids={"image_token_id": "<IMG_ATOM>"}, around={"image": "<image>"},
    ),
    "llama4": Family(
        "Llama4Config", "Llama4Processor", ("Llama4ImageProcessor", {}),
        plain=(
            "<|image|>", "<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>",
            "<|tile_y_separator|>",
        ),
        ids={"image_token_index": "<|patch|>"}, around={"image": "<|image|>"},
    ),
    "molmo2": Family(
        "Molmo2Config", "Molmo2Processor", ("Molmo2ImageProcessor", {}),
        ("Molmo2VideoProcessor", {}),
        named={"image_token": "<|image|>", "video_token": "<|video|>"},
        plain=(
            "<im_patch>", "<im_col>", "<im_start>", "<low_res_im_start>", "<frame_start>",
            "<im_end>", "<frame_end>",
            "<im_low>",
        ),
        ids={"image_patch_id": "<im_patch>"}, around={"image": "<|image|>", "video": "<|video|>"},
        begin="<s>",
    ),
    "phi4_multimodal": Family(
        "Phi4MultimodalConfig", "Phi4MultimodalProcessor", ("Phi4MultimodalImageProcessor", {}),
        None,
        ("Phi4MultimodalFeatureExtractor", {}),
        named={"image_token": "<|image|>", "audio_token": "<|audio|>"},
        ids={"vision_config.image_token_id": "<|image|>",
            "audio_config.audio_token_id": "<|audio|>"},
        around={"image": "<|image|>", "audio": "<|audio|>"},
    ),
    "qwen2_audio": Family(
        "Qwen2AudioConfig", "Qwen2AudioProcessor", None, None,
        ("WhisperFeatureExtractor", {"feature_size": 128}),
        plain=("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"),
        ids={"audio_token_index": "<|AUDIO|>"},
        around={"audio": _marked("<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>")},
    ),
    "qwen3_asr": Family(
        "Qwen3ASRConfig", "Qwen3ASRProcessor", None, None,
        ("WhisperFeatureExtractor", {"feature_size": 128}),
        named=SOUND_MARKS, ids={"audio_token_id": "<|audio_pad|>"}, around={"audio": _AUDIO},
    ),
}  # fmt: skip
"""By the model's type."""


def write(name: str, folder: Path) -> Path:
    """The family's configuration, tokenizer and processor in `folder`, without weights. Raises
    ImportError where the family's processor needs a package that is not here."""
    family = FAMILIES[name]
    tokenizer = _tokenizer(family)
    number = {key: tokenizer.convert_tokens_to_ids(token) for key, token in family.ids.items()}
    said = {**family.said, **{key: value for key, value in number.items() if "." not in key}}
    for key, value in number.items():
        outer, _, inner = key.rpartition(".")
        if outer:
            said.setdefault(outer, {})[inner] = value
    getattr(_hf, family.config)(**said).save_pretrained(folder)
    parts = dict(_parts(family, tokenizer))
    kind = find_class(family.processor)
    assert kind is not None
    tokenizer.chat_template = _template(family)
    kind(**parts, **family.more, chat_template=tokenizer.chat_template).save_pretrained(folder)
    return folder


def _parts(family: Family, tokenizer: Any) -> Iterator[tuple[str, Any]]:
    kind = find_class(family.processor)
    assert kind is not None
    for attribute in kind.get_attributes():
        if attribute == "tokenizer":
            yield attribute, tokenizer
            continue
        described = {"image_processor": family.image, "video_processor": family.video}.get(
            attribute, family.audio
        )
        assert described is not None
        part = find_class(described[0])
        assert part is not None
        yield attribute, part(**described[1])


def _tokenizer(family: Family) -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    newline, space = "\u010a", "\u0120"
    merges = [(newline, newline), (space, space), ("a", "n"), ("an", "d"), (":", newline)]
    vocab = {token: index for index, token in enumerate([*letters, *(a + b for a, b in merges)])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    kind: Any = PreTrainedTokenizerFast
    made = kind(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=dict(family.named),
    )
    made.add_tokens([*family.named.values(), *family.plain], special_tokens=True)
    return made


def _template(family: Family) -> str:
    """Parts become what stands around their items; nothing else is written."""
    written = {**{name: repr(text) for name, text in family.around.items()}, "text": "part.text"}
    choices = "".join(
        f"{{% if part.type == {name!r} %}}{{{{ {text} }}}}{{% endif %}}"
        for name, text in written.items()
    )
    return (
        family.begin
        + "{% for message in messages %}{% for part in message.content %}"
        + choices
        + "{% endfor %}{% endfor %}"
    )
