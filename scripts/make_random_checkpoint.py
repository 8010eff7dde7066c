"""Random checkpoints: the smallest models that are real. `scripts/dev checkpoint NAME FOLDER`

With `--published` NAME is one of the zoo (`tests/zoo`), written in its published form. The three
families below are written by transformers in its form of today, with small media: for
measurements, and tests of other things than forms.

Each is a whole checkpoint folder. Weights are drawn wide and the head is not tied: greedy output of
the usual random initialisation is one token for ever, and comparing two constants proves nothing.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

FAMILIES = ("qwen_omni", "qwen_vl", "llava")
CONTEXT = 2048
STD = 0.18
"""Of the redrawn matrices. Narrower and every request says the same; wider and attention saturates
on single tokens."""
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
IMAGE_PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 84 * 112}
VIDEO_PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 56 * 84}


class Shape(NamedTuple):
    """Widths and depths; head sizes follow. `mrope` sums to half a text head."""

    hidden: int
    layers: int
    ffn: int
    mrope: tuple[int, int, int]
    vision: int
    audio: int
    depth: int = 2
    """Of the vision tower."""


SHAPES = {
    "tiny": Shape(hidden=64, layers=3, ffn=96, mrope=(2, 3, 3), vision=32, audio=32),
    "S": Shape(hidden=128, layers=4, ffn=384, mrope=(4, 6, 6), vision=64, audio=64),
    "eye": Shape(hidden=128, layers=2, ffn=256, mrope=(4, 6, 6), vision=768, audio=64, depth=12),
}


def make_checkpoint(family: str, folder: Path, seed: int = 0, shape: str = "tiny") -> Path:
    """Write a random checkpoint of `family` into `folder` and return it. The same arguments give
    the same bytes."""
    makers: dict[str, Callable[[Path, Shape], Any]] = {
        "qwen_omni": _qwen_omni,
        "qwen_vl": _qwen_vl,
        "llava": _llava,
    }
    folder.mkdir(parents=True, exist_ok=True)
    model = makers[family](folder, SHAPES[shape])
    _redraw(model, seed)
    model.save_pretrained(folder)
    return folder


def _transformers() -> Any:
    """Imported late, so that --help is quick; untyped, since its signatures do not know all that
    its configurations take."""
    import transformers

    return transformers


def _redraw(model: Any, seed: int) -> None:
    """Draw every weight anew: matrices so that activations keep their size, gains near 1, the head
    wide for clear winners."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim < 2:
                gain = "norm" in name or "ln_" in name
                mean, spread = (1.0, 0.1) if gain and name.endswith("weight") else (0.0, 0.02)
            else:
                wide = 2.0 if "lm_head" in name else 1.0
                mean, spread = (
                    0.0,
                    1.0
                    if "embed_tokens" in name
                    else wide * STD * (64 / min(weight[0].numel(), 256)) ** 0.5,
                )
            weight.normal_(mean, spread, generator=generator)


def _tokenizer(folder: Path, specials: dict[str, str], template: str) -> dict[str, int]:
    """256 bytes and the special tokens: no text is unknown, none is merged. Returns the ids by
    token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    transformers = _transformers()

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(
        models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[])
    )
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens={**specials, "im_start_token": IM_START},
        chat_template=template,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(folder)
    return dict(tokenizer.get_vocab())


EOS, PAD, IM_START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"


def chat_template(image: str, video: str = "", audio: str = "") -> str:
    """A Qwen-style template with these strings where the media stand."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in "
        "message['content'] %}"
        "{% if part['type'] in ['image', 'image_url'] %}" + image + "{% elif part['type'] in "
        "['video', 'video_url'] %}" + video
        + "{% elif part['type'] in ['audio', 'audio_url', 'input_audio'] %}" + audio
        + "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif "
        "%}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )  # fmt: skip


def _text(shape: Shape, vocab: int, eos: int, pad: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "bos_token_id": None,
        "tie_word_embeddings": False,
    }


def _mrope(shape: Shape) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(shape.mrope)}


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _qwen_pixels(kind: str, size: dict[str, int]) -> dict[str, Any]:
    return {
        f"{kind}_processor_type": "Qwen2VLImageProcessor"
        if kind == "image"
        else "Qwen2VLVideoProcessor",
        "size": size,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "do_convert_rgb": True,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
    }


def _qwen_video() -> dict[str, Any]:
    return {
        **_qwen_pixels("video", VIDEO_PIXELS),
        "do_sample_frames": False,
        "min_frames": 2,
        "max_frames": 8,
        "fps": 2,
    }


def _generation(folder: Path, vocab: dict[str, int]) -> None:
    _write(
        folder,
        "generation_config.json",
        {"do_sample": False, "eos_token_id": vocab[EOS], "pad_token_id": vocab[PAD]},
    )


def _qwen_omni(folder: Path, shape: Shape) -> Any:
    """Everything about media in processor_config.json, as transformers 5 saves it."""
    transformers = _transformers()
    specials = {
        "image_token": "<|IMAGE|>",
        "video_token": "<|VIDEO|>",
        "audio_token": "<|AUDIO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    template = chat_template(
        "<|vision_bos|><|IMAGE|><|vision_eos|>",
        "<|vision_bos|><|VIDEO|><|vision_eos|>",
        "<|audio_bos|><|AUDIO|><|audio_eos|>",
    )
    vocab = _tokenizer(folder, specials, template)
    sound = transformers.WhisperFeatureExtractor(
        feature_size=128, chunk_length=4, return_attention_mask=True
    )
    _write(
        folder,
        "processor_config.json",
        {
            "processor_class": "Qwen2_5OmniProcessor",
            "image_processor": _qwen_pixels("image", IMAGE_PIXELS),
            "video_processor": _qwen_video(),
            "feature_extractor": {
                **sound.to_dict(),
                "feature_extractor_type": "WhisperFeatureExtractor",
            },
        },
    )
    _generation(folder, vocab)
    return transformers.Qwen2_5OmniThinkerForConditionalGeneration(_omni_config(vocab, shape))


def _omni_config(vocab: dict[str, int], shape: Shape) -> Any:
    return _transformers().Qwen2_5OmniThinkerConfig(
        audio_config={
            "d_model": shape.audio,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": shape.audio * 2,
            "num_mel_bins": 128,
            "n_window": 50,
            "max_source_positions": 500,
            "output_dim": shape.hidden,
        },
        vision_config={
            "depth": shape.depth,
            "hidden_size": shape.vision,
            "intermediate_size": shape.vision * 2,
            "num_heads": max(2, shape.vision // 64),
            "out_hidden_size": shape.hidden,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **_text(shape, len(vocab), vocab[EOS], vocab[PAD]),
            "rope_parameters": _mrope(shape),
        },
        image_token_index=vocab["<|IMAGE|>"],
        video_token_index=vocab["<|VIDEO|>"],
        audio_token_index=vocab["<|AUDIO|>"],
        vision_start_token_id=vocab["<|vision_bos|>"],
        vision_end_token_id=vocab["<|vision_eos|>"],
        audio_start_token_id=vocab["<|audio_bos|>"],
        audio_end_token_id=vocab["<|audio_eos|>"],
        eos_token_id=vocab[EOS],
        pad_token_id=vocab[PAD],
        tie_word_embeddings=False,
    )


def _qwen_vl(folder: Path, shape: Shape) -> Any:
    """Media settings in preprocessor_config.json and video_preprocessor_config.json, as the
    published models have them."""
    transformers = _transformers()
    specials = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    template = chat_template(
        "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"
    )
    vocab = _tokenizer(folder, specials, template)
    _write(
        folder,
        "preprocessor_config.json",
        {**_qwen_pixels("image", IMAGE_PIXELS), "processor_class": "Qwen2VLProcessor"},
    )
    _write(folder, "video_preprocessor_config.json", _qwen_video())
    _generation(folder, vocab)
    config = transformers.Qwen2VLConfig(
        vision_config={
            "depth": shape.depth,
            "embed_dim": shape.vision,
            "hidden_size": shape.hidden,
            "num_heads": max(2, shape.vision // 64),
            "mlp_ratio": 2,
        },
        text_config={
            **_text(shape, len(vocab), vocab[EOS], vocab[PAD]),
            "rope_parameters": _mrope(shape),
        },
        image_token_id=vocab["<|image_pad|>"],
        video_token_id=vocab["<|video_pad|>"],
        vision_start_token_id=vocab["<|vision_start|>"],
        vision_end_token_id=vocab["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return transformers.Qwen2VLForConditionalGeneration(config)


def _llava(folder: Path, shape: Shape) -> Any:
    """A CLIP tower of 56 pixels: 16 tokens a picture. Two files of settings, as the published
    models have them."""
    transformers = _transformers()
    vocab = _tokenizer(folder, {"image_token": "<image>"}, chat_template("<image>\n"))
    size = {"height": 56, "width": 56}
    _write(
        folder,
        "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "size": {"shortest_edge": 56},
            "crop_size": size,
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": CLIP_MEAN,
            "image_std": CLIP_STD,
            "resample": 3,
            "rescale_factor": 1 / 255,
        },
    )
    _write(
        folder,
        "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "image_token": "<image>",
            "patch_size": 14,
            "num_additional_image_tokens": 1,
            "vision_feature_select_strategy": "default",
        },
    )
    _generation(folder, vocab)
    vision = transformers.CLIPVisionConfig(
        hidden_size=shape.vision,
        intermediate_size=shape.vision * 2,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        projection_dim=shape.vision,
    )
    text = transformers.LlamaConfig(**_text(shape, len(vocab), vocab[EOS], vocab[PAD]))
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=vocab["<image>"],
        image_seq_length=16,
        pad_token_id=vocab[PAD],
        eos_token_id=vocab[EOS],
        tie_word_embeddings=False,
    )
    return transformers.LlavaForConditionalGeneration(config)


def main() -> None:
    from thespis.tests.zoo.catalog import NAMES, build

    parser = argparse.ArgumentParser(
        prog="scripts/dev checkpoint",
        description="Write a random checkpoint for tests and measurements.",
    )
    parser.add_argument("name", choices=sorted({*FAMILIES, *NAMES}))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--published", action="store_true", help="the checkpoint of tests/zoo")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.name not in (NAMES if arguments.published else FAMILIES):
        parser.error(f"there is no {arguments.name} of this kind")
    if arguments.published:
        print(build(arguments.name, arguments.folder))
    else:
        print(make_checkpoint(arguments.name, arguments.folder, arguments.seed, arguments.shape))


if __name__ == "__main__":
    main()
