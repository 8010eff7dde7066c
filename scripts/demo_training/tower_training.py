"""Trains one tower with direct heads. Trained jointly from scratch, colours come at once and shapes
not for hours."""

import logging
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from . import checkpoints
from .features import feature_extractor
from .schedule import learning_rate, random_frame
from .tower_lessons import SOUND_HEADS, VISION_HEADS, Heads, Lesson, sound_lesson, vision_lesson
from .towers import sound_tokens, vision_tokens

log = logging.getLogger(__name__)

Tower = Literal["vision", "sound"]
SAVE_EVERY = 100  # steps


class Lessons(Dataset[Lesson]):
    """One batch for each step, drawn by a worker process ahead of time; a step is always drawn the
    same."""

    def __init__(self, which: Tower, steps: int, batch: int, seed: int) -> None:
        self.which, self.steps, self.batch, self.seed = which, steps, batch, seed
        self.extractor = feature_extractor()

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Lesson:
        rng = np.random.default_rng([self.seed, step])
        frame = random_frame(rng)
        if self.which == "vision":
            return vision_lesson(rng, frame, self.batch)
        return sound_lesson(rng, self.extractor, frame.samples, self.batch)


def train_tower(
    network: Any, which: Tower, folder: Path, steps: int, batch: int, peak: float, seed: int
) -> None:
    """Trains `network`'s tower in place and keeps it in `folder`, from where an interrupted run
    goes on."""
    tower = network.model.visual if which == "vision" else network.model.audio_tower
    heads = Heads(
        network.config.text_config.hidden_size, VISION_HEADS if which == "vision" else SOUND_HEADS
    )
    everything = nn.ModuleDict({"tower": tower, "heads": heads})
    optimiser = torch.optim.AdamW(
        everything.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01
    )
    path = folder / f"{which}.safetensors"
    saved = checkpoints.resume(path, everything, optimiser)
    done = 0 if saved is None else int(saved["step"])
    lessons = Subset(Lessons(which, steps, batch, seed), range(done, steps))
    started = time.monotonic()
    for step, lesson in enumerate(
        DataLoader(lessons, batch_size=None, num_workers=1, prefetch_factor=6), start=done
    ):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        loss, shares = heads(_read(tower, which, lesson), lesson.labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimiser.step()
        if step % 20 == 0 or step == steps - 1:
            told = " ".join(f"{name}={share:.3f}" for name, share in shares.items())
            log.info(
                "%s step %d loss %.3f %s (%.0f s)",
                which,
                step,
                loss.item(),
                told,
                time.monotonic() - started,
            )
        if (step + 1) % SAVE_EVERY == 0 or step == steps - 1:
            checkpoints.save(path, everything, optimiser, {"step": step + 1})


def _read(tower: Any, which: Tower, lesson: Lesson) -> torch.Tensor:
    if which == "vision":
        return vision_tokens(tower, lesson.inputs, *lesson.grid)
    return sound_tokens(tower, lesson.inputs)
