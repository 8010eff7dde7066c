"""What each request's answer must be: transformers' own for greedy requests, an undisturbed run's
for sampled ones."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from thespis.gpu_runtime.sampling.sampler import SamplerState, sample
from thespis.tests.helpers.reference import Reference

from ..history import Record, Want, first_difference
from ..pool import Ask
from .zoo import ZooReference

TIE = 1e-4
"""Gap of two logits below which a flip is a tie: recomputing moves each by up to half of it."""
DRAWS = 256
"""Ways of moving the logits that are tried to explain a flip."""


@dataclass
class Oracle:
    """One checkpoint. Loading it takes seconds, and its answers block: ask before the load begins,
    or in a thread."""

    folder: Path
    animal: str | None = None
    """Its name in the zoo, if it is from there."""
    wants: dict[str, tuple[Want, ...]] = field(default_factory=dict)
    """By name of the request."""

    def __post_init__(self) -> None:
        self._reference: Reference | ZooReference = (
            Reference(self.folder)
            if self.animal is None
            else ZooReference(self.animal, self.folder)
        )

    def solve(self, ask: Ask) -> None:
        """A greedy request, by transformers alone."""
        assert ask.greedy
        params = ask.sampling
        answer = self._reference.answer(
            self._prompt(ask), ask.case.media, params.max_tokens or 1, params.ignore_eos
        )
        self.wants[ask.name] = (
            Want(
                tuple(answer.token_ids),
                self.text(answer.token_ids),
                "length",
                params.logprobs is not None,
            ),
        )

    def learn(self, ask: Ask, undisturbed: Record) -> None:
        """A sampled request, from a run in which nothing was killed."""
        wants = []
        for choice in range(ask.sampling.n):
            said = [said for said in undisturbed.said if said.choice == choice]
            tokens = tuple(token for one in said for token in one.token_ids)
            finish = next(one.finish for one in said if one.finish is not None)
            text = "".join(one.text for one in said)
            same = ask.sampling.stop or self.animal is not None or text == self.text(tokens)
            assert same, f"{ask.name}: the text is not that of its tokens"
            wants.append(Want(tokens, text, finish, ask.sampling.logprobs is not None))
        self.wants[ask.name] = tuple(wants)

    def hear(self, ask: Ask, undisturbed: Record) -> None:
        """A greedy request, from a run in which nothing was killed: how tokens are spelled that
        mean nothing (the zoo's), and on which side it came down where transformers' logits are a
        tie. All else is transformers' word."""
        (want,) = self.wants[ask.name]
        self.learn(ask, undisturbed)
        (got,) = self.wants[ask.name]
        place = first_difference(got.token_ids, want.token_ids)
        if place < len(want.token_ids):
            self.wants[ask.name] = (want,)
            assert self.is_tie(ask, 0, place, got.token_ids[place]), (
                f"{ask.name}: not what transformers says, undisturbed"
            )
            self.wants[ask.name] = (got,)

    def text(self, tokens: tuple[int, ...] | list[int]) -> str:
        return str(self._reference.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def is_tie(self, ask: Ask, choice: int, position: int, got: int) -> bool:
        """Whether logits that differ by less than the tie's gap could have given `got` at
        `position` of this choice."""
        before = self.wants[ask.name][choice].token_ids[:position]
        prompt, media = self._prompt(ask), ask.case.media
        logits = self._reference.logits_after(prompt, media, before)
        prompt_ids = list(self._reference.answer(prompt, media, 1).prompt_token_ids)
        moved = (
            logits
            + (torch.rand(DRAWS, len(logits), generator=torch.Generator().manual_seed(0)) - 0.5)
            * TIE
        )
        state = SamplerState(
            ask.sampling, choice, prompt_ids, before, (), len(logits), torch.device("cpu")
        )
        return got in sample(moved, [state] * DRAWS).tokens

    def _prompt(self, ask: Ask) -> str:
        return self._reference.prompt(ask.case.messages(encoded=False))


def stop_string(text: str) -> str | None:
    """A piece of `text` that comes first in its second half, so that a stream with it is stopped
    there; None: it only says again what it has said."""
    for length in range(2, 9):
        for start in range(len(text) // 2, len(text) * 9 // 10):
            piece = text[start : start + length]
            if piece.strip() == piece and text.index(piece) == start:
                return piece
    return None
