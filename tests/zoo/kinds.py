"""What one checkpoint of the zoo is: the published files word for word in form, with tiny
numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .tokens import Tokens

Json = dict[str, Any]
CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5]


@dataclass(frozen=True, kw_only=True)
class Animal:
    """A checkpoint folder before it is written.

    Nothing is stated that the published folder leaves out: what a class of transformers takes as
    its default must be found by whoever reads the folder.
    """

    config: Json
    """config.json, whole."""
    model: str
    """The class of transformers, or of the file `own`, that is the truth of this checkpoint."""
    own: str = ""
    """The file in `own` with that class, of a type that transformers does not have."""
    tokens: Tokens
    tokenizer: Json
    """tokenizer_config.json less the added tokens."""
    truth: Json | None = None
    """The same configuration in the form that transformers reads, where it drops the published one
    without a word."""
    files: Mapping[str, Json | str] = field(default_factory=dict)
    """Every other small file: JSON, or text."""
    takes: tuple[str, ...] = ()
    """Of image, video, audio."""
    dtype: str = "bfloat16"
    """Of the stored weights."""
    rename: Callable[[str], str] = str
    """From the names that `save_pretrained` writes to the published ones; most are those
    already."""
    turned: tuple[str, ...] = ()
    """How names of weights end that are stored with their last two axes turned, which
    `save_pretrained` does not write."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """How names of weights begin that lie in a folder of their own, under what follows, and that
    folder."""
    extra: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of tensors that the published folder stores and the model does not want, by name."""
    twice: Mapping[str, str] = field(default_factory=dict)
    """Names under which the published folder stores a tensor again, and the name of that."""
    shards: int = 1
    """Above one: with model.safetensors.index.json."""
    spread: float = 0.18
    """Of the drawn matrices: narrower and every answer is the same, wider and attention looks at
    single tokens."""
    tied_spread: float = 0.15
    """Of a table that is the head too: were it wide, the token said last would be the clear winner
    for ever."""
    twin: str = ""
    """The name of the checkpoint with the same weights that transformers loads, where it does not
    know the published names."""
    company: bool = False
    """A picture's rows depend on how many pictures its prompt has."""
    template: str | None = None
    """Of our own, where the checkpoint brings none."""
    frame: Callable[[str], str] = str
    """What its processor writes around a text without items."""
    prefix: bool = False
    """All tokens of a prompt see each other both ways, which is asked for by their types."""
    sounds_a_prompt: int | None = None
    """How many its own processor takes; None: any number."""
    attention: str = "sdpa"
    """By which of transformers' implementations it is the truth."""

    @property
    def native(self) -> bool:
        return not self.twin
