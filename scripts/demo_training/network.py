"""The demo model's configuration, its empty network, and the folder that a checkpoint is saved
to."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from .features import CELL, MEL_BINS, feature_extractor, image_processor, video_processor_settings
from .tokens import CHAT_TEMPLATE, END_OF_TURN

HIDDEN = 128
INIT_RANGE = 0.05  # at this width the usual 0.02 learns several times slower
# Rotary frequencies go down from 1; the last six of the sixteen carry the column of a picture
# token, of which there are three or four. With the usual base of 10,000 a column would turn them by
# less than 0.003 radians: invisible.
ROPE_BASE = 20.0


AUDIO = {
    "num_mel_bins": MEL_BINS,
    "d_model": 64,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 192,
    "max_source_positions": 500,
    "n_window": 100,
    "output_dim": HIDDEN,
    "initializer_range": INIT_RANGE,
}


def build_config(tokenizer: Any) -> Any:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROPE_BASE,
            "mrope_section": [4, 6, 6],
        },
        "initializer_range": INIT_RANGE,
        "tie_word_embeddings": False,
        "eos_token_id": ids[END_OF_TURN],
        "pad_token_id": tokenizer.pad_token_id,
    }
    depth = 4
    vision = {
        "depth": depth,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_heads": 3,
        "window_size": 4 * CELL,
        "fullatt_block_indexes": list(
            range(depth)
        ),  # pictures are so small that windows would gain nothing
        "out_hidden_size": HIDDEN,
        "initializer_range": INIT_RANGE,
    }
    build: Any = Qwen2_5OmniThinkerConfig  # takes more than the fields it declares
    return build(
        text_config=text,
        vision_config=vision,
        audio_config=dict(AUDIO),
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        audio_token_index=ids["<|AUDIO|>"],
        vision_start_token_id=ids["<|vision_bos|>"],
        vision_end_token_id=ids["<|vision_eos|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
        user_token_id=tokenizer.convert_tokens_to_ids("user"),
        eos_token_id=ids[END_OF_TURN],
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=INIT_RANGE,
        tie_word_embeddings=False,
    )


def build_network(tokenizer: Any, seed: int) -> Any:
    torch.manual_seed(seed)
    network: Any = Qwen2_5OmniThinkerForConditionalGeneration(build_config(tokenizer))
    return network.float()


def parameter_count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def save_folder(network: Any, tokenizer: Any, folder: Path) -> None:
    """Writes the checkpoint as transformers lays it out, with all that the processors need.

    The weights are rounded to bfloat16 to halve the file; config.json asks for float32, in which
    they were trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build: Any = GenerationConfig
    network.generation_config = build(
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=64,
    )
    network.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(
        0o644
    )  # transformers leaves it readable by its owner alone
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    image = json.loads(image_processor().to_json_string())
    audio = json.loads(feature_extractor().to_json_string())
    video = video_processor_settings()
    # The reader of today takes all from processor_config.json; the two others are for readers of
    # the older layout.
    whole = {
        "processor_class": "Qwen2_5OmniProcessor",
        "image_processor": image,
        "video_processor": video,
        "feature_extractor": audio,
    }
    for name, content in (
        ("processor_config.json", whole),
        ("preprocessor_config.json", {**audio, **image, "processor_class": "Qwen2_5OmniProcessor"}),
        ("video_preprocessor_config.json", video),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
