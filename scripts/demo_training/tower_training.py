"""Trains one tower with direct heads. Trained jointly from scratch, colours come at once and shapes not for hours."""

import logging
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from .features import feature_extractor
from .samples import Frame
from .schedule import learning_rate, random_frame
from .tower_lessons import SOUND_HEADS, VISION_HEADS, Heads, Lesson, sound_lesson, vision_lesson
from .towers import sound_tokens, vision_tokens

log = logging.getLogger(__name__)

Tower = Literal["vision", "sound"]
SAVE_EVERY = 100  # steps


def train_tower(network: Any, which: Tower, folder: Path, steps: int, batch: int, peak: float, seed: int) -> None:
    """Trains `network`'s tower in place and keeps it in `folder`, from where an interrupted run goes on."""
    tower = network.model.visual if which == "vision" else network.model.audio_tower
    heads = Heads(network.config.text_config.hidden_size, VISION_HEADS if which == "vision" else SOUND_HEADS)
    everything = nn.ModuleDict({"tower": tower, "heads": heads})
    optimiser = torch.optim.AdamW(everything.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    path = folder / f"{which}.pt"
    done = 0
    if path.exists():
        state = torch.load(path, weights_only=True)
        everything.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["step"]
    extractor = feature_extractor()
    started, shares = time.monotonic(), {}
    for step in range(done, steps):
        rng = np.random.default_rng([seed, step])
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        frame = random_frame(rng)
        tokens, lesson = _read(tower, which, extractor, rng, frame, batch)
        loss, shares = heads(tokens, lesson.labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(everything.parameters(), 1.0)
        optimiser.step()
        if step % 20 == 0 or step == steps - 1:
            told = " ".join(f"{name}={share:.3f}" for name, share in shares.items())
            log.info("%s step %d loss %.3f %s (%.0f s)", which, step, loss.item(), told, time.monotonic() - started)
        if (step + 1) % SAVE_EVERY == 0 or step == steps - 1:
            state = {"weights": everything.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, path.with_suffix(".new"))
            path.with_suffix(".new").rename(path)


def _read(
    tower: Any, which: Tower, extractor: object, rng: np.random.Generator, frame: Frame, batch: int
) -> tuple[torch.Tensor, Lesson]:
    if which == "vision":
        lesson = vision_lesson(rng, frame, batch)
        return vision_tokens(tower, lesson.inputs, *lesson.grid), lesson
    lesson = sound_lesson(rng, extractor, frame.samples, batch)
    return sound_tokens(tower, lesson.inputs), lesson
