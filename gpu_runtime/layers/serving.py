"""Loaded linear layers as those that a step calls: packed, plain or in eight bits, as their weights
are held."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .divided import Divided, Together
from .int8 import Int8Linear, Int8Weights, served
from .linear import Linear
from .replacing import replace_modules

AnyLinear = Linear | Int8Linear | Int8Weights | Together
Arrange = Callable[[torch.Tensor], torch.Tensor]
"""Outputs, along the first axis, in another order."""


def serving(module: Any, pack: bool = True) -> AnyLinear | None:
    """Of an `nn.Linear` or what holds its weights; None: it is neither. `pack`: as of `Linear`."""
    if isinstance(module, Int8Weights):
        return served(module)
    if isinstance(module, Divided):
        return Together(module, Linear(module.weight, module.bias, pack))
    return Linear(module.weight, module.bias, pack) if type(module) is nn.Linear else None


def replace_linears(module: nn.Module) -> None:
    """Put what a step calls in the place of every linear layer in `module`."""
    replace_modules(module, serving)


def join(modules: Sequence[Any], arrange: Sequence[Arrange] = ()) -> AnyLinear:
    """One layer with the outputs of all `modules`, which are held alike, side by side; of each of
    the first ones as `arrange` has them."""

    def parts(name: str) -> Any:
        found = [getattr(module, name) for module in modules]
        if found[0] is None:
            return None
        arranged = [change(part) for change, part in zip(arrange, found, strict=False)]
        arranged += found[len(arrange) :]
        return (arranged[0] if len(arranged) == 1 else torch.cat(arranged)).detach()

    first = modules[0]
    if isinstance(first, Int8Weights):
        numbers, scales, bias = (parts(name) for name in ("numbers", "scales", "bias"))
        return served(Int8Weights(numbers, scales, bias, first.dtype, first.product))
    made = Linear(parts("weight"), parts("bias"))
    return Together(first, made) if isinstance(first, Divided) else made
