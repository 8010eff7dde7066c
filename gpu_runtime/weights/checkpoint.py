"""A checkpoint's weights under the names that they have in the model, whatever they are called on
disk.

Names and shapes are brought over by transformers' own conversion mapping of the model, the one that
`from_pretrained` uses: renames, and converters that stack the experts of a layer, or cut and turn a
tensor.
"""

import copy
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from ...protocol.errors import EngineError
from ..ranks.cut import Cut
from .files import StoredTensors
from .published import current, experts_one_by_one
from .rows import StoredRows
from .sources import open_weights

_UNUSED = (
    r"rotary_emb\.inv_freq$",
    r"(^|\.)position_ids$",
    r"positional_embedding\.positional_embedding$",
    r"(^|\.)vision_(tower|model)\.(vision_model\.)?(post_layernorm|head)\.",
    r"(^|\.)(mtp|nextn|eagle)(\.|_)",
)
"""Beside what a class says of itself: buffers that older versions saved and that are computed here,
what a tower has after the layer that the model takes, and layers that guess the tokens after the
next one."""
_LAYER = re.compile(r"^(.*)\.(\d+)\.")


@dataclass
class _Source:
    """What on disk makes one weight, or the several that one converter makes together."""

    converter: WeightConverter | None = None
    tensors: list[tuple[str, str]] = field(default_factory=list)
    """(name on disk, the converter's pattern that it matched)."""
    first: str = ""
    """The weight after which the converter's result is named."""


class Checkpoint:
    """The weights of one folder, by their names in `model`, which is whole and on meta.

    Raises EngineError where a file cannot be read, and for weights that no part of the model takes.
    """

    def __init__(self, folder: str, model: PreTrainedModel) -> None:
        self._stored = open_weights(folder, model)
        self.name = self._stored.checkpoint
        self._model = model
        self._expected: dict[str, torch.Tensor] = model.state_dict()
        self._ties: dict[str, str] = dict(model.all_tied_weights_keys)
        """Weight -> the weight that it is, where only one of the two is stored."""
        decoder: Any = model.get_decoder()
        children = [] if decoder is None else decoder.children()
        self._layers = [part for part in children if isinstance(part, nn.ModuleList)]
        """Of the part that writes text."""
        precise = model._keep_in_fp32_modules_strict or ()
        self._precise = [re.compile(_as_pattern(name)) for name in precise]
        self._sources: dict[str, _Source] = {}
        self._made: dict[str, torch.Tensor] = {}
        """What a converter has made beside the weight that was asked for; taken out when it is
        read."""
        unexpected = self._match()
        if unexpected:
            more = f" ({len(unexpected)} such weights)" if len(unexpected) > 1 else ""
            raise EngineError(
                f"The checkpoint {self.name!r} holds the weight {min(unexpected)}, which a model "
                f"of its config.json does not have{more}."
            )

    def holds(self, name: str) -> bool:
        """The weight is stored, itself and not only one that it is tied to."""
        return name in self._sources

    def missing(self) -> list[str]:
        """Weights of the model that nothing stored makes, itself or by a tie."""
        return [name for name in self._expected if self._source(name) is None]

    def check_shapes(self) -> None:
        """Before any is read. Raises EngineError for the first weight that is stored in another
        shape than the model's."""
        for name, wanted in self._expected.items():
            source = self._source(name)
            if source is not None and self._sources[source].converter is None:
                stored = self._stored.shape(self._sources[source].tensors[0][0])
                self._check_shape(source, stored, wanted.shape)

    def read(
        self,
        name: str,
        shape: torch.Size,
        dtype: torch.dtype,
        device: torch.device,
        part: Cut | None = None,
    ) -> torch.Tensor:
        """A copy of the weight `name`, of `dtype` where it is a floating one and the model does not
        ask for float32; or of a `part` of it.

        Raises EngineError where it is absent or of another shape.
        """
        source = self._source(name)
        if source is None:
            raise EngineError(
                f"The checkpoint {self.name!r} lacks the weight {name}, and its config.json ties "
                "it to no other: is it whole, and of the type its config.json says?"
            )
        kind = torch.float32 if any(p.search(name) for p in self._precise) else dtype
        tensor = self._tensor(source, kind)
        self._check_shape(source, tensor.shape, shape if part is None else part.whole)
        if part is not None:
            tensor = part.of(tensor)
        if not tensor.is_floating_point():
            kind = tensor.dtype
        # Never the mapping itself: the file may be replaced.
        return tensor.to(device=device, dtype=kind, copy=True)

    def rows(self, name: str) -> StoredRows | None:
        """The weight `name`, to be read row by row from its file; None where it is not stored there
        as it is."""
        source = self._sources.get(self._source(name) or "")
        if source is None or source.converter or not isinstance(self._stored, StoredTensors):
            return None
        return self._stored.rows(source.tensors[0][0])

    def _check_shape(self, source: str, stored: Sequence[int], wanted: Sequence[int]) -> None:
        if list(stored) != list(wanted):
            raise EngineError(
                f"The weight {self._sources[source].tensors[0][0]} of the checkpoint {self.name!r} "
                f"is {list(stored)}; its config.json asks for {list(wanted)}."
            )

    def _source(self, name: str) -> str | None:
        """The weight itself, or else one that it is tied to, whichever is stored."""
        same = [name, *(other for pair in self._ties.items() if name in pair for other in pair)]
        return next((one for one in same if one in self._sources), None)

    def _tensor(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        source = self._sources[name]
        if source.converter is None:
            return self._stored.read(source.tensors[0][0], dtype)
        if name not in self._made:
            converter: Any = copy.deepcopy(source.converter)
            for stored, pattern in source.tensors:
                read = partial(self._stored.read, stored, dtype)
                converter.add_tensor(source.first, stored, pattern, read)
            try:
                made = converter.convert(source.first, model=self._model, config=self._model.config)
            except EngineError:
                raise
            except Exception as error:  # the operations of transformers meet tensors of any shape
                raise EngineError(
                    f"The weights of the checkpoint {self.name!r} that make {name} do not fit "
                    f"together: is it whole?"
                ) from error
            self._made |= {
                key: value[0] if isinstance(value, list) else value for key, value in made.items()
            }
        return self._made.pop(name)

    def _match(self) -> list[str]:
        """Fill `_sources`; the stored names that belong to nothing and are not known to be of no
        use."""
        mapping = get_model_conversion_mapping(self._model)
        mapping += experts_one_by_one(self._stored.names(), mapping)
        renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
        converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
        by_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
        unexpected: list[str] = []
        for stored in sorted(self._stored.names(), key=dot_natural_key):
            name, pattern = self._renamed(stored, renamings, converters)
            targets = [name]
            if pattern is not None:
                first, *others = by_pattern[pattern].target_patterns
                targets += [name.replace(first, other) for other in others]
            if name not in self._expected:
                unexpected += [] if self._is_unused(name, stored) else [name]
                continue
            converter = None if pattern is None else by_pattern[pattern]
            source = self._sources.setdefault(name, _Source(converter, [], name))
            source.tensors.append((stored, pattern or stored))
            self._sources |= dict.fromkeys(targets, source)
        return unexpected

    def _renamed(
        self, stored: str, renamings: list[Any], converters: list[Any]
    ) -> tuple[str, str | None]:
        prefix = self._model.base_model_prefix
        stored = current(self._model.config.model_type, stored)
        name, pattern = rename_source_key(stored, renamings, converters, prefix, self._expected)
        # Else it has the model's own name already.
        if name not in self._expected and stored in self._expected:
            return rename_source_key(stored, [], [], prefix, self._expected)
        return name, pattern

    def _is_unused(self, name: str, stored: str) -> bool:
        patterns = [*_UNUSED, *(self._model._keys_to_ignore_on_load_unexpected or ())]
        if any(re.search(pattern, key) for pattern in patterns for key in (name, stored)):
            return True
        return self._is_foreign(name) or self._is_further_layer(name, stored)

    def _is_foreign(self, name: str) -> bool:
        """Of a part that this model does not have at all, such as what speaks."""
        parts = name.removeprefix(f"{self._model.base_model_prefix}.").split(".")
        return parts[0] not in _children(self._model)

    def _is_further_layer(self, name: str, stored: str) -> bool:
        """Of a layer behind the last one: of a tower that is cut where its features are taken, or
        of a decoder, where it guesses the tokens after the next. A decoder that has lost its last
        layers would be another model."""
        found = _LAYER.match(name)
        while found is not None:
            number = int(found[2])
            try:
                layers = self._model.get_submodule(found[1])
            except AttributeError:
                layers = None
            if isinstance(layers, nn.ModuleList):
                known = layers in self._layers and not self._guesses(stored, number)
                return number >= len(layers) and not known
            found = _LAYER.match(found[1] + ".")
        return False

    def _guesses(self, stored: str, layer: int) -> bool:
        """The layer of this weight joins the last state with the next token's embedding."""
        before, number, _ = stored.partition(f".{layer}.")
        marks = tuple(f"{before}{number}{mark}." for mark in ("eh_proj", "enorm", "hnorm"))
        return any(name.startswith(marks) for name in self._stored.names())


def _children(model: PreTrainedModel) -> Collection[str]:
    """Names at the model's top and at the top of its body."""
    body = getattr(model, model.base_model_prefix, None) if model.base_model_prefix else None
    tops = [part for part in (model, body) if part is not None]
    named = [(*top.named_children(), *top.named_parameters(recurse=False)) for top in tops]
    return {name for pairs in named for name, _ in pairs}


def _as_pattern(name: str) -> str:
    """A module's name, or a dotted path with `*`, as whole parts of a weight's name."""
    return r"(^|\.)" + re.escape(name).replace(r"\*", r"[^.]+") + r"(\.|$)"
