"""Which tokens of a prompt see each other both ways: asked of the masks that a model makes itself,
on meta.

A model's forward gets a few tokens of several kinds (text, those of items) and calls its decoder
with the mask that it made of them. That call is heard, and goes no further.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ...protocol.facts import SpanScope, SpanWindows
from ...protocol.requests.request import MODALITIES, Modality
from .config_forms import text_config
from .hearing import first_call
from .measure import cannot


class Spans(NamedTuple):
    """Tokens that see each other both ways; the fields are those of `ModelFacts`."""

    layers: tuple[int, ...] = ()
    modalities: tuple[Modality, ...] = ()
    scope: SpanScope = "item"
    windows: SpanWindows = "behind"


def measure_spans(model: PreTrainedModel) -> Spans:
    """By the masks that the model makes itself of the kinds of a prompt's tokens.

    Raises EngineError for a model whose text is not causal behind its prompt, and where spans are
    masked as is not built.
    """
    text = text_config(model.config)
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    with _short_windows(model):
        prefix = _prefix_of(model, kinds)
        if prefix is not None:
            return prefix
        if _has_no_direction(text):
            return Spans(tuple(range(text.num_hidden_layers)), scope="text", windows="both")
        found = [_spans_of(model, kinds, mark) for mark in range(1, len(MODALITIES) + 1)]
    seeing = {
        modality: spans for modality, spans in zip(MODALITIES, found, strict=True) if spans.layers
    }
    if len(set(seeing.values())) > 1:
        raise cannot(model, "items of different kinds see each other both ways in different layers")
    return next(iter(seeing.values()), Spans())._replace(modalities=tuple(seeing))


@contextmanager
def _short_windows(model: PreTrainedModel) -> Iterator[None]:
    """Masks are made as numbers, and windows are less than the span of three tokens of which they
    are asked."""
    text = text_config(model.config)
    named: dict[str, Any] = {"_attn_implementation": "eager"}
    if getattr(text, "sliding_window", None):
        named["sliding_window"] = 2
    before = {name: getattr(text, name) for name in named}
    for name, value in named.items():
        setattr(text, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(text, name, value)


def _has_no_direction(text: PreTrainedConfig) -> bool:
    """Every token sees those behind it, too: as configurations say it; the self-check looks at the
    masks."""
    both_ways = getattr(text, "use_bidirectional_attention", None) is True
    return both_ways or getattr(text, "is_causal", True) is False


def _prefix_of(model: PreTrainedModel, kinds: list[str]) -> Spans | None:
    """Where a prompt is a span, whatever its tokens are, and causal what is said after it; None: it
    is not."""
    masks = _masks_of(model, kinds, [0, 0, 0, 0, 1, 1, 1])
    layers = tuple(number for number, kind in enumerate(kinds) if _sees(masks[kind], 0, 1))
    if not layers:
        return None
    if any(_sees(mask, *pair) for mask in masks.values() for pair in ((4, 5), (3, 4))):
        raise cannot(model, "the tokens of its text see those behind them")
    return Spans(layers, scope="prompt", windows=_windows(model, masks, kinds, layers, 0))


def _spans_of(model: PreTrainedModel, kinds: list[str], mark: int) -> Spans:
    """Where items are such whose tokens are of the kind `mark`: of one of three tokens, and another
    of one."""
    masks = _masks_of(model, kinds, [0, mark, mark, mark, 0, mark, 0])
    if any(_sees(mask, 4, 6) for mask in masks.values()):
        raise cannot(model, "the tokens of its text see those behind them")
    layers = tuple(number for number, kind in enumerate(kinds) if _sees(masks[kind], 1, 2))
    joined = any(_sees(masks[kinds[number]], 1, 5) for number in layers)
    scope: SpanScope = "items" if joined else "item"
    return Spans(layers, (), scope, _windows(model, masks, kinds, layers, 1))


def _masks_of(
    model: PreTrainedModel, kinds: list[str], types: list[int]
) -> dict[str, torch.Tensor | None]:
    """What the layers of each kind see of a prompt whose tokens are of these `types`: the masks
    that the model's forward makes for its decoder; where it leaves them to that, what it would make
    for `generate`, if it says so; None: causal."""
    given = torch.tensor([types])
    marks = {"token_type_ids": given, "mm_token_type_ids": given}
    call = {"attention_mask": torch.ones_like(given), "past_key_values": None}
    call["position_ids"] = torch.arange(len(types))[None]
    made = _heard_by_decoder(model, call | marks, len(types))
    creates = getattr(type(model), "create_masks_for_generate", None)
    if not _are_masks(made) and creates is not None:
        embeds = torch.zeros(*given.shape, 1)
        try:
            made = creates(config=model.config, inputs_embeds=embeds, **call, **marks)
        except Exception as error:  # whatever a model's code does not like of two kinds of tokens
            raise cannot(model, f"its masks cannot be measured ({type(error).__name__})") from error
    if not _are_masks(made):
        return dict.fromkeys(kinds)
    return {kind: made.get(kind) if isinstance(made, dict) else made for kind in kinds}


def _are_masks(made: Any) -> bool:
    return isinstance(made, dict) or (isinstance(made, torch.Tensor) and made.ndim == 4)


def _heard_by_decoder(model: PreTrainedModel, call: dict[str, Any], tokens: int) -> Any:
    """The mask with which the model's forward calls its decoder, which is not run; None: nothing
    was heard."""
    given = {name: call[name] for name in call.keys() & inspect.signature(model.forward).parameters}
    given |= {"input_ids": torch.zeros(1, tokens, dtype=torch.int64), "use_cache": False}
    table: Any = model.get_input_embeddings()
    width = text_config(model.config).hidden_size
    table.forward = lambda ids: torch.zeros(*ids.shape, width)  # its own is on meta
    try:
        heard = first_call(model.get_decoder(), lambda: model(**given))
    finally:
        del table.forward
    return None if heard is None else heard.named.get("attention_mask")


def _windows(
    model: PreTrainedModel,
    masks: dict[str, torch.Tensor | None],
    kinds: list[str],
    layers: tuple[int, ...],
    first: int,
) -> SpanWindows:
    """What windows of two cut of the span of three tokens that begins at `first`."""
    windowed = {kinds[number] for number in layers if "sliding" in kinds[number]}
    back = {_sees(masks[kind], first + 2, first) for kind in windowed}
    if len(back) > 1 or not all(_sees(masks[kind], first, first + 2) for kind in windowed):
        raise cannot(model, "its windows cut what tokens see both ways otherwise than is built")
    return "none" if True in back else "behind"


def _sees(mask: torch.Tensor | None, one: int, other: int) -> bool:
    """Token `one` sees the later token `other`, in an additive or boolean mask [1, 1, tokens,
    tokens]."""
    if mask is None:
        return False
    entry = mask[0, 0, one, other]
    return bool(entry) if mask.dtype == torch.bool else bool(entry == 0)
