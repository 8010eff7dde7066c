"""What a model is, as its own classes in transformers say: found once at a start, by the process
that has them; every other process gets its part of these facts and reads no config.json for
numbers."""

import math
from typing import Literal, NamedTuple

import msgspec

from .pixels import PixelForm
from .requests.pooling import Pooler
from .requests.request import Modality, Want

SpanScope = Literal["item", "items", "prompt", "text"]
MOST_CONTEXT = 1 << 30
"""Positions: a prompt's are numbers of 32 bits wherever they are kept."""
SpanWindows = Literal["none", "behind", "both"]
"""Nothing, what lies too far behind it, or what lies too far on either side."""


class KvGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Layers whose keys and values have one shape and one window."""

    layers: tuple[int, ...]
    """Numbers of the decoder's layers that keep some."""
    readers: dict[int, int] = {}
    """Layers that keep none and read those of another, which is among `layers`."""
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None
    """Tokens that a layer looks back, its own included; None: all."""

    @property
    def width(self) -> int:
        """Columns that one layer keeps of one token and head: values are padded to their keys."""
        return max(self.key_dim, self.value_dim)


class KvTable(NamedTuple):
    """Layers that look equally far back share a block table, whatever their keys' shapes."""

    window: int | None
    """Tokens that its layers look back, their own included; None: all."""
    groups: tuple[KvGroup, ...]

    def token_bytes(self, itemsize: int) -> int:
        """Of one token's keys and values, over the table's layers."""
        return (
            sum(2 * len(group.layers) * group.kv_heads * group.width for group in self.groups)
            * itemsize
        )


class RecurrentGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Layers that keep a state for each sequence in place of keys and values."""

    layers: tuple[int, ...]
    conv: tuple[int, ...] = ()
    """Shape of the convolution's state, (channels, kernel); (): none."""
    state: tuple[int, ...] = ()
    """Shape of the recurrent state, float32; (): none."""

    def sequence_bytes(self, itemsize: int) -> int:
        """Of one sequence's states, over the layers; convolutions' have the model's `itemsize`."""
        sizes = (
            math.prod(self.conv) * itemsize if self.conv else 0,
            math.prod(self.state) * 4 if self.state else 0,
        )
        return len(self.layers) * sum(sizes)


class PlaceholderFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a prompt names an item of a modality, and which tokens are rows of its embedding."""

    token: str
    """What the model's processor looks for in a text, such as `<|image_pad|>`."""
    text: str
    """The token with the marks around it: what a template that knows no parts gets in its place."""
    embed_token: str
    """What stands for one row in an item's run; often, not always, `token`."""
    numbered: str = ""
    """Another name, with `{n}` for the item's number among its modality's, from 1; "": none."""
    apart: bool = False
    """Texts beside an item are tokenized each for itself, each with a beginning and end."""
    embed_token_id: int
    """May lie outside the embedding table: its row is never looked up."""
    marks: dict[str, int] = {}
    """Further tokens of its run that are rows, such as those between tiles: ids by text."""


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a processor writes into every text beside the tokenizer's own beginning and end."""

    begin: str = ""
    """Before a text that does not begin with it."""
    behind_items: str = ""
    """Behind the last placeholder; where there is none, before everything."""
    end: str = ""


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The facts of one checkpoint that more than one process needs."""

    path: str
    model_type: str
    architecture: str = ""
    """The class of transformers that runs it."""
    layers: int
    hidden: int
    vocab: int
    """Tokens that the head scores; a tokenizer may know fewer."""
    unscored: int = 0
    """Further rows of the embedding table: tokens that a prompt may hold and no answer does."""
    context: int
    """Positions that the model was made for, tokens."""
    context_stated: bool = True
    """False: its files name none; `context` is a usual one, and who knows better may have more."""
    rope_bound: int | None = None
    """Keys of a prompt of more tokens are turned by its length; None: none's are."""
    answers_apart: bool = False
    """Keys and states of a token are others where the model has said it than in a prompt."""
    kv_groups: tuple[KvGroup, ...]
    """As one process keeps them: of several that compute the model together each has its part."""
    recurrent: tuple[RecurrentGroup, ...] = ()
    position_planes: int = 1
    """Rotary positions of one token."""
    span_layers: tuple[int, ...] = ()
    """Layers in which the tokens of a span see each other both ways; (): everything is causal."""
    span_scope: SpanScope = "item"
    """What a span is: neighbours among the tokens of items, all such tokens of a prompt, all tokens
    of a prompt, or all that there ever are, in a model whose text has no direction."""
    span_windows: SpanWindows = "behind"
    """What a token of a span does not see of it because of a layer's window."""
    span_modalities: tuple[Modality, ...] = ()
    """Of the items whose tokens make spans."""
    span_token_ids: tuple[int, ...] = ()
    """Those tokens."""
    rows_added: bool = False
    """Rows are added to the embedding of the token that stands for them, else take its place."""
    deepstack_levels: int = 0
    """How many layers add further rows: a row of an embedding is `1 + levels` times as wide."""
    per_layer_width: int = 0
    """Of the inputs that each layer gets of its own beside the hidden states; 0: none."""
    looked_up: dict[int, int] = {}
    """Token ids that are looked up as another, such as some models' marks of items."""
    tied: bool = False
    """The head is the embedding table."""
    placeholders: dict[Modality, PlaceholderFacts] = {}
    """Of what the model takes, beside text."""
    frame: Frame = Frame()
    siblings: dict[Modality, Modality] = {}
    """By modality: an item of this one in the same prompt changes the item's embedding."""
    media_options: dict[Modality, tuple[str, ...]] = {}
    """Names in a request's processor options that change an item's features."""
    pixel_ranges: dict[Modality, tuple[int, int]] = {}
    """Usual least and most pixels of a picture or frame; of what has one size only: none."""
    pixels: dict[Modality, PixelForm] = {}
    """Modalities whose features go to their tower as bytes."""
    hears_clips: bool = False
    """Whether a clip's sound can be laid between its frames."""
    sampling_rate: int = 16000
    """Samples per second of its sounds."""
    tokenizer_parts: str = ""
    """JSON by name: parts of tokenizer.json that transformers makes otherwise; "": none."""
    output: Want = "token"
    """What it makes of a prompt."""
    pooler: Pooler | None = None
    """Of a model that makes vectors."""
    eos_token_ids: tuple[int, ...]
    """Those that the model can say: one beyond its vocabulary is never chosen, and ends nothing."""
    dtype: str
    """Of the weights on disk: float32, bfloat16, float16; what quantised ones were made from."""
    quantization: str | None = None
    """In which form of few bits the weights are stored: fp8, compressed-tensors, awq, gptq, mxfp4,
    gguf; None: as numbers of `dtype`. In memory they are what the run makes of them."""
    parameters: int = 0
    """Numbers in the weights that a process may keep: what is tied once, what is unused not."""
    held_parameters: int = 0
    """Those that can be held in few bits: of the decoder's linear layers and the head."""
    fingerprint: str
    """Hex digest of configuration and weights: part of every item key."""

    @property
    def known(self) -> int:
        """Rows of the embedding table: tokens that a prompt may hold."""
        return self.vocab + self.unscored

    @property
    def vector_width(self) -> int:
        """Numbers of a prompt's vector, where it is not cut."""
        return (
            self.pooler.dense[-1].outputs
            if self.pooler is not None and self.pooler.dense
            else self.hidden
        )

    @property
    def embed_width(self) -> int:
        """Columns of an item's embedding."""
        return self.hidden * (1 + self.deepstack_levels)

    @property
    def tables(self) -> tuple[KvTable, ...]:
        """One per distinct window; that of layers that see everything, if any, is the first."""
        reaches = sorted({group.window or 0 for group in self.kv_groups})
        return tuple(
            KvTable(
                reach or None,
                tuple(group for group in self.kv_groups if (group.window or 0) == reach),
            )
            for reach in reaches
        )

    def kv_bytes(self, itemsize: int) -> int:
        """Of one token's keys and values, over all layers."""
        return sum(table.token_bytes(itemsize) for table in self.tables)

    def state_bytes(self, itemsize: int) -> int:
        """Of one sequence's recurrent states, over all layers."""
        return sum(group.sequence_bytes(itemsize) for group in self.recurrent)
