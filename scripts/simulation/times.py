"""How long things take in a replica: fitted to what a real engine's scheduler has seen."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy

from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.edges.control import Share
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

STEPS_AT_LEAST = 40
"""That a fit is made of."""
FEW = 10
PIECES = 24
"""Of a spread."""


class Shape(msgspec.Struct, frozen=True):
    """What of a plan takes time."""

    decoded: int
    """Sequences that get a token each."""
    prompt_tokens: int
    chunks: int
    """Prompts of which a part is computed."""
    newcomers: int
    looked_back: float
    """Positions that its tokens attend to, together."""

    @classmethod
    def of(cls, plan: StepPlan) -> "Shape":
        chunks = [work for work in plan.work if work.count > 1]
        return cls(
            decoded=len(plan.work) - len(chunks),
            prompt_tokens=sum(work.count for work in chunks),
            chunks=len(chunks),
            newcomers=len(plan.new),
            looked_back=sum(work.count * (work.start + work.count / 2) for work in plan.work),
        )

    def row(self) -> tuple[float, ...]:
        thousands = self.looked_back / 1000
        return 1.0, self.decoded, self.prompt_tokens, self.chunks, self.newcomers, thousands


class StepSeen(msgspec.Struct, frozen=True):
    """One step of a real runner."""

    shape: Shape
    seconds: float
    """From the moment at which the runner had it and nothing else to do, to its answer."""
    inside: float
    """Of these those that the runner itself has measured."""
    beside: bool
    """The encoder had its part of the cores."""


Spread = tuple[float, ...]
"""Equally likely values, the smallest first."""


class Line(msgspec.Struct, frozen=True):
    """Seconds of something of a size."""

    fixed: float
    each: float
    spread: Spread = (1.0,)
    """How many times as long it takes."""

    def seconds(self, size: float, rng: random.Random) -> float:
        return (self.fixed + self.each * size) * rng.choice(self.spread)


class Times(msgspec.Struct, frozen=True):
    """All of one engine on one machine; seconds."""

    step: tuple[float, ...]
    """By the columns of `Shape.row`."""
    spread: Spread
    """How many times as long a step takes."""
    beside: float
    """The same while the encoder computes."""
    inside: float
    """The part of a step's time that its runner tells."""
    before: Spread
    """From a client to the scheduler, without media..."""
    before_media: Spread
    """... and with them, beside their decoding."""
    after: Spread
    """From a step's answer to the client."""
    decode: Line
    """Of an item by its thousands of pixels, on one of `decoders`."""
    encode: Line
    """Of a batch by its rows."""
    decoders: int = 1
    grain: int = 1
    """So many steps of those who decode are one; a prompt is computed beside the first of them."""

    def expected(self, shape: Shape) -> float:
        seconds = sum(a * b for a, b in zip(self.step, shape.row(), strict=True))
        if self.grain > 1 and shape.decoded:
            seconds += (self.grain - 1) * self.step[0]
        return max(1e-4, seconds)

    def of(self, shape: Shape, beside: bool, rng: random.Random) -> float:
        drawn = [rng.choice(self.spread) for _ in range(self.grain)]
        seconds = self.expected(shape) * sum(drawn) / self.grain
        return seconds * self.beside if beside else seconds


class Profile(msgspec.Struct, frozen=True):
    """One engine as it was measured, whatever else runs on other machines."""

    model: str
    cores: int
    scheduler: SchedulerConfig
    share: Share
    times: Times


def coarser(profile: Profile, grain: int) -> Profile:
    """The same engine where each token stands for so many: everything that is counted in tokens or
    rows is fewer, and takes as long together."""
    if grain == 1:
        return profile
    config, share, times = profile.scheduler, profile.share, profile.times
    if config.block_size % grain:
        raise ValueError(f"a block's {config.block_size} tokens are not divided by {grain}")
    fixed, decoded, prompt_tokens, chunks, newcomers, thousands = times.step
    return Profile(
        profile.model,
        profile.cores,
        msgspec.structs.replace(
            config,
            max_batched_tokens=config.max_batched_tokens // grain,
            max_model_len=config.max_model_len // grain,
            attention_even=config.attention_even // grain,
            block_size=config.block_size // grain,
            hidden_bytes=config.hidden_bytes * grain,
        ),
        msgspec.structs.replace(share, tokens=share.tokens // grain),
        msgspec.structs.replace(
            times,
            step=(
                fixed, decoded * grain, prompt_tokens * grain, chunks, newcomers,
                thousands * grain * grain,
            ),
            encode=Line(times.encode.fixed, times.encode.each * grain, times.encode.spread),
            grain=grain,
        ),
    )  # fmt: skip


def fit_steps(steps: Sequence[StepSeen]) -> tuple[tuple[float, ...], Spread, float, float]:
    """`Times.step`, `spread`, `beside` and `inside`. The mean of alike steps is
    right, and no column takes less than nothing. Raises ValueError for too few."""
    alone = [step for step in steps if not step.beside]
    if len(alone) < STEPS_AT_LEAST:
        raise ValueError(f"{len(alone)} steps were seen alone; a fit needs {STEPS_AT_LEAST}")
    rows = numpy.array([step.shape.row() for step in alone])
    seconds = numpy.array([step.seconds for step in alone])
    columns = list(range(rows.shape[1]))
    while True:
        found, *_ = numpy.linalg.lstsq(rows[:, columns], seconds, rcond=None)
        worst = int(numpy.argmin(found))
        if found[worst] >= 0 or len(columns) == 1:
            break
        del columns[worst]
    step = numpy.zeros(rows.shape[1])
    step[columns] = numpy.maximum(0.0, found)
    expected = numpy.maximum(1e-4, rows @ step)
    spread = spread_of([float(value) for value in seconds / expected])
    others = [
        seen.seconds / max(1e-4, float(numpy.array(seen.shape.row()) @ step))
        for seen in steps
        if seen.beside
    ]
    usual = sum(spread) / len(spread)
    beside = max(1.0, sum(others) / len(others) / usual) if len(others) >= FEW else 1.0
    inside = min(1.0, float(sum(seen.inside for seen in alone) / seconds.sum()))
    return tuple(float(value) for value in step), spread, beside, inside


def spread_of(values: Sequence[float]) -> Spread:
    """The means of equally many neighbours each, so that the mean of all is theirs."""
    pieces = numpy.array_split(numpy.sort(numpy.array(values)), min(PIECES, len(values)))
    return tuple(round(float(piece.mean()), 5) for piece in pieces)


def fit_line(points: Sequence[tuple[float, float]], default: Line) -> Line:
    """Of (size, seconds). `default`: where there are too few."""
    if len(points) < 2:
        return default
    sizes = numpy.array([size for size, _ in points])
    seconds = numpy.array([taken for _, taken in points])
    fixed, each = float(seconds.mean()), 0.0
    if float(numpy.ptp(sizes)) > 1e-9:
        rows = numpy.stack([numpy.ones_like(sizes), sizes], 1) / seconds[:, None] ** 0.5
        (base, slope), *_ = numpy.linalg.lstsq(rows, seconds**0.5, rcond=None)
        if slope > 0:
            fixed, each = max(0.0, float(base)), float(slope)
    expected = fixed + each * sizes
    spread = spread_of([float(value) for value in seconds / expected])
    return Line(round(fixed, 6), round(each, 9), spread)


def read(path: Path) -> Profile:
    return msgspec.json.decode(path.read_bytes(), type=Profile)


def write(path: Path, profile: Profile) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n")
