"""What `speculative_config` says: how many tokens are guessed, and how. Its form and names are
vLLM's."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ..errors import EngineError
from ..facts import ModelFacts

MOST = 64
"""Of guessed tokens, and of those that are compared: each guess is a row of the step."""
USUAL = 5
"""Tokens that are compared, where nobody says how many."""
Count = Annotated[int, msgspec.Meta(ge=1, le=MOST)]


class Speculation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Prompt lookup: what followed the last tokens of a sequence where they stood before is what
    may follow them now."""

    method: Literal["ngram"]
    num_speculative_tokens: Count
    """Guessed for a step, at most."""
    prompt_lookup_max: Count
    prompt_lookup_min: Count
    """Last tokens that are looked for: first so many, then fewer."""


def speculation(given: Mapping[str, Any], deterministic: bool = False) -> Speculation | None:
    """{}: nothing is guessed. Raises ValueError that says what is wrong."""
    if not given:
        return None
    if given.get("method") != "ngram":
        said = f"got {given['method']!r}" if "method" in given else "which is missing"
        raise ValueError(
            f"speculative_config: method must be 'ngram', {said}: tokens are guessed from prompt "
            "and answer alone, and no second model is run."
        )
    either = given.get("prompt_lookup_max", given.get("prompt_lookup_min", USUAL))
    try:
        found = msgspec.convert(
            {"prompt_lookup_max": either, "prompt_lookup_min": either, **given}, Speculation
        )
    except msgspec.ValidationError as error:
        raise ValueError(
            f"speculative_config: {error}. Its keys are {', '.join(Speculation.__struct_fields__)}."
        ) from None
    if found.prompt_lookup_min > found.prompt_lookup_max:
        raise ValueError("speculative_config: prompt_lookup_min is more than prompt_lookup_max.")
    if deterministic:
        raise ValueError(
            "speculative_config computes several tokens at once, and deterministic one: choose "
            "one of the two."
        )
    return found


def speculation_of(given: Mapping[str, Any], model: ModelFacts) -> Speculation | None:
    """The same for one model. Raises EngineError where a wrong guess could not be taken back, or
    nothing is said."""
    wanted = speculation(given)
    if wanted is None:
        return None
    if model.recurrent:
        raise EngineError(
            f"Models of type {model.model_type!r} keep states of their tokens, which a wrong "
            "guess would change: start without speculative_config."
        )
    if model.output == "vector":
        raise EngineError(
            "speculative_config guesses tokens, and this model makes vectors: start without it."
        )
    return wanted
