"""What one checkpoint is asked, and what transformers alone answers."""

from typing import Any, NamedTuple

from thespis.tests.helpers.media import RATE, clip, clip_frames, picture, sound
from thespis.tests.helpers.reference import Media
from thespis.tests.zoo.kinds import Animal
from thespis.tests.zoo.reference import Answer, Reference, clip_facts

TOKENS, MORE = 24, 64
"""Of an answer, and of the first third's: those that run on outgrow the cache while others begin.
No end is one."""
LEAST = 16
"""Requests of a batch."""
WORDINGS = 6
SIZES = ((90, 60), (56, 56), (112, 84), (50, 120))
LONG = (
    "Say first what there is, then what there is not, and in the end what there might be if "
    "nobody had asked for it, please. "
)
LENGTHS = {1: 1, 5: 1, 9: 1, 12: 3}
"""How often it is said, by the place of a request."""

KINDS = {
    (): "text",
    ("image",): "one picture",
    ("image", "image"): "several",
    ("image", "image", "image"): "several",
    ("video",): "clip",
    ("audio",): "sound",
}
"""The column that a request of these media counts for; of mixed ones, the last medium's."""


class Question(NamedTuple):
    """One request: media first, then words."""

    media: tuple[str, ...]
    words: str
    seed: int
    tokens: int

    @property
    def column(self) -> str:
        return KINDS.get(self.media) or KINDS[self.media[-1:]]

    @property
    def shown(self) -> Media:
        seeds = list(enumerate(self.media, self.seed * 4))
        return Media(
            tuple(picture(seed, *SIZES[seed % 4]) for seed, kind in seeds if kind == "image"),
            tuple(
                clip_frames(clip(seed, frames=4 + 2 * (seed % 2), width=60, height=90))
                for seed, kind in seeds
                if kind == "video"
            ),
            tuple(sound(seed, 0.6 + 0.3 * (seed % 3)) for seed, kind in seeds if kind == "audio"),
        )

    def messages(self, animal: Animal, bare: bool) -> list[dict[str, Any]]:
        """With raw media as `LLM.chat` takes them, or `bare` marks for the oracle's template."""
        if not animal.takes:
            return [{"role": "user", "content": self.words}]
        shown = self.shown
        raw: dict[str, list[Any]] = {
            "image": list(shown.images),
            "video": [
                (frames, {**clip_facts(len(frames)), "do_sample_frames": False})
                for frames in shown.videos
            ],
            "audio": [(samples, RATE) for samples in shown.audio],
        }
        parts = [
            {"type": kind} if bare else {"type": kind, kind: raw[kind].pop(0)}
            for kind in self.media
        ]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": self.words}]}]


class Solved(NamedTuple):
    question: Question
    text: str
    """The prompt with bare placeholders."""
    answer: Answer


def solve_all(reference: Reference, more: int = MORE) -> list[Solved]:
    """Sixteen mixed requests and more, the last three whole repetitions; `more`: tokens of the
    first third's answers."""
    kinds = _kinds(reference.animal)
    solved = [
        found
        for place, media in enumerate(kinds)
        if (found := _solve(reference, media, place, more)) is not None
    ]
    rest = range(len(solved), LEAST - 3)
    solved += [
        found for place in rest if (found := _solve(reference, (), 50 + place, more)) is not None
    ]
    return solved + solved[:: max(1, len(solved) // 3)][:3]


def _kinds(animal: Animal) -> list[tuple[str, ...]]:
    """Media of each request."""
    alone = [(kind,) for kind in animal.takes]
    several = [("image", "image"), ("image", "image", "image")] if "image" in animal.takes else []
    mixed = [
        ("image", kind) for kind in animal.takes if kind != "image" and "image" in animal.takes
    ]
    if animal.sounds_a_prompt == 1 and not several:
        return [("audio",)] * (LEAST - 3)
    wanted = [*[()] * 3, *alone * 3, *several * 2, *mixed]
    return [*wanted, *[() for _ in range(LEAST - 3 - len(wanted))]]


def _solve(reference: Reference, media: tuple[str, ...], place: int, more: int) -> Solved | None:
    """The wording under which the first near tie comes last. None: transformers itself takes none
    of them.

    (GLM's classes count a clip's rows among the pictures' of the same prompt; Phi-4's look for the
    picture of a mark that the model has said itself.)
    """
    best: Solved | None = None
    for again in range(WORDINGS):
        words = f"{LONG * LENGTHS.get(place, 0)}What is it, number {place}{'?' * (again + 1)}"
        question = Question(
            media, words, place + again * 100, more if place < LEAST // 3 else TOKENS
        )
        text = reference.text(question.messages(reference.animal, bare=True))
        try:
            answer = reference.answer(text, question.shown, question.tokens)
        except (AttributeError, ValueError):
            continue
        if best is None or answer.safe > best.answer.safe:
            best = Solved(question, text, answer)
        if best.answer.safe == question.tokens:
            break
    return best
