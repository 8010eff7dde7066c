"""PoolingParams: what a request for vectors wants of a prompt's hidden states. Names and defaults are vLLM's."""

import difflib
from typing import Any, Literal, get_args

import msgspec

Task = Literal["embed", "token_embed"]
"""One vector of the whole prompt, or one of each of its tokens."""
TASKS: tuple[Task, ...] = get_args(Task)
MAX_BYTES = 64 << 20
"""Of the vectors of one prompt: they travel in one message."""


class PoolingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the vectors of one request are made. Raises ValueError that names the field for a value out of range."""

    task: Task = "embed"
    dimensions: int | None = None
    """The vector's first so many numbers; only of models that were trained for it. None: all."""
    use_activation: bool | None = None
    """Whether vectors get the length 1; None: as the model's files say."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            near = difflib.get_close_matches(str(self.task), TASKS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"task must be one of {', '.join(TASKS)}, got {self.task!r:.80}{meant}")
        if self.dimensions is not None and not (type(self.dimensions) is int and self.dimensions > 0):
            raise ValueError(f"dimensions must be a whole number above 0, got {self.dimensions!r:.80}.")

    def replace(self, **changes: Any) -> "PoolingParams":
        return msgspec.structs.replace(self, **changes)


class Pooler(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model's hidden states become the vector of a prompt."""

    take: Literal["last", "mean", "cls"] = "last"
    """The state of the last token, the mean of all, or the state of the first."""
    normalize: bool = True
    """Vectors have the length 1."""
    matryoshka: bool = False
    """Their beginnings are vectors too: `dimensions` may be asked for."""
    dimensions: tuple[int, ...] = ()
    """The only lengths that such a beginning may have; (): any."""


def needs_every_state(pooling: PoolingParams, pooler: Pooler) -> bool:
    """Whether the states of a prompt's beginning count, so that none of it may be taken from the prefix cache."""
    return pooling.task != "embed" or pooler.take != "last"
