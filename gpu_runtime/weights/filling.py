"""Filling modules that were built on meta: the weights that a process keeps, and the buffers that
are computed."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from ...protocol.errors import EngineError
from ..ranks.cut import Cut
from .checkpoint import Checkpoint
from .progress import Progress

NO_CUTS: Mapping[str, Cut] = {}
MOST_COMPUTED = 1 << 30
"""Bytes of all tables of one model that are computed."""


class Hold(Protocol):
    """Another way of having the weights of linear layers in memory."""

    def wants(self, module: nn.Module, dtype: torch.dtype) -> bool:
        """`dtype`: of the run; a weight of another is one that the model asks for in float32."""
        ...

    def __call__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module: ...


def fill(
    model: PreTrainedModel,
    roots: Collection[str],
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: torch.device,
    without: Collection[str] = (),
    held: Collection[nn.Module] = (),
    hold: Hold | None = None,
    cuts: Mapping[str, Cut] = NO_CUTS,
) -> None:
    """Give the modules of `model` at and below the paths `roots`, but for those of `without`, their
    weights; an `Absent` stands in for each of the others afterwards. Those of `held` that `hold`
    wants are replaced by what it makes of their weights, as soon as these are read. `cuts`: by
    their paths, those of which a part is read.

    Raises EngineError for weights that are missing or of another shape.
    """
    modules = model.named_modules(remove_duplicate=False)
    kept = [one for one in modules if _below(one[0], roots) and not _below(one[0], without)]
    _compute_buffers(model, {path for path, _ in kept}, device)
    progress = Progress(_stored_bytes([owner for _, owner in kept], dtype))
    shared: dict[int, nn.Parameter] = {}
    holders: dict[nn.Module, nn.Module] = {}
    for path, owner in kept:
        for name, parameter in list(owner._parameters.items()):
            if parameter is not None and parameter.is_meta:
                own = _join(path, name)
                read = _read(checkpoint, own, parameter, shared, dtype, device, cuts.get(own))
                owner._parameters[name] = read
                progress.add(read.nbytes)
        if hold is not None and owner in held and (owner in holders or hold.wants(owner, dtype)):
            holders[owner] = holders.get(owner) or _held(owner, hold, shared)
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, holders[owner])
        for name in owner._buffers.keys() - owner._non_persistent_buffers_set:
            buffer = owner._buffers[name]
            if buffer is not None and buffer.is_meta:
                kind = dtype if buffer.is_floating_point() else buffer.dtype
                own = _join(path, name)
                owner._buffers[name] = checkpoint.read(own, buffer.shape, kind, device)
    progress.end()
    _take_out(model, {path for path, _ in kept}, Absent(dtype, device))
    model.train(False)


def _stored_bytes(owners: list[nn.Module], dtype: torch.dtype) -> int:
    """About as many as will be read, ties twice."""
    weights = (w for owner in owners for w in owner._parameters.values() if w is not None)
    return sum(weight.numel() for weight in weights) * dtype.itemsize


def _held(owner: nn.Module, hold: Hold, shared: dict[int, nn.Parameter]) -> nn.Module:
    """Nobody has the weights as they were read afterwards, but for who shares them."""
    weight, bias = (owner._parameters[name] for name in ("weight", "bias"))
    assert weight is not None
    held = hold(weight.detach(), None if bias is None else bias.detach())
    for key in [key for key, known in shared.items() if known is weight]:
        del shared[key]
    owner._parameters["weight"] = None
    return held


class Absent(nn.Module):
    """In the place of a part that this process does not need. Models ask their parts where they
    are."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.dtype, self.device = dtype, device


def _take_out(model: nn.Module, kept: set[str], absent: Absent) -> None:
    """Models ask themselves for their device and dtype: nothing of what stayed on meta may
    answer."""
    above = {path[:end] for path in kept for end in range(len(path)) if path[end] == "."} | {""}
    for path, owner in list(model.named_modules(remove_duplicate=False)):
        if path not in kept and path not in above:
            continue
        for name, _ in list(owner.named_children()):
            if _join(path, name) not in kept | above:
                setattr(owner, name, absent)
        if path not in kept:
            for name in owner._parameters:
                owner._parameters[name] = None


def _read(
    checkpoint: Checkpoint,
    name: str,
    parameter: nn.Parameter,
    shared: dict[int, nn.Parameter],
    dtype: torch.dtype,
    device: torch.device,
    part: Cut | None,
) -> nn.Parameter:
    """One that is stored is read, even where the model ties it; `shared`: what has been read for
    each parameter on meta."""
    known = shared.get(id(parameter))
    if known is not None and not checkpoint.holds(name):
        return known
    weight = checkpoint.read(name, parameter.shape, dtype, device, part)
    if known is not None and torch.equal(known, weight):  # stored twice: in memory once
        return known
    made = nn.Parameter(weight, requires_grad=False)
    shared.setdefault(id(parameter), made)
    return made


def _below(path: str, roots: Collection[str]) -> bool:
    return any(not root or path == root or path.startswith(f"{root}.") for root in roots)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _compute_buffers(model: nn.Module, kept: set[str], device: torch.device) -> None:
    """Compute what is not stored (rotary frequencies, position tables) with the model's own
    initialisation.

    Runs before the weights are read: what `_init_weights` would draw for parameters falls on meta
    tensors and costs nothing. Raises EngineError for more than MOST_COMPUTED, before any memory is
    taken for it.
    """
    owner: dict[str, PreTrainedModel] = {}
    left = MOST_COMPUTED
    for name, part in model.named_modules():
        parent = owner.get(name.rpartition(".")[0])
        if isinstance(part, PreTrainedModel):
            parent = part
        if parent is None:
            continue
        owner[name] = parent
        if name not in kept:
            continue
        hollow = [key for key in part._non_persistent_buffers_set if getattr(part, key) is not None]
        for key in hollow:
            buffer = getattr(part, key)
            left -= buffer.nbytes
            if left < 0:  # of the size that config.json states: no weight on disk bounds it
                raise EngineError(
                    f"The config.json asks for {name}.{key} of {list(buffer.shape)}, which is "
                    "computed and not stored: a table of that size is beyond all measure."
                )
            blank = torch.nan if buffer.is_floating_point() else -1
            setattr(part, key, torch.full(buffer.shape, blank, dtype=buffer.dtype, device=device))
        with torch.no_grad():
            for computing in (part, parent):  # Falcon H1's body computes those of its layers
                if any(_is_blank(getattr(part, key)) for key in hollow):
                    cast(Any, parent)._init_weights(computing)
        for key in hollow:
            if _is_blank(getattr(part, key)):
                raise EngineError(
                    f"This version of transformers does not compute {name}.{key}; install one "
                    f"from constraints.txt."
                )


def _is_blank(buffer: torch.Tensor) -> bool:
    return bool((buffer.isnan() if buffer.is_floating_point() else buffer == -1).any())
