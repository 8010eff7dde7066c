"""Twenty-eight distinct requests: text, pictures, clips, sounds, n=2, log-probabilities, stop
strings, seeds, greedy."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from thespis import SamplingParams
from thespis.protocol.requests.request import MODALITIES
from thespis.tests.helpers.cases import Case, Medium, Shown

SIZE = 24
KINDS: tuple[tuple[Medium, ...], ...] = (
    (),
    ("image",),
    ("audio",),
    ("video",),
    (),
    ("image", "audio"),
    ("image", "image"),
    (),
)
"""By position in the pool; over three rounds each meets every way of sampling below."""
SAMPLING: tuple[dict[str, Any], ...] = (
    {"temperature": 0.0},
    {"temperature": 0.8},
    {"temperature": 0.0, "logprobs": 2},
    {"temperature": 0.9, "n": 2},
    {"temperature": 0.0},
    {"temperature": 1.3, "stop": ()},
    {"temperature": 0.0, "repetition_penalty": 1.0},
    {"temperature": 1.1, "n": 2, "logprobs": 1, "top_p": 0.95},
    {"temperature": 0.0},
    {"temperature": 1.2, "top_k": 40, "presence_penalty": 0.5, "frequency_penalty": 0.1},
    {"temperature": 0.0},
)
"""`stop: ()`: a stop string is taken from an undisturbed answer (see `oracle`)."""
ECHOES = ((1, False), (2, False), (3, False), (1, True))
"""Requests that show what an earlier one shows, by its position: by URL where that has it inline
and the other way round, or (True) inline with an id beside the bytes. The load may have both under
way at once."""


@dataclass(frozen=True)
class Ask:
    """One request, as every face can put it."""

    name: str
    case: Case
    sampling: SamplingParams
    by_url: bool
    """Its media come from a server and pass the fetcher."""
    named: bool
    """Its media have ids of their caller's."""
    wants_stop: bool

    @property
    def greedy(self) -> bool:
        return self.sampling.greedy

    def with_stop(self, stop: str) -> "Ask":
        return replace(self, sampling=self.sampling.replace(stop=(stop,)))

    def messages(self, media_url: str) -> list[dict[str, Any]]:
        """The conversation in the OpenAI form."""
        messages = self.case.messages(encoded=True)
        for part, shown in zip(messages[-1]["content"], self.case.shown, strict=False):
            if self.by_url:
                part[part["type"]]["url"] = f"{media_url}/{shown.kind}/{shown.seed}"
            if self.named:
                part["uuid"] = f"{shown.kind}-{shown.seed}"
        return messages


def make_pool(seed: int, least: int, most: int, media: Collection[str] = MODALITIES) -> list[Ask]:
    """Answers have `least` to `most` tokens; nothing is shown but `media`. The same seed gives the
    same pool."""

    def ask(index: int, shown: tuple[Shown, ...], by_url: bool, named: bool = False) -> Ask:
        given = dict(SAMPLING[index % len(SAMPLING)])
        tokens = least + (most - least) * (index * 7 % SIZE) // (SIZE - 1)
        params = SamplingParams(
            seed=seed * 1000 + index, max_tokens=tokens, ignore_eos=True, **given
        )
        case = Case(shown, f"What is this, number {index}?", index % 2 == 1, tokens)
        return Ask(
            _name(index, shown, by_url, named, given), case, params, by_url, named, "stop" in given
        )

    pool: list[Ask] = []
    for index in range(SIZE):
        kinds = [kind for kind in KINDS[index % len(KINDS)] if kind in media]
        shown = tuple(
            Shown(kind, seed % 1000 + 3 * index + place) for place, kind in enumerate(kinds)
        )
        pool.append(ask(index, shown, bool(kinds) and index % 2 == 0))
    for index, (first, named) in enumerate(ECHOES, SIZE):
        shown = pool[first].case.shown
        pool.append(ask(index, shown, bool(shown) and not named and not pool[first].by_url, named))
    return pool


def _name(
    index: int, shown: tuple[Shown, ...], by_url: bool, named: bool, given: dict[str, Any]
) -> str:
    kinds: list[str] = [one.kind for one in shown] or ["text"]
    ways = [
        "greedy" if given["temperature"] == 0 else "seeded",
        *(key for key in ("n", "logprobs", "stop") if key in given),
    ]
    return "-".join([f"{index:02d}", *kinds, *["url"] * by_url, *["id"] * named, *ways])
