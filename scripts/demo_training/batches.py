"""Batches of questions whose media all have one shape, ready for the network but for the towers'
work."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from .features import (
    CELL,
    TEMPORAL,
    audio_tokens,
    feature_extractor,
    fit_clip,
    fit_picture,
    patches,
    sound_features,
)
from .samples import Frame, Sample, draw_sample
from .schedule import random_frame
from .towers import sound_tokens, vision_tokens
from .words import KINDS

MOST_STEPS = 1_000_000
REPEATED = 0.65  # of the steps on towers that stand still
LONGEST_MEMORY = 400  # steps, about a megabyte each
UNASKED = -100  # a label where no answer token stands
PICTURE_KINDS = ("what", "where", "count", "digits")
TRAINED_KINDS = (*KINDS, "greeting")


@dataclass(frozen=True)
class Batch:
    """`ids` and `labels` are [rows, length], `positions` [3, rows, length]; `labels[i]` is the
    token after `ids[i]`."""

    kinds: list[str]
    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    frames: NDArray[np.uint8] | None = None  # [items, frames, height, width, 3]
    mel: torch.Tensor | None = None  # [rows, mel bins, frames]
    media: torch.Tensor | None = (
        None  # [all media tokens, hidden], where a worker has run the towers already
    )


@dataclass
class Scribe:
    """Writes questions and answers as token ids with their positions, remembering what it has
    written before."""

    network: Any
    tokenizer: Any
    _prompts: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _positions: dict[tuple[object, ...], torch.Tensor] = field(default_factory=dict)

    def prompt(self, media: tuple[str, ...], question: str) -> list[int]:
        """Token ids with one placeholder for each medium."""
        key = ("+".join(media), question)
        if key not in self._prompts:
            parts = [{"type": medium} for medium in media] + [{"type": "text", "text": question}]
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
            )
            self._prompts[key] = self.tokenizer(text)["input_ids"]
        return self._prompts[key]

    def row(
        self, sample: Sample, media: tuple[str, ...], grid: tuple[int, int, int], tokens: int
    ) -> "Row":
        config = self.network.config
        places = {config.image_token_index, config.video_token_index, config.audio_token_index}
        prompt: list[int] = []
        for token in self.prompt(media, sample.question):
            prompt += [token] * (tokens if token in places else 1)
        answer = [*self.tokenizer(sample.answer)["input_ids"], self.tokenizer.eos_token_id]
        ids = prompt + answer[:-1]
        labels = [UNASKED] * (len(prompt) - 1) + answer
        return Row(ids, labels, self._row_positions(ids, media, grid))

    def _row_positions(
        self, ids: list[int], media: tuple[str, ...], grid: tuple[int, int, int]
    ) -> torch.Tensor:
        """[3, length] by transformers' own rule; it depends on the layout alone, never on the
        words."""
        if not media or media[0] == "audio":
            return torch.arange(len(ids)).expand(3, -1)
        # The first words are the same in every prompt, so the length fixes where everything stands.
        key = (len(ids), media, grid)
        if key not in self._positions:
            grids = torch.tensor([grid] * len(media))
            asked = {"image_grid_thw": grids} if media[0] == "image" else {"video_grid_thw": grids}
            positions, _ = self.network.get_rope_index(
                torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                second_per_grids=torch.ones(len(media)), **asked,
            )  # fmt: skip
            self._positions[key] = positions[:, 0]
        return self._positions[key]


@dataclass(frozen=True)
class Row:
    ids: list[int]
    labels: list[int]
    positions: torch.Tensor


def build_batch(scribe: Scribe, extractor: Any, samples: list[Sample]) -> Batch:
    """All samples must have media of one number, kind and shape."""
    first = samples[0]
    frames: NDArray[np.uint8] | None = None
    mel: torch.Tensor | None = None
    media: tuple[str, ...] = ()
    grid, tokens = (0, 0, 0), 0
    if first.pictures:
        media = ("image",) * len(first.pictures)
        fitted = np.stack([fit_picture(pixels) for sample in samples for pixels in sample.pictures])
        frames = np.repeat(fitted[:, None], TEMPORAL, axis=1)
    elif first.clip is not None:
        media = ("video",)
        frames = np.stack([fit_clip(sample.clip) for sample in samples if sample.clip is not None])
    elif first.sound is not None:
        media = ("audio",)
        mel = sound_features(
            extractor, [sample.sound for sample in samples if sample.sound is not None]
        )
        tokens = audio_tokens(mel.shape[2])
    if frames is not None:
        _, count, height, width, _ = frames.shape
        grid = (count // TEMPORAL, 2 * height // CELL, 2 * width // CELL)
        tokens = grid[0] * (height // CELL) * (width // CELL)
    rows = [scribe.row(sample, media, grid, tokens) for sample in samples]
    return _padded(
        [sample.kind for sample in samples], rows, scribe.tokenizer.pad_token_id, frames, mel
    )


def _padded(
    kinds: list[str],
    rows: list[Row],
    padding: int,
    frames: NDArray[np.uint8] | None,
    mel: torch.Tensor | None,
) -> Batch:
    """Padding goes to the right, where causal attention hides it from everything that counts."""
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), padding)
    labels = torch.full((len(rows), length), UNASKED)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        labels[index, : len(row.ids)] = torch.tensor(row.labels)
        positions[:, index, : len(row.ids)] = row.positions
    return Batch(kinds, ids, labels, positions, frames, mel)


class Curriculum(Dataset[list[Batch]]):
    """The batches of one training step; worker processes draw them ahead.

    `shares` [kinds], in shared memory, is written by the trainer: how much each kind is to be
    practised, 0 to 1. With `encoded` the workers run the towers too, which is right only while the
    towers do not learn.
    """

    def __init__(self, scribe: Scribe, shares: torch.Tensor, seed: int, encoded: bool) -> None:
        self.scribe = scribe
        self.shares = shares
        self.seed = seed
        self.encoded = encoded
        self.extractor = feature_extractor()
        self.drawn: deque[list[Batch]] = deque(maxlen=LONGEST_MEMORY)

    def __len__(self) -> int:
        return MOST_STEPS

    def __getitem__(self, step: int) -> list[Batch]:
        rng = np.random.default_rng([self.seed, step])
        # Drawing and encoding cost as much as learning, so what was drawn is learnt from more than
        # once.
        if self.encoded and rng.random() < REPEATED and len(self.drawn) > 20:
            return self.drawn[int(rng.integers(len(self.drawn)))]
        shares = dict(zip(TRAINED_KINDS, self.shares.tolist(), strict=True))
        weights = np.array([shares[kind] for kind in PICTURE_KINDS])
        size = 80 if self.encoded else 48
        drawn = [str(kind) for kind in rng.choice(PICTURE_KINDS, size, p=weights / weights.sum())]
        # Every step sees the trained size and a foreign one: steps of one size alone pull the
        # weights to and fro.
        groups = [
            (drawn[size // 4 :], random_frame(rng, 0.0)),
            (drawn[: size // 4], random_frame(rng, 1.0)),
        ]
        for kind, largest in (("pick", size // 2), ("motion", 24), ("beeps", 24)):
            groups.append(([kind] * max(4, round(largest * shares[kind])), random_frame(rng)))
        if step % 4 == 0:
            groups.append((["greeting"] * 6, Frame()))
        batches = [self._draw(rng, kinds, frame) for kinds, frame in groups]
        if self.encoded:
            self.drawn.append(batches)
        return batches

    def _draw(self, rng: np.random.Generator, kinds: list[str], frame: Frame) -> Batch:
        batch = build_batch(
            self.scribe, self.extractor, [draw_sample(rng, kind, frame) for kind in kinds]
        )
        if not self.encoded:
            return batch
        with torch.no_grad():
            return replace(
                batch, frames=None, mel=None, media=media_tokens(self.scribe.network, batch)
            )


def media_tokens(network: Any, batch: Batch) -> torch.Tensor | None:
    """The towers' tokens of the whole batch in reading order: [all tokens, hidden]."""
    if batch.frames is not None:
        values, (_, down, across) = patches(batch.frames)
        return vision_tokens(network.model.visual, values.flatten(0, 1), down, across).flatten(0, 1)
    if batch.mel is not None:
        return sound_tokens(network.model.audio_tower, batch.mel).flatten(0, 1)
    return batch.media


def exam_batches(scribe: Scribe, extractor: Any, kind: str, seed: int, count: int) -> list[Batch]:
    """`count` fresh samples of one kind, a few of each outer measure."""
    rng = np.random.default_rng([seed, 1 + TRAINED_KINDS.index(kind), 77])
    batches = []
    while count > 0:
        frame: Frame = random_frame(rng)
        size = min(count, 20)
        batches.append(
            build_batch(scribe, extractor, [draw_sample(rng, kind, frame) for _ in range(size)])
        )
        count -= size
    return batches
