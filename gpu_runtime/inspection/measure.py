"""What each layer of a language model keeps of a token, found by running the model on meta: shapes
without numbers.

Configurations name these things in a hundred ways; what a layer hands to its attention, and what it
leaves in a cache, is the same for all.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import AttentionInterface, DynamicCache, PreTrainedModel

from ...protocol.errors import EngineError
from ...protocol.facts import KvGroup, RecurrentGroup
from .config_forms import text_config
from .hearing import first_call

NAME = "thespis-measure"
TOKENS = 2
ADDING = ("molmo2",)
"""Types of models whose forward adds an item's rows to what the placeholder's embedding is."""
UNLIMITED = (0.0, float("inf"))
"""Time steps are above zero: these bounds change none."""
KEEPING_NOTHING = ("mlp", "moe")
"""What transformers calls layers that look at one token alone."""


class Layers(NamedTuple):
    kv: tuple[KvGroup, ...]
    recurrent: tuple[RecurrentGroup, ...]


class _Shape(NamedTuple):
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None


class _Call(NamedTuple):
    """Of an attention. Keys and values are kept, so that those of another are other objects."""

    shape: _Shape
    key: torch.Tensor
    value: torch.Tensor


class _Keepers:
    """Layers that keep keys and values, by what these look like, and layers that read theirs."""

    def __init__(self) -> None:
        self._kept: dict[_Shape, dict[int, _Call]] = {}
        self._readers: dict[_Shape, dict[int, int]] = {}

    def add(self, layer: int, shape: _Shape, call: _Call) -> None:
        """A layer that is given just what an earlier one of the same shape and window was, reads
        that one's."""
        kept = self._kept.setdefault(shape, {})
        for owner, one in kept.items():
            if one.key is call.key and one.value is call.value:
                self._readers.setdefault(shape, {})[layer] = owner
                return
        kept[layer] = call

    def groups(self) -> tuple[KvGroup, ...]:
        return tuple(
            KvGroup(layers=tuple(kept), readers=self._readers.get(shape, {}), **shape._asdict())
            for shape, kept in self._kept.items()
        )


_heard: list[_Call] = []
"""What attentions were called with since the last layer began."""


def _hear(
    module: nn.Module, query: Any, key: Any, value: Any, mask: Any, **given: Any
) -> tuple[torch.Tensor, None]:
    """An attention: [1, heads, tokens, width] each. Its answer has the shape of an attention's."""
    shape = _Shape(key.shape[1], key.shape[3], value.shape[3], given.get("sliding_window"))
    _heard.append(_Call(shape, key, value))
    return query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None


AttentionInterface.register(NAME, _hear)


def measure_layers(model: PreTrainedModel, context: int | None = None) -> Layers:
    """Of a whole model on meta, which is of no further use for computing. A window of the whole
    `context` is none.

    Raises EngineError for layers that keep neither keys and values, as transformers' attention gets
    them, nor a known state.
    """
    layers = decoder_layers(model)
    decoder: Any = model.get_decoder()
    kinds = getattr(text_config(model.config), "layer_types", None) or [""] * len(layers)
    _simplify(decoder)
    cache = DynamicCache(config=text_config(model.config))
    with _watch(layers) as seen:
        try:
            decoder(**_inputs(model, decoder), **{cache_name(decoder): cache}, use_cache=True)
        except Exception as error:  # whatever a model's code does not like of two tokens of text
            raise cannot(
                model, f"its layers cannot be measured ({type(error).__name__})"
            ) from error
    keepers = _Keepers()
    states: dict[tuple[tuple[int, ...], tuple[int, ...]], list[int]] = {}
    for number in range(len(layers)):
        kept, state = seen.get(number, []), _state(cache, number, model)
        named = f"its layer {number} ({type(layers[number]).__name__})"
        if len(kept) > 1:
            raise cannot(model, f"{named} attends twice")
        if not kept and state == ((), ()) and kinds[number] not in KEEPING_NOTHING:
            why = "neither attends through transformers' interface nor keeps a known state"
            raise cannot(model, f"{named} {why}")
        for call in kept:
            window = call.shape.window
            if window is not None and window < 1:
                why = f"looks back through a window of {window} tokens"
                raise cannot(model, f"its layer {number} {why}")
            whole = window is not None and context is not None and window >= context
            keepers.add(number, call.shape._replace(window=None) if whole else call.shape, call)
        if state != ((), ()):
            states.setdefault(state, []).append(number)
    recurrent = [
        RecurrentGroup(layers=tuple(numbers), conv=conv, state=state)
        for (conv, state), numbers in states.items()
    ]
    return Layers(keepers.groups(), tuple(recurrent))


def decoder_layers(model: Any) -> nn.ModuleList:
    """The layers of the part that writes text. Raises EngineError where there is no such list."""
    decoder, count = model.get_decoder(), text_config(model.config).num_hidden_layers
    for part in () if decoder is None else decoder.modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return part
    raise cannot(model, f"it has no list of {count} layers")


def cache_name(module: nn.Module) -> str:
    """What a module of transformers calls its cache."""
    return "cache_params" if _takes(module, "cache_params") else "past_key_values"


def _takes(module: nn.Module, name: str) -> bool:
    """Its forward has a parameter of this name."""
    return name in inspect.signature(module.forward).parameters


def step_limits(module: nn.Module) -> tuple[float, float] | None:
    """Bounds of a recurrent layer's time steps that change some. transformers holds to them in the
    scan of a prompt alone, not in that of one token of an answer."""
    low, high = getattr(module, "time_step_limit", None) or UNLIMITED
    return None if (low, high) == UNLIMITED else (float(low), float(high))


def answers_apart(model: Any) -> bool:
    """Whether the model makes other keys and states of a token that it has said than of the same
    one in a prompt."""
    return any(step_limits(module) is not None for module in model.get_decoder().modules())


def position_planes(model: PreTrainedModel) -> int:
    """Rotary positions of one token: as many as the model's own `get_rope_index` gives for two
    tokens of text."""
    for owner in (model, model.base_model):
        index = getattr(owner, "get_rope_index", None)
        if index is None:
            continue
        tokens = torch.ones(1, TOKENS, dtype=torch.long)
        given = {"attention_mask": tokens, "mm_token_type_ids": torch.zeros_like(tokens)}
        wanted = given.keys() & inspect.signature(index).parameters
        positions = index(input_ids=tokens, **{name: given[name] for name in wanted})[0]
        return int(positions.shape[0]) if positions.ndim == 3 else 1
    return 1


def deepstack_levels(model: Any) -> int:
    """Layers of the decoder that add further rows of an item's embedding: as many as a tower
    makes."""
    if not _takes(model.get_decoder(), "deepstack_visual_embeds"):
        return 0
    named = (
        getattr(part, name, None)
        for part in model.modules()
        for name in ("deepstack_merger_list", "deepstack_mergers")
    )
    return next((len(found) for found in named if isinstance(found, nn.ModuleList)), 0)


def adds_rows(model: PreTrainedModel) -> bool:
    """Whether an item's rows are added to the embedding of the token that stands for them; no other
    part of a model tells."""
    return model.config.model_type in ADDING


def per_layer_width(model: Any) -> int:
    """Of the inputs that each layer gets of its own beside the hidden states; 0: none."""
    if not _takes(model.get_decoder(), "per_layer_inputs"):
        return 0
    return int(getattr(text_config(model.config), "hidden_size_per_layer_input", None) or 0)


def looked_up(model: PreTrainedModel) -> dict[int, int]:
    """Token ids that the model's own forward looks up as another, in a prompt and in its answer
    alike: of some families, the marks of items."""
    table: Any = model.get_input_embeddings()
    ids = torch.arange(table.weight.shape[0])[None]
    with torch.no_grad():
        heard = first_call(table, lambda: model(input_ids=ids, use_cache=False))
    asked = None if heard is None else heard.argument(0, "input")
    # On meta: it takes them to where the table is.
    if asked is None or asked.is_meta or asked.shape != ids.shape:
        return {}
    others = (asked[0] != ids[0]).nonzero()[:, 0]
    return dict(zip(others.tolist(), asked[0, others].tolist(), strict=True))


def _inputs(model: PreTrainedModel, decoder: Any) -> dict[str, Any]:
    config = text_config(model.config)
    planes = position_planes(model)
    positions = torch.arange(TOKENS, device="meta")
    embeds = torch.empty(1, TOKENS, config.hidden_size, device="meta", dtype=torch.bfloat16)
    given: dict[str, Any] = {
        "inputs_embeds": embeds,
        "position_ids": positions[None] if planes == 1 else positions.expand(planes, 1, TOKENS),
        "attention_mask": None,
    }
    if width := per_layer_width(model):
        given["per_layer_inputs"] = embeds.new_empty(1, TOKENS, config.num_hidden_layers, width)
    return given


def _simplify(decoder: Any) -> None:
    """Leave out what needs numbers and changes no shape: rotary kinds that look at the positions,
    experts but in bfloat16."""
    decoder.to(torch.bfloat16)
    decoder.set_attn_implementation(NAME)
    for part in decoder.modules():
        kind = getattr(part, "rope_type", None)
        if kind is not None:
            part.rope_type = dict.fromkeys(kind, "default") if isinstance(kind, dict) else "default"


@contextmanager
def _watch(layers: nn.ModuleList) -> Iterator[dict[int, list[_Call]]]:
    """What each layer's attentions are called with."""
    seen: dict[int, list[_Call]] = {}
    _heard.clear()

    def ended(number: int) -> None:
        if _heard:
            seen[number] = list(_heard)
            _heard.clear()

    hooks = [
        layer.register_forward_hook(lambda module, given, out, number=number: ended(number))
        for number, layer in enumerate(layers)
    ]
    try:
        with torch.no_grad():
            yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _state(
    cache: DynamicCache, number: int, model: PreTrainedModel
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of a layer's (convolution, recurrent) state of one sequence, as it left them in the
    cache; (): none."""
    layer: Any = cache.layers[number] if number < len(cache.layers) else None
    shapes: list[tuple[int, ...]] = []
    for name in ("conv_states", "recurrent_states"):
        states = [state for state in getattr(layer, name, {}).values() if state is not None]
        if len(states) > 1:
            raise cannot(model, f"its layer {number} keeps {len(states)} states of one kind")
        shapes.append(tuple(states[0].shape[1:]) if states else ())
    return shapes[0], shapes[1]


def cannot(model: PreTrainedModel, why: str) -> EngineError:
    """The sentence with which a model is refused."""
    kind = f"{model.config.model_type!r} ({type(model).__name__})"
    return EngineError(f"Models of type {kind} are not supported: {why}.")
