"""How tokens are chosen and when a choice ends. Names and defaults are OpenAI's and vLLM's."""

import copy
import difflib
import math
from typing import Any, cast

import msgspec

from .guide import Guide, StructuredOutputsParams, as_guide
from .thinking import Thinking

MAX_TEXTS = 1024
"""In `stop` or `bad_words`: each text is looked for with every token."""
MAX_CHARACTERS = 64 << 10
"""Of all those texts together."""


class _Suggesting(msgspec.StructMeta):
    """A misspelt field is an error that names what may have been meant."""

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except TypeError as error:
            unknown = next((name for name in fields if name not in cls.__struct_fields__), None)
            near = difflib.get_close_matches(unknown or "", cls.__struct_fields__, 1)
            if not near:
                raise
            raise TypeError(f"{error}; did you mean {near[0]!r}?") from None


class SamplingParams(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, metaclass=_Suggesting
):
    """How one request is sampled. Raises ValueError that names the field for a value out of range,
    TypeError for a field that there is none of."""

    n: int = 1
    """Choices per prompt. Each is a sequence of its own; they share the prompt's KV blocks."""
    temperature: float = 1.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """How many of the most likely tokens are kept; 0 or -1 keeps all."""
    min_p: float = 0.0
    seed: int | None = None
    """None: drawn when the request is accepted, so that a resumed one samples the same."""
    max_tokens: int | None = 16
    """None: as many as fit into the context."""
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: tuple[int, ...] | None = None
    logprobs: int | None = None
    """Alternatives per output token; 0 gives only that of the chosen token."""
    prompt_logprobs: int | None = None
    skip_special_tokens: bool = True
    bad_words: tuple[str, ...] = ()
    """Texts that are never produced, neither alone nor after a space."""
    structured_outputs: Guide | StructuredOutputsParams | None = None
    """What the answer must look like; a dict of the fields is taken too. `guide` reads it."""
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    """The token sequences of `bad_words`; the preprocessor fills them in."""
    thinking_token_budget: int | None = None
    """Tokens that a model which thinks may think for; then its answer begins. None: as it likes."""
    thinking: Thinking | None = None
    """Where thinking ends; the preprocessor fills it in."""

    def __post_init__(self) -> None:
        self._normalise()
        self._validate()

    def _normalise(self) -> None:
        """A text for several, lists for tuples, dicts for guides: all become what fields say."""
        force = msgspec.structs.force_setattr
        for name in ("stop", "bad_words"):
            if isinstance(value := getattr(self, name), str):
                force(self, name, (value,))
        for name in ("stop", "stop_token_ids", "bad_words"):
            if not isinstance(value := getattr(self, name), tuple):
                force(self, name, _listed(name, value or ()))
        if not isinstance(self.allowed_token_ids, tuple | None):
            force(self, "allowed_token_ids", _listed("allowed_token_ids", self.allowed_token_ids))
        if not isinstance(self.structured_outputs, Guide | None):
            force(self, "structured_outputs", as_guide(self.structured_outputs))

    def _validate(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
                raise ValueError(f"{name} must be between {low} and {high}, got {value}.")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError("stop must not hold an empty string.")
        if not all(isinstance(word, str) and word.strip() for word in self.bad_words):
            raise ValueError("bad_words must not hold an empty text.")
        for name, texts in (("stop", self.stop), ("bad_words", self.bad_words)):
            if len(texts) > MAX_TEXTS or sum(map(len, texts)) > MAX_CHARACTERS:
                raise ValueError(
                    f"{name} takes at most {MAX_TEXTS} texts of {MAX_CHARACTERS} characters "
                    f"together."
                )
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens must be at most max_tokens={self.max_tokens}, got {self.min_tokens}."
            )
        if not all(
            type(token) is int and -100.0 <= bias <= 100.0
            for token, bias in (self.logit_bias or {}).items()
        ):
            raise ValueError("logit_bias must give token ids a bias between -100 and 100.")
        if self.allowed_token_ids == ():
            raise ValueError("allowed_token_ids must not be empty.")

    @property
    def guide(self) -> Guide | None:
        """`structured_outputs` in the one form that travels."""
        return cast("Guide | None", self.structured_outputs)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    def replace(self, **changes: Any) -> "SamplingParams":
        return msgspec.structs.replace(self, **changes)

    def clone(self) -> "SamplingParams":
        """An equal one of its own."""
        return copy.deepcopy(self)


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    """Raises ValueError that names the field."""
    try:
        return tuple(value)
    except TypeError:
        raise ValueError(f"{name} must be a list, got {value!r:.80}.") from None


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("n", 1, 128),
    ("temperature", 0.0, 100.0),
    ("top_p", 1e-9, 1.0),
    ("top_k", -1, 1 << 31),
    ("min_p", 0.0, 1.0),
    ("seed", -(1 << 63), (1 << 63) - 1),
    ("max_tokens", 1, 1 << 31),
    ("min_tokens", 0, 1 << 31),
    ("thinking_token_budget", 0, 1 << 31),
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
    ("repetition_penalty", 1e-6, math.inf),
    ("logprobs", 0, 50),
    ("prompt_logprobs", 0, 50),
)
