"""Twenty-four requests of a family, in every form that a face takes, with transformers' answer to
each."""

from typing import Any, Literal, NamedTuple

from .checkpoints import Family
from .media import RATE, Pixels, clip, clip_frames, data_url, picture, png, sound, wav
from .reference import Answer, Media, Reference

REQUESTS = 24
LONG, SHORT = 128, 24
"""Tokens of an answer: the first twelve are long, whatever the model says, so that later requests
meet them running."""
FIRST_SEED = 100
"""Of the media."""
SYSTEM = "You see, you hear, you answer."
SIZES = ((56, 56), (90, 60), (112, 84), (40, 70))
"""Width and height; most are not what the towers take, so they are resized."""


Medium = Literal["image", "video", "audio"]


class Shown(NamedTuple):
    """A picture, clip or sound of a prompt."""

    kind: Medium
    seed: int

    @property
    def encoded(self) -> bytes:
        if self.kind == "image":
            return png(picture(self.seed, *SIZES[self.seed % 4]))
        if self.kind == "video":
            width, height = ((56, 56), (84, 56), (112, 112))[self.seed % 3]
            return clip(self.seed, frames=4 + 2 * (self.seed % 2), width=width, height=height)
        return wav(self.samples)

    @property
    def samples(self) -> Any:
        return sound(self.seed, 0.3 + 0.2 * (self.seed % 4))

    @property
    def frames(self) -> Pixels:
        return clip_frames(self.encoded)

    @property
    def part(self) -> dict[str, Any]:
        """As a content part of the OpenAI API."""
        kind = {"image": "image/png", "video": "video/mp4", "audio": "audio/wav"}[self.kind]
        name = f"{self.kind}_url"
        return {"type": name, name: {"url": data_url(kind, self.encoded)}}


KINDS: dict[Family, tuple[tuple[str, ...], ...]] = {
    "llava": ((), ("image",), ("image", "image")),
    "qwen_vl": ((), ("image",), ("image", "image"), ("video",), ("image", "video")),
    "qwen_omni": (
        (),
        ("image",),
        ("image", "image"),
        ("video",),
        ("audio",),
        ("image", "audio"),
        ("video", "audio"),
    ),
}


class Case(NamedTuple):
    """One request: media first, then a question; every second one under a system message."""

    shown: tuple[Shown, ...]
    question: str
    system: bool
    max_tokens: int

    @property
    def ignore_eos(self) -> bool:
        return self.max_tokens == LONG

    @property
    def media(self) -> Media:
        return Media(
            tuple(picture(s.seed, *SIZES[s.seed % 4]) for s in self.shown if s.kind == "image"),
            tuple(s.frames for s in self.shown if s.kind == "video"),
            tuple(s.samples for s in self.shown if s.kind == "audio"),
        )

    def messages(self, encoded: bool) -> list[dict[str, Any]]:
        """With data URLs (`encoded`), or with bare placeholders for the reference's template."""
        parts: list[dict[str, Any]] = [s.part if encoded else {"type": s.kind} for s in self.shown]
        user = {"role": "user", "content": [*parts, {"type": "text", "text": self.question}]}
        return [{"role": "system", "content": SYSTEM}, user] if self.system else [user]


class Solved(NamedTuple):
    """A case and what transformers says to it, alone."""

    case: Case
    prompt: str
    answer: Answer

    @property
    def offline(self) -> dict[str, Any]:
        """As `LLM.generate` takes it."""
        media = self.case.media
        data = {
            "image": list(media.images),
            "video": list(media.videos),
            "audio": [(samples, RATE) for samples in media.audio],
        }
        return {
            "prompt": self.prompt,
            "multi_modal_data": {kind: items for kind, items in data.items() if items},
        }


def solve_all(family: Family, reference: Reference) -> list[Solved]:
    """The last four repeat earlier ones whole, so that whole prompts are found again."""
    kinds = KINDS[family]
    solved = [_solve(reference, kinds[index % len(kinds)], index) for index in range(REQUESTS - 4)]
    return solved + solved[1:5]


def _solve(reference: Reference, kinds: tuple[str, ...], index: int) -> Solved:
    """The first wording under which no token is near a tie."""
    shown = tuple(Shown(kind, FIRST_SEED + 2 * index + place) for place, kind in enumerate(kinds))  # type: ignore[arg-type]
    for again in range(20):
        case = Case(
            shown,
            f"What is it, number {index}{'?' * (again + 1)}",
            index % 2 == 1,
            LONG if index < 12 else SHORT,
        )
        prompt = reference.prompt(case.messages(encoded=False))
        answer = reference.answer(prompt, case.media, case.max_tokens, case.ignore_eos)
        if answer.safe:
            return Solved(case, prompt, answer)
    raise AssertionError(
        f"all wordings of case {index} come near a tie: the model's logits are too flat"
    )
