"""A checkpoint's weights, read by name: the model is built on the meta device and only the parts that a process keeps are read.

Weights on disk may carry older names than the modules in memory; each family gives its renames as regular expressions
from any published name to the one in memory (`model.language_model.layers.0...`, `lm_head.weight`).
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.modeling_utils import PreTrainedModel

from ..protocol.errors import EngineError

Renames = Sequence[tuple[str, str]]
"""(pattern, replacement) pairs, applied in order, each once."""


def read_config(folder: str) -> dict[str, Any]:
    """The checkpoint's config.json (protocol.checkpoint.inspect has already looked at it)."""
    config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())
    return config


class WeightFiles:
    """The tensors of a checkpoint folder under the names that they have in memory. Reads by mmap, one tensor at a time."""

    def __init__(self, folder: str, renames: Renames) -> None:
        self.name = Path(folder).name
        rules = [(re.compile(pattern), replacement) for pattern, replacement in renames]
        self._files: dict[str, Any] = {}
        self._where: dict[str, tuple[str, str]] = {}
        """Name in memory -> (file, name on disk)."""
        for path in sorted(Path(folder).glob("*.safetensors")):
            try:
                self._files[path.name] = file = safe_open(str(path), "pt")
            except (SafetensorError, OSError) as error:
                raise EngineError(
                    f"{path.name} of the model {self.name!r} is broken: it is no readable safetensors file."
                ) from error
            for stored in cast(Any, file).keys():  # noqa: SIM118 - not a dict
                name = stored
                for rule, replacement in rules:
                    name = rule.sub(replacement, name, count=1)
                self._where[name] = (path.name, stored)

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def names(self, prefix: str) -> set[str]:
        return {name for name in self._where if name.startswith(prefix)}

    def read(self, name: str, shape: torch.Size, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A copy of the tensor `name`. Raises EngineError where it is absent or of another shape."""
        where = self._where.get(name)
        if where is None:
            raise EngineError(
                f"The checkpoint {self.name!r} lacks the weight {name}: is it whole, and of the type its config.json says?"
            )
        file, stored = where
        try:
            tensor: torch.Tensor = self._files[file].get_tensor(stored)
        except SafetensorError as error:
            raise EngineError(f"The weight {stored} of the checkpoint {self.name!r} cannot be read.") from error
        if tensor.shape != shape:
            raise EngineError(
                f"The weight {stored} of the checkpoint {self.name!r} is {list(tensor.shape)}; "
                f"its config.json asks for {list(shape)}."
            )
        return tensor.to(device=device, dtype=dtype, copy=True)  # never the mapping itself: the file may be replaced


def load_part(module: nn.Module, prefix: str, checkpoint: WeightFiles, dtype: torch.dtype, device: torch.device) -> None:
    """Fill `module`, built on meta, whose weights are named `prefix`... in memory; prepares it for inference.

    Raises EngineError for weights that are missing, of another shape, or that no module takes.
    """
    _compute_buffers(module, device)
    taken: set[str] = set()
    for owner_name, owner in module.named_modules():
        path = f"{prefix}{owner_name}." if owner_name else prefix
        for name, parameter in list(owner.named_parameters(recurse=False, remove_duplicate=False)):
            weight = checkpoint.read(path + name, parameter.shape, dtype, device)
            setattr(owner, name, nn.Parameter(weight, requires_grad=False))
            taken.add(path + name)
        for name, buffer in list(owner.named_buffers(recurse=False)):
            if name not in owner._non_persistent_buffers_set:
                setattr(owner, name, checkpoint.read(path + name, buffer.shape, buffer.dtype, device))
                taken.add(path + name)
    unexpected = {name for name in checkpoint.names(prefix) - taken if not name.endswith(_HARMLESS)}
    if unexpected:
        raise EngineError(
            f"The checkpoint {checkpoint.name!r} holds the weight {min(unexpected)}, "
            "which a model of its config.json does not have"
            + (f" ({len(unexpected)} such weights)." if len(unexpected) > 1 else ".")
        )
    module.eval()


_HARMLESS = ("rotary_emb.inv_freq", "position_ids", "positional_embedding.positional_embedding")
"""Buffers that older versions of transformers saved; they are computed here."""


def _compute_buffers(module: nn.Module, device: torch.device) -> None:
    """Compute what is not stored (rotary frequencies, position tables) with the model's own initialisation.

    Runs before the weights are read: what `_init_weights` would draw for parameters falls on meta tensors and costs nothing.
    """
    owner: dict[str, PreTrainedModel] = {}
    for name, part in module.named_modules():
        parent = owner.get(name.rpartition(".")[0])
        if isinstance(part, PreTrainedModel):
            parent = part
        if parent is None:
            continue
        owner[name] = parent
        hollow = [key for key in part._non_persistent_buffers_set if getattr(part, key) is not None]
        for key in hollow:
            buffer = getattr(part, key)
            blank = torch.nan if buffer.is_floating_point() else -1
            setattr(part, key, torch.full(buffer.shape, blank, dtype=buffer.dtype, device=device))
        if hollow:
            with torch.no_grad():
                cast(Any, parent)._init_weights(part)
        for key in hollow:
            buffer = getattr(part, key)
            if bool((buffer.isnan() if buffer.is_floating_point() else buffer == -1).any()):
                raise EngineError(
                    f"This version of transformers does not compute {name}.{key}; install one from constraints.txt."
                )
