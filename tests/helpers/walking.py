"""Random answers under a guide, as a model without sense would give them, and whether a given
answer could be one."""

import random
from functools import cache
from typing import Any

import numpy as np

from thespis.actors.jobs.guides import GuideChecker
from thespis.gpu_runtime.sampling.guiding import Guides
from thespis.gpu_runtime.sampling.vocabulary import vocabulary_of
from thespis.protocol.requests.guide import Guide, guide_of

from .facts import DEMO

INFO = DEMO
MOST_TOKENS = 1500


@cache
def checker() -> GuideChecker:
    return GuideChecker(lambda: vocabulary_of(INFO))


@cache
def _guides() -> Guides:
    return Guides(INFO)


@cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(f"{INFO.path}/tokenizer.json")


@cache
def _closing() -> "np.ndarray[Any, Any]":
    """Tokens that end something: without a taste for them, a random walk finds no end."""
    texts = (_tokenizer().decode([token]) for token in range(INFO.vocab))
    return np.array([text[:1] in ('"', "}", "]", ",", "@", ".") for text in texts])


def as_run(schema: Any) -> Guide:
    """A schema's guide as the runner gets it. Raises RequestError."""
    return checker().check(guide_of(json=schema))


def walk(guide: Guide, seed: int) -> str:
    """A whole answer: that of the first seed from this one on that comes to an end."""
    for tried in range(20):
        text = _walk(guide, seed + 1000 * tried)
        if text is not None:
            return text
    raise AssertionError("no walk finds an end")


def _walk(guide: Guide, seed: int) -> str | None:
    rng = random.Random(seed)
    matcher = _guides().start(guide, (), INFO.eos_token_ids)
    tokens: list[int] = []
    while len(tokens) < MOST_TOKENS:
        allowed = np.unpackbits(matcher.allowed(), bitorder="little")[: INFO.vocab].astype(bool)
        assert allowed.any(), _tokenizer().decode(tokens)
        closing = allowed & _closing()
        ended = any(allowed[token] for token in INFO.eos_token_ids)
        if ended and (rng.random() < 0.5 or not closing.any()):
            return str(_tokenizer().decode(tokens, skip_special_tokens=True))
        eager = closing.any() and rng.random() < (0.4 if len(tokens) < 150 else 0.95)
        choices = np.flatnonzero(closing if eager else allowed)
        tokens.append(int(choices[rng.randrange(len(choices))]))
        matcher.advance(tokens[-1])
    return None


def accepts(guide: Guide, text: str) -> bool:
    """Whether this may be a whole answer."""
    matcher = _guides().start(guide, (), INFO.eos_token_ids)
    for token in _tokenizer().encode(text, add_special_tokens=False).ids:
        allowed = np.unpackbits(matcher.allowed(), bitorder="little")
        if not allowed[token]:
            return False
        matcher.advance(token)
    return any(
        np.unpackbits(matcher.allowed(), bitorder="little")[token] for token in INFO.eos_token_ids
    )
