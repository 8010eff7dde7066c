"""Draws questions with their media and their one right answer."""

from dataclasses import dataclass, field, replace

import numpy as np

from . import words
from .clips import Clip, draw_motion
from .pictures import (
    Pixels,
    Thing,
    draw_digits,
    draw_things,
    place,
    random_background,
    random_thing,
    weather,
)
from .sounds import Wave, draw_beeps


@dataclass(frozen=True)
class Frame:
    """The outer measures of a sample's media, fixed for a whole training batch, free in an
    evaluation."""

    width: int = 84
    height: int = 84
    frames: int = 6
    samples: int = 24_000


@dataclass(frozen=True)
class Sample:
    kind: str
    question: str
    answer: str
    pictures: list[Pixels] = field(default_factory=list)
    clip: Clip | None = None
    sound: Wave | None = None


def draw_sample(rng: np.random.Generator, kind: str, frame: Frame) -> Sample:
    match kind:
        case "what":
            return _what(rng, frame)
        case "where":
            return _where(rng, frame)
        case "count":
            return _count(rng, frame)
        case "digits":
            return _digits(rng, frame)
        case "motion":
            return _motion(rng, frame)
        case "beeps":
            return _beeps(rng, frame)
        case "pick":
            return _pick(rng, frame)
        case "greeting":
            return Sample("greeting", str(rng.choice(words.GREETINGS)), words.INTRODUCTION)
    raise ValueError(f"no such kind: {kind}")


def draw_single(rng: np.random.Generator, frame: Frame) -> tuple[Pixels, Thing]:
    radius = float(rng.uniform(0.14, 0.42)) * min(frame.width, frame.height)
    [(x, y)] = place(rng, frame.width, frame.height, [radius])
    thing = random_thing(rng, x, y, radius)
    return _picture(rng, frame, [thing]), thing


def draw_several(rng: np.random.Generator, frame: Frame, count: int) -> tuple[Pixels, list[Thing]]:
    unit = min(frame.width, frame.height)
    largest = 0.2 if count <= 3 else 0.165
    radii = [float(rng.uniform(0.115, largest)) * unit for _ in range(count)]
    things = [
        random_thing(rng, x, y, radius)
        for (x, y), radius in zip(place(rng, frame.width, frame.height, radii), radii, strict=True)
    ]
    return _picture(rng, frame, things), things


def draw_pair(rng: np.random.Generator, frame: Frame) -> tuple[Pixels, Thing, Thing, str]:
    """Two things of different names, clearly on one axis: how the first lies to the second."""
    unit = min(frame.width, frame.height)
    while True:
        radii = [float(rng.uniform(0.125, 0.23)) * unit for _ in range(2)]
        centres = place(rng, frame.width, frame.height, radii)
        first, second = (
            random_thing(rng, x, y, r) for (x, y), r in zip(centres, radii, strict=True)
        )
        across, along = first.x - second.x, first.y - second.y
        if first.name == second.name or max(abs(across), abs(along)) < 1.8 * min(
            abs(across), abs(along)
        ):
            continue
        relation = (
            ("left of", "right of")[across > 0]
            if abs(across) > abs(along)
            else ("above", "below")[along > 0]
        )
        return _picture(rng, frame, [first, second]), first, second, relation


def _picture(rng: np.random.Generator, frame: Frame, things: list[Thing]) -> Pixels:
    return weather(rng, draw_things(random_background(rng), frame.width, frame.height, things))


def _what(rng: np.random.Generator, frame: Frame) -> Sample:
    pixels, thing = draw_single(rng, frame)
    return Sample("what", str(rng.choice(words.WHAT_QUESTIONS)), f"a {thing.name}", [pixels])


def _where(rng: np.random.Generator, frame: Frame) -> Sample:
    pixels, first, second, relation = draw_pair(rng, frame)
    return Sample("where", f"Where is the {first.name}?", f"{relation} the {second.name}", [pixels])


def _count(rng: np.random.Generator, frame: Frame) -> Sample:
    count = int(rng.integers(1, 6))
    pixels, _ = draw_several(rng, frame, count)
    return Sample("count", str(rng.choice(words.COUNT_QUESTIONS)), words.NUMBERS[count], [pixels])


def random_digits(rng: np.random.Generator) -> str:
    return "".join(str(digit) for digit in rng.integers(0, 10, int(rng.integers(1, 4))))


def _digits(rng: np.random.Generator, frame: Frame) -> Sample:
    digits = random_digits(rng)
    pixels, _ = draw_digits(rng, digits, frame.width, frame.height)
    return Sample("digits", str(rng.choice(words.DIGIT_QUESTIONS)), digits, [weather(rng, pixels)])


def _motion(rng: np.random.Generator, frame: Frame) -> Sample:
    clip, scenes, direction = draw_motion(rng, frame.width, frame.height, frame.frames)
    answer = f"the {scenes[0][0].name} moves {direction}"
    return Sample("motion", str(rng.choice(words.MOTION_QUESTIONS)), answer, clip=clip)


def beeps_answer(count: int, rising: bool) -> str:
    return (
        "one beep"
        if count == 1
        else f"{words.NUMBERS[count]} beeps, {'rising' if rising else 'falling'}"
    )


def _beeps(rng: np.random.Generator, frame: Frame) -> Sample:
    count, rising = int(rng.integers(1, 6)), bool(rng.random() < 0.5)
    sound, _ = draw_beeps(rng, count, rising, frame.samples)
    return Sample(
        "beeps", str(rng.choice(words.BEEP_QUESTIONS)), beeps_answer(count, rising), sound=sound
    )


def _pick(rng: np.random.Generator, frame: Frame) -> Sample:
    """Two pictures of one thing each, often alike in colour or in shape, so that both words
    count."""
    (pixels_a, a), (pixels_b, b) = draw_single(rng, frame), draw_single(rng, frame)
    alike = rng.random()
    if alike < 0.4:
        b = replace(b, colour=a.colour) if alike < 0.2 else replace(b, shape=a.shape)
        pixels_b = _picture(rng, frame, [b])
    if a.name == b.name:
        return _pick(rng, frame)
    index = int(rng.integers(0, 2))
    named = (a, b)[index]
    place_word = ("first", "second")[index]
    if rng.random() < 0.7:
        question, answer = f"Which picture shows the {named.name}?", f"the {place_word} picture"
    else:
        question, answer = f"What is in the {place_word} picture?", f"a {named.name}"
    return Sample("pick", question, answer, [pixels_a, pixels_b])
