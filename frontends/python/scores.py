"""What `score` and `rerank` are given, and what they return. Names and shapes are those that users
of vLLM know."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from ...protocol.requests.pooling import PoolingParams
from ..inputs.conversations import ScoreInput, read_for_score
from ..inputs.nearness import cosines, ranked
from ..inputs.scoring import pair_up
from ..inputs.submission import Submission
from .vectors import PoolingRequestOutput, with_task

ScoreInputs = ScoreInput | Sequence[ScoreInput]


class ScoringOutput(msgspec.Struct):
    """How near the two of a pair are."""

    score: float
    """The cosine of their vectors, from -1 to 1."""


class ScoringRequestOutput(msgspec.Struct, kw_only=True):
    """The answer of `score` for one pair."""

    request_id: str
    outputs: ScoringOutput
    prompt_token_ids: list[int]
    """Of the two, one behind the other."""
    num_cached_tokens: int
    finished: bool = True


class RankedDocument(msgspec.Struct, kw_only=True):
    """One document of `rerank`."""

    index: int
    """Where it stood."""
    relevance_score: float
    document: Any
    """As it was given."""


class Compared(msgspec.Struct):
    """The inputs of one call: those of the first side, and behind them those of the second."""

    pairs: list[tuple[int, int]]
    ahead: int
    """How many are of the first side."""
    inputs: list[ScoreInput]
    names: list[str]

    def readers(self, options: Mapping[str, Any]) -> list[Callable[[], Submission]]:
        """Each reads one input."""
        named = zip(self.inputs, self.names, strict=True)
        return [partial(read_for_score, one, at, options) for one, at in named]

    def scored(self, made: Sequence[PoolingRequestOutput]) -> list[ScoringRequestOutput]:
        first, second = made[: self.ahead], made[self.ahead :]
        vectors = [[one.outputs.raw for one in side] for side in (first, second)]
        scores = cosines(self.pairs, *vectors)
        return [
            _output(first[one], second[other], score)
            for (one, other), score in zip(self.pairs, scores, strict=True)
        ]


def compared(first: ScoreInputs, second: ScoreInputs, names: tuple[str, str]) -> Compared:
    """Raises RequestError where they do not fit each other."""
    sides = [_listed(first), _listed(second)]
    pairs = pair_up(len(sides[0]), len(sides[1]), names[1])
    places = [
        f"{name}[{at}]" for name, side in zip(names, sides, strict=True) for at in range(len(side))
    ]
    return Compared(pairs, len(sides[0]), [*sides[0], *sides[1]], places)


def for_score(params: PoolingParams | None) -> PoolingParams:
    """Raises TypeError for other parameters, ValueError for those that make no vector of a whole
    prompt."""
    wanted = with_task(params, None if params is not None else "embed")
    if wanted.task != "embed":
        raise ValueError("Scores are made of the vectors of whole prompts: task is embed.")
    return wanted


def best_of(
    scored: Sequence[ScoringRequestOutput], documents: Sequence[Any], most: int | None
) -> list[RankedDocument]:
    """The best `most` (None: all), the best first."""
    scores = [one.outputs.score for one in scored]
    return [
        RankedDocument(index=place, relevance_score=scores[place], document=documents[place])
        for place in ranked(scores, most)
    ]


def check_top(most: int | None) -> None:
    """Raises ValueError."""
    if most is not None and not (type(most) is int and most > 0):
        raise ValueError(f"top_n must be a whole number above 0, got {most!r:.80}.")


def _listed(given: Any) -> list[Any]:
    one = isinstance(given, str | Mapping) or not isinstance(given, Sequence)
    return [given] if one else list(given)


def _output(
    one: PoolingRequestOutput, other: PoolingRequestOutput, score: float
) -> ScoringRequestOutput:
    return ScoringRequestOutput(
        request_id=f"{one.request_id}_{other.request_id}",
        outputs=ScoringOutput(score),
        prompt_token_ids=[*one.prompt_token_ids, *other.prompt_token_ids],
        num_cached_tokens=one.num_cached_tokens + other.num_cached_tokens,
    )
