"""The main course: the language model learns to answer on top of the towers, with checkpoints.

It has two stages. In `language` the towers stand still, so that worker processes can run them ahead
and a step costs the language model alone; in `together` all weights are free.
"""

import logging
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset

from . import checkpoints
from .batches import (
    MOST_STEPS,
    TRAINED_KINDS,
    UNASKED,
    Batch,
    Curriculum,
    Scribe,
    exam_batches,
    media_tokens,
)
from .features import feature_extractor
from .schedule import WARM_UP, cooled
from .words import KINDS

log = logging.getLogger(__name__)

Stage = Literal["language", "together"]

EXAM_EVERY = 250  # steps
SAVE_EVERY = 50


@dataclass
class Progress:
    step: int = 0
    seconds: float = 0.0  # trained so far, over all runs
    right: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(TRAINED_KINDS, 0.0)
    )  # running shares


def answer_logits(network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """[answer tokens, vocabulary] under the true answers, and the wanted ids."""
    model = network.model
    embeddings = model.language_model.embed_tokens(batch.ids)
    media = media_tokens(network, batch)
    if media is not None:
        config = network.config
        places = torch.tensor(
            [config.image_token_index, config.video_token_index, config.audio_token_index]
        )
        embeddings = embeddings.masked_scatter(torch.isin(batch.ids, places)[..., None], media)
    hidden = model.language_model(
        inputs_embeds=embeddings, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    asked = batch.labels != UNASKED
    return network.lm_head(hidden[asked]), batch.labels[asked]


def exact(logits: torch.Tensor, batch: Batch) -> list[bool]:
    """Whether greedy decoding gives each row's answer: it does if every token wins after the true
    ones before it."""
    asked = batch.labels != UNASKED
    wrong = torch.zeros(batch.labels.shape, dtype=torch.bool)
    wrong[asked] = logits.argmax(-1) != batch.labels[asked]
    return [not bad for bad in wrong.any(1).tolist()]


def examine(network: Any, scribe: Scribe, seed: int, count: int) -> dict[str, float]:
    """The share of exact answers to fresh samples of each kind."""
    extractor = feature_extractor()
    shares = {}
    with torch.inference_mode():
        for kind in KINDS:
            marks: list[bool] = []
            for batch in exam_batches(scribe, extractor, kind, seed, count):
                marks += exact(answer_logits(network, batch)[0], batch)
            shares[kind] = sum(marks) / len(marks)
    return shares


def optimiser_for(network: Any, stage: Stage, peak: float) -> torch.optim.AdamW:
    """The towers, which know their lessons already, learn at a lower rate, or not at all."""
    towers = [*network.model.visual.parameters(), *network.model.audio_tower.parameters()]
    rest = [*network.model.language_model.parameters(), *network.lm_head.parameters()]
    groups = [{"params": rest, "share": 1.0}]
    if stage == "together":
        groups.append({"params": towers, "share": 0.7})
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)


def practice_shares(right: dict[str, float]) -> torch.Tensor:
    """Weak kinds are practised more; none is ever left out."""
    return torch.tensor([min(1.0, 0.15 + 3 * (1 - right[kind])) for kind in TRAINED_KINDS])


@dataclass
class Course:
    """One stage's training under way, and where its checkpoint lies."""

    network: Any
    optimiser: torch.optim.Optimizer
    scribe: Scribe
    path: Path
    seed: int
    progress: Progress = field(default_factory=Progress)

    def resume(self) -> None:
        progress = checkpoints.resume(self.path, self.network, self.optimiser)
        if progress is not None:
            self.progress = Progress(**progress)

    def save(self) -> None:
        checkpoints.save(self.path, self.network, self.optimiser, vars(self.progress))

    def report(self, loss: float) -> None:
        """What is due after this step: a line, a checkpoint, an exam."""
        done = self.progress
        if done.step % 25 == 0:
            told = " ".join(f"{kind}={share:.2f}" for kind, share in done.right.items())
            log.info("step %d, %.0f s, loss %.3f, right %s", done.step, done.seconds, loss, told)
        if done.step % SAVE_EVERY == 0:
            self.save()
        if done.step % EXAM_EVERY == 0:
            marks = examine(self.network, self.scribe, self.seed + done.step, 100)
            log.info(
                "exam at %d: %s",
                done.step,
                " ".join(f"{kind}={mark:.3f}" for kind, mark in marks.items()),
            )


def train(
    network: Any, tokenizer: Any, stage: Stage, path: Path, minutes: float, peak: float, seed: int
) -> None:
    """Trains until `minutes` are spent, over all runs; goes on from the checkpoint at `path` if
    there is one."""
    course = Course(
        network, optimiser_for(network, stage, peak), Scribe(network, tokenizer), path, seed
    )
    course.resume()
    progress = course.progress
    shares: Any = practice_shares(progress.right)
    shares.share_memory_()
    curriculum = Curriculum(course.scribe, shares, seed, encoded=stage == "language")
    ahead = Subset(curriculum, range(progress.step, MOST_STEPS))
    loader = DataLoader(ahead, batch_size=None, num_workers=1, prefetch_factor=3)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    last = time.monotonic()
    for batches in loader:
        part = progress.seconds / (60 * minutes)
        if part >= 1 or stopped:
            break
        rate = peak * min(1.0, (progress.step + 1) / WARM_UP) * cooled(part)
        for group in course.optimiser.param_groups:
            group["lr"] = rate * group["share"]
        loss = learn(network, course.optimiser, batches, progress)
        shares.copy_(practice_shares(progress.right))
        progress.step += 1
        progress.seconds += time.monotonic() - last
        last = time.monotonic()
        course.report(loss)
    course.save()


def learn(
    network: Any, optimiser: torch.optim.Optimizer, batches: list[Batch], progress: Progress
) -> float:
    """One step over all groups; each counts by its number of samples."""
    optimiser.zero_grad(set_to_none=True)
    total, whole = 0.0, sum(len(batch.kinds) for batch in batches)
    for batch in batches:
        logits, wanted = answer_logits(network, batch)
        loss = F.cross_entropy(logits, wanted) * (len(batch.kinds) / whole)
        torch.autograd.backward(loss)
        total += loss.item()
        for kind, right in zip(batch.kinds, exact(logits.detach(), batch), strict=True):
            progress.right[kind] += 0.01 * (right - progress.right[kind])
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return total
