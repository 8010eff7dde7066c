"""Asks a saved checkpoint through transformers' own processors and `generate()`, with nothing of
the training in between."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoTokenizer, Qwen2VLImageProcessorPil
from transformers import Qwen2_5OmniThinkerForConditionalGeneration as Thinker

from .clips import mp4_bytes, mp4_frames
from .features import MERGE, TEMPORAL, audio_tokens, clip_patches
from .samples import Sample, draw_sample
from .schedule import random_frame
from .sounds import RATE
from .words import KINDS

Answers = dict[str, list[bool]]
SEEDS = (101, 202, 303)
LOADERS: tuple[Any, ...] = (Thinker, AutoTokenizer, Qwen2VLImageProcessorPil, AutoFeatureExtractor)


class Checkpoint:
    """A checkpoint folder, loaded as any user of transformers would load it."""

    def __init__(self, folder: Path) -> None:
        network, tokenizer, images, sounds = LOADERS
        self.network: Any = network.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer: Any = tokenizer.from_pretrained(folder)
        self.images: Any = images.from_pretrained(folder)
        self.sounds: Any = sounds.from_pretrained(folder)

    def answer(self, sample: Sample) -> str:
        if sample.clip is not None:  # through a real container, as users send clips
            sample = replace(sample, clip=mp4_frames(mp4_bytes(even(sample.clip))))
        inputs = plain_inputs(sample, self.images, self.sounds)
        medium, counts = media_tokens(inputs)
        parts = [{"type": medium} for _ in counts] + [{"type": "text", "text": sample.question}]
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = []
        remaining = iter(counts)
        config = self.network.config
        places = {config.image_token_index, config.video_token_index, config.audio_token_index}
        for token in self.tokenizer(text)["input_ids"]:
            ids += [token] * (next(remaining) if token in places else 1)
        prompt = torch.tensor([ids])
        with torch.inference_mode():
            output = self.network.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=40,
                **inputs,
            )
        answer: str = self.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
        return answer


def plain_inputs(sample: Sample, images: Any, sounds: Any) -> dict[str, torch.Tensor]:
    """What transformers' forward takes for the sample's media, by transformers' own processors."""
    if sample.pictures:
        return dict(images(images=sample.pictures, return_tensors="pt"))
    if sample.clip is not None:
        # There is no video processor without torchvision, so this one path is ours on both sides.
        values, grid = clip_patches([sample.clip])
        return {
            "pixel_values_videos": values.flatten(0, 2),
            "video_grid_thw": torch.tensor([grid]),
            "video_second_per_grid": torch.tensor([TEMPORAL / 2.0]),
        }
    if sample.sound is not None:
        made = sounds(
            [sample.sound], sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
        )
        return {
            "input_features": made["input_features"],
            "feature_attention_mask": made["attention_mask"],
        }
    return {}


def media_tokens(inputs: dict[str, torch.Tensor]) -> tuple[str, list[int]]:
    """The kind of media in these inputs, and the number of tokens of each."""
    for medium, key in (("image", "image_grid_thw"), ("video", "video_grid_thw")):
        if key in inputs:
            return medium, [int(grid.prod()) // MERGE**2 for grid in inputs[key]]
    if "feature_attention_mask" in inputs:
        return "audio", [audio_tokens(int(mask.sum())) for mask in inputs["feature_attention_mask"]]
    return "", []


def even(clip: Any) -> Any:
    """H.264 with halved colour needs even sides."""
    return clip[:, : clip.shape[1] // 2 * 2, : clip.shape[2] // 2 * 2]


def fresh_samples(kind: str, seed: int, count: int) -> list[Sample]:
    """Samples that no training has drawn: three in ten of other sizes and proportions than the
    trained one."""
    rng = np.random.default_rng([seed, 9_999, KINDS.index(kind)])
    return [draw_sample(rng, kind, random_frame(rng)) for _ in range(count)]


def table(marks: dict[str, list[tuple[int, int]]]) -> str:
    """One line for each kind, one column for each seed: right / asked."""
    lines = [
        "kind     "
        + "".join(f"seed {index + 1:<8}" for index in range(len(next(iter(marks.values())))))
    ]
    for kind, columns in marks.items():
        lines.append(f"{kind:<9}" + "".join(f"{right}/{asked:<9}" for right, asked in columns))
    return "\n".join(lines)


def examine_folder(
    folder: Path, seeds: tuple[int, ...], count: int, told: Callable[[str], None]
) -> dict[str, list[tuple[int, int]]]:
    checkpoint = Checkpoint(folder)
    marks: dict[str, list[tuple[int, int]]] = {}
    for kind in KINDS:
        marks[kind] = []
        for seed in seeds:
            right = 0
            for sample in fresh_samples(kind, seed, count):
                answer = checkpoint.answer(sample)
                right += answer == sample.answer
                if answer != sample.answer:
                    told(f"{kind}: {sample.question!r} wanted {sample.answer!r} got {answer!r}")
            marks[kind].append((right, count))
    return marks
