"""A conversation with two items of a modality, and what stands around them, as the checkpoint's own processor sees it whole.

The oracle is transformers: its processor is given the whole conversation with its media, and its model the whole prompt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from thespis.gpu_runtime import hf
from thespis.gpu_runtime.processing import Clip, ProcessedItem
from thespis.gpu_runtime.processing.calls import metadata_of
from thespis.gpu_runtime.processing.loading import load_processor

RATE = 16000
SIZES = ((97, 131), (60, 45), (131, 64))
CLIPS = ((4, 60, 56), (4, 97, 70), (7, 64, 97))
SOUNDS = (RATE, 41234)


def picture(height: int, width: int) -> Image.Image:
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def clip(frames: int, height: int, width: int) -> Clip:
    """Every tenth frame of a source with twenty a second."""
    noise = np.random.default_rng(frames * height).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return Clip(noise, 20.0, tuple(range(0, frames * 10, 10)), frames * 10)


def sound(length: int) -> NDArray[np.float32]:
    return (np.random.default_rng(length).standard_normal(length) * 0.1).astype(np.float32)


def media_of(modality: str) -> list[Any]:
    """Of different sizes; two neighbours stand in one prompt. The last clip is longer than the others."""
    match modality:
        case "image":
            return [picture(*size) for size in SIZES]
        case "video":
            return [clip(*size) for size in CLIPS]
        case _:
            return [sound(length) for length in SOUNDS]


class Whole(NamedTuple):
    """What transformers makes of a whole prompt."""

    token_ids: list[int]
    features: dict[str, Any]
    positions: NDArray[np.int64] | None
    """[planes, tokens]; None: the model counts one by one."""


class Oracle:
    """One checkpoint's processor and model (without weights), by transformers."""

    def __init__(self, folder: Path) -> None:
        config = hf.load_config(folder)
        self.processor: Any = load_processor(folder, config)
        self.tokenizer: Any = self.processor.tokenizer
        model = hf.build_on_meta(config)
        self._rope = next((module for module in model.modules() if hasattr(module, "get_rope_index")), None)

    def prompt(self, modality: str, count: int = 2) -> str:
        """The rendered conversation: text, an item, text, an item, text, and an answer that begins."""
        content: list[dict[str, str]] = [{"type": "text", "text": "Look:\n"}]
        for nth in range(count):
            content += [{"type": modality}, {"type": "text", "text": f"\nand {nth} "}]
        text: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        return text

    def whole(self, modality: str, prompt: str, media: Sequence[Any]) -> Whole:
        """The processor's answer to all at once, media nested as `apply_chat_template` hands them over."""
        given: dict[str, Any]
        match modality:
            case "image":
                given = {"images": [list(media)]}
            case "video":
                metadata = [metadata_of(one) for one in media]
                given = {
                    "videos": [[one.frames for one in media]],
                    "videos_kwargs": {"video_metadata": metadata, "do_sample_frames": False},
                }
            case _:
                given = {"audio": list(media), "audio_kwargs": {"sampling_rate": RATE}}
        made = self.processor(text=[prompt], return_tensors="pt", **given)
        return Whole(made["input_ids"][0].tolist(), dict(made), self._positions(made))

    def _positions(self, made: Any) -> NDArray[np.int64] | None:
        if self._rope is None:
            return None
        rule = self._rope.get_rope_index
        names = rule.__code__.co_varnames[: rule.__code__.co_argcount]
        given = {name: made[name] for name in names if name in made}
        if "second_per_grids" in names and "video_second_per_grid" in made:
            given["second_per_grids"] = torch.as_tensor(made["video_second_per_grid"]).float()
        if "audio_seqlens" in names and "feature_attention_mask" in made:
            given["audio_seqlens"] = made["feature_attention_mask"].sum(-1)
        planes: NDArray[np.int64] = rule(**given)[0][:, 0].numpy()
        return planes


def splice(prompt: str, token: str, items: Sequence[ProcessedItem], tokenizer: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """(token ids, run of each item) of a prompt with each placeholder replaced by its item's text."""
    pieces = prompt.split(token)
    assert len(pieces) == len(items) + 1
    text, bounds = pieces[0], []
    for item, piece in zip(items, pieces[1:], strict=True):
        bounds.append((len(text), len(text) + len(item.text)))
        text += item.text + piece
    made = tokenizer(text, return_offsets_mapping=True)
    counts = iter([count for item in items for count in item.counts])
    rows = {part.embed_token_id for item in items for part in item.parts}
    ids: list[int] = []
    at: list[int] = []
    for number, (start, _) in zip(made["input_ids"], made["offset_mapping"], strict=True):
        length = next(counts) if number in rows else 1
        ids += [number] * length
        at += [start] * length
    inside = [[index for index, start in enumerate(at) if low <= start < high] for low, high in bounds]
    return ids, [(run[0], run[-1] + 1) for run in inside]


def compose(length: int, runs: Sequence[tuple[int, int]], items: Sequence[ProcessedItem], planes: int) -> NDArray[np.int64]:
    """Positions of a whole prompt: text one by one, each item's planes from where it begins."""
    out = np.zeros((planes, length), np.int64)
    at = base = 0
    for (start, end), item in zip(runs, items, strict=True):
        out[:, at:start] = np.arange(base, base + start - at)
        base += start - at
        out[:, start:end] = base + (np.arange(end - start) if item.planes is None else item.planes)
        base += item.advance
        at = end
    out[:, at:] = np.arange(base, base + length - at)
    return out
