"""`options` of Ollama's calls. Those that say how tokens are chosen are obeyed, or refused where
there is no such way and the value would matter; those that say how a model is loaded are ignored
and told, since it is loaded. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ....protocol.errors import refuse
from ....protocol.requests.sampling import SamplingParams
from ...inputs.unread import Unread
from ...validation import check_depth, wrong_field
from .common import made_sampling

OURS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Names of SamplingParams by those of Ollama."""
NAMES = {ours: f"options.{theirs}" for theirs, ours in OURS.items()}
ELSEWHERE: dict[str, tuple[Any, ...]] = {
    "mirostat": (0,),
    "tfs_z": (1, 0),
    "typical_p": (1, 0),
}
"""Ways of sampling that are not here, with the values that switch them off."""


class Sampled(msgspec.Struct, kw_only=True):
    """The options that are obeyed."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    num_predict: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


def read_sampling(given: Mapping[str, Any], unread: Unread, **more: Any) -> SamplingParams:
    """Raises RequestError that names the option."""
    check_depth(given, "options")
    for name, harmless in ELSEWHERE.items():
        value = given.get(name)
        if value is not None and value not in harmless:
            text = "There is no such way of sampling here; leave it out."
            raise refuse("unsupported", text, f"options.{name}", "unsupported")
    unread.check(given, (*OURS, *ELSEWHERE), "options")
    try:
        read = msgspec.convert(given, Sampled)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error), "options") from None
    values = {ours: getattr(read, theirs) for theirs, ours in OURS.items()}
    wanted = {name: value for name, value in values.items() if value not in (None, [], "")}
    limit = wanted.get("max_tokens")
    if limit is None or limit <= 0:  # -1 and -2 are "as many as there is room for"
        wanted["max_tokens"] = None
    if wanted.get("top_p") == 0:
        wanted["top_p"] = TINY
    return made_sampling({**wanted, **more}, NAMES)


TINY = 1e-9
"""The least `top_p`: the most likely token alone, which some say as 0."""
