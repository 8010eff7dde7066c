"""First lessons: each tower learns to name what lies under each of its tokens, by linear heads
thrown away afterwards."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .clips import draw_motion
from .features import (
    CELL,
    TEMPORAL,
    audio_tokens,
    fit_picture,
    patches,
    sound_features,
    target_size,
)
from .pictures import Pixels, Thing, draw_digits, weather
from .samples import Frame, draw_pair, draw_several, draw_single, random_digits
from .sounds import draw_beeps
from .words import COLOURS, DIRECTIONS, SHAPES

IGNORED = -100
COLOUR_INDEX = {colour: index + 1 for index, colour in enumerate(COLOURS)}
SHAPE_INDEX = {shape: index + 1 for index, shape in enumerate(SHAPES)}
FIRST_DIGIT = len(SHAPES) + 1
VISION_HEADS = {
    "shape": FIRST_DIGIT + 10,
    "colour": len(COLOURS) + 1,
    "crowd": 3,  # nothing, one thing, more than one
    "motion": len(DIRECTIONS) + 1,
    "row": 6,
    "column": 6,
}
SOUND_HEADS = {"ordinal": 6, "trend": 3}


@dataclass(frozen=True)
class Lesson:
    """What a tower reads, and for each head the class of each token: [items, tokens]."""

    inputs: torch.Tensor
    labels: dict[str, torch.Tensor]
    grid: tuple[int, int] = (0, 0)


class Heads(nn.Module):
    def __init__(self, width: int, classes: dict[str, int]) -> None:
        super().__init__()
        self.linears = nn.ModuleDict(
            {name: nn.Linear(width, count) for name, count in classes.items()}
        )

    def forward(
        self, tokens: torch.Tensor, labels: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The summed loss, and each head's share of right answers among the tokens that hold
        something."""
        loss = torch.zeros(())
        shares: dict[str, float] = {}
        for name, linear in self.linears.items():
            logits = linear(tokens).flatten(0, 1)
            wanted = labels[name].flatten()
            losses = F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="none")
            # Most tokens see nothing; what they see counts as much as all the emptiness together.
            weights = torch.where(wanted > 0, 1.0, 0.3)
            loss = loss + (losses * weights).sum() / weights[wanted != IGNORED].sum()
            held = wanted > 0
            if bool(held.any()):
                shares[name] = float((logits[held].argmax(-1) == wanted[held]).float().mean())
        return loss, shares


class CellLabels:
    """Collects the classes of every token's cell of one picture."""

    def __init__(self, frame: Frame) -> None:
        width, height = target_size(frame.width, frame.height)
        self.columns, self.rows = width // CELL, height // CELL
        self.scale_x, self.scale_y = self.columns / frame.width, self.rows / frame.height
        self.cells = {name: np.zeros((self.rows, self.columns), np.int64) for name in VISION_HEADS}
        self.cells["row"][:] = np.arange(self.rows)[:, None]
        self.cells["column"][:] = np.arange(self.columns)[None]

    def add(self, x: float, y: float, shape: int, colour: int, motion: int = 0) -> None:
        at = (
            min(int(y * self.scale_y), self.rows - 1),
            min(int(x * self.scale_x), self.columns - 1),
        )
        crowded = self.cells["crowd"][at] > 0
        self.cells["crowd"][at] = 2 if crowded else 1
        self.cells["shape"][at] = IGNORED if crowded else shape
        self.cells["colour"][at] = IGNORED if crowded else colour
        self.cells["motion"][at] = max(motion, int(self.cells["motion"][at]))

    def add_thing(self, thing: Thing, motion: int = 0) -> None:
        self.add(thing.x, thing.y, SHAPE_INDEX[thing.shape], COLOUR_INDEX[thing.colour], motion)


def vision_lesson(rng: np.random.Generator, frame: Frame, items: int) -> Lesson:
    pairs: list[Pixels] = []
    labels: list[CellLabels] = []
    for _ in range(items):
        cells = CellLabels(frame)
        pairs.append(_frame_pair(rng, frame, cells))
        labels.append(cells)
    inputs, (_, down, across) = patches(np.stack(pairs))
    stacked = {
        name: torch.from_numpy(np.stack([cells.cells[name] for cells in labels])).flatten(1)
        for name in VISION_HEADS
    }
    return Lesson(inputs[:, 0], stacked, (down, across))


def _frame_pair(rng: np.random.Generator, frame: Frame, cells: CellLabels) -> Pixels:
    """Two frames [2, height, width, 3], the same for a still picture, and the classes of their
    cells."""
    choice = rng.random()
    if choice < 0.3:
        clip, scenes, direction = draw_motion(
            rng, frame.width, frame.height, 2 * int(rng.integers(2, 5))
        )
        start = int(rng.integers(0, len(clip) - 1))
        before, after = scenes[start][0], scenes[start + 1][0]
        middle = Thing(
            before.colour,
            before.shape,
            (before.x + after.x) / 2,
            (before.y + after.y) / 2,
            before.radius,
        )
        cells.add_thing(middle, 1 + DIRECTIONS.index(direction))
        for still in scenes[start][1:]:
            cells.add_thing(still)
        return np.stack([fit_picture(pixels) for pixels in clip[start : start + TEMPORAL]])
    if choice < 0.45:
        pixels, thing = draw_single(rng, frame)
        cells.add_thing(thing)
    elif choice < 0.6:
        pixels, first, second, _ = draw_pair(rng, frame)
        cells.add_thing(first)
        cells.add_thing(second)
    elif choice < 0.75:
        pixels, things = draw_several(rng, frame, int(rng.integers(2, 6)))
        for thing in things:
            cells.add_thing(thing)
    else:
        digits = random_digits(rng)
        pixels, centres = draw_digits(rng, digits, frame.width, frame.height)
        pixels = weather(rng, pixels)
        for (x, y), digit in zip(centres, digits, strict=True):
            cells.add(x, y, FIRST_DIGIT + int(digit), IGNORED)
    return np.repeat(fit_picture(pixels)[None], TEMPORAL, axis=0)


def sound_lesson(rng: np.random.Generator, extractor: object, samples: int, items: int) -> Lesson:
    """For each token the number of beeps so far, and whether they rise (1) or fall (2)."""
    sounds, ordinals, trends = [], [], []
    for _ in range(items):
        count, rising = int(rng.integers(1, 6)), bool(rng.random() < 0.5)
        sound, spans = draw_beeps(rng, count, rising, samples)
        times = (np.arange(audio_tokens(-(-samples // 160))) + 0.5) * 640
        ordinal = np.sum(times[None] >= np.array([[begin] for begin, _ in spans]), axis=0)
        sounds.append(sound)
        ordinals.append(ordinal)
        trends.append(np.where(ordinal > 1, 1 if rising else 2, 0))
    labels = {
        "ordinal": torch.from_numpy(np.stack(ordinals).astype(np.int64)),
        "trend": torch.from_numpy(np.stack(trends).astype(np.int64)),
    }
    return Lesson(sound_features(extractor, sounds), labels)
