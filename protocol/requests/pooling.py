"""What a request for vectors wants of a prompt's hidden states. Names and defaults are vLLM's."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec

Task = Literal["embed", "token_embed"]
"""One vector of the whole prompt, or one of each of its tokens."""
TASKS: tuple[Task, ...] = get_args(Task)
MAX_BYTES = 64 << 20
"""Of the vectors of one prompt: they travel in one message."""


class PoolingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a request's vectors are made. Raises ValueError that names the field out of range."""

    task: Task = "embed"
    dimensions: int | None = None
    """The vector's first so many numbers; only of models that were trained for it. None: all."""
    use_activation: bool | None = None
    """Whether vectors get the length 1; None: as the model's files say."""
    truncate_prompt_tokens: int | None = None
    """Of a longer text or list of ids so many tokens are read, from its beginning, what the
    tokenizer puts around a text among them; -1: as many as the model takes; None: a prompt that is
    too long is refused."""
    prompt_name: str | None = None
    """Which prompt of the model's files stands before a text; "": none; None: as they say."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            near = difflib.get_close_matches(str(self.task), TASKS, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"task must be one of {', '.join(TASKS)}, got {self.task!r:.80}{meant}"
            )
        if self.dimensions is not None and not (
            type(self.dimensions) is int and self.dimensions > 0
        ):
            raise ValueError(
                f"dimensions must be a whole number above 0, got {self.dimensions!r:.80}."
            )
        most = self.truncate_prompt_tokens
        if most is not None and not (type(most) is int and (most > 0 or most == -1)):
            raise ValueError(
                f"truncate_prompt_tokens must be a whole number above 0, or -1, got {most!r:.80}."
            )
        if self.prompt_name is not None and not isinstance(self.prompt_name, str):
            raise ValueError(f"prompt_name must be a text, got {self.prompt_name!r:.80}.")

    def replace(self, **changes: Any) -> "PoolingParams":
        return msgspec.structs.replace(self, **changes)


Take = Literal["last", "mean", "cls", "max", "mean_sqrt", "weighted_mean"]
TAKES: dict[str, Take] = {"LAST": "last", "MEAN": "mean", "CLS": "cls"}
"""By vLLM's name."""
Activation = Literal["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid"]
"""By the name of torch's class."""


class Dense(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A linear layer between the pooled state and the vector."""

    path: str
    """Of the folder with its weights, below the checkpoint's."""
    inputs: int
    outputs: int
    bias: bool = True
    activation: Activation = "Tanh"


class Pooler(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model's hidden states become the vector of a prompt."""

    take: Take = "last"
    """The state of the last token, the mean of all, the state of the first; the most in each
    column; the sum of all over the root of their number; or the mean in which each counts as often
    as its place says."""
    dense: tuple[Dense, ...] = ()
    """What the pooled state goes through, in this order."""
    normalize: bool = True
    """Vectors have the length 1."""
    matryoshka: bool = False
    """Their beginnings are vectors too: `dimensions` may be asked for."""
    dimensions: tuple[int, ...] = ()
    """The only lengths that such a beginning may have; (): any."""
    prompts: dict[str, str] = {}
    """What may stand before a text, by name."""
    default_prompt: str | None = None
    """The one that stands before a text of which nobody says otherwise."""


class PoolerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator says of vectors, in vLLM's words; None: as the model's files say."""

    pooling_type: Literal["LAST", "MEAN", "CLS"] | None = None
    use_activation: bool | None = None
    is_matryoshka: bool | None = None
    matryoshka_dimensions: tuple[Annotated[int, msgspec.Meta(gt=0)], ...] | None = None


def told(pooler: Pooler, given: Mapping[str, Any]) -> Pooler:
    """`pooler` with `given`, fields of a `PoolerConfig`. Raises ValueError for what is none."""
    try:
        config = msgspec.convert(given, PoolerConfig)
    except msgspec.ValidationError as error:
        raise ValueError(f"pooler_config: {error}") from None
    take = None if config.pooling_type is None else TAKES[config.pooling_type]
    lengths = config.matryoshka_dimensions
    matryoshka = config.is_matryoshka if lengths is None else True
    changes = {
        "take": take,
        "normalize": config.use_activation,
        "matryoshka": matryoshka,
        "dimensions": lengths,
    }
    return msgspec.structs.replace(
        pooler, **{name: value for name, value in changes.items() if value is not None}
    )


def needs_every_state(pooling: PoolingParams, pooler: Pooler) -> bool:
    """Whether the states of a prompt's beginning count: none may come from the prefix cache."""
    return pooling.task != "embed" or pooler.take != "last"
